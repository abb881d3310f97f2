//! One message that counts many: what repeated itself, or was routine.

use std::{cmp::Reverse, collections::BTreeSet, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{VERSION, clock, severity, verdict};
use crate::{Outcome, Severity, ledger::Counts, text};

/// What happened in a while, by control, outcome and actor. Strings are untrusted, as in a
/// [`Message`](super::Message).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Bulletin {
    pub version: u8,
    pub subject: Subject,
    pub from: Timestamp,
    pub until: Timestamp,
    /// How many messages were not sent because of it.
    pub total: u64,
    /// The worst first. What was told by itself is counted too.
    pub lines: Vec<Line>,
    /// The command that lists each.
    pub command: String,
    /// Where it could not be told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How many notes are sent.
const NOTES: usize = 10;

/// Why there is a bulletin.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The same, or too much, at once.
    Folded,
    /// What is routine, by policy.
    Digest,
    /// What sweeps found, and what was so before the policy named its control.
    Sweep,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Line {
    pub severity: Severity,
    pub control: String,
    pub outcome: Outcome,
    /// `None`: the events do not say, or it is of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    pub account: String,
    pub region: String,
    /// The first resource of it.
    pub example: String,
    #[serde(default)]
    pub count: u64,
    /// How many of them were not told by themselves.
    #[serde(default)]
    pub untold: u64,
    /// Ids of channels in Slack where it would have been said. Empty: the one for everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
}

impl Subject {
    fn name(self) -> &'static str {
        match self {
            Self::Folded => "folded",
            Self::Digest => "digest",
            Self::Sweep => "sweep",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Bulletin {
    /// What is to be told of a window; `None`: everything was told by itself.
    pub fn of(counts: &Counts) -> Option<Self> {
        Self::with(counts, counts.lines.iter().map(|kept| &kept.line))
    }

    /// The same for each topic of a route: what would have gone there.
    pub fn of_routes(counts: &Counts) -> Vec<(&str, Self)> {
        let topics: BTreeSet<_> = counts.lines.iter().flat_map(|kept| &kept.topics).collect();
        let told = |topic: &String| {
            let lines = counts.lines.iter().filter(|kept| kept.topics.contains(topic));
            Self::with(counts, lines.map(|kept| &kept.line))
        };
        topics.into_iter().filter_map(|topic| Some((topic.as_str(), told(topic)?))).collect()
    }

    fn with<'a>(counts: &Counts, lines: impl Iterator<Item = &'a Line>) -> Option<Self> {
        let mut lines: Vec<_> = lines.filter(|line| line.untold > 0).cloned().collect();
        lines.sort_by(|one, other| {
            let order = |line: &Line| (Reverse(line.severity), Reverse(line.count));
            order(one).cmp(&order(other)).then_with(|| one.control.cmp(&other.control))
        });
        let all = Self {
            version: VERSION,
            subject: counts.window.subject,
            from: counts.window.from,
            until: counts.window.until,
            total: 0,
            lines,
            command: format!("quell records --since {:.0}", counts.window.from),
            notes: Vec::new(),
        };
        all.only(|_| true)
    }

    /// The part of it that is about some lines. `None`: about none.
    pub fn only(&self, is_wanted: impl Fn(&Line) -> bool) -> Option<Self> {
        let lines: Vec<_> = self.lines.iter().filter(|line| is_wanted(line)).cloned().collect();
        let total = lines.iter().map(|line| line.untold).sum();
        (!lines.is_empty()).then(|| Self { total, lines, ..self.clone() })
    }

    /// Of the worst line.
    pub fn severity(&self) -> Severity {
        self.lines.iter().map(|line| line.severity).max().unwrap_or(Severity::Low)
    }

    /// Its severity, how many and of what. Names are quoted as the renderer quotes them.
    pub fn headline(&self, quote: impl Fn(&str) -> String) -> String {
        let what = match self.subject {
            Subject::Folded => "repeated",
            Subject::Digest => "digest",
            Subject::Sweep => "sweep",
        };
        let first = self.lines.first().map_or_else(String::new, |line| {
            let control = quote(&line.control);
            let more = self.lines.len() - 1;
            match more {
                0 => format!(": {control}"),
                _ => format!(": {control} and {more} more"),
            }
        });
        format!("Quell {what} [{}] {} messages{first}", severity(self.severity()), self.total)
    }

    /// Why it was sent, in a sentence of constants and numbers.
    pub fn status(&self) -> String {
        let (from, until) = (clock(self.from), clock(self.until));
        match self.subject {
            Subject::Folded => format!(
                "Between {from} and {until} the same happened again and again: {} messages were not sent, and are counted here.",
                self.total
            ),
            Subject::Digest => format!(
                "Between {from} and {until} there were {} outcomes that the policy calls routine.",
                self.total
            ),
            Subject::Sweep => format!(
                "Between {from} and {until} a sweep found {} resources in a bad state from before the policy named their controls. Nothing was changed; `fix_backlog` of the policy's `[sweep]` has them fixed.",
                self.total
            ),
        }
    }

    /// What happened, without its count, as people read it. Names are quoted as the renderer quotes them.
    pub fn describe(line: &Line, quote: impl Fn(&str) -> String) -> String {
        let who = match &line.actor {
            Some(actor) => format!(", by {}", quote(actor)),
            None => String::new(),
        };
        format!(
            "[{}] {} {}{who}, in account {}, region {}; the first: {}",
            severity(line.severity),
            verdict(line.outcome),
            quote(&line.control),
            quote(&line.account),
            quote(&line.region),
            quote(&line.example),
        )
    }

    /// The bulletin with less in it.
    pub(super) fn shortened(&self, field: usize, lines: usize) -> Self {
        let cut = |text: &str| text::cut(text, field);
        let lines = self.lines.iter().take(lines).map(|line| Line {
            control: cut(&line.control),
            actor: line.actor.as_deref().map(cut),
            account: cut(&line.account),
            region: cut(&line.region),
            example: cut(&line.example),
            ..line.clone()
        });
        let notes = self.notes.iter().take(NOTES).map(|note| cut(note));
        Self {
            lines: lines.collect(),
            command: cut(&self.command),
            notes: notes.collect(),
            ..self.clone()
        }
    }
}
