//! The kernel's texts about the whole node, parsed; proc_meminfo(5), proc_loadavg(5) and cgroups(7).

use std::path::{Path, PathBuf};

/// Memory of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All that the kernel manages, in KiB.
    pub total_kib: u64,
    /// What new programs could have without swapping, in KiB.
    pub available_kib: u64,
}

/// Total and available memory of /proc/meminfo; none if either line is missing or odd.
#[must_use]
pub fn memory(meminfo: &str) -> Option<Memory> {
    let kib = |name: &str| -> Option<u64> {
        let line = meminfo
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.trim().parse().ok()
    };
    Some(Memory {
        total_kib: kib("MemTotal")?,
        available_kib: kib("MemAvailable")?,
    })
}

/// Threads that run or wait for a CPU at this moment, the reader included, of /proc/loadavg.
#[must_use]
pub fn runnable(loadavg: &str) -> Option<u32> {
    let entities = loadavg.split_ascii_whitespace().nth(3)?;
    entities.split_once('/')?.0.parse().ok()
}

/// The cgroup of a controller's own hierarchy, in the text of a /proc/PID/cgroup file.
#[must_use]
pub fn own_cgroup(text: &str, controller: &str) -> Option<PathBuf> {
    text.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let path = path.strip_prefix('/')?;
        let is_it = controllers.split(',').any(|name| name == controller);
        is_it.then(|| Path::new("/").join(path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MEMINFO: &str = "MemTotal:       24683520 kB\nMemFree:        21000000 kB\n\
                           MemAvailable:   24123456 kB\nBuffers:           12345 kB\n";

    #[test]
    fn memory_is_read_from_its_two_lines() {
        let memory = memory(MEMINFO).unwrap();
        assert_eq!(
            (memory.total_kib, memory.available_kib),
            (24_683_520, 24_123_456)
        );
    }

    #[test]
    fn a_missing_line_is_no_memory_rather_than_a_guess() {
        assert_eq!(memory("MemTotal: 1 kB\n"), None);
        assert_eq!(memory("MemTotalX: 1 kB\nMemAvailable: 1 kB\n"), None);
        assert_eq!(memory("MemTotal: -1 kB\nMemAvailable: 1 kB\n"), None);
    }

    #[test]
    fn runnable_threads_are_read_from_the_fourth_field() {
        assert_eq!(runnable("0.20 0.18 0.12 3/80 11206\n"), Some(3));
        assert_eq!(runnable("0.20 0.18 0.12 380 11206\n"), None);
        assert_eq!(runnable(""), None);
    }

    #[test]
    fn the_own_cgroup_is_that_of_the_controller() {
        let text = "9:name=systemd:/\n4:cpu,memory:/box/one:two\n0::/other\n";
        assert_eq!(own_cgroup(text, "memory"), Some("/box/one:two".into()));
        assert_eq!(own_cgroup("4:memoryless:/box\n0::/other\n", "memory"), None);
    }

    #[test]
    fn the_running_kernel_is_understood() {
        assert!(memory(&std::fs::read_to_string("/proc/meminfo").unwrap()).is_some());
        assert!(runnable(&std::fs::read_to_string("/proc/loadavg").unwrap()).is_some());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_fail(text in "(?s).{0,300}", cut in 0..150_usize) {
            let _ = memory(&text);
            let _ = runnable(&text);
            let _ = own_cgroup(&text, "cpu");
            let _ = memory(MEMINFO.get(..cut).unwrap_or(MEMINFO));
        }
    }
}
