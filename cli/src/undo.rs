//! `quell undo`

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use jiff::Timestamp;
use quell_controls::All;
use quell_engine::{
    Actor, Outcome, Report, Signal, Trigger, evaluate::Engine, ledger::Record, notify::Topic,
    serve::Controls as _,
};

use crate::{Error, place::Place, records, terminal};

pub(crate) const EXAMPLES: &str = "Examples:
  quell undo 4f2a9c0d1e8b7a635241
  QUELL_LEDGER_TABLE=my-ledger quell undo 4f2a9c0d1e8b7a635241 --json

Exit codes: 0 the resource is as before, 1 it is not (the reason is said), 3 AWS could not be reached.";

#[derive(Args)]
pub(crate) struct Undo {
    /// The record, as messages and `quell records` name it
    record: String,
    /// The report as JSON
    #[arg(long)]
    json: bool,
}

impl Undo {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let place = Place::from_environment().await?;
        let record = records::find(&place, &self.record).await?;
        if record.intent.account != place.aws.account() {
            return Err(Error::NotDone(format!(
                "record {} is of account {}; you are in {}",
                record.id,
                record.intent.account,
                place.aws.account()
            )));
        }
        let report = undo(&place, record).await?;
        if self.json {
            terminal::json(&report)?;
        } else {
            terminal::line(&format!(
                "{}: {} of {}",
                report.outcome,
                report.control,
                terminal::clean(&report.resource)
            ));
            records::diff(&report.changes);
        }
        match report.outcome {
            Outcome::Undone | Outcome::Duplicate => Ok(()),
            other => Err(Error::NotDone(format!(
                "{other}: {}",
                report.reason.as_deref().unwrap_or("no reason given")
            ))),
        }
    }
}

/// Undoes a record as the person who asks.
pub(crate) async fn undo(place: &Place, record: Record) -> Result<Report, Error> {
    let aws = place.aws.in_region(&record.intent.region);
    let engine = Engine {
        ledger: place.ledger.clone(),
        topic: place.topic.as_ref().map(|topic| Topic::new(&place.aws, topic.clone())),
        policies: Arc::default(),
        acts: true,
        deadline: Instant::now() + Duration::from_secs(600),
        margin: Duration::from_secs(30),
        delivery: format!("undo-{}", record.id),
    };
    let signal = Signal {
        trigger: Trigger::Manual {
            control: record.intent.control.clone(),
            resource: record.intent.resource.clone(),
        },
        account: record.intent.account.clone(),
        region: record.intent.region.clone(),
        event_id: format!("undo-{}", record.id),
        deduplication: format!("undo-{}", record.id),
        time: Some(Timestamp::now()),
        actor: Some(Actor {
            principal: place.principal.clone(),
            arn: Some(place.principal.clone()),
            user_agent: Some("quell undo".to_owned()),
            ..Actor::default()
        }),
        request_id: None,
    };
    let control = record.intent.control.clone();
    match All::undo(&engine, &aws, record, &signal).await {
        Some(Ok(report)) => Ok(report),
        Some(Err(failure)) => {
            failure.report().ok_or_else(|| Error::trouble("the record names no resource"))
        }
        None => Err(Error::trouble(format!(
            "this version of quell has no control {control}; use the one that made the record"
        ))),
    }
}
