//! `quell report`

use std::{
    cell::Cell,
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum, error::ErrorKind};
use jiff::Timestamp;
use quell_controls::REGISTRY;
use quell_engine::ledger::{LedgerError, Record};
use tempfile::NamedTempFile;
use tokio::time::{Instant, interval_at};

use crate::{Error, place::Place, records, terminal};

mod charts;
mod markdown;
mod model;
pub(crate) mod page;
#[cfg(test)]
mod sample;
mod tally;
pub(crate) mod untrusted;
pub(crate) mod words;

use model::Model;
use tally::Tally;

pub(crate) const EXAMPLES: &str = "Examples:
  quell report
  quell report --since 7d -o report.html
  quell report --since 2026-03-01 -o march.md
  quell report --format json | jq '.needs_person.shown[] | {resource, outcome, next}'

What was found and fixed, how fast, who caused it, and what needs a person: as one page that
works without a network, as Markdown, or as JSON (docs/report.md says what is in it).
It only reads. A file that is there is replaced at once, or not at all.

Exit codes: 0 the report was made, also where there is nothing to report, 2 the arguments are
wrong, 3 AWS could not be reached, or the file could not be written.";

#[derive(Args)]
pub(crate) struct Report {
    /// What happened since then: 2h, 30d, 2026-03-01 or 2026-03-01T02:03:04Z
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = records::since)]
    since: Timestamp,
    /// The file that it is written to [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// As what [default: what the file's name ends in, else md]
    #[arg(long)]
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    /// One page, for people
    Html,
    /// Markdown, for a terminal, a ticket or a wiki
    Md,
    /// For machines
    Json,
}

impl Report {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let format = self.format().unwrap_or_else(|error| error.exit());
        let now = Timestamp::now();
        if self.since > now {
            clap::Error::raw(ErrorKind::ValueValidation, "--since lies in the future\n").exit();
        }
        let place = Place::from_environment().await?;
        // Whether it can be written is known before anything is read.
        let file = self.output.as_deref().map(Replaced::begin).transpose()?;
        let model = read(&place, self.since, now).await?;
        let text = match format {
            Format::Html => page::page(&model),
            Format::Md => markdown::markdown(&model),
            Format::Json => terminal::pretty(&model)?.join("\n"),
        };
        match file {
            None => terminal::line(text.trim_end()),
            Some(file) => {
                let path = file.path.display().to_string();
                file.end(&text)?;
                let said = words::summary(&model).join(" ");
                terminal::line(&format!("{}: {said}", terminal::one_line(&path)));
            }
        }
        Ok(())
    }

    fn format(&self) -> Result<Format, clap::Error> {
        let Some(path) = &self.output else { return Ok(self.format.unwrap_or(Format::Md)) };
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let named = match ending.to_ascii_lowercase().as_str() {
            "html" | "htm" => Some(Format::Html),
            "md" | "markdown" => Some(Format::Md),
            "json" => Some(Format::Json),
            _ => None,
        };
        self.format.or(named).ok_or_else(|| {
            let name = terminal::one_line(&path.display().to_string());
            let words = format!(
                "`{name}` does not end in .html, .md or .json: say --format html, md or json\n"
            );
            clap::Error::raw(ErrorKind::ValueValidation, words)
        })
    }
}

/// All records of the period and all exemptions, with a word every two seconds about how far it is.
async fn read(place: &Place, since: Timestamp, now: Timestamp) -> Result<Model, Error> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let seen = Cell::new(0);
    let reading = async {
        let mut tally = Tally::new(since, now);
        for meta in REGISTRY {
            let visit = |record: Record| {
                tally.add(&record);
                seen.set(tally.records());
            };
            let unread = place.ledger.each(meta.id, Some(since), visit).await;
            tally.unreadable(unread.map_err(unreached)?);
        }
        let exemptions = place.ledger.exemptions().await.map_err(unreached)?;
        Ok::<_, Error>(tally.finish(exemptions, place.aws.account(), place.aws.region()))
    };
    tokio::pin!(reading);
    let mut ticks = interval_at(Instant::now() + PATIENCE, PATIENCE);
    loop {
        tokio::select! {
            model = &mut reading => return model,
            _ = ticks.tick() => terminal::progress(&format!(
                "reading the ledger: {} so far",
                words::counted(seen.get(), "record", "records")
            )),
        }
    }
}

