//! What people may order, with the real operator behind a function URL that checks signatures as AWS does.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use jiff::{SignedDuration, Timestamp};
use quell_engine::{
    Severity,
    ledger::{Due, Exemption, Order, Record, Status, Verb},
    policy::Mode,
};
use quell_local::{Answer, Function, Invoked, cloud::CALLER, scenario};
use quell_tests::{
    command::{quell_meanwhile, text},
    desk::{Desk, arn, key, people, sent, signed},
    rig::{Rig, again, binary},
};
use serde_json::{Value, json};

#[tokio::test]
async fn nobody_is_heard_whose_request_aws_would_not_admit() {
    let (rig, desk) = open().await;
    let url = desk.door.url();
    let order = r#"{"verb":"halt","reason":"test"}"#;
    let now = SystemTime::now();

    let mut unsigned = signed(&url, &key("alice"), now, order);
    unsigned.headers_mut().remove("authorization");
    let mut tampered = signed(&url, &key("alice"), now, order);
    *tampered.body_mut() = r#"{"verb":"halt","reason":"other"}"#.into();
    let mut elsewhere = signed(&url, &key("alice"), now, order);
    elsewhere.set_uri(format!("{url}admin")).unwrap();
    let mut forged = key("alice");
    forged.secret = "guessed".to_owned();
    let late = now - Duration::from_secs(301);
    for (why, request) in [
        ("unsigned", unsigned),
        ("tampered with", tampered),
        ("signed for another path", elsewhere),
        ("forged", signed(&url, &forged, now, order)),
        ("of a stranger", signed(&url, &key("mallory"), now, order)),
        ("old", signed(&url, &key("alice"), late, order)),
    ] {
        let (status, body) = sent(request).await;
        assert_eq!(status, 403, "{why}: {body}");
        assert!(body.get("verb").is_none(), "{why}: the operator never saw it");
    }
    assert!(desk.operator.log().is_empty(), "the operator was not even started");
    assert_eq!(rig.ledger.halted().await.unwrap(), None);
}

#[tokio::test]
async fn who_asks_is_who_signed_whatever_the_body_says() {
    let (rig, desk) = open().await;
    let claims = json!({"verb": "continue", "by": arn("alice")});
    let (status, body) = desk.order("eve", &claims).await;
    assert_eq!((status, &body["state"]), (400, &json!("refused")));
    assert!(body["detail"].as_str().unwrap().contains("unknown field `by`"), "{body}");

    let (status, body) =
        desk.order("eve", &json!({"verb": "halt", "reason": "alice told me"})).await;
    assert_eq!(status, 200, "{body}");
    let halt = rig.ledger.halted().await.unwrap().unwrap();
    assert_eq!((halt.by, halt.person), (arn("eve"), None));
}

#[tokio::test]
async fn everybody_may_halt_and_only_who_is_known_may_continue() {
    let (rig, desk) = open().await;
    let (status, _) = desk.order("eve", &json!({"verb": "halt", "reason": "it fights"})).await;
    assert_eq!(status, 200);
    let (status, body) = desk.order("bob", &json!({"verb": "halt", "reason": "me too"})).await;
    assert_eq!(status, 200);
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains("user/eve halted everything already"), "{detail}");
    assert!(detail.contains("it fights"), "{detail}");

    let (status, body) = desk.order("eve", &json!({"verb": "continue"})).await;
    assert_eq!(status, 403, "{body}");
    assert!(rig.ledger.halted().await.unwrap().is_some());

    let (status, body) = desk.order("alice", &json!({"verb": "continue"})).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(rig.ledger.halted().await.unwrap(), None);
    let (_, body) = desk.order("alice", &json!({"verb": "continue"})).await;
    assert_eq!(body["detail"], "nothing was halted");
}

