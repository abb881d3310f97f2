//! What people and time decide about a record, without a look at its resource.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{Batch, Ledger, LedgerError, LockKey, Record, Status};
use crate::protocol::{Life, Write};

impl Ledger {
    /// Writes where a record stands from now on, and why, unless somebody wrote it meanwhile. Recovery owes it nothing
    /// more, once people were told where they should hear of it. `by` is unlike any other writer's name.
    pub async fn settle(
        &self,
        mut record: Record,
        status: Status,
        reason: Option<String>,
        told: Option<Status>,
        by: &str,
    ) -> Result<Record, LedgerError> {
        let life = Life {
            status,
            version: record.version + 1,
            writer: by.to_owned(),
            told,
            open: status == Status::Parked && told != Some(status),
            ..record.life()
        };
        record.live(&life);
        record.result.reason = reason;
        record.due = life.open.then(Timestamp::now);
        let id = record.id.clone();
        let records = HashMap::from([(id.clone(), record.clone())]);
        let batch = Batch {
            writes: &[Write::Update { id: id.clone(), life }],
            // No lock is taken: nobody works on what waits for a person.
            lock: LockKey { account: "", region: "", arn: "" },
            records: &records,
            fixes: &[],
            own: &[],
            record: &id,
            deadline: Instant::now() + Duration::from_secs(10),
        };
        match self.commit(&batch).await? {
            Ok(()) => Ok(record),
            Err(_) => Err(LedgerError::Overtaken { id }),
        }
    }
}
