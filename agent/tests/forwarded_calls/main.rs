//! Shapes of forwarded calls against the running kernel.
//!
//! Each call is laid out in a scratch area full of stale bytes and executed for real. Every byte that the kernel
//! changes must be brought back, no stale byte may be, and the guest's memory must look as after the
//! native call.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod changes;
mod coverage;
mod descriptors;
mod harness;
mod identity;
mod messages;
mod sys;
