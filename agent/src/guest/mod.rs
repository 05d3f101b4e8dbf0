//! The remote side of a migrated process: sandbox, trap, forward.

pub mod supervisor;
