//! The kill switch, turned in mid-storm.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use quell_engine::{
    Clients,
    ledger::{Halt, Ledger, Status, Verb},
};
use quell_local::{
    Cloud,
    cloud::{ACCOUNT, REGION},
    proxy::{Caller, Calls, Entry},
    scenario::{self, Staged},
};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::scene::{ANY_NUMBER, Scene, hint, is_effect, manual, outcome};

const CONTROL: &str = "s3-block-public-access";
const WORKERS: usize = 8;
const BUCKETS: usize = 64;

#[tokio::test]
async fn after_the_kill_switch_each_worker_makes_at_most_one_more_write() {
    let scene = Scene::begin(4, ANY_NUMBER).await;
    let mut queues = vec![Vec::new(); WORKERS];
    for number in 0..BUCKETS {
        let bucket = format!("quell-halt-{number}");
        scene.make_bucket(&bucket).await;
        queues[number % WORKERS].push(bucket);
    }
    let _person = scene.halts_at(Calls::any().service("S3").writes().nth(20));

    let mut workers = JoinSet::new();
    for (number, buckets) in queues.into_iter().enumerate() {
        let function = scene.function(CONTROL, &format!("worker {number}")).paced(0.0001);
        workers.spawn(async move {
            for bucket in buckets {
                let event = manual(CONTROL, &bucket).to_string();
                let ended = function.invoke_async(event).await.unwrap();
                assert!(ended.response().is_some(), "{:#?}", ended.attempts);
            }
            function
        });
    }
    let functions = workers.join_all().await;
    scene.proxy.heal();

    let after = scene.effects_after_the_halt();
    let mut by_worker = BTreeMap::<&str, usize>::new();
    for call in &after {
        *by_worker.entry(&call.caller).or_default() += 1;
    }
    println!("after the halt: {by_worker:?}");
    assert!(by_worker.values().all(|writes| *writes <= 1), "{by_worker:?}");
    let records = scene.ledger.newest(CONTROL, None, 10 * BUCKETS).await.unwrap();
    let with = |status| records.iter().filter(|record| record.status == status).collect::<Vec<_>>();
    let (fixed, parked) = (with(Status::Fixed), with(Status::Parked));
    assert_eq!(fixed.len() + parked.len(), BUCKETS, "nothing is lost");
    assert!(fixed.len() < 20 + 2 * WORKERS && parked.len() > BUCKETS / 3);
    assert!(parked.iter().all(|record| !record.intent.plan.is_empty()));

    scene.ledger.continue_(&by_somebody()).await.unwrap().expect("it was halted");
    for record in parked {
        scene.order(record, Verb::Resume).await;
        let attempt = functions[0].invoke(hint(record).to_string()).await.unwrap();
        assert_eq!(outcome(&attempt, CONTROL), Some("fixed"), "{attempt:#?}");
    }
    let effects = scene.proxy.count(|call| is_effect(call));
    assert_eq!(effects, BUCKETS, "each was changed once");
}

/// A plan of many changes is stopped wherever it stands, and a person has it finished.
#[tokio::test]
async fn a_plan_under_way_is_stopped_at_any_write_and_finished_after() {
    let scene = Scene::begin(5, ANY_NUMBER).await;
    let staged = scenario::stage(&scene.cloud, "ec2-quarantine", "whole").await.unwrap();
    let function = scene.function("ec2-quarantine", "whole");
    function.invoke(staged.event.to_string()).await.unwrap();
    let writes = scene.proxy.count(|call| is_effect(call));

    let turns = Arc::new(Semaphore::new(2));
    let mut points = JoinSet::new();
    for write in 1..=writes {
        let (scene, turns) = (Arc::clone(&scene), Arc::clone(&turns));
        points.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            let name = format!("halt{write}");
            let scene = scene.beside(&name).await;
            let staged = scenario::stage(&scene.cloud, "ec2-quarantine", &name).await.unwrap();
            stops(&scene, &staged, &name, write).await
        });
    }
    let mut further = Vec::new();
    while let Some(stopped) = points.join_next().await {
        further.push(stopped.unwrap());
    }
    println!("halted at each of {writes} writes; at most {:?} more", further.iter().max());
}

async fn stops(scene: &Scene, staged: &Staged, name: &str, write: usize) -> usize {
    let before = scene.snapshot(staged).await;
    let function = scene.function(staged.control, name);
    let _person = scene.halts_at(Calls::any().by(name).service("EC2").writes().nth(write));
    function.invoke(staged.event.to_string()).await.unwrap();
    scene.recover(&function, staged).await;

    let calls: Vec<Entry> =
        scene.proxy.log().into_iter().filter(|call| call.caller == name).collect();
    let halted = scene.halt_in_the_log();
    let after = calls.iter().filter(|call| is_effect(call) && call.at > halted).count();
    // A group is made and given its rules, and an interface opened and closed, in one change that is never left half.
    assert!(after <= 3, "halted at write {write}: {after} more");
    let record = scene.records(staged).await.remove(0);
    assert!(
        matches!(record.status, Status::Partial | Status::Fixed) && !record.open,
        "halted at write {write}: {}",
        record.status.name()
    );

    scene.ledger.continue_(&by_somebody()).await.unwrap().expect("it was halted");
    if record.status == Status::Partial {
        scene.order(&record, Verb::Resume).await;
        function.invoke(hint(&record).to_string()).await.unwrap();
    }
    scene.recover(&function, staged).await;
    assert!(!scene.is_violating(staged).await, "halted at write {write}: {:#?}", function.log());
    let record = scene.story(staged).await;
    scene.order(&record, Verb::Undo).await;
    let undone = function.invoke(hint(&record).to_string()).await.unwrap();
    assert_eq!(outcome(&undone, staged.control), Some("undone"), "{undone:#?}");
    assert_eq!(scene.snapshot(staged).await, before, "halted at write {write}");
    after
}

impl Scene {
    /// Has somebody turn the switch right before such a call is passed on.
    fn halts_at(&self, calls: Calls) -> Caller {
        // Through the proxy, so that the log tells when it was turned.
        let person = self.proxy.caller(&self.person()).unwrap();
        let (endpoint, table) = (person.endpoint.clone(), self.stack.ledger.clone());
        self.proxy.when(calls, move |_| {
            let (endpoint, table) = (endpoint.clone(), table.clone());
            async move {
                let aws = Clients::new(Cloud::at(&endpoint).sdk, ACCOUNT);
                Ledger::new(&aws, table).halt(&by_somebody()).await.unwrap();
            }
        });
        person
    }

    fn person(&self) -> String {
        format!("a person at {}", self.stack.ledger)
    }

    /// When the switch was turned.
    fn halt_in_the_log(&self) -> Duration {
        let log = self.proxy.log();
        let halt = log.iter().find(|call| call.caller == self.person() && call.is_write);
        halt.and_then(|halt| halt.answered).expect("it was halted")
    }

    fn effects_after_the_halt(&self) -> Vec<Entry> {
        let halted = self.halt_in_the_log();
        let log = self.proxy.log().into_iter();
        log.filter(|call| is_effect(call) && call.answered.is_some_and(|at| at > halted)).collect()
    }
}

fn by_somebody() -> Halt {
    Halt {
        by: format!("arn:aws:iam::{ACCOUNT}:user/alice"),
        person: Some("alice".to_owned()),
        at: Timestamp::now(),
        reason: format!("too much happens in {REGION}"),
    }
}
