//! Memory that follows its program: what the deputy has is sent after the guest has begun to run.
//!
//! 1. What the process has where is found out, and what it has nothing of is told: that is zero.
//! 2. The rest is sent, piece by piece; a page that the guest waits for, with its neighbours, before all
//!    others, and the pieces go on from there.
//! 3. What home has in huge pages is told, so that the remote node can make such pages, too.
//! 4. `End`: the remote node then closes the page connection.
//!
//! The deputy's memory does not change meanwhile: no thread of it runs the program. A process of its own
//! ([`Pusher`]) does this. The supervisor may wait until the guest's supervisor takes a call's results, and
//! that one for a page of the guest's: pages must come all the same.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Signal, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::migrate::image::PAGE_BYTES;
use crate::migrate::page_stream::{PageStream, PageStreamError};
use crate::migrate::pages::{self, Origin, PageMap, RUN_BYTES_MAX};
use crate::migrate::process_memory::ProcessMemory;
use crate::migrate::runs::Runs;
use crate::sys::child;
use crate::sys::ptrace::ThreadId;
use crate::wire::local;
use crate::wire::pages as messages;

use super::draft::Assumed;

/// A page that is waited for is sent together with those around it, in aligned pieces of this size.
const NEIGHBOURHOOD_BYTES: u64 = 64 << 10;

/// Pages are looked for in steps of at most this size.
const SCAN_BYTES: u64 = 1 << 30;

/// Nothing more is looked for while so many runs are known that have not been sent.
const RUNS_KNOWN_MAX: usize = 1024;

/// Most pages that the guest waits for at once: its threads, and a few.
const WANTED_MAX: usize = 4096;

/// What a pusher has done.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Pushed {
    /// Sent, encryption and framing included.
    pub bytes: u64,
    /// The memory is what it was taken for at departure.
    pub is_as_assumed: bool,
}

/// The process that sends the memory of one process after it. It ends when this is dropped.
pub struct Pusher {
    /// Whose memory.
    pub pid: ThreadId,
    link: UnixStream,
    process: OwnedFd,
}

impl Pusher {
    /// Forks it, for `ranges` of the deputy `pid`. When it has sent them it looks whether its memory is as
    /// `assumed`.
    pub fn start(
        pid: ThreadId,
        stream: PageStream,
        ranges: &[Range<u64>],
        assumed: Option<Assumed>,
    ) -> io::Result<Pusher> {
        let push = Push::new(pid, stream, ranges)?;
        let (ours, theirs) = UnixStream::pair()?;
        let (_, process) = child::spawn(0, None, || {
            // The copies of the supervisor's connections go, so that these end when it does.
            let [memory, maps] = push.memory.descriptors();
            let (stream, page_map) = (push.stream.as_fd(), push.page_map.as_fd());
            let kept = [theirs.as_fd(), stream, memory, maps, page_map];
            let prepared =
                child::close_all_but_standard_and(&kept).and_then(|()| child::die_with_parent());
            match prepared {
                Ok(()) => push.run(&theirs, || assumed.is_none_or(|assumed| assumed.holds(pid))),
                Err(_) => 1,
            }
        })?;
        Ok(Pusher {
            pid,
            link: ours,
            process,
        })
    }

    /// What it says at its end, when its descriptor is readable.
    ///
    /// # Errors
    /// The connection was lost, or the pusher: one line.
    pub fn report(&self) -> Result<Pushed, String> {
        match local::receive::<Result<Pushed, String>>(&self.link) {
            Ok(Some(received)) => received.message,
            Ok(None) => Err("the pusher was killed".to_owned()),
            Err(error) => Err(format!("the pusher failed: {error}")),
        }
    }
}

impl AsFd for Pusher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

impl Drop for Pusher {
    fn drop(&mut self) {
        // One that has ended needs no killing.
        let _ = pidfd_send_signal(&self.process, Signal::KILL);
    }
}

/// The memory of one process on its way.
struct Push {
    stream: PageStream,
    memory: ProcessMemory,
    page_map: PageMap,
    /// All of it.
    ranges: Vec<Range<u64>>,
    /// Where it is not known what there is.
    unscanned: Runs,
    /// What there is and was not sent.
    unsent: Runs,
    /// Where the next piece begins.
    cursor: u64,
    wanted: VecDeque<u64>,
    has_ended: bool,
}

impl Push {
    /// Of `ranges` of the deputy `pid`.
    fn new(pid: ThreadId, stream: PageStream, ranges: &[Range<u64>]) -> io::Result<Push> {
        let mut unscanned = Runs::default();
        for range in ranges {
            unscanned.insert(range.clone());
        }
        Ok(Push {
            stream,
            memory: ProcessMemory::open(pid)?,
            page_map: PageMap::open(pid)?,
            ranges: ranges.to_vec(),
            unscanned,
            unsent: Runs::default(),
            cursor: 0,
            wanted: VecDeque::new(),
            has_ended: false,
        })
    }

