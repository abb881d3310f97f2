//! The laws that every control obeys, each against an embedded AWS of its own, over HTTP, with the real SDK.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use quell_controls::{All, with_control};
use quell_engine::{
    Clients, Control, Outcome, Progress, Safety, ledger::Record, policy::Mode, serve::handle,
};
use quell_local::{
    cloud::{ACCOUNT, REGION},
    scenario::{self, Staged},
};
use quell_tests::rig::{Rig, again, failed};
use serde::Deserialize as _;
use serde_json::{Value, json};

/// One test for each law and control, so that each starts from nothing and a failure names both.
macro_rules! laws {
    ($($law:ident),+ $(,)?) => { $(
        mod $law {
            #[tokio::test] async fn s3_public_acl() { super::$law("s3-public-acl").await }
            #[tokio::test] async fn s3_public_policy() { super::$law("s3-public-policy").await }
            #[tokio::test] async fn s3_block_public_access() { super::$law("s3-block-public-access").await }
            #[tokio::test] async fn ec2_imdsv2() { super::$law("ec2-imdsv2").await }
            #[tokio::test] async fn sg_open_ingress() { super::$law("sg-open-ingress").await }
            #[tokio::test] async fn ec2_quarantine() { super::$law("ec2-quarantine").await }
            #[tokio::test] async fn cloudtrail_logging() { super::$law("cloudtrail-logging").await }
            #[tokio::test] async fn cloudtrail_weakened() { super::$law("cloudtrail-weakened").await }
            #[tokio::test] async fn cloudtrail_event_selectors() { super::$law("cloudtrail-event-selectors").await }
            #[tokio::test] async fn cloudtrail_deleted() { super::$law("cloudtrail-deleted").await }
            #[tokio::test] async fn config_recorder() { super::$law("config-recorder").await }
            #[tokio::test] async fn guardduty_detector() { super::$law("guardduty-detector").await }
            #[tokio::test] async fn quell_rule_disabled() { super::$law("quell-rule-disabled").await }
            #[tokio::test] async fn vpc_subnet_public_ip() { super::$law("vpc-subnet-public-ip").await }
            #[tokio::test] async fn vpc_nacl_open_ingress() { super::$law("vpc-nacl-open-ingress").await }
            #[tokio::test] async fn sg_default_rules() { super::$law("sg-default-rules").await }
            #[tokio::test] async fn vpc_flow_logs() { super::$law("vpc-flow-logs").await }
            #[tokio::test] async fn s3_versioning() { super::$law("s3-versioning").await }
            #[tokio::test] async fn s3_encryption() { super::$law("s3-encryption").await }
            #[tokio::test] async fn s3_destructive_lifecycle() { super::$law("s3-destructive-lifecycle").await }
            #[tokio::test] async fn s3_account_public_access() { super::$law("s3-account-public-access").await }
            #[tokio::test] async fn s3_cross_account_policy() { super::$law("s3-cross-account-policy").await }
            #[tokio::test] async fn s3_public_object() { super::$law("s3-public-object").await }
            #[tokio::test] async fn ebs_public_snapshot() { super::$law("ebs-public-snapshot").await }
            #[tokio::test] async fn ebs_shared_snapshot() { super::$law("ebs-shared-snapshot").await }
            #[tokio::test] async fn ami_public_image() { super::$law("ami-public-image").await }
            #[tokio::test] async fn ami_shared_image() { super::$law("ami-shared-image").await }
            #[tokio::test] async fn ebs_default_encryption() { super::$law("ebs-default-encryption").await }
            #[tokio::test] async fn ebs_snapshot_block_public_access() { super::$law("ebs-snapshot-block-public-access").await }
            #[tokio::test] async fn ami_block_public_access() { super::$law("ami-block-public-access").await }
            #[tokio::test] async fn iam_admin_policy() { super::$law("iam-admin-policy").await }
            #[tokio::test] async fn iam_admin_group() { super::$law("iam-admin-group").await }
            #[tokio::test] async fn iam_console_mfa() { super::$law("iam-console-mfa").await }
            #[tokio::test] async fn iam_open_trust() { super::$law("iam-open-trust").await }
            #[tokio::test] async fn iam_password_policy() { super::$law("iam-password-policy").await }
            #[tokio::test] async fn iam_policy_version() { super::$law("iam-policy-version").await }
            #[tokio::test] async fn iam_permissions_boundary() { super::$law("iam-permissions-boundary").await }
            #[tokio::test] async fn iam_role_sessions() { super::$law("iam-role-sessions").await }
            #[tokio::test] async fn iam_quarantine() { super::$law("iam-quarantine").await }
            #[tokio::test] async fn iam_exposed_key() { super::$law("iam-exposed-key").await }
            #[tokio::test] async fn iam_second_key() { super::$law("iam-second-key").await }
            #[tokio::test] async fn iam_stale_key() { super::$law("iam-stale-key").await }
        }
    )+ };
}

