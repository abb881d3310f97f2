//! The life of a record, told with a control whose resource does what the test says.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    fmt,
    time::Duration,
};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{Timestamp, ToSpan as _};
use quell_engine::{
    CallError, CallErrorKind, Clients, Control, Description, Effect, Meta, Mode, Outcome, Plan,
    Progress, Report, Safety, Severity, Signal, Trigger,
    control::TargetError,
    error::Failure,
    ledger::{Intent, Ledger, Record, Status},
    policy::Routed,
    protocol::{Life, Write},
};
use quell_local::scenario;
use quell_tests::rig::{Rig, again, own, write};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[tokio::test]
async fn a_plan_is_never_made_of_a_state_that_is_no_longer_there() {
    let rig = Rig::start().await;
    // The resource changes between the two reads, then stays.
    let control = Scripted::seeing([Some(3), Some(2), Some(2), Some(2), Some(0)]);
    let report = evaluate(&rig, &control, "e1").await.unwrap();
    assert_eq!(report.outcome, Outcome::Fixed);
    assert_eq!(*control.applied.borrow(), [2, 1], "the plan of the second look");
    let outcomes = statuses(&rig).await;
    assert_eq!(outcomes, [Status::Fixed, Status::Superseded]);
}

#[tokio::test]
async fn a_resource_that_vanishes_between_the_reads_is_gone() {
    let rig = Rig::start().await;
    let control = Scripted::seeing([Some(1), None]);
    let report = evaluate(&rig, &control, "e1").await.unwrap();
    assert_eq!(report.outcome, Outcome::Gone);
    assert!(control.applied.borrow().is_empty());
}

#[tokio::test]
async fn a_resource_that_never_rests_is_left_alone_and_tried_again_later() {
    let rig = Rig::start().await;
    let control = Scripted::seeing([1, 2, 3, 4, 5, 6].map(Some));
    let failure = evaluate(&rig, &control, "e1").await.unwrap_err();
    assert!(failure.to_string().contains("changed 3 times"), "{failure}");
    assert!(control.applied.borrow().is_empty());

    // One look beside each of the three records that there are by now, one for the plan, one before the write.
    let control = Scripted::seeing([1, 1, 1, 1, 1, 0].map(Some));
    let report = evaluate(&rig, &control, "e1").await.unwrap();
    assert_eq!(report.outcome, Outcome::Fixed, "it rests now");
}

#[tokio::test]
async fn a_fix_that_aws_does_not_show_is_not_reported_as_one() {
    let rig = Rig::start().await;
    let control = Scripted::seeing([Some(1)]);
    let failure = evaluate(&rig, &control, "e1").await.unwrap_err();
    let report = failure.report().unwrap();
    assert_eq!(report.outcome, Outcome::Partial);
    assert!(report.reason.unwrap().contains("does not show it"));
}

#[tokio::test]
async fn what_was_made_is_said_when_the_rest_is_denied_and_a_later_delivery_goes_on() {
    let rig = Rig::start().await;
    let control = Scripted::seeing([Some(2), Some(2), Some(1)]).denying(1);
    let failure = evaluate(&rig, &control, "e1").await.unwrap_err();
    assert_eq!(failure.report().unwrap().outcome, Outcome::Partial);
    assert_eq!(*control.applied.borrow(), [2]);

    let control = Scripted::seeing([Some(1), Some(1), Some(0)]);
    let report = evaluate(&rig, &control, "e1").await.unwrap();
    assert_eq!(report.outcome, Outcome::Fixed);
    assert_eq!(*control.applied.borrow(), [2, 1], "the stored plan, not a new one");
    let record = newest(&rig).await.remove(0);
    assert_eq!(record.intent.before, json!(2), "the way back is that of the first attempt");
}

#[tokio::test]
async fn a_lost_answer_is_no_failure_when_aws_shows_the_fix() {
    let rig = Rig::start().await;
    let control = Scripted::seeing([Some(1), Some(1), Some(0)]).failing(1, CallErrorKind::NoAnswer);
    let report = evaluate(&rig, &control, "e1").await.unwrap();
    assert_eq!(report.outcome, Outcome::Fixed);
}

