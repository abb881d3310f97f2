//! From a signal to an outcome: assess → plan → record ‖ assess again → apply → verify → tell.

use std::time::{Duration, Instant};

use jiff::{Timestamp, ToSpan};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    CallError, CallErrorKind, Clients, Control, Outcome, Plan, Progress, Report, Signal, Trigger,
    aws::{Call, OPERATION_TIMEOUT},
    error::Failure,
    ledger::{Begun, Intent, Ledger, Record, Status, record_id},
    log,
    modes::{Mode, Modes},
    notify::Topic,
};

/// Everything an evaluation needs beside the control.
#[derive(Debug)]
pub struct Engine {
    pub ledger: Ledger,
    pub topic: Option<Topic>,
    pub modes: Modes,
    /// When this process is ended from outside.
    pub deadline: Instant,
}

/// How often a resource that keeps changing under us is evaluated before giving up.
const EVALUATIONS: usize = 3;

/// How often a fix is looked at before it counts as not in force.
const VERIFICATIONS: u32 = 4;

/// Seconds by which a lease outlasts the deadline of its owner.
const LEASE_MARGIN: i64 = 30;

/// How long a record spares a resource that it needs in a bad state for a moment.
const SPARED_FOR: i64 = 15 * 60;

impl Engine {
    /// Looks at one resource because of a signal, and does what the control's mode allows.
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
        let mut evaluation = Evaluation::<C>::new(self, aws, control, signal, target);
        let ended = evaluation.run().await;
        let report = evaluation.report(ended);
        evaluation.log_end(&report);
        match report.outcome {
            Outcome::Failed | Outcome::Partial => Err(Failure::Evaluation(Box::new(report))),
            _ => Ok(report),
        }
    }

    /// Takes back what a record did, if nobody changed the resource since.
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
            Err(reason) => {
                let report = Report {
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
                };
                return Err(Failure::Evaluation(Box::new(report)));
            }
        };
        let mut evaluation = Evaluation::<C>::new(self, aws, control, signal, target);
        let ended = evaluation.undo(record).await;
        let report = evaluation.report(ended);
        evaluation.log_end(&report);
        match report.outcome {
            Outcome::Failed | Outcome::Partial => Err(Failure::Evaluation(Box::new(report))),
            _ => Ok(report),
        }
    }
}

/// How an evaluation ended, where it did not fail.
struct Ended {
    outcome: Outcome,
    reason: Option<String>,
}

impl Ended {
    fn because(outcome: Outcome, reason: impl Into<String>) -> Self {
        Self { outcome, reason: Some(reason.into()) }
    }

    fn plainly(outcome: Outcome) -> Self {
        Self { outcome, reason: None }
    }
}

struct Evaluation<'a, C: Control> {
    engine: &'a Engine,
    aws: &'a Clients,
    control: &'a C,
    signal: &'a Signal,
    target: C::Target,
    started: Instant,
    fixed_after: Option<Duration>,
    notes: Vec<String>,
    record: Option<Record>,
    /// Calls already taken from the log.
    calls: Vec<Call>,
}

impl<'a, C: Control> Evaluation<'a, C> {
    fn new(
        engine: &'a Engine,
        aws: &'a Clients,
        control: &'a C,
        signal: &'a Signal,
        target: C::Target,
    ) -> Self {
        Self {
            engine,
            aws,
            control,
            signal,
            target,
            started: Instant::now(),
            fixed_after: None,
            notes: Vec::new(),
            record: None,
            calls: Vec::new(),
        }
    }

