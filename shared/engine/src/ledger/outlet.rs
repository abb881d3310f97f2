//! Where people were told, and how far: what comes later stands in the same place, and what is late is not told.

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::update_item::UpdateItemError,
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use jiff::{SignedDuration, Timestamp};

use super::{
    Item, Ledger, LedgerError, SCHEMA, document, instant, number, record_id, string, text,
};
use crate::{CallError, During as _, Finding};

/// One place that is kept up to date.
#[derive(Clone, Copy, Debug)]
pub enum Outlet<'a> {
    /// A message in a channel of Slack, with its thread.
    Thread {
        /// The record, or what stands for one where there is none.
        record: &'a str,
        /// The channel as it is called by those who post.
        channel: &'a str,
    },
    /// A finding in Security Hub.
    Finding(&'a Finding),
}

/// Which of two messages in one place is the later one: by a time, then by the record's revision. In a thread it is the
/// time at which their record was made (an undo is a record of its own, and later); of a finding, which may have several
/// records that go on side by side, the time since when they stand as they do.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Edition(String);

impl Edition {
    pub fn new(time: Timestamp, revision: u64) -> Self {
        Self(format!("{}#{revision:020}", instant(time)))
    }
}

/// What was posted, as the chat calls it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shown {
    pub channel: String,
    pub message: String,
}

/// Whether an edition may be shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Claim {
    /// By this one, and by nobody else for a while. With what is there already.
    Granted(Option<Shown>),
    /// It, or a later one, was shown.
    Outdated,
    /// Somebody else is about to show one.
    Held,
}

/// Nobody takes longer to show something. A claim that is older is of somebody who is dead.
pub const CLAIM: SignedDuration = SignedDuration::from_secs(90);

/// How long a place is remembered after its last message. What comes later begins another thread.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 90);

const ACTION: &str = "dynamodb:UpdateItem";

impl Ledger {
    /// Asks for the right to show an edition. Asking twice under one name is asking once.
    pub async fn claim_outlet(
        &self,
        outlet: Outlet<'_>,
        edition: &Edition,
        claimant: &str,
        now: Timestamp,
    ) -> Result<Claim, LedgerError> {
        let later = |wait| now.checked_add(wait).unwrap_or(Timestamp::MAX);
        let claimed = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item_key(outlet)))
            .update_expression(
                "SET #schema = :schema, claimant = :claimant, claimed = :until, expires = :expires",
            )
            .condition_expression(
                "(attribute_not_exists(edition) OR edition < :edition) \
                 AND (attribute_not_exists(claimant) OR claimed <= :now)",
            )
            .expression_attribute_names("#schema", "schema")
            .expression_attribute_values(":schema", number(SCHEMA.into()))
            .expression_attribute_values(":claimant", text(claimant))
            .expression_attribute_values(":until", text(&instant(later(CLAIM))))
            .expression_attribute_values(":now", text(&instant(now)))
            .expression_attribute_values(":edition", text(&edition.0))
            .expression_attribute_values(":expires", expires(now))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let refused = match claimed {
            Ok(claimed) => {
                return Ok(Claim::Granted(claimed.attributes.as_ref().and_then(shown)));
            }
            Err(SdkError::ServiceError(refused))
                if matches!(refused.err(), UpdateItemError::ConditionalCheckFailedException(_)) =>
            {
                refused.into_err()
            }
            Err(error) => return Err(CallError::from_sdk(ACTION, error).into()),
        };
        let item = match refused {
            UpdateItemError::ConditionalCheckFailedException(failed) => failed.item,
            _ => None,
        };
        let item = item.unwrap_or_default();
        // The answer to our own first attempt was lost.
        if string(&item, "claimant") == Some(claimant) {
            return Ok(Claim::Granted(shown(&item)));
        }
        let is_outdated = string(&item, "edition").is_some_and(|shown| shown >= edition.0.as_str());
        Ok(if is_outdated { Claim::Outdated } else { Claim::Held })
    }

    /// Notes what was shown, and gives the claim back. `None`: what is there has a name without it.
    pub async fn keep_outlet(
        &self,
        outlet: Outlet<'_>,
        edition: &Edition,
        claimant: &str,
        shown: Option<&Shown>,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let mut set = "SET edition = :edition, expires = :expires".to_owned();
        let mut keep = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item_key(outlet)))
            .condition_expression("claimant = :claimant")
            .expression_attribute_values(":edition", text(&edition.0))
            .expression_attribute_values(":claimant", text(claimant))
            .expression_attribute_values(":expires", expires(now));
        if let Some(shown) = shown {
            set.push_str(", #channel = :channel, #message = :message");
            keep = keep
                .expression_attribute_names("#channel", "channel")
                .expression_attribute_names("#message", "message")
                .expression_attribute_values(":channel", text(&shown.channel))
                .expression_attribute_values(":message", text(&shown.message));
        }
        let keep = keep.update_expression(format!("{set} REMOVE claimant, claimed"));
        given_back(keep.send().await.during(ACTION).map(drop))
    }

    /// Gives a claim back of which nothing came.
    pub async fn leave_outlet(
        &self,
        outlet: Outlet<'_>,
        claimant: &str,
    ) -> Result<(), LedgerError> {
        let left = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item_key(outlet)))
            .update_expression("REMOVE claimant, claimed")
            .condition_expression("claimant = :claimant")
            .expression_attribute_values(":claimant", text(claimant))
            .send()
            .await
            .during(ACTION);
        given_back(left.map(drop))
    }
}

/// A claim that is ours no more was given back already, or ran out.
fn given_back(result: Result<(), CallError>) -> Result<(), LedgerError> {
    match result {
        Err(error) if error.is("ConditionalCheckFailedException") => Ok(()),
        other => Ok(other?),
    }
}

fn item_key(outlet: Outlet<'_>) -> Item {
    match outlet {
        Outlet::Thread { record, channel } => {
            document::key(&format!("SLK#{record}"), &format!("C#{channel}"))
        }
        // The name of a finding may be longer than a key.
        Outlet::Finding(Finding { id, product_arn }) => {
            document::key(&format!("HUB#{}", record_id(&["finding", product_arn, id])), "FINDING")
        }
    }
}

fn expires(now: Timestamp) -> AttributeValue {
    let expires = now.checked_add(KEPT).unwrap_or(Timestamp::MAX);
    AttributeValue::N(expires.as_second().to_string())
}

fn shown(item: &Item) -> Option<Shown> {
    let (channel, message) = (string(item, "channel")?, string(item, "message")?);
    Some(Shown { channel: channel.to_owned(), message: message.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editions_are_ordered_by_their_record_and_then_by_its_revision() {
        let at = |time: &str, revision| Edition::new(time.parse().unwrap(), revision);
        let (fix, undo) = ("2026-03-01T02:03:04Z", "2026-03-01T02:03:04.000001Z");
        let editions = [at(fix, 1), at(fix, 2), at(fix, 10), at(undo, 1), at(undo, 2)];
        assert!(editions.is_sorted());
        assert_eq!(at(fix, 2), at(fix, 2));
    }
}
