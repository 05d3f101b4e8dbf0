//! Frames on a byte stream, as QEMU's `-netdev stream` sends them: a u32 length, big endian, and
//! that many bytes of Ethernet frame (QEMU, `net/stream.c`).
//!
//! Pure: bytes in, frames out.

/// Longest frame that QEMU sends (`NET_BUFSIZE`, 4 KiB beyond the largest IP packet).
pub const FRAME_BYTES_MAX: usize = 4096 + 65536;

const LENGTH_BYTES: usize = 4;

/// A length that no frame has: the stream cannot be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImpossibleLength(pub usize);

impl std::fmt::Display for ImpossibleLength {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "a frame of {} bytes is announced, but at most {FRAME_BYTES_MAX} are possible",
            self.0
        )
    }
}

/// Collects the bytes of a stream and cuts them into frames.
#[derive(Debug, Default)]
pub struct FrameReader {
    bytes: Vec<u8>,
    /// Up to here `bytes` has been given out.
    taken: usize,
}

impl FrameReader {
    /// Adds what was read from the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken == self.bytes.len() {
            self.bytes.clear();
            self.taken = 0;
        } else if self.taken > FRAME_BYTES_MAX {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next complete frame, if there is one.
    ///
    /// # Errors
    /// When the length is beyond [`FRAME_BYTES_MAX`]; the stream must then be closed.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, ImpossibleLength> {
        let waiting = &self.bytes[self.taken..];
        let Some(length_bytes) = waiting.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length_bytes) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(ImpossibleLength(length));
        }
        if waiting.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        let start = self.taken + LENGTH_BYTES;
        self.taken = start + length;
        Ok(Some(&self.bytes[start..start + length]))
    }
}

/// The length that goes before a frame.
pub fn length_of(frame: &[u8]) -> [u8; LENGTH_BYTES] {
    (frame.len() as u32).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream_of(frames: &[&[u8]]) -> Vec<u8> {
        frames
            .iter()
            .flat_map(|frame| [&length_of(frame)[..], frame].concat())
            .collect()
    }

    #[test]
    fn frames_are_found_however_the_stream_is_cut() {
        let frames: [&[u8]; 4] = [b"first", b"", &[7; 3000], b"last"];
        let stream = stream_of(&frames);
        for piece in [1, 2, 3, 7, 1000, stream.len()] {
            let mut reader = FrameReader::default();
            let mut found = Vec::new();
            for bytes in stream.chunks(piece) {
                reader.push(bytes);
                while let Some(frame) = reader.next_frame().unwrap() {
                    found.push(frame.to_vec());
                }
            }
            assert_eq!(found, frames, "in pieces of {piece} bytes");
        }
    }

    #[test]
    fn an_impossible_length_is_an_error_and_not_an_allocation() {
        let mut reader = FrameReader::default();
        reader.push(&u32::MAX.to_be_bytes());
        assert_eq!(
            reader.next_frame(),
            Err(ImpossibleLength(u32::MAX as usize))
        );
    }

    #[test]
    fn what_was_given_out_does_not_pile_up() {
        let mut reader = FrameReader::default();
        let stream = stream_of(&[&[1; 1500]]);
        for _ in 0..1000 {
            // Half a frame always waits, so the reader never runs empty.
            reader.push(&stream[..700]);
            reader.push(&stream[700..]);
            reader.push(&stream[..9]);
            while reader.next_frame().unwrap().is_some() {}
            reader.push(&stream[9..]);
            while reader.next_frame().unwrap().is_some() {}
            reader.push(&[]);
        }
        assert!(reader.bytes.len() < 3 * FRAME_BYTES_MAX);
    }
}
