//! A long bad day: every remediation again and again, its events doubled and out of order, while AWS throttles, fails
//! and loses answers and the functions are killed. In the end every resource is put right, once, and all of it is in the
//! ledger.
//!
//! | variable | what | unless set |
//! |---|---|---|
//! | `QUELL_SOAK_VIOLATIONS` | how many resources | 500 |
//! | `QUELL_SOAK_SEED` | of the faults, the duplicates and the order | 4 |
//! | `QUELL_SOAK_AT_ONCE` | how many functions run at the same time | 30 |

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    env,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use quell_controls::{REGISTRY, with_control};
use quell_engine::{
    Control, Safety,
    ledger::{Record, Status, Verb},
};
use quell_local::{
    Attempt, Function,
    cloud::ACCOUNT,
    proxy::{Calls, Entry, Fault},
    scenario::{SETTINGS, Staged},
};
use serde_json::Value;
use tokio::{
    sync::{Mutex, Semaphore},
    task::JoinSet,
    time::sleep,
};

use crate::scene::{ANY_NUMBER, Scene, hint, is_effect, outcome};

/// In AWS a function has a minute, a lock outlasts it by half of one, and Lambda delivers again after one minute and
/// then two. Here all of that is a quarter, but for quarantine, which begins nothing with less than 35 seconds left: it
/// has its minute, and comes again after half of one and then a whole.
const DEADLINE: Duration = Duration::from_secs(15);
const DEADLINE_OF_A_QUARANTINE: Duration = Duration::from_secs(60);
const MARGIN: Duration = Duration::from_secs(7);
const RECOVERY_EVERY: Duration = Duration::from_secs(5);
/// Two of three attempts at a quarantine die here, and each holds its lock for a minute and a half: by chance alone, five
/// in a row are nothing rare. What does not rest for so long never does.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

/// A tenth of all calls is throttled, and so on. Half of those who die have made their last call, half have not.
const FAULTS: [(f64, Fault); 5] = [
    (0.01, Fault::KillBefore),
    (0.01, Fault::KillAfter),
    (0.02, Fault::DropAnswer),
    (0.10, Fault::Throttle),
    (0.05, Fault::Break),
];

/// One delivery in so many comes twice.
const DUPLICATE_ONE_IN: usize = 5;

/// So many resources have an AWS of their own: what looks for something there looks through all of it.
const IN_ONE_WORLD: usize = 250;
const WORLDS_AT_ONCE: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_bad_day_nothing_is_lost_nothing_is_done_twice_and_all_of_it_is_told() {
    let begun = Instant::now();
    let seed = number("QUELL_SOAK_SEED", 4) as u64;
    let violations = number("QUELL_SOAK_VIOLATIONS", 500);
    let at_once = Arc::new(Semaphore::new(number("QUELL_SOAK_AT_ONCE", 30)));
    println!("QUELL_SOAK_SEED={seed} QUELL_SOAK_VIOLATIONS={violations}");

    let clean = Arc::new(clean(&at_once).await);
    println!("clean, after {:.0?}: {clean:#?}", begun.elapsed());
    let worlds = Arc::new(Semaphore::new(WORLDS_AT_ONCE));
    let mut days = JoinSet::new();
    for (number, controls) in worlds_of(violations).into_iter().enumerate() {
        let (clean, worlds, at_once) =
            (Arc::clone(&clean), Arc::clone(&worlds), Arc::clone(&at_once));
        days.spawn(async move {
            let _turn = worlds.acquire().await.unwrap();
            let begun = Instant::now();
            let world = World::begin(seed + number as u64, &controls, at_once).await;
            let staged = begun.elapsed();
            world.pass_a_bad_day().await;
            let passed = begun.elapsed();
            let figures = world.check(&clean).await;
            println!(
                "{}: staged after {staged:.0?}, at rest after {passed:.0?}, checked after {:.0?}",
                world.name,
                begun.elapsed()
            );
            figures
        });
    }
    let mut all = Figures::default();
    while let Some(figures) = days.join_next().await {
        all.add(&figures.unwrap_or_else(|error| panic!("QUELL_SOAK_SEED={seed}: {error}")));
    }
    println!("{all:#?}\n{:.1} minutes", begun.elapsed().as_secs_f64() / 60.0);
    println!("{:.2} times the calls of a clean run", all.calls as f64 / all.clean_calls);
    assert_eq!(all.violations, violations);
    assert!(
        all.calls as f64 <= 2.0 * all.clean_calls,
        "QUELL_SOAK_SEED={seed}: {} calls, and {:.0} without faults",
        all.calls,
        all.clean_calls
    );
}

