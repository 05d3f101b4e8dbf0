//! The beacon: by which nodes find each other.
//!
//! A beacon is the payload of a [`crate::secure::datagram`] of kind beacon, at most
//! [`BEACON_BYTES_MAX`] with its envelope: one CBOR map with short keys, to which later versions may add
//! keys that older ones skip. It grants nothing: it says who is there and where to connect, and the
//! handshake of the connection proves it.

use std::io::Cursor;

use serde::{Deserialize, Serialize};

use crate::limits::{
    BEACON_BYTES_MAX, NODE_ADDRESSES_MAX, NODE_NAME_LENGTH_MAX, VERSION_LENGTH_MAX,
};
use crate::load::ShortLoad;
use crate::secure::datagram::OVERHEAD_BYTES;
use crate::secure::identity::node_id;
use crate::wire::bytes::{AddressBytes, ByteArray};
use crate::wire::cbor;
use crate::wire::hello::is_node_name;
use crate::wire::supervisor::NodeId;

/// Most bytes of a beacon without its envelope.
const PAYLOAD_BYTES_MAX: usize = BEACON_BYTES_MAX - OVERHEAD_BYTES;

/// What a node tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beacon {
    /// Its name.
    #[serde(rename = "n")]
    pub name: heapless::String<NODE_NAME_LENGTH_MAX>,
    /// Its static public key.
    #[serde(rename = "k")]
    pub public_key: ByteArray<32>,
    /// Generation of its membership identity.
    #[serde(rename = "i")]
    pub generation: u64,
    /// UDP and TCP port.
    #[serde(rename = "p")]
    pub port: u16,
    /// Its addresses that are more than link-local; a hearer on the same link knows the sender's address.
    #[serde(rename = "a")]
    pub addresses: heapless::Vec<AddressBytes, NODE_ADDRESSES_MAX>,
    /// The number it goes by; 0 as long as it has none.
    #[serde(rename = "m")]
    pub number: u16,
    /// Version of its agent.
    #[serde(rename = "v")]
    pub version: heapless::String<VERSION_LENGTH_MAX>,
    /// Whether the hearer should answer with its own beacon.
    #[serde(rename = "q")]
    pub answer_wanted: bool,
    /// Whether it goes now.
    #[serde(rename = "x")]
    pub leaving: bool,
    /// Its load.
    #[serde(rename = "w")]
    pub load: ShortLoad,
}

/// The payload is not a sound beacon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsound;

impl Beacon {
    /// As a datagram's payload.
    ///
    /// # Errors
    /// None for any value: the longest fits, which a test shows; yet the type cannot say so.
    pub fn encode(&self) -> Result<heapless::Vec<u8, PAYLOAD_BYTES_MAX>, Unsound> {
        let mut buffer = [0; PAYLOAD_BYTES_MAX];
        let mut cursor = Cursor::new(buffer.as_mut_slice());
        ciborium::into_writer(self, &mut cursor).map_err(|_| Unsound)?;
        let length = cursor.position() as usize;
        heapless::Vec::from_slice(&buffer[..length]).map_err(|_| Unsound)
    }

    /// From the payload of a datagram that `sender` sent.
    pub fn decode(payload: &[u8], sender: NodeId) -> Result<Beacon, Unsound> {
        let beacon = Beacon::parse(payload)?;
        if node_id(&beacon.public_key.0) != sender || beacon.port == 0 {
            return Err(Unsound);
        }
        Ok(beacon)
    }

    /// The name in a beacon of another cluster: not authentic, good for a message to a person only.
    #[must_use]
    pub fn foreign_name(payload: &[u8]) -> Option<heapless::String<NODE_NAME_LENGTH_MAX>> {
        Beacon::parse(payload).ok().map(|beacon| beacon.name)
    }

