//! `quell emulate`: the embedded AWS alone.

use clap::Args;
use quell_local::{Emulator, Stack};
use serde_json::{Map, Value};

use crate::{
    Error,
    binaries::{Binaries, Operator},
    demo, terminal,
};

pub(crate) const EXAMPLES: &str = "Examples:
  quell emulate
  quell emulate --stage s3-public-acl --event event.json
  quell emulate --host 0.0.0.0 --reachable-as host.docker.internal > env.json

Its policy enforces every control; `quell policy apply` there changes that. It prints what a function needs to know as JSON, in the form of `sam local invoke --env-vars`, and runs until Ctrl-C.";

#[derive(Args)]
pub(crate) struct Emulate {
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The port to listen on; 0 is any free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The host by which functions reach it, if that is another
    #[arg(long, value_name = "HOST")]
    reachable_as: Option<String>,
    /// Make the bad state of this control
    #[arg(long, value_name = "CONTROL", value_parser = crate::records::control)]
    stage: Option<String>,
    /// Write the event that tells of the bad state to this file
    #[arg(long, value_name = "FILE", requires = "stage")]
    event: Option<std::path::PathBuf>,
    /// The ceiling that functions are given
    #[arg(long, default_value = "act", value_parser = ["observe", "act"])]
    ceiling: String,
    /// Take the function binaries that the operator needs from this folder instead of building them
    #[arg(long, value_name = "FOLDER")]
    functions: Option<std::path::PathBuf>,
}

impl Emulate {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let binaries = Binaries::ready(self.functions.as_deref())?;
        let emulator =
            Emulator::start_on(&self.host, self.port, &mut |step| terminal::progress(step))
                .map_err(|error| Error::Trouble(error.into()))?;
        let cloud = emulator.cloud();
        let stack = Stack::deploy(&cloud).await?;
        if let Some(control) = &self.stage {
            let staged = stack.stage(control, "example").await?;
            terminal::progress(&format!("made the bad state of {control} on {}", staged.resource));
            if let Some(file) = &self.event {
                std::fs::write(file, staged.event.to_string())
                    .map_err(|error| Error::trouble(format!("{}: {error}", file.display())))?;
            }
        }
        stack.apply_policy(&demo::policy()).await?;
        let mut environment = stack.environment(&self.ceiling);
        let operator = Operator::start(&binaries, &stack, &environment, "127.0.0.1").await?;
        environment.push(("QUELL_OPERATOR_URL".to_owned(), operator.door.url()));
        let environment: Map<String, Value> = environment
            .into_iter()
            .map(|(name, value)| match (&self.reachable_as, name.as_str()) {
                (Some(host), "AWS_ENDPOINT_URL") => {
                    let port = value.rsplit(':').next().unwrap_or_default();
                    (name, Value::String(format!("http://{host}:{port}")))
                }
                _ => (name, Value::String(value)),
            })
            .collect();
        terminal::json(&serde_json::json!({ "Parameters": environment }))?;
        terminal::progress(&format!("the embedded AWS is at {}; Ctrl-C ends it", cloud.endpoint));
        tokio::signal::ctrl_c().await.map_err(|error| Error::Trouble(error.into()))
    }
}
