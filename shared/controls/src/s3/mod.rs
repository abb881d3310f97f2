//! Controls for S3 buckets.

pub mod block_public_access;
pub mod public_acl;
pub mod public_policy;
