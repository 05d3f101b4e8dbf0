//! The namespaces of a node of this machine: network, mounts, cgroups.
//!
//! They are made by a short-lived child of the daemon (`lab keep-namespaces`), because making them
//! moves the maker: 1. the child joins the node's cgroup and leaves its namespaces, 2. prepares the new
//! ones, 3. says `ready`; 4. the daemon opens them, 5. the child ends. From then on they live as long
//! as the daemon's descriptors or a process in them.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::cgroup::{self, Cgroup};
use crate::entrance::NamespaceFiles;
use crate::error::LabError;
use crate::sys;

/// What the child says when all is prepared.
const READY: &str = "ready";

/// Open namespaces of a node.
#[derive(Debug)]
pub struct Namespaces {
    network: File,
    mount: File,
    cgroup: File,
}

impl Namespaces {
    /// Makes them, with `cgroup` as the root of the cgroup namespace. `scratch` is an empty directory.
    pub fn make(lab_binary: &Path, cgroup: &Cgroup, scratch: &Path) -> Result<Self, LabError> {
        let mut child = Command::new(lab_binary)
            .arg("keep-namespaces")
            .args([cgroup.path(), scratch])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(LabError::doing(format!("run {}", lab_binary.display())))?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output)
                .read_line(&mut line)
                .map_err(LabError::doing("hear from the maker of namespaces"))?;
        }
        let opened = if line.trim_end() == READY {
            Self::open_of(child.id())
        } else {
            Err(LabError::NotUp(format!(
                "its namespaces could not be made: {}",
                line.trim_end()
            )))
        };
        // Closing its input ends the child.
        drop(child.stdin.take());
        child
            .wait()
            .map_err(LabError::doing("await the maker of namespaces"))?;
        opened
    }

    fn open_of(pid: u32) -> Result<Self, LabError> {
        let open = |kind: &str| {
            let path = format!("/proc/{pid}/ns/{kind}");
            File::open(&path).map_err(LabError::doing(format!("open {path}")))
        };
        Ok(Self {
            network: open("net")?,
            mount: open("mnt")?,
            cgroup: open("cgroup")?,
        })
    }

    /// The files by which other processes enter them.
    pub fn files(&self) -> NamespaceFiles {
        NamespaceFiles {
            network: self.network_path(),
            mount: path_of(&self.mount),
            cgroup: path_of(&self.cgroup),
        }
    }

    /// The file that stands for the network namespace.
    pub fn network_path(&self) -> PathBuf {
        path_of(&self.network)
    }

    /// Does something in the network namespace and returns to the caller's.
    ///
    /// # Errors
    /// What `action` failed with, or [`LabError::System`] when a namespace cannot be entered.
    pub fn in_network<T>(
        &self,
        action: impl FnOnce() -> Result<T, LabError>,
    ) -> Result<T, LabError> {
        let own = File::open("/proc/thread-self/ns/net")
            .map_err(LabError::doing("open the own network namespace"))?;
        let enter = |file: &File| {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(LabError::doing("enter a network namespace"))
        };
        enter(&self.network)?;
        let result = action();
        enter(&own)?;
        result
    }
}

fn path_of(file: &File) -> PathBuf {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()).into()
}

/// The child's part: makes and prepares the namespaces, and keeps them until its input ends.
pub fn keep(cgroup: &Path, scratch: &Path) -> Result<(), LabError> {
    let prepared = prepare(cgroup, scratch);
    let line = match &prepared {
        Ok(()) => READY.to_owned(),
        Err(error) => error.to_string(),
    };
    let mut output = io::stdout();
    writeln!(output, "{line}")
        .and_then(|()| output.flush())
        .and_then(|()| io::stdin().read_to_end(&mut Vec::new()))
        .map_err(LabError::doing("speak with the daemon"))?;
    prepared
}

fn prepare(cgroup: &Path, scratch: &Path) -> Result<(), LabError> {
    let hierarchy = cgroup::mount_point()?;
    fs::write(cgroup.join("cgroup.procs"), "0").map_err(LabError::doing(format!(
        "enter cgroup {}",
        cgroup.display()
    )))?;
    sys::leave_namespaces().map_err(LabError::doing("make namespaces"))?;
    // Mounts of this machine appear in the node; those of the node do not appear on this machine.
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", slave).map_err(LabError::doing("separate the mounts"))?;
    mount_own_sysfs(scratch)?;
    mount_own_cgroups(&hierarchy)?;
    prepare_network()
}

/// `/sys/class/net` shows the network namespace of whoever mounted it (sysfs, `net_current_may_mount`).
fn mount_own_sysfs(scratch: &Path) -> Result<(), LabError> {
    let own_cgroups = scratch.join("fs/cgroup");
    rustix::mount::mount("sysfs", scratch, "sysfs", MountFlags::empty(), None)
        .and_then(|()| rustix::mount::mount_bind_recursive("/sys/fs/cgroup", &own_cgroups))
        // Not merely covered: whoever looks for the cgroups takes the first mount of the table.
        .and_then(|()| rustix::mount::unmount("/sys", UnmountFlags::DETACH))
        .and_then(|()| rustix::mount::mount_move(scratch, "/sys"))
        .map_err(LabError::doing("mount the node's own /sys"))
}

/// With this the node's agent sees its cgroup as the root, as on a machine of its own.
fn mount_own_cgroups(hierarchy: &Path) -> Result<(), LabError> {
    rustix::mount::unmount(hierarchy, UnmountFlags::DETACH)
        .and_then(|()| {
            rustix::mount::mount("cgroup2", hierarchy, "cgroup2", MountFlags::empty(), None)
        })
        .map_err(LabError::doing("mount the node's own cgroup hierarchy"))
}

fn prepare_network() -> Result<(), LabError> {
    for scope in ["all", "default"] {
        // A link-local address is unusable for a second while the kernel looks for its duplicates;
        // here the hardware addresses, from which it follows, are the lab's own.
        let path = format!("/proc/sys/net/ipv6/conf/{scope}/accept_dad");
        fs::write(&path, "0").map_err(LabError::doing(format!("write {path}")))?;
    }
    sys::bring_up("lo").map_err(LabError::doing("bring up lo"))
}