#[tokio::test]
async fn bad_bodies_are_told_apart_and_change_nothing() {
    let (_rig, desk) = open().await;
    for (order, status, says) in [
        (json!([]), 400, "no order"),
        (json!({}), 400, "missing field `verb`"),
        (json!({"verb": "explode"}), 400, "unknown variant `explode`"),
        (json!({"verb": "undo", "record": "../../etc"}), 400, "20 hexadecimal digits"),
        (json!({"verb": "undo", "record": "0123456789ABCDEF0123"}), 400, "in lower case"),
        (json!({"verb": "undo", "record": "00000000000000000000"}), 404, "there is no record"),
        (json!({"verb": "halt", "reason": "x".repeat(70_000)}), 400, "longer than 65536 bytes"),
        (json!({"verb": "resume"}), 400, "either `record`"),
        (json!({"verb": "resume", "all": true, "control": "s3"}), 400, "there is no such control"),
        (json!({"verb": "exempt", "reason": "r", "days": 1}), 400, "either `record`"),
    ] {
        let (got, body) = desk.order("alice", &order).await;
        assert_eq!(got, status, "{order} -> {body}");
        let detail = body["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{order} -> {detail}");
    }
    let lines = desk.operator.log();
    assert_eq!(lines.len(), 10, "one line each");
    for line in &lines {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["message"], "refused");
        assert!(line.to_string().len() < 2048, "no body is logged");
    }
}

#[tokio::test]
async fn an_exemption_has_its_limits() {
    let (rig, desk) = open().await;
    let add = |change: Value| {
        let mut order = json!({
            "verb": "exempt",
            "control": "s3-public-acl",
            "resource": "photos-2024",
            "reason": "press kit",
            "days": 30,
        });
        order.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        order
    };
    for (order, status, says) in [
        (add(json!({"days": 91})), 400, "at most 90"),
        (add(json!({"days": 0})), 400, "from 1 to 90"),
        (add(json!({"days": -1})), 400, "from 1 to 90"),
        (add(json!({"days": i64::MAX})), 400, "from 1 to 90"),
        (add(json!({"control": "ec2-quarantine", "days": 8})), 400, "at most 7"),
        (add(json!({"resource": "photos-*"})), 400, "names no single resource"),
        (add(json!({"reason": ""})), 400, "`reason` has 0 characters"),
        (add(json!({"reason": "a\u{202e}b"})), 400, "invisible character"),
        (add(json!({"reason": "x".repeat(501)})), 400, "`reason` has 501 characters"),
        (add(json!({"owner": "\u{1b}[31m"})), 400, "`owner` has a control"),
        (add(json!({"control": "nothing"})), 400, "there is no such control"),
        (add(json!({"record": "00000000000000000000"})), 400, "either `record`"),
    ] {
        let (got, body) = desk.order("alice", &order).await;
        assert_eq!(got, status, "{order} -> {body}");
        let detail = body["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{order} -> {detail}");
    }
    let (status, body) = desk.order("eve", &add(json!({}))).await;
    assert_eq!(status, 403, "nobody whom the policy does not know: {body}");
    assert!(rig.ledger.exemptions().await.unwrap().is_empty());
    assert!(desk.door.invocations().is_empty(), "nothing was even looked at");
}

#[tokio::test]
async fn a_plan_is_made_when_another_person_approves_it_and_only_then() {
    let (rig, desk) = open().await;
    let staged = scenario::stage(&rig.cloud, "s3-public-acl", "approved").await.unwrap();
    // The event says that alice did it.
    let record = desk.deliver(&rig, &staged).await;
    assert_eq!(record.status, Status::Pending);
    let hash = record.intent.plan_hash.as_str();
    let approve = |plan: &str| json!({"verb": "approve", "record": record.id, "plan": plan});

    for (person, order, status, says) in [
        ("alice", approve(hash), 403, "somebody else must approve it"),
        ("eve", approve(hash), 403, "the policy knows nobody as"),
        ("bob", approve("0123456789abcdef0123"), 409, "is not the hash of this record's plan"),
        ("bob", approve(""), 409, "is not the hash of this record's plan"),
    ] {
        let (got, body) = desk.order(person, &order).await;
        assert_eq!(got, status, "{person}: {body}");
        let detail = body["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{person}: {detail}");
    }
    assert!(desk.door.invocations().is_empty(), "nobody was woken");
    assert!(scenario::is_violating(&rig.cloud, &staged).await.unwrap());

    let (status, body) = desk.order("bob", &approve(hash)).await;
    assert_eq!((status, &body["state"]), (202, &json!("accepted")), "{body}");
    let fixed = rested(&rig, &record.id).await;
    assert_eq!(fixed.status, Status::Fixed);
    assert_eq!(fixed.result.order.unwrap().by, arn("bob"));
    assert!(!scenario::is_violating(&rig.cloud, &staged).await.unwrap());

    let (status, body) = desk.order("bob", &approve(hash)).await;
    assert_eq!(status, 409, "an approval counts once: {body}");
    assert!(body["detail"].as_str().unwrap().contains("it is fixed"), "{body}");
}

