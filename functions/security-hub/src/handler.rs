//! From a batch of messages to what Security Hub hears, and back to the queue with what it did not.

use std::{collections::BTreeSet, env, time::Instant};

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use quell_engine::{
    Clients,
    aws::CALL_TIME,
    ledger::Ledger,
    log,
    notify::{Notice, VERSION},
    queue::{Answer, Batch},
    serve::deadline,
    text,
};
use serde::Deserialize;

use crate::{
    asff::Place,
    hub::Hub,
    speaker::{Foreign, Speaker, Told},
};

/// Serves until Lambda ends the process.
///
/// # Errors
/// If the Runtime API cannot be reached.
pub(crate) async fn serve() -> Result<(), lambda_runtime::Error> {
    log::start();
    let home = Home::new().await;
    let home = &home;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Batch>| async move {
        let home = home.as_ref().map_err(|wrong| Diagnostic {
            error_type: "Settings".to_owned(),
            error_message: text::one_line(&wrong.to_string()),
        })?;
        let deadline = deadline(event.context.deadline());
        let handled = home.handle(event.payload, &event.context.request_id, deadline);
        Ok::<_, Diagnostic>(Box::pin(handled).await)
    }))
    .await
}

/// What all batches of a process share.
struct Home {
    hub: Hub,
    ledger: Ledger,
    account: String,
    region: String,
    /// Whether findings of Quell's own are imported.
    imports: bool,
}

#[derive(Clone, Debug, thiserror::Error)]
#[error("{0} is not set as it must be; deploy with Quell's template")]
struct Unset(&'static str);

/// Why a message of the queue cannot be told to Security Hub.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("it is no message of Quell's: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error("its version is {0}, and this function reads {VERSION}; deploy all functions together")]
    Version(u64),
    #[error(transparent)]
    Foreign(#[from] Foreign),
}

impl Home {
    async fn new() -> Result<Self, Unset> {
        let variable = |name: &'static str| {
            env::var(name).ok().filter(|value| !value.is_empty()).ok_or(Unset(name))
        };
        let (account, region) = (variable("QUELL_ACCOUNT")?, variable("AWS_REGION")?);
        let imports = match variable("QUELL_IMPORT_FINDINGS")?.as_str() {
            "yes" => true,
            "no" => false,
            _ => return Err(Unset("QUELL_IMPORT_FINDINGS")),
        };
        let aws =
            Clients::in_lambda(&account, &region, CALL_TIME, &["dynamodb", "securityhub"]).await;
        let ledger = Ledger::new(&aws, variable("QUELL_LEDGER_TABLE")?);
        Ok(Self { hub: Hub::new(&aws), ledger, account, region, imports })
    }

    /// What it does not say is failed was done, or is nothing that Security Hub wants.
    async fn handle(&self, batch: Batch, request_id: &str, deadline: Instant) -> Answer {
        let place = Place { account: &self.account, region: &self.region };
        let Self { hub, ledger, imports, .. } = self;
        let speaker = Speaker { hub, ledger, place, imports: *imports, request_id, deadline };
        let mut failed = BTreeSet::new();
        let (mut told, mut bulletins) = (Vec::new(), Vec::new());
        for delivery in &batch.deliveries {
            let fit = read(&delivery.body).and_then(|notice| {
                match notice {
                    Notice::Remediation(message) => {
                        told.push(Told::new(*message, place, delivery)?);
                    }
                    Notice::Bulletin(bulletin) => bulletins.push((bulletin, delivery)),
                }
                Ok(())
            });
            if let Err(unfit) = fit {
                let why = text::one_line(&unfit.to_string());
                tracing::error!(target: "quell", detail = why, "unfit for Security Hub");
                failed.insert(delivery.message_id.clone());
            }
        }
        failed.extend(speaker.tell(&told).await);
        for (bulletin, delivery) in bulletins {
            if !speaker.tell_counted(&bulletin, delivery).await {
                failed.insert(delivery.message_id.clone());
            }
        }
        failed.into_iter().collect()
    }
}

