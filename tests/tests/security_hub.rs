//! What Security Hub hears, by the real function behind a queue of the topic, on an embedded AWS.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use aws_sdk_securityhub::types::{AwsSecurityFinding, RecordState};
use jiff::{SignedDuration, Timestamp};
use quell_controls::REGISTRY;
use quell_engine::{
    Mode, Outcome, Severity,
    policy::{Digest, Notify, Policy},
    report::Response,
};
use quell_local::{
    Function, Proxy, Source,
    cloud::{ACCOUNT, REGION},
    proxy::{Calls, Fault},
    scenario::{self, Staged},
    source::Polled,
};
use quell_tests::{
    findings::{all, found, read},
    rig::{Rig, binary, own},
};
use serde_json::{Value, json};

const CONTROL: &str = "s3-public-acl";

#[tokio::test]
async fn a_finding_hears_that_it_was_fixed_and_that_the_fix_was_taken_back() {
    let scene = Scene::set(false).await;
    let staged = scene.stage("fixed").await;
    let event = found(&scene.rig.cloud, &staged, "f1").await;
    let record = scene.fix(&staged, &event).await;
    assert_eq!(scene.told().await, 0);
    let finding = read(&scene.rig.cloud, "f1").await.unwrap();
    assert_eq!(status(&finding), "RESOLVED");
    let note = finding.note().unwrap();
    assert_eq!(note.updated_by(), Some("quell"));
    assert_eq!(
        note.text().unwrap(),
        format!(
            "Quell fixed it, and verified the fix. Control: s3-public-acl; record: {record}; undo: quell undo {record}"
        )
    );
    assert_eq!(finding.severity().unwrap().label().unwrap().as_str(), "CRITICAL", "it stays");

    // What Security Hub says of its own update is no news.
    let again = scene.delivered(&event).await;
    assert_eq!(own(again.results, &staged).outcome, Outcome::Duplicate);
    assert!(scene.poll().await.answer.is_none(), "nobody is told again");

    scene.undo(&record).await;
    assert_eq!(scene.told().await, 0);
    let finding = read(&scene.rig.cloud, "f1").await.unwrap();
    assert_eq!(status(&finding), "NEW");
    assert!(finding.note().unwrap().text().unwrap().starts_with("The fix was taken back"));
    assert_eq!(all(&scene.rig.cloud).await.len(), 1, "nothing was imported");
}