fn unreached(error: LedgerError) -> Error {
    Error::trouble(format!(
        "{error}\nQUELL_LEDGER_TABLE names the table; the stack's output LedgerTable has its name"
    ))
}

/// A file that is there in full, or as it was before.
#[derive(Debug)]
pub(crate) struct Replaced {
    pub(crate) path: PathBuf,
    /// Beside it, until it is complete. None: it is no file but a terminal, a pipe or the like, and written to as it is.
    beside: Option<NamedTempFile>,
}

impl Replaced {
    pub(crate) fn begin(path: &Path) -> Result<Self, Error> {
        let trouble = |error: io::Error| {
            Error::trouble(format!("{} cannot be written: {error}", path.display()))
        };
        let there = match fs::metadata(path) {
            Ok(there) => Some(there),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(trouble(error)),
        };
        if there.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(trouble(io::ErrorKind::IsADirectory.into()));
        }
        if there.as_ref().is_some_and(|there| !there.is_file()) {
            return Ok(Self { path: path.to_owned(), beside: None });
        }
        // A link stays a link: what it leads to is replaced.
        let path = match &there {
            Some(_) => fs::canonicalize(path).map_err(trouble)?,
            None => path.to_owned(),
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let beside = tempfile::Builder::new()
            .prefix(".quell-")
            // The process's mask takes away from it, as from any new file.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder.unwrap_or(Path::new(".")))
            .map_err(trouble)?;
        if let Some(there) = there {
            beside.as_file().set_permissions(there.permissions()).map_err(trouble)?;
        }
        Ok(Self { path, beside: Some(beside) })
    }

    pub(crate) fn end(self, text: &str) -> Result<(), Error> {
        let Self { path, beside } = self;
        let written = match beside {
            None => fs::write(&path, text),
            Some(mut beside) => beside
                .write_all(text.as_bytes())
                .and_then(|()| beside.as_file().sync_all())
                .and_then(|()| beside.persist(&path).map(drop).map_err(|error| error.error)),
        };
        written.map_err(|error| {
            Error::trouble(format!("{} cannot be written: {error}", path.display()))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_format_is_what_the_name_of_the_file_says_unless_it_is_given() {
        let format = |output: Option<&str>, format| {
            let since = Timestamp::UNIX_EPOCH;
            Report { since, output: output.map(PathBuf::from), format }.format()
        };
        assert_eq!(format(None, None).unwrap(), Format::Md);
        assert_eq!(format(None, Some(Format::Html)).unwrap(), Format::Html);
        assert_eq!(format(Some("a/report.HTML"), None).unwrap(), Format::Html);
        assert_eq!(format(Some("report.markdown"), None).unwrap(), Format::Md);
        assert_eq!(format(Some("report.json"), None).unwrap(), Format::Json);
        assert_eq!(format(Some("report.json"), Some(Format::Md)).unwrap(), Format::Md);
        for unknown in ["report", "report.pdf", ".html"] {
            let error = format(Some(unknown), None).unwrap_err();
            assert!(error.to_string().contains("say --format"), "{error}");
        }
    }

    #[test]
    fn a_report_as_machines_read_it() {
        insta::assert_snapshot!(terminal::pretty(&sample::model()).unwrap().join("\n"));
    }

    #[test]
    fn every_field_of_the_json_is_described() {
        let page = quell_tests::read("docs/report.md").unwrap();
        let mut names = Vec::new();
        gather(&serde_json::to_value(sample::model()).unwrap(), &mut names);
        assert!(names.len() > 60, "{}", names.len());
        for name in names {
            assert!(page.contains(&format!("`{name}`")), "docs/report.md does not describe {name}");
        }
    }

    fn gather(value: &Value, names: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    names.push(name.clone());
                    gather(value, names);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| gather(item, names)),
            _ => {}
        }
    }

    #[test]
    fn a_file_is_replaced_at_once_or_not_at_all_and_keeps_its_permissions() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("report.md"), folder.path().join("latest.md"));
        fs::write(&path, "as it was").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();

        drop(Replaced::begin(&link).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "as it was");

        Replaced::begin(&link).unwrap().end("anew").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "anew");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside them");
    }

    #[test]
    fn what_cannot_be_written_is_known_before_anything_is_read() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("none/report.html")] {
            let error = Replaced::begin(&path).unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
            assert!(error.contains("cannot be written"), "{error}");
        }
    }
}
