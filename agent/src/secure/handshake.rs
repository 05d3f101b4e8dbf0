//! The Noise handshake: two nodes prove to each other who they are and that both have the cluster key.
//!
//! `Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s`: the connecting side knows the other's static key from its
//! beacon, the cluster key goes in with the second message, and each connection has keys of its own
//! that neither static key nor cluster key can tell later (forward secrecy). ChaCha20-Poly1305 is fast
//! on every PC; AES would be faster on new ones and ten times slower on those without AES instructions.
//!
//! Both messages have a fixed length, so a stranger cannot make this node allocate anything:
//!
//! 1. connecting side: ephemeral key, static key (encrypted), tag: [`FIRST_MESSAGE_BYTES`];
//! 2. accepting side: ephemeral key, tag: [`SECOND_MESSAGE_BYTES`].
//!
//! Then both take the two raw keys out of the handshake instead of using snow's own transport, because
//! an established connection is handed to another process together with its keys.

use std::fmt;

use snow::params::NoiseParams;
use snow::{Builder, HandshakeState};

use crate::secure::identity::NodeIdentity;
use crate::wire::supervisor::ChannelKeys;

/// Bytes of the first message.
pub const FIRST_MESSAGE_BYTES: usize = 96;

/// Bytes of the second message.
pub const SECOND_MESSAGE_BYTES: usize = 48;

const PATTERN: &str = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";

/// The handshake failed; nothing of it is of further use.
#[derive(Debug)]
pub enum HandshakeError {
    /// The message does not decrypt: wrong cluster key, wrong node key, or changed on its way.
    NotAuthentic,
    /// The kernel gave no random bytes, or the Noise implementation refused its parameters.
    Internal(String),
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeError::NotAuthentic => {
                write!(
                    f,
                    "it did not prove who it is: wrong cluster key, or not the node expected"
                )
            }
            HandshakeError::Internal(cause) => {
                write!(f, "the handshake could not be made: {cause}")
            }
        }
    }
}

impl std::error::Error for HandshakeError {}

/// The connecting side between its message and the answer.
pub struct Initiator {
    state: HandshakeState,
}

/// What the accepting side knows after the handshake.
pub struct Responded {
    /// The answer to send.
    pub second_message: [u8; SECOND_MESSAGE_BYTES],
    /// The connecting node's static public key; proven once its first record opens.
    pub peer_public_key: [u8; 32],
    /// Keys of the connection.
    pub keys: ChannelKeys,
}

impl Initiator {
    /// Begins a handshake with the node that has `peer_public_key`. `prologue` must be the same bytes
    /// on both sides.
    pub fn start(
        identity: &NodeIdentity,
        peer_public_key: &[u8; 32],
        cluster_handshake_key: &[u8; 32],
        prologue: &[u8],
    ) -> Result<(Initiator, [u8; FIRST_MESSAGE_BYTES]), HandshakeError> {
        let mut state = builder(identity, cluster_handshake_key, prologue)?
            .remote_public_key(peer_public_key)
            .and_then(Builder::build_initiator)
            .map_err(internal)?;
        let mut message = [0; FIRST_MESSAGE_BYTES];
        let length = state.write_message(&[], &mut message).map_err(internal)?;
        debug_assert_eq!(length, FIRST_MESSAGE_BYTES);
        Ok((Initiator { state }, message))
    }

    /// Takes the answer; the other side is the node expected, and has the cluster key.
    pub fn finish(
        mut self,
        second_message: &[u8; SECOND_MESSAGE_BYTES],
    ) -> Result<ChannelKeys, HandshakeError> {
        read_empty(&mut self.state, second_message)?;
        let (send_key, receive_key) = self.state.dangerously_get_raw_split();
        Ok(ChannelKeys {
            send_key,
            receive_key,
            send_nonce: 0,
            receive_nonce: 0,
        })
    }
}