laws!(
    observing_changes_nothing_and_tells,
    enforcing_fixes_once_and_undo_restores,
    undo_refuses_when_someone_changed_it_since,
    a_denied_write_is_failed_and_a_later_delivery_completes_it,
    every_change_may_be_made_twice,
);

/// Controls that only tell have a law of their own: whatever the policy says, they change nothing.
mod a_control_that_only_reports_changes_nothing_and_tells {
    #[tokio::test]
    async fn quell_tampered() {
        super::reporting_changes_nothing_and_tells("quell-tampered").await;
    }

    #[tokio::test]
    async fn iam_identity_provider() {
        super::reporting_changes_nothing_and_tells("iam-identity-provider").await;
    }

    #[tokio::test]
    async fn iam_login_profile() {
        super::reporting_changes_nothing_and_tells("iam-login-profile").await;
    }

    #[tokio::test]
    async fn iam_root_use() {
        super::reporting_changes_nothing_and_tells("iam-root-use").await;
    }

    #[tokio::test]
    async fn s3_foreign_replication() {
        super::reporting_changes_nothing_and_tells("s3-foreign-replication").await;
    }
}

/// Every control has its laws.
#[test]
fn the_laws_cover_the_registry() {
    let source = include_str!("laws.rs");
    for meta in quell_controls::REGISTRY {
        if meta.safety == Safety::ReportOnly {
            let law = format!("super::reporting_changes_nothing_and_tells({:?})", meta.id);
            assert!(source.contains(&law), "{} has no law", meta.id);
            continue;
        }
        assert!(source.contains(&format!("super::$law({:?})", meta.id)), "{} has no laws", meta.id);
    }
}

/// No event tells it: the resource is found among all there are.
#[tokio::test]
async fn what_is_wrong_is_among_what_a_sweep_looks_at() {
    let rig = Rig::start().await;
    for meta in quell_controls::REGISTRY.iter().filter(|meta| !meta.discovers.is_empty()) {
        let staged = staged(&rig, meta.id).await;
        let found = with_control!(meta.id, C => discovered::<C>(&rig).await).unwrap();
        let resource = match meta.id {
            // What is deleted cannot be found. Its VPC is.
            "vpc-flow-logs" => {
                let snapshot = scenario::snapshot(&rig.cloud, &staged).await.unwrap();
                snapshot["vpc"].as_str().unwrap().to_owned()
            }
            "cloudtrail-deleted" => {
                let snapshot = scenario::snapshot(&rig.cloud, &staged).await.unwrap();
                snapshot["neighbour"].as_str().unwrap().to_owned()
            }
            _ => staged.resource,
        };
        assert!(found.contains(&resource), "{}: {resource} is not in {found:?}", meta.id);
    }
}

