//! IAM as far as a function's role needs it: policies are read strictly and evaluated as AWS does, and each operation is
//! known by the actions, resources and context keys that AWS asks for.
//!
//! Written here because what there is does not refuse enough: moto ignores resources and conditions outside S3, and the
//! crate `iam-rs` (0.8) has no permissions boundary and takes statements with elements that it does not know.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>

mod actions;
mod condition;
mod policy;
mod role;

pub use actions::{Access, Asked, Facts, Item, PAGES, Request, UnknownOperation, facts};
pub use policy::{Context, Decision, Policy, PolicyError};
pub use role::{Granted, Refused, Role};
