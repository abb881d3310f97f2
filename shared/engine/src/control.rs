//! What a remediation must be able to do.

use std::{
    collections::BTreeMap,
    fmt::{Debug, Display},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{CallError, Clients, Listen, Signal, partition::first_region, policy::Trusted, text};

/// One rule about one kind of resource, with its remediation.
///
/// Effects are few and named: only [`assess`](Control::assess) reads and only [`apply`](Control::apply) writes.
/// [`plan`](Control::plan) and [`revert`](Control::revert) are pure. Verification and undo are made of these by the
/// engine, so that no control can disagree with the rest.
#[allow(async_fn_in_trait)] // Chosen statically and run on one thread: no caller needs `Send`.
pub trait Control: Sized + 'static {
    const META: Meta;

    /// Whether its resources are in no region, as IAM's are: their records, locks and baselines are of the partition's first,
    /// where CloudTrail tells of them, whoever finds them.
    const IS_GLOBAL: bool = false;

    /// How long a fix is watched after it was seen to be right, and made again if somebody takes it back: where an intruder
    /// may still act, because AWS needs a while until what was written counts everywhere.
    const WATCHED_FOR: Duration = Duration::ZERO;

    /// The resource, parsed into a typed value. `Display` is its name as people know it (bucket name, instance id).
    type Target: Clone + Debug + Display + PartialEq + Serialize + DeserializeOwned;

    /// What `assess` saw. Holds everything that undo restores, and nothing that changes by itself.
    type State: Clone + Debug + PartialEq + Serialize + DeserializeOwned;

    /// One write call.
    type Change: Clone + Debug + PartialEq + Serialize + DeserializeOwned;

    fn connect(aws: &Clients) -> Self;

    /// What the function's environment says of what is wrong. Another text is another rule: what was in a bad state before
    /// is not fixed at once.
    fn settings() -> String {
        String::new()
    }

    /// The resources that this control should look at because of the signal. None: the signal is not for this
    /// control. Only names are taken from the signal; every fact is read from the API by `assess`.
    fn targets(signal: &Signal) -> Result<Vec<Self::Target>, TargetError>;

    /// One page of the resources that there are, for the sweep: by name alone, what is wrong is for `assess` to see.
    /// Nothing, where [`Meta::discovers`] names no action: then there is nothing to look for without an event.
    async fn discover(&self, _page: Option<&str>) -> Result<Discovered<Self::Target>, CallError> {
        Ok(Discovered::default())
    }

    /// Reads the live resource. `None`: there is no such resource.
    async fn assess(&self, target: &Self::Target) -> Result<Option<Self::State>, CallError>;

    /// Reads the resource again, right before a change and right after it: at least what a plan writes. The rest may be
    /// that of `known`, as it was a moment ago. Whoever changes that meanwhile makes an event of their own.
    async fn assess_again(
        &self,
        target: &Self::Target,
        _known: &Self::State,
    ) -> Result<Option<Self::State>, CallError> {
        self.assess(target).await
    }

    /// Puts beside what was seen what only Quell knows, so that the plan is made of the state alone and the record says
    /// of what. [`same`](Control::same) does not look at it.
    fn inform(_state: &mut Self::State, _background: &Background<'_, Self::State>) {}

    /// What is to be changed, in order. Empty: compliant.
    fn plan(state: &Self::State) -> Plan<Self::Change>;

    /// Makes one change. Called again after a crash or a lost response, so it must be of one of the kinds of
    /// [`Effect`]. Returns the id of what it made, if later changes or undo need it.
    async fn apply(
        &self,
        target: &Self::Target,
        change: &Self::Change,
        progress: &Progress<'_>,
    ) -> Result<Option<String>, CallError>;

    /// What brings `before` back when the resource is as in `after`. Empty: irreversible.
    fn revert(before: &Self::State, after: &Self::State) -> Plan<Self::Change>;

    /// A change as people see it, before it is made.
    fn describe(state: &Self::State, change: &Self::Change) -> Description;

    /// The resource as a person finds it in the console, built from constants and the target.
    fn console(target: &Self::Target, region: &str) -> String;

    /// The ARN of the resource, where it has one.
    fn arn(target: &Self::Target, account: &str, region: &str) -> String;

    /// The resource's tags. Read only where the policy asks for them.
    async fn tags(&self, target: &Self::Target) -> Result<BTreeMap<String, String>, CallError>;

    /// What a resource of the same name that is made anew does not have. Read only where there is an exemption.
    async fn unique_id(&self, target: &Self::Target) -> Result<String, CallError> {
        // Most ids are never given twice.
        Ok(target.to_string())
    }

    /// What is worth saying about the state beside the plan: facts that a person wants before deciding.
    fn notes(_state: &Self::State) -> Vec<String> {
        Vec::new()
    }

    /// What people want to know beside the plan, and what takes a call of its own to know. Asked once something is wrong:
    /// before a person decides, or else beside the record's write, so that no fix waits for it.
    async fn facts(&self, _target: &Self::Target) -> Vec<String> {
        Vec::new()
    }

    /// Why the template permits this without an exemption, if it does: it is recorded as exempt, and nobody is told.
    fn permitted(_state: &Self::State) -> Option<String> {
        None
    }

    /// Why this is not Quell's to change, though it is wrong: a service's own role, the last administrator, what the
    /// organisation's management account owns. People are told, with the reason, whatever the mode.
    fn withheld(_state: &Self::State) -> Option<String> {
        None
    }

    /// Whether two states are the same to a person. Ids that AWS gives anew on every write do not count.
    fn same(one: &Self::State, other: &Self::State) -> bool {
        one == other
    }

    /// Whether the rest of the plan is made although this change failed. The outcome is `partial` all the same.
    fn goes_on_without(_change: &Self::Change) -> bool {
        false
    }

    /// The record, if any, that spares this resource as long as it is open and recent in the ledger: the resource may
    /// be part of a remediation that is under way. Only a hint: the name it is taken from can be anyone's.
    fn spared_by(_state: &Self::State) -> Option<String> {
        None
    }

    /// The order in which a stored plan is taken up again after a crash, as indices into it. `made` holds the ids
    /// that the record knows already, by the same indices.
    fn resume(changes: &[Self::Change], _made: &[Option<String>]) -> Vec<usize> {
        (0..changes.len()).collect()
    }
}

/// The region of the control's resources, seen from this one.
pub(crate) fn region_of<C: Control>(region: &str) -> &str {
    if C::IS_GLOBAL { first_region(region) } else { region }
}

/// What Quell knows beside the resource.
#[derive(Clone, Copy, Debug)]
pub struct Background<'a, S> {
    /// Whom the policy trusts.
    pub trusted: &'a Trusted,
    /// How the resource was when a sweep last saw it compliant, before what is looked at now. Only where
    /// [`Meta::baseline`] asks for it.
    pub baseline: Option<&'a S>,
}

