//! When everything happens at once and anything may die: the real binaries against an embedded AWS, which takes one
//! call at a time, behind a proxy that logs what was applied.
//!
//! Functions have three seconds for an event and a lock outlasts them by one. What is left unfinished is taken up as in
//! AWS: by the next delivery of the event, or by the hints that recovery gives about what is due. No test waits for
//! anything but the end of a lease.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "what was measured is for people to read")]

mod budgets;
mod death;
mod duplicates;
mod halt;
mod neighbours;
mod round_trips;
mod scene;
mod soak;
