//! Snapshots and images are shared with those whom the policy trusts, and settings that keep them from being made public are
//! put back as they were.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use aws_sdk_ec2::types::SnapshotBlockPublicAccessState as Blocked;
use quell_controls::{
    REGISTRY,
    ebs::{
        public_snapshot::PublicSnapshot, shared_snapshot::SharedSnapshot,
        snapshot_block_public_access::SnapshotBlockPublicAccess,
    },
};
use quell_engine::{
    Mode, Outcome,
    evaluate::Engine,
    ledger::Found,
    policy::{Policy, Trusted},
    report::Report,
    serve::{Controls, handle},
};
use quell_local::{
    cloud::{ACCOUNT, REGION},
    scenario::{self, Staged},
};
use quell_tests::rig::{Rig, again, own};
use serde_json::{Value, json};

#[tokio::test]
async fn an_organisation_that_the_policy_trusts_keeps_the_image_and_an_unknown_account_does_not() {
    let rig = Rig::start().await;
    let trusted = Trusted { organisations: vec!["o-a1b2c3d4e5".to_owned()], ..Trusted::NOBODY };
    publish(&rig, trusted).await;
    let staged = scenario::stage(&rig.cloud, "ami-shared-image", "trusted").await.unwrap();

    let report = delivered(&rig, &staged, &staged.event).await;

    assert_eq!(report.outcome, Outcome::Fixed, "{report:#?}");
    assert_eq!(report.changes.len(), 1);
    assert_eq!(report.changes[0].minus, ["shared with account 111122223333"]);
    let left = scenario::snapshot(&rig.cloud, &staged).await.unwrap();
    assert_eq!(
        left["sharedWith"],
        json!([
            ACCOUNT,
            "arn:aws:organizations::111122223333:organization/o-a1b2c3d4e5",
            "arn:aws:organizations::111122223333:ou/o-a1b2c3d4e5/ou-ab12-cdefghij",
        ])
    );
    let later = delivered(&rig, &staged, &again(&staged.event, "77")).await;
    assert_eq!(later.outcome, Outcome::Compliant);
}

#[tokio::test]
async fn an_account_that_the_policy_trusts_keeps_the_snapshot() {
    let rig = Rig::start().await;
    let trusted = Trusted { accounts: vec!["111122223333".to_owned()], ..Trusted::NOBODY };
    publish(&rig, trusted).await;
    let staged = scenario::stage(&rig.cloud, "ebs-shared-snapshot", "trusted").await.unwrap();
    let before = scenario::snapshot(&rig.cloud, &staged).await.unwrap();
    let report = delivered(&rig, &staged, &staged.event).await;
    assert_eq!(report.outcome, Outcome::Compliant, "{report:#?}");
    assert_eq!(scenario::snapshot(&rig.cloud, &staged).await.unwrap(), before);
}

#[tokio::test]
async fn undo_says_that_aws_lets_nothing_become_public_while_that_is_blocked() {
    let rig = Rig::start().await;
    for (control, name) in [("ebs-public-snapshot", "disk"), ("ami-public-image", "image")] {
        let staged = scenario::stage(&rig.cloud, control, name).await.unwrap();
        let report = rig.evaluate(Mode::Enforce, &staged).await;
        let fixed = scenario::snapshot(&rig.cloud, &staged).await.unwrap();
        let blocked =
            format!("{}-block-public-access", if name == "disk" { "ebs-snapshot" } else { "ami" });
        let setting = scenario::stage(&rig.cloud, &blocked, "blocked").await.unwrap();
        rig.evaluate(Mode::Enforce, &setting).await;

        let undone = rig.undo(&report.record.unwrap()).await;

        assert_eq!(undone.outcome, Outcome::Failed, "{undone:#?}");
        assert!(undone.reason.unwrap().contains("block public access is enabled"));
        assert_eq!(scenario::snapshot(&rig.cloud, &staged).await.unwrap(), fixed);
    }
}

