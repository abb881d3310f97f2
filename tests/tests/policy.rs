//! `quell policy` with the real command and a ledger on an embedded AWS.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::PathBuf, process::Output, sync::Arc, time::Duration};

use aws_sdk_dynamodb::types::AttributeValue;
use quell_controls::REGISTRY;
use quell_engine::{
    Mode,
    ledger::{LedgerError, PublishError},
    policy::Policy,
};
use quell_local::Function;
use quell_tests::{
    command::{quell, text},
    rig::{Rig, binary},
    root,
};
use serde_json::Value;
use tempfile::TempDir;

const NONE: &[(&str, &str)] = &[];

/// A ledger, and a folder for policy files.
struct Desk {
    rig: Rig,
    folder: TempDir,
    environment: Vec<(String, String)>,
}

impl Desk {
    async fn start() -> Self {
        let rig = Rig::start().await;
        let mut environment = rig.stack.environment("observe");
        environment.retain(|(name, _)| !name.starts_with("QUELL_") || name == "QUELL_LEDGER_TABLE");
        Self { rig, folder: tempfile::tempdir().unwrap(), environment }
    }

    fn file(&self, source: &str) -> PathBuf {
        let file = self.folder.path().join("quell.toml");
        fs::write(&file, source).unwrap();
        file
    }

    /// A verb of `quell policy` about a file with this text.
    fn run(&self, verb: &str, source: &str, more: &[&str]) -> Output {
        let file = self.file(source);
        let arguments = [&["policy", verb, file.to_str().unwrap()], more].concat();
        quell(&arguments, &self.environment)
    }

    fn show(&self, more: &[&str]) -> Output {
        quell(&[&["policy", "show"], more].concat(), &self.environment)
    }

