//! Real events that nobody in this project wrote: each is a signal, or a stated reason, or an error that is explained.
//!
//! What is expected is taken from the index of the events, never from the parser.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "these are tests")]

mod corpus_index;

use std::collections::{BTreeMap, BTreeSet};

use corpus_index::{Row, corpus, is_account};
use quell_engine::signal::{EventError, Heard, ParseOptions, parse, parse_for};
use quell_tests::rig::Rig;
use serde_json::Value;

/// What the names of the kinds begin with that the engine promises to know.
const NAMED: [&str; 9] = [
    "access-analyzer",
    "cloudtrail-api",
    "cloudtrail-service",
    "config-compliance",
    "console-signin",
    "ec2-state",
    "guardduty",
    "health",
    "securityhub-",
];

/// Invocations that do not come from EventBridge.
const NOT_EVENTS: [&str; 3] = ["budgets-sns", "config-lambda-invocation", "sns-"];

/// What the labels begin with of events about which nothing is to be done, whatever the policy.
const NEVER: [&str; 8] = [
    "the call failed",
    "read-only call",
    "GuardDuty sample finding",
    "workflow RESOLVED",
    "workflow SUPPRESSED",
    "finding status",
    "access preview",
    "source ",
];

/// Events that the index wants acted upon, and that are no signal, with why.
const DISAGREE: [(&str, &str); 2] = [
    (
        "securityhub-custom-action-SecurityHub-CIS-1-3-1-4.6332ae5c.json",
        "a person picked a finding whose compliance is PASSED, and passed findings never act",
    ),
    (
        "securityhub-custom-action-SecurityHub-CIS-1-5-1-11-RR.0d8fc84c.json",
        "a person picked a finding that is PASSED and in workflow RESOLVED",
    ),
];

