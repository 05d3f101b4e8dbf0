//! mmap(2) and mremap(2) at home, of what is not the guest's alone: files and shared memory.
//!
//! The deputy has each of these where the guest has it. What the guest unmaps or protects by itself is not
//! told: the deputy may have more mappings, until the guest comes home.

use std::ops::Range;

use crate::migrate::image::ObjectImage;
use crate::migrate::objects;
use crate::migrate::pieces;
use crate::migrate::resource_limits::Lifted;
use crate::process::descriptors;
use crate::process::maps::{self, Mapping};
use crate::sys::call_numbers as number;
use crate::sys::ptrace::ThreadId;
use crate::sys::signal::SignalSet;
use crate::wire::migration::{Remapped, ToGuest};

use super::away::{Away, Trouble};
use super::objects::image_of;

const MAP_SHARED_BIT: u64 = 0x01;
const MAP_FIXED: u64 = 0x10;
const MAP_ANONYMOUS: u64 = 0x20;

impl Away<'_> {
    /// Maps what the guest's thread maps, at its address, and sends a file's contents.
    pub(super) fn on_map(
        &mut self,
        tid: ThreadId,
        call: u64,
        start: u64,
        arguments: [u64; 5],
        object: u64,
        mask: SignalSet,
    ) -> Result<(), Trouble> {
        // What was known of the mappings is no longer so.
        self.progress.present = None;
        let [length, protection, flags, descriptor, offset] = arguments;
        let range = start..start.saturating_add(length);
        if flags & MAP_FIXED == 0 {
            return Err(Trouble::Protocol(
                "the guest asks for an impossible mapping".to_owned(),
            ));
        }
        self.check_place(&range)?;
        let is_file = flags & MAP_ANONYMOUS == 0;
        if is_file && flags & MAP_SHARED_BIT != 0 && !self.is_read_only(descriptor) {
            let cause = "it maps a file that it may write to, shared";
            return self.call_home_for(tid, call, cause);
        }
        if is_file && self.is_of_huge_pages(descriptor) {
            return self.call_home_for(tid, call, "it maps a file of huge pages");
        }
        self.take_mask(tid, mask)?;
        self.note_visible("mmap");
        let all = [start, length, protection, flags, descriptor, offset];
        // The guest's node has kept to the limits; here the engine's own memory would count.
        let lifted = Lifted::of(self.deputy.pid)?;
        let result = self.inject(tid, number::SYS_mmap, all)?;
        drop(lifted);
        if result != start.cast_signed() {
            return self.return_injected(tid, call, result, None);
        }
        self.introduce(tid, &range, object, is_file)?;
        self.return_injected(tid, call, result, Some(range))
    }

    /// Gives the object behind a new mapping its number, and sends the guest what it shows of a file.
    fn introduce(
        &mut self,
        tid: ThreadId,
        range: &Range<u64>,
        number: u64,
        is_file: bool,
    ) -> Result<(), Trouble> {
        let mappings = maps::read(self.deputy.pid.cast_unsigned())
            .map_err(|error| Trouble::Protocol(error.to_string()))?;
        let at = |mapping: &&Mapping| mapping.start <= range.start && range.start < mapping.end;
        let mapping = mappings
            .iter()
            .find(at)
            .ok_or_else(|| Trouble::Protocol("the deputy's new mapping is not there".to_owned()))?;
        self.deputy.objects.forget_unmapped(&mappings);
        self.deputy.objects.register(number, mapping);
        if !is_file {
            return Ok(());
        }
        let offset = mapping.offset + (range.start - mapping.start);
        let length = range.end - range.start;
        let file = objects::open_behind(self.deputy.pid, mapping, false);
        let object = match &file {
            Ok(file) => image_of(number, file)?,
            Err(error) => {
                log::debug!("memory at {:#x} is read as mapped: {error}", range.start);
                ObjectImage {
                    number,
                    size_bytes: offset + length,
                }
            }
        };
        self.tell(&ToGuest::Object { tid, object }, &[])?;
        let part = offset..offset + length;
        let may_be_kept = file.as_ref().is_ok_and(pieces::may_be_kept);
        let channel = &mut self.channel;
        let pid = self.deputy.pid;
        let send = |offset, contents: &[u8]| {
            let object = number;
            let header = ToGuest::ObjectPages {
                pid,
                object,
                offset,
            };
            let sent = channel.send_piece(&header, contents, may_be_kept);
            sent.map_err(Trouble::from)
        };
        match &file {
            Ok(file) => objects::for_each_run(file, std::slice::from_ref(&part), send)?,
            Err(_) => objects::for_each_mapped_run(&self.deputy.memory, range, offset, send)?,
        };
        Ok(())
    }

    /// mremap(2) of such a mapping: the guest has made it, the deputy follows.
    pub(super) fn on_remap(
        &mut self,
        tid: ThreadId,
        call: u64,
        change: Remapped,
        mask: SignalSet,
    ) -> Result<(), Trouble> {
        // What was known of the mappings is no longer so.
        self.progress.present = None;
        let Remapped {
            old_start,
            old_length,
            new_length,
            new_start,
            ..
        } = change;
        self.check_place(&(old_start..old_start.saturating_add(old_length)))?;
        self.check_place(&(new_start..new_start.saturating_add(new_length)))?;
        self.take_mask(tid, mask)?;
        self.note_visible("mremap");
        let mappings = maps::read(self.deputy.pid.cast_unsigned())
            .map_err(|error| Trouble::Protocol(error.to_string()))?;
        let _lifted = Lifted::of(self.deputy.pid)?;
        for [from, length, new_length, flags, to] in remap_steps(&change, &mappings) {
            let arguments = [from, length, new_length, flags, to, 0];
            let call = if new_length == 0 {
                number::SYS_munmap
            } else {
                number::SYS_mremap
            };
            let result = self.inject(tid, call, arguments)?;
            if (-4095..0).contains(&result) {
                let error = std::io::Error::from_raw_os_error(-result as i32);
                return Err(Trouble::Protocol(format!(
                    "memory at {from:#x} cannot be moved as the guest has it: {error}"
                )));
            }
        }
        self.return_injected(tid, call, new_start.cast_signed(), None)
    }

    /// Nothing of the guest's may come to lie over the deputy's own scratch area.
    fn check_place(&self, range: &Range<u64>) -> Result<(), Trouble> {
        let scratch = self.deputy.scratch.range();
        if range.start < scratch.end && scratch.start < range.end {
            return Err(Trouble::Protocol(
                "the guest asks for an impossible mapping".to_owned(),
            ));
        }
        Ok(())
    }

    fn is_of_huge_pages(&self, descriptor: u64) -> bool {
        /// `HUGETLBFS_MAGIC` (linux/magic.h).
        const HUGETLBFS: i64 = 0x9584_58f6;
        let path = format!("/proc/{}/fd/{}", self.deputy.pid, descriptor as u32);
        rustix::fs::statfs(path).is_ok_and(|file_system| file_system.f_type == HUGETLBFS)
    }

    /// Whether a descriptor of the process cannot be written to: a mapping of it cannot become writable.
    fn is_read_only(&self, descriptor: u64) -> bool {
        const O_ACCMODE: u32 = 3;
        let pid = self.deputy.pid.cast_unsigned();
        let number = u32::try_from(descriptor).ok();
        let info = number.and_then(|number| descriptors::read_info(pid, number).ok());
        info.is_some_and(|info| info.flags & O_ACCMODE == 0)
    }
}

