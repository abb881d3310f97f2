//! What can be used once: the buttons of a message.

use aws_sdk_dynamodb::{
    error::SdkError, operation::put_item::PutItemError, types::ReturnValuesOnConditionCheckFailure,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Item, Ledger, LedgerError,
    approval::{document_as, unless_changed},
    document,
};
use crate::{CallError, During as _};

/// One press of a button. All buttons of a message share a nonce; each can be used once.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Use {
    pub nonce: String,
    /// What the button is for.
    pub action: String,
    /// The record that it is about.
    pub record: String,
    /// Who did.
    pub by: String,
    /// The same in every delivery of one use, and in that of no other.
    pub delivery: String,
    pub at: Timestamp,
}

/// What came of a use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Consumed {
    First,
    /// The very same was delivered before.
    Again,
    /// Another use came before.
    Before(Use),
}

/// Longer than anybody would come back to a message.
const KEPT: SignedDuration = SignedDuration::from_hours(400 * 24);

impl Ledger {
    /// Uses a button up: of all that press it, one is the first.
    pub async fn consume(&self, this: &Use) -> Result<Consumed, LedgerError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(this)?))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let old = match put {
            Ok(_) => return Ok(Consumed::First),
            Err(SdkError::ServiceError(refused))
                if matches!(refused.err(), PutItemError::ConditionalCheckFailedException(_)) =>
            {
                refused.into_err()
            }
            Err(error) => return Err(CallError::from_sdk("dynamodb:PutItem", error).into()),
        };
        let old = match old {
            PutItemError::ConditionalCheckFailedException(failed) => failed.item,
            _ => None,
        };
        let old = match old {
            Some(item) => document::from_item(&item)?,
            None => self
                .consumed(&this.nonce, &this.action)
                .await?
                .ok_or_else(|| LedgerError::Overtaken { id: this.record.clone() })?,
        };
        Ok(this.after(old))
    }

    /// Who used a button up.
    pub async fn consumed(&self, nonce: &str, action: &str) -> Result<Option<Use>, LedgerError> {
        let found = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key(nonce, action)))
            .consistent_read(true)
            .send()
            .await
            .during("dynamodb:GetItem")?;
        found.item.as_ref().map(document::from_item).transpose()
    }

    /// Gives back a button of which nothing came.
    pub async fn give_back(&self, this: &Use) -> Result<(), LedgerError> {
        let gone = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(key(&this.nonce, &this.action)))
            .condition_expression("document = :use")
            .set_expression_attribute_values(document_as(":use", to_item(this)?))
            .send()
            .await;
        unless_changed(gone.during("dynamodb:DeleteItem").map(drop))
    }
}

impl Use {
    fn after(&self, old: Self) -> Consumed {
        // The answer to our own first attempt may have been lost.
        if old == *self {
            return Consumed::First;
        }
        if (Self { at: self.at, ..old.clone() }) == *self {
            Consumed::Again
        } else {
            Consumed::Before(old)
        }
    }
}

fn key(nonce: &str, action: &str) -> Item {
    document::key(&format!("NONCE#{nonce}"), &action.to_uppercase())
}

fn to_item(this: &Use) -> Result<Item, LedgerError> {
    let until = this.at.checked_add(KEPT).unwrap_or(Timestamp::MAX);
    document::to_item(key(&this.nonce, &this.action), this, Some(until))
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;

    use super::*;

    #[test]
    fn a_use_is_the_first_a_second_delivery_or_another() {
        let this = pressed();
        assert_eq!(this.after(this.clone()), Consumed::First, "its answer was lost");
        let earlier = Use { at: this.at - 1.second(), ..this.clone() };
        assert_eq!(this.after(earlier), Consumed::Again);
        for other in [
            Use { delivery: "another press".into(), ..this.clone() },
            Use { by: "slack:T0123ABCD/U099ZZ9ZZ".into(), ..this.clone() },
            Use { record: "00000000000000000000".into(), ..this.clone() },
        ] {
            assert_eq!(this.after(other.clone()), Consumed::Before(other));
        }
    }

    #[test]
    fn a_use_is_kept_for_a_year_under_its_nonce() {
        let this = pressed();
        let item = to_item(&this).unwrap();
        assert_eq!(item["pk"].as_s().unwrap(), "NONCE#0123456789abcdef0123456789abcdef");
        assert_eq!(item["sk"].as_s().unwrap(), "APPROVE", "each button of a message is its own");
        let expires: i64 = item["expires"].as_n().unwrap().parse().unwrap();
        assert_eq!(expires - this.at.as_second(), 400 * 24 * 60 * 60);
        assert_eq!(document::from_item::<Use>(&item).unwrap(), this);
    }

    fn pressed() -> Use {
        Use {
            nonce: "0123456789abcdef0123456789abcdef".into(),
            record: "5f0c6a1de2b94c770000".into(),
            action: "approve".into(),
            by: "slack:T0123ABCD/U012AB3CD".into(),
            delivery: "398738663015.47445629121.803a0bc887a1".into(),
            at: "2026-03-01T02:03:04Z".parse().unwrap(),
        }
    }
}
