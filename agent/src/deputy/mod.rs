//! The home side of a migrated process: executes forwarded calls, hears signals.

pub mod supervisor;
