//! Carries out what the record protocol asks for: the only place where control, ledger and topic meet.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    Background, CallError, CallErrorKind, Clients, Control, Outcome, Plan, Progress, Report,
    Signal, Trigger,
    aws::Call,
    brakes::{self, Counted, Flapping},
    error::Failure,
    ledger::{
        Batch, Fix, Intent, LARGEST, Ledger, LedgerError, LockKey, Order, Record, Status,
        Subject as Exempted, Verb, View, Wanted, plan_hash, record_id,
    },
    log, metrics,
    notify::{Topic, fold},
    policies::PolicyCache,
    policy::{Decision, Mode, Policy, Routed, Subject},
    protocol::{
        self, Answer, Busy, Command, End, Hitch, Holder, Known, Life, Looked, Millis, Next,
        Purpose, Refusal, Sight, Verdict, Write,
    },
    text,
};

/// Everything an evaluation needs beside the control.
#[derive(Debug)]
pub struct Engine {
    pub ledger: Ledger,
    pub topic: Option<Topic>,
    pub policies: Arc<PolicyCache>,
    /// The ceiling: whether this function may change resources.
    pub acts: bool,
    /// When this process is ended from outside.
    pub deadline: Instant,
    /// By how much a lock outlasts that. No call to AWS takes longer, so that none can outlast the lock.
    pub margin: Duration,
    /// Lambda's request id: the same in every attempt of one invocation.
    pub delivery: String,
    /// How often all existing resources are looked at. `None`: never.
    pub sweeps_every: Option<Duration>,
}

/// How often a fix is looked at before it counts as not in force.
const VERIFICATIONS: u32 = 4;

/// Between two looks at a fix that is watched.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

/// How often a fix that is watched is made again. Whoever takes it back more often is told of.
const MADE_AGAIN: usize = 3;

/// How long a record spares a resource that it needs in a bad state for a moment.
const SPARED_FOR: jiff::SignedDuration = jiff::SignedDuration::from_mins(15);

/// How many fixes of a resource are remembered.
const FIXES: usize = 12;

impl Engine {
    /// Looks at one resource because of a signal, and does what the policy allows.
    ///
    /// # Errors
    /// [`Failure`] if the event should be delivered again: something that may pass, or that a person must mend first.
    pub async fn evaluate<C: Control>(
        &self,
        aws: &Clients,
        control: &C,
        signal: &Signal,
        target: C::Target,
    ) -> Result<Report, Failure> {
        Run::new(self, aws, control, signal, target, Ids::of_signal::<C>(signal), Purpose::Event)
            .run()
            .await
    }

    /// Goes on with a record: as far as people ordered, or as an evaluation that died left it.
    ///
    /// # Errors
    /// [`Failure`] as for [`evaluate`](Self::evaluate).
    pub async fn take_up<C: Control>(
        &self,
        aws: &Clients,
        control: &C,
        record: Record,
    ) -> Result<Report, Failure> {
        let signal = signal_of(&record);
        let target = match decode::<C::Target>(&record.intent.target) {
            Ok(target) => target,
            Err(reason) => return Err(unreadable_target(record, &reason)),
        };
        let ids = Ids::of_record::<C>(&record, &signal, &target);
        Run::new(self, aws, control, &signal, target, ids, Purpose::Record).run().await
    }

    /// Takes back what a record did, if nobody changed the resource since. `signal` tells who wants it.
    ///
    /// # Errors
    /// [`Failure`] if the resource is not as it was before; its report says how far it came.
    pub async fn undo<C: Control>(
        &self,
        aws: &Clients,
        control: &C,
        record: Record,
        signal: &Signal,
    ) -> Result<Report, Failure> {
        let target = match decode::<C::Target>(&record.intent.target) {
            Ok(target) => target,
            Err(reason) => return Err(unreadable_target(record, &reason)),
        };
        let ids = Ids::Undo(record.id);
        Run::new(self, aws, control, signal, target, ids, Purpose::Undo).run().await
    }
}

/// How the records of one happening are called, by attempt.
enum Ids {
    Fix { parts: Vec<String>, first: usize, known: Option<String> },
    Undo(String),
}

impl Ids {
    fn of_signal<C: Control>(signal: &Signal) -> Self {
        Self::Fix { parts: parts::<C>(signal, None), first: 0, known: None }
    }

    fn of_record<C: Control>(record: &Record, signal: &Signal, target: &C::Target) -> Self {
        Self::Fix {
            parts: parts::<C>(signal, Some(target)),
            first: record.intent.attempt,
            known: Some(record.id.clone()),
        }
    }

    /// The target is known only when there is one.
    fn with_target(self, target: &impl std::fmt::Display) -> Self {
        match self {
            Self::Fix { mut parts, first, known } => {
                parts[3] = target.to_string();
                Self::Fix { parts, first, known }
            }
            undo @ Self::Undo(_) => undo,
        }
    }

    fn id(&self, attempt: usize) -> String {
        match self {
            Self::Fix { first, known: Some(known), .. } if attempt == *first => known.clone(),
            Self::Fix { parts, .. } => {
                let attempt = attempt.to_string();
                let parts: Vec<&str> =
                    parts.iter().map(String::as_str).chain([attempt.as_str()]).collect();
                record_id(&parts)
            }
            Self::Undo(original) => record_id(&["undo", original, &attempt.to_string()]),
        }
    }

    fn first(&self) -> usize {
        match self {
            Self::Fix { first, .. } => *first,
            Self::Undo(_) => 0,
        }
    }
}

impl Record {
    /// The id of the record that takes over where this one is superseded.
    pub fn following(&self) -> String {
        let intent = &self.intent;
        let ids = match &intent.undoes {
            Some(original) => Ids::Undo(original.clone()),
            None => {
                let Intent { control, account, region, resource, deduplication, .. } = intent;
                let parts = [control, account, region, resource, deduplication];
                Ids::Fix { parts: parts.map(String::clone).into(), first: 0, known: None }
            }
        };
        ids.id(intent.attempt + 1)
    }
}

/// The id of the first record that comes of a signal.
pub(crate) fn first_record<C: Control>(signal: &Signal, target: &C::Target) -> String {
    Ids::of_signal::<C>(signal).with_target(target).id(0)
}

fn parts<C: Control>(signal: &Signal, target: Option<&C::Target>) -> Vec<String> {
    vec![
        C::META.id.to_owned(),
        signal.account.clone(),
        signal.region.clone(),
        target.map(ToString::to_string).unwrap_or_default(),
        signal.deduplication.clone(),
    ]
}