fn number(variable: &str, otherwise: usize) -> usize {
    match env::var(variable) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{variable}={value} is no number")),
        Err(_) => otherwise,
    }
}

/// A deleted flow log comes back under another id. The others are plans of several settings, of which who dies in the middle
/// makes one twice: that it does no harm is shown by a law and by `storm::death`, and here one effect is counted for a change.
const COUNTED_ELSEWHERE: [&str; 3] = ["cloudtrail-deleted", "iam-admin-policy", "vpc-flow-logs"];

/// The controls that change something, of which each violation has a resource of its own.
fn remediations() -> impl Iterator<Item = &'static str> + Clone {
    let all = REGISTRY.iter().filter(|meta| meta.safety != Safety::ReportOnly);
    let all = all.map(|meta| meta.id).filter(|control| !SETTINGS.contains(control));
    all.filter(|control| !COUNTED_ELSEWHERE.contains(control))
}

/// What the proxy calls the resource: an object is in a bucket of its own, which is what a call names.
fn called(staged: &Staged) -> String {
    let resource = staged.resource.as_str();
    let named = match staged.control {
        "s3-public-object" => resource.split('/').next().unwrap_or_default(),
        "iam-policy-version" => return format!("arn:aws:iam::{ACCOUNT}:{resource}"),
        // `user/alice`: the call names her alone.
        id if id.starts_with("iam-") => resource.rsplit('/').next().unwrap_or_default(),
        _ => resource,
    };
    named.to_owned()
}

/// Whether two states of a control are the same to a person: one of them was told what only Quell knows.
fn is_same(control: &str, one: &Value, other: &Value) -> bool {
    with_control!(control, C => {
        let [one, other] = [one, other].map(|state| {
            serde_json::from_value::<<C as Control>::State>(state.clone()).unwrap()
        });
        C::same(&one, &other)
    })
    .unwrap()
}

/// The controls of the violations of each world. A quarantine makes four times the calls of others, and what goes before an
/// entry of a network ACL is nine changes, so that half of those who work on one die; a quarantine's lock lasts four times
/// as long, too. One violation in 250 is one of each, and those are in the first world, which has the longest day.
fn worlds_of(violations: usize) -> Vec<Vec<&'static str>> {
    const SLOW: [&str; 2] = ["ec2-quarantine", "vpc-nacl-open-ingress"];
    let quick = remediations().filter(|control| !SLOW.contains(control)).cycle();
    let slow = SLOW.into_iter().cycle().take(SLOW.len() * violations.div_ceil(250));
    let all: Vec<_> = slow.chain(quick).take(violations).collect();
    all.chunks(IN_ONE_WORLD).map(<[_]>::to_vec).collect()
}

/// What one happening of each control takes when nothing goes wrong.
#[derive(Debug)]
struct Clean {
    calls: usize,
    /// Applied writes on the resource.
    effects: usize,
    /// Changes of its record.
    changes: usize,
    snapshots: usize,
}