/// Quell in a member account, which sees the trail of the account that manages the organisation.
#[tokio::test]
async fn what_is_not_quells_to_change_is_told_with_the_reason_whatever_the_mode() {
    const MEMBER: &str = "210987654321";
    let rig = Rig::start().await;
    let member = Clients::new(rig.cloud.sdk.clone(), MEMBER);
    for (mode, name) in
        [(Mode::Observe, "watched"), (Mode::Approve, "asked"), (Mode::Enforce, "enforced")]
    {
        let staged = rig.stack.stage("cloudtrail-weakened", name).await.unwrap();
        let before = scenario::snapshot(&rig.cloud, &staged).await.unwrap();
        let arn = format!("arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/{}", staged.resource);
        let event = json!({
            "source": "quell.manual", "id": name,
            "detail": {
                "control": staged.control, "resource": arn, "account": MEMBER, "region": REGION,
            },
        });

        let engine = rig.engine(mode).await;
        let ended = handle::<All>(&engine, &member, &event.to_string()).await.unwrap();
        let report = &ended.results[0];

        assert_eq!(report.outcome, Outcome::Observed, "{report:#?}");
        assert!(report.calls.iter().all(|call| !call.is_write()), "{report:#?}");
        assert_eq!(scenario::snapshot(&rig.cloud, &staged).await.unwrap(), before);
        let message = rig.stack.messages().await.unwrap().remove(0);
        let message: Value = serde_json::from_str(&message.body).unwrap();
        let why = message["reason"].as_str().unwrap();
        assert!(why.contains(&format!("account {ACCOUNT} manages")), "{mode:?}: {why}");
    }
}

/// A person names a user to a stack in Ireland, and CloudTrail tells of the user in Virginia: it is the same resource.
#[tokio::test]
async fn what_is_in_no_region_is_of_the_partitions_first_whoever_finds_it() {
    let rig = Rig::start().await;
    let staged = staged(&rig, "iam-exposed-key").await;
    for region in [REGION, "us-east-1"] {
        let event = json!({
            "source": "quell.manual", "id": region,
            "detail": {
                "control": staged.control, "resource": staged.resource,
                "account": ACCOUNT, "region": region,
            },
        });

        let report = rig.deliver(Mode::Observe, &event).await.unwrap().results.remove(0);

        let record = rig.ledger.read(&report.record.unwrap()).await.unwrap().unwrap();
        assert_eq!(record.intent.region, "us-east-1");
    }
}

/// The names of all resources that a control looks at, page by page.
async fn discovered<C: Control>(rig: &Rig) -> Vec<String> {
    let control = C::connect(&rig.aws);
    let (mut names, mut page) = (Vec::new(), None::<String>);
    loop {
        let found = control.discover(page.as_deref()).await.unwrap();
        names.extend(found.targets.iter().map(ToString::to_string));
        page = found.next;
        if page.is_none() {
            return names;
        }
    }
}

async fn staged(rig: &Rig, control: &str) -> Staged {
    let staged = rig.stack.stage(control, "law").await.unwrap();
    assert!(is_violating(rig, &staged).await, "the bad state was not made");
    staged
}

async fn is_violating(rig: &Rig, staged: &Staged) -> bool {
    scenario::is_violating(&rig.cloud, staged).await.unwrap()
}

async fn observing_changes_nothing_and_tells(control: &str) {
    nothing_is_changed_and_people_are_told(control, Mode::Observe).await;
}

async fn reporting_changes_nothing_and_tells(control: &str) {
    nothing_is_changed_and_people_are_told(control, Mode::Enforce).await;
    nothing_is_changed_and_people_are_told(control, Mode::Observe).await;
}

async fn nothing_is_changed_and_people_are_told(control: &str, mode: Mode) {
    let rig = Rig::start().await;
    let staged = staged(&rig, control).await;
    let before = scenario::snapshot(&rig.cloud, &staged).await.unwrap();

    let report = rig.evaluate(mode, &staged).await;

    assert_eq!(report.outcome, Outcome::Observed, "{report:#?}");
    assert!(!report.changes.is_empty(), "it says what it would do");
    let writes: Vec<_> = report.calls.iter().filter(|call| call.is_write()).collect();
    assert!(writes.is_empty(), "{writes:?}");
    assert_eq!(scenario::snapshot(&rig.cloud, &staged).await.unwrap(), before);
    assert_eq!(told(&rig, &staged).await, ["observed"]);

    let report = rig.evaluate(mode, &staged).await;
    assert_eq!(report.outcome, Outcome::Duplicate);
    assert_eq!(told(&rig, &staged).await, [""; 0], "nobody is told twice");
}

