//! IAM: credentials, and who may do what.

pub mod access_key;
pub mod admin_policy;
mod administrators;
pub mod exposed_key;
mod holder;
pub mod principal;
pub mod root_use;
pub mod second_key;
pub mod stale_key;
