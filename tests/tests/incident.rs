//! What one actor did within hours is shown as one: `quell incident`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use jiff::{Timestamp, ToSpan as _};
use proptest::prelude::*;
use quell_engine::{
    Actor,
    incident::linked,
    ledger::{Record, Status},
    signal::key_digest,
};
use quell_tests::{
    command::{quell, text},
    records::{put, record},
    rig::Rig,
};
use serde_json::Value;

const KEY: &str = "AKIAQUELLSAMPLE00001";

/// So many minutes after the first.
fn at(minutes: i64, key: &str, arn: &str, address: &str) -> Record {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let created = Timestamp::now() - 10.hours() + minutes.minutes();
    let mut record =
        record("s3-public-acl", &format!("photos-{minutes}"), created, Status::Observed);
    record.id = format!("{minutes:020}");
    record.intent.event_time = Some(created);
    record.intent.actor = Some(Actor {
        principal: "user mallory".to_owned(),
        arn: some(arn),
        source_ip: some(address),
        key: some(key),
        ..Actor::default()
    });
    record
}

fn minutes_of(records: Vec<Record>, seed: i64) -> Vec<i64> {
    let seed = format!("{seed:020}");
    let linked = linked(records, |record| record.id == seed);
    linked.iter().map(|record| record.id.parse().unwrap()).collect()
}

#[test]
fn key_session_and_address_link_one_after_the_other() {
    let records = vec![
        at(0, "k1", "arn:a", "203.0.113.1"),
        // The same key from elsewhere; the same address as somebody else; somebody else's session.
        at(30, "k1", "arn:a", "203.0.113.2"),
        at(80, "k2", "arn:b", "203.0.113.2"),
        at(100, "k3", "arn:b", "203.0.113.3"),
        at(40, "k4", "arn:c", "203.0.113.4"),
    ];
    for seed in [0, 30, 80, 100] {
        assert_eq!(minutes_of(records.clone(), seed), [0, 30, 80, 100]);
    }
    assert_eq!(minutes_of(records, 40), [40]);
}

#[test]
fn an_hour_of_silence_ends_an_incident() {
    let records = vec![at(0, "k", "", ""), at(59, "k", "", ""), at(121, "k", "", "")];
    assert_eq!(minutes_of(records.clone(), 0), [0, 59]);
    assert_eq!(minutes_of(records, 121), [121]);
}

#[test]
fn services_and_what_is_no_address_link_nothing() {
    let mut one = at(0, "", "", "cloudformation.amazonaws.com");
    let mut other = at(1, "", "", "cloudformation.amazonaws.com");
    assert_eq!(minutes_of(vec![one.clone(), other.clone()], 0), [0]);
    for record in [&mut one, &mut other] {
        let actor = record.intent.actor.as_mut().unwrap();
        actor.principal = "service autoscaling.amazonaws.com".to_owned();
        actor.arn = Some("arn:a".to_owned());
    }
    assert_eq!(minutes_of(vec![one, other], 0), [0]);
}

proptest! {
    /// Whichever record one begins with, the same belong together.
    #[test]
    fn links_go_both_ways(
        actors in proptest::collection::vec((0..300i64, 0..4u8, 0..4u8), 1..12),
        seed in any::<prop::sample::Index>(),
    ) {
        let mut records: Vec<Record> = Vec::new();
        for (minutes, key, session) in actors {
            if records.iter().all(|record| record.id != format!("{minutes:020}")) {
                records.push(at(minutes, &format!("k{key}"), &format!("arn:{session}"), ""));
            }
        }
        let seed: i64 = seed.get(&records).id.parse().unwrap();
        let all = minutes_of(records.clone(), seed);
        prop_assert!(all.contains(&seed));
        for other in &all {
            prop_assert_eq!(&minutes_of(records.clone(), *other), &all);
        }
    }
}

#[tokio::test]
async fn what_an_actor_did_is_shown_across_controls_in_its_order() {
    let rig = Rig::start().await;
    let key = key_digest(KEY);
    let mut all = vec![
        at(0, &key, "arn:a", "203.0.113.1"),
        at(20, &key, "arn:a", "203.0.113.1"),
        at(40, "", "arn:b", "203.0.113.1"),
        at(30, "", "arn:c", "203.0.113.9"),
        // The same key, long after.
        at(400, &key, "arn:a", "203.0.113.7"),
    ];
    all[1].intent.control = "iam-admin-policy".to_owned();
    all[2].intent.control = "cloudtrail-logging".to_owned();
    for record in &all {
        put(&rig.ledger, record.clone()).await;
    }
    let environment = rig.stack.environment("observe");
    let shown = |of: &str| {
        let shown = quell(&["incident", of, "--json"], &environment);
        assert!(shown.status.success(), "{of}: {}", text(&shown.stderr));
        let found: Value = serde_json::from_slice(&shown.stdout).unwrap();
        let records = found["records"].as_array().unwrap().clone();
        records.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let ids = |places: &[usize]| places.iter().map(|&at| all[at].id.clone()).collect::<Vec<_>>();
    for of in [all[1].id.as_str(), all[2].id.as_str(), "arn:b", "203.0.113.1"] {
        assert_eq!(shown(of), ids(&[0, 1, 2]), "{of}");
    }
    assert_eq!(shown(KEY), ids(&[4]), "of an actor the newest");

    let words = quell(&["incident", &all[0].id], &environment);
    let words = text(&words.stdout);
    assert!(words.starts_with("3 records in 40m, from "), "{words}");
    let order: Vec<_> = ["s3-public-acl", "iam-admin-policy", "cloudtrail-logging"]
        .map(|control| words.find(control).unwrap())
        .into();
    assert!(order.is_sorted(), "{words}");
    assert!(!words.contains(KEY));

    let nobody = quell(&["incident", "user alice"], &environment);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(text(&nobody.stderr).contains("no record is of `user alice`"));
    let none = quell(&["incident", "00000000000000000099"], &environment);
    assert_eq!(none.status.code(), Some(3), "{}", text(&none.stderr));
}
