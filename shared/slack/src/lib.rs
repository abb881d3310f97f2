//! Slack as Quell speaks to it: messages, buttons, its API and its signatures.

pub mod alarm;
pub mod api;
pub mod bulletin;
pub mod button;
pub mod credential;
pub mod interaction;
pub mod limits;
pub mod message;
pub mod modal;
pub mod signature;

mod blocks;

pub use alarm::Alarm;
pub use api::{Posted, Slack, SlackError};
pub use blocks::Posting;
pub use button::{Action, Button};
pub use credential::Credential;
pub use interaction::Interaction;

#[cfg(test)]
use quell_engine::text::is_invisible;

// What renders for e-mail is tested with the same.
#[cfg(test)]
#[path = "../../engine/src/text/hostile.rs"]
mod hostile;

#[cfg(test)]
#[path = "../../engine/src/notify/samples.rs"]
mod samples;
