//! Directories at home on which answers about names rest, and their changes, told by inotify(7).
//!
//! A directory counts as long as nothing happens to it itself and to those of its names that answers went by. The
//! kernel queues an event before the call that caused it returns (fsnotify), so whoever reads the queue
//! knows of every change that was over before.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, ResolveFlags, fstatfs, inotify, open, openat2};
use rustix::io::Errno;

use crate::limits::{WATCHED_DIRECTORIES_MAX, WATCHED_NAMES_MAX};
use crate::sys::ptrace::ThreadId;

/// File systems that nobody but this kernel changes (linux/magic.h): ext2 to ext4, XFS, Btrfs, F2FS,
/// tmpfs, ramfs, squashfs, EROFS. Not those of other machines or programs (NFS, 9P, FUSE), not proc and sysfs, which
/// change without events, and not overlayfs, whose directories can be changed behind it.
const LOCAL_FILE_SYSTEMS: [u32; 8] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0xf2f5_2010,
    0x0102_1994,
    0x8584_58f6,
    0x7371_7368,
    0xe0f5_e1e2,
];

/// Instances that must be left to others of this user, who has 128 by default (fs.inotify.max_user_instances).
const SPARE_INSTANCES: usize = 16;

/// Why a name's answer cannot be told to last.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unwatched {
    /// There is no such directory.
    Absent,
    /// Anything else: another kind of file system, a symbolic link, too many.
    Refused,
}

/// From where a name leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// The process's root directory.
    Root,
    /// Its current directory.
    Current,
}

/// A watched directory.
struct Directory {
    /// Its number; never given twice.
    number: u32,
    /// Whose it is, and from where it was found.
    process: ThreadId,
    start: Start,
    /// The way to it from there, without `.` and `..`.
    path: Vec<u8>,
    /// inotify's number for it.
    descriptor: i32,
    /// The names in it that answers went by.
    names: Vec<Vec<u8>>,
}

/// Watches directories.
pub(super) struct Watch {
    events: OwnedFd,
    /// The list of mounts: what is mounted changes names without events (proc_pid_mounts(5)). One to wait for and
    /// one to ask: poll(2) tells of a change once to each who has opened it.
    mounts_awaited: OwnedFd,
    mounts_asked: OwnedFd,
    directories: Vec<Directory>,
    last_number: u32,
}

