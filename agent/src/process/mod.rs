//! What /proc says of a process: one file here for each file there.
//!
//! Each file holds a pure parser (bytes in, value or [`ParseError`] out) and below it a thin reader. A
//! process chooses its own name and the names of what it maps and opens, so these bytes are a
//! stranger's: the parsers take any bytes, never panic, and keep to the bounds of [`crate::limits`].
//!
//! What is read from a running process can be out of date at once, and a pid can be given to another
//! process. [`Identity`] tells the latter; only a stopped process gives a consistent picture.

pub mod auxv;
pub mod core_dump;
pub mod descriptors;
pub mod environment;
mod field;
pub mod io_calls;
pub mod limits;
pub mod maps;
pub mod memory_files;
pub mod mountinfo;
pub mod schedstat;
pub mod smaps;
pub mod stat;
pub mod status;
pub mod tasks;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

/// A process, told apart from a later one that was given the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Its pid in our pid namespace.
    pub pid: u32,
    /// When it started, in clock ticks since boot: pids come back, this one with this start does not.
    pub start_time_ticks: u64,
}

impl Identity {
    /// Who has this pid now.
    ///
    /// # Errors
    /// When there is no such process, or its stat file cannot be read.
    pub fn of(pid: u32) -> Result<Identity, ReadError> {
        let stat = stat::read(pid)?;
        Ok(Identity {
            pid,
            start_time_ticks: stat.start_time_ticks,
        })
    }

    /// Whether the pid still belongs to this process (which may have become a zombie).
    ///
    /// # Errors
    /// When the stat file cannot be read for another reason than that the process is gone.
    pub fn is_current(self) -> Result<bool, ReadError> {
        match Identity::of(self.pid) {
            Ok(now) => Ok(now == self),
            Err(ReadError::Gone { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Bytes that are not what the kernel writes into that file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The file under /proc/PID.
    pub file: &'static str,
    /// The line, from 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// What was expected there.
    pub expected: &'static str,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ParseError {
            file,
            line,
            expected,
        } = self;
        match line {
            0 => write!(f, "{file} is not as expected: {expected}"),
            _ => write!(f, "line {line} of {file} is not as expected: {expected}"),
        }
    }
}

impl std::error::Error for ParseError {}

/// Why something of a process could not be read. Reading changes nothing in the process.
#[derive(Debug)]
pub enum ReadError {
    /// There is no such process (any more).
    Gone {
        /// The process asked about.
        pid: u32,
    },
    /// The kernel did not let us read it.
    Unreadable {
        /// The process asked about.
        pid: u32,
        /// The file under /proc/PID.
        file: String,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The file is longer, or has more entries, than a process that may migrate has.
    TooLarge {
        /// The process asked about.
        pid: u32,
        /// The file under /proc/PID.
        file: String,
        /// The bound that was passed.
        limit: usize,
    },
    /// The file does not have the form that the kernel documents.
    Malformed {
        /// The process asked about.
        pid: u32,
        /// Where and what.
        cause: ParseError,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Gone { pid } => write!(f, "there is no process {pid} any more"),
            ReadError::Unreadable { pid, file, cause } => {
                write!(f, "cannot read /proc/{pid}/{file}: {cause}")
            }
            ReadError::TooLarge { pid, file, limit } => {
                write!(
                    f,
                    "/proc/{pid}/{file} is larger than Limosa handles (limit {limit})"
                )
            }
            ReadError::Malformed { pid, cause } => write!(f, "process {pid}: {cause}"),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ReadError::Unreadable { cause, .. } => Some(cause),
            ReadError::Malformed { cause, .. } => Some(cause),
            ReadError::Gone { .. } | ReadError::TooLarge { .. } => None,
        }
    }
}

/// Names the process in an error of opening, reading or following something of /proc/PID.
fn read_error(pid: u32, file: &str, cause: io::Error) -> ReadError {
    match cause.raw_os_error() {
        Some(libc::ESRCH | libc::ENOENT) => ReadError::Gone { pid },
        _ => ReadError::Unreadable {
            pid,
            file: file.to_owned(),
            cause,
        },
    }
}

/// Most files are shorter, and are read at once.
const MOST_FILES_BYTES: usize = 4096;

/// The contents of /proc/PID/`file`, if they are at most `limit_bytes` long.
fn read_file(pid: u32, file: &str, limit_bytes: usize) -> Result<Vec<u8>, ReadError> {
    let mut contents = Vec::with_capacity(MOST_FILES_BYTES.min(limit_bytes));
    let read_most = u64::try_from(limit_bytes)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    File::open(format!("/proc/{pid}/{file}"))
        .and_then(|opened| opened.take(read_most).read_to_end(&mut contents))
        .map_err(|cause| read_error(pid, file, cause))?;
    if contents.len() > limit_bytes {
        return Err(ReadError::TooLarge {
            pid,
            file: file.to_owned(),
            limit: limit_bytes,
        });
    }
    Ok(contents)
}

/// The names in /proc/PID/`directory` that are numbers, sorted, at most `limit` of them.
fn read_numbered(pid: u32, directory: &str, limit: usize) -> Result<Vec<u32>, ReadError> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/{directory}"))
        .map_err(|cause| read_error(pid, directory, cause))?;
    let mut numbers = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|cause| read_error(pid, directory, cause))?;
        let Some(number) = field::decimal::<u32>(entry.file_name().as_encoded_bytes()) else {
            continue;
        };
        if numbers.len() == limit {
            return Err(ReadError::TooLarge {
                pid,
                file: directory.to_owned(),
                limit,
            });
        }
        numbers.push(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_itself() {
        let identity = Identity::of(std::process::id()).unwrap();
        assert!(identity.is_current().unwrap());
    }

    #[test]
    fn a_process_with_the_same_pid_but_another_start_is_another() {
        let mut identity = Identity::of(std::process::id()).unwrap();
        identity.start_time_ticks += 1;
        assert!(!identity.is_current().unwrap());
    }

    #[test]
    fn a_process_that_was_reaped_is_gone() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let identity = Identity::of(child.id()).unwrap();
        child.wait().unwrap();
        assert!(!identity.is_current().unwrap());
        assert!(matches!(
            maps::read(child.id()),
            Err(ReadError::Gone { .. })
        ));
    }

    #[test]
    fn a_file_longer_than_its_limit_is_refused() {
        let error = read_file(std::process::id(), "status", 10).unwrap_err();
        assert!(
            matches!(error, ReadError::TooLarge { limit: 10, .. }),
            "{error}"
        );
    }

    #[test]
    fn an_unreadable_file_is_named_in_the_error() {
        let error = read_error(7, "maps", io::Error::from_raw_os_error(libc::EACCES));
        assert!(
            error.to_string().starts_with("cannot read /proc/7/maps: "),
            "{error}"
        );
    }
}
