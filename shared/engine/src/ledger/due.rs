//! Records that are due, through the sparse index `by-due`.

use jiff::Timestamp;

use super::{Ledger, LedgerError, Record, from_item, string, text};
use crate::During as _;

impl Ledger {
    /// Records that are unfinished and past the time at which they should have gone on, the longest due first.
    pub async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Record>, LedgerError> {
        let page = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by-due")
            .key_condition_expression("#open = :open AND due <= :now")
            .expression_attribute_names("#open", "open")
            .expression_attribute_values(":open", text("1"))
            .expression_attribute_values(":now", text(&format!("{now:.6}")))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .send()
            .await
            .during("dynamodb:Query")?;
        let mut records = Vec::new();
        for item in page.items() {
            let id = string(item, "pk").and_then(|pk| pk.strip_prefix("REC#")).unwrap_or("?");
            match from_item(id, item) {
                Ok(record) => records.push(record),
                Err(LedgerError::Newer { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(records)
    }
}
