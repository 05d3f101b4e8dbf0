//! Who may speak, and in what envelope.
//!
//! - [`key`]: the secret that nodes of one cluster share, and its token;
//! - [`identity`]: this node's own key pair;
//! - [`datagram`]: the authenticated envelope of beacons and membership messages;
//! - [`handshake`]: Noise IKpsk2, which turns a fresh connection into two symmetric keys;
//! - [`pake`]: a strong key from a short code that a person has read and typed;
//! - [`record`]: what travels on a connection afterwards.

pub mod datagram;
pub mod handshake;
pub mod identity;
pub mod key;
pub mod page_digest;
pub mod pake;
pub mod record;
