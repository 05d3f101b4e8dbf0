//! The robust futex list of another thread (get_robust_list(2)).
#![allow(unsafe_code)]

use std::io;

/// Head and length of the list that `thread` has registered; zeros if none.
pub fn of_thread(thread: i32) -> io::Result<(u64, u64)> {
    let mut head: u64 = 0;
    let mut length: u64 = 0;
    // SAFETY: the kernel writes one pointer-sized and one size_t-sized value to the two places.
    let result = unsafe {
        libc::syscall(
            libc::SYS_get_robust_list,
            thread,
            &raw mut head,
            &raw mut length,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok((head, length))
    }
}
