//! Controls for security groups.

pub mod open_ingress;
