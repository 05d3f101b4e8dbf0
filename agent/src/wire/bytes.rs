//! Byte strings of fixed or bounded size as CBOR byte strings: one byte a byte, where serde's own arrays
//! take two for most.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Exactly `N` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteArray<const N: usize>(pub [u8; N]);

/// An address, as its 4 or 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressBytes(pub IpAddr);

impl<const N: usize> Serialize for ByteArray<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de, const N: usize> Deserialize<'de> for ByteArray<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes<const N: usize>;
        impl<const N: usize> Visitor<'_> for Bytes<N> {
            type Value = ByteArray<N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{N} bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                let length = bytes.len();
                bytes
                    .try_into()
                    .map(ByteArray)
                    .map_err(|_| E::invalid_length(length, &self))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

impl Serialize for AddressBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            IpAddr::V4(address) => serializer.serialize_bytes(&address.octets()),
            IpAddr::V6(address) => serializer.serialize_bytes(&address.octets()),
        }
    }
}

impl<'de> Deserialize<'de> for AddressBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Address;
        impl Visitor<'_> for Address {
            type Value = AddressBytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "4 or 16 bytes of an address")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
                    return Ok(AddressBytes(Ipv4Addr::from(octets).into()));
                }
                if let Ok(octets) = <[u8; 16]>::try_from(bytes) {
                    return Ok(AddressBytes(Ipv6Addr::from(octets).into()));
                }
                Err(E::invalid_length(bytes.len(), &self))
            }
        }
        deserializer.deserialize_bytes(Address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::cbor;

    fn bytes_of(message: &impl Serialize) -> Vec<u8> {
        cbor::encode(message, 100).unwrap()
    }

    #[test]
    fn bytes_and_addresses_take_one_byte_a_byte_and_read_back() {
        let array = ByteArray([0xff; 20]);
        assert_eq!(bytes_of(&array).len(), 21);
        assert_eq!(
            cbor::decode::<ByteArray<20>>(&bytes_of(&array)).unwrap(),
            array
        );
        for address in ["10.0.0.1", "fe80::1"] {
            let address = AddressBytes(address.parse().unwrap());
            assert_eq!(
                cbor::decode::<AddressBytes>(&bytes_of(&address)).unwrap(),
                address
            );
        }
    }

    #[test]
    fn another_length_is_an_error() {
        let bytes = bytes_of(&ByteArray([1; 5]));
        assert!(cbor::decode::<ByteArray<4>>(&bytes).is_err());
        assert!(cbor::decode::<AddressBytes>(&bytes).is_err());
    }
}