/// One page of resources.
#[derive(Clone, Debug, PartialEq)]
pub struct Discovered<T> {
    pub targets: Vec<T>,
    /// Where the next page begins. `None`: this was the last.
    pub next: Option<String>,
}

impl<T> Default for Discovered<T> {
    fn default() -> Self {
        Self { targets: Vec::new(), next: None }
    }
}

/// The facts about a control, from which runbooks, tables, permissions and tests are made.
#[derive(Debug)]
pub struct Meta {
    /// Kebab-case; the file has the same name (with its folder in front).
    pub id: &'static str,
    /// What is true after the fix. No full stop.
    pub title: &'static str,
    /// What was wrong and why it matters, in one sentence, for messages.
    pub risk: &'static str,
    pub severity: Severity,
    pub safety: Safety,
    /// Whether undo brings back what was. If not, [`revert`](Control::revert) is empty, and nobody is offered an undo.
    pub reversible: bool,
    /// Requirements of frameworks that this control satisfies, as `framework/id`.
    pub satisfies: &'static [&'static str],
    /// The function that serves it.
    pub function: &'static str,
    /// The events that it wants. The rules of the template are made of these.
    pub listens: &'static [Listen],
    /// IAM actions that `discover` needs. Empty: the sweep does not look for its resources.
    pub discovers: &'static [&'static str],
    /// IAM actions that `assess` needs.
    pub reads: &'static [&'static str],
    /// IAM actions that `apply` needs.
    pub writes: &'static [&'static str],
    /// Whether the sweep keeps how compliant resources look, because a fix may have to restore it.
    pub baseline: bool,
    /// Seconds for which "not found" may only mean "not visible yet".
    pub visible_within: u64,
    /// `file!()`
    pub source: &'static str,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

/// How far a fix may go by itself.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Safety {
    /// Fixed at once in enforce mode.
    Safe,
    /// Fixed only if the control is enforced by name, or a person approves.
    NeedsApproval,
    /// Never fixed by Quell.
    ReportOnly,
}

/// An ordered list of changes. Empty: nothing is to be done.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Plan<C> {
    pub changes: Vec<C>,
}

impl<C> Plan<C> {
    pub fn nothing() -> Self {
        Self { changes: Vec::new() }
    }

    pub fn one(change: C) -> Self {
        Self { changes: vec![change] }
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

impl<C> FromIterator<C> for Plan<C> {
    fn from_iter<I: IntoIterator<Item = C>>(changes: I) -> Self {
        Self { changes: changes.into_iter().collect() }
    }
}

/// Why a change may be made twice without harm.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Idempotent by nature.
    Set,
    /// The API takes a client token.
    Token,
    /// AWS refuses the second; what is there is adopted only after comparing.
    Unique,
    /// Searched for or read again right before.
    Guarded,
}

/// A change as people see it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Description {
    /// The call, as IAM names the action.
    pub action: String,
    pub effect: Effect,
    /// Lines that go. May hold text from the resource: escaped only when rendered.
    pub minus: Vec<String>,
    /// Lines that come.
    pub plus: Vec<String>,
}

impl Description {
    /// What a resource holds may be a secret: an address that only some know, a word that a policy asks for.
    pub(crate) fn without_secrets(self) -> Self {
        let told = |lines: Vec<String>| {
            lines.iter().map(|line| text::redacted(line).into_owned()).collect()
        };
        Self { minus: told(self.minus), plus: told(self.plus), ..self }
    }
}

/// What the ledger knows of the record while its changes are made.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The record's id: lower-case hexadecimal, the same in every attempt.
    pub record: &'a str,
    /// Ids of what earlier changes of this record made, by index into its plan; when undoing, those of the record
    /// that is undone.
    pub made: &'a [Option<String>],
    /// When this process is ended from outside. A change of several calls begins none that it could not bear to leave.
    pub deadline: Instant,
}

/// The signal is for this control, but names no resource that can be one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("`{field}` does not name a resource of {control}: {reason}")]
pub struct TargetError {
    pub control: &'static str,
    pub field: &'static str,
    pub reason: String,
}
