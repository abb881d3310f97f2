//! The functions that look at resources and change them. The operator only says where to look.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_lambda::{
    Client,
    config::{retry::RetryConfig, timeout::TimeoutConfig},
    primitives::Blob,
    types::InvocationType,
};
use quell_engine::{
    CallError, CallErrorKind, Clients, During as _, Meta, Report,
    ledger::Record,
    report::{Identified, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

const INVOKE: &str = "lambda:InvokeFunction";

pub(crate) struct Domain {
    lambda: Client,
    /// The ARN of each function, by its name.
    functions: BTreeMap<String, String>,
    known: &'static [&'static Meta],
    /// Of this invocation: what hints of it are told apart by.
    request_id: String,
}

/// Why it is not known what a resource is.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum IdentifyError {
    /// There is no such resource, or nothing that the control looks at.
    #[error("{0}")]
    Unknown(String),
    #[error(transparent)]
    Call(#[from] CallError),
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("`{0}` is not of the form function=ARN")]
pub(crate) struct FunctionsError(String);

impl Domain {
    /// `functions` is a list of `function=ARN` with commas between.
    pub(crate) fn new(
        aws: &Clients,
        functions: &str,
        known: &'static [&'static Meta],
        request_id: String,
    ) -> Result<Self, FunctionsError> {
        Ok(Self { lambda: Client::new(aws.sdk()), functions: parse(functions)?, known, request_id })
    }

    pub(crate) fn known(&self) -> &'static [&'static Meta] {
        self.known
    }

    /// The control of this id.
    pub(crate) fn control(&self, id: &str) -> Option<&'static Meta> {
        self.known.iter().copied().find(|meta| meta.id == id)
    }

    /// Makes the function of the record's control look at the record. What it does then it decides by what it reads.
    pub(crate) async fn hint(&self, record: &Record) -> Result<(), CallError> {
        let function = self.function(&record.intent.control)?;
        let event = self.event(record);
        self.lambda
            .invoke()
            .function_name(function)
            .invocation_type(InvocationType::Event)
            .payload(Blob::new(event.to_string()))
            .send()
            .await
            .during(INVOKE)?;
        Ok(())
    }

    /// The same, and waits for what comes of it.
    pub(crate) async fn hint_and_wait(&self, record: &Record) -> Result<Report, CallError> {
        let function = self.function(&record.intent.control)?;
        let payload = self.answer(function, &self.event(record)).await?;
        let response = Response::deserialize(&payload.said).map_err(|_| {
            let said = payload.text("errorMessage");
            CallError::new(INVOKE, CallErrorKind::Refused, said)
        })?;
        response.results.into_iter().next().ok_or_else(|| {
            let said = response.refused.into_iter().chain(response.ignored).next();
            CallError::new(INVOKE, CallErrorKind::Refused, said.unwrap_or_default())
        })
    }

    /// Asks the function of the control for the resource's ARN and unique id.
    pub(crate) async fn identify(
        &self,
        control: &str,
        resource: &str,
        account: &str,
        region: &str,
    ) -> Result<Identified, IdentifyError> {
        let event = json!({
            "source": "quell.operator",
            "id": self.request_id,
            "detail": {
                "identify": {"control": control, "resource": resource},
                "account": account,
                "region": region,
            },
        });
        let function = self.function(control)?;
        let payload = self.answer(function, &event).await?;
        let unusable = |reason: String| CallError::new(INVOKE, CallErrorKind::Refused, reason);
        if payload.is_error {
            return Err(unusable(payload.text("errorMessage")).into());
        }
        let refused = payload.said.pointer("/refused/0").and_then(Value::as_str);
        match (payload.said.get("identified"), refused) {
            (Some(identified), _) => Identified::deserialize(identified).map_err(|error| {
                unusable(format!("{function} answered what cannot be read: {error}")).into()
            }),
            (None, Some(refused)) => Err(IdentifyError::Unknown(refused.to_owned())),
            (None, None) => Err(unusable(format!(
                "{function} does not know {control}; deploy all of Quell in one version"
            ))
            .into()),
        }
    }

    /// Says which record to look at, and decides nothing.
    fn event(&self, record: &Record) -> Value {
        json!({
            "source": "quell.operator",
            "id": format!("{}-{}", self.request_id, record.id),
            "detail": {
                "record": record.id,
                "account": record.intent.account,
                "region": record.intent.region,
            },
        })
    }

    /// What a function answers.
    async fn answer(&self, function: &str, event: &Value) -> Result<Payload, CallError> {
        let reply = self
            .lambda
            .invoke()
            .function_name(function)
            .invocation_type(InvocationType::RequestResponse)
            .payload(Blob::new(event.to_string()))
            .customize()
            .config_override(patient())
            .send()
            .await
            .during(INVOKE)?;
        let said = reply.payload().map(Blob::as_ref).unwrap_or_default();
        let said = serde_json::from_slice(said).map_err(|error| {
            let reason = format!("{function} answered what cannot be read: {error}");
            CallError::new(INVOKE, CallErrorKind::Refused, reason)
        })?;
        Ok(Payload { said, is_error: reply.function_error().is_some() })
    }

    fn function(&self, control: &str) -> Result<&str, CallError> {
        let name = self.control(control).map(|meta| meta.function);
        name.and_then(|name| self.functions.get(name)).map(String::as_str).ok_or_else(|| {
            let reason = format!(
                "QUELL_FUNCTIONS names no function for control {control}; deploy all of Quell in one version"
            );
            CallError::new(INVOKE, CallErrorKind::Misconfigured, reason)
        })
    }
}

/// A function's response, or what it says went wrong.
struct Payload {
    said: Value,
    is_error: bool,
}

impl Payload {
    fn text(&self, name: &str) -> String {
        self.said.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

/// A person waits, and the operator itself has a minute: one attempt, with time for a function that has to start.
fn patient() -> aws_sdk_lambda::config::Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(2))
        .operation_attempt_timeout(ANSWERS_WITHIN)
        .operation_timeout(ANSWERS_WITHIN)
        .build();
    aws_sdk_lambda::Config::builder().timeout_config(timeouts).retry_config(RetryConfig::disabled())
}

const ANSWERS_WITHIN: Duration = Duration::from_secs(40);

fn parse(functions: &str) -> Result<BTreeMap<String, String>, FunctionsError> {
    let pairs = functions.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| match pair.split_once('=') {
            Some((name, arn)) if !name.is_empty() && arn.starts_with("arn:") => {
                Ok((name.to_owned(), arn.to_owned()))
            }
            _ => Err(FunctionsError(pair.to_owned())),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_named_with_their_arns() {
        let s3 = "arn:aws:lambda:eu-west-1:123456789012:function:quell-s3-exposure";
        let functions = parse(&format!("s3-exposure={s3}, ec2-metadata={s3},")).unwrap();
        assert_eq!(functions.len(), 2);
        assert_eq!(functions["s3-exposure"], s3);
        for bad in ["s3-exposure", "=arn:aws:lambda", "s3-exposure=quell-s3-exposure"] {
            assert_eq!(parse(bad), Err(FunctionsError(bad.to_owned())));
        }
    }
}
