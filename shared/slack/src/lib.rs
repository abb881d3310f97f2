//! Slack as Quell speaks to it: messages, buttons, its API and its signatures.

pub mod button;
pub mod interaction;
pub mod signature;

pub use button::{Action, Button};
pub use interaction::Interaction;