    /// Sends everything and tells the supervisor; returns the pusher's exit status.
    fn run(mut self, link: &UnixStream, is_as_assumed: impl FnOnce() -> bool) -> i32 {
        let outcome = loop {
            let interest = if self.has_ended {
                PollFlags::IN
            } else {
                PollFlags::IN | PollFlags::OUT
            };
            // An error is as good as nothing having happened: everything is looked at again.
            let _ = poll(&mut [PollFd::new(&self.stream, interest)], None);
            match self.advance() {
                Ok(true) => {}
                Ok(false) => {
                    break Ok(Pushed {
                        bytes: self.stream.bytes_sent(),
                        is_as_assumed: is_as_assumed(),
                    });
                }
                Err(error) => break Err(error.to_string()),
            }
        };
        match local::send(link, &outcome, None) {
            Ok(()) => 0,
            Err(_) => 1,
        }
    }

    /// Takes what the guest asks for and sends one piece; `false` when everything has been sent and the
    /// remote node has closed the connection.
    ///
    /// # Errors
    /// The connection was lost, or the deputy's memory is no more.
    fn advance(&mut self) -> Result<bool, PageStreamError> {
        loop {
            match self.stream.try_receive() {
                Ok(None) => break,
                Ok(Some(messages::PageMessage::Wanted(addresses))) => {
                    self.wanted.extend(addresses);
                    if self.wanted.len() > WANTED_MAX {
                        return Err(PageStreamError::Malformed(messages::Malformed));
                    }
                }
                Ok(Some(_)) => return Err(PageStreamError::Malformed(messages::Malformed)),
                Err(PageStreamError::Closed) if self.has_ended => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        if self.has_ended {
            return Ok(true);
        }
        if let Some(address) = self.wanted.pop_front() {
            self.send_neighbourhood(address)?;
        } else if self.stream.has_room() {
            self.send_next()?;
        }
        Ok(true)
    }

    /// Sends the pages around one that the guest waits for. What was sent before is on its way.
    fn send_neighbourhood(&mut self, address: u64) -> Result<(), PageStreamError> {
        let start = address / NEIGHBOURHOOD_BYTES * NEIGHBOURHOOD_BYTES;
        let end = start + NEIGHBOURHOOD_BYTES;
        for range in self.unscanned.take(start..end) {
            self.scan(range)?;
        }
        for run in self.unsent.take(start..end) {
            self.send_run(run)?;
        }
        self.cursor = end;
        Ok(())
    }

    fn send_next(&mut self) -> Result<(), PageStreamError> {
        if self.unsent.len() < RUNS_KNOWN_MAX
            && let Some(range) = self.unscanned.take_next(self.cursor, SCAN_BYTES)
        {
            return self.scan(range);
        }
        match self.unsent.take_next(self.cursor, RUN_BYTES_MAX as u64) {
            Some(run) => {
                self.cursor = run.end;
                self.send_run(run)
            }
            None => {
                self.has_ended = true;
                self.tell_huge()?;
                self.stream.send(&messages::end())
            }
        }
    }

    /// Step 3. An older kernel does not tell.
    fn tell_huge(&mut self) -> Result<(), PageStreamError> {
        let mut huge = Vec::new();
        for range in &self.ranges {
            match self.page_map.huge(range) {
                Ok(found) => huge.extend(found),
                Err(error) => {
                    log::debug!("what is in huge pages is not known: {error}");
                    break;
                }
            }
        }
        for ranges in huge.chunks(limits::PAGE_RUNS_MAX) {
            self.stream.send(&messages::huge(ranges))?;
        }
        Ok(())
    }

    /// Finds out what there is in the beginning of `range`; the rest stays to be looked at.
    fn scan(&mut self, range: Range<u64>) -> Result<(), PageStreamError> {
        let (runs, end) = self.page_map.runs(&range, Origin::Zero)?;
        let end = end.clamp(range.start, range.end);
        if end == range.start {
            let told = io::Error::other("the kernel does not tell of all pages");
            return Err(PageStreamError::Io(told));
        }
        let mut nothing = Vec::new();
        let mut behind = range.start;
        for run in runs {
            if behind < run.start {
                nothing.push(behind..run.start);
            }
            behind = run.end;
            self.unsent.insert(run);
        }
        if behind < end {
            nothing.push(behind..end);
        }
        self.unscanned.insert(end..range.end);
        self.stream.send_nothing(&nothing)
    }

    /// Sends a run of at most [`RUN_BYTES_MAX`], without its pages of zeros.
    fn send_run(&mut self, run: Range<u64>) -> Result<(), PageStreamError> {
        const PAGE: usize = PAGE_BYTES as usize;
        let length = (run.end - run.start) as usize;
        let room = self.stream.contents(length);
        let mut filled = vec![true; length / PAGE];
        pages::read_wanted(run.start, Origin::Zero, &mut filled, &self.memory, room);
        let mut nothing = Vec::new();
        let mut page = 0;
        for pages in filled.chunk_by(|left, right| left == right) {
            let (from, bytes) = (page * PAGE, pages.len() * PAGE);
            let address = run.start + from as u64;
            if pages[0] {
                self.stream.send_contents(address, from, bytes)?;
            } else {
                nothing.push(address..address + bytes as u64);
            }
            page += pages.len();
        }
        self.stream.send_nothing(&nothing)
    }
}
