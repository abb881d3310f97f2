//! The sweep finds what lost events did not tell, once, within its time, and leaves alone what was wrong before anybody
//! asked for it to be fixed.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use aws_sdk_s3::types::{AccessControlPolicy, BucketCannedAcl};
use jiff::{SignedDuration, Timestamp};
use quell_controls::{
    REGISTRY,
    ec2::quarantine::Quarantine,
    s3::{encryption::Encryption, public_acl::PublicAcl},
};
use quell_engine::{
    Clients, Mode, Outcome,
    error::EventFailure,
    evaluate::Engine,
    ledger::{Exemption, Found, Halt, Ledger, Place, Status},
    notify::{Bulletin, bulletin::Subject},
    policy::{Notify, Policy, Sweep},
    report::Response,
    serve::{Controls, handle},
    sweep::Swept,
};
use quell_local::{
    Answer, Function,
    cloud::{ACCOUNT, REGION},
    scenario::{self, Staged},
};
use quell_tests::{
    desk::Desk,
    rig::{Rig, binary, denying_bucket, denying_writes, leaving_keys_unread},
};
use serde_json::{Value, json};

const ACL: &str = "s3-public-acl";

type Acl = (PublicAcl,);

#[tokio::test]
async fn what_lost_events_did_not_tell_the_sweep_fixes_all_of_it_and_once() {
    let rig = Rig::start().await;
    publish(&rig, each_is_told(Mode::Enforce)).await;
    // The first sweep knows what the policy says, and finds nothing.
    assert_eq!(found(&through(&rig).await), Found::default());

    let mut staged = Vec::new();
    for place in 0..40 {
        let one = scenario::stage(&rig.cloud, ACL, &format!("lost{place}")).await.unwrap();
        // Every twentieth event is lost; then, for an hour, the function is not there at all.
        if place < 20 && place % 20 != 7 {
            let response = deliver(&rig, &one.event).await;
            assert_eq!(response.results[0].outcome, Outcome::Fixed);
        }
        staged.push(one);
    }
    assert_eq!(violating(&rig, &staged).await, 21);

    let swept = through(&rig).await;

    assert_eq!(violating(&rig, &staged).await, 0);
    assert_eq!((found(&swept).violating, found(&swept).failed), (21, 0), "{swept:?}");
    let records = rig.ledger.newest(ACL, None, 100).await.unwrap();
    assert_eq!(records.len(), 40, "one record for each violation, whoever found it");
    let told = told(&rig).await;
    assert_eq!(told.len(), 40, "one message for each");

    // Events that were only late find nothing to do.
    let late = deliver(&rig, &staged[7].event).await;
    assert_eq!(late.results[0].outcome, Outcome::Compliant);
    let again = through(&rig).await;
    assert_eq!((found(&again).compliant, found(&again).violating), (40, 0));
}

#[tokio::test]
async fn what_was_wrong_before_the_policy_named_the_control_is_counted_in_one_message_until_asked()
{
    let rig = Rig::start().await;
    let desk = desk(&rig).await;
    let old = stage(&rig, "old", 4).await;
    publish(&rig, each_is_told(Mode::Enforce)).await;

    let first = through(&rig).await;
    assert_eq!((found(&first).backlog, found(&first).violating), (4, 0), "{first:?}");
    assert_eq!(violating(&rig, &old).await, 4, "nothing was fixed");
    assert_eq!(told(&rig).await, [Value::Null; 0], "nobody gets one message for each");

    // What is opened from now on is fixed, by whoever finds it.
    let new = stage(&rig, "new", 1).await;
    let second = through(&rig).await;
    assert_eq!((found(&second).known, found(&second).violating), (4, 1), "{second:?}");
    assert_eq!((violating(&rig, &old).await, violating(&rig, &new).await), (4, 0));

    told(&rig).await;
    rig.windows_end().await;
    let Answer::Response(_) = desk.recover().await else { panic!("recovery failed") };
    let bulletins = told(&rig).await;
    assert_eq!(bulletins.len(), 1, "{bulletins:#?}");
    let bulletin: Bulletin = serde_json::from_value(bulletins[0].clone()).unwrap();
    assert_eq!((bulletin.subject, bulletin.total), (Subject::Sweep, 4));
    assert_eq!(bulletin.lines[0].outcome, Outcome::Observed);

    // A person asks for it.
    let sweep = Sweep { fix_backlog: vec![ACL.to_owned()] };
    publish(&rig, Policy { sweep, ..each_is_told(Mode::Enforce) }).await;
    let third = through(&rig).await;
    assert_eq!(found(&third).violating, 4, "{third:?}");
    assert_eq!(violating(&rig, &old).await, 0);
}

