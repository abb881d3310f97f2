//! A budget under a storm: not one change too many, nothing lost, and people hear of it once.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use quell_controls::All;
use quell_engine::{
    Clients,
    evaluate::Engine,
    ledger::{Ledger, Status, Verb},
    notify::Topic,
    policies::PolicyCache,
    policy::Limits,
    serve::handle,
};
use quell_local::{
    Cloud,
    cloud::ACCOUNT,
    proxy::{Calls, Fault},
};
use serde_json::Value;
use tokio::task::{JoinSet, LocalSet};

use crate::scene::{ANY_NUMBER, MARGIN, Scene, hint, is_effect, manual};

const CONTROL: &str = "s3-block-public-access";
const BUCKETS: usize = 1_000;
const BUDGET: u32 = 50;
const IN_FLIGHT: usize = 200;

/// A thousand processes are too many for one machine: these workers are engines in this process, each with clients of
/// its own, over HTTP like any other.
#[tokio::test]
async fn of_a_thousand_violations_fifty_are_fixed_and_the_rest_waits_with_its_plan() {
    let scene = Scene::begin(50, Limits { overall: BUDGET, ..ANY_NUMBER }).await;
    // Nothing keeps a new bucket from being made public.
    let buckets: Vec<String> = (0..BUCKETS).map(|number| format!("quell-storm-{number}")).collect();
    for bucket in &buckets {
        scene.make_bucket(bucket).await;
    }
    let conflicts = scene
        .proxy
        .fault(Calls::any().with_probability(0.3), Fault::cancel("TransactionConflict", "BUD#"));

    let began = Instant::now();
    let events = buckets.iter().map(|bucket| manual(CONTROL, bucket));
    let outcomes = scene.deliver_at_once(events.collect()).await;
    println!(
        "{outcomes:?}, {} transactions cancelled for a conflict, {} calls, {:.0?}",
        conflicts.fired(),
        scene.proxy.count(|_| true),
        began.elapsed()
    );
    assert!(conflicts.fired() > 300);
    let effects = scene.effects_by_bucket();
    assert_eq!(effects.len(), 50, "exactly the budget is used");
    assert!(effects.values().all(|count| *count == 1));
    let records = scene.ledger.newest(CONTROL, None, 10 * BUCKETS).await.unwrap();
    let parked: Vec<_> = records.iter().filter(|record| record.status == Status::Parked).collect();
    let fixed = records.iter().filter(|record| record.status == Status::Fixed).count();
    assert_eq!((fixed, parked.len(), records.len()), (50, 950, 1_000));
    for record in &parked {
        assert!(!record.intent.plan.is_empty() && !record.open, "{record:#?}");
        let reason = record.result.reason.as_deref().unwrap_or_default();
        assert!(reason.contains("budget routine overall"), "{reason}");
    }
    let told = scene.told().await;
    let told_parked = told.iter().filter(|(_, outcome)| outcome == "parked").count();
    assert_eq!((told_parked, told.len()), (1, 51), "people hear of the budget once");

    let began = Instant::now();
    let mut hints = Vec::new();
    for record in &parked {
        scene.order(record, Verb::Resume).await;
        hints.push(hint(record));
    }
    let outcomes = scene.deliver_at_once(hints).await;
    println!("resumed: {outcomes:?}, {:.0?}", began.elapsed());
    assert_eq!(outcomes, BTreeMap::from([("fixed".to_owned(), 950)]));
    let effects = scene.effects_by_bucket();
    assert_eq!(effects.len(), BUCKETS);
    assert!(effects.values().all(|count| *count == 1), "each is changed once");
    let told = scene.told().await;
    let told_fixed = told.iter().filter(|(_, outcome)| outcome == "fixed").count();
    assert_eq!((told_fixed, told.len()), (1_000, 1_001));
}

impl Scene {
    pub(crate) async fn make_bucket(&self, bucket: &str) {
        use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
        let here = CreateBucketConfiguration::builder()
            .location_constraint(BucketLocationConstraint::EuWest1)
            .build();
        let create = self.cloud.s3.create_bucket().bucket(bucket).create_bucket_configuration(here);
        create.send().await.unwrap();
    }

    /// So many as may be in flight, and one more whenever one ends. How often each outcome came.
    async fn deliver_at_once(&self, events: Vec<Value>) -> BTreeMap<String, usize> {
        let sdk = Cloud::at(&self.proxy.endpoint).sdk;
        let policies = Arc::new(PolicyCache::default());
        let queue = Arc::new(Mutex::new(VecDeque::from(events)));
        let outcomes = Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
        let mut workers = JoinSet::new();
        let here = LocalSet::new();
        for worker in 0..IN_FLIGHT {
            let aws = Clients::new(sdk.clone(), ACCOUNT);
            let (ledger, topic) = (self.stack.ledger.clone(), self.stack.topic.clone());
            let (queue, outcomes) = (Arc::clone(&queue), Arc::clone(&outcomes));
            let policies = Arc::clone(&policies);
            let work = async move {
                for delivery in 0.. {
                    let Some(event) = queue.lock().unwrap().pop_front() else { return };
                    let engine = Engine {
                        ledger: Ledger::new(&aws, ledger.as_str()),
                        topic: Some(Topic::new(&aws, topic.as_str())),
                        policies: Arc::clone(&policies),
                        acts: true,
                        // All share two cores and an AWS that takes one call at a time.
                        deadline: Instant::now() + Duration::from_secs(120),
                        margin: MARGIN,
                        delivery: format!("{worker}-{delivery}"),
                        sweeps_every: None,
                    };
                    let ended = handle::<All>(&engine, &aws, &event.to_string()).await;
                    let outcome = match ended {
                        Ok(response) => response.results[0].outcome.to_string(),
                        Err(failure) => failure.to_string(),
                    };
                    *outcomes.lock().unwrap().entry(outcome).or_default() += 1;
                }
            };
            workers.spawn_local_on(work, &here);
        }
        here.run_until(async { while workers.join_next().await.transpose().unwrap().is_some() {} })
            .await;
        let outcomes = outcomes.lock().unwrap();
        outcomes.clone()
    }

    fn effects_by_bucket(&self) -> BTreeMap<String, usize> {
        let mut effects = BTreeMap::new();
        for call in self.proxy.log().into_iter().filter(is_effect) {
            for resource in call.resources {
                *effects.entry(resource).or_default() += 1;
            }
        }
        effects
    }
}
