//! `quell incident`

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use quell_controls::REGISTRY;
use quell_engine::{
    Actor,
    incident::{linked, time, traces},
    ledger::Record,
    signal::key_digest,
    text,
};
use serde_json::json;

use crate::{Error, place::Place, records, terminal};

pub(crate) const EXAMPLES: &str = "Examples:
  quell incident 4f2a9c0d1e8b7a635241
  quell incident AKIAIOSFODNN7EXAMPLE
  quell incident 'user mallory' --since 7d
  quell incident 203.0.113.25 --json | jq -r '.records[].id'

Records belong together that share an access key, a user or session, or an address, with no more than an hour between one
and the next. An actor is an access key, an ARN, an address, or a name as `quell records` shows it; of an actor's
incidents the newest is shown. Oldest first, times in UTC.

Exit codes: 0 shown, 1 there is none, 3 there is no such record, or AWS could not be reached.";

/// As far before and after a record as is looked.
const REACH: SignedDuration = SignedDuration::from_hours(12);

#[derive(Args)]
pub(crate) struct Incident {
    /// A record, or who did it
    #[arg(value_name = "RECORD|ACTOR")]
    of: String,
    /// How far back an actor is looked for: 2h, 3d, 2026-03-01 or 2026-03-01T02:03:04Z
    #[arg(long, value_name = "TIME", value_parser = records::since, default_value = "1d")]
    since: Timestamp,
    /// An object with who it was, from where, and all records
    #[arg(long)]
    json: bool,
}

impl Incident {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let place = Place::from_environment().await?;
        let found = match records::is_id(&self.of) {
            true => {
                let record = records::find(&place, &self.of).await?;
                let around = around(&place, time(&record)).await?;
                linked(around, |other| other.id == record.id)
            }
            false => self.newest_of_actor(&place).await?,
        };
        if self.json {
            terminal::json(&json!({"actors": actors(&found), "records": found}))?;
        } else {
            table(&found);
        }
        if found.is_empty() {
            return Err(Error::NotDone(format!(
                "no record is of `{}`; --since looks further back, and `quell records` lists who there is",
                terminal::clean(&self.of)
            )));
        }
        Ok(())
    }

    async fn newest_of_actor(&self, place: &Place) -> Result<Vec<Record>, Error> {
        let digest = key_digest(&self.of);
        let is_of = |record: &Record| {
            record.intent.actor.as_ref().is_some_and(|actor| {
                actor.principal.eq_ignore_ascii_case(&self.of)
                    || traces(actor).iter().any(|&trace| trace == self.of || trace == digest)
            })
        };
        let recent = all(place, self.since, Timestamp::now()).await?;
        let Some(newest) = recent.iter().filter(|record| is_of(record)).map(time).max() else {
            return Ok(Vec::new());
        };
        let around = around(place, newest).await?;
        Ok(linked(around, |record| is_of(record) && time(record) == newest))
    }
}

async fn around(place: &Place, at: Timestamp) -> Result<Vec<Record>, Error> {
    let since = at.checked_sub(REACH).unwrap_or(Timestamp::MIN);
    // A record is made after what it is about: what waited for hours in a queue too.
    let until = at.checked_add(REACH * 2).unwrap_or(Timestamp::MAX);
    all(place, since, until).await
}

/// The records of all controls that were created in a time.
async fn all(place: &Place, since: Timestamp, until: Timestamp) -> Result<Vec<Record>, Error> {
    let (mut found, mut unread) = (Vec::new(), 0);
    for meta in REGISTRY {
        let mut next = None;
        loop {
            let page = place.ledger.page(meta.id, &(since..=until), next).await;
            let page = page.map_err(|error| Error::Trouble(error.into()))?;
            // What takes a change back is no part of an attack.
            found.extend(page.records.into_iter().filter(|one| one.intent.undoes.is_none()));
            unread += page.unread;
            next = page.next;
            if next.is_none() {
                break;
            }
        }
    }
    if unread > 0 {
        terminal::complain(&format!("{unread} records cannot be read by this version"));
    }
    Ok(found)
}

/// Who it was and from where, each once.
fn actors(records: &[Record]) -> Vec<&Actor> {
    let mut actors: Vec<&Actor> = Vec::new();
    for actor in records.iter().filter_map(|record| record.intent.actor.as_ref()) {
        if !actors.contains(&actor) {
            actors.push(actor);
        }
    }
    actors
}

fn table(records: &[Record]) {
    let Some((first, last)) = records.first().zip(records.last()) else { return };
    let lasted = SignedDuration::from_secs(time(last).as_second() - time(first).as_second());
    terminal::line(&format!(
        "{} {} in {lasted:#}, from {:.0}",
        records.len(),
        if records.len() == 1 { "record" } else { "records" },
        time(first)
    ));
    let rows = records.iter().map(|record| {
        let intent = &record.intent;
        let actor = intent.actor.as_ref();
        let plain =
            |value: Option<&String>| value.map(|value| text::plain(value)).unwrap_or_default();
        vec![
            format!("{:.0}", time(record)),
            record.id.clone(),
            records::outcome(record),
            intent.control.clone(),
            text::plain(&intent.resource),
            plain(actor.map(|actor| &actor.principal)),
            plain(actor.and_then(|actor| actor.source_ip.as_ref())),
        ]
    });
    let heads = ["WHEN", "RECORD", "OUTCOME", "CONTROL", "RESOURCE", "WHO DID IT", "FROM"];
    terminal::table(&heads, &rows.collect::<Vec<_>>());
}
