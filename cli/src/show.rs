//! `quell show`

use clap::Args;
use jiff::Timestamp;
use quell_controls::REGISTRY;
use quell_engine::{
    aws::Call,
    ledger::{Record, Status},
};

use crate::{
    Error,
    place::Place,
    records,
    terminal::{self, Tone},
};

pub(crate) const EXAMPLES: &str = "Examples:
  quell show 4f2a9c0d1e8b7a635241
  quell show 4f2a9c0d1e8b7a635241 --json | jq .intent.before

The state before, as it stands there, is what `quell undo` brings back. Times are in UTC.

Exit codes: 0 shown, 3 there is no such record, or AWS could not be reached.";

#[derive(Args)]
pub(crate) struct Show {
    /// The record, as messages and `quell records` name it
    record: String,
    /// All that the ledger has of it, as JSON
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let place = Place::from_environment().await?;
        let record = records::find(&place, &self.record).await?;
        if self.json {
            return terminal::json(&record);
        }
        facts(&record);
        heading("timeline");
        for (at, what) in timeline(&record) {
            terminal::line(&format!("    {at:.3}  {}", terminal::one_line(&what)));
        }
        changes(&record);
        calls(&record.result.calls);
        way_back(&record)?;
        let follower = match record.status {
            Status::Superseded => place.ledger.read(&record.following()).await,
            _ => Ok(None),
        };
        let follower = follower.map_err(|error| Error::Trouble(error.into()))?;
        let next = next(&record, follower.as_ref());
        if !next.is_empty() {
            heading("next");
        }
        for line in next {
            terminal::line(&format!("    {line}"));
        }
        Ok(())
    }
}

fn facts(record: &Record) {
    let intent = &record.intent;
    let meta = REGISTRY.iter().find(|meta| meta.id == intent.control);
    let title = meta.map(|meta| format!("{}: {}", meta.id, meta.title));
    fact("record", &record.id);
    fact("outcome", &records::outcome(record));
    for reason in [&record.result.reason, &intent.withheld].into_iter().flatten() {
        fact("reason", reason);
    }
    fact("control", title.as_ref().unwrap_or(&intent.control));
    if let Some(meta) = meta {
        fact("risk", meta.risk);
    }
    fact("resource", &intent.resource);
    for more in [&intent.arn, &intent.console] {
        if !more.is_empty() && *more != intent.resource {
            fact("", more);
        }
    }
    fact("account", &format!("{} in {}", intent.account, intent.region));
    match &intent.actor {
        Some(actor) => {
            fact("who", &actor.principal);
            let told = [
                ("", &actor.arn),
                ("from", &actor.source_ip),
                ("with", &actor.user_agent),
                ("through", &actor.invoked_by),
            ];
            for (how, value) in told {
                if let Some(value) = value {
                    fact(how, value);
                }
            }
        }
        None => fact("who", "the event does not say"),
    }
    fact("event", &intent.event_id);
    fact("mode", &intent.mode.to_string());
    if let Some(id) = &intent.undoes {
        fact("undoes", id);
    }
    if let Some(id) = &record.result.undone_by {
        fact("undone by", id);
    }
    if let Some(told) = record.result.told {
        fact("people heard", &format!("that it is {}", told.outcome()));
    }
    for note in intent.notes.iter().chain(&record.result.facts) {
        fact("note", note);
    }
}

/// What happened when, as far as the record knows.
fn timeline(record: &Record) -> Vec<(Timestamp, String)> {
    let mut times: Vec<(Timestamp, String)> = Vec::new();
    if let Some(at) = record.intent.event_time {
        let what = match record.intent.undoes {
            None => "it happened, as the event says",
            Some(_) => "the undo was ordered",
        };
        times.push((at, what.to_owned()));
    }
    times.push((record.intent.created, "assessed and planned".to_owned()));
    for stage in &record.result.history {
        times.push((stage.at, stage.status.name().to_owned()));
    }
    if let Some(order) = &record.result.order {
        let who = match &order.person {
            Some(person) => format!("{person} ({})", order.by),
            None => order.by.clone(),
        };
        times.push((order.at, format!("{} ordered by {who}", order.verb)));
    }
    times.sort_by_key(|(at, _)| *at);
    times
}

