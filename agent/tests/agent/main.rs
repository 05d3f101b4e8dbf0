//! One agent, and the commands and supervisors that talk to it.
//!
//! Each test starts an agent of its own in a new network namespace, so nothing reaches a network and no
//! port collides. They need root, util-linux, python3, and a cgroup2 mount or none.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod commands;
mod harness;
mod supervisors;
