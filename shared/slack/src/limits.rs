//! What Slack takes of blocks, as its documentation says.
//!
//! <https://docs.slack.dev/reference/block-kit/blocks>,
//! <https://docs.slack.dev/reference/block-kit/block-elements>,
//! <https://docs.slack.dev/reference/block-kit/composition-objects>,
//! <https://docs.slack.dev/reference/views/modal-views>
//!
//! Slack counts characters and does not say how: here a character counts as often as UTF-16 needs it, which is never
//! less. Only what Quell sends is known; anything else is complained of.

use serde_json::{Map, Value};

/// Blocks of a message. A modal may have twice as many.
pub const BLOCKS: usize = 50;
pub const HEADER: usize = 150;
pub const SECTION: usize = 3000;
pub const FIELDS: usize = 10;
pub const FIELD: usize = 2000;
/// Elements of a context block.
pub const CONTEXT: usize = 10;
/// Elements of an actions block.
pub const ACTIONS: usize = 25;
pub const BUTTON: usize = 75;
pub const VALUE: usize = 2000;
pub const ACTION_ID: usize = 255;
/// Of a message's own text, which stands where blocks cannot. Slack cuts at 40,000 and advises 4,000.
/// <https://docs.slack.dev/reference/methods/chat.postMessage>
pub const TEXT: usize = 4000;
/// Of all texts of a message together. Slack answers `msg_blocks_too_long` and documents no number; this is well below
/// what it has been seen to take.
pub const ALL: usize = 12_000;

/// How long Slack takes a text to be, at the most.
pub fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

/// What Slack would refuse about the blocks of a message, each with the place where it stands. Empty: it takes them.
pub fn complaints(blocks: &Value) -> Vec<String> {
    let mut check = Check::default();
    check.blocks(blocks, BLOCKS, false);
    check.complaints
}

/// The same for a modal, as `views.open` takes it.
pub fn complaints_of_modal(view: &Value) -> Vec<String> {
    let mut check = Check::default();
    check.is(view["type"] == "modal", "type", "is not modal");
    for (name, max) in [("title", 24), ("submit", 24), ("close", 24)] {
        check.text(&view[name], name, max, Some("plain_text"));
    }
    for (name, max) in [("callback_id", ACTION_ID), ("private_metadata", 3000)] {
        if let Some(value) = view.get(name) {
            check.string(value, name, 0, max);
        }
    }
    check.blocks(&view["blocks"], 2 * BLOCKS, true);
    check.complaints
}

#[derive(Default)]
struct Check {
    complaints: Vec<String>,
    /// Characters of all texts.
    all: usize,
    ids: Vec<String>,
}

impl Check {
    fn is(&mut self, holds: bool, at: &str, wrong: &str) {
        if !holds {
            self.complaints.push(format!("{at} {wrong}"));
        }
    }

    fn blocks(&mut self, blocks: &Value, max: usize, in_modal: bool) {
        let Some(blocks) = blocks.as_array() else {
            return self.is(false, "blocks", "is not a list");
        };
        self.is((1..=max).contains(&blocks.len()), "blocks", "has none or too many blocks");
        for (index, block) in blocks.iter().enumerate() {
            self.block(block, &format!("blocks[{index}]"), in_modal);
        }
        self.is(self.all <= ALL, "blocks", "has more text than Slack takes");
    }

