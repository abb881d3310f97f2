//! From a batch of messages to what Security Hub hears, and back to the queue with what it did not.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    time::{Duration, Instant, SystemTime},
};

use jiff::Timestamp;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use quell_engine::{
    Clients, Finding,
    aws::CALL_TIME,
    log,
    notify::{Message, Notice, VERSION},
    text,
};
use serde::Deserialize;

use crate::{
    asff::{self, Place},
    batch::{Answer, Batch, Delivery, Failed},
    hub::Hub,
    update::Update,
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
        Ok::<_, Diagnostic>(Box::pin(home.handle(event.payload, deadline)).await)
    }))
    .await
}

/// What all batches of a process share.
struct Home {
    hub: Hub,
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
    #[error("it is about account {0}, and this function tells the Security Hub of {1}")]
    Foreign(String, String),
}

/// A message that Security Hub is to hear.
struct Told {
    message: Message,
    /// When it was told, for its order among others.
    sent: Timestamp,
    /// What the queue calls it.
    delivery: String,
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
        let aws = Clients::in_lambda(&account, &region, CALL_TIME, &["securityhub"]).await;
        Ok(Self { hub: Hub::new(&aws), account, region, imports })
    }

    /// What it does not say is failed was done, or is nothing that Security Hub wants.
    async fn handle(&self, batch: Batch, deadline: Instant) -> Answer {
        let mut failed = BTreeSet::new();
        let mut told = Vec::new();
        for delivery in batch.deliveries {
            match self.heard(&delivery) {
                Ok(Some(heard)) => told.push(heard),
                Ok(None) => {}
                Err(unfit) => {
                    let why = text::one_line(&unfit.to_string());
                    tracing::error!(target: "quell", detail = why, "unfit for Security Hub");
                    failed.insert(delivery.message_id);
                }
            }
        }
        failed.extend(self.update(&told, deadline).await);
        if self.imports {
            failed.extend(self.import(&told, deadline).await);
        }
        let failed = failed.into_iter().map(|item_identifier| Failed { item_identifier });
        Answer { batch_item_failures: failed.collect() }
    }

    fn heard(&self, delivery: &Delivery) -> Result<Option<Told>, Unfit> {
        let Some(message) = read(&delivery.body)? else { return Ok(None) };
        if message.account != self.account {
            return Err(Unfit::Foreign(message.account, self.account.clone()));
        }
        Ok(Some(Told {
            // Without the queue's time: that of the message, which is the same in every delivery too.
            sent: delivery.sent().unwrap_or(message.detected),
            message,
            delivery: delivery.message_id.clone(),
        }))
    }

    /// Of each finding the newest message counts; what an older one said is over.
    async fn update(&self, told: &[Told], deadline: Instant) -> Vec<String> {
        let mut updates: BTreeMap<Finding, Update> = BTreeMap::new();
        let mut newest: BTreeMap<Finding, &Told> = BTreeMap::new();
        for one in told {
            let Some(finding) = &one.message.event.finding else { continue };
            let Some(update) = Update::of(&one.message) else { continue };
            if newest.get(finding).is_some_and(|known| !one.is_newer_than(known)) {
                continue;
            }
            updates.insert(finding.clone(), update);
            newest.insert(finding.clone(), one);
        }
        let mut undone = self.hub.update(&updates, deadline).await;
        let ended = newest.into_iter().map(|(finding, one)| {
            let why = undone.remove(&finding).map(|why| why.to_string());
            one.log("finding updated", why)
        });
        ended.flatten().collect()
    }

    /// What Security Hub told Quell of is there already.
    async fn import(&self, told: &[Told], deadline: Instant) -> Vec<String> {
        let place = Place { account: &self.account, region: &self.region };
        let mut findings = BTreeMap::new();
        let mut newest: BTreeMap<String, &Told> = BTreeMap::new();
        for one in told.iter().filter(|one| one.message.event.finding.is_none()) {
            let Some(finding) = asff::finding(&one.message, place, one.sent) else { continue };
            let id = finding.id().unwrap_or_default().to_owned();
            if newest.get(&id).is_some_and(|known| !one.is_newer_than(known)) {
                continue;
            }
            findings.insert(id.clone(), finding);
            newest.insert(id, one);
        }
        let mut undone = self.hub.import(findings.into_values().collect(), deadline).await;
        let ended = newest.into_iter().map(|(id, one)| {
            let why = undone.remove(&id).map(|why| why.to_string());
            one.log("finding imported", why)
        });
        ended.flatten().collect()
    }
}

impl Told {
    /// Of one record the revision tells; of a fix and its undo, or of two records about one finding, the time.
    fn is_newer_than(&self, other: &Self) -> bool {
        let (this, that) = (&self.message, &other.message);
        if this.record == that.record && this.revision != that.revision {
            return this.revision > that.revision;
        }
        self.sent >= other.sent
    }

    /// Logs how it ended. What the queue calls it, if it has to come again.
    fn log(&self, step: &'static str, undone: Option<String>) -> Option<String> {
        let message = &self.message;
        let Some(why) = undone else {
            let about = log::About {
                control: &message.control.id,
                resource: &message.resource.name,
                account: &message.account,
                region: &message.region,
                event_id: &message.event.id,
            };
            about.step(step, message.outcome.as_str());
            return None;
        };
        tracing::error!(
            target: "quell",
            control = text::one_line(&message.control.id),
            resource = text::one_line(&message.resource.name),
            record = text::one_line(message.record.as_deref().unwrap_or_default()),
            detail = text::one_line(&why),
            "not {step}"
        );
        Some(self.delivery.clone())
    }
}

