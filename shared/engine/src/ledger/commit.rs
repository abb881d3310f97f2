//! The transactions of the record protocol, as DynamoDB knows them.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::transact_write_items::TransactWriteItemsError,
    types::{
        AttributeValue, CancellationReason, ConditionCheck, Put,
        ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
    },
};
use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;

use super::{
    Fix, Item, Ledger, LedgerError, LockKey, Record,
    document::key,
    halt::halt_key,
    look::{integer, lock_from_item, lock_key, own_key},
    number,
    record::{changing, from_item, record_key, to_item},
    text,
};
use crate::{
    CallError, CallErrorKind,
    protocol::{Found, Reason, Refusal, Write, classify},
};

/// One transaction with what its writes are about.
#[derive(Debug)]
pub struct Batch<'a> {
    pub writes: &'a [Write],
    pub lock: LockKey<'a>,
    /// By id: the records as they shall be, for `Put` and `Update`.
    pub records: &'a HashMap<String, Record>,
    /// What was fixed lately, as it shall be when the lock is given back.
    pub fixes: &'a [Fix],
    /// Request ids of Quell's own calls since the last transaction, and the record that they were made for.
    pub own: &'a [String],
    pub record: &'a str,
    /// Until when it is worth trying.
    pub deadline: Instant,
}

/// How long Quell's own calls are recognised: longer than any event travels, or waits in a dead-letter queue.
const OWN_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How long a lock's generation and a budget's count are kept after their last use.
const LOCK_KEPT: SignedDuration = SignedDuration::from_hours(400 * 24);
const BUDGET_KEPT: SignedDuration = SignedDuration::from_hours(2 * 24);

/// DynamoDB takes 100 writes in one transaction; the others of the protocol are less than ten.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
const MOST_OWN: usize = 85;

impl Ledger {
    /// Makes all writes or none. A conflict with another transaction, and throttling, are tried again until the
    /// deadline: they say nothing about the conditions.
    ///
    /// # Errors
    /// [`LedgerError`] if it is not known whether the writes were made, or they cannot be.
    pub async fn commit(&self, batch: &Batch<'_>) -> Result<Result<(), Refusal>, LedgerError> {
        let (first, others) = batch.own.split_at(batch.own.len().min(MOST_OWN));
        for own in others.chunks(MOST_OWN) {
            let puts = own.iter().map(|id| self.own(batch, id)).collect::<Result<_, _>>()?;
            self.transact(puts).await.map_err(LedgerError::Call)?.map_err(|_| unexpected())?;
        }
        let mut items = Vec::new();
        for write in batch.writes {
            items.push(self.item(batch, write)?);
        }
        for id in first {
            items.push(self.own(batch, id)?);
        }
        let mut pause = Duration::from_millis(15);
        loop {
            let cancelled = match self.transact(items.clone()).await? {
                Ok(()) => return Ok(Ok(())),
                Err(cancelled) => cancelled,
            };
            let reasons = batch.writes.iter().zip(&cancelled);
            let reasons: Vec<Reason> = reasons
                .map(|(write, reason)| reason_of(write, reason))
                .collect::<Result<_, _>>()?;
            match classify(batch.writes, &reasons) {
                Ok(()) => return Ok(Ok(())),
                Err(Some(refusal)) => return Ok(Err(refusal)),
                Err(None) => {}
            }
            let waiting = pause.mul_f64(fastrand::f64() + 0.5);
            if Instant::now() + waiting >= batch.deadline {
                let kind = CallErrorKind::Unavailable;
                let reason =
                    "other transactions were at the same items until there was no time left";
                return Err(CallError::new("dynamodb:UpdateItem", kind, reason).into());
            }
            sleep(waiting).await;
            pause = (pause * 2).min(Duration::from_millis(400));
        }
    }

    /// `Err`: the reasons why it was cancelled, one for each item.
    async fn transact(
        &self,
        items: Vec<TransactWriteItem>,
    ) -> Result<Result<(), Vec<CancellationReason>>, CallError> {
        let sent = self.client.transact_write_items().set_transact_items(Some(items)).send().await;
        match sent {
            Ok(_) => Ok(Ok(())),
            Err(SdkError::ServiceError(failed))
                if matches!(
                    failed.err(),
                    TransactWriteItemsError::TransactionCanceledException(_)
                ) =>
            {
                match failed.into_err() {
                    TransactWriteItemsError::TransactionCanceledException(cancelled) => {
                        Ok(Err(cancelled.cancellation_reasons.unwrap_or_default()))
                    }
                    _ => Err(unexpected()),
                }
            }
            Err(error) => Err(CallError::from_sdk("dynamodb:UpdateItem", error)),
        }
    }