#[tokio::test]
async fn the_sweep_looks_at_the_own_snapshots_alone_and_for_public_ones_at_no_other() {
    let rig = Rig::start().await;
    publish(&rig, Trusted::NOBODY).await;
    // The policy named the controls before.
    let _ = swept::<(PublicSnapshot, SharedSnapshot)>(&rig).await;
    let public = scenario::stage(&rig.cloud, "ebs-public-snapshot", "swept").await.unwrap();
    let shared = scenario::stage(&rig.cloud, "ebs-shared-snapshot", "swept").await.unwrap();

    let found = swept::<(PublicSnapshot, SharedSnapshot)>(&rig).await;

    assert_eq!(
        found("ebs-public-snapshot"),
        Found { resources: 1, violating: 1, ..Found::default() }
    );
    assert_eq!(
        found("ebs-shared-snapshot"),
        Found { resources: 2, compliant: 1, violating: 1, ..Found::default() }
    );
    for staged in [&public, &shared] {
        assert!(!scenario::is_violating(&rig.cloud, staged).await.unwrap());
    }
}

#[tokio::test]
async fn snapshots_are_hidden_again_where_a_sweep_saw_them_hidden() {
    let rig = Rig::start().await;
    publish(&rig, Trusted::NOBODY).await;
    let all = rig.cloud.ec2.enable_snapshot_block_public_access().state(Blocked::BlockAllSharing);
    all.send().await.unwrap();
    let _ = swept::<(SnapshotBlockPublicAccess,)>(&rig).await;

    let control = "ebs-snapshot-block-public-access";
    let staged = scenario::stage(&rig.cloud, control, "weakened").await.unwrap();
    // Events tell the time to the second, and this one comes later.
    let mut event = staged.event.clone();
    for time in ["/time", "/detail/eventTime"] {
        *event.pointer_mut(time).unwrap() = json!("2031-01-01T00:00:00Z");
    }
    let report = delivered(&rig, &staged, &event).await;

    assert_eq!(report.outcome, Outcome::Fixed, "{report:#?}");
    let now = scenario::snapshot(&rig.cloud, &staged).await.unwrap();
    assert_eq!(now, json!({"state": "block-all-sharing"}));
    let undone = rig.undo(&report.record.unwrap()).await;
    assert_eq!(undone.outcome, Outcome::Undone);
    assert!(scenario::is_violating(&rig.cloud, &staged).await.unwrap());
}

async fn publish(rig: &Rig, trusted: Trusted) {
    let policy = Policy { trusted, ..Policy::by_name(Mode::Enforce, REGISTRY) };
    rig.stack.apply_policy(&policy).await.unwrap();
}

async fn delivered(rig: &Rig, staged: &Staged, event: &Value) -> Report {
    let engine = rig.engine_under_policy();
    let ended = handle::<quell_controls::All>(&engine, &rig.aws, &event.to_string()).await;
    own(ended.unwrap().results, staged)
}

/// What a sweep found, by control.
async fn swept<S: Controls>(rig: &Rig) -> impl Fn(&str) -> Found {
    let schedule = json!({
        "version": "0", "id": format!("{:032x}", fastrand::u128(..)),
        "source": "aws.events", "detail-type": "Scheduled Event",
        "account": ACCOUNT, "region": REGION, "time": "2026-11-23T12:00:00Z",
        "resources": [format!("arn:aws:events:{REGION}:{ACCOUNT}:rule/quell-ImageExposureSweep-1A2B")],
        "detail": {},
    });
    for _ in 0..20 {
        let engine = Engine { sweeps_every: Some(Duration::ZERO), ..rig.engine_under_policy() };
        let ended = handle::<S>(&engine, &rig.aws, &schedule.to_string()).await.unwrap();
        let swept = ended.swept.expect("it is due");
        if swept.finished {
            return move |control: &str| swept.found.get(control).copied().unwrap_or_default();
        }
    }
    panic!("it comes to no end");
}
