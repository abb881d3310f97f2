//! Findings of GuardDuty.

use serde_json::Value;

use super::{
    EventError, Reason, Signal, Trigger, actor,
    event::{Envelope, Stop, account, key, region, time},
    fields::{Fields, is_true},
};

pub(super) fn hear(event: &Envelope<'_>) -> Result<Signal, Stop> {
    let detail = event.detail()?;
    if !detail.has("type") && detail.has("Type") {
        return Err(EventError::OtherShape {
            what: "a GuardDuty finding as GetFindings writes it",
        }
        .into());
    }
    let kind = detail.required_text("type")?;
    let service = match detail.object("service")? {
        Some(service) => Some(service),
        // As relays write it that follow GuardDuty's first schema.
        None => detail.object("finding")?,
    };
    if service.as_ref().is_some_and(|service| service.flag("archived")) {
        return Err(Reason::ArchivedFinding.into());
    }
    if !event.options.samples && is_sample(&detail, service.as_ref()) {
        return Err(Reason::SampleFinding.into());
    }

    let owner = event.admit_finding(account(&detail, "accountId")?)?;
    let trigger = Trigger::GuardDuty {
        kind: kind.to_owned(),
        severity: detail.required_number("severity")?,
        resource: detail
            .required_object("resource")
            .map(|_| detail.value("resource").cloned().unwrap_or_default())?,
        affected: service
            .as_ref()
            .and_then(|service| service.hint_object("action"))
            .and_then(|action| action.hint_object("awsApiCallAction"))
            .and_then(|call| call.value("affectedResources").cloned())
            .unwrap_or_default(),
    };
    let place = match region(&detail, "region")? {
        Some(region) => region,
        None => event.region()?,
    };
    let key = key(&[detail.required_text("id")?, detail.required_text("updatedAt")?]);
    let mut signal = event.signal(trigger, owner, place, key)?;
    signal.time = time(detail.hint("updatedAt")).or(signal.time);
    signal.actor = actor::of_finding(&detail);
    Ok(signal)
}

