//! AWS and Lambda on one machine, as the demo and the other tests use them.

#![allow(clippy::expect_used, clippy::unwrap_used)] // Clippy allows it in tests, but not in what they share.

mod authorization;
mod emulator;
mod lambda;
mod ledger_semantics;
mod proxy;
mod stack;