#[test]
fn every_event_is_a_signal_or_has_a_reason() {
    let Some((folder, rows)) = corpus() else { return };
    let mut wrong = Vec::new();
    let mut disagreed = BTreeSet::new();
    let mut table: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
    let mut errors: BTreeMap<String, usize> = BTreeMap::new();
    for row in &rows {
        let text = row.read(&folder);
        let heard = parse(&text);
        let outcomes = outcomes(&heard);
        for outcome in &outcomes {
            *table.entry(&row.kind).or_default().entry(outcome.clone()).or_default() += 1;
        }

        if let Err(error) = &heard {
            *errors.entry(error.to_string()).or_default() += 1;
            if !may_be_error(row) {
                wrong.push(format!("{}: an error that nothing explains: {error}", row.file));
            }
        }
        if is_named(row) && outcomes.iter().any(|outcome| outcome == "ignored: unhandled-kind") {
            wrong.push(format!("{}: of a kind that must be known", row.file));
        }
        let is_signal = outcomes.iter().any(|outcome| outcome == "signal");
        if let Some(never) = never(row)
            && is_signal
        {
            wrong.push(format!("{}: a signal in spite of: {never}", row.file));
        }
        if is_named(row)
            && row.is_firm_act()
            && !is_signal
            && !may_be_error(row)
            && !is_scrubbed(&text)
        {
            match DISAGREE.iter().find(|(file, _)| *file == row.file) {
                Some((file, _)) => drop(disagreed.insert(*file)),
                None => wrong.push(format!("{}: no signal but {outcomes:?}", row.file)),
            }
        }
    }

    print_table(&table, rows.len());
    for (error, count) in errors {
        println!("{count:4} × error: {error}");
    }
    for (file, why) in DISAGREE {
        // Another corpus may not hold it.
        if rows.iter().any(|row| row.file == file) {
            println!("against the label of {file}: {why}");
            assert!(disagreed.contains(file), "{file} is a signal now: take it off the list");
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

/// Nobody is asked about what must never lead to an act: not AWS, not the ledger.
#[tokio::test]
async fn what_must_never_act_makes_no_call() {
    let Some((folder, rows)) = corpus() else { return };
    let rig = Rig::start().await;
    let mut looked_at = 0;
    for row in rows.iter().filter(|row| never(row).is_some()) {
        let text = row.read(&folder);
        let event: Value = serde_json::from_str(&text).unwrap_or_default();
        let account = event["account"].as_str().unwrap_or("123456789012");
        let (calls, _) = rig.deliver_counted(account, &text).await;
        assert_eq!(calls, 0, "{}", row.file);
        looked_at += 1;
    }
    assert!(looked_at > 0, "the index labels some as such");
    println!("{looked_at} events that must never act: no call");
}

#[test]
fn no_event_of_another_account_is_a_signal() {
    let Some((folder, rows)) = corpus() else { return };
    // AWS gives no such account id.
    let options =
        ParseOptions { account: Some("000000000000".to_owned()), ..ParseOptions::default() };
    for row in rows {
        let Ok(heard) = parse_for(&row.read(&folder), &options) else { continue };
        for heard in heard {
            assert!(!matches!(heard, Heard::Signal(_)), "{}", row.file);
        }
    }
}

#[test]
fn no_part_of_an_event_is_an_event() {
    let Some((folder, rows)) = corpus() else { return };
    for row in rows {
        let text = row.read(&folder);
        let text = text.trim_end();
        for part in 0..20 {
            let mut end = text.len() * part / 20;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            assert!(parse(&text[..end]).is_err(), "{} cut at {end}", row.file);
        }
    }
}

fn is_named(row: &Row) -> bool {
    NAMED.iter().any(|kind| row.kind.starts_with(kind))
        || row.name.as_deref() == Some("Scheduled Event")
}

/// Why the event must not become a signal.
fn never(row: &Row) -> Option<String> {
    if let Some(code) = row.error_code.as_deref().filter(|code| !code.is_empty()) {
        return Some(format!("error code {code}"));
    }
    for quirk in ["sample-finding", "read-only", "error"] {
        if row.has_quirk(quirk) {
            return Some(format!("quirk {quirk}"));
        }
    }
    let label = row.label.ignore.as_deref()?;
    NEVER.iter().any(|start| label.starts_with(start)).then(|| label.to_owned())
}

/// Whether the event may be an error: it is none of EventBridge's, or malformed.
fn may_be_error(row: &Row) -> bool {
    let has_region =
        row.region.as_deref().is_some_and(|region| region.contains('-') || region == "global");
    NOT_EVENTS.iter().any(|kind| row.kind.starts_with(kind))
        || row.has_quirk("account-number-not-string")
        || row.has_quirk("pascal-case")
        || row.label.ignore.as_deref().is_some_and(|label| label.starts_with("empty detail"))
        || !has_region
}

fn outcomes(heard: &Result<Vec<Heard>, EventError>) -> Vec<String> {
    match heard {
        Err(_) => vec!["error".to_owned()],
        Ok(heard) => heard
            .iter()
            .map(|heard| match heard {
                Heard::Signal(_) => "signal".to_owned(),
                Heard::Ignored(ignored) => format!("ignored: {}", ignored.reason.code()),
                Heard::Refused(refused) => format!("refused: {}", refused.refusal.code()),
            })
            .collect(),
    }
}

fn print_table(table: &BTreeMap<&str, BTreeMap<String, usize>>, events: usize) {
    let mut total: BTreeMap<String, usize> = BTreeMap::new();
    println!("{events} events; one with several resources or findings counts once for each");
    for (kind, outcomes) in table {
        println!("{kind:28}{}", cells(outcomes));
        for (outcome, count) in outcomes {
            *total.entry(outcome.clone()).or_default() += count;
        }
    }
    println!("{:28}{}", "all", cells(&total));
}

fn cells(outcomes: &BTreeMap<String, usize>) -> String {
    let cells: Vec<String> =
        outcomes.iter().map(|(outcome, count)| format!("{outcome} {count}")).collect();
    cells.join(" · ")
}

/// Whether the publisher of the event put something else in place of the account.
fn is_scrubbed(event: &str) -> bool {
    let event: Value = serde_json::from_str(event).unwrap();
    !event["account"].as_str().is_some_and(is_account)
}
