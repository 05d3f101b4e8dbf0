//! Descriptors that a process finds open when it is started.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Takes the descriptor with this number, which whoever started us has left for us, and has it closed
/// on exec. It can be taken once: then it is owned by the caller alone.
pub fn take(number: i32) -> io::Result<OwnedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if number <= libc::STDERR_FILENO || TAKEN.swap(true, Ordering::Relaxed) {
        return Err(io::Error::other(format!(
            "descriptor {number} is not to be taken"
        )));
    }
    // SAFETY: passes plain integers; fails if the descriptor is not open.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open (checked above), and nothing else in this process owns it: it was inherited,
    // and this function hands it out once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
