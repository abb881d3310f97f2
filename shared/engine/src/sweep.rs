//! The sweep: all existing resources of a function's controls, page by page, because events can be lost.
//!
//! A schedule wakes the function every minute. If a sweep is due or unfinished, it goes on where the last one stopped
//! until its time is nearly over, and makes no more calls than a fifth of what AWS allows the account. What it finds in a bad
//! state goes through the same pipeline as an event. The same bad state is dealt with once; what was in it before the policy
//! named the control is observed and counted in one message.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    Background, CallError, CallErrorKind, Clients, Control, Outcome, Plan, Report, Signal, Trigger,
    brakes::{self, Counted},
    control::region_of,
    error::EventFailure,
    evaluate::{Engine, first_record},
    ledger::{
        ALL, Baseline, Baselined, Course, Found, LedgerError, LockKey, Place, Record, Status,
        record_id,
    },
    metrics,
    pace::Pace,
    policy::{Policy, Trusted},
    serve::Controls,
    text,
};

/// What a run of a sweep tells.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Swept {
    pub begun: Timestamp,
    /// Whether all resources were looked at; else the next run goes on.
    pub finished: bool,
    /// What was found so far, by control.
    pub found: BTreeMap<String, Found>,
}

/// Begins a sweep if one is due, or goes on with it. `None`: there is nothing to do now.
///
/// # Errors
/// [`EventFailure::Sweep`] if anything could not be looked at or put right. The rest was, all the same.
pub async fn sweep<S: Controls>(
    engine: &Engine,
    aws: &Clients,
    signal: &Signal,
) -> Result<Option<Swept>, EventFailure> {
    let Some(function) = S::function() else { return Ok(None) };
    let Some(mut round) = Round::begin(engine, aws, signal, function).await.map_err(ledger)? else {
        return Ok(None);
    };
    S::sweep(engine, aws, &mut round).await;
    round.end::<S>().await
}

/// One run of a sweep.
#[derive(Debug)]
pub struct Round<'a> {
    engine: &'a Engine,
    signal: &'a Signal,
    function: &'static str,
    policy: std::sync::Arc<Policy>,
    begun: Timestamp,
    course: Course,
    version: u64,
    pace: Pace,
    /// When the course was last written.
    noted: Instant,
    /// What the policy says of the control that is swept.
    modes: String,
    /// It ends here, and the next run goes on.
    is_over: bool,
    trouble: Vec<String>,
}

/// What stops a run.
enum Stop {
    /// The time is over, or somebody else goes on.
    Over,
}

/// How often what could not be done is tried, a run each, before the sweep goes on without it.
const TRIES: u32 = 3;

/// How often it is noted where the sweep is, beside the end of each page.
const NOTED: Duration = Duration::from_secs(2);

/// How many troubles are named; the log has all.
const NAMED: usize = 10;

/// How many records of the same violation are looked for.
const RECURRENCES: usize = 3;

impl<'a> Round<'a> {
    async fn begin(
        engine: &'a Engine,
        aws: &Clients,
        signal: &'a Signal,
        function: &'static str,
    ) -> Result<Option<Self>, LedgerError> {
        let Some(every) = engine.sweeps_every else { return Ok(None) };
        let standing = engine.ledger.course(function).await?;
        let now = Timestamp::now();
        let (mut course, mut version) = (standing.course, standing.version);
        let every = SignedDuration::try_from(every).unwrap_or(SignedDuration::MAX);
        if standing.halted || !course.is_due(every, now) || course.is_held(&engine.delivery, now) {
            return Ok(None);
        }
        let (policy, _) = engine.policies.current(standing.policy.as_ref());
        let begun = match (course.begun, course.finished) {
            (Some(begun), None) => {
                // Whoever was at it died, perhaps of what comes next.
                if course.is_orphaned()
                    && let Some(place) = &mut course.place
                {
                    place.tries += 1;
                }
                begun
            }
            _ => {
                course = course.next(now);
                now
            }
        };
        let left = engine.deadline.saturating_duration_since(Instant::now()) + engine.margin;
        let until = SignedDuration::try_from(left).ok().and_then(|left| now.checked_add(left).ok());
        course.hold(&engine.delivery, until.unwrap_or(Timestamp::MAX));
        match engine.ledger.keep_course(function, &course, version).await? {
            Some(kept) => version = kept,
            None => return Ok(None),
        }
        // What was called before belongs to no sweep.
        aws.calls().take();
        Ok(Some(Self {
            engine,
            signal,
            function,
            policy,
            begun,
            course,
            version,
            pace: Pace::of(aws),
            noted: Instant::now(),
            modes: String::new(),
            is_over: false,
            trouble: Vec::new(),
        }))
    }

