//! The memory of another process through /proc/PID/mem, opened once.
//!
//! Unlike process_vm_readv(2) it reads and writes pages whose protection forbids it (the kernel uses
//! FOLL_FORCE for a tracer), so a write into a read-only private mapping makes a private copy.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Another process's memory.
#[derive(Debug)]
pub struct ProcessMemory(File);

impl ProcessMemory {
    /// Opens the memory of the process that `thread` belongs to.
    pub fn open(thread: i32) -> io::Result<ProcessMemory> {
        let path = format!("/proc/{thread}/mem");
        File::options()
            .read(true)
            .write(true)
            .open(path)
            .map(ProcessMemory)
    }

    /// Fills `into` from `address` on.
    pub fn read(&self, address: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(into, address)
    }

    /// Reads as much as is mapped from `address` on; stops at the first hole.
    pub fn read_available(&self, address: u64, into: &mut [u8]) -> usize {
        let mut done = 0;
        while done < into.len() {
            match self.0.read_at(&mut into[done..], address + done as u64) {
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
        self.0.write_all_at(bytes, address)
    }

    /// One 64-bit word.
    pub fn word(&self, address: u64) -> io::Result<u64> {
        let mut word = [0; 8];
        self.read(address, &mut word)?;
        Ok(u64::from_le_bytes(word))
    }
}