#[tokio::test]
async fn a_denied_call_is_no_fix_when_someone_else_put_it_right() {
    let rig = Rig::start().await;
    let control = Scripted::seeing([Some(1), Some(1), Some(0)]).denying(1);
    let report = evaluate(&rig, &control, "e1").await.unwrap();
    assert_eq!(report.outcome, Outcome::Superseded);
    assert!(report.reason.unwrap().contains("denied"));
    let undone = rig_undo(&rig, &newest(&rig).await[0]).await;
    assert_eq!(undone.outcome, Outcome::Refused, "what someone else did is not undone");
}

#[tokio::test]
async fn an_undo_that_failed_once_overwrites_nothing_that_came_since() {
    let rig = Rig::start().await;
    let control = Scripted::seeing([Some(1), Some(1), Some(0)]);
    evaluate(&rig, &control, "e1").await.unwrap();
    let record = newest(&rig).await.remove(0);
    let engine = rig.engine(Mode::Enforce).await;

    let control = Scripted::seeing([Some(0)]).denying(1);
    let failure = engine.undo(&rig.aws, &control, record.clone(), &signal("undo")).await;
    assert_eq!(failure.unwrap_err().report().unwrap().outcome, Outcome::Failed);

    // Someone changes the resource, and the undo is tried again with rights.
    let control = Scripted::seeing([Some(5)]);
    let report = engine.undo(&rig.aws, &control, record, &signal("undo")).await.unwrap();
    assert_eq!(report.outcome, Outcome::Refused);
    assert!(control.applied.borrow().is_empty());
}

