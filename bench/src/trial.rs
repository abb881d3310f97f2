//! One fresh process of one side, from its start through its first event to warm ones.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use quell_local::{
    Answer, Attempt,
    proxy::{Calls, Entry, Fault},
    scenario::{self, Staged},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    case::{Case, again},
    cost::Capacity,
    error::Error,
    probe::{Life, Probe, Reading},
    scene::{Actor, Scene, Side},
    stats, trips,
};

/// What was measured of one process. Times in milliseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trial {
    /// From the start of the process until it asked for an event.
    pub(crate) init: Span,
    /// From the start of the process until its first answer.
    pub(crate) cold: Span,
    /// From when it was given its first event until it answered.
    pub(crate) first: Span,
    /// From the start of the process until AWS answered the write that fixed it.
    pub(crate) cold_fix: Option<f64>,
    pub(crate) warm: Vec<Span>,
    pub(crate) warm_fix: Vec<f64>,
    /// Events about a resource that is all right.
    pub(crate) compliant: Vec<Span>,
    pub(crate) peak_mib: f64,
    pub(crate) cold_calls: Vec<Entry>,
    pub(crate) warm_calls: Vec<Entry>,
    pub(crate) compliant_calls: Vec<Entry>,
    pub(crate) log_bytes: usize,
    pub(crate) compliant_log_bytes: usize,
    pub(crate) capacity: Capacity,
    pub(crate) compliant_capacity: Capacity,
    pub(crate) checks: Checks,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    pub(crate) wall: f64,
    /// Without the time in which it waited for AWS.
    pub(crate) own_wall: f64,
    pub(crate) cpu: f64,
}

/// What AWS shows afterwards, read with clients of the benchmark's own.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Checks {
    pub(crate) events: usize,
    /// The bad state is gone.
    pub(crate) fixed: usize,
    /// And everything else is as it was.
    pub(crate) alone: usize,
}

impl Checks {
    pub(crate) fn add(&mut self, other: Self) {
        self.events += other.events;
        self.fixed += other.fixed;
        self.alone += other.alone;
    }
}

/// Compliant events of each process.
const COMPLIANT: usize = 3;

/// Measures one process: a first event, `warm` more, and some about what is all right by then.
pub(crate) async fn run(
    scene: &Scene,
    side: Side,
    case: Case,
    name: &str,
    warm: usize,
) -> Result<Trial, Error> {
    let mut stages = Vec::new();
    for number in 0..=warm {
        let staged = case.stage(&scene.cloud, &format!("{name}n{number}")).await?;
        let before = scenario::snapshot(&scene.cloud, &staged).await?;
        stages.push((staged, before));
    }

    let probe = Arc::new(Probe::default());
    let actor = scene.actor(side, case, Arc::clone(&probe) as _)?;
    let mut events = Vec::new();
    for (staged, _) in &stages {
        events.push(deliver(scene, &actor, side, &staged.event).await?);
    }
    let mut compliant = Vec::new();
    for number in 0..if side.fixes() { COMPLIANT } else { 0 } {
        let event = again(&stages[0].0.event, number);
        compliant.push(deliver(scene, &actor, side, &event).await?);
    }
    let life = probe.lives().pop().ok_or_else(|| unexpected(side, "no process was seen"))?;
    drop(actor);

    let checks = check(scene, side, case, &stages).await?;
    if side.is_quell() && checks.alone < checks.events {
        return Err(unexpected(side, &format!("{}: {checks:?}", case.title())));
    }
    let capacity = match events.last() {
        Some(event) if side.is_quell() => Capacity::of(scene, &event.calls).await?,
        _ => Capacity::default(),
    };
    let compliant_capacity = match compliant.last() {
        Some(event) if side.is_quell() => Capacity::of(scene, &event.calls).await?,
        _ => Capacity::default(),
    };
    for (staged, _) in &stages {
        case.clear(&scene.cloud, staged).await;
    }

    let first = events.first().ok_or_else(|| unexpected(side, "no event was delivered"))?;
    let last = events.last().unwrap_or(first);
    let waiting: Vec<f64> =
        events.iter().chain(&compliant).map(|event| millis(trips::waiting(&event.calls))).collect();
    let spans = spans(side, &life, &waiting)?;
    let since = |begun: Instant, event: &Delivered| {
        let answered = scene.proxy.begun() + trips::fix(&event.calls)?.answered?;
        Some(millis(answered.duration_since(begun)))
    };
    let given = |number: usize| life.given.get(number).map(|reading| reading.at);
    let warm_fix = events.iter().enumerate().skip(1);
    Ok(Trial {
        init: spans.init,
        cold: spans.cold,
        first: spans.first,
        cold_fix: since(life.begun, first),
        warm_fix: warm_fix.filter_map(|(n, event)| since(given(n)?, event)).collect(),
        warm: spans.later.iter().take(warm).copied().collect(),
        compliant: spans.later.iter().skip(warm).copied().collect(),
        peak_mib: life.peak_mib,
        cold_calls: first.calls.clone(),
        warm_calls: last.calls.clone(),
        compliant_calls: compliant.last().map(|event| event.calls.clone()).unwrap_or_default(),
        log_bytes: last.log_bytes,
        compliant_log_bytes: compliant.last().map(|event| event.log_bytes).unwrap_or_default(),
        capacity,
        compliant_capacity,
        checks,
    })
}

