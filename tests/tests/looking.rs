//! People look at what Quell did, with the real `quell` command.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use jiff::{Timestamp, ToSpan as _};
use quell_engine::{
    Actor, Mode, Severity,
    ledger::{Intent, Ledger, Order, Record, Status, Verb},
    policy::Routed,
    protocol::{Life, Write},
    text::is_invisible,
};
use quell_local::scenario;
use quell_tests::{
    command::{quell, text},
    rig::{Rig, write},
};
use serde_json::{Value, json};

const NONE: &[(&str, &str)] = &[];

#[tokio::test]
async fn what_is_looked_for_is_found_however_much_lies_before_it() {
    let rig = Rig::start().await;
    let wanted = stands(record("wanted", 90), Status::Failed);
    put(&rig.ledger, wanted.clone()).await;
    // More than DynamoDB gives in one page.
    for minutes in 0..24 {
        let mut other = record("other", minutes);
        other.intent.notes = vec![noise(minutes, 120_000)];
        put(&rig.ledger, other).await;
    }
    let environment = rig.stack.environment("observe");
    for filter in [["--outcome", "failed"], ["--resource", "want*"], ["--actor", "MALLORY"]] {
        let mut arguments = vec!["records", "--limit", "1", "--json"];
        arguments.extend(filter);
        let shown = quell(&arguments, &environment);
        assert!(shown.status.success(), "{}", text(&shown.stderr));
        assert_eq!(ids(&shown.stdout), [wanted.id.as_str()], "{filter:?}");
        assert_eq!(text(&shown.stderr), "", "that is all there is");
    }
}

#[tokio::test]
async fn filters_all_hold_and_what_is_left_out_is_said() {
    let rig = Rig::start().await;
    for minutes in [5, 10, 15, 20, 300, 3000] {
        let mut one = record("photos-2024", minutes);
        if minutes == 10 {
            one.intent.control = "s3-public-policy".to_owned();
        }
        if minutes == 15 {
            one.status = Status::Applying;
        }
        put(&rig.ledger, one).await;
    }
    let environment = rig.stack.environment("observe");
    let found = |filters: &str| {
        let mut arguments = vec!["records", "--json"];
        arguments.extend(filters.split(' ').filter(|word| !word.is_empty()));
        let shown = quell(&arguments, &environment);
        assert!(shown.status.success(), "{}", text(&shown.stderr));
        (ids(&shown.stdout), text(&shown.stderr))
    };
    let (all, _) = found("");
    let of = |minutes: &[i64]| -> Vec<String> {
        minutes.iter().map(|minutes| record("photos-2024", *minutes).id).collect()
    };
    assert_eq!(all, of(&[5, 10, 15, 20, 300, 3000]), "newest first, of all controls");
    assert_eq!(found("--since 1h").0, of(&[5, 10, 15, 20]));
    assert_eq!(found("--since 1d --control s3-public-acl").0, of(&[5, 15, 20, 300]));
    assert_eq!(found("--outcome partial").0, of(&[15]), "what is under way is partial");
    assert_eq!(found("--outcome fixed,partial --since 17m").0, of(&[5, 10, 15]));
    assert_eq!(found("--resource photos-????").0.len(), 6);
    assert_eq!(found("--resource arn:aws:s3:::photos-*").0.len(), 6);
    assert_eq!(found("--resource photos").0, of(&[]), "a glob is for the whole name");
    assert_eq!(found("--actor user/mal").0.len(), 6, "a part of the ARN will do");
    let (two, said) = found("--limit 2");
    assert_eq!(two, of(&[5, 10]));
    assert!(said.contains("there are more"), "{said}");

    let none = quell(&["records", "--actor", "nobody"], &environment);
    assert_eq!(text(&none.stdout), "no such records\n");
}

