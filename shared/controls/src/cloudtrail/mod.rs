//! Controls for CloudTrail's trails.

pub mod logging;
pub mod weakened;

mod trail;