#[tokio::test]
async fn what_somebody_unknown_did_nobody_approves() {
    let (rig, desk) = open().await;
    let mut staged = scenario::stage(&rig.cloud, "s3-public-acl", "unknown").await.unwrap();
    staged.event["detail"]["userIdentity"]["arn"] = json!(arn("mallory"));
    let record = desk.deliver(&rig, &staged).await;
    let approve = json!({"verb": "approve", "record": record.id, "plan": record.intent.plan_hash});
    for person in ["alice", "bob"] {
        let (status, body) = desk.order(person, &approve).await;
        assert_eq!(status, 403, "{body}");
    }
    assert_eq!(rig.ledger.read(&record.id).await.unwrap().unwrap().status, Status::Pending);
    assert!(scenario::is_violating(&rig.cloud, &staged).await.unwrap());
}

#[tokio::test]
async fn an_approval_is_for_the_state_that_was_planned_for() {
    let (rig, desk) = open().await;
    let staged = scenario::stage(&rig.cloud, "s3-public-acl", "moved").await.unwrap();
    let record = desk.deliver(&rig, &staged).await;
    // Between the plan and the yes somebody opens it further.
    rig.cloud
        .s3
        .put_bucket_acl()
        .bucket(&staged.resource)
        .acl(aws_sdk_s3::types::BucketCannedAcl::PublicReadWrite)
        .send()
        .await
        .unwrap();
    let changed = scenario::snapshot(&rig.cloud, &staged).await.unwrap();
    let approve = json!({"verb": "approve", "record": record.id, "plan": record.intent.plan_hash});
    let (status, body) = desk.order("bob", &approve).await;
    assert_eq!(status, 202, "{body}");
    let rested = rested(&rig, &record.id).await;
    assert_eq!(rested.status, Status::Superseded);
    assert_eq!(scenario::snapshot(&rig.cloud, &staged).await.unwrap(), changed);
}

#[tokio::test]
async fn a_no_ends_it() {
    let (rig, desk) = open().await;
    let staged = scenario::stage(&rig.cloud, "s3-public-acl", "denied").await.unwrap();
    let record = desk.deliver(&rig, &staged).await;
    let deny = json!({"verb": "deny", "record": record.id, "reason": "public on purpose"});
    assert_eq!(desk.order("eve", &deny).await.0, 403);
    let (status, body) = desk.order("alice", &deny).await;
    assert_eq!(status, 403, "who did it does not say that it stays: {body}");
    let (status, body) = desk.order("bob", &deny).await;
    assert_eq!(status, 200, "{body}");
    let denied = rig.ledger.read(&record.id).await.unwrap().unwrap();
    assert_eq!(denied.status, Status::Denied);
    assert_eq!(denied.result.reason.as_deref(), Some("denied by bob: public on purpose"));
    assert_eq!(denied.result.told, Some(Status::Denied));
    let told = rig.stack.messages().await.unwrap();
    let told = told.iter().map(|message| &message.attributes);
    let told = told.filter(|told| told["control"] == "s3-public-acl");
    let told: Vec<_> = told.map(|told| told["outcome"].as_str()).collect();
    assert_eq!(told, ["pending", "denied"], "who was asked hears that nobody needs to any more");

    let approve = json!({"verb": "approve", "record": record.id, "plan": record.intent.plan_hash});
    assert_eq!(desk.order("bob", &approve).await.0, 409);
    assert_eq!(desk.order("bob", &deny).await.0, 409);
    assert!(scenario::is_violating(&rig.cloud, &staged).await.unwrap());
}

