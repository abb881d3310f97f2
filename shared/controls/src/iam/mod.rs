//! IAM: credentials, and who may do what.

pub mod exposed_key;
pub mod principal;
