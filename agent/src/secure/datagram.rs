//! The authenticated envelope of every datagram: beacons, membership messages and loads.
//!
//! ```text
//! 0   magic "lmsa"
//! 4   oldest and newest protocol version of the sender, one byte each
//! 6   kind: 1 beacon, 2 membership, 3 loads
//! 7   cluster id, 5 bytes
//! 12  sender's node id, 16 bytes
//! 28  sender's epoch, u64 little endian
//! 36  sequence, u64 little endian: one count for all datagrams of the sender in this epoch
//! 44  payload
//! -16 code: the first 16 bytes of BLAKE2s-256 over all before it, keyed per kind and cluster
//! ```
//!
//! Checked in this order: length, magic, cluster, version, code; then, by the caller, the
//! [`ReplayGuard`]. Nothing of the payload is looked at before, with one exception: the name in a beacon
//! of another cluster, so that a person can be told *who* has the wrong key.

use blake2::Blake2sMac256;
use blake2::digest::Mac;
use heapless::index_map::FnvIndexMap;

use crate::limits::{DATAGRAM_BYTES_MAX, MEMBERS_MAX};
use crate::secure::key::{ClusterId, ClusterKey};
use crate::wire::hello::{PROTOCOLS, ProtocolRange};
use crate::wire::supervisor::NodeId;

const MAGIC: [u8; 4] = *b"lmsa";
const HEADER_BYTES: usize = 44;
const CODE_BYTES: usize = 16;

/// Bytes that the envelope adds to a payload.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + CODE_BYTES;

/// What a datagram carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A beacon.
    Beacon = 1,
    /// A membership message.
    Membership = 2,
    /// Loads of nodes; authenticated by the same key as membership.
    Loads = 3,
}

/// A datagram whose code was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    /// What it carries.
    pub kind: Kind,
    /// Who sent it.
    pub sender: NodeId,
    /// In which epoch of the sender.
    pub epoch: u64,
    /// Its number in that epoch.
    pub sequence: u64,
    /// What it carries.
    pub payload: &'a [u8],
}

/// Why a datagram is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramError<'a> {
    /// Too short, too long, or not ours at all.
    Garbage,
    /// It claims our cluster, but the code is wrong.
    Forged,
    /// It is of another cluster. Nothing in it is authentic.
    OtherCluster {
        /// Which.
        cluster: ClusterId,
        /// What it carries, if it is a beacon in a version that we can read.
        beacon: Option<&'a [u8]>,
    },
    /// It is of our cluster, in versions that we do not speak.
    Protocol(ProtocolRange),
}

/// The two keys of a cluster's datagrams.
pub struct DatagramKeys {
    cluster: ClusterId,
    beacon: [u8; 32],
    membership: [u8; 32],
}

impl DatagramKeys {
    /// Derived from the cluster key.
    #[must_use]
    pub fn new(key: &ClusterKey) -> DatagramKeys {
        DatagramKeys {
            cluster: key.cluster(),
            beacon: key.beacon_key(),
            membership: key.membership_key(),
        }
    }

    fn code(&self, kind: Kind, signed: &[u8]) -> Blake2sMac256 {
        let key = match kind {
            Kind::Beacon => &self.beacon,
            Kind::Membership | Kind::Loads => &self.membership,
        };
        <Blake2sMac256 as Mac>::new(key.into()).chain_update(signed)
    }

