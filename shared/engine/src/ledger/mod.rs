//! The ledger: what Quell is about to do, is doing and has done, with the way back.
//!
//! One DynamoDB table (`pk`, `sk`), one family of items for each prefix of `pk`:
//!
//! | `pk` | `sk` | what |
//! |---|---|---|
//! | `REC#<record>` | `RECORD` | a record: `intent` is written once before the first change, `result` grows after |
//! | `OWN#<account>#<request id>` | `CALL` | a write call of Quell's own, so that its event is recognised; expires |
//! | `EXM#<control>#<account>#<arn>` | `EXEMPTION` | one resource that may violate one control for a time |
//! | `APR#<record>` | `APPROVE`, `DENY`, `UNDO`, `RESUME` | what a person ordered about a record |
//! | `HLT#halt` | `HALT` | there while everything is stopped; who stopped and continued it when stays beside it |
//! | `POL#policy` | `CURRENT`, `V#<number>` | the policy, and every version of it |
//!
//! Records are found by control and time through the index `by-control` (`control`, `created`).

mod approval;
mod document;
mod due;
mod exemption;
mod halt;
mod outcome;
mod policy;
mod settle;
mod together;

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::put_item::PutItemError,
    types::{
        AttributeValue, KeysAndAttributes, Put, ReturnValuesOnConditionCheckFailure,
        TransactWriteItem, Update,
    },
};
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

pub use approval::{Order, Ordered, Verb};
pub use exemption::{Exemption, ExemptionError, NotExempt, Subject};
pub use halt::Halt;
pub use policy::{PublishError, PublishedPolicy};

use crate::{
    Actor, CallError, CallErrorKind, Clients, Description, During, Outcome, Severity, aws::Call,
    policy::Mode,
};

/// The version of the records that this code writes. Newer ones are left alone.
pub const SCHEMA: u32 = 1;

#[derive(Clone, Debug)]
pub struct Ledger {
    client: Client,
    table: String,
}

/// The life of one remediation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    pub id: String,
    pub status: Status,
    pub intent: Intent,
    pub result: Progressed,
    #[serde(skip)]
    version: u64,
}

/// What is known before the first change. Written once, never overwritten.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Intent {
    pub control: String,
    pub account: String,
    pub region: String,
    /// The target as its control serialises it.
    pub target: Value,
    /// The target as people know it.
    pub resource: String,
    pub arn: String,
    pub console: String,
    pub severity: Severity,
    pub mode: Mode,
    /// Why the mode is less than what was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<String>,
    pub created: Timestamp,
    pub event_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// The state before, as the control serialises it: the way back.
    pub before: Value,
    /// The changes, as the control serialises them.
    pub plan: Vec<Value>,
    /// The changes, as people see them.
    pub changes: Vec<Description>,
    #[serde(default)]
    pub notes: Vec<String>,
    /// The record that this one undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
}

/// What became of it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Progressed {
    /// The state after, as verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// Ids of what the changes made, by index into the plan.
    #[serde(default)]
    pub made: Vec<Option<String>>,
    /// Which changes are known to be made, by index into the plan.
    #[serde(default)]
    pub done: Vec<usize>,
    /// The calls to AWS on the resource's own services.
    #[serde(default)]
    pub calls: Vec<Call>,
    /// Until when the delivery that works on the record may still be alive. None: nobody works on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Timestamp>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The status that people were last told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Status>,
    /// The record that undid this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone_by: Option<String>,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Reported; nothing was changed.
    Observed,
    /// Somebody permitted it; nothing was changed.
    Exempt,
    /// Planned, and waiting for a person.
    Pending,
    /// Planned, and put aside until a person resumes it.
    Parked,
    /// Quell cannot or must not act, and says why.
    Refused,
    /// A person said no.
    Denied,
    /// Changes are being made.
    Applying,
    /// Made, not verified yet.
    Applied,
    /// Made and verified.
    Fixed,
    /// Some changes were made, others not.
    Partial,
    /// Nothing is known to be changed, and the resource is still in its bad state.
    Failed,
    /// The resource changed before the first write: evaluated anew under another record.
    Superseded,
    /// It is being undone under another record.
    Undoing,
    /// Undone, or (of a record that undoes) done.
    Undone,
}

impl Status {
    pub const ALL: [Self; 14] = [
        Self::Observed,
        Self::Exempt,
        Self::Pending,
        Self::Parked,
        Self::Refused,
        Self::Denied,
        Self::Applying,
        Self::Applied,
        Self::Fixed,
        Self::Partial,
        Self::Failed,
        Self::Superseded,
        Self::Undoing,
        Self::Undone,
    ];