#[tokio::test]
async fn silence_is_no_yes_and_what_it_parked_can_be_resumed() {
    let (rig, desk) = open().await;
    let mut policy = people(Mode::Approve);
    policy.approvals.expire_hours = 0;
    rig.stack.apply_policy(&policy).await.unwrap();
    let staged = scenario::stage(&rig.cloud, "s3-public-acl", "silent").await.unwrap();
    let record = desk.deliver(&rig, &staged).await;
    assert_eq!(record.status, Status::Pending);
    let approve = json!({"verb": "approve", "record": record.id, "plan": record.intent.plan_hash});
    let (status, body) = desk.order("bob", &approve).await;
    assert_eq!(status, 409, "it is too late: {body}");
    rig.stack.messages().await.unwrap();

    let answer = desk.recover().await;
    let Answer::Response(response) = answer else { panic!("{answer:?}") };
    assert_eq!(response["parked"], json!([record.id]));
    let parked = rig.ledger.read(&record.id).await.unwrap().unwrap();
    assert_eq!(parked.status, Status::Parked);
    let told = rig.stack.messages().await.unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].attributes["outcome"], "parked");
    let answer = desk.recover().await;
    let Answer::Response(response) = answer else { panic!("{answer:?}") };
    assert_eq!(response["parked"], json!([]), "once");
    assert!(scenario::is_violating(&rig.cloud, &staged).await.unwrap());

    rig.stack.apply_policy(&people(Mode::Enforce)).await.unwrap();
    let resume = json!({"verb": "resume", "all": true, "control": "s3-public-acl"});
    assert_eq!(desk.order("eve", &resume).await.0, 403);
    let (status, body) = desk.order("bob", &resume).await;
    assert_eq!((status, &body["resumed"]), (202, &json!([record.id])), "{body}");
    until(|| async { !scenario::is_violating(&rig.cloud, &staged).await.unwrap() }).await;
}

#[tokio::test]
async fn an_order_of_which_the_word_was_lost_is_heeded_all_the_same() {
    let (rig, desk) = open().await;
    let lost = |record: &Record, verb, plan| {
        let at = Timestamp::now() - SignedDuration::from_mins(6);
        let person = Some("bob".to_owned());
        let expires = at + SignedDuration::from_hours(24);
        Order { record: record.id.clone(), verb, plan, by: arn("bob"), person, at, expires }
    };
    let staged = scenario::stage(&rig.cloud, "s3-public-acl", "unheard").await.unwrap();
    let record = desk.deliver(&rig, &staged).await;
    let yes = lost(&record, Verb::Approve, Some(record.intent.plan_hash.clone()));
    rig.ledger.order(&yes).await.unwrap();
    desk.recover().await;
    assert_eq!(rested(&rig, &record.id).await.status, Status::Fixed);

    let before = scenario::snapshot(&rig.cloud, &staged).await.unwrap();
    let undo = lost(&record, Verb::Undo, None);
    rig.ledger.order(&undo).await.unwrap();
    desk.recover().await;
    let is_undone =
        || async { rig.ledger.read(&record.id).await.unwrap().unwrap().status == Status::Undone };
    until(is_undone).await;
    assert_ne!(scenario::snapshot(&rig.cloud, &staged).await.unwrap(), before);

    // Once they are due again both are seen to be heeded, and that is the end of it.
    for order in [&yes, &undo] {
        rig.ledger.put_off(order, Some(Timestamp::now())).await.unwrap();
    }
    desk.recover().await;
    let due = rig.ledger.due(Timestamp::now() + SignedDuration::from_hours(48), 9).await.unwrap();
    assert!(!due.iter().any(|due| matches!(due, Due::Order(_))), "{due:?}");
}

