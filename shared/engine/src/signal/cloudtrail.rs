//! Calls that CloudTrail records.

use serde_json::Value;

use super::{
    EventError, Reason, Refusal, Signal, Trigger, actor,
    event::{Envelope, Stop, key, time},
    fields::{Fields, brief, is_true},
};

/// What the names of calls that only read begin with. CloudTrail's own `readOnly` is absent in old records, and says
/// false for some of these.
const READS: [&str; 7] = ["BatchGet", "Describe", "Get", "Head", "List", "Lookup", "Search"];

pub(super) fn hear(event: &Envelope<'_>) -> Result<Signal, Stop> {
    let detail = event.detail()?;
    let service = detail.required_text("eventSource")?;
    let name = detail.required_text("eventName")?;
    if !is_source_of(event.source, service) {
        let (source, service) = (brief(event.source), brief(service));
        return Err(Reason::OtherSource { source, service }.into());
    }
    if let Some(code) = error_code(&detail) {
        return Err(match code.as_str() {
            "Client.DryRunOperation" | "DryRunOperation" => Reason::DryRun,
            _ => Reason::FailedCall { code },
        }
        .into());
    }
    if detail.hint("eventType") == Some("AwsServiceEvent") {
        return Err(Reason::ServiceEvent.into());
    }
    if detail.flag("readOnly") || is_read(name) {
        return Err(Reason::ReadOnly.into());
    }

    let account = own_account(event, &detail)?;
    if let Some(account) = other_owner(&detail, &account)? {
        return Err(Reason::OtherOwner { account }.into());
    }
    let trigger = Trigger::ApiCall {
        service: service.to_owned(),
        name: name.to_owned(),
        parameters: content(&detail, "requestParameters")?,
        response: content(&detail, "responseElements")?,
        resources: resources(&detail)?,
    };
    let mut signal =
        event.signal(trigger, account, event.region()?, deduplication(event, &detail)?)?;
    signal.time = time(detail.hint("eventTime")).or(signal.time);
    signal.actor = actor::of_record(&detail);
    signal.request_id = detail.hint("requestID").filter(|id| is_request_id(id)).map(str::to_owned);
    Ok(signal)
}

/// CloudTrail's events of `s3.amazonaws.com` come from `aws.s3`.
fn is_source_of(source: &str, service: &str) -> bool {
    let service = service.strip_suffix(".amazonaws.com");
    service.is_some() && source.strip_prefix("aws.") == service
}

