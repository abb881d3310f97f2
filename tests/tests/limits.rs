//! What keeps Quell from doing too much, or from doing anything at all without knowing enough.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fmt};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{Timestamp, ToSpan as _};
use quell_controls::{All, REGISTRY};
use quell_engine::{
    Actor, CallError, Clients, Control, Description, Effect, Meta, Mode, Outcome, Plan, Progress,
    Safety, Severity, Signal, Trigger,
    control::TargetError,
    ledger::{Halt, LARGEST, Order, Status, Verb},
    policy::Policy,
    serve::handle,
};
use quell_local::{
    cloud::ACCOUNT,
    scenario::{self, Staged},
};
use quell_tests::rig::{Rig, again, leaving_keys_unread, own};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[tokio::test]
async fn whoever_breaks_it_again_and_again_is_left_to_a_person_and_named() {
    let rig = Rig::start().await;
    let staged = scenario::stage(&rig.cloud, "sg-open-ingress", "fight").await.unwrap();
    let terraform = "APN/1.0 HashiCorp/1.0 Terraform/1.9.2 aws-sdk-go-v2/1.0";
    let mut outcomes = Vec::new();
    for round in 10..15 {
        let mut event = again(&staged.event, &round.to_string());
        event["detail"]["userAgent"] = json!(terraform);
        open_ssh(&rig, &staged).await;
        let response = rig.deliver(Mode::Enforce, &event).await.unwrap();
        outcomes.push(own(response.results, &staged));
    }
    let words: Vec<_> = outcomes.iter().map(|report| report.outcome).collect();
    let (fixed, parked) = (Outcome::Fixed, Outcome::Parked);
    assert_eq!(words, [fixed, fixed, fixed, parked, parked]);
    let reason = outcomes[3].reason.as_deref().unwrap();
    assert!(reason.contains("3 times"), "{reason}");
    assert!(reason.contains("with Terraform/1.9.2"), "{reason}");
    let told = rig.stack.messages().await.unwrap();
    let parked = told.iter().filter(|message| message.attributes["outcome"] == "parked");
    assert_eq!(parked.count(), 1, "people are told once");
}

#[tokio::test]
async fn an_order_reaches_no_further_than_the_policy_of_now() {
    let rig = Rig::start().await;
    let cases = [
        (Mode::Approve, Verb::Approve, Mode::Observe, Outcome::Refused),
        (Mode::Approve, Verb::Approve, Mode::Off, Outcome::Refused),
        (Mode::Approve, Verb::Approve, Mode::Approve, Outcome::Fixed),
        (Mode::Enforce, Verb::Resume, Mode::Observe, Outcome::Refused),
        // Whoever resumes does not approve.
        (Mode::Enforce, Verb::Resume, Mode::Approve, Outcome::Pending),
        (Mode::Enforce, Verb::Resume, Mode::Enforce, Outcome::Fixed),
    ];
    for (case, (before, verb, now, expected)) in cases.into_iter().enumerate() {
        let what = format!("{before} {verb} {now}");
        let name = format!("order{case}");
        let staged = scenario::stage(&rig.cloud, "s3-public-acl", &name).await.unwrap();
        if before == Mode::Enforce {
            rig.ledger.halt(&halt()).await.unwrap();
        }
        let planned = rig.evaluate(before, &staged).await;
        rig.ledger.continue_(&halt()).await.unwrap();
        assert!(scenario::is_violating(&rig.cloud, &staged).await.unwrap());
        let record = rig.ledger.read(&planned.record.unwrap()).await.unwrap().unwrap();
        let order = Order {
            record: record.id.clone(),
            verb,
            plan: (verb == Verb::Approve).then(|| record.intent.plan_hash.clone()),
            by: "arn:aws:iam::123456789012:user/bob".to_owned(),
            person: Some("bob".to_owned()),
            at: Timestamp::now(),
            expires: Timestamp::now() + 1.hours(),
        };
        rig.ledger.order(&order).await.unwrap();

        let hint = json!({
            "source": "quell.operator", "id": name,
            "detail": {"record": record.id, "account": ACCOUNT, "region": "eu-west-1"},
        });
        let response = rig.deliver(now, &hint).await.unwrap();
        let report = own(response.results, &staged);
        assert_eq!(report.outcome, expected, "{what}: {report:#?}");
        let is_open = scenario::is_violating(&rig.cloud, &staged).await.unwrap();
        assert_eq!(is_open, expected != Outcome::Fixed, "{what}");
    }
}

fn halt() -> Halt {
    Halt {
        by: "arn:aws:iam::123456789012:user/bob".to_owned(),
        person: None,
        at: Timestamp::now(),
        reason: "a test".to_owned(),
    }
}

