//! IAM: credentials, and who may do what.

pub mod admin_policy;
mod administrators;
pub mod exposed_key;
mod holder;
pub mod principal;
