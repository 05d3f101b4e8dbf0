//! Making processes in namespaces: the namespace's init and the guest itself.
//!
//! Only for single-threaded callers: after a fork the child has this one thread, and locks held by
//! others would stay locked for ever. Each function that forks checks that.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Namespace flags (clone(2)).
pub mod namespaces {
    /// Mounts.
    pub const MOUNT: u64 = libc::CLONE_NEWNS as u64;
    /// Control groups.
    pub const CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
    /// Host name.
    pub const UTS: u64 = libc::CLONE_NEWUTS as u64;
    /// System V IPC and POSIX message queues.
    pub const IPC: u64 = libc::CLONE_NEWIPC as u64;
    /// Users and capabilities.
    pub const USER: u64 = libc::CLONE_NEWUSER as u64;
    /// Process ids.
    pub const PID: u64 = libc::CLONE_NEWPID as u64;
    /// Network.
    pub const NET: u64 = libc::CLONE_NEWNET as u64;
}

fn last_error<T>() -> io::Result<T> {
    Err(io::Error::last_os_error())
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { last_error() } else { Ok(()) }
}

fn require_single_thread() -> io::Result<()> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads == 1 {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "a process with {threads} threads must not fork here"
        )))
    }
}

/// `struct clone_args` (clone3(2)).
#[repr(C)]
#[derive(Default)]
pub(super) struct CloneArguments {
    pub(super) flags: u64,
    pub(super) pidfd: u64,
    pub(super) child_tid: u64,
    pub(super) parent_tid: u64,
    pub(super) exit_signal: u64,
    pub(super) stack: u64,
    pub(super) stack_size: u64,
    pub(super) tls: u64,
    pub(super) set_tid: u64,
    pub(super) set_tid_size: u64,
    pub(super) cgroup: u64,
}

/// Forks into new namespaces; in the child, with `pid` as its id in the innermost pid namespace if
/// given, runs `body` and exits with its result. Returns the child's pid and a descriptor of it.
///
/// The child sends no signal when it ends; wait for it with `__WALL`.
pub fn spawn(
    flags: u64,
    pid: Option<i32>,
    body: impl FnOnce() -> i32,
) -> io::Result<(i32, OwnedFd)> {
    require_single_thread()?;
    let mut pidfd: i32 = -1;
    let wanted = pid.unwrap_or(0);
    let arguments = CloneArguments {
        flags: flags | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        set_tid: if pid.is_some() {
            (&raw const wanted) as u64
        } else {
            0
        },
        set_tid_size: u64::from(pid.is_some()),
        ..CloneArguments::default()
    };
    // SAFETY: without CLONE_VM and with no stack of its own the child is a fork of this process, which
    // has one thread (checked above), so all of its memory is in a consistent state in the child. The
    // structure and what it points to live across the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<CloneArguments>(),
        )
    };
    match result {
        0 => exit(body()),
        pid if pid > 0 => {
            // SAFETY: with CLONE_PIDFD the kernel has stored a new descriptor there, ours alone.
            Ok((pid as i32, unsafe { OwnedFd::from_raw_fd(pidfd) }))
        }
        _ => last_error(),
    }
}

/// Ends the calling process at once, without running exit handlers.
pub fn exit(status: i32) -> ! {
    // SAFETY: _exit(2) does not return and touches no memory.
    unsafe { libc::_exit(status) }
}

/// Sleeps until killed.
pub fn sleep_for_ever() -> ! {
    loop {
        // SAFETY: pause(2) has no arguments.
        unsafe { libc::pause() };
    }
}

/// Closes every descriptor but `kept` in a child that [`spawn`] has just made: what the parent has open
/// is none of its business, and connections must end when the parent does.
pub fn close_all_but(kept: BorrowedFd<'_>) -> io::Result<()> {
    let kept = kept.as_raw_fd().cast_unsigned();
    if kept > 0 {
        close_range(0, kept - 1)?;
    }
    close_range(kept + 1, u32::MAX)
}

/// As [`close_all_but`], and keeps several, and standard input, output and error.
pub fn close_all_but_standard_and(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    const STANDARD_LAST: u32 = 2;
    let mut kept: Vec<u32> = kept
        .iter()
        .map(|descriptor| descriptor.as_raw_fd().cast_unsigned())
        .collect();
    kept.sort_unstable();
    let mut next = STANDARD_LAST + 1;
    for descriptor in kept {
        if next < descriptor {
            close_range(next, descriptor - 1)?;
        }
        next = next.max(descriptor + 1);
    }
    close_range(next, u32::MAX)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: the child has copies of the parent's objects that own these descriptors; it never uses or
    // drops them, since it ends by _exit(2).
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } as i32)
}

/// Has the kernel kill this process when its parent ends (PR_SET_PDEATHSIG). A change of user or group
/// makes the kernel forget it.
pub fn die_with_parent() -> io::Result<()> {
    // SAFETY: passes plain integers.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })
}

/// Puts children to come into a new time namespace, whose offsets can still be set.
pub fn unshare_time() -> io::Result<()> {
    // SAFETY: passes a flag; only children to come are affected.
    check(unsafe { libc::unshare(libc::CLONE_NEWTIME) })
}

/// Enters the given namespaces of the process behind `pidfd` (setns(2), Linux 5.8). For
/// [`namespaces::PID`] that means children to come.
pub fn enter(pidfd: BorrowedFd<'_>, flags: u64) -> io::Result<()> {
    // SAFETY: passes a live descriptor and flags.
    check(unsafe { libc::setns(pidfd.as_raw_fd(), flags as i32) })
}

/// Becomes user and group 0 of the current user namespace, without supplementary groups.
pub fn become_namespace_root() -> io::Result<()> {
    // SAFETY: pass plain integers and an empty list.
    unsafe {
        check(libc::setgroups(0, std::ptr::null()))?;
        check(libc::setresgid(0, 0, 0))?;
        check(libc::setresuid(0, 0, 0))
    }
}

/// Replaces everything that can be seen by an empty directory: a tmpfs over `place`, which is then the
/// root. Only in a mount namespace of one's own.
pub fn empty_root(place: &std::ffi::CStr) -> io::Result<()> {
    let nothing = c"none".as_ptr();
    let root = c"/".as_ptr();
    // SAFETY: all pointers are to NUL-terminated constants or to `place`, which lives across the calls.
    unsafe {
        let private = libc::MS_REC | libc::MS_PRIVATE;
        check(libc::mount(
            nothing,
            root,
            std::ptr::null(),
            private,
            std::ptr::null(),
        ))?;
        let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RDONLY;
        let size = c"size=4k,mode=755".as_ptr().cast();
        check(libc::mount(
            nothing,
            place.as_ptr(),
            c"tmpfs".as_ptr(),
            flags,
            size,
        ))
    }
}

/// Makes `place` the root and the working directory.
pub fn change_root(place: &std::ffi::CStr) -> io::Result<()> {
    // SAFETY: both paths are NUL-terminated and live across the calls.
    unsafe {
        check(libc::chroot(place.as_ptr()))?;
        check(libc::chdir(c"/".as_ptr()))
    }
}
