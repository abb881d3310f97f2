//! The real binaries: functions under the Lambda Runtime API, and the `quell` command, on an embedded AWS.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    sync::Arc,
    time::Duration,
};

use quell_controls::REGISTRY;
use quell_engine::{
    Meta, Mode, Outcome, Safety,
    aws::Call,
    notify::{Notice, bulletin::Subject},
    policy::Policy,
};
use quell_local::{Function, cloud::CALLER, scenario};
use quell_tests::{
    command::{quell, quell_meanwhile, text},
    desk::{Desk, people},
    rig::{Rig, binary},
};
use serde_json::{Value, json};

const NONE: &[(&str, &str)] = &[];
const FUNCTIONS: [&str; 9] = [
    "s3-exposure",
    "ec2-metadata",
    "image-exposure",
    "network-exposure",
    "ec2-quarantine",
    "audit-trail",
    "iam-credentials",
    "iam-privilege",
    "operator",
];

#[tokio::test]
async fn what_cannot_be_read_is_kept_in_the_dead_letter_queue_and_changes_nothing() {
    let rig = Rig::start().await;
    let function =
        s3_exposure(&rig).await.paced(0.0001).with_dead_letters(rig.stack.dead_letter_queue());
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let huge = json!({ "padding": "x".repeat(1_000_000) }).to_string();
    let malformed = [
        ("{not json", ""),
        ("[]", "an object"),
        ("{}", "source"),
        (r#"{"source":5}"#, "source"),
        (
            r#"{"source":"aws.s3","detail-type":"AWS API Call via CloudTrail","id":"1","account":"123456789012","region":"eu-west-1","detail":[]}"#,
            "detail",
        ),
        (deep.as_str(), "64 levels"),
        (huge.as_str(), "bytes"),
    ];
    for (event, named) in malformed {
        let shown = &event[..event.len().min(60)];
        let invocation = function.invoke_async(event.to_owned()).await.unwrap();
        assert_eq!(invocation.attempts.len(), 3, "{shown}: Lambda tries three times");
        assert!(invocation.dead_lettered, "{shown}");
        let message = invocation.attempts[0].answer.error_message().unwrap();
        assert!(message.contains(named), "{shown}: `{message}` does not name {named}");
    }
    let kept = rig.stack.dead_letters().await.unwrap();
    assert_eq!(kept.len(), malformed.len());
    assert!(kept.iter().all(|letter| !letter.attributes["ErrorMessage"].is_empty()));
    assert!(rig.ledger.newest("s3-public-acl", None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_function_that_is_not_configured_keeps_the_event_and_says_why() {
    let rig = Rig::start().await;
    let staged = scenario::stage(&rig.cloud, "s3-public-acl", "settings").await.unwrap();
    let function = s3_exposure_under(&rig, "acts");
    let attempt = function.invoke(staged.event.to_string()).await.unwrap();
    assert_eq!(attempt.answer.error_kind(), Some("Settings"));
    let message = attempt.answer.error_message().unwrap();
    assert!(message.contains("ceiling `acts` is neither `observe` nor `act`"), "{message}");
    assert!(scenario::is_violating(&rig.cloud, &staged).await.unwrap(), "nothing was changed");
}

#[tokio::test]
async fn every_step_is_one_line_of_json() {
    let rig = Rig::start().await;
    let staged = scenario::stage(&rig.cloud, "s3-public-acl", "log").await.unwrap();
    let function = s3_exposure(&rig).await;
    let attempt = function.invoke(staged.event.to_string()).await.unwrap();
    let lines: Vec<Value> = attempt
        .log
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .filter(|line: &Value| line["control"] == "s3-public-acl")
        .collect();
    let steps: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(steps, ["assessed", "recorded", "applied", "ended"]);
    for line in &lines {
        assert_eq!(line["resource"], staged.resource);
        assert_eq!(line["account"], "123456789012");
        assert_eq!(line["region"], "eu-west-1");
        assert_eq!(line["event_id"], staged.event["id"]);
    }
    assert_eq!(lines[3]["outcome"], "fixed");
}

#[test]
fn the_demo_puts_all_right() {
    let output = quell(&["demo", "--json", "--functions", folder_of("quell")], NONE);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown.len(), REGISTRY.len());
    for (one, meta) in shown.iter().zip(REGISTRY) {
        assert_eq!(one["control"], meta.id);
        let only_tells = meta.safety == Safety::ReportOnly;
        assert_eq!(one["outcome"], if only_tells { "observed" } else { "fixed" });
        assert_eq!(one["verified"], !only_tells);
        assert!(!one["changes"].as_array().unwrap().is_empty());
        let calls: Vec<Call> = serde_json::from_value(one["calls"].clone()).unwrap();
        assert_eq!(calls.iter().any(Call::is_write), !only_tells, "{calls:?}");
        assert!(one["milliseconds"].as_u64().unwrap() > 0);
        assert_eq!(one["record"].as_str().unwrap().len(), 20);
        assert!(one["message"].as_str().unwrap().contains(meta.id));
    }
    assert_eq!(shown[0]["undone"], true);
}

#[test]
fn the_demo_shows_what_people_are_told_of_every_outcome() {
    let arguments = ["demo", "--messages", "--json", "--functions", folder_of("quell")];
    let output = quell(&arguments, NONE);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let outcomes: Vec<_> = shown.iter().map(|one| one["outcome"].as_str().unwrap()).collect();
    assert_eq!(
        outcomes,
        [
            "observed",
            "fixed",
            "pending",
            "denied",
            "parked",
            "partial",
            "failed",
            "refused",
            "undone",
            "exemption-expires",
            "quell-tampered",
            "folded",
            "digest",
        ]
    );
    for outcome in Outcome::ALL.into_iter().filter(|outcome| outcome.people_should_hear()) {
        assert!(outcomes.contains(&outcome.as_str()), "{outcome}");
    }

    for one in &shown {
        let (subject, email) = (one["subject"].as_str().unwrap(), one["email"].as_str().unwrap());
        assert!(subject.len() <= 100 && subject.is_ascii(), "{subject}");
        assert!(serde_json::from_str::<Value>(one["chat"].as_str().unwrap()).is_ok());
        let notice: Notice = serde_json::from_str(one["machine"].as_str().unwrap()).unwrap();
        let message = match notice {
            Notice::Remediation(message) => message,
            Notice::Bulletin(bulletin) => {
                assert_eq!(one["outcome"], bulletin.subject.to_string());
                let is_digest = bulletin.subject == Subject::Digest;
                assert_eq!(bulletin.lines.len(), if is_digest { 2 } else { 1 }, "{bulletin:?}");
                let line = &bulletin.lines[0];
                assert!(subject.contains("[high]") && subject.contains(&line.control), "{subject}");
                assert_eq!(line.count - line.untold, u64::from(!is_digest), "{bulletin:?}");
                let told = [("fixed", "s3-public-acl"), ("observed only", "sg-open-ingress")];
                for (line, (outcome, control)) in bulletin.lines.iter().zip(told) {
                    let said = format!("{} x [high] {outcome} {control}", line.count);
                    assert!(email.contains(&said), "{email}");
                }
                continue;
            }
        };
        if message.outcome == Outcome::Partial {
            // Only snapshots are missing of the quarantine.
            assert!(
                email.contains("Quell put it right, and verified that, but could not make all")
            );
            assert!(email.contains("  ec2:CreateSnapshots (not done)\n"), "{email}");
            assert_eq!(email.matches(" (not done)\n").count(), 1, "{email}");
            assert!(!email.contains("bad state") && !email.contains("still open"), "{email}");
        }
        let meta = REGISTRY.iter().find(|meta| meta.id == message.control.id).unwrap();
        let severity =
            format!("[{}]", serde_json::to_value(meta.severity).unwrap().as_str().unwrap());
        assert!(subject.contains(&severity) && subject.contains(meta.id), "{subject}");
        let resource = message.resource.name.as_str();
        assert!(subject.contains(resource) && email.contains(resource), "{subject}\n{email}");
        let runbook = format!("Runbook:   docs/runbooks/{}.md\n", meta.id);
        assert!(email.contains(&runbook), "{email}");
        assert!(email.contains("\nVerified: ") || !message.applied, "{email}");
        assert_eq!(commands(email), allowed(&one["record"], meta), "{email}");
    }
    let of = |outcome: &str| shown.iter().find(|one| one["outcome"] == outcome).unwrap();
    let says = |outcome: &str, what: &str| {
        let email = of(outcome)["email"].as_str().unwrap();
        assert!(email.contains(what), "{email}");
    };
    says("fixed", "Verified:  yes, the resource was read again and is as it should be");
    says("partial", "Verified:  yes, the resource was read again and is as it should be");
    says("undone", "Verified:  yes, the resource was read again and is as it was before the fix");
    says("failed", "Verified:  no, the resource was read again and is not as it should be");
    says("pending", "without an answer by then it is parked");
    says("denied", "Why: denied by bob: the press kit is public on purpose");
    says("parked", "the budget critical control s3-public-policy of the policy is used up");
    says("failed", "s3:PutBucketPublicAccessBlock: denied");
    says("refused", "without a stored way back nothing is changed");
    says("exemption-expires", "`quell exempt add` gives another");
}

/// The commands that a mail names.
fn commands(email: &str) -> Vec<String> {
    let fields = ["Approve:", "Deny:", "Resume:", "Undo:", "Exempt:"];
    let commands = email.lines().filter_map(|line| {
        let (field, command) = line.split_once(' ')?;
        fields.contains(&field).then(|| command.trim().to_owned())
    });
    commands.collect()
}

/// The orders that the operator takes about a record as it stands.
fn allowed(record: &Value, meta: &Meta) -> Vec<String> {
    let Some(id) = record["id"].as_str() else { return Vec::new() };
    let exempt = format!("exempt add --record {id} --days 7 --reason REASON");
    let named = |verb: &str| format!("{verb} {id}");
    let orders = match (record["status"].as_str().unwrap(), record["intent"]["undoes"].is_null()) {
        ("pending", _) => vec![named("approve"), named("deny"), exempt],
        ("parked", _) => vec![named("resume")],
        ("fixed", true) if meta.reversible => vec![named("undo"), exempt],
        ("partial", true) if meta.reversible => vec![named("undo")],
        ("observed" | "denied" | "refused" | "fixed", true) => vec![exempt],
        _ => vec![],
    };
    orders.into_iter().map(|order| format!("quell {order}")).collect()
}

#[test]
fn the_demo_fails_when_a_function_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    for name in FUNCTIONS {
        symlink(binary(name), folder.path().join(name)).unwrap();
    }
    let broken = folder.path().join("ec2-metadata");
    fs::remove_file(&broken).unwrap();
    fs::write(&broken, "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).unwrap();

    let output = quell(&["demo", "--json", "--functions", folder.path().to_str().unwrap()], NONE);

    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("not put right: ec2-imdsv2"));
    let shown: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let only_tells = |one: &&Value| {
        let meta = REGISTRY.iter().find(|meta| one["control"] == meta.id);
        meta.is_some_and(|meta| meta.safety == Safety::ReportOnly)
    };
    for one in shown.iter().filter(|one| !only_tells(one)) {
        let is_broken = one["control"] == "ec2-imdsv2";
        assert_eq!(one["verified"], !is_broken, "{one}");
        assert_eq!(one["outcome"] == "fixed", !is_broken, "{one}");
    }

    let functions = folder.path().to_str().unwrap();
    let output = quell(&["demo", "--messages", "--json", "--functions", functions], NONE);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("observed did not come about: no record came of i-"), "{said}");
    assert_eq!(said.matches("did not come about").count(), 1, "{said}");
    let shown: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert!(shown.len() == 12 && shown.iter().all(|one| one["outcome"] != "observed"));
}

#[tokio::test]
async fn a_person_invokes_looks_and_undoes() {
    let rig = Rig::start().await;
    let staged = scenario::stage(&rig.cloud, "s3-public-acl", "cli").await.unwrap();
    let before = scenario::snapshot(&rig.cloud, &staged).await.unwrap();
    // Who undoes is another person than who made the change, and the policy knows both.
    let mut policy = people(Mode::Enforce);
    policy.people[1].principals.push(CALLER.to_owned());
    rig.stack.apply_policy(&policy).await.unwrap();
    let environment = rig.stack.environment("act");
    let folder = tempfile::tempdir().unwrap();
    let event = folder.path().join("event.json");
    fs::write(&event, staged.event.to_string()).unwrap();
    let event = event.to_str().unwrap();

    let functions = folder_of("quell");
    let invoked =
        quell(&["invoke", "s3-exposure", "-e", event, "--functions", functions], &environment);
    assert!(invoked.status.success(), "{}", text(&invoked.stderr));
    let response: Value = serde_json::from_slice(&invoked.stdout).unwrap();
    assert_eq!(response["results"][0]["outcome"], "fixed");
    assert!(!scenario::is_violating(&rig.cloud, &staged).await.unwrap());

    let listed = quell(&["records", "--json"], &environment);
    let records: Vec<Value> = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(records.len(), 1, "{}", text(&listed.stderr));
    assert_eq!(records[0]["intent"]["resource"], staged.resource);
    let id = records[0]["id"].as_str().unwrap();
    let shown = quell(&["show", id], &environment);
    assert!(text(&shown.stdout).contains("- READ to Group"), "{}", text(&shown.stdout));

    let desk = Desk::open(&rig.stack, vec![Arc::new(s3_exposure_under(&rig, "act"))]).await;
    let mut environment = environment;
    environment.push(("QUELL_OPERATOR_URL".to_owned(), desk.door.url()));
    let undone = quell_meanwhile(&["undo", id], &environment).await;
    assert!(undone.status.success(), "{}", text(&undone.stderr));
    assert_eq!(scenario::snapshot(&rig.cloud, &staged).await.unwrap(), before);

    let nothing = quell(&["undo", "00000000000000000000"], &environment);
    assert_eq!(nothing.status.code(), Some(3));
    assert!(text(&nothing.stderr).contains("there is no record"));
    let wrong = quell(&["undo", "../../etc"], &environment);
    assert!(text(&wrong.stderr).contains("is not a record"));
}

#[test]
fn an_embedded_aws_is_made_for_every_sample() {
    for meta in REGISTRY {
        let sample = quell_tests::root(&format!("events/{}/violating.json", meta.id));
        let sample = sample.to_str().unwrap();
        let functions = folder_of("quell");
        let output =
            quell(&["invoke", meta.function, "-e", sample, "--functions", functions], NONE);
        assert!(output.status.success(), "{}: {}", meta.id, text(&output.stderr));
        let response: Value = serde_json::from_slice(&output.stdout).unwrap();
        let results = response["results"].as_array().unwrap();
        let own = results.iter().find(|result| result["control"] == meta.id).unwrap();
        let expected = if meta.safety == Safety::ReportOnly { "observed" } else { "fixed" };
        assert_eq!(own["outcome"], expected, "{own:#}");
    }
}

#[test]
fn wrong_words_are_answered_with_the_right_ones() {
    let output = quell(&["invoke", "s3-exposer", "-e", "x.json"], NONE);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("the functions are s3-exposure"));
    let output = quell(&["records", "--control", "s3"], NONE);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("the controls are s3-public-acl"));
}