async fn clean(at_once: &Arc<Semaphore>) -> BTreeMap<&'static str, Clean> {
    let controls: Vec<_> = remediations().chain(remediations()).collect();
    let world = World::begin(0, &controls, Arc::clone(at_once)).await;
    let mut clean = BTreeMap::new();
    for (staged, before) in &world.violations {
        let control = staged.control;
        let attempt = world.function(control).invoke(staged.event.to_string()).await.unwrap();
        assert_eq!(outcome(&attempt, control), Some("fixed"), "{attempt:#?}");
        let record = world.scene.story(staged).await;
        assert!(is_same(control, &record.intent.before, before), "{control}: {record:#?}");
        let id = Some(attempt.request_id.as_str());
        let found = Clean {
            calls: world.scene.proxy.count(|call| call.request_id.as_deref() == id),
            effects: world.scene.effects(&called(staged)).len(),
            changes: record.intent.plan.len(),
            snapshots: world.scene.snapshots_of(&record).await,
        };
        // Those of the second time: the first one may have met what is there once only.
        clean.insert(control, found);
    }
    clean
}

/// One AWS with the functions and what is wrong in it.
struct World {
    name: String,
    scene: Arc<Scene>,
    functions: BTreeMap<&'static str, Arc<Function>>,
    /// With the state that the control saw before anyone acted.
    violations: Vec<(Staged, Value)>,
    random: Mutex<Rng>,
    at_once: Arc<Semaphore>,
    deliveries: AtomicUsize,
    attempts: AtomicUsize,
    millis: AtomicUsize,
    deaths: AtomicUsize,
    dead_letters: AtomicUsize,
    resumed: AtomicUsize,
    hints: AtomicUsize,
}