    async fn end<S: Controls>(mut self) -> Result<Option<Swept>, EventFailure> {
        let finished =
            S::swept().iter().all(|meta| self.course.done.iter().any(|id| id == meta.id));
        if finished {
            self.course.finished = Some(Timestamp::now());
            self.course.modes.append(&mut self.course.modes_now);
        }
        self.course.release();
        let kept = self.keep().await;
        for meta in S::swept().iter().filter(|_| finished) {
            metrics::write_sweep(meta, self.course.found.get(meta.id).copied().unwrap_or_default());
        }
        if let Err(error) = kept {
            self.trouble.push(error.to_string());
        }
        if self.trouble.is_empty() {
            Ok(Some(Swept { begun: self.begun, finished, found: self.course.found }))
        } else {
            Err(EventFailure::Sweep(self.trouble))
        }
    }

    /// All resources of one control, from where the last run stopped.
    pub(crate) async fn control<C: Control>(&mut self, aws: &Clients) {
        let is_done = self.course.done.iter().any(|done| done == C::META.id);
        if self.is_over || is_done || C::META.discovers.is_empty() {
            return;
        }
        // A sweep during which the policy changes went through with what it began with: the next one finds the backlog.
        self.modes = self.policy.modes::<C>(self.engine.acts);
        self.course.modes_now.entry(C::META.id.to_owned()).or_insert_with(|| self.modes.clone());
        if self.policy.is_off(&C::META) {
            self.done::<C>();
            return;
        }
        let control = C::connect(aws);
        let place = self.course.place.take().filter(|place| place.control == C::META.id);
        let mut place =
            place.unwrap_or_else(|| Place { control: C::META.id.to_owned(), ..Place::default() });
        loop {
            match self.page(aws, &control, &mut place).await {
                Ok(true) => {}
                Ok(false) => return self.done::<C>(),
                Err(Stop::Over) => {
                    self.is_over = true;
                    self.course.place = Some(place);
                    return;
                }
            }
            self.course.place = Some(place.clone());
            match self.keep().await {
                Ok(()) => {}
                Err(error) => {
                    self.trouble.push(error.to_string());
                    self.is_over = true;
                    return;
                }
            }
        }
    }