/// `None`: a bulletin, which counts many and is about no finding.
fn read(body: &str) -> Result<Option<Message>, Unfit> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u64,
    }
    // Before all else: another version may mean something else by the same fields.
    let Versioned { version } = serde_json::from_str(body)?;
    if version != u64::from(VERSION) {
        return Err(Unfit::Version(version));
    }
    Ok(match serde_json::from_str(body)? {
        Notice::Remediation(message) => Some(*message),
        Notice::Bulletin(_) => None,
    })
}

/// Lambda's deadline. One in the past comes from a local emulator of Lambda: then a common timeout is assumed.
fn deadline(deadline: SystemTime) -> Instant {
    let left = deadline.duration_since(SystemTime::now()).unwrap_or(Duration::from_secs(60));
    Instant::now() + left
}

#[cfg(test)]
mod tests {
    use quell_engine::Outcome;
    use serde_json::{Value, json};

    use super::*;
    use crate::samples::{Stub, body};

    const PRODUCT: &str = "arn:aws:securityhub:eu-west-1::product/aws/securityhub";

    #[tokio::test]
    async fn messages_about_findings_update_them_and_the_others_ask_for_nothing() {
        let stub = Stub::answering([(200, processed(&["f1"]))]);
        let messages = [about("f1", Outcome::Fixed), body(Outcome::Fixed)];
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
        let messages = [about("f1", Outcome::Fixed), body(Outcome::Fixed)];
        assert_eq!(handled(&stub, true, &messages).await, [""; 0]);
        let imported = &stub.requests()[1]["Findings"];
        assert_eq!(imported.as_array().unwrap().len(), 1);
        assert_eq!(imported[0]["GeneratorId"], "quell/s3-public-acl");
    }

    #[tokio::test]
    async fn of_one_finding_the_newest_message_counts_whatever_the_order() {
        let stub = Stub::answering([(200, processed(&["f1"]))]);
        let messages = [about("f1", Outcome::Fixed), about("f1", Outcome::Pending)];
        // The first was sent last.
        let batch = batch(&messages, |index| 2_000_000_000_000 - index as i64);
        let answer = home(&stub, false).handle(batch, soon()).await;
        assert!(answer.batch_item_failures.is_empty());
        let asked = stub.requests();
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0]["FindingIdentifiers"].as_array().unwrap().len(), 1);
        assert_eq!(asked[0]["Workflow"]["Status"], "RESOLVED");
    }

    #[tokio::test]
    async fn of_one_record_the_highest_revision_counts_whatever_the_time() {
        let stub = Stub::answering([(200, processed(&["f1"]))]);
        let mut fixed = about("f1", Outcome::Fixed);
        fixed["revision"] = json!(7);
        let messages = [fixed, about("f1", Outcome::Pending)];
        assert_eq!(handled(&stub, false, &messages).await, [""; 0]);
        assert_eq!(stub.requests()[0]["Workflow"]["Status"], "RESOLVED");
    }

    #[tokio::test]
    async fn a_bulletin_is_about_no_finding() {
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

    #[test]
    fn a_batch_is_read_as_lambda_delivers_it() {
        let batch: Batch = serde_json::from_value(json!({"Records": [{
            "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
            "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
            "body": "Test message.",
            "attributes": {
                "ApproximateReceiveCount": "1",
                "SentTimestamp": "1545082649183",
                "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                "ApproximateFirstReceiveTimestamp": "1545082649185",
            },
            "messageAttributes": {},
            "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:my-queue",
            "awsRegion": "us-east-2",
        }]}))
        .unwrap();
        let [delivery] = batch.deliveries.as_slice() else { panic!() };
        assert_eq!(delivery.body, "Test message.");
        assert_eq!(delivery.sent().unwrap().as_millisecond(), 1_545_082_649_183);
        let answer = Answer {
            batch_item_failures: vec![Failed { item_identifier: delivery.message_id.clone() }],
        };
        assert_eq!(
            serde_json::to_value(answer).unwrap(),
            json!({"batchItemFailures": [{"itemIdentifier": "059f36b4-87a3-44ab-83d2-661975830a7d"}]})
        );
    }

    async fn handled(stub: &Stub, imports: bool, messages: &[Value]) -> Vec<String> {
        let batch = batch(messages, |index| 1_800_000_000_000 + index as i64);
        let answer = home(stub, imports).handle(batch, soon()).await;
        answer.batch_item_failures.into_iter().map(|failed| failed.item_identifier).collect()
    }

    fn home(stub: &Stub, imports: bool) -> Home {
        Home {
            hub: Hub::of(stub.client()),
            account: "123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
            imports,
        }
    }

    fn batch(messages: &[Value], sent: impl Fn(usize) -> i64) -> Batch {
        let records = messages.iter().enumerate().map(|(index, message)| {
            json!({
                "messageId": format!("m{index}"),
                "body": message.to_string(),
                "attributes": {"SentTimestamp": sent(index).to_string()},
            })
        });
        let records: Vec<Value> = records.collect();
        serde_json::from_value(json!({"Records": records})).unwrap()
    }

    fn about(finding: &str, outcome: Outcome) -> Value {
        let mut body = body(outcome);
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