/// One evaluation as it is carried out.
struct Run<'a, C: Control> {
    engine: &'a Engine,
    aws: &'a Clients,
    control: &'a C,
    signal: &'a Signal,
    target: C::Target,
    arn: String,
    ids: Ids,
    purpose: Purpose,
    holder: Holder,
    last_start: Millis,
    started: Instant,
    fixed_after: Option<Duration>,
    /// Every state seen or stored; the protocol knows them by their place.
    states: Vec<C::State>,
    /// What the last look saw.
    seen: Option<usize>,
    /// What the plan is made of.
    planned: Option<usize>,
    view: Option<View>,
    policy: Arc<Policy>,
    policy_note: Option<String>,
    decision: Option<Decision>,
    /// Where messages go, by the policy's routes.
    routed: Routed,
    records: HashMap<String, Record>,
    current: Option<String>,
    notes: Vec<String>,
    /// What the control told beside the state, once it was asked.
    facts: Option<Vec<String>>,
    /// Whether the intent is too large for the ledger.
    is_large: bool,
    /// The sweep that found it as it was before the policy named the control.
    backlog: Option<Timestamp>,
    /// Why it is parked or refused.
    reason: Option<String>,
    trouble: Option<CallError>,
    /// Calls that no record has yet.
    calls: Vec<Call>,
    /// All calls, for the report.
    all_calls: Vec<Call>,
    waited: u32,
}

impl<'a, C: Control> Run<'a, C> {
    fn new(
        engine: &'a Engine,
        aws: &'a Clients,
        control: &'a C,
        signal: &'a Signal,
        target: C::Target,
        ids: Ids,
        purpose: Purpose,
    ) -> Self {
        let now = Timestamp::now().as_millisecond();
        let left = engine.deadline.saturating_duration_since(Instant::now());
        let deadline = now.saturating_add(millis(left));
        let control_id = match purpose {
            // Word is left only for those who evaluate again.
            Purpose::Undo => "undo",
            Purpose::Event | Purpose::Record => C::META.id,
        };
        let nonce = format!("{:016x}", fastrand::u64(..));
        let holder = Holder {
            evaluation: record_id(&[&engine.delivery, &now.to_string(), &nonce]),
            delivery: engine.delivery.clone(),
            control: control_id.to_owned(),
            record: String::new(),
            until: deadline.saturating_add(millis(engine.margin)),
        };
        let ids = ids.with_target(&target);
        Self {
            engine,
            aws,
            control,
            signal,
            arn: C::arn(&target, &signal.account, &signal.region),
            target,
            ids,
            purpose,
            holder,
            last_start: deadline.saturating_sub(millis(engine.call_time())),
            started: Instant::now(),
            fixed_after: None,
            states: Vec::new(),
            seen: None,
            planned: None,
            view: None,
            policy: Arc::new(Policy::observe()),
            policy_note: None,
            decision: None,
            routed: Routed::default(),
            records: HashMap::new(),
            current: None,
            notes: Vec::new(),
            facts: None,
            is_large: false,
            backlog: None,
            reason: None,
            trouble: None,
            calls: Vec::new(),
            all_calls: Vec::new(),
            waited: 0,
        }
    }

    async fn run(mut self) -> Result<Report, Failure> {
        let first = self.ids.first();
        let (mut evaluation, mut next) =
            protocol::Evaluation::new(self.purpose, self.holder.clone(), self.last_start, first);
        let end = loop {
            let commands = match next {
                Next::End(end) => break end,
                Next::Do(commands) => commands,
            };
            let answers = self.carry_out(evaluation.attempt(), &commands).await;
            let now = Timestamp::now().as_millisecond();
            let ids = &self.ids;
            (evaluation, next) = evaluation.step(now, &|attempt| ids.id(attempt), &answers);
            self.current = evaluation.record().map(str::to_owned);
        };
        let report = self.report(&end);
        self.measure(&report);
        // The states that a refused undo compares are for who asked, not for the log.
        let reason = match end {
            End::Changed => "the resource was changed since",
            _ => report.reason.as_deref().unwrap_or_default(),
        };
        self.about(&report.resource).end(report.outcome, reason);
        match report.outcome {
            Outcome::Failed | Outcome::Partial => Err(Failure::Evaluation(Box::new(report))),
            _ => Ok(report),
        }
    }

    /// Those of one step run at the same time.
    async fn carry_out(&mut self, attempt: usize, commands: &[Command]) -> Vec<Answer> {
        match commands {
            [Command::Look(attempt), Command::Assess] => {
                let (view, seen) = tokio::join!(self.look(*attempt), self.first_assessment());
                let looked = self.looked(view);
                let seen = self.sighted(seen, true).await;
                vec![looked, seen]
            }
            [Command::Commit(writes), Command::Assess] => {
                let prepared = self.prepare(attempt, writes);
                let is_new = writes.iter().any(|write| matches!(write, Write::Put { .. }));
                let (ended, seen, facts) = tokio::join!(
                    self.commit(writes, &prepared),
                    self.assess_again(),
                    self.facts(is_new)
                );
                self.learn(facts);
                let ended = self.committed(writes, prepared, ended);
                vec![ended, self.sighted(seen, false).await]
            }
            [Command::Commit(writes), Command::Tell] => {
                let prepared = self.prepare(attempt, writes);
                let record = prepared.as_ref().ok().zip(self.current.as_ref());
                let record = record.and_then(|(prepared, id)| prepared.get(id));
                let (ended, told) = tokio::join!(self.commit(writes, &prepared), self.send(record));
                let ended = self.committed(writes, prepared, ended);
                vec![ended, self.told(told)]
            }
            [Command::Commit(writes)] => {
                let prepared = self.prepare(attempt, writes);
                let ended = self.commit(writes, &prepared).await;
                vec![self.committed(writes, prepared, ended)]
            }
            [Command::Look(attempt)] => {
                let view = self.look(*attempt).await;
                vec![self.looked(view)]
            }
            [Command::Assess] => {
                let seen = self.control.assess(&self.target).await;
                vec![self.sighted(seen, false).await]
            }
            [Command::Judge] => vec![self.judged(attempt).await],
            [Command::Verify] => {
                let seen = self.verified().await;
                let seen = self.watched(seen).await;
                vec![self.sighted(seen, false).await]
            }
            [Command::Change(index)] => vec![self.change(*index).await],
            [Command::Tell] => vec![self.tell().await],
            [Command::Wait] => vec![self.wait().await],
            _ => vec![Answer::Failed],
        }
    }

    // Looking

