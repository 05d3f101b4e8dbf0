//! Starting a supervisor: this program once more, detached, with one descriptor at a fixed number, and in its cgroup
//! from the beginning. To move a process into a cgroup takes the kernel some 10 ms (a grace period of RCU); to be
//! born in one (CLONE_INTO_CGROUP, Linux 5.7) takes nothing.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::child::{CloneArguments, exit};

/// The kernel's CLONE_INTO_CGROUP (include/uapi/linux/sched.h); libc's is too narrow for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What a shell's child exits with that cannot execute its program.
const NOT_EXECUTED: i32 = 127;

/// Starts `limosa COMMAND` from this very executable (also when its file was replaced meanwhile) in a
/// session of its own, with `link` as descriptor `number`, standard input and output on /dev/null and
/// standard error as ours. It is not ended with us. Returns its pid and a descriptor of it.
pub fn spawn_detached(
    command: &CStr,
    link: &OwnedFd,
    number: RawFd,
    cgroup: Option<&OwnedFd>,
) -> io::Result<(u32, OwnedFd)> {
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    let argv = [c"limosa".as_ptr(), command.as_ptr(), std::ptr::null()];
    let mut pidfd: RawFd = -1;
    let mut arguments = CloneArguments {
        flags: libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArguments::default()
    };
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd().cast_unsigned().into();
    }
    // SAFETY: without CLONE_VM and with no stack of its own the child is a fork of this process. It makes system calls
    // only: whatever lock another thread holds, such as that of the allocator, is not asked for. The structure and what
    // it points to live across the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<CloneArguments>(),
        )
    };
    match u32::try_from(result) {
        Ok(0) => {
            become_supervisor(nothing.as_raw_fd(), link.as_raw_fd(), number, &argv);
            exit(NOT_EXECUTED)
        }
        // SAFETY: with CLONE_PIDFD the kernel has stored a new descriptor there, ours alone.
        Ok(pid) => Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) })),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// In the child; returns only if something fails. Async-signal-safe.
fn become_supervisor(nothing: RawFd, link: RawFd, number: RawFd, argv: &[*const libc::c_char; 3]) {
    // SAFETY: plain integers, NUL-terminated constants, an array that ends with a null pointer, and a set that is made
    // before it is used.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        if libc::setsid() < 0 || libc::chdir(c"/".as_ptr()) < 0 {
            return;
        }
        // The link first: its number may be that of /dev/null here, but not the other way about.
        let nothing = libc::fcntl(nothing, libc::F_DUPFD_CLOEXEC, number + 1);
        let linked = if link == number {
            // dup2 onto itself would leave close-on-exec as it is.
            libc::fcntl(link, libc::F_SETFD, 0)
        } else {
            libc::dup2(link, number)
        };
        let is_ready = nothing >= 0
            && linked >= 0
            && libc::dup2(nothing, libc::STDIN_FILENO) >= 0
            && libc::dup2(nothing, libc::STDOUT_FILENO) >= 0;
        if is_ready {
            libc::execv(c"/proc/self/exe".as_ptr(), argv.as_ptr());
        }
    }
}
