//! What happens to an event: signal → assess → decide → record → apply → verify → notify.
//!
//! The engine knows no service but DynamoDB (the ledger) and SNS (notification). What is right or wrong about a
//! resource is known by the controls alone.

// As others see it: what tests share names it.
#[cfg(test)]
extern crate self as quell_engine;

pub mod aws;
pub mod brakes;
pub mod control;
pub mod error;
pub mod evaluate;
pub mod function_url;
pub mod incident;
pub mod ledger;
pub mod listen;
pub mod log;
pub mod metrics;
pub mod notify;
pub mod outcome;
mod pace;
pub mod partition;
pub mod policies;
pub mod policy;
pub mod protocol;
pub mod queue;
pub mod report;
pub mod scan;
pub mod serve;
pub mod signal;
pub mod sweep;
pub mod text;

pub use aws::{Clients, During};
pub use control::{
    Background, Control, Description, Discovered, Effect, Meta, Plan, Progress, Safety, Severity,
};
pub use error::{CallError, CallErrorKind};
pub use listen::Listen;
pub use outcome::Outcome;
pub use policy::Mode;
pub use report::Report;
pub use serve::serve;
pub use signal::{Actor, Finding, Signal, Trigger};
