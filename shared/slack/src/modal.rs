//! The modal in which a person says why a resource is exempt, and for how long.

use serde_json::{Value, json};

use crate::{
    Action, Button,
    blocks::{plain_text, section},
    button::ButtonError,
};

/// Ids of the block and the element in which the reason is.
pub const REASON: &str = "reason";
/// The same for the days.
pub const DAYS: &str = "days";

/// As `views.open` takes it. `channel` is where the button was pressed.
pub fn exempt(button: &Button, channel: &str) -> Value {
    json!({
        "type": "modal",
        "callback_id": Action::Exempt.id(),
        "private_metadata": metadata(button, channel),
        "title": plain_text("Exempt a resource"),
        "submit": plain_text("Exempt"),
        "close": plain_text("Cancel"),
        "blocks": [
            section("Quell lets this one resource violate this one control until the days are over. What is fixed already stays fixed."),
            {
                "type": "input",
                "block_id": REASON,
                "label": plain_text("Why?"),
                "hint": plain_text("It stands in the ledger, and in the reminder before the exemption ends."),
                "element": {
                    "type": "plain_text_input",
                    "action_id": REASON,
                    "multiline": true,
                    "min_length": 1,
                    "max_length": 500,
                },
            },
            {
                "type": "input",
                "block_id": DAYS,
                "label": plain_text("For how many days?"),
                "element": {
                    "type": "number_input",
                    "action_id": DAYS,
                    "is_decimal_allowed": false,
                    "min_value": "1",
                    "max_value": "90",
                    "initial_value": "7",
                },
            },
        ],
    })
}

/// What Slack keeps for us until the modal is submitted: the button's JSON with the channel.
pub fn metadata(button: &Button, channel: &str) -> String {
    let mut fields = json!(button);
    fields["channel"] = json!(channel);
    fields.to_string()
}

/// The button and the channel, from [`metadata`] as it came back.
pub fn parse_metadata(metadata: &str) -> Result<(Button, String), ButtonError> {
    if metadata.len() > 3000 {
        return Err(ButtonError::TooLong);
    }
    let mut fields: Value = serde_json::from_str(metadata).map_err(|_| ButtonError::Malformed)?;
    let channel = fields.as_object_mut().and_then(|fields| fields.remove("channel"));
    let Some(Value::String(channel)) = channel else { return Err(ButtonError::Malformed) };
    Ok((Button::parse(&fields.to_string())?, channel))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    #[test]
    fn slack_takes_the_modal() {
        let button = Button::new("5f0c6a1de2b94c77", "77c49be21d6a0c5f").unwrap();
        let view = exempt(&button, "C0123456789");
        assert_eq!(limits::complaints_of_modal(&view), Vec::<String>::new());
        assert_eq!(view["callback_id"], "quell.exempt");
        assert_eq!(view["blocks"][1]["element"]["max_length"], 500);
        assert_eq!(view["blocks"][2]["element"]["max_value"], "90");
    }

    #[test]
    fn the_button_comes_back_with_its_channel() {
        let button = Button::new("5f0c6a1de2b94c77", "").unwrap();
        let metadata = metadata(&button, "C0123456789");
        assert_eq!(parse_metadata(&metadata), Ok((button, "C0123456789".to_owned())));
    }

    #[test]
    fn what_quell_did_not_write_is_refused() {
        for bad in ["", "{}", "[]", r#"{"channel":"C1"}"#, r#"{"channel":1}"#, "null"] {
            assert!(parse_metadata(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_metadata(&" ".repeat(3001)), Err(ButtonError::TooLong));
    }
}
