//! Controls for S3 buckets, and what they share.

pub mod account_public_access;
pub mod block_public_access;
pub mod cross_account_policy;
pub mod destructive_lifecycle;
pub mod encryption;
pub mod foreign_replication;
pub mod public_acl;
pub mod public_object;
pub mod public_policy;
pub mod versioning;

mod bucket;
mod client;

pub use bucket::{BadBucketName, Bucket};
pub use client::{Level, Switches};

#[cfg(test)]
pub(crate) mod tests {
    use quell_engine::{Signal, Trigger};

    /// A signal of nothing but its trigger.
    pub(crate) fn signal(trigger: Trigger) -> Signal {
        Signal {
            trigger,
            account: "123456789012".into(),
            region: "eu-west-1".into(),
            event_id: "event".into(),
            deduplication: "event".into(),
            time: None,
            actor: None,
            request_id: None,
            finding: None,
        }
    }
}
