//! What people and machines hear of a remediation: one model, and a renderer for each way in which it travels.

pub mod bulletin;
pub mod chat;
pub mod email;
pub mod fold;
pub mod machine;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod schema;
pub mod sms;
pub mod sns;
pub mod topic;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    Actor, Description, Finding, Meta, Outcome, Safety, Severity,
    ledger::{self, Verb},
    text,
};

pub use bulletin::Bulletin;
pub use sns::{Envelope, publish};
pub use topic::Topic;

/// The version of [`Message`] as machines read it. Fields may be added under the same version.
pub const VERSION: u8 = 1;

/// Where the runbooks stand in the repository.
pub const RUNBOOKS: &str = "docs/runbooks/";

/// What people and machines are told.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Notice {
    Remediation(Box<Message>),
    Bulletin(Bulletin),
}

impl From<Message> for Notice {
    fn from(message: Message) -> Self {
        Self::Remediation(Box::new(message))
    }
}

/// What happened to one resource. Strings from events, resources and AWS's errors are untrusted and stay as they came;
/// only the renderers escape them.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Message {
    pub version: u8,
    pub control: Control,
    pub outcome: Outcome,
    /// The control's mode, by name.
    pub mode: String,
    pub resource: Resource,
    pub account: String,
    pub region: String,
    pub event: Event,
    /// Who did it. `None`: the event does not say.
    pub actor: Option<Actor>,
    /// When Quell saw it.
    pub detected: Timestamp,
    /// Since when the record stands as the message says. `None`: there is no record.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// The plan, in order.
    pub changes: Vec<Change>,
    /// Whether anything was changed.
    pub applied: bool,
    /// Whether the resource, read again after the changes, is as it should be. `None`: it was not read again.
    pub verified: Option<bool>,
    /// When the last change was made that put it right.
    #[serde(default)]
    pub fixed_at: Option<Timestamp>,
    /// The record's id in the ledger.
    pub record: Option<String>,
    /// Grows from message to message of one record.
    #[serde(default)]
    pub revision: u64,
    /// What an approval of the plan is bound to.
    #[serde(default)]
    pub plan_hash: Option<String>,
    /// The record that this one undoes.
    pub undoes: Option<String>,
    /// What a person ordered, where it was obeyed.
    pub order: Option<Order>,
    /// The exact command that has the plan made which waits for a person.
    pub approve: Option<String>,
    /// The exact command that ends it without a change.
    pub deny: Option<String>,
    /// Until when one of both may be given.
    pub expires: Option<Timestamp>,
    /// The exact command that takes up what was put aside.
    pub resume: Option<String>,
    /// The exact command that takes the changes back.
    pub undo: Option<String>,
    /// The command that lets the resource be as it is, but for the reason that a person gives.
    pub exempt: Option<String>,
    /// What will bring the bad state back, in a sentence, where it looks so.
    #[serde(default)]
    pub cause: Option<String>,
    pub notes: Vec<String>,
    /// Why it was refused, denied, put aside, failed or not fixed.
    pub reason: Option<String>,
    /// How many lines of the changes were left out to make the message fit.
    #[serde(default)]
    pub left_out: usize,
    /// Ids of channels in Slack that the policy's routes name. Empty: the one for everything.
    #[serde(default)]
    pub channels: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Control {
    pub id: String,
    pub title: String,
    /// What was wrong and why it matters, in one sentence.
    pub risk: String,
    pub severity: Severity,
    pub safety: Safety,
    /// The function that serves it.
    pub function: String,
    /// The runbook's path in the repository.
    pub runbook: String,
}