    async fn look(&self, attempt: usize) -> Result<View, LedgerError> {
        if self.time_left() < self.engine.call_time() {
            return Err(too_little_time::<C>().into());
        }
        let id = self.ids.id(attempt);
        let request_id = match (self.purpose, &self.signal.trigger) {
            (Purpose::Event, Trigger::ApiCall { .. }) => self.signal.request_id.as_deref(),
            _ => None,
        };
        let original = match &self.ids {
            Ids::Undo(original) => Some(original.as_str()),
            Ids::Fix { .. } => None,
        };
        let control = C::META.id;
        let name = self.target.to_string();
        let resource = C::META.baseline.then_some(name.as_str());
        let wanted =
            Wanted { record: &id, original, control, lock: self.lock(), request_id, resource };
        self.engine.ledger.look(&wanted).await
    }

    fn looked(&mut self, view: Result<View, LedgerError>) -> Answer {
        let view = match view {
            Ok(view) => view,
            Err(error) => return self.failed(error.into()),
        };
        (self.policy, self.policy_note) = self.engine.policies.current(view.policy.as_ref());
        let mut known = |record: &Option<Record>| -> Result<Option<Known>, CallError> {
            record.as_ref().map(|record| self.known(record)).transpose()
        };
        let (record, original) = match (known(&view.record), known(&view.original)) {
            (Ok(record), Ok(original)) => (record, original),
            (Err(error), _) | (_, Err(error)) => return self.failed(error),
        };
        for record in [&view.record, &view.original].into_iter().flatten() {
            self.records.insert(record.id.clone(), record.clone());
        }
        let looked = Looked {
            own: view.own,
            lock: view.lock.lock.clone(),
            record,
            original,
            order: self.order(&view),
            halted: view.halt.is_some(),
        };
        self.view = Some(view);
        Answer::Looked(looked)
    }

    fn known(&mut self, record: &Record) -> Result<Known, CallError> {
        let before = match &record.intent.before {
            // Too large to be kept: there is nothing to compare with, or to go on with.
            Value::Null if record.intent.plan.is_empty() => None,
            _ => Some(decode::<C::State>(&record.intent.before).map_err(unreadable::<C>)?),
        };
        let after = record.result.after.as_ref().map(decode::<C::State>);
        let after = after.transpose().map_err(unreadable::<C>)?;
        let changes = changes::<C>(record)?;
        let order = if record.intent.undoes.is_some() {
            (0..changes.len()).collect()
        } else {
            C::resume(&changes, &record.result.made)
        };
        Ok(Known {
            id: record.id.clone(),
            life: record.life(),
            before: before.map_or(usize::MAX, |before| self.place_of(before)),
            after: after.map(|after| self.place_of(after)),
            changes: changes.len(),
            order,
        })
    }

    /// What a person ordered, if it counts for the record as it is.
    fn order(&self, view: &View) -> Option<protocol::Order> {
        let now = Timestamp::now();
        let (record, verbs) = match (&view.original, &view.record) {
            (Some(original), _) => (original, &[(Verb::Undo, protocol::Order::Undo)][..]),
            (None, Some(record)) => (
                record,
                &[
                    (Verb::Approve, protocol::Order::Approve),
                    (Verb::Resume, protocol::Order::Resume),
                ][..],
            ),
            (None, None) => return None,
        };
        let hash = Some(record.intent.plan_hash.as_str());
        verbs.iter().find_map(|(verb, order)| {
            let plan = if *verb == Verb::Approve { hash } else { None };
            let stands = |given: &Order| {
                let plan = plan.or(given.plan.as_deref());
                given.stands(*verb, &record.id, plan, now)
            };
            view.orders.iter().any(stands).then_some(*order)
        })
    }

    /// Reads the resource, and waits for one that may only not be visible or ready yet.
    async fn first_assessment(&self) -> Result<Option<C::State>, CallError> {
        let mut pause = Duration::from_millis(500);
        loop {
            let seen = self.control.assess(&self.target).await;
            let is_unsettled = match &seen {
                Ok(None) => self.may_not_be_visible_yet(),
                Err(error) => error.kind == CallErrorKind::NotReady,
                Ok(Some(_)) => false,
            };
            if !is_unsettled {
                return seen;
            }
            if self.time_left() < pause + self.engine.call_time() * 2 {
                return match seen {
                    Ok(_) => Err(CallError::new(
                        first(C::META.reads),
                        CallErrorKind::NotReady,
                        format!("{} is not visible yet", self.target),
                    )),
                    Err(error) => Err(error),
                };
            }
            sleep(pause).await;
            pause *= 2;
        }
    }

    /// Reads what a plan changes; for the rest, what the plan was made of is new enough.
    async fn assess_again(&self) -> Result<Option<C::State>, CallError> {
        match self.planned.and_then(|place| self.states.get(place)) {
            Some(known) => self.control.assess_again(&self.target, known).await,
            None => self.control.assess(&self.target).await,
        }
    }

    /// What people want to know beside the plan, if they were not told yet.
    async fn facts(&self, is_new: bool) -> Option<Vec<String>> {
        if !is_new || self.facts.is_some() || self.purpose == Purpose::Undo {
            return None;
        }
        Some(self.control.facts(&self.target).await)
    }

    fn learn(&mut self, facts: Option<Vec<String>>) {
        let Some(facts) = facts else { return };
        let facts: Vec<_> = facts.iter().map(|fact| text::redacted(fact).into_owned()).collect();
        self.notes.extend(facts.iter().cloned());
        self.facts = Some(facts);
    }

    /// "Not found" soon after the event may only mean "not visible yet".
    fn may_not_be_visible_yet(&self) -> bool {
        let window = i64::try_from(C::META.visible_within).unwrap_or_default();
        self.purpose == Purpose::Event
            && !matches!(self.signal.trigger, Trigger::Manual { .. })
            && self.signal.time.is_some_and(|time| (Timestamp::now() - time).get_seconds() < window)
    }

    /// Looks until the resource is as wanted, or patience is at its end: what was written may show late.
    async fn verified(&self) -> Result<Option<C::State>, CallError> {
        let mut pause = Duration::from_millis(200);
        let mut seen = self.assess_again().await;
        for _ in 1..VERIFICATIONS {
            let is_final = match &seen {
                Ok(Some(now)) => self.is_right(now),
                Ok(None) => true,
                // What the SDK has tried often enough is not tried as often again.
                Err(error) => error.kind != CallErrorKind::NotReady,
            };
            if is_final || self.time_left() < pause + self.engine.call_time() {
                break;
            }
            sleep(pause).await;
            pause *= 2;
            seen = self.assess_again().await;
        }
        seen
    }

