//! `quell policy`: what `quell.toml` says, and what the ledger has.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use quell_controls::REGISTRY;
use quell_engine::{
    Mode,
    ledger::{LedgerError, PublishError, PublishedPolicy},
    policy::{Policy as Rules, Trusted, acts, ceiling_parameter},
    text,
};
use serde::Serialize;
use serde_json::json;

use crate::{
    Error, operator,
    place::Place,
    terminal::{self, Tone},
};

mod diff;
mod file;

use diff::Change;
use file::{Checked, Problem};
pub(crate) use file::{is_account, is_region};

pub(crate) const EXAMPLES: &str = "Examples:
  quell policy check
  quell policy diff
  quell policy apply --note 'enforce public ACLs'
  quell policy show --history

docs/quell.toml is an example with every key. What counts is in the ledger: functions read it with every event.

Exit codes: 0 done, 1 the file is not valid or was not published, 2 the arguments are wrong, 3 it could not be tried.";

const CHECK_EXAMPLES: &str = "Examples:
  quell policy check
  quell policy check teams/quell.toml --json

Exit codes: 0 the file is valid, 1 it is not, 3 it could not be read.";

const DIFF_EXAMPLES: &str = "Examples:
  quell policy diff
  quell policy diff --json | jq '.changes[]'

Exit codes: 0 compared, whether or not there are changes, 1 the file is not valid, 3 it could not be compared.";

const APPLY_EXAMPLES: &str = "Examples:
  quell policy apply
  quell policy apply quell.toml --yes --note 'ticket 1234'

Exit codes: 0 the policy counts, 1 it was not published, 3 it could not be tried.";

const SHOW_EXAMPLES: &str = "Examples:
  quell policy show
  quell policy show --history
  quell policy show --version 3 --json | jq -r .source > quell.toml";

#[derive(Args)]
pub(crate) struct Policy {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Says whether a policy file is valid, and if not, every reason
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Check),
    /// Shows what a policy file would change
    #[command(after_help = DIFF_EXAMPLES)]
    Diff(Diff),
    /// Makes a policy file count, after a confirmation
    #[command(after_help = APPLY_EXAMPLES)]
    Apply(Apply),
    /// Shows the policy that counts, or an earlier one
    #[command(after_help = SHOW_EXAMPLES)]
    Show(Show),
}

