//! IAM: credentials, and who may do what.

pub mod access_key;
pub mod admin_group;
pub mod admin_policy;
mod administrators;
mod console;
pub mod console_mfa;
mod denial;
pub mod exposed_key;
mod holder;
pub mod identity_provider;
pub mod login_profile;
pub mod open_trust;
pub mod password_policy;
pub mod permissions_boundary;
pub mod policy_version;
pub mod principal;
pub mod quarantine;
pub mod role_sessions;
pub mod root_use;
pub mod second_key;
pub mod stale_key;