    /// Goes on looking whether a fix stays, where the control asks for it, and makes it again where somebody took it back.
    async fn watched(
        &mut self,
        mut seen: Result<Option<C::State>, CallError>,
    ) -> Result<Option<C::State>, CallError> {
        if self.purpose == Purpose::Undo || !matches!(&seen, Ok(Some(now)) if self.is_right(now)) {
            return seen;
        }
        let (until, mut made_again) = (Instant::now() + C::WATCHED_FOR, 0);
        while Instant::now() < until && self.time_left() > WATCH_PAUSE + self.engine.call_time() {
            sleep(WATCH_PAUSE).await;
            seen = self.assess_again().await;
            let plan = match &seen {
                Ok(Some(now)) => C::plan(now),
                _ => break,
            };
            if plan.is_empty() {
                continue;
            }
            if made_again == MADE_AGAIN {
                self.note(format!(
                    "somebody took it back {} times within seconds: whoever does may still act here",
                    made_again + 1
                ));
                break;
            }
            made_again += 1;
            let progress = Progress { record: "", made: &[], deadline: self.engine.deadline };
            for change in &plan.changes {
                self.control.apply(&self.target, change, &progress).await?;
            }
        }
        let is_right = matches!(&seen, Ok(Some(now)) if self.is_right(now));
        if made_again > 0 && is_right {
            let times = if made_again == 1 { "once" } else { &format!("{made_again} times") };
            self.note(format!("somebody took it back {times}, and it was made again"));
        }
        seen
    }

    /// What was learned on the way, for the record and for people.
    fn note(&mut self, note: String) {
        self.facts.get_or_insert_default().push(note.clone());
        self.notes.push(note);
    }

    /// Whether nothing is left to do.
    fn is_right(&self, now: &C::State) -> bool {
        self.goal().map_or_else(|| C::plan(now).is_empty(), |goal| C::same(now, goal))
    }

    /// What an undo brings back.
    fn goal(&self) -> Option<&C::State> {
        let Ids::Undo(original) = &self.ids else { return None };
        let before = decode::<C::State>(&self.records.get(original)?.intent.before).ok()?;
        self.states.iter().find(|state| C::same(state, &before))
    }

    async fn sighted(
        &mut self,
        seen: Result<Option<C::State>, CallError>,
        is_first: bool,
    ) -> Answer {
        let mut state = match seen {
            Ok(Some(state)) => state,
            Ok(None) => {
                self.seen = None;
                return Answer::Seen(Sight::Gone);
            }
            Err(error) => return self.failed(error),
        };
        self.inform(&mut state);
        let changes = match self.plan(&state) {
            Ok(plan) => plan.changes.len(),
            Err(error) => return self.failed(error),
        };
        let spared = if is_first && changes > 0 && self.purpose != Purpose::Undo {
            self.is_spared(&state).await
        } else {
            Ok(false)
        };
        let place = self.place_of(state);
        self.seen = Some(place);
        if is_first {
            self.planned = Some(place);
            self.step("assessed", "");
        }
        match spared {
            Ok(true) => Answer::Seen(Sight::Spared(place)),
            Ok(false) => Answer::Seen(Sight::There { state: place, changes }),
            Err(error) => self.failed(error),
        }
    }

    /// Tells the state what only Quell knows.
    fn inform(&self, state: &mut C::State) {
        let kept = self.view.as_ref().and_then(|view| view.baseline.as_ref());
        let kept = kept.and_then(|kept| kept.before(self.signal.time));
        // One of an older version of Quell may not be read: less is restored then.
        let baseline = kept.and_then(|kept| decode::<C::State>(kept).ok());
        let trusted = &self.policy.trusted;
        C::inform(state, &Background { trusted, baseline: baseline.as_ref() });
    }

    /// What would be done with the resource in this state.
    fn plan(&self, state: &C::State) -> Result<Plan<C::Change>, CallError> {
        let Ids::Undo(original) = &self.ids else { return Ok(C::plan(state)) };
        let Some(original) = self.records.get(original) else { return Ok(Plan::nothing()) };
        let before = decode::<C::State>(&original.intent.before).map_err(unreadable::<C>)?;
        Ok(C::revert(&before, state))
    }

    async fn is_spared(&self, state: &C::State) -> Result<bool, CallError> {
        let Some(id) = C::spared_by(state) else { return Ok(false) };
        let record = self.engine.ledger.read(&id).await?;
        Ok(record.is_some_and(|record| {
            matches!(record.status, Status::Applying | Status::Partial | Status::Failed)
                && Timestamp::now().duration_since(record.intent.created) < SPARED_FOR
        }))
    }

    fn place_of(&mut self, state: C::State) -> usize {
        match self.states.iter().position(|known| C::same(known, &state)) {
            Some(place) => {
                // The newest of those that are the same: what is written must be what was seen.
                self.states[place] = state;
                place
            }
            None => {
                self.states.push(state);
                self.states.len() - 1
            }
        }
    }

    // Deciding

    async fn judged(&mut self, attempt: usize) -> Answer {
        self.planned = self.seen;
        match self.verdict(attempt).await {
            Ok(verdict) => Answer::Judged(verdict),
            Err(error) => self.failed(error),
        }
    }

