//! What people order about a record.

use aws_sdk_dynamodb::{
    error::SdkError, operation::put_item::PutItemError, types::ReturnValuesOnConditionCheckFailure,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Item, Ledger, LedgerError, document, find::OPEN, instant, string, text};
use crate::{CallError, During as _};

/// What a person ordered about a record. It changes nothing by itself: whoever works on the record obeys it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Order {
    pub record: String,
    pub verb: Verb,
    /// The hash of the plan that it is for, as [`plan_hash`](super::plan_hash) gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The ARN of the principal.
    pub by: String,
    /// The same as the policy knows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    pub at: Timestamp,
    /// From then on it counts no more.
    pub expires: Timestamp,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Make the changes that wait for a person.
    Approve,
    /// Never make them.
    Deny,
    /// Take back what was made.
    Undo,
    /// Take up what was parked.
    Resume,
}

/// What came of an order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ordered {
    /// It stands.
    Given,
    /// Somebody gave the same before, and it still stands.
    Standing(Order),
}

impl Verb {
    pub const ALL: [Self; 4] = [Self::Approve, Self::Deny, Self::Undo, Self::Resume];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
            Self::Undo => "undo",
            Self::Resume => "resume",
        }
    }

    fn sort_key(self) -> &'static str {
        match self {
            Self::Approve => "APPROVE",
            Self::Deny => "DENY",
            Self::Undo => "UNDO",
            Self::Resume => "RESUME",
        }
    }
}

impl std::fmt::Display for Verb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Order {
    /// Whether it is an order to do this, about this record and no other plan of it, and not over.
    pub fn stands(&self, verb: Verb, record: &str, plan: Option<&str>, now: Timestamp) -> bool {
        self.verb == verb
            && self.record == record
            && self.plan.as_deref() == plan
            && now < self.expires
    }
}

impl Ledger {
    /// Gives an order. Of two that give the same, the first counts as long as it is not over.
    pub async fn order(&self, order: &Order) -> Result<Ordered, LedgerError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(order)?))
            // Plain `until` is a word of DynamoDB's own.
            .condition_expression("attribute_not_exists(pk) OR #until <= :now")
            .expression_attribute_names("#until", "until")
            .expression_attribute_values(":now", text(&instant(order.at)))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let refused = match put {
            Ok(_) => return Ok(Ordered::Given),
            Err(SdkError::ServiceError(refused))
                if matches!(refused.err(), PutItemError::ConditionalCheckFailedException(_)) =>
            {
                refused.into_err()
            }
            Err(error) => return Err(CallError::from_sdk("dynamodb:PutItem", error).into()),
        };
        let old = match refused {
            PutItemError::ConditionalCheckFailedException(failed) => failed.item,
            _ => None,
        };
        let old = match old {
            Some(item) => from_item(&item)?,
            None => self
                .ordered(&order.record, order.verb)
                .await?
                .ok_or_else(|| LedgerError::Overtaken { id: order.record.clone() })?,
        };
        // The answer to our own first attempt may have been lost: then what stands is what we wrote.
        if old == *order { Ok(Ordered::Given) } else { Ok(Ordered::Standing(old)) }
    }

    /// What was ordered, whether it still counts or not.
    pub async fn ordered(&self, record: &str, verb: Verb) -> Result<Option<Order>, LedgerError> {
        let found = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(order_key(record, verb)))
            .consistent_read(true)
            .send()
            .await
            .during("dynamodb:GetItem")?;
        found.item.as_ref().map(from_item).transpose()
    }

    /// Has recovery see to the order at `due`, or no more. An order that was given anew meanwhile stays as it is.
    pub async fn put_off(&self, order: &Order, due: Option<Timestamp>) -> Result<(), LedgerError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(order_key(&order.record, order.verb)))
            .condition_expression("document = :order")
            .set_expression_attribute_values(document_as(":order", to_item(order)?));
        let update = match due {
            Some(due) => update
                .update_expression("SET due = :due")
                .expression_attribute_values(":due", text(&instant(due))),
            None => update
                .update_expression("REMOVE #open, due")
                .expression_attribute_names("#open", OPEN),
        };
        unless_changed(update.send().await.during("dynamodb:UpdateItem").map(drop))
    }

    /// Takes an order back, unless another was given in its place.
    pub(super) async fn withdraw(&self, order: &Order) -> Result<(), LedgerError> {
        let gone = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(order_key(&order.record, order.verb)))
            .condition_expression("document = :order")
            .set_expression_attribute_values(document_as(":order", to_item(order)?))
            .send()
            .await;
        unless_changed(gone.during("dynamodb:DeleteItem").map(drop))
    }
}

