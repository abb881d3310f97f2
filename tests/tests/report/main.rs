//! `quell report`: of what real functions did, and in a real browser.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod demo;
mod in_a_browser;

use std::{fs, path::Path, time::Duration};

use jiff::{Timestamp, ToSpan as _};
use quell_engine::{
    Mode,
    ledger::{Exemption, Status},
    policy::Policy,
};
use quell_local::{Answer, Function, cloud::CALLER, scenario};
use quell_tests::{
    command::{quell, text},
    records::{put, record},
    rig::{Rig, binary, failed},
};
use serde_json::{Value, json};

#[tokio::test]
async fn what_real_functions_did_is_told_in_every_format() {
    let rig = Rig::start().await;
    let stage = async |control, name| scenario::stage(&rig.cloud, control, name).await.unwrap();

    // By the program that is deployed.
    let acl = stage("s3-public-acl", "fixed").await;
    let controls = [("s3-public-acl".to_owned(), Mode::Enforce)].into();
    rig.stack.apply_policy(&Policy { controls, ..Policy::observe() }).await.unwrap();
    let program = binary("s3-exposure");
    let environment = rig.stack.environment("act");
    let function =
        Function::new("s3-exposure", program, environment.clone(), Duration::from_secs(60), 256);
    let attempt = function.invoke(acl.event.to_string()).await.unwrap();
    assert!(matches!(attempt.answer, Answer::Response(_)), "{:?}", attempt.answer);

    // By the same engine in this process.
    let group = stage("sg-open-ingress", "pending").await;
    let pending = rig.evaluate(Mode::Approve, &group).await.record.unwrap();
    let metadata = stage("ec2-imdsv2", "observed").await;
    rig.evaluate(Mode::Observe, &metadata).await;
    let policy = stage("s3-public-policy", "undone").await;
    let undone = rig.evaluate(Mode::Enforce, &policy).await.record.unwrap();
    rig.undo(&undone).await;
    let denied = stage("s3-public-acl", "failed").await;
    let failed = failed(rig.deliver_denied(&denied.event).await.unwrap_err(), &denied);
    let failed = failed.record.unwrap();
    rig.ledger.grant(&exemption("press-kit", 12)).await.unwrap();

    let report = quell(&["report", "--format", "json"], &environment);
    assert!(report.status.success(), "{}", text(&report.stderr));
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(report["version"], 1);
    assert_eq!(report["account"], "123456789012");
    let outcomes = &report["totals"]["outcomes"];
    for outcome in ["fixed", "pending", "observed", "undone", "failed"] {
        assert_eq!(outcomes[outcome], 1, "{outcome}: {report:#}");
    }
    assert_eq!(report["totals"]["found"], 5);
    assert_eq!(report["totals"]["undos"], 1);
    assert_eq!(report["totals"]["records"], 6);
    assert_eq!(report["time_to_fix"]["count"], 2, "one of these fixes was taken back");
    assert_eq!(report["approvals"]["shown"][0]["record"], pending);
    assert_eq!(report["needs_person"]["shown"][0]["record"], failed);
    assert_eq!(report["needs_person"]["shown"][0]["resource"], denied.resource);
    assert_eq!(report["exemptions"]["shown"][0]["resource"], "press-kit");
    let who = report["principals"]["shown"].as_array().unwrap();
    assert!(who.iter().all(|one| one["principal"].is_string()), "{who:#?}");

    let markdown = text(&quell(&["report"], &environment).stdout);
    let (approve, show) = (format!("`quell approve {pending}`"), format!("`quell show {failed}`"));
    for part in ["# Quell report, ", &approve, &show, "`press-kit` in "] {
        assert!(markdown.contains(part), "no `{part}` in:\n{markdown}");
    }

    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    fs::write(&page, "an older one").unwrap();
    let written = quell(&["report", "-o", page.to_str().unwrap()], &environment);
    assert!(written.status.success(), "{}", text(&written.stderr));
    assert!(text(&written.stdout).contains("Quell found 5 violations in 1 account."));
    let page = fs::read_to_string(&page).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains(&approve.replace('`', "")));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[tokio::test]
