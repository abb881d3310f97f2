//! The ledger: what Quell is about to do, is doing and has done, with the way back.
//!
//! One DynamoDB table (`pk`, `sk`), one family of items for each prefix of `pk`:
//!
//! | `pk` | `sk` | what |
//! |---|---|---|
//! | `REC#<record>` | `RECORD` | a record: `intent` is written once before the first change, `result` grows after |
//! | `OWN#<account>#<request id>` | `CALL` | a write call of Quell's own, so that its event is recognised; 30 days |
//! | `LCK#<account>#<region>#<arn>` | `LOCK` | who works on a resource, whatever the control, and when it was fixed lately |
//! | `BUD#<class>#<scope>#<window>` | `BUDGET` | how many changes began in a window |
//! | `BSL#<control>#<account>#<region>#<resource>` | `BASELINE` | how a resource was when a sweep saw it compliant; 90 days after it was last seen |
//! | `SWP#<function>` | `SWEEP` | how far the function's sweep is, and what it has counted |
//! | `EXM#<control>#<account>#<arn>` | `EXEMPTION` | one resource that may violate one control for a time |
//! | `APR#<record>` | `APPROVE`, `DENY`, `UNDO`, `RESUME` | what a person ordered about a record |
//! | `NONCE#<nonce>` | `APPROVE`, `DENY`, `UNDO`, `EXEMPT`, `SNOOZE` | who used that button of a message in Slack; 400 days |
//! | `BUL#<subject>#<window>` | `BULLETIN` | what was counted in a window instead of told |
//! | `HLT#halt` | `HALT` | there while everything is stopped; who stopped and continued it when stays beside it |
//! | `SLK#<record>` | `C#<channel>` | which message in a channel of Slack shows the record, and how far it is told; 90 days |
//! | `HUB#<finding>` | `FINDING` | how far Security Hub was told of a finding; 90 days |
//! | `POL#policy` | `CURRENT`, `V#<number>` | the policy, and every version of it |
//!
//! Records are found by control and time through the index `by-control` (`control`, `created`), and records and orders
//! that somebody must still look after through the sparse index `by-due` (`open`, `due`). Whoever fixes things may write only the
//! families `REC#`, `OWN#`, `LCK#`, `BUD#`, `BUL#`, `BSL#` and its own `SWP#`: what people decide is out of reach of its role.

mod approval;
mod baseline;
mod bulletin;
mod commit;
mod document;
mod exemption;
mod find;
mod halt;
mod look;
mod nonce;
mod outlet;
mod policy;
mod record;
mod settle;
mod sweep;
mod together;

use std::collections::HashMap;

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

pub use approval::{Order, Ordered, Verb};
pub use baseline::{Baseline, Baselined};
pub use bulletin::{Counts, Kept};
pub use commit::Batch;
pub use exemption::{Exemption, ExemptionError, NotExempt, Subject};
pub use find::{Due, Mark, Page};
pub use halt::Halt;
pub use look::{Fix, LockKey, PolicyItem, StoredLock, View, Wanted};
pub use nonce::{Consumed, Use};
pub use outlet::{CLAIM, Claim, Edition, Outlet, Shown};
pub use policy::{PublishError, PublishedPolicy};
pub use record::{Intent, Progressed, Record, Stage, Status};
pub use sweep::{ALL, Course, Found, Place, Standing};

use crate::{CallError, CallErrorKind, Clients};

/// The version of the items that this code writes. Newer ones are left alone.
pub const SCHEMA: u32 = 1;

/// What an item may take: DynamoDB ends at 400 KB with the names of attributes, and a record grows by its result.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
pub const LARGEST: usize = 350 * 1024;

#[derive(Clone, Debug)]
pub struct Ledger {
    client: Client,
    table: String,
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
}

type Item = HashMap<String, AttributeValue>;

fn to_json<T: Serialize>(id: &str, value: &T) -> Result<String, LedgerError> {
    serde_json::to_string(value)
        .map_err(|error| LedgerError::Unreadable { id: id.to_owned(), reason: error.to_string() })
}

fn string<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name).and_then(|value| value.as_s().ok()).map(String::as_str)
}

/// A time as text that sorts.
fn instant(time: Timestamp) -> String {
    format!("{time:.6}")
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
        assert_eq!(plan_hash(std::slice::from_ref(&one), &other), plan_hash(&[other], &one));
    }

    #[test]
    fn the_hash_of_a_plan_is_another_for_any_other_plan_or_state() {
        let (grant, state) = (json!({"revoke": "READ"}), json!({"acl": ["READ"]}));
        let hash = plan_hash(std::slice::from_ref(&grant), &state);
        assert_eq!(hash.len(), 20);
        let others = [
            plan_hash(&[], &state),
            plan_hash(&[grant.clone(), grant.clone()], &state),
            plan_hash(&[json!({"revoke": "WRITE"})], &state),
            plan_hash(std::slice::from_ref(&grant), &json!({"acl": ["READ", "WRITE"]})),
            plan_hash(&[state], &grant),
        ];
        assert!(others.iter().all(|other| *other != hash), "{others:?}");
    }
}
