//! The memory that a container leaves this node: the limit of its cgroup, and what of that is free.
//!
//! With cgroups of version 2 it is the limit of the topmost that can be seen, below which our jobs and guests are
//! ([`crate::node::cgroup`]); with version 1 that of the agent's own, which its guests inherit. /proc/meminfo knows
//! nothing of either.

use std::fs;
use std::path::{Path, PathBuf};

use super::meter::read;
use super::procfs::{Memory, own_cgroup};
use crate::process::mountinfo::{self, Mount};

/// A node with less has no memory to speak of.
const KIB_MIN: u64 = 1024;

/// Where limits of memory are to be found.
#[derive(Debug, Default)]
pub struct MemoryLimit {
    version_1: Option<Mount>,
    version_2: Option<PathBuf>,
}

/// A cgroup's memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Group {
    limit: u64,
    used: u64,
    /// Of it files' pages, which the kernel gives back before it swaps.
    files: u64,
}

impl MemoryLimit {
    /// Looks where the cgroups are; a machine without them limits nothing.
    #[must_use]
    pub fn find() -> MemoryLimit {
        let mountinfo = fs::read("/proc/self/mountinfo").unwrap_or_default();
        MemoryLimit {
            version_1: mountinfo::find(&mountinfo, "cgroup", Some("memory")),
            version_2: mountinfo::find(&mountinfo, "cgroup2", None).map(|mount| mount.point),
        }
    }

    /// What the container leaves of this memory; all, where nothing is limited.
    #[must_use]
    pub fn of(&self, memory: Memory) -> Memory {
        let first = self.version_1.as_ref().and_then(version_1);
        let second = self.version_2.as_deref().and_then(version_2);
        let groups = first.into_iter().chain(second);
        groups.fold(memory, |memory, group| group.leave(memory))
    }
}

impl Group {
    fn leave(self, memory: Memory) -> Memory {
        let limit_kib = (self.limit >> 10).max(KIB_MIN);
        if limit_kib >= memory.total_kib {
            return memory;
        }
        let used_kib = self.used.saturating_sub(self.files) >> 10;
        Memory {
            total_kib: limit_kib,
            available_kib: memory.available_kib.min(limit_kib.saturating_sub(used_kib)),
        }
    }
}

fn version_1(mount: &Mount) -> Option<Group> {
    let cgroup = own_cgroup(&read("/proc/self/cgroup").ok()?, "memory")?;
    let below = cgroup.strip_prefix(&mount.root).unwrap_or(Path::new(""));
    let group = mount.point.join(below);
    // The limits of its parents are counted in.
    let (stat, used) = (text(&group, "stat")?, text(&group, "usage_in_bytes")?);
    Some(Group {
        limit: value(&stat, "hierarchical_memory_limit")?,
        used: used.trim().parse().ok()?,
        files: value(&stat, "total_inactive_file")? + value(&stat, "total_active_file")?,
    })
}

fn version_2(group: &Path) -> Option<Group> {
    // "max" is no limit, and the root has no such file.
    let limit = text(group, "max")?.trim().parse().ok()?;
    let (stat, used) = (text(group, "stat")?, text(group, "current")?);
    Some(Group {
        limit,
        used: used.trim().parse().ok()?,
        files: value(&stat, "inactive_file")? + value(&stat, "active_file")?,
    })
}

fn text(group: &Path, name: &str) -> Option<String> {
    read(group.join(format!("memory.{name}")).to_str()?).ok()
}

/// A value of a memory.stat file.
fn value(stat: &str, name: &str) -> Option<u64> {
    let line = stat
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MEMORY: Memory = Memory {
        total_kib: 8 << 20,
        available_kib: 1 << 20,
    };

    #[test]
    fn a_container_has_its_limit_less_what_it_uses_but_for_files_and_no_more_than_the_machine() {
        let group = |limit, used, files| Group { limit, used, files };
        let left = group(512 << 20, 300 << 20, 100 << 20).leave(MEMORY);
        assert_eq!((left.total_kib, left.available_kib), (512 << 10, 312 << 10));
        // The machine itself is short.
        let left = group(6 << 30, 0, 0).leave(MEMORY);
        assert_eq!((left.total_kib, left.available_kib), (6 << 20, 1 << 20));
        // It uses more than it may, for a moment.
        let left = group(512 << 20, 1 << 40, 0).leave(MEMORY);
        assert_eq!((left.total_kib, left.available_kib), (512 << 10, 0));
        assert_eq!(group(u64::MAX, 1 << 30, 0).leave(MEMORY), MEMORY);
        assert_eq!(group(0, 0, 0).leave(MEMORY).total_kib, KIB_MIN);
    }

    #[test]
    fn files_of_version_2_are_read_and_max_is_no_limit() {
        let name = format!("limosa-memory-limit-{}", std::process::id());
        let group = std::env::temp_dir().join(name);
        fs::create_dir(&group).unwrap();
        let write = |name: &str, text: &str| fs::write(group.join(name), text).unwrap();
        write("memory.current", "5000\n");
        write("memory.stat", "anon 7\ninactive_file 30\nactive_file 4\n");
        write("memory.max", "max\n");
        let unlimited = version_2(&group);
        write("memory.max", "9000\n");
        let limited = version_2(&group);
        fs::remove_dir_all(&group).unwrap();
        let expected = Group {
            limit: 9000,
            used: 5000,
            files: 34,
        };
        assert_eq!((unlimited, limited), (None, Some(expected)));
    }

    #[test]
    fn this_node_has_no_more_than_the_kernel_says() {
        let memory = MemoryLimit::find().of(MEMORY);
        assert!(memory.total_kib <= MEMORY.total_kib && memory.total_kib >= KIB_MIN);
        assert!(memory.available_kib <= MEMORY.available_kib);
        assert_eq!(MemoryLimit::default().of(MEMORY), MEMORY);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_fail(text in "(?s).{0,200}", name in "[a-z]{0,5}") {
            value(&text, &name);
        }
    }
}
