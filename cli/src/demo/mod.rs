//! `quell demo`: every remediation at work, on an embedded AWS, by the real function binaries.

use std::{path::PathBuf, time::Instant};

use clap::Args;
use quell_controls::REGISTRY;
use quell_engine::{
    Description, Meta, Mode, Outcome, Safety,
    aws::Call,
    ledger::{Record, Status},
    policy::{Person, Policy},
};
use quell_local::{
    Cloud, Emulator, Stack,
    cloud::CALLER,
    scenario::{self, Staged},
};
use serde::Serialize;

use crate::{
    Error,
    binaries::{Binaries, Operator},
    place::Place,
    records,
    terminal::{self, Tone},
    undo::undo,
};

mod messages;

pub(crate) const EXAMPLES: &str = "Examples:
  quell demo
  quell demo --json | jq '.[] | {control, outcome, milliseconds}'
  quell demo --keep      # then, in another terminal, set what it prints and try: quell records
  quell demo --messages  # the e-mail of each outcome, exactly as it was published
  quell demo --messages --json | jq -r '.[] | select(.outcome == \"pending\").email'

Exit codes: 0 everything was fixed, or came about, 1 something was not, or did not, 3 the embedded AWS or the build failed.";

#[derive(Args)]
pub(crate) struct Demo {
    /// An array with one object for each remediation, or for each message
    #[arg(long)]
    json: bool,
    /// Bring about every outcome that people hear of, and show what they are told of each
    #[arg(long, conflicts_with = "keep")]
    messages: bool,
    /// Leave the embedded AWS running until Ctrl-C, for playing
    #[arg(long)]
    keep: bool,
    /// Take the function binaries from this folder instead of building them
    #[arg(long, value_name = "FOLDER")]
    functions: Option<PathBuf>,
}

/// What became of one bad state. Every fact is read back from AWS or the ledger, or measured here.
#[derive(Serialize)]
struct Shown {
    control: String,
    resource: String,
    /// The file that the event was made of.
    event: String,
    who: Option<String>,
    /// What was wrong, and why it matters.
    finding: &'static str,
    outcome: Outcome,
    #[serde(skip)]
    safety: Safety,
    #[serde(skip)]
    reversible: bool,
    changes: Vec<Description>,
    /// Calls on the resource's own services.
    calls: Vec<Call>,
    /// AWS shows it, asked with a client of the demo's own.
    verified: bool,
    /// From the event's delivery until the function answered: fixed, verified, recorded and told.
    milliseconds: u64,
    record: Option<String>,
    /// The subject of the message.
    message: Option<String>,
    /// Of the one that is undone: whether the resource equals what it was before.
    #[serde(skip_serializing_if = "Option::is_none")]
    undone: Option<bool>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Shown {
    fn is_well(&self) -> bool {
        let is_done = match self.safety {
            // There is nothing to put right: that people hear of it is all.
            Safety::ReportOnly => self.outcome == Outcome::Observed,
            Safety::Safe | Safety::NeedsApproval => self.outcome == Outcome::Fixed && self.verified,
        };
        is_done && self.message.is_some() && self.undone != Some(false)
    }
}

/// The remediation that is undone: the one that people meet first.
const UNDONE: &str = "s3-public-acl";

impl Demo {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let binaries = Binaries::ready(self.functions.as_deref())?;
        if self.messages {
            return messages::run(&binaries, self.json).await;
        }
        let started = Instant::now();
        let emulator = Emulator::start_on("127.0.0.1", 0, &mut |step| terminal::progress(step))
            .map_err(|error| Error::Trouble(error.into()))?;
        let cloud = emulator.cloud();
        let stack = Stack::deploy(&cloud).await?;
        stack.apply_policy(&each_is_told()).await?;
        let environment = stack.environment("act");
        let operator = Operator::start(&binaries, &stack, &environment, "127.0.0.1").await?;
        let url = operator.door.url();
        let place = Place::embedded(&cloud, &stack.ledger, &stack.topic, &url);

