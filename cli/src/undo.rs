//! `quell undo`

use clap::Args;
use quell_engine::ledger::{Record, Status};
use serde_json::json;

use crate::{Error, operator, place::Place, records, terminal};

pub(crate) const EXAMPLES: &str = "Examples:
  quell undo 4f2a9c0d1e8b7a635241
  quell undo 4f2a9c0d1e8b7a635241 --json | jq -r .status

Undone is only what nobody changed since. For a day Quell lets the resource be; `quell exempt add` lets it be for longer.

Exit codes: 0 the resource is as before, 1 it is not (the reason is said), 3 AWS or the operator could not be reached.";

#[derive(Args)]
pub(crate) struct Undo {
    /// The record, as messages and `quell records` name it
    record: String,
    /// The record of the undo as JSON
    #[arg(long)]
    json: bool,
}

impl Undo {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let place = Place::from_environment().await?;
        let record = records::find(&place, &self.record).await?;
        let undo = undo(&place, &record).await?;
        if self.json {
            terminal::json(&undo)?;
        } else {
            records::ended(&undo);
            if undo.intent.undoes.is_some() {
                records::diff(&undo.intent.changes);
            }
        }
        match undo.status {
            Status::Undone => Ok(()),
            other => Err(Error::NotDone(format!(
                "{}: {}",
                other.outcome(),
                undo.result.reason.as_deref().unwrap_or("no reason given")
            ))),
        }
    }
}

/// Has a record undone as the person who asks, and returns the record of the undo (or the record itself, where it was
/// undone before).
pub(crate) async fn undo(place: &Place, record: &Record) -> Result<Record, Error> {
    let (id, control) = (record.id.as_str(), record.intent.control.as_str());
    let before = attempts(place, control, id).await?;
    let answer = operator::order(place, &json!({"verb": "undo", "record": id})).await?;
    if answer.state != "done" {
        terminal::progress(&terminal::clean(&answer.detail));
    }
    let look = || async {
        let undone = place.ledger.read(id).await.map_err(|error| Error::Trouble(error.into()))?;
        let undone = undone.filter(|record| record.status == Status::Undone);
        let attempt = match undone.as_ref().and_then(|record| record.result.undone_by.clone()) {
            Some(by) => {
                place.ledger.read(&by).await.map_err(|error| Error::Trouble(error.into()))?
            }
            None => attempts(place, control, id).await?.into_iter().find(|attempt| {
                operator::is_at_rest(attempt.status)
                    && attempt.status != Status::Superseded
                    && !before.iter().any(|earlier| earlier == attempt)
            }),
        };
        Ok(attempt.or(undone))
    };
    operator::until("waiting until it is undone", look).await
}

/// What was tried to undo the record, newest first.
async fn attempts(place: &Place, control: &str, id: &str) -> Result<Vec<Record>, Error> {
    let undoes_it = |record: &Record| record.intent.undoes.as_deref() == Some(id);
    let found = place.ledger.find(control, &[], None, 50, undoes_it).await;
    found.map_err(|error| Error::Trouble(error.into()))
}
