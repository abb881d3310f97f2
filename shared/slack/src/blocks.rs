//! Text objects and blocks. Whatever is untrusted has gone through the engine's [`text`] before it comes here.

use quell_engine::text;
use serde_json::{Value, json};

use crate::{Action, Button, limits};

/// What is posted: blocks, and the text for where blocks cannot be shown, such as a telephone's notification.
#[derive(Clone, Debug, PartialEq)]
pub struct Posting {
    /// Slack's markup, with nothing in it that came from others unescaped.
    pub text: String,
    /// A list; empty: the text is all.
    pub blocks: Value,
}

impl Posting {
    /// Without blocks, for when Slack does not take them.
    pub fn text_only(&self) -> Self {
        Self { text: self.text.clone(), blocks: json!([]) }
    }
}

pub(crate) fn header(text: &str) -> Value {
    json!({"type": "header", "text": plain_text(text)})
}

pub(crate) fn section(text: &str) -> Value {
    json!({"type": "section", "text": mrkdwn(text)})
}

pub(crate) fn fields(texts: &[String]) -> Value {
    let texts: Vec<Value> = texts.iter().map(|text| mrkdwn(text)).collect();
    json!({"type": "section", "fields": texts})
}

pub(crate) fn context(texts: &[String]) -> Value {
    let texts: Vec<Value> = texts.iter().map(|text| mrkdwn(text)).collect();
    json!({"type": "context", "elements": texts})
}

pub(crate) fn actions(buttons: &[(Action, &Button)]) -> Value {
    let buttons: Vec<Value> = buttons.iter().map(|(action, button)| of(*action, button)).collect();
    json!({"type": "actions", "elements": buttons})
}

fn of(action: Action, button: &Button) -> Value {
    let label = match action {
        Action::Approve => "Approve",
        Action::Deny => "Deny",
        Action::Undo => "Undo",
        Action::Exempt => "Exempt…",
        Action::Snooze => "Snooze a day",
    };
    let mut of = json!({
        "type": "button",
        "text": plain_text(label),
        "action_id": action.id(),
        "value": button.value(),
    });
    match action {
        Action::Approve => of["style"] = json!("primary"),
        // It opens again what was closed: not by a slip of the thumb.
        Action::Undo => {
            of["style"] = json!("danger");
            of["confirm"] = json!({
                "title": plain_text("Undo the fix?"),
                "text": plain_text("The resource will be as it was before the fix, in its bad state."),
                "confirm": plain_text("Undo"),
                "deny": plain_text("Keep the fix"),
            });
        }
        _ => {}
    }
    of
}

pub(crate) fn plain_text(text: &str) -> Value {
    // Without emoji: `:boom:` in a name stays what it is.
    json!({"type": "plain_text", "text": text, "emoji": false})
}

/// Verbatim: Slack makes no links of addresses, and no mentions of names.
fn mrkdwn(text: &str) -> Value {
    json!({"type": "mrkdwn", "text": text, "verbatim": true})
}

/// Untrusted text for a plain text object, which has no markup to escape: `&` would show as `&amp;`.
pub(crate) fn plain(untrusted: &str, cap: usize) -> String {
    text::mail_up_to(untrusted, cap).replace('@', "＠").replace('&', "＆").replace('`', "'")
}

/// The longest rendering that fits, with less and less of untrusted text.
pub(crate) fn fitted(max: usize, render: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for cap in [text::CAP, 128, 64, 32, 16, 8] {
        text = render(cap);
        if limits::length(&text) <= max {
            break;
        }
    }
    text
}

/// A link to AWS's console. `None`: the address is not one that Quell would have made.
pub(crate) fn console(url: &str) -> Option<String> {
    let link = text::console_link(url)?.replace('&', "&amp;");
    Some(format!("<{link}|Open in the AWS console>"))
}
