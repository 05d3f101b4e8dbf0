//! /proc/PID/io: how often a process has called read and write, which it would call home for if it were away.

use super::{ParseError, ReadError, field, read_file};
use crate::limits::PROC_FILE_BYTES_MAX;

const FILE: &str = "io";

/// Calls of read(2), write(2) and their relatives so far, from the contents of an io file.
///
/// # Errors
/// When one of the two lines is missing or odd.
pub fn parse(contents: &[u8]) -> Result<u64, ParseError> {
    let count = |name: &[u8]| {
        field::lines(contents).find_map(|(_, line)| {
            let value = line.strip_prefix(name)?.strip_prefix(b":")?;
            field::decimal::<u64>(value.trim_ascii())
        })
    };
    match (count(b"syscr"), count(b"syscw")) {
        (Some(reads), Some(writes)) => Ok(reads.saturating_add(writes)),
        _ => Err(ParseError {
            file: FILE,
            line: 0,
            expected: "the lines syscr and syscw",
        }),
    }
}

/// Calls of read(2), write(2) and their relatives that a process has made.
///
/// # Errors
/// When the process is gone, or its file cannot be read or understood.
pub fn read(pid: u32) -> Result<u64, ReadError> {
    let contents = read_file(pid, FILE, PROC_FILE_BYTES_MAX)?;
    parse(&contents).map_err(|cause| ReadError::Malformed { pid, cause })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_and_writes_are_added_up() {
        let text = b"rchar: 6976\nwchar: 0\nsyscr: 10\nsyscw: 3\nread_bytes: 0\n";
        assert_eq!(parse(text).unwrap(), 13);
        assert!(parse(b"syscr: 10\n").is_err() && parse(b"syscr: 1\nsyscw: x\n").is_err());
    }

    #[test]
    fn this_process_has_read() {
        assert!(read(std::process::id()).unwrap() > 0);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_fail(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