    /// What people call it.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Observed => Outcome::Observed,
            Self::Exempt => Outcome::Exempt,
            Self::Pending => Outcome::Pending,
            Self::Parked => Outcome::Parked,
            Self::Refused => Outcome::Refused,
            Self::Denied => Outcome::Denied,
            Self::Applying | Self::Applied | Self::Partial | Self::Undoing => Outcome::Partial,
            Self::Fixed => Outcome::Fixed,
            Self::Failed => Outcome::Failed,
            Self::Superseded => Outcome::Superseded,
            Self::Undone => Outcome::Undone,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Exempt => "exempt",
            Self::Pending => "pending",
            Self::Parked => "parked",
            Self::Refused => "refused",
            Self::Denied => "denied",
            Self::Applying => "applying",
            Self::Applied => "applied",
            Self::Fixed => "fixed",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
            Self::Undoing => "undoing",
            Self::Undone => "undone",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// What the ledger knows of a happening.
#[derive(Debug)]
pub struct Known {
    pub is_own: bool,
    pub record: Option<Record>,
}

/// How a record came to be.
#[derive(Debug)]
pub enum Begun {
    New(Record),
    /// The same happening was seen before.
    Existing(Record),
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LedgerError {
    #[error("ledger: {0}")]
    Call(#[from] CallError),
    #[error(
        "ledger: record {id} was written by a newer version of Quell (schema {schema}); upgrade first"
    )]
    Newer { id: String, schema: String },
    #[error("ledger: record {id} cannot be read: {reason}")]
    Unreadable { id: String, reason: String },
    #[error("ledger: record {id} was changed by someone else meanwhile; look at it again")]
    Overtaken { id: String },
}

impl LedgerError {
    pub fn is_worth_retrying(&self) -> bool {
        match self {
            Self::Call(error) => error.is_worth_retrying(),
            Self::Overtaken { .. } => true,
            Self::Newer { .. } | Self::Unreadable { .. } => false,
        }
    }
}

/// The id of a record: the same for every delivery of the same happening to the same resource under the same control.
pub fn record_id(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().take(10).map(|byte| format!("{byte:02x}")).collect()
}

/// What a person approves: the same for the same changes to the same state, whatever the order of their fields.
pub fn plan_hash(plan: &[Value], before: &Value) -> String {
    let mut canonical = String::new();
    for value in plan {
        write_canonical(value, &mut canonical);
        canonical.push('\n');
    }
    let mut state = String::new();
    write_canonical(before, &mut state);
    record_id(&["plan", &canonical, &state])
}

/// JSON without space, the fields of every object in the order of their names.
fn write_canonical(value: &Value, to: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort_unstable();
            to.push('{');
            for (index, name) in names.into_iter().enumerate() {
                if index > 0 {
                    to.push(',');
                }
                to.push_str(&Value::from(name.as_str()).to_string());
                to.push(':');
                write_canonical(&fields[name], to);
            }
            to.push('}');
        }
        Value::Array(items) => {
            to.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    to.push(',');
                }
                write_canonical(item, to);
            }
            to.push(']');
        }
        plain => to.push_str(&plain.to_string()),
    }
}

impl Ledger {
    pub fn new(aws: &Clients, table: impl Into<String>) -> Self {
        Self { client: Client::new(aws.sdk()), table: table.into() }
    }

