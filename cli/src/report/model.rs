//! What a report says, whatever it is written as. `docs/report.md` describes it for machines.

use jiff::Timestamp;
use quell_engine::{Outcome, Severity};
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::untrusted::Untrusted;

/// The version of [`Model`] as machines read it. Fields may be added under the same version.
pub(super) const VERSION: u8 = 1;

/// How many entries of a list are shown at most. The list says how many there are.
pub(super) const SHOWN: usize = 100;

/// Fixed so often within the period, a resource is said to flap.
pub(super) const FLAPS: u64 = 3;

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Model {
    pub(super) version: u8,
    pub(super) generated: Timestamp,
    /// Records created from then on are counted.
    pub(super) since: Timestamp,
    /// Where the ledger is.
    pub(super) account: Untrusted,
    pub(super) region: Untrusted,
    pub(super) totals: Totals,
    /// Critical first.
    pub(super) severities: Vec<OfSeverity>,
    /// Critical first, then whatever was found most often.
    pub(super) controls: Vec<OfControl>,
    pub(super) time_to_fix: TimeToFix,
    pub(super) needs_person: List<NeedsPerson>,
    pub(super) approvals: List<Approval>,
    pub(super) principals: List<OfPrincipal>,
    pub(super) exemptions: List<Exempted>,
    pub(super) flapping: List<Flapping>,
    /// Those with the most violations first.
    pub(super) accounts: Vec<OfAccount>,
}

/// Every record is a violation, an undo or superseded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Totals {
    pub(super) records: u64,
    /// Violations.
    pub(super) found: u64,
    /// The violations by what became of them.
    pub(super) outcomes: Counts,
    /// Records of undos.
    pub(super) undos: u64,
    /// Another record took over: not counted as a violation of its own.
    pub(super) superseded: u64,
    /// Records that this version cannot read; they are counted nowhere else.
    pub(super) unreadable: u64,
    /// Resources that are not known to be right again.
    pub(super) open: u64,
}

/// The outcomes that a violation can have.
pub(super) const OUTCOMES: [Outcome; 10] = [
    Outcome::Fixed,
    Outcome::Pending,
    Outcome::Parked,
    Outcome::Partial,
    Outcome::Failed,
    Outcome::Observed,
    Outcome::Refused,
    Outcome::Denied,
    Outcome::Exempt,
    Outcome::Undone,
];

/// How many violations ended in which outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts([u64; OUTCOMES.len()]);

impl Counts {
    /// Counts one. Outcomes that a violation does not have count for nothing.
    pub(super) fn add(&mut self, outcome: Outcome) {
        if let Some(at) = OUTCOMES.iter().position(|one| *one == outcome) {
            self.0[at] += 1;
        }
    }

    pub(super) fn of(&self, outcome: Outcome) -> u64 {
        OUTCOMES.iter().zip(self.0).find(|(one, _)| **one == outcome).map_or(0, |(_, count)| count)
    }

    pub(super) fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(super) fn of_fate(&self, fate: Fate) -> u64 {
        OUTCOMES
            .iter()
            .zip(self.0)
            .filter(|(outcome, _)| Fate::of(**outcome) == fate)
            .map(|(_, count)| count)
            .sum()
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(OUTCOMES.len()))?;
        for (outcome, count) in OUTCOMES.iter().zip(self.0) {
            map.serialize_entry(outcome, &count)?;
        }
        map.end()
    }
}

/// Outcomes that mean the same to whoever only wants to know how it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    Fixed,
    /// A person is asked, or has to resume it.
    Waits,
    /// Not all was put right.
    NotFixed,
    /// Reported, and left as it is.
    LeftAsIs,
    /// A person permitted it, or took the fix back.
    Permitted,
}

impl Fate {
    pub(super) const ALL: [Self; 5] =
        [Self::Fixed, Self::Waits, Self::NotFixed, Self::LeftAsIs, Self::Permitted];

