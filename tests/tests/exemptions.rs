//! Fourteen ways to get a resource exempted that must not work, and three that must.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{Timestamp, ToSpan as _};
use quell_engine::{
    Mode, Outcome, Severity,
    ledger::{Exemption, PublishError, Status},
    policy::{Policy, Scope},
};
use quell_local::scenario::{self, Staged};
use quell_tests::rig::{Rig, again, failed, own};
use serde_json::json;

const CONTROL: &str = "s3-public-acl";
const ACCOUNT: &str = "123456789012";

#[tokio::test]
async fn a_tag_on_the_resource_exempts_nothing() {
    // 1: whoever opened it tags it. 9: with letters that look alike. 10: among as many tags as AWS allows.
    for tags in [
        vec![("quell:exempt".to_owned(), "true".to_owned())],
        vec![("quell:ex\u{435}mpt".to_owned(), CONTROL.to_owned())],
        (0..49)
            .map(|n| (format!("tag{n}"), "x".to_owned()))
            .chain([("quell:exempt".to_owned(), "*".to_owned())])
            .collect(),
    ] {
        let (rig, staged) = open().await;
        let tags = tags.into_iter().map(|(key, value)| {
            aws_sdk_s3::types::Tag::builder().key(key).value(value).build().unwrap()
        });
        let tagging =
            aws_sdk_s3::types::Tagging::builder().set_tag_set(Some(tags.collect())).build();
        rig.cloud
            .s3
            .put_bucket_tagging()
            .bucket(&staged.resource)
            .tagging(tagging.unwrap())
            .send()
            .await
            .unwrap();
        assert_eq!(rig.evaluate(Mode::Enforce, &staged).await.outcome, Outcome::Fixed);
    }
}

#[tokio::test]
async fn a_tag_given_in_the_call_that_opens_it_exempts_nothing() {
    // 2
    let rig = Rig::start().await;
    let staged = scenario::stage(&rig.cloud, "sg-open-ingress", "tagged").await.unwrap();
    let tag = aws_sdk_ec2::types::Tag::builder().key("quell:exempt").value("true").build();
    rig.cloud.ec2.create_tags().resources(&staged.resource).tags(tag).send().await.unwrap();
    let mut event = staged.event.clone();
    event["detail"]["requestParameters"]["tagSpecificationSet"] =
        json!({"items": [{"tags": [{"key": "quell:exempt", "value": "true"}]}]});
    let response = rig.deliver(Mode::Enforce, &event).await.unwrap();
    assert_eq!(own(response.results, &staged).outcome, Outcome::Fixed);
}

#[tokio::test]
async fn an_exemption_counts_only_for_what_it_says() {
    let now = Timestamp::now();
    type Forge = fn(&mut Exemption, Timestamp);
    let attacks: [(&str, Forge); 9] = [
        ("3: copied from another resource", |one, _| one.arn = "arn:aws:s3:::other".to_owned()),
        ("3: copied from another account", |one, _| one.account = "210987654321".to_owned()),
        ("4: of another control", |one, _| one.control = "s3-public-policy".to_owned()),
        ("5: expired", |one, now| one.expires = now - 1.second()),
        ("6: from the future", |one, now| {
            one.granted = now + 48.hours();
            one.expires = now + 96.hours();
        }),
        ("7: for everything", |one, _| one.arn = "arn:aws:s3:::*".to_owned()),
        ("8: of a resource that was made anew", |one, _| {
            one.unique_id = "2019-01-01T00:00:00Z".to_owned();
        }),
        ("9: with letters that look alike", |one, _| {
            one.arn = one.arn.replace('e', "\u{435}");
        }),
        ("longer than exemptions may be", |one, now| {
            one.granted = now - (100 * 24).hours();
            one.expires = now + (100 * 24).hours();
        }),
    ];
    for (attack, forge) in attacks {
        let (rig, staged) = open().await;
        let good = exemption(&rig, &staged).await;
        let mut forged = good.clone();
        forge(&mut forged, now);
        // Whoever can write it can put it under the right key.
        put_under(&rig, &good, &serde_json::to_string(&forged).unwrap(), "1").await;
        let report = rig.evaluate(Mode::Enforce, &staged).await;
        assert_eq!(report.outcome, Outcome::Fixed, "{attack}: {report:#?}");
        assert!(!scenario::is_violating(&rig.cloud, &staged).await.unwrap(), "{attack}");
    }
}

