//! Which calls are meant, when, and what happens to them.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::Entry;

/// The calls that a fault or a hook is for: all that fit everything said. Said nothing: every call.
///
/// Each rule counts the calls that fit it; `nth`, `first` and `with_probability` say at which of these it acts.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    caller: Option<String>,
    service: Option<String>,
    operation: Option<String>,
    key_prefix: Option<String>,
    resource: Option<String>,
    is_write: Option<bool>,
    number: Option<usize>,
    turn: Turn,
}

/// At which of the calls that fit a rule acts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Turn {
    #[default]
    Always,
    First(usize),
    Nth(usize),
    Probably(f64),
}

impl Calls {
    pub fn any() -> Self {
        Self::default()
    }

    /// As the SDKs name it: `DynamoDB`, `S3 Control`.
    pub fn service(mut self, service: &str) -> Self {
        self.service = Some(service.to_owned());
        self
    }

    /// As the SDKs name it: `TransactWriteItems`.
    pub fn operation(mut self, operation: &str) -> Self {
        self.operation = Some(operation.to_owned());
        self
    }

    /// DynamoDB: one of its items has a `pk` that begins so.
    pub fn key(mut self, prefix: &str) -> Self {
        self.key_prefix = Some(prefix.to_owned());
        self
    }

    /// One of its [`Entry::resources`] is this.
    pub fn resource(mut self, resource: &str) -> Self {
        self.resource = Some(resource.to_owned());
        self
    }

    /// What may change something.
    pub fn writes(mut self) -> Self {
        self.is_write = Some(true);
        self
    }

    pub fn reads(mut self) -> Self {
        self.is_write = Some(false);
        self
    }

    /// Of the caller of this name; a function's callers have its name.
    pub fn by(mut self, caller: &str) -> Self {
        self.caller = Some(caller.to_owned());
        self
    }

    /// The k-th call (from 1) of a caller's life, or of a function's current attempt.
    pub fn number(mut self, k: usize) -> Self {
        self.number = Some(k);
        self
    }

    /// Acts at the n-th (from 1) of the calls that fit, and never again.
    pub fn nth(mut self, n: usize) -> Self {
        self.turn = Turn::Nth(n);
        self
    }

    pub fn once(self) -> Self {
        self.nth(1)
    }

    /// Acts at the first n of the calls that fit.
    pub fn first(mut self, n: usize) -> Self {
        self.turn = Turn::First(n);
        self
    }

    /// Acts with probability `p` (0 to 1), each time by the next of the rule's own random numbers.
    pub fn with_probability(mut self, p: f64) -> Self {
        self.turn = Turn::Probably(p);
        self
    }

    fn fit(&self, entry: &Entry) -> bool {
        let says = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|w| w == is);
        says(&self.caller, &entry.caller)
            && says(&self.service, &entry.service)
            && says(&self.operation, &entry.operation)
            && self.number.is_none_or(|number| number == entry.number)
            && self.is_write.is_none_or(|is_write| is_write == entry.is_write)
            && self.resource.as_ref().is_none_or(|resource| entry.resources.contains(resource))
            && self
                .key_prefix
                .as_ref()
                .is_none_or(|prefix| entry.keys.iter().any(|key| key.starts_with(prefix.as_str())))
    }
}

/// What happens to a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// A round trip, half of it on the way there and half on the way back. Adds to other faults.
    Delay(Duration),
    /// An error of AWS's instead of the call.
    Refuse(Refusal),
    /// Too many calls, in the words of the service, instead of the call.
    Throttle,
    /// A failure on AWS's side (5xx), in the words of the service, instead of the call.
    Break,
    /// DynamoDB cancels the transaction, with this reason for some of its items and `None` for the others.
    Cancel(Cancelled),
    /// The call is applied, and the connection ends without an answer.
    DropAnswer,
    /// The connection ends without an answer, and the call is not applied.
    DropRequest,
    /// The call is applied, and the connection ends in the middle of the answer, whose length promises more.
    Truncate,
    /// The call is applied, and the middle of the answer is its end: as HTTP it is whole, with the right length.
    Shorten,
    /// A read is answered as before the last write to its service, until so long after that write. One that was not made
    /// before the write is answered as it is, and does not count. Consistent reads of DynamoDB are never so in AWS.
    Stale(Duration),
    /// The call is not applied, and there is no answer for as long as the caller waits.
    Hang,
    /// The caller dies, and the call is not applied. A dead caller's later calls are not taken, nor logged.
    KillBefore,
    /// The call is applied, and the caller dies before it has the answer.
    KillAfter,
}