impl World {
    async fn begin(seed: u64, controls: &[&'static str], at_once: Arc<Semaphore>) -> Arc<Self> {
        let scene = Scene::begin(seed, ANY_NUMBER).await;
        let mut functions = BTreeMap::new();
        let mut violations = Vec::new();
        for (number, control) in controls.iter().enumerate() {
            let program = program(control);
            functions.entry(program).or_insert_with(|| {
                let deadline =
                    if program == "ec2-quarantine" { DEADLINE_OF_A_QUARANTINE } else { DEADLINE };
                Arc::new(scene.function_with(control, program, deadline, MARGIN))
            });
            let name = format!("w{seed}x{number}");
            let staged = scene.stack.stage(control, &name).await.unwrap();
            let before = scene.assess(&staged).await;
            violations.push((staged, before));
        }
        Arc::new(Self {
            name: format!("world {seed}"),
            scene,
            functions,
            violations,
            random: Mutex::new(Rng::with_seed(seed)),
            at_once,
            deliveries: AtomicUsize::new(0),
            attempts: AtomicUsize::new(0),
            millis: AtomicUsize::new(0),
            deaths: AtomicUsize::new(0),
            dead_letters: AtomicUsize::new(0),
            resumed: AtomicUsize::new(0),
            hints: AtomicUsize::new(0),
        })
    }

    fn function(&self, control: &str) -> &Arc<Function> {
        &self.functions[program(control)]
    }

    /// Everything is delivered, and all that AWS and people do about what ended badly is done, until nothing is left.
    async fn pass_a_bad_day(self: &Arc<Self>) {
        for (probability, fault) in FAULTS {
            self.scene.proxy.fault(Calls::any().with_probability(probability), fault);
        }
        let mut events = self.events().await;
        let begun = Instant::now();
        for round in 1..=10 {
            let count = events.len();
            let mut deliveries = JoinSet::new();
            for (control, event) in events.drain(..) {
                deliveries.spawn(Arc::clone(self).deliver(control, event));
            }
            let mut recovery = JoinSet::new();
            recovery.spawn(Arc::clone(self).recover_meanwhile());
            while let Some(ended) = deliveries.join_next().await {
                events.extend(ended.unwrap());
            }
            recovery.shutdown().await;
            self.recover().await;
            // What no attempt could do is a dead letter, which people send again; what ended badly when nobody would
            // deliver it again they were told of, with the command that resumes it.
            let left = self.left_to_people().await;
            println!(
                "{}, round {round}: {count} deliveries, {} dead letters and {} records for people, after {:.0?}",
                self.name,
                events.len(),
                left.len(),
                begun.elapsed()
            );
            if events.is_empty() && left.is_empty() {
                self.scene.proxy.quiet().await;
                return;
            }
            self.dead_letters.fetch_add(events.len(), Ordering::Relaxed);
            self.resumed.fetch_add(left.len(), Ordering::Relaxed);
            for record in left {
                self.resume(&record).await;
            }
        }
        panic!("people send {} events again and again", events.len());
    }

    /// Records that ended badly, and that nobody looks after any more.
    async fn left_to_people(&self) -> Vec<Record> {
        let controls: BTreeSet<_> = self.violations.iter().map(|(one, _)| one.control).collect();
        let mut left = Vec::new();
        for control in controls {
            let all = self.scene.ledger.newest(control, None, 100_000).await.unwrap();
            left.extend(all.into_iter().filter(|record| {
                matches!(record.status, Status::Failed | Status::Partial) && !record.open
            }));
        }
        let told = self.scene.told().await;
        for record in &left {
            let outcome = record.status.outcome().to_string();
            let is_told = told.contains(&(record.id.clone(), outcome));
            assert!(is_told, "nobody was told of {record:#?}");
        }
        left
    }

    async fn resume(&self, record: &Record) {
        let ordered = self.scene.ledger.ordered(&record.id, Verb::Resume).await.unwrap();
        if ordered.is_none() {
            self.scene.order(record, Verb::Resume).await;
        }
        self.attempt(self.function(&record.intent.control), &hint(record).to_string(), None).await;
    }

    async fn events(&self) -> Vec<(&'static str, String)> {
        let random = &mut *self.random.lock().await;
        let mut events: Vec<_> = self
            .violations
            .iter()
            .map(|(staged, _)| (staged.control, staged.event.to_string()))
            .collect();
        random.shuffle(&mut events);
        let twice = events[..events.len() / DUPLICATE_ONE_IN].to_vec();
        events.extend(twice);
        random.shuffle(&mut events);
        self.deliveries.store(events.len(), Ordering::Relaxed);
        events
    }

    /// Three attempts, as Lambda makes them. The event, if all ended badly.
    async fn deliver(
        self: Arc<Self>,
        control: &'static str,
        event: String,
    ) -> Option<(&'static str, String)> {
        let function = self.function(control);
        let wait =
            if control == "ec2-quarantine" { DEADLINE_OF_A_QUARANTINE / 2 } else { DEADLINE };
        let mut last = self.attempt(function, &event, None).await;
        for wait in [wait, wait * 2] {
            if last.answer.is_response() {
                return None;
            }
            sleep(wait).await;
            last = self.attempt(function, &event, Some(&last.request_id)).await;
        }
        (!last.answer.is_response()).then_some((control, event))
    }

    async fn attempt(&self, function: &Function, event: &str, again: Option<&str>) -> Attempt {
        let _turn = self.at_once.acquire().await.unwrap();
        self.attempts.fetch_add(1, Ordering::Relaxed);
        let attempt = match again {
            None => function.invoke(event.to_owned()).await,
            Some(request_id) => function.retry(request_id, event.to_owned()).await,
        };
        let attempt = attempt.unwrap();
        let millis = usize::try_from(attempt.duration.as_millis()).unwrap();
        self.millis.fetch_add(millis, Ordering::Relaxed);
        if matches!(attempt.answer, quell_local::Answer::Exit(_)) {
            self.deaths.fetch_add(1, Ordering::Relaxed);
        }
        attempt
    }

    async fn recover_meanwhile(self: Arc<Self>) {
        loop {
            sleep(RECOVERY_EVERY).await;
            self.recover_once(Timestamp::now()).await;
        }
    }

    /// Until the ledger owes nobody anything.
    async fn recover(self: &Arc<Self>) {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let some_time = Timestamp::now() + SignedDuration::from_hours(24);
            if self.scene.due(some_time, 100_000).await.is_empty() {
                return;
            }
            self.recover_once(Timestamp::now()).await;
            sleep(RECOVERY_EVERY).await;
        }
        let some_time = Timestamp::now() + SignedDuration::from_hours(24);
        let due = self.scene.due(some_time, 100_000).await;
        let due: Vec<_> = due.iter().map(|one| (&one.id, one.status, &one.result)).collect();
        panic!("these never rest: {due:#?}");
    }

