//! A text message to a telephone.

use super::{
    Bulletin, Message,
    email::{bulletin_subject, inert_ascii, named},
    severity,
};
use crate::{Outcome, text};

/// One message, by SNS's count.
const BYTES: usize = 140;

/// ASCII, at most 140 bytes.
pub fn bulletin(bulletin: &Bulletin) -> String {
    // A subject has at most 100 characters.
    format!("{}.", bulletin_subject(bulletin))
}

/// ASCII, at most 140 bytes.
pub fn body(message: &Message) -> String {
    let start = format!(
        "Quell {} [{}] {}: ",
        message.verdict(),
        severity(message.control.severity),
        text::shortened(&inert_ascii(&message.control.id), 30),
    );
    let place = format!(
        ", {} {}.",
        text::shortened(&inert_ascii(&message.account), 12),
        text::shortened(&inert_ascii(&message.region), 16),
    );
    let room = BYTES.saturating_sub(start.len() + 1);
    let (name, has_place) = named(&message.resource.name, room, place.len() - 1);
    let mut sms = format!("{start}{name}{}", if has_place { place.as_str() } else { "." });
    let command = |name: &str| {
        let command = message.commands().find(|(known, _)| *known == name);
        command.map(|(name, command)| format!("{name}: {}", inert_ascii(command)))
    };
    let end = match message.outcome {
        Outcome::Observed => Some("Nothing was changed.".to_owned()),
        Outcome::Failed | Outcome::Partial if message.undoes.is_some() => command("Undo"),
        Outcome::Failed | Outcome::Partial if message.verified == Some(true) => {
            Some("It is as it should be, but not all was done.".to_owned())
        }
        Outcome::Failed | Outcome::Partial => Some("Still in its bad state.".to_owned()),
        Outcome::Fixed => command("Undo"),
        Outcome::Pending => command("Approve"),
        Outcome::Parked => command("Resume"),
        _ => None,
    };
    if let Some(end) = end.filter(|end| sms.len() + 1 + end.len() <= BYTES) {
        sms.push(' ');
        sms.push_str(&end);
    }
    sms
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{notify::samples, text::hostile};

    #[test]
    fn says_it_in_one_message() {
        let told = Outcome::ALL.into_iter().filter(|outcome| outcome.people_should_hear());
        let said: Vec<String> = told.map(|outcome| body(&samples::message(outcome))).collect();
        insta::assert_snapshot!(said.join("\n"));
    }

    proptest! {
        #[test]
        fn whatever_comes_fits(
            texts in prop::collection::vec(hostile::text(), 1..6),
            which in prop::sample::select(Outcome::ALL.to_vec()),
        ) {
            let sms = body(&samples::filled(which, &texts, 1));
            prop_assert!(sms.len() <= BYTES);
            prop_assert!(sms.bytes().all(|b| b == b' ' || b.is_ascii_graphic()), "{sms}");
            hostile::assert_inert(&sms);
        }
    }
}