    async fn verdict(&mut self, attempt: usize) -> Result<Verdict, CallError> {
        // What was said of an earlier plan of this evaluation is not said of this one.
        self.notes.clear();
        self.reason = None;
        let now = Timestamp::now();
        let name = self.target.to_string();
        let subject = Subject {
            account: &self.signal.account,
            region: &self.signal.region,
            resource: &name,
            arn: &self.arn,
        };
        let mut tags = None;
        if self.policy.asks_for_tags(&C::META, &subject)
            || self.policy.routes_by_tags(&C::META, subject.account)
        {
            // Tags only ever raise the mode, and add to who hears of it: without them less is done, not more.
            match self.control.tags(&self.target).await {
                Ok(read) => tags = Some(read),
                Err(error) => self.notes.push(format!("its tags could not be read: {error}")),
            }
        }
        let mut decision = self.policy.decide(&C::META, &subject, tags.as_ref(), self.engine.acts);
        self.backlog = self.backlog_of();
        if let Some(why) = self.not_ours() {
            // Nothing that the policy could say would have it changed.
            decision = Decision { mode: decision.mode.min(Mode::Observe), withheld: Some(why) };
        } else if self.backlog.is_some() && decision.mode > Mode::Observe {
            decision = Decision { mode: Mode::Observe, withheld: Some(BACKLOG.to_owned()) };
        }
        if decision.withheld.is_none() {
            decision.withheld.clone_from(&self.policy_note);
        }
        self.routed = self.policy.routed(&C::META, subject.account, tags.as_ref());
        let mut verdict = Verdict {
            mode: decision.mode,
            exempt: false,
            park: None,
            too_large: false,
            counts: Vec::new(),
        };
        self.decision = Some(decision);
        if verdict.mode == Mode::Off {
            return Ok(verdict);
        }
        verdict.exempt = self.is_exempt(now).await?;
        if let Some(state) = self.planned.and_then(|place| self.states.get(place)) {
            let notes = C::notes(state);
            self.notes.extend(notes.iter().map(|note| text::redacted(note).into_owned()));
        }
        let fixes = self.view.as_ref().map(|view| view.lock.fixes.as_slice()).unwrap_or_default();
        if let Some(flapping) = Flapping::of(fixes, C::META.id, now) {
            let tags = match tags {
                Some(tags) => tags,
                None => self.control.tags(&self.target).await.unwrap_or_default(),
            };
            let note = flapping.note(tags.get(STACK).map(String::as_str));
            verdict.park = flapping.park(C::META.severity, &self.arn, now);
            if verdict.park.is_some() {
                self.reason = Some(note.clone());
            }
            self.notes.push(note);
        }
        match self.facts.clone() {
            Some(facts) => self.notes.extend(facts),
            // A person decides.
            None if verdict.mode < Mode::Enforce || verdict.park.is_some() => {
                let facts = self.facts(!verdict.exempt).await;
                self.learn(facts);
            }
            None => {}
        }
        verdict.counts = brakes::budgets(
            &self.policy,
            &Counted {
                control: C::META.id,
                severity: C::META.severity,
                account: &self.signal.account,
                actor: self.signal.actor.as_ref(),
                is_backlog: matches!(self.signal.trigger, Trigger::Sweep { .. })
                    && self.policy.sweep.fixes_backlog_of(C::META.id),
            },
            now,
        );
        let excess = Record::excess(&self.intent(attempt)?)?;
        verdict.too_large = excess.is_some();
        self.is_large = verdict.too_large;
        if let Some(size) = excess
            && verdict.mode >= Mode::Approve
        {
            self.reason = Some(format!(
                "the state before and after and the plan take {size} bytes compressed, and the ledger keeps at most {LARGEST}: without a stored way back nothing is changed"
            ));
        }
        Ok(verdict)
    }

    /// Why what was seen is not Quell's to change.
    fn not_ours(&self) -> Option<String> {
        let state = self.planned.and_then(|place| self.states.get(place))?;
        C::withheld(state).map(|why| text::redacted(&why).into_owned())
    }

    /// A policy that is another by now named the control after the sweep looked.
    fn backlog_of(&self) -> Option<Timestamp> {
        let Trigger::Sweep { begun, is_backlog, modes } = &self.signal.trigger else { return None };
        let is_backlog = *is_backlog || self.policy.modes::<C>(self.engine.acts) != *modes;
        is_backlog.then_some(*begun)
    }

    /// Whether the template or a person permitted it. What cannot be read permits nothing.
    async fn is_exempt(&mut self, now: Timestamp) -> Result<bool, CallError> {
        let planned = self.planned.and_then(|place| self.states.get(place));
        if let Some(why) = planned.and_then(C::permitted) {
            self.reason = Some(why);
            return Ok(true);
        }
        let exemption = match self.view.as_ref().and_then(|view| view.exemption.as_ref()) {
            None => return Ok(false),
            Some(Ok(exemption)) => exemption.clone(),
            Some(Err(error)) => {
                self.notes.push(format!("its exemption does not count: {error}"));
                return Ok(false);
            }
        };
        let unique_id = match self.control.unique_id(&self.target).await {
            Ok(unique_id) => unique_id,
            // Once it can be read, it may turn out to be exempt.
            Err(error) if error.is_worth_retrying() => return Err(error),
            Err(error) => {
                self.notes.push(format!("its exemption does not count: {error}"));
                return Ok(false);
            }
        };
        let subject = Exempted {
            control: C::META.id,
            account: &self.signal.account,
            arn: &self.arn,
            unique_id: &unique_id,
        };
        if let Err(why) = exemption.admits(subject, now, self.signal.time) {
            self.notes.push(format!("its exemption does not count: {why}"));
            return Ok(false);
        }
        // That of an undo is there before the undo is: it counts only for what was undone.
        if let Some(original) = &exemption.undo_of {
            let original = self.engine.ledger.read(original).await?;
            let is_undone = original.is_some_and(|original| {
                matches!(original.status, Status::Undoing | Status::Undone)
            });
            if !is_undone {
                return Ok(false);
            }
        }
        self.reason = Some(format!(
            "exempt until {:.0}: {} ({})",
            exemption.expires, exemption.reason, exemption.person
        ));
        Ok(true)
    }

    fn intent(&self, attempt: usize) -> Result<Intent, CallError> {
        let state = self.planned.and_then(|place| self.states.get(place));
        let state = state.ok_or_else(|| {
            CallError::new(first(C::META.reads), CallErrorKind::NotReady, "nothing was seen")
        })?;
        let plan = self.plan(state)?;
        let Signal { account, region, .. } = self.signal;
        let before = encode(state)?;
        let changes = plan.changes.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
        let (mode, withheld) = match (&self.decision, self.purpose) {
            (Some(decision), _) => (decision.mode, decision.withheld.clone()),
            (None, _) => (Mode::Enforce, None),
        };
        let created = Timestamp::now();
        let hours = i64::from(self.policy.approvals.expire_hours);
        let expires = created.checked_add(jiff::SignedDuration::from_hours(hours));
        let undoes = match &self.ids {
            Ids::Undo(original) => Some(original.clone()),
            Ids::Fix { .. } => None,
        };
        // Whoever takes a fix back names no finding: it is that of the fix.
        let undone = undoes.as_ref().and_then(|original| self.records.get(original));
        let finding = match undone {
            Some(original) => original.intent.finding.clone(),
            None => self.signal.finding.clone(),
        };
        Ok(Intent {
            control: C::META.id.to_owned(),
            account: account.clone(),
            region: region.clone(),
            target: encode(&self.target)?,
            resource: self.target.to_string(),
            arn: self.arn.clone(),
            console: C::console(&self.target, region),
            severity: C::META.severity,
            mode,
            withheld,
            created,
            event_id: self.signal.event_id.clone(),
            deduplication: self.signal.deduplication.clone(),
            attempt,
            event_time: self.signal.time,
            actor: self.signal.actor.clone(),
            finding,
            plan_hash: plan_hash(&changes, &before),
            expires: expires.ok().filter(|_| mode == Mode::Approve),
            before,
            plan: changes,
            changes: plan
                .changes
                .iter()
                .map(|change| C::describe(state, change).without_secrets())
                .collect(),
            notes: self.notes.clone(),
            undoes,
            routed: self.routed.clone(),
            backlog: self.backlog,
        })
    }

