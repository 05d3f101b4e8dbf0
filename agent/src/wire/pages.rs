//! What travels on the page connection, beside the migration channel: memory that follows its program.
//!
//! ```text
//!   home (deputy's supervisor)                    remote (pager)
//!            <-------------------------------     Wanted
//!   Contents*, Nothing* -------------------->
//!   Huge ----------------------------------->
//!   End ------------------------------------>     closes the connection
//! ```
//!
//! A message is one encrypted record ([`crate::secure::record`]): words of 64 bits, little endian, the first of
//! which tells its kind; page contents are raw bytes behind two words. Fixed words in place of CBOR, because
//! contents are sealed where they were read, and placed where they were opened.

use std::ops::Range;

use crate::limits::PAGE_RUNS_MAX;
use crate::migrate::image::{PAGE_BYTES, USER_ADDRESS_END};

/// Bytes in front of the contents in a message.
pub const CONTENTS_PREFIX_BYTES: usize = 16;

const CONTENTS: u64 = 1;
const NOTHING: u64 = 2;
const END: u64 = 3;
const WANTED: u64 = 4;
const HUGE: u64 = 5;

/// A message.
#[derive(Debug, PartialEq, Eq)]
pub enum PageMessage<'record> {
    /// Pages from this address of home's on.
    Contents {
        /// Page-aligned.
        address: u64,
        /// Whole pages.
        bytes: &'record [u8],
    },
    /// Home has nothing there: it is zero.
    Nothing(Vec<Range<u64>>),
    /// Home has this in huge pages.
    Huge(Vec<Range<u64>>),
    /// Everything has been sent.
    End,
    /// The program waits for the pages at these addresses of home's.
    Wanted(Vec<u64>),
}

/// A record that is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("a message on the page connection cannot be understood")
    }
}

impl std::error::Error for Malformed {}

/// The bytes in front of contents that begin at `address`.
#[must_use]
pub fn contents_prefix(address: u64) -> [u8; CONTENTS_PREFIX_BYTES] {
    let mut prefix = [0; CONTENTS_PREFIX_BYTES];
    prefix[..8].copy_from_slice(&CONTENTS.to_le_bytes());
    prefix[8..].copy_from_slice(&address.to_le_bytes());
    prefix
}

/// [`PageMessage::Nothing`]; at most [`PAGE_RUNS_MAX`] ranges.
#[must_use]
pub fn nothing(ranges: &[Range<u64>]) -> Vec<u8> {
    of_ranges(NOTHING, ranges)
}

/// [`PageMessage::Huge`]; at most [`PAGE_RUNS_MAX`] ranges.
#[must_use]
pub fn huge(ranges: &[Range<u64>]) -> Vec<u8> {
    of_ranges(HUGE, ranges)
}

fn of_ranges(kind: u64, ranges: &[Range<u64>]) -> Vec<u8> {
    let words = ranges.iter().flat_map(|range| [range.start, range.end]);
    message(kind, words)
}

/// [`PageMessage::End`].
#[must_use]
pub fn end() -> Vec<u8> {
    message(END, [])
}

/// [`PageMessage::Wanted`].
#[must_use]
pub fn wanted(addresses: &[u64]) -> Vec<u8> {
    message(WANTED, addresses.iter().copied())
}

fn message(kind: u64, words: impl IntoIterator<Item = u64>) -> Vec<u8> {
    std::iter::once(kind)
        .chain(words)
        .flat_map(u64::to_le_bytes)
        .collect()
}

/// A record's plaintext as a message.
///
/// # Errors
/// If it is none, or names addresses that no program can have.
pub fn parse(record: &[u8]) -> Result<PageMessage<'_>, Malformed> {
    let (kind, rest) = record.split_first_chunk().ok_or(Malformed)?;
    match u64::from_le_bytes(*kind) {
        CONTENTS => {
            let (address, bytes) = rest.split_first_chunk().ok_or(Malformed)?;
            let address = u64::from_le_bytes(*address);
            let length = bytes.len() as u64;
            if length == 0 || !is_range(address, address.saturating_add(length)) {
                return Err(Malformed);
            }
            Ok(PageMessage::Contents { address, bytes })
        }
        NOTHING => ranges(rest).map(PageMessage::Nothing),
        HUGE => ranges(rest).map(PageMessage::Huge),
        END if rest.is_empty() => Ok(PageMessage::End),
        WANTED => {
            let words = words(rest)?;
            if words.iter().any(|&address| address >= USER_ADDRESS_END) {
                return Err(Malformed);
            }
            Ok(PageMessage::Wanted(words))
        }
        _ => Err(Malformed),
    }
}

fn is_range(start: u64, end: u64) -> bool {
    start < end && end <= USER_ADDRESS_END && (start | end).is_multiple_of(PAGE_BYTES)
}

fn ranges(bytes: &[u8]) -> Result<Vec<Range<u64>>, Malformed> {
    let words = words(bytes)?;
    let (pairs, left_over) = words.as_chunks::<2>();
    let sound = pairs.iter().all(|&[start, end]| is_range(start, end));
    if !left_over.is_empty() || !sound {
        return Err(Malformed);
    }
    Ok(pairs.iter().map(|&[start, end]| start..end).collect())
}

fn words(bytes: &[u8]) -> Result<Vec<u64>, Malformed> {
    let (words, left_over) = bytes.as_chunks();
    if !left_over.is_empty() || words.len() > 2 * PAGE_RUNS_MAX {
        return Err(Malformed);
    }
    Ok(words.iter().map(|&word| u64::from_le_bytes(word)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_read_back() {
        let ranges = [0x1000..0x3000, 0x8000..0x9000];
        assert_eq!(
            parse(&nothing(&ranges)),
            Ok(PageMessage::Nothing(ranges.to_vec()))
        );
        assert_eq!(
            parse(&huge(&ranges)),
            Ok(PageMessage::Huge(ranges.to_vec()))
        );
        assert_eq!(parse(&end()), Ok(PageMessage::End));
        assert_eq!(
            parse(&wanted(&[0x1000, 0x2008])),
            Ok(PageMessage::Wanted(vec![0x1000, 0x2008]))
        );
        let mut record = contents_prefix(0x5000).to_vec();
        record.extend([7; 8192]);
        let bytes = [7; 8192].as_slice();
        let address = 0x5000;
        assert_eq!(parse(&record), Ok(PageMessage::Contents { address, bytes }));
    }

    #[test]
    fn what_no_program_can_have_is_refused() {
        let contents = |address: u64, length: usize| {
            let mut record = contents_prefix(address).to_vec();
            record.resize(record.len() + length, 0);
            parse(&record).is_ok()
        };
        assert!(contents(0x1000, 4096));
        assert!(!contents(0x1000, 0));
        assert!(!contents(0x1000, 100));
        assert!(!contents(0x1001, 4096));
        assert!(!contents(!0xfff, 4096));
        assert!(!contents(USER_ADDRESS_END, 4096));
        assert!(parse(&message(NOTHING, [0x3000, 0x1000])).is_err());
        assert!(parse(&wanted(&[u64::MAX])).is_err());
        let many = vec![0x1000..0x2000; PAGE_RUNS_MAX + 1];
        assert!(parse(&nothing(&many)).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            kind in 0..7_u64,
            rest in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut record = kind.to_le_bytes().to_vec();
            record.extend(&rest);
            let _ = parse(&record);
            let _ = parse(&rest);
        }
    }
}
