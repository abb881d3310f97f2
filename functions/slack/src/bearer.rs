//! The secret by which Quell speaks in Slack, fetched once for each process.

use std::sync::Mutex;

use aws_sdk_secretsmanager::Client;
use quell_engine::{CallError, Clients, During as _};
use quell_slack::{Credential, SlackError, credential::CredentialError};

pub(crate) struct Bearer {
    client: Client,
    secret: String,
    known: Mutex<Option<Credential>>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum BearerError {
    #[error("the secret of Slack: {0}")]
    Call(#[from] CallError),
    #[error("the secret of Slack: {0}")]
    Credential(#[from] CredentialError),
}

impl Bearer {
    pub(crate) fn new(aws: &Clients, secret: impl Into<String>) -> Self {
        Self { client: Client::new(aws.sdk()), secret: secret.into(), known: Mutex::default() }
    }

    pub(crate) async fn credential(&self) -> Result<Credential, BearerError> {
        if let Some(known) = self.known().clone() {
            return Ok(known);
        }
        let answer = self.client.get_secret_value().secret_id(&self.secret).send().await;
        let answer = answer.during("secretsmanager:GetSecretValue")?;
        let credential = Credential::parse(answer.secret_string().unwrap_or_default())?;
        *self.known() = Some(credential.clone());
        Ok(credential)
    }

    /// Whether there is another secret now than the one that Slack did not accept.
    pub(crate) async fn is_renewed(&self, refused: &Credential, error: &SlackError) -> bool {
        if !matches!(error, SlackError::Credential { .. }) {
            return false;
        }
        *self.known() = None;
        matches!(self.credential().await, Ok(credential) if credential != *refused)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<Credential>> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
