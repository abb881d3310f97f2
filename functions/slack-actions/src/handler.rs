//! Verify, reduce, hand on, answer: all within the three seconds that Slack waits.
//!
//! <https://docs.slack.dev/interactivity/handling-user-interaction#acknowledgment_response>

use std::{
    env,
    time::{Duration, Instant},
};

use aws_sdk_secretsmanager::Client;
use jiff::Timestamp;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use quell_engine::{
    CallError, Clients,
    function_url::{self, Departure},
    log, text,
};
use quell_slack::{
    Interaction, interaction,
    signature::{self, SignatureError},
};
use serde_json::{Value, json, value::RawValue};
use tokio::time::timeout_at;

use crate::{
    request::{Request, RequestError},
    secret::{self, SigningSecret},
};

/// So much of Slack's three seconds is for the work here; the rest is for the ways there and back.
const ANSWERS_WITHIN: Duration = Duration::from_millis(2300);

/// A template that is not Quell's.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{0} is not set as it must be; deploy with Quell's template")]
struct SettingError(&'static str);

impl From<SettingError> for Diagnostic {
    fn from(error: SettingError) -> Self {
        Self { error_type: "Settings".to_owned(), error_message: error.to_string() }
    }
}

/// How a request ended, in words for the log. None of them says anything of the request but what was pressed.
#[derive(Debug, PartialEq)]
enum Ended {
    /// The operator has it, and tells the person.
    HandedOn(&'static str),
    /// So has it, and works on it still.
    StillAtWork(&'static str),
    Challenge(String),
    Nothing,
    TooLong,
    Malformed(String),
    /// Not by Slack, or not lately. Whoever sends it hears nothing more.
    Unverified,
    /// The operator did not take it, or there is no secret. Slack tells the person that it did not work.
    Failed(String),
}

/// What the process keeps from one request to the next.
struct Home {
    aws: Clients,
    secrets: Client,
    secret: SigningSecret,
    secret_arn: String,
    operator: String,
}

/// Serves until Lambda ends the process.
///
/// # Errors
/// If the Runtime API cannot be reached.
pub(crate) async fn serve() -> Result<(), lambda_runtime::Error> {
    log::start();
    // Made before the first event, for which a person waits. What cannot be made is the error of each.
    let home = Home::from_environment().await;
    let home = &home;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        let until = Instant::now() + ANSWERS_WITHIN;
        let home = home.as_ref().map_err(|error| Diagnostic::from(*error))?;
        let ended = home.handle(event.payload.get(), until).await;
        ended.log();
        Ok::<Value, Diagnostic>(ended.response())
    }))
    .await
}

impl Home {
    async fn from_environment() -> Result<Self, SettingError> {
        let account = variable("QUELL_ACCOUNT")?;
        let region = variable("AWS_REGION")?;
        let aws = Clients::in_lambda(&account, &region, CALL_TIME, &["secretsmanager"]).await;
        Ok(Self {
            secrets: Client::new(aws.sdk()),
            aws,
            secret: SigningSecret::default(),
            secret_arn: variable("QUELL_SLACK_SIGNING_SECRET")?,
            operator: format!("{}/slack", variable("QUELL_OPERATOR_URL")?.trim_end_matches('/')),
        })
    }

    /// Nothing of the body is parsed before it is known to be Slack's.
    async fn handle(&self, event: &str, until: Instant) -> Ended {
        let request = match Request::read(event) {
            Ok(request) => request,
            Err(RequestError::TooLong) => return Ended::TooLong,
            Err(RequestError::Unsigned) => return Ended::Unverified,
            Err(error @ RequestError::Malformed) => return Ended::Malformed(error.to_string()),
        };
        match self.is_slacks(&request).await {
            Ok(true) => {}
            Ok(false) => return Ended::Unverified,
            Err(error) => return Ended::Failed(error.to_string()),
        }
        match interaction::read(&request.body) {
            Ok(interaction::Request::Interaction(pressed)) => self.hand_on(&pressed, until).await,
            Ok(interaction::Request::Challenge(text)) => Ended::Challenge(text),
            Ok(interaction::Request::Nothing) => Ended::Nothing,
            Err(error) => Ended::Malformed(error.to_string()),
        }
    }

