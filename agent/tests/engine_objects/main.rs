//! The engine, one kernel object or behaviour at a time: small programs that check themselves are run
//! natively, started away, left behind and travelling, and must look the same each time.

mod conformance;
mod descriptors;
mod endings;
mod memory;
mod signals;
mod surroundings;
mod threads;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../two_supervisors/mod.rs"]
mod two_supervisors;
