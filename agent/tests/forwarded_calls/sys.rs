//! The one unsafe thing that these tests do: a raw system call.

#![allow(unsafe_code)]

/// Makes the call and returns its raw result: negative for an error.
///
/// The callers pass addresses within buffers that they own and that live as long as the call; that is the
/// subject of these tests, which look for every byte that changes around those buffers.
pub(crate) fn call(number: u64, args: &[u64; 6]) -> i64 {
    let [a, b, c, d, e, f] = *args;
    // SAFETY: the kernel writes only where the arguments lead, into buffers of the caller; calls that would
    // unmap or replace memory are never forwarded, and so never passed here.
    let result = unsafe { libc::syscall(number as libc::c_long, a, b, c, d, e, f) };
    if result == -1 {
        return -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0));
    }
    result
}
