//! Contents of files that a guest will probably ask for next, sent with the answer to what it has asked for.
//!
//! A program opens a file, asks for its size and reads it, or reads it in small pieces. Who has opened a file while
//! away gets its attributes and first bytes at once; who reads a file again and again gets more than it asked for. The
//! guest's supervisor answers from that (`guest/ahead.rs`) until it hears anything else of home or the moment has
//! passed, so a program sees no older contents than what it has been told since would let it; before the guest does
//! anything else at home it says how much was read (`Consumed`), and only then the file's offset moves on.
//!
//! That is exact where nobody else can look at the offset meanwhile: for descriptors that a process with one thread
//! has opened itself and has not shared, of files that nobody but this kernel changes.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use rustix::fs::{FileType, OFlags, SeekFrom, Stat, fcntl_getfl, fcntl_setfl, fstat, seek};
use rustix::io::{Errno, pread};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::limits::{AHEAD_BYTES_MAX, OWN_DESCRIPTORS_MAX};
use crate::sys::call_numbers as number;
use crate::sys::ptrace::ThreadId;
use crate::syscall::Layout;
use crate::wire::migration::{Ahead, ToGuest};

use super::away::{Away, Trouble};
use super::threads::Answer;
use super::watch;

/// What is sent with the answer to open(2): most headers and scripts are not longer.
const FIRST_BYTES: usize = 32 << 10;

/// What is read ahead at first; more where it was wanted.
const WINDOW_BYTES: usize = 4 << 10;

/// Reads of this size are worth their round trip.
const LARGE_BYTES: u64 = 32 << 10;

/// After so many that were of no use, only one file of [`PROBED`] is sent ahead.
const DISAPPOINTMENTS_MAX: u32 = 4;
const PROBED: u32 = 8;

/// What one process was given.
#[derive(Default)]
pub(super) struct ReadAhead {
    /// Descriptors that it has opened while away, and has not shared.
    own: Vec<i32>,
    /// What it was given last, if it has not said how much of it was of use.
    given: Option<Given>,
    /// The descriptor of its last read.
    last_read: Option<i32>,
    window_bytes: usize,
    disappointments: u32,
    opened: u32,
    process: Option<OwnedFd>,
}

struct Given {
    descriptor: i32,
    bytes: usize,
}

/// What shall be sent ahead: of which descriptor, how much, and its attributes if it has just been opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    descriptor: i32,
    bytes: usize,
    begins: bool,
}

impl ReadAhead {
    /// Somebody else can have the same descriptors from now on.
    pub(super) fn share(&mut self) {
        self.own.clear();
    }

    /// Follows what a call has done to the process's descriptors.
    fn note(&mut self, layout: &Layout, result: i64) {
        let [first, second, ..] = layout.args;
        match layout.number.cast_signed() {
            number::SYS_close => self.own.retain(|&own| own != first as i32),
            number::SYS_dup2 | number::SYS_dup3 => self.own.retain(|&own| own != second as i32),
            number::SYS_close_range | number::SYS_sendmsg | number::SYS_sendmmsg => self.share(),
            _ if layout.forward.facts.opens && result >= 0 => {
                if self.own.len() >= OWN_DESCRIPTORS_MAX {
                    self.own.clear();
                }
                self.own.push(result as i32);
            }
            _ => {}
        }
    }

    /// What is worth sending ahead with the answer to this call, if anything is.
    pub(super) fn wish(&mut self, layout: &Layout, result: i64) -> Option<Wish> {
        self.note(layout, result);
        if self.given.take().is_some() {
            // Nothing was said of it: it was of no use.
            self.disappointments = self.disappointments.saturating_add(1);
            self.window_bytes = WINDOW_BYTES;
        }
        let last_read = self.last_read.take();
        if layout.forward.facts.opens && result >= 0 {
            self.opened = self.opened.wrapping_add(1);
            let is_worth_it =
                self.disappointments < DISAPPOINTMENTS_MAX || self.opened.is_multiple_of(PROBED);
            return is_worth_it.then_some(Wish {
                descriptor: result as i32,
                bytes: FIRST_BYTES,
                begins: true,
            });
        }
        let [descriptor, _, count, ..] = layout.args;
        let descriptor = descriptor as i32;
        let reads_some = layout.number.cast_signed() == number::SYS_read
            && (1..LARGE_BYTES).contains(&count)
            && result.cast_unsigned() == count;
        if !reads_some || !self.own.contains(&descriptor) {
            return None;
        }
        self.last_read = Some(descriptor);
        (last_read == Some(descriptor)).then(|| Wish {
            descriptor,
            bytes: self.window_bytes.clamp(WINDOW_BYTES, AHEAD_BYTES_MAX),
            begins: false,
        })
    }

    /// This process's open file behind a descriptor. It must be let go at once: locks of flock(2) end with the last
    /// descriptor.
    fn file(&mut self, process: ThreadId, descriptor: i32) -> rustix::io::Result<OwnedFd> {
        let process = match &self.process {
            Some(process) => process,
            None => {
                // In another one owners have other numbers.
                let users = |process: &str| fs::metadata(format!("/proc/{process}/ns/user"));
                let (ours, theirs) = (users("self"), users(&process.to_string()));
                if !matches!((ours, theirs), (Ok(ours), Ok(theirs)) if ours.ino() == theirs.ino()) {
                    return Err(Errno::PERM);
                }
                let pid = Pid::from_raw(process).ok_or(Errno::SRCH)?;
                self.process.insert(pidfd_open(pid, PidfdFlags::empty())?)
            }
        };
        pidfd_getfd(process, descriptor, PidfdGetfdFlags::empty())
    }
}

