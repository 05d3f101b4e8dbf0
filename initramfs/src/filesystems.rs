//! The node's file systems, all in memory. No disk of the machine is ever touched: the image has no disk
//! drivers.
//!
//! 1. The root is moved onto a mount of its own, because pivot_root(2), by which guests get their empty
//!    root, refuses to work on the kernel's initial rootfs.
//! 2. The kernel's own file systems are mounted where programs look for them.

use std::fs;
use std::path::Path;

use rustix::mount::{MountFlags, mount, mount_bind, mount_move};

use crate::journal;

struct Mount {
    kind: &'static str,
    target: &'static str,
    options: &'static str,
    mode: u32,
}

const MOUNTS: [Mount; 8] = [
    Mount {
        kind: "devtmpfs",
        target: "/dev",
        options: "mode=0755",
        mode: 0o755,
    },
    Mount {
        kind: "proc",
        target: "/proc",
        options: "",
        mode: 0o555,
    },
    Mount {
        kind: "sysfs",
        target: "/sys",
        options: "",
        mode: 0o555,
    },
    Mount {
        kind: "cgroup2",
        target: "/sys/fs/cgroup",
        // favordynmods (Linux 6.0): to move a process into a cgroup does not wait for a grace period of RCU, 10 ms.
        options: "nsdelegate,favordynmods",
        mode: 0o755,
    },
    Mount {
        kind: "devpts",
        target: "/dev/pts",
        options: "mode=0620,gid=5,ptmxmode=0666",
        mode: 0o755,
    },
    Mount {
        kind: "tmpfs",
        target: "/dev/shm",
        options: "mode=1777",
        mode: 0o1777,
    },
    Mount {
        kind: "tmpfs",
        target: "/run",
        options: "mode=0755",
        mode: 0o755,
    },
    Mount {
        kind: "tmpfs",
        target: "/tmp",
        options: "mode=1777",
        mode: 0o1777,
    },
];

/// Mounts everything. What fails is told and passed over: a node without one of them may still serve.
pub(crate) fn mount_all() {
    let root = own_root_mount();
    for entry in &MOUNTS {
        let flags = match entry.target {
            "/dev" | "/dev/pts" => MountFlags::NOSUID,
            "/tmp" | "/run" | "/dev/shm" => MountFlags::NOSUID | MountFlags::NODEV,
            _ => MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
        };
        let options = std::ffi::CString::new(entry.options).unwrap_or_default();
        let made = make_directory(entry.target, entry.mode).and_then(|()| {
            Ok(mount(
                entry.kind,
                entry.target,
                entry.kind,
                flags,
                options.as_c_str(),
            )?)
        });
        if let Err(error) = made {
            journal::warn(&format!(
                "cannot mount {} on {}: {error}",
                entry.kind, entry.target
            ));
        }
    }
    if let Err(error) = root {
        journal::warn(&format!(
            "the root is not a mount of its own, guests cannot be confined: {error}"
        ));
    }
    for (link, target) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ] {
        if let Err(error) = std::os::unix::fs::symlink(target, link) {
            journal::note(&format!("cannot link {link}: {error}"));
        }
    }
}

fn own_root_mount() -> std::io::Result<()> {
    mount_bind("/", "/mnt")?;
    rustix::process::chdir("/mnt")?;
    mount_move(".", "/")?;
    // "/" still means the rootfs below; the working directory is the mount that now covers it.
    rustix::process::chroot(".")?;
    rustix::process::chdir("/")?;
    Ok(())
}

fn make_directory(target: &str, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if !Path::new(target).is_dir() {
        fs::create_dir_all(target)?;
        fs::set_permissions(target, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}
