//! Controls for EBS: snapshots, and how a region makes volumes and shares snapshots.

pub mod default_encryption;
pub mod public_snapshot;
pub mod shared_snapshot;
pub mod snapshot_block_public_access;

mod snapshot;

pub use snapshot::SnapshotId;