    async fn is_slacks(&self, request: &Request) -> Result<bool, CallError> {
        let now = Timestamp::now();
        let verify = |secret: &str| {
            let Request { body, timestamp, signature } = request;
            signature::verify(secret, timestamp, body, signature, now)
        };
        // What no secret could verify is not worth a call.
        if !matches!(verify(UNKNOWN), Err(SignatureError::Mismatch)) {
            return Ok(false);
        }
        let fetch = async || secret::fetched(&self.secrets, &self.secret_arn).await;
        let verifies = |secret: &str| verify(secret).is_ok();
        self.secret.verifies(Instant::now(), verifies, fetch).await
    }

    /// Waits for the operator no longer than Slack would: once it was asked it goes on, and tells the person itself.
    async fn hand_on(&self, pressed: &Interaction, until: Instant) -> Ended {
        let action = pressed.action.id();
        let body = match serde_json::to_string(pressed) {
            Ok(body) => body,
            Err(error) => return Ended::Failed(error.to_string()),
        };
        let departure = Departure::default();
        let called = function_url::post(&self.aws, &self.operator, body, &departure);
        match timeout_at(until.into(), called).await {
            Err(_) if departure.has_left() => Ended::StillAtWork(action),
            // Lambda stops the process with the response: it never will.
            Err(_) => Ended::Failed(format!("the operator was not reached in time for {action}")),
            Ok(Ok(reply)) if reply.status < 300 => Ended::HandedOn(action),
            Ok(Ok(reply)) => {
                Ended::Failed(format!("the operator answered {action} with {}", reply.status))
            }
            Ok(Err(error)) => Ended::Failed(format!("the operator, for {action}: {error}")),
        }
    }
}

impl Ended {
    /// What Lambda makes an HTTP response of. Slack wants an empty body, unless it shall show something.
    fn response(&self) -> Value {
        let (status, body) = match self {
            Self::HandedOn(_) | Self::StillAtWork(_) | Self::Nothing => (200, ""),
            Self::Challenge(text) => (200, text.as_str()),
            Self::Malformed(_) => (400, ""),
            Self::Unverified => (401, ""),
            Self::TooLong => (413, ""),
            Self::Failed(_) => (502, ""),
        };
        json!({
            "statusCode": status,
            "headers": {"content-type": "text/plain; charset=utf-8", "cache-control": "no-store"},
            "body": body,
        })
    }

    fn log(&self) {
        macro_rules! line {
            ($level:ident, $said:literal) => {
                line!($level, $said, "")
            };
            ($level:ident, $said:literal, $detail:expr) => {
                tracing::$level!(target: "quell_slack_actions", detail = $detail, $said)
            };
        }
        match self {
            Self::HandedOn(action) => line!(info, "handed on", *action),
            Self::StillAtWork(action) => line!(warn, "handed on, not answered yet", *action),
            Self::Challenge(_) => line!(info, "challenged"),
            Self::Nothing => line!(info, "nothing of Quell's"),
            Self::TooLong => line!(warn, "too long"),
            Self::Malformed(why) => line!(warn, "malformed", text::one_line(why)),
            // Anybody can send any number of them: not worth an alarm.
            Self::Unverified => line!(info, "not Slack's"),
            Self::Failed(why) => line!(error, "failed", text::one_line(why)),
        }
    }
}

/// A secret that Slack gives nobody.
const UNKNOWN: &str = "none";

/// Time for a call with its retries: there is none for a second attempt.
const CALL_TIME: Duration = Duration::from_millis(1500);

fn variable(name: &'static str) -> Result<String, SettingError> {
    env::var(name).ok().filter(|value| !value.is_empty()).ok_or(SettingError(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_its_status_and_none_says_which_part_was_wrong() {
        for (ended, status) in [
            (Ended::HandedOn("quell.approve"), 200),
            (Ended::StillAtWork("quell.undo"), 200),
            (Ended::Nothing, 200),
            (Ended::Malformed("`user` is missing".to_owned()), 400),
            (Ended::Unverified, 401),
            (Ended::TooLong, 413),
            (Ended::Failed("denied".to_owned()), 502),
        ] {
            let response = ended.response();
            assert_eq!((&response["statusCode"], &response["body"]), (&json!(status), &json!("")));
        }
        let response = Ended::Challenge("3eZbrw1aB1".to_owned()).response();
        assert_eq!(response["body"], "3eZbrw1aB1");
        assert_eq!(response["headers"]["content-type"], "text/plain; charset=utf-8");
    }
}
