//! Who may speak, and in what envelope: the cluster key, the handshake, encrypted records.
//!
//! - [`key`]: the secret that nodes of one cluster share, and its token;
//! - [`handshake`]: Noise IKpsk2, which turns a fresh connection into two symmetric keys;
//! - [`record`]: what travels on a connection afterwards.

pub mod key;
pub mod record;
