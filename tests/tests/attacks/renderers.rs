//! Hostile text in everything that people and machines are told.

use fastrand::Rng;
use jiff::Timestamp;
use quell_engine::{
    Actor, Description, Effect, Outcome, Safety, Severity,
    ledger::Verb,
    notify::{
        Control, Envelope, Event, Message, Order, Resource, VERSION,
        chat::{self, Notification},
        email, machine, sms,
    },
    text,
};
use quell_tests::attack::{cases, each_case, each_of, hostile, one};
use serde_json::Value;

#[test]
fn whatever_it_is_told_of_a_mail_is_inert_and_its_subject_short_ascii() {
    each_message(|rng| {
        let message = message(rng);
        let subject = email::subject(&message);
        assert!(subject.len() <= 100 && subject.starts_with("Quell "), "{subject:?}");
        assert!(subject.bytes().all(|b| b == b' ' || b.is_ascii_graphic()), "{subject:?}");
        assert_inert(&without_link(&email::body(&message), &message));
        let sms = sms::body(&message);
        assert!(sms.len() <= 140 && sms.is_ascii(), "{sms:?}");
        assert_inert(&sms);
        assert!(!sms.contains('\n'));
    });
}

#[test]
fn whatever_it_is_told_of_a_chat_shows_no_mention_link_or_markup() {
    each_message(|rng| {
        let message = message(rng);
        let json = chat::body(&message).unwrap();
        assert!(!json.contains(text::is_invisible) && !json.contains('\n'));
        let shown: Notification = serde_json::from_str(&json).unwrap();
        let content = shown.content;
        let texts = [content.title, without_link(&content.description, &message)];
        for text in texts.into_iter().chain(content.next_steps).chain(content.keywords) {
            assert_inert(&text);
            assert!(!text.contains(['<', '>', '@']), "{text}");
            assert!(text.matches('`').count().is_multiple_of(2), "{text}");
        }
    });
}

#[test]
fn whatever_it_is_told_of_a_machine_reads_what_was_written() {
    each_message(|rng| {
        let message = message(rng);
        let json = machine::body(&message.clone().into()).unwrap();
        assert!(!json.contains(text::is_invisible) && !json.contains(['<', '>', '&', '\n']));
        assert_eq!(serde_json::from_str::<Message>(&json).unwrap(), message);
    });
}

#[test]
fn whatever_it_is_told_of_a_published_message_is_json_and_fits() {
    each_message(|rng| {
        let envelope = Envelope::of(&message(rng).into()).unwrap();
        assert!(envelope.size() <= 262_144, "{} bytes", envelope.size());
        let bodies: Value = serde_json::from_str(&envelope.body).unwrap();
        for protocol in ["lambda", "sqs", "http", "https"] {
            let json = bodies[protocol].as_str().unwrap();
            serde_json::from_str::<Value>(json).unwrap();
        }
        for (_, value) in &envelope.attributes {
            assert!(!value.is_empty() && value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()));
        }
    });
}

#[test]
fn whatever_it_is_told_of_every_text_leaves_as_one_inert_line() {
    each_case(|rng| {
        let text = hostile(rng);
        for rendered in [text::mail(&text), text::markdown(&text), text::phrase_up_to(&text, 512)] {
            assert_inert(&rendered);
            assert!(!rendered.contains(['\n', '<', '>']), "{rendered:?}");
        }
        let code = text::markdown(&text);
        assert!(code.matches('`').count() == 2 && !code.contains('@'), "{code:?}");
        assert!(text::plain(&text).chars().count() <= text::CAP);
        assert!(text::ascii(&text).bytes().all(|b| b == b' ' || b.is_ascii_graphic()));
        assert!(!text::one_line(&text).contains(|c: char| text::is_invisible(c) || c == '\n'));
        if let Some(link) = text::console_link(&text) {
            panic!("a link of hostile text: {link}");
        }
        let json = text::json(&text).unwrap();
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        assert!(!text::redacted(&text).is_empty() || text.is_empty());
    });
}

/// So many messages that all their texts together are as many as there are cases.
fn each_message(property: impl FnMut(&mut Rng)) {
    each_of(cases().div_ceil(TEXTS), property);
}