#[derive(Args)]
struct Check {
    /// The policy
    #[arg(default_value = "quell.toml")]
    file: PathBuf,
    /// An object with `valid` and `problems`
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Diff {
    /// The policy
    #[arg(default_value = "quell.toml")]
    file: PathBuf,
    /// An object with `changes`, and the ceilings that are too low for the policy
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Apply {
    /// The policy
    #[arg(default_value = "quell.toml")]
    file: PathBuf,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Why, for whoever reads the history
    #[arg(long, value_name = "TEXT", value_parser = note)]
    note: Option<String>,
    /// An object with the `version` that counts now, and what `diff --json` says
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Show {
    /// This version instead of the one that counts
    #[arg(long, value_name = "NUMBER", conflicts_with = "history")]
    version: Option<u64>,
    /// Who published which version and when, newest first
    #[arg(long)]
    history: bool,
    /// How many versions of the history
    #[arg(long, default_value_t = 20, requires = "history", value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// An object for each version, with its file as `source`
    #[arg(long)]
    json: bool,
}

impl Policy {
    pub(crate) async fn run(self) -> Result<(), Error> {
        match self.verb {
            Verb::Check(check) => check.run(),
            Verb::Diff(diff) => diff.run().await,
            Verb::Apply(apply) => apply.run().await,
            Verb::Show(show) => show.run().await,
        }
    }
}

impl Check {
    fn run(self) -> Result<(), Error> {
        let name = name(&self.file);
        let checked = read(&self.file)?;
        if self.json {
            let problems = checked.as_ref().err();
            terminal::json(&json!({
                "file": name,
                "valid": problems.is_none(),
                "problems": problems.map(Vec::as_slice).unwrap_or_default(),
            }))?;
            return checked.map(drop).map_err(|_| invalid(&name));
        }
        let file = checked.map_err(|problems| not_valid(&name, &problems))?;
        terminal::line(&format!("{name} is valid"));
        for note in notes(&file.policy) {
            terminal::line(&note);
        }
        Ok(())
    }
}

impl Diff {
    async fn run(self) -> Result<(), Error> {
        let name = name(&self.file);
        let file = read(&self.file)?.map_err(|problems| not_valid(&name, &problems))?;
        let place = Place::from_environment().await?;
        let compared = Compared::with_ledger(&place, &file).await?;
        if self.json {
            return terminal::json(&compared.described());
        }
        compared.show();
        Ok(())
    }
}

impl Apply {
    async fn run(self) -> Result<(), Error> {
        let name = name(&self.file);
        let file = read(&self.file)?.map_err(|problems| not_valid(&name, &problems))?;
        let place = Place::from_environment().await?;
        let compared = Compared::with_ledger(&place, &file).await?;
        if !self.json {
            compared.show();
        }
        if let Some(there) = compared.is_there(&file) {
            if self.json {
                return self.done(&compared, there, false);
            }
            terminal::line(&format!(
                "version {} says the same: nothing was published",
                there.version
            ));
            return Ok(());
        }
        if !self.yes {
            confirm(&place)?;
        }
        let published = place
            .ledger
            .publish_policy(
                file.policy,
                &file.source,
                &place.principal,
                self.note.as_deref(),
                compared.seen(),
            )
            .await
            .map_err(|error| match error {
                PublishError::Ledger(error) => trouble(&error),
                refused => Error::NotDone(format!("nothing was published: {refused}")),
            })?;
        if self.json {
            return self.done(&compared, &published, true);
        }
        terminal::line(&terminal::toned(
            Tone::Good,
            &format!("version {} counts from the next event on", published.version),
        ));
        Ok(())
    }

    fn done(
        &self,
        compared: &Compared,
        counts: &PublishedPolicy,
        is_new: bool,
    ) -> Result<(), Error> {
        let mut described = compared.described();
        described["version"] = counts.version.into();
        described["published"] = is_new.into();
        terminal::json(&described)
    }
}

impl Show {
    async fn run(self) -> Result<(), Error> {
        let place = Place::from_environment().await?;
        if self.history {
            let versions = place.ledger.policies(usize::from(self.limit)).await;
            return history(&versions.map_err(|error| trouble(&error))?, self.json);
        }
        let found = match self.version {
            Some(version) => place.ledger.policy_version(version).await,
            None => place.ledger.policy().await,
        };
        match (found.map_err(|error| trouble(&error))?, self.version) {
            (Some(policy), _) if self.json => terminal::json(&policy),
            (Some(policy), _) => {
                show(&policy);
                Ok(())
            }
            (None, Some(version)) => Err(Error::trouble(format!(
                "there is no version {version} of the policy; `quell policy show --history` lists them"
            ))),
            (None, None) if self.json => terminal::json(&()),
            (None, None) => {
                terminal::line(NEVER);
                Ok(())
            }
        }
    }
}

const NEVER: &str = "no policy was published yet: every control observes";

/// A file beside what the ledger has.
struct Compared {
    there: Option<PublishedPolicy>,
    changes: Vec<Change>,
    /// Those that are too low for what the file asks.
    ceilings: Vec<Ceiling>,
    /// Whether the ceilings of all functions are known here.
    is_known: bool,
    notes: Vec<String>,
}

/// A control that goes further by the policy than its function may, or is not known to.
#[derive(Debug, PartialEq, Serialize)]
struct Ceiling {
    control: &'static str,
    mode: Mode,
    function: &'static str,
    /// The template's parameter that has to be `act`.
    parameter: String,
}

impl Compared {
    async fn with_ledger(place: &Place, file: &Checked) -> Result<Self, Error> {
        let there = place.ledger.policy().await.map_err(|error| trouble(&error))?;
        let none = Rules::observe();
        let old = there.as_ref().map_or(&none, |there| &there.policy);
        let known = ceilings(place).await?;
        let acting = |function: &str| known.as_ref().and_then(|known| known.get(function)).copied();
        let ceilings = REGISTRY
            .iter()
            .map(|meta| (meta, diff::furthest(&file.policy, meta)))
            .filter(|(meta, mode)| *mode > Mode::Observe && acting(meta.function) != Some(true))
            .map(|(meta, mode)| Ceiling {
                control: meta.id,
                mode,
                function: meta.function,
                parameter: ceiling_parameter(meta.function),
            })
            .collect();
        Ok(Self {
            changes: diff::diff(old, &file.policy, REGISTRY),
            ceilings,
            is_known: REGISTRY.iter().all(|meta| acting(meta.function).is_some()),
            notes: notes(&file.policy),
            there,
        })
    }

    /// The version that was compared with; 0 if there is none.
    fn seen(&self) -> u64 {
        self.there.as_ref().map_or(0, |there| there.version)
    }

    /// The version that counts, if it is the file to the letter.
    fn is_there(&self, file: &Checked) -> Option<&PublishedPolicy> {
        self.there
            .as_ref()
            .filter(|there| there.policy == file.policy && there.source == file.source)
    }

    fn described(&self) -> serde_json::Value {
        json!({
            "compared_with": self.there.as_ref().map(|there| there.version),
            "changes": self.changes,
            "ceilings_known": self.is_known,
            "ceilings_to_raise": self.ceilings,
            "notes": self.notes,
        })
    }

    fn show(&self) {
        match &self.there {
            Some(there) => terminal::line(&terminal::toned(
                Tone::Dim,
                &format!("compared with version {}, {}", there.version, origin(there)),
            )),
            None => terminal::line(&terminal::toned(Tone::Dim, NEVER)),
        }
        if self.changes.is_empty() {
            terminal::line("no change in what Quell does");
        }
        for change in &self.changes {
            terminal::line(&format!("  {}", text::plain_up_to(&change.to_string(), 4_096)));
        }
        for ceiling in &self.ceilings {
            let Ceiling { control, mode, function, parameter } = ceiling;
            let how = if self.is_known { "is only" } else { "may be only" };
            terminal::line(&format!(
                "{control}: {mode} does not count while the ceiling of {function} is observe, and it {how} that; deploy with {parameter}=act"
            ));
        }
        if !self.is_known && !self.ceilings.is_empty() {
            terminal::line("the functions' ceilings are not known here");
        }
        for note in &self.notes {
            terminal::line(note);
        }
    }
}

/// What is valid, and perhaps not meant.
fn notes(policy: &Rules) -> Vec<String> {
    let waits =
        REGISTRY.iter().any(|meta| diff::modes(policy, meta).any(|mode| mode == Mode::Approve));
    let mut notes = Vec::new();
    if waits && policy.people.is_empty() {
        notes.push(
            "note: plans will wait for a person, and there are no [[people]]: nobody can approve them".to_owned(),
        );
    }
    notes
}

/// The functions that may act, as far as the operator can be asked.
async fn ceilings(place: &Place) -> Result<Option<BTreeMap<String, bool>>, Error> {
    if place.operator.is_none() {
        return Ok(None);
    }
    let answer = operator::order(place, &serde_json::json!({"verb": "ceilings"})).await?;
    let told = answer.more.get("ceilings").and_then(serde_json::Value::as_object);
    let told = told.ok_or_else(|| {
        Error::trouble("the operator tells no ceilings; deploy all of Quell in one version")
    })?;
    let acting = told.iter().map(|(function, ceiling)| {
        let is_acting = acts(ceiling.as_str().unwrap_or_default());
        Ok((function.clone(), is_acting.map_err(|error| Error::trouble(error.to_string()))?))
    });
    acting.collect::<Result<_, _>>().map(Some)
}

/// Whom a policy file trusts, and the file's name. By default that of this folder; nobody, if there is none.
pub(crate) fn trusted(path: Option<&Path>) -> Result<(Trusted, Option<String>), Error> {
    let default = Path::new("quell.toml");
    let path = match path {
        Some(path) => path,
        None if default.exists() => default,
        None => return Ok((Trusted::NOBODY, None)),
    };
    let name = name(path);
    match read(path)? {
        Ok(file) => Ok((file.policy.trusted, Some(name))),
        Err(problems) => Err(Error::trouble(not_valid(&name, &problems).to_string())),
    }
}

fn read(path: &Path) -> Result<Result<Checked, Vec<Problem>>, Error> {
    let bytes = file::read(path).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "; docs/quell.toml is one to start from",
            _ => "",
        };
        Error::trouble(format!("{}: {error}{hint}", path.display()))
    })?;
    Ok(file::check(bytes, REGISTRY))
}