#[tokio::test]
async fn what_was_observed_is_not_fixed_because_the_policy_changes() {
    let rig = Rig::start().await;
    let staged = stage(&rig, "seen", 2).await;
    publish(&rig, each_is_told(Mode::Observe)).await;
    through(&rig).await;
    publish(&rig, each_is_told(Mode::Enforce)).await;
    for _ in 0..3 {
        through(&rig).await;
    }
    assert_eq!(violating(&rig, &staged).await, 2);
}

#[tokio::test]
async fn a_sweep_goes_on_where_its_time_was_over_and_looks_at_each_resource_once() {
    let rig = Rig::start().await;
    publish(&rig, each_is_told(Mode::Enforce)).await;
    through(&rig).await;
    let staged = stage(&rig, "slow", 12).await;
    let mut runs = 0;
    let swept = loop {
        runs += 1;
        // Two calls' time is kept back, and what is left is too short for all.
        let engine = Engine {
            margin: Duration::from_secs(1),
            deadline: Instant::now() + Duration::from_millis(2_150),
            ..engine(&rig)
        };
        let swept = run::<Acl>(&rig, engine).await.unwrap().expect("it is due until it is through");
        if swept.finished {
            break swept;
        }
        assert!(runs < 60, "it comes to no end: {swept:?}");
    };
    assert!(runs > 1, "one run was enough for all");
    assert_eq!(found(&swept).resources, 12, "{swept:?}");
    assert_eq!(violating(&rig, &staged).await, 0);
}

#[tokio::test]
async fn the_same_violation_that_comes_back_is_another() {
    let rig = Rig::start().await;
    publish(&rig, each_is_told(Mode::Enforce)).await;
    through(&rig).await;
    let staged = stage(&rig, "again", 1).await;
    let bucket = staged[0].resource.as_str();
    let open = rig.cloud.s3.get_bucket_acl().bucket(bucket).send().await.unwrap();
    let open = AccessControlPolicy::builder().set_owner(open.owner).set_grants(open.grants).build();
    for round in 0..3 {
        let put = rig.cloud.s3.put_bucket_acl().bucket(bucket);
        put.access_control_policy(open.clone()).send().await.unwrap();
        assert_eq!(violating(&rig, &staged).await, 1, "round {round}");
        through(&rig).await;
        assert_eq!(violating(&rig, &staged).await, 0, "round {round}");
    }
    assert_eq!(rig.ledger.newest(ACL, None, 10).await.unwrap().len(), 3);
}

#[tokio::test]
async fn what_was_put_right_by_hand_and_is_broken_again_is_no_backlog() {
    let rig = Rig::start().await;
    let staged = stage(&rig, "mended", 1).await;
    let bucket = staged[0].resource.as_str();
    let open = rig.cloud.s3.get_bucket_acl().bucket(bucket).send().await.unwrap();
    let open = AccessControlPolicy::builder().set_owner(open.owner).set_grants(open.grants).build();
    publish(&rig, each_is_told(Mode::Enforce)).await;
    assert_eq!(found(&through(&rig).await).backlog, 1);
    assert_eq!(found(&through(&rig).await).known, 1);

    let put = rig.cloud.s3.put_bucket_acl().bucket(bucket);
    put.acl(BucketCannedAcl::Private).send().await.unwrap();
    assert_eq!(found(&through(&rig).await).compliant, 1);
    let put = rig.cloud.s3.put_bucket_acl().bucket(bucket);
    put.access_control_policy(open).send().await.unwrap();

    let swept = through(&rig).await;
    assert_eq!((found(&swept).violating, found(&swept).known), (1, 0), "{swept:?}");
    assert_eq!(violating(&rig, &staged).await, 0);
}

#[tokio::test]
async fn of_the_backlog_each_sweep_puts_right_what_its_budget_allows_and_events_keep_theirs() {
    let rig = Rig::start().await;
    let old = stage(&rig, "slowly", 5).await;
    let sweep = Sweep { fix_backlog: vec![ACL.to_owned()] };
    let mut policy = Policy { sweep, ..each_is_told(Mode::Enforce) };
    policy.budgets.routine.control = 2;
    publish(&rig, policy).await;

    for left in [3, 1, 0] {
        let swept = through(&rig).await;
        assert_eq!((found(&swept).backlog, found(&swept).failed), (left, 0), "{swept:?}");
        assert_eq!(violating(&rig, &old).await as u64, left);
        if left == 3 {
            let new = stage(&rig, "lately", 1).await;
            let response = deliver(&rig, &new[0].event).await;
            assert_eq!(response.results[0].outcome, Outcome::Fixed);
        }
        rig.budgets_end().await;
    }
    let records = rig.ledger.newest(ACL, None, 10).await.unwrap();
    assert!(records.iter().all(|record| record.status == Status::Fixed), "none waits for a person");
}

