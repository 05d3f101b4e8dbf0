//! Raw kernel interfaces, and all `unsafe` of the agent.

pub mod compare;
pub mod cpu;
pub mod exec;
pub mod peer;
pub mod probe;
pub mod relay;
pub mod spawn;
pub mod vdso;
