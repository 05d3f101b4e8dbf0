//! Huge pages in place of small ones, in another process's memory (madvise(2), MADV_COLLAPSE, Linux 6.1).
#![allow(unsafe_code)]

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

/// MADV_COLLAPSE.
const COLLAPSE: libc::c_int = 25;

/// Makes huge pages of what is in `range` of the process behind `pidfd` (process_madvise(2)). Its contents
/// stay what they are.
///
/// # Errors
/// EINVAL where the kernel cannot do it at all, or not there; others if it has no huge page to give.
pub fn collapse(pidfd: BorrowedFd<'_>, range: &Range<u64>) -> io::Result<()> {
    let part = libc::iovec {
        iov_base: range.start as *mut libc::c_void,
        iov_len: (range.end - range.start) as usize,
    };
    // SAFETY: the kernel reads the one entry that is announced; the address in it is the other process's, of
    // which only the kind of pages changes.
    let done = unsafe {
        libc::syscall(
            libc::SYS_process_madvise,
            pidfd.as_raw_fd(),
            &raw const part,
            1,
            COLLAPSE,
            0,
        )
    };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
