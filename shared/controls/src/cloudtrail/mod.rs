//! Controls for CloudTrail's trails.

pub mod deleted;
pub mod event_selectors;
pub mod logging;
pub mod weakened;

mod selectors;
mod trail;
