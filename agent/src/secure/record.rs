//! Encrypted records: what a connection carries after its handshake.
//!
//! ```text
//! record = length: u32, little endian, of the body | body = ciphertext (0..=64 KiB) | tag (16 bytes)
//! ```
//!
//! ChaCha20-Poly1305 with the keys of the handshake; the nonce is the record's number in its direction
//! and the length is authenticated with the body. A record that was changed, dropped, repeated or moved
//! does not open, and nothing after it does.
//!
//! This is a pure core without I/O: a connection is handed from the agent to a supervisor as descriptor
//! + keys + record numbers ([`ChannelKeys`]), and both drive it in their own way, the agent without
//!   blocking, the supervisor with blocking calls ([`write_record`], [`read_record`]). Whoever hands a
//!   connection on must have read whole records and not a byte more.

use std::fmt;
use std::io::{self, Read, Write};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use crate::limits::RECORD_PLAINTEXT_BYTES_MAX;
use crate::wire::supervisor::ChannelKeys;

/// Bytes of the length in front of each record.
pub const LENGTH_BYTES: usize = 4;

/// Bytes of the authentication tag that ends each record.
pub const TAG_BYTES: usize = 16;

/// Longest body of a record: ciphertext and tag.
pub const RECORD_BODY_BYTES_MAX: usize = RECORD_PLAINTEXT_BYTES_MAX + TAG_BYTES;

/// Why a record could not be sealed, read or opened. The connection is of no further use.
#[derive(Debug)]
pub enum RecordError {
    /// The caller asked to seal more than fits one record; nothing was written.
    PlaintextTooLong(usize),
    /// The peer announces a body longer than any record; nothing was allocated.
    BodyTooLong(usize),
    /// The peer announces a body shorter than a tag.
    BodyTooShort(usize),
    /// The tag is wrong: the record was changed on its way, is out of order, or has another key.
    Forged {
        /// The record's number in its direction.
        number: u64,
    },
    /// All record numbers of this key are used up.
    Exhausted,
    /// The stream failed or ended.
    Stream(io::Error),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::PlaintextTooLong(bytes) => write!(
                f,
                "{bytes} bytes do not fit one record of at most {RECORD_PLAINTEXT_BYTES_MAX}"
            ),
            RecordError::BodyTooLong(bytes) => write!(
                f,
                "the peer announces a record of {bytes} bytes, more than {RECORD_BODY_BYTES_MAX}"
            ),
            RecordError::BodyTooShort(bytes) => {
                write!(
                    f,
                    "the peer announces a record of {bytes} bytes, less than its tag"
                )
            }
            RecordError::Forged { number } => write!(
                f,
                "record {number} is not authentic: changed on its way, out of order or of another key"
            ),
            RecordError::Exhausted => {
                write!(f, "all record numbers of this connection are used up")
            }
            RecordError::Stream(error) => write!(f, "the connection failed: {error}"),
        }
    }
}

impl std::error::Error for RecordError {}

impl From<io::Error> for RecordError {
    fn from(error: io::Error) -> Self {
        RecordError::Stream(error)
    }
}

/// Seals the records of one direction.
pub struct Sealer {
    key: LessSafeKey,
    number: u64,
}

/// Opens the records of one direction.
pub struct Opener {
    key: LessSafeKey,
    number: u64,
}

/// The two directions of a connection, from what was handed over with it.
#[must_use]
pub fn from_keys(keys: &ChannelKeys) -> (Sealer, Opener) {
    (
        Sealer::new(&keys.send_key, keys.send_nonce),
        Opener::new(&keys.receive_key, keys.receive_nonce),
    )
}

impl Sealer {
    /// Seals with `key`; the first record gets the number `nonce`.
    #[must_use]
    pub fn new(key: &[u8; 32], nonce: u64) -> Sealer {
        Sealer {
            key: cipher(key),
            number: nonce,
        }
    }

    /// Number of the next record, to hand over with the connection.
    #[must_use]
    pub fn nonce(&self) -> u64 {
        self.number
    }

