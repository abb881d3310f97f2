//! What is published: every rendering in one message, and what subscriptions filter by.

use aws_sdk_sns::types::MessageAttributeValue;
use serde::Serialize;

use super::bulletin::Line;
use super::{Bulletin, Limits, Message, Notice, chat, email, machine, severity, sms};
use crate::{CallError, CallErrorKind, During as _, text};

const ACTION: &str = "sns:Publish";

/// 256 KB, with the attributes and, to be sure, the subject.
const BYTES: usize = 262_144;

#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    pub subject: String,
    /// A JSON object with a text for each protocol.
    pub body: String,
    /// Names and values, all of type `String`.
    pub attributes: Vec<(&'static str, String)>,
}

#[derive(Serialize)]
struct Bodies<'a> {
    default: &'a str,
    email: &'a str,
    sms: &'a str,
    lambda: &'a str,
    sqs: &'a str,
    http: &'a str,
    https: &'a str,
}

impl Envelope {
    pub fn of(notice: &Notice) -> Result<Self, serde_json::Error> {
        match notice {
            Notice::Remediation(message) => Self::of_message(message),
            Notice::Bulletin(bulletin) => Self::of_bulletin(bulletin),
        }
    }

    /// The message as it fits: the longest that does, shortened before it is rendered.
    fn of_message(message: &Message) -> Result<Self, serde_json::Error> {
        let steps = [
            Limits { field: 2048, line: 2048, lines: 400, notes: 20 },
            Limits { field: 1024, line: 1024, lines: 200, notes: 20 },
            Limits { field: 512, line: 256, lines: 160, notes: 10 },
            Limits { field: 256, line: 256, lines: 80, notes: 10 },
            Limits { field: 256, line: 256, lines: 20, notes: 8 },
        ];
        for limits in steps {
            let short = message.shortened(limits);
            // Each line is in three bodies at least: not worth rendering if that alone is too much.
            let lines = short.changes.iter().map(|change| &change.description);
            let lines = lines.flat_map(|change| change.minus.iter().chain(&change.plus));
            if lines.map(String::len).sum::<usize>() > BYTES / 3 {
                continue;
            }
            let envelope = Self::render(&short)?;
            if envelope.size() <= BYTES {
                return Ok(envelope);
            }
        }
        // Fits even if every character is escaped twice.
        Self::render(&message.shortened(Limits { field: 100, line: 0, lines: 0, notes: 4 }))
    }

    /// As SNS counts it.
    pub fn size(&self) -> usize {
        let attributes = self.attributes.iter();
        let attributes: usize =
            attributes.map(|(name, value)| name.len() + "String".len() + value.len()).sum();
        self.subject.len() + self.body.len() + attributes
    }

    fn render(message: &Message) -> Result<Self, serde_json::Error> {
        let email = email::body(message);
        let attributes = [
            ("control", message.control.id.as_str()),
            ("severity", severity(message.control.severity)),
            ("outcome", message.outcome.as_str()),
            ("account", &message.account),
            ("region", &message.region),
        ];
        Ok(Self {
            subject: email::subject(message),
            body: bodies(
                &email,
                &sms::body(message),
                &machine::body(&message.clone().into())?,
                &chat::body(message)?,
            )?,
            attributes: attributes.map(attribute).into(),
        })
    }

    /// The bulletin as it fits: with shorter fields, and in the end with fewer lines.
    fn of_bulletin(bulletin: &Bulletin) -> Result<Self, serde_json::Error> {
        for (field, lines) in [(256, 200), (128, 100), (64, 100), (64, 50)] {
            let envelope = Self::render_bulletin(&bulletin.shortened(field, lines))?;
            if envelope.size() <= BYTES {
                return Ok(envelope);
            }
        }
        Self::render_bulletin(&bulletin.shortened(32, 20))
    }

    fn render_bulletin(bulletin: &Bulletin) -> Result<Self, serde_json::Error> {
        // Of one account or region only if all lines are.
        let all_of = |of: fn(&Line) -> &String| {
            let mut values = bulletin.lines.iter().map(of);
            let first = values.next().map(String::as_str).unwrap_or_default();
            if values.all(|value| value == first) { first.to_owned() } else { "several".to_owned() }
        };
        let attributes = [
            ("control", all_of(|line| &line.control).as_str()),
            ("severity", severity(bulletin.severity())),
            ("outcome", &bulletin.subject.to_string()),
            ("account", &all_of(|line| &line.account)),
            ("region", &all_of(|line| &line.region)),
        ]
        .map(attribute);
        let email = email::bulletin(bulletin);
        Ok(Self {
            subject: email::bulletin_subject(bulletin),
            body: bodies(
                &email,
                &sms::bulletin(bulletin),
                &machine::body(&Notice::Bulletin(bulletin.clone()))?,
                &chat::bulletin(bulletin)?,
            )?,
            attributes: attributes.into(),
        })
    }
}

fn bodies(email: &str, sms: &str, machine: &str, chat: &str) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Bodies {
        default: email,
        email,
        sms,
        lambda: machine,
        sqs: machine,
        http: machine,
        https: chat,
    })
}