#[tokio::test]
async fn an_order_that_nobody_can_heed_is_tried_ever_less_often() {
    let (rig, desk) = open().await;
    let staged = scenario::stage(&rig.cloud, "s3-public-acl", "rarely").await.unwrap();
    let record = desk.deliver(&rig, &staged).await;
    let hash = record.intent.plan_hash.clone();
    let at = Timestamp::now() - SignedDuration::from_mins(6);
    let order = Order {
        record: record.id.clone(),
        verb: Verb::Approve,
        plan: Some(hash),
        by: arn("bob"),
        person: Some("bob".into()),
        at,
        expires: at + SignedDuration::from_hours(24),
    };
    desk.order("eve", &json!({"verb": "halt", "reason": "wait"})).await;
    rig.ledger.order(&order).await.unwrap();
    desk.recover().await;
    let due = |minutes| {
        let now = Timestamp::now() + SignedDuration::from_mins(minutes);
        let ledger = &rig.ledger;
        async move {
            let due = ledger.due(now, 9).await.unwrap();
            due.iter().any(|due| matches!(due, Due::Order(_)))
        }
    };
    assert!(!due(5).await, "it waits as long as it has waited");
    assert!(due(7).await, "but not for ever");
    assert!(scenario::is_violating(&rig.cloud, &staged).await.unwrap());
}

#[tokio::test]
async fn nothing_is_ordered_while_everything_is_halted() {
    let (rig, desk) = open().await;
    let staged = scenario::stage(&rig.cloud, "s3-public-acl", "halted").await.unwrap();
    let record = desk.deliver(&rig, &staged).await;
    desk.order("eve", &json!({"verb": "halt", "reason": "wait"})).await;
    let approve = json!({"verb": "approve", "record": record.id, "plan": record.intent.plan_hash});
    let (status, body) = desk.order("bob", &approve).await;
    assert_eq!(status, 409);
    assert!(body["detail"].as_str().unwrap().contains("halted everything"), "{body}");
    desk.order("bob", &json!({"verb": "continue"})).await;
    assert_eq!(desk.order("bob", &approve).await.0, 202);
    assert_eq!(rested(&rig, &record.id).await.status, Status::Fixed);
}

#[tokio::test]
async fn an_undo_puts_back_what_was_and_the_next_event_does_not_redo_it() {
    let (rig, desk) = open().await;
    rig.stack.apply_policy(&people(Mode::Enforce)).await.unwrap();
    let staged = scenario::stage(&rig.cloud, "s3-public-acl", "undone").await.unwrap();
    let before = scenario::snapshot(&rig.cloud, &staged).await.unwrap();
    let record = desk.deliver(&rig, &staged).await;
    assert_eq!(record.status, Status::Fixed);

    let undo = json!({"verb": "undo", "record": record.id});
    let (status, body) = desk.order("alice", &undo).await;
    assert_eq!(status, 403, "else it were an exemption that who did it gives: {body}");
    let (status, body) = desk.order("bob", &undo).await;
    assert_eq!((status, &body["state"]), (200, &json!("done")), "{body}");
    assert_eq!(scenario::snapshot(&rig.cloud, &staged).await.unwrap(), before);
    let exemption = rig.ledger.exemptions().await.unwrap().remove(0);
    assert_eq!(exemption.undo_of.as_deref(), Some(record.id.as_str()));
    assert!(exemption.expires <= Timestamp::now() + SignedDuration::from_hours(24));

    let mut next = staged.clone();
    next.event = again(&staged.event, "77");
    let now = Timestamp::now() + SignedDuration::from_secs(1);
    next.event["time"] = json!(format!("{now:.0}"));
    next.event["detail"]["eventTime"] = json!(format!("{now:.0}"));
    assert_eq!(desk.deliver(&rig, &next).await.status, Status::Exempt);
    assert_eq!(scenario::snapshot(&rig.cloud, &staged).await.unwrap(), before);

    let (status, body) = desk.order("alice", &undo).await;
    assert_eq!(status, 200, "{body}");
    assert!(body["detail"].as_str().unwrap().contains("undone already"), "{body}");
}

