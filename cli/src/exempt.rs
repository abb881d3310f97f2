//! `quell exempt`

use clap::{Args, Subcommand};
use jiff::Timestamp;
use quell_engine::ledger::Exemption;
use serde_json::json;

use crate::{Error, approve::answered, place::Place, records, terminal};

pub(crate) const EXAMPLES: &str = "Examples:
  quell exempt add --record 4f2a9c0d1e8b7a635241 --days 30 --reason 'press kit'
  quell exempt list --json | jq -r '.[].arn'
  quell exempt remove --control s3-public-acl --resource photos-2024

Exit codes: 0 done, 1 the operator refused (the reason is said), 3 AWS or the operator could not be reached.";

/// Lets one resource violate one control for a time
#[derive(Args)]
pub(crate) struct Exempt {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Gives one
    #[command(after_help = ADD_EXAMPLES)]
    Add(Add),
    /// Shows all there are
    #[command(after_help = LIST_EXAMPLES)]
    List(List),
    /// Takes one back
    #[command(after_help = REMOVE_EXAMPLES)]
    Remove(Remove),
}

const ADD_EXAMPLES: &str = "Examples:
  quell exempt add --control s3-public-acl --resource photos-2024 --days 30 --reason 'press kit' --owner 'press team'
  quell exempt add --control ec2-imdsv2 --resource i-0123456789abcdef0 --region eu-west-1 --days 7 --reason 'old agent'
  quell exempt add --record 4f2a9c0d1e8b7a635241 --days 30 --reason 'press kit'

It holds for the resource that is there now, and not for another of its name. At most 90
days, 7 where the control is critical. Many resources at once are a scope in quell.toml.

Exit codes: 0 given, 1 refused (the reason is said), 3 AWS or the operator could not be reached.";

#[derive(Args)]
struct Add {
    /// The control that the resource may violate
    #[arg(long, value_parser = records::control, requires = "resource", required_unless_present = "record")]
    control: Option<String>,
    /// The resource, by the name that `quell records` shows
    #[arg(long, requires = "control")]
    resource: Option<String>,
    /// Where it is, if not in the operator's region
    #[arg(long, requires = "resource")]
    region: Option<String>,
    /// The control and resource of this record
    #[arg(long, conflicts_with_all = ["control", "resource", "region"])]
    record: Option<String>,
    /// Why it may
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// For how long
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=90))]
    days: u16,
    /// Who answers for the resource [default: you]
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// The operator's answer as JSON
    #[arg(long)]
    json: bool,
}

const LIST_EXAMPLES: &str = "Examples:
  quell exempt list
  quell exempt list --json | jq '.[] | {resource, control, expires}'

Exit codes: 0 always, unless AWS could not be reached (3).";

#[derive(Args)]
struct List {
    /// An array with one object for each exemption
    #[arg(long)]
    json: bool,
}

const REMOVE_EXAMPLES: &str = "Examples:
  quell exempt remove --control s3-public-acl --resource photos-2024
  quell exempt remove --control s3-public-acl --resource arn:aws:s3:::photos-2024

Exit codes: 0 taken back, 1 refused (the reason is said), 3 AWS or the operator could not be reached.";

#[derive(Args)]
struct Remove {
    #[arg(long, value_parser = records::control)]
    control: String,
    /// Its name or ARN, as `quell exempt list` shows it
    #[arg(long)]
    resource: String,
    /// Where it is, if there are several of this name
    #[arg(long)]
    region: Option<String>,
    /// The operator's answer as JSON
    #[arg(long)]
    json: bool,
}

impl Exempt {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let place = Place::from_environment().await?;
        match self.verb {
            Verb::Add(add) => add.run(&place).await,
            Verb::List(list) => list.run(&place).await,
            Verb::Remove(remove) => remove.run(&place).await,
        }
    }
}

impl Add {
    async fn run(self, place: &Place) -> Result<(), Error> {
        let record = match &self.record {
            Some(id) => Some(records::find(place, id).await?.id),
            None => None,
        };
        let order = json!({
            "verb": "exempt",
            "record": record,
            "control": self.control,
            "resource": self.resource,
            "region": self.region,
            "reason": self.reason,
            "days": self.days,
            "owner": self.owner,
        });
        answered(place, &order, self.json).await
    }
}

impl List {
    async fn run(self, place: &Place) -> Result<(), Error> {
        let listed = place.ledger.exemptions().await;
        let listed = listed.map_err(|error| Error::Trouble(error.into()))?;
        if self.json {
            return terminal::json(&listed);
        }
        if listed.is_empty() {
            terminal::line("nothing is exempt");
            return Ok(());
        }
        let rows: Vec<Vec<String>> = listed.iter().map(row).collect();
        terminal::table(
            &["CONTROL", "RESOURCE", "REGION", "UNTIL", "GIVEN BY", "OWNER", "REASON"],
            &rows,
        );
        Ok(())
    }
}

fn row(exemption: &Exemption) -> Vec<String> {
    let until = format!("{:.0}", exemption.expires);
    let until =
        if exemption.expires <= Timestamp::now() { format!("{until} (over)") } else { until };
    [
        &exemption.control,
        &exemption.resource,
        &exemption.region,
        &until,
        &exemption.person,
        &exemption.owner,
        &exemption.reason,
    ]
    .map(|text| terminal::clean(text))
    .into()
}

impl Remove {
    async fn run(self, place: &Place) -> Result<(), Error> {
        let order = json!({
            "verb": "revoke",
            "control": self.control,
            "resource": self.resource,
            "region": self.region,
        });
        answered(place, &order, self.json).await
    }
}
