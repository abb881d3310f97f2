//! What the function is invoked with: messages from its queue, or a word from the operator.

use quell_engine::{notify::Notice, queue::Batch};
use quell_slack::{Alarm, Button};
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Event {
    Queue(Batch),
    Operator { slack: Word },
}

/// What the operator has people told who pressed a button.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Word {
    Modal { trigger_id: String, button: Button, channel: String, user: String },
    Reply { channel: String, user: String, text: String },
}

/// What people are to be told.
#[derive(Debug)]
pub(crate) enum Told {
    Notice(Notice),
    Alarm(Alarm),
}

impl Told {
    /// From the body of an item.
    pub(crate) fn parse(body: &str) -> Result<Self, serde_json::Error> {
        let body: Value = serde_json::from_str(body)?;
        // Of CloudWatch, which knows nothing of kinds.
        if body.get("AlarmName").is_some() {
            return serde_json::from_value(body).map(Self::Alarm);
        }
        serde_json::from_value(body).map(Self::Notice)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_batch_and_both_words_of_the_operator_are_understood() {
        let read = |event: Value| serde_json::from_value::<Event>(event);
        let batch =
            json!({"Records": [{"messageId": "1", "body": "{}", "eventSource": "aws:sqs"}]});
        assert!(matches!(read(batch), Ok(Event::Queue(batch)) if batch.deliveries.len() == 1));
        let button = Button::new("5f0c", "77c4").unwrap();
        let modal = json!({"slack": {"modal": {"trigger_id": "1.2", "button": button, "channel": "C1", "user": "U1"}}});
        assert!(matches!(read(modal), Ok(Event::Operator { slack: Word::Modal { .. } })));
        let reply = json!({"slack": {"reply": {"channel": "C1", "user": "U1", "text": "no"}}});
        assert!(matches!(read(reply), Ok(Event::Operator { slack: Word::Reply { .. } })));
        assert!(read(json!({"slack": {"token": "x"}})).is_err());
        assert!(read(json!({})).is_err());
    }

    #[test]
    fn an_alarm_is_told_from_a_notice() {
        let alarm = r#"{"AlarmName": "quell-x", "NewStateValue": "ALARM"}"#;
        assert!(matches!(Told::parse(alarm), Ok(Told::Alarm(_))));
        for bad in ["", "null", "{}", "[]", r#"{"kind": "poem"}"#, r#"{"AlarmName": 1}"#] {
            assert!(Told::parse(bad).is_err(), "{bad}");
        }
    }
}
