//! The pager: fills a guest's memory while its program runs already.
//!
//! 1. It is forked from the supervisor before there is a guest, and waits.
//! 2. When the guest is built, it gets the userfaultfd of the guest's address space, the ranges that are still
//!    to come, and the page connection to home.
//! 3. What comes is placed. A thread that touches a page which has not come waits; the page is asked for,
//!    and home sends it before all others.
//! 4. When everything has come, it says so, and the supervisor hears it: the guest's memory is then like any
//!    other.
//! 5. What home has in huge pages is put into such here: it came as small ones.
//!
//! It is a process of its own because the supervisor, and the guest's threads in injected calls that the
//! supervisor waits for, touch the guest's memory too, and then wait for it as anybody does. If it fails,
//! memory is lost, and with it the guest.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::migrate::image::PAGE_BYTES;
use crate::migrate::page_stream::{PageStream, PageStreamError};
use crate::sys::child;
use crate::sys::collapse::collapse;
use crate::sys::userfaultfd::{Event, Userfaultfd};
use crate::wire::local;
use crate::wire::pages::{self, PageMessage};
use crate::wire::supervisor::ChannelKeys;

use super::missing::{Missing, Place};

/// Size of a huge page on x86-64.
const HUGE_PAGE_BYTES: u64 = 2 << 20;

/// So many huge pages may fail to be made before no more are tried.
const HUGE_FAILURES_MAX: u32 = 16;

/// Most ranges told in one message.
const RANGES_A_MESSAGE: usize = 4096;

/// How long a change of the address space that has begun may take to be told.
const CHANGE_PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 1_000_000,
};

/// So often a change is waited for where nothing is mapped: memory that was moved has left its place before that
/// is told.
const UNMAPPED_PAUSES: usize = 20;

/// How long the supervisor may take to kill a guest whose memory is lost.
const KILL_PAUSE: Timespec = Timespec {
    tv_sec: 3,
    tv_nsec: 0,
};

/// From the supervisor to its pager.
#[derive(Serialize, Deserialize)]
enum ToPager {
    /// The page connection, attached.
    Connection(ChannelKeys),
    /// Ranges that are missing.
    Missing(Vec<(u64, u64)>),
    /// The guest's process, attached.
    Process,
    /// The userfaultfd, attached: begin.
    Begin,
}

/// From the pager to its supervisor.
#[derive(Serialize, Deserialize)]
enum FromPager {
    /// Everything has come.
    Complete,
    /// Memory is lost: one line.
    Failed(String),
}

/// A pager, as its supervisor sees it.
pub struct Pager {
    link: UnixStream,
    /// As long as anybody has it open, who touches missing memory waits: also when the pager was killed.
    userfaultfd: Option<Userfaultfd>,
}

impl Pager {
    /// Forks a pager. Only before this process has entered another pid namespace.
    pub fn start() -> io::Result<Pager> {
        let (ours, theirs) = UnixStream::pair()?;
        let (pid, _descriptor) = child::spawn(0, None, || {
            let prepared = child::close_all_but_standard_and(&[theirs.as_fd()])
                .and_then(|()| child::die_with_parent());
            match prepared {
                Ok(()) => serve(&theirs),
                Err(_) => 1,
            }
        })?;
        log::debug!("pager {pid} waits");
        Ok(Pager {
            link: ours,
            userfaultfd: None,
        })
    }

    /// Has it fill `ranges` of the guest `process` (a pidfd) from the page connection. If it fails, the guest
    /// has to be killed before this is dropped: what is missing is zero then.
    pub fn begin(
        &mut self,
        userfaultfd: Userfaultfd,
        process: BorrowedFd<'_>,
        connection: &OwnedFd,
        keys: ChannelKeys,
        ranges: &[Range<u64>],
    ) -> Result<(), local::LocalError> {
        let connection = Some(connection.as_fd());
        local::send(&self.link, &ToPager::Connection(keys), connection)?;
        local::send(&self.link, &ToPager::Process, Some(process))?;
        for ranges in ranges.chunks(RANGES_A_MESSAGE) {
            let ranges = ranges.iter().map(|range| (range.start, range.end));
            local::send(&self.link, &ToPager::Missing(ranges.collect()), None)?;
        }
        local::send(&self.link, &ToPager::Begin, Some(userfaultfd.as_fd()))?;
        self.userfaultfd = Some(userfaultfd);
        Ok(())
    }

