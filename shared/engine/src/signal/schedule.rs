//! Schedules of EventBridge, by which sweeps and recovery run.

use serde_json::Value;

use super::{
    Signal, Trigger,
    event::{Envelope, Stop, key},
};

pub(super) fn hear(event: &Envelope<'_>) -> Result<Signal, Stop> {
    let arn = event.root.list("resources")?.first().and_then(Value::as_str);
    // `…:rule/name`, `…:rule/bus/name`, `…:schedule/group/name`
    let rule = arn
        .and_then(|arn| arn.rsplit('/').next())
        .filter(|name| !name.is_empty())
        .ok_or_else(|| event.root.missing("resources"))?;
    let trigger = Trigger::Schedule { rule: rule.to_owned() };
    let account = event.admit(event.account()?)?;
    Ok(event.signal(trigger, account, event.region()?, key(&[event.id()?]))?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::signal::samples::{error, schedule, signal};

    #[test]
    fn it_names_the_rule() {
        let mut event = schedule();
        assert_eq!(signal(&event).trigger, Trigger::Schedule { rule: "quell-sweep".into() });
        event["source"] = json!("aws.scheduler");
        event["resources"] =
            json!(["arn:aws:scheduler:eu-west-1:123456789012:schedule/default/nightly"]);
        assert_eq!(signal(&event).trigger, Trigger::Schedule { rule: "nightly".into() });
        event["resources"] = json!([]);
        assert_eq!(error(&event).to_string(), "`resources` is missing or empty");
    }
}
