//! The function binaries: built from this checkout when they are not given.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use quell_controls::REGISTRY;
use quell_local::{
    Answer, Cloud, FrontDoor, Function, Stack,
    cloud::{ACCOUNT, REGION},
};
use serde_json::json;

use crate::{Error, terminal};

/// As in the template.
const TIMEOUT: Duration = Duration::from_secs(60);
const MEMORY: u32 = 256;

/// A folder with the binary of every function.
pub(crate) struct Binaries(PathBuf);

impl Binaries {
    /// Those in `folder`, or else those beside this program, built anew if they are stale.
    pub(crate) fn ready(folder: Option<&Path>) -> Result<Self, Error> {
        if let Some(folder) = folder {
            return Ok(Self(folder.to_owned()));
        }
        let program = std::env::current_exe().map_err(|error| Error::Trouble(error.into()))?;
        let beside = program.parent().unwrap_or(Path::new(".")).to_owned();
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
        if workspace.exists() {
            build(&workspace, &beside)?;
        }
        Ok(Self(beside))
    }

    /// A function with this environment.
    pub(crate) fn function(
        &self,
        name: &str,
        environment: Vec<(String, String)>,
    ) -> Result<Function, Error> {
        let program = self.0.join(name);
        if !program.is_file() {
            return Err(Error::trouble(format!(
                "there is no binary of {name} in {}; build it with: cargo build --workspace --bins",
                self.0.display()
            )));
        }
        Ok(Function::new(name, program, environment, TIMEOUT, MEMORY))
    }
}

/// The operator of an embedded AWS behind its function URL, and the functions that it wakes.
pub(crate) struct Operator {
    pub(crate) door: FrontDoor,
    itself: Arc<Function>,
    functions: Vec<Arc<Function>>,
}

impl Operator {
    /// `environment` is that of the functions which the operator wakes.
    pub(crate) async fn start(
        binaries: &Binaries,
        stack: &Stack,
        environment: &[(String, String)],
        host: &str,
    ) -> Result<Self, Error> {
        let mut functions: Vec<Arc<Function>> = Vec::new();
        for meta in REGISTRY {
            if !functions.iter().any(|function| function.name() == meta.function) {
                functions.push(Arc::new(binaries.function(meta.function, environment.to_vec())?));
            }
        }
        let mut door =
            FrontDoor::at(host, 0).await.map_err(|error| Error::Trouble(error.into()))?;
        let environment = stack.operator_environment(&door, &functions);
        let itself = Arc::new(binaries.function("operator", environment)?);
        door.open(Arc::clone(&itself), functions.clone(), vec![Cloud::key()]);
        Ok(Self { door, itself, functions })
    }

    /// Runs recovery, as the schedule does.
    pub(crate) async fn recover(&self) -> Result<(), Error> {
        let event = json!({
            "version": "0",
            "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": ACCOUNT,
            "time": format!("{:.0}", Timestamp::now()),
            "region": REGION,
            "resources": [format!("arn:aws:events:{REGION}:{ACCOUNT}:rule/quell-OperatorRecovery")],
            "detail": {},
        });
        let run = self.itself.invoke(event.to_string()).await;
        match run.map_err(|error| Error::Trouble(error.into()))?.answer {
            Answer::Response(_) => Ok(()),
            failed => Err(Error::trouble(format!(
                "recovery failed: {}",
                failed.error_message().unwrap_or_default()
            ))),
        }
    }

    /// The function of this name.
    pub(crate) fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name() == name).map(Arc::as_ref)
    }
}

/// A function's name, or words about which there are.
pub(crate) fn function(name: &str) -> Result<String, String> {
    if REGISTRY.iter().any(|meta| meta.function == name) {
        return Ok(name.to_owned());
    }
    let mut all: Vec<_> = REGISTRY.iter().map(|meta| meta.function).collect();
    all.dedup();
    Err(format!("the functions are {}", all.join(", ")))
}

/// Builds the binaries into the folder that this program came from.
fn build(workspace: &Path, beside: &Path) -> Result<(), Error> {
    let profile = match beside.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(profile) => profile,
        None => return Ok(()),
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    terminal::progress("building the functions (the first time this takes minutes)");
    let built = Command::new(cargo)
        .args(["build", "--workspace", "--bins", "--profile", profile, "--manifest-path"])
        .arg(workspace)
        .env("CARGO_TARGET_DIR", beside.parent().unwrap_or(beside))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    match built {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Error::trouble(format!("cargo build ended with {status}"))),
        Err(error) => Err(Error::trouble(format!(
            "cargo cannot be run ({error}); install Rust from https://rustup.rs"
        ))),
    }
}
