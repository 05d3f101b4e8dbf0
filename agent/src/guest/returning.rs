//! Memory that goes home before its guest is stopped.
//!
//! 1. From now on the kernel notes what the guest writes to (userfaultfd(2), PAGEMAP_SCAN).
//! 2. Of every page that it has, home is told a digest, and answers which of them it has otherwise: those are
//!    sent. Home still has what the guest has left as it was.
//! 3. What was written to meanwhile is sent, again and again while that becomes less.
//! 4. The guest is stopped. What was not written to since it was sent home need not be sent
//!    ([`Returning::kept`]).

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use crate::limits;
use crate::migrate::channel::Channel;
use crate::migrate::image::PAGE_BYTES;
use crate::migrate::inject::Scratch;
use crate::migrate::pages::{Noted, PageMap, RUN_BYTES_MAX};
use crate::migrate::process_memory::ProcessMemory;
use crate::migrate::runs::Runs;
use crate::process::smaps::{self, MappingDetail};
use crate::secure::page_digest::DigestKey;
use crate::sys::ptrace::ThreadId;
use crate::sys::userfaultfd::Userfaultfd;
use crate::wire::migration::ToDeputy;

use super::trouble::Trouble;

/// Pages of this many bytes are told of at a time.
const DIGESTED_BYTES: u64 = 1 << 20;

/// Home is told no more while so many answers are outstanding: it has other guests' calls to make, too.
const UNANSWERED_MAX: usize = 3;

/// So few pages are left to the time when the guest is stopped.
const FEW_BYTES: u64 = 256 * PAGE_BYTES;

/// How often what was written to is sent before the guest is stopped.
const ROUNDS_MAX: usize = 6;

/// Guests with less memory are stopped at once: that takes no longer than this would.
const WORTHWHILE_BYTES: u64 = 4 << 20;

/// What can be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More, at once.
    Busy,
    /// Nothing, until home has answered.
    Waiting,
    /// The guest can be stopped.
    Done,
}

/// The memory of one guest on its way.
pub struct Returning {
    /// Notes what is written to for as long as it is open.
    _written: Userfaultfd,
    key: DigestKey,
    page_map: PageMap,
    /// The mappings as they were when it began.
    details: Vec<MappingDetail>,
    /// Where writes are noted.
    noted: Vec<Range<u64>>,
    /// What home was not told of.
    untold: VecDeque<Range<u64>>,
    /// Questions that home has not answered.
    unanswered: usize,
    /// What is to be sent.
    unsent: VecDeque<Range<u64>>,
    /// What home has.
    at_home: Runs,
    rounds: usize,
    /// What the last round had to send.
    round_bytes: u64,
}

impl Returning {
    /// Step 1; none if it is not worthwhile. What lies in `scratch` is not the program's.
    pub fn begin(
        leader: ThreadId,
        scratch: &Scratch,
        written: Userfaultfd,
    ) -> io::Result<Option<Returning>> {
        let details = smaps::read(leader.cast_unsigned()).map_err(io::Error::other)?;
        let is_suitable = |detail: &&MappingDetail| {
            let mapping = &detail.mapping;
            detail.resident_bytes > 0
                && mapping.inode == 0
                && !mapping.kind.is_kernel_provided()
                && !scratch.contains(mapping.start)
        };
        let suitable: Vec<&MappingDetail> = details.iter().filter(is_suitable).collect();
        let resident_bytes: u64 = suitable.iter().map(|detail| detail.resident_bytes).sum();
        if resident_bytes < WORTHWHILE_BYTES {
            return Ok(None);
        }
        let page_map = PageMap::open(leader)?;
        let (mut noted, mut untold) = (Vec::new(), VecDeque::new());
        for detail in suitable {
            let range = detail.mapping.start..detail.mapping.end;
            // Special memory, or gone by now: it goes when the guest is stopped.
            if written.register_writes(&range).is_ok() {
                untold.extend(page_map.noted(&range, Noted::All)?);
                noted.push(range);
            }
        }
        Ok(Some(Returning {
            _written: written,
            key: DigestKey::random()?,
            page_map,
            details,
            noted,
            untold,
            unanswered: 0,
            unsent: VecDeque::new(),
            at_home: Runs::default(),
            rounds: 0,
            round_bytes: u64::MAX,
        }))
    }

