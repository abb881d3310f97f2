//! The custom-notification schema of Amazon Q Developer in chat applications (once AWS Chatbot), which shows it in Slack
//! and Teams.
//!
//! <https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html>
//!
//! `client-markdown` is shown as the markdown of whichever chat it is: only inline code looks the same in both, and is
//! all that is used.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Bulletin, Limits, Message, severity};
use crate::text;

// The page gives no lengths. Slack takes at most 3,000 characters of text in one block; the others are ours.
const DESCRIPTION: usize = 2900;
const TITLE: usize = 200;
const SUMMARY: usize = 200;
const STEP: usize = 300;
const LINE: usize = 400;
const WORD: usize = 70;

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// Always `1.0`.
    pub version: String,
    /// Always `custom`.
    pub source: String,
    pub id: String,
    pub content: Content,
    pub metadata: Metadata,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Content {
    /// Always `client-markdown`.
    pub text_type: String,
    pub title: String,
    pub description: String,
    pub next_steps: Vec<String>,
    pub keywords: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The record: what happens to it later appears in the same thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    pub summary: String,
    pub event_type: String,
    pub related_resources: Vec<String>,
    pub additional_context: BTreeMap<String, String>,
}

pub fn body(message: &Message) -> Result<String, serde_json::Error> {
    text::json(&notification(message))
}

pub fn notification(message: &Message) -> Notification {
    let id = |text: &str| -> String {
        let known = text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        known.take(100).collect()
    };
    let word = |text: &str| fitted(WORD, |cap| text::phrase_up_to(text, cap));
    let title = |cap| {
        format!(
            "Quell {} [{}] {}: {}",
            message.verdict(),
            severity(message.control.severity),
            text::phrase_up_to(&message.control.id, cap),
            text::markdown_up_to(&message.resource.name, cap),
        )
    };
    Notification {
        version: "1.0".to_owned(),
        source: "custom".to_owned(),
        // One event may be about several resources, and several controls may hear it; a record is of one.
        id: match &message.record {
            Some(record) => format!("{}-{}", id(record), message.outcome),
            None => {
                format!("{}-{}-{}", id(&message.event.id), id(&message.control.id), message.outcome)
            }
        },
        content: Content {
            text_type: "client-markdown".to_owned(),
            title: fitted(TITLE, title),
            description: description(message),
            next_steps: next_steps(message),
            keywords: vec![
                word(&message.control.id),
                severity(message.control.severity).to_owned(),
                message.outcome.to_string(),
            ],
        },
        metadata: Metadata {
            thread_id: message.record.as_deref().map(id).filter(|record| !record.is_empty()),
            summary: fitted(SUMMARY, title),
            event_type: format!("quell.{}", message.outcome),
            related_resources: vec![word(&message.resource.arn)],
            additional_context: [
                ("account", word(&message.account)),
                ("region", word(&message.region)),
                ("control", word(&message.control.id)),
                ("severity", severity(message.control.severity).to_owned()),
                ("outcome", message.outcome.to_string()),
            ]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        },
    }
}

/// A bulletin in the same schema.
pub fn bulletin(bulletin: &Bulletin) -> Result<String, serde_json::Error> {
    let title = fitted(TITLE, |cap| bulletin.headline(|name| text::phrase_up_to(name, cap)));
    let described = |line| {
        fitted(LINE, |cap| {
            let quote = |text: &str| text::markdown_up_to(text, cap);
            Bulletin::describe(line, quote)
        })
    };
    let mut lines = vec![bulletin.status(), String::new()];
    for note in bulletin.notes.iter().take(3) {
        lines.insert(1, format!("Note: {}", fitted(LINE, |cap| text::markdown_up_to(note, cap))));
    }
    let mut left = 0;
    for line in &bulletin.lines {
        let shown = format!("{} x {}", line.count, described(line));
        let taken: usize = lines.iter().map(|line| line.chars().count() + 1).sum();
        if left > 0 || taken + shown.chars().count() + 40 > DESCRIPTION {
            left += 1;
        } else {
            lines.push(shown);
        }
    }
    if left > 0 {
        lines.push(format!("… and {left} more lines"));
    }
    let event = format!("quell.{}", bulletin.subject);
    text::json(&Notification {
        version: "1.0".to_owned(),
        source: "custom".to_owned(),
        id: format!("{}-{}", bulletin.subject, bulletin.from.as_second()),
        content: Content {
            text_type: "client-markdown".to_owned(),
            title: title.clone(),
            description: lines.join("\n"),
            next_steps: vec![fitted(STEP, |cap| {
                format!("To list each: {}", text::markdown_up_to(&bulletin.command, cap))
            })],
            keywords: vec![severity(bulletin.severity()).to_owned(), bulletin.subject.to_string()],
        },
        metadata: Metadata {
            thread_id: None,
            summary: title,
            event_type: event,
            related_resources: Vec::new(),
            additional_context: BTreeMap::new(),
        },
    })
}

