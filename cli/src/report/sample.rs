//! Records for the tests of reports.

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use quell_engine::{
    Severity,
    ledger::{Exemption, Record, Status, record_id},
};
use quell_tests::{
    attack::{hostile, one},
    records::{self, ACCOUNT, Differing as _, REGION},
};

use super::{model::Model, tally::Tally};

/// When every report of these tests is made.
pub(super) fn now() -> Timestamp {
    "2026-03-31T12:00:00Z".parse().unwrap()
}

pub(super) fn since() -> Timestamp {
    now() - (30 * 24).hours()
}

/// A report with something in each of its parts.
pub(super) fn model() -> Model {
    let ssh = "sg-open-ingress";
    let role = "role deploy (session ci-7)";
    let records = [
        record("s3-public-acl", "photos-2024", 600, Status::Fixed).fixed_after(41),
        record("s3-public-acl", "photos-2023", 500, Status::Fixed).fixed_after(12).by(role),
        record("s3-public-acl", "press-kit", 400, Status::Exempt),
        record("s3-public-acl", "billing", 300, Status::Undone).fixed_after(30),
        record("s3-public-acl", "billing", 299, Status::Undone).undoing("billing"),
        record("s3-public-policy", "reports", 200, Status::Superseded),
        record("s3-public-policy", "reports", 200, Status::Pending)
            .expiring(now() + 20.hours())
            .by(role),
        record("s3-public-policy", "late", 60, Status::Pending).expiring(now() - 1.hour()),
        record(ssh, "sg-0a1b2c3d4e5f60718", 100, Status::Fixed).fixed_after(5).by(role),
        record(ssh, "sg-0a1b2c3d4e5f60718", 90, Status::Fixed).fixed_after(6).by(role),
        record(ssh, "sg-0a1b2c3d4e5f60718", 80, Status::Fixed).fixed_after(700).by(role),
        record(ssh, "sg-0a1b2c3d4e5f60718", 70, Status::Parked)
            .by("role deploy (session ci-8)")
            .because("Quell fixed this 3 times within a day, and it is broken again"),
        record(ssh, "sg-1", 50, Status::Failed).because("ec2: access denied"),
        record(ssh, "sg-1", 40, Status::Fixed).fixed_after(5),
        record(ssh, "\"><img src=x onerror=alert(1)>`|\u{202e}", 30, Status::Partial)
            .by("<script>alert(1)</script>")
            .in_account("210987654321"),
        record("ec2-quarantine", "i-0123456789abcdef0", 20, Status::Observed).without_actor(),
        record("ec2-imdsv2", "i-0123456789abcdef1", 10, Status::Fixed).timeless(),
        record("ec2-imdsv2", "i-0123456789abcdef2", 9, Status::Failed).undoing("imds"),
        record("ec2-imdsv2", "i-0123456789abcdef3", 8, Status::Refused),
        record("ec2-imdsv2", "i-0123456789abcdef4", 7, Status::Denied),
    ];
    let mut tally = Tally::new(since(), now());
    for record in &records {
        tally.add(record);
    }
    tally.unreadable(1);
    tally.finish(vec![exemption("press-kit", 12), exemption("old-site", -2)], ACCOUNT, REGION)
}

/// Without a record or exemption.
pub(super) fn nothing() -> Model {
    Tally::new(since(), now()).finish(Vec::new(), ACCOUNT, REGION)
}

/// A record of so many hours ago.
pub(super) fn record(control: &str, resource: &str, hours: i64, status: Status) -> Record {
    records::record(control, resource, now() - hours.hours(), status)
}

/// An exemption that ends in so many days.
pub(super) fn exemption(resource: &str, days: i64) -> Exemption {
    let expires = now() + SignedDuration::from_hours(24 * days);
    Exemption {
        control: "s3-public-acl".to_owned(),
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        arn: format!("arn:aws:s3:::{resource}"),
        resource: resource.to_owned(),
        unique_id: "1".to_owned(),
        severity: Severity::High,
        reason: "the press kit is public on purpose".to_owned(),
        owner: "press team".to_owned(),
        by: "arn:aws:iam::123456789012:user/bob".to_owned(),
        person: "bob".to_owned(),
        granted: expires - SignedDuration::from_hours(24 * 30),
        expires,
        undo_of: None,
        told_expiring: None,
        told_unused: (days < 0).then(now),
        used: false,
    }
}

/// Any record at all, of few resources and principals, so that they meet.
pub(super) fn any(rng: &mut Rng) -> Record {
    let controls = ["s3-public-acl", "sg-open-ingress", "ec2-quarantine"];
    let control = *one(rng, &controls);
    let name = if rng.u8(..) < 20 { hostile(rng) } else { format!("thing-{}", rng.u8(..4)) };
    let status = *one(rng, &Status::ALL);
    let mut record = record(control, &name, rng.i64(-2..700), status);
    // No two are the same record.
    record.id = record_id(&[&rng.u64(..).to_string()]);
    if rng.u8(..) < 60 {
        record = record.fixed_after(rng.i64(-100..100_000));
    }
    record = match rng.u8(..5) {
        0 => record.without_actor(),
        1 => record.by(&format!("role deploy (session {})", rng.u8(..5))),
        2 => record.by(&hostile(rng)),
        _ => record,
    };
    if rng.u8(..) < 40 {
        record = record.undoing("another");
    }
    if rng.bool() {
        record = record.expiring(now() + rng.i64(-24..24).hours());
    }
    if rng.u8(..) < 30 {
        record = record.timeless();
    }
    if rng.bool() { record.in_account("210987654321") } else { record }
}