    pub(super) fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Fixed => Self::Fixed,
            Outcome::Pending | Outcome::Parked => Self::Waits,
            Outcome::Partial | Outcome::Failed => Self::NotFixed,
            Outcome::Exempt | Outcome::Undone => Self::Permitted,
            _ => Self::LeftAsIs,
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Waits => "waits for a person",
            Self::NotFixed => "not fixed",
            Self::LeftAsIs => "left as it is",
            Self::Permitted => "permitted",
        }
    }

    /// The outcomes that it stands for.
    pub(super) fn outcomes(self) -> Vec<&'static str> {
        let own = OUTCOMES.iter().filter(|outcome| Self::of(**outcome) == self);
        own.map(|outcome| outcome.as_str()).collect()
    }
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct OfSeverity {
    pub(super) severity: Severity,
    pub(super) found: u64,
    pub(super) outcomes: Counts,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct OfControl {
    pub(super) control: String,
    /// What is true after the fix.
    pub(super) title: String,
    pub(super) severity: Severity,
    pub(super) found: u64,
    pub(super) outcomes: Counts,
    /// Of those that were fixed, also where the fix was taken back later.
    pub(super) time_to_fix: Spread,
    /// Milliseconds for which resources were in their bad state before they were fixed, together.
    pub(super) exposure_ms: u64,
    /// Resources that are not known to be right again.
    pub(super) open: u64,
    /// For how long the longest of these is open by now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) longest_open_ms: Option<u64>,
}

/// From the event until the fix was in force and verified, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Spread {
    /// Fixes that were measured.
    pub(super) count: u64,
    /// Half of them took no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p50_ms: Option<u64>,
    /// 95 of 100 took no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p95_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) longest_ms: Option<u64>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct TimeToFix {
    #[serde(flatten)]
    pub(super) spread: Spread,
    /// Fixes whose event did not say when it happened.
    pub(super) without_time: u64,
    pub(super) histogram: Vec<Bucket>,
}

/// Fixes that took longer than the bucket before says, and at most so long.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Bucket {
    /// None: however long.
    pub(super) at_most_ms: Option<u64>,
    pub(super) count: u64,
}

/// The first entries of a list, and how many there are.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct List<T> {
    pub(super) total: u64,
    pub(super) shown: Vec<T>,
}

impl<T> List<T> {
    pub(super) fn left_out(&self) -> u64 {
        let shown = u64::try_from(self.shown.len()).unwrap_or(u64::MAX);
        self.total.saturating_sub(shown)
    }
}

/// One resource under one control.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Place {
    pub(super) control: String,
    pub(super) severity: Severity,
    pub(super) resource: Untrusted,
    pub(super) account: Untrusted,
    pub(super) region: Untrusted,
}

/// What was parked, failed or was made in part, and nothing put it right since. The most severe first, then the oldest.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct NeedsPerson {
    #[serde(flatten)]
    pub(super) place: Place,
    /// The newest record.
    pub(super) record: String,
    pub(super) outcome: Outcome,
    /// Whether it is an undo that did not end well.
    pub(super) undo: bool,
    /// Since when it is so.
    pub(super) since: Timestamp,
    /// How many records say so.
    pub(super) times: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<Untrusted>,
    /// The command to begin with.
    pub(super) next: String,
    /// The runbook's path in the repository.
    pub(super) runbook: String,
}

/// A plan that waits for a person. The most severe first, then the one that expires soonest.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Approval {
    #[serde(flatten)]
    pub(super) place: Place,
    pub(super) record: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) principal: Option<Untrusted>,
    pub(super) created: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<Timestamp>,
    /// Whether nobody answered in time.
    pub(super) expired: bool,
    pub(super) changes: u64,
    /// The command that shows the plan and asks.
    pub(super) approve: String,
    pub(super) deny: String,
}

/// Who caused violations. The one who caused the most first.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct OfPrincipal {
    /// A role stands for all its sessions. None: the events do not say.
    pub(super) principal: Option<Untrusted>,
    /// Of a role: the sessions that caused most of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) sessions: Vec<Untrusted>,
    /// Of a role: how many sessions there were.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) session_count: u64,
    pub(super) found: u64,
    pub(super) outcomes: Counts,
    /// The most severe of them.
    pub(super) severity: Severity,
    /// The control that they violated most often.
    pub(super) control: String,
    pub(super) last: Timestamp,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The one that ends, or ended, soonest first.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Exempted {
    #[serde(flatten)]
    pub(super) place: Place,
    pub(super) reason: Untrusted,
    pub(super) owner: Untrusted,
    /// Who gave it.
    pub(super) person: Untrusted,
    pub(super) granted: Timestamp,
    pub(super) expires: Timestamp,
    pub(super) expired: bool,
    /// Whether people were told that nothing ever matched it.
    pub(super) unused: bool,
}

/// A resource that was fixed again and again. The one that was fixed most often first.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Flapping {
    #[serde(flatten)]
    pub(super) place: Place,
    pub(super) fixes: u64,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    /// Who broke it most often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) principal: Option<Untrusted>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct OfAccount {
    pub(super) account: Untrusted,
    pub(super) found: u64,
    pub(super) fixed: u64,
    /// In the order of the report's controls; only those that were violated.
    pub(super) controls: Vec<Cell>,
}

/// One control in one account.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Cell {
    pub(super) control: String,
    pub(super) found: u64,
    pub(super) fixed: u64,
}