#[tokio::test]
async fn what_three_runs_died_of_is_named_and_keeps_the_sweep_from_nothing_else() {
    let rig = Rig::start().await;
    publish(&rig, each_is_told(Mode::Enforce)).await;
    through(&rig).await;
    let staged = stage(&rig, "deadly", 3).await;
    let standing = rig.ledger.course("s3-exposure").await.unwrap();
    let mut course = standing.course.next(Timestamp::now());
    // Each ended without giving the course back, the last one a moment ago.
    course.place = Some(Place { control: ACL.to_owned(), tries: 2, ..Place::default() });
    course.hold("dead", Timestamp::now() - SignedDuration::from_secs(1));
    rig.ledger.keep_course("s3-exposure", &course, standing.version).await.unwrap();

    let failure = run::<Acl>(&rig, engine(&rig)).await.unwrap_err().to_string();

    assert!(failure.contains("three runs ended while they looked at it"), "{failure}");
    assert_eq!(violating(&rig, &staged).await, 1, "the others were put right");
}

#[tokio::test]
async fn nothing_is_put_right_while_nobody_knows_how_it_was() {
    let rig = Rig::start().await;
    publish(&rig, each_is_told(Mode::Enforce)).await;
    run_through::<(Encryption,)>(&rig).await;
    let staged = rig.stack.stage("s3-encryption", "unread").await.unwrap();
    let sdk = rig.cloud.sdk.to_builder().http_client(leaving_keys_unread("BSL#")).build();
    let aws = Clients::new(sdk, ACCOUNT);
    let blind = || Engine { ledger: Ledger::new(&aws, rig.stack.ledger.as_str()), ..engine(&rig) };
    for _ in 0..2 {
        let swept = run::<(Encryption,)>(&rig, blind()).await.unwrap().expect("it is due");
        assert!(!swept.finished, "{swept:?}");
    }
    let failure = run::<(Encryption,)>(&rig, blind()).await.unwrap_err().to_string();
    assert!(failure.contains("s3-encryption, its resources"), "{failure}");
    // Nobody saw since when it has been so.
    let next = run_through::<(Encryption,)>(&rig).await;
    assert_eq!(next.found["s3-encryption"].backlog, 1, "{next:?}");
    assert!(scenario::is_violating(&rig.cloud, &staged).await.unwrap());
}

#[tokio::test]
async fn what_one_sweep_could_not_put_right_the_next_one_does() {
    let rig = Rig::start().await;
    publish(&rig, each_is_told(Mode::Enforce)).await;
    through(&rig).await;
    let staged = stage(&rig, "failed", 1).await;
    let sdk = rig.cloud.sdk.to_builder().http_client(denying_writes()).build();
    let aws = Clients::new(sdk, ACCOUNT);
    let event = schedule().to_string();
    let failure = handle::<Acl>(&engine(&rig), &aws, &event).await.unwrap_err().to_string();
    assert!(failure.contains("denied"), "{failure}");

    let next = through(&rig).await;
    assert_eq!((found(&next).backlog, found(&next).failed), (0, 0), "{next:?}");
    assert_eq!(violating(&rig, &staged).await, 0);
}

#[tokio::test]
async fn what_is_exempt_is_left_alone_until_the_exemption_ends() {
    let rig = Rig::start().await;
    publish(&rig, each_is_told(Mode::Enforce)).await;
    through(&rig).await;
    let staged = stage(&rig, "exempt", 1).await;
    let bucket = staged[0].resource.as_str();
    let now = Timestamp::now();
    let exemption = Exemption {
        control: ACL.to_owned(),
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        arn: format!("arn:aws:s3:::{bucket}"),
        resource: bucket.to_owned(),
        unique_id: made_at(&rig, bucket).await,
        severity: quell_engine::Severity::High,
        reason: "press kit".to_owned(),
        owner: "web".to_owned(),
        by: "arn:aws:iam::123456789012:user/alice".to_owned(),
        person: "Alice".to_owned(),
        granted: now - SignedDuration::from_secs(1),
        expires: now + SignedDuration::from_hours(48),
        undo_of: None,
        told_expiring: None,
        told_unused: None,
        used: false,
    };
    rig.ledger.grant(&exemption).await.unwrap();

    let swept = through(&rig).await;
    assert_eq!((found(&swept).exempt, found(&swept).violating), (1, 0), "{swept:?}");
    let again = through(&rig).await;
    assert_eq!((found(&again).known, found(&again).violating), (1, 0), "{again:?}");
    assert_eq!(violating(&rig, &staged).await, 1);
    assert_eq!(rig.ledger.newest(ACL, None, 10).await.unwrap().len(), 1, "one record says so");
    assert_eq!(told(&rig).await, [Value::Null; 0], "and nobody is told");

    rig.ledger.revoke(ACL, ACCOUNT, &exemption.arn).await.unwrap();
    through(&rig).await;
    assert_eq!(violating(&rig, &staged).await, 0);
}