    fn own(&self, batch: &Batch<'_>, request_id: &str) -> Result<TransactWriteItem, LedgerError> {
        let mut item = own_key(batch.lock.account, request_id);
        item.insert("record".to_owned(), text(batch.record));
        item.insert("expires".to_owned(), after(OWN_KEPT));
        let put = Put::builder().table_name(&self.table).set_item(Some(item)).build();
        Ok(TransactWriteItem::builder().put(put.map_err(incomplete)?).build())
    }

    fn item(&self, batch: &Batch<'_>, write: &Write) -> Result<TransactWriteItem, LedgerError> {
        let item = TransactWriteItem::builder();
        let record = |id: &str| {
            batch.records.get(id).ok_or_else(|| LedgerError::Unreadable {
                id: id.to_owned(),
                reason: "it is written without being known".to_owned(),
            })
        };
        Ok(match write {
            Write::Put { id, .. } => {
                let put = Put::builder()
                    .table_name(&self.table)
                    .set_item(Some(to_item(record(id)?)?))
                    .condition_expression("attribute_not_exists(pk)")
                    .return_values_on_condition_check_failure(ALL_OLD);
                item.put(put.build().map_err(incomplete)?)
            }
            Write::Update { id, life } => {
                let mut change = Change::of(record_key(id));
                for (name, value) in changing(record(id)?)? {
                    match value {
                        Some(value) => change.set(name, value),
                        None => change.remove(name),
                    }
                }
                change.only_if("version = :seen", [(":seen", number(life.version - 1))]);
                item.update(change.on(&self.table)?)
            }
            Write::Take { generation, holder } => {
                let mut change = Change::of(lock_key(&batch.lock));
                change.set("generation", number(generation + 1));
                change.set("evaluation", text(&holder.evaluation));
                change.set("delivery", text(&holder.delivery));
                change.set("control", text(&holder.control));
                change.set("record", text(&holder.record));
                change.set("until", AttributeValue::N(holder.until.to_string()));
                change.set("expires", after(LOCK_KEPT));
                change.add("marks", 0);
                if *generation == 0 {
                    change.only_if("attribute_not_exists(pk)", []);
                } else {
                    change.only_if("generation = :seen", [(":seen", number(*generation))]);
                }
                item.update(change.on(&self.table)?)
            }
            Write::Mark { generation } => {
                let mut change = Change::of(lock_key(&batch.lock));
                change.add("marks", 1);
                change.only_if(
                    "generation = :seen AND attribute_exists(evaluation)",
                    [(":seen", number(*generation))],
                );
                item.update(change.on(&self.table)?)
            }
            Write::Release { generation, marks, .. } => {
                let mut change = Change::of(lock_key(&batch.lock));
                for name in ["evaluation", "delivery", "control", "record", "until"] {
                    change.remove(name);
                }
                change.set("fixes", text(&super::to_json("a lock", &batch.fixes)?));
                change.only_if(
                    "generation = :seen AND marks = :marks",
                    [(":seen", number(*generation)), (":marks", number(*marks))],
                );
                item.update(change.on(&self.table)?)
            }
            Write::Count(count) => {
                let mut change = Change::of(budget_key(&count.key));
                change.add("n", 1);
                change.set("expires", after(BUDGET_KEPT));
                change.only_if(
                    "attribute_not_exists(n) OR n < :max",
                    [(":max", number(count.max.into()))],
                );
                item.update(change.on(&self.table)?)
            }
            Write::Refund(key) => {
                let mut change = Change::of(budget_key(key));
                change.add("n", -1);
                item.update(change.on(&self.table)?)
            }
            Write::FirstOver(key) => {
                let mut change = Change::of(budget_key(key));
                change.set("told", text(batch.record));
                change.set("expires", after(BUDGET_KEPT));
                change.only_if("attribute_not_exists(told)", []);
                item.update(change.on(&self.table)?)
            }
            Write::Running => {
                let check = ConditionCheck::builder()
                    .table_name(&self.table)
                    .set_key(Some(halt_key()))
                    .condition_expression("attribute_not_exists(pk)")
                    .return_values_on_condition_check_failure(ALL_OLD);
                item.condition_check(check.build().map_err(incomplete)?)
            }
        }
        .build())
    }
}