    fn block(&mut self, block: &Value, at: &str, in_modal: bool) {
        let kind = block["type"].as_str().unwrap_or_default();
        let known: &[&str] = match kind {
            "header" => &["text"],
            "section" => &["text", "fields"],
            "context" => &["elements"],
            "actions" => &["elements"],
            "divider" => &[],
            "input" if in_modal => &["label", "hint", "element", "optional"],
            _ => return self.is(false, at, "is of an unknown type"),
        };
        self.fields(block, at, &[known, &["block_id"]].concat());
        match kind {
            "header" => {
                self.text(&block["text"], &format!("{at}.text"), HEADER, Some("plain_text"));
            }
            "section" => {
                let has_text = block.get("text").is_some();
                self.is(
                    has_text || block.get("fields").is_some(),
                    at,
                    "has neither text nor fields",
                );
                if has_text {
                    self.text(&block["text"], &format!("{at}.text"), SECTION, None);
                }
                if let Some(fields) = block.get("fields") {
                    self.list(fields, &format!("{at}.fields"), FIELDS, |check, field, at| {
                        check.text(field, at, FIELD, None);
                    });
                }
            }
            "context" => {
                self.list(
                    &block["elements"],
                    &format!("{at}.elements"),
                    CONTEXT,
                    |check, one, at| {
                        check.text(one, at, SECTION, None);
                    },
                );
            }
            "actions" => {
                self.list(&block["elements"], &format!("{at}.elements"), ACTIONS, Self::button);
            }
            "input" => {
                self.text(&block["label"], &format!("{at}.label"), 2000, Some("plain_text"));
                if let Some(hint) = block.get("hint") {
                    self.text(hint, &format!("{at}.hint"), 2000, Some("plain_text"));
                }
                self.input(&block["element"], &format!("{at}.element"));
            }
            _ => {}
        }
        if let Some(id) = block.get("block_id") {
            self.string(id, &format!("{at}.block_id"), 1, ACTION_ID);
        }
    }

    fn button(&mut self, button: &Value, at: &str) {
        self.is(button["type"] == "button", at, "is not a button");
        self.fields(button, at, &["text", "action_id", "value", "style", "confirm"]);
        self.text(&button["text"], &format!("{at}.text"), BUTTON, Some("plain_text"));
        self.string(&button["action_id"], &format!("{at}.action_id"), 1, ACTION_ID);
        let id = button["action_id"].as_str().unwrap_or_default().to_owned();
        self.is(!self.ids.contains(&id), at, "has the action_id of another");
        self.ids.push(id);
        self.string(&button["value"], &format!("{at}.value"), 1, VALUE);
        if let Some(style) = button.get("style") {
            self.is(style == "primary" || style == "danger", at, "is of an unknown style");
        }
        if let Some(confirm) = button.get("confirm") {
            for (name, max) in [("title", 100), ("text", 300), ("confirm", 30), ("deny", 30)] {
                self.text(&confirm[name], &format!("{at}.confirm.{name}"), max, Some("plain_text"));
            }
        }
    }

    fn input(&mut self, element: &Value, at: &str) {
        match element["type"].as_str() {
            Some("plain_text_input") => {
                self.fields(element, at, &["action_id", "multiline", "min_length", "max_length"]);
                let length = |name: &str| element[name].as_u64().unwrap_or(1);
                self.is(length("max_length") <= 3000, at, "takes too long a text");
                self.is(length("min_length") <= length("max_length"), at, "takes no text at all");
            }
            Some("number_input") => {
                let known =
                    ["action_id", "is_decimal_allowed", "min_value", "max_value", "initial_value"];
                self.fields(element, at, &known);
                self.is(
                    element["is_decimal_allowed"].is_boolean(),
                    at,
                    "does not say whether decimals are allowed",
                );
                for name in ["min_value", "max_value", "initial_value"] {
                    let number = element[name].as_str().and_then(|text| text.parse::<f64>().ok());
                    self.is(
                        element.get(name).is_none() || number.is_some(),
                        at,
                        "has a bound that is no number in a string",
                    );
                }
            }
            _ => self.is(false, at, "is an unknown element"),
        }
        self.string(&element["action_id"], &format!("{at}.action_id"), 1, ACTION_ID);
    }

    fn list(&mut self, list: &Value, at: &str, max: usize, look: impl Fn(&mut Self, &Value, &str)) {
        let Some(list) = list.as_array() else { return self.is(false, at, "is not a list") };
        self.is((1..=max).contains(&list.len()), at, "is empty or too long");
        for (index, one) in list.iter().enumerate() {
            look(self, one, &format!("{at}[{index}]"));
        }
    }

    /// A text object.
    fn text(&mut self, object: &Value, at: &str, max: usize, only: Option<&str>) {
        let kind = object["type"].as_str().unwrap_or_default();
        let known: &[&str] = match kind {
            "plain_text" => &["text", "emoji"],
            "mrkdwn" => &["text", "verbatim"],
            _ => return self.is(false, at, "is not a text object"),
        };
        self.is(only.is_none_or(|only| only == kind), at, "is not plain text");
        self.fields(object, at, known);
        self.string(&object["text"], at, 1, max);
        self.all += object["text"].as_str().map(length).unwrap_or_default();
    }