#[tokio::test]
async fn evidence_that_cannot_be_kept_does_not_keep_the_rest_from_being_done() {
    let rig = Rig::start().await;
    let control = Scripted::seeing([Some(9), Some(9), Some(0)]).denying(9);
    let failure = evaluate(&rig, &control, "e1").await.unwrap_err();
    let report = failure.report().unwrap();
    assert_eq!(*control.applied.borrow(), [8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(report.outcome, Outcome::Partial, "and it is said");
    assert!(report.reason.unwrap().contains("denied"));
}

#[tokio::test]
async fn a_crash_after_the_write_is_finished_by_the_next_delivery() {
    let rig = Rig::start().await;
    let control = Scripted::seeing([Some(1), Some(1)]);
    die(&rig, &control, "e1").await;
    let_the_lease_end(&rig).await;

    // The write had come through: the first look of the next delivery sees it.
    let control = Scripted::seeing([Some(0)]);
    let report = evaluate(&rig, &control, "e1").await.unwrap();
    assert_eq!(report.outcome, Outcome::Fixed);
    assert_eq!(statuses(&rig).await, [Status::Fixed]);
    let record = newest(&rig).await.remove(0);
    assert_eq!(record.result.told, Some(Status::Fixed), "people hear of it");
}

#[tokio::test]
async fn a_delivery_that_is_still_alive_is_not_overtaken() {
    let rig = Rig::start().await;
    let control = Scripted::seeing([Some(1), Some(1)]);
    die(&rig, &control, "e1").await;

    // Another delivery of the same event leaves it to the first.
    let control = Scripted::seeing([Some(1)]);
    let report = evaluate(&rig, &control, "e1").await.unwrap();
    assert_eq!(report.outcome, Outcome::Duplicate);
    assert!(control.applied.borrow().is_empty());

    // Another event leaves word.
    let control = Scripted::seeing([Some(1)]);
    let report = evaluate(&rig, &control, "e2").await.unwrap();
    assert_eq!(report.outcome, Outcome::Superseded);
    assert!(report.reason.unwrap().contains("looks at it again"));
    assert!(control.applied.borrow().is_empty());
}

#[tokio::test]
async fn what_was_only_observed_is_fixed_when_it_is_heard_of_again_in_enforce_mode() {
    let rig = Rig::start().await;
    let staged = scenario::stage(&rig.cloud, "s3-public-acl", "later").await.unwrap();
    assert_eq!(rig.evaluate(Mode::Observe, &staged).await.outcome, Outcome::Observed);
    assert_eq!(rig.evaluate(Mode::Enforce, &staged).await.outcome, Outcome::Fixed);
}

#[tokio::test]
async fn a_wrong_name_in_one_finding_does_not_keep_the_others_from_being_dealt_with() {
    let rig = Rig::start().await;
    let staged = scenario::stage(&rig.cloud, "s3-public-acl", "many").await.unwrap();
    let finding = |id: &str, bucket: &str| {
        json!({
            "Id": id, "UpdatedAt": "2031-01-01T00:00:00Z", "AwsAccountId": "123456789012",
            "Region": "eu-west-1", "GeneratorId": "security-control/S3.2",
            "Compliance": {"Status": "FAILED"}, "Workflow": {"Status": "NEW"},
            "RecordState": "ACTIVE",
            "Resources": [{"Type": "AwsS3Bucket", "Id": bucket, "Region": "eu-west-1"}],
        })
    };
    let event = json!({
        "version": "0", "id": "1", "source": "aws.securityhub", "account": "123456789012",
        "region": "eu-west-1", "time": "2031-01-01T00:00:00Z",
        "detail-type": "Security Hub Findings - Custom Action",
        "detail": {"actionName": "fix", "findings": [
            finding("a", "arn:aws:s3:::NOT A BUCKET"),
            finding("b", &format!("arn:aws:s3:::{}", staged.resource)),
        ]},
    });
    let failure = rig.deliver(Mode::Enforce, &event).await.unwrap_err();
    assert!(failure.to_string().contains("does not name a resource"), "{failure}");
    assert!(!scenario::is_violating(&rig.cloud, &staged).await.unwrap());
}

#[tokio::test]
async fn a_crash_before_the_first_change_is_taken_up_by_the_next_delivery() {
    let rig = Rig::start().await;
    // The first delivery wrote the record and died.
    let control = Scripted::seeing([Some(1), Some(1)]);
    die(&rig, &control, "e1").await;
    let_the_lease_end(&rig).await;

    let control = Scripted::seeing([Some(1), Some(1), Some(0)]);
    let report = evaluate(&rig, &control, "e1").await.unwrap();
    assert_eq!(report.outcome, Outcome::Fixed);
    assert_eq!(newest(&rig).await.len(), 1, "one record");
}

#[tokio::test]
async fn a_resource_that_was_put_right_meanwhile_is_not_changed_by_a_stored_plan() {
    let rig = Rig::start().await;
    let control = Scripted::seeing([Some(1), Some(1), Some(1)]).denying(1);
    evaluate(&rig, &control, "e1").await.unwrap_err();

    // Someone changed it to another bad state: the stored plan no longer fits.
    let control = Scripted::seeing([Some(4), Some(4), Some(4), Some(4), Some(0)]);
    let report = evaluate(&rig, &control, "e1").await.unwrap();
    assert_eq!(report.outcome, Outcome::Fixed);
    assert_eq!(*control.applied.borrow(), [4, 3, 2, 1]);
}

#[tokio::test]
async fn records_of_a_newer_version_are_left_alone() {
    let rig = Rig::start().await;
    let control = Scripted::seeing([Some(1), Some(1), Some(0)]);
    let report = evaluate(&rig, &control, "e1").await.unwrap();
    let id = report.record.unwrap();
    rig.cloud
        .dynamodb
        .update_item()
        .table_name(&rig.stack.ledger)
        .key("pk", AttributeValue::S(format!("REC#{id}")))
        .key("sk", AttributeValue::S("RECORD".to_owned()))
        .update_expression("SET #schema = :newer")
        .expression_attribute_names("#schema", "schema")
        .expression_attribute_values(":newer", AttributeValue::N("99".to_owned()))
        .send()
        .await
        .unwrap();
    let error = rig.ledger.read(&id).await.unwrap_err();
    assert!(error.to_string().contains("newer version"), "{error}");
    let control = Scripted::seeing([Some(1), Some(1), Some(0)]);
    evaluate(&rig, &control, "e1").await.unwrap_err();
    assert!(control.applied.borrow().is_empty());
}

#[tokio::test]
async fn events_of_quells_own_calls_are_ignored_and_look_alikes_are_not() {
    let rig = Rig::start().await;
    let staged = scenario::stage(&rig.cloud, "s3-public-acl", "own").await.unwrap();
    let fixed = rig.evaluate(Mode::Enforce, &staged).await;
    let undone = rig.undo(&fixed.record.unwrap()).await;
    assert_eq!(undone.outcome, Outcome::Undone);
    let put = undone.calls.iter().find(|call| call.operation == "PutBucketAcl").unwrap();

    let mut event = again(&staged.event, "42");
    event["detail"]["requestID"] = json!(put.request_id.as_ref().unwrap());
    let response = rig.deliver(Mode::Enforce, &event).await.unwrap();
    let report = own(response.results, &staged);
    assert_eq!(report.outcome, Outcome::Ignored);
    assert!(scenario::is_violating(&rig.cloud, &staged).await.unwrap(), "the undo stands");

    // Someone else's call, made to look like Quell's.
    let mut event = again(&staged.event, "43");
    event["detail"]["userAgent"] = json!("quell");
    event["detail"]["userIdentity"]["sessionContext"]["sessionIssuer"]["userName"] = json!("quell");
    let response = rig.deliver(Mode::Enforce, &event).await.unwrap();
    assert_eq!(own(response.results, &staged).outcome, Outcome::Fixed);
}

#[tokio::test]
async fn an_untracking_group_is_spared_only_while_its_record_is_open_and_recent() {
    let rig = Rig::start().await;
    let vpc = rig.cloud.ec2.create_vpc().cidr_block("10.9.0.0/16").send().await.unwrap();
    let vpc = vpc.vpc.unwrap().vpc_id.unwrap();
    let record = "0123456789abcdef0123";
    let group = rig
        .cloud
        .ec2
        .create_security_group()
        .group_name(format!("quell-untrack-{record}"))
        .description("all traffic")
        .vpc_id(&vpc)
        .send()
        .await
        .unwrap()
        .group_id
        .unwrap();
    let everyone = aws_sdk_ec2::types::IpPermission::builder()
        .ip_protocol("-1")
        .ip_ranges(aws_sdk_ec2::types::IpRange::builder().cidr_ip("0.0.0.0/0").build())
        .build();
    let open = rig.cloud.ec2.authorize_security_group_ingress();
    open.group_id(&group).ip_permissions(everyone).send().await.unwrap();
    let outcome = async |id: &str| {
        let event = json!({
            "source": "quell.manual", "id": id,
            "detail": {
                "control": "sg-open-ingress", "resource": group,
                "account": "123456789012", "region": "eu-west-1",
            },
        });
        let response = rig.deliver(Mode::Observe, &event).await.unwrap();
        response.results[0].outcome
    };

    // Anyone can give a group this name.
    assert_eq!(outcome("1").await, Outcome::Observed, "there is no such record");
    put(&rig.ledger, record, Status::Applying, Timestamp::now()).await;
    assert_eq!(outcome("2").await, Outcome::Ignored, "its record is open and recent");

    let rig_record = rig.ledger.read(record).await.unwrap().unwrap();
    update(&rig.ledger, rig_record, Status::Fixed).await;
    assert_eq!(outcome("3").await, Outcome::Observed, "its record is closed");
}

#[tokio::test]
async fn an_open_record_spares_nothing_for_long() {
    let rig = Rig::start().await;
    let control = Scripted::seeing([Some(1)]).spared_by("0123456789abcdef0123");
    put(&rig.ledger, "0123456789abcdef0123", Status::Applying, Timestamp::now() - 20.minutes())
        .await;
    evaluate(&rig, &control, "e1").await.unwrap_err();
    assert_eq!(*control.applied.borrow(), [1], "it was not spared");
}

#[tokio::test]
async fn a_foreign_account_is_refused_without_a_call() {
    let rig = Rig::start().await;
    for control in quell_controls::REGISTRY {
        let event = quell_tests::read(&format!("events/{}/violating.json", control.id)).unwrap();
        let (calls, response) = rig.deliver_counted("210987654321", &event).await;
        let response = response.unwrap();
        assert_eq!(calls, 0, "{}", control.id);
        assert_eq!(response.refused.len(), 1, "{response:?}");
        assert!(response.results.is_empty());
    }
}

/// A resource with a number. Zero is compliant; each change takes one off, by the record's own account.
struct Scripted {
    /// What each look sees; the last stays.
    looks: RefCell<VecDeque<Option<u32>>>,
    applied: RefCell<Vec<u32>>,
    denied: Option<(u32, CallErrorKind)>,
    hangs: RefCell<bool>,
    spared: Option<&'static str>,
}

thread_local! {
    /// `spared_by` is a function of the state alone.
    static SPARED: Cell<Option<&'static str>> = const { Cell::new(None) };
}

impl Scripted {
    fn seeing<const N: usize>(looks: [Option<u32>; N]) -> Self {
        Self {
            looks: RefCell::new(looks.into()),
            applied: RefCell::default(),
            denied: None,
            hangs: RefCell::default(),
            spared: None,
        }
    }

    fn denying(self, change: u32) -> Self {
        self.failing(change, CallErrorKind::Denied)
    }

    fn failing(self, change: u32, kind: CallErrorKind) -> Self {
        Self { denied: Some((change, kind)), ..self }
    }

    fn spared_by(self, record: &'static str) -> Self {
        Self { spared: Some(record), ..self }
    }
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Thing;

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("thing")
    }
}

impl Control for Scripted {
    const META: Meta = Meta {
        id: "scripted",
        title: "Things are zero",
        risk: "A thing that is not zero.",
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
    type State = u32;
    type Change = u32;

    fn connect(_: &Clients) -> Self {
        Self::seeing([None])
    }

    fn targets(_: &Signal) -> Result<Vec<Thing>, TargetError> {
        Ok(vec![Thing])
    }

    async fn assess(&self, _: &Thing) -> Result<Option<u32>, CallError> {
        SPARED.set(self.spared);
        let mut looks = self.looks.borrow_mut();
        Ok(if looks.len() > 1 { looks.pop_front().unwrap() } else { looks[0] })
    }

    async fn tags(&self, _: &Thing) -> Result<BTreeMap<String, String>, CallError> {
        Ok(BTreeMap::new())
    }

    fn plan(state: &u32) -> Plan<u32> {
        (1..=*state).rev().collect()
    }

    async fn apply(
        &self,
        _: &Thing,
        change: &u32,
        _: &Progress<'_>,
    ) -> Result<Option<String>, CallError> {
        let failing = self.denied.filter(|(failing, _)| failing == change);
        if *self.hangs.borrow() {
            std::future::pending::<()>().await;
        }
        if let Some((_, kind)) = failing {
            return Err(CallError::new("test:PutThing", kind, "by the test"));
        }
        self.applied.borrow_mut().push(*change);
        Ok(None)
    }

    fn revert(before: &u32, _: &u32) -> Plan<u32> {
        Plan::one(*before)
    }

    fn describe(_: &u32, change: &u32) -> Description {
        Description {
            action: "test:PutThing".to_owned(),
            effect: Effect::Set,
            minus: vec![change.to_string()],
            plus: vec![],
        }
    }

    fn console(_: &Thing, _: &str) -> String {
        "https://console.aws.amazon.com/".to_owned()
    }

    fn arn(_: &Thing, account: &str, region: &str) -> String {
        format!("arn:aws:test:{region}:{account}:thing")
    }

    fn goes_on_without(change: &u32) -> bool {
        *change == 9
    }

    fn spared_by(_: &u32) -> Option<String> {
        SPARED.get().map(str::to_owned)
    }
}

async fn evaluate(rig: &Rig, control: &Scripted, event: &str) -> Result<Report, Failure> {
    // Known controls are enforced by name; this one is safe, so that the others' mode is enough.
    let engine = rig.engine(Mode::Enforce).await;
    engine.evaluate(&rig.aws, control, &signal(event), Thing).await
}

fn signal(event: &str) -> Signal {
    Signal {
        trigger: Trigger::Manual { control: "scripted".to_owned(), resource: "thing".to_owned() },
        account: "123456789012".to_owned(),
        region: "eu-west-1".to_owned(),
        event_id: event.to_owned(),
        deduplication: event.to_owned(),
        time: Some(Timestamp::now()),
        actor: None,
        request_id: None,
        finding: None,
    }
}

/// Newest first.
async fn newest(rig: &Rig) -> Vec<Record> {
    rig.ledger.newest("scripted", None, 10).await.unwrap()
}

async fn statuses(rig: &Rig) -> Vec<Status> {
    newest(rig).await.iter().map(|record| record.status).collect()
}

/// An evaluation of the event that dies while it makes its first change.
async fn die(rig: &Rig, control: &Scripted, event: &str) {
    control.hangs.replace(true);
    let evaluation = evaluate(rig, control, event);
    tokio::time::timeout(Duration::from_secs(2), evaluation).await.unwrap_err();
    assert_eq!(statuses(rig).await[0], Status::Applying);
}

/// Time passes until whoever holds the lock of the thing must be dead.
async fn let_the_lease_end(rig: &Rig) {
    rig.cloud
        .dynamodb
        .update_item()
        .table_name(&rig.stack.ledger)
        .key("pk", AttributeValue::S(format!("LCK#123456789012#eu-west-1#{ARN}")))
        .key("sk", AttributeValue::S("LOCK".to_owned()))
        .update_expression("SET #until = :past")
        .expression_attribute_names("#until", "until")
        .expression_attribute_values(":past", AttributeValue::N("1".to_owned()))
        .send()
        .await
        .unwrap();
}

const ARN: &str = "arn:aws:test:eu-west-1:123456789012:thing";

async fn rig_undo(rig: &Rig, record: &Record) -> Report {
    let engine = rig.engine(Mode::Enforce).await;
    let control = Scripted::seeing([Some(0)]);
    engine.undo(&rig.aws, &control, record.clone(), &signal("undo")).await.unwrap()
}

/// Writes a record of quarantine, as an evaluation would have.
async fn put(ledger: &Ledger, id: &str, status: Status, created: Timestamp) {
    let intent = Intent {
        control: "ec2-quarantine".to_owned(),
        account: "123456789012".to_owned(),
        region: "eu-west-1".to_owned(),
        target: json!(null),
        resource: "i-0123456789abcdef0".to_owned(),
        arn: String::new(),
        console: String::new(),
        severity: Severity::Critical,
        mode: Mode::Enforce,
        withheld: None,
        created,
        event_id: "1".to_owned(),
        deduplication: "1".to_owned(),
        attempt: 0,
        event_time: None,
        actor: None,
        finding: None,
        before: json!(null),
        plan: Vec::new(),
        plan_hash: String::new(),
        expires: None,
        changes: Vec::new(),
        notes: Vec::new(),
        undoes: None,
        routed: Routed::default(),
        backlog: None,
    };
    let life = Life {
        status,
        version: 1,
        writer: "the test".to_owned(),
        done: Vec::new(),
        told: None,
        open: true,
    };
    let record = Record::new(id, intent, &life);
    write(ledger, record, Write::Put { id: id.to_owned(), life }).await;
}

/// Writes where a record stands.
async fn update(ledger: &Ledger, mut record: Record, status: Status) {
    let life = Life { status, version: record.version + 1, ..record.life() };
    record.live(&life);
    let id = record.id.clone();
    write(ledger, record, Write::Update { id, life }).await;
}