/// How latency grows with the time that every call takes.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Trips {
    /// Milliseconds until the answer, by added milliseconds.
    pub(crate) answer: Vec<(f64, f64)>,
    /// Milliseconds until the fix is in force, by added milliseconds.
    pub(crate) fix: Vec<(f64, f64)>,
    pub(crate) answer_slope: f64,
    pub(crate) fix_slope: f64,
    /// Calls that waited for one another until the answer, at the longest delay.
    pub(crate) answer_depth: usize,
    /// Calls that waited for one another until the fix was in force, itself included.
    pub(crate) fix_depth: usize,
}

/// Delivers events to a warm process while every call takes longer by these milliseconds.
pub(crate) async fn delayed(
    scene: &Scene,
    side: Side,
    case: Case,
    delays: &[u64],
    repeats: usize,
) -> Result<Trips, Error> {
    let probe = Arc::new(Probe::default());
    let actor = scene.actor(side, case, Arc::clone(&probe) as _)?;
    let mut trips = Trips::default();
    let warm_up = std::iter::once((0, None));
    let measured = (1..=repeats).flat_map(|round| delays.iter().map(move |d| (round, Some(*d))));
    for (number, (round, delay)) in warm_up.chain(measured).enumerate() {
        let name = format!("d{}r{round}n{number}", side as u8);
        let staged = case.stage(&scene.cloud, &name).await?;
        let rule = scene
            .proxy
            .fault(Calls::any(), Fault::Delay(Duration::from_millis(delay.unwrap_or_default())));
        let event = deliver(scene, &actor, side, &staged.event).await;
        scene.proxy.remove(&rule);
        let calls = event?.calls;
        case.clear(&scene.cloud, &staged).await;
        let life = probe.lives().pop().ok_or_else(|| unexpected(side, "no process was seen"))?;
        let (Some(delay), Some(given), Some(answered)) =
            (delay, life.given.get(number), life.answered.get(number))
        else {
            continue;
        };
        let delay = delay as f64;
        trips.answer.push((delay, millis(answered.at.duration_since(given.at))));
        if let Some(fix) = trips::fix(&calls)
            && let Some(end) = fix.answered
        {
            let end = scene.proxy.begun() + end;
            trips.fix.push((delay, millis(end.duration_since(given.at))));
            trips.fix_depth = trips::depth(&calls, fix);
        }
        trips.answer_depth = trips::depth_of_all(&calls);
    }
    trips.answer_slope = stats::slope(&trips.answer).unwrap_or_default();
    trips.fix_slope = stats::slope(&trips.fix).unwrap_or_default();
    Ok(trips)
}

/// How often each operation was called.
pub(crate) fn counted(calls: &[Entry]) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for call in calls {
        *counted.entry(format!("{} {}", call.service, call.operation)).or_insert(0) += 1;
    }
    counted
}

/// An event, and what became of it.
pub(crate) struct Delivered {
    pub(crate) calls: Vec<Entry>,
    pub(crate) log_bytes: usize,
}

/// Delivers an event, and waits until no call is on its way any more.
pub(crate) async fn deliver(
    scene: &Scene,
    actor: &Actor,
    side: Side,
    event: &Value,
) -> Result<Delivered, Error> {
    scene.proxy.quiet().await;
    scene.proxy.clear();
    let attempt = actor.function.invoke(event.to_string()).await?;
    answered(side, &attempt)?;
    scene.proxy.quiet().await;
    let log_bytes = attempt.log.iter().map(|line| line.len() + 1).sum();
    Ok(Delivered { calls: scene.proxy.log(), log_bytes })
}

