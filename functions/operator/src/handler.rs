//! Requests at the function URL, and the schedule by which recovery runs.

use std::{collections::BTreeMap, env, sync::OnceLock};

use jiff::Timestamp;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use quell_engine::{
    Clients, Meta,
    aws::CALL_TIME,
    ledger::{Ledger, LedgerError},
    log,
    notify::Topic,
    policy::{Policy, acts},
    text,
};
use serde_json::{Value, json};

use crate::{
    answer::{Answer, Refusal},
    domain::Domain,
    recovery::{self, RecoveryError},
    request::{self, Url},
    slack::Slack,
    verbs,
};

/// Everything that the verbs and recovery need.
pub(crate) struct Operator {
    pub(crate) ledger: Ledger,
    pub(crate) topic: Topic,
    pub(crate) domain: Domain,
    pub(crate) slack: Option<Slack>,
    /// By function: `act` or `observe`, as the template says.
    pub(crate) ceilings: BTreeMap<String, String>,
    pub(crate) account: String,
    pub(crate) region: String,
    /// Of this invocation.
    pub(crate) request_id: String,
    pub(crate) now: Timestamp,
}

/// Why an invocation goes back to Lambda, which tries it twice more and then keeps it.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0} is not set as it must be; deploy with Quell's template")]
    Setting(&'static str),
    #[error("this is neither a request at the function URL nor the schedule of recovery")]
    Unknown,
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Self {
        let kind = match failure {
            Failure::Setting(_) => "Settings",
            Failure::Unknown => "Event",
            Failure::Recovery(_) => "Recovery",
        };
        Self { error_type: kind.to_owned(), error_message: text::one_line(&failure.to_string()) }
    }
}

/// Serves until Lambda ends the process. `known` is every control there is.
///
/// # Errors
/// If the Runtime API cannot be reached.
pub(crate) async fn serve(known: &'static [&'static Meta]) -> Result<(), lambda_runtime::Error> {
    log::start();
    let home = OnceLock::new();
    let home = &home;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| async move {
        let account = variable("QUELL_ACCOUNT")?;
        let region = variable("AWS_REGION")?;
        let aws = match home.get() {
            Some(aws) => aws,
            None => {
                let aws = Clients::in_lambda(&account, &region, CALL_TIME, &["dynamodb"]).await;
                home.get_or_init(|| aws)
            }
        };
        let request_id = event.context.request_id;
        let operator = Operator {
            ledger: Ledger::new(aws, variable("QUELL_LEDGER_TABLE")?),
            topic: Topic::new(aws, variable("QUELL_TOPIC_ARN")?),
            domain: Domain::new(aws, &variable("QUELL_FUNCTIONS")?, known, request_id.clone())
                .map_err(|_| Failure::Setting("QUELL_FUNCTIONS"))?,
            slack: match variable("QUELL_SLACK_ROLE") {
                Ok(role) => {
                    let function = variable("QUELL_SLACK_FUNCTION")?;
                    let slack =
                        Slack::new(aws, &role, function, variable("QUELL_SLACK_WORKSPACE")?);
                    Some(slack.map_err(|_| Failure::Setting("QUELL_SLACK_ROLE"))?)
                }
                // Nobody may give orders in Slack.
                Err(_) => None,
            },
            ceilings: ceilings(&variable("QUELL_CEILINGS")?)
                .ok_or(Failure::Setting("QUELL_CEILINGS"))?,
            account,
            region,
            request_id,
            now: Timestamp::now(),
        };
        Box::pin(operator.handle(event.payload)).await.map_err(Diagnostic::from)
    }))
    .await
}

impl Operator {
    async fn handle(&self, event: Value) -> Result<Value, Failure> {
        if event.get("requestContext").is_some() {
            let answer = self.answer(event).await;
            return Ok(json!({
                "statusCode": answer.status,
                "headers": {"content-type": "application/json", "cache-control": "no-store"},
                "body": answer.body(),
            }));
        }
        let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("source") == "aws.events"
            && text("detail-type") == "Scheduled Event"
            && text("account") == self.account
        {
            return Ok(recovery::run(self).await?);
        }
        Err(Failure::Unknown)
    }

    /// Who asks is known before anything that they say is looked at.
    async fn answer(&self, event: Value) -> Answer {
        let url = Url::read(event).and_then(|url| Ok((url.caller(&self.account)?, url)));
        let parsed = match url {
            Ok((caller, url)) => {
                let slack = self.slack.as_ref().filter(|slack| slack.is_brought_by(&caller));
                match (slack, url.is_of_slack()) {
                    (Some(slack), true) => return slack.answer(self, &url).await,
                    (Some(_), false) => Err(Refusal::forbidden(
                        "this role brings what people press in Slack, and gives no orders"
                            .to_owned(),
                    )),
                    (None, true) => Err(Refusal::forbidden(
                        "only Slack's buttons come this way; give orders with `quell`".to_owned(),
                    )),
                    (None, false) => url.order().map(|order| (caller, order)),
                }
            }
            Err(refusal) => Err(refusal),
        };
        let (caller, order) = match parsed {
            Ok(parsed) => parsed,
            Err(refusal) => {
                let answer = refusal.of("");
                answer.log(None);
                return answer;
            }
        };
        let verb = order.verb();
        let answer = match self.caller(caller).await {
            Ok(caller) => {
                let answered = verbs::obey(self, &caller, order).await;
                let answer = answered.unwrap_or_else(|refusal| refusal.of(verb));
                answer.log(Some(&caller));
                return answer;
            }
            Err(refusal) => refusal.of(verb),
        };
        answer.log(None);
        answer
    }

    /// The person whom the policy knows by this principal.
    async fn caller(&self, arn: String) -> Result<request::Caller, Refusal> {
        let policy = self.known_policy().await?;
        let person = policy.person(&arn).map(|person| person.name.clone());
        Ok(request::Caller { arn, person, policy })
    }

    /// The policy, by which people are known.
    pub(crate) async fn known_policy(&self) -> Result<Policy, Refusal> {
        let policy = match self.ledger.policy().await {
            Ok(published) => published.map(|published| published.policy),
            // It knows nobody then; but stopping must still be possible.
            Err(LedgerError::Unreadable { .. } | LedgerError::Newer { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(policy.unwrap_or_else(Policy::observe))
    }
}

/// `s3-exposure=act,ec2-metadata=observe,…`
fn ceilings(text: &str) -> Option<BTreeMap<String, String>> {
    text.split(',')
        .map(|item| {
            let (function, ceiling) = item.split_once('=')?;
            acts(ceiling).ok()?;
            Some((function.to_owned(), ceiling.to_owned()))
        })
        .collect()
}

fn variable(name: &'static str) -> Result<String, Diagnostic> {
    let value = env::var(name).ok().filter(|value| !value.is_empty());
    value.ok_or_else(|| Failure::Setting(name).into())
}