fn read(body: &str) -> Result<Notice, Unfit> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u64,
    }
    // Before all else: another version may mean something else by the same fields.
    let Versioned { version } = serde_json::from_str(body)?;
    if version != u64::from(VERSION) {
        return Err(Unfit::Version(version));
    }
    Ok(serde_json::from_str(body)?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use quell_engine::Outcome;
    use serde_json::{Value, json};

    use super::*;
    use crate::{samples, stub::Stub};

    const PRODUCT: &str = "arn:aws:securityhub:eu-west-1::product/aws/securityhub";

    #[tokio::test]
    async fn messages_about_findings_update_them_and_the_others_ask_for_nothing() {
        let stub = Stub::answering([(200, processed(&["f1"]))]);
        let messages = [about("f1", Outcome::Fixed), other(Outcome::Fixed)];
        assert_eq!(handled(&stub, false, &messages).await, [""; 0]);
        assert_eq!(stub.requests().len(), 1);
        assert_eq!(stub.requests()[0]["Workflow"]["Status"], "RESOLVED");
    }

    #[tokio::test]
    async fn what_security_hub_does_not_know_is_imported_where_that_is_wanted() {
        let stub = Stub::answering([
            (200, processed(&["f1"])),
            (200, json!({"FailedCount": 0, "SuccessCount": 1})),
        ]);
        let messages = [about("f1", Outcome::Fixed), other(Outcome::Fixed)];
        assert_eq!(handled(&stub, true, &messages).await, [""; 0]);
        let imported = &stub.requests()[1]["Findings"];
        assert_eq!(imported.as_array().unwrap().len(), 1);
        assert_eq!(imported[0]["GeneratorId"], "quell/s3-public-acl");
    }

    #[tokio::test]
    async fn of_one_finding_the_newest_message_counts_whatever_the_order() {
        let stub = Stub::answering([(200, processed(&["f1"]))]);
        let mut fixed = about("f1", Outcome::Fixed);
        fixed["since"] = json!("2026-03-01T02:03:12Z");
        let messages = [fixed, about("f1", Outcome::Pending)];
        assert_eq!(handled(&stub, false, &messages).await, [""; 0]);
        let asked = stub.requests();
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0]["FindingIdentifiers"].as_array().unwrap().len(), 1);
        assert_eq!(asked[0]["Workflow"]["Status"], "RESOLVED");
    }

    #[tokio::test]
    async fn of_one_record_the_highest_revision_counts_whatever_the_order() {
        let stub = Stub::answering([(200, processed(&["f1"]))]);
        let mut fixed = about("f1", Outcome::Fixed);
        fixed["revision"] = json!(7);
        let messages = [fixed, about("f1", Outcome::Pending)];
        assert_eq!(handled(&stub, false, &messages).await, [""; 0]);
        assert_eq!(stub.requests()[0]["Workflow"]["Status"], "RESOLVED");
    }

    #[tokio::test]
    async fn a_bulletin_that_counts_nothing_of_the_ledger_asks_for_nothing() {
        let bulletin = json!({
            "kind": "bulletin", "version": 1, "subject": "folded", "total": 3,
            "from": "2026-03-01T02:00:00Z", "until": "2026-03-01T02:05:00Z", "lines": [],
            "command": "quell records",
        });
        assert_eq!(handled(&Stub::answering([]), true, &[bulletin]).await, [""; 0]);
    }

    #[tokio::test]
    async fn only_what_failed_goes_back_to_the_queue() {
        // NOTIFIED is said before RESOLVED.
        let stub = Stub::answering([(500, json!({})), (200, processed(&["f1"]))]);
        let messages = [about("f1", Outcome::Fixed), about("f2", Outcome::Observed), json!("x")];
        assert_eq!(handled(&stub, false, &messages).await, ["m1", "m2"]);
    }

    #[tokio::test]
    async fn what_is_no_message_of_this_version_or_account_goes_back() {
        let with = |name: &str, value: Value| {
            let mut body = about("f1", Outcome::Fixed);
            body[name] = value;
            body
        };
        let messages = [
            with("version", json!(2)),
            with("version", Value::Null),
            with("account", json!("210987654321")),
            with("outcome", json!("magic")),
            json!({}),
            json!([]),
        ];
        let stub = Stub::answering([]);
        let failed = handled(&stub, true, &messages).await;
        assert_eq!(failed, ["m0", "m1", "m2", "m3", "m4", "m5"]);
        assert!(stub.requests().is_empty());
    }

    async fn handled(stub: &Stub, imports: bool, messages: &[Value]) -> Vec<String> {
        let answer = home(stub, imports).handle(batch(messages), "request", soon()).await;
        answer.batch_item_failures.into_iter().map(|failed| failed.item_identifier).collect()
    }

    fn home(stub: &Stub, imports: bool) -> Home {
        Home {
            hub: Hub::new(&stub.clients()),
            ledger: Ledger::new(&stub.clients(), "ledger"),
            account: "123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
            imports,
        }
    }

    fn batch(messages: &[Value]) -> Batch {
        let records = messages.iter().enumerate().map(|(index, message)| {
            json!({
                "messageId": format!("m{index}"),
                "body": message.to_string(),
                "attributes": {"SentTimestamp": (1_800_000_000_000 + index).to_string()},
            })
        });
        let records: Vec<Value> = records.collect();
        serde_json::from_value(json!({"Records": records})).unwrap()
    }

    /// About none.
    fn other(outcome: Outcome) -> Value {
        serde_json::to_value(Notice::from(samples::message(outcome))).unwrap()
    }

    fn about(finding: &str, outcome: Outcome) -> Value {
        let mut body = other(outcome);
        body["event"]["finding"] = json!({"id": finding, "product_arn": PRODUCT});
        body
    }

    fn processed(findings: &[&str]) -> Value {
        let named: Vec<Value> =
            findings.iter().map(|id| json!({"Id": id, "ProductArn": PRODUCT})).collect();
        json!({"ProcessedFindings": named, "UnprocessedFindings": []})
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }
}
