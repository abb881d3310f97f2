//! Controls for CloudTrail's trails.

pub mod logging;