impl From<&Meta> for Control {
    fn from(meta: &Meta) -> Self {
        Self {
            id: meta.id.to_owned(),
            title: meta.title.to_owned(),
            risk: meta.risk.to_owned(),
            severity: meta.severity,
            safety: meta.safety,
            function: meta.function.to_owned(),
            runbook: format!("{RUNBOOKS}{}.md", meta.id),
        }
    }
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Resource {
    pub name: String,
    pub arn: String,
    /// The link to AWS's console.
    pub console: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Event {
    /// EventBridge's id.
    pub id: String,
    /// When it happened, as the event says.
    pub time: Option<Timestamp>,
    /// Security Hub's finding, where the event came from there.
    pub finding: Option<Finding>,
}

/// Who ordered what was done.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Order {
    pub verb: Verb,
    /// The ARN of the principal.
    pub by: String,
    /// The same as the policy knows them.
    pub person: Option<String>,
    pub at: Timestamp,
}

impl From<&ledger::Order> for Order {
    fn from(order: &ledger::Order) -> Self {
        let ledger::Order { verb, by, person, at, .. } = order;
        Self { verb: *verb, by: by.clone(), person: person.clone(), at: *at }
    }
}

/// One change of the plan.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Change {
    #[serde(flatten)]
    pub description: Description,
    /// Whether it was made.
    pub made: bool,
}

/// How much of a message is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Characters of one field.
    pub field: usize,
    /// Characters of one line of a change.
    pub line: usize,
    /// Lines of all changes together; the name of each action counts as one.
    pub lines: usize,
    pub notes: usize,
}

/// How many characters of a reason or a note people see.
const SENTENCE: usize = 1024;

impl Message {
    /// The message with less in it. What is left out of the changes is counted.
    pub fn shortened(&self, limits: Limits) -> Self {
        let field = |text: &str| text::cut(text, limits.field);
        let some = |text: &Option<String>| text.as_deref().map(field);
        let mut room = limits.lines;
        let mut left_out = self.left_out;
        let mut changes = Vec::new();
        for change in &self.changes {
            let Description { action, effect, minus, plus } = &change.description;
            if room == 0 {
                left_out += (minus.len() + plus.len()).max(1);
                continue;
            }
            room -= 1;
            let mut kept = |lines: &[String]| -> Vec<String> {
                let count = lines.len().min(room);
                room -= count;
                left_out += lines.len() - count;
                lines.iter().take(count).map(|line| text::cut(line, limits.line)).collect()
            };
            let (minus, plus) = (kept(minus), kept(plus));
            let action = field(action);
            let description = Description { action, effect: *effect, minus, plus };
            changes.push(Change { description, made: change.made });
        }
        // Half a link is worse than none.
        let console = if self.resource.console.chars().count() <= 512 {
            self.resource.console.clone()
        } else {
            String::new()
        };
        Self {
            version: self.version,
            control: Control {
                id: field(&self.control.id),
                title: field(&self.control.title),
                risk: field(&self.control.risk),
                severity: self.control.severity,
                safety: self.control.safety,
                function: field(&self.control.function),
                runbook: field(&self.control.runbook),
            },
            outcome: self.outcome,
            mode: field(&self.mode),
            resource: Resource {
                name: field(&self.resource.name),
                arn: field(&self.resource.arn),
                console,
            },
            account: field(&self.account),
            region: field(&self.region),
            event: Event {
                id: field(&self.event.id),
                time: self.event.time,
                // A part of a name is the name of something else.
                finding: self.event.finding.as_ref().and_then(Finding::checked),
            },
            actor: self.actor.as_ref().map(|actor| Actor {
                principal: field(&actor.principal),
                arn: some(&actor.arn),
                // For linking alone.
                key: None,
                source_ip: some(&actor.source_ip),
                user_agent: some(&actor.user_agent),
                invoked_by: some(&actor.invoked_by),
            }),
            detected: self.detected,
            since: self.since,
            changes,
            applied: self.applied,
            verified: self.verified,
            fixed_at: self.fixed_at,
            record: some(&self.record),
            revision: self.revision,
            plan_hash: some(&self.plan_hash),
            undoes: some(&self.undoes),
            order: self.order.as_ref().map(|order| Order {
                verb: order.verb,
                by: field(&order.by),
                person: some(&order.person),
                at: order.at,
            }),
            approve: some(&self.approve),
            deny: some(&self.deny),
            expires: self.expires,
            resume: some(&self.resume),
            undo: some(&self.undo),
            exempt: some(&self.exempt),
            cause: some(&self.cause),
            notes: self.notes.iter().take(limits.notes).map(|note| field(note)).collect(),
            reason: some(&self.reason),
            left_out,
            channels: self.channels.clone(),
        }
    }

