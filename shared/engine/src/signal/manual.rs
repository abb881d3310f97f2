//! A person asks for one control on one resource.
//!
//! ```json
//! {"source": "quell.manual", "detail": {"control": "s3-public-acl", "resource": "my-bucket", "account": "123456789012", "region": "eu-west-1"}}
//! ```
//!
//! Everything else of the envelope may be left out. Two runs are two happenings: they are told apart by the envelope's
//! `id`, else by its `time` and by Lambda's request id, which stays the same when an invocation is tried again.

use super::{
    EventError, Refusal, Signal, Trigger,
    event::{Envelope, Stop, account, digest, event_id, key, region, time},
    fields::brief,
};

pub(super) const SOURCE: &str = "quell.manual";

/// An ARN may have as many characters.
const MAX_RESOURCE: usize = 2048;

pub(super) fn hear(event: &Envelope<'_>) -> Result<Signal, Stop> {
    let detail = event.detail()?;
    let control = detail.required_text("control")?;
    let is_id = control.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !is_id || control.len() > 64 {
        let field = detail.path("control");
        return Err(EventError::unusable(field, "the id of a control", control).into());
    }
    let resource = detail.required_text("resource")?;
    if resource.len() > MAX_RESOURCE {
        let field = detail.path("resource");
        return Err(EventError::unusable(field, "the name of a resource", resource).into());
    }
    let owner = account(&detail, "account")?.ok_or_else(|| detail.missing("account"))?;
    let place = region(&detail, "region")?.ok_or_else(|| detail.missing("region"))?;
    let owner = event.admit(owner)?;
    if let Some(sender) = account(&event.root, "account")?
        && sender != owner
    {
        return Err(Stop::Refuse(Refusal::AccountMismatch, brief(sender)));
    }

    let sent = event.root.text("time")?;
    let id = match event.root.text("id")? {
        Some(id) => id.to_owned(),
        None => {
            let delivery = event.options.delivery.as_deref().unwrap_or_default();
            let run = [control, resource, &owner, &place, sent.unwrap_or_default(), delivery];
            format!("manual-{}", digest(&run.join("\n")))
        }
    };
    Ok(Signal {
        trigger: Trigger::Manual { control: control.to_owned(), resource: resource.to_owned() },
        account: owner,
        region: place,
        deduplication: key(&[&id]),
        event_id: event_id(&id),
        time: time(sent),
        actor: None,
        request_id: None,
        finding: None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::signal::{
        Heard, ParseOptions,
        samples::{ACCOUNT, error, hear_for, manual, refusal, refusal_for, signal},
    };

    #[test]
    fn it_names_control_and_resource() {
        let mut event = manual();
        let heard = signal(&event);
        assert_eq!(
            heard.trigger,
            Trigger::Manual { control: "s3-public-acl".into(), resource: "quell-sample".into() }
        );
        assert_eq!((heard.account.as_str(), heard.region.as_str()), (ACCOUNT, "eu-west-1"));
        event["id"] = json!("run-1");
        assert_eq!(signal(&event).deduplication, "run-1");
    }

    #[test]
    fn two_runs_are_told_apart_and_a_retry_is_not() {
        let event = manual();
        let run = |delivery: &str| {
            let options =
                ParseOptions { delivery: Some(delivery.to_owned()), ..ParseOptions::default() };
            let Heard::Signal(signal) = hear_for(&event, &options) else { panic!() };
            signal.deduplication
        };
        assert_eq!(run("request-1"), run("request-1"));
        assert_ne!(run("request-1"), run("request-2"));

        let mut one = event.clone();
        one["time"] = json!("2026-03-01T09:30:00Z");
        let mut two = event.clone();
        two["time"] = json!("2026-03-01T09:31:00Z");
        assert_ne!(signal(&one).deduplication, signal(&two).deduplication);
    }

    #[test]
    fn what_a_person_mistypes_is_named() {
        for (field, value, expected) in [
            ("control", Value::Null, "`detail.control` is missing or empty"),
            (
                "control",
                json!("S3 public"),
                "`detail.control` is `S3 public`, not the id of a control",
            ),
            ("resource", json!(["b"]), "`detail.resource` is a list, not text"),
            ("account", Value::Null, "`detail.account` is missing or empty"),
            ("region", json!("Ireland"), "`detail.region` is `Ireland`, not a region"),
        ] {
            let mut event = manual();
            event["detail"][field] = value;
            assert_eq!(error(&event).to_string(), expected);
        }
    }

    #[test]
    fn another_account_is_refused() {
        let mut event = manual();
        event["detail"]["account"] = json!("210987654321");
        assert_eq!(refusal_for(&event, ACCOUNT), Refusal::ForeignAccount);
        let mut event = manual();
        event["account"] = json!("210987654321");
        assert_eq!(refusal(&event), Refusal::AccountMismatch);
    }
}