#[test]
fn the_table_of_controls_is_for_people_and_machines() {
    let people = quell(&["controls"], NONE);
    let machines = quell(&["controls", "--json"], NONE);
    let controls: Vec<Value> = serde_json::from_slice(&machines.stdout).unwrap();
    assert_eq!(controls.len(), REGISTRY.len());
    for meta in REGISTRY {
        assert!(text(&people.stdout).contains(meta.id));
        assert!(controls.iter().any(|control| control["control"] == meta.id));
    }
}

/// The function as the template deploys it with the ceiling `act`, under a policy that enforces one control.
async fn s3_exposure(rig: &Rig) -> Function {
    let controls = [("s3-public-acl".to_owned(), Mode::Enforce)].into();
    let policy = Policy { controls, ..Policy::observe() };
    rig.stack.apply_policy(&policy).await.unwrap();
    s3_exposure_under(rig, "act")
}

fn s3_exposure_under(rig: &Rig, ceiling: &str) -> Function {
    let environment = rig.stack.environment(ceiling);
    Function::new("s3-exposure", binary("s3-exposure"), environment, Duration::from_secs(60), 256)
}

fn folder_of(name: &str) -> &'static str {
    let folder = binary(name).parent().map(Path::to_path_buf).unwrap();
    String::leak(folder.to_str().unwrap().to_owned())
}
