//! The same events, many times, at the same moment, to many workers.

use std::{collections::BTreeMap, env, sync::Arc};

use quell_engine::ledger::Status;
use quell_local::{
    Function,
    scenario::{self, Staged},
};
use tokio::task::JoinSet;

use crate::scene::{ANY_NUMBER, Scene};

/// How many workers serve each control's events. S3's controls have one function: its workers get all their events.
const WORKERS: [(&[&str], usize); 4] = [
    (&["s3-public-acl", "s3-public-policy", "s3-block-public-access"], 7),
    (&["ec2-imdsv2"], 3),
    (&["sg-open-ingress"], 3),
    (&["ec2-quarantine"], 3),
];

/// New happenings come so often: only the first deliveries of one contend.
const WAVES: usize = 10;

/// Deliveries that each worker makes in a wave. Two hundred for each of them take minutes: `QUELL_STORM_DELIVERIES=20`.
const DELIVERIES: usize = 4;

#[tokio::test]
async fn sixteen_workers_with_the_same_events_fix_each_happening_once() {
    let wanted = env::var("QUELL_STORM_DELIVERIES").ok();
    let per_wave = wanted.and_then(|wanted| wanted.parse().ok()).unwrap_or(DELIVERIES);
    let scene = Scene::begin(16, ANY_NUMBER).await;
    let mut workers: Vec<(&[&str], Arc<Function>)> = Vec::new();
    for (controls, count) in WORKERS {
        for number in 0..count {
            // Sixteen at an AWS that takes one call at a time: a second for a call is too little, and nobody dies here.
            let function = scene.patient(controls[0], &format!("{} {number}", controls[0]));
            workers.push((controls, Arc::new(function.paced(0.005))));
        }
    }
    assert_eq!(workers.len(), 16);

    let mut all = Vec::new();
    let mut outcomes = BTreeMap::<String, usize>::new();
    for wave in 0..WAVES {
        let mut happenings = Vec::new();
        for (controls, _) in WORKERS {
            for control in controls {
                let name = format!("wave{wave}");
                happenings.push(scenario::stage(&scene.cloud, control, &name).await.unwrap());
            }
        }
        let mut deliveries = JoinSet::new();
        for (number, (controls, function)) in workers.iter().enumerate() {
            let events: Vec<String> = happenings
                .iter()
                .filter(|staged| controls.contains(&staged.control))
                .map(|staged| staged.event.to_string())
                .collect();
            let function = Arc::clone(function);
            deliveries.spawn(async move {
                let mut said = Vec::new();
                for delivery in 0..per_wave {
                    // Not all begin with the same.
                    let event = &events[(number + delivery) % events.len()];
                    let invocation = function.invoke_async(event.clone()).await.unwrap();
                    said.push(match invocation.response() {
                        Some(response) => response["results"].clone(),
                        None => invocation.attempts.last().unwrap().answer.error_kind().into(),
                    });
                }
                said
            });
        }
        for said in deliveries.join_all().await.into_iter().flatten() {
            for result in said.as_array().unwrap_or(&vec![said.clone()]) {
                let outcome = result["outcome"].as_str().or(result.as_str()).unwrap_or("?");
                *outcomes.entry(outcome.to_owned()).or_default() += 1;
            }
        }
        all.extend(happenings);
    }
    println!(
        "{} happenings, {} deliveries, {} calls; {outcomes:?}",
        all.len(),
        WAVES * per_wave * workers.len(),
        scene.proxy.count(|_| true)
    );

    let mut told = Vec::new();
    for staged in &all {
        scene.recover(&workers_of(&workers, staged), staged).await;
        assert!(!scene.is_violating(staged).await, "{staged:?}");
        let record = scene.story(staged).await;
        for record in scene.records(staged).await {
            assert!(
                matches!(record.status, Status::Fixed | Status::Superseded),
                "{}: {}",
                staged.resource,
                record.status.name()
            );
        }
        if staged.control != "ec2-quarantine" {
            let effects = scene.effects(&staged.resource);
            assert_eq!(effects.len(), 1, "one effect: {effects:#?}");
        }
        told.push((record.id, "fixed".to_owned()));
    }
    told.sort();
    assert_eq!(scene.told().await, told, "people hear of each happening once");
}

fn workers_of(workers: &[(&[&str], Arc<Function>)], staged: &Staged) -> Arc<Function> {
    let (_, function) =
        workers.iter().find(|(controls, _)| controls.contains(&staged.control)).unwrap();
    Arc::clone(function)
}