/// An error as AWS would tell it.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    pub status: u16,
    pub code: String,
    pub message: String,
}

/// Reasons of a cancelled transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Cancelled {
    /// Such as `TransactionConflict`.
    pub code: String,
    /// The items that it is the reason of, by `pk`. Empty: all.
    pub key_prefix: String,
}

impl Fault {
    /// An error of AWS's, such as `(400, "ThrottlingException", "Rate exceeded")`.
    pub fn refuse(status: u16, code: &str, message: &str) -> Self {
        Self::Refuse(Refusal { status, code: code.to_owned(), message: message.to_owned() })
    }

    /// A transaction cancelled with a reason such as `TransactionConflict` for the items whose `pk` begins so.
    pub fn cancel(code: &str, key_prefix: &str) -> Self {
        Self::Cancel(Cancelled { code: code.to_owned(), key_prefix: key_prefix.to_owned() })
    }
}

/// A fault or a hook in force.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) id: usize,
    fired: Arc<AtomicUsize>,
}

impl Rule {
    /// How often it acted.
    pub fn fired(&self) -> usize {
        self.fired.load(Ordering::Relaxed)
    }
}

pub(super) type Hook = Arc<dyn Fn(Entry) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

#[derive(Clone)]
pub(super) enum Action {
    Fault(Fault),
    Hook(Hook),
}

/// A rule with what it counts.
pub(super) struct Active {
    calls: Calls,
    action: Action,
    rule: Rule,
    fitted: usize,
    random: fastrand::Rng,
}

impl fmt::Debug for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Active").field("calls", &self.calls).finish_non_exhaustive()
    }
}

/// What happens to one call.
#[derive(Default)]
pub(super) struct Verdict {
    pub(super) hooks: Vec<Hook>,
    pub(super) delay: Duration,
    /// The first that is more than a delay.
    pub(super) fault: Option<Fault>,
}

impl Active {
    /// Random numbers are the rule's own, so that one rule more or less does not change the others'.
    pub(super) fn new(calls: Calls, action: Action, id: usize, seed: u64) -> Self {
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(id as u64);
        Self {
            calls,
            action,
            rule: Rule { id, fired: Arc::default() },
            fitted: 0,
            random: fastrand::Rng::with_seed(mixed),
        }
    }

    /// Whether earlier answers are needed.
    pub(super) fn is_stale(&self) -> bool {
        matches!(self.action, Action::Fault(Fault::Stale(_)))
    }

    pub(super) fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Whether it acts at this call, which is counted if it fits.
    fn acts(&mut self, entry: &Entry) -> bool {
        if !self.calls.fit(entry) {
            return false;
        }
        self.fitted += 1;
        let acts = match self.calls.turn {
            Turn::Always => true,
            Turn::First(n) => self.fitted <= n,
            Turn::Nth(n) => self.fitted == n,
            Turn::Probably(p) => self.random.f64() < p,
        };
        if acts {
            self.rule.fired.fetch_add(1, Ordering::Relaxed);
        }
        acts
    }
}

impl Verdict {
    /// `is_known` says whether there is an answer from before the last write, which is not older than this.
    pub(super) fn on(
        entry: &Entry,
        rules: &mut [Active],
        is_known: impl Fn(Duration) -> bool,
    ) -> Self {
        let mut verdict = Self::default();
        for active in rules {
            // A call that already meets its end does not count for the rules after.
            let is_decisive =
                !matches!(active.action, Action::Hook(_) | Action::Fault(Fault::Delay(_)));
            if is_decisive && verdict.fault.is_some() {
                continue;
            }
            // A reason for none of its items would be an answer that AWS never gives.
            if let Action::Fault(Fault::Cancel(cancelled)) = &active.action {
                let is_meant = entry.keys.iter().any(|key| key.starts_with(&cancelled.key_prefix));
                if entry.operation != "TransactWriteItems" || !is_meant {
                    continue;
                }
            }
            if let Action::Fault(Fault::Stale(lag)) = active.action
                && (entry.is_write || !is_known(lag))
            {
                continue;
            }
            if !active.acts(entry) {
                continue;
            }
            match &active.action {
                Action::Hook(hook) => verdict.hooks.push(Arc::clone(hook)),
                Action::Fault(Fault::Delay(delay)) => verdict.delay += *delay,
                Action::Fault(fault) => verdict.fault = Some(fault.clone()),
            }
        }
        verdict
    }
}