/// How long after it was given recovery looks whether an order was heeded: the word of it may have been lost.
const HEEDED_WITHIN: SignedDuration = SignedDuration::from_mins(5);

/// The document of an item, as a value of a condition.
pub(super) fn document_as(name: &str, mut item: Item) -> Option<Item> {
    item.remove("document").map(|document| Item::from([(name.to_owned(), document)]))
}

/// A write whose condition did not hold was not needed.
pub(super) fn unless_changed(written: Result<(), CallError>) -> Result<(), LedgerError> {
    match written {
        Err(error) if error.is("ConditionalCheckFailedException") => Ok(()),
        written => Ok(written?),
    }
}

pub(super) fn is_order(item: &Item) -> bool {
    string(item, "pk").is_some_and(|pk| pk.starts_with(FAMILY))
}

const FAMILY: &str = "APR#";

pub(super) fn order_key(record: &str, verb: Verb) -> Item {
    document::key(&format!("{FAMILY}{record}"), verb.sort_key())
}

pub(super) fn to_item(order: &Order) -> Result<Item, LedgerError> {
    let key = order_key(&order.record, order.verb);
    let mut item = document::to_item(key, order, Some(order.expires))?;
    let due = order.at.checked_add(HEEDED_WITHIN).unwrap_or(Timestamp::MAX);
    item.extend(Item::from([
        ("until".to_owned(), text(&instant(order.expires))),
        (OPEN.to_owned(), text("1")),
        ("due".to_owned(), text(&instant(due))),
    ]));
    Ok(item)
}

pub(super) fn from_item(item: &Item) -> Result<Order, LedgerError> {
    document::from_item(item)
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;

    use super::*;

    #[test]
    fn an_order_stands_for_its_own_record_and_plan_until_it_is_over() {
        let order = order();
        let (record, plan) = (order.record.as_str(), order.plan.as_deref());
        let soon = order.at + 1.minute();
        assert!(order.stands(Verb::Approve, record, plan, soon));
        assert!(!order.stands(Verb::Undo, record, plan, soon));
        assert!(!order.stands(Verb::Approve, "00000000000000000000", plan, soon));
        assert!(!order.stands(Verb::Approve, record, Some("another"), soon));
        assert!(!order.stands(Verb::Approve, record, None, soon));
        assert!(!order.stands(Verb::Approve, record, plan, order.expires));
    }

    #[test]
    fn each_verb_is_an_item_of_its_own() {
        let keys: Vec<Item> = Verb::ALL.iter().map(|verb| order_key("r", *verb)).collect();
        for (index, key) in keys.iter().enumerate() {
            assert_eq!(key["pk"].as_s().unwrap(), "APR#r");
            assert!(keys[..index].iter().all(|other| other != key));
        }
        assert_eq!(from_item(&to_item(&order()).unwrap()).unwrap(), order());
    }

    fn order() -> Order {
        let at: Timestamp = "2026-03-01T02:03:04Z".parse().unwrap();
        Order {
            record: "5f0c6a1de2b94c770000".into(),
            verb: Verb::Approve,
            plan: Some("abc".into()),
            by: "arn:aws:iam::123456789012:user/bob".into(),
            person: Some("bob".into()),
            at,
            expires: at + 24.hours(),
        }
    }
}