const ALL_OLD: ReturnValuesOnConditionCheckFailure = ReturnValuesOnConditionCheckFailure::AllOld;

/// A budget, or anything else that is said once in a window.
pub(super) fn budget_key(name: &str) -> Item {
    key(&format!("BUD#{name}"), "BUDGET")
}

/// What one item had against the transaction.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CancellationReason.html>
fn reason_of(write: &Write, reason: &CancellationReason) -> Result<Reason, LedgerError> {
    let code = reason.code().unwrap_or("None");
    Ok(match code {
        "None" => Reason::Fine,
        "TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded" => {
            Reason::Conflict
        }
        "ConditionalCheckFailed" => {
            let old = reason.item().filter(|item| !item.is_empty());
            Reason::Found(match (write, old) {
                (_, None) => Found::Nothing,
                (Write::Put { .. } | Write::Update { .. }, Some(old)) => {
                    Found::Life(from_item(old)?.life())
                }
                (Write::Take { .. } | Write::Mark { .. } | Write::Release { .. }, Some(old)) => {
                    Found::Lock(lock_from_item(old)?.lock)
                }
                (Write::Count(_) | Write::Refund(_), Some(old)) => {
                    let count = integer(old, "n").unwrap_or_default();
                    Found::Count(u32::try_from(count).unwrap_or_default())
                }
                (Write::Running | Write::FirstOver(_), Some(_)) => Found::Set,
            })
        }
        other => {
            let message = reason.message().unwrap_or_default();
            let reason = format!("{other}: {message}");
            return Err(
                CallError::new("dynamodb:UpdateItem", CallErrorKind::Refused, reason).into()
            );
        }
    })
}

/// The parts of one update expression.
struct Change {
    key: Item,
    set: Vec<String>,
    add: Vec<String>,
    remove: Vec<String>,
    condition: Option<&'static str>,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Change {
    fn of(key: Item) -> Self {
        Self {
            key,
            set: Vec::new(),
            add: Vec::new(),
            remove: Vec::new(),
            condition: None,
            names: HashMap::new(),
            values: HashMap::new(),
        }
    }

    fn set(&mut self, name: &str, value: AttributeValue) {
        self.set.push(format!("#{name} = :{name}"));
        self.names.insert(format!("#{name}"), name.to_owned());
        self.values.insert(format!(":{name}"), value);
    }

    fn add(&mut self, name: &str, by: i32) {
        self.add.push(format!("#{name} :{name}"));
        self.names.insert(format!("#{name}"), name.to_owned());
        self.values.insert(format!(":{name}"), AttributeValue::N(by.to_string()));
    }

    fn remove(&mut self, name: &str) {
        self.remove.push(format!("#{name}"));
        self.names.insert(format!("#{name}"), name.to_owned());
    }

    fn only_if<const N: usize>(
        &mut self,
        condition: &'static str,
        values: [(&str, AttributeValue); N],
    ) {
        self.condition = Some(condition);
        self.values.extend(values.map(|(name, value)| (name.to_owned(), value)));
    }

    fn on(self, table: &str) -> Result<Update, LedgerError> {
        let clauses = [("SET", self.set), ("ADD", self.add), ("REMOVE", self.remove)];
        let expression: Vec<String> = clauses
            .into_iter()
            .filter(|(_, parts)| !parts.is_empty())
            .map(|(verb, parts)| format!("{verb} {}", parts.join(", ")))
            .collect();
        let values = Some(self.values).filter(|values| !values.is_empty());
        Update::builder()
            .table_name(table)
            .set_key(Some(self.key))
            .update_expression(expression.join(" "))
            .set_condition_expression(self.condition.map(str::to_owned))
            .set_expression_attribute_names(Some(self.names))
            .set_expression_attribute_values(values)
            .return_values_on_condition_check_failure(ALL_OLD)
            .build()
            .map_err(incomplete)
    }
}

/// Seconds since 1970, for DynamoDB's time to live.
fn after(kept: SignedDuration) -> AttributeValue {
    let expires = Timestamp::now().checked_add(kept).unwrap_or(Timestamp::MAX);
    AttributeValue::N(expires.as_second().to_string())
}

fn unexpected() -> CallError {
    let reason = "the transaction was cancelled without a condition";
    CallError::new("dynamodb:UpdateItem", CallErrorKind::Unavailable, reason)
}

fn incomplete(error: aws_sdk_dynamodb::error::BuildError) -> LedgerError {
    LedgerError::Unreadable { id: "a transaction".to_owned(), reason: error.to_string() }
}