    /// Hints about what is due, as the schedule has them given.
    async fn recover_once(self: &Arc<Self>, now: Timestamp) {
        let mut hints = JoinSet::new();
        for record in self.scene.due(now, 200).await {
            let world = Arc::clone(self);
            self.hints.fetch_add(1, Ordering::Relaxed);
            hints.spawn(async move {
                let function = world.function(&record.intent.control);
                world.attempt(function, &hint(&record).to_string(), None).await;
            });
        }
        while hints.join_next().await.is_some() {}
    }

    async fn check(&self, clean: &BTreeMap<&'static str, Clean>) -> Figures {
        let scene = &self.scene;
        let log = scene.proxy.log();
        let mut records = HashMap::<String, Vec<Record>>::new();
        let controls: BTreeSet<_> = self.violations.iter().map(|(one, _)| one.control).collect();
        for control in controls {
            for record in scene.ledger.newest(control, None, 100_000).await.unwrap() {
                let key = format!("{control} {}", record.intent.resource);
                records.entry(key).or_default().push(record);
            }
        }
        let mut effects = HashMap::<&str, Vec<&Entry>>::new();
        let mut stored = HashMap::<&str, Vec<&Entry>>::new();
        for call in &log {
            if is_effect(call) {
                call.resources.iter().for_each(|one| effects.entry(one).or_default().push(call));
            }
            if call.operation == "TransactWriteItems" && call.applied {
                let ids = call.keys.iter().filter_map(|key| key.strip_prefix("REC#"));
                ids.for_each(|id| stored.entry(id).or_default().push(call));
            }
        }
        let told = scene.told().await;

        let mut figures = Figures {
            violations: self.violations.len(),
            deliveries: self.deliveries.load(Ordering::Relaxed),
            duplicates: self.deliveries.load(Ordering::Relaxed) - self.violations.len(),
            attempts: self.attempts.load(Ordering::Relaxed),
            millis: self.millis.load(Ordering::Relaxed),
            deaths: self.deaths.load(Ordering::Relaxed),
            dead_letters: self.dead_letters.load(Ordering::Relaxed),
            resumed: self.resumed.load(Ordering::Relaxed),
            hints: self.hints.load(Ordering::Relaxed),
            calls: log.len(),
            messages: told.len(),
            ..Figures::default()
        };
        for fault in log.iter().filter_map(|call| call.fault.as_ref()) {
            *figures.faults.entry(format!("{fault:?}")).or_default() += 1;
        }
        for (staged, before) in &self.violations {
            let name = format!("{} {}", staged.control, staged.resource);
            let clean = &clean[staged.control];
            figures.clean_calls += clean.calls as f64;

            // Nothing is lost.
            assert!(!scene.is_violating(staged).await, "{name}");
            let records = records.get(&name).unwrap_or_else(|| panic!("{name} has no record"));
            let lives: Vec<_> = records.iter().map(|one| (one.status, one.open)).collect();
            assert!(lives.iter().all(|(_, open)| !open), "{name} is at rest: {lives:?}");
            let is_over = |status: Status| matches!(status, Status::Fixed | Status::Superseded);
            assert!(lives.iter().all(|(status, _)| is_over(*status)), "{name}: {lives:?}");
            let fixed: Vec<_> =
                records.iter().filter(|record| record.status == Status::Fixed).collect();
            let [record] = fixed[..] else { panic!("{name} is fixed once: {lives:?}") };
            assert!(!scene.is_locked(record).await, "{name} is free");

            // The way back was stored before anything was changed, and is the way back.
            assert!(is_same(staged.control, &record.intent.before, before), "{name}: {record:#?}");
            let effects = effects.get(called(staged).as_str()).map_or(&[][..], Vec::as_slice);
            let first = effects.first().unwrap_or_else(|| panic!("{name} was changed"));
            let is_before = |call: &&&Entry| {
                call.index < first.index
                    && call.answered.is_none_or(|answered| answered <= first.at)
            };
            let way_back = stored[record.id.as_str()].iter().find(is_before);
            assert!(way_back.is_some(), "{name}: {first:?}");

            // One effect, and there is a row for each in a record. What AWS had done when its answer was lost, the SDK sends once more:
            // that changes nothing.
            figures.records += records.len();
            figures.changes += record.intent.plan.len();
            assert_eq!(record.intent.plan.len(), clean.changes, "{name}: {record:#?}");
            figures.noted += record.result.done.len();
            figures.effects += effects.len();
            if staged.control == "ec2-quarantine" {
                figures.evidence += scene.snapshots_of(record).await;
                assert_eq!(scene.snapshots_of(record).await, clean.snapshots, "{name}");
            } else {
                let lost = effects.iter().filter(|one| one.fault == Some(Fault::DropAnswer));
                let again = lost.count().min(effects.len().saturating_sub(clean.effects));
                assert_eq!(effects.len() - again, clean.effects, "{name}: {effects:#?}");
                figures.sent_again += again;
            }

            // People heard of it.
            let heard = told.iter().filter(|(id, _)| *id == record.id).count();
            assert!(heard > 0, "{name}: nobody was told");
            figures.heard_twice += heard - 1;
        }
        figures
    }
}