    /// Puts `payload` into an envelope, into `out`, which is emptied first.
    pub fn seal(
        &self,
        kind: Kind,
        sender: NodeId,
        epoch: u64,
        sequence: u64,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) {
        out.clear();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[PROTOCOLS.oldest, PROTOCOLS.newest, kind as u8]);
        out.extend_from_slice(&self.cluster.0);
        out.extend_from_slice(&sender.0);
        out.extend_from_slice(&epoch.to_le_bytes());
        out.extend_from_slice(&sequence.to_le_bytes());
        out.extend_from_slice(payload);
        let code = self.code(kind, out).finalize().into_bytes();
        out.extend_from_slice(&code[..CODE_BYTES]);
    }

    /// Takes a datagram out of its envelope.
    pub fn open<'a>(&self, datagram: &'a [u8]) -> Result<Opened<'a>, DatagramError<'a>> {
        let length = datagram.len();
        if !(OVERHEAD_BYTES..=DATAGRAM_BYTES_MAX).contains(&length) || datagram[..4] != MAGIC {
            return Err(DatagramError::Garbage);
        }
        let (signed, code) = datagram.split_at(length - CODE_BYTES);
        let protocols = ProtocolRange {
            oldest: signed[4],
            newest: signed[5],
        };
        let spoken = PROTOCOLS.agree(protocols).is_some();
        let kind = match signed[6] {
            1 => Kind::Beacon,
            2 => Kind::Membership,
            3 => Kind::Loads,
            _ => return Err(DatagramError::Garbage),
        };
        let cluster = ClusterId(array(&signed[7..12]));
        let payload = &signed[HEADER_BYTES..];
        if cluster != self.cluster {
            let beacon = (spoken && kind == Kind::Beacon).then_some(payload);
            return Err(DatagramError::OtherCluster { cluster, beacon });
        }
        if !spoken {
            return Err(DatagramError::Protocol(protocols));
        }
        self.code(kind, signed)
            .verify_truncated_left(code)
            .map_err(|_| DatagramError::Forged)?;
        Ok(Opened {
            kind,
            sender: NodeId(array(&signed[12..28])),
            epoch: u64::from_le_bytes(array(&signed[28..36])),
            sequence: u64::from_le_bytes(array(&signed[36..44])),
            payload,
        })
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    std::array::from_fn(|place| bytes[place])
}

/// How far behind the newest a datagram may arrive.
const WINDOW: u64 = 64;

/// What was seen of one sender.
#[derive(Clone, Copy, Debug)]
struct Seen {
    epoch: u64,
    newest: u64,
    /// Bit n: number `newest - n` was seen.
    before: u64,
    /// Count of the guard when it was last heard.
    heard: u64,
}

/// Lets each datagram of each node through once: no repetition, nothing of an earlier epoch.
///
/// A table of fixed size. Only datagrams with a right code get here, so only nodes of the cluster take
/// room; if there are ever more than [`MEMBERS_MAX`], the one not heard for longest is forgotten.
pub struct ReplayGuard {
    seen: Box<FnvIndexMap<[u8; 16], Seen, MEMBERS_MAX>>,
    count: u64,
}

impl Default for ReplayGuard {
    fn default() -> Self {
        ReplayGuard {
            seen: Box::new(FnvIndexMap::new()),
            count: 0,
        }
    }
}

impl ReplayGuard {
    /// Whether this datagram is new. Remembers it.
    pub fn admit(&mut self, datagram: &Opened<'_>) -> bool {
        self.count += 1;
        let heard = self.count;
        let (epoch, sequence) = (datagram.epoch, datagram.sequence);
        if let Some(seen) = self.seen.get_mut(&datagram.sender.0) {
            return seen.admit(epoch, sequence, heard);
        }
        if self.seen.len() == MEMBERS_MAX {
            let silent = self
                .seen
                .iter()
                .min_by_key(|(_, seen)| seen.heard)
                .map(|(id, _)| *id);
            if let Some(id) = silent {
                self.seen.swap_remove(&id);
            }
        }
        let first = Seen {
            epoch,
            newest: sequence,
            before: 1,
            heard,
        };
        self.seen.insert(datagram.sender.0, first).is_ok()
    }
}

impl Seen {
    fn admit(&mut self, epoch: u64, sequence: u64, heard: u64) -> bool {
        if epoch < self.epoch {
            return false;
        }
        if epoch > self.epoch {
            *self = Seen {
                epoch,
                newest: sequence,
                before: 1,
                heard,
            };
            return true;
        }
        if sequence > self.newest {
            let ahead = sequence - self.newest;
            self.before = if ahead < WINDOW {
                self.before << ahead | 1
            } else {
                1
            };
            self.newest = sequence;
        } else {
            let behind = self.newest - sequence;
            if behind >= WINDOW || self.before >> behind & 1 == 1 {
                return false;
            }
            self.before |= 1 << behind;
        }
        self.heard = heard;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SENDER: NodeId = NodeId([5; 16]);

    fn keys() -> DatagramKeys {
        DatagramKeys::new(&ClusterKey::open())
    }

    fn sealed(keys: &DatagramKeys, kind: Kind, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        keys.seal(kind, SENDER, 7, 8, payload, &mut out);
        out
    }

    fn opened(sender: u16, epoch: u64, sequence: u64) -> Opened<'static> {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&sender.to_le_bytes());
        Opened {
            kind: Kind::Beacon,
            sender: NodeId(id),
            epoch,
            sequence,
            payload: &[],
        }
    }

