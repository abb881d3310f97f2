//! Writes of people's that are made together or not at all.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::{
    error::SdkError, operation::transact_write_items::TransactWriteItemsError,
    types::TransactWriteItem,
};
use tokio::time::sleep;

use super::{Ledger, LedgerError};
use crate::{CallError, CallErrorKind};

/// How long a person's order is tried while other transactions are at the same items. The kill switch is looked at by
/// every change that begins: in a storm, of all times, it must be turned.
const PATIENCE: Duration = Duration::from_secs(20);

impl Ledger {
    /// Makes all writes, or none because a condition does not hold: `false`.
    pub(super) async fn together(
        &self,
        action: &'static str,
        writes: Vec<TransactWriteItem>,
    ) -> Result<bool, LedgerError> {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(20);
        loop {
            let write = self.client.transact_write_items();
            let sent = write.set_transact_items(Some(writes.clone())).send().await;
            let cancelled = match sent {
                Ok(_) => return Ok(true),
                Err(SdkError::ServiceError(failed)) => match failed.err() {
                    TransactWriteItemsError::TransactionCanceledException(cancelled) => {
                        cancelled.cancellation_reasons().to_vec()
                    }
                    _ => {
                        let error = SdkError::ServiceError(failed);
                        return Err(CallError::from_sdk(action, error).into());
                    }
                },
                Err(error) => return Err(CallError::from_sdk(action, error).into()),
            };
            let codes: Vec<&str> = cancelled.iter().filter_map(|reason| reason.code()).collect();
            if codes.contains(&"ConditionalCheckFailed") {
                return Ok(false);
            }
            let passes = |code: &&str| {
                matches!(
                    *code,
                    "None"
                        | "TransactionConflict"
                        | "ThrottlingError"
                        | "ProvisionedThroughputExceeded"
                )
            };
            if !codes.iter().all(passes) {
                let reason = codes.join(", ");
                return Err(CallError::new(action, CallErrorKind::Refused, reason).into());
            }
            if begun.elapsed() + pause > PATIENCE {
                let reason = "other transactions were at the same items all the time";
                return Err(CallError::new(action, CallErrorKind::Unavailable, reason).into());
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(250));
        }
    }
}