    fn parse(payload: &[u8]) -> Result<Beacon, Unsound> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(Unsound);
        }
        let beacon: Beacon = cbor::decode(payload).map_err(|_| Unsound)?;
        if !is_node_name(&beacon.name) || beacon.version.chars().any(char::is_control) {
            return Err(Unsound);
        }
        Ok(beacon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secure::identity::NodeIdentity;
    use proptest::prelude::*;
    use std::net::Ipv6Addr;

    fn beacon() -> (Beacon, NodeId) {
        let identity = NodeIdentity::generate(3).unwrap();
        let beacon = Beacon {
            name: "n1".try_into().unwrap(),
            public_key: ByteArray(*identity.public_key()),
            generation: 3,
            port: 4460,
            addresses: [AddressBytes("10.0.0.1".parse().unwrap())]
                .into_iter()
                .collect(),
            number: 1,
            version: "0.1.0".try_into().unwrap(),
            answer_wanted: true,
            leaving: false,
            load: ShortLoad {
                cpus: 2,
                speed: 500,
                ..ShortLoad::default()
            },
        };
        (beacon, identity.id())
    }

    #[test]
    fn a_beacon_reads_back() {
        let (beacon, sender) = beacon();
        let payload = beacon.encode().unwrap();
        assert_eq!(Beacon::decode(&payload, sender), Ok(beacon));
    }

    #[test]
    fn the_longest_beacon_fits() {
        let text = |length| "x".repeat(length);
        let longest = Beacon {
            name: text(NODE_NAME_LENGTH_MAX).as_str().try_into().unwrap(),
            public_key: ByteArray([0xff; 32]),
            generation: u64::MAX,
            port: u16::MAX,
            addresses: [AddressBytes(Ipv6Addr::from([0xff; 16]).into()); NODE_ADDRESSES_MAX]
                .into_iter()
                .collect(),
            number: u16::MAX,
            version: text(VERSION_LENGTH_MAX).as_str().try_into().unwrap(),
            answer_wanted: true,
            leaving: true,
            load: ShortLoad {
                cpus: u16::MAX,
                speed: u32::MAX,
                load_centi: u32::MAX,
                memory_total_kib: u64::MAX,
                memory_free_kib: u64::MAX,
                guests: u32::MAX,
            },
        };
        assert!(longest.encode().unwrap().len() + OVERHEAD_BYTES <= BEACON_BYTES_MAX);
    }

    #[test]
    fn a_beacon_with_somebody_elses_key_or_an_ugly_name_is_unsound() {
        let (sound, sender) = beacon();
        let other = Beacon {
            public_key: ByteArray([1; 32]),
            ..sound.clone()
        };
        assert_eq!(
            Beacon::decode(&other.encode().unwrap(), sender),
            Err(Unsound)
        );
        let ugly = Beacon {
            name: "a\nb".try_into().unwrap(),
            ..sound
        };
        assert_eq!(
            Beacon::decode(&ugly.encode().unwrap(), sender),
            Err(Unsound)
        );
        assert_eq!(Beacon::foreign_name(&ugly.encode().unwrap()), None);
    }

    #[test]
    fn keys_of_a_later_version_are_skipped() {
        let (beacon, sender) = beacon();
        let payload = beacon.encode().unwrap();
        let mut map: ciborium::Value = cbor::decode(&payload).unwrap();
        map.as_map_mut().unwrap().push(("zz".into(), 7.into()));
        let mut later = Vec::new();
        ciborium::into_writer(&map, &mut later).unwrap();
        assert_eq!(Beacon::decode(&later, sender), Ok(beacon));
    }

    proptest! {
        #[test]
        fn random_changed_and_truncated_payloads_never_fail_otherwise_than_by_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..600),
            place in any::<prop::sample::Index>(),
            change in any::<u8>(),
        ) {
            prop_assert!(Beacon::decode(&bytes, NodeId([0; 16])).is_err());
            let (beacon, sender) = beacon();
            let mut payload = beacon.encode().unwrap();
            let place = place.index(payload.len());
            prop_assert!(Beacon::decode(&payload[..place], sender).is_err());
            payload[place] ^= change;
            let _ = Beacon::decode(&payload, sender);
        }
    }
}
