//! Another process's memory as that process itself may use it (process_vm_readv(2)): where the
//! protection of a page forbids access there is none, as in a system call with a pointer to it.
#![allow(unsafe_code)]

use std::io;

use libc::{c_ulong, c_void, iovec};

/// Fills `into` from the memory of the process of `thread`, from `address` on.
///
/// # Errors
/// `EFAULT` if any of it cannot be read by the process itself.
pub fn read(thread: i32, address: u64, into: &mut [u8]) -> io::Result<()> {
    let here = iovec {
        iov_base: into.as_mut_ptr().cast::<c_void>(),
        iov_len: into.len(),
    };
    let there = elsewhere(address, into.len());
    // SAFETY: both vectors have the one entry that is announced, and the kernel writes at most
    // `iov_len` bytes to `into`, which is borrowed mutably for the call.
    let moved =
        unsafe { libc::process_vm_readv(thread, &raw const here, ONE, &raw const there, ONE, 0) };
    whole(moved, into.len())
}

/// Writes `bytes` to `address` of the process of `thread`. On failure a part may have been written.
///
/// # Errors
/// `EFAULT` if any of it cannot be written by the process itself.
pub fn write(thread: i32, address: u64, bytes: &[u8]) -> io::Result<()> {
    let here = iovec {
        iov_base: bytes.as_ptr().cast_mut().cast::<c_void>(),
        iov_len: bytes.len(),
    };
    let there = elsewhere(address, bytes.len());
    // SAFETY: both vectors have the one entry that is announced, and the kernel only reads from `here`.
    let moved =
        unsafe { libc::process_vm_writev(thread, &raw const here, ONE, &raw const there, ONE, 0) };
    whole(moved, bytes.len())
}

const ONE: c_ulong = 1;

fn elsewhere(address: u64, length: usize) -> iovec {
    iovec {
        iov_base: std::ptr::without_provenance_mut(address as usize),
        iov_len: length,
    }
}

/// The kernel moves what it can up to the first page that it may not touch.
fn whole(moved: isize, length: usize) -> io::Result<()> {
    match usize::try_from(moved) {
        Err(_) => Err(io::Error::last_os_error()),
        Ok(moved) if moved < length => Err(io::Error::from_raw_os_error(libc::EFAULT)),
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> i32 {
        std::process::id().cast_signed()
    }

    #[test]
    fn memory_is_read_and_written() {
        let mut memory = *b"limosa";
        let address = memory.as_mut_ptr() as u64;
        write(own(), address + 1, b"ump").unwrap();
        let mut copy = [0; 6];
        read(own(), address, &mut copy).unwrap();
        assert_eq!(&copy, b"lumpsa");
    }

    #[test]
    fn what_the_process_may_not_write_is_not_written() {
        static READ_ONLY: [u8; 4] = *b"lima";
        let address = READ_ONLY.as_ptr() as u64;
        let error = write(own(), address, b"kilo").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
        let mut copy = [0; 4];
        read(own(), address, &mut copy).unwrap();
        assert_eq!(&copy, b"lima");
    }

    #[test]
    fn what_is_not_mapped_is_not_read() {
        let error = read(own(), 8, &mut [0; 8]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
    }
}
