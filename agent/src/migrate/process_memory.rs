//! The memory of another process through /proc/PID/mem, opened once.
//!
//! Unlike process_vm_readv(2) it reads and writes pages whose protection forbids it (the kernel uses
//! FOLL_FORCE for a tracer), so a write into a read-only private mapping makes a private copy. What a
//! program has its own system calls read and write goes the other way ([`crate::sys::process_vm`]).
//!
//! Of a page that userfaultfd(2) has yet to fill, /proc/PID/mem says EIO instead of waiting for it (the kernel's
//! access_remote_vm may not give up its lock); process_vm_readv(2) waits, so such a page is awaited by that.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use rustix::io::Errno;

use crate::sys::{mapping_query, process_vm};

/// Another process's memory.
#[derive(Debug)]
pub struct ProcessMemory {
    file: File,
    maps: File,
    thread: i32,
}

impl ProcessMemory {
    /// Opens the memory of the process that `thread` belongs to.
    pub fn open(thread: i32) -> io::Result<ProcessMemory> {
        let path = format!("/proc/{thread}/mem");
        let file = File::options().read(true).write(true).open(path)?;
        let maps = File::open(format!("/proc/{thread}/maps"))?;
        Ok(ProcessMemory { file, maps, thread })
    }

    /// What has to stay open for this to work.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.file.as_fd(), self.maps.as_fd()]
    }

    /// Fills `into` from `address` on.
    ///
    /// # Errors
    /// EIO where nothing is mapped.
    pub fn read(&self, address: u64, into: &mut [u8]) -> io::Result<()> {
        let done = self.read_available(address, into);
        if done < into.len() {
            return Err(io::Error::from_raw_os_error(Errno::IO.raw_os_error()));
        }
        Ok(())
    }

    /// Reads as much as is mapped from `address` on; stops at the first hole.
    pub fn read_available(&self, address: u64, into: &mut [u8]) -> usize {
        let mut done = 0;
        let mut awaited = None;
        while done < into.len() {
            let at = address + done as u64;
            match self.file.read_at(&mut into[done..], at) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if awaited != Some(at) && self.await_page(at) => awaited = Some(at),
                Err(_) => break,
            }
        }
        done
    }

    /// Waits for the page at `address` if it is yet to be filled; `false` if the process may not read it.
    fn await_page(&self, address: u64) -> bool {
        process_vm::read(self.thread, address, &mut [0]).is_ok()
    }

    /// Writes `bytes` to `address`.
    pub fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        let mut done = 0;
        let mut awaited = None;
        while done < bytes.len() {
            let at = address + done as u64;
            match self.file.write_at(&bytes[done..], at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if awaited != Some(at) && self.await_page(at) => awaited = Some(at),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Fills `into` from `address` on, as a system call of the process would.
    ///
    /// # Errors
    /// `EFAULT` if any of it is not mapped or its protection forbids reading.
    pub fn read_as_program(&self, address: u64, into: &mut [u8]) -> io::Result<()> {
        process_vm::read(self.thread, address, into).or_else(|error| {
            // A stack grows below what it has touched by the kernel's copying, and by /proc/PID/mem, but
            // not by process_vm_readv(2) (mm/gup.c in Linux 6.5 and newer).
            self.read(address, &mut [0]).map_err(|_| error)?;
            process_vm::read(self.thread, address, into)
        })
    }

    /// Writes `bytes` to `address`, as a system call of the process would.
    ///
    /// # Errors
    /// `EFAULT` if any of it is not mapped or its protection forbids writing; a part may be written.
    pub fn write_as_program(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        process_vm::write(self.thread, address, bytes).or_else(|error| {
            self.read(address, &mut [0]).map_err(|_| error)?;
            process_vm::write(self.thread, address, bytes)
        })
    }

    /// Whether a system call of the process could write to the `length` bytes at `address`. A kernel older than
    /// Linux 6.11 is asked only whether the first of them can be read.
    pub fn is_writable_by_program(&self, address: u64, length: u64) -> bool {
        // This lets a stack grow.
        if self.read_as_program(address, &mut [0]).is_err() {
            return false;
        }
        let mut at = address;
        while at - address < length {
            match mapping_query::end_of_writable(&self.maps, at) {
                Ok(Some(end)) => at = end,
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
        true
    }

    /// One 64-bit word.
    pub fn word(&self, address: u64) -> io::Result<u64> {
        let mut word = [0; 8];
        self.read(address, &mut word)?;
        Ok(u64::from_le_bytes(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::image::PAGE_BYTES;
    use crate::sys::userfaultfd::{Event, Userfaultfd};
    use rustix::event::{PollFd, PollFlags, poll};

    /// Two pages are yet to be filled; a thread fills each when it is waited for.
    #[test]
    fn pages_that_are_yet_to_be_filled_are_awaited_by_readers_and_writers() {
        const PAGE: usize = PAGE_BYTES as usize;
        // Fresh from the kernel, because it is that large, and untouched.
        let area: Vec<u8> = Vec::with_capacity(64 << 20);
        let base = (area.as_ptr() as u64).next_multiple_of(PAGE_BYTES) + PAGE_BYTES;
        let userfaultfd = Userfaultfd::open().unwrap();
        userfaultfd
            .register(&(base..base + 2 * PAGE_BYTES))
            .unwrap();
        let filler = std::thread::spawn(move || {
            let mut filled = 0;
            while filled < 2 {
                poll(&mut [PollFd::new(&userfaultfd, PollFlags::IN)], None).unwrap();
                for event in userfaultfd.events().unwrap() {
                    let Event::Missing(address) = event else {
                        panic!("{event:?}");
                    };
                    let page = address / PAGE_BYTES * PAGE_BYTES;
                    assert!(userfaultfd.copy(page, &[7; PAGE]).1.is_none());
                    filled += 1;
                }
            }
        });
        let memory = ProcessMemory::open(std::process::id().cast_signed()).unwrap();
        let mut read = [0; 16];
        memory.read(base + PAGE_BYTES - 16, &mut read).unwrap();
        assert_eq!(read, [7; 16]);
        memory.write(base + PAGE_BYTES, b"limosa").unwrap();
        memory.read(base + PAGE_BYTES, &mut read).unwrap();
        assert_eq!(&read, b"limosa\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07");
        filler.join().unwrap();
    }

    #[test]
    fn what_is_not_mapped_is_neither_read_nor_written() {
        let memory = ProcessMemory::open(std::process::id().cast_signed()).unwrap();
        assert!(memory.read(8, &mut [0; 8]).is_err());
        assert!(memory.write(8, &[0; 8]).is_err());
    }
}
