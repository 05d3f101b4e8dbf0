//! userfaultfd(2): page faults of another process, told to us and resolved by us.
//!
//! A descriptor belongs to the address space of the process that has made it; whoever holds it may
//! register ranges of that address space, hear of faults there and place pages.
#![allow(unsafe_code)]

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

// Requests of linux/userfaultfd.h.
const UFFDIO_API: libc::c_ulong = 0xc018_aa3f;
const UFFDIO_REGISTER: libc::c_ulong = 0xc020_aa00;
const UFFDIO_UNREGISTER: libc::c_ulong = 0x8010_aa01;
const UFFDIO_WAKE: libc::c_ulong = 0x8010_aa02;
const UFFDIO_COPY: libc::c_ulong = 0xc028_aa03;
const UFFDIO_ZEROPAGE: libc::c_ulong = 0xc020_aa04;

/// UFFD_API.
const API: u64 = 0xaa;

/// UFFD_FEATURE_EVENT_REMAP, _REMOVE and _UNMAP: the program is held until we have heard what it does to
/// registered memory.
const EVENTS: u64 = 1 << 2 | 1 << 3 | 1 << 6;

/// UFFD_FEATURE_WP_ASYNC.
const WRITE_PROTECT_ASYNC: u64 = 1 << 15;

/// UFFDIO_REGISTER_MODE_MISSING.
const MODE_MISSING: u64 = 1;

/// UFFDIO_REGISTER_MODE_WP.
const MODE_WRITE_PROTECT: u64 = 2;

/// Bytes of `struct uffd_msg`.
const MESSAGE_BYTES: usize = 32;

/// Most messages taken at once.
const MESSAGES_MAX: usize = 16;

/// What happens to registered memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A thread waits for the page at this address.
    Missing(u64),
    /// The contents of this range were thrown away: it is zero.
    Removed {
        /// Its beginning.
        start: u64,
        /// Its end.
        end: u64,
    },
    /// This range is not mapped any more, or anew.
    Unmapped {
        /// Its beginning.
        start: u64,
        /// Its end.
        end: u64,
    },
    /// Memory has another address.
    Moved {
        /// Where it was.
        from: u64,
        /// Where it is.
        to: u64,
        /// How long it is.
        length: u64,
    },
}

/// A userfaultfd.
#[derive(Debug)]
pub struct Userfaultfd(OwnedFd);

impl Userfaultfd {
    /// Makes one for the calling process's own address space, which tells of everything [`Event`] names.
    /// Needs CAP_SYS_PTRACE (or vm.unprivileged_userfaultfd): faults inside system calls are told of, too.
    pub fn open() -> io::Result<Userfaultfd> {
        Userfaultfd::with_features(EVENTS)
    }

    /// Makes one for the calling process's own address space, which notes what is written to (Linux 6.7), for
    /// PAGEMAP_SCAN to tell, and tells of nothing.
    pub fn noting_writes() -> io::Result<Userfaultfd> {
        Userfaultfd::with_features(WRITE_PROTECT_ASYNC)
    }

