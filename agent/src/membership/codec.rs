//! Membership messages as bytes: foca's headers and updates, in a fixed binary layout.
//!
//! Everything is bounded by its layout: a datagram is decoded without allocating. An identity takes 25,
//! 31 or 43 bytes, so one datagram carries some twenty updates.
//!
//! An identity names a node and a generation; the address with it is a hint for nodes that have not
//! heard the node's beacon, and no part of who it is. Because it is only a hint, a node whose address
//! changes stays the same member: its own current address is filled in whenever its identity is encoded.

use std::cell::Cell;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use bytes::{Buf, BufMut};
use foca::{Header, Identity, Member, Message, State};

use crate::wire::supervisor::NodeId;

/// Longest encoded identity.
const IDENTITY_BYTES_MAX: usize = 43;

/// Longest encoded header: three identities, two numbers, one tag.
const HEADER_BYTES_MAX: usize = 3 * IDENTITY_BYTES_MAX + 4;

/// Tag of the message "you are taken for lost".
const TURN_UNDEAD: u8 = 11;

/// A member as SWIM knows it.
#[derive(Clone, Copy, Debug)]
pub struct MemberIdentity {
    /// The node.
    pub id: NodeId,
    /// Grows with each start of its agent and each time it comes back after having been declared lost.
    pub generation: u64,
    /// Where it may be reached.
    pub address: Option<SocketAddr>,
}

impl PartialEq for MemberIdentity {
    fn eq(&self, other: &Self) -> bool {
        (self.id, self.generation) == (other.id, other.generation)
    }
}

impl Eq for MemberIdentity {}

impl Identity for MemberIdentity {
    type Addr = NodeId;

    fn renew(&self) -> Option<Self> {
        Some(MemberIdentity {
            generation: self.generation.checked_add(1)?,
            ..*self
        })
    }

    fn addr(&self) -> NodeId {
        self.id
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.generation > adversary.generation
    }
}

/// Whether an encoded message tells its receiver that it is taken for lost.
#[must_use]
pub fn is_turn_undead(mut message: &[u8]) -> bool {
    let bytes = &mut message;
    let header = (
        identity(bytes),
        take::<2>(bytes),
        identity(bytes),
        take::<1>(bytes),
    );
    matches!(header, (Ok(_), Ok(_), Ok(_), Ok([TURN_UNDEAD])))
}

/// The bytes are not a membership message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodecError {
    /// They end too early.
    Truncated,
    /// A tag has no meaning.
    UnknownTag(u8),
    /// The message does not fit the datagram.
    Full,
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CodecError::Truncated => write!(f, "the membership message ends too early"),
            CodecError::UnknownTag(tag) => write!(f, "the membership message has a tag {tag}"),
            CodecError::Full => write!(f, "the membership message does not fit its datagram"),
        }
    }
}

impl std::error::Error for CodecError {}

/// Encodes and decodes for one node.
#[derive(Clone, Debug)]
pub struct Codec {
    own: NodeId,
    own_address: Rc<Cell<Option<SocketAddr>>>,
}

impl Codec {
    /// For the node `own`, which is reached at what `own_address` holds at the time.
    #[must_use]
    pub fn new(own: NodeId, own_address: Rc<Cell<Option<SocketAddr>>>) -> Codec {
        Codec { own, own_address }
    }

    fn put_identity(&self, identity: &MemberIdentity, out: &mut Scratch) {
        out.put(&identity.id.0);
        out.put(&identity.generation.to_le_bytes());
        let own = identity.id == self.own;
        let address = if own {
            self.own_address.get()
        } else {
            identity.address
        };
        match address.map(|address| (address.ip(), address.port())) {
            None => out.put(&[0]),
            Some((IpAddr::V4(ip), port)) => {
                out.put(&[4]);
                out.put(&ip.octets());
                out.put(&port.to_le_bytes());
            }
            Some((IpAddr::V6(ip), port)) => {
                out.put(&[6]);
                out.put(&ip.octets());
                out.put(&port.to_le_bytes());
            }
        }
    }
}

/// A small buffer for one item, so that an item that does not fit leaves the datagram untouched.
struct Scratch {
    bytes: [u8; HEADER_BYTES_MAX],
    length: usize,
}

