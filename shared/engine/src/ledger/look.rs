//! What an evaluation must know before it decides, in one batch read.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::{
    Exemption, Halt, Item, Ledger, LedgerError, Order, PublishedPolicy, Record, Verb,
    approval::{self, order_key},
    baseline::{self, Baseline, Baselined, baseline_key},
    exemption::{self, exemption_key},
    halt::{self, halt_key},
    policy::{policy_from_item, policy_key},
    record::{from_item, record_key},
    string,
};
use crate::{
    CallError, CallErrorKind, During as _,
    protocol::{Holder, Lock},
};

/// Which items are read.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The record of this happening.
    pub record: &'a str,
    /// The record that is to be undone.
    pub original: Option<&'a str>,
    pub control: &'a str,
    pub lock: LockKey<'a>,
    /// CloudTrail's id of the request that the event tells of.
    pub request_id: Option<&'a str>,
    /// The resource as people know it, where its control keeps a baseline.
    pub resource: Option<&'a str>,
}

/// A resource, whatever the control.
#[derive(Clone, Copy, Debug)]
pub struct LockKey<'a> {
    pub account: &'a str,
    pub region: &'a str,
    pub arn: &'a str,
}

/// What was read. What could not be read is an error of its own where the evaluation can go on without it.
#[derive(Debug)]
pub struct View {
    /// Whether a call of Quell's own was the happening.
    pub own: bool,
    pub lock: StoredLock,
    pub record: Option<Record>,
    pub original: Option<Record>,
    pub exemption: Option<Result<Exemption, LedgerError>>,
    /// Of the record, or of the one that is to be undone.
    pub orders: Vec<Order>,
    /// One that cannot be read stops everything all the same.
    pub halt: Option<Result<Halt, LedgerError>>,
    pub policy: Option<PolicyItem>,
    /// One that cannot be read is none: less is restored then, and the record says of what the plan was made.
    pub baseline: Option<Baseline>,
}

/// The lock of a resource, with what was done to the resource lately.
#[derive(Clone, Debug, Default)]
pub struct StoredLock {
    pub lock: Lock,
    /// Oldest first.
    pub fixes: Vec<Fix>,
}

/// A fix of the resource.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Fix {
    pub control: String,
    pub at: Timestamp,
    /// Who had broken it, and with what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
}

/// The policy as it lies in the ledger. Reading it all is left to whoever does not know this version yet.
#[derive(Clone, Debug)]
pub struct PolicyItem(Item);

impl PolicyItem {
    pub(super) fn new(item: Item) -> Self {
        Self(item)
    }

    /// The version that it says it is, which is enough to know it again.
    pub fn version(&self) -> Option<u64> {
        integer(&self.0, "version").and_then(|version| u64::try_from(version).ok())
    }

    pub fn read(&self) -> Result<PublishedPolicy, LedgerError> {
        policy_from_item(&self.0)
    }
}

/// How often a batch read is tried for keys that were left out.
const TRIES: u32 = 5;

impl Ledger {
    /// Reads everything that is wanted, at once and consistently.
    ///
    /// # Errors
    /// [`LedgerError`] if anything that decides was not read: a key left out is not known to be absent.
    pub async fn look(&self, wanted: &Wanted<'_>) -> Result<View, LedgerError> {
        let LockKey { account, region, arn } = wanted.lock;
        let ordered = wanted.original.unwrap_or(wanted.record);
        let mut keys = vec![
            record_key(wanted.record),
            lock_key(&wanted.lock),
            halt_key(),
            policy_key(),
            exemption_key(wanted.control, account, arn),
        ];
        match wanted.original {
            Some(original) => keys.extend([record_key(original), order_key(ordered, Verb::Undo)]),
            None => keys.extend([Verb::Approve, Verb::Resume].map(|verb| order_key(ordered, verb))),
        }
        keys.extend(wanted.request_id.map(|id| own_key(account, id)));
        keys.extend(wanted.resource.map(|resource| {
            baseline_key(&Baselined { control: wanted.control, account, region, resource })
        }));
        let mut view = View {
            own: false,
            lock: StoredLock::default(),
            record: None,
            original: None,
            exemption: None,
            orders: Vec::new(),
            halt: None,
            policy: None,
            baseline: None,
        };
        for item in self.batch(keys).await? {
            let pk = string(&item, "pk").unwrap_or_default();
            match pk.split('#').next().unwrap_or_default() {
                "REC" if pk.strip_prefix("REC#") == wanted.original => {
                    view.original = Some(from_item(&item)?);
                }
                "REC" => view.record = Some(from_item(&item)?),
                "LCK" => view.lock = lock_from_item(&item)?,
                "OWN" => view.own = true,
                "EXM" => view.exemption = Some(exemption::from_item(&item)),
                "APR" => view.orders.extend(approval::from_item(&item).ok()),
                "HLT" => view.halt = Some(halt::from_item(&item)),
                "BSL" => view.baseline = baseline::from_item(&item).ok(),
                "POL" => view.policy = Some(PolicyItem(item)),
                _ => {}
            }
        }
        Ok(view)
    }