    fn with_features(features: u64) -> io::Result<Userfaultfd> {
        // SAFETY: passes flags only.
        let descriptor =
            unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | libc::O_NONBLOCK) };
        let descriptor = i32::try_from(descriptor)
            .ok()
            .filter(|&descriptor| descriptor >= 0)
            .ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the kernel has just made it; it is ours alone.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        let userfaultfd = Userfaultfd(descriptor);
        // struct uffdio_api: api, features, ioctls.
        userfaultfd.request(UFFDIO_API, &mut [API, features, 0])?;
        Ok(userfaultfd)
    }

    /// One that another process has made by [`Self::open`].
    pub fn from_descriptor(descriptor: OwnedFd) -> Userfaultfd {
        Userfaultfd(descriptor)
    }

    /// From now on, threads that touch a page of `range` that is not there wait for us.
    ///
    /// # Errors
    /// EINVAL if there is memory of another kind than private and anonymous in it, or nothing at all.
    pub fn register(&self, range: &Range<u64>) -> io::Result<()> {
        self.register_for(range, MODE_MISSING)
    }

    /// From now on, what is written to in `range` can be noted.
    ///
    /// # Errors
    /// As [`Self::register`].
    pub fn register_writes(&self, range: &Range<u64>) -> io::Result<()> {
        self.register_for(range, MODE_WRITE_PROTECT)
    }

    fn register_for(&self, range: &Range<u64>, mode: u64) -> io::Result<()> {
        // struct uffdio_register: start, len, mode, ioctls.
        let length = range.end - range.start;
        self.request(UFFDIO_REGISTER, &mut [range.start, length, mode, 0])
            .map(drop)
    }

    /// Takes [`Self::register`] back.
    pub fn unregister(&self, range: &Range<u64>) -> io::Result<()> {
        // struct uffdio_range: start, len.
        self.request(
            UFFDIO_UNREGISTER,
            &mut [range.start, range.end - range.start],
        )
        .map(drop)
    }

    /// Places `contents`, whole pages, from `address` on, and wakes who waits for them. Returns how many
    /// bytes were placed: all, or less if a page behind them is there already (EEXIST), is not registered
    /// any more (ENOENT), or the address space is just changing (EAGAIN): that error is the second value.
    pub fn copy(&self, address: u64, contents: &[u8]) -> (usize, Option<io::Error>) {
        // struct uffdio_copy: dst, src, len, mode, copy.
        let length = contents.len() as u64;
        let mut arguments = [address, contents.as_ptr() as u64, length, 0, 0];
        let error = self.request(UFFDIO_COPY, &mut arguments).err();
        (placed(arguments[4]), error)
    }

    /// As [`Self::copy`], pages of zeros.
    pub fn place_zeros(&self, range: &Range<u64>) -> (usize, Option<io::Error>) {
        // struct uffdio_zeropage: start, len, mode, zeropage.
        let mut arguments = [range.start, range.end - range.start, 0, 0];
        let error = self.request(UFFDIO_ZEROPAGE, &mut arguments).err();
        (placed(arguments[3]), error)
    }

    /// Lets threads that wait for pages of `range` look again.
    pub fn wake(&self, range: &Range<u64>) -> io::Result<()> {
        self.request(UFFDIO_WAKE, &mut [range.start, range.end - range.start])
            .map(drop)
    }

    /// What has happened and was not told yet; nothing if nothing has. Reading an event other than
    /// [`Event::Missing`] lets the thread go on that it is about.
    ///
    /// # Errors
    /// When the address space is no more.
    pub fn events(&self) -> io::Result<Vec<Event>> {
        let mut messages = [0_u8; MESSAGE_BYTES * MESSAGES_MAX];
        match rustix::io::read(&self.0, &mut messages) {
            Ok(count) => Ok(messages[..count]
                .chunks_exact(MESSAGE_BYTES)
                .filter_map(event)
                .collect()),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    fn request<const WORDS: usize>(
        &self,
        request: libc::c_ulong,
        arguments: &mut [u64; WORDS],
    ) -> io::Result<i32> {
        let size = (request >> 16) & 0x3fff;
        debug_assert_eq!(size, (WORDS * 8) as u64);
        // SAFETY: the kernel reads and writes as many bytes at the pointer as the request's encoded size
        // says, which is that of `arguments`; a source that it reads (UFFDIO_COPY) is borrowed by the
        // caller for the call.
        let result = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                request,
                arguments.as_mut_ptr().cast::<libc::c_void>(),
            )
        };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(result)
        }
    }
}

impl AsFd for Userfaultfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The kernel's count of bytes, or minus an errno.
fn placed(count: u64) -> usize {
    usize::try_from(count.cast_signed()).unwrap_or(0)
}

/// `struct uffd_msg`: event, 7 reserved bytes, three words.
fn event(message: &[u8]) -> Option<Event> {
    const PAGEFAULT: u8 = 0x12;
    const REMAP: u8 = 0x14;
    const REMOVE: u8 = 0x15;
    const UNMAP: u8 = 0x16;
    let (words, _) = message.as_chunks::<8>();
    let word = |index: usize| words.get(index).copied().map_or(0, u64::from_le_bytes);
    match *message.first()? {
        // Flags, address.
        PAGEFAULT => Some(Event::Missing(word(2))),
        REMAP => Some(Event::Moved {
            from: word(1),
            to: word(2),
            length: word(3),
        }),
        REMOVE => Some(Event::Removed {
            start: word(1),
            end: word(2),
        }),
        UNMAP => Some(Event::Unmapped {
            start: word(1),
            end: word(2),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart() {
        let message = |kind: u8, words: [u64; 3]| {
            let mut bytes = vec![kind, 0, 0, 0, 0, 0, 0, 0];
            bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            event(&bytes)
        };
        assert_eq!(message(0x12, [1, 0x5000, 0]), Some(Event::Missing(0x5000)));
        let (start, end) = (0x1000, 0x3000);
        assert_eq!(
            message(0x15, [start, end, 0]),
            Some(Event::Removed { start, end })
        );
        assert_eq!(
            message(0x16, [start, end, 0]),
            Some(Event::Unmapped { start, end })
        );
        let moved = Event::Moved {
            from: 0x1000,
            to: 0x9000,
            length: 0x2000,
        };
        assert_eq!(message(0x14, [0x1000, 0x9000, 0x2000]), Some(moved));
        assert_eq!(message(0x13, [0, 0, 0]), None);
        assert_eq!(event(&[]), None);
    }
}