    fn shown(&self, more: &[&str]) -> Value {
        let output = self.show(&[&["--json"], more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Writes over the item that counts.
    async fn put_current(&self, attributes: &[(&str, AttributeValue)]) {
        let mut put = self
            .rig
            .cloud
            .dynamodb
            .put_item()
            .table_name(&self.rig.stack.ledger)
            .item("pk", AttributeValue::S("POL#policy".to_owned()))
            .item("sk", AttributeValue::S("CURRENT".to_owned()));
        for (name, value) in attributes {
            put = put.item(*name, value.clone());
        }
        put.send().await.unwrap();
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn the_example_is_checked_without_aws() {
    let example = root("docs/quell.toml");
    let output = quell(&["policy", "check", example.to_str().unwrap()], NONE);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("quell.toml is valid"));
}

#[test]
fn every_mistake_is_shown_with_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    fs::write(&file, "[controls]\ns3-public-alc = 'enforce'\n[budget]\n").unwrap();
    let file = file.to_str().unwrap();

    let people = quell(&["policy", "check", file], NONE);
    assert_eq!(code(&people), 1);
    let lines: Vec<_> = text(&people.stderr).lines().map(str::to_owned).collect();
    assert_eq!(
        lines,
        [
            format!("{file}:2: there is no control `s3-public-alc`; did you mean `s3-public-acl`?"),
            format!("{file}:3: there is no key `budget`; did you mean `budgets`?"),
            format!("quell: {file} is not valid"),
        ]
    );
    assert!(people.stdout.is_empty());

    let machines = quell(&["policy", "check", file, "--json"], NONE);
    assert_eq!(code(&machines), 1);
    let found: Value = serde_json::from_slice(&machines.stdout).unwrap();
    assert_eq!(found["valid"], false);
    assert_eq!(found["problems"][1]["line"], 3);
}

#[test]
fn a_file_that_is_not_there_is_trouble_and_not_an_invalid_policy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("quell.toml");
    let output = quell(&["policy", "check", file.to_str().unwrap()], NONE);
    assert_eq!(code(&output), 3);
    assert!(text(&output.stderr).contains("docs/quell.toml"));
}

#[test]
fn waiting_for_nobody_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("quell.toml");
    fs::write(&file, "[controls]\n'*' = 'enforce'\n").unwrap();
    let output = quell(&["policy", "check", file.to_str().unwrap()], NONE);
    assert_eq!(code(&output), 0);
    assert!(text(&output.stdout).contains("nobody can approve them"));
}

#[tokio::test]
async fn a_policy_is_compared_published_and_shown() {
    let desk = Desk::start().await;
    let first = "# ours\n[controls]\ns3-public-acl = \"enforce\"\n";
    assert!(text(&desk.show(&[]).stdout).contains("no policy was published yet"));
    assert_eq!(desk.shown(&[]), Value::Null);

    let diff = desk.run("diff", first, &[]);
    assert_eq!(code(&diff), 0, "{}", text(&diff.stderr));
    assert!(text(&diff.stdout).contains("s3-public-acl: observe -> enforce\n"));
    assert_eq!(desk.rig.ledger.policy().await.unwrap(), None, "a comparison writes nothing");

    let unasked = desk.run("apply", first, &[]);
    assert_eq!(code(&unasked), 1);
    assert!(text(&unasked.stderr).contains("give --yes"));
    assert_eq!(desk.rig.ledger.policy().await.unwrap(), None);

    let applied = desk.run("apply", first, &["--yes", "--note", "ticket 1"]);
    assert_eq!(code(&applied), 0, "{}", text(&applied.stderr));
    assert!(text(&applied.stdout).contains("s3-public-acl: observe -> enforce\n"));
    assert!(text(&applied.stdout).contains("version 1 counts"));
    let there = desk.rig.ledger.policy().await.unwrap().unwrap();
    assert_eq!(there.policy.controls["s3-public-acl"], Mode::Enforce);
    assert_eq!(there.source, first);

    let again = desk.run("apply", first, &["--yes", "--json"]);
    assert_eq!(code(&again), 0);
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((&again["version"], &again["published"]), (&1.into(), &false.into()));

    let second = format!(
        "{first}[[scopes]]\ncontrols = ['s3-public-acl']\nregions = ['eu-west-1']\nmode = 'off'\n"
    );
    let applied = desk.run("apply", &second, &["--yes", "--json"]);
    let applied: Value = serde_json::from_slice(&applied.stdout).unwrap();
    assert_eq!(applied["version"], 2);
    assert_eq!(applied["compared_with"], 1);
    assert_eq!(
        applied["changes"],
        serde_json::json!([{
            "what": "s3-public-acl", "place": "in eu-west-1", "from": "enforce", "to": "off",
        }])
    );

    let shown = text(&desk.show(&[]).stdout);
    let (comment, file) = shown.split_once('\n').unwrap();
    assert!(comment.starts_with("# version 2, published "), "{comment}");
    assert_eq!(file, second);
    assert_eq!(desk.shown(&["--version", "1"])["source"], first);
    let history = desk.shown(&["--history"]);
    let versions: Vec<_> = history.as_array().unwrap().iter().collect();
    assert_eq!(versions.len(), 2);
    assert_eq!((&versions[0]["version"], &versions[1]["version"]), (&2.into(), &1.into()));
    assert_eq!(versions[1]["note"], "ticket 1");
    assert!(versions[1]["by"].as_str().unwrap().starts_with("arn:aws:"), "{history}");
    assert!(text(&desk.show(&["--history"]).stdout).contains("ticket 1"));
    let missing = desk.show(&["--version", "3"]);
    assert_eq!(code(&missing), 3);
    assert!(text(&missing.stderr).contains("there is no version 3"));
}

#[tokio::test]
async fn a_policy_that_is_not_valid_replaces_nothing() {
    let desk = Desk::start().await;
    assert_eq!(code(&desk.run("apply", "[controls]\n'*' = 'off'\n", &["--yes"])), 0);
    for broken in ["[controls]\n'*' = 'of'\n", "[controls\n", "\u{0}"] {
        for verb in ["apply", "diff"] {
            let more: &[&str] = if verb == "apply" { &["--yes"] } else { &[] };
            let output = desk.run(verb, broken, more);
            assert_eq!(code(&output), 1, "{broken}");
            assert!(text(&output.stderr).contains("is not valid"));
        }
    }
    let there = desk.rig.ledger.policy().await.unwrap().unwrap();
    assert_eq!((there.version, there.policy.others), (1, Mode::Off));
}

#[tokio::test(flavor = "multi_thread")]
async fn ceilings_that_are_too_low_are_named_with_the_parameter_to_change() {
    let mut desk = Desk::start().await;
    let source = "
[controls]
s3-public-acl = 'enforce'
[[scopes]]
regions = ['eu-west-1']
controls = ['sg-open-ingress']
mode = 'approve'
";
    let unknown = text(&desk.run("diff", source, &[]).stdout);
    assert!(unknown.contains("S3ExposureCeiling=act") && unknown.contains("not known here"));

    let ceilings = "s3-exposure=act,ec2-metadata=observe,image-exposure=observe,network-exposure=observe,ec2-quarantine=observe,audit-trail=observe,iam-credentials=observe,iam-privilege=observe";
    let function = Function::new(
        "s3-exposure",
        binary("s3-exposure"),
        desk.rig.stack.environment("act"),
        Duration::from_secs(60),
        256,
    );
    let functions = vec![Arc::new(function)];
    let operator = quell_tests::desk::Desk::open_under(&desk.rig.stack, functions, ceilings).await;
    desk.environment.push(("QUELL_OPERATOR_URL".to_owned(), operator.door.url()));
    let known = text(&desk.run("apply", source, &["--yes"]).stdout);
    assert!(known.contains("sg-open-ingress: approve does not count"), "{known}");
    assert!(known.contains("deploy with NetworkExposureCeiling=act"), "{known}");
    assert!(!known.contains("S3ExposureCeiling") && !known.contains("not known here"), "{known}");
    let json: Value =
        serde_json::from_slice(&desk.run("diff", source, &["--json"]).stdout).unwrap();
    assert_eq!(json["ceilings_known"], true);
    assert_eq!(
        json["ceilings_to_raise"],
        serde_json::json!([{
            "control": "sg-open-ingress", "mode": "approve", "function": "network-exposure",
            "parameter": "NetworkExposureCeiling",
        }])
    );
}

#[tokio::test]
async fn of_two_people_who_publish_at_once_one_is_told_to_look_again() {
    let desk = Desk::start().await;
    let ledger = &desk.rig.ledger;
    for seen in 0..5 {
        let publish =
            |mode, by| ledger.publish_policy(Policy::by_name(mode, REGISTRY), "", by, None, seen);
        let both =
            tokio::join!(publish(Mode::Enforce, "arn:aws:ann"), publish(Mode::Off, "arn:aws:bob"));
        let (won, lost) = match both {
            (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
            other => panic!("{other:?}"),
        };
        assert_eq!(won.version, seen + 1);
        let told = lost.to_string();
        let PublishError::Overtaken { there: Some(there) } = lost else { panic!("{told}") };
        assert_eq!(*there, won);
        assert!(told.contains(&won.by) && told.contains("publish again"), "{told}");
        assert_eq!(ledger.policy().await.unwrap().unwrap(), won);
    }
    let versions = ledger.policies(100).await.unwrap();
    let numbers: Vec<_> = versions.iter().map(|there| there.version).collect();
    assert_eq!(numbers, [5, 4, 3, 2, 1]);
    assert_eq!(ledger.policies(2).await.unwrap(), versions[..2]);
}

#[tokio::test]
async fn a_policy_in_the_ledger_that_cannot_be_read_is_never_taken_for_none() {
    let desk = Desk::start().await;
    let number = |number: &str| AttributeValue::N(number.to_owned());
    let document = AttributeValue::S("{}".to_owned());
    desk.put_current(&[
        ("schema", number("1")),
        ("version", number("1")),
        ("document", document.clone()),
    ])
    .await;
    assert!(matches!(desk.rig.ledger.policy().await, Err(LedgerError::Unreadable { .. })));
    for output in [desk.show(&[]), desk.run("diff", "", &[]), desk.run("apply", "", &["--yes"])] {
        assert_eq!(code(&output), 3);
        assert!(text(&output.stderr).contains("cannot be read"), "{}", text(&output.stderr));
    }

    desk.put_current(&[("schema", number("2")), ("version", number("1")), ("document", document)])
        .await;
    let output = desk.run("apply", "", &["--yes"]);
    assert_eq!(code(&output), 3);
    assert!(text(&output.stderr).contains("newer version of Quell"));
    assert!(desk.rig.ledger.policies(10).await.unwrap().is_empty(), "nothing was published");
}

#[tokio::test]
async fn a_policy_that_the_ledger_cannot_hold_is_refused_with_its_size() {
    let desk = Desk::start().await;
    let source = "#".repeat(360_000);
    let refused =
        desk.rig.ledger.publish_policy(Policy::observe(), &source, "arn:aws:ann", None, 0).await;
    assert!(matches!(refused, Err(PublishError::TooLarge { bytes }) if bytes > 360_000));
    assert_eq!(desk.rig.ledger.policy().await.unwrap(), None);
}

#[tokio::test]
async fn without_a_ledger_the_table_is_named() {
    let mut desk = Desk::start().await;
    desk.environment.push(("QUELL_LEDGER_TABLE".to_owned(), "another".to_owned()));
    let output = desk.show(&[]);
    assert_eq!(code(&output), 3);
    assert!(text(&output.stderr).contains("QUELL_LEDGER_TABLE names the table"));
}

#[test]
fn a_note_is_one_line() {
    let output = quell(&["policy", "apply", "--note", "a\nb"], NONE);
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("a note is one line"));
}
