//! The engine, one kernel object or behaviour at a time: small programs that check themselves are run
//! natively, started away, left behind and travelling, and must look the same each time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod conformance;
mod descriptors;
mod endings;
mod losses;
mod memory;
mod signals;
mod surroundings;
mod threads;
#[path = "../two_supervisors/mod.rs"]
mod two_supervisors;
