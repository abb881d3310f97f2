//! `quell approve`, `quell deny` and `quell resume`

use std::io::{self, IsTerminal as _, Write as _};

use clap::Args;
use quell_engine::ledger::{Record, Status};
use serde_json::{Value, json};

use crate::{Error, operator, place::Place, records, terminal};

pub(crate) const APPROVE_EXAMPLES: &str = "Examples:
  quell approve 4f2a9c0d1e8b7a635241
  quell approve 4f2a9c0d1e8b7a635241 --yes --json | jq -r .status

Approved is the plan that is shown, and no other: it is made only if the resource is still as it was planned for. Whoever
made the change cannot approve; the [[people]] of quell.toml say who is who.

Exit codes: 0 it is fixed, 1 it is not (the reason is said), 3 AWS or the operator could not be reached.";

#[derive(Args)]
pub(crate) struct Approve {
    /// The record, as the message names it
    record: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// The record as JSON, once it rests
    #[arg(long)]
    json: bool,
}

impl Approve {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let place = Place::from_environment().await?;
        let record = records::find(&place, &self.record).await?;
        let intent = &record.intent;
        if !self.json {
            terminal::line(&format!(
                "{}: {} in {} {}",
                intent.control,
                terminal::clean(&intent.resource),
                intent.account,
                intent.region
            ));
            records::diff(&intent.changes);
        }
        if !self.yes && record.status == Status::Pending {
            confirm("Make these changes?")?;
        }
        let order = json!({"verb": "approve", "record": record.id, "plan": intent.plan_hash});
        let answer = operator::order(&place, &order).await?;
        terminal::progress(&terminal::clean(&answer.detail));
        let record = operator::rested(&place, &record.id, "waiting until it is fixed").await?;
        told(&record, self.json)?;
        match record.status {
            Status::Fixed => Ok(()),
            other => Err(Error::NotDone(format!(
                "{}: {}",
                other.name(),
                record.result.reason.as_deref().unwrap_or("no reason given")
            ))),
        }
    }
}

pub(crate) const DENY_EXAMPLES: &str = "Examples:
  quell deny 4f2a9c0d1e8b7a635241
  quell deny 4f2a9c0d1e8b7a635241 --reason 'the press kit is public on purpose'

Nothing is changed, now or later. `quell exempt add` keeps Quell from asking again.

Exit codes: 0 it is denied, 1 it is not (the reason is said), 3 AWS or the operator could not be reached.";

#[derive(Args)]
pub(crate) struct Deny {
    /// The record, as the message names it
    record: String,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// The operator's answer as JSON
    #[arg(long)]
    json: bool,
}

impl Deny {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let place = Place::from_environment().await?;
        let record = records::find(&place, &self.record).await?;
        let mut order = json!({"verb": "deny", "record": record.id});
        if let Some(reason) = &self.reason {
            order["reason"] = json!(reason);
        }
        answered(&place, &order, self.json).await
    }
}

pub(crate) const RESUME_EXAMPLES: &str = "Examples:
  quell resume 4f2a9c0d1e8b7a635241
  quell resume --all
  quell resume --all --control s3-public-acl

What was parked is looked at again, as far as modes and budgets allow by then. `quell records` shows what came of it.

Exit codes: 0 it is taken up again, 1 it is not (the reason is said), 3 AWS or the operator could not be reached.";

#[derive(Args)]
pub(crate) struct Resume {
    /// The record, as the message names it
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    record: Option<String>,
    /// All that are parked
    #[arg(long)]
    all: bool,
    /// With --all: only those of this control
    #[arg(long, requires = "all", value_parser = records::control)]
    control: Option<String>,
    /// The operator's answer as JSON
    #[arg(long)]
    json: bool,
}

impl Resume {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let place = Place::from_environment().await?;
        if let Some(id) = &self.record {
            let record = records::find(&place, id).await?;
            return answered(&place, &json!({"verb": "resume", "record": record.id}), self.json)
                .await;
        }
        let mut order = json!({"verb": "resume", "all": true});
        if let Some(control) = &self.control {
            order["control"] = json!(control);
        }
        let mut resumed: Vec<Value> = Vec::new();
        loop {
            let answer = operator::order(&place, &order).await?;
            let some = answer.more.get("resumed").and_then(Value::as_array).cloned();
            let some = some.unwrap_or_default();
            let has_more = answer.more.get("more").and_then(Value::as_bool).unwrap_or_default();
            // Those that were resumed before may still be on their way: the index lags behind.
            let known = resumed.len();
            resumed.extend(some);
            resumed.sort_by_key(Value::to_string);
            resumed.dedup();
            let goes_on = has_more && resumed.len() > known;
            if goes_on {
                terminal::progress(&format!("{} resumed, and more to come", resumed.len()));
                continue;
            }
            return if self.json {
                terminal::json(&json!({"resumed": resumed}))
            } else {
                terminal::progress(&terminal::clean(&answer.detail));
                terminal::line(&format!("{} resumed", resumed.len()));
                Ok(())
            };
        }
    }
}

/// Gives an order, and shows the answer.
pub(crate) async fn answered(place: &Place, order: &Value, as_json: bool) -> Result<(), Error> {
    let answer = operator::order(place, order).await?;
    if as_json {
        return terminal::json(&answer);
    }
    terminal::line(&terminal::clean(&answer.detail));
    Ok(())
}

fn told(record: &Record, as_json: bool) -> Result<(), Error> {
    if as_json {
        return terminal::json(record);
    }
    records::ended(record);
    Ok(())
}

fn confirm(question: &str) -> Result<(), Error> {
    let not_confirmed = |why: &str| Error::NotDone(format!("not confirmed: {why}"));
    if !io::stdin().is_terminal() {
        return Err(not_confirmed("nobody is there to ask; look at the plan, then add --yes"));
    }
    terminal::progress(&format!("{question} Type yes to go on:"));
    let _ = io::stderr().flush();
    let mut given = String::new();
    io::stdin().read_line(&mut given).map_err(|error| Error::Trouble(error.into()))?;
    if given.trim() == "yes" { Ok(()) } else { Err(not_confirmed("nothing was done")) }
}