        terminal::progress("making the bad states");
        let mut stages = Vec::new();
        for meta in REGISTRY {
            stages.push((*meta, stack.stage(meta.id, "demo").await?));
        }

        let mut shown = Vec::new();
        for (meta, staged) in &stages {
            let function = operator
                .function(meta.function)
                .ok_or_else(|| Error::trouble(format!("there is no function {}", meta.function)))?;
            let before = scenario::snapshot(&cloud, staged).await?;
            let delivered = Instant::now();
            let attempt = function
                .invoke(staged.event.to_string())
                .await
                .map_err(|error| Error::Trouble(error.into()))?;
            let milliseconds = u64::try_from(delivered.elapsed().as_millis()).unwrap_or(u64::MAX);
            let mut one = read_back(&cloud, &stack, &place, meta, staged).await?;
            one.milliseconds = milliseconds;
            one.reason = one.reason.or_else(|| attempt.answer.error_message());
            if meta.id == UNDONE {
                one.undone = Some(undone(&cloud, &place, staged, &one, &before).await?);
            }
            if !self.json {
                show(&one);
            }
            shown.push(one);
        }

        if self.json {
            terminal::json(&shown)?;
        } else {
            let fixed = shown.iter().filter(|one| one.is_well()).count();
            terminal::line(&format!(
                "{fixed} of {} put right or told, in {:.0} s with starting and stopping an AWS",
                shown.len(),
                started.elapsed().as_secs_f32()
            ));
        }
        if self.keep {
            keep(&cloud, &stack, &url).await?;
        }
        let unwell: Vec<_> =
            shown.iter().filter(|one| !one.is_well()).map(|one| one.control.as_str()).collect();
        if unwell.is_empty() {
            Ok(())
        } else {
            Err(Error::NotDone(format!("not put right: {}", unwell.join(", "))))
        }
    }
}

/// Every control is enforced.
pub(crate) fn policy() -> Policy {
    Policy { people: people(), ..Policy::by_name(Mode::Enforce, REGISTRY) }
}

/// The same person makes all bad states, and hears of each by itself.
fn each_is_told() -> Policy {
    let mut policy = policy();
    policy.notify.fold_minutes = 0;
    for limits in [&mut policy.budgets.critical, &mut policy.budgets.routine] {
        limits.actor = limits.overall;
    }
    policy
}

/// Who makes the bad states, and whoever runs this: another person, who may undo what came of them.
fn people() -> Vec<Person> {
    let person = |name: &str, principals: &[&str]| Person {
        name: name.to_owned(),
        slack: None,
        principals: principals.iter().map(|arn| (*arn).to_owned()).collect(),
    };
    vec![person("alice", &ALICE), person("bob", &[CALLER])]
}

/// Who made the calls of the samples.
const ALICE: [&str; 2] = [
    "arn:aws:iam::123456789012:user/alice",
    "arn:aws:sts::123456789012:assumed-role/developer/alice",
];

/// What AWS, the ledger and a subscriber of the topic say, asked with clients of the demo's own.
async fn read_back(
    cloud: &Cloud,
    stack: &Stack,
    place: &Place,
    meta: &Meta,
    staged: &Staged,
) -> Result<Shown, Error> {
    let is_about_it = |record: &Record| record.intent.resource == staged.resource;
    let newest = place.ledger.find(meta.id, &[], None, 1, is_about_it).await;
    let record = newest.map_err(|error| Error::Trouble(error.into()))?.pop();
    let told = stack.messages().await?;
    let message = told
        .into_iter()
        .find(|message| message.attributes.get("control").is_some_and(|id| id == meta.id));
    let intent = record.as_ref().map(|record| &record.intent);
    Ok(Shown {
        control: meta.id.to_owned(),
        resource: staged.resource.clone(),
        event: format!("events/{}/violating.json", meta.id),
        who: intent.and_then(|intent| intent.actor.as_ref()).map(|actor| {
            let from = actor.source_ip.as_ref().map(|ip| format!(" from {ip}"));
            format!("{}{}", actor.principal, from.unwrap_or_default())
        }),
        finding: meta.risk,
        safety: meta.safety,
        reversible: meta.reversible,
        outcome: record.as_ref().map_or(Outcome::Failed, |record| record.status.outcome()),
        changes: intent.map(|intent| intent.changes.clone()).unwrap_or_default(),
        calls: record.as_ref().map(|record| record.result.calls.clone()).unwrap_or_default(),
        verified: !scenario::is_violating(cloud, staged).await?,
        milliseconds: 0,
        message: message.and_then(|message| message.subject),
        undone: None,
        reason: record.as_ref().and_then(|record| record.result.reason.clone()),
        record: record.map(|record| record.id),
    })
}