    /// What it says at its end, when its descriptor is readable: everything has come.
    ///
    /// # Errors
    /// Memory is lost: one line.
    pub fn report(&self) -> Result<(), String> {
        match local::receive::<FromPager>(&self.link) {
            Ok(Some(received)) => match received.message {
                FromPager::Complete => Ok(()),
                FromPager::Failed(text) => Err(text),
            },
            Ok(None) => Err("the pager was killed".to_owned()),
            Err(error) => Err(format!("the pager failed: {error}")),
        }
    }
}

impl AsFd for Pager {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

/// In the pager. Returns its exit status.
fn serve(link: &UnixStream) -> i32 {
    let mut filler = match receive_work(link) {
        Ok(Some(filler)) => filler,
        // No guest came.
        Ok(None) => return 0,
        Err(error) => return fail(link, &error),
    };
    match filler.run(link) {
        Ok(Outcome::NotWanted) => 0,
        Ok(Outcome::Complete) => {
            let Filler {
                stream,
                target,
                process,
                huge,
            } = filler;
            // Home waits for that.
            drop(stream);
            if local::send(link, &FromPager::Complete, None).is_err() {
                return 1;
            }
            // What was moved is not where home has it.
            let is_in_place = !target.missing.has_moved();
            target.attend(link);
            if is_in_place {
                make_huge(process.as_fd(), &huge);
            }
            0
        }
        Err(error) => fail(link, &error),
    }
}

fn fail(link: &UnixStream, error: &FillError) -> i32 {
    match local::send(link, &FromPager::Failed(error.to_string()), None) {
        Ok(()) => await_supervisor(link),
        Err(_) => 1,
    }
}

/// Waits until the supervisor has killed the guest. One that does not waits itself for memory that is lost.
fn await_supervisor(link: &UnixStream) -> i32 {
    let mut descriptors = [PollFd::new(link, PollFlags::IN)];
    if !matches!(poll(&mut descriptors, Some(&KILL_PAUSE)), Ok(1..))
        && let Some(supervisor) = rustix::process::getppid()
    {
        // Its guests end with it (EXITKILL).
        let _ = rustix::process::kill_process(supervisor, rustix::process::Signal::KILL);
    }
    1
}

/// How the pager's work ended.
enum Outcome {
    /// Everything has come.
    Complete,
    /// The supervisor or the guest has ended.
    NotWanted,
}

fn receive_work(link: &UnixStream) -> Result<Option<Filler>, FillError> {
    let (mut stream, mut process) = (None, None);
    let mut missing = Missing::default();
    loop {
        let Some(received) = local::receive::<ToPager>(link).map_err(FillError::Link)? else {
            return Ok(None);
        };
        match (received.message, received.descriptor) {
            (ToPager::Connection(keys), Some(connection)) => {
                stream = Some(PageStream::new(connection, &keys)?);
            }
            (ToPager::Missing(ranges), _) => {
                for (start, end) in ranges {
                    missing.add(start..end);
                }
            }
            (ToPager::Process, Some(pidfd)) => process = Some(pidfd),
            (ToPager::Begin, Some(userfaultfd)) => {
                let (Some(stream), Some(process)) = (stream, process) else {
                    return Err(FillError::Incomplete);
                };
                return Ok(Some(Filler {
                    process,
                    huge: Vec::new(),
                    stream,
                    target: Target {
                        userfaultfd: Userfaultfd::from_descriptor(userfaultfd),
                        missing,
                        wanted: BTreeSet::new(),
                        to_ask: Vec::new(),
                    },
                }));
            }
            (ToPager::Connection(_) | ToPager::Process | ToPager::Begin, None) => {
                return Err(FillError::Incomplete);
            }
        }
    }
}

/// Why a page cannot be placed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    /// The address space is just changing.
    Changing,
    /// Nothing is mapped there, or what was mapped is not known yet to have gone.
    Unmapped,
}

/// Why memory is lost.
#[derive(Debug)]
enum FillError {
    /// The page connection.
    Stream(PageStreamError),
    /// The supervisor's link.
    Link(local::LocalError),
    /// The supervisor did not tell all.
    Incomplete,
    /// The kernel refused.
    Io(io::Error),
    /// Home sent what home is asked for.
    OutOfTurn,
}

impl std::fmt::Display for FillError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stream(error) => error.fmt(out),
            Self::Link(error) => write!(out, "the pager's link failed: {error}"),
            Self::Incomplete => out.write_str("the pager was not told what to do"),
            Self::Io(error) => write!(out, "pages cannot be placed: {error}"),
            Self::OutOfTurn => out.write_str("home asks for pages of the guest"),
        }
    }
}

