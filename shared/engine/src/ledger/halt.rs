//! The kill switch.

use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Item, Ledger, LedgerError, document, instant};
use crate::During as _;

/// Who stopped everything, and why. As long as the ledger holds one, nothing is changed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Halt {
    /// The ARN of the principal.
    pub by: String,
    /// The same as the policy knows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    pub at: Timestamp,
    pub reason: String,
}

/// One turn of the switch, kept for those who ask later.
#[derive(Serialize)]
struct Turn<'a> {
    halted: bool,
    #[serde(flatten)]
    halt: &'a Halt,
}

impl Ledger {
    /// Stops everything. Returns the halt that stands: that of the first who halted.
    pub async fn halt(&self, halt: &Halt) -> Result<Halt, LedgerError> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(to_item(halt)?))
            .condition_expression("attribute_not_exists(pk)")
            .build()
            .map_err(unreadable)?;
        let put = TransactWriteItem::builder().put(put).build();
        loop {
            if self.turn(put.clone(), &Turn { halted: true, halt }).await? {
                return Ok(halt.clone());
            }
            if let Some(standing) = self.halted().await? {
                return Ok(standing);
            }
            // Somebody continued between the two: this halt came later.
        }
    }

    /// Ends the halt, and returns it. `None`: nothing was halted. `by` tells who, when and why.
    pub async fn continue_(&self, by: &Halt) -> Result<Option<Halt>, LedgerError> {
        let Some(standing) = self.halted().await? else { return Ok(None) };
        let delete = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(halt_key()))
            .build()
            .map_err(unreadable)?;
        let delete = TransactWriteItem::builder().delete(delete).build();
        self.turn(delete, &Turn { halted: false, halt: by }).await?;
        Ok(Some(standing))
    }

    /// The halt that stands.
    pub async fn halted(&self) -> Result<Option<Halt>, LedgerError> {
        let found = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(halt_key()))
            .consistent_read(true)
            .send()
            .await
            .during("dynamodb:GetItem")?;
        found.item.as_ref().map(from_item).transpose()
    }

    /// Turns the switch and keeps who did: both or neither.
    async fn turn(&self, write: TransactWriteItem, turn: &Turn<'_>) -> Result<bool, LedgerError> {
        let key = document::key("HLT#halt", &format!("T#{}", instant(turn.halt.at)));
        let item = document::to_item(key, turn, None)?;
        let put = Put::builder().table_name(&self.table).set_item(Some(item)).build();
        let put = TransactWriteItem::builder().put(put.map_err(unreadable)?).build();
        self.together("dynamodb:PutItem", vec![write, put]).await
    }
}

pub(super) fn halt_key() -> Item {
    document::key("HLT#halt", "HALT")
}

pub(super) fn from_item(item: &Item) -> Result<Halt, LedgerError> {
    document::from_item(item)
}

fn to_item(halt: &Halt) -> Result<Item, LedgerError> {
    document::to_item(halt_key(), halt, None)
}

fn unreadable(error: aws_sdk_dynamodb::error::BuildError) -> LedgerError {
    LedgerError::Unreadable { id: "HLT#halt".to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halt_is_read_as_it_was_written() {
        let halt = Halt {
            by: "arn:aws:iam::123456789012:user/bob".into(),
            person: Some("bob".into()),
            at: "2026-03-01T02:03:04Z".parse().unwrap(),
            reason: "it fights with the deployment".into(),
        };
        assert_eq!(from_item(&to_item(&halt).unwrap()).unwrap(), halt);
    }
}
