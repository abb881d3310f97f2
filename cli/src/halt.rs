//! `quell halt` and `quell continue`

use clap::Args;
use serde_json::json;

use crate::{Error, approve::answered, place::Place};

pub(crate) const HALT_EXAMPLES: &str = "Examples:
  quell halt
  quell halt 'it fights with the deployment'

Nothing is changed from the next write call on, of whatever is under way too. Events are still heard: what they ask for
waits. Everybody whom the operator admits may halt; to continue takes a person whom the policy knows.

Exit codes: 0 everything is halted, 1 the operator refused, 3 AWS or the operator could not be reached.";

#[derive(Args)]
pub(crate) struct Halt {
    /// Why, for those who ask
    #[arg(default_value = "no reason given")]
    reason: String,
    /// The operator's answer as JSON
    #[arg(long)]
    json: bool,
}

impl Halt {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let place = Place::from_environment().await?;
        answered(&place, &json!({"verb": "halt", "reason": self.reason}), self.json).await
    }
}

pub(crate) const CONTINUE_EXAMPLES: &str = "Examples:
  quell continue
  quell continue 'the deployment is through'

Exit codes: 0 nothing is halted, 1 the operator refused, 3 AWS or the operator could not be reached.";

#[derive(Args)]
pub(crate) struct Continue {
    /// Why, for those who ask
    reason: Option<String>,
    /// The operator's answer as JSON
    #[arg(long)]
    json: bool,
}

impl Continue {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let place = Place::from_environment().await?;
        let mut order = json!({"verb": "continue"});
        if let Some(reason) = &self.reason {
            order["reason"] = json!(reason);
        }
        answered(&place, &order, self.json).await
    }
}