#[tokio::test]
async fn a_policy_that_looks_at_tags_does_less_because_of_none() {
    // 11: whether they can be read or not. A scope like this is refused by `quell policy check`; here it came to the
    // ledger some other way.
    let (rig, staged) = open().await;
    let tag = aws_sdk_s3::types::Tag::builder().key("exempt").value("true").build().unwrap();
    let tagging = aws_sdk_s3::types::Tagging::builder().tag_set(tag).build().unwrap();
    let put = rig.cloud.s3.put_bucket_tagging().bucket(&staged.resource);
    put.tagging(tagging).send().await.unwrap();
    let mut policy = Policy::by_name(Mode::Observe, quell_controls::REGISTRY);
    policy.controls.insert(CONTROL.to_owned(), Mode::Enforce);
    policy.scopes.push(Scope {
        controls: vec![CONTROL.to_owned()],
        accounts: vec![],
        regions: vec![],
        resources: vec![],
        tags: [("exempt".to_owned(), vec!["true".to_owned()])].into(),
        mode: Mode::Observe,
    });
    rig.stack.apply_policy(&policy).await.unwrap();
    let engine = rig.engine_under_policy();
    let event = staged.event.to_string();
    let response =
        quell_engine::serve::handle::<quell_controls::All>(&engine, &rig.aws, &event).await;
    assert_eq!(own(response.unwrap().results, &staged).outcome, Outcome::Fixed);
}

#[tokio::test]
async fn an_exemption_that_cannot_be_read_exempts_nothing() {
    // 12
    for (document, schema) in [("{not json", "1"), ("{}", "1"), ("{}", "99")] {
        let (rig, staged) = open().await;
        let good = exemption(&rig, &staged).await;
        put_under(&rig, &good, document, schema).await;
        let report = rig.evaluate(Mode::Enforce, &staged).await;
        assert_eq!(report.outcome, Outcome::Fixed, "{document}");
        assert!(report.notes.iter().any(|note| note.contains("does not count")), "{report:#?}");
    }
}

#[tokio::test]
async fn an_older_policy_is_not_put_back_by_who_did_not_see_the_newer() {
    // 13
    let rig = Rig::start().await;
    let lax = Policy::by_name(Mode::Off, quell_controls::REGISTRY);
    rig.stack.apply_policy(&lax).await.unwrap();
    rig.stack.apply_policy(&Policy::observe()).await.unwrap();
    let replayed = rig.ledger.publish_policy(lax, "", "arn", None, 1).await.unwrap_err();
    assert!(matches!(replayed, PublishError::Overtaken { .. }), "{replayed}");
    assert_eq!(rig.ledger.policy().await.unwrap().unwrap().policy, Policy::observe());
}

// 14, who opened a resource exempts it: `who_opened_a_resource_does_not_exempt_it` in operator.rs.

#[tokio::test]
async fn a_resource_that_was_made_anew_under_the_same_name_is_not_exempt() {
    // 8, with a real bucket.
    let (rig, staged) = open().await;
    let exemption = exemption(&rig, &staged).await;
    rig.ledger.grant(&exemption).await.unwrap();
    let bucket = &staged.resource;
    rig.cloud.s3.delete_bucket().bucket(bucket).send().await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let anew = scenario::stage(&rig.cloud, CONTROL, "exempt").await.unwrap();
    assert_eq!(anew.resource, staged.resource);
    let report = rig.evaluate(Mode::Enforce, &anew).await;
    assert_eq!(report.outcome, Outcome::Fixed, "{report:#?}");
}

