//! The memory of a process that comes home: the deputy's becomes what the guest's was.
//!
//! 1. Break, stack and mappings become the guest's; guard pages that it no longer has make room.
//! 2. Pages and contents of shared objects arrive, ascending: what differs is written, what lies between them
//!    and the guest no longer has is cleared.
//! 3. Guard pages that it has made are made.

use std::time::{Duration, Instant};

use crate::limits;
use crate::migrate::channel::Message;
use crate::migrate::image::{PAGE_BYTES, ProcessImage, USER_ADDRESS_END};
use crate::migrate::objects;
use crate::migrate::pages::{self, PageMap};
use crate::migrate::resource_limits::Lifted;
use crate::migrate::runs::Runs;
use crate::process::smaps::{self, MappingDetail};
use crate::sys::blob::Call;
use crate::sys::call_numbers as number;
use crate::sys::ptrace;
use crate::sys::signal::SignalSet;
use crate::wire::migration::{ToDeputy, ToGuest};

use super::away::{Away, Trouble};
use super::homecoming::Homecoming;
use super::layout;
use super::objects::Incoming;
use super::supervisor::TICK;

/// How long the guest's pages may be on their way without any arriving.
pub(super) const PAGES_TIMEOUT: Duration = Duration::from_secs(10);

/// What is done about guard pages: the advice of madvise(2) for it.
#[derive(Clone, Copy)]
pub(super) enum Guards {
    /// MADV_GUARD_INSTALL.
    Install = 102,
    /// MADV_GUARD_REMOVE.
    Remove = 103,
}

