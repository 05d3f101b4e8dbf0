//! Frames: a length and that many bytes of CBOR, on any stream of bytes.
//!
//! ```text
//! frame = length: u32, little endian, at most the limit of this stream | one CBOR message
//! ```
//!
//! The length is checked against the limit before anything is allocated, and what is read never goes
//! beyond the frame, so that a stream can be handed to another process between two frames. The pure part
//! ([`encode`], [`decode`], [`body_length`]) serves every stream; [`read`] and [`write`] block,
//! [`read_async`] and [`write_async`] do not.

use std::fmt;
use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use smol::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of the length in front of each frame.
pub const LENGTH_BYTES: usize = 4;

/// Deepest nesting of a message: no message of ours comes near, and a hostile one cannot exhaust the
/// stack.
const NESTING_MAX: usize = 32;

/// Why a frame could not be written or read. After any but [`FrameError::Closed`] the stream is out of
/// step and of no further use.
#[derive(Debug)]
pub enum FrameError {
    /// The stream ended between two frames.
    Closed,
    /// The message is longer than this stream allows; when reading, nothing was allocated.
    TooLong {
        /// Its length in bytes.
        bytes: usize,
        /// The longest allowed.
        limit: usize,
    },
    /// The bytes are not the message expected here.
    Malformed(String),
    /// The message cannot be written as CBOR.
    Unwritable(String),
    /// The stream failed, or ended within a frame.
    Stream(io::Error),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Closed => write!(f, "the other side closed the connection"),
            FrameError::TooLong { bytes, limit } => {
                write!(
                    f,
                    "a message of {bytes} bytes is longer than the {limit} allowed here"
                )
            }
            FrameError::Malformed(cause) => write!(f, "a message is malformed: {cause}"),
            FrameError::Unwritable(cause) => write!(f, "a message cannot be encoded: {cause}"),
            FrameError::Stream(error) => write!(f, "the connection failed: {error}"),
        }
    }
}

impl std::error::Error for FrameError {}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        FrameError::Stream(error)
    }
}

/// A whole frame, length included, with `message` in it.
pub fn encode(message: &impl Serialize, limit: usize) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; LENGTH_BYTES];
    ciborium::into_writer(message, &mut frame)
        .map_err(|error| FrameError::Unwritable(error.to_string()))?;
    let bytes = frame.len() - LENGTH_BYTES;
    let length = u32::try_from(bytes).ok().filter(|_| bytes <= limit);
    let length = length.ok_or(FrameError::TooLong { bytes, limit })?;
    frame[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

/// The message in the body of a frame; bytes after it are an error.
pub fn decode<T: DeserializeOwned>(mut body: &[u8]) -> Result<T, FrameError> {
    let message = ciborium::de::from_reader_with_recursion_limit(&mut body, NESTING_MAX)
        .map_err(|error| FrameError::Malformed(error.to_string()))?;
    if !body.is_empty() {
        return Err(FrameError::Malformed(format!(
            "{} bytes follow it",
            body.len()
        )));
    }
    Ok(message)
}

/// The body's length that the four bytes in front of a frame announce, if `limit` allows it.
pub fn body_length(length: [u8; LENGTH_BYTES], limit: usize) -> Result<usize, FrameError> {
    let bytes = u32::from_le_bytes(length) as usize;
    if bytes > limit {
        return Err(FrameError::TooLong { bytes, limit });
    }
    Ok(bytes)
}

/// Writes one frame to a blocking stream.
pub fn write(
    stream: &mut impl Write,
    message: &impl Serialize,
    limit: usize,
) -> Result<(), FrameError> {
    stream.write_all(&encode(message, limit)?)?;
    Ok(())
}

/// Reads exactly one frame from a blocking stream.
pub fn read<T: DeserializeOwned>(stream: &mut impl Read, limit: usize) -> Result<T, FrameError> {
    let mut length = [0; LENGTH_BYTES];
    // The first byte alone: an end in front of it is a close, an end after it a failure.
    loop {
        match stream.read(&mut length[..1]) {
            Ok(0) => return Err(FrameError::Closed),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    stream.read_exact(&mut length[1..])?;
    let mut body = vec![0; body_length(length, limit)?];
    stream.read_exact(&mut body)?;
    decode(&body)
}

/// Writes one frame without blocking.
pub async fn write_async<S: AsyncWrite + Unpin>(
    stream: &mut S,
    message: &impl Serialize,
    limit: usize,
) -> Result<(), FrameError> {
    stream.write_all(&encode(message, limit)?).await?;
    stream.flush().await?;
    Ok(())
}

/// Reads exactly one frame without blocking.
pub async fn read_async<T: DeserializeOwned, S: AsyncRead + Unpin>(
    stream: &mut S,
    limit: usize,
) -> Result<T, FrameError> {
    let mut length = [0; LENGTH_BYTES];
    if stream.read(&mut length[..1]).await? == 0 {
        return Err(FrameError::Closed);
    }
    stream.read_exact(&mut length[1..]).await?;
    let mut body = vec![0; body_length(length, limit)?];
    stream.read_exact(&mut body).await?;
    decode(&body)
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
    fn a_frame_reads_back_and_the_reader_stops_at_its_end() {
        let mut wire = encode(&message(), 100).unwrap();
        wire.extend_from_slice(b"next");
        let mut stream = wire.as_slice();
        assert_eq!(read::<Message>(&mut stream, 100).unwrap(), message());
        assert_eq!(stream, b"next");
        let mut stream = wire.as_slice();
        let read = smol::block_on(read_async::<Message, _>(&mut stream, 100)).unwrap();
        assert_eq!((read, stream), (message(), b"next".as_slice()));
    }

    #[test]
    fn an_end_between_frames_is_a_close_and_an_end_within_one_is_not() {
        assert!(matches!(
            read::<Message>(&mut [].as_slice(), 100),
            Err(FrameError::Closed)
        ));
        let wire = encode(&message(), 100).unwrap();
        for cut in 1..wire.len() {
            let result = read::<Message>(&mut &wire[..cut], 100);
            assert!(
                matches!(result, Err(FrameError::Stream(_))),
                "cut at {cut}: {result:?}"
            );
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_on_both_sides() {
        assert!(matches!(
            encode(&message(), 5),
            Err(FrameError::TooLong { limit: 5, .. })
        ));
        let result = read::<Message>(&mut [0xff; 8].as_slice(), 100);
        assert!(matches!(
            result,
            Err(FrameError::TooLong {
                bytes: 0xffff_ffff,
                limit: 100
            })
        ));
    }

    #[test]
    fn bytes_after_the_message_are_malformed() {
        let mut body = encode(&message(), 100).unwrap().split_off(LENGTH_BYTES);
        body.push(0);
        assert!(matches!(
            decode::<Message>(&body),
            Err(FrameError::Malformed(_))
        ));
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_a_stack_overflow() {
        let body = vec![0x81; 100_000];
        assert!(matches!(
            decode::<ciborium::Value>(&body),
            Err(FrameError::Malformed(_))
        ));
    }

    proptest! {
        #[test]
        fn random_bytes_are_an_error_or_a_message(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let _ = decode::<Message>(&bytes);
            let _ = read::<Message>(&mut bytes.as_slice(), 100);
        }
    }
}