    // Writing

    /// The records as they shall be after the writes.
    fn prepare(
        &mut self,
        attempt: usize,
        writes: &[Write],
    ) -> Result<HashMap<String, Record>, CallError> {
        let calls = self.aws.calls().take();
        self.all_calls.extend(calls.iter().cloned());
        self.calls.extend(calls);
        let mut prepared = HashMap::new();
        for write in writes {
            match write {
                Write::Put { id, life } => {
                    let attempt = (attempt..=attempt + 1)
                        .find(|attempt| self.ids.id(*attempt) == *id)
                        .unwrap_or(attempt);
                    let mut intent = self.intent(attempt)?;
                    // Of what is too large for the ledger people hear all the same; nothing is done with it.
                    if self.is_large {
                        intent.before = Value::Null;
                        intent.plan.clear();
                        intent.changes.truncate(1);
                        intent.changes.iter_mut().for_each(|change| {
                            change.minus.truncate(20);
                            change.plus.truncate(20);
                        });
                    }
                    let mut record = Record::new(id.as_str(), intent, life);
                    match life.status {
                        Status::Refused | Status::Exempt => {
                            record.result.reason.clone_from(&self.reason);
                        }
                        Status::Parked => record.result.reason = Some(self.parked_because()),
                        _ => {}
                    }
                    if self.purpose == Purpose::Undo {
                        record.result.order = self.given_order(&[Verb::Undo]);
                    }
                    prepared.insert(id.clone(), self.due(record));
                }
                Write::Update { id, life } => {
                    let Some(known) = self.records.get(id) else {
                        return Err(CallError::new(
                            "dynamodb:UpdateItem",
                            CallErrorKind::Refused,
                            format!("record {id} is not known"),
                        ));
                    };
                    let record = self.updated(known.clone(), life)?;
                    prepared.insert(id.clone(), self.due(record));
                }
                _ => {}
            }
        }
        Ok(prepared)
    }

    fn updated(&self, mut record: Record, life: &Life) -> Result<Record, CallError> {
        let was = record.status;
        record.live(life);
        let is_current = self.current.as_deref() == Some(record.id.as_str());
        if !is_current {
            if life.status == Status::Undone {
                record.result.undone_by.clone_from(&self.current);
            }
            return Ok(record);
        }
        record.result.calls.extend(self.calls.iter().cloned());
        if was == life.status {
            return Ok(record);
        }
        match life.status {
            Status::Applying => {
                let order = self.given_order(&[Verb::Approve, Verb::Resume]);
                record.result.order = order.or(record.result.order);
                record.result.reason = None;
            }
            Status::Fixed | Status::Undone | Status::Partial | Status::Failed => {
                let seen = self.seen.and_then(|place| self.states.get(place));
                record.result.after = seen.map(encode).transpose()?;
                record.result.verified = seen
                    .filter(|_| matches!(life.status, Status::Partial | Status::Failed))
                    .map(|seen| self.is_right(seen));
            }
            _ => {}
        }
        if life.status != Status::Applying {
            let noted = &record.intent.notes;
            let facts = self.facts.iter().flatten().filter(|fact| !noted.contains(fact));
            record.result.facts = facts.cloned().collect();
            record.result.reason = match (&self.trouble, life.status) {
                (Some(trouble), _) => Some(trouble.to_string()),
                // Every call that was made went well: the others were not begun.
                (None, Status::Partial | Status::Failed)
                    if life.done.len() < record.intent.plan.len() =>
                {
                    Some(too_little_time::<C>().to_string())
                }
                (None, Status::Partial | Status::Failed) => Some(not_in_force::<C>(&self.target)),
                _ => None,
            };
        }
        Ok(record)
    }

    fn parked_because(&self) -> String {
        let is_halted = self.view.as_ref().is_some_and(|view| view.halt.is_some());
        self.reason.clone().unwrap_or_else(|| match is_halted {
            true => HALTED.to_owned(),
            false => format!(
                "the resource was broken again {} times while it was fixed; `quell resume` goes on with it",
                protocol::ROUNDS
            ),
        })
    }

    fn given_order(&self, verbs: &[Verb]) -> Option<Order> {
        let orders = self.view.as_ref()?.orders.iter();
        orders.filter(|order| verbs.contains(&order.verb)).max_by_key(|order| order.at).cloned()
    }

    /// When recovery is to look at it: once whoever works on it must be dead, or nobody approved it in time.
    fn due(&self, mut record: Record) -> Record {
        record.due = if record.open {
            Timestamp::from_millisecond(self.holder.until).ok()
        } else if record.status == Status::Pending {
            record.intent.expires
        } else {
            None
        };
        record
    }

    async fn commit(
        &self,
        writes: &[Write],
        prepared: &Result<HashMap<String, Record>, CallError>,
    ) -> Result<Result<(), Refusal>, CallError> {
        let records = prepared.as_ref().map_err(Clone::clone)?;
        let record = self.current.as_deref().unwrap_or_default();
        let has_update = writes.iter().any(|write| matches!(write, Write::Update { .. }));
        let own: Vec<String> = self
            .calls
            .iter()
            .filter(|call| has_update && call.is_write())
            .filter_map(|call| call.request_id.clone())
            .collect();
        let mut fixes = self.view.as_ref().map_or_else(Vec::new, |view| view.lock.fixes.clone());
        if writes.iter().any(|write| matches!(write, Write::Release { fixed: true, .. })) {
            fixes.push(Fix {
                control: C::META.id.to_owned(),
                at: Timestamp::now(),
                actor: self.signal.actor.as_ref().map(brakes::tool_of),
            });
            let forgotten = fixes.len().saturating_sub(FIXES);
            fixes.drain(..forgotten);
        }
        let batch = Batch {
            writes,
            lock: self.lock(),
            records,
            fixes: &fixes,
            own: &own,
            record,
            deadline: self.engine.deadline,
        };
        Ok(self.engine.ledger.commit(&batch).await?)
    }