impl Away<'_> {
    /// Step 1, but for guard pages; where memory was mapped anew.
    pub(super) fn adapt_layout(
        &mut self,
        homecoming: &Homecoming,
    ) -> Result<Vec<(u64, u64)>, Trouble> {
        let image = &homecoming.image;
        let pid = self.deputy.pid;
        let shared = self.deputy.scratch.shared;
        for thread in &self.deputy.threads {
            ptrace::set_signal_mask(thread.tid, SignalSet::ALL)?;
        }
        let brk = image.memory_layout.brk;
        shared.call(pid, number::SYS_brk, [brk, 0, 0, 0, 0, 0])?;
        let present = self.present_mappings()?;
        if let Some(lowest) = layout::grown_stack(&present, &image.mappings) {
            // The kernel grows the stack when a call of the process touches it: time(2) writes there.
            shared.call(pid, number::SYS_time, [lowest, 0, 0, 0, 0, 0])?;
        }
        let present = self.present_mappings()?;
        let mut own = homecoming.own_memory.clone();
        own.push(self.deputy.scratch.range());
        let (objects, unknown) = (&self.deputy.objects, image.advice_unknown);
        let mut change = layout::change(&present, &image.mappings, objects, unknown, &own);
        if let Some(address) = change.missing {
            return Err(Trouble::Protocol(format!(
                "what the guest has at {address:#x} is not at home"
            )));
        }
        // The scratch area is still there, and the guest's node has kept to the limits.
        let lifted = Lifted::of(pid)?;
        shared.run(pid, &self.deputy.memory, &mut change.calls)?;
        drop(lifted);
        let failed = change
            .calls
            .iter()
            .find(|call| (-4095..0).contains(&call.result));
        if let Some(call) = failed {
            return Err(Trouble::Protocol(format!(
                "memory at {:#x} cannot be made as the guest had it: {}",
                call.arguments[0],
                std::io::Error::from_raw_os_error(-call.result as i32)
            )));
        }
        shared.run(pid, &self.deputy.memory, &mut change.advice)?;
        for call in change.advice.iter().filter(|call| call.result < 0) {
            log::debug!(
                "advice on memory at {:#x} is not given: errno {}",
                call.arguments[0],
                -call.result
            );
        }
        let maps = |call: &&Call| call.number == number::SYS_mmap.cast_unsigned();
        let range = |call: &Call| (call.arguments[0], call.arguments[0] + call.arguments[1]);
        Ok(change.calls.iter().filter(maps).map(range).collect())
    }

    /// Guard pages that the guest no longer has make room for contents before these arrive; new ones are made
    /// when nothing more arrives.
    pub(super) fn settle_guards(&self, image: &ProcessImage, what: Guards) -> Result<(), Trouble> {
        let pid = self.deputy.pid;
        let has_none = |image: &ProcessImage| image.guards.as_ref().is_some_and(Vec::is_empty);
        if has_none(image) && has_none(&self.deputy.image) {
            return Ok(());
        }
        let present = PageMap::open(pid)?.guards(&(0..USER_ADDRESS_END))?;
        let (Some(wanted), Some(present)) = (&image.guards, present) else {
            return Ok(());
        };
        let present: Vec<(u64, u64)> = present.iter().map(|run| (run.start, run.end)).collect();
        let parts = match what {
            Guards::Remove => layout::uncovered(&present, wanted),
            Guards::Install => layout::uncovered(wanted, &present),
        };
        let call = |part: &std::ops::Range<u64>| {
            let arguments = [part.start, part.end - part.start, what as u64, 0, 0, 0];
            Call::new(number::SYS_madvise, arguments)
        };
        let mut calls: Vec<Call> = parts.iter().map(call).collect();
        let shared = self.deputy.scratch.shared;
        shared.run(pid, &self.deputy.memory, &mut calls)?;
        for call in calls.iter().filter(|call| call.result < 0) {
            log::warn!(
                "guard pages at {:#x} are not as they were: errno {}",
                call.arguments[0],
                -call.result
            );
        }
        Ok(())
    }

    fn present_mappings(&self) -> Result<Vec<MappingDetail>, Trouble> {
        let pid = self.deputy.pid.cast_unsigned();
        let present = match &self.progress.present {
            // Nobody but this supervisor changes the use of the deputy's memory.
            Some(before) => smaps::read_again(pid, before),
            None => smaps::read(pid),
        };
        present.map_err(|error| Trouble::Protocol(error.to_string()))
    }

    pub(super) fn receive_pages(&mut self, homecoming: &Homecoming) -> Result<(), Trouble> {
        let present = self.present_mappings()?;
        let page_map = PageMap::open(self.deputy.pid)?;
        let image = &homecoming.image;
        let (pid, objects) = (self.deputy.pid, &self.deputy.objects);
        let mut incoming = Incoming::new(pid, &image.mappings, &present, objects)?;
        let mut kept = Runs::default();
        let mut behind = 0;
        let mut count = 0;
        let mut last_sign = Instant::now();
        loop {
            if last_sign.elapsed() >= TICK {
                last_sign = Instant::now();
                self.tell(&ToGuest::Alive, &[])?;
            }
            let Message { header, payload } = self.channel.receive::<ToDeputy>(PAGES_TIMEOUT)?;
            match header {
                ToDeputy::Pages { address } => {
                    let end = address.saturating_add(payload.len() as u64);
                    let is_placed = address >= behind
                        && !payload.is_empty()
                        && (address | payload.len() as u64).is_multiple_of(PAGE_BYTES)
                        && image
                            .mapping_at(address)
                            .is_some_and(|mapping| mapping.end >= end);
                    if !is_placed {
                        return Err(Trouble::Protocol(
                            "the guest sent misplaced pages".to_owned(),
                        ));
                    }
                    self.clear_all_but(&kept, &present, homecoming, behind..address, &page_map)?;
                    self.write_pages(homecoming, address, &payload)?;
                    count += payload.len() as u64 / PAGE_BYTES;
                    behind = end;
                }
                ToDeputy::Kept { runs } if count == 0 => keep(&mut kept, &runs)?,
                ToDeputy::ObjectPages { object, offset } => {
                    incoming.write(object, offset, &payload)?;
                    count += payload.len() as u64 / PAGE_BYTES;
                }
                ToDeputy::PagesEnd { count: sent } if sent == count => {
                    self.progress.has_all_pages = true;
                    incoming.finish()?;
                    return self.clear_all_but(
                        &kept,
                        &present,
                        homecoming,
                        behind..u64::MAX,
                        &page_map,
                    );
                }
                ToDeputy::GuestLost { cause, .. } => {
                    self.progress.has_all_pages = true;
                    return Err(Trouble::GuestLost(cause));
                }
                ToDeputy::Usage { .. } => {}
                other => {
                    self.progress.has_all_pages = matches!(other, ToDeputy::PagesEnd { .. });
                    return Err(Trouble::Protocol(format!(
                        "the guest sent {other:?} among its pages"
                    )));
                }
            }
        }
    }

    fn write_pages(
        &mut self,
        homecoming: &Homecoming,
        address: u64,
        contents: &[u8],
    ) -> Result<(), Trouble> {
        let end = address + contents.len() as u64;
        let is_mixed = homecoming
            .own_memory
            .iter()
            .any(|own| own.start < end && address < own.end);
        if !is_mixed && pages::write_differing(&self.deputy.memory, address, contents).is_ok() {
            return Ok(());
        }
        for (index, page) in contents.chunks(PAGE_BYTES as usize).enumerate() {
            let at = address + index as u64 * PAGE_BYTES;
            if homecoming.own_memory.iter().any(|own| own.contains(&at)) {
                continue;
            }
            if pages::write_differing(&self.deputy.memory, at, page).is_err() {
                // A mapping of a file that ends before this page, unmapped by the guest and mapped anew.
                let mapping = homecoming.image.mapping_at(at);
                let protection = mapping.map_or(0, |mapping| mapping.protection);
                let pid = self.deputy.pid;
                self.replace_by_fresh(pid, at..at + PAGE_BYTES, protection.into())?;
                self.deputy.memory.write(at, page)?;
            }
        }
        Ok(())
    }

    /// Clears what of `range` is not `kept`.
    fn clear_all_but(
        &self,
        kept: &Runs,
        present: &[MappingDetail],
        homecoming: &Homecoming,
        range: std::ops::Range<u64>,
        page_map: &PageMap,
    ) -> Result<(), Trouble> {
        for part in kept.outside(range) {
            self.clear(present, homecoming, part, page_map)?;
        }
        Ok(())
    }

    /// Makes the deputy's private memory within `range` what it began as: the guest has nothing of its own
    /// there.
    fn clear(
        &self,
        present: &[MappingDetail],
        homecoming: &Homecoming,
        range: std::ops::Range<u64>,
        page_map: &PageMap,
    ) -> Result<(), Trouble> {
        let first = present.partition_point(|detail| detail.mapping.end <= range.start);
        for detail in &present[first..] {
            let mapping = &detail.mapping;
            if mapping.start >= range.end {
                break;
            }
            let part = mapping.start.max(range.start)..mapping.end.min(range.end);
            let is_programs = !mapping.kind.is_kernel_provided()
                && !self.deputy.scratch.range().contains(&mapping.start)
                && homecoming.image.mapping_at(part.start).is_some();
            let is_own = homecoming
                .own_memory
                .iter()
                .any(|own| own.contains(&part.start));
            if !is_programs || is_own || mapping.shared {
                continue;
            }
            if objects::identity(mapping).is_none() {
                pages::clear(&self.deputy.memory, page_map, &part)?;
                continue;
            }
            for copies in pages::own_copies(page_map, &part)? {
                self.forget_copies(&copies)?;
            }
        }
        Ok(())
    }

    /// Throws away the process's own copies of an object's pages: the guest has done so (MADV_DONTNEED).
    fn forget_copies(&self, range: &std::ops::Range<u64>) -> Result<(), Trouble> {
        const MADV_DONTNEED: u64 = 4;
        let arguments = [range.start, range.end - range.start, MADV_DONTNEED, 0, 0, 0];
        let (pid, shared) = (self.deputy.pid, self.deputy.scratch.shared);
        let result = shared.call(pid, number::SYS_madvise, arguments)?;
        if result < 0 {
            // Locked memory keeps its pages; the guest's are locked as well, and were sent.
            log::debug!("pages at {:#x} stay: errno {}", range.start, -result);
        }
        Ok(())
    }
}

/// Takes what the guest says that home has already.
fn keep(kept: &mut Runs, runs: &[(u64, u64)]) -> Result<(), Trouble> {
    for &(start, end) in runs {
        let is_whole = (start | end).is_multiple_of(PAGE_BYTES);
        if start >= end || end > USER_ADDRESS_END || !is_whole {
            return Err(Trouble::Protocol(
                "the guest keeps misplaced pages".to_owned(),
            ));
        }
        kept.add(start..end);
    }
    if kept.len() > limits::KEPT_RUNS_MAX {
        return Err(Trouble::Protocol(
            "the guest keeps too many pages".to_owned(),
        ));
    }
    Ok(())
}