#[tokio::test]
async fn an_undo_that_would_overwrite_what_came_since_leaves_nothing_behind() {
    let (rig, desk) = open().await;
    rig.stack.apply_policy(&people(Mode::Enforce)).await.unwrap();
    let staged = scenario::stage(&rig.cloud, "s3-public-acl", "changed").await.unwrap();
    let record = desk.deliver(&rig, &staged).await;
    rig.cloud
        .s3
        .put_bucket_acl()
        .bucket(&staged.resource)
        .acl(aws_sdk_s3::types::BucketCannedAcl::AuthenticatedRead)
        .send()
        .await
        .unwrap();
    let changed = scenario::snapshot(&rig.cloud, &staged).await.unwrap();
    let (status, body) = desk.order("bob", &json!({"verb": "undo", "record": record.id})).await;
    assert_eq!(status, 409, "{body}");
    assert_eq!(scenario::snapshot(&rig.cloud, &staged).await.unwrap(), changed);
    assert!(rig.ledger.exemptions().await.unwrap().is_empty());
    assert_eq!(rig.ledger.ordered(&record.id, Verb::Undo).await.unwrap(), None);
}

#[tokio::test]
async fn who_opened_a_resource_does_not_exempt_it() {
    let (rig, desk) = open().await;
    let staged = scenario::stage(&rig.cloud, "s3-public-acl", "exempt").await.unwrap();
    let record = desk.deliver(&rig, &staged).await;
    let by_record =
        json!({"verb": "exempt", "record": record.id, "reason": "press kit", "days": 30});
    let by_name = json!({
        "verb": "exempt",
        "control": "s3-public-acl",
        "resource": staged.resource,
        "reason": "press kit",
        "days": 30,
    });
    for order in [&by_record, &by_name] {
        let (status, body) = desk.order("alice", order).await;
        assert_eq!(status, 403, "{body}");
        assert!(body["detail"].as_str().unwrap().contains("somebody else must exempt"), "{body}");
    }
    assert!(rig.ledger.exemptions().await.unwrap().is_empty());

    let (status, body) = desk.order("bob", &by_record).await;
    assert_eq!(status, 200, "{body}");
    let exemption = rig.ledger.exemptions().await.unwrap().remove(0);
    assert_eq!(exemption.arn, format!("arn:aws:s3:::{}", staged.resource));
    assert_eq!((exemption.person.as_str(), exemption.owner.as_str()), ("bob", "bob"));
    assert!(!exemption.unique_id.is_empty());
}

#[tokio::test]
async fn nothing_that_is_not_there_is_exempt() {
    let (rig, desk) = open().await;
    for (resource, says) in
        [("quell-no-such-bucket", "no such resource"), ("No Bucket", "does not")]
    {
        let order = json!({
            "verb": "exempt",
            "control": "s3-public-acl",
            "resource": resource,
            "reason": "later",
            "days": 1,
        });
        let (status, body) = desk.order("bob", &order).await;
        assert_eq!(status, 404, "{body}");
        assert!(body["detail"].as_str().unwrap().contains(says), "{body}");
    }
    let asked = desk.door.invocations();
    assert_eq!(asked.len(), 2);
    let s3 = s3_exposure(&rig);
    for Invoked { event, .. } in asked {
        let answer = s3.invoke(event.to_string()).await.unwrap().answer;
        assert!(matches!(answer, Answer::Response(_)), "a slip rings no alarm: {answer:?}");
    }
}