    fn report(&mut self, ended: Result<Ended, CallError>) -> Report {
        self.calls.extend(self.aws.calls().take());
        let ended =
            ended.unwrap_or_else(|error| Ended::because(Outcome::Failed, error.to_string()));
        let id = C::META.id.to_owned();
        Report {
            control: id,
            resource: self.target.to_string(),
            account: self.signal.account.clone(),
            region: self.signal.region.clone(),
            outcome: ended.outcome,
            record: self.record.as_ref().map(|record| record.id.clone()),
            changes: self.record.iter().flat_map(|record| record.intent.changes.clone()).collect(),
            calls: std::mem::take(&mut self.calls),
            notes: std::mem::take(&mut self.notes),
            reason: ended.reason,
            fixed_after_ms: self.fixed_after.map(milliseconds),
            ended_after_ms: milliseconds(self.started.elapsed()),
        }
    }

    /// A line of the log about this evaluation.
    fn step(&self, step: &'static str, detail: &str) {
        let resource = self.target.to_string();
        self.about(&resource).step(step, detail);
    }

    fn log_end(&self, report: &Report) {
        let detail = report.reason.as_deref().unwrap_or_default();
        self.about(&report.resource).end(report.outcome, detail);
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

    async fn run(&mut self) -> Result<Ended, CallError> {
        let decision = self.engine.modes.decide(&C::META);
        if decision.mode == Mode::Off {
            return Ok(Ended::because(Outcome::Ignored, "the control is off"));
        }
        let (seen, known) = tokio::join!(self.first_assessment(), self.known(decision.mode));
        let (is_own, mut attempt, earlier) = known?;
        if is_own {
            return Ok(Ended::because(Outcome::Ignored, "Quell made this call itself"));
        }
        let mut seen = seen?;
        self.step("assessed", "");
        if let Some(record) = earlier {
            match self.take_up(record, seen).await? {
                Resumed::Ended(ended) => return Ok(ended),
                Resumed::Superseded(now) => seen = now,
            }
            attempt += 1;
        }

        for _ in 0..EVALUATIONS {
            let Some(state) = seen else { return Ok(Ended::plainly(Outcome::Gone)) };
            self.notes = C::notes(&state);
            let plan = C::plan(&state);
            if plan.is_empty() {
                return Ok(Ended::plainly(Outcome::Compliant));
            }
            if self.is_spared(&state).await? {
                return Ok(Ended::because(
                    Outcome::Ignored,
                    "an open record of Quell needs this resource as it is for a moment",
                ));
            }
            if self.time_left() < OPERATION_TIMEOUT * 2 {
                return Err(too_little_time::<C>());
            }
            let intent = self.intent(&state, &plan, decision.mode, decision.withheld)?;
            let id = self.record_id(decision.mode, attempt);
            attempt += 1;
            if decision.mode != Mode::Enforce {
                let begun =
                    self.engine.ledger.begin(&id, Status::Observed, intent, self.lease()).await?;
                return self.observed(begun).await;
            }
            // The second read stands between a stale plan and a write: S3 and IAM have no write precondition.
            let (begun, again) = tokio::join!(
                self.engine.ledger.begin(&id, Status::Applying, intent, self.lease()),
                self.control.assess(&self.target)
            );
            let record = match begun? {
                Begun::New(record) => record,
                // Another delivery of the same happening was faster by a moment.
                Begun::Existing(record) => return Err(alive(&record)),
            };
            self.step("recorded", &record.id);
            self.record = Some(record);
            seen = match again {
                Ok(Some(again)) if C::same(&again, &state) => return self.apply(plan, None).await,
                Ok(again) => again,
                Err(error) => return self.close(Status::Failed, Some(error)).await,
            };
            self.supersede().await?;
        }
        Err(CallError::new(
            first(C::META.reads),
            CallErrorKind::NotReady,
            format!("the resource changed {EVALUATIONS} times while it was looked at"),
        ))
    }

    /// What the ledger knows of this happening: whether Quell's own call was it, the number of the newest record of
    /// it, and that record. Superseded records only count.
    async fn known(&self, mode: Mode) -> Result<(bool, usize, Option<Record>), CallError> {
        let request_id = match self.signal.trigger {
            Trigger::ApiCall { .. } => self.signal.request_id.as_deref(),
            _ => None,
        };
        let mut attempt = 0;
        loop {
            let id = self.record_id(mode, attempt);
            let account = &self.signal.account;
            let known = self.engine.ledger.look(account, request_id, &id).await?;
            match known.record {
                Some(record) if record.status == Status::Superseded && !known.is_own => {
                    attempt += 1;
                }
                record => return Ok((known.is_own, attempt, record)),
            }
        }
    }

    /// Deals with a record of an earlier delivery of the same happening.
    async fn take_up(
        &mut self,
        record: Record,
        seen: Option<C::State>,
    ) -> Result<Resumed<C>, CallError> {
        if record.result.lease.is_some_and(|lease| Timestamp::now() < lease) {
            return Err(alive(&record));
        }
        match record.status {
            Status::Applying | Status::Failed | Status::Partial => {
                self.record = Some(record);
                self.claim().await?;
                self.resume(seen).await
            }
            _ => self.seen_before(record).await.map(Resumed::Ended),
        }
    }

    /// Makes the record this delivery's alone: of two that try, the ledger refuses one.
    async fn claim(&mut self) -> Result<(), CallError> {
        let lease = self.lease();
        let Some(record) = &mut self.record else { return Ok(()) };
        record.result.lease = lease;
        Ok(self.engine.ledger.update(record, &[]).await?)
    }

    /// Longer than this process can live, with a margin for clocks and for calls that are still under way.
    fn lease(&self) -> Option<Timestamp> {
        let left = i64::try_from(self.time_left().as_secs()).unwrap_or(i64::MAX);
        Some(Timestamp::now() + (left.min(900) + LEASE_MARGIN).seconds())
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
            if self.time_left() < pause + OPERATION_TIMEOUT + OPERATION_TIMEOUT {
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

    /// "Not found" soon after the event may only mean "not visible yet".
    fn may_not_be_visible_yet(&self) -> bool {
        let window = i64::try_from(C::META.visible_within).unwrap_or_default();
        !matches!(self.signal.trigger, Trigger::Manual { .. })
            && self.signal.time.is_some_and(|time| (Timestamp::now() - time).get_seconds() < window)
    }

    async fn is_spared(&self, state: &C::State) -> Result<bool, CallError> {
        let Some(id) = C::spared_by(state) else { return Ok(false) };
        let record = self.engine.ledger.read(&id).await?;
        Ok(record.is_some_and(|record| {
            matches!(record.status, Status::Applying | Status::Partial | Status::Failed)
                && Timestamp::now() < record.intent.created + SPARED_FOR.seconds()
        }))
    }

    /// The mode is part of it: what was only observed may be enforced when it is heard of again.
    fn record_id(&self, mode: Mode, attempt: usize) -> String {
        record_id(&[
            C::META.id,
            &mode.to_string(),
            &self.signal.account,
            &self.signal.region,
            &self.target.to_string(),
            &self.signal.deduplication,
            &attempt.to_string(),
        ])
    }

    fn intent(
        &self,
        state: &C::State,
        plan: &Plan<C::Change>,
        mode: Mode,
        withheld: Option<&str>,
    ) -> Result<Intent, CallError> {
        let Signal { account, region, .. } = self.signal;
        Ok(Intent {
            control: C::META.id.to_owned(),
            account: account.clone(),
            region: region.clone(),
            target: encode(&self.target)?,
            resource: self.target.to_string(),
            arn: C::arn(&self.target, account, region),
            console: C::console(&self.target, region),
            severity: C::META.severity,
            mode,
            withheld: withheld.map(str::to_owned),
            created: Timestamp::now(),
            event_id: self.signal.event_id.clone(),
            event_time: self.signal.time,
            actor: self.signal.actor.clone(),
            before: encode(state)?,
            plan: plan.changes.iter().map(encode).collect::<Result<_, _>>()?,
            changes: plan.changes.iter().map(|change| C::describe(state, change)).collect(),
            notes: self.notes.clone(),
            undoes: None,
        })
    }

    async fn observed(&mut self, begun: Begun) -> Result<Ended, CallError> {
        match begun {
            Begun::New(record) => {
                self.record = Some(record);
                self.tell().await?;
                Ok(Ended { outcome: Outcome::Observed, reason: self.withheld() })
            }
            Begun::Existing(record) => Err(alive(&record)),
        }
    }

    /// Another delivery of a happening that was dealt with: nothing is done again but what was left undone.
    async fn seen_before(&mut self, record: Record) -> Result<Ended, CallError> {
        let untold = record.result.told.is_none();
        let reason = format!("record {} is {}", record.id, record.status.outcome());
        self.record = Some(record);
        if untold {
            self.tell().await?;
        }
        Ok(Ended::because(Outcome::Duplicate, reason))
    }

    fn withheld(&self) -> Option<String> {
        self.record.as_ref().and_then(|record| record.intent.withheld.clone())
    }

    /// Makes the changes in the order given (all, if none is), then looks whether they are in force.
    async fn apply(
        &mut self,
        plan: Plan<C::Change>,
        order: Option<Vec<usize>>,
    ) -> Result<Ended, CallError> {
        let Some(mut record) = self.record.take() else {
            return Err(CallError::new(first(C::META.writes), CallErrorKind::Refused, "no record"));
        };
        let order = order.unwrap_or_else(|| (0..plan.changes.len()).collect());
        let mut failed = None;
        for index in order {
            let Some(change) = plan.changes.get(index) else { continue };
            if self.time_left() < OPERATION_TIMEOUT + Duration::from_secs(2) {
                failed = Some(too_little_time::<C>());
                break;
            }
            let deadline = self.engine.deadline;
            let progress = Progress { record: &record.id, made: &record.result.made, deadline };
            match self.control.apply(&self.target, change, &progress).await {
                Ok(made) => {
                    self.fixed_after = Some(self.started.elapsed());
                    self.step(
                        "applied",
                        record.intent.changes.get(index).map_or("", |change| &change.action),
                    );
                    if !record.result.done.contains(&index) {
                        record.result.done.push(index);
                    }
                    if made.is_some()
                        && let Some(place) = record.result.made.get_mut(index)
                    {
                        *place = made;
                        // What was made must be known to whoever takes over.
                        if let Err(error) = self.engine.ledger.update(&mut record, &[]).await {
                            failed = Some(error.into());
                            break;
                        }
                    }
                }
                Err(error) => {
                    self.step("not applied", &error.to_string());
                    // The first error is the one to mend.
                    failed.get_or_insert(error);
                    if !C::goes_on_without(change) {
                        break;
                    }
                }
            }
        }
        self.record = Some(record);
        self.verify(failed).await
    }

    /// Looks whether the plan is empty now. That counts, whatever the calls answered.
    async fn verify(&mut self, failed: Option<CallError>) -> Result<Ended, CallError> {
        let mut pause = Duration::from_millis(200);
        let mut seen = self.control.assess(&self.target).await;
        for _ in 1..VERIFICATIONS {
            let is_open =
                matches!(&seen, Ok(Some(state)) if !C::plan(state).is_empty()) && failed.is_none();
            if !is_open || self.time_left() < pause + OPERATION_TIMEOUT {
                break;
            }
            sleep(pause).await;
            pause *= 2;
            seen = self.control.assess(&self.target).await;
        }
        match seen {
            Ok(None) => {
                self.close(Status::Superseded, None).await.map(|_| Ended::plainly(Outcome::Gone))
            }
            Ok(Some(after)) => {
                let is_fixed = C::plan(&after).is_empty();
                self.set_after(&after)?;
                // Of several changes the last may be clean-up: a failure there is not hidden by a compliant state.
                match failed {
                    None if is_fixed => self.close(Status::Fixed, None).await,
                    Some(error) if is_fixed && self.plan_length() == 1 => {
                        // No answer may mean that it was made; a refusal means that somebody else made it.
                        let status = match error.kind {
                            CallErrorKind::NoAnswer | CallErrorKind::Unavailable => Status::Fixed,
                            _ => Status::Superseded,
                        };
                        self.close(status, Some(error)).await
                    }
                    None => {
                        self.close(
                            self.unfinished(),
                            Some(not_in_force(&self.target, C::META.writes)),
                        )
                        .await
                    }
                    Some(error) => self.close(self.unfinished(), Some(error)).await,
                }
            }
            Err(error) => self.close(self.unfinished(), Some(failed.unwrap_or(error))).await,
        }
    }

    fn plan_length(&self) -> usize {
        self.record.as_ref().map_or(0, |record| record.intent.plan.len())
    }

    /// Partial, once any change is known to be made.
    fn unfinished(&self) -> Status {
        match &self.record {
            Some(record) if !record.result.done.is_empty() => Status::Partial,
            _ => Status::Failed,
        }
    }

    fn set_after(&mut self, after: &C::State) -> Result<(), CallError> {
        let after = encode(after)?;
        if let Some(record) = &mut self.record {
            record.result.after = Some(after);
        }
        Ok(())
    }

    /// Writes how the record ended, tells people of it, and returns its outcome.
    async fn close(
        &mut self,
        status: Status,
        error: Option<CallError>,
    ) -> Result<Ended, CallError> {
        let reason = error.as_ref().map(ToString::to_string);
        self.settle(status, reason.clone()).await?;
        if status.outcome().people_should_hear() {
            self.tell().await?;
        }
        Ok(Ended { outcome: status.outcome(), reason })
    }

    async fn supersede(&mut self) -> Result<(), CallError> {
        self.settle(Status::Superseded, None).await
    }

    async fn settle(&mut self, status: Status, reason: Option<String>) -> Result<(), CallError> {
        let calls = self.aws.calls().take();
        let own: Vec<Call> = calls.iter().filter(|call| call.is_write()).cloned().collect();
        self.calls.extend(calls.iter().cloned());
        let Some(record) = &mut self.record else { return Ok(()) };
        record.status = status;
        record.result.reason = reason;
        if status == Status::Superseded {
            record.result.lease = None;
        }
        record.result.calls.extend(calls);
        self.engine.ledger.update(record, &own).await?;
        Ok(())
    }

    /// Tells people where the record stands, once for each status.
    async fn tell(&mut self) -> Result<(), CallError> {
        let Some(record) = &mut self.record else { return Ok(()) };
        let untold = record.result.told != Some(record.status);
        if let Some(topic) = self.engine.topic.as_ref().filter(|_| untold) {
            let told = topic.tell(&C::META, record).await;
            record.result.lease = None;
            if told.is_ok() {
                record.result.told = Some(record.status);
            }
            // Whoever gets the event again must not wait for us.
            self.engine.ledger.update(record, &[]).await?;
            return told;
        }
        record.result.lease = None;
        self.engine.ledger.update(record, &[]).await?;
        Ok(())
    }

    /// Takes up a record that an earlier delivery left unfinished: the stored plan, never a new one.
    async fn resume(&mut self, now: Option<C::State>) -> Result<Resumed<C>, CallError> {
        let Some(record) = &self.record else { return Ok(Resumed::Superseded(now)) };
        let before = decode::<C::State>(&record.intent.before).map_err(unreadable::<C>)?;
        let changes = record
            .intent
            .plan
            .iter()
            .map(decode::<C::Change>)
            .collect::<Result<Vec<_>, _>>()
            .map_err(unreadable::<C>)?;
        let order = C::resume(&changes, &record.result.made);
        let Some(now) = now else {
            self.supersede().await?;
            return Ok(Resumed::Superseded(None));
        };
        if C::plan(&now).is_empty() && changes.len() == 1 {
            self.set_after(&now)?;
            // A change that failed is not what put it right.
            let status = match self.record.as_ref().map(|record| record.status) {
                Some(Status::Failed) => Status::Superseded,
                _ => Status::Fixed,
            };
            return self.close(status, None).await.map(Resumed::Ended);
        }
        let all_done = self.record.as_ref().is_some_and(|record| {
            (0..changes.len()).all(|index| record.result.done.contains(&index))
        });
        if all_done && !C::plan(&now).is_empty() {
            // Something new is wrong, which the stored plan cannot know.
            self.supersede().await?;
            return Ok(Resumed::Superseded(Some(now)));
        }
        if changes.len() == 1 && !C::same(&now, &before) {
            self.supersede().await?;
            return Ok(Resumed::Superseded(Some(now)));
        }
        self.apply(Plan { changes }, Some(order)).await.map(Resumed::Ended)
    }

    async fn undo(&mut self, mut original: Record) -> Result<Ended, CallError> {
        let refused = |reason: String| Ok(Ended::because(Outcome::Refused, reason));
        match original.status {
            Status::Fixed | Status::Partial => {}
            Status::Undone => {
                self.record = Some(original);
                return Ok(Ended::because(Outcome::Duplicate, "it is undone already"));
            }
            other => {
                return refused(format!(
                    "record {} is {}: there is nothing to undo",
                    original.id,
                    other.outcome()
                ));
            }
        }
        if original.intent.undoes.is_some() {
            return refused(format!("record {} is itself an undo", original.id));
        }
        let before = decode::<C::State>(&original.intent.before).map_err(unreadable::<C>)?;
        let Some(after) = &original.result.after else {
            return refused("it is not known how the resource was left".to_owned());
        };
        let after = decode::<C::State>(after).map_err(unreadable::<C>)?;
        let (id, earlier) = self.earlier_undo(&original.id).await?;
        let Some(now) = self.control.assess(&self.target).await? else {
            return refused(format!("{} is gone", self.target));
        };

        let changed = format!(
            "{} was changed since; undo would overwrite that. Before the fix it was: {}",
            self.target, original.intent.before
        );
        let plan = match earlier {
            Some(undo) if undo.status == Status::Undone => {
                // It was undone; only this record did not hear of it.
                self.mark_undone(&mut original, &id).await?;
                self.record = Some(undo);
                return Ok(Ended::because(Outcome::Duplicate, "it is undone already"));
            }
            Some(undo) => {
                if undo.result.lease.is_some_and(|lease| Timestamp::now() < lease) {
                    return Err(alive(&undo));
                }
                let began = decode::<C::State>(&undo.intent.before).map_err(unreadable::<C>)?;
                let is_halfway = undo.intent.plan.len() > 1 && undo.status != Status::Failed;
                if !is_halfway && !C::same(&now, &began) && !C::same(&now, &before) {
                    return refused(changed);
                }
                let changes = undo.intent.plan.iter().map(decode::<C::Change>);
                let changes = changes.collect::<Result<_, _>>().map_err(unreadable::<C>)?;
                self.record = Some(undo);
                self.claim().await?;
                Plan { changes }
            }
            None => {
                if !C::same(&now, &after) {
                    return refused(changed);
                }
                let plan = C::revert(&before, &now);
                if plan.is_empty() && !C::same(&now, &before) {
                    return refused("this remediation is irreversible".to_owned());
                }
                let mut intent = self.intent(&now, &plan, Mode::Enforce, None)?;
                intent.undoes = Some(original.id.clone());
                let (begun, again) = tokio::join!(
                    self.engine.ledger.begin(&id, Status::Applying, intent, self.lease()),
                    self.control.assess(&self.target)
                );
                match begun? {
                    Begun::New(record) => self.record = Some(record),
                    Begun::Existing(record) => return Err(alive(&record)),
                }
                match again {
                    Ok(Some(again)) if C::same(&again, &now) => plan,
                    Ok(_) => {
                        self.supersede().await?;
                        return refused(changed);
                    }
                    Err(error) => return self.close(Status::Failed, Some(error)).await,
                }
            }
        };
        self.notes.clear();
        self.step("undoing", &original.id);

        let mut failed = None;
        for (index, change) in plan.changes.iter().enumerate() {
            // Changes find what the undone record made, not what this one does.
            let deadline = self.engine.deadline;
            let progress = Progress { record: &original.id, made: &original.result.made, deadline };
            if let Err(error) = self.control.apply(&self.target, change, &progress).await {
                failed = Some(error);
                break;
            }
            self.fixed_after = Some(self.started.elapsed());
            if let Some(record) = &mut self.record
                && !record.result.done.contains(&index)
            {
                record.result.done.push(index);
            }
        }
        // Before anything else can go wrong: Quell must know the events of these calls as its own.
        self.settle(Status::Applying, None).await?;

        let (status, error) = match (self.restored(&before).await, failed) {
            (Ok(true), None) => (Status::Undone, None),
            // No answer to the only change; of several, the last may be clean-up that must not be forgotten.
            (Ok(true), Some(_)) if plan.changes.len() == 1 => (Status::Undone, None),
            (_, Some(error)) | (Err(error), None) => (self.unfinished(), Some(error)),
            (Ok(false), None) => {
                (self.unfinished(), Some(not_in_force(&self.target, C::META.writes)))
            }
        };
        if status == Status::Undone {
            self.set_after(&before)?;
        }
        let ended = self.close(status, error).await?;
        if status == Status::Undone {
            self.mark_undone(&mut original, &id).await?;
        }
        Ok(ended)
    }

    /// The id for an undo of the record, and what an earlier one of that id left.
    async fn earlier_undo(&self, original: &str) -> Result<(String, Option<Record>), CallError> {
        let mut attempt = 0_usize;
        loop {
            let id = record_id(&["undo", original, &attempt.to_string()]);
            match self.engine.ledger.read(&id).await? {
                Some(undo) if undo.status == Status::Superseded => attempt += 1,
                undo => return Ok((id, undo)),
            }
        }
    }

    async fn mark_undone(&self, original: &mut Record, by: &str) -> Result<(), CallError> {
        original.status = Status::Undone;
        original.result.undone_by = Some(by.to_owned());
        Ok(self.engine.ledger.update(original, &[]).await?)
    }

    async fn restored(&self, before: &C::State) -> Result<bool, CallError> {
        let mut pause = Duration::from_millis(200);
        for _ in 1..VERIFICATIONS {
            match self.control.assess(&self.target).await? {
                Some(now) if C::same(&now, before) => return Ok(true),
                _ => sleep(pause).await,
            }
            pause *= 2;
        }
        let now = self.control.assess(&self.target).await?;
        Ok(now.is_some_and(|now| C::same(&now, before)))
    }

    fn time_left(&self) -> Duration {
        self.engine.deadline.saturating_duration_since(Instant::now())
    }
}

/// Another delivery of the same happening is at work, or was until a moment ago.
fn alive(record: &Record) -> CallError {
    let reason = format!("another delivery of the same event works on record {}", record.id);
    CallError::new("dynamodb:PutItem", CallErrorKind::NotReady, reason)
}

fn too_little_time<C: Control>() -> CallError {
    let reason = "too little time is left for a write call";
    CallError::new(first(C::META.writes), CallErrorKind::NotReady, reason)
}

enum Resumed<C: Control> {
    Ended(Ended),
    Superseded(Option<C::State>),
}

fn not_in_force(target: &impl std::fmt::Display, writes: &'static [&'static str]) -> CallError {
    CallError::new(
        first(writes),
        CallErrorKind::NotReady,
        format!("the call succeeded, but {target} does not show it; someone may have put it back"),
    )
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

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
