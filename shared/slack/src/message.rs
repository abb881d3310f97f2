//! A message as Slack shows it.
//!
//! <https://docs.slack.dev/messaging/formatting-message-text>

use quell_engine::{
    Outcome,
    notify::{Limits, Message, severity},
    text,
};
use serde_json::Value;

use crate::{
    Action, Button, Posting,
    blocks::{actions, console, context, fields, fitted, header, plain, section},
    button::ButtonError,
    limits,
};

/// How long a message may be that stands in a thread, or in a notification.
const LINE: usize = 1000;

/// The message with the buttons that the person who reads it may press. Their nonces are new each time. Without
/// buttons (an incoming webhook brings none back) the commands are all there is.
///
/// # Errors
/// If the system gives no random numbers.
pub fn posting(message: &Message, with_buttons: bool) -> Result<Posting, ButtonError> {
    let button = if with_buttons { button(message)? } else { None };
    // The last is so small that it fits whatever the text.
    let limits = [
        Limits { field: 512, line: 256, lines: 40, notes: 5 },
        Limits { field: 256, line: 160, lines: 20, notes: 5 },
        Limits { field: 128, line: 120, lines: 10, notes: 3 },
        Limits { field: 64, line: 80, lines: 4, notes: 2 },
        Limits { field: 24, line: 0, lines: 0, notes: 0 },
    ];
    let mut shown = Value::Null;
    for limits in limits {
        shown = blocks(&message.shortened(limits), button.as_ref());
        if limits::complaints(&shown).is_empty() {
            break;
        }
    }
    Ok(Posting { text: fitted(LINE, |cap| headline(message, cap)), blocks: shown })
}

/// What is said in the message's thread when the record has moved on.
pub fn reply(message: &Message) -> String {
    let limits = [256, 128, 64, 24].map(|field| Limits { field, line: 0, lines: 0, notes: 0 });
    let mut said = String::new();
    for limits in limits {
        let message = message.shortened(limits);
        let mut lines = vec![format!("*{}*", message.status())];
        lines.extend(message.ordered(text::markdown).map(|ordered| format!("Ordered: {ordered}")));
        lines.extend(message.reason.as_deref().map(|why| format!("Why: {}", text::markdown(why))));
        said = lines.join("\n");
        if limits::length(&said) <= LINE {
            break;
        }
    }
    said
}

/// Severity, what and where on one line.
fn headline(message: &Message, cap: usize) -> String {
    format!(
        "Quell {} [{}] {}: {}",
        message.verdict(),
        severity(message.control.severity),
        text::phrase_up_to(&message.control.id, cap),
        text::markdown_up_to(&message.resource.name, cap),
    )
}

