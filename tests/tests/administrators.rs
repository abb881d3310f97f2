//! Who is never made less than an administrator: the last one there is, who gets in when all else fails, and who belongs to
//! Quell, to a service of AWS or to Identity Center.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use aws_sdk_iam::types::Tag;
use quell_controls::{All, REGISTRY};
use quell_engine::{
    Outcome, Report,
    policy::{Mode, Policy},
    serve::handle,
};
use quell_local::cloud::{ACCOUNT, REGION};
use quell_tests::rig::Rig;
use serde_json::{Value, json};

const CONTROL: &str = "iam-admin-policy";
const ADMINISTRATOR_ACCESS: &str = "arn:aws:iam::aws:policy/AdministratorAccess";

#[tokio::test]
async fn the_last_administrator_stays_one_and_the_last_but_one_does_not() {
    let rig = Rig::start().await;
    administrator(&rig, "alice").await;

    let report = looked_at(&rig, Policy::by_name(Mode::Enforce, REGISTRY), "user/alice").await;
    assert_eq!(report.outcome, Outcome::Observed, "{report:#?}");
    assert!(told(&rig).await.contains("it may be the last administrator"));
    assert!(is_administrator(&rig, "alice").await);

    administrator(&rig, "bob").await;
    let report = looked_at(&rig, Policy::by_name(Mode::Enforce, REGISTRY), "user/alice").await;
    assert_eq!(report.outcome, Outcome::Fixed, "{report:#?}");
    assert!(!is_administrator(&rig, "alice").await);

    let report = looked_at(&rig, Policy::by_name(Mode::Enforce, REGISTRY), "user/bob").await;
    assert_eq!(report.outcome, Outcome::Observed, "now bob is the last: {report:#?}");
    assert!(is_administrator(&rig, "bob").await);
}

/// A role that only a service takes and a group without members let nobody in.
#[tokio::test]
async fn a_role_for_services_and_an_empty_group_are_no_other_administrators() {
    let rig = Rig::start().await;
    administrator(&rig, "alice").await;
    let iam = &rig.cloud.iam;
    role(&rig, "builds", &json!({"Service": "codebuild.amazonaws.com"})).await;
    iam.create_group().group_name("empty").send().await.unwrap();
    let attach = iam.attach_group_policy().group_name("empty").policy_arn(ADMINISTRATOR_ACCESS);
    attach.send().await.unwrap();

    let report = looked_at(&rig, Policy::by_name(Mode::Enforce, REGISTRY), "user/alice").await;
    assert_eq!(report.outcome, Outcome::Observed, "{report:#?}");

    role(&rig, "people", &json!({"AWS": ACCOUNT})).await;
    let report = looked_at(&rig, Policy::by_name(Mode::Enforce, REGISTRY), "user/alice").await;
    assert_eq!(report.outcome, Outcome::Fixed, "{report:#?}");
}

#[tokio::test]
async fn nothing_is_taken_from_who_breaks_glass_or_belongs_to_others() {
    let rig = Rig::start().await;
    for user in ["alice", "glass"] {
        administrator(&rig, user).await;
    }
    for name in
        ["quell-OperatorRole-1A2B", "AWSServiceRoleForSupport", "AWSReservedSSO_Admin_0123456789ab"]
    {
        role(&rig, name, &json!({"AWS": ACCOUNT})).await;
    }
    let mut policy = Policy::by_name(Mode::Enforce, REGISTRY);
    policy.trusted.break_glass = vec![format!("arn:aws:iam::{ACCOUNT}:user/emergency/glass")];
    for (resource, why) in [
        ("user/glass", "`break_glass` names it"),
        ("role/quell-OperatorRole-1A2B", "a role of Quell's own"),
        ("role/AWSServiceRoleForSupport", "belongs to a service of AWS"),
        ("role/AWSReservedSSO_Admin_0123456789ab", "Identity Center makes it"),
    ] {
        let report = looked_at(&rig, policy.clone(), resource).await;
        assert_eq!(report.outcome, Outcome::Observed, "{report:#?}");
        assert!(report.calls.iter().all(|call| !call.is_write()), "{report:#?}");
        let told = told(&rig).await;
        assert!(told.contains(why), "{resource}: {told}");
    }
    let report = looked_at(&rig, policy, "user/alice").await;
    assert_eq!(report.outcome, Outcome::Fixed, "{report:#?}");
}

/// What comes of a person's wish that this be looked at.
async fn looked_at(rig: &Rig, policy: Policy, resource: &str) -> Report {
    rig.stack.apply_policy(&policy).await.unwrap();
    let event = json!({
        "source": "quell.manual", "id": format!("{:032x}", fastrand::u128(..)),
        "detail": {
            "control": CONTROL, "resource": resource, "account": ACCOUNT, "region": REGION,
        },
    });
    let ended = handle::<All>(&rig.engine_under_policy(), &rig.aws, &event.to_string()).await;
    ended.unwrap().results.remove(0)
}

/// Why nothing was done, as people are told.
async fn told(rig: &Rig) -> String {
    let message = rig.stack.messages().await.unwrap().pop().unwrap();
    let message: Value = serde_json::from_str(&message.body).unwrap();
    message["reason"].as_str().unwrap_or_default().to_owned()
}

async fn administrator(rig: &Rig, user: &str) {
    let iam = &rig.cloud.iam;
    let tag = Tag::builder().key("team").value("platform").build().unwrap();
    iam.create_user().user_name(user).tags(tag).send().await.unwrap();
    let attach = iam.attach_user_policy().user_name(user).policy_arn(ADMINISTRATOR_ACCESS);
    attach.send().await.unwrap();
}

async fn role(rig: &Rig, name: &str, principal: &Value) {
    let trust = json!({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole",
    }});
    let iam = &rig.cloud.iam;
    let create = iam.create_role().role_name(name).assume_role_policy_document(trust.to_string());
    create.send().await.unwrap();
    let attach = iam.attach_role_policy().role_name(name).policy_arn(ADMINISTRATOR_ACCESS);
    attach.send().await.unwrap();
}

async fn is_administrator(rig: &Rig, user: &str) -> bool {
    let found = rig.cloud.iam.list_attached_user_policies().user_name(user).send().await.unwrap();
    !found.attached_policies.unwrap_or_default().is_empty()
}
