//! What people and time decide about a record, without a look at its resource.

use super::{Ledger, LedgerError, Record, Status};

impl Ledger {
    /// Writes where a record stands from now on, and why, unless somebody wrote it meanwhile. `by` is unlike any other
    /// writer's name.
    pub async fn settle(
        &self,
        mut record: Record,
        status: Status,
        reason: Option<String>,
        told: Option<Status>,
        _by: &str,
    ) -> Result<Record, LedgerError> {
        record.status = status;
        record.result.reason = reason;
        record.result.told = told;
        self.update(&mut record, &[]).await?;
        Ok(record)
    }
}
