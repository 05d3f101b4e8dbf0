//! The beginning of a connection: which protocol version is spoken, by whom, and what for.
//!
//! 1. The connecting side sends its [`Preamble`] in clear, and with it the first handshake message.
//! 2. The accepting side sends its own preamble. If the two cannot talk it closes; both know why,
//!    because [`Preamble::check`] says the same on both sides.
//! 3. It completes the handshake; from here on everything is encrypted records.
//! 4. The connecting side sends [`Hello`]: who it is and what the connection is for.
//! 5. The accepting side sends [`Answer`]: welcome, or a refusal in one line; if only others are in the way, of a kind of its own.
//!
//! The connecting side's preamble is mixed into the handshake, so nobody can talk the two down to an
//! older version.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::balance::vector::VECTOR_BYTES;
use crate::limits::{HELLO_BYTES_MAX, NODE_NAME_LENGTH_MAX, REFUSAL_LENGTH_MAX};
use crate::secure::key::ClusterId;
use crate::sys::probe::Capabilities;
use crate::wire::bytes::ByteArray;
use crate::wire::cbor::{self, CborError};
use crate::wire::supervisor::{NodeName, PagesToken};

/// The protocol versions that a node speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtocolRange {
    /// The oldest.
    pub oldest: u8,
    /// The newest.
    pub newest: u8,
}

/// The versions that this agent speaks.
pub const PROTOCOLS: ProtocolRange = ProtocolRange {
    oldest: 4,
    newest: 4,
};

impl ProtocolRange {
    /// The newest version that both speak, if there is one.
    #[must_use]
    pub fn agree(self, other: ProtocolRange) -> Option<u8> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest && newest >= other.oldest).then_some(newest)
    }
}

impl fmt::Display for ProtocolRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.oldest == self.newest {
            write!(f, "protocol {}", self.newest)
        } else {
            write!(f, "protocols {} to {}", self.oldest, self.newest)
        }
    }
}

/// Bytes of a preamble.
pub const PREAMBLE_BYTES: usize = 16;

const MAGIC: [u8; 8] = *b"limosa\r\n";

/// What each side sends first, in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// The versions it speaks.
    pub protocols: ProtocolRange,
    /// Its cluster.
    pub cluster: ClusterId,
}

/// Why two sides cannot talk; said in the same words on both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The other side is no agent.
    NotAnAgent,
    /// The other side has another cluster key.
    OtherCluster(ClusterId),
    /// No version is spoken by both.
    Protocol(ProtocolRange),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::NotAnAgent => write!(f, "what answers there is not a Limosa agent"),
            Mismatch::OtherCluster(cluster) => {
                write!(f, "it belongs to another cluster, {cluster} (wrong key?)")
            }
            Mismatch::Protocol(theirs) => write!(
                f,
                "it speaks {theirs} and this node {PROTOCOLS}: upgrade the older of the two"
            ),
        }
    }
}

impl std::error::Error for Mismatch {}

impl Preamble {
    /// As sent.
    #[must_use]
    pub fn to_bytes(self) -> [u8; PREAMBLE_BYTES] {
        let mut bytes = [0; PREAMBLE_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8] = self.protocols.oldest;
        bytes[9] = self.protocols.newest;
        bytes[10..15].copy_from_slice(&self.cluster.0);
        bytes
    }

    /// As received. The last byte is reserved and ignored.
    pub fn from_bytes(bytes: &[u8; PREAMBLE_BYTES]) -> Result<Preamble, Mismatch> {
        if bytes[..8] != MAGIC {
            return Err(Mismatch::NotAnAgent);
        }
        let mut cluster = ClusterId([0; 5]);
        cluster.0.copy_from_slice(&bytes[10..15]);
        let protocols = ProtocolRange {
            oldest: bytes[8],
            newest: bytes[9],
        };
        Ok(Preamble { protocols, cluster })
    }

    /// The version that both speak, if this side can talk with a side that sent `theirs`.
    pub fn check(self, theirs: Preamble) -> Result<u8, Mismatch> {
        if theirs.cluster != self.cluster {
            return Err(Mismatch::OtherCluster(theirs.cluster));
        }
        let agreed = self.protocols.agree(theirs.protocols);
        agreed.ok_or(Mismatch::Protocol(theirs.protocols))
    }
}

