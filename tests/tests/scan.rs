//! `quell scan` with the real command on an embedded AWS: it says what is wrong, and changes nothing.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, process::Output};

use aws_sdk_ec2::types::IpPermission;
use quell_controls::REGISTRY;
use quell_engine::text::is_invisible;
use quell_local::{
    Cloud, Emulator,
    proxy::{Calls, Fault, Proxy},
    scenario::{self, Staged},
};
use quell_tests::command::{quell, text};
use serde_json::Value;

const STAGED: [&str; 4] = ["s3-public-acl", "ec2-imdsv2", "sg-open-ingress", "cloudtrail-logging"];

#[tokio::test]
async fn everything_wrong_is_found_with_what_would_be_done_and_nothing_is_changed() {
    let emulator = Emulator::start().unwrap();
    let cloud = emulator.cloud();
    let mut staged = Vec::new();
    for control in STAGED {
        staged.push(scenario::stage(&cloud, control, "scan").await.unwrap());
    }
    let before = snapshots(&cloud, &staged).await;

    let output = scan(&cloud, &["--json", "--account", "123456789012"]);

    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let said = text(&output.stderr);
    assert!(said.contains("violations were found"), "{said}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["complete"], &found["account"]), (&true.into(), &"123456789012".into()));
    for one in &staged {
        let violation = violation(&found, one);
        let change = &violation["changes"][0];
        assert!(!change["action"].as_str().unwrap().is_empty());
        let lines = ["minus", "plus"].map(|lines| change[lines].as_array().unwrap().len());
        assert_ne!(lines, [0, 0], "{violation}");
        assert!(violation["arn"].as_str().unwrap().starts_with("arn:aws:"), "{violation}");
    }
    let severities: Vec<_> = array(&found["violations"]).iter().map(rank).collect();
    assert!(severities.is_sorted_by(|one, next| one >= next), "the worst first: {severities:?}");
    let looked = REGISTRY.iter().filter(|meta| !meta.discovers.is_empty());
    assert_eq!(array(&found["controls"]).len(), looked.count());
    for counts in array(&found["controls"]).iter().chain([&found["totals"]]) {
        let sum: u64 = ["compliant", "permitted", "violating", "gone", "unread"]
            .iter()
            .map(|count| counts[count].as_u64().unwrap())
            .sum();
        assert_eq!(counts["resources"], sum, "{counts}");
    }
    assert!(array(&found["not_looked_for"]).contains(&"ec2-quarantine".into()));
    assert_eq!(snapshots(&cloud, &staged).await, before, "a scan changed something");
}

#[tokio::test]
async fn a_person_sees_a_table_and_a_page_with_the_lines_that_would_go() {
    let emulator = Emulator::start().unwrap();
    let cloud = emulator.cloud();
    let staged = scenario::stage(&cloud, "s3-public-acl", "table").await.unwrap();

    let output = scan(&cloud, &["--control", "s3-public-acl"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    for part in [
        &staged.resource,
        "SEVERITY  CONTROL        RESOURCE",
        "    s3:PutBucketAcl",
        "    - READ to Group",
        "1 control, 1 resource: 0 compliant, 1 violating",
        "nobody is trusted",
    ] {
        assert!(shown.contains(part), "no `{part}` in:\n{shown}");
    }

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scan.html");
    let arguments = ["--control", "s3-public-acl", "--html", "-o", file.to_str().unwrap()];
    let output = scan(&cloud, &arguments);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("1 violating"), "{}", text(&output.stdout));
    let page = fs::read_to_string(&file).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains(&staged.resource));
    assert!(page.contains("READ to Group"), "what would go is shown");
}

#[tokio::test]
async fn an_account_in_which_nothing_is_wrong_is_told_so() {
    let emulator = Emulator::start().unwrap();
    let output = scan(&emulator.cloud(), &["--control", "s3-public-acl,s3-public-policy"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("2 controls, 0 resources: 0 compliant"));
}

#[tokio::test]
async fn what_may_not_be_listed_is_not_compliant() {
    let emulator = Emulator::start().unwrap();
    let proxy = Proxy::start(&emulator.endpoint).unwrap();
    let cloud = Cloud::at(&proxy.endpoint);
    let staged = scenario::stage(&cloud, "cloudtrail-logging", "denied").await.unwrap();
    let denied = Fault::refuse(403, "AccessDenied", "no \u{9b}31mlisting\n\u{202e}here");
    proxy.fault(Calls::any().service("S3").operation("ListBuckets"), denied);

    let arguments = ["--control", "s3-public-acl,cloudtrail-logging"];
    let output = scan(&cloud, &[&arguments[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stdout));
    let said = text(&output.stderr);
    assert!(said.contains("not everything could be looked at"), "{said}");
    assert!(said.contains("1 violation was found in the rest"), "{said}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["complete"], false);
    violation(&found, &staged);
    let unread = &array(&found["unread"])[0];
    assert_eq!(unread["control"], "s3-public-acl");
    assert_eq!(unread["resource"], Value::Null);
    assert_eq!(unread["action"], "s3:ListAllMyBuckets");
    assert!(unread["detail"].as_str().unwrap().contains("AccessDenied"), "{unread}");
    assert!(array(&found["controls"])[0]["unlisted"].is_string());

    let shown = text(&scan(&cloud, &arguments).stdout);
    assert!(shown.contains("could not be looked at"), "{shown}");
    assert!(shown.contains("s3-public-acl: its resources could not be listed: s3:ListAllMyBuckets: denied to these credentials"), "{shown}");
    assert!(shown.lines().all(|line| !line.contains(is_invisible)), "{shown:?}");
}

#[tokio::test]
async fn a_resource_that_may_not_be_read_is_not_compliant() {
    let emulator = Emulator::start().unwrap();
    let proxy = Proxy::start(&emulator.endpoint).unwrap();
    let cloud = Cloud::at(&proxy.endpoint);
    let staged = scenario::stage(&cloud, "s3-public-acl", "unread").await.unwrap();
    let other = scenario::stage(&cloud, "s3-public-acl", "read").await.unwrap();
    let denied = Fault::refuse(403, "AccessDenied", "no");
    let calls = Calls::any().operation("GetBucketAcl").resource(&staged.resource);
    proxy.fault(calls, denied);

    let output = scan(&cloud, &["--control", "s3-public-acl", "--json"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    violation(&found, &other);
    let totals = &found["totals"];
    assert_eq!((&totals["compliant"], &totals["unread"]), (&0.into(), &1.into()), "{totals}");
    assert_eq!(array(&found["unread"])[0]["resource"], staged.resource);
}

#[tokio::test]
async fn what_others_wrote_steers_no_terminal() {
    // XML has no worse characters.
    const DESCRIPTION: &str = "\u{9b}31mowned\u{202e}<script>alert(1)</script>";
    let emulator = Emulator::start().unwrap();
    let cloud = emulator.cloud();
    let staged = scenario::stage(&cloud, "sg-open-ingress", "hostile").await.unwrap();
    let range = aws_sdk_ec2::types::IpRange::builder()
        .cidr_ip("0.0.0.0/0")
        .description(DESCRIPTION)
        .build();
    let rule = IpPermission::builder().ip_protocol("tcp").from_port(3389).to_port(3389);
    let rule = rule.ip_ranges(range).build();
    let group = cloud.ec2.authorize_security_group_ingress().group_id(&staged.resource);
    group.ip_permissions(rule).send().await.unwrap();

    let arguments = ["--control", "sg-open-ingress"];
    let shown = scan(&cloud, &arguments);
    let shown = text(&shown.stdout);
    assert!(shown.contains("3389") && shown.contains("owned"), "{shown}");
    assert!(shown.lines().all(|line| !line.contains(is_invisible)), "{shown:?}");
    let page = text(&scan(&cloud, &[&arguments[..], &["--html"]].concat()).stdout);
    assert!(page.contains("owned") && !page.contains("<script>alert"), "markup stays text");
    let json = text(&scan(&cloud, &[&arguments[..], &["--json"]].concat()).stdout);
    assert!(json.lines().all(|line| !line.contains(is_invisible)), "{json:?}");
    let found: Value = serde_json::from_str(&json).unwrap();
    assert!(violation(&found, &staged)["changes"].to_string().contains("\u{202e}<script>"));
}

#[tokio::test]
async fn another_account_than_that_of_the_credentials_is_refused_before_anything_is_looked_at() {
    let emulator = Emulator::start().unwrap();
    let proxy = Proxy::start(&emulator.endpoint).unwrap();
    let output = scan(&Cloud::at(&proxy.endpoint), &["--account", "111122223333"]);
    assert_eq!(output.status.code(), Some(3));
    let said = text(&output.stderr);
    assert!(said.contains("your credentials are of account 123456789012"), "{said}");
    assert!(said.contains("nothing was looked at"), "{said}");
    assert_eq!(proxy.count(|entry| entry.service != "STS"), 0, "{:?}", proxy.log());
}

#[tokio::test]
async fn whom_the_policy_trusts_is_read_from_the_file_and_a_file_with_mistakes_stops_it() {
    let emulator = Emulator::start().unwrap();
    let cloud = emulator.cloud();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("known.toml");
    let name = file.to_str().unwrap();
    let arguments = ["--control", "s3-public-acl", "--policy", name];

    fs::write(&file, "[trusted]\naccounts = ['111122223333']\n").unwrap();
    let output = scan(&cloud, &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("known.toml says"), "{}", text(&output.stdout));

    fs::write(&file, "[trusted]\naccount = ['111122223333']\n").unwrap();
    let output = scan(&cloud, &arguments);
    assert_eq!(output.status.code(), Some(3));
    let said = text(&output.stderr);
    assert!(said.contains(":2: there is no key `account`") && said.contains("not valid"), "{said}");

    fs::remove_file(&file).unwrap();
    assert_eq!(
        scan(&cloud, &arguments).status.code(),
        Some(3),
        "the file that was named is not there"
    );
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    for arguments in [
        ["--control", "ec2-quarantine"].as_slice(),
        &["--control", "s3-public"],
        &["--account", "1234"],
        &["--region", "europe"],
        &["--json", "--html"],
        &["-o", "scan.txt"],
    ] {
        let none: &[(&str, &str)] = &[];
        let output = quell(&[&["scan"], arguments].concat(), none);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

fn scan(cloud: &Cloud, arguments: &[&str]) -> Output {
    quell(&[&["scan"], arguments].concat(), &cloud.environment())
}

/// The one violation of the staged resource under its control.
fn violation<'f>(found: &'f Value, staged: &Staged) -> &'f Value {
    let mut of_it = array(&found["violations"])
        .iter()
        .filter(|one| one["control"] == staged.control && one["resource"] == staged.resource);
    let violation =
        of_it.next().unwrap_or_else(|| panic!("{} is not in {found:#}", staged.resource));
    assert!(of_it.next().is_none(), "it is there once");
    violation
}

fn rank(violation: &Value) -> usize {
    let severities = ["low", "medium", "high", "critical"];
    severities.iter().position(|one| violation["severity"] == *one).unwrap()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

async fn snapshots(cloud: &Cloud, staged: &[Staged]) -> Vec<Value> {
    let mut snapshots = Vec::new();
    for one in staged {
        snapshots.push(scenario::snapshot(cloud, one).await.unwrap());
    }
    snapshots
}