impl Away<'_> {
    /// Adds to an answer that is sent now what will probably be asked for next.
    pub(super) fn add_ahead(&mut self, answer: &mut Answer) {
        let (Some(wish), ToGuest::Return { ahead, .. }) = (answer.wish, &mut answer.header) else {
            return;
        };
        if self.deputy.threads.len() > 1 {
            // The calls of others could be on their way here, or look at the descriptor now.
            return;
        }
        let read_ahead = &mut self.progress.read_ahead;
        let file = read_ahead.file(self.deputy.pid, wish.descriptor);
        let contents = file
            .ok()
            .and_then(|file| Contents::read(file.as_fd(), wish.bytes));
        let Some(contents) = contents else {
            return;
        };
        let bytes = contents.bytes.len();
        read_ahead.given = (bytes > 0).then_some(Given {
            descriptor: wish.descriptor,
            bytes,
        });
        *ahead = Some(Ahead {
            descriptor: wish.descriptor,
            bytes: bytes as u32,
            ends: contents.ends,
            has_attributes: wish.begins,
        });
        if wish.begins {
            answer.payload.extend(attributes(&contents.attributes));
        }
        answer.payload.extend(contents.bytes);
    }

    /// The guest has read this much of what it was given.
    pub(super) fn on_consumed(&mut self, descriptor: i32, bytes: u32) -> Result<(), Trouble> {
        let read_ahead = &mut self.progress.read_ahead;
        let given = read_ahead.given.take().filter(|given| {
            given.descriptor == descriptor && (1..=given.bytes).contains(&(bytes as usize))
        });
        let Some(given) = given else {
            return Err(Trouble::Protocol(
                "the guest has read what it was not given".to_owned(),
            ));
        };
        read_ahead.disappointments = 0;
        read_ahead.last_read = Some(descriptor);
        read_ahead.window_bytes = if bytes as usize * 4 >= given.bytes * 3 {
            (given.bytes * 2).min(AHEAD_BYTES_MAX)
        } else {
            WINDOW_BYTES
        };
        let file = read_ahead.file(self.deputy.pid, descriptor);
        let moved = file.and_then(|file| {
            let offset = seek(&file, SeekFrom::Current(0))?;
            // As the read that the program has made, it changes the time of the last one (inode(7)).
            pread(&file, &mut [0; 1], offset)?;
            seek(&file, SeekFrom::Current(i64::from(bytes)))
        });
        moved.map_err(|error| Trouble::from(std::io::Error::from(error)))?;
        self.note_visible("read");
        Ok(())
    }
}

/// What a file has at its offset.
struct Contents {
    attributes: Stat,
    bytes: Vec<u8>,
    /// The file ends there.
    ends: bool,
}

impl Contents {
    /// At most this many bytes, leaving no trace. None of what is no ordinary file.
    fn read(file: BorrowedFd<'_>, bytes_max: usize) -> Option<Contents> {
        let attributes = fstat(file).ok()?;
        let flags = fcntl_getfl(file).ok()?;
        let is_read = !flags.intersects(OFlags::PATH | OFlags::DIRECT | OFlags::WRONLY);
        let is_file = FileType::from_raw_mode(attributes.st_mode) == FileType::RegularFile;
        if !is_read || !is_file || !watch::is_changed_here_only(file) {
            return None;
        }
        let offset = seek(file, SeekFrom::Current(0)).ok()?;
        let left = u64::try_from(attributes.st_size)
            .ok()?
            .saturating_sub(offset);
        let wanted = left.min(bytes_max as u64) as usize;
        let mut bytes = vec![0; wanted];
        // The program may never read it. Nobody sees the flag: the call that asked has not returned.
        fcntl_setfl(file, flags | OFlags::NOATIME).ok()?;
        let read = pread(file, &mut bytes, offset);
        fcntl_setfl(file, flags).ok()?;
        bytes.truncate(read.ok()?);
        let ends = bytes.len() == wanted && wanted as u64 == left;
        Some(Contents {
            attributes,
            bytes,
            ends,
        })
    }
}

/// `struct stat` of x86-64 (asm/stat.h).
fn attributes(stat: &Stat) -> Vec<u8> {
    let mut words = vec![stat.st_dev, stat.st_ino, stat.st_nlink];
    words.push(u64::from(stat.st_mode) | u64::from(stat.st_uid) << 32);
    words.push(u64::from(stat.st_gid));
    words.push(stat.st_rdev);
    words.extend([stat.st_size, stat.st_blksize, stat.st_blocks].map(i64::cast_unsigned));
    for (seconds, nanoseconds) in [
        (stat.st_atime, stat.st_atime_nsec),
        (stat.st_mtime, stat.st_mtime_nsec),
        (stat.st_ctime, stat.st_ctime_nsec),
    ] {
        words.extend([seconds.cast_unsigned(), nanoseconds]);
    }
    words.extend([0; 3]);
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