impl From<PageStreamError> for FillError {
    fn from(error: PageStreamError) -> Self {
        Self::Stream(error)
    }
}

impl From<io::Error> for FillError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A guest's memory and where it comes from.
struct Filler {
    stream: PageStream,
    target: Target,
    /// The guest's.
    process: OwnedFd,
    /// What home has in huge pages.
    huge: Vec<Range<u64>>,
}

/// A guest's memory while it is filled.
struct Target {
    userfaultfd: Userfaultfd,
    missing: Missing,
    /// Pages of home's that were asked for and have not come.
    wanted: BTreeSet<u64>,
    /// Those of them that home was not asked for yet.
    to_ask: Vec<u64>,
}

impl Filler {
    fn run(&mut self, link: &UnixStream) -> Result<Outcome, FillError> {
        loop {
            let mut descriptors = [
                PollFd::new(&self.target.userfaultfd, PollFlags::IN),
                PollFd::new(&self.stream, PollFlags::IN),
                PollFd::new(link, PollFlags::IN),
            ];
            match poll(&mut descriptors, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(FillError::Io(error.into())),
            }
            // The supervisor says nothing more: its link is readable when it has ended.
            if !descriptors[2].revents().is_empty() {
                return Ok(Outcome::NotWanted);
            }
            if descriptors[0].revents().contains(PollFlags::HUP) {
                return Ok(Outcome::NotWanted);
            }
            match self.advance() {
                Ok(false) => {}
                Ok(true) => return Ok(Outcome::Complete),
                Err(FillError::Io(error)) if error.raw_os_error() == Some(ESRCH) => {
                    return Ok(Outcome::NotWanted);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes what has happened and one message; `true` when everything has come.
    fn advance(&mut self) -> Result<bool, FillError> {
        self.target.take_events()?;
        self.ask()?;
        let is_complete = match self.stream.try_receive()? {
            None => false,
            Some(PageMessage::Contents { address, bytes }) => {
                self.target.place(address, bytes)?;
                false
            }
            Some(PageMessage::Nothing(ranges)) => {
                for range in ranges {
                    self.target.place_nothing(range)?;
                }
                false
            }
            Some(PageMessage::Huge(ranges)) => {
                if self.huge.len() + ranges.len() <= limits::HUGE_RUNS_MAX {
                    self.huge.extend(ranges);
                }
                false
            }
            Some(PageMessage::End) => {
                self.target.place_nothing(0..u64::MAX)?;
                true
            }
            Some(PageMessage::Wanted(_)) => return Err(FillError::OutOfTurn),
        };
        self.ask()?;
        Ok(is_complete)
    }

    fn ask(&mut self) -> Result<(), FillError> {
        if self.target.to_ask.is_empty() {
            return Ok(());
        }
        let asked = std::mem::take(&mut self.target.to_ask);
        Ok(self.stream.send(&pages::wanted(&asked))?)
    }
}

/// Puts the guest's memory in `ranges` into huge pages, one after the other: while one is made the guest may
/// have to wait for it. The guest may have changed its mappings since; a node that is short of such pages is
/// not asked for more and more of them.
fn make_huge(process: BorrowedFd<'_>, ranges: &[Range<u64>]) {
    let mut failures = 0;
    for range in ranges {
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min(start + HUGE_PAGE_BYTES);
            if let Err(error) = collapse(process, &(start..end)) {
                failures += 1;
                log::debug!("there is no huge page at {start:#x}: {error}");
                if failures == HUGE_FAILURES_MAX {
                    return;
                }
            }
            start = end;
        }
    }
}

const ESRCH: i32 = 3;
const ENOENT: i32 = 2;
const EAGAIN: i32 = 11;
const EEXIST: i32 = 17;

impl Target {
    /// Everything has come. The guest's threads wait for their events to be read, and the supervisor may wait
    /// for such a thread, until it has heard of that and closes its userfaultfd.
    fn attend(mut self, link: &UnixStream) {
        loop {
            let mut descriptors = [
                PollFd::new(&self.userfaultfd, PollFlags::IN),
                PollFd::new(link, PollFlags::IN),
            ];
            // An error is as good as nothing having happened: everything is looked at again.
            let _ = poll(&mut descriptors, None);
            let has_heard = !descriptors[1].revents().is_empty();
            if has_heard || self.take_events().is_err() {
                return;
            }
        }
    }

    fn take_events(&mut self) -> Result<(), FillError> {
        loop {
            let events = self.userfaultfd.events()?;
            if events.is_empty() {
                return Ok(());
            }
            for event in events {
                self.on_event(event)?;
            }
        }
    }

    fn on_event(&mut self, event: Event) -> Result<(), FillError> {
        match event {
            Event::Missing(address) => {
                let page = address / PAGE_BYTES * PAGE_BYTES;
                match self.missing.home_of(page) {
                    Some(home) => {
                        if self.wanted.insert(home) {
                            self.to_ask.push(home);
                        }
                    }
                    None => self.place_zero_page(page)?,
                }
            }
            Event::Removed { start, end } | Event::Unmapped { start, end } => {
                self.missing.forget(start..end);
                // Who waits there looks again, and finds something else or nothing.
                self.userfaultfd.wake(&(start..end))?;
            }
            Event::Moved { from, to, length } => {
                self.missing.shift(from, to, length);
                self.userfaultfd.wake(&(from..from + length))?;
            }
        }
        Ok(())
    }

    /// Pages of home's have come.
    fn place(&mut self, address: u64, bytes: &[u8]) -> Result<(), FillError> {
        let end = address + bytes.len() as u64;
        let mut pauses = 0;
        while let Some(Place { guest, home }) = self.missing.first_of(&(address..end)) {
            let offset = (home - address) as usize;
            let length = (guest.end - guest.start) as usize;
            let (done, obstacle) = self.fill(guest.start, &bytes[offset..offset + length])?;
            let settled = guest.start + done as u64;
            self.missing.forget(guest.start..settled);
            let Some(obstacle) = obstacle else {
                continue;
            };
            if done > 0 {
                pauses = 0;
            }
            if obstacle == Obstacle::Unmapped && pauses >= UNMAPPED_PAUSES {
                // Nothing is told of memory that is not watched any more: it is not the program's.
                self.missing.forget(settled..settled + PAGE_BYTES);
                self.userfaultfd.wake(&(settled..settled + PAGE_BYTES))?;
                continue;
            }
            pauses += 1;
            // The program is just changing its memory: what of this belongs where is told first.
            let mut changing = [PollFd::new(&self.userfaultfd, PollFlags::IN)];
            let _ = poll(&mut changing, Some(&CHANGE_PAUSE));
            self.take_events()?;
        }
        while let Some(&page) = self.wanted.range(address..end).next() {
            self.wanted.remove(&page);
        }
        Ok(())
    }

    /// Fills memory of one piece; returns how many bytes are settled, and what stands in the way of the rest.
    fn fill(&self, address: u64, contents: &[u8]) -> Result<(usize, Option<Obstacle>), FillError> {
        const PAGE: usize = PAGE_BYTES as usize;
        let mut done = 0;
        let mut step = contents.len();
        while done < contents.len() {
            let at = address + done as u64;
            let length = step.min(contents.len() - done);
            let (placed, error) = self.userfaultfd.copy(at, &contents[done..done + length]);
            done += placed;
            let Some(error) = error else {
                continue;
            };
            if placed > 0 {
                continue;
            }
            match error.raw_os_error() {
                Some(EEXIST) => {
                    self.userfaultfd.wake(&(at..at + PAGE_BYTES))?;
                    done += PAGE;
                }
                // It lies in several mappings, which only the kernel knows, or in none.
                Some(ENOENT) if length > PAGE => step = PAGE,
                Some(ENOENT) => return Ok((done, Some(Obstacle::Unmapped))),
                Some(EAGAIN) => return Ok((done, Some(Obstacle::Changing))),
                _ => return Err(FillError::Io(error)),
            }
        }
        Ok((done, None))
    }

    /// Home has nothing in `range` of its own.
    fn place_nothing(&mut self, range: Range<u64>) -> Result<(), FillError> {
        for Place { guest, home } in self.missing.arrive(range.clone()) {
            let length = guest.end - guest.start;
            let waited: Vec<u64> = self.wanted.range(home..home + length).copied().collect();
            for page in waited {
                self.place_zero_page(guest.start + (page - home))?;
            }
        }
        self.wanted.retain(|page| !range.contains(page));
        Ok(())
    }

    fn place_zero_page(&self, page: u64) -> Result<(), FillError> {
        let range = page..page + PAGE_BYTES;
        match self.userfaultfd.place_zeros(&range) {
            (_, None) => Ok(()),
            (_, Some(error)) if matches!(error.raw_os_error(), Some(EEXIST | ENOENT | EAGAIN)) => {
                // Whoever waits looks again.
                Ok(self.userfaultfd.wake(&range)?)
            }
            (_, Some(error)) => Err(FillError::Io(error)),
        }
    }
}
