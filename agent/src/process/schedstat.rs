//! /proc/PID/task/TID/schedstat: how long a thread has run and how long it has waited for a CPU, in nanoseconds.
//!
//! Both together, taken twice, tell how many threads wanted a CPU between the two moments: a far better load than
//! counting those that happen to be runnable when somebody looks.

use super::{ParseError, ReadError, field, read_file, tasks};
use crate::limits::PROC_FILE_BYTES_MAX;

const FILE: &str = "schedstat";

/// How threads have spent their time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schedstat {
    /// On a CPU.
    pub running_ns: u64,
    /// Waiting for one.
    pub waiting_ns: u64,
}

/// The contents of a schedstat file.
///
/// # Errors
/// When it does not begin with two numbers.
pub fn parse(contents: &[u8]) -> Result<Schedstat, ParseError> {
    let mut numbers = field::words(contents.trim_ascii()).map(field::decimal);
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(running_ns), Some(waiting_ns)) => Ok(Schedstat {
            running_ns,
            waiting_ns,
        }),
        _ => Err(ParseError {
            file: FILE,
            line: 1,
            expected: "two numbers of nanoseconds",
        }),
    }
}

/// The times of all threads that a process has now, added up; threads that end meanwhile do not count.
///
/// # Errors
/// When the process is gone, or its threads cannot be read.
pub fn read(pid: u32) -> Result<Schedstat, ReadError> {
    let mut sum = Schedstat::default();
    for tid in tasks::read(pid)? {
        let Ok(contents) = read_file(pid, &format!("task/{tid}/{FILE}"), PROC_FILE_BYTES_MAX)
        else {
            continue;
        };
        let one = parse(&contents).map_err(|cause| ReadError::Malformed { pid, cause })?;
        sum.running_ns = sum.running_ns.saturating_add(one.running_ns);
        sum.waiting_ns = sum.waiting_ns.saturating_add(one.waiting_ns);
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_two_numbers_are_the_times() {
        let read = parse(b"26180000 1045211 37\n").unwrap();
        assert_eq!((read.running_ns, read.waiting_ns), (26_180_000, 1_045_211));
        assert!(parse(b"1\n").is_err() && parse(b"-1 2 3\n").is_err() && parse(b"").is_err());
    }

    #[test]
    fn this_process_has_run() {
        assert!(read(std::process::id()).unwrap().running_ns > 0);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_fail(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
