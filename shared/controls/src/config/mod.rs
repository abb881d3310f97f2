//! Controls for AWS Config.

pub mod recorder;
