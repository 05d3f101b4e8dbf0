//! What a process uses, as the kernel accounts for it: proc_pid_stat(5) and proc_pid_status(5).

use std::fs;
use std::io;

/// Clock ticks of /proc per second: `USER_HZ`, 100 on x86-64.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usage {
    /// Memory that is in RAM, the binary's pages included.
    pub(crate) resident_bytes: u64,
    /// Of it the memory that belongs to no file.
    pub(crate) anonymous_bytes: u64,
    /// CPU time since its start, of threads that have ended, too.
    pub(crate) cpu_seconds: f64,
}

/// What a process uses now.
///
/// # Errors
/// When it is gone, or the kernel says something else than expected.
pub(crate) fn usage(pid: u32) -> io::Result<Usage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse(&status, &stat).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parse(status: &str, stat: &str) -> Option<Usage> {
    let bytes = |name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kibibytes * 1024)
    };
    // The name in parentheses may hold anything; utime and stime are the 12th and 13th field behind it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Usage {
        resident_bytes: bytes("VmRSS:")?,
        anonymous_bytes: bytes("RssAnon:")?,
        cpu_seconds: (ticks()? + ticks()?) as f64 / TICKS_PER_SECOND,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_time_are_read_whatever_the_process_is_called() {
        let status = "Name:\ta) b\nVmRSS:\t    5120 kB\nRssAnon:\t    1024 kB\n";
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 130 25 0 0 20 0 4 0 99 1 2";
        let expected = Usage {
            resident_bytes: 5 << 20,
            anonymous_bytes: 1 << 20,
            cpu_seconds: 1.55,
        };
        assert_eq!(parse(status, stat), Some(expected));
        assert_eq!(parse("Name:\ta\n", stat), None);
        assert_eq!(parse(status, "7 (a"), None);
    }

    #[test]
    fn this_process_uses_memory() {
        let own = usage(std::process::id()).unwrap();
        assert!(own.resident_bytes > own.anonymous_bytes, "{own:?}");
    }
}
