//! Two controls on one resource, in many interleavings: each does its own work and leaves the other's alone.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fastrand::Rng;
use quell_engine::ledger::{Record, Status, Verb};
use quell_local::{
    Function,
    proxy::{Calls, Fault},
    scenario::{self, Staged},
};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

use crate::scene::{ANY_NUMBER, DEADLINE, Scene, hint, manual, outcome};

/// So many are under way at the same time.
const AT_ONCE: usize = 4;

#[tokio::test]
async fn an_acl_and_a_policy_of_one_bucket_are_each_put_right() {
    in_many_interleavings("s3-public-acl", "s3-public-policy", 80).await;
}

/// The switches that one sets decide whether the other has anything to do.
#[tokio::test]
async fn an_acl_and_the_switches_of_one_bucket_are_each_put_right() {
    in_many_interleavings("s3-public-acl", "s3-block-public-access", 80).await;
}

#[tokio::test]
async fn the_metadata_and_the_network_of_one_instance_are_each_put_right() {
    in_many_interleavings("ec2-quarantine", "ec2-imdsv2", 40).await;
}

async fn in_many_interleavings(first: &'static str, second: &'static str, count: u64) {
    let scene = Scene::begin(200, ANY_NUMBER).await;
    // Calls are slow at random, so that no two runs interleave alike.
    for (probability, delay) in [(0.3, 12), (0.15, 35), (0.05, 120)] {
        let delay = Fault::Delay(Duration::from_millis(delay));
        scene.proxy.fault(Calls::any().with_probability(probability), delay);
    }
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut runs = JoinSet::new();
    for seed in 0..count {
        let (scene, turns) = (Arc::clone(&scene), Arc::clone(&turns));
        runs.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            let pair = Pair::stage(&scene, first, second, seed).await;
            pair.is_put_right_and_back(&scene, &mut Rng::with_seed(seed)).await
        });
    }
    let mut ends = BTreeMap::<String, usize>::new();
    while let Some(end) = runs.join_next().await {
        *ends.entry(end.unwrap()).or_default() += 1;
    }
    println!("{first} and {second}: {} calls; {ends:#?}", scene.proxy.count(|_| true));
}

/// One resource that violates two controls.
struct Pair {
    controls: [Staged; 2],
    functions: [Function; 2],
    before: [Value; 2],
}

impl Pair {
    async fn stage(scene: &Scene, first: &'static str, second: &'static str, seed: u64) -> Self {
        let one = scenario::stage(&scene.cloud, first, &format!("pair{seed}")).await.unwrap();
        let resource = one.resource.clone();
        match second {
            "s3-public-policy" => {
                let open = json!({
                    "Version": "2012-10-17",
                    "Statement": [
                        {"Sid": "Open", "Effect": "Allow", "Principal": "*",
                         "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{resource}/*")},
                    ],
                });
                let put = scene.cloud.s3.put_bucket_policy().bucket(&resource);
                put.policy(open.to_string()).send().await.unwrap();
            }
            // Instances answer to IMDSv1, and buckets have no switches, unless somebody says so.
            "ec2-imdsv2" | "s3-block-public-access" => {}
            other => panic!("nothing makes a resource violate {other} too"),
        }
        let other = Staged { control: second, event: manual(second, &resource), resource };
        let functions = [&one, &other].map(|staged| {
            let name = format!("{} {seed}", staged.control);
            // One lock for the resource: who comes second waits for the other's work.
            let patience =
                if first == "ec2-quarantine" { Duration::from_secs(60) } else { DEADLINE * 4 };
            scene.function_within(staged.control, &name, patience).paced(0.02)
        });
        let before = [scene.snapshot(&one).await, scene.snapshot(&other).await];
        let controls = [one, other];
        for staged in &controls {
            assert!(scene.is_violating(staged).await, "{staged:?}");
        }
        Self { controls, functions, before }
    }

    async fn is_put_right_and_back(&self, scene: &Scene, random: &mut Rng) -> String {
        let mut offset = || Duration::from_millis(random.u64(..120));
        let [one, other] = [offset(), offset()];
        let (one, other) = tokio::join!(self.deliver(0, one), self.deliver(1, other));
        let mut records = Vec::new();
        for (which, staged) in self.controls.iter().enumerate() {
            scene.recover(&self.functions[which], staged).await;
            let all = scene.records(staged).await;
            records.extend(all.into_iter().filter(|one| one.status == Status::Fixed));
        }
        self.is_right(scene, &records).await;
        let order = self.undo(scene, records, random).await;
        for (which, staged) in self.controls.iter().enumerate() {
            assert_eq!(scene.snapshot(staged).await, self.before[which], "{}", staged.resource);
        }
        format!("{one}, {other}; undone: {order}")
    }

    async fn deliver(&self, which: usize, after: Duration) -> String {
        sleep(after).await;
        let event = self.controls[which].event.to_string();
        let ended = self.functions[which].invoke_async(event).await.unwrap();
        assert!(ended.response().is_some(), "{:#?}", ended.attempts);
        let last = ended.attempts.last().unwrap();
        outcome(last, self.controls[which].control).unwrap_or("?").to_owned()
    }

    async fn is_right(&self, scene: &Scene, records: &[Record]) {
        let resource = &self.controls[0].resource;
        let has =
            |control: &str| records.iter().filter(|one| one.intent.control == control).count();
        for staged in &self.controls {
            // Public grants that the switches make void are no violation, and stay as they are.
            let is_void = staged.control == "s3-public-acl"
                && self.controls[1].control == "s3-block-public-access";
            assert!(has(staged.control) <= 1, "{resource} is fixed once");
            if has(staged.control) == 0 {
                assert!(is_void, "{resource} is fixed under {}", staged.control);
            } else {
                assert!(!scene.is_violating(staged).await, "{resource}: {}", staged.control);
            }
        }
        assert!(!scene.is_locked(&records[0]).await, "{resource} is free");
        let effects = scene.effects(resource);
        if self.controls[0].control != "ec2-quarantine" {
            assert_eq!(effects.len(), records.len(), "{effects:#?}");
        }
    }

    /// In random order. What the other changed since is not overwritten: then it is said so, and the other comes first.
    async fn undo(&self, scene: &Scene, mut records: Vec<Record>, random: &mut Rng) -> String {
        random.shuffle(&mut records);
        let mut order = Vec::new();
        for record in &records {
            scene.order(record, Verb::Undo).await;
        }
        for _ in 0..2 {
            let mut left = Vec::new();
            for record in records {
                let control = record.intent.control.as_str();
                let which = self.controls.iter().position(|one| one.control == control).unwrap();
                let attempt =
                    self.functions[which].invoke(hint(&record).to_string()).await.unwrap();
                match outcome(&attempt, control) {
                    Some("undone") => order.push(control.to_owned()),
                    Some("refused") => {
                        let said = format!("{:?}", attempt.answer);
                        assert!(said.contains("was changed since"), "{said}");
                        order.push(format!("not {control}"));
                        left.push(record);
                    }
                    _ => panic!("{attempt:#?}"),
                }
            }
            records = left;
        }
        assert!(records.is_empty(), "{order:?}");
        order.join(", ")
    }
}
