//! What is said beside a finding that Security Hub has.

use aws_sdk_securityhub::types::WorkflowStatus;
use quell_engine::{Outcome, notify::Message, text};

use crate::plain::{cut, plain};

/// The most that a note may have.
/// <https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_Note.html>
const NOTE: usize = 512;

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Update {
    pub(crate) workflow: WorkflowStatus,
    pub(crate) note: String,
}

impl Update {
    /// `None`: the message says nothing that the finding did not say before.
    pub(crate) fn of(message: &Message) -> Option<Self> {
        Some(Self { workflow: workflow(message)?, note: note(message) })
    }
}

/// How far the investigation is. Only a person suppresses a finding.
/// <https://docs.aws.amazon.com/securityhub/latest/userguide/findings-workflow-status.html>
pub(crate) fn workflow(message: &Message) -> Option<WorkflowStatus> {
    Some(match message.outcome {
        Outcome::Fixed if message.verified == Some(true) => WorkflowStatus::Resolved,
        Outcome::Undone => WorkflowStatus::New,
        Outcome::Denied => WorkflowStatus::Suppressed,
        // The template exempts too; what a person wants stands in the order.
        Outcome::Exempt if message.order.is_some() => WorkflowStatus::Suppressed,
        Outcome::Fixed
        | Outcome::Observed
        | Outcome::Pending
        | Outcome::Parked
        | Outcome::Failed
        | Outcome::Partial
        | Outcome::Refused
        | Outcome::Exempt => WorkflowStatus::Notified,
        Outcome::Compliant
        | Outcome::Gone
        | Outcome::Ignored
        | Outcome::Duplicate
        | Outcome::Superseded => return None,
    })
}

/// What was done, under which record, and what a person can order now.
fn note(message: &Message) -> String {
    let mut note = format!("{} Control: {}", message.status(), plain(&message.control.id, 64));
    if let Some(record) = &message.record {
        note.push_str(&format!("; record: {}", plain(record, 64)));
    }
    // The command for an exemption is long, and stands in the record.
    for (name, command) in message.commands().filter(|(name, _)| *name != "Exempt") {
        note.push_str(&format!("; {}: {}", name.to_lowercase(), plain(command, 96)));
    }
    if let Some(reason) = &message.reason {
        note.push_str(&format!("; reason: {}", text::mail_up_to(reason, NOTE)));
    }
    cut(&note, NOTE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quell_engine::notify::Order;
    use serde_json::json;

    use super::*;
    use crate::{
        hostile,
        plain::tests::assert_inert,
        samples::{filled, message},
    };

    #[test]
    fn each_outcome_that_people_hear_of_has_its_status_and_note() {
        let told = Outcome::ALL.into_iter().filter(|outcome| outcome.people_should_hear());
        let notes: Vec<String> = told
            .map(|outcome| {
                let Update { workflow, note } = Update::of(&message(outcome)).unwrap();
                format!("{outcome}: {workflow}\n  {note}")
            })
            .collect();
        insta::assert_snapshot!(notes.join("\n"));
    }

    #[test]
    fn only_a_person_suppresses() {
        let suppressed: Vec<_> = Outcome::ALL
            .into_iter()
            .filter(|outcome| workflow(&message(*outcome)) == Some(WorkflowStatus::Suppressed))
            .collect();
        assert_eq!(suppressed, [Outcome::Denied]);
        let mut exempt = message(Outcome::Exempt);
        assert_eq!(workflow(&exempt), Some(WorkflowStatus::Notified));
        let order: Order = serde_json::from_value(json!({
            "verb": "deny", "by": "arn:aws:iam::123456789012:user/bob", "person": "bob",
            "at": "2026-03-01T02:05:00Z",
        }))
        .unwrap();
        exempt.order = Some(order);
        assert_eq!(workflow(&exempt), Some(WorkflowStatus::Suppressed));
    }

    #[test]
    fn what_is_not_verified_is_not_resolved() {
        for verified in [None, Some(false)] {
            let fixed = quell_engine::notify::Message { verified, ..message(Outcome::Fixed) };
            assert_eq!(workflow(&fixed), Some(WorkflowStatus::Notified));
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_a_note_that_security_hub_takes(
            texts in prop::collection::vec(hostile::text(), 1..6),
            which in prop::sample::select(Outcome::ALL.to_vec()),
        ) {
            let note = note(&filled(which, &texts, 2));
            prop_assert!(note.encode_utf16().count() <= NOTE);
            prop_assert!(!note.trim().is_empty());
            assert_inert(&note);
        }
    }
}
