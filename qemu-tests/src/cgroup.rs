//! The cgroups of a lab: they hold every process of a node, whatever its parent, so that a node can
//! be killed at one blow and nothing of it stays behind.
//!
//! ```text
//!   <cgroup2>/limosa-lab/<lab>/<node>           the root of the node's cgroup namespace
//!   <cgroup2>/limosa-lab/<lab>/<node>/agent     its agent, or its virtual machine
//!   <cgroup2>/limosa-lab/<lab>/<node>/session   what "lab exec" started
//!   <cgroup2>/limosa-lab/<lab>/<node>/...       what the agent makes for jobs and guests
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::LabError;

/// All labs of this machine.
const LABS: &str = "limosa-lab";

/// How long the kernel may take to end killed processes: one in the middle of a long system call on a
/// loaded machine needs a while.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// A cgroup of the version 2 hierarchy, with all below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// The cgroup of the lab `name`; it need not exist yet.
    pub fn of_lab(name: &str) -> Result<Self, LabError> {
        Ok(Self(mount_point()?.join(LABS).join(name)))
    }

    /// One below this.
    pub fn child(&self, name: &str) -> Self {
        Self(self.0.join(name))
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes it and its parents, with the controllers that agents use for guests where the kernel
    /// offers them.
    pub fn make(&self) -> Result<(), LabError> {
        // The last lab to end removes the common parent, perhaps just now: once more, then.
        fs::create_dir_all(&self.0)
            .or_else(|_| fs::create_dir_all(&self.0))
            .map_err(LabError::doing(format!("make cgroup {}", self.0.display())))?;
        let parents: Vec<_> = self
            .0
            .ancestors()
            .skip(1)
            .take_while(|path| is_ours(path))
            .collect();
        for parent in parents.iter().rev() {
            for controller in ["+cpu", "+memory", "+pids"] {
                // Best effort: on a hybrid host the version 1 hierarchies hold the controllers.
                let _ = fs::write(parent.join("cgroup.subtree_control"), controller);
            }
        }
        Ok(())
    }

    /// Moves the calling process into it.
    pub fn join(&self) -> Result<(), LabError> {
        fs::write(self.0.join("cgroup.procs"), "0").map_err(LabError::doing(format!(
            "enter cgroup {}",
            self.0.display()
        )))
    }

    /// Kills all processes in it and below, at once, and returns when they have ended.
    pub fn kill(&self) -> Result<(), LabError> {
        match fs::write(self.0.join("cgroup.kill"), "1") {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.0.exists() => {
                return Ok(());
            }
            Err(error) => {
                let doing = format!("kill cgroup {} (needs Linux 5.14)", self.0.display());
                return Err(LabError::System {
                    doing,
                    source: error,
                });
            }
        }
        let deadline = Instant::now() + KILL_TIMEOUT;
        while self.is_populated() {
            if Instant::now() > deadline {
                return Err(LabError::TimedOut {
                    what: format!("all processes of cgroup {} end", self.0.display()),
                    after: KILL_TIMEOUT,
                    seen: format!("processes {:?}", self.processes()),
                });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Removes it and all below; there must be no process left.
    pub fn remove(&self) -> Result<(), LabError> {
        remove_tree(&self.0).map_err(LabError::doing(format!(
            "remove cgroup {}",
            self.0.display()
        )))?;
        if let Some(labs) = self.0.parent().filter(|path| path.ends_with(LABS)) {
            // Fails while other labs are there, as it should.
            let _ = fs::remove_dir(labs);
        }
        Ok(())
    }

    /// All processes in it and below.
    pub fn processes(&self) -> Vec<u32> {
        let mut pids = Vec::new();
        collect_processes(&self.0, &mut pids);
        pids
    }

    fn is_populated(&self) -> bool {
        fs::read_to_string(self.0.join("cgroup.events"))
            .is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
    }
}

fn is_ours(path: &Path) -> bool {
    path.components()
        .any(|component| component.as_os_str() == LABS)
}

fn collect_processes(directory: &Path, pids: &mut Vec<u32>) {
    // A cgroup may vanish while it is read: then it has no processes.
    let listed = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    pids.extend(listed.lines().filter_map(|line| line.parse::<u32>().ok()));
    for below in subdirectories(directory).unwrap_or_default() {
        collect_processes(&below, pids);
    }
}

fn subdirectories(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// The files of a cgroup go with its directory; only directories are removed, deepest first.
fn remove_tree(directory: &Path) -> io::Result<()> {
    let below = match subdirectories(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for path in below {
        remove_tree(&path)?;
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Where the version 2 hierarchy is mounted: alone, or beside version 1 on a hybrid host.
pub fn mount_point() -> Result<PathBuf, LabError> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")
        .map_err(LabError::doing("read /proc/self/mountinfo"))?;
    mount_point_in(&mounts).ok_or_else(|| LabError::Missing {
        what: "a mounted cgroup2 hierarchy".into(),
        remedy: "mount it by \"mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified\""
            .into(),
    })
}

fn mount_point_in(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        // proc_pid_mountinfo(5): fields, " - ", type of file system and more.
        let (fields, kind) = line.split_once(" - ")?;
        let point = fields.split(' ').nth(4)?;
        kind.starts_with("cgroup2 ").then(|| PathBuf::from(point))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_2_hierarchy_is_found_on_a_hybrid_host() {
        let mountinfo = "\
            30 25 0:26 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu\n\
            31 25 0:27 / /sys/fs/cgroup/unified rw,relatime shared:10 - cgroup2 cgroup2 rw\n";
        assert_eq!(
            mount_point_in(mountinfo),
            Some(PathBuf::from("/sys/fs/cgroup/unified"))
        );
        assert_eq!(
            mount_point_in("30 25 0:26 / /sys rw - sysfs sysfs rw\n"),
            None
        );
    }
}
