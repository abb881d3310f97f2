//! `quell scan`

use std::{
    cell::RefCell,
    io::{self, IsTerminal as _},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use jiff::Timestamp;
use quell_controls::{REGISTRY, with_control};
use quell_engine::{Clients, Meta, Safety, policy::Trusted, scan::Scan as Looking};
use tokio::time::{Instant, interval_at};

use crate::{
    Error, place, policy, records,
    report::{Replaced, words::counted},
    terminal::{self, Tone},
};

mod model;
mod page;

use model::{Model, OfControl, Tally, Violation};

pub(crate) const EXAMPLES: &str = "Examples:
  quell scan
  quell scan --control s3-public-acl,s3-public-policy --region eu-west-1
  quell scan --html -o scan.html
  quell scan --json | jq -r '.violations[] | [.severity, .control, .resource] | @tsv'

It only reads, needs no stack and no ledger, and makes no more calls than a sweep: a fifth of what AWS
allows the account. docs/scan.md says which permissions it needs, and what the JSON holds.

Exit codes: 0 all was looked at and nothing is wrong, 1 all was looked at and something is wrong, 2 the
arguments are wrong, 3 something could not be looked at: nobody knows about that.";

#[derive(Args)]
pub(crate) struct Scan {
    /// The account that your credentials have to be of
    #[arg(long, value_name = "NUMBER", value_parser = account)]
    account: Option<String>,
    /// The region [default: that of your environment]
    #[arg(long, value_name = "REGION", value_parser = region)]
    region: Option<String>,
    /// Only these controls [default: all that can be looked for]
    #[arg(long, value_delimiter = ',', value_parser = control)]
    control: Vec<String>,
    /// The policy that says whom you trust [default: quell.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// One object with all that was found
    #[arg(long, group = "form")]
    json: bool,
    /// One page that works without a network
    #[arg(long, group = "form")]
    html: bool,
    /// The file that the object or the page is written to [default: standard output]
    #[arg(short, long, value_name = "FILE", requires = "form")]
    output: Option<PathBuf>,
}

impl Scan {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let (trusted, policy) = policy::trusted(self.policy.as_deref())?;
        let (aws, principal) = place::account(self.region.as_deref()).await?;
        self.admit(&aws, &principal)?;
        // Whether it can be written is known before anything is read.
        let file = self.output.as_deref().map(Replaced::begin).transpose()?;
        let model = self.look(&aws, &trusted, principal, policy).await?;
        let text = match (self.json, self.html) {
            (true, _) => Some(terminal::pretty(&model)?.join("\n")),
            (_, true) => Some(page::page(&model)),
            _ => None,
        };
        match (text, file) {
            (None, _) => show(&model),
            (Some(text), None) => terminal::line(text.trim_end()),
            (Some(text), Some(file)) => {
                let path = terminal::one_line(&file.path.display().to_string());
                file.end(&text)?;
                terminal::line(&format!("{path}: {}", model.summary()));
            }
        }
        ended(&model)
    }

    /// Another account would need other credentials; this one in its place would be the wrong answer.
    fn admit(&self, aws: &Clients, principal: &str) -> Result<(), Error> {
        match self.account.as_deref().filter(|account| *account != aws.account()) {
            Some(account) => Err(Error::trouble(format!(
                "your credentials are of account {}, as {principal}: nothing was looked at; use credentials of account {account}, such as another AWS_PROFILE",
                aws.account()
            ))),
            None => Ok(()),
        }
    }

    /// Looks at everything, with a word now and then about how far it is.
    async fn look(
        &self,
        aws: &Clients,
        trusted: &Trusted,
        principal: String,
        policy: Option<String>,
    ) -> Result<Model, Error> {
        let chosen: Vec<&'static Meta> = REGISTRY
            .iter()
            .copied()
            .filter(|meta| !meta.discovers.is_empty())
            .filter(|meta| self.control.is_empty() || self.control.iter().any(|id| id == meta.id))
            .collect();
        let begun = Timestamp::now();
        let tally = RefCell::new(Tally::default());
        let looking = async {
            let mut scan = Looking::new(aws, trusted);
            for meta in chosen {
                tally.borrow_mut().begin(meta);
                // Boxed: the compiler would else lay out every control's futures as one type.
                let listed = with_control!(meta.id, C => {
                    Box::pin(scan.control::<C>(|looked| tally.borrow_mut().add(looked))).await
                });
                let listed =
                    listed.ok_or_else(|| Error::trouble(format!("no code for {}", meta.id)))?;
                if let Err(error) = listed {
                    tally.borrow_mut().unlisted(&error);
                }
            }
            Ok::<_, Error>(())
        };
        tokio::pin!(looking);
        // A terminal may hear more often than a log.
        let every = Duration::from_secs(if io::stderr().is_terminal() { 2 } else { 15 });
        let mut ticks = interval_at(Instant::now() + Duration::from_secs(2), every);
        loop {
            tokio::select! {
                done = &mut looking => break done?,
                _ = ticks.tick() => terminal::progress(&tally.borrow().progress()),
            }
        }
        let place = model::Place {
            account: aws.account().to_owned(),
            region: aws.region().to_owned(),
            principal,
            policy,
        };
        Ok(tally.take().finish(place, begun, !self.control.is_empty()))
    }
}