fn not_valid(name: &str, problems: &[Problem]) -> Error {
    for problem in problems {
        terminal::progress(&problem.at(name).to_string());
    }
    invalid(name)
}

fn invalid(name: &str) -> Error {
    Error::NotDone(format!("{name} is not valid"))
}

fn name(path: &Path) -> String {
    terminal::clean(&path.display().to_string())
}

fn trouble(error: &LedgerError) -> Error {
    Error::trouble(format!(
        "{error}\nQUELL_LEDGER_TABLE names the table; the stack's output LedgerTable has its name"
    ))
}

fn confirm(place: &Place) -> Result<(), Error> {
    if !io::stdin().is_terminal() {
        return Err(Error::NotDone(
            "nothing was published: nobody is there to ask; give --yes".to_owned(),
        ));
    }
    terminal::progress(&format!(
        "Publish this in account {} as {}? Type yes:",
        place.aws.account(),
        terminal::clean(&place.principal)
    ));
    let _ = io::stderr().flush();
    let mut given = String::new();
    io::stdin().read_line(&mut given).map_err(|error| Error::Trouble(error.into()))?;
    match given.trim() {
        "yes" | "y" => Ok(()),
        _ => Err(Error::NotDone("not confirmed: nothing was published".to_owned())),
    }
}