    /// One page. Whether there is another.
    async fn page<C: Control>(
        &mut self,
        aws: &Clients,
        control: &C,
        place: &mut Place,
    ) -> Result<bool, Stop> {
        self.wait().await?;
        let found = control.discover(place.page.as_deref()).await;
        self.pace.pay(&aws.calls().take());
        let found = match found {
            Ok(found) => found,
            // AWS forgets its pages after a while.
            Err(_) if place.page.is_some() && !place.restarted && place.tries + 1 >= TRIES => {
                self.course.found.remove(C::META.id);
                *place = Place { restarted: true, ..Place::default() };
                place.control = C::META.id.to_owned();
                return Err(Stop::Over);
            }
            // The next run tries again.
            Err(error) if place.tries + 1 < TRIES => {
                let reason = text::one_line(&error.to_string());
                tracing::warn!(target: "quell", detail = reason, "sweep");
                place.tries += 1;
                return Err(Stop::Over);
            }
            Err(error) => {
                self.missed::<C>(ALL, &error.to_string());
                return Ok(false);
            }
        };
        let names: Vec<String> = found.targets.iter().map(ToString::to_string).collect();
        let done = place.after.as_ref();
        let done = done.and_then(|after| names.iter().position(|name| name == after));
        let first = done.map_or(0, |at| at + 1);
        // What was not read is not known to be absent.
        let baselines = match self.baselines::<C>(&names[first..]).await {
            Ok(baselines) => baselines,
            Err(_) if place.tries + 1 < TRIES => {
                place.tries += 1;
                return Err(Stop::Over);
            }
            Err(error) => {
                self.missed::<C>(ALL, &error.to_string());
                return Ok(false);
            }
        };
        for (target, name) in found.targets.into_iter().zip(&names).skip(first) {
            self.wait().await?;
            self.note_place(place).await?;
            let looked = if place.tries >= TRIES {
                Err(CallError::new(
                    C::META.discovers.first().copied().unwrap_or_default(),
                    CallErrorKind::NotReady,
                    "three runs ended while they looked at it",
                ))
            } else {
                self.target(aws, control, &target, name, baselines.get(name)).await
            };
            match looked {
                Ok(()) => {}
                // The next run tries again.
                Err(error) if error.is_worth_retrying() && place.tries + 1 < TRIES => {
                    place.tries += 1;
                    return Err(Stop::Over);
                }
                Err(error) => self.missed::<C>(name, &error.to_string()),
            }
            place.tries = 0;
            place.after = Some(name.clone());
        }
        (place.page, place.after) = (found.next, None);
        Ok(place.page.is_some())
    }

    async fn target<C: Control>(
        &mut self,
        aws: &Clients,
        control: &C,
        target: &C::Target,
        name: &str,
        baseline: Option<&Option<Baseline>>,
    ) -> Result<(), CallError> {
        let is_unreadable = matches!(baseline, Some(None));
        let baseline = baseline.and_then(Option::as_ref);
        let seen = control.assess(target).await;
        self.pace.pay(&aws.calls().take());
        let Some(state) = seen? else {
            let found = self.found::<C>();
            found.resources += 1;
            found.gone += 1;
            return Ok(());
        };
        let (state, plan) = planned::<C>(&self.policy.trusted, state, baseline);
        if plan.is_empty() {
            if C::META.baseline && !is_unreadable {
                self.keep_baseline::<C>(name, &state.seen, baseline).await?;
            }
            let found = self.found::<C>();
            found.resources += 1;
            found.compliant += 1;
            return Ok(());
        }
        let fixes_backlog = self.policy.sweep.fixes_backlog_of(C::META.id);
        if fixes_backlog && !self.has_room::<C>().await? {
            let found = self.found::<C>();
            found.resources += 1;
            found.backlog += 1;
            self.course.left.insert(C::META.id, name);
            return Ok(());
        }
        let (signal, known) = self.violation::<C>(target, name, &state, &plan).await?;
        // What is observed is judged again when it is seen again; the backlog is not.
        if known.is_some_and(|known| known.intent.backlog.is_some()) {
            let found = self.found::<C>();
            found.resources += 1;
            found.known += 1;
            self.course.left.insert(C::META.id, name);
            return Ok(());
        }
        let ended = self.engine.evaluate(aws, control, &signal, target.clone()).await;
        match ended.or_else(|failure| {
            let reason = failure.to_string();
            failure.report().ok_or(reason)
        }) {
            Ok(report) => {
                self.pace.pay(&report.calls);
                let is_backlog = matches!(signal.trigger, Trigger::Sweep { is_backlog: true, .. });
                self.count::<C>(name, &report, is_backlog);
            }
            Err(reason) => self.missed::<C>(name, &reason),
        }
        Ok(())
    }