#[tokio::test]
async fn nothing_is_swept_while_everything_is_halted_or_before_it_is_due() {
    let rig = Rig::start().await;
    publish(&rig, each_is_told(Mode::Enforce)).await;
    let halt = Halt {
        by: "arn:aws:iam::123456789012:user/alice".to_owned(),
        person: None,
        at: Timestamp::now(),
        reason: "it fights".to_owned(),
    };
    rig.ledger.halt(&halt).await.unwrap();
    assert_eq!(run::<Acl>(&rig, engine(&rig)).await.unwrap(), None);
    rig.ledger.continue_(&halt).await.unwrap();
    assert!(run::<Acl>(&rig, engine(&rig)).await.unwrap().is_some());

    let hourly = Engine { sweeps_every: Some(Duration::from_secs(3_600)), ..engine(&rig) };
    assert_eq!(run::<Acl>(&rig, hourly).await.unwrap(), None, "the last began a moment ago");
    let never = Engine { sweeps_every: None, ..engine(&rig) };
    assert_eq!(run::<Acl>(&rig, never).await.unwrap(), None);
    let none = run::<(Quarantine,)>(&rig, engine(&rig)).await.unwrap();
    assert!(none.is_none_or(|swept| swept.found.is_empty()), "there is nothing to look for");
}

#[tokio::test]
async fn what_a_sweep_may_not_read_is_named_and_keeps_it_from_nothing_else() {
    let rig = Rig::start().await;
    publish(&rig, each_is_told(Mode::Enforce)).await;
    through(&rig).await;
    let staged = stage(&rig, "denied", 3).await;
    let denied = staged[1].resource.as_str();
    let sdk = rig.cloud.sdk.to_builder().http_client(denying_bucket(denied)).build();
    let aws = Clients::new(sdk, ACCOUNT);

    let event = schedule().to_string();
    let failure = handle::<Acl>(&engine(&rig), &aws, &event).await.unwrap_err().to_string();

    assert!(failure.contains(denied) && failure.contains("denied"), "{failure}");
    assert_eq!(violating(&rig, &staged).await, 1, "the others were put right");
    // Whether it was so before the policy named the control, nobody saw: it is counted, and not fixed.
    let next = through(&rig).await;
    assert_eq!((found(&next).compliant, found(&next).backlog), (2, 1), "{next:?}");
    assert_eq!(violating(&rig, &staged).await, 1);
}

#[tokio::test]
async fn what_the_first_sweep_could_not_list_is_backlog_to_the_next_one() {
    let rig = Rig::start().await;
    let staged = stage(&rig, "unlisted", 2).await;
    publish(&rig, each_is_told(Mode::Enforce)).await;
    let sdk = rig.cloud.sdk.to_builder().http_client(denying_bucket("?")).build();
    let aws = Clients::new(sdk, ACCOUNT);
    for _ in 0..3 {
        let _ = handle::<Acl>(&engine(&rig), &aws, &schedule().to_string()).await;
    }
    let next = through(&rig).await;
    assert_eq!((found(&next).backlog, found(&next).violating), (2, 0), "{next:?}");
    assert_eq!(violating(&rig, &staged).await, 2);
}

#[tokio::test]
async fn a_list_that_is_denied_is_tried_by_three_runs_and_then_told() {
    let rig = Rig::start().await;
    publish(&rig, each_is_told(Mode::Enforce)).await;
    // The list of buckets has no name in front of its parameters.
    let sdk = rig.cloud.sdk.to_builder().http_client(denying_bucket("?")).build();
    let aws = Clients::new(sdk, ACCOUNT);
    let event = schedule().to_string();
    for _ in 0..2 {
        let swept = handle::<Acl>(&engine(&rig), &aws, &event).await.unwrap().swept.unwrap();
        assert!(!swept.finished, "{swept:?}");
    }
    let failure = handle::<Acl>(&engine(&rig), &aws, &event).await.unwrap_err().to_string();
    assert!(failure.contains("s3-public-acl, its resources"), "{failure}");
    assert!(failure.contains("ListAllMyBuckets: denied"), "{failure}");
}