/// Answers the first message of a connecting node.
pub fn respond(
    identity: &NodeIdentity,
    cluster_handshake_key: &[u8; 32],
    prologue: &[u8],
    first_message: &[u8; FIRST_MESSAGE_BYTES],
) -> Result<Responded, HandshakeError> {
    let mut state = builder(identity, cluster_handshake_key, prologue)?
        .build_responder()
        .map_err(internal)?;
    read_empty(&mut state, first_message)?;
    let peer_public_key = state
        .get_remote_static()
        .and_then(|key| key.try_into().ok())
        .ok_or(HandshakeError::NotAuthentic)?;
    let mut second_message = [0; SECOND_MESSAGE_BYTES];
    let length = state
        .write_message(&[], &mut second_message)
        .map_err(internal)?;
    debug_assert_eq!(length, SECOND_MESSAGE_BYTES);
    let (receive_key, send_key) = state.dangerously_get_raw_split();
    let keys = ChannelKeys {
        send_key,
        receive_key,
        send_nonce: 0,
        receive_nonce: 0,
    };
    Ok(Responded {
        second_message,
        peer_public_key,
        keys,
    })
}

fn builder<'a>(
    identity: &'a NodeIdentity,
    cluster_handshake_key: &'a [u8; 32],
    prologue: &'a [u8],
) -> Result<Builder<'a>, HandshakeError> {
    let pattern: NoiseParams = PATTERN.parse().map_err(internal)?;
    Builder::new(pattern)
        .local_private_key(identity.private_key())
        .and_then(|builder| builder.psk(2, cluster_handshake_key))
        .and_then(|builder| builder.prologue(prologue))
        .map_err(internal)
}

/// Reads a message whose payload must be empty; a longer one does not fit the empty buffer.
fn read_empty(state: &mut HandshakeState, message: &[u8]) -> Result<(), HandshakeError> {
    let mut payload = [0; FIRST_MESSAGE_BYTES];
    match state.read_message(message, &mut payload) {
        Ok(0) => Ok(()),
        _ => Err(HandshakeError::NotAuthentic),
    }
}

fn internal(error: impl fmt::Display) -> HandshakeError {
    HandshakeError::Internal(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secure::record;
    use proptest::prelude::*;

    const KEY: [u8; 32] = [9; 32];

    fn node() -> NodeIdentity {
        NodeIdentity::generate(1).unwrap()
    }

    #[test]
    fn both_sides_get_the_same_keys_crosswise_and_the_acceptor_learns_who_connects() {
        let (one, two) = (node(), node());
        let (initiator, first) = Initiator::start(&one, two.public_key(), &KEY, b"v1").unwrap();
        let responded = respond(&two, &KEY, b"v1", &first).unwrap();
        assert_eq!(&responded.peer_public_key, one.public_key());
        let keys = initiator.finish(&responded.second_message).unwrap();
        let (mut sealer, _) = record::from_keys(&keys);
        let (_, mut opener) = record::from_keys(&responded.keys);
        let (mut wire, mut buffer) = (Vec::new(), Vec::new());
        sealer.seal(b"hello", &mut wire).unwrap();
        let got = record::read_record(&mut wire.as_slice(), &mut opener, &mut buffer).unwrap();
        assert_eq!(got, b"hello");
        assert_ne!(keys.send_key, keys.receive_key);
    }

    #[test]
    fn another_cluster_key_another_node_or_another_prologue_fails() {
        let (one, two, three) = (node(), node(), node());
        let start = || Initiator::start(&one, two.public_key(), &KEY, b"v1").unwrap();
        let (initiator, first) = start();
        let wrong_key = respond(&two, &[8; 32], b"v1", &first).unwrap();
        assert!(initiator.finish(&wrong_key.second_message).is_err());
        let (_, first) = start();
        assert!(respond(&three, &KEY, b"v1", &first).is_err());
        assert!(respond(&two, &KEY, b"v2", &first).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn random_messages_are_refused(bytes in prop::collection::vec(any::<u8>(), 96)) {
            let (one, two) = (node(), node());
            let first = <&[u8; 96]>::try_from(bytes.as_slice()).unwrap();
            prop_assert!(respond(&two, &KEY, b"", first).is_err());
            let (initiator, _) = Initiator::start(&one, two.public_key(), &KEY, b"").unwrap();
            let second = <&[u8; 48]>::try_from(&bytes[..48]).unwrap();
            prop_assert!(initiator.finish(second).is_err());
        }
    }
}