fn description(message: &Message) -> String {
    // The last is so small that it fits whatever the text.
    let limits =
        [(256, 256, 30, 5), (256, 160, 15, 5), (200, 120, 8, 3), (120, 80, 4, 2), (24, 0, 0, 0)];
    let mut shown = String::new();
    for (field, line, lines, notes) in limits {
        shown = describe(&message.shortened(Limits { field, line, lines, notes }));
        if shown.chars().count() <= DESCRIPTION {
            break;
        }
    }
    shown
}

fn describe(message: &Message) -> String {
    let mut lines =
        vec![text::phrase_up_to(&message.control.risk, text::CAP), message.status().to_owned()];
    if let Some(reason) = &message.reason {
        lines.push(format!("Why: {}", text::markdown(reason)));
    }
    lines.push(String::new());
    lines.push(format!(
        "Resource: {} in account {}, region {}",
        text::markdown(&message.resource.name),
        text::markdown(&message.account),
        text::markdown(&message.region),
    ));
    lines.extend(text::console_link(&message.resource.console).map(str::to_owned));
    lines.push(match &message.actor {
        Some(actor) => {
            let mut who = format!("Who: {}", text::markdown(&actor.principal));
            let told = [
                ("from", &actor.source_ip),
                ("with", &actor.user_agent),
                ("through", &actor.invoked_by),
            ];
            for (how, value) in told {
                if let Some(value) = value {
                    who.push_str(&format!(" {how} {}", text::markdown(value)));
                }
            }
            who
        }
        None => "Who: the event does not say".to_owned(),
    });
    lines.push(format!("When: {}", message.when()));
    lines.extend(message.ordered(text::markdown).map(|ordered| format!("Ordered: {ordered}")));
    lines.extend(message.until().map(|until| format!("Until: {until}")));

    if !message.changes.is_empty() || message.left_out > 0 {
        lines.push(String::new());
        lines.push(format!("{}:", message.heading()));
        for change in &message.changes {
            let action = text::markdown(&change.description.action);
            lines.push(format!("{action}{}", message.made(change)));
            let minus = change.description.minus.iter().map(|line| format!("- {line}"));
            let plus = change.description.plus.iter().map(|line| format!("+ {line}"));
            lines.extend(minus.chain(plus).map(|line| text::markdown(&line)));
        }
        lines.extend(message.rest(text::markdown));
    }

    let verification = message.verification().map(|verified| format!("Verified: {verified}"));
    let cause = message.cause.iter().map(|cause| format!("Cause: {}", text::markdown(cause)));
    let notes = message.notes.iter().map(|note| format!("Note: {}", text::markdown(note)));
    let last: Vec<String> = verification.into_iter().chain(cause).chain(notes).collect();
    if !last.is_empty() {
        lines.push(String::new());
        lines.extend(last);
    }
    lines.join("\n")
}

fn next_steps(message: &Message) -> Vec<String> {
    let commands = message.commands().map(|(name, command)| {
        let name = name.to_lowercase();
        fitted(STEP, |cap| format!("To {name}: {}", text::markdown_up_to(command, cap)))
    });
    let advised = |cap| message.advice(|text| text::markdown_up_to(text, cap));
    let advice = advised(0).map(|_| fitted(STEP, |cap| advised(cap).unwrap_or_default()));
    let runbook = message.runbook().map(|path| format!("Runbook: `{path}`"));
    commands.chain(advice).chain(runbook).collect()
}

