//! Many events at once, and accounts of different sizes.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use quell_local::{
    Answer,
    scenario::{self, Staged},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{
    case::{Case, again},
    error::Error,
    probe::Probe,
    scene::{Actor, Programs, Scene, Side},
    stats::{Spread, quantile},
    trial,
};

/// Many events at once.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Storm {
    pub(crate) events: usize,
    pub(crate) workers: usize,
    pub(crate) seconds: f64,
    pub(crate) events_per_second: f64,
    /// Of all the processes of the functions. The emulator's is not in it.
    pub(crate) cpu_ms_per_event: f64,
    pub(crate) calls_per_event: f64,
    pub(crate) processes: usize,
    pub(crate) outcomes: BTreeMap<String, usize>,
    pub(crate) resources: usize,
    /// Of these, AWS shows no bad state any more.
    pub(crate) fixed: usize,
    pub(crate) answer_ms: Spread,
    pub(crate) answer_p95_ms: f64,
}

/// One of ten events tells of a bad state; one is the same again; one is about something else; the others tell of
/// changes that are all right.
const ABOUT_ONE: usize = 10;

/// Delivers so many events of a mixture to Quell's functions, so many at a time.
pub(crate) async fn storm(
    programs: &Programs,
    cases: &[Case],
    events: usize,
    workers: usize,
) -> Result<Storm, Error> {
    let scene = Scene::begin(programs).await?;
    let probe = Arc::new(Probe::default());
    let mut actors = Vec::new();
    for case in cases {
        actors.push(scene.actor(Side::Quell, *case, Arc::clone(&probe) as _)?);
    }
    let mut groups = VecDeque::new();
    for number in 0..events.div_ceil(ABOUT_ONE) {
        let at = number % cases.len();
        let staged = cases[at].stage(&scene.cloud, &format!("s{number}")).await?;
        groups.push_back((at, staged));
    }
    let stages: Vec<Staged> = groups.iter().map(|(_, staged)| staged.clone()).collect();

    let load = Arc::new(Load {
        actors,
        cases: cases.to_vec(),
        queue: Mutex::new(groups),
        seen: Mutex::default(),
    });
    scene.proxy.clear();
    let begun = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..workers {
        running.spawn(work(Arc::clone(&load)));
    }
    while let Some(ended) = running.join_next().await {
        ended.map_err(|error| Error::Cloud(error.into()))??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    scene.proxy.quiet().await;

    let calls = scene.proxy.count(|_| true);
    let lives = probe.lives();
    let cpu: f64 = lives
        .iter()
        .filter_map(|life| life.answered.last())
        .map(|reading| trial::millis(reading.cpu))
        .sum();
    let Seen { outcomes, took } = locked(&load.seen).clone();
    let mut fixed = 0;
    for staged in &stages {
        fixed += usize::from(!scenario::is_violating(&scene.cloud, staged).await?);
    }
    let events = took.len();
    Ok(Storm {
        events,
        workers,
        seconds,
        events_per_second: events as f64 / seconds,
        cpu_ms_per_event: cpu / events as f64,
        calls_per_event: calls as f64 / events as f64,
        processes: lives.len(),
        outcomes,
        resources: stages.len(),
        fixed,
        answer_ms: Spread::of(&took).unwrap_or_default(),
        answer_p95_ms: quantile(&took, 0.95).unwrap_or_default(),
    })
}

/// What the workers share.
struct Load {
    /// In the order of the cases.
    actors: Vec<Actor>,
    cases: Vec<Case>,
    queue: Mutex<VecDeque<(usize, Staged)>>,
    seen: Mutex<Seen>,
}

#[derive(Clone, Default)]
struct Seen {
    outcomes: BTreeMap<String, usize>,
    took: Vec<f64>,
}

/// Takes one resource after another, and delivers what happens about it.
async fn work(load: Arc<Load>) -> Result<(), Error> {
    loop {
        let next = locked(&load.queue).pop_front();
        let Some((at, staged)) = next else { return Ok(()) };
        for event in mixture(load.cases[at], &staged)? {
            let (outcome, took) = answer(&load.actors[at], &event).await?;
            let mut seen = locked(&load.seen);
            *seen.outcomes.entry(outcome).or_insert(0) += 1;
            seen.took.push(trial::millis(took));
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What happens about one resource, in this order.
fn mixture(case: Case, staged: &Staged) -> Result<Vec<Value>, Error> {
    let ignored = match case {
        Case::Acl => include_str!("../../events/s3-public-acl/ignored.json"),
        Case::Imds => include_str!("../../events/ec2-imdsv2/ignored.json"),
        Case::Ssh => include_str!("../../events/sg-open-ingress/ignored.json"),
    };
    let ignored = staged.about_it(ignored)?;
    let ignored = serde_json::from_str(&ignored).map_err(|error| Error::Cloud(error.into()))?;
    let mut events = vec![staged.event.clone(), staged.event.clone(), ignored];
    events.extend((events.len()..ABOUT_ONE).map(|number| again(&staged.event, number)));
    Ok(events)
}

/// How the first evaluation of an event ended, and how long it took.
async fn answer(actor: &Actor, event: &Value) -> Result<(String, Duration), Error> {
    let begun = Instant::now();
    let attempt = actor.function.invoke(event.to_string()).await?;
    trial::answered(Side::Quell, &attempt)?;
    let outcome = match &attempt.answer {
        Answer::Response(response) => response.pointer("/results/0/outcome"),
        _ => None,
    };
    let outcome = outcome.and_then(Value::as_str).unwrap_or("ignored").to_owned();
    Ok((outcome, begun.elapsed()))
}

/// The same events in a larger account.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Growth {
    pub(crate) case: String,
    /// Other resources of the same kind.
    pub(crate) others: usize,
    pub(crate) warm_cpu_ms: Spread,
    pub(crate) calls: usize,
}

/// Measures warm events of Quell beside more and more other resources.
pub(crate) async fn growth(
    programs: &Programs,
    cases: &[Case],
    sizes: &[usize],
    warm: usize,
) -> Result<Vec<Growth>, Error> {
    let mut rows = Vec::new();
    for case in cases {
        let scene = Scene::begin(programs).await?;
        let mut there = 0;
        for size in sizes {
            case.fill(&scene.cloud, there..*size).await?;
            there = *size;
            let name = format!("g{size}");
            let trial = trial::run(&scene, Side::Quell, *case, &name, warm).await?;
            let cpu: Vec<f64> = trial.warm.iter().map(|span| span.cpu).collect();
            rows.push(Growth {
                case: case.name().to_owned(),
                others: *size,
                warm_cpu_ms: Spread::of(&cpu).unwrap_or_default(),
                calls: trial.warm_calls.len(),
            });
        }
    }
    Ok(rows)
}