/// What a connection is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Purpose {
    /// A migration channel: the connecting node is the home of the process.
    Migration {
        /// The process, as its home numbers it.
        pid: u32,
        /// A balancer sends it, not a person: the node may refuse it because too many come at once.
        #[serde(default)]
        balanced: bool,
        /// The load that the balancer counts on there, with it, in hundredths of a thread: the node may refuse it because
        /// it has more. None: whatever it has.
        #[serde(default)]
        load_centi: Option<u32>,
        /// Names the page connection, if one follows.
        pages: PagesToken,
    },
    /// The pages of a process that is coming: the connecting node is its home.
    Pages {
        /// Which.
        token: PagesToken,
    },
    /// A question: what can this node do? Behind its welcome the accepting node sends its
    /// [`Capabilities`] as one more record, and the connection ends.
    Capabilities,
    /// A question: what time is it? Behind its welcome the accepting node sends its [`ClockReading`] as one more
    /// record, and the connection ends. Nodes that do not know the question close the connection.
    Time,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Purpose::Migration { pid, .. } => write!(f, "the migration of process {pid}"),
            Purpose::Pages { .. } => write!(f, "the memory of a process"),
            Purpose::Capabilities => write!(f, "the question what this node can do"),
            Purpose::Time => write!(f, "the question what time it is"),
        }
    }
}

/// What a node's wall clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReading {
    /// Milliseconds since 1970.
    pub unix_ms: i64,
    /// Others may rely on it.
    pub is_set: bool,
}

impl ClockReading {
    /// As the plaintext of a record.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CborError> {
        plain(self)
    }

    /// From the plaintext of a record. Fields that only a later version knows are passed over.
    pub fn from_bytes(bytes: &[u8]) -> Result<ClockReading, CborError> {
        parse(bytes)
    }
}

/// First record of the connecting side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Who connects; its id is checked against the key of the handshake.
    pub node: NodeName,
    /// What for.
    pub purpose: Purpose,
}

/// First record of the accepting side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Go on.
    Welcome {
        /// The version that the connection speaks.
        protocol: u8,
        /// Who accepted.
        node: NodeName,
    },
    /// No, and why: one line.
    Refused(String),
    /// Not now: there are others here, or its owner works on it. A home's balancer may send it elsewhere, or here later.
    Full {
        /// One line.
        reason: String,
        /// The node's load vector as it is now ([`crate::balance::vector`]).
        load: ByteArray<VECTOR_BYTES>,
    },
}

impl Hello {
    /// As the plaintext of a record.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CborError> {
        plain(self)
    }

    /// From the plaintext of a record.
    pub fn from_bytes(bytes: &[u8]) -> Result<Hello, CborError> {
        let hello: Hello = parse(bytes)?;
        check_name(&hello.node)?;
        Ok(hello)
    }
}

impl Answer {
    /// As the plaintext of a record; a long reason is cut.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CborError> {
        match self {
            Answer::Refused(reason) => plain(&Answer::Refused(one_line(reason))),
            Answer::Full { reason, load } => plain(&Answer::Full {
                reason: one_line(reason),
                load: *load,
            }),
            Answer::Welcome { .. } => plain(self),
        }
    }

    /// From the plaintext of a record.
    pub fn from_bytes(bytes: &[u8]) -> Result<Answer, CborError> {
        match parse(bytes)? {
            Answer::Refused(reason) => Ok(Answer::Refused(one_line(&reason))),
            Answer::Full { reason, load } => Ok(Answer::Full {
                reason: one_line(&reason),
                load,
            }),
            Answer::Welcome { protocol, node } => {
                check_name(&node)?;
                Ok(Answer::Welcome { protocol, node })
            }
        }
    }
}

/// What a node can do as the plaintext of a record.
pub fn capabilities_to_bytes(capabilities: &Capabilities) -> Result<Vec<u8>, CborError> {
    plain(capabilities)
}

/// What a node can do from the plaintext of a record. Fields that only a later version knows are passed
/// over.
pub fn capabilities_from_bytes(bytes: &[u8]) -> Result<Capabilities, CborError> {
    parse(bytes)
}

/// A text from elsewhere as one printable line of bounded length.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut line = String::new();
    for character in text.chars() {
        let character = if character.is_control() {
            ' '
        } else {
            character
        };
        if line.len() + character.len_utf8() > REFUSAL_LENGTH_MAX {
            break;
        }
        line.push(character);
    }
    line
}

/// Whether a node may be called so: short, and visible characters only.
#[must_use]
pub fn is_node_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NODE_NAME_LENGTH_MAX
        && !name
            .chars()
            .any(|character| character.is_control() || character.is_whitespace())
}

