//! Records by what became of them.

use jiff::Timestamp;

use super::{Ledger, LedgerError, Record, Status, record::from_item, text};
use crate::During as _;

impl Ledger {
    /// Records of a control in one status, of those created at `since` or later, newest first, that `is_wanted`. What
    /// was written a moment ago may be missing.
    pub async fn find(
        &self,
        control: &str,
        status: Status,
        since: Timestamp,
        limit: usize,
        is_wanted: impl Fn(&Record) -> bool,
    ) -> Result<Vec<Record>, LedgerError> {
        let mut records = Vec::new();
        let mut from = None;
        loop {
            let page = self
                .client
                .query()
                .table_name(&self.table)
                .index_name("by-control")
                .key_condition_expression("control = :control AND created >= :since")
                .filter_expression("#status = :status")
                .expression_attribute_names("#status", "status")
                .expression_attribute_values(":control", text(control))
                .expression_attribute_values(":since", text(&format!("{since:.6}")))
                .expression_attribute_values(":status", text(status.name()))
                .scan_index_forward(false)
                .set_exclusive_start_key(from)
                .send()
                .await
                .during("dynamodb:Query")?;
            for item in page.items() {
                match from_item(item) {
                    Ok(record) if is_wanted(&record) => records.push(record),
                    Ok(_) | Err(LedgerError::Newer { .. }) => {}
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