    /// Appends `plaintext` as one whole record, length included, to `out`.
    ///
    /// On an error `out` is as it was.
    pub fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
        let start = out.len();
        out.reserve(LENGTH_BYTES + plaintext.len() + TAG_BYTES);
        out.extend_from_slice(&[0; LENGTH_BYTES]);
        out.extend_from_slice(plaintext);
        match self.seal_in_place(&mut out[start..]) {
            Ok(tag) => out.extend_from_slice(&tag),
            Err(error) => {
                out.truncate(start);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Seals a record where it lies: `record` is room for the length, and the plaintext behind it. Returns the
    /// tag, which follows it on the wire.
    pub fn seal_in_place(&mut self, record: &mut [u8]) -> Result<[u8; TAG_BYTES], RecordError> {
        let length = record.len().saturating_sub(LENGTH_BYTES);
        let too_long = || RecordError::PlaintextTooLong(length);
        let (front, plaintext) = record
            .split_first_chunk_mut::<LENGTH_BYTES>()
            .filter(|_| length <= RECORD_PLAINTEXT_BYTES_MAX)
            .ok_or_else(too_long)?;
        let next = self.number.checked_add(1).ok_or(RecordError::Exhausted)?;
        *front = length_bytes(plaintext.len() + TAG_BYTES);
        let sealed =
            self.key
                .seal_in_place_separate_tag(nonce(self.number), Aad::from(*front), plaintext);
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(sealed.map_err(|_| too_long())?.as_ref());
        self.number = next;
        Ok(tag)
    }
}

impl Opener {
    /// Opens with `key`; the first record has the number `nonce`.
    #[must_use]
    pub fn new(key: &[u8; 32], nonce: u64) -> Opener {
        Opener {
            key: cipher(key),
            number: nonce,
        }
    }

    /// Number of the next record, to hand over with the connection.
    #[must_use]
    pub fn nonce(&self) -> u64 {
        self.number
    }

    /// Opens a record's body (all after its length) in place and returns the plaintext within it.
    pub fn open<'body>(&mut self, body: &'body mut [u8]) -> Result<&'body [u8], RecordError> {
        check_body_length(body.len())?;
        let number = self.number;
        let next = number.checked_add(1).ok_or(RecordError::Exhausted)?;
        let length = length_bytes(body.len());
        let plaintext = self
            .key
            .open_in_place(nonce(number), Aad::from(length), body)
            .map_err(|_| RecordError::Forged { number })?;
        self.number = next;
        Ok(plaintext)
    }
}

/// The body's length that the four bytes in front of a record announce, if a record can be so long.
pub fn body_length(length: [u8; LENGTH_BYTES]) -> Result<usize, RecordError> {
    let bytes = u32::from_le_bytes(length) as usize;
    check_body_length(bytes)?;
    Ok(bytes)
}

/// Seals `plaintext` and writes the record with one blocking write; `buffer` is reused from call to
/// call.
pub fn write_record(
    stream: &mut impl Write,
    sealer: &mut Sealer,
    plaintext: &[u8],
    buffer: &mut Vec<u8>,
) -> Result<(), RecordError> {
    buffer.clear();
    sealer.seal(plaintext, buffer)?;
    stream.write_all(buffer)?;
    Ok(())
}

/// Reads exactly one record from a blocking stream into `buffer`, which is reused from call to call,
/// and returns its plaintext.
pub fn read_record<'buffer>(
    stream: &mut impl Read,
    opener: &mut Opener,
    buffer: &'buffer mut Vec<u8>,
) -> Result<&'buffer [u8], RecordError> {
    let mut length = [0; LENGTH_BYTES];
    stream.read_exact(&mut length)?;
    buffer.resize(body_length(length)?, 0);
    stream.read_exact(buffer)?;
    opener.open(buffer)
}

fn check_body_length(bytes: usize) -> Result<(), RecordError> {
    if bytes > RECORD_BODY_BYTES_MAX {
        return Err(RecordError::BodyTooLong(bytes));
    }
    if bytes < TAG_BYTES {
        return Err(RecordError::BodyTooShort(bytes));
    }
    Ok(())
}

fn length_bytes(body: usize) -> [u8; LENGTH_BYTES] {
    // No truncation: callers have checked it against RECORD_BODY_BYTES_MAX.
    (body as u32).to_le_bytes()
}

fn cipher(key: &[u8; 32]) -> LessSafeKey {
    // `UnboundKey::new` fails for one reason only: a key that is not as long as the algorithm's.
    #[allow(clippy::expect_used)]
    let key = UnboundKey::new(&CHACHA20_POLY1305, key).expect("ChaCha20 keys are 32 bytes");
    LessSafeKey::new(key)
}