/// Undoes it, and looks whether everything is as it was before.
async fn undone(
    cloud: &Cloud,
    place: &Place,
    staged: &Staged,
    one: &Shown,
    before: &serde_json::Value,
) -> Result<bool, Error> {
    let Some(id) = &one.record else { return Ok(false) };
    let record = records::find(place, id).await?;
    let undo = undo(place, &record).await?;
    let now = scenario::snapshot(cloud, staged).await?;
    Ok(undo.status == Status::Undone && now == *before)
}

fn show(one: &Shown) {
    let say = |name: &str, value: &str| {
        terminal::line(&format!("  {name:<9}{}", terminal::clean(value)));
    };
    terminal::line(&terminal::toned(
        Tone::Bold,
        &format!("{}: {}", one.control, terminal::clean(&one.resource)),
    ));
    say("event", &one.event);
    say("who", one.who.as_deref().unwrap_or("the event does not say"));
    say("finding", one.finding);
    let word = one.outcome.to_string();
    let tone = if one.is_well() { Tone::Good } else { Tone::Bad };
    terminal::line(&format!(
        "  {:<9}{} after {} ms, {}",
        "outcome",
        terminal::toned(tone, &word),
        one.milliseconds,
        match (one.verified, one.safety) {
            (true, _) => "AWS shows it",
            (false, Safety::ReportOnly) => "people are told, and nothing is changed",
            (false, _) => "but AWS still shows the bad state",
        }
    ));
    if let Some(reason) = &one.reason {
        say("reason", reason);
    }
    terminal::line("  changes");
    records::diff(&one.changes);
    say("reads", &counted(one.calls.iter().filter(|call| !call.is_write())));
    say("writes", &counted(one.calls.iter().filter(|call| call.is_write())));
    say("message", one.message.as_deref().unwrap_or("none"));
    if let Some(record) = one.record.as_ref().filter(|_| one.reversible) {
        say("undo", &format!("quell undo {record}"));
    }
    match one.undone {
        Some(true) => {
            say("undone", "the resource equals what it was before, read back from AWS");
        }
        Some(false) => say("undone", "no: the resource is not what it was before"),
        None => {}
    }
    terminal::line("");
}

/// Each operation once, in the order of the first, with how often it was called.
fn counted<'c>(calls: impl Iterator<Item = &'c Call>) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for call in calls {
        match counts.iter_mut().find(|(operation, _)| *operation == call.operation) {
            Some((_, count)) => *count += 1,
            None => counts.push((&call.operation, 1)),
        }
    }
    let counted = counts.iter().map(|(operation, count)| match count {
        1 => (*operation).to_owned(),
        _ => format!("{operation} x{count}"),
    });
    counted.collect::<Vec<_>>().join(", ")
}

/// Says how to reach the embedded AWS, and waits for Ctrl-C.
async fn keep(cloud: &Cloud, stack: &Stack, operator: &str) -> Result<(), Error> {
    let mut environment = stack.environment("act");
    environment.push(("QUELL_OPERATOR_URL".to_owned(), operator.to_owned()));
    terminal::progress(&format!(
        "the embedded AWS stays at {}; in another terminal:",
        cloud.endpoint
    ));
    for (name, value) in environment.iter().filter(|(_, value)| !value.is_empty()) {
        terminal::progress(&format!("  export {name}={value}"));
    }
    terminal::progress("Ctrl-C ends it");
    tokio::signal::ctrl_c().await.map_err(|error| Error::Trouble(error.into()))
}
