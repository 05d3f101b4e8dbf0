//! Whether a process leaves a core dump when a signal ends it (core(5)).

use super::limits;

const PATTERN: &str = "/proc/sys/kernel/core_pattern";

/// No dump is written where a file may not have a page (`min_coredump` in Linux 6.18, fs/binfmt_elf.c).
const SMALLEST_BYTES: u64 = 4096;

/// Whether the kernel may write one of process `pid`. What cannot be looked at is not a reason for one.
pub fn is_left_by(pid: u32) -> bool {
    let pattern = std::fs::read(PATTERN).unwrap_or_default();
    let limit = limits::read(pid).map(|limits| limits.core_bytes.soft);
    limit.is_ok_and(|limit_bytes| is_left(&pattern, limit_bytes))
}

/// A program or a socket that takes dumps is not subject to the limit, but for the value 1.
fn is_left(pattern: &[u8], limit_bytes: Option<u64>) -> bool {
    match pattern.first() {
        Some(b'|' | b'@') => limit_bytes != Some(1),
        _ => limit_bytes.is_none_or(|bytes| bytes >= SMALLEST_BYTES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_one_of_files() {
        for (pattern, limit_bytes, wanted) in [
            (b"core\n".as_slice(), None, true),
            (b"core\n", Some(4096), true),
            (b"core\n", Some(4095), false),
            (b"core\n", Some(0), false),
            (b"", Some(0), false),
            (b"|/usr/lib/systemd/systemd-coredump %P\n", Some(0), true),
            (b"|/usr/lib/systemd/systemd-coredump %P\n", Some(1), false),
            (b"@/run/dumps\n", Some(0), true),
        ] {
            assert_eq!(is_left(pattern, limit_bytes), wanted, "{limit_bytes:?}");
        }
    }

    #[test]
    fn a_process_that_is_not_there_leaves_none() {
        assert!(!is_left_by(u32::MAX));
    }
}