fn attribute((name, value): (&'static str, &str)) -> (&'static str, String) {
    let value = text::ascii(value).trim().to_owned();
    // SNS refuses an empty value.
    (name, if value.is_empty() { "unknown".to_owned() } else { value })
}

/// Publishes the notice, and returns SNS's id of it.
pub async fn publish(
    client: &aws_sdk_sns::Client,
    topic_arn: &str,
    notice: &Notice,
) -> Result<String, CallError> {
    let unfit = |error: &dyn std::error::Error| {
        CallError::new(ACTION, CallErrorKind::Refused, error.to_string())
    };
    let envelope = Envelope::of(notice).map_err(|error| unfit(&error))?;
    let mut call = client
        .publish()
        .topic_arn(topic_arn)
        .message_structure("json")
        .subject(envelope.subject)
        .message(envelope.body);
    for (name, value) in envelope.attributes {
        let value = MessageAttributeValue::builder().data_type("String").string_value(value);
        call = call.message_attributes(name, value.build().map_err(|error| unfit(&error))?);
    }
    let reply = call.send().await.during(ACTION)?;
    Ok(reply.message_id.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::{Outcome, notify::samples, text::hostile};

    fn bodies_of(envelope: &Envelope) -> serde_json::Map<String, Value> {
        assert!(envelope.size() <= BYTES, "{} bytes", envelope.size());
        let Value::Object(bodies) = serde_json::from_str(&envelope.body).unwrap() else {
            panic!("no object")
        };
        assert!(bodies.values().all(Value::is_string));
        for protocol in ["lambda", "sqs", "http"] {
            let json = bodies[protocol].as_str().unwrap();
            let message: Message = serde_json::from_str(json).unwrap();
            assert_eq!(message.version, 1);
            assert!(!json.contains(text::is_invisible));
        }
        serde_json::from_str::<chat::Notification>(bodies["https"].as_str().unwrap()).unwrap();
        for protocol in ["default", "email", "sms"] {
            hostile::assert_inert(
                &bodies[protocol].as_str().unwrap().replace("https://eu-west-1.console", ""),
            );
        }
        bodies
    }

    #[test]
    fn holds_a_text_for_each_protocol() {
        let envelope = Envelope::of(&samples::message(Outcome::Fixed).into()).unwrap();
        let bodies = bodies_of(&envelope);
        let protocols: Vec<&String> = bodies.keys().collect();
        assert_eq!(protocols, ["default", "email", "sms", "lambda", "sqs", "http", "https"]);
        assert_eq!(
            envelope.attributes,
            [
                ("control", "s3-public-acl"),
                ("severity", "high"),
                ("outcome", "fixed"),
                ("account", "123456789012"),
                ("region", "eu-west-1"),
            ]
            .map(|(name, value)| (name, value.to_owned()))
        );
    }

    #[test]
    fn a_huge_diff_is_shortened_and_says_so() {
        for line in [
            "x".repeat(1024),
            "\u{e0041}".repeat(1024),
            "\"\\".repeat(512),
            "💥".repeat(1024),
            "<".repeat(1024),
        ] {
            let mut message = samples::message(Outcome::Fixed);
            message.changes[0].description.minus = vec![line; 10_000];
            let bodies = bodies_of(&Envelope::of(&message.clone().into()).unwrap());
            let sent: Message = serde_json::from_str(bodies["sqs"].as_str().unwrap()).unwrap();
            let kept: usize =
                sent.changes.iter().map(|change| change.description.minus.len()).sum();
            assert_eq!(sent.left_out + kept, 10_000);
            let note =
                format!("… {} more lines, left out here. Read them with quell show", sent.left_out);
            assert!(bodies["email"].as_str().unwrap().contains(&note));
        }
    }

    #[test]
    fn a_bulletin_fits_at_the_worst() {
        for c in ["\u{e0041}", "\"", "\u{1}", "💥", "x"] {
            let mut bulletin = samples::bulletin(crate::notify::bulletin::Subject::Folded);
            let line = &mut bulletin.lines[0];
            line.example = c.repeat(3000);
            line.actor = Some(c.repeat(3000));
            line.control = c.repeat(3000);
            bulletin.lines = vec![bulletin.lines[0].clone(); 300];
            bulletin.notes = vec![c.repeat(3000); 50];
            let envelope = Envelope::of(&Notice::Bulletin(bulletin)).unwrap();
            assert!(envelope.size() <= BYTES, "{} bytes", envelope.size());
        }
    }

    #[test]
    fn fits_at_the_worst() {
        for c in ["\u{e0041}", "\"", "\u{1}", "💥", "&", ".aa", "\\"] {
            let message = samples::filled(Outcome::Observed, &[c.repeat(3000)], 500);
            bodies_of(&Envelope::of(&message.clone().into()).unwrap());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whatever_comes_is_a_valid_envelope(
            texts in prop::collection::vec(hostile::text(), 1..6),
            which in prop::sample::select(Outcome::ALL.to_vec()),
            lines in 0..40_usize,
        ) {
            let envelope = Envelope::of(&samples::filled(which, &texts, lines).into()).unwrap();
            bodies_of(&envelope);
            prop_assert!(envelope.attributes.len() <= 10);
            for (_, value) in &envelope.attributes {
                prop_assert!(!value.is_empty() && value.is_ascii());
            }
        }
    }
}