/// Takes less and less of the untrusted text until the whole fits.
fn fitted(max: usize, render: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for cap in [text::CAP, 128, 64, 32, 16, 8] {
        text = render(cap);
        if text.chars().count() <= max {
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Outcome,
        notify::{bulletin::Subject, samples},
        text::hostile,
    };

    fn strings(notification: &Notification) -> Vec<String> {
        let Notification { version, source, id, content, metadata } = notification.clone();
        let mut all =
            vec![version, source, id, content.text_type, content.title, content.description];
        all.extend(content.next_steps);
        all.extend(content.keywords);
        all.extend(metadata.thread_id);
        all.extend([metadata.summary, metadata.event_type]);
        all.extend(metadata.related_resources);
        all.extend(metadata.additional_context.into_values());
        all
    }

    #[test]
    fn says_what_happened() {
        for outcome in Outcome::ALL.into_iter().filter(|outcome| outcome.people_should_hear()) {
            let Notification { id, content, metadata, .. } =
                notification(&samples::message(outcome));
            let chat = format!(
                "{}\n\n{}\n\nNext steps\n- {}\n\n{:?} {id}\n{metadata:#?}",
                content.title,
                content.description,
                content.next_steps.join("\n- "),
                content.keywords,
            );
            insta::assert_snapshot!(format!("{outcome}"), chat);
        }
    }

    #[test]
    fn is_the_documented_schema() {
        let json: serde_json::Value =
            serde_json::from_str(&body(&samples::message(Outcome::Fixed)).unwrap()).unwrap();
        assert_eq!((&json["version"], &json["source"]), (&"1.0".into(), &"custom".into()));
        assert_eq!(json["content"]["textType"], "client-markdown");
        assert_eq!(json["metadata"]["threadId"], samples::RECORD);
        for field in [
            "/content/title",
            "/content/description",
            "/metadata/summary",
            "/metadata/eventType",
            "/id",
        ] {
            assert!(json.pointer(field).is_some_and(serde_json::Value::is_string), "{field}");
        }
        for field in ["/content/nextSteps", "/content/keywords", "/metadata/relatedResources"] {
            assert!(json.pointer(field).is_some_and(serde_json::Value::is_array), "{field}");
        }
    }

    #[test]
    fn a_bulletin_fits_whatever_stands_in_it() {
        for text in ["photos".to_owned(), "`<@everyone>".repeat(100), "💥".repeat(500)] {
            let mut told = samples::bulletin(Subject::Folded);
            told.lines[1].control.clone_from(&text);
            told.lines = vec![told.lines[1].clone(); 60];
            told.lines.iter_mut().for_each(|line| line.example.clone_from(&text));
            told.lines.iter_mut().for_each(|line| line.actor = Some(text.clone()));
            let shown: Notification = serde_json::from_str(&bulletin(&told).unwrap()).unwrap();
            for text in strings(&shown) {
                hostile::assert_inert(&text);
                assert!(!text.contains(['<', '>', '@']), "{text}");
                assert_eq!(text.matches('`').count() % 2, 0, "{text}");
            }
            assert!(shown.content.description.chars().count() <= DESCRIPTION);
            assert!(shown.content.title.chars().count() <= TITLE);
            assert!(shown.content.description.contains(" more lines"), "{shown:?}");
        }
    }

    #[test]
    fn a_long_diff_says_where_the_rest_is() {
        let mut message = samples::message(Outcome::Fixed);
        message.changes[0].description.minus = vec!["x".repeat(200); 1000];
        let shown = notification(&message).content.description;
        assert!(shown.chars().count() <= DESCRIPTION);
        assert!(
            shown.contains(
                "more lines, left out here. Read them with `quell show 5f0c6a1de2b94c77`"
            ),
            "{shown}"
        );
    }

    proptest! {
        #[test]
        fn whatever_comes_is_inert_and_fits(
            texts in prop::collection::vec(hostile::text(), 1..6),
            which in prop::sample::select(Outcome::ALL.to_vec()),
            lines in 0..40_usize,
        ) {
            let message = samples::filled(which, &texts, lines);
            let json = body(&message).unwrap();
            prop_assert!(!json.contains(text::is_invisible));
            let shown: Notification = serde_json::from_str(&json).unwrap();
            for text in strings(&shown) {
                hostile::assert_inert(&text);
                prop_assert!(!text.contains(['<', '>', '@']), "{text}");
                prop_assert_eq!(text.matches('`').count() % 2, 0, "{}", text);
            }
            let length = |text: &String| text.chars().count();
            prop_assert!(length(&shown.content.description) <= DESCRIPTION);
            prop_assert!(length(&shown.content.title) <= TITLE && length(&shown.metadata.summary) <= SUMMARY);
            prop_assert!(shown.content.next_steps.iter().all(|step| length(step) <= STEP));
            prop_assert!(shown.content.keywords.iter().all(|word| length(word) <= WORD));
        }
    }
}
