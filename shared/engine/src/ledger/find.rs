//! Records, by id, by control, by what became of them and by what is due.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use jiff::Timestamp;

use super::{
    Ledger, LedgerError, Record, Status,
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

    /// The newest records of a control, of those created at `since` or later, newest first. What was written a moment
    /// ago may be missing, and records that this version cannot read are left out.
    pub async fn newest(
        &self,
        control: &str,
        since: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<Record>, LedgerError> {
        paged(self.of_control(control, since).set_limit(page_of(limit)), limit, |_| true).await
    }

    /// The same of those in one of these statuses (none given: in any) that `is_wanted`, however many others lie
    /// between them.
    pub async fn find(
        &self,
        control: &str,
        statuses: &[Status],
        since: Option<Timestamp>,
        limit: usize,
        is_wanted: impl Fn(&Record) -> bool,
    ) -> Result<Vec<Record>, LedgerError> {
        let mut query = self.of_control(control, since);
        if !statuses.is_empty() {
            let names: Vec<String> = (0..statuses.len()).map(|at| format!(":status{at}")).collect();
            query = query
                .filter_expression(format!("#status IN ({})", names.join(", ")))
                .expression_attribute_names("#status", "status");
            for (name, status) in names.into_iter().zip(statuses) {
                query = query.expression_attribute_values(name, text(status.name()));
            }
        }
        paged(query, limit, is_wanted).await
    }

    /// Records that an evaluation or a person still owes something and that are due, the longest due first.
    pub async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Record>, LedgerError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by-due")
            .key_condition_expression("#open = :open AND due <= :now")
            .expression_attribute_names("#open", "open")
            .expression_attribute_values(":open", text("1"))
            .expression_attribute_values(":now", text(&format!("{now:.6}")))
            .set_limit(page_of(limit));
        paged(query, limit, |_| true).await
    }

    fn of_control(&self, control: &str, since: Option<Timestamp>) -> QueryFluentBuilder {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by-control")
            .expression_attribute_values(":control", text(control))
            .scan_index_forward(false);
        match since {
            None => query.key_condition_expression("control = :control"),
            Some(since) => query
                .key_condition_expression("control = :control AND created >= :since")
                .expression_attribute_values(":since", text(&format!("{since:.6}"))),
        }
    }
}

/// Page after page, until there are as many as are asked for, or no more.
async fn paged(
    query: QueryFluentBuilder,
    limit: usize,
    is_wanted: impl Fn(&Record) -> bool,
) -> Result<Vec<Record>, LedgerError> {
    let mut records = Vec::new();
    let mut from = None;
    loop {
        let page = query.clone().set_exclusive_start_key(from);
        let page = page.send().await.during("dynamodb:Query")?;
        for item in page.items() {
            match from_item(item) {
                Ok(record) if is_wanted(&record) => records.push(record),
                Ok(_) | Err(LedgerError::Newer { .. }) => {}
                // One that is broken must not keep the others from being found.
                Err(error) => tracing::error!("{error}"),
            }
        }
        from = page.last_evaluated_key;
        if from.is_none() || records.len() >= limit {
            records.truncate(limit);
            return Ok(records);
        }
    }
}

/// No more than is needed is read, where every record is wanted.
fn page_of(limit: usize) -> Option<i32> {
    i32::try_from(limit).ok()
}
