//! How long a fix takes is a matter of round trips to AWS, one after another: the ledger is read beside the resource,
//! and written beside the second look.

use std::time::Duration;

use quell_local::{
    proxy::{Calls, Entry, Fault},
    scenario,
};

use crate::scene::{ANY_NUMBER, Scene, is_effect, outcome};

#[tokio::test]
async fn the_fix_of_an_instance_is_the_third_round_trip() {
    the_fix_is_the_third_round_trip("ec2-imdsv2").await;
}

#[tokio::test]
async fn the_fix_of_a_security_group_is_the_third_round_trip() {
    the_fix_is_the_third_round_trip("sg-open-ingress").await;
}

#[tokio::test]
async fn the_fix_of_an_acl_is_the_third_round_trip() {
    the_fix_is_the_third_round_trip("s3-public-acl").await;
}

/// What is asserted is how many calls wait for one another. What that takes is only printed: it is the machine's too.
async fn the_fix_is_the_third_round_trip(control: &str) {
    let scene = Scene::begin(6, ANY_NUMBER).await;
    let function = scene.patient(control, control);
    let mut times = Vec::new();
    for (name, delay) in [("warm", 0), ("none", 0), ("d40", 40), ("d80", 80), ("d160", 160)] {
        let staged = scenario::stage(&scene.cloud, control, name).await.unwrap();
        scene.proxy.heal();
        scene.proxy.fault(Calls::any(), Fault::Delay(Duration::from_millis(delay)));
        let attempt = function.invoke(staged.event.to_string()).await.unwrap();
        assert_eq!(outcome(&attempt, control), Some("fixed"), "{attempt:#?}");
        if name == "warm" {
            continue;
        }
        let calls: Vec<Entry> = scene
            .proxy
            .log()
            .into_iter()
            .filter(|call| call.request_id.as_ref() == Some(&attempt.request_id))
            .collect();
        let fix = calls.iter().find(|call| is_effect(call)).expect("it was fixed");
        let taken = fix.answered.unwrap() - calls[0].at;
        times.push((delay as f64, taken.as_secs_f64() * 1000.0));
        if delay > 0 {
            let waits = depth(&calls, fix);
            assert_eq!(waits, 3, "{control} at {delay} ms: {:#?}", until(&calls, fix));
        }
    }
    println!("{control}: {:.2} round trips by the clock; {times:.0?} ms", slope(&times));
}

/// How many calls had to be answered one after another until this one was, itself included.
fn depth(calls: &[Entry], call: &Entry) -> usize {
    let before = calls.iter().filter(|one| one.answered.is_some_and(|end| end <= call.at));
    1 + before.map(|one| depth(calls, one)).max().unwrap_or_default()
}

fn until(calls: &[Entry], fix: &Entry) -> Vec<String> {
    let before = calls.iter().filter(|one| one.at <= fix.at);
    before
        .map(|one| format!("{:?}–{:?} {} {}", one.at, one.answered, one.service, one.operation))
        .collect()
}

/// By least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let both: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    both / points.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>()
}
