//! What people may order, with the real operator behind a function URL that checks signatures as AWS does.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use jiff::{SignedDuration, Timestamp};
use quell_engine::{Severity, ledger::Exemption, policy::Mode};
use quell_local::{Answer, Function};
use quell_tests::{
    desk::{Desk, arn, key, publish, sent, signed},
    rig::{Rig, binary},
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
    }
}

/// An operator with the one function that these tests need.
async fn open() -> (Rig, Desk) {
    let rig = Rig::start().await;
    publish(&rig, Mode::Approve).await;
    let s3 = Function::new(
        "s3-exposure",
        binary("s3-exposure"),
        rig.stack.environment("act"),
        Duration::from_secs(60),
        256,
    );
    let desk = Desk::open(&rig.stack, vec![Arc::new(s3)]).await;
    (rig, desk)
}