#[tokio::test]
async fn a_valid_exemption_is_honoured_recorded_and_told_to_nobody() {
    for mode in [Mode::Observe, Mode::Approve, Mode::Enforce] {
        let (rig, staged) = open().await;
        rig.ledger.grant(&exemption(&rig, &staged).await).await.unwrap();
        let report = rig.evaluate(mode, &staged).await;
        assert_eq!(report.outcome, Outcome::Exempt, "{report:#?}");
        assert!(report.reason.unwrap().contains("a website"));
        assert!(scenario::is_violating(&rig.cloud, &staged).await.unwrap());
        let record = rig.ledger.read(&report.record.unwrap()).await.unwrap().unwrap();
        assert_eq!((record.status, record.open), (Status::Exempt, false));
        assert!(rig.stack.messages().await.unwrap().is_empty());

        // Another event about it once the exemption is taken back.
        rig.ledger.revoke(CONTROL, ACCOUNT, &arn(&staged)).await.unwrap();
        let response = rig.deliver(mode, &again(&staged.event, "55")).await.unwrap();
        assert_ne!(own(response.results, &staged).outcome, Outcome::Exempt);
    }
}

#[tokio::test]
async fn what_failed_is_left_alone_once_it_is_exempt_or_only_observed() {
    let (rig, staged) = open().await;
    let failure = rig.deliver_denied(&staged.event).await.unwrap_err();
    assert_eq!(failed(failure, &staged).outcome, Outcome::Failed);

    rig.ledger.grant(&exemption(&rig, &staged).await).await.unwrap();
    let exempt = rig.evaluate(Mode::Enforce, &staged).await;
    assert_eq!(exempt.outcome, Outcome::Refused, "{exempt:#?}");
    rig.ledger.revoke(CONTROL, ACCOUNT, &arn(&staged)).await.unwrap();
    let observed = rig.evaluate(Mode::Observe, &staged).await;
    assert_eq!(observed.outcome, Outcome::Refused, "{observed:#?}");
    assert!(scenario::is_violating(&rig.cloud, &staged).await.unwrap());

    let enforced = rig.evaluate(Mode::Enforce, &staged).await;
    assert_eq!(enforced.outcome, Outcome::Fixed, "its event comes again: {enforced:#?}");
}

/// A bucket that everyone can read.
async fn open() -> (Rig, Staged) {
    let rig = Rig::start().await;
    let staged = scenario::stage(&rig.cloud, CONTROL, "exempt").await.unwrap();
    (rig, staged)
}

fn arn(staged: &Staged) -> String {
    format!("arn:aws:s3:::{}", staged.resource)
}

/// One that counts, with the unique id that the function itself gives the bucket.
async fn exemption(rig: &Rig, staged: &Staged) -> Exemption {
    let wanted = json!({
        "source": "quell.operator", "id": "1",
        "detail": {
            "identify": {"control": CONTROL, "resource": staged.resource},
            "account": ACCOUNT, "region": "eu-west-1",
        },
    });
    let response = rig.deliver(Mode::Enforce, &wanted).await.unwrap();
    let identified = response.identified.unwrap();
    assert_eq!(identified.arn, arn(staged));
    let now = Timestamp::now();
    Exemption {
        control: CONTROL.to_owned(),
        account: ACCOUNT.to_owned(),
        region: "eu-west-1".to_owned(),
        arn: identified.arn,
        resource: identified.resource,
        unique_id: identified.unique_id,
        severity: Severity::High,
        reason: "a website".to_owned(),
        owner: "web".to_owned(),
        by: "arn:aws:iam::123456789012:user/alice".to_owned(),
        person: "Alice".to_owned(),
        granted: now - 2.hours(),
        expires: now + 48.hours(),
        undo_of: None,
        told_expiring: None,
        told_unused: None,
        used: false,
    }
}

/// Writes a document where the exemption would be.
async fn put_under(rig: &Rig, exemption: &Exemption, document: &str, schema: &str) {
    let Exemption { control, account, arn, .. } = exemption;
    let text = |text: &str| AttributeValue::S(text.to_owned());
    rig.cloud
        .dynamodb
        .put_item()
        .table_name(&rig.stack.ledger)
        .item("pk", text(&format!("EXM#{control}#{account}#{arn}")))
        .item("sk", text("EXEMPTION"))
        .item("schema", AttributeValue::N(schema.to_owned()))
        .item("document", text(document))
        .send()
        .await
        .unwrap();
}