#[tokio::test]
async fn what_quell_heard_of_elsewhere_is_one_finding_that_later_outcomes_update() {
    let scene = Scene::set(true).await;
    let staged = scene.stage("own").await;
    let record = scene.fix(&staged, &staged.event).await;
    assert_eq!(scene.told().await, 0);
    let id = format!("{REGION}/{ACCOUNT}/quell/{record}");
    let finding = read(&scene.rig.cloud, &id).await.unwrap();
    assert_eq!(
        (status(&finding), finding.record_state()),
        ("RESOLVED", Some(&RecordState::Archived))
    );
    let resource = &finding.resources()[0];
    assert_eq!(resource.r#type(), Some("AwsS3Bucket"));
    assert_eq!(resource.id(), Some(format!("arn:aws:s3:::{}", staged.resource).as_str()));

    // It comes back as an event, and is not acted upon.
    let event = json!({
        "version": "0", "id": "own", "source": "aws.securityhub", "account": ACCOUNT,
        "region": REGION, "time": "2031-01-01T00:00:00Z",
        "detail-type": "Security Hub Findings - Imported",
        "detail": {"findings": [{
            "Id": id, "ProductArn": finding.product_arn(), "GeneratorId": finding.generator_id(),
            "AwsAccountId": ACCOUNT, "UpdatedAt": finding.updated_at(), "Region": REGION,
            "Compliance": {"Status": "FAILED"}, "Workflow": {"Status": "NEW"},
            "RecordState": "ACTIVE",
            "Resources": [{"Type": "AwsS3Bucket", "Id": resource.id(), "Region": REGION}],
        }]},
    });
    let response = scene.delivered(&event).await;
    assert_eq!(response.ignored, ["the finding is Quell's own"]);

    scene.undo(&record).await;
    assert_eq!(scene.told().await, 0);
    let found = all(&scene.rig.cloud).await;
    assert_eq!(found.len(), 1, "the same one");
    assert_eq!(found[0].record_state(), Some(&RecordState::Active));
    assert_eq!(found[0].compliance().unwrap().status().unwrap().as_str(), "FAILED");
    assert_eq!(status(&found[0]), "NEW", "Security Hub says so itself of what is active again");
}

#[tokio::test]
async fn what_security_hub_refuses_goes_back_to_the_queue_and_the_rest_does_not() {
    let scene = Scene::set(false).await;
    let (known, unknown) = (scene.stage("known").await, scene.stage("unknown").await);
    let event = found(&scene.rig.cloud, &known, "f1").await;
    scene.fix(&known, &event).await;
    let mut event = found(&scene.rig.cloud, &unknown, "f2").await;
    event["detail"]["findings"][0]["Id"] = json!("gone");
    scene.fix(&unknown, &event).await;

    assert_eq!(scene.told().await, 1, "one of two");
    assert_eq!(status(&read(&scene.rig.cloud, "f1").await.unwrap()), "RESOLVED");
    let log = scene.function.log().join("\n");
    assert!(log.contains("FindingNotFound: Finding Not Found"), "{log}");
    assert_eq!(scene.told().await, 1, "it waits until somebody sees to it");
}

#[tokio::test]
async fn what_is_throttled_or_breaks_is_never_taken_for_told() {
    let scene = Scene::set(true).await;
    for (name, fault) in [("throttle", Fault::Throttle), ("break", Fault::Break)] {
        let (one, other) = (scene.stage(name).await, scene.stage(&format!("{name}own")).await);
        let event = found(&scene.rig.cloud, &one, name).await;
        scene.fix(&one, &event).await;
        let record = scene.fix(&other, &other.event).await;
        let rule = scene.proxy.fault(Calls::any().service("SecurityHub"), fault);
        assert_eq!(scene.told().await, 2, "{name}: both failed");
        assert_eq!(status(&read(&scene.rig.cloud, name).await.unwrap()), "NEW");
        scene.proxy.remove(&rule);
        assert_eq!(scene.told().await, 0, "{name}: the queue had kept them");
        assert_eq!(status(&read(&scene.rig.cloud, name).await.unwrap()), "RESOLVED");
        let id = format!("{REGION}/{ACCOUNT}/quell/{record}");
        assert!(read(&scene.rig.cloud, &id).await.is_some());
    }
}

#[tokio::test]
async fn what_is_folded_or_told_in_a_digest_is_answered_with_its_bulletin() {
    let scene = Scene::set_folding(false).await;
    let mut records = Vec::new();
    for name in ["one", "two", "three"] {
        let staged = scene.stage(name).await;
        let event = found(&scene.rig.cloud, &staged, name).await;
        records.push((name, scene.fix(&staged, &event).await));
    }
    assert_eq!(scene.told().await, 0);
    assert_eq!(scene.statuses().await, ["RESOLVED", "NEW", "NEW"], "two are folded");

    scene.bulletin("folded").await;
    let rule = scene.proxy.fault(Calls::any().service("SecurityHub"), Fault::Throttle);
    assert_eq!(scene.told().await, 1, "the queue keeps the bulletin");
    scene.proxy.remove(&rule);
    assert_eq!(scene.told().await, 0);
    assert_eq!(scene.statuses().await, ["RESOLVED"; 3]);
    for (name, record) in &records {
        let finding = read(&scene.rig.cloud, name).await.unwrap();
        let note = finding.note().unwrap().text().unwrap();
        assert!(note.starts_with("Quell fixed it, and verified the fix."), "{note}");
        assert!(note.contains(&format!("record: {record}; undo: quell undo {record}")), "{note}");
    }

    // What was told since stays.
    scene.undo(&records[1].1).await;
    assert_eq!(scene.told().await, 0);
    scene.bulletin("folded").await;
    assert_eq!(scene.told().await, 0);
    assert_eq!(scene.statuses().await, ["RESOLVED", "NEW", "RESOLVED"]);

    scene.apply(|notify| *notify = routine()).await;
    let staged = scene.stage("routine").await;
    let event = found(&scene.rig.cloud, &staged, "routine").await;
    scene.fix(&staged, &event).await;
    assert!(scene.poll().await.answer.is_none(), "nobody is told");
    scene.bulletin("digest").await;
    assert_eq!(scene.told().await, 0);
    assert_eq!(status(&read(&scene.rig.cloud, "routine").await.unwrap()), "RESOLVED");
}

#[tokio::test]
async fn what_is_folded_is_imported_with_its_bulletin() {
    let scene = Scene::set_folding(true).await;
    for name in ["one", "two", "three"] {
        let staged = scene.stage(name).await;
        scene.fix(&staged, &staged.event).await;
    }
    assert_eq!(scene.told().await, 0);
    assert_eq!(scene.statuses().await.len(), 1);
    for _ in 0..2 {
        scene.bulletin("folded").await;
        assert_eq!(scene.told().await, 0);
        assert_eq!(scene.statuses().await, ["RESOLVED"; 3], "each once");
    }
}

#[tokio::test]
async fn an_older_message_that_is_delivered_again_does_not_overwrite_a_newer_one() {
    let scene = Scene::set(true).await;
    let (staged, other) = (scene.stage("known").await, scene.stage("own").await);
    let event = found(&scene.rig.cloud, &staged, "f1").await;
    let records = [scene.fix(&staged, &event).await, scene.fix(&other, &other.event).await];
    let fixed = scene.poll().await.handled;
    assert_eq!(fixed.len(), 2);
    for record in &records {
        scene.undo(record).await;
    }
    assert_eq!(scene.told().await, 0);
    let seen = all(&scene.rig.cloud).await;
    for old in &fixed {
        scene.put(old).await;
    }
    assert_eq!(scene.told().await, 0);
    assert_eq!(all(&scene.rig.cloud).await, seen);
    assert_eq!(scene.statuses().await, ["NEW", "NEW"]);
}

#[tokio::test]
async fn alarms_of_the_same_topic_never_reach_the_function() {
    let scene = Scene::set(true).await;
    let alarm = json!({"AlarmName": "quell-Errors", "NewStateValue": "ALARM"}).to_string();
    let publish = scene.rig.cloud.sns.publish().topic_arn(&scene.rig.stack.topic);
    publish.subject("ALARM").message(alarm).send().await.unwrap();
    assert!(scene.poll().await.answer.is_none());
}

#[tokio::test]
async fn a_function_that_is_not_configured_keeps_the_messages_and_says_why() {
    let scene = Scene::set(true).await;
    let mut environment = scene.rig.stack.security_hub_environment(true);
    environment.retain(|(name, _)| name != "QUELL_IMPORT_FINDINGS");
    let function = Arc::new(function(environment));
    let listener = scene.rig.stack.listen("unset", 10, false).await.unwrap();
    let source = Source::new(&scene.rig.stack, listener, function).await.unwrap();
    let staged = scene.stage("unset").await;
    scene.fix(&staged, &staged.event).await;
    for _ in 0..2 {
        let answer = source.poll().await.unwrap().answer.expect("it still waits");
        assert_eq!(answer.error_kind(), Some("Settings"));
        let message = answer.error_message().unwrap();
        assert!(message.contains("QUELL_IMPORT_FINDINGS is not set"), "{message}");
    }
}

struct Scene {
    rig: Rig,
    proxy: Proxy,
    function: Arc<Function>,
    source: Source,
}

impl Scene {
    /// Each message is told by itself.
    async fn set(imports: bool) -> Self {
        let scene = Self::set_folding(imports).await;
        scene.apply(|notify| notify.fold_minutes = 0).await;
        scene
    }

    async fn set_folding(imports: bool) -> Self {
        let rig = Box::pin(Rig::start()).await;
        Box::pin(rig.engine(Mode::Enforce)).await;
        let proxy = Proxy::start(&rig.cloud.endpoint).unwrap();
        let function = function(rig.stack.security_hub_environment(imports)).through(&proxy);
        let function = Arc::new(function);
        let listener = rig.stack.listen("security-hub", 10, false).await.unwrap();
        let source = Source::new(&rig.stack, listener, Arc::clone(&function)).await.unwrap();
        Self { rig, proxy, function, source }
    }

    async fn stage(&self, name: &str) -> Staged {
        Box::pin(scenario::stage(&self.rig.cloud, CONTROL, name)).await.unwrap()
    }

    /// The record of a fix that the event led to.
    async fn fix(&self, staged: &Staged, event: &Value) -> String {
        let report = own(self.delivered(event).await.results, staged);
        assert_eq!(report.outcome, Outcome::Fixed);
        report.record.unwrap()
    }

    /// Boxed: a test that does much would not fit its stack.
    async fn delivered(&self, event: &Value) -> Response {
        Box::pin(self.rig.deliver(Mode::Enforce, event)).await.unwrap()
    }

    async fn undo(&self, record: &str) {
        let report = Box::pin(self.rig.undo(record)).await;
        assert_eq!(report.outcome, Outcome::Undone);
    }

    async fn apply(&self, change: impl FnOnce(&mut Notify)) {
        let mut policy = Policy::by_name(Mode::Enforce, REGISTRY);
        change(&mut policy.notify);
        self.rig.stack.apply_policy(&policy).await.unwrap();
    }

    /// Gives the function what waits, and returns how many messages it could not tell.
    async fn told(&self) -> usize {
        let polled = self.poll().await;
        let answer = polled.answer.expect("something waits");
        assert!(answer.is_response(), "{answer:?}");
        polled.failed.len()
    }

    async fn poll(&self) -> Polled {
        Box::pin(self.source.poll()).await.unwrap()
    }

    /// Puts a message on the queue, as the topic does.
    async fn put(&self, body: &str) {
        let send = self.rig.cloud.sqs.send_message().queue_url(&self.source.listener.queue);
        send.message_body(body).send().await.unwrap();
    }

    /// The bulletin of what was counted since this test began.
    async fn bulletin(&self, subject: &str) {
        let now = Timestamp::now();
        let bulletin = json!({
            "kind": "bulletin", "version": 1, "subject": subject, "total": 1,
            "from": now - SignedDuration::from_mins(5), "until": now,
            "lines": [{
                "severity": "high", "control": CONTROL, "outcome": "fixed", "account": ACCOUNT,
                "region": REGION, "example": "x", "count": 1,
            }],
            "command": "quell records",
        });
        self.put(&bulletin.to_string()).await;
    }

    async fn statuses(&self) -> Vec<String> {
        let found = all(&self.rig.cloud).await;
        found.iter().map(|finding| status(finding).to_owned()).collect()
    }
}

fn function(environment: Vec<(String, String)>) -> Function {
    let program = binary("security-hub");
    Function::new("quell-security-hub", program, environment, Duration::from_secs(60), 256)
}

/// Whatever is not critical waits for a digest.
fn routine() -> Notify {
    Notify {
        digest: Some(Digest::Hourly),
        digest_up_to: Severity::High,
        ..Policy::observe().notify
    }
}

fn status(finding: &AwsSecurityFinding) -> &str {
    finding.workflow().unwrap().status().unwrap().as_str()
}