const MAYMOVE_FIXED: u64 = 3;
const DONTUNMAP: u64 = 4;

/// mremap(2) acts on one mapping of the kernel's at a time; the deputy may have the guest's in several, with
/// different protections. The calls for all of them: old start and length, new length (0: munmap(2)), flags, new
/// start.
fn remap_steps(change: &Remapped, mappings: &[Mapping]) -> Vec<[u64; 5]> {
    let Remapped {
        old_start,
        old_length,
        new_length,
        new_start,
        stays,
    } = *change;
    if old_length == 0 {
        return vec![[old_start, 0, new_length, MAYMOVE_FIXED, new_start]];
    }
    let kept = old_length.min(new_length);
    let mut steps = Vec::new();
    if kept < old_length && !stays {
        steps.push([old_start + kept, old_length - kept, 0, 0, 0]);
    }
    if new_start == old_start && new_length <= old_length {
        return steps;
    }
    let flags = MAYMOVE_FIXED | if stays { DONTUNMAP } else { 0 };
    for mapping in mappings {
        let start = mapping.start.max(old_start);
        let end = mapping.end.min(old_start + kept);
        if start >= end {
            continue;
        }
        let is_last = end == old_start + kept;
        let growth = if is_last { new_length - kept } else { 0 };
        let length = end - start;
        if new_start == old_start {
            if growth > 0 {
                steps.push([start, length, length + growth, 0, 0]);
            }
        } else {
            let to = new_start + (start - old_start);
            steps.push([start, length, length + growth, flags, to]);
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPPINGS: &str = "\
        10000-12000 rw-s 00000000 00:01 8 /dev/zero (deleted)\n\
        12000-14000 r--s 00002000 00:01 8 /dev/zero (deleted)\n";

    fn steps(old: (u64, u64), new: (u64, u64), stays: bool) -> Vec<[u64; 5]> {
        let change = Remapped {
            old_start: old.0,
            old_length: old.1,
            new_start: new.0,
            new_length: new.1,
            stays,
        };
        remap_steps(&change, &maps::parse(MAPPINGS.as_bytes()).unwrap())
    }

    #[test]
    fn a_move_takes_every_piece_along_and_the_last_one_grows() {
        assert_eq!(
            steps((0x11000, 0x3000), (0x50000, 0x5000), false),
            [
                [0x11000, 0x1000, 0x1000, 3, 0x50000],
                [0x12000, 0x2000, 0x4000, 3, 0x51000],
            ]
        );
    }

    #[test]
    fn shrinking_unmaps_and_growing_in_place_enlarges_the_last_piece() {
        assert_eq!(
            steps((0x10000, 0x4000), (0x10000, 0x1000), false),
            [[0x11000, 0x3000, 0, 0, 0]]
        );
        assert_eq!(
            steps((0x10000, 0x4000), (0x10000, 0x6000), false),
            [[0x12000, 0x2000, 0x4000, 0, 0]]
        );
    }

    #[test]
    fn shared_memory_is_mapped_once_more_and_may_stay_where_it_was() {
        assert_eq!(
            steps((0x11000, 0), (0x50000, 0x2000), false),
            [[0x11000, 0, 0x2000, 3, 0x50000]]
        );
        assert_eq!(
            steps((0x10000, 0x2000), (0x50000, 0x2000), true),
            [[0x10000, 0x2000, 0x2000, 7, 0x50000]]
        );
    }
}
