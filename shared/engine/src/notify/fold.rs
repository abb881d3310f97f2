//! Which messages people get one by one, and which are counted in a bulletin that comes later.

use jiff::{SignedDuration, Timestamp};

use super::bulletin::{Line, Subject};
use crate::{
    Meta, Outcome, Severity, brakes,
    ledger::{Record, record_id},
    policy::{Digest, Notify, Routed},
    text,
};

/// How many different lines of what is routine a window tells of one by one. What else there is, is counted by control.
/// With what is critical, what waits, and the bulletin itself, a flood that spans two windows comes to at most 60
/// messages.
pub const LINES: usize = 9;

/// How many lines a digest has. What else there is, is counted by control.
pub const DIGEST_LINES: usize = 60;

/// What a message is counted as.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    pub window: Window,
    /// What people read of it in the bulletin.
    pub line: Line,
    /// The topics of routes that would hear of it.
    pub topics: Vec<String>,
    /// The same for messages that are folded into one.
    pub key: String,
    /// The same for all of a control and outcome that go the same way: what is counted together once there are too many
    /// keys.
    pub rest: String,
    /// Unlike that of any other message. What was told is known by it, when it is told again.
    pub id: String,
}

/// How urgent a message is. Each class has room of its own, so that none drowns in another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    Critical,
    /// A person has to decide, and each decision is one of its own.
    Waiting,
    Routine,
}

impl Class {
    pub fn of(line: &Line) -> Self {
        match (line.severity, line.outcome) {
            (Severity::Critical, _) => Self::Critical,
            (_, Outcome::Pending) => Self::Waiting,
            _ => Self::Routine,
        }
    }

    /// Where everything is told in one bulletin anyway, none is more urgent than another.
    pub fn within(subject: Subject, line: &Line) -> Self {
        match subject {
            Subject::Sweep => Self::Routine,
            Subject::Folded | Subject::Digest => Self::of(line),
        }
    }

    /// How many messages a window tells one by one, whatever they have in common. `None`: the first of each line.
    pub fn most(self) -> Option<u64> {
        match self {
            Self::Critical => Some(12),
            Self::Waiting => Some(8),
            Self::Routine => None,
        }
    }
}

/// The time that one bulletin tells of.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    pub subject: Subject,
    pub from: Timestamp,
    pub until: Timestamp,
}

/// How the message is counted; `None`: it is told, and nothing is counted.
///
/// What a person ordered is told whatever happened lately: they wait for it.
pub fn tally(meta: &Meta, record: &Record, notify: &Notify, now: Timestamp) -> Option<Tally> {
    let (intent, outcome) = (&record.intent, record.status.outcome());
    if record.result.order.is_some() || intent.undoes.is_some() {
        return None;
    }
    let window = match notify.digest {
        _ if let (Some(begun), Outcome::Observed) = (intent.backlog, outcome) => {
            Window::of_sweep(begun, now)?
        }
        Some(digest) if is_routine(meta.severity, outcome, notify) => {
            let length = match digest {
                Digest::Hourly => 60,
                Digest::Daily => 24 * 60,
            };
            Window::around(Subject::Digest, length, now)?
        }
        _ if notify.fold_minutes == 0 => return None,
        _ => Window::around(Subject::Folded, i64::from(notify.fold_minutes), now)?,
    };
    let who = intent.actor.as_ref().map(brakes::identity).unwrap_or_default();
    let Routed { channels, .. } = &intent.routed;
    let topics = intent.routed.told().to_vec();
    // Whoever hears of one hears of all that are counted with it.
    let goes = [topics.join(" "), channels.join(" ")];
    let rest = [meta.id, outcome.as_str(), &goes[0], &goes[1]];
    let own = [who, &intent.account, &intent.region];
    // One item of the ledger has room for many lines, but not for whatever an event says.
    let cut = |text: &str| text::cut(text, text::CAP);
    Some(Tally {
        window,
        line: Line {
            severity: meta.severity,
            control: meta.id.to_owned(),
            outcome,
            actor: intent.actor.as_ref().map(|actor| cut(&actor.principal)),
            account: intent.account.clone(),
            region: intent.region.clone(),
            example: cut(&intent.resource),
            count: 0,
            untold: 0,
            channels: channels.clone(),
        },
        key: record_id(&[rest.as_slice(), &own].concat()),
        rest: record_id(&rest),
        topics,
        id: format!("{}/{outcome}", record.id),
    })
}

impl Tally {
    pub fn class(&self) -> Class {
        Class::within(self.window.subject, &self.line)
    }

    /// How many keys the window counts by their own.
    pub fn most(&self) -> usize {
        match self.window.subject {
            Subject::Folded if self.class() == Class::Routine => LINES,
            Subject::Folded | Subject::Digest | Subject::Sweep => DIGEST_LINES,
        }
    }
}

impl Window {
    /// A sweep that takes longer than an hour is told of hour by hour.
    fn of_sweep(begun: Timestamp, now: Timestamp) -> Option<Self> {
        let hours = now.duration_since(begun).as_hours().max(0);
        let from = begun.checked_add(SignedDuration::from_hours(hours)).ok()?;
        let until = from.checked_add(SignedDuration::from_hours(1)).ok()?;
        Some(Self { subject: Subject::Sweep, from, until })
    }

    fn around(subject: Subject, minutes: i64, now: Timestamp) -> Option<Self> {
        let length = minutes * 60;
        let from = now.as_second().div_euclid(length) * length;
        let from = Timestamp::from_second(from).ok()?;
        let until = from.checked_add(SignedDuration::from_secs(length)).ok()?;
        Some(Self { subject, from, until })
    }
}

/// Whether nobody has to do anything about it.
fn is_routine(severity: Severity, outcome: Outcome, notify: &Notify) -> bool {
    matches!(outcome, Outcome::Fixed | Outcome::Observed)
        && severity <= notify.digest_up_to
        && severity < Severity::Critical
}