    fn committed(
        &mut self,
        writes: &[Write],
        prepared: Result<HashMap<String, Record>, CallError>,
        ended: Result<Result<(), Refusal>, CallError>,
    ) -> Answer {
        match ended {
            Ok(Ok(())) => {
                for record in prepared.unwrap_or_default().into_values() {
                    let is_current = self.current.as_deref() == Some(record.id.as_str());
                    let is_put = writes
                        .iter()
                        .any(|write| matches!(write, Write::Put { id, .. } if *id == record.id));
                    if is_current && !is_put {
                        self.calls.clear();
                    }
                    if is_put {
                        self.step("recorded", &record.id);
                    }
                    self.records.insert(record.id.clone(), record);
                }
                Answer::Committed(Ok(()))
            }
            Ok(Err(refusal)) => {
                match &refusal {
                    Refusal::OverBudget(key) => {
                        let scope = key.rsplit_once('#').map_or(key.as_str(), |(scope, _)| scope);
                        self.reason = Some(format!(
                            "the budget {} of the policy is used up; `quell resume` goes on with it",
                            scope.replace('#', " ")
                        ));
                    }
                    Refusal::Halted => {
                        let kind = CallErrorKind::Refused;
                        self.reason = Some(HALTED.to_owned());
                        self.trouble.get_or_insert_with(|| {
                            CallError::new(first(C::META.writes), kind, HALTED)
                        });
                    }
                    _ => {}
                }
                Answer::Committed(Err(refusal))
            }
            Err(error) => self.failed(error),
        }
    }

    // Changing

    async fn change(&mut self, index: usize) -> Answer {
        let Some(record) = self.current.as_ref().and_then(|id| self.records.get(id)).cloned()
        else {
            return Answer::Failed;
        };
        let changes = match changes::<C>(&record) {
            Ok(changes) => changes,
            Err(error) => return self.failed(error),
        };
        let Some(change) = changes.get(index) else { return Answer::Failed };
        // Changes of an undo find what the undone record made, not what this one does.
        let made_for = match &self.ids {
            Ids::Undo(original) => self.records.get(original).unwrap_or(&record),
            Ids::Fix { .. } => &record,
        };
        let progress = Progress {
            record: &made_for.id,
            made: &made_for.result.made,
            deadline: self.engine.deadline,
        };
        let applied = self.control.apply(&self.target, change, &progress).await;
        // What was seen before is no longer there: the state after must be read.
        self.seen = None;
        match applied {
            Ok(made) => {
                self.fixed_after = Some(self.started.elapsed());
                let action = record.intent.changes.get(index).map_or("", |change| &change.action);
                self.step("applied", action);
                if let Some(known) = self.records.get_mut(&record.id) {
                    known.result.changed = Some(Timestamp::now());
                    if made.is_some()
                        && self.purpose != Purpose::Undo
                        && let Some(place) = known.result.made.get_mut(index)
                    {
                        *place = made;
                    }
                }
                Answer::Changed(Ok(()))
            }
            Err(error) => {
                let unsure =
                    matches!(error.kind, CallErrorKind::NoAnswer | CallErrorKind::Unavailable);
                self.trouble.get_or_insert(error);
                Answer::Changed(Err(Hitch { unsure, goes_on: C::goes_on_without(change) }))
            }
        }
    }

    async fn tell(&mut self) -> Answer {
        let record = self.current.as_ref().and_then(|id| self.records.get(id));
        let told = self.send(record).await;
        self.told(told)
    }

    async fn send(&self, record: Option<&Record>) -> Result<(), CallError> {
        match (record, &self.engine.topic) {
            (Some(record), Some(topic)) if self.is_told(record).await? => {
                topic.tell(&C::META, record).await
            }
            _ => Ok(()),
        }
    }

    /// Whether people get this message by itself. Else it is counted, and a bulletin tells it.
    async fn is_told(&self, record: &Record) -> Result<bool, CallError> {
        let notify = &self.policy.notify;
        let is_asked_for = matches!(self.signal.trigger, Trigger::Manual { .. });
        let tally = fold::tally(&C::META, record, notify, Timestamp::now());
        let Some(tally) = tally.filter(|_| !is_asked_for) else { return Ok(true) };
        match self.engine.ledger.count(&tally).await {
            Ok(is_told) => Ok(is_told),
            // Rather once too often than not at all.
            Err(_) if tally.class() == fold::Class::Critical => Ok(true),
            // Not yet: what is in the way may be the flood itself.
            Err(error) => Err(error.into()),
        }
    }

    fn told(&mut self, told: Result<(), CallError>) -> Answer {
        match told {
            Ok(()) => Answer::Told(true),
            Err(error) => {
                self.trouble = Some(error);
                Answer::Told(false)
            }
        }
    }

    async fn wait(&mut self) -> Answer {
        self.waited += 1;
        let pause = Duration::from_millis(50 << self.waited.min(4)).mul_f64(fastrand::f64() + 0.5);
        if self.time_left() < pause + self.engine.call_time() * 2 {
            return Answer::Waited(false);
        }
        sleep(pause).await;
        Answer::Waited(true)
    }

    // Ending

    fn measure(&self, report: &Report) {
        let fixed = self.fixed_after.filter(|_| report.outcome == Outcome::Fixed);
        let record = self.current.as_ref().and_then(|id| self.records.get(id));
        let changed = record.and_then(|record| record.result.changed);
        let open = fixed.and(changed).zip(self.signal.time);
        metrics::write(&metrics::Measured {
            meta: &C::META,
            outcome: report.outcome,
            fixed,
            open: open.map(|(changed, since)| changed.duration_since(since)),
        });
    }