impl Scratch {
    fn new() -> Scratch {
        Scratch {
            bytes: [0; HEADER_BYTES_MAX],
            length: 0,
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    fn finish(&self, mut out: impl BufMut) -> Result<(), CodecError> {
        if out.remaining_mut() < self.length {
            return Err(CodecError::Full);
        }
        out.put_slice(&self.bytes[..self.length]);
        Ok(())
    }
}

impl foca::Codec<MemberIdentity> for Codec {
    type Error = CodecError;

    fn encode_header(
        &mut self,
        header: &Header<MemberIdentity>,
        out: impl BufMut,
    ) -> Result<(), CodecError> {
        let mut scratch = Scratch::new();
        self.put_identity(&header.src, &mut scratch);
        scratch.put(&header.src_incarnation.to_le_bytes());
        self.put_identity(&header.dst, &mut scratch);
        let (tag, number, third) = match &header.message {
            Message::Ping(number) => (1, Some(*number), None),
            Message::Ack(number) => (2, Some(*number), None),
            Message::PingReq {
                target,
                probe_number,
            } => (3, Some(*probe_number), Some(target)),
            Message::IndirectPing {
                origin,
                probe_number,
            } => (4, Some(*probe_number), Some(origin)),
            Message::IndirectAck {
                target,
                probe_number,
            } => (5, Some(*probe_number), Some(target)),
            Message::ForwardedAck {
                origin,
                probe_number,
            } => (6, Some(*probe_number), Some(origin)),
            Message::Announce => (7, None, None),
            Message::Feed => (8, None, None),
            Message::Gossip => (9, None, None),
            Message::Broadcast => (10, None, None),
            Message::TurnUndead => (TURN_UNDEAD, None, None),
        };
        scratch.put(&[tag]);
        if let Some(number) = number {
            scratch.put(&[number]);
        }
        if let Some(third) = third {
            self.put_identity(third, &mut scratch);
        }
        scratch.finish(out)
    }

    fn decode_header(&mut self, mut bytes: impl Buf) -> Result<Header<MemberIdentity>, CodecError> {
        let src = identity(&mut bytes)?;
        let src_incarnation = u16::from_le_bytes(take(&mut bytes)?);
        let dst = identity(&mut bytes)?;
        let [tag] = take(&mut bytes)?;
        let message = match tag {
            1 => Message::Ping(number(&mut bytes)?),
            2 => Message::Ack(number(&mut bytes)?),
            3..=6 => {
                let probe_number = number(&mut bytes)?;
                let third = identity(&mut bytes)?;
                match tag {
                    3 => Message::PingReq {
                        target: third,
                        probe_number,
                    },
                    4 => Message::IndirectPing {
                        origin: third,
                        probe_number,
                    },
                    5 => Message::IndirectAck {
                        target: third,
                        probe_number,
                    },
                    _ => Message::ForwardedAck {
                        origin: third,
                        probe_number,
                    },
                }
            }
            7 => Message::Announce,
            8 => Message::Feed,
            9 => Message::Gossip,
            10 => Message::Broadcast,
            TURN_UNDEAD => Message::TurnUndead,
            _ => return Err(CodecError::UnknownTag(tag)),
        };
        Ok(Header {
            src,
            src_incarnation,
            dst,
            message,
        })
    }

    fn encode_member(
        &mut self,
        member: &Member<MemberIdentity>,
        out: impl BufMut,
    ) -> Result<(), CodecError> {
        let mut scratch = Scratch::new();
        self.put_identity(member.id(), &mut scratch);
        scratch.put(&member.incarnation().to_le_bytes());
        scratch.put(&[match member.state() {
            State::Alive => 0,
            State::Suspect => 1,
            State::Down => 2,
        }]);
        scratch.finish(out)
    }

    fn decode_member(&mut self, mut bytes: impl Buf) -> Result<Member<MemberIdentity>, CodecError> {
        let identity = identity(&mut bytes)?;
        let incarnation = u16::from_le_bytes(take(&mut bytes)?);
        let state = match take(&mut bytes)? {
            [0] => State::Alive,
            [1] => State::Suspect,
            [2] => State::Down,
            [tag] => return Err(CodecError::UnknownTag(tag)),
        };
        Ok(Member::new(identity, incarnation, state))
    }
}

fn take<const N: usize>(bytes: &mut impl Buf) -> Result<[u8; N], CodecError> {
    let mut taken = [0; N];
    if bytes.remaining() < N {
        return Err(CodecError::Truncated);
    }
    bytes.copy_to_slice(&mut taken);
    Ok(taken)
}

fn number(bytes: &mut impl Buf) -> Result<u8, CodecError> {
    take(bytes).map(|[number]| number)
}

fn identity(bytes: &mut impl Buf) -> Result<MemberIdentity, CodecError> {
    let id = NodeId(take(bytes)?);
    let generation = u64::from_le_bytes(take(bytes)?);
    let ip: Option<IpAddr> = match take(bytes)? {
        [0] => None,
        [4] => Some(Ipv4Addr::from(take::<4>(bytes)?).into()),
        [6] => Some(Ipv6Addr::from(take::<16>(bytes)?).into()),
        [tag] => return Err(CodecError::UnknownTag(tag)),
    };
    let address = match ip {
        Some(ip) => Some(SocketAddr::new(ip, u16::from_le_bytes(take(bytes)?))),
        None => None,
    };
    Ok(MemberIdentity {
        id,
        generation,
        address,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use foca::Codec as _;
    use proptest::prelude::*;

    fn member(id: u8, address: Option<&str>) -> MemberIdentity {
        let address = address.map(|address| address.parse().unwrap());
        MemberIdentity {
            id: NodeId([id; 16]),
            generation: 1 << 40,
            address,
        }
    }

    fn codec() -> Codec {
        Codec::new(NodeId([1; 16]), Rc::new(Cell::new(None)))
    }

    #[test]
    fn headers_and_updates_read_back() {
        let (one, two) = (
            member(2, Some("10.0.0.2:4460")),
            member(3, Some("[2001:db8::3]:1")),
        );
        let three = member(4, None);
        for message in [
            Message::Ping(7),
            Message::Ack(7),
            Message::PingReq {
                target: three,
                probe_number: 1,
            },
            Message::IndirectPing {
                origin: three,
                probe_number: 2,
            },
            Message::IndirectAck {
                target: three,
                probe_number: 3,
            },
            Message::ForwardedAck {
                origin: three,
                probe_number: 4,
            },
            Message::Announce,
            Message::Feed,
            Message::Gossip,
            Message::Broadcast,
            Message::TurnUndead,
        ] {
            let header = Header {
                src: one,
                src_incarnation: 5,
                dst: two,
                message,
            };
            let mut wire = Vec::new();
            codec().encode_header(&header, &mut wire).unwrap();
            assert_eq!(is_turn_undead(&wire), header.message == Message::TurnUndead);
            let read = codec().decode_header(wire.as_slice()).unwrap();
            assert_eq!(read, header);
            assert_eq!(
                (read.src.address, read.dst.address),
                (one.address, two.address)
            );
        }
        for state in [State::Alive, State::Suspect, State::Down] {
            let update = Member::new(two, 9, state);
            let mut wire = Vec::new();
            codec().encode_member(&update, &mut wire).unwrap();
            assert_eq!(codec().decode_member(wire.as_slice()).unwrap(), update);
        }
    }

    #[test]
    fn a_nodes_own_identity_carries_its_current_address() {
        let address = Rc::new(Cell::new(None));
        let mut codec = Codec::new(NodeId([1; 16]), address.clone());
        address.set(Some("10.9.9.9:4460".parse().unwrap()));
        let mut wire = Vec::new();
        codec
            .encode_member(&Member::alive(member(1, None)), &mut wire)
            .unwrap();
        let read = codec.decode_member(wire.as_slice()).unwrap();
        assert_eq!(read.id().address, address.get());
    }

    #[test]
    fn an_update_that_does_not_fit_leaves_the_datagram_untouched() {
        let mut wire = Vec::new().limit(20);
        let result = codec().encode_member(&Member::alive(member(2, None)), &mut wire);
        assert_eq!((result, wire.get_ref().len()), (Err(CodecError::Full), 0));
    }

    proptest! {
        #[test]
        fn random_bytes_are_an_error_or_a_message(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = codec().decode_header(bytes.as_slice());
            let _ = codec().decode_member(bytes.as_slice());
        }
    }
}