    #[test]
    fn a_datagram_comes_out_as_it_went_in() {
        let datagram = sealed(&keys(), Kind::Membership, b"ping");
        let expected = Opened {
            kind: Kind::Membership,
            sender: SENDER,
            epoch: 7,
            sequence: 8,
            payload: b"ping",
        };
        assert_eq!(keys().open(&datagram), Ok(expected));
    }

    #[test]
    fn any_changed_byte_and_any_truncation_is_noticed() {
        let datagram = sealed(&keys(), Kind::Beacon, b"name");
        for place in 0..datagram.len() {
            let mut changed = datagram.clone();
            changed[place] ^= 0x41;
            assert!(keys().open(&changed).is_err(), "byte {place}");
            assert!(keys().open(&datagram[..place]).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn a_membership_message_cannot_be_passed_off_as_a_beacon() {
        let mut datagram = sealed(&keys(), Kind::Membership, b"name");
        datagram[6] = Kind::Beacon as u8;
        assert_eq!(keys().open(&datagram), Err(DatagramError::Forged));
    }

    #[test]
    fn another_cluster_is_told_apart_from_a_forgery() {
        let other = DatagramKeys::new(&ClusterKey::generate().unwrap());
        let datagram = sealed(&other, Kind::Beacon, b"name");
        let cluster = other.cluster;
        assert_eq!(
            keys().open(&datagram),
            Err(DatagramError::OtherCluster {
                cluster,
                beacon: Some(b"name")
            })
        );
    }

    #[test]
    fn versions_that_we_do_not_speak_are_named() {
        let mut datagram = sealed(&keys(), Kind::Beacon, b"?");
        (datagram[4], datagram[5]) = (8, 9);
        let theirs = ProtocolRange {
            oldest: 8,
            newest: 9,
        };
        assert_eq!(keys().open(&datagram), Err(DatagramError::Protocol(theirs)));
    }

    #[test]
    fn each_datagram_passes_once_also_out_of_order_and_never_of_an_earlier_epoch() {
        let mut guard = ReplayGuard::default();
        for (epoch, sequence, passes) in [
            (1, 10, true),
            (1, 10, false),
            (1, 12, true),
            (1, 11, true),
            (1, 11, false),
            (1, 200, true),
            (1, 136, false),
            (1, 137, true),
            (2, 1, true),
            (1, 201, false),
        ] {
            let admitted = guard.admit(&opened(1, epoch, sequence));
            assert_eq!(admitted, passes, "epoch {epoch}, sequence {sequence}");
        }
    }

    #[test]
    fn a_full_table_forgets_the_node_not_heard_for_longest() {
        let mut guard = ReplayGuard::default();
        for sender in 0..=MEMBERS_MAX as u16 {
            assert!(guard.admit(&opened(sender, 1, 1)));
        }
        assert!(!guard.admit(&opened(MEMBERS_MAX as u16, 1, 1)));
        assert!(!guard.admit(&opened(1, 1, 1)));
        assert!(guard.admit(&opened(0, 1, 1)), "forgotten, so new again");
    }

    proptest! {
        #[test]
        fn random_bytes_never_open(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            prop_assert!(keys().open(&bytes).is_err());
        }

        #[test]
        fn random_bytes_behind_a_right_header_never_open(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut datagram = sealed(&keys(), Kind::Beacon, b"");
            datagram.truncate(12);
            datagram.extend_from_slice(&bytes);
            prop_assert!(keys().open(&datagram).is_err());
        }

        #[test]
        fn a_shuffled_and_repeated_stream_passes_each_number_at_most_once(
            numbers in prop::collection::vec(0..300_u64, 0..400),
        ) {
            let mut guard = ReplayGuard::default();
            let mut passed = std::collections::HashSet::new();
            for number in numbers {
                if guard.admit(&opened(1, 1, number)) {
                    prop_assert!(passed.insert(number));
                }
            }
        }
    }
}
