//! Controls for EC2 instances.

pub mod imdsv2;
pub mod instance;
pub mod quarantine;
