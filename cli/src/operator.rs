//! How people's orders reach the operator: signed with their own credentials, so that IAM says who they are.

use std::time::{Duration, Instant};

use quell_engine::{
    CallErrorKind,
    function_url::{self, Departure, Reply},
    ledger::{Record, Status},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::{sleep, timeout};

use crate::{Error, place::Place, terminal};

/// What the operator answered to an order that it took.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Answer {
    pub(crate) verb: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) record: Option<String>,
    pub(crate) state: String,
    pub(crate) detail: String,
    #[serde(flatten)]
    pub(crate) more: Map<String, Value>,
}

/// Longer than the operator may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(70);

/// Gives an order, and returns the answer of an operator that took it.
pub(crate) async fn order(place: &Place, order: &Value) -> Result<Answer, Error> {
    let url = place.operator.as_deref().ok_or_else(|| {
        Error::trouble("QUELL_OPERATOR_URL is not set; it is the stack's output OperatorUrl")
    })?;
    let (status, body) = patiently("asking the operator", sent(place, url, order)).await?;
    if status < 300 {
        return serde_json::from_slice(&body).map_err(|error| {
            Error::trouble(format!(
                "{} answered what is no answer of Quell's operator ({error}); is QUELL_OPERATOR_URL the stack's output OperatorUrl?",
                terminal::clean(url)
            ))
        });
    }
    let said = serde_json::from_slice::<Value>(&body).unwrap_or_default();
    let text = |name: &str| said.get(name).and_then(Value::as_str).map(str::to_owned);
    match (status, text("detail")) {
        (400..500, Some(detail)) => Err(Error::NotDone(detail)),
        (_, Some(detail)) => Err(Error::trouble(detail)),
        (403, None) => Err(Error::NotDone(format!(
            "the operator does not admit {}: {}; it needs lambda:InvokeFunctionUrl, and lambda:InvokeFunction through the URL, on the stack's operator",
            place.principal,
            text("Message").or_else(|| text("message")).unwrap_or_default()
        ))),
        (_, None) => Err(Error::trouble(format!(
            "the operator failed with status {status}; its log says why"
        ))),
    }
}

async fn sent(place: &Place, url: &str, order: &Value) -> Result<(u16, Vec<u8>), Error> {
    let is_private = url.starts_with("https://")
        || ["http://127.0.0.1:", "http://localhost:", "http://[::1]:"]
            .iter()
            .any(|local| url.starts_with(local));
    if !is_private {
        return Err(Error::trouble(format!(
            "QUELL_OPERATOR_URL is {}, which is no https:// address",
            terminal::clean(url)
        )));
    }
    let unreachable = |reason: String| {
        Error::trouble(format!(
            "the operator at {} cannot be reached: {reason}",
            terminal::clean(url)
        ))
    };
    let answered = async {
        match function_url::post(&place.aws, url, order.to_string(), &Departure::default()).await {
            Ok(Reply { status, body }) => Ok((status, body)),
            Err(error) if error.kind == CallErrorKind::NoAnswer => Err(unreachable(error.message)),
            Err(error) => Err(Error::trouble(error.message)),
        }
    };
    timeout(ANSWERS_WITHIN, answered).await.unwrap_or_else(|_| {
        Err(unreachable(format!("no answer within {} seconds", ANSWERS_WITHIN.as_secs())))
    })
}

/// How long the work on a record is waited for. Lambda tries twice more within three minutes.
const SETTLES_WITHIN: Duration = Duration::from_secs(240);

/// Waits until `look` finds what it looks for, and says now and then that it waits.
pub(crate) async fn until<T, F>(what: &str, mut look: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<Option<T>, Error>>,
{
    let begun = Instant::now();
    let waited = async {
        let mut pause = Duration::from_millis(200);
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            if begun.elapsed() > SETTLES_WITHIN {
                return Err(Error::trouble(format!(
                    "the order stands, but {what} takes longer than {} minutes; `quell records` shows how it goes on",
                    SETTLES_WITHIN.as_secs() / 60
                )));
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    };
    patiently(what, waited).await
}

/// Says what is waited for, where it takes longer than two seconds.
pub(crate) async fn patiently<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::pin!(wait);
    let begun = Instant::now();
    loop {
        let next = if begun.elapsed() < Duration::from_secs(2) { 2 } else { 15 };
        match timeout(Duration::from_secs(next), &mut wait).await {
            Ok(done) => return done,
            Err(_) => terminal::progress(&format!("{what} ({} s)", begun.elapsed().as_secs())),
        }
    }
}

/// The record once nobody works on it and nobody is waited for.
pub(crate) async fn rested(place: &Place, id: &str, what: &str) -> Result<Record, Error> {
    until(what, || async {
        let record = place.ledger.read(id).await.map_err(|error| Error::Trouble(error.into()))?;
        Ok(record.filter(|record| is_at_rest(record.status)))
    })
    .await
}

pub(crate) fn is_at_rest(status: Status) -> bool {
    !matches!(status, Status::Pending | Status::Applying | Status::Undoing)
}
