//! The function behind the Lambda Runtime API.

use std::{env, sync::OnceLock, time::Instant};

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use quell_engine::{
    Clients,
    aws::{CALL_TIME, is_this_machine, web},
    ledger::Ledger,
    log,
    queue::{Answer, Delivery},
    serve::deadline,
    text,
};
use quell_slack::Slack;
use serde_json::{Value, json};

use crate::{
    bearer::Bearer,
    event::Event,
    person::{self, PersonError},
    speaker::Speaker,
};

/// Why an invocation goes back to Lambda. Items of the queue do not: each comes again by itself.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0} is not set as it must be; deploy with Quell's template")]
    Setting(&'static str),
    #[error("this is neither a batch of the queue nor a word of the operator")]
    Unknown,
    #[error(transparent)]
    Person(#[from] PersonError),
}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Self {
        let kind = match failure {
            Failure::Setting(_) => "Settings",
            Failure::Unknown => "Event",
            Failure::Person(_) => "Slack",
        };
        Self { error_type: kind.to_owned(), error_message: text::one_line(&failure.to_string()) }
    }
}

/// What all events of a process share.
struct Home {
    ledger: Ledger,
    slack: Slack,
    bearer: Bearer,
    channel: String,
    has_buttons: bool,
}

/// Serves until Lambda ends the process.
///
/// # Errors
/// If the Runtime API cannot be reached.
pub(crate) async fn serve() -> Result<(), lambda_runtime::Error> {
    log::start();
    let home = OnceLock::new();
    let home = &home;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| async move {
        let home = match home.get() {
            Some(home) => home,
            None => {
                let made = Home::from_environment().await?;
                home.get_or_init(|| made)
            }
        };
        let deadline = deadline(event.context.deadline());
        let handled = home.handle(event.payload, &event.context.request_id, deadline);
        handled.await.map_err(Diagnostic::from)
    }))
    .await
}

impl Home {
    async fn from_environment() -> Result<Self, Failure> {
        let (account, region) = (variable("QUELL_ACCOUNT")?, variable("AWS_REGION")?);
        let services = ["dynamodb", "secretsmanager"];
        let aws = Clients::in_lambda(&account, &region, CALL_TIME, &services).await;
        let slack = Slack::new(web());
        let slack = match env::var(STAND_IN) {
            Ok(stand_in) if is_this_machine(&stand_in) => slack.at(stand_in),
            Ok(_) => return Err(Failure::Setting(STAND_IN)),
            Err(_) => slack,
        };
        Ok(Self {
            ledger: Ledger::new(&aws, variable("QUELL_LEDGER_TABLE")?),
            slack,
            bearer: Bearer::new(&aws, variable("QUELL_SLACK_SECRET")?),
            channel: variable("QUELL_SLACK_CHANNEL")?,
            has_buttons: match variable("QUELL_SLACK_BUTTONS")?.as_str() {
                "yes" => true,
                "no" => false,
                _ => return Err(Failure::Setting("QUELL_SLACK_BUTTONS")),
            },
        })
    }

    async fn handle(
        &self,
        event: Value,
        request_id: &str,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        match serde_json::from_value(event).map_err(|_| Failure::Unknown)? {
            Event::Queue(batch) => {
                Ok(json!(self.say(&batch.deliveries, request_id, deadline).await))
            }
            Event::Operator { slack: word } => {
                Ok(person::tell(&self.slack, &self.bearer, &word).await?)
            }
        }
    }

    /// Says each, in their order. What could not be said comes again.
    async fn say(&self, items: &[Delivery], request_id: &str, deadline: Instant) -> Answer {
        let Self { ledger, slack, bearer, channel, has_buttons } = self;
        let has_buttons = *has_buttons;
        let speaker = Speaker { ledger, slack, bearer, channel, has_buttons, deadline, request_id };
        let mut failed = Vec::new();
        let mut goes_on = true;
        for item in items {
            let id = item.message_id.as_str();
            if goes_on {
                let Err(error) = speaker.say(item).await else {
                    tracing::info!(target: "quell_slack", item = id, "said");
                    continue;
                };
                goes_on = !error.is_of_all();
                let detail = text::one_line(&error.to_string());
                tracing::error!(target: "quell_slack", item = id, detail, "not said");
            }
            failed.push(id.to_owned());
        }
        failed.into_iter().collect()
    }
}

/// Where what stands in for Slack is, on this machine: for tests. The template does not name it.
const STAND_IN: &str = "QUELL_SLACK_STAND_IN";

fn variable(name: &'static str) -> Result<String, Failure> {
    env::var(name).ok().filter(|value| !value.is_empty()).ok_or(Failure::Setting(name))
}
