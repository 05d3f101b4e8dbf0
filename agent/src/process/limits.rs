//! /proc/PID/limits: the resource limits of a process. Unlike prlimit(2), anybody may read it.

use super::{ParseError, ReadError, field, read_file};
use crate::limits::PROC_FILE_BYTES_MAX;

const FILE: &str = "limits";

/// A limit; nothing where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What counts.
    pub soft: Option<u64>,
    /// How far the process may raise it.
    pub hard: Option<u64>,
}

/// Some of the limits. getrlimit(2) tells of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceLimits {
    /// RLIMIT_AS.
    pub address_space_bytes: Limit,
    /// RLIMIT_DATA.
    pub data_bytes: Limit,
    /// RLIMIT_STACK.
    pub stack_bytes: Limit,
    /// RLIMIT_MEMLOCK.
    pub locked_bytes: Limit,
    /// RLIMIT_CPU.
    pub cpu_seconds: Limit,
    /// RLIMIT_CORE.
    pub core_bytes: Limit,
}

/// Reads the columns of the file.
///
/// # Errors
/// When a limit is not there, or is neither a number nor "unlimited".
pub fn parse(contents: &[u8]) -> Result<ResourceLimits, ParseError> {
    let limit = |name: &'static str| {
        let missing = || ParseError {
            file: FILE,
            line: 0,
            expected: name,
        };
        let line = contents
            .split(|&byte| byte == b'\n')
            .find_map(|line| line.strip_prefix(name.as_bytes()))
            .ok_or_else(missing)?;
        let mut columns = field::words(line).map(|word| match word {
            b"unlimited" => Some(None),
            word => field::decimal(word).map(Some),
        });
        let mut column = || columns.next().flatten().ok_or_else(missing);
        Ok(Limit {
            soft: column()?,
            hard: column()?,
        })
    };
    Ok(ResourceLimits {
        address_space_bytes: limit("Max address space")?,
        data_bytes: limit("Max data size")?,
        stack_bytes: limit("Max stack size")?,
        locked_bytes: limit("Max locked memory")?,
        cpu_seconds: limit("Max cpu time")?,
        core_bytes: limit("Max core file size")?,
    })
}

/// The limits of a process.
///
/// # Errors
/// When it is gone, or its file cannot be read or understood.
pub fn read(pid: u32) -> Result<ResourceLimits, ReadError> {
    let contents = read_file(pid, FILE, PROC_FILE_BYTES_MAX)?;
    parse(&contents).map_err(|cause| ReadError::Malformed { pid, cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHELL: &[u8] = b"\
Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              60                   unlimited            seconds   
Max file size             unlimited            unlimited            bytes     
Max data size             unlimited            unlimited            bytes     
Max stack size            8388608              unlimited            bytes     
Max core file size        0                    unlimited            bytes     
Max locked memory         0                    67108864             bytes     
Max address space         18446744073709551614 unlimited            bytes     
";

    #[test]
    fn soft_limits_are_told_from_hard_ones_and_from_none() {
        let seen = parse(SHELL).unwrap();
        let none = Limit {
            soft: None,
            hard: None,
        };
        assert_eq!(seen.data_bytes, none);
        let locked = Limit {
            soft: Some(0),
            hard: Some(64 << 20),
        };
        assert_eq!(seen.locked_bytes, locked);
        assert_eq!(seen.address_space_bytes.soft, Some(u64::MAX - 1));
        assert_eq!(
            (seen.stack_bytes.soft, seen.stack_bytes.hard),
            (Some(8 << 20), None)
        );
        assert_eq!(seen.cpu_seconds.soft, Some(60));
        assert_eq!(seen.core_bytes.soft, Some(0));
        assert!(read(std::process::id()).is_ok());
    }

    #[test]
    fn a_file_without_a_limit_is_malformed() {
        assert!(parse(b"").is_err());
        let text = String::from_utf8_lossy(SHELL).replace("8388608", "much");
        assert!(parse(text.as_bytes()).is_err());
    }
}