    /// The signal of a violation, and the record if it was dealt with already. What was put right in between, by
    /// whomever, and is as bad as it was, is another violation.
    async fn violation<C: Control>(
        &self,
        target: &C::Target,
        name: &str,
        state: &Informed<C::State>,
        plan: &Plan<C::Change>,
    ) -> Result<(Signal, Option<Record>), LedgerError> {
        let (account, region) = (&self.signal.account, region_of::<C>(&self.signal.region));
        let arn = C::arn(target, account, region);
        let lock = LockKey { account, region, arn: &arn };
        let fixed = self.engine.ledger.last_fix(C::META.id, &lock).await?;
        let fixed = fixed.map(|at| at.to_string()).unwrap_or_default();
        let fixes_backlog = self.policy.sweep.fixes_backlog_of(C::META.id);
        let asked = if fixes_backlog { "asked" } else { "" };
        let state = violation::<C>(&state.informed, plan);
        let trigger = Trigger::Sweep {
            begun: self.begun,
            is_backlog: self.is_backlog(C::META.id, name) && !fixes_backlog,
            modes: self.modes.clone(),
        };
        let mut signal = Signal {
            trigger,
            deduplication: record_id(&["sweep", &self.modes, &state, &fixed, asked]),
            time: None,
            actor: None,
            request_id: None,
            finding: None,
            region: region.to_owned(),
            ..self.signal.clone()
        };
        let was_left = self.course.left_before.contains(C::META.id, name);
        for _ in 0..RECURRENCES {
            let known = self.engine.ledger.read(&first_record::<C>(&signal, target)).await?;
            let Some(known) = known else { return Ok((signal, None)) };
            let is_over = !was_left || matches!(known.status, Status::Fixed | Status::Undone);
            if !is_over || known.intent.created >= self.begun {
                // What was no backlog then is none because its fix failed.
                if let Trigger::Sweep { is_backlog, .. } = &mut signal.trigger {
                    *is_backlog = known.intent.backlog.is_some();
                }
                return Ok((signal, Some(known)));
            }
            signal.deduplication = record_id(&["sweep", "after", &known.id]);
        }
        signal.deduplication =
            record_id(&["sweep", "after", &signal.deduplication, &self.begun.to_string()]);
        Ok((signal, None))
    }

    /// Whether one more of the backlog may be put right now; else the next sweep does it.
    async fn has_room<C: Control>(&self) -> Result<bool, LedgerError> {
        let counted = Counted {
            control: C::META.id,
            severity: C::META.severity,
            account: &self.signal.account,
            actor: None,
            is_backlog: true,
        };
        let budgets = brakes::budgets(&self.policy, &counted, Timestamp::now());
        self.engine.ledger.has_room(&budgets).await
    }

    fn count<C: Control>(&mut self, name: &str, report: &Report, is_backlog: bool) {
        match report.outcome {
            Outcome::Failed | Outcome::Partial => {
                let reason = report.reason.as_deref().unwrap_or_default();
                return self.missed::<C>(name, reason);
            }
            Outcome::Compliant | Outcome::Gone | Outcome::Fixed => {}
            _ => self.course.left.insert(C::META.id, name),
        }
        let found = self.found::<C>();
        found.resources += 1;
        match report.outcome {
            Outcome::Compliant => found.compliant += 1,
            Outcome::Ignored => found.ignored += 1,
            Outcome::Gone => found.gone += 1,
            Outcome::Duplicate => found.known += 1,
            Outcome::Exempt => found.exempt += 1,
            Outcome::Observed if is_backlog => found.backlog += 1,
            _ => found.violating += 1,
        }
    }

    /// Whether it may have been so before the policy named the control: the last sweep did not look at it under this policy.
    fn is_backlog(&self, control: &str, name: &str) -> bool {
        self.course.modes.get(control) != Some(&self.modes)
            || self.course.missed_before.contains(control, name)
    }

    async fn baselines<C: Control>(
        &self,
        names: &[String],
    ) -> Result<HashMap<String, Option<Baseline>>, LedgerError> {
        let mut baselines = HashMap::new();
        // As many as one batch read may ask for.
        for names in names.chunks(100).filter(|_| C::META.baseline) {
            let of: Vec<_> = names.iter().map(|name| self.baselined::<C>(name)).collect();
            baselines.extend(self.engine.ledger.baselines(&of).await?);
        }
        Ok(baselines)
    }

    async fn keep_baseline<C: Control>(
        &self,
        name: &str,
        seen: &Value,
        baseline: Option<&Baseline>,
    ) -> Result<(), LedgerError> {
        let now = Timestamp::now();
        let with = baseline.cloned().unwrap_or_default().with(seen.clone(), now);
        let Some(baseline) = with else { return Ok(()) };
        self.engine.ledger.keep_baseline(&self.baselined::<C>(name), &baseline, now).await.map(drop)
    }

