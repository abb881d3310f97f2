//! AWS and Lambda on one machine, as the demo and the other tests use them.

mod emulator;
mod lambda;
mod stack;
