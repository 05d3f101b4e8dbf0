//! Raw kernel interfaces, and all `unsafe` of the agent.

pub mod compare;
pub mod cpu;
pub mod probe;
pub mod vdso;
