//! Controls for security groups.

pub mod default_rules;
mod group;
pub mod open_ingress;
mod ports;
mod rule;
mod rules;