fn history(versions: &[PublishedPolicy], json: bool) -> Result<(), Error> {
    if json {
        return terminal::json(&versions);
    }
    if versions.is_empty() {
        terminal::line(NEVER);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = versions
        .iter()
        .map(|there| {
            vec![
                there.version.to_string(),
                format!("{:.0}", there.at),
                terminal::clean(&there.by),
                terminal::clean(there.note.as_deref().unwrap_or_default()),
            ]
        })
        .collect();
    terminal::table(&["VERSION", "WHEN", "WHO", "NOTE"], &rows);
    Ok(())
}

/// The file as it was written, with where it comes from as a comment: what is printed is a policy again.
fn show(there: &PublishedPolicy) {
    let mut facts = format!("# version {}, {}", there.version, origin(there));
    if let Some(note) = &there.note {
        facts.push_str(&format!(": {}", terminal::clean(note)));
    }
    terminal::line(&terminal::toned(Tone::Dim, &facts));
    for line in there.source.lines() {
        terminal::line(&text::plain_up_to(line, file::LARGEST));
    }
}

fn origin(there: &PublishedPolicy) -> String {
    format!("published {:.0} by {}", there.at, terminal::clean(&there.by))
}

fn note(given: &str) -> Result<String, String> {
    let is_plain = text::plain_up_to(given, 500) == given;
    if given.trim().is_empty() || !is_plain {
        return Err("a note is one line of 1 to 500 characters that can be seen".to_owned());
    }
    Ok(given.to_owned())
}
