//! What travels between processes and nodes: frames, messages (CBOR), version negotiation.

pub mod local;
pub mod supervisor;