#[tokio::test]
async fn a_control_that_is_off_is_not_swept() {
    let rig = Rig::start().await;
    let staged = stage(&rig, "off", 1).await;
    publish(&rig, each_is_told(Mode::Off)).await;
    let swept = through(&rig).await;
    assert!(swept.found.is_empty(), "{swept:?}");
    assert_eq!(violating(&rig, &staged).await, 1);
}

#[tokio::test]
async fn the_real_function_sweeps_when_its_schedule_wakes_it() {
    let rig = Rig::start().await;
    publish(&rig, each_is_told(Mode::Enforce)).await;
    let function = function(&rig);
    let Answer::Response(first) = wake(&function).await else { panic!("it failed") };
    assert_eq!(first["swept"]["finished"], true, "{first}");
    let Answer::Response(early) = wake(&function).await else { panic!("it failed") };
    assert_eq!(early["swept"], Value::Null, "the next is due in an hour: {early}");
}

// A rig with a sweep

fn each_is_told(mode: Mode) -> Policy {
    let notify = Notify { fold_minutes: 0, ..Notify::DEFAULT };
    let mut policy = Policy { notify, ..Policy::by_name(mode, REGISTRY) };
    // More than a quarter of an hour is usually allowed.
    policy.budgets.routine.control = 100;
    policy
}

async fn publish(rig: &Rig, policy: Policy) {
    rig.stack.apply_policy(&policy).await.unwrap();
}

/// Due whenever the last one is through.
fn engine(rig: &Rig) -> Engine {
    Engine { sweeps_every: Some(Duration::ZERO), ..rig.engine_under_policy() }
}

fn schedule() -> Value {
    json!({
        "version": "0", "id": format!("{:032x}", fastrand::u128(..)),
        "source": "aws.events", "detail-type": "Scheduled Event",
        "account": ACCOUNT, "region": REGION, "time": "2026-11-23T12:00:00Z",
        "resources": [format!("arn:aws:events:{REGION}:{ACCOUNT}:rule/quell-S3ExposureSweep-1A2B")],
        "detail": {},
    })
}

async fn run<S: Controls>(rig: &Rig, engine: Engine) -> Result<Option<Swept>, EventFailure> {
    Ok(handle::<S>(&engine, &rig.aws, &schedule().to_string()).await?.swept)
}

/// One sweep, run by run.
async fn through(rig: &Rig) -> Swept {
    run_through::<Acl>(rig).await
}

async fn run_through<S: Controls>(rig: &Rig) -> Swept {
    for _ in 0..20 {
        let swept = run::<S>(rig, engine(rig)).await.unwrap().expect("it is due");
        if swept.finished {
            return swept;
        }
    }
    panic!("it comes to no end");
}

fn found(swept: &Swept) -> Found {
    swept.found.get(ACL).copied().unwrap_or_default()
}

async fn deliver(rig: &Rig, event: &Value) -> Response {
    handle::<Acl>(&rig.engine_under_policy(), &rig.aws, &event.to_string()).await.unwrap()
}

async fn stage(rig: &Rig, name: &str, count: usize) -> Vec<Staged> {
    let mut staged = Vec::new();
    for place in 0..count {
        staged.push(scenario::stage(&rig.cloud, ACL, &format!("{name}{place}")).await.unwrap());
    }
    staged
}

async fn violating(rig: &Rig, staged: &[Staged]) -> usize {
    let mut violating = 0;
    for one in staged {
        violating += usize::from(scenario::is_violating(&rig.cloud, one).await.unwrap());
    }
    violating
}

/// What was told since the last time.
async fn told(rig: &Rig) -> Vec<Value> {
    let messages = rig.stack.messages().await.unwrap();
    messages.iter().map(|one| serde_json::from_str(&one.body).unwrap()).collect()
}

async fn desk(rig: &Rig) -> Desk {
    Desk::open(&rig.stack, vec![Arc::new(function(rig))]).await
}

fn function(rig: &Rig) -> Function {
    let environment = rig.stack.environment("act");
    Function::new("s3-exposure", binary("s3-exposure"), environment, Duration::from_secs(60), 256)
}

async fn wake(function: &Function) -> Answer {
    function.invoke(schedule().to_string()).await.unwrap().answer
}

async fn made_at(rig: &Rig, bucket: &str) -> String {
    let buckets = rig.cloud.s3.list_buckets().send().await.unwrap();
    let found = buckets.buckets().iter().find(|one| one.name() == Some(bucket)).unwrap();
    found.creation_date().unwrap().to_string()
}