    pub(super) async fn batch(&self, mut keys: Vec<Item>) -> Result<Vec<Item>, LedgerError> {
        let mut items = Vec::new();
        let mut pause = Duration::from_millis(20);
        for _ in 0..TRIES {
            let wanted = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true);
            let wanted = wanted.build().map_err(|error| LedgerError::Unreadable {
                id: "batch".to_owned(),
                reason: error.to_string(),
            })?;
            let found = self
                .client
                .batch_get_item()
                .request_items(&self.table, wanted)
                .send()
                .await
                .during("dynamodb:BatchGetItem")?;
            items.extend(found.responses.unwrap_or_default().into_values().flatten());
            let left = found.unprocessed_keys.unwrap_or_default().into_values();
            keys = left.flat_map(|keys| keys.keys).collect();
            if keys.is_empty() {
                return Ok(items);
            }
            sleep(pause.mul_f64(fastrand::f64() + 0.5)).await;
            pause *= 2;
        }
        let kind = CallErrorKind::Unavailable;
        Err(CallError::new("dynamodb:BatchGetItem", kind, "not all keys were read").into())
    }
}

pub(super) fn own_key(account: &str, request_id: &str) -> Item {
    super::document::key(&format!("OWN#{account}#{request_id}"), "CALL")
}

pub(super) fn lock_key(lock: &LockKey<'_>) -> Item {
    let LockKey { account, region, arn } = lock;
    super::document::key(&format!("LCK#{account}#{region}#{arn}"), "LOCK")
}

pub(super) fn lock_from_item(
    item: &HashMap<String, AttributeValue>,
) -> Result<StoredLock, LedgerError> {
    let unreadable = |reason: &str| LedgerError::Unreadable {
        id: string(item, "pk").unwrap_or("a lock").to_owned(),
        reason: reason.to_owned(),
    };
    let counted = |name| {
        integer(item, name)
            .and_then(|count| u64::try_from(count).ok())
            .ok_or_else(|| unreadable("the lock has no number"))
    };
    let holder = match (string(item, "evaluation"), integer(item, "until")) {
        (None, _) => None,
        (Some(evaluation), Some(until)) => Some(Holder {
            evaluation: evaluation.to_owned(),
            delivery: string(item, "delivery").unwrap_or_default().to_owned(),
            control: string(item, "control").unwrap_or_default().to_owned(),
            record: string(item, "record").unwrap_or_default().to_owned(),
            until,
        }),
        (Some(_), None) => return Err(unreadable("the lock's holder has no lease")),
    };
    // What was fixed lately only slows Quell down: without it, nothing is lost.
    let fixes = string(item, "fixes").and_then(|fixes| serde_json::from_str(fixes).ok());
    Ok(StoredLock {
        lock: Lock { generation: counted("generation")?, holder, marks: counted("marks")? },
        fixes: fixes.unwrap_or_default(),
    })
}

pub(super) fn integer(item: &Item, name: &str) -> Option<i64> {
    match item.get(name) {
        Some(AttributeValue::N(number)) => number.parse().ok(),
        _ => None,
    }
}