async fn enforcing_fixes_once_and_undo_restores(control: &str) {
    let rig = Rig::start().await;
    let staged = staged(&rig, control).await;
    let before = scenario::snapshot(&rig.cloud, &staged).await.unwrap();

    let report = rig.evaluate(Mode::Enforce, &staged).await;
    assert_eq!(report.outcome, Outcome::Fixed, "{report:#?}");
    assert!(!is_violating(&rig, &staged).await, "AWS shows it");
    let fixed = scenario::snapshot(&rig.cloud, &staged).await.unwrap();
    assert_ne!(fixed, before);
    assert_eq!(told(&rig, &staged).await, ["fixed"]);

    let second = rig.evaluate(Mode::Enforce, &staged).await;
    assert!(
        matches!(second.outcome, Outcome::Duplicate | Outcome::Compliant),
        "the second delivery is {}",
        second.outcome
    );
    let event = again(&staged.event, "77");
    let third = rig.deliver(Mode::Enforce, &event).await.unwrap();
    let third = quell_tests::rig::own(third.results, &staged);
    assert_eq!(third.outcome, Outcome::Compliant, "{third:#?}");
    assert_eq!(scenario::snapshot(&rig.cloud, &staged).await.unwrap(), fixed);
    assert_eq!(told(&rig, &staged).await, [""; 0], "nobody is told twice");

    let record = report.record.unwrap();
    if !is_reversible(control) {
        is_not_undone(&rig, &record, &staged).await;
        return;
    }
    let undone = rig.undo(&record).await;
    assert_eq!(undone.outcome, Outcome::Undone, "{undone:#?}");
    assert_eq!(scenario::snapshot(&rig.cloud, &staged).await.unwrap(), before);
    assert!(is_violating(&rig, &staged).await);
    assert_eq!(told(&rig, &staged).await, ["undone"]);

    let twice = rig.undo(&record).await;
    assert_eq!(twice.outcome, Outcome::Duplicate, "{twice:#?}");
    assert_eq!(scenario::snapshot(&rig.cloud, &staged).await.unwrap(), before);
}

fn is_reversible(control: &str) -> bool {
    with_control!(control, C => C::META.reversible).unwrap()
}

/// It says so, and leaves everything as it is. The message of the fix offered nothing else.
async fn is_not_undone(rig: &Rig, record: &str, staged: &Staged) {
    let fixed = scenario::snapshot(&rig.cloud, staged).await.unwrap();
    let undone = rig.undo(record).await;
    assert_eq!(undone.outcome, Outcome::Refused, "{undone:#?}");
    assert!(undone.reason.unwrap().contains("irreversible"));
    assert_eq!(scenario::snapshot(&rig.cloud, staged).await.unwrap(), fixed);
    for message in rig.stack.published().await.unwrap() {
        let text = &message.texts["email"];
        assert!(!text.contains("quell undo"), "{text}");
    }
}

async fn undo_refuses_when_someone_changed_it_since(control: &str) {
    let rig = Rig::start().await;
    let staged = staged(&rig, control).await;
    let report = rig.evaluate(Mode::Enforce, &staged).await;
    let id = report.record.unwrap();
    if !is_reversible(control) {
        is_not_undone(&rig, &id, &staged).await;
        return;
    }

    // Someone else puts it back by hand.
    let record = rig.ledger.read(&id).await.unwrap().unwrap();
    with_control!(control, C => put_back_by_hand::<C>(&rig, &record).await).unwrap();
    let theirs = scenario::snapshot(&rig.cloud, &staged).await.unwrap();

    let undone = rig.undo(&id).await;

    assert_eq!(undone.outcome, Outcome::Refused, "{undone:#?}");
    assert!(undone.reason.unwrap().contains("changed since"));
    assert_eq!(scenario::snapshot(&rig.cloud, &staged).await.unwrap(), theirs);
}

