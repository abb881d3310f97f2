//! `quell invoke`: one event to one function binary.

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use quell_controls::REGISTRY;
use quell_engine::{Meta, policy::Policy};
use quell_local::{Emulator, Stack, runtime_api::Answer};
use serde_json::Value;

use crate::{
    Error,
    binaries::{self, Binaries},
    place::Place,
    terminal,
};

pub(crate) const EXAMPLES: &str = "Examples:
  quell invoke s3-exposure -e events/s3-public-acl/violating.json
  AWS_ENDPOINT_URL=http://127.0.0.1:5000 quell invoke s3-exposure -e event.json --mode observe
  quell invoke s3-exposure -e event.json --real

Without AWS_ENDPOINT_URL and --real it starts an embedded AWS; for an event of events/<control>/ the bad state that the
event tells of is made there first.

Exit codes: 0 the function answered, 1 it failed, 3 it could not be tried.";

#[derive(Args)]
pub(crate) struct Invoke {
    /// The function, such as s3-exposure
    #[arg(value_parser = binaries::function)]
    function: String,
    /// The event, as EventBridge would deliver it
    #[arg(short, long, value_name = "FILE")]
    event: PathBuf,
    /// How far the function's controls go at most; elsewhere than in an AWS of its own, the policy there decides
    /// beneath that [default: enforce; with --real: observe]
    #[arg(long)]
    mode: Option<Mode>,
    /// Work in the AWS account of your credentials, after a confirmation
    #[arg(long)]
    real: bool,
    /// With --real: the account's number, instead of being asked for it
    #[arg(long, requires = "real", value_name = "ACCOUNT")]
    confirm: Option<String>,
    /// Take the function binaries from this folder instead of building them
    #[arg(long, value_name = "FOLDER")]
    functions: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Observe,
    Enforce,
}

impl Mode {
    fn ceiling(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Enforce => "act",
        }
    }

    fn of_policy(self) -> quell_engine::Mode {
        match self {
            Self::Observe => quell_engine::Mode::Observe,
            Self::Enforce => quell_engine::Mode::Enforce,
        }
    }
}

impl Invoke {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let event = fs::read_to_string(&self.event)
            .map_err(|error| Error::trouble(format!("{}: {error}", self.event.display())))?;
        if self.real {
            return self.in_the_real_account(event).await;
        }
        let binaries = Binaries::ready(self.functions.as_deref())?;
        if let Ok(endpoint) = std::env::var("AWS_ENDPOINT_URL")
            && !endpoint.is_empty()
        {
            let place = Place::from_environment().await?;
            if !place.aws.is_emulated() {
                return Err(Error::trouble(format!(
                    "{} is no emulator on this machine; to work in the real account, add --real",
                    terminal::clean(&endpoint)
                )));
            }
            let environment = self.environment(&place, Mode::Enforce).await?;
            return self.deliver(&binaries, environment, event).await;
        }
        let emulator = Emulator::start_on("127.0.0.1", 0, &mut |step| terminal::progress(step))
            .map_err(|error| Error::Trouble(error.into()))?;
        let cloud = emulator.cloud();
        let stack = Stack::deploy(&cloud).await?;
        let event = match self.control() {
            Some(meta) => {
                let staged = stack.stage(meta.id, "invoke").await?;
                terminal::progress(&format!(
                    "made the bad state of {} on {}",
                    meta.id, staged.resource
                ));
                staged.about_it(&event)?
            }
            None => event,
        };
        let mode = self.mode.unwrap_or(Mode::Enforce);
        stack.apply_policy(&Policy::by_name(mode.of_policy(), REGISTRY)).await?;
        let environment = stack.environment(mode.ceiling());
        self.deliver(&binaries, environment, event).await
    }

    /// The control that the event is a sample of, by its folder.
    fn control(&self) -> Option<&'static Meta> {
        let path = fs::canonicalize(&self.event).ok()?;
        let folder = path.parent()?.file_name()?.to_str()?.to_owned();
        REGISTRY.iter().copied().find(|meta| meta.id == folder)
    }

    async fn in_the_real_account(self, event: String) -> Result<(), Error> {
        let place = Place::from_environment().await?;
        let account = place.aws.account().to_owned();
        let mode = self.mode.unwrap_or(Mode::Observe);
        let given = match &self.confirm {
            Some(given) => given.clone(),
            None => ask(&account, &place.principal, mode)?,
        };
        if given.trim() != account {
            return Err(Error::NotDone("not confirmed: nothing was done".to_owned()));
        }
        let binaries = Binaries::ready(self.functions.as_deref())?;
        let environment = self.environment(&place, mode).await?;
        self.deliver(&binaries, environment, event).await
    }

    /// What the function sees where the environment says which AWS it is.
    async fn environment(&self, place: &Place, mode: Mode) -> Result<Vec<(String, String)>, Error> {
        let ceiling = self.mode.unwrap_or(mode).ceiling();
        let topic = place.topic.clone().ok_or_else(|| {
            Error::trouble("QUELL_TOPIC_ARN is not set; it is the stack's output TopicArn")
        })?;
        let mut environment = place.credentials().await?;
        let passed = std::env::vars().filter(|(name, _)| {
            name.starts_with("AWS_ENDPOINT_URL") || OF_THE_STACK.contains(&name.as_str())
        });
        environment.extend(passed);
        environment.extend(
            [
                ("AWS_REGION", place.aws.region()),
                ("QUELL_ACCOUNT", place.aws.account()),
                ("QUELL_LEDGER_TABLE", place.table.as_str()),
                ("QUELL_TOPIC_ARN", &topic),
                ("QUELL_LEASE_MARGIN", "30"),
                ("QUELL_CEILING", ceiling),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        Ok(environment)
    }

    async fn deliver(
        &self,
        binaries: &Binaries,
        environment: Vec<(String, String)>,
        event: String,
    ) -> Result<(), Error> {
        let account = environment.iter().find(|(name, _)| name == "QUELL_ACCOUNT");
        let region = environment.iter().find(|(name, _)| name == "AWS_REGION");
        let mut function = binaries.function(&self.function, environment.clone())?;
        if let (Some((_, account)), Some((_, region))) = (account, region) {
            function = function.located(account, region);
        }
        let attempt = function.invoke(event).await.map_err(|error| Error::Trouble(error.into()))?;
        for line in &attempt.log {
            terminal::progress(line);
        }
        match attempt.answer {
            Answer::Response(response) => terminal::json::<Value>(&response),
            failed => Err(Error::NotDone(failed.error_message().unwrap_or_default())),
        }
    }
}

/// By what `audit-trail` knows Quell's own. They are optional: a stack is called `quell` unless somebody says otherwise.
const OF_THE_STACK: [&str; 3] = ["QUELL_STACK", "QUELL_KEYS", "QUELL_DEPLOYER"];

fn ask(account: &str, principal: &str, mode: Mode) -> Result<String, Error> {
    if !io::stdin().is_terminal() {
        return Err(Error::NotDone(
            "not confirmed: nobody is there to ask; give --confirm with the account's number"
                .to_owned(),
        ));
    }
    let what = match mode {
        Mode::Observe => "look at resources and report",
        Mode::Enforce => "CHANGE resources, as far as the policy there goes,",
    };
    terminal::progress(&format!(
        "This will {what} in the real AWS account {account}, as {}.\nType the account's number to go on:",
        terminal::clean(principal)
    ));
    let _ = io::stderr().flush();
    let mut given = String::new();
    io::stdin().read_line(&mut given).map_err(|error| Error::Trouble(error.into()))?;
    Ok(given)
}