#[tokio::test]
async fn a_person_gives_orders_from_the_command_line() {
    let (rig, desk) = open().await;
    let mut policy = people(Mode::Approve);
    policy.people[1].principals.push(CALLER.to_owned());
    rig.stack.apply_policy(&policy).await.unwrap();
    let staged = scenario::stage(&rig.cloud, "s3-public-acl", "typed").await.unwrap();
    let before = scenario::snapshot(&rig.cloud, &staged).await.unwrap();
    let record = desk.deliver(&rig, &staged).await;
    let id = record.id.as_str();
    let mut environment = rig.stack.environment("act");
    let nowhere = quell_meanwhile(&["halt"], &environment).await;
    assert_eq!(nowhere.status.code(), Some(3));
    assert!(text(&nowhere.stderr).contains("QUELL_OPERATOR_URL is not set"));
    environment.push(("QUELL_OPERATOR_URL".to_owned(), desk.door.url()));

    let unasked = quell_meanwhile(&["approve", id], &environment).await;
    assert_eq!(unasked.status.code(), Some(1));
    assert!(text(&unasked.stdout).contains("- READ to Group"), "the plan is shown");
    assert!(text(&unasked.stderr).contains("add --yes"), "{}", text(&unasked.stderr));
    assert!(scenario::is_violating(&rig.cloud, &staged).await.unwrap());

    let approved = quell_meanwhile(&["approve", id, "--yes", "--json"], &environment).await;
    assert!(approved.status.success(), "{}", text(&approved.stderr));
    let approved: Value = serde_json::from_slice(&approved.stdout).unwrap();
    assert_eq!(approved["status"], "fixed");
    let again = quell_meanwhile(&["approve", id, "--yes"], &environment).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("does not wait for a person"));

    let undone = quell_meanwhile(&["undo", id, "--json"], &environment).await;
    assert!(undone.status.success(), "{}", text(&undone.stderr));
    let undone: Value = serde_json::from_slice(&undone.stdout).unwrap();
    assert_eq!((&undone["status"], &undone["intent"]["undoes"]), (&json!("undone"), &json!(id)));
    assert_eq!(scenario::snapshot(&rig.cloud, &staged).await.unwrap(), before);

    let listed = quell_meanwhile(&["exempt", "list", "--json"], &environment).await;
    let listed: Vec<Value> = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["undo_of"], id);
    let about = ["--control", "s3-public-acl", "--resource", &staged.resource];
    let remove = [&["exempt", "remove"][..], &about].concat();
    let removed = quell_meanwhile(&remove, &environment).await;
    assert!(removed.status.success(), "{}", text(&removed.stderr));
    assert_eq!(quell_meanwhile(&remove, &environment).await.status.code(), Some(1));
    let add = [&["exempt", "add", "--days", "7", "--reason", "press kit"][..], &about].concat();
    let added = quell_meanwhile(&add, &environment).await;
    assert!(added.status.success(), "{}", text(&added.stderr));
    let shown = quell_meanwhile(&["exempt", "list"], &environment).await;
    assert!(text(&shown.stdout).contains("press kit"), "{}", text(&shown.stdout));

    for words in [&["halt", "it fights"][..], &["continue"]] {
        let turned = quell_meanwhile(words, &environment).await;
        assert!(turned.status.success(), "{words:?}: {}", text(&turned.stderr));
    }
    let none = quell_meanwhile(&["resume", "--all"], &environment).await;
    assert_eq!(text(&none.stdout), "0 resumed\n", "{}", text(&none.stderr));
}