    /// What Quell did, in a sentence of constants.
    pub fn status(&self) -> &'static str {
        if self.undoes.is_some()
            && let Some(status) = self.status_of_undo()
        {
            return status;
        }
        match (self.outcome, self.applied, self.verified) {
            (Outcome::Observed, ..) => "Nothing was changed: Quell only reported this.",
            (Outcome::Fixed, _, Some(true)) => "Quell fixed it, and verified the fix.",
            (Outcome::Fixed, ..) => "Quell fixed it, but the fix is not verified.",
            (Outcome::Partial, _, Some(true)) => {
                "Quell put it right, and verified that, but could not make all of the changes."
            }
            (Outcome::Partial, ..) => {
                "Quell made only some of the changes. Treat the resource as still in its bad state."
            }
            (Outcome::Failed, true, Some(false)) => {
                "Quell made the changes, but the resource is still in its bad state."
            }
            (Outcome::Failed, _, Some(true)) => {
                "Quell could not fix it, but the resource was read again and is as it should be."
            }
            (Outcome::Failed, ..) => {
                "Quell could not fix it. Treat the resource as still in its bad state."
            }
            (Outcome::Refused, true, _) => "Quell refused to go on. Some changes had been made.",
            (Outcome::Refused, false, _) => "Quell refused to act. Nothing was changed.",
            (Outcome::Undone, _, Some(true)) => {
                "The fix was taken back, and this was verified: the resource is as it was before the fix."
            }
            (Outcome::Undone, ..) => {
                "The fix was taken back, but it is not verified that the resource is as it was before."
            }
            (Outcome::Compliant, ..) => "The resource is as it should be. Nothing was changed.",
            (Outcome::Gone, ..) => "The resource does not exist any more.",
            (Outcome::Ignored, ..) => "The event asks for nothing. Nothing was changed.",
            (Outcome::Duplicate, ..) => "This was dealt with before.",
            (Outcome::Superseded, ..) => {
                "The resource changed meanwhile; another evaluation took over."
            }
            (Outcome::Exempt, ..) => "Quell leaves the resource alone while its exemption lasts.",
            (Outcome::Pending, ..) => {
                "Quell waits until somebody other than who did it approves the changes below. Nothing was changed, and the resource is still in its bad state."
            }
            (Outcome::Parked, true, _) => {
                "Quell stopped half way, and waits until a person resumes it. Treat the resource as still in its bad state."
            }
            (Outcome::Parked, false, _) => {
                "Quell put it aside until a person resumes it. Nothing was changed, and the resource is still in its bad state."
            }
            (Outcome::Denied, ..) => {
                "A person said no. Nothing was changed, and the resource stays as it is."
            }
        }
    }

    /// The same, where an undo ended otherwise than a fix would have.
    fn status_of_undo(&self) -> Option<&'static str> {
        Some(match (self.outcome, self.applied) {
            (Outcome::Partial, _) => "Quell took back only some of the changes of the fix.",
            (Outcome::Failed, true) => {
                "Quell made the changes of the undo, but the resource is not as it was before the fix."
            }
            (Outcome::Failed, false) => "Quell could not take the fix back.",
            (Outcome::Parked, true) => "Quell stopped the undo half way, and waits for a person.",
            (Outcome::Parked, false) => "Quell put the undo aside. Nothing was changed.",
            _ => return None,
        })
    }

    /// What a headline says of the outcome.
    pub fn verdict(&self) -> &'static str {
        match (self.outcome, self.control.safety) {
            (Outcome::Observed, Safety::ReportOnly) => "ALERT",
            (outcome, _) => verdict(outcome),
        }
    }

    /// When it happened, and how long it was so.
    pub fn when(&self) -> String {
        let seen = clock(self.detected);
        let mut when = match self.event.time {
            Some(time) => format!("{}, seen by Quell {seen}", clock(time)),
            None => format!("seen by Quell {seen}"),
        };
        match (self.outcome, self.fixed_at) {
            (Outcome::Fixed, Some(fixed)) => {
                let open = fixed.duration_since(self.event.time.unwrap_or(self.detected));
                when.push_str(&format!("; open for {}", lasting(open)));
            }
            (
                Outcome::Observed
                | Outcome::Pending
                | Outcome::Parked
                | Outcome::Partial
                | Outcome::Failed
                | Outcome::Denied,
                _,
            ) if self.undoes.is_none()
                && self.control.safety != Safety::ReportOnly
                && self.verified != Some(true) =>
            {
                when.push_str("; still open");
            }
            _ => {}
        }
        when
    }

    /// What stands above the changes.
    pub fn heading(&self) -> &'static str {
        match (self.outcome, self.undoes.is_some()) {
            (Outcome::Observed, _) if self.control.safety == Safety::ReportOnly => "What was done",
            (Outcome::Fixed, _) => "What Quell did",
            (Outcome::Undone, _) => "What Quell put back",
            (Outcome::Partial, false) => "What Quell did, and did not do",
            (Outcome::Partial, true) => "What Quell put back, and did not put back",
            (Outcome::Parked, _) if self.applied => "What Quell did, and did not do",
            (Outcome::Failed, false) => "What Quell tried",
            (Outcome::Failed, true) => "What Quell tried to put back",
            (Outcome::Refused | Outcome::Denied, _) => "What Quell would have done",
            (Outcome::Pending, _) => "What Quell does once it is approved",
            _ => "What Quell would do",
        }
    }

    /// What stands beside a change when not all were made.
    pub fn made(&self, change: &Change) -> &'static str {
        match (self.outcome, change.made) {
            (Outcome::Partial | Outcome::Failed, true) => " (done)",
            (Outcome::Partial | Outcome::Failed, false) => " (not done)",
            (Outcome::Parked, true) => " (done)",
            (Outcome::Parked, false) if self.applied => " (not done)",
            (Outcome::Refused, true) => " (had been done)",
            _ => "",
        }
    }

    /// Whether the resource was read again, as a sentence; nothing where nothing was changed.
    pub fn verification(&self) -> Option<&'static str> {
        let is_undo = self.undoes.is_some() || self.outcome == Outcome::Undone;
        match (is_undo, self.verified) {
            (true, Some(true)) => {
                Some("yes, the resource was read again and is as it was before the fix")
            }
            (true, Some(false)) => {
                Some("no, the resource was read again and is not as it was before the fix")
            }
            (false, Some(true)) => Some("yes, the resource was read again and is as it should be"),
            (false, Some(false)) => {
                Some("no, the resource was read again and is not as it should be")
            }
            (_, None) if self.applied => Some("no, the resource was not read again"),
            _ => None,
        }
    }

    /// Who ordered what was done, and when. Names are quoted as the renderer quotes them.
    pub fn ordered(&self, quote: impl Fn(&str) -> String) -> Option<String> {
        let Order { verb, by, person, at } = self.order.as_ref()?;
        let who = match person {
            Some(person) => format!("{} ({})", quote(person), quote(by)),
            None => quote(by),
        };
        Some(format!("to {verb}, by {who}, {}", clock(*at)))
    }

    /// Until when a person may answer.
    pub fn until(&self) -> Option<String> {
        let expires = clock(self.expires?);
        Some(format!("{expires}; without an answer by then it is parked, and nothing is changed"))
    }

    /// What a person can do now, with the exact command for each.
    pub fn commands(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let commands = [
            ("Approve", &self.approve),
            ("Deny", &self.deny),
            ("Resume", &self.resume),
            ("Undo", &self.undo),
            ("Exempt", &self.exempt),
        ];
        commands.into_iter().filter_map(|(name, command)| Some((name, command.as_deref()?)))
    }

    /// Where the lines are that were left out.
    pub fn rest(&self, quote: impl Fn(&str) -> String) -> Option<String> {
        let lines = match self.left_out {
            0 => return None,
            1 => "1 more line".to_owned(),
            count => format!("{count} more lines"),
        };
        Some(match &self.record {
            Some(record) => {
                format!(
                    "… {lines}, left out here. Read them with {}",
                    quote(&format!("quell show {record}"))
                )
            }
            None => format!("… {lines}, left out here."),
        })
    }

    /// How to have this fixed by Quell, or what else to do. Names are quoted as the renderer quotes them.
    pub fn advice(&self, quote: impl Fn(&str) -> String) -> Option<String> {
        let advice = match self.outcome {
            Outcome::Observed if self.control.safety == Safety::ReportOnly => {
                "Quell never fixes this by itself. Follow the runbook."
            }
            Outcome::Observed if self.changes.is_empty() && self.left_out == 0 => return None,
            Outcome::Observed => {
                let wildcard = match self.control.safety {
                    Safety::NeedsApproval => " (the name itself: for a wildcard a person is asked)",
                    _ => "",
                };
                return Some(format!(
                    "To let Quell fix this, write {} under controls in the policy{wildcard}, publish it with {}, and set the ceiling of function {} to act.",
                    quote(&format!("{} = \"enforce\"", self.control.id)),
                    quote("quell policy apply"),
                    quote(&self.control.function),
                ));
            }
            Outcome::Partial | Outcome::Failed if self.undoes.is_some() => {
                "Order the undo once more, or put the resource back by hand."
            }
            Outcome::Partial | Outcome::Failed if self.verified == Some(true) => {
                "See by hand to the changes that are not done. The runbook says how."
            }
            Outcome::Partial => "Put the rest right by hand now. The runbook says how.",
            Outcome::Failed => "Put the resource right by hand now. The runbook says how.",
            Outcome::Refused => {
                "See to the reason above, or put the resource right by hand. The runbook says how."
            }
            _ => return None,
        };
        Some(advice.to_owned())
    }

    /// The runbook's path, where it is one of ours.
    pub fn runbook(&self) -> Option<&str> {
        let path = self.control.runbook.as_str();
        let name = path.strip_prefix(RUNBOOKS)?.strip_suffix(".md")?;
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        (plain && name.len() <= 64).then_some(path)
    }
}

