//! IAM: credentials, and who may do what.

pub mod access_key;
pub mod exposed_key;
pub mod principal;
pub mod root_use;
pub mod second_key;
pub mod stale_key;