#[tokio::test]
async fn one_record_is_shown_with_all_that_a_person_asks_about_it() {
    let rig = Rig::start().await;
    let staged = scenario::stage(&rig.cloud, "s3-public-acl", "show").await.unwrap();
    let id = rig.evaluate(Mode::Enforce, &staged).await.record.unwrap();
    let environment = rig.stack.environment("act");
    let shown = quell(&["show", &id], &environment);
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    let shown = text(&shown.stdout);
    let record = rig.ledger.read(&id).await.unwrap().unwrap();
    let put = record.result.calls.iter().find(|call| call.operation == "PutBucketAcl").unwrap();
    for part in [
        "outcome       fixed",
        "risk          ",
        &staged.resource,
        "  applying\n",
        "  fixed\n",
        "s3:PutBucketAcl (made)",
        "- READ to Group",
        put.request_id.as_deref().unwrap(),
        "people heard  that it is fixed",
        "way back: the state before\n    {\n",
        &format!("next\n    quell undo {id}\n"),
    ] {
        assert!(shown.contains(part), "no `{part}` in:\n{shown}");
    }

    let json = quell(&["show", &id, "--json"], &environment);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json, serde_json::to_value(&record).unwrap());

    let undone = rig.undo(&id).await;
    let undo = undone.record.unwrap();
    let shown = text(&quell(&["show", &id], &environment).stdout);
    assert!(shown.contains(&format!("undone by     {undo}")), "{shown}");
    assert!(shown.contains(&format!("quell show {undo}")), "{shown}");
    let shown = text(&quell(&["show", &undo], &environment).stdout);
    assert!(shown.contains("outcome       undo: undone"), "{shown}");
    assert!(shown.contains(&format!("undoes        {id}")), "{shown}");
    assert!(!shown.contains("quell undo "), "an undo is not undone: {shown}");
}

#[tokio::test]
async fn what_waits_for_a_person_names_the_command_that_person_needs() {
    let rig = Rig::start().await;
    let mut pending = stands(record("pending", 5), Status::Pending);
    pending.intent.expires = Some("2031-01-01T00:00:00Z".parse().unwrap());
    let mut parked = stands(record("parked", 5), Status::Parked);
    parked.result.reason = Some("the budget routine overall of the policy is used up".to_owned());
    let mut approved = record("approved", 5);
    approved.result.order = Some(Order {
        record: approved.id.clone(),
        verb: Verb::Approve,
        plan: None,
        by: "arn:aws:iam::123456789012:user/bob".to_owned(),
        person: Some("bob".to_owned()),
        at: "2031-01-01T00:00:00Z".parse().unwrap(),
        expires: "2031-01-02T00:00:00Z".parse().unwrap(),
    });
    for record in [&pending, &parked, &approved] {
        put(&rig.ledger, record.clone()).await;
    }
    let environment = rig.stack.environment("observe");
    let show = |record: &Record| text(&quell(&["show", &record.id], &environment).stdout);
    let shown = show(&pending);
    let approve = format!("quell approve {}    # until 2031-01-01T00:00:00Z", pending.id);
    assert!(shown.contains(&approve) && shown.contains("quell deny "), "{shown}");
    let shown = show(&parked);
    assert!(shown.contains(&format!("quell resume {}", parked.id)), "{shown}");
    assert!(shown.contains("reason        the budget routine overall"), "{shown}");
    let shown = show(&approved);
    let ordered =
        "2031-01-01T00:00:00.000Z  approve ordered by bob (arn:aws:iam::123456789012:user/bob)";
    assert!(shown.contains(ordered), "{shown}");
}

#[tokio::test]
async fn a_record_that_was_overtaken_names_the_one_that_took_over() {
    let rig = Rig::start().await;
    let mut first = stands(record("photos", 5), Status::Superseded);
    put(&rig.ledger, first.clone()).await;
    let environment = rig.stack.environment("observe");
    let show = |record: &Record| text(&quell(&["show", &record.id], &environment).stdout);
    assert!(show(&first).contains("needs nothing more"), "{}", show(&first));

    let mut second = record("photos", 4);
    second.id = first.following();
    put(&rig.ledger, second.clone()).await;
    let follows = format!("quell show {}    # what took over", second.id);
    assert!(show(&first).contains(&follows), "{}", show(&first));

    first.intent.undoes = Some(second.id.clone());
    let of_an_undo = quell_engine::ledger::record_id(&["undo", &second.id, "1"]);
    assert_eq!(first.following(), of_an_undo);
}

