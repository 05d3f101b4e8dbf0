//! What travels between processes and nodes: frames, messages (CBOR), version negotiation.

pub mod bytes;
pub mod cbor;
pub mod control;
pub mod hello;
pub mod local;
pub mod migration;
pub mod pages;
pub mod supervisor;