    fn report(&mut self, end: &End) -> Report {
        let calls = self.aws.calls().take();
        self.all_calls.extend(calls);
        let record = self.current.as_ref().and_then(|id| self.records.get(id));
        let reason_of_record = record.and_then(|record| record.result.reason.clone());
        let trouble = self.trouble.as_ref().map(ToString::to_string);
        let (outcome, reason) = match end {
            End::Own => (Outcome::Ignored, Some("Quell made this call itself".to_owned())),
            End::Off => (Outcome::Ignored, Some("the control is off".to_owned())),
            End::Compliant => (Outcome::Compliant, None),
            End::Gone => (Outcome::Gone, None),
            End::Spared => (
                Outcome::Ignored,
                Some(
                    "an open record of Quell needs this resource as it is for a moment".to_owned(),
                ),
            ),
            End::Duplicate => (
                Outcome::Duplicate,
                record.map(|record| format!("record {} is {}", record.id, record.status.name())),
            ),
            End::LeftWord => (
                Outcome::Superseded,
                Some("the evaluation that works on the resource looks at it again".to_owned()),
            ),
            End::Closed(status) => (
                status.outcome(),
                reason_of_record
                    .or(trouble)
                    .or_else(|| record.and_then(|record| record.intent.withheld.clone())),
            ),
            End::Halted => (Outcome::Parked, Some(HALTED.to_owned())),
            End::Withheld => (Outcome::Refused, Some(self.withheld())),
            End::Changed => (Outcome::Refused, Some(self.differences())),
            End::NotUndoable(status) => (
                Outcome::Refused,
                Some(format!("the record is {}: there is nothing to undo", status.name())),
            ),
            End::Irreversible => {
                (Outcome::Refused, Some("this remediation is irreversible".to_owned()))
            }
            End::UndoneBefore => (Outcome::Duplicate, Some("it is undone already".to_owned())),
            End::Again(busy) => (Outcome::Failed, Some(busy_because(*busy, &self.target))),
            End::Failed => (Outcome::Failed, trouble.or(reason_of_record)),
        };
        Report {
            control: C::META.id.to_owned(),
            resource: self.target.to_string(),
            account: self.signal.account.clone(),
            region: self.signal.region.clone(),
            outcome,
            record: record.map(|record| record.id.clone()),
            changes: record.map(|record| record.intent.changes.clone()).unwrap_or_default(),
            calls: std::mem::take(&mut self.all_calls),
            notes: std::mem::take(&mut self.notes),
            reason,
            fixed_after_ms: self
                .fixed_after
                .map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
            ended_after_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Why an order is not obeyed any more.
    fn withheld(&self) -> String {
        let decision = self.decision.as_ref();
        let mode = decision.map_or(Mode::Observe, |decision| decision.mode);
        let why = decision.and_then(|decision| decision.withheld.clone()).or(self.reason.clone());
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        format!(
            "it was ordered, but by now the control may only {mode} here{why}; nothing was changed"
        )
    }

    /// The three states of a refused undo.
    fn differences(&self) -> String {
        let original = match &self.ids {
            Ids::Undo(original) => self.records.get(original),
            Ids::Fix { .. } => None,
        };
        let now = self.seen.and_then(|place| self.states.get(place));
        let now = now.and_then(|now| encode(now).ok()).unwrap_or(Value::Null);
        let (before, after) = original.map_or((&Value::Null, None), |original| {
            (&original.intent.before, original.result.after.as_ref())
        });
        let states = format!(
            "Before the fix it was: {before}; the fix left it as: {}; now it is: {}",
            after.unwrap_or(&Value::Null),
            if now.is_null() { "gone".to_owned() } else { now.to_string() }
        );
        format!(
            "{} was changed since; undo would overwrite that. {}",
            self.target,
            text::redacted(&states)
        )
    }

    fn failed(&mut self, error: CallError) -> Answer {
        self.trouble.get_or_insert(error);
        Answer::Failed
    }

    fn lock(&self) -> LockKey<'_> {
        LockKey { account: &self.signal.account, region: &self.signal.region, arn: &self.arn }
    }

    fn time_left(&self) -> Duration {
        self.engine.deadline.saturating_duration_since(Instant::now())
    }

    /// A line of the log about this evaluation.
    fn step(&self, step: &'static str, detail: &str) {
        let resource = self.target.to_string();
        self.about(&resource).step(step, detail);
    }

    fn about<'r>(&'r self, resource: &'r str) -> log::About<'r> {
        log::About {
            control: C::META.id,
            resource,
            account: &self.signal.account,
            region: &self.signal.region,
            event_id: &self.signal.event_id,
        }
    }
}

impl Engine {
    /// Time for a call to AWS with its retries.
    pub(crate) fn call_time(&self) -> Duration {
        crate::aws::CALL_TIME.min(self.margin)
    }
}

/// Where CloudFormation names itself.
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-properties-resource-tags.html>
const STACK: &str = "aws:cloudformation:stack-name";

const BACKLOG: &str = "it was in this state before the policy named the control: `fix_backlog` of the policy's `[sweep]` has it fixed";

const HALTED: &str =
    "the kill switch is on: `quell continue` ends that, and `quell resume` goes on with the record";

fn busy_because(busy: Busy, target: &impl std::fmt::Display) -> String {
    match busy {
        Busy::Alive => {
            "an earlier attempt of the same delivery may still be alive; it is tried again"
                .to_owned()
        }
        Busy::Locked => {
            format!("another control, or an undo, works on {target}; it is tried again")
        }
        Busy::Restless => format!(
            "the resource changed {} times while it was looked at; it is tried again",
            protocol::ROUNDS
        ),
    }
}

/// The signal that led to a record.
fn signal_of(record: &Record) -> Signal {
    let intent = &record.intent;
    Signal {
        trigger: Trigger::Record { record: record.id.clone() },
        account: intent.account.clone(),
        region: intent.region.clone(),
        event_id: intent.event_id.clone(),
        deduplication: intent.deduplication.clone(),
        time: intent.event_time,
        actor: intent.actor.clone(),
        request_id: None,
        finding: intent.finding.clone(),
    }
}

fn unreadable_target(record: Record, reason: &str) -> Failure {
    Failure::Evaluation(Box::new(Report {
        control: record.intent.control,
        resource: record.intent.resource,
        account: record.intent.account,
        region: record.intent.region,
        outcome: Outcome::Failed,
        record: Some(record.id),
        changes: Vec::new(),
        calls: Vec::new(),
        notes: Vec::new(),
        reason: Some(format!("its target cannot be read: {reason}")),
        fixed_after_ms: None,
        ended_after_ms: 0,
    }))
}

fn changes<C: Control>(record: &Record) -> Result<Vec<C::Change>, CallError> {
    let changes = record.intent.plan.iter().map(decode::<C::Change>);
    changes.collect::<Result<_, _>>().map_err(unreadable::<C>)
}

fn too_little_time<C: Control>() -> CallError {
    let reason = "too little time is left for a call";
    CallError::new(first(C::META.reads), CallErrorKind::NotReady, reason)
}

fn not_in_force<C: Control>(target: &C::Target) -> String {
    let reason =
        format!("the call succeeded, but {target} does not show it; someone may have put it back");
    CallError::new(first(C::META.writes), CallErrorKind::NotReady, reason).to_string()
}

fn unreadable<C: Control>(reason: String) -> CallError {
    CallError::new(first(C::META.reads), CallErrorKind::Refused, reason)
}

fn encode<T: Serialize>(value: &T) -> Result<Value, CallError> {
    serde_json::to_value(value).map_err(|error| {
        CallError::new("dynamodb:PutItem", CallErrorKind::Refused, error.to_string())
    })
}

fn decode<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|error| format!("the ledger's record cannot be read: {error}"))
}

fn first(actions: &[&'static str]) -> &'static str {
    actions.first().copied().unwrap_or("quell:evaluate")
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}
