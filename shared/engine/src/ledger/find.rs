//! Records, by id, by control and by what is due.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use super::{
    Item, Ledger, LedgerError, Record,
    record::{from_item, record_key},
    text,
};
use crate::During as _;

impl Ledger {
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
        found.item.as_ref().map(from_item).transpose()
    }

    /// The newest records of a control since a time, newest first. What was written a moment ago may be missing, and
    /// records that this version cannot read are left out.
    pub async fn newest(
        &self,
        control: &str,
        since: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<Record>, LedgerError> {
        let since = since.map_or_else(String::new, |since| format!("{since:.6}"));
        let values = [(":control", text(control)), (":from", text(&since))];
        let condition = if since.is_empty() {
            "control = :control"
        } else {
            "control = :control AND created >= :from"
        };
        let used = if since.is_empty() { &values[..1] } else { &values[..] };
        self.query("by-control", condition, used, false, limit).await
    }

    /// Records that an evaluation or a person still owes something and that are due, the longest due first.
    pub async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Record>, LedgerError> {
        let values = [(":open", text("1")), (":now", text(&format!("{now:.6}")))];
        self.query("by-due", "#open = :open AND due <= :now", &values, true, limit).await
    }

    async fn query(
        &self,
        index: &str,
        condition: &str,
        values: &[(&str, AttributeValue)],
        forward: bool,
        limit: usize,
    ) -> Result<Vec<Record>, LedgerError> {
        let mut records = Vec::new();
        let mut from: Option<Item> = None;
        loop {
            let mut page = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(index)
                .key_condition_expression(condition)
                .scan_index_forward(forward)
                .limit(i32::try_from(limit).unwrap_or(i32::MAX))
                .set_exclusive_start_key(from);
            if condition.contains("#open") {
                page = page.expression_attribute_names("#open", "open");
            }
            for (name, value) in values {
                page = page.expression_attribute_values(*name, value.clone());
            }
            let page = page.send().await.during("dynamodb:Query")?;
            for item in page.items() {
                match from_item(item) {
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