#[tokio::test]
async fn a_thousand_rules_are_kept_and_given_back() {
    let rig = Rig::start().await;
    let staged = scenario::stage(&rig.cloud, "sg-open-ingress", "large").await.unwrap();
    let range = |n: u32| {
        let cidr = format!("10.{}.{}.0/24", n / 250, n % 250);
        let words = format!("office {n} on floor {}", n % 17);
        aws_sdk_ec2::types::IpRange::builder().cidr_ip(cidr).description(words).build()
    };
    // As many as AWS grants at most, with those that are there.
    for start in (0..992).step_by(248) {
        let rules = aws_sdk_ec2::types::IpPermission::builder()
            .ip_protocol("tcp")
            .from_port(443)
            .to_port(443)
            .set_ip_ranges(Some((start..start + 248).map(range).collect()))
            .build();
        let open = rig.cloud.ec2.authorize_security_group_ingress().group_id(&staged.resource);
        open.ip_permissions(rules).send().await.unwrap();
    }
    fixes_and_undoes(&rig, &staged).await;
}

#[tokio::test]
async fn a_policy_of_twenty_kilobytes_is_kept_and_given_back() {
    let rig = Rig::start().await;
    let staged = scenario::stage(&rig.cloud, "s3-public-policy", "large").await.unwrap();
    let there = rig.cloud.s3.get_bucket_policy().bucket(&staged.resource).send().await.unwrap();
    let mut policy: serde_json::Value = serde_json::from_str(there.policy().unwrap()).unwrap();
    let statements = policy["Statement"].as_array_mut().unwrap();
    while serde_json::to_string(statements).unwrap().len() < 20_000 {
        let n = statements.len();
        statements.push(json!({
            "Sid": format!("Team{n}"), "Effect": "Allow",
            "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:role/team-{n}")},
            "Action": "s3:GetObject",
            "Resource": format!("arn:aws:s3:::{}/team-{n}/*", staged.resource),
        }));
    }
    let put = rig.cloud.s3.put_bucket_policy().bucket(&staged.resource);
    put.policy(policy.to_string()).send().await.unwrap();
    fixes_and_undoes(&rig, &staged).await;
}

#[tokio::test]
async fn what_is_too_large_to_be_given_back_is_refused_and_told_once() {
    let rig = Rig::start().await;
    let engine = rig.engine(Mode::Enforce).await;
    for _ in 0..2 {
        let report = engine.evaluate(&rig.aws, &Bulky, &signal(), Thing).await.unwrap();
        let (outcome, reason) = (report.outcome, report.reason.unwrap_or_default());
        if outcome == Outcome::Duplicate {
            continue;
        }
        assert_eq!(outcome, Outcome::Refused);
        assert!(reason.contains(&LARGEST.to_string()), "{reason}");
        let record = rig.ledger.read(&report.record.unwrap()).await.unwrap().unwrap();
        assert_eq!((record.status, record.open), (Status::Refused, false));
        assert!(record.intent.plan.is_empty(), "there is nothing to go on with");
    }
    let told = rig.stack.messages().await.unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].attributes["outcome"], "refused");
}

#[tokio::test]
async fn keys_that_were_not_read_are_not_taken_for_absent() {
    let rig = Rig::start().await;
    let staged = scenario::stage(&rig.cloud, "s3-public-acl", "unread").await.unwrap();
    let engine = rig.engine(Mode::Enforce).await;
    let sdk = rig.cloud.sdk.to_builder().http_client(leaving_keys_unread("")).build();
    let aws = Clients::new(sdk, ACCOUNT);
    let ledger = quell_engine::ledger::Ledger::new(&aws, rig.stack.ledger.as_str());
    let engine = quell_engine::evaluate::Engine { ledger, ..engine };
    let failure = handle::<All>(&engine, &aws, &staged.event.to_string()).await.unwrap_err();
    assert!(failure.to_string().contains("not all keys were read"), "{failure}");
    assert!(scenario::is_violating(&rig.cloud, &staged).await.unwrap(), "nothing was changed");
}

#[tokio::test]
async fn without_a_policy_everything_is_only_observed() {
    let rig = Rig::start().await;
    for meta in REGISTRY {
        let staged = rig.stack.stage(meta.id, "none").await.unwrap();
        let event = staged.event.to_string();
        let engine = rig.engine_under_policy();
        let response = handle::<All>(&engine, &rig.aws, &event).await.unwrap();
        let report = own(response.results, &staged);
        assert_eq!(report.outcome, Outcome::Observed, "{report:#?}");
        assert!(report.reason.unwrap().contains("has no policy"));
    }
}

