//! Messages as CBOR: bounded when written, and read without trust.
//!
//! What is read is a whole message and nothing after it, nested only so deep. Lengths inside it cannot
//! make the reader allocate more than a small multiple of the bytes that are there.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Deepest nesting of a message: no message of ours comes near, and a hostile one cannot exhaust the
/// stack.
const NESTING_MAX: usize = 32;

/// Why a message could not be written or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CborError {
    /// The message is longer than allowed.
    TooLong {
        /// The longest allowed, in bytes.
        limit: usize,
    },
    /// The bytes are not the message expected here.
    Malformed(String),
    /// The message cannot be written as CBOR.
    Unwritable(String),
}

impl fmt::Display for CborError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CborError::TooLong { limit } => {
                write!(f, "a message is longer than the {limit} bytes allowed here")
            }
            CborError::Malformed(cause) => write!(f, "a message is malformed: {cause}"),
            CborError::Unwritable(cause) => write!(f, "a message cannot be encoded: {cause}"),
        }
    }
}

impl std::error::Error for CborError {}

/// `message` as at most `limit` bytes.
pub fn encode(message: &impl Serialize, limit: usize) -> Result<Vec<u8>, CborError> {
    let mut bytes = Vec::new();
    ciborium::into_writer(message, &mut bytes)
        .map_err(|error| CborError::Unwritable(error.to_string()))?;
    if bytes.len() > limit {
        return Err(CborError::TooLong { limit });
    }
    Ok(bytes)
}

/// The message that these bytes are; the caller has bounded their number.
pub fn decode<T: DeserializeOwned>(mut bytes: &[u8]) -> Result<T, CborError> {
    let message = ciborium::de::from_reader_with_recursion_limit(&mut bytes, NESTING_MAX)
        .map_err(|error| CborError::Malformed(error.to_string()))?;
    if !bytes.is_empty() {
        return Err(CborError::Malformed(format!(
            "{} bytes follow it",
            bytes.len()
        )));
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Message {
        name: String,
        numbers: Vec<u32>,
    }

    fn message() -> Message {
        Message {
            name: "n1".into(),
            numbers: vec![1, 2, 70_000],
        }
    }

    #[test]
    fn a_message_reads_back() {
        let bytes = encode(&message(), 100).unwrap();
        assert_eq!(decode::<Message>(&bytes), Ok(message()));
    }

    #[test]
    fn a_message_that_is_too_long_is_not_written() {
        assert_eq!(encode(&message(), 5), Err(CborError::TooLong { limit: 5 }));
    }

    #[test]
    fn truncated_and_continued_messages_are_malformed() {
        let mut bytes = encode(&message(), 100).unwrap();
        for cut in 0..bytes.len() {
            let result = decode::<Message>(&bytes[..cut]);
            assert!(
                matches!(result, Err(CborError::Malformed(_))),
                "cut at {cut}"
            );
        }
        bytes.push(0);
        assert!(matches!(
            decode::<Message>(&bytes),
            Err(CborError::Malformed(_))
        ));
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_a_stack_overflow() {
        let bytes = vec![0x81; 100_000];
        assert!(matches!(
            decode::<ciborium::Value>(&bytes),
            Err(CborError::Malformed(_))
        ));
    }

    #[test]
    fn a_length_that_the_bytes_do_not_keep_is_malformed() {
        // An array of 2^64 - 1 numbers, of which none follows.
        let bytes = [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert!(matches!(
            decode::<Vec<u64>>(&bytes),
            Err(CborError::Malformed(_))
        ));
    }

    proptest! {
        #[test]
        fn random_bytes_are_an_error_or_a_message(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let _ = decode::<Message>(&bytes);
        }
    }
}
