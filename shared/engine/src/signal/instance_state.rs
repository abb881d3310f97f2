//! Instances that start, run, stop or end.

use serde_json::Value;

use super::{
    EventError, Signal, Trigger,
    event::{Envelope, Stop, key},
    fields::Fields,
};

pub(super) fn hear(event: &Envelope<'_>) -> Result<Signal, Stop> {
    let detail = event.detail()?;
    let trigger = Trigger::InstanceState {
        instance: instance(event, &detail)?.to_owned(),
        state: detail.required_text("state")?.to_owned(),
    };
    let account = event.admit(event.account()?)?;
    Ok(event.signal(trigger, account, event.region()?, key(&[event.id()?]))?)
}

/// The envelope repeats the instance as an ARN.
fn instance<'a>(event: &Envelope<'a>, detail: &Fields<'a>) -> Result<&'a str, EventError> {
    let of_detail = detail.text("instance-id")?.map(str::trim).filter(|id| !id.is_empty());
    let of_envelope = || match event.root.list("resources").ok()? {
        [Value::String(arn)] => arn.split_once(":instance/").map(|(_, id)| id),
        _ => None,
    };
    of_detail.or_else(of_envelope).ok_or_else(|| detail.missing("instance-id"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::signal::samples::{error, instance_state, signal};

    #[test]
    fn it_names_instance_and_state() {
        let mut event = instance_state();
        let expected = Trigger::InstanceState {
            instance: "i-0abc0abc0abc0abc0".into(),
            state: "running".into(),
        };
        assert_eq!(signal(&event).trigger, expected);
        assert_eq!(signal(&event).deduplication, "8f2d0b1c-0000-4000-8000-000000000001");
        event["detail"]["instance-id"] = json!(" i-0abc0abc0abc0abc0");
        assert_eq!(signal(&event).trigger, expected);
        event["detail"]["instance-id"] = Value::Null;
        assert_eq!(signal(&event).trigger, expected);
        event["resources"] = json!([]);
        assert_eq!(error(&event).to_string(), "`detail.instance-id` is missing or empty");
    }
}