/// Whether the function says that it went well. What AWS shows is another matter.
pub(crate) fn answered(side: Side, attempt: &Attempt) -> Result<(), Error> {
    match &attempt.answer {
        Answer::Response(_) => Ok(()),
        other => {
            let reason = other.error_message().unwrap_or_default();
            let log = attempt.log.iter().rev().take(20).rev().cloned().collect::<Vec<_>>();
            Err(unexpected(side, &format!("{reason}\n{}", log.join("\n"))))
        }
    }
}

struct Spans {
    init: Span,
    cold: Span,
    first: Span,
    /// One for each event after the first.
    later: Vec<Span>,
}

/// `waiting`: for how long each event waited for AWS.
fn spans(side: Side, life: &Life, waiting: &[f64]) -> Result<Spans, Error> {
    let (Some(asked), Some(given), Some(answered)) =
        (life.asked.first(), life.given.first(), life.answered.first())
    else {
        return Err(unexpected(side, "it never answered"));
    };
    // A warm event also pays for what the process does after it answered the one before: it asks for the next.
    let later = life.answered.windows(2).zip(life.given.iter().zip(waiting).skip(1));
    let later =
        later.map(|(pair, (given, waiting))| span(given.at, pair[1], pair[0].cpu, *waiting));
    let waiting = waiting.first().copied().unwrap_or_default();
    Ok(Spans {
        init: span(life.begun, *asked, Duration::ZERO, 0.0),
        cold: span(life.begun, *answered, Duration::ZERO, waiting),
        first: span(given.at, *answered, given.cpu, waiting),
        later: later.collect(),
    })
}

fn span(from: Instant, to: Reading, cpu: Duration, waiting: f64) -> Span {
    let wall = millis(to.at.duration_since(from));
    Span { wall, own_wall: wall - waiting, cpu: millis(to.cpu.saturating_sub(cpu)) }
}

async fn check(
    scene: &Scene,
    side: Side,
    case: Case,
    stages: &[(Staged, Value)],
) -> Result<Checks, Error> {
    let mut checks = Checks::default();
    if !side.fixes() {
        return Ok(checks);
    }
    for (staged, before) in stages {
        let now = scenario::snapshot(&scene.cloud, staged).await?;
        let is_violating = scenario::is_violating(&scene.cloud, staged).await?;
        checks.events += 1;
        checks.fixed += usize::from(!is_violating);
        checks.alone += usize::from(now == case.fixed(before));
    }
    Ok(checks)
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

pub(crate) fn unexpected(side: Side, what: &str) -> Error {
    Error::Unexpected { side: side.name().to_owned(), what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warm_event_pays_for_asking_but_does_not_wait_for_lambda() {
        let begun = Instant::now();
        let reading = |at: u64, cpu: u64| Reading {
            at: begun + Duration::from_millis(at),
            cpu: Duration::from_millis(cpu),
        };
        let life = Life {
            begun,
            asked: vec![reading(10, 3), reading(61, 9)],
            given: vec![reading(11, 3), reading(500, 9)],
            answered: vec![reading(60, 8), reading(530, 12)],
            peak_mib: 1.0,
        };
        let spans = spans(Side::Quell, &life, &[20.0, 12.0]).unwrap();
        assert_eq!((spans.init.wall.round(), spans.init.cpu.round()), (10.0, 3.0));
        assert_eq!((spans.cold.wall.round(), spans.cold.cpu.round()), (60.0, 8.0));
        assert_eq!((spans.first.wall.round(), spans.first.cpu.round()), (49.0, 5.0));
        assert_eq!((spans.cold.own_wall.round(), spans.first.own_wall.round()), (40.0, 29.0));
        assert_eq!(spans.later.len(), 1);
        assert_eq!((spans.later[0].wall.round(), spans.later[0].cpu.round()), (30.0, 4.0));
        assert_eq!(spans.later[0].own_wall.round(), 18.0);
    }

    #[test]
    fn a_process_that_never_answered_is_no_measurement() {
        let life = Life {
            begun: Instant::now(),
            asked: Vec::new(),
            given: Vec::new(),
            answered: Vec::new(),
            peak_mib: 0.0,
        };
        assert!(spans(Side::Floor, &life, &[]).is_err());
    }
}
