//! `quell records`

use clap::{Args, builder::PossibleValuesParser};
use jiff::{Span, Timestamp, civil::Date, tz::TimeZone};
use quell_controls::REGISTRY;
use quell_engine::{
    Description,
    ledger::{Record, Status},
    policy::glob_matches,
    text,
};

use crate::{
    Error,
    place::Place,
    terminal::{self, Tone},
};

pub(crate) const EXAMPLES: &str = "Examples:
  quell records
  quell records --since 2h --outcome pending,parked
  quell records --control s3-public-acl --resource 'photos-*' --limit 5
  quell records --actor alice --since 2026-03-01
  quell records --json | jq '.[] | select(.status == \"failed\")'

Newest first, times in UTC. All filters must hold. `quell show` has one record in full.

Exit codes: 0 shown, also where there are none, 3 AWS could not be reached.";

#[derive(Args)]
pub(crate) struct Records {
    /// Only those since then: 2h, 3d, 2026-03-01 or 2026-03-01T02:03:04Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// Only those of this control
    #[arg(long, value_parser = control)]
    control: Option<String>,
    /// Only those of resources with such a name or ARN; * is any text, ? any one character
    #[arg(long, value_name = "GLOB")]
    resource: Option<String>,
    /// Only those of whoever has this in name or ARN
    #[arg(long, value_name = "TEXT")]
    actor: Option<String>,
    /// Only those that ended so
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(outcomes()))]
    outcome: Vec<String>,
    /// How many at most
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// An array with one object for each record
    #[arg(long)]
    json: bool,
}

impl Records {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let place = Place::from_environment().await?;
        let limit = usize::from(self.limit);
        let mut records = self.find(&place, limit + 1).await?;
        let has_more = records.len() > limit;
        records.truncate(limit);
        if self.json {
            terminal::json(&records)?;
        } else if records.is_empty() {
            terminal::line("no such records");
        } else {
            table(&records);
        }
        if has_more {
            terminal::progress(&format!("there are more; --limit shows more than {limit}"));
        }
        Ok(())
    }

    /// The newest of all controls.
    async fn find(&self, place: &Place, limit: usize) -> Result<Vec<Record>, Error> {
        let statuses: Vec<Status> = Status::ALL
            .into_iter()
            .filter(|status| self.outcome.iter().any(|word| word == status.outcome().as_str()))
            .collect();
        let mut records = Vec::new();
        for meta in
            REGISTRY.iter().filter(|meta| self.control.as_deref().is_none_or(|id| id == meta.id))
        {
            let is_wanted = |record: &Record| self.is_wanted(record);
            let found = place.ledger.find(meta.id, &statuses, self.since, limit, is_wanted).await;
            records.extend(found.map_err(|error| {
                Error::trouble(format!(
                    "{error}\nQUELL_LEDGER_TABLE names the table; the stack's output LedgerTable has its name"
                ))
            })?);
        }
        records.sort_by_key(|record| std::cmp::Reverse(record.intent.created));
        records.truncate(limit);
        Ok(records)
    }

    fn is_wanted(&self, record: &Record) -> bool {
        let intent = &record.intent;
        let is_of_resource = self.resource.as_ref().is_none_or(|glob| {
            glob_matches(glob, &intent.resource) || glob_matches(glob, &intent.arn)
        });
        let is_of_actor = self.actor.as_ref().is_none_or(|part| {
            let part = part.to_lowercase();
            intent.actor.as_ref().is_some_and(|actor| {
                [Some(&actor.principal), actor.arn.as_ref()]
                    .into_iter()
                    .flatten()
                    .any(|name| name.to_lowercase().contains(&part))
            })
        });
        is_of_resource && is_of_actor
    }
}

fn table(records: &[Record]) {
    let rows: Vec<Vec<String>> = records
        .iter()
        .map(|record| {
            let intent = &record.intent;
            let who = intent.actor.as_ref().map(|actor| text::plain(&actor.principal));
            vec![
                record.id.clone(),
                format!("{:.0}", intent.created),
                outcome(record),
                intent.control.clone(),
                text::plain(&intent.resource),
                who.unwrap_or_default(),
            ]
        })
        .collect();
    terminal::table(&["RECORD", "WHEN", "OUTCOME", "CONTROL", "RESOURCE", "WHO DID IT"], &rows);
}