#[tokio::test]
async fn a_broken_policy_means_the_last_good_one_and_to_who_knows_none_that_all_is_observed() {
    let rig = Rig::start().await;
    let policy = Policy::by_name(Mode::Enforce, REGISTRY);
    rig.stack.apply_policy(&policy).await.unwrap();
    let knows = rig.engine_under_policy();
    let first = scenario::stage(&rig.cloud, "s3-public-acl", "good").await.unwrap();
    let response = handle::<All>(&knows, &rig.aws, &first.event.to_string()).await.unwrap();
    assert_eq!(own(response.results, &first).outcome, Outcome::Fixed);

    let text = |text: &str| AttributeValue::S(text.to_owned());
    let broken = rig.cloud.dynamodb.put_item().table_name(&rig.stack.ledger);
    broken
        .item("pk", text("POL#policy"))
        .item("sk", text("CURRENT"))
        .item("schema", AttributeValue::N("1".to_owned()))
        .item("version", AttributeValue::N("2".to_owned()))
        .item("document", text("{\"controls\": {}}"))
        .send()
        .await
        .unwrap();
    let second = scenario::stage(&rig.cloud, "s3-public-acl", "broken").await.unwrap();
    let stranger = rig.engine_under_policy();
    let response = handle::<All>(&stranger, &rig.aws, &second.event.to_string()).await.unwrap();
    let report = own(response.results, &second);
    assert_eq!(report.outcome, Outcome::Observed);
    assert!(report.reason.unwrap().contains("cannot be used"));
    let event = again(&second.event, "21").to_string();
    let response = handle::<All>(&knows, &rig.aws, &event).await.unwrap();
    let report = own(response.results, &second);
    assert_eq!(report.outcome, Outcome::Fixed, "version 1 is known, and not old");
}

/// Fixes and undoes a resource, and finds it as it was.
async fn fixes_and_undoes(rig: &Rig, staged: &Staged) {
    let before = scenario::snapshot(&rig.cloud, staged).await.unwrap();
    let report = rig.evaluate(Mode::Enforce, staged).await;
    assert_eq!(report.outcome, Outcome::Fixed, "{report:#?}");
    assert!(!scenario::is_violating(&rig.cloud, staged).await.unwrap());
    let undone = rig.undo(&report.record.unwrap()).await;
    assert_eq!(undone.outcome, Outcome::Undone, "{undone:#?}");
    assert_eq!(scenario::snapshot(&rig.cloud, staged).await.unwrap(), before);
}

async fn open_ssh(rig: &Rig, staged: &Staged) {
    let everyone = aws_sdk_ec2::types::IpPermission::builder()
        .ip_protocol("tcp")
        .from_port(22)
        .to_port(22)
        .ip_ranges(aws_sdk_ec2::types::IpRange::builder().cidr_ip("0.0.0.0/0").build())
        .build();
    let open = rig.cloud.ec2.authorize_security_group_ingress().group_id(&staged.resource);
    // The first time it is open already.
    let _ = open.ip_permissions(everyone).send().await;
    assert!(scenario::is_violating(&rig.cloud, staged).await.unwrap());
}

/// A resource whose state does not get small, however it is packed.
struct Bulky;

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Thing;

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("thing")
    }
}

impl Control for Bulky {
    const META: Meta = Meta {
        id: "bulky",
        title: "Things are small",
        risk: "A thing that is large.",
        severity: Severity::Low,
        safety: Safety::Safe,
        reversible: true,
        satisfies: &[],
        function: "none",
        listens: &[],
        discovers: &[],
        reads: &["test:GetThing"],
        writes: &["test:PutThing"],
        baseline: false,
        visible_within: 0,
        source: file!(),
    };
    type Target = Thing;
    type State = Vec<u64>;
    type Change = u8;

    fn connect(_: &Clients) -> Self {
        Self
    }

    fn targets(_: &Signal) -> Result<Vec<Thing>, TargetError> {
        Ok(vec![Thing])
    }

    async fn assess(&self, _: &Thing) -> Result<Option<Vec<u64>>, CallError> {
        // The same every time, and noise to any compression.
        let mut noise = 1_u64;
        Ok(Some(
            (0..50_000)
                .map(|_| {
                    noise ^= noise << 13;
                    noise ^= noise >> 7;
                    noise ^= noise << 17;
                    noise
                })
                .collect(),
        ))
    }

    async fn tags(&self, _: &Thing) -> Result<BTreeMap<String, String>, CallError> {
        Ok(BTreeMap::new())
    }

    fn plan(_: &Vec<u64>) -> Plan<u8> {
        Plan::one(1)
    }

    async fn apply(
        &self,
        _: &Thing,
        _: &u8,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        panic!("nothing is changed without a way back")
    }

    fn revert(_: &Vec<u64>, _: &Vec<u64>) -> Plan<u8> {
        Plan::nothing()
    }

    fn describe(_: &Vec<u64>, _: &u8) -> Description {
        let action = "test:PutThing".to_owned();
        Description { action, effect: Effect::Set, minus: vec![], plus: vec![] }
    }

    fn console(_: &Thing, _: &str) -> String {
        "https://console.aws.amazon.com/".to_owned()
    }

    fn arn(_: &Thing, account: &str, region: &str) -> String {
        format!("arn:aws:test:{region}:{account}:thing")
    }
}

fn signal() -> Signal {
    Signal {
        trigger: Trigger::Manual { control: "bulky".to_owned(), resource: "thing".to_owned() },
        account: ACCOUNT.to_owned(),
        region: "eu-west-1".to_owned(),
        event_id: "1".to_owned(),
        deduplication: "1".to_owned(),
        time: Some(Timestamp::now()),
        actor: Some(Actor { principal: "user alice".to_owned(), ..Actor::default() }),
        request_id: None,
        finding: None,
    }
}