fn plain(message: &impl Serialize) -> Result<Vec<u8>, CborError> {
    cbor::encode(message, HELLO_BYTES_MAX)
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, CborError> {
    if bytes.len() > HELLO_BYTES_MAX {
        return Err(CborError::TooLong {
            limit: HELLO_BYTES_MAX,
        });
    }
    cbor::decode(bytes)
}

fn check_name(node: &NodeName) -> Result<(), CborError> {
    if is_node_name(&node.name) {
        return Ok(());
    }
    Err(CborError::Malformed(
        "the node's name is empty, too long or not printable".into(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::supervisor::NodeId;
    use proptest::prelude::*;

    fn node(name: &str) -> NodeName {
        NodeName {
            id: NodeId([3; 16]),
            name: name.into(),
        }
    }

    #[test]
    fn the_newest_version_that_both_speak_is_chosen() {
        let range = |oldest, newest| ProtocolRange { oldest, newest };
        assert_eq!(range(1, 3).agree(range(2, 5)), Some(3));
        assert_eq!(range(2, 5).agree(range(1, 3)), Some(3));
        assert_eq!(range(1, 1).agree(range(2, 5)), None);
        assert_eq!(range(2, 5).agree(range(1, 1)), None);
    }

    #[test]
    fn a_preamble_reads_back_and_says_why_two_cannot_talk() {
        let ours = Preamble {
            protocols: PROTOCOLS,
            cluster: ClusterId([1; 5]),
        };
        assert_eq!(Preamble::from_bytes(&ours.to_bytes()), Ok(ours));
        assert_eq!(
            Preamble::from_bytes(b"GET / HTTP/1.1\r\n"),
            Err(Mismatch::NotAnAgent)
        );
        let other = Preamble {
            cluster: ClusterId([2; 5]),
            ..ours
        };
        assert_eq!(
            ours.check(other),
            Err(Mismatch::OtherCluster(other.cluster))
        );
        let newer = Preamble {
            protocols: ProtocolRange {
                oldest: 7,
                newest: 9,
            },
            ..ours
        };
        assert_eq!(ours.check(newer), Err(Mismatch::Protocol(newer.protocols)));
        assert_eq!(ours.check(ours), Ok(PROTOCOLS.newest));
    }

    #[test]
    fn hello_and_answer_read_back() {
        let hello = Hello {
            node: node("n1"),
            purpose: Purpose::Migration {
                pid: 42,
                balanced: true,
                load_centi: Some(150),
                pages: PagesToken([7; 16]),
            },
        };
        assert_eq!(
            Hello::from_bytes(&hello.to_bytes().unwrap()).unwrap(),
            hello
        );
        let answer = Answer::Welcome {
            protocol: 1,
            node: node("n2"),
        };
        assert_eq!(
            Answer::from_bytes(&answer.to_bytes().unwrap()).unwrap(),
            answer
        );
    }

    #[test]
    fn what_a_node_can_do_reads_back_also_with_what_a_later_version_adds() {
        let capabilities = Capabilities::probe();
        let bytes = capabilities_to_bytes(&capabilities).unwrap();
        assert_eq!(capabilities_from_bytes(&bytes).unwrap(), capabilities);
        let mut later: ciborium::Value = cbor::decode(&bytes).unwrap();
        let fields = later.as_map_mut().unwrap();
        fields.push((
            ciborium::Value::from("colour"),
            ciborium::Value::from("green"),
        ));
        let bytes = plain(&later).unwrap();
        assert_eq!(capabilities_from_bytes(&bytes).unwrap(), capabilities);
        assert!(capabilities_from_bytes(&[0; HELLO_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn a_clock_reads_back() {
        for (unix_ms, is_set) in [(i64::MIN, true), (0, false), (i64::MAX, true)] {
            let reading = ClockReading { unix_ms, is_set };
            let bytes = reading.to_bytes().unwrap();
            assert_eq!(ClockReading::from_bytes(&bytes).unwrap(), reading);
        }
    }

    #[test]
    fn a_refusal_is_one_printable_line_of_bounded_length() {
        let answer = Answer::Refused(format!("full\n\x1b[31m{}", "x".repeat(10_000)));
        let Answer::Refused(reason) = Answer::from_bytes(&answer.to_bytes().unwrap()).unwrap()
        else {
            unreachable!()
        };
        assert!(reason.starts_with("full  [31mxx") && reason.len() <= REFUSAL_LENGTH_MAX);
    }

    #[test]
    fn who_is_turned_away_is_told_the_load() {
        let full = |reason: &str| Answer::Full {
            reason: reason.into(),
            load: ByteArray([7; VECTOR_BYTES]),
        };
        let answer = Answer::from_bytes(&full("no\nroom").to_bytes().unwrap()).unwrap();
        assert_eq!(answer, full("no room"));
    }

    #[test]
    fn a_name_that_would_garble_a_terminal_is_refused() {
        let hello = Hello {
            node: node("n\x1b[2J"),
            purpose: Purpose::Migration {
                pid: 1,
                balanced: false,
                load_centi: None,
                pages: PagesToken([7; 16]),
            },
        };
        assert!(Hello::from_bytes(&hello.to_bytes().unwrap()).is_err());
        assert!(!is_node_name("") && !is_node_name("a b") && is_node_name("küche-2"));
    }

    proptest! {
        #[test]
        fn random_bytes_never_fail_otherwise_than_by_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..2_000),
        ) {
            let _ = Hello::from_bytes(&bytes);
            let _ = Answer::from_bytes(&bytes);
            let _ = ClockReading::from_bytes(&bytes);
            let _ = capabilities_from_bytes(&bytes);
        }
    }
}