    fn string(&mut self, value: &Value, at: &str, min: usize, max: usize) {
        let length = value.as_str().map(length);
        let fits = length.is_some_and(|length| (min..=max).contains(&length));
        self.is(fits, at, &format!("is no string of {min} to {max} characters ({length:?})"));
    }

    fn fields(&mut self, object: &Value, at: &str, known: &[&str]) {
        let empty = Map::new();
        for name in object.as_object().unwrap_or(&empty).keys() {
            let is_known = name == "type" || known.contains(&name.as_str());
            self.is(is_known, at, &format!("has an unknown field {name}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(length: usize) -> Value {
        json!({"type": "mrkdwn", "text": "x".repeat(length)})
    }

    fn plain(length: usize) -> Value {
        json!({"type": "plain_text", "text": "x".repeat(length)})
    }

    fn button(id: &str) -> Value {
        json!({"type": "button", "text": plain(75), "action_id": id, "value": "v".repeat(2000)})
    }

    #[test]
    fn what_the_documentation_allows_is_taken() {
        for blocks in [
            json!([{"type": "header", "text": plain(150)}]),
            json!([{"type": "section", "text": text(3000)}]),
            json!([{"type": "section", "fields": vec![text(1000); 10]}]),
            json!([{"type": "section", "fields": [text(2000)]}]),
            json!([{"type": "context", "elements": vec![text(10); 10]}]),
            json!([{"type": "actions", "elements": [button(&"a".repeat(255))]}]),
            json!(vec![json!({"type": "divider"}); 50]),
        ] {
            assert_eq!(complaints(&blocks), Vec::<String>::new());
        }
    }

    #[test]
    fn one_more_than_the_documentation_allows_is_refused() {
        let mut long_value = button("a");
        long_value["value"] = json!("v".repeat(2001));
        let mut long_label = button("a");
        long_label["text"] = plain(76);
        for (blocks, says) in [
            (json!([]), "has none or too many blocks"),
            (json!(vec![json!({"type": "divider"}); 51]), "has none or too many blocks"),
            (json!({}), "is not a list"),
            (json!([{"type": "header", "text": plain(151)}]), "150 characters"),
            (json!([{"type": "header", "text": text(10)}]), "is not plain text"),
            (json!([{"type": "section", "text": text(3001)}]), "3000 characters"),
            (json!([{"type": "section", "text": text(0)}]), "1 to 3000 characters"),
            (json!([{"type": "section"}]), "neither text nor fields"),
            (json!([{"type": "section", "fields": vec![text(1); 11]}]), "too long"),
            (json!([{"type": "section", "fields": [text(2001)]}]), "2000 characters"),
            (json!([{"type": "context", "elements": vec![text(1); 11]}]), "too long"),
            (json!([{"type": "context", "elements": []}]), "is empty"),
            (json!([{"type": "actions", "elements": [long_value]}]), "2000 characters"),
            (json!([{"type": "actions", "elements": [long_label]}]), "75 characters"),
            (
                json!([{"type": "actions", "elements": [button(&"a".repeat(256))]}]),
                "255 characters",
            ),
            (json!([{"type": "actions", "elements": [button("a"), button("a")]}]), "of another"),
            (
                json!([{"type": "section", "text": text(1), "colour": "red"}]),
                "unknown field colour",
            ),
            (json!([{"type": "video"}]), "unknown type"),
            (json!(vec![json!({"type": "section", "text": text(3000)}); 5]), "more text"),
        ] {
            let complaints = complaints(&blocks);
            assert!(complaints.iter().any(|one| one.contains(says)), "{says}: {complaints:?}");
        }
    }

    #[test]
    fn a_character_beyond_the_basic_plane_counts_twice() {
        let blocks =
            json!([{"type": "header", "text": {"type": "plain_text", "text": "💥".repeat(76)}}]);
        assert!(!complaints(&blocks).is_empty());
    }
}