/// How many hostile texts a message has at least.
const TEXTS: u64 = 12;

/// Nothing in it is markup, a link or invisible. Line ends are ours.
fn assert_inert(rendered: &str) {
    for bad in ["<!", "<@", "<http", "](http", "://", "\u{1b}", "\r"] {
        assert!(!rendered.contains(bad), "{bad:?} in {rendered:?}");
    }
    let bad = rendered.chars().find(|c| text::is_invisible(*c) && *c != '\n');
    assert_eq!(bad, None, "{rendered:?}");
    let mut www = rendered.split("www.").skip(1);
    assert!(!www.any(|rest| rest.starts_with(char::is_alphanumeric)), "{rendered:?}");
}

/// The one link that there may be is the console's.
fn without_link(shown: &str, message: &Message) -> String {
    match text::console_link(&message.resource.console) {
        Some(link) => shown.replacen(link, "", 1),
        None => shown.to_owned(),
    }
}

/// Everything that untrusted text can reach, filled with it. Our own constants stay where they are.
fn message(rng: &mut Rng) -> Message {
    let mut text = || hostile(rng);
    let (name, arn, principal, reason, note) = (text(), text(), text(), text(), text());
    let (minus, plus) = (vec![text(), text()], vec![text()]);
    let actor = Actor {
        key: None,
        principal,
        arn: Some(text()),
        source_ip: Some(text()),
        user_agent: Some(text()),
        invoked_by: Some(text()),
    };
    let (account, region, id, by, person) = (text(), text(), text(), text(), text());
    let cause = text();
    let link = "https://eu-west-1.console.aws.amazon.com/ec2/home?region=eu-west-1#Instances:";
    let console = match rng.u8(..3) {
        0 => format!("{link}instanceId=i-0a1b2c3d"),
        1 => format!("{link}{}", hostile(rng)),
        _ => hostile(rng),
    };
    let outcome = *one(rng, &Outcome::ALL);
    let record = rng.bool().then(|| "5f0c6a1de2b94c771234".to_owned());
    let command = |verb: &str| record.as_ref().map(|record| format!("quell {verb} {record}"));
    Message {
        version: VERSION,
        control: Control {
            id: "s3-public-acl".to_owned(),
            title: "S3 bucket ACLs grant nothing to the public".to_owned(),
            risk: "The bucket's ACL lets anyone on the internet list its objects.".to_owned(),
            severity: *one(rng, &[Severity::Low, Severity::High, Severity::Critical]),
            safety: *one(rng, &[Safety::Safe, Safety::NeedsApproval, Safety::ReportOnly]),
            function: "s3-exposure".to_owned(),
            runbook: "docs/runbooks/s3-public-acl.md".to_owned(),
        },
        outcome,
        mode: "enforce".to_owned(),
        resource: Resource { name, arn, console },
        account,
        region,
        event: Event { id, time: None, finding: None },
        actor: rng.bool().then_some(actor),
        detected: Timestamp::UNIX_EPOCH,
        since: None,
        changes: vec![quell_engine::notify::Change {
            description: Description {
                action: "s3:PutBucketAcl".to_owned(),
                effect: Effect::Set,
                minus,
                plus,
            },
            made: rng.bool(),
        }],
        applied: rng.bool(),
        verified: *one(rng, &[None, Some(true), Some(false)]),
        fixed_at: rng.bool().then_some(Timestamp::MAX),
        revision: rng.u64(..),
        plan_hash: None,
        cause: rng.bool().then_some(cause),
        approve: command("approve"),
        deny: None,
        expires: Some(Timestamp::MAX),
        resume: command("resume"),
        undo: command("undo"),
        exempt: None,
        undoes: rng.bool().then(|| "77c49be21d6a0c5f1234".to_owned()),
        order: rng.bool().then_some(Order {
            verb: Verb::Approve,
            by,
            person: Some(person),
            at: Timestamp::UNIX_EPOCH,
        }),
        record,
        notes: vec![note],
        reason: Some(reason),
        left_out: 0,
        channels: Vec::new(),
    }
}