/// A severity in a word.
pub fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

/// What a headline says of the outcome.
fn verdict(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Observed => "observed only",
        Outcome::Partial => "partial fix",
        Outcome::Failed => "FAILED",
        Outcome::Pending => "pending approval",
        Outcome::Exempt => "exemption",
        outcome => outcome.as_str(),
    }
}

/// A duration in its two largest units, such as `2 min 5 s`. Negative ones, of clocks that disagree, are none.
fn lasting(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if duration.as_millis() < 10_000 => {
            let tenths = duration.as_millis().max(0) / 100;
            format!("{}.{} s", tenths / 10, tenths % 10)
        }
        () if minutes == 0 => format!("{seconds} s"),
        () if hours == 0 => format!("{minutes} min {} s", seconds % 60),
        () if days == 0 => format!("{hours} h {} min", minutes % 60),
        () => format!("{days} d {} h", hours % 24),
    }
}

fn clock(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_long_the_resource_was_open() {
        let fixed = samples::message(Outcome::Fixed);
        assert!(fixed.when().ends_with("; open for 6.7 s"), "{}", fixed.when());
        let observed = samples::message(Outcome::Observed);
        assert!(observed.when().ends_with("; still open"), "{}", observed.when());
        let undone = samples::message(Outcome::Undone);
        assert!(!undone.when().contains("open"), "{}", undone.when());
        for (seconds, words) in [
            (-5, "0.0 s"),
            (9, "9.0 s"),
            (59, "59 s"),
            (125, "2 min 5 s"),
            (7_260, "2 h 1 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(lasting(SignedDuration::from_secs(seconds)), words);
        }
    }

    #[test]
    fn shortening_counts_what_it_leaves_out() {
        let message = samples::message(Outcome::Partial);
        let limits = Limits { field: 8, line: 6, lines: 2, notes: 0 };
        let short = message.shortened(limits);
        assert_eq!(short.changes.len(), 1);
        assert_eq!(short.changes[0].description.minus, ["READ …"]);
        assert_eq!(short.left_out, 3);
        assert_eq!(short.control.id, "s3-publ…");
        assert!(short.notes.is_empty());
        let all = Limits { field: 2048, line: 2048, lines: 100, notes: 10 };
        assert_eq!(message.shortened(all), message);
    }

    #[test]
    fn only_our_own_paths_are_runbooks() {
        let mut message = samples::message(Outcome::Fixed);
        assert_eq!(message.runbook(), Some("docs/runbooks/s3-public-acl.md"));
        for bad in [
            "docs/runbooks/../x.md",
            "https://evil.example/x.md",
            "docs/runbooks/evil.example/x.md",
            "",
        ] {
            message.control.runbook = bad.to_owned();
            assert_eq!(message.runbook(), None, "{bad}");
        }
    }
}
