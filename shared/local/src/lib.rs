//! AWS and Lambda on one machine, for the demo and the tests. Nothing that is deployed knows this crate.

pub mod cloud;
pub mod scenario;

pub use cloud::Cloud;
