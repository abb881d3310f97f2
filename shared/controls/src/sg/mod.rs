//! Controls for security groups.

mod cidr;
mod group;
pub mod open_ingress;
mod ports;
mod rule;