impl Watch {
    /// Of nothing yet, for processes with the mounts of this one.
    ///
    /// # Errors
    /// If there is no inotify instance to spare, or the kernel has none.
    pub(super) fn new(process: ThreadId) -> rustix::io::Result<Watch> {
        let new = || inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC);
        let events = new()?;
        let spare: Result<Vec<OwnedFd>, Errno> = (0..SPARE_INSTANCES).map(|_| new()).collect();
        spare?;
        let mounts = || {
            let path = format!("/proc/{process}/mounts");
            open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        };
        Ok(Watch {
            events,
            mounts_awaited: mounts()?,
            mounts_asked: mounts()?,
            directories: Vec::new(),
            last_number: 0,
        })
    }

    /// What becomes ready when something has happened.
    pub(super) fn descriptors(&self) -> Vec<PollFd<'_>> {
        self.events_and(&self.mounts_awaited)
    }

    fn events_and<'a>(&'a self, mounts: &'a OwnedFd) -> Vec<PollFd<'a>> {
        vec![
            PollFd::new(&self.events, PollFlags::IN),
            PollFd::new(mounts, PollFlags::PRI),
        ]
    }

    /// Whether this directory counts as before.
    pub(super) fn has(&self, number: u32) -> bool {
        self.directories.iter().any(|it| it.number == number)
    }

    /// The number of the directory with this path, which is watched from now on. All that lead to it must be.
    pub(super) fn directory(
        &mut self,
        process: ThreadId,
        start: Start,
        path: &[u8],
    ) -> Result<u32, Unwatched> {
        let known = self
            .directories
            .iter()
            .find(|it| it.process == process && it.start == start && it.path == path);
        if let Some(known) = known {
            return Ok(known.number);
        }
        if self.directories.len() >= WATCHED_DIRECTORIES_MAX {
            return Err(Unwatched::Refused);
        }
        let opened = open_below(process, start, path, OFlags::DIRECTORY);
        let opened = opened.map_err(|error| match error {
            Errno::NOENT => Unwatched::Absent,
            _ => Unwatched::Refused,
        })?;
        let descriptor = self.add(opened.as_fd()).ok_or(Unwatched::Refused)?;
        self.last_number += 1;
        self.directories.push(Directory {
            number: self.last_number,
            process,
            start,
            path: path.to_vec(),
            descriptor,
            names: Vec::new(),
        });
        Ok(self.last_number)
    }

    fn add(&self, directory: BorrowedFd<'_>) -> Option<i32> {
        use inotify::WatchFlags;
        if !is_changed_here_only(directory) {
            return None;
        }
        let changes = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
        inotify::add_watch(&self.events, path, changes).ok()
    }

    /// An answer goes by this name in a directory. Whether that can be noted.
    pub(super) fn note_name(&mut self, number: u32, name: &[u8]) -> bool {
        let count: usize = self.directories.iter().map(|it| it.names.len()).sum();
        let Some(directory) = self.directories.iter_mut().find(|it| it.number == number) else {
            return false;
        };
        if directory.names.iter().any(|known| known == name) {
            return true;
        }
        directory.names.push(name.to_vec());
        count < WATCHED_NAMES_MAX
    }

    /// The directories that do not count any more because of what has happened.
    pub(super) fn changed(&mut self) -> Vec<u32> {
        let mut descriptors = self.events_and(&self.mounts_asked);
        match poll(&mut descriptors, Some(&Timespec::default())) {
            Ok(0) => return Vec::new(),
            Ok(_) if descriptors[1].revents().is_empty() => {}
            // Something was mounted or unmounted, or nothing can be told.
            Ok(_) | Err(_) => return self.forget_all(),
        }
        let mut changed = Vec::new();
        let mut room = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.events, &mut room);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(_) => return self.forget_all(),
            };
            if event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) {
                return self.forget_all();
            }
            let (descriptor, name) = (event.wd(), event.file_name().map(CStr::to_bytes));
            let concerned = self.directories.iter().filter(|directory| {
                directory.descriptor == descriptor
                    && name.is_none_or(|name| directory.names.iter().any(|it| are_alike(it, name)))
            });
            changed.extend(concerned.map(|directory| directory.number));
        }
        for number in &changed {
            self.forget_below(*number);
        }
        changed
    }

    /// Forgets a directory and those to which the way leads through it.
    fn forget_below(&mut self, number: u32) {
        let Some(index) = self.directories.iter().position(|it| it.number == number) else {
            return;
        };
        let upper = self.directories.swap_remove(index);
        let mut forgotten = vec![upper.descriptor];
        self.directories.retain(|it| {
            let is_below = it.process == upper.process
                && it.start == upper.start
                && is_below(&it.path, &upper.path);
            if is_below {
                forgotten.push(it.descriptor);
            }
            !is_below
        });
        self.unwatch(forgotten);
    }

    fn unwatch(&self, descriptors: Vec<i32>) {
        for descriptor in descriptors {
            if !(self.directories.iter()).any(|it| it.descriptor == descriptor) {
                // Of one that was deleted the kernel has done so.
                let _ = inotify::remove_watch(&self.events, descriptor);
            }
        }
    }

    /// Nothing counts any more: the numbers of all.
    pub(super) fn forget_all(&mut self) -> Vec<u32> {
        self.forget_where(|_| true)
    }

    /// Nothing of this process counts any more: the numbers of its directories.
    pub(super) fn forget_process(&mut self, process: ThreadId) -> Vec<u32> {
        self.forget_where(|directory| directory.process == process)
    }

    fn forget_where(&mut self, condition: impl Fn(&Directory) -> bool) -> Vec<u32> {
        let (forgotten, kept): (Vec<Directory>, Vec<Directory>) =
            std::mem::take(&mut self.directories)
                .into_iter()
                .partition(condition);
        self.directories = kept;
        self.unwatch(forgotten.iter().map(|it| it.descriptor).collect());
        forgotten.iter().map(|it| it.number).collect()
    }
}

/// Whether nobody but this kernel changes what is on this file's file system.
pub(super) fn is_changed_here_only(file: BorrowedFd<'_>) -> bool {
    fstatfs(file).is_ok_and(|found| LOCAL_FILE_SYSTEMS.contains(&(found.f_type as u32)))
}

/// Opens what is there by a path, which must lead through no symbolic link; for looking at it only.
pub(super) fn open_below(
    process: ThreadId,
    start: Start,
    path: &[u8],
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let link = match start {
        Start::Root => "root",
        Start::Current => "cwd",
    };
    let looking = OFlags::PATH | OFlags::CLOEXEC;
    let start = open(
        format!("/proc/{process}/{link}"),
        looking | OFlags::DIRECTORY,
        Mode::empty(),
    )?;
    if path.is_empty() {
        return Ok(start);
    }
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::BENEATH;
    openat2(
        start,
        path,
        looking | OFlags::NOFOLLOW | flags,
        Mode::empty(),
        resolve,
    )
}

/// Whether two names may be the same to a file system that does not tell cases apart (ext4, F2FS, tmpfs: casefold).
fn are_alike(one: &[u8], other: &[u8]) -> bool {
    !one.is_ascii() || !other.is_ascii() || one.eq_ignore_ascii_case(other)
}

/// Whether the way to `path` leads through `upper`.
fn is_below(path: &[u8], upper: &[u8]) -> bool {
    upper.is_empty()
        || path
            .strip_prefix(upper)
            .is_some_and(|rest| rest.first() == Some(&b'/'))
}
