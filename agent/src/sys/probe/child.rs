//! Trying something in a child process that ends at once, so that this one stays as it is.

use std::io;

/// After this many seconds a child that hangs is killed by the kernel. A network namespace can take seconds while
/// many others are being taken down.
const CHILD_SECONDS_MAX: libc::c_uint = 15;

/// Runs `attempt` in a child of this process and returns what it returned; nothing if the child could
/// not be made or was killed.
///
/// # Safety
/// The child of a process with several threads may only do what a signal handler may (fork(2)):
/// `attempt` must make system calls only, and neither allocate nor panic.
pub(super) unsafe fn attempt_in_child(attempt: impl FnOnce() -> u8) -> Option<u8> {
    // SAFETY: the caller vouches for what the child does before it ends by _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: both only change or end the child itself.
        unsafe {
            libc::alarm(CHILD_SECONDS_MAX);
            libc::_exit(i32::from(attempt()));
        }
    }
    if child < 0 {
        return None;
    }
    let status = wait(child, 0)?;
    let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status))?;
    u8::try_from(code).ok()
}

/// Waits until a child of ours changes state, and returns its status.
pub(super) fn wait(child: libc::pid_t, options: libc::c_int) -> Option<libc::c_int> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a valid place for the status.
        let waited = unsafe { libc::waitpid(child, &raw mut status, options) };
        if waited == child {
            return Some(status);
        }
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_child_returns_arrives() {
        // SAFETY: the attempts make no calls at all.
        unsafe {
            assert_eq!(attempt_in_child(|| 0), Some(0));
            assert_eq!(attempt_in_child(|| 201), Some(201));
        }
    }

    #[test]
    fn a_child_that_is_killed_returns_nothing() {
        // SAFETY: raise is a system call.
        let returned = unsafe {
            attempt_in_child(|| {
                libc::raise(libc::SIGKILL);
                0
            })
        };
        assert_eq!(returned, None);
    }
}
