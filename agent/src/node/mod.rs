//! The agent: one driver that owns all state, its config and its control socket.
//!
//! [`cluster`] is its view of the other nodes: who they are and how to connect to them.

pub mod cluster;
