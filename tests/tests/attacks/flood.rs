//! One who does very much, to use up what others need or to hide among it.

use std::{
    collections::{BTreeMap, VecDeque},
    env,
    rc::Rc,
    sync::{Arc, Mutex},
    time::Instant,
};

use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use quell_controls::REGISTRY;
use quell_engine::{
    Outcome,
    ledger::Status,
    policy::{Budgets, Limits, Mode, Policy},
};
use quell_local::cloud::ACCOUNT;
use serde_json::{Value, json};
use tokio::task::LocalSet;

use crate::place::{Place, renewed, samples};

const CONTROL: &str = "s3-block-public-access";

/// As many as an embedded AWS that takes one call at a time gets through in less than a minute.
fn events() -> usize {
    env::var("QUELL_FLOOD").ok().and_then(|events| events.parse().ok()).unwrap_or(400)
}

#[tokio::test]
async fn a_flood_of_one_actor_stays_within_its_budget_and_leaves_others_theirs() {
    // The budgets of a new policy, in a window that does not end while the test runs.
    let budgets = Budgets {
        routine: Limits { window_minutes: 50_000_000, ..Limits::ROUTINE },
        critical: Limits { window_minutes: 50_000_000, ..Limits::CRITICAL },
    };
    let place =
        Rc::new(Place::under(Policy { budgets, ..Policy::by_name(Mode::Enforce, REGISTRY) }).await);
    let count = events();
    let mut queue = VecDeque::new();
    for number in 0..count {
        let bucket = format!("quell-flood-{number}");
        make(&place, &bucket).await;
        queue.push_back(event(&bucket, "mallory"));
    }
    make(&place, "quell-other").await;
    let middle = queue.len() / 2;
    queue.insert(middle, event("quell-other", "bob"));
    let critical = place.stage("ec2-quarantine", "flood").await;
    queue.insert(middle, critical.event.to_string());

    let begun = Instant::now();
    let outcomes = deliver_all(&place, queue).await;
    println!(
        "{count} events of one actor and two others: {outcomes:?}, {} calls, {:.0?}",
        place.proxy.count(|_| true),
        begun.elapsed()
    );

    let limit = usize::try_from(Limits::ROUTINE.actor).unwrap();
    let records = place.rig.ledger.newest(CONTROL, None, 10 * count).await.unwrap();
    let of = |actor: &str, status: Status| {
        let is_of = |name: &str| name == format!("user {actor}");
        records
            .iter()
            .filter(|record| record.status == status)
            .filter(|record| record.intent.actor.as_ref().is_some_and(|who| is_of(&who.principal)))
            .count()
    };
    assert_eq!(of("mallory", Status::Fixed), limit, "exactly the budget of one actor");
    assert_eq!(of("mallory", Status::Parked), count - limit, "the rest waits with its plan");
    assert_eq!(of("bob", Status::Fixed), 1, "who did one thing is served");
    assert!(!place.is_violating(&critical).await, "what is critical has a budget of its own");
    let buckets: usize =
        place.effects().iter().filter(|call| call.operation == "PutPublicAccessBlock").count();
    assert_eq!(buckets, limit + 1);

    let mut told = BTreeMap::<String, usize>::new();
    for message in place.rig.stack.published().await.unwrap() {
        let message: Value = serde_json::from_str(&message.texts["sqs"]).unwrap();
        *told.entry(message["outcome"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    println!("messages: {told:?}");
    assert_eq!(told["parked"], 1, "people hear of the budget once in its window: {told:?}");
    assert_eq!(told["fixed"], 3, "mallory's first, bob's and the critical one");
    assert!(told.values().sum::<usize>() <= 60, "{told:?}");
}

/// Calls that fail cost an attacker nothing. They cost Quell no call either.
#[tokio::test]
async fn ten_thousand_calls_that_failed_lead_to_no_call_to_aws() {
    let place = Place::begin(Mode::Enforce).await;
    let worker = place.worker();
    let (_, sample) =
        samples(CONTROL).into_iter().find(|(name, _)| name == "violating.json").unwrap();
    for number in 0..10_000 {
        let mut event = renewed(&sample);
        let code = if number % 2 == 0 { "AccessDenied" } else { "Client.DryRunOperation" };
        event["detail"]["errorCode"] = json!(code);
        let response = worker.deliver(&event.to_string()).await.unwrap();
        assert!(response.results.is_empty() && response.ignored.len() == 1, "{response:?}");
    }
    assert_eq!(place.proxy.count(|_| true), 0);
}

async fn make(place: &Place, bucket: &str) {
    let here = CreateBucketConfiguration::builder()
        .location_constraint(BucketLocationConstraint::EuWest1)
        .build();
    let create = place.rig.cloud.s3.create_bucket().bucket(bucket);
    create.create_bucket_configuration(here).send().await.unwrap();
}

fn event(bucket: &str, actor: &str) -> String {
    let (_, sample) =
        samples(CONTROL).into_iter().find(|(name, _)| name == "violating.json").unwrap();
    let mut event = renewed(&sample);
    event["detail"]["requestParameters"]["bucketName"] = json!(bucket);
    event["detail"]["resources"] = json!([{"ARN": format!("arn:aws:s3:::{bucket}")}]);
    event["detail"]["userIdentity"] = json!({
        "type": "IAMUser",
        "userName": actor,
        "arn": format!("arn:aws:iam::{ACCOUNT}:user/{actor}"),
    });
    event.to_string()
}

/// Twenty at a time. How often each outcome came.
async fn deliver_all(place: &Rc<Place>, queue: VecDeque<String>) -> BTreeMap<String, usize> {
    let queue = Arc::new(Mutex::new(queue));
    let outcomes = Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
    let here = LocalSet::new();
    for _ in 0..20 {
        let (queue, outcomes) = (Arc::clone(&queue), Arc::clone(&outcomes));
        let worker = place.worker();
        here.spawn_local(async move {
            loop {
                let Some(event) = queue.lock().unwrap().pop_front() else { return };
                let outcome = match worker.deliver(&event).await {
                    // The other controls of the bucket have nothing to do.
                    Ok(response) => {
                        let mut outcomes = response.results.iter().map(|report| report.outcome);
                        let idle = Outcome::Compliant;
                        outcomes.find(|outcome| *outcome != idle).unwrap_or(idle).to_string()
                    }
                    Err(failure) => failure.to_string(),
                };
                *outcomes.lock().unwrap().entry(outcome).or_default() += 1;
            }
        });
    }
    here.await;
    let outcomes = outcomes.lock().unwrap();
    outcomes.clone()
}