/// `None`: there is nothing to order, or no record that it would be about.
fn button(message: &Message) -> Result<Option<Button>, ButtonError> {
    let Some(record) = message.record.as_deref().filter(|_| !offered(message).is_empty()) else {
        return Ok(None);
    };
    match Button::new(record, message.plan_hash.as_deref().unwrap_or_default()) {
        Ok(button) => Ok(Some(button)),
        // It is no record of Quell's: the commands are left.
        Err(ButtonError::Malformed) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a person can order now.
fn offered(message: &Message) -> Vec<Action> {
    let mut offered = Vec::new();
    if message.approve.is_some() && message.outcome == Outcome::Pending {
        offered.extend([Action::Approve, Action::Deny]);
    }
    let is_fix = matches!(message.outcome, Outcome::Fixed | Outcome::Partial);
    // An undo that failed names the record of the fix, not this one.
    if message.undo.is_some() && is_fix && message.undoes.is_none() {
        offered.push(Action::Undo);
    }
    let can_be_exempt = matches!(
        message.outcome,
        Outcome::Observed | Outcome::Pending | Outcome::Parked | Outcome::Fixed
    );
    if message.exempt.is_some() && can_be_exempt {
        offered.extend([Action::Exempt, Action::Snooze]);
    }
    offered
}

/// Answers, in this order: what Quell did and what was wrong, which resource, who did it, when, the changes, what to do
/// now, which control.
fn blocks(message: &Message, button: Option<&Button>) -> Value {
    let mut blocks =
        vec![header(&title(message)), section(&summary(message)), fields(&facts(message))];
    blocks.extend(changes(message).map(|changes| section(&changes)));
    if !message.notes.is_empty() {
        let notes = message.notes.iter().map(|note| format!("Note: {}", phrase(note)));
        blocks.push(context(&notes.collect::<Vec<_>>()));
    }
    if let Some(button) = button {
        let offered: Vec<_> = offered(message).into_iter().map(|action| (action, button)).collect();
        blocks.push(actions(&offered));
    }
    let commands =
        message.commands().map(|(name, command)| format!("{name}: {}", text::markdown(command)));
    let mut next: Vec<String> = commands.collect();
    next.extend(message.advice(text::markdown));
    if !next.is_empty() {
        blocks.push(context(&next));
    }
    blocks.push(context(&origin(message)));
    Value::Array(blocks)
}

/// A sentence of ours or of a control's, as it is.
fn phrase(sentence: &str) -> String {
    text::phrase_up_to(sentence, usize::MAX)
}

fn title(message: &Message) -> String {
    fitted(limits::HEADER, |cap| {
        format!(
            "Quell {} [{}] {}: {}",
            message.verdict(),
            severity(message.control.severity),
            plain(&message.control.id, cap),
            plain(&message.resource.name, cap),
        )
    })
}

fn summary(message: &Message) -> String {
    let mut lines = vec![format!("*{}*", message.status()), phrase(&message.control.risk)];
    let why = message.reason.as_deref().map(|why| text::markdown_up_to(why, usize::MAX));
    lines.extend(why.map(|why| format!("Why: {why}")));
    lines.extend(message.cause.as_deref().map(|cause| format!("Cause: {}", phrase(cause))));
    lines.join("\n")
}

fn facts(message: &Message) -> Vec<String> {
    let mut resource = format!("*Resource*\n{}", text::markdown(&message.resource.name));
    if message.resource.arn != message.resource.name {
        resource.push_str(&format!("\n{}", text::markdown(&message.resource.arn)));
    }
    if let Some(link) = console(&message.resource.console) {
        resource.push_str(&format!("\n{link}"));
    }
    let place = format!(
        "*Account and region*\n{} {}",
        text::markdown(&message.account),
        text::markdown(&message.region)
    );
    let mut facts = vec![
        resource,
        place,
        format!("*Who*\n{}", who(message)),
        format!("*When*\n{}", message.when()),
    ];
    let verified = message.verification().map(|verified| format!("*Verified*\n{verified}"));
    let ordered = message.ordered(text::markdown).map(|ordered| format!("*Ordered*\n{ordered}"));
    let until = message.until().map(|until| format!("*Until*\n{until}"));
    facts.extend([verified, ordered, until].into_iter().flatten());
    facts
}

fn who(message: &Message) -> String {
    let Some(actor) = &message.actor else { return "the event does not say".to_owned() };
    let mut who = text::markdown(&actor.principal);
    let told =
        [("from", &actor.source_ip), ("with", &actor.user_agent), ("through", &actor.invoked_by)];
    for (how, value) in told {
        if let Some(value) = value {
            who.push_str(&format!("\n{how} {}", text::markdown(value)));
        }
    }
    who
}

fn changes(message: &Message) -> Option<String> {
    if message.changes.is_empty() && message.left_out == 0 {
        return None;
    }
    let mut shown = format!("*{}*", message.heading());
    for change in &message.changes {
        let action = text::markdown(&change.description.action);
        shown.push_str(&format!("\n{action}{}", message.made(change)));
        let minus = change.description.minus.iter().map(|line| ("-", line));
        let plus = change.description.plus.iter().map(|line| ("+", line));
        let lines: Vec<String> =
            minus.chain(plus).map(|(sign, line)| format!("{sign} {}", phrase(line))).collect();
        if !lines.is_empty() {
            shown.push_str(&format!("\n```{}```", lines.join("\n")));
        }
    }
    if let Some(rest) = message.rest(text::markdown) {
        shown.push_str(&format!("\n{rest}"));
    }
    Some(shown)
}

fn origin(message: &Message) -> Vec<String> {
    let mut origin = vec![format!(
        "{}: {} ({} severity, mode {})",
        text::markdown(&message.control.id),
        phrase(&message.control.title),
        severity(message.control.severity),
        text::markdown(&message.mode),
    )];
    origin.extend(message.runbook().map(|path| format!("Runbook: `{path}`")));
    origin.extend(
        message.record.as_deref().map(|record| format!("Record: {}", text::markdown(record))),
    );
    origin.push(format!("Event: {}", text::markdown(&message.event.id)));
    origin
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{hostile, samples};

    #[test]
    fn says_what_happened() {
        for outcome in Outcome::ALL.into_iter().filter(|outcome| outcome.people_should_hear()) {
            let Posting { text, blocks } = posting(&samples::message(outcome), true).unwrap();
            let shown = format!(
                "{text}\n\n{}\n\nIn the thread:\n{}",
                drawn(&blocks),
                reply(&samples::message(outcome))
            );
            insta::assert_snapshot!(format!("{outcome}"), shown);
        }
    }

    #[test]
    fn a_fix_is_these_blocks() {
        let mut posting = posting(&samples::message(Outcome::Fixed), true).unwrap();
        for button in posting.blocks.as_array_mut().unwrap().iter_mut().flat_map(|block| {
            block.get_mut("elements").and_then(Value::as_array_mut).into_iter().flatten()
        }) {
            if button.get("value").is_some() {
                button["value"] = "(with a nonce)".into();
            }
        }
        insta::assert_json_snapshot!(posting.blocks);
    }

    #[test]
    fn the_buttons_are_what_a_person_can_order_and_no_other() {
        use Outcome::{Denied, Failed, Fixed, Observed, Parked, Partial, Pending, Refused, Undone};
        for (outcome, expected) in [
            (Observed, "Exempt Snooze"),
            (Fixed, "Undo Exempt Snooze"),
            (Partial, "Undo"),
            (Failed, ""),
            (Refused, ""),
            (Pending, "Approve Deny Exempt Snooze"),
            (Parked, ""),
            (Denied, ""),
            (Undone, ""),
        ] {
            let message = samples::message(outcome);
            let shown: Vec<String> =
                offered(&message).iter().map(|action| format!("{action:?}")).collect();
            assert_eq!(shown.join(" "), expected, "{outcome}");
            let blocks = posting(&message, true).unwrap().blocks;
            let ids: Vec<String> = buttons(&blocks).into_iter().map(|(id, _)| id).collect();
            let offered: Vec<&str> = offered(&message).iter().map(|action| action.id()).collect();
            assert_eq!(ids, offered, "{outcome}");
        }
    }

    #[test]
    fn an_undo_that_failed_has_no_button_because_the_command_names_another_record() {
        let mut message = samples::message(Outcome::Partial);
        message.undoes = Some("77c49be21d6a0c5f".to_owned());
        assert_eq!(offered(&message), []);
    }

    #[test]
    fn a_button_is_bound_to_the_record_and_its_plan_and_every_posting_has_another_nonce() {
        let message = samples::message(Outcome::Pending);
        let buttons = || buttons(&posting(&message, true).unwrap().blocks);
        let first = buttons();
        assert_eq!(first.len(), 4);
        for (_, value) in &first {
            let button = Button::parse(value).unwrap();
            assert_eq!(button.record, samples::RECORD);
            assert_eq!(button.plan, samples::PLAN);
        }
        assert_ne!(first, buttons());
    }

    #[test]
    fn a_webhook_has_commands_instead_of_buttons() {
        let blocks = posting(&samples::message(Outcome::Pending), false).unwrap().blocks;
        assert_eq!(buttons(&blocks), []);
        assert!(drawn(&blocks).contains(&format!("Approve: `quell approve {}`", samples::RECORD)));
    }

    #[test]
    fn a_long_diff_says_where_the_rest_is() {
        let mut message = samples::message(Outcome::Fixed);
        message.changes[0].description.minus = vec!["x".repeat(200); 1000];
        let shown = drawn(&posting(&message, true).unwrap().blocks);
        let note = "more lines, left out here. Read them with `quell show 5f0c6a1de2b94c77`";
        assert!(shown.contains(note), "{shown}");
    }

    #[test]
    fn a_name_cannot_end_the_code_in_which_it_stands() {
        let mut message = samples::message(Outcome::Fixed);
        message.changes[0].description.minus =
            vec!["```\n*Approved by the CISO* <!channel>".to_owned()];
        let shown = drawn(&posting(&message, true).unwrap().blocks);
        assert!(shown.contains("```- ''' *Approved by the CISO* ‹!channel›```"), "{shown}");
    }

    #[test]
    fn a_message_without_a_record_has_no_buttons() {
        let mut message = samples::message(Outcome::Fixed);
        for record in [None, Some("<!channel>".to_owned())] {
            message.record = record;
            assert_eq!(buttons(&posting(&message, true).unwrap().blocks), []);
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_inert_and_slack_takes_it(
            texts in prop::collection::vec(hostile::text(), 1..6),
            which in prop::sample::select(Outcome::ALL.to_vec()),
            lines in 0..40_usize,
            with_buttons in any::<bool>(),
        ) {
            let message = samples::filled(which, &texts, lines);
            let posting = posting(&message, with_buttons).unwrap();
            prop_assert_eq!(limits::complaints(&posting.blocks), Vec::<String>::new());
            prop_assert!(limits::length(&posting.text) <= limits::TEXT);
            let reply = reply(&message);
            prop_assert!(limits::length(&reply) <= LINE, "{}", reply);
            for text in strings(&posting.blocks).iter().chain([&posting.text, &reply]) {
                hostile::assert_inert(text);
                prop_assert!(!text.contains(['<', '>', '@']), "{text}");
                prop_assert_eq!(text.matches('`').count() % 2, 0, "{}", text);
            }
        }

        #[test]
        fn only_the_console_is_a_link(name in "[a-z0-9&=%+,:/.-]{0,40}") {
            let mut message = samples::message(Outcome::Fixed);
            message.resource.console = format!("https://console.aws.amazon.com/{name}");
            let links: Vec<String> = strings(&posting(&message, true).unwrap().blocks)
                .into_iter()
                .filter(|text| text.contains('<'))
                .collect();
            prop_assert_eq!(links.len(), 1);
            let link = format!(
                "<https://console.aws.amazon.com/{}|Open in the AWS console>",
                name.replace('&', "&amp;")
            );
            prop_assert!(links[0].ends_with(&link), "{}", links[0]);
        }
    }

    /// All texts that people see.
    fn strings(value: &Value) -> Vec<String> {
        match value {
            Value::Object(fields) => fields
                .iter()
                .filter(|(name, _)| {
                    !matches!(name.as_str(), "value" | "action_id" | "type" | "style")
                })
                .flat_map(|(_, value)| strings(value))
                .collect(),
            Value::Array(values) => values.iter().flat_map(strings).collect(),
            Value::String(text) => vec![text.clone()],
            _ => vec![],
        }
    }

    fn buttons(blocks: &Value) -> Vec<(String, String)> {
        let all = blocks.as_array().unwrap().iter().filter(|block| block["type"] == "actions");
        all.flat_map(|block| block["elements"].as_array().unwrap())
            .map(|button| {
                let text = |name: &str| button[name].as_str().unwrap().to_owned();
                (text("action_id"), text("value"))
            })
            .collect()
    }

    /// As it looks, more or less.
    fn drawn(blocks: &Value) -> String {
        let text = |value: &Value| value["text"].as_str().unwrap_or_default().to_owned();
        let texts =
            |values: &Value| values.as_array().unwrap().iter().map(text).collect::<Vec<_>>();
        let blocks = blocks.as_array().unwrap().iter().map(|block| match block["type"].as_str() {
            Some("header") => format!("# {}", text(&block["text"])),
            Some("actions") => {
                let elements = block["elements"].as_array().unwrap();
                let labels = elements.iter().map(|button| format!("[ {} ]", text(&button["text"])));
                labels.collect::<Vec<_>>().join(" ")
            }
            Some("context") => texts(&block["elements"]).join(" · "),
            _ if block.get("fields").is_some() => texts(&block["fields"]).join("\n"),
            _ => text(&block["text"]),
        });
        blocks.collect::<Vec<_>>().join("\n---\n")
    }
}
