//! What a button carries to Slack and back.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a person orders with a button.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Approve,
    Deny,
    Undo,
    Exempt,
    /// An exemption of one day.
    Snooze,
}

impl Action {
    pub const ALL: [Self; 5] = [Self::Approve, Self::Deny, Self::Undo, Self::Exempt, Self::Snooze];

    /// Slack's `action_id`; of [`Exempt`](Self::Exempt) the `callback_id` of its modal too.
    pub fn id(self) -> &'static str {
        match self {
            Self::Approve => "quell.approve",
            Self::Deny => "quell.deny",
            Self::Undo => "quell.undo",
            Self::Exempt => "quell.exempt",
            Self::Snooze => "quell.snooze",
        }
    }

    /// `None`: no button of Quell's.
    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.id() == id)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id().trim_start_matches("quell."))
    }
}

/// The version of [`Button`] that this code writes and reads.
pub const VERSION: u8 = 1;

/// Slack's limit of a button's `value`. <https://docs.slack.dev/reference/block-kit/block-elements/button-element>
pub const LONGEST: usize = 2000;

/// The `value` of a button: what it is about, and of which plan. It comes back from Slack as it was written, but under
/// no secret of the button's own: whoever hears it asks the ledger.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Button {
    v: u8,
    /// The record's id.
    pub record: String,
    /// The hash of the plan that the person saw. Empty: the message had none.
    pub plan: String,
    /// 32 hexadecimal digits, others for each time the message is posted or updated. One press uses them up.
    pub nonce: String,
}

/// What came back is no value of a button of Quell's.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ButtonError {
    #[error("the button's value has more than {LONGEST} characters")]
    TooLong,
    #[error("the button's value is not one that Quell wrote")]
    Malformed,
    #[error("the button is of another version of Quell; use the command in the message")]
    Version,
    #[error("the system gives no random numbers")]
    NoRandomness,
}

impl Button {
    /// With a nonce of its own.
    pub fn new(record: impl Into<String>, plan: impl Into<String>) -> Result<Self, ButtonError> {
        let button = Self { v: VERSION, record: record.into(), plan: plan.into(), nonce: nonce()? };
        if button.is_plain() { Ok(button) } else { Err(ButtonError::Malformed) }
    }

    /// As it stands in a message.
    pub fn value(&self) -> String {
        // A number and three strings of letters and digits: written by hand, it cannot fail.
        let Self { v, record, plan, nonce } = self;
        format!(r#"{{"v":{v},"record":"{record}","plan":"{plan}","nonce":"{nonce}"}}"#)
    }

    /// From what came back.
    pub fn parse(value: &str) -> Result<Self, ButtonError> {
        #[derive(Deserialize)]
        struct Versioned {
            v: u64,
        }
        if value.len() > LONGEST {
            return Err(ButtonError::TooLong);
        }
        let malformed = |_| ButtonError::Malformed;
        let versioned: Versioned = serde_json::from_str(value).map_err(malformed)?;
        if versioned.v != u64::from(VERSION) {
            return Err(ButtonError::Version);
        }
        let button: Self = serde_json::from_str(value).map_err(malformed)?;
        if button.is_plain() { Ok(button) } else { Err(ButtonError::Malformed) }
    }

    /// Ids and hashes are letters and digits: nothing of a resource's name is ever in a button.
    fn is_plain(&self) -> bool {
        let plain = |text: &str| {
            text.len() <= 128
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        !self.record.is_empty()
            && plain(&self.record)
            && plain(&self.plan)
            && self.nonce.len() == 32
            && self.nonce.bytes().all(is_hex)
    }
}

fn nonce() -> Result<String, ButtonError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| ButtonError::NoRandomness)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_button_is_read_as_it_was_written() {
        let button = Button::new("5f0c6a1de2b94c77", "77c49be21d6a0c5f").unwrap();
        assert_eq!(Button::parse(&button.value()), Ok(button.clone()));
        let json: serde_json::Value = serde_json::from_str(&button.value()).unwrap();
        let nonce = button.nonce.as_str();
        assert_eq!(
            json,
            serde_json::json!({
                "v": 1, "record": "5f0c6a1de2b94c77", "plan": "77c49be21d6a0c5f", "nonce": nonce,
            })
        );
        assert_eq!(serde_json::to_value(&button).unwrap(), json);
    }

    #[test]
    fn a_message_without_a_plan_has_buttons_too() {
        let button = Button::new("5f0c6a1de2b94c77", "").unwrap();
        assert_eq!(Button::parse(&button.value()), Ok(button));
    }

    #[test]
    fn no_two_buttons_have_one_nonce() {
        let nonce = || Button::new("a", "b").unwrap().nonce;
        let mut seen: Vec<String> = (0..100).map(|_| nonce()).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 100);
    }

    #[test]
    fn what_quell_did_not_write_is_refused() {
        let nonce = "0123456789abcdef0123456789abcdef";
        let value = |record: &str, plan: &str, nonce: &str| {
            serde_json::json!({"v": 1, "record": record, "plan": plan, "nonce": nonce}).to_string()
        };
        assert!(Button::parse(&value("a", "b", nonce)).is_ok());
        for bad in [
            String::new(),
            "null".to_owned(),
            "[]".to_owned(),
            "{".to_owned(),
            r#"{"v":1}"#.to_owned(),
            value("", "b", nonce),
            value("<!channel>", "b", nonce),
            value("a\"", "b", nonce),
            value("a", "b c", nonce),
            value("a", "b", ""),
            value("a", "b", &nonce.to_uppercase()),
            value(&"a".repeat(129), "b", nonce),
            value("a", "b", nonce).replace("\"v\":1", "\"v\":1,\"more\":1"),
        ] {
            assert_eq!(Button::parse(&bad), Err(ButtonError::Malformed), "{bad}");
        }
        let later = value("a", "b", nonce).replace("\"v\":1", "\"v\":2");
        assert_eq!(Button::parse(&later), Err(ButtonError::Version));
        assert_eq!(Button::parse(&" ".repeat(2001)), Err(ButtonError::TooLong));
        assert_eq!(Button::new("a\nb", ""), Err(ButtonError::Malformed));
    }

    #[test]
    fn every_action_is_known_by_its_id() {
        for action in Action::ALL {
            assert_eq!(Action::from_id(action.id()), Some(action));
            assert_eq!(action.id(), format!("quell.{action}"));
            assert!(action.id().len() <= 255);
        }
        assert_eq!(Action::from_id("quell.halt"), None);
    }

    proptest! {
        #[test]
        fn no_value_makes_it_panic(value in ".{0,300}") {
            prop_assert!(Button::parse(&value).is_err());
        }

        #[test]
        fn whatever_can_be_written_can_be_read(record in ".{0,40}", plan in "[a-f0-9]{0,140}") {
            if let Ok(button) = Button::new(record, plan) {
                let value = button.value();
                prop_assert!(value.len() <= LONGEST);
                prop_assert_eq!(Button::parse(&value), Ok(button));
            }
        }
    }
}