fn program(control: &str) -> &'static str {
    with_control!(control, C => C::META.function).unwrap()
}

/// What came to pass.
#[derive(Debug, Default)]
struct Figures {
    violations: usize,
    deliveries: usize,
    duplicates: usize,
    attempts: usize,
    /// What these took in all, most of it waiting.
    millis: usize,
    deaths: usize,
    /// Events that three attempts could not deal with, and were sent once more.
    dead_letters: usize,
    /// Records that ended badly, and were resumed by a person.
    resumed: usize,
    hints: usize,
    calls: usize,
    /// What the same violations take without faults and duplicates.
    clean_calls: f64,
    faults: BTreeMap<String, usize>,
    records: usize,
    /// Changes of the records that are fixed.
    changes: usize,
    /// Of these, changes whose answer was seen by whoever made them. Of the others whoever came after saw that they were
    /// made.
    noted: usize,
    /// Applied writes.
    effects: usize,
    /// Of these, writes that the SDK sent once more because their answer was lost.
    sent_again: usize,
    evidence: usize,
    messages: usize,
    heard_twice: usize,
}

impl Figures {
    fn add(&mut self, other: &Self) {
        for (to, from) in [
            (&mut self.violations, other.violations),
            (&mut self.deliveries, other.deliveries),
            (&mut self.duplicates, other.duplicates),
            (&mut self.attempts, other.attempts),
            (&mut self.millis, other.millis),
            (&mut self.deaths, other.deaths),
            (&mut self.dead_letters, other.dead_letters),
            (&mut self.resumed, other.resumed),
            (&mut self.hints, other.hints),
            (&mut self.calls, other.calls),
            (&mut self.records, other.records),
            (&mut self.changes, other.changes),
            (&mut self.noted, other.noted),
            (&mut self.effects, other.effects),
            (&mut self.sent_again, other.sent_again),
            (&mut self.evidence, other.evidence),
            (&mut self.messages, other.messages),
            (&mut self.heard_twice, other.heard_twice),
        ] {
            *to += from;
        }
        self.clean_calls += other.clean_calls;
        for (fault, count) in &other.faults {
            *self.faults.entry(fault.clone()).or_default() += count;
        }
    }
}