    fn baselined<'n, C: Control>(&'n self, name: &'n str) -> Baselined<'n> {
        Baselined {
            control: C::META.id,
            account: &self.signal.account,
            region: region_of::<C>(&self.signal.region),
            resource: name,
        }
    }

    fn done<C: Control>(&mut self) {
        self.course.done.push(C::META.id.to_owned());
        self.course.place = None;
    }

    fn found<C: Control>(&mut self) -> &mut Found {
        self.course.found.entry(C::META.id.to_owned()).or_default()
    }

    /// What could not be looked at, or not be put right. People are told once, and then by the metric.
    fn missed<C: Control>(&mut self, name: &str, reason: &str) {
        let what = if name == ALL { "its resources" } else { name };
        let line = text::one_line(&format!("{}, {what}: {reason}", C::META.id));
        tracing::error!(target: "quell", detail = line, "sweep");
        let is_new = !self.course.missed_before.contains(C::META.id, name);
        if is_new && self.trouble.len() < NAMED {
            self.trouble.push(line);
        }
        self.course.missed.insert(C::META.id, name);
        self.course.left.insert(C::META.id, name);
        let found = self.found::<C>();
        found.resources += u64::from(name != ALL);
        found.failed += 1;
    }

    /// Notes from time to time where it is, so that a run which dies goes on near where it died.
    async fn note_place(&mut self, place: &Place) -> Result<(), Stop> {
        if self.noted.elapsed() < NOTED {
            return Ok(());
        }
        self.course.place = Some(place.clone());
        match self.keep().await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.trouble.push(error.to_string());
                Err(Stop::Over)
            }
        }
    }

    /// Until another call is within the budget; or it ends, if too little time would be left then.
    async fn wait(&self) -> Result<(), Stop> {
        let pause = self.pace.pause(Instant::now());
        let left = self.engine.deadline.saturating_duration_since(Instant::now());
        if left < pause + self.engine.call_time() * 2 {
            return Err(Stop::Over);
        }
        sleep(pause).await;
        Ok(())
    }

    async fn keep(&mut self) -> Result<(), LedgerError> {
        self.noted = Instant::now();
        let kept =
            self.engine.ledger.keep_course(self.function, &self.course, self.version).await?;
        self.version =
            kept.ok_or_else(|| LedgerError::Overtaken { id: format!("SWP#{}", self.function) })?;
        Ok(())
    }
}

/// A state as it was seen, and with what only Quell knows.
pub(crate) struct Informed<S> {
    pub(crate) seen: Value,
    pub(crate) informed: S,
}

/// What would be done with a resource, by the state that was seen.
pub(crate) fn planned<C: Control>(
    trusted: &Trusted,
    mut state: C::State,
    baseline: Option<&Baseline>,
) -> (Informed<C::State>, Plan<C::Change>) {
    let seen = serde_json::to_value(&state).unwrap_or_default();
    let kept = baseline.and_then(|kept| kept.before(None));
    let kept = kept.and_then(|kept| C::State::deserialize(kept).ok());
    C::inform(&mut state, &Background { trusted, baseline: kept.as_ref() });
    let plan = C::plan(&state);
    (Informed { seen, informed: state }, plan)
}

/// The same for the same bad state, in whatever order AWS lists it, and whatever else there is about the resource.
fn violation<C: Control>(state: &C::State, plan: &Plan<C::Change>) -> String {
    let mut changes: Vec<String> = plan
        .changes
        .iter()
        .map(|change| {
            let mut told = C::describe(state, change);
            told.minus.sort();
            told.plus.sort();
            format!("{}\n-{}\n+{}", told.action, told.minus.join("\n-"), told.plus.join("\n+"))
        })
        .collect();
    changes.sort();
    record_id(&changes.iter().map(String::as_str).collect::<Vec<_>>())
}

fn ledger(error: LedgerError) -> EventFailure {
    EventFailure::Sweep(vec![error.to_string()])
}
