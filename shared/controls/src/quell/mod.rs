//! Controls for Quell itself, and what they share.

pub mod rule_disabled;
pub mod tampered;

mod calls;
mod own;

pub use own::SettingError;
