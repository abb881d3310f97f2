//! `quell records`

use clap::Args;
use quell_controls::REGISTRY;
use quell_engine::{Description, ledger::Record};

use crate::{
    Error,
    place::Place,
    terminal::{self, Tone},
};

pub(crate) const EXAMPLES: &str = "Examples:
  quell records
  quell records --control s3-public-acl --limit 5
  quell records 4f2a9c0d1e8b7a635241
  quell records --json | jq '.[] | select(.status == \"failed\")'";

#[derive(Args)]
pub(crate) struct Records {
    /// One record, in full
    record: Option<String>,
    /// Only those of this control
    #[arg(long, value_parser = control)]
    control: Option<String>,
    /// How many, newest first
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// An array with one object for each record
    #[arg(long)]
    json: bool,
}

impl Records {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let place = Place::from_environment().await?;
        if let Some(id) = &self.record {
            let record = find(&place, id).await?;
            if self.json {
                return terminal::json(&[record]);
            }
            show(&record);
            return Ok(());
        }
        let limit = usize::from(self.limit);
        let mut records = Vec::new();
        for meta in
            REGISTRY.iter().filter(|meta| self.control.as_deref().is_none_or(|id| id == meta.id))
        {
            let newest = place.ledger.newest(meta.id, None, limit).await;
            records.extend(newest.map_err(|error| {
                Error::trouble(format!(
                    "{error}\nQUELL_LEDGER_TABLE names the table; the stack's output LedgerTable has its name"
                ))
            })?);
        }
        records.sort_by_key(|record| std::cmp::Reverse(record.intent.created));
        records.truncate(limit);
        if self.json {
            return terminal::json(&records);
        }
        if records.is_empty() {
            terminal::line("no records yet");
            return Ok(());
        }
        let rows: Vec<Vec<String>> = records
            .iter()
            .map(|record| {
                let intent = &record.intent;
                vec![
                    record.id.clone(),
                    format!("{:.0}", intent.created),
                    record.status.outcome().to_string(),
                    intent.control.clone(),
                    terminal::clean(&intent.resource),
                    intent
                        .actor
                        .as_ref()
                        .map(|actor| terminal::clean(&actor.principal))
                        .unwrap_or_default(),
                ]
            })
            .collect();
        terminal::table(&["RECORD", "WHEN", "OUTCOME", "CONTROL", "RESOURCE", "WHO DID IT"], &rows);
        Ok(())
    }
}

/// One record, or words about why there is none.
pub(crate) async fn find(place: &Place, id: &str) -> Result<Record, Error> {
    let well_formed = id.len() == 20 && id.chars().all(|c| c.is_ascii_hexdigit());
    if !well_formed {
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

/// The changes as lines that go and lines that come.
pub(crate) fn diff(changes: &[Description]) {
    for change in changes {
        terminal::line(&format!("    {}", terminal::toned(Tone::Dim, &change.action)));
        for gone in &change.minus {
            terminal::line(&terminal::toned(
                Tone::Bad,
                &format!("    - {}", terminal::clean(gone)),
            ));
        }
        for come in &change.plus {
            terminal::line(&terminal::toned(
                Tone::Good,
                &format!("    + {}", terminal::clean(come)),
            ));
        }
    }
}

fn show(record: &Record) {
    let intent = &record.intent;
    let mut facts = vec![
        ("record", record.id.clone()),
        ("outcome", record.status.outcome().to_string()),
        ("control", intent.control.clone()),
        ("resource", intent.resource.clone()),
        ("console", intent.console.clone()),
        ("account", format!("{} in {}", intent.account, intent.region)),
        ("when", intent.created.to_string()),
    ];
    if let Some(actor) = &intent.actor {
        facts.push(("who", actor.principal.clone()));
        facts.extend(actor.source_ip.clone().map(|ip| ("from", ip)));
        facts.extend(actor.user_agent.clone().map(|tool| ("with", tool)));
    }
    facts.extend(intent.withheld.clone().map(|why| ("only observed", why)));
    facts.extend(record.result.reason.clone().map(|why| ("reason", why)));
    facts.extend(intent.undoes.clone().map(|id| ("undoes", id)));
    facts.extend(record.result.undone_by.clone().map(|id| ("undone by", id)));
    for (name, value) in facts {
        terminal::line(&format!("{name:<14}{}", terminal::clean(&value)));
    }
    for note in &intent.notes {
        terminal::line(&format!("{:<14}{}", "note", terminal::clean(note)));
    }
    terminal::line("changes");
    diff(&intent.changes);
}

/// A control's id, or words about which there are.
pub(crate) fn control(id: &str) -> Result<String, String> {
    if REGISTRY.iter().any(|meta| meta.id == id) {
        return Ok(id.to_owned());
    }
    let all: Vec<_> = REGISTRY.iter().map(|meta| meta.id).collect();
    Err(format!("the controls are {}", all.join(", ")))
}