/// How it stands, with what is else told apart by nothing: a record that undoes, and the one that was undone.
pub(crate) fn outcome(record: &Record) -> String {
    let outcome = record.status.outcome();
    match &record.intent.undoes {
        Some(_) => format!("undo: {outcome}"),
        None => outcome.to_string(),
    }
}

/// Whether it can be the id of a record.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 20 && text.chars().all(|c| c.is_ascii_hexdigit())
}

/// One record, or words about why there is none.
pub(crate) async fn find(place: &Place, id: &str) -> Result<Record, Error> {
    if !is_id(id) {
        return Err(Error::trouble(format!(
            "`{}` is not a record; it has 20 hexadecimal digits, and `quell records` lists them",
            terminal::clean(id)
        )));
    }
    let found = place.ledger.read(&id.to_ascii_lowercase()).await;
    found.map_err(|error| Error::Trouble(error.into()))?.ok_or_else(|| {
        Error::trouble(format!(
            "there is no record {id} in this ledger; `quell records` lists them"
        ))
    })
}

/// How a record ended, in a line.
pub(crate) fn ended(record: &Record) {
    let (outcome, intent) = (record.status.outcome(), &record.intent);
    let resource = text::plain(&intent.resource);
    terminal::line(&format!("{outcome}: {} of {resource}", intent.control));
}

/// The changes as lines that go and lines that come.
pub(crate) fn diff(changes: &[Description]) {
    for change in changes {
        terminal::line(&format!("    {}", terminal::toned(Tone::Dim, &change.action)));
        lines_of(change);
    }
}

pub(crate) fn lines_of(change: &Description) {
    for gone in &change.minus {
        let line = format!("    - {}", terminal::one_line(gone));
        terminal::line(&terminal::toned(Tone::Bad, &line));
    }
    for come in &change.plus {
        let line = format!("    + {}", terminal::one_line(come));
        terminal::line(&terminal::toned(Tone::Good, &line));
    }
}

/// A control's id, or words about which there are.
pub(crate) fn control(id: &str) -> Result<String, String> {
    if REGISTRY.iter().any(|meta| meta.id == id) {
        return Ok(id.to_owned());
    }
    let all: Vec<_> = REGISTRY.iter().map(|meta| meta.id).collect();
    Err(format!("the controls are {}", all.join(", ")))
}

/// The words that a record can have, each once.
fn outcomes() -> Vec<&'static str> {
    let mut words: Vec<&str> = Vec::new();
    for status in Status::ALL {
        let word = status.outcome().as_str();
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

/// A time, or how long ago it was.
pub(crate) fn since(time: &str) -> Result<Timestamp, String> {
    let is_time = |_| {
        format!("`{time}` is neither like 2h or 3d nor like 2026-03-01 or 2026-03-01T02:03:04Z")
    };
    if let Ok(time) = time.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Ok(date) = time.parse::<Date>() {
        return date.to_zoned(TimeZone::UTC).map(|midnight| midnight.timestamp()).map_err(is_time);
    }
    let ago = time.parse::<Span>().map_err(is_time)?.abs();
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    now.checked_sub(ago).map(|then| then.timestamp()).map_err(is_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_given_as_people_write_it() {
        let hours_ago = |time: &str| {
            let then = since(time).unwrap();
            Timestamp::now().duration_since(then).as_hours()
        };
        assert_eq!(hours_ago("2h"), 2);
        assert_eq!(hours_ago("90m"), 1);
        assert_eq!(hours_ago("3d"), 72);
        assert_eq!(hours_ago("1w"), 168);
        assert_eq!(hours_ago("2h ago"), 2);
        assert_eq!(since("2026-03-01").unwrap().to_string(), "2026-03-01T00:00:00Z");
        assert_eq!(since("2026-03-01T02:03:04+01:00").unwrap().to_string(), "2026-03-01T01:03:04Z");
        for wrong in ["", "2", "yesterday", "2026-13-01", "99999999y", "-", "2 h 3"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_outcome_of_a_record_is_a_word_to_filter_by() {
        let words = outcomes();
        assert!(Status::ALL.iter().all(|status| words.contains(&status.outcome().as_str())));
        assert!(words.contains(&"parked") && !words.contains(&"compliant"));
    }
}
