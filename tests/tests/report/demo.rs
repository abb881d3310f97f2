//! A month in the ledger of a company that does not exist.

use fastrand::Rng;
use jiff::{Timestamp, ToSpan as _};
use quell_engine::ledger::{Exemption, Ledger, Record, Status};
use quell_tests::{
    attack::one,
    records::{Differing as _, put, record},
};

use super::exemption;

const PRODUCTION: &str = "123456789012";
const STAGING: &str = "210987654321";
const SANDBOX: &str = "345678901234";

const PEOPLE: [&str; 6] = [
    "SSO user maria.keller@example.com",
    "SSO user tom.okafor@example.com",
    "SSO user li.wei@example.com",
    "user build-agent",
    "role data-platform (session airflow)",
    "role DeveloperAccess (session j.martin)",
];

const BUCKETS: [&str; 14] = [
    "customer-exports",
    "press-images",
    "invoice-archive",
    "site-assets",
    "ml-training",
    "partner-feed",
    "app-downloads",
    "analytics-raw",
    "hr-documents",
    "orders-backup",
    "mobile-logs",
    "docs-preview",
    "sensor-data",
    "returns",
];
const SUFFIXES: [&str; 10] =
    ["eu", "us", "dev", "2025", "2026", "staging", "old", "tmp", "public", "v2"];

/// Fills the ledger: the same for the same time.
pub(crate) async fn fill(ledger: &Ledger) {
    let now = Timestamp::now();
    for record in records(now) {
        put(ledger, record).await;
    }
    for exemption in exemptions() {
        ledger.grant(&exemption).await.unwrap();
    }
}

fn records(now: Timestamp) -> Vec<Record> {
    let mut rng = Rng::with_seed(7);
    let at = |days: f64| now - ((days * 86_400.0) as i64).seconds();
    let mut all = Vec::new();
    let kinds = [
        ("s3-public-acl", 42),
        ("s3-public-policy", 21),
        ("s3-block-public-access", 17),
        ("sg-open-ingress", 38),
        ("ec2-imdsv2", 26),
        ("cloudtrail-logging", 4),
    ];
    for (control, count) in kinds {
        for n in 0..count {
            let name = match control {
                "sg-open-ingress" => format!("sg-0{:016x}", rng.u64(..)),
                "ec2-imdsv2" => format!("i-0{:016x}", rng.u64(..)),
                "cloudtrail-logging" => {
                    format!("{}-trail", ["org", "payments", "audit", "data"][n])
                }
                _ => format!("{}-{}", one(&mut rng, &BUCKETS), one(&mut rng, &SUFFIXES)),
            };
            let status = match rng.u8(..100) {
                0..82 => Status::Fixed,
                82..90 => Status::Observed,
                90..93 => Status::Exempt,
                93..95 => Status::Denied,
                95..97 => Status::Refused,
                _ => Status::Undone,
            };
            let account =
                *one(&mut rng, &[PRODUCTION, STAGING, STAGING, SANDBOX, SANDBOX, SANDBOX]);
            let by = match rng.u8(..3) {
                0 => format!("role ci-deploy (session build-{})", 4000 + rng.u16(..40)),
                _ => (*one(&mut rng, &PEOPLE)).to_owned(),
            };
            let made = record(control, &name, at(rng.f64() * 29.5), status);
            let made = made.by(&by).in_account(account);
            all.push(match status {
                Status::Fixed | Status::Undone => made.fixed_after(latency(&mut rng)),
                _ => made,
            });
        }
    }
    let terraform = "role ci-deploy (session terraform)";
    for days in [24.0, 17.1, 16.9, 10.2, 3.1] {
        let fix = record("sg-open-ingress", "sg-0b7d18e5c42f9a36e", at(days), Status::Fixed);
        all.push(fix.fixed_after(31 + days as i64).by(terraform).in_account(STAGING));
    }
    let fight = record("sg-open-ingress", "sg-0b7d18e5c42f9a36e", at(2.9), Status::Parked);
    all.push(fight.by(terraform).in_account(STAGING).because(
        "Quell fixed this 3 times within a day, and it is broken again with Terraform/1.9.2",
    ));
    for days in [12.0, 8.4, 4.2] {
        let fix = record("s3-block-public-access", "site-preview", at(days), Status::Fixed);
        all.push(fix.fixed_after(55).by(PEOPLE[1]).in_account(SANDBOX));
    }
    let denied = record("s3-public-policy", "data-lake-curated", at(0.4), Status::Failed);
    all.push(denied.by(PEOPLE[4]).because(
        "s3:PutBucketPolicy: access denied by a service control policy of the organisation",
    ));
    let half = record("ec2-quarantine", "i-02d86b9f4e7a1c530", at(0.15), Status::Partial);
    all.push(half.without_actor().because("a snapshot of vol-0e6c1 was not made: quota exceeded"));
    for (days, left, name, by) in
        [(0.2, 19, "vendor-dropbox", PEOPLE[0]), (0.7, 7, "quarterly-results", PEOPLE[2])]
    {
        let pending = record("s3-public-policy", name, at(days), Status::Pending);
        all.push(pending.expiring(now + left.hours()).by(by));
    }
    let quarantined = record("ec2-quarantine", "i-0a9d3e5f7b1c24680", at(11.3), Status::Fixed);
    all.push(quarantined.fixed_after(412).without_actor());
    all
}

/// Most are fixed within a minute; some wait for a person.
fn latency(rng: &mut Rng) -> i64 {
    match rng.u8(..100) {
        0..12 => rng.i64(3..15),
        12..48 => rng.i64(15..30),
        48..80 => rng.i64(30..60),
        80..92 => rng.i64(60..300),
        92..96 => rng.i64(300..900),
        96..98 => rng.i64(1_200..3_400),
        _ => rng.i64(4_000..40_000),
    }
}

fn exemptions() -> Vec<Exemption> {
    [
        ("press-images", 3, "the press kit is public on purpose", "press team", "maria.keller"),
        (
            "status-page-assets",
            21,
            "served by the status page until it moves to CloudFront",
            "platform",
            "tom.okafor",
        ),
        ("open-data-mirror", 64, "a public data set, reviewed by legal", "research", "li.wei"),
        ("campaign-spring", -2, "spring campaign", "marketing", "maria.keller"),
    ]
    .map(|(resource, days, reason, owner, person)| Exemption {
        reason: reason.to_owned(),
        owner: owner.to_owned(),
        person: person.to_owned(),
        ..exemption(resource, days)
    })
    .into()
}