#[tokio::test]
async fn names_chosen_by_an_attacker_steer_no_terminal() {
    let rig = Rig::start().await;
    let bad = "\u{1b}[2Jx\u{202e}\r\nrecord  fixed \u{7}\u{9b}31m";
    let mut hostile = record(bad, 5);
    hostile.intent.before = json!({bad: [bad]});
    hostile.intent.withheld = Some(bad.to_owned());
    hostile.intent.notes = vec![bad.to_owned()];
    hostile.result.reason = Some(bad.to_owned());
    if let Some(actor) = &mut hostile.intent.actor {
        actor.principal = bad.to_owned();
        actor.user_agent = Some(bad.to_owned());
    }
    put(&rig.ledger, hostile.clone()).await;
    let environment = rig.stack.environment("observe");
    for arguments in [&["records"][..], &["show", &hostile.id], &["show", &hostile.id, "--json"]] {
        let shown = quell(arguments, &environment);
        assert!(shown.status.success(), "{}", text(&shown.stderr));
        let steers = |c: char| c != '\n' && is_invisible(c);
        let shown = text(&shown.stdout);
        assert!(!shown.contains(steers), "{arguments:?}: {shown:?}");
        assert!(!shown.lines().any(|line| line.starts_with("record  fixed")), "{shown}");
    }
    let json = quell(&["show", &hostile.id, "--json"], &environment);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["intent"]["resource"], bad, "a machine gets it as it is");
}

#[test]
fn wrong_filters_are_answered_with_the_right_words() {
    for (arguments, word) in [
        (["--since", "yesterday"], "2h"),
        (["--outcome", "broken"], "parked"),
        (["--control", "s3"], "s3-public-acl"),
        (["--limit", "0"], "1..=1000"),
    ] {
        let shown = quell(&[&["records"][..], &arguments].concat(), NONE);
        assert_eq!(shown.status.code(), Some(2), "{arguments:?}");
        assert!(text(&shown.stderr).contains(word), "{}", text(&shown.stderr));
    }
}

fn ids(json: &[u8]) -> Vec<String> {
    let records: Vec<Value> = serde_json::from_slice(json).unwrap();
    records.iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect()
}

/// A fix of so many minutes ago.
fn record(resource: &str, minutes: i64) -> Record {
    let intent = Intent {
        control: "s3-public-acl".to_owned(),
        account: "123456789012".to_owned(),
        region: "eu-west-1".to_owned(),
        target: json!(resource),
        resource: resource.to_owned(),
        arn: format!("arn:aws:s3:::{resource}"),
        console: String::new(),
        severity: Severity::High,
        mode: Mode::Enforce,
        withheld: None,
        created: Timestamp::now() - minutes.minutes(),
        event_id: "1".to_owned(),
        deduplication: "1".to_owned(),
        attempt: 0,
        event_time: None,
        actor: Some(Actor {
            principal: if resource == "other" { "user alice" } else { "user mallory" }.to_owned(),
            arn: Some("arn:aws:iam::123456789012:user/mallory".to_owned())
                .filter(|_| resource != "other"),
            ..Actor::default()
        }),
        finding: None,
        before: json!({"grants": ["READ"]}),
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
        status: Status::Fixed,
        version: 1,
        writer: "the test".to_owned(),
        done: Vec::new(),
        told: None,
        open: false,
    };
    let id = quell_engine::ledger::record_id(&[resource, &minutes.to_string()]);
    Record::new(id, intent, &life)
}

fn stands(mut record: Record, status: Status) -> Record {
    record.status = status;
    record
}

async fn put(ledger: &Ledger, record: Record) {
    let (id, life) = (record.id.clone(), record.life());
    write(ledger, record, Write::Put { id, life }).await;
}

/// Text that does not shrink much when it is packed, the same for the same seed.
fn noise(seed: i64, length: usize) -> String {
    let mut state = u64::from_ne_bytes(seed.to_ne_bytes()).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + (state % 90) as u8)
    };
    std::iter::repeat_with(next).take(length).collect()
}