/// Whatever was not looked at may be anything: that counts for more than what was found.
fn ended(model: &Model) -> Result<(), Error> {
    let violating = model.totals.violating;
    let wrong = match violating {
        0 => "nothing wrong was found in the rest".to_owned(),
        count => {
            format!("{} found in the rest", counted(count, "violation was", "violations were"))
        }
    };
    if !model.complete {
        return Err(Error::trouble(format!(
            "not everything could be looked at, and nobody knows about that; {wrong}"
        )));
    }
    match violating {
        0 => Ok(()),
        count => Err(Error::NotDone(format!(
            "{} found",
            counted(count, "violation was", "violations were")
        ))),
    }
}

fn show(model: &Model) {
    if !model.violations.is_empty() {
        violations(&model.violations);
        terminal::line("");
    }
    let rows: Vec<Vec<String>> = model.controls.iter().map(row).collect();
    terminal::table(
        &["CONTROL", "SEVERITY", "LOOKED AT", "COMPLIANT", "VIOLATING", "NOT READ"],
        &rows,
    );
    terminal::line("");
    let unread = model.unread_in_words();
    if !unread.is_empty() {
        terminal::line(&terminal::toned(Tone::Bad, "could not be looked at"));
        for line in unread {
            terminal::line(&format!("    {}", terminal::one_line(&line)));
        }
    }
    terminal::line(&terminal::toned(Tone::Bold, &model.summary()));
    for note in model.notes() {
        terminal::line(&terminal::one_line(&note));
    }
}

/// The worst first, each with what would be done.
fn violations(violations: &[Violation]) {
    let rows: Vec<Vec<String>> = violations
        .iter()
        .map(|one| {
            vec![
                model::severity(one.severity).to_owned(),
                one.control.to_owned(),
                terminal::one_line(&one.resource),
            ]
        })
        .collect();
    let (head, rows) = terminal::laid_out(&["SEVERITY", "CONTROL", "RESOURCE"], &rows);
    terminal::line(&terminal::toned(Tone::Bold, &head));
    for (row, one) in rows.iter().zip(violations) {
        terminal::line(row);
        if one.safety == Safety::ReportOnly {
            terminal::line("    is only ever reported");
        }
        records::diff(&one.changes);
        for note in &one.notes {
            terminal::line(&format!("    note: {}", terminal::one_line(note)));
        }
    }
}

fn row(one: &OfControl) -> Vec<String> {
    let counts = &one.counts;
    let unread = match (&one.unlisted, counts.unread) {
        (Some(_), 0) => "not listed".to_owned(),
        (Some(_), count) => format!("{count}, not listed to the end"),
        (None, count) => count.to_string(),
    };
    vec![
        one.control.to_owned(),
        model::severity(one.severity).to_owned(),
        counts.resources.to_string(),
        counts.compliant.to_string(),
        counts.violating.to_string(),
        unread,
    ]
}

fn account(given: &str) -> Result<String, String> {
    match policy::is_account(given) {
        true => Ok(given.to_owned()),
        false => Err("accounts have 12 digits".to_owned()),
    }
}

fn region(given: &str) -> Result<String, String> {
    match policy::is_region(given) {
        true => Ok(given.to_owned()),
        false => Err("regions look like `eu-west-1`".to_owned()),
    }
}

/// The id of a control that can look for its resources.
fn control(id: &str) -> Result<String, String> {
    let id = records::control(id)?;
    let meta = REGISTRY.iter().find(|meta| meta.id == id);
    match meta.is_some_and(|meta| !meta.discovers.is_empty()) {
        true => Ok(id),
        false => Err("it hears of events alone: there is nothing to look for".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_looked_for_is_refused() {
        assert!(control("s3-public-acl").is_ok());
        assert!(control("ec2-quarantine").unwrap_err().contains("nothing to look for"));
        assert!(control("s3-public").unwrap_err().contains("s3-public-acl"));
        assert!(account("123").is_err() && account("111122223333").is_ok());
        assert!(region("eu-west").is_err() && region("eu-west-1").is_ok());
    }

    #[test]
    fn what_was_not_looked_at_counts_for_more_than_what_was_found() {
        let ended = |model: &Model| match ended(model) {
            Ok(()) => (0, String::new()),
            Err(Error::NotDone(words)) => (1, words),
            Err(Error::Trouble(words)) => (3, words.to_string()),
        };
        let mut model = model::sample::nothing();
        assert_eq!(ended(&model), (0, String::new()));
        model.totals.violating = 2;
        assert_eq!(ended(&model), (1, "2 violations were found".to_owned()));
        model.complete = false;
        let (code, words) = ended(&model);
        assert_eq!(code, 3);
        assert!(words.contains("not everything") && words.contains("2 violations"), "{words}");
    }
}
