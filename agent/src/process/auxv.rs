//! /proc/PID/auxv: the auxiliary vector that the kernel gave the program at exec (getauxval(3)).

use super::{ParseError, ReadError, read_file};
use crate::limits::{AUXILIARY_VECTOR_ENTRIES_MAX, PROC_FILE_BYTES_MAX};

const FILE: &str = "auxv";

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// AT_* of getauxval(3).
    pub key: u64,
    /// Its value.
    pub value: u64,
}

/// AT_SYSINFO_EHDR: where the vDSO was mapped at exec.
pub const KEY_VDSO: u64 = 33;

/// AT_SECURE: not 0 when exec gave the program privileges that its caller did not have.
pub const KEY_SECURE: u64 = 23;

/// The entries of a 64-bit process, without the AT_NULL at the end. Nothing for one without memory.
///
/// # Errors
/// When it is not made of pairs of words, has no end, or more than
/// [`AUXILIARY_VECTOR_ENTRIES_MAX`] entries.
pub fn parse(contents: &[u8]) -> Result<Vec<Entry>, ParseError> {
    let error = |expected| ParseError {
        file: FILE,
        line: 0,
        expected,
    };
    if contents.is_empty() {
        return Ok(Vec::new());
    }
    let (pairs, []) = contents.as_chunks::<16>() else {
        return Err(error("pairs of 8-byte words"));
    };
    let mut entries = Vec::new();
    for pair in pairs {
        let (key, value) = pair.split_at(8);
        let word = |bytes: &[u8]| bytes.try_into().map(u64::from_ne_bytes);
        let (Ok(key), Ok(value)) = (word(key), word(value)) else {
            return Err(error("pairs of 8-byte words"));
        };
        if key == 0 {
            return Ok(entries);
        }
        if entries.len() == AUXILIARY_VECTOR_ENTRIES_MAX {
            return Err(error("fewer entries"));
        }
        entries.push(Entry { key, value });
    }
    Err(error("AT_NULL at the end"))
}

/// The auxiliary vector of a process.
///
/// # Errors
/// When the process is gone, or its file cannot be read or understood.
pub fn read(pid: u32) -> Result<Vec<Entry>, ReadError> {
    let contents = read_file(pid, FILE, PROC_FILE_BYTES_MAX)?;
    parse(&contents).map_err(|cause| ReadError::Malformed { pid, cause })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SLEEP: &[u8] = include_bytes!("fixtures/auxv-sleep");

    #[test]
    fn an_ordinary_programs_vector_is_read_in_full() {
        let entries = parse(SLEEP).unwrap();
        assert_eq!(entries.len(), 22);
        assert_eq!(
            entries[0],
            Entry {
                key: KEY_VDSO,
                value: 0x7f6b_56a7_a000
            }
        );
        assert_eq!(entries[21].key, 0x1c);
    }

    #[test]
    fn a_vector_without_end_or_of_odd_length_is_refused() {
        assert_eq!(parse(b"").unwrap(), []);
        assert!(parse(&SLEEP[..32]).is_err());
        assert!(parse(&SLEEP[..33]).is_err());
        assert!(parse(&[1; 16 * (AUXILIARY_VECTOR_ENTRIES_MAX + 2)]).is_err());
    }

    #[test]
    fn our_own_vector_is_read() {
        assert!(
            read(std::process::id())
                .unwrap()
                .iter()
                .any(|entry| entry.key == KEY_VDSO)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(contents in prop::collection::vec(any::<u8>(), 0..8192)) {
            if let Ok(entries) = parse(&contents) {
                prop_assert!(entries.len() <= AUXILIARY_VECTOR_ENTRIES_MAX);
            }
        }
    }
}
