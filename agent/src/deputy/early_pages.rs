//! Memory that comes home while the guest still runs: what the deputy has is compared with what the guest has, and
//! what differs is written.
//!
//! From the first page on, the deputy's memory is no longer the process as it left.

use std::ops::Range;

use crate::limits;
use crate::migrate::image::PAGE_BYTES;
use crate::migrate::objects;
use crate::process::smaps::{self, MappingDetail};
use crate::secure::page_digest::{DIGEST_BYTES, DigestKey};
use crate::wire::migration::ToGuest;

use super::away::{Away, Trouble};

const PAGE: usize = PAGE_BYTES as usize;

impl Away<'_> {
    /// Tells which of the pages from `address` on are other than the digests say that follow a key in `payload`.
    pub(super) fn compare(&mut self, address: u64, payload: &[u8]) -> Result<(), Trouble> {
        let (key, digests) = payload.split_first_chunk().ok_or_else(misplaced)?;
        let key = DigestKey(*key);
        if self.progress.present.is_none() {
            // What is looked at now need not be looked at when the guest has been stopped.
            let present = smaps::read(self.deputy.pid.cast_unsigned());
            self.progress.present =
                Some(present.map_err(|error| Trouble::Protocol(error.to_string()))?);
        }
        let pages = digests.len() / DIGEST_BYTES;
        let range = self.range_of(address, pages * PAGE)?;
        let mut own = vec![0; pages * PAGE];
        let (mut differing, mut absent) = (Vec::new(), Vec::new());
        let mut done = 0;
        while done < pages {
            let at = address + (done * PAGE) as u64;
            let plain = (self.plain_end(at).min(range.end).saturating_sub(at)) as usize;
            let room = &mut own[done * PAGE..][..plain];
            let read = self.deputy.memory.read_available(at, room) / PAGE;
            let there = &own[done * PAGE..(done + read) * PAGE];
            let wanted = digests[done * DIGEST_BYTES..].chunks(DIGEST_BYTES);
            let found = key.digests(there)?;
            for (index, (found, wanted)) in found.chunks(DIGEST_BYTES).zip(wanted).enumerate() {
                if found != wanted {
                    add_page(&mut differing, at + (index * PAGE) as u64);
                }
            }
            done += read;
            if done < pages {
                add_page(&mut absent, address + (done * PAGE) as u64);
                done += 1;
            }
        }
        let header = ToGuest::Compared {
            pid: self.deputy.pid,
            address,
            length: range.end - range.start,
            differing,
            absent,
        };
        Ok(self.tell(&header, &[])?)
    }

    /// Puts pages of the guest's, which still runs, in their place.
    pub(super) fn take_early(&mut self, address: u64, contents: &[u8]) -> Result<(), Trouble> {
        self.note_visible("its way home");
        let range = self.range_of(address, contents.len())?;
        let is_plain = self.plain_end(range.start) >= range.end;
        if !is_plain || self.deputy.memory.write(address, contents).is_err() {
            self.progress.renewed.push((range.start, range.end));
        }
        Ok(())
    }

    /// Where the private memory ends that the deputy has at `address` and that began as zero: anything else is no
    /// place for a guest's pages. `address` if there is none.
    fn plain_end(&self, address: u64) -> u64 {
        let present = self.progress.present.as_deref().unwrap_or_default();
        let first = present.partition_point(|detail| detail.mapping.end <= address);
        let mut end = address;
        for MappingDetail { mapping, .. } in &present[first..] {
            let is_plain = mapping.start <= end
                && !mapping.shared
                && !mapping.kind.is_kernel_provided()
                && objects::identity(mapping).is_none();
            if !is_plain {
                break;
            }
            end = mapping.end;
        }
        end
    }

    /// Tells the stopped guest what the deputy does not have of what it was sent before.
    pub(super) fn tell_renewed(&mut self, renewed: Vec<(u64, u64)>) -> Result<(), Trouble> {
        let mut ranges = std::mem::take(&mut self.progress.renewed);
        ranges.extend(renewed);
        let pid = self.deputy.pid;
        Ok(self.tell(&ToGuest::Renewed { pid, ranges }, &[])?)
    }

    /// Whole pages that a guest speaks of. The scratch area is not the program's.
    fn range_of(&self, address: u64, length: usize) -> Result<Range<u64>, Trouble> {
        let length = length as u64;
        let end = address.checked_add(length).ok_or_else(misplaced)?;
        let scratch = self.deputy.scratch.range();
        let is_programs = end <= scratch.start || scratch.end <= address;
        let is_whole = length > 0 && (address | length).is_multiple_of(PAGE_BYTES);
        if is_programs && is_whole && length <= limits::EARLY_BYTES_MAX {
            Ok(address..end)
        } else {
            Err(misplaced())
        }
    }
}

fn misplaced() -> Trouble {
    Trouble::Protocol("the guest speaks of misplaced pages".to_owned())
}

/// Adds a page behind all others.
fn add_page(runs: &mut Vec<(u64, u64)>, page: u64) {
    match runs.last_mut() {
        Some((_, end)) if *end == page => *end += PAGE_BYTES,
        _ => runs.push((page, page + PAGE_BYTES)),
    }
}
