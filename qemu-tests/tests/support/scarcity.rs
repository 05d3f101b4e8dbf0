//! A node whose memory is scarce: held to a limit by a cgroup, as a container is.

use std::fs;
use std::path::{Path, PathBuf};

use lab::{NodeHandle, cgroup};

/// Where the memory controller of version 1 is, on a hybrid host.
const VERSION_1: &str = "/sys/fs/cgroup/memory";

/// The limit of a node's memory; gone with this value.
pub struct MemoryLimit {
    group: PathBuf,
    is_version_1: bool,
}

impl MemoryLimit {
    /// Holds the agent of `node`, and what it starts from now on, to this much memory.
    pub fn on(node: &NodeHandle<'_>, lab: &str, mib: u64) -> Self {
        let is_version_1 = Path::new(VERSION_1).join("memory.limit_in_bytes").exists();
        let group = if is_version_1 {
            Path::new(VERSION_1).join(format!("limosa-test-{}", std::process::id()))
        } else {
            let lab = cgroup::Cgroup::of_lab(lab).unwrap();
            lab.child(node.name()).path().to_owned()
        };
        let limit = Self {
            group,
            is_version_1,
        };
        if is_version_1 {
            fs::create_dir(&limit.group).unwrap();
            limit.hold(node.process().unwrap().pid);
        }
        let file = limit.file(["memory.limit_in_bytes", "memory.max"]);
        fs::write(file, (mib << 20).to_string()).unwrap();
        limit
    }

    fn file(&self, [version_1, version_2]: [&str; 2]) -> PathBuf {
        let name = if self.is_version_1 {
            version_1
        } else {
            version_2
        };
        self.group.join(name)
    }

    /// Holds a process that runs on the node to it, too.
    pub fn hold(&self, pid: u32) {
        // With version 2 it is there already, as everything on the node is.
        if self.is_version_1 {
            fs::write(self.group.join("cgroup.procs"), pid.to_string()).unwrap();
        }
    }

    /// How often somebody had to wait for memory because the limit was reached.
    pub fn times_reached(&self) -> u64 {
        let text = fs::read_to_string(self.file(["memory.failcnt", "memory.events"])).unwrap();
        let count = text
            .lines()
            .find_map(|line| line.strip_prefix("max "))
            .unwrap_or(&text);
        count.trim().parse().unwrap()
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        if !self.is_version_1 {
            // It goes with the lab.
            return;
        }
        let held = fs::read_to_string(self.group.join("cgroup.procs")).unwrap_or_default();
        for pid in held.lines() {
            // A process that has just ended need not be let go.
            let _ = fs::write(Path::new(VERSION_1).join("cgroup.procs"), pid);
        }
        if let Err(error) = fs::remove_dir(&self.group) {
            eprintln!("the cgroup {} stays: {error}", self.group.display());
        }
    }
}