/// Whether AWS may have given it. What is looked for in the ledger must fit into a key there.
fn is_request_id(id: &str) -> bool {
    id.len() <= 256 && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The code of a call that failed. Empty is success; what is neither text nor absent counts as a failure.
pub(super) fn error_code(detail: &Fields<'_>) -> Option<String> {
    match detail.value("errorCode")? {
        Value::String(code) if code.is_empty() => None,
        Value::String(code) => Some(brief(code)),
        other => Some(brief(&other.to_string())),
    }
}

/// CloudTrail sends a record to the account that it is about, and says so inside it: a record that says otherwise is
/// forged.
pub(super) fn own_account(event: &Envelope<'_>, detail: &Fields<'_>) -> Result<String, Stop> {
    let account = event.admit(event.account()?)?;
    let recipient = match detail.value("recipientAccountId") {
        None => return Ok(account),
        Some(Value::String(recipient)) => recipient.clone(),
        Some(other) => other.to_string(),
    };
    if recipient == account {
        Ok(account)
    } else {
        Err(Stop::Refuse(Refusal::AccountMismatch, brief(&recipient)))
    }
}

/// The same call is recorded under two event ids if two accounts see it, and then has a shared one. Records that have
/// neither are known by the event that brings them.
pub(super) fn deduplication(
    event: &Envelope<'_>,
    detail: &Fields<'_>,
) -> Result<String, EventError> {
    let id = match detail.text("sharedEventID")? {
        Some(id) => Some(id),
        None => detail.text("eventID")?,
    };
    Ok(key(&[match id {
        Some(id) => id,
        None => event.id()?,
    }]))
}

/// Above 100 KB, CloudTrail leaves the content out and says so in its place. An attacker can make it do that.
fn content(detail: &Fields<'_>, field: &str) -> Result<Value, EventError> {
    match detail.value(field) {
        None => Ok(Value::Null),
        Some(Value::Object(object)) => {
            let omitted = object.get("omitted").is_some_and(is_true)
                && (object.contains_key("originalSize") || object.contains_key("reason"));
            Ok(if omitted { Value::Null } else { Value::Object(object.clone()) })
        }
        Some(other) => Err(detail.wrong_type(field, "an object", other)),
    }
}

fn resources(detail: &Fields<'_>) -> Result<Vec<String>, EventError> {
    Ok(detail
        .list("resources")?
        .iter()
        .filter_map(|resource| resource.get("ARN").or_else(|| resource.get("arn"))?.as_str())
        .map(str::to_owned)
        .collect())
}

/// The account that owns all of what CloudTrail lists with an owner, if that is another one: the account of whoever calls
/// hears of the call, too.
fn other_owner(detail: &Fields<'_>, account: &str) -> Result<Option<String>, EventError> {
    let mut owners = detail
        .list("resources")?
        .iter()
        .filter_map(|resource| resource.get("accountId")?.as_str())
        .filter(|owner| owner.len() == 12 && owner.bytes().all(|digit| digit.is_ascii_digit()));
    let first = owners.next();
    Ok(first.filter(|first| *first != account && owners.all(|owner| owner != account)).map(brief))
}

fn is_read(name: &str) -> bool {
    READS.iter().any(|prefix| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_lowercase()))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::signal::samples::{ACCOUNT, api_call, error, reason, refusal, signal};

    #[test]
    fn a_call_keeps_what_controls_take_names_from() {
        let mut event = api_call();
        event["detail"]["resources"] =
            json!([{"type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::quell-sample"}, "text", {}]);
        let signal = signal(&event);
        assert_eq!(signal.account, ACCOUNT);
        assert_eq!(signal.region, "eu-west-1");
        assert_eq!(signal.event_id, "8f2d0b1c-0000-4000-8000-000000000001");
        assert_eq!(signal.deduplication, "5d3c7e1a-0000-4000-8000-000000000002");
        assert_eq!(signal.request_id.as_deref(), Some("QUELLSAMPLEREQUEST"));
        assert_eq!(signal.time.unwrap().to_string(), "2026-03-01T09:30:00Z");
        assert_eq!(signal.actor.unwrap().principal, "user alice");
        assert!(signal.trigger.is_call("s3.amazonaws.com", "PutBucketAcl"));
        let Trigger::ApiCall { parameters, response, resources, .. } = signal.trigger else {
            panic!()
        };
        assert_eq!(parameters["bucketName"], "quell-sample");
        assert_eq!(response, Value::Null);
        assert_eq!(resources, ["arn:aws:s3:::quell-sample"]);
    }

    #[test]
    fn a_failed_call_is_no_signal() {
        let mut event = api_call();
        for (code, expected) in [
            (json!("AccessDenied"), Reason::FailedCall { code: "AccessDenied".into() }),
            (
                json!("Client.UnauthorizedOperation"),
                Reason::FailedCall { code: "Client.UnauthorizedOperation".into() },
            ),
            (json!(404), Reason::FailedCall { code: "404".into() }),
            (json!("Client.DryRunOperation"), Reason::DryRun),
        ] {
            event["detail"]["errorCode"] = code;
            assert_eq!(reason(&event), expected);
        }
        for code in [json!(""), Value::Null] {
            event["detail"]["errorCode"] = code;
            signal(&event);
        }
    }

    #[test]
    fn a_failed_call_is_ignored_whatever_else_is_wrong_with_it() {
        let mut event = api_call();
        event["detail"]["errorCode"] = json!("AccessDenied");
        event["detail"]["requestParameters"] = json!("text");
        event["account"] = Value::Null;
        assert_eq!(reason(&event).code(), "failed-call");
    }

    #[test]
    fn what_belongs_to_another_account_alone_is_no_signal() {
        let owners = |owners: &[&str]| {
            let bucket = |owner| json!({ "type": "AWS::S3::Bucket", "accountId": owner });
            let object = json!({ "type": "AWS::S3::Object", "ARN": "arn:aws:s3:::photos/cat.jpg" });
            let mut event = api_call();
            event["detail"]["resources"] =
                owners.iter().map(bucket).chain([object]).collect::<Value>();
            event
        };
        let other = Reason::OtherOwner { account: "444455556666".into() };
        assert_eq!(reason(&owners(&["444455556666"])), other);
        assert_eq!(reason(&owners(&["444455556666", "777788889999"])), other);
        for own in [&[ACCOUNT][..], &[], &["444455556666", ACCOUNT], &["12345"], &["hidden"]] {
            signal(&owners(own));
        }
    }

    #[test]
    fn a_read_is_no_signal() {
        let mut event = api_call();
        for flag in [json!(true), json!("true"), json!("True")] {
            event["detail"]["readOnly"] = flag;
            assert_eq!(reason(&event), Reason::ReadOnly);
        }
        for flag in [json!(false), Value::Null] {
            event["detail"]["readOnly"] = flag;
            for name in [
                "GetBucketAcl",
                "ListBuckets",
                "DescribeInstances",
                "BatchGetImage",
                "GetPasswordData",
            ] {
                event["detail"]["eventName"] = json!(name);
                assert_eq!(reason(&event), Reason::ReadOnly, "{name}");
            }
            for name in ["AssumeRole", "PutBucketAcl", "Getaway", "Listen", "HeadlessStart"] {
                event["detail"]["eventName"] = json!(name);
                signal(&event);
            }
        }
    }

    #[test]
    fn omitted_parameters_are_unknown_and_not_empty() {
        let mut event = api_call();
        event["detail"]["requestParameters"] = json!({
            "omitted": "true",
            "originalSize": "120000",
            "reason": "requestParameters too large",
        });
        let Trigger::ApiCall { parameters, .. } = signal(&event).trigger else { panic!() };
        assert_eq!(parameters, Value::Null);
    }

    #[test]
    fn parameters_that_are_no_object_are_an_error() {
        let mut event = api_call();
        event["detail"]["requestParameters"] = json!("text");
        assert_eq!(error(&event).to_string(), "`detail.requestParameters` is text, not an object");
        event["detail"]["requestParameters"] = Value::Null;
        signal(&event);
    }

    #[test]
    fn the_call_is_named_by_service_and_name_together() {
        let mut event = api_call();
        event["detail"]["eventSource"] = json!("ec2.amazonaws.com");
        event["source"] = json!("aws.ec2");
        assert!(!signal(&event).trigger.is_call("s3.amazonaws.com", "PutBucketAcl"));
        for (source, service) in [
            ("aws.s3", "ec2.amazonaws.com"),
            ("aws.s3aws.s3", "s3.amazonaws.com"),
            ("aws.s3", "s3"),
            ("aws.s3", "s3.amazonaws.com.evil.example"),
        ] {
            (event["source"], event["detail"]["eventSource"]) = (json!(source), json!(service));
            let expected =
                Reason::OtherSource { source: source.to_owned(), service: service.to_owned() };
            assert_eq!(reason(&event), expected);
        }
        event["detail"]["eventSource"] = Value::Null;
        assert_eq!(error(&event).to_string(), "`detail.eventSource` is missing or empty");
    }

    #[test]
    fn a_record_of_another_account_is_refused() {
        let mut event = api_call();
        event["detail"]["recipientAccountId"] = json!("210987654321");
        assert_eq!(refusal(&event), Refusal::AccountMismatch);
        event["detail"]["recipientAccountId"] = json!({});
        assert_eq!(refusal(&event), Refusal::AccountMismatch);
        event["detail"]["recipientAccountId"] = json!(123_456_789_012_u64);
        signal(&event);
        event["detail"]["recipientAccountId"] = Value::Null;
        signal(&event);
    }

    #[test]
    fn the_shared_id_goes_before_the_own_one() {
        let mut event = api_call();
        event["detail"]["sharedEventID"] = json!("shared");
        assert_eq!(signal(&event).deduplication, "shared");
        event["detail"]["sharedEventID"] = Value::Null;
        event["detail"]["eventID"] = Value::Null;
        assert_eq!(signal(&event).deduplication, "8f2d0b1c-0000-4000-8000-000000000001");
        event["id"] = Value::Null;
        assert_eq!(error(&event).to_string(), "`id` is missing or empty");
    }

    #[test]
    fn a_service_that_acts_by_itself_is_no_signal() {
        let mut event = api_call();
        event["detail"]["eventType"] = json!("AwsServiceEvent");
        assert_eq!(reason(&event), Reason::ServiceEvent);
    }
}