async fn a_denied_write_is_failed_and_a_later_delivery_completes_it(control: &str) {
    let rig = Rig::start().await;
    let staged = staged(&rig, control).await;
    let before = scenario::snapshot(&rig.cloud, &staged).await.unwrap();

    let failure = rig.deliver_denied(&staged.event).await.unwrap_err();

    let report = failed(failure, &staged);
    assert_eq!(report.outcome, Outcome::Failed);
    assert!(report.reason.unwrap().contains("denied"));
    assert_eq!(scenario::snapshot(&rig.cloud, &staged).await.unwrap(), before);
    assert_eq!(told(&rig, &staged).await, ["failed"]);

    let report = rig.evaluate(Mode::Enforce, &staged).await;
    assert_eq!(report.outcome, Outcome::Fixed, "{report:#?}");
    assert!(!is_violating(&rig, &staged).await);

    let record = report.record.unwrap();
    if !is_reversible(control) {
        is_not_undone(&rig, &record, &staged).await;
        return;
    }
    let undone = rig.undo(&record).await;
    assert_eq!(
        undone.outcome,
        Outcome::Undone,
        "the way back is that of the first attempt: {undone:#?}"
    );
    assert_eq!(scenario::snapshot(&rig.cloud, &staged).await.unwrap(), before);
}

/// As after a crash or a lost response: the stored plan is taken up again.
async fn every_change_may_be_made_twice(control: &str) {
    let rig = Rig::start().await;
    let staged = staged(&rig, control).await;
    let report = rig.evaluate(Mode::Enforce, &staged).await;
    let fixed = scenario::snapshot(&rig.cloud, &staged).await.unwrap();
    let record = rig.ledger.read(&report.record.unwrap()).await.unwrap().unwrap();

    with_control!(control, C => repeat::<C>(&rig, &record).await).unwrap();

    assert_eq!(scenario::snapshot(&rig.cloud, &staged).await.unwrap(), fixed);
}

/// The first change that would undo the record, made by someone else.
async fn put_back_by_hand<C: Control>(rig: &Rig, record: &Record) {
    let (control, target) = (C::connect(&rig.aws), target::<C>(&record.intent.target));
    let before = C::State::deserialize(&record.intent.before).unwrap();
    let after = control.assess(&target).await.unwrap().unwrap();
    let progress = Progress {
        record: &record.id,
        made: &record.result.made,
        deadline: rig.engine(Mode::Enforce).await.deadline,
    };
    let change = &C::revert(&before, &after).changes[0];
    control.apply(&target, change, &progress).await.unwrap();
}

/// The stored plan once more.
async fn repeat<C: Control>(rig: &Rig, record: &Record) {
    let (control, target) = (C::connect(&rig.aws), target::<C>(&record.intent.target));
    let plan: Vec<_> =
        record.intent.plan.iter().map(|change| C::Change::deserialize(change).unwrap()).collect();
    let progress = Progress {
        record: &record.id,
        made: &record.result.made,
        deadline: rig.engine(Mode::Enforce).await.deadline,
    };
    for index in C::resume(&plan, &record.result.made) {
        control.apply(&target, &plan[index], &progress).await.unwrap();
    }
}

fn target<C: Control>(target: &serde_json::Value) -> C::Target {
    C::Target::deserialize(target).unwrap()
}

/// The outcomes that people were told of about the resource since the last time, as a queue on the topic got them.
async fn told(rig: &Rig, staged: &Staged) -> Vec<String> {
    let messages = rig.stack.messages().await.unwrap();
    messages
        .iter()
        .map(|message| serde_json::from_str::<serde_json::Value>(&message.body).unwrap())
        .filter(|message| {
            message["control"]["id"] == staged.control
                && message["resource"]["name"] == staged.resource.as_str()
        })
        .map(|message| message["outcome"].as_str().unwrap().to_owned())
        .collect()
}