/// The plan, with what was made of it.
fn changes(record: &Record) {
    if record.intent.changes.is_empty() {
        return;
    }
    heading("changes");
    for (index, change) in record.intent.changes.iter().enumerate() {
        let made = match record.status {
            // Nothing of these was ever begun.
            Status::Observed
            | Status::Exempt
            | Status::Pending
            | Status::Refused
            | Status::Denied => "",
            _ if record.result.done.contains(&index) => " (made)",
            _ => " (not made)",
        };
        let action = terminal::toned(Tone::Dim, &terminal::one_line(&change.action));
        terminal::line(&format!("    {action}{made}"));
        records::lines_of(change);
    }
}

/// The calls on the resource's own services, as CloudTrail knows them.
fn calls(calls: &[Call]) {
    if calls.is_empty() {
        return;
    }
    heading("calls");
    let rows: Vec<Vec<String>> = calls
        .iter()
        .map(|call| {
            vec![
                format!("    {}", terminal::one_line(&call.service)),
                terminal::one_line(&call.operation),
                terminal::one_line(call.request_id.as_deref().unwrap_or("none")),
                (if call.ok { "ok" } else { "failed" }).to_owned(),
            ]
        })
        .collect();
    terminal::table(&["    SERVICE", "OPERATION", "REQUEST ID", "ANSWER"], &rows);
}

/// The state before, which is what an undo restores.
fn way_back(record: &Record) -> Result<(), Error> {
    if !record.intent.before.is_null() {
        heading("way back: the state before");
        for line in terminal::pretty(&record.intent.before)? {
            terminal::line(&format!("    {line}"));
        }
    }
    Ok(())
}

/// What a person can do now.
fn next(record: &Record, follower: Option<&Record>) -> Vec<String> {
    let id = &record.id;
    if let Some(follower) = follower {
        return vec![format!("quell show {}    # what took over", follower.id)];
    }
    match (record.status, &record.intent.undoes) {
        (Status::Pending, _) => {
            let until = record.intent.expires.map(|at| format!("    # until {at:.0}"));
            vec![
                format!("quell approve {id}{}", until.unwrap_or_default()),
                format!("quell deny {id}"),
            ]
        }
        (Status::Parked, _) => vec![format!("quell resume {id}")],
        (Status::Fixed | Status::Partial, None) if !is_reversible(&record.intent.control) => {
            vec![format!(
                "nothing can be undone; docs/runbooks/{}.md says why",
                record.intent.control
            )]
        }
        (Status::Fixed | Status::Partial, None) => vec![format!("quell undo {id}")],
        (Status::Failed | Status::Partial, Some(original)) => {
            vec![format!("quell undo {original}    # once more")]
        }
        (Status::Undone, None) => match &record.result.undone_by {
            Some(by) => vec![format!("quell show {by}    # what the undo did")],
            None => Vec::new(),
        },
        (_, Some(original)) => vec![format!("quell show {original}    # what was undone")],
        (Status::Observed | Status::Refused | Status::Denied, None) => vec![format!(
            "quell exempt add --record {id} --days 7 --reason REASON    # let it be as it is"
        )],
        (Status::Failed, None) => vec![format!(
            "put the resource right by hand; docs/runbooks/{}.md says how",
            record.intent.control
        )],
        (Status::Undoing, None) => vec![format!("quell undo {id}    # if it stays so: once more")],
        (Status::Applying, None) => {
            vec!["wait: it is being worked on, and taken up again if that ends early".to_owned()]
        }
        (Status::Superseded, None) => {
            vec!["nothing: the resource changed meanwhile, and needs nothing more".to_owned()]
        }
        (Status::Exempt, None) => vec!["quell exempt list".to_owned()],
    }
}

/// Of a control that this version does not know, the function says whether it can be undone.
fn is_reversible(control: &str) -> bool {
    REGISTRY.iter().find(|meta| meta.id == control).is_none_or(|meta| meta.reversible)
}

fn fact(name: &str, value: &str) {
    terminal::line(&format!("{name:<14}{}", terminal::one_line(value)));
}

fn heading(name: &str) {
    terminal::line(&terminal::toned(Tone::Bold, name));
}
