//! What somebody does who wants Quell to act wrongly, to look away, to tell secrets or to fall over.
//!
//! `docs/threat-model.md` has a row for each test. Cases are made from fixed seeds; `PROPTEST_CASES` says how many
//! (100,000 without it), `QUELL_FLOOD` how many events a flood has.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "what was measured is for people to read")]

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

mod disguised;
mod flood;
mod forged;
mod growth;
mod names;
mod padded;
mod place;
mod poison;
mod properties;
mod renderers;
mod secrets;