    /// What is known of a happening: whether Quell's own call was it, and the record of an earlier delivery.
    pub async fn look(
        &self,
        account: &str,
        request_id: Option<&str>,
        record: &str,
    ) -> Result<Known, LedgerError> {
        let keys = request_id
            .map(|id| own_key(account, id))
            .into_iter()
            .chain([record_key(record)])
            .collect();
        let wanted = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true);
        let wanted = wanted.build().map_err(|error| LedgerError::Unreadable {
            id: record.to_owned(),
            reason: error.to_string(),
        })?;
        let found = self
            .client
            .batch_get_item()
            .request_items(&self.table, wanted)
            .send()
            .await
            .during("dynamodb:BatchGetItem")?;
        // A key that was not processed is not known to be absent.
        if found.unprocessed_keys().is_some_and(|keys| !keys.is_empty()) {
            let kind = CallErrorKind::Unavailable;
            return Err(
                CallError::new("dynamodb:BatchGetItem", kind, "not all keys were read").into()
            );
        }
        let mut known = Known { is_own: false, record: None };
        for item in found.responses().into_iter().flat_map(HashMap::values).flatten() {
            if string(item, "pk").is_some_and(|pk| pk.starts_with("OWN#")) {
                known.is_own = true;
            } else {
                known.record = Some(from_item(record, item)?);
            }
        }
        Ok(known)
    }

    /// Writes the intent, unless there is one of this id already. Until `lease` the record is this delivery's alone.
    pub async fn begin(
        &self,
        id: &str,
        status: Status,
        intent: Intent,
        lease: Option<Timestamp>,
    ) -> Result<Begun, LedgerError> {
        let record = Record {
            id: id.to_owned(),
            status,
            result: Progressed {
                made: vec![None; intent.plan.len()],
                lease,
                ..Progressed::default()
            },
            intent,
            version: 1,
        };
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(&record)?))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match put {
            Ok(_) => Ok(Begun::New(record)),
            Err(SdkError::ServiceError(refused))
                if matches!(refused.err(), PutItemError::ConditionalCheckFailedException(_)) =>
            {
                let old = match refused.into_err() {
                    PutItemError::ConditionalCheckFailedException(failed) => failed.item,
                    _ => None,
                };
                let old = match old {
                    Some(item) => from_item(id, &item)?,
                    None => self
                        .read(id)
                        .await?
                        .ok_or_else(|| LedgerError::Overtaken { id: id.to_owned() })?,
                };
                // The answer to our own first attempt may have been lost: then what is there is what we wrote.
                if old == record { Ok(Begun::New(old)) } else { Ok(Begun::Existing(old)) }
            }
            Err(error) => Err(CallError::from_sdk("dynamodb:PutItem", error).into()),
        }
    }

    /// Writes where the record stands, with the ids of Quell's own calls, unless someone else wrote meanwhile.
    pub async fn update(&self, record: &mut Record, own: &[Call]) -> Result<(), LedgerError> {
        let next = record.version + 1;
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(record_key(&record.id)))
            .update_expression("SET #status = :status, #result = :result, version = :next")
            .condition_expression("version = :seen")
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#result", "result")
            .expression_attribute_values(":status", text(record.status.name()))
            .expression_attribute_values(":result", text(&to_json(&record.id, &record.result)?))
            .expression_attribute_values(":next", number(next))
            .expression_attribute_values(":seen", number(record.version));
        let update = update.build().map_err(|error| LedgerError::Unreadable {
            id: record.id.clone(),
            reason: error.to_string(),
        })?;
        let ids: Vec<&str> = own.iter().filter_map(|call| call.request_id.as_deref()).collect();
        if ids.is_empty() {
            let sent = self
                .client
                .update_item()
                .table_name(&self.table)
                .set_key(Some(record_key(&record.id)))
                .update_expression(update.update_expression)
                .set_condition_expression(update.condition_expression)
                .set_expression_attribute_names(update.expression_attribute_names)
                .set_expression_attribute_values(update.expression_attribute_values)
                .send()
                .await
                .during("dynamodb:UpdateItem");
            return self.settled(sent.map(drop), record, next).await;
        }
        let expires = (Timestamp::now() + (30 * 24).hours()).as_second();
        let mut writes = vec![TransactWriteItem::builder().update(update).build()];
        for id in ids {
            let mut item = own_key(&record.intent.account, id);
            item.insert("record".to_owned(), text(&record.id));
            item.insert("expires".to_owned(), AttributeValue::N(expires.to_string()));
            let put = Put::builder().table_name(&self.table).set_item(Some(item)).build();
            let put = put.map_err(|error| LedgerError::Unreadable {
                id: record.id.clone(),
                reason: error.to_string(),
            })?;
            writes.push(TransactWriteItem::builder().put(put).build());
        }
        let sent = self
            .client
            .transact_write_items()
            .set_transact_items(Some(writes))
            .send()
            .await
            .during("dynamodb:UpdateItem");
        self.settled(sent.map(drop), record, next).await
    }

    /// A refused condition is ours if the record is as we wrote it: the answer to the first attempt was lost.
    async fn settled(
        &self,
        sent: Result<(), CallError>,
        record: &mut Record,
        next: u64,
    ) -> Result<(), LedgerError> {
        match sent {
            Ok(()) => {}
            Err(error)
                if error.is("ConditionalCheckFailedException")
                    || error.is("TransactionCanceledException") =>
            {
                let there = self.read(&record.id).await?;
                let ours = there.is_some_and(|there| {
                    there.version == next
                        && there.status == record.status
                        && there.result == record.result
                });
                if !ours {
                    return Err(LedgerError::Overtaken { id: record.id.clone() });
                }
            }
            Err(error) => return Err(error.into()),
        }
        record.version = next;
        Ok(())
    }

    /// One record.
    pub async fn read(&self, id: &str) -> Result<Option<Record>, LedgerError> {
        let found = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(record_key(id)))
            .consistent_read(true)
            .send()
            .await
            .during("dynamodb:GetItem")?;
        found.item.map(|item| from_item(id, &item)).transpose()
    }

    /// The newest records of a control, newest first. Records that this version cannot read are left out.
    pub async fn newest(&self, control: &str, limit: usize) -> Result<Vec<Record>, LedgerError> {
        let mut records = Vec::new();
        let mut from = None;
        loop {
            let page = self
                .client
                .query()
                .table_name(&self.table)
                .index_name("by-control")
                .key_condition_expression("control = :control")
                .expression_attribute_values(":control", text(control))
                .scan_index_forward(false)
                .limit(i32::try_from(limit).unwrap_or(i32::MAX))
                .set_exclusive_start_key(from)
                .send()
                .await
                .during("dynamodb:Query")?;
            for item in page.items() {
                let id = string(item, "pk").and_then(|pk| pk.strip_prefix("REC#")).unwrap_or("?");
                match from_item(id, item) {
                    Ok(record) => records.push(record),
                    Err(LedgerError::Newer { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            from = page.last_evaluated_key;
            if from.is_none() || records.len() >= limit {
                records.truncate(limit);
                return Ok(records);
            }
        }
    }
}

type Item = HashMap<String, AttributeValue>;

fn record_key(id: &str) -> Item {
    HashMap::from([
        ("pk".to_owned(), text(&format!("REC#{id}"))),
        ("sk".to_owned(), text("RECORD")),
    ])
}

fn own_key(account: &str, request_id: &str) -> Item {
    HashMap::from([
        ("pk".to_owned(), text(&format!("OWN#{account}#{request_id}"))),
        ("sk".to_owned(), text("CALL")),
    ])
}

fn to_item(record: &Record) -> Result<Item, LedgerError> {
    let mut item = record_key(&record.id);
    item.extend([
        ("schema".to_owned(), number(SCHEMA.into())),
        ("version".to_owned(), number(record.version)),
        ("control".to_owned(), text(&record.intent.control)),
        ("created".to_owned(), text(&format!("{:.6}", record.intent.created))),
        ("status".to_owned(), text(record.status.name())),
        ("intent".to_owned(), text(&to_json(&record.id, &record.intent)?)),
        ("result".to_owned(), text(&to_json(&record.id, &record.result)?)),
    ]);
    Ok(item)
}

fn from_item(id: &str, item: &Item) -> Result<Record, LedgerError> {
    let unreadable = |reason: String| LedgerError::Unreadable { id: id.to_owned(), reason };
    let schema = match item.get("schema") {
        Some(AttributeValue::N(schema)) => schema.clone(),
        _ => return Err(unreadable("it has no schema version".to_owned())),
    };
    if schema.parse::<u32>().map_or(true, |schema| schema > SCHEMA) {
        return Err(LedgerError::Newer { id: id.to_owned(), schema });
    }
    let field =
        |name: &str| string(item, name).ok_or_else(|| unreadable(format!("it has no `{name}`")));
    let status = field("status")?;
    Ok(Record {
        id: id.to_owned(),
        status: Status::named(status)
            .ok_or_else(|| unreadable(format!("status `{status}` is unknown")))?,
        intent: serde_json::from_str(field("intent")?)
            .map_err(|error| unreadable(error.to_string()))?,
        result: serde_json::from_str(field("result")?)
            .map_err(|error| unreadable(error.to_string()))?,
        version: match item.get("version") {
            Some(AttributeValue::N(version)) => version.parse().ok(),
            _ => None,
        }
        .ok_or_else(|| unreadable("it has no version".to_owned()))?,
    })
}

fn to_json<T: Serialize>(id: &str, value: &T) -> Result<String, LedgerError> {
    serde_json::to_string(value)
        .map_err(|error| LedgerError::Unreadable { id: id.to_owned(), reason: error.to_string() })
}

fn string<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name).and_then(|value| value.as_s().ok()).map(String::as_str)
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

impl From<LedgerError> for CallError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Call(error) => error,
            other => {
                let kind = if other.is_worth_retrying() {
                    CallErrorKind::NotReady
                } else {
                    CallErrorKind::Refused
                };
                Self::new("dynamodb:GetItem", kind, other.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_hash_of_a_plan_does_not_depend_on_the_order_of_fields() {
        let one: Value =
            serde_json::from_str(r#"{"b": [1, {"d": "x", "c": null}], "a": "é"}"#).unwrap();
        let other: Value =
            serde_json::from_str(r#"{"a": "é", "b": [1, {"c": null, "d": "x"}]}"#).unwrap();
        assert_eq!(plan_hash(&[one.clone()], &other), plan_hash(&[other], &one));
    }

    #[test]
    fn the_hash_of_a_plan_is_another_for_any_other_plan_or_state() {
        let (grant, state) = (json!({"revoke": "READ"}), json!({"acl": ["READ"]}));
        let hash = plan_hash(&[grant.clone()], &state);
        assert_eq!(hash.len(), 20);
        let others = [
            plan_hash(&[], &state),
            plan_hash(&[grant.clone(), grant.clone()], &state),
            plan_hash(&[json!({"revoke": "WRITE"})], &state),
            plan_hash(&[grant.clone()], &json!({"acl": ["READ", "WRITE"]})),
            plan_hash(&[state], &grant),
        ];
        assert!(others.iter().all(|other| *other != hash), "{others:?}");
    }
}
