//! PROCMAP_QUERY: one mapping of a process by its address, without reading /proc/PID/maps (Linux 6.11).
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// PROCMAP_QUERY of linux/fs.h: _IOWR('f', 17, struct procmap_query).
const PROCMAP_QUERY: libc::c_ulong = 0xc068_6611;

/// PROCMAP_QUERY_VMA_WRITABLE: only a mapping that may be written.
const WRITABLE: u64 = 2;

/// Where the writable mapping ends that covers `address`; none if there is none. `maps` is an open
/// /proc/PID/maps.
///
/// # Errors
/// ENOTTY where the kernel does not have the request.
pub fn end_of_writable(maps: &File, address: u64) -> io::Result<Option<u64>> {
    // struct procmap_query: size, query_flags, query_addr, vma_start, vma_end, vma_flags, vma_page_size,
    // vma_offset, inode, two device numbers, two sizes of names, and where names go: none are asked for.
    let mut query = [0_u64; 13];
    query[0] = size_of_val(&query) as u64;
    query[1] = WRITABLE;
    query[2] = address;
    // SAFETY: the kernel reads and writes the 104 bytes of `query`, as its first field says, and nothing
    // else, since no name is asked for.
    let result = unsafe {
        libc::ioctl(
            maps.as_raw_fd(),
            PROCMAP_QUERY,
            query.as_mut_ptr().cast::<libc::c_void>(),
        )
    };
    if result == 0 {
        return Ok(Some(query[4]));
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        error => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_written_is_told_from_what_may_not() {
        static READ_ONLY: [u8; 4] = *b"lima";
        let word = 1_u64;
        let maps = File::open("/proc/self/maps").unwrap();
        let address = (&raw const word) as u64;
        match end_of_writable(&maps, address) {
            Ok(end) => {
                assert!(end.is_some_and(|end| end > address));
                let end = end_of_writable(&maps, READ_ONLY.as_ptr() as u64).unwrap();
                assert_eq!(end, None);
            }
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENOTTY)),
        }
    }
}