async fn records_are_read_page_after_page_and_those_of_another_period_are_left_out() {
    let rig = Rig::start().await;
    // More than DynamoDB gives in one page.
    for minutes in 0..24_i64 {
        let at = Timestamp::now() - minutes.minutes();
        let mut one = record("s3-public-acl", &format!("bucket-{minutes}"), at, Status::Fixed);
        let mut rng = fastrand::Rng::with_seed(minutes.unsigned_abs());
        one.intent.notes = vec![(0..120_000).map(|_| rng.alphanumeric()).collect()];
        put(&rig.ledger, one).await;
    }
    let old = Timestamp::now() - (3 * 24).hours();
    put(&rig.ledger, record("s3-public-policy", "old", old, Status::Failed)).await;
    let environment = rig.stack.environment("observe");
    let found = |since: &str| {
        let shown = quell(&["report", "--format", "json", "--since", since], &environment);
        assert!(shown.status.success(), "{}", text(&shown.stderr));
        let report: Value = serde_json::from_slice(&shown.stdout).unwrap();
        report["totals"]["found"].as_u64().unwrap()
    };
    assert_eq!(found("2d"), 24);
    assert_eq!(found("4d"), 25);
}

#[tokio::test]
async fn what_cannot_be_read_is_counted_and_said() {
    let rig = Rig::start().await;
    let one = record("s3-public-acl", "photos", Timestamp::now() - 5.minutes(), Status::Fixed);
    put(&rig.ledger, one.clone()).await;
    let newer = aws_sdk_dynamodb::types::AttributeValue::N("99".to_owned());
    let key = |value: &str| aws_sdk_dynamodb::types::AttributeValue::S(value.to_owned());
    let update = rig.cloud.dynamodb.update_item().table_name(&rig.stack.ledger);
    update
        .key("pk", key(&format!("REC#{}", one.id)))
        .key("sk", key("RECORD"))
        .update_expression("SET #schema = :newer")
        .expression_attribute_names("#schema", "schema")
        .expression_attribute_values(":newer", newer)
        .send()
        .await
        .unwrap();
    let shown = text(&quell(&["report"], &rig.stack.environment("observe")).stdout);
    assert!(shown.contains("1 record could not be read, and is missing here"), "{shown}");
}

#[tokio::test]
async fn what_cannot_be_reached_leaves_the_older_report_as_it_was() {
    let rig = Rig::start().await;
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    fs::write(&page, "an older one").unwrap();
    let mut environment = rig.stack.environment("observe");
    environment.retain(|(name, _)| name != "QUELL_LEDGER_TABLE");
    environment.push(("QUELL_LEDGER_TABLE".to_owned(), "another".to_owned()));
    let ended = quell(&["report", "-o", page.to_str().unwrap()], &environment);
    assert_eq!(ended.status.code(), Some(3));
    assert!(text(&ended.stderr).contains("QUELL_LEDGER_TABLE"), "{}", text(&ended.stderr));
    assert_eq!(fs::read_to_string(&page).unwrap(), "an older one");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn wrong_arguments_are_answered_with_the_right_words() {
    for (arguments, word) in [
        (&["--since", "yesterday"][..], "2h"),
        (&["--since", "2999-01-01"], "future"),
        (&["-o", "report.pdf"], "--format"),
        (&["--format", "pdf"], "html"),
    ] {
        let shown = quell::<&str, &str>(&[&["report"][..], arguments].concat(), &[]);
        assert_eq!(shown.status.code(), Some(2), "{arguments:?}");
        assert!(text(&shown.stderr).contains(word), "{}", text(&shown.stderr));
    }
}

/// Runs `quell report -o` for this rig's ledger.
fn write_page(rig: &Rig, page: &Path) {
    let environment = rig.stack.environment("observe");
    let written = quell(&["report", "-o", page.to_str().unwrap()], &environment);
    assert!(written.status.success(), "{}", text(&written.stderr));
}

/// An exemption that ends in so many days.
fn exemption(resource: &str, days: i64) -> Exemption {
    let expires = Timestamp::now() + (24 * days).hours();
    let given = json!({
        "control": "s3-public-acl", "account": "123456789012", "region": "eu-west-1",
        "arn": format!("arn:aws:s3:::{resource}"), "resource": resource, "unique_id": "1",
        "severity": "high", "reason": "the press kit is public on purpose",
        "owner": "press team", "by": CALLER, "person": "bob",
        "granted": expires - (24 * 30).hours(), "expires": expires,
    });
    serde_json::from_value(given).unwrap()
}
