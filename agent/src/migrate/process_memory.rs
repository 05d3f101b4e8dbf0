//! The memory of another process through /proc/PID/mem, opened once.
//!
//! Unlike process_vm_readv(2) it reads and writes pages whose protection forbids it (the kernel uses
//! FOLL_FORCE for a tracer), so a write into a read-only private mapping makes a private copy. What a
//! program has its own system calls read and write goes the other way ([`crate::sys::process_vm`]).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

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

    /// Fills `into` from `address` on.
    pub fn read(&self, address: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, address)
    }

    /// Reads as much as is mapped from `address` on; stops at the first hole.
    pub fn read_available(&self, address: u64, into: &mut [u8]) -> usize {
        let mut done = 0;
        while done < into.len() {
            match self.file.read_at(&mut into[done..], address + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        done
    }

    /// Writes `bytes` to `address`.
    pub fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, address)
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