/// Only by what AWS fills in. Names of users, tags and buckets may begin with `GeneratedFinding` because an attacker
/// hides there.
fn is_sample(detail: &Fields<'_>, service: Option<&Fields<'_>>) -> bool {
    let info = service.and_then(|service| service.hint_object("additionalInfo"));
    let says_so = info.as_ref().is_some_and(|info| {
        info.flag("sample")
            || info
                .hint("value")
                .and_then(|text| serde_json::from_str::<Value>(text).ok())
                .is_some_and(|value| value.get("sample").is_some_and(is_true))
    });
    let resource = detail.hint_object("resource");
    let has_id = |part: &str, field: &str, test: fn(&str) -> bool| {
        resource
            .as_ref()
            .and_then(|resource| resource.hint_object(part))
            .and_then(|part| part.hint(field))
            .is_some_and(test)
    };
    says_so
        || has_id("instanceDetails", "instanceId", |id| id == "i-99999999")
        || has_id("accessKeyDetails", "accessKeyId", |id| id.starts_with("GeneratedFinding"))
        || has_id("accessKeyDetails", "principalId", |id| id.starts_with("GeneratedFinding"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::signal::{
        ParseOptions, Refusal,
        samples::{ACCOUNT, error, guardduty, hear_for, reason, refusal_for, signal},
    };

    #[test]
    fn a_finding_keeps_type_severity_and_resource() {
        let mut event = guardduty();
        let heard = signal(&event);
        assert_eq!(
            heard.deduplication,
            "00c0ffee00c0ffee00c0ffee00c0ffee#2026-03-01T09:25:00.000Z"
        );
        let Trigger::GuardDuty { kind, severity, resource, .. } = heard.trigger else { panic!() };
        assert_eq!(kind, "Backdoor:EC2/C&CActivity.B");
        assert_eq!(severity, 8.0);
        assert_eq!(resource["instanceDetails"]["instanceId"], "i-0abc0abc0abc0abc0");

        event["detail"]["severity"] = json!(5.5);
        let Trigger::GuardDuty { severity, .. } = signal(&event).trigger else { panic!() };
        assert_eq!(severity, 5.5);
    }

    #[test]
    fn a_finding_about_a_call_keeps_what_the_call_acted_upon() {
        let mut event = guardduty();
        let trail =
            json!({"AWS::CloudTrail::Trail": "arn:aws:cloudtrail:eu-west-1:123456789012:trail/t"});
        event["detail"]["service"]["action"] =
            json!({"actionType": "AWS_API_CALL", "awsApiCallAction": {"affectedResources": trail}});
        let Trigger::GuardDuty { affected, .. } = signal(&event).trigger else { panic!() };
        assert_eq!(affected, trail);
        event["detail"]["service"]["action"] = json!({"actionType": "NETWORK_CONNECTION"});
        let Trigger::GuardDuty { affected, .. } = signal(&event).trigger else { panic!() };
        assert!(affected.is_null());
    }

    #[test]
    fn samples_are_ignored_unless_asked_for() {
        let asked = ParseOptions { samples: true, ..ParseOptions::default() };
        let flags = [
            json!({"additionalInfo": {"sample": true}}),
            json!({"additionalInfo": {"sample": "true"}}),
            json!({"additionalInfo": {"value": "{\"sample\":true}", "type": "default"}}),
        ];
        for service in flags {
            let mut event = guardduty();
            event["detail"]["service"] = service;
            assert_eq!(reason(&event), Reason::SampleFinding);
            assert!(matches!(hear_for(&event, &asked), crate::signal::Heard::Signal(_)));
        }
        let mut event = guardduty();
        event["detail"]["resource"]["instanceDetails"]["instanceId"] = json!("i-99999999");
        assert_eq!(reason(&event), Reason::SampleFinding);
        let mut event = guardduty();
        event["detail"]["resource"] =
            json!({"accessKeyDetails": {"accessKeyId": "GeneratedFindingAccessKeyId"}});
        assert_eq!(reason(&event), Reason::SampleFinding);
    }

    #[test]
    fn nobody_can_name_a_resource_into_a_sample() {
        let mut event = guardduty();
        event["detail"]["resource"]["instanceDetails"]["tags"] = json!([{"key": "GeneratedFindingInstaceTag1", "value": "GeneratedFindingInstaceValue1"}]);
        event["detail"]["resource"]["accessKeyDetails"] =
            json!({"userName": "GeneratedFindingUserName", "principalId": "AIDAQUELLSAMPLE"});
        event["detail"]["service"]["additionalInfo"] = json!({"value": "not JSON"});
        assert_eq!(signal(&event).actor.unwrap().principal, "principal GeneratedFindingUserName");
    }

    #[test]
    fn archived_findings_are_ignored() {
        let mut event = guardduty();
        event["detail"]["service"]["archived"] = json!(true);
        assert_eq!(reason(&event), Reason::ArchivedFinding);
    }

    #[test]
    fn findings_in_other_shapes_are_errors() {
        let mut event = guardduty();
        event["detail"] = json!({});
        assert_eq!(error(&event).to_string(), "`detail.type` is missing or empty");
        event["detail"] = json!({"Type": "Backdoor:EC2/C&CActivity.B", "Severity": 8});
        assert_eq!(
            error(&event).to_string(),
            "the event is a GuardDuty finding as GetFindings writes it, not an event as EventBridge sends it"
        );
        let mut event = guardduty();
        event["detail"]["severity"] = json!("8");
        assert_eq!(error(&event).to_string(), "`detail.severity` is text, not a number");
        let mut event = guardduty();
        event["detail"]["updatedAt"] = Value::Null;
        assert_eq!(error(&event).to_string(), "`detail.updatedAt` is missing or empty");
    }

    #[test]
    fn a_finding_of_a_member_account_is_refused() {
        let mut event = guardduty();
        event["detail"]["accountId"] = json!("210987654321");
        assert_eq!(refusal_for(&event, ACCOUNT), Refusal::ForeignAccount);
        assert_eq!(signal(&event).account, "210987654321");
    }
}