    /// Takes a small step.
    pub fn advance(
        &mut self,
        pid: i32,
        memory: &ProcessMemory,
        channel: &mut Channel,
    ) -> Result<Progress, Trouble> {
        if let Some(run) = next_piece(&mut self.unsent, RUN_BYTES_MAX as u64) {
            self.send(pid, run, memory, channel)?;
            return Ok(Progress::Busy);
        }
        if self.unanswered < UNANSWERED_MAX
            && let Some(run) = next_piece(&mut self.untold, DIGESTED_BYTES)
        {
            self.tell(pid, &run, memory, channel)?;
            return Ok(Progress::Busy);
        }
        if self.unanswered > 0 {
            return Ok(Progress::Waiting);
        }
        if self.round_bytes <= FEW_BYTES || self.rounds == ROUNDS_MAX {
            return Ok(Progress::Done);
        }
        for range in &self.noted {
            self.unsent
                .extend(self.page_map.noted(range, Noted::Written)?);
        }
        let bytes = self.unsent.iter().map(|run| run.end - run.start).sum();
        let is_less = bytes < self.round_bytes / 2;
        self.round_bytes = bytes;
        self.rounds = if is_less { self.rounds + 1 } else { ROUNDS_MAX };
        Ok(Progress::Busy)
    }

    /// Step 2: tells home of the pages of `run`.
    fn tell(
        &mut self,
        pid: i32,
        run: &Range<u64>,
        memory: &ProcessMemory,
        channel: &mut Channel,
    ) -> Result<(), Trouble> {
        let contents = read(memory, run);
        if contents.is_empty() {
            return Ok(());
        }
        let header = ToDeputy::Digests {
            pid,
            address: run.start,
        };
        let digests = self.key.digests(&contents)?;
        channel.send(&header, &[&self.key.0[..], &digests].concat())?;
        self.unanswered += 1;
        Ok(())
    }

    /// Home has compared `range`.
    pub fn on_compared(
        &mut self,
        range: Range<u64>,
        differing: &[(u64, u64)],
        absent: &[(u64, u64)],
    ) -> Result<(), Trouble> {
        self.unanswered = self.unanswered.checked_sub(1).ok_or_else(out_of_turn)?;
        self.at_home.add(range.clone());
        for &(start, end) in differing.iter().chain(absent) {
            if start >= end || start < range.start || range.end < end {
                return Err(out_of_turn());
            }
            self.at_home.take(start..end);
        }
        let differing = differing.iter().map(|&(start, end)| start..end);
        self.unsent.extend(differing);
        Ok(())
    }

    fn send(
        &mut self,
        pid: i32,
        run: Range<u64>,
        memory: &ProcessMemory,
        channel: &mut Channel,
    ) -> Result<(), Trouble> {
        let contents = read(memory, &run);
        self.at_home.take(run.clone());
        if contents.is_empty() {
            return Ok(());
        }
        let address = run.start;
        channel.send(&ToDeputy::EarlyPages { pid, address }, &contents)?;
        self.at_home.add(address..address + contents.len() as u64);
        Ok(())
    }

    /// The mappings as they were when it began.
    pub fn details(&self) -> &[MappingDetail] {
        &self.details
    }

    /// Step 4: what home has of the stopped guest's memory, but for what it has made anew. This outlives the
    /// guest's memory: to end the noting of writes takes the kernel a walk through all of it.
    pub fn kept(&mut self, renewed: &[(u64, u64)]) -> io::Result<Runs> {
        for &(start, end) in renewed {
            self.at_home.take(start..end);
        }
        for range in &self.noted {
            for run in self.page_map.renewed(range)? {
                self.at_home.take(run);
            }
        }
        let mut kept = Runs::default();
        for range in &self.noted {
            for run in self.at_home.take(range.clone()) {
                if kept.len() == limits::KEPT_RUNS_MAX {
                    // The rest goes once more.
                    return Ok(kept);
                }
                kept.add(run);
            }
        }
        Ok(kept)
    }
}

/// The whole pages that can be read at the beginning of `run`.
fn read(memory: &ProcessMemory, run: &Range<u64>) -> Vec<u8> {
    let mut contents = vec![0; (run.end - run.start) as usize];
    let read = memory.read_available(run.start, &mut contents);
    contents.truncate(read / PAGE_BYTES as usize * PAGE_BYTES as usize);
    contents
}

/// Takes at most `length` bytes of the first of `runs`.
fn next_piece(runs: &mut VecDeque<Range<u64>>, length: u64) -> Option<Range<u64>> {
    let first = runs.front_mut()?;
    let piece = first.start..first.end.min(first.start + length);
    first.start = piece.end;
    if first.is_empty() {
        runs.pop_front();
    }
    Some(piece)
}

fn out_of_turn() -> Trouble {
    Trouble::Protocol("home has compared other pages than it was told of".to_owned())
}
