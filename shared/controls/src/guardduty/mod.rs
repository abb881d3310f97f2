//! Controls for GuardDuty.

pub mod detector;