/// Noise's layout of a nonce: four zero bytes, then the number, little endian.
fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&number.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: [u8; 32] = [7; 32];

    fn pair() -> (Sealer, Opener) {
        (Sealer::new(&KEY, 0), Opener::new(&KEY, 0))
    }

    #[test]
    fn records_come_out_as_they_went_in_and_the_reader_stops_at_their_end() {
        let (mut sealer, mut opener) = pair();
        let mut wire = Vec::new();
        let longest = vec![0x5a; RECORD_PLAINTEXT_BYTES_MAX];
        for plaintext in [b"".as_slice(), b"one", &longest] {
            sealer.seal(plaintext, &mut wire).unwrap();
        }
        wire.extend_from_slice(b"not ours");
        let mut stream = wire.as_slice();
        let mut buffer = Vec::new();
        for plaintext in [b"".as_slice(), b"one", &longest] {
            assert_eq!(
                read_record(&mut stream, &mut opener, &mut buffer).unwrap(),
                plaintext
            );
        }
        assert_eq!(stream, b"not ours");
        assert_eq!((sealer.nonce(), opener.nonce()), (3, 3));
    }

    #[test]
    fn another_process_goes_on_where_the_first_one_stopped() {
        let (mut sealer, mut opener) = pair();
        let (mut wire, mut buffer) = (Vec::new(), Vec::new());
        sealer.seal(b"before", &mut wire).unwrap();
        let mut sealer = Sealer::new(&KEY, sealer.nonce());
        sealer.seal(b"after", &mut wire).unwrap();
        let mut stream = wire.as_slice();
        read_record(&mut stream, &mut opener, &mut buffer).unwrap();
        let mut opener = Opener::new(&KEY, opener.nonce());
        assert_eq!(
            read_record(&mut stream, &mut opener, &mut buffer).unwrap(),
            b"after"
        );
    }

    #[test]
    fn a_repeated_record_does_not_open() {
        let (mut sealer, mut opener) = pair();
        let mut wire = Vec::new();
        sealer.seal(b"pay", &mut wire).unwrap();
        let twice = [wire.clone(), wire].concat();
        let (mut stream, mut buffer) = (twice.as_slice(), Vec::new());
        read_record(&mut stream, &mut opener, &mut buffer).unwrap();
        assert!(matches!(
            read_record(&mut stream, &mut opener, &mut buffer),
            Err(RecordError::Forged { number: 1 })
        ));
    }

    #[test]
    fn an_announced_length_beyond_the_cap_allocates_nothing() {
        let (_, mut opener) = pair();
        let mut stream = [0xff; 64].as_slice();
        let mut buffer = Vec::new();
        let result = read_record(&mut stream, &mut opener, &mut buffer);
        assert!(matches!(result, Err(RecordError::BodyTooLong(_))));
        assert_eq!(buffer.capacity(), 0);
    }

    #[test]
    fn too_much_plaintext_is_refused_and_leaves_the_output_alone() {
        let (mut sealer, _) = pair();
        let mut out = b"kept".to_vec();
        let result = sealer.seal(&vec![0; RECORD_PLAINTEXT_BYTES_MAX + 1], &mut out);
        assert!(matches!(result, Err(RecordError::PlaintextTooLong(_))));
        assert_eq!((out.as_slice(), sealer.nonce()), (b"kept".as_slice(), 0));
    }

    proptest! {
        #[test]
        fn any_single_changed_byte_is_noticed(
            plaintext in prop::collection::vec(any::<u8>(), 0..200),
            place in any::<prop::sample::Index>(),
            change in 1..=255u8,
        ) {
            let (mut sealer, mut opener) = pair();
            let mut wire = Vec::new();
            sealer.seal(&plaintext, &mut wire).unwrap();
            let place = place.index(wire.len());
            wire[place] ^= change;
            let mut buffer = Vec::new();
            prop_assert!(read_record(&mut wire.as_slice(), &mut opener, &mut buffer).is_err());
        }

        #[test]
        fn random_bytes_never_open_nor_allocate_beyond_a_record(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let (_, mut opener) = pair();
            let mut buffer = Vec::new();
            prop_assert!(read_record(&mut bytes.as_slice(), &mut opener, &mut buffer).is_err());
            prop_assert!(buffer.capacity() <= RECORD_BODY_BYTES_MAX);
        }
    }
}
