//! The engine, one kernel object or behaviour at a time: small programs that check themselves are run
//! natively and on journeys of every kind, and must look the same each time. Begin with `programs.txt`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod conformance;
mod endings;
mod interpreters;
mod journeys;
mod losses;
mod memory;
mod programs;
mod running;
mod states;
mod timeouts;
#[path = "../two_supervisors/mod.rs"]
mod two_supervisors;
