//! Where a command works: an endpoint that the environment names, or the account of the environment's credentials.

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::ProvideCredentials as _;
use quell_engine::{Clients, During as _, aws::CALL_TIME, ledger::Ledger};
use quell_local::Cloud;

use crate::Error;

/// One account and region, with its ledger.
pub(crate) struct Place {
    pub(crate) aws: Clients,
    pub(crate) ledger: Ledger,
    pub(crate) table: String,
    pub(crate) topic: Option<String>,
    /// The operator's function URL.
    pub(crate) operator: Option<String>,
    /// Who is asking, for the record.
    pub(crate) principal: String,
}

impl Place {
    /// Where the environment says: its endpoint, its region, its credentials.
    pub(crate) async fn from_environment() -> Result<Self, Error> {
        let (aws, principal) = account(None).await?;
        let table = variable("QUELL_LEDGER_TABLE").ok_or_else(|| {
            Error::trouble("QUELL_LEDGER_TABLE is not set; it is the stack's output LedgerTable")
        })?;
        Ok(Self {
            ledger: Ledger::new(&aws, table.as_str()),
            table,
            topic: variable("QUELL_TOPIC_ARN"),
            operator: variable("QUELL_OPERATOR_URL"),
            aws,
            principal,
        })
    }

    /// The credentials that were used to find out who is asking, and no others.
    pub(crate) async fn credentials(&self) -> Result<Vec<(String, String)>, Error> {
        let provider = self.aws.sdk().credentials_provider();
        let provider = provider.ok_or_else(|| Error::trouble("there are no AWS credentials"))?;
        let found = provider.provide_credentials().await;
        let found = found.map_err(|error| Error::Trouble(error.into()))?;
        let mut variables = vec![
            ("AWS_ACCESS_KEY_ID".to_owned(), found.access_key_id().to_owned()),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), found.secret_access_key().to_owned()),
        ];
        let token = found.session_token().map(str::to_owned);
        variables.extend(token.map(|token| ("AWS_SESSION_TOKEN".to_owned(), token)));
        Ok(variables)
    }

    /// An embedded AWS of this process.
    pub(crate) fn embedded(cloud: &Cloud, table: &str, topic: &str, operator: &str) -> Self {
        let aws = Clients::new(cloud.sdk.clone(), quell_local::cloud::ACCOUNT);
        Self {
            ledger: Ledger::new(&aws, table),
            table: table.to_owned(),
            topic: Some(topic.to_owned()),
            operator: Some(operator.to_owned()),
            aws,
            principal: quell_local::cloud::CALLER.to_owned(),
        }
    }
}

/// The account of the environment's credentials in a region, by default the environment's, and who that is.
pub(crate) async fn account(region: Option<&str>) -> Result<(Clients, String), Error> {
    let region = match region {
        Some(region) => Some(region.to_owned()),
        None => aws_config::defaults(BehaviorVersion::latest())
            .http_client(quell_engine::aws::http_client())
            .load()
            .await
            .region()
            .map(Region::to_string),
    };
    let aws = Clients::load("", region.clone().unwrap_or_default(), CALL_TIME).await;
    if region.is_none() {
        return Err(Error::trouble(
            "no AWS region is set; set AWS_REGION, or a region in your profile",
        ));
    }
    let caller = aws_sdk_sts::Client::new(aws.sdk())
        .get_caller_identity()
        .send()
        .await
        .during("sts:GetCallerIdentity")
        .map_err(|error| Error::trouble(format!("AWS cannot be reached as you: {error}")))?;
    let account = caller.account().unwrap_or_default().to_owned();
    let principal = caller.arn().unwrap_or("unknown").to_owned();
    Ok((aws.of_account(account), principal))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