#[tokio::test]
async fn people_are_told_once_of_exemptions_that_end_or_are_of_no_use() {
    let (rig, desk) = open().await;
    let day = |days: i64| SignedDuration::from_hours(24 * days);
    let now = Timestamp::now();
    for (name, granted, expires) in [
        ("ends-soon", now - day(20), now + day(2)),
        ("of-no-use", now - day(15), now + day(60)),
        ("fresh", now - day(1), now + day(60)),
        ("over", now - day(20), now - day(1)),
    ] {
        rig.ledger.grant(&exemption(name, granted, expires)).await.unwrap();
    }
    let answer = desk.recover().await;
    let Answer::Response(response) = answer else { panic!("{answer:?}") };
    let mut reminded: Vec<_> =
        response["reminded"].as_array().unwrap().iter().map(|arn| arn.as_str().unwrap()).collect();
    reminded.sort_unstable();
    assert_eq!(reminded, ["arn:aws:s3:::ends-soon", "arn:aws:s3:::of-no-use"]);
    let mut told: Vec<String> =
        rig.stack.messages().await.unwrap().into_iter().map(|message| message.body).collect();
    told.sort_unstable();
    assert_eq!(told.len(), 2);
    assert!(told.iter().any(|body| body.contains("ends at")), "{told:?}");
    assert!(told.iter().any(|body| body.contains("nothing matched the exemption")), "{told:?}");

    let answer = desk.recover().await;
    let Answer::Response(response) = answer else { panic!("{answer:?}") };
    assert_eq!(response["reminded"], json!([]));
    assert!(rig.stack.messages().await.unwrap().is_empty(), "once is enough");
}

#[tokio::test]
async fn an_exemption_is_taken_back_by_who_is_known() {
    let (rig, desk) = open().await;
    let now = Timestamp::now();
    let given = exemption("photos", now, now + SignedDuration::from_hours(24));
    rig.ledger.grant(&given).await.unwrap();
    let remove = json!({"verb": "revoke", "control": "s3-public-acl", "resource": "photos"});
    assert_eq!(desk.order("eve", &remove).await.0, 403);
    assert_eq!(rig.ledger.exemptions().await.unwrap(), [given]);
    let (status, body) = desk.order("bob", &remove).await;
    assert_eq!(status, 200, "{body}");
    assert!(rig.ledger.exemptions().await.unwrap().is_empty());
    assert_eq!(desk.order("bob", &remove).await.0, 404);
}

#[tokio::test]
async fn what_is_neither_an_order_nor_the_schedule_is_refused() {
    let (_rig, desk) = open().await;
    for event in [
        json!({}),
        json!({"source": "aws.events", "detail-type": "Scheduled Event", "account": "210987654321"}),
        json!({"source": "my.events", "detail-type": "Scheduled Event", "account": "123456789012"}),
        json!([1]),
    ] {
        let attempt = desk.operator.invoke(event.to_string()).await.unwrap();
        assert_eq!(attempt.answer.error_kind(), Some("Event"), "{event}");
    }
}

fn exemption(name: &str, granted: Timestamp, expires: Timestamp) -> Exemption {
    Exemption {
        control: "s3-public-acl".into(),
        account: "123456789012".into(),
        region: "eu-west-1".into(),
        arn: format!("arn:aws:s3:::{name}"),
        resource: name.into(),
        unique_id: "2024-01-02".into(),
        severity: Severity::High,
        reason: "public on purpose".into(),
        owner: "press".into(),
        by: arn("alice"),
        person: "alice".into(),
        granted,
        expires,
        undo_of: None,
        told_expiring: None,
        told_unused: None,
        used: false,
    }
}

/// The record once nobody works on it.
async fn rested(rig: &Rig, id: &str) -> Record {
    let read = || async { rig.ledger.read(id).await.unwrap().unwrap() };
    let works = |status| matches!(status, Status::Pending | Status::Applying);
    until(|| async { !works(read().await.status) }).await;
    read().await
}

/// Waits for something that happens elsewhere.
async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    for _ in 0..600 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it did not come about");
}

/// An operator with the one function that these tests need.
async fn open() -> (Rig, Desk) {
    let rig = Rig::start().await;
    rig.stack.apply_policy(&people(Mode::Approve)).await.unwrap();
    let desk = Desk::open(&rig.stack, vec![Arc::new(s3_exposure(&rig))]).await;
    (rig, desk)
}

fn s3_exposure(rig: &Rig) -> Function {
    let environment = rig.stack.environment("act");
    let timeout = Duration::from_secs(60);
    Function::new("s3-exposure", binary("s3-exposure"), environment, timeout, 256)
}
