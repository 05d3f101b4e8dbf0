//! Memory contents on their way: which pages of a process have any, and putting them in place.
//!
//! The sender walks its mappings in ascending order and sends what each has of its own, in runs of at most
//! [`RUN_BYTES_MAX`]. What is not sent is what the mapping begins with: zero, or the contents of the object
//! behind it, which travel by themselves ([`super::objects`]). Addresses that were reserved and never
//! touched cost nothing where the kernel can scan its page tables.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use crate::process::smaps::MappingDetail;
use crate::sys::pagemap::{self, Categories, Wanted};

use super::image::{MappingImage, PAGE_BYTES};
use super::process_memory::ProcessMemory;

/// Longest run of pages in one message, in bytes.
pub const RUN_BYTES_MAX: usize = 256 << 10;

const PAGE: usize = PAGE_BYTES as usize;

/// Memory to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its addresses.
    pub range: Range<u64>,
    /// What it begins with.
    pub origin: Origin,
}

/// What private memory begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Zero: pages that are all zero need not travel.
    Zero,
    /// The contents of an object: the process's own copies of its pages travel, whatever is in them.
    Object,
}

/// The private memory among `mappings`; `details` tells which of it the kernel has nothing of.
pub fn regions(mappings: &[MappingImage], details: &[MappingDetail]) -> Vec<Region> {
    mappings
        .iter()
        .filter(|mapping| !mapping.backing.is_some_and(|backing| backing.shared))
        .filter(|mapping| {
            let index = details.partition_point(|detail| detail.mapping.end <= mapping.start);
            details
                .get(index)
                .is_none_or(|detail| detail.resident_bytes + detail.swap_bytes > 0)
        })
        .map(|mapping| Region {
            range: mapping.start..mapping.end,
            origin: match mapping.backing {
                Some(_) => Origin::Object,
                None => Origin::Zero,
            },
        })
        .collect()
}

/// What the kernel has behind a process's addresses (/proc/PID/pagemap,
/// Documentation/admin-guide/mm/pagemap.rst).
pub struct PageMap {
    file: File,
    /// The best way that this kernel was found to have.
    way: Cell<Way>,
}

/// Which of the pages whose writes are noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// All.
    All,
    /// Those written to since they were last asked for.
    Written,
}

/// How the page map is looked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// PAGEMAP_SCAN, which knows guard pages.
    Scan,
    /// PAGEMAP_SCAN before Linux 6.15: guard pages are found out when they cannot be read.
    ScanWithoutGuards,
    /// Reading the entries.
    Read,
}

/// Most runs asked for at once.
const RUNS_MAX: usize = 512;

/// Most entries read at once.
const ENTRIES_MAX: u64 = 1 << 16;

impl PageMap {
    /// Opens the page map of the process that `thread` belongs to.
    pub fn open(thread: i32) -> io::Result<PageMap> {
        let file = File::open(format!("/proc/{thread}/pagemap"))?;
        let way = Cell::new(Way::Scan);
        Ok(PageMap { file, way })
    }

    /// Runs of pages that the process has of its own in the beginning of `range`, ascending, and where
    /// that beginning ends.
    pub fn runs(&self, range: &Range<u64>, origin: Origin) -> io::Result<(Vec<Range<u64>>, u64)> {
        loop {
            let next_way = match self.way.get() {
                Way::Scan => Way::ScanWithoutGuards,
                Way::ScanWithoutGuards => Way::Read,
                Way::Read => return self.read_runs(range, origin),
            };
            let guards = match self.way.get() {
                Way::Scan => Categories::GUARD,
                _ => Categories::NONE,
            };
            let none = match origin {
                Origin::Zero => guards,
                Origin::Object => guards.union(Categories::FILE),
            };
            let any = Categories::PRESENT.union(Categories::SWAPPED);
            let wanted = Wanted {
                any,
                none,
                ..Wanted::default()
            };
            match pagemap::scan(&self.file, range, wanted, RUNS_MAX) {
                Ok(found) => return Ok(found),
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTTY | libc::EINVAL)) => {
                    self.way.set(next_way);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs of guard pages in these mappings, as [`Self::guards`].
    pub fn guards_of(&self, details: &[MappingDetail]) -> io::Result<Option<Vec<Range<u64>>>> {
        let mut guards = Vec::new();
        for MappingDetail { mapping, .. } in details {
            if mapping.kind.is_kernel_provided() {
                continue;
            }
            match self.guards(&(mapping.start..mapping.end))? {
                Some(found) => guards.extend(found),
                None => return Ok(None),
            }
            if guards.len() > crate::limits::GUARD_REGIONS_MAX {
                return Err(io::Error::other("it has too many guard pages"));
            }
        }
        Ok(Some(guards))
    }

    /// Runs of guard pages in `range` (MADV_GUARD_INSTALL); nothing if the kernel does not tell.
    pub fn guards(&self, range: &Range<u64>) -> io::Result<Option<Vec<Range<u64>>>> {
        let wanted = Wanted {
            any: Categories::GUARD,
            ..Wanted::default()
        };
        let mut guards = Vec::new();
        let mut start = range.start;
        while start < range.end {
            let rest = start..range.end;
            match pagemap::scan(&self.file, &rest, wanted, RUNS_MAX) {
                Ok((found, end)) => {
                    guards.extend(found);
                    if guards.len() > crate::limits::GUARD_REGIONS_MAX || end <= start {
                        return Err(io::Error::other("it has too many guard pages"));
                    }
                    start = end;
                }
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTTY | libc::EINVAL)) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Some(guards))
    }

    /// Runs of pages in `range`, whose writes are noted, that are there: all of them, or those that were written
    /// to. They count as not written afterwards.
    pub fn noted(&self, range: &Range<u64>, which: Noted) -> io::Result<Vec<Range<u64>>> {
        let all = match which {
            Noted::All => Categories::NOTED,
            Noted::Written => Categories::NOTED.union(Categories::WRITTEN),
        };
        let wanted = Wanted {
            any: Categories::PRESENT.union(Categories::SWAPPED),
            all,
            notes: true,
            ..Wanted::default()
        };
        self.all_runs(range, wanted)
    }

    /// Runs of addresses in `range` that have other contents than when [`Self::noted`] was last asked, or may
    /// have: pages that were written to, and what is not in memory. The kernel is quicker in telling of these
    /// than in telling of all others.
    pub fn renewed(&self, range: &Range<u64>) -> io::Result<Vec<Range<u64>>> {
        let written = Wanted {
            all: Categories::WRITTEN,
            told: Categories::WRITTEN,
            ..Wanted::default()
        };
        let absent = Wanted {
            none: Categories::PRESENT,
            ..Wanted::default()
        };
        let mut runs = self.all_runs(range, written)?;
        runs.extend(self.all_runs(range, absent)?);
        Ok(runs)
    }

    /// What of `range` is in huge pages (Documentation/admin-guide/mm/transhuge.rst).
    ///
    /// # Errors
    /// ENOTTY where the kernel does not tell.
    pub fn huge(&self, range: &Range<u64>) -> io::Result<Vec<Range<u64>>> {
        let wanted = Wanted {
            all: Categories::HUGE,
            ..Wanted::default()
        };
        self.all_runs(range, wanted)
    }

    fn all_runs(&self, range: &Range<u64>, wanted: Wanted) -> io::Result<Vec<Range<u64>>> {
        let mut runs = Vec::new();
        let mut start = range.start;
        while start < range.end {
            let (found, end) = pagemap::scan(&self.file, &(start..range.end), wanted, RUNS_MAX)?;
            if end <= start {
                return Err(io::Error::other("the kernel does not tell of all pages"));
            }
            runs.extend(found);
            start = end;
        }
        Ok(runs)
    }

    fn read_runs(&self, range: &Range<u64>, origin: Origin) -> io::Result<(Vec<Range<u64>>, u64)> {
        const GUARD: u64 = 1 << 58;
        const FILE: u64 = 1 << 61;
        const PRESENT_OR_SWAPPED: u64 = 0b11 << 62;
        let unwanted = match origin {
            Origin::Zero => GUARD,
            Origin::Object => GUARD | FILE,
        };
        let count = ((range.end - range.start) / PAGE_BYTES).min(ENTRIES_MAX);
        let mut entries = vec![0; count as usize * 8];
        self.file
            .read_exact_at(&mut entries, range.start / PAGE_BYTES * 8)?;
        let (words, _) = entries.as_chunks();
        let mut runs: Vec<Range<u64>> = Vec::new();
        for (index, word) in (0..).zip(words) {
            let entry = u64::from_le_bytes(*word);
            if entry & PRESENT_OR_SWAPPED == 0 || entry & unwanted != 0 {
                continue;
            }
            let start = range.start + index * PAGE_BYTES;
            match runs.last_mut() {
                Some(last) if last.end == start => last.end += PAGE_BYTES,
                _ => runs.push(start..start + PAGE_BYTES),
            }
        }
        Ok((runs, range.start + count * PAGE_BYTES))
    }
}

impl AsFd for PageMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

pub(super) fn is_zero(page: &[u8]) -> bool {
    // Comparing a slice with itself shifted by one lets memcmp do the work.
    page[0] == 0 && page[..page.len() - 1] == page[1..]
}

/// Hands each piece of at most [`RUN_BYTES_MAX`] of what the process has of its own in `range` to `take`.
fn for_each_piece<E: From<io::Error>>(
    range: &Range<u64>,
    origin: Origin,
    page_map: &PageMap,
    mut take: impl FnMut(Range<u64>) -> Result<(), E>,
) -> Result<(), E> {
    let mut start = range.start;
    while start < range.end {
        let (runs, end) = page_map.runs(&(start..range.end), origin)?;
        if end <= start {
            return Err(io::Error::other("the kernel does not tell of all pages").into());
        }
        for run in runs {
            let mut at = run.start;
            while at < run.end {
                let piece_end = run.end.min(at + RUN_BYTES_MAX as u64);
                take(at..piece_end)?;
                at = piece_end;
            }
        }
        start = end;
    }
    Ok(())
}

/// Hands every run of pages with contents to `send`, ascending; returns the number of pages.
///
/// `E` is the error of `send`; a process whose page map cannot be read has ended, and yields an
/// [`io::Error`].
pub fn for_each_run<E: From<io::Error>>(
    regions: &[Region],
    memory: &ProcessMemory,
    page_map: &PageMap,
    mut send: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    let mut buffer = vec![0; RUN_BYTES_MAX];
    let mut count = 0;
    for region in regions {
        for_each_piece(&region.range, region.origin, page_map, |piece| {
            let mut wanted = vec![true; ((piece.end - piece.start) / PAGE_BYTES) as usize];
            read_wanted(piece.start, region.origin, &mut wanted, memory, &mut buffer);
            count += send_runs(piece.start, &wanted, &buffer, &mut send)?;
            Ok::<(), E>(())
        })?;
    }
    Ok(count)
}

/// Reads the pages from `start` on, as many as `wanted` has, into `buffer` and strikes out those that need not travel and those that
/// cannot be read (guard pages, or behind the end of a file).
pub fn read_wanted(
    start: u64,
    origin: Origin,
    wanted: &mut [bool],
    memory: &ProcessMemory,
    buffer: &mut [u8],
) {
    let mut page = 0;
    while page < wanted.len() {
        let bytes = &mut buffer[page * PAGE..wanted.len() * PAGE];
        let read = memory.read_available(start + (page * PAGE) as u64, bytes) / PAGE;
        if origin == Origin::Zero {
            for (offset, contents) in bytes.chunks(PAGE).take(read).enumerate() {
                wanted[page + offset] = !is_zero(contents);
            }
        }
        page += read;
        if page < wanted.len() {
            wanted[page] = false;
            page += 1;
        }
    }
}

fn send_runs<E>(
    start: u64,
    wanted: &[bool],
    buffer: &[u8],
    send: &mut impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    let mut count = 0;
    let mut page = 0;
    while page < wanted.len() {
        if !wanted[page] {
            page += 1;
            continue;
        }
        let run = wanted[page..].iter().take_while(|&&want| want).count();
        send(
            start + (page * PAGE) as u64,
            &buffer[page * PAGE..(page + run) * PAGE],
        )?;
        count += run as u64;
        page += run;
    }
    Ok(count)
}

/// Writes `contents` to the pages from `address` on, but only where they differ: an equal page of a
/// file mapping stays shared with the file.
pub fn write_differing(memory: &ProcessMemory, address: u64, contents: &[u8]) -> io::Result<()> {
    let mut present = vec![0; contents.len()];
    let readable = memory.read_available(address, &mut present);
    let mut page = 0;
    while page < contents.len() {
        let differs = |at: usize| {
            at < contents.len()
                && (at + PAGE > readable || contents[at..at + PAGE] != present[at..at + PAGE])
        };
        let mut end = page;
        while differs(end) {
            end += PAGE;
        }
        if end > page {
            memory.write(address + page as u64, &contents[page..end])?;
        }
        page = end + PAGE;
    }
    Ok(())
}

/// Makes every page of `range`, which begins as zero, zero that is not.
pub fn clear(memory: &ProcessMemory, page_map: &PageMap, range: &Range<u64>) -> io::Result<()> {
    let zeros = vec![0; PAGE];
    let mut buffer = vec![0; RUN_BYTES_MAX];
    for_each_piece(range, Origin::Zero, page_map, |piece| {
        let mut filled = vec![true; ((piece.end - piece.start) / PAGE_BYTES) as usize];
        read_wanted(piece.start, Origin::Zero, &mut filled, memory, &mut buffer);
        for (index, _) in filled.iter().enumerate().filter(|(_, filled)| **filled) {
            memory.write(piece.start + (index * PAGE) as u64, &zeros)?;
        }
        Ok(())
    })
}

/// What a process has of its own in `range`, which begins as an object's contents.
pub fn own_copies(page_map: &PageMap, range: &Range<u64>) -> io::Result<Vec<Range<u64>>> {
    let mut found: Vec<Range<u64>> = Vec::new();
    for_each_piece(range, Origin::Object, page_map, |piece| {
        match found.last_mut() {
            Some(last) if last.end == piece.start => last.end = piece.end,
            _ => found.push(piece),
        }
        Ok::<(), io::Error>(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_page_is_told_from_one_with_a_single_bit_anywhere() {
        let mut page = vec![0; PAGE];
        assert!(is_zero(&page));
        for at in [0, 1, PAGE / 2, PAGE - 1] {
            page[at] = 1;
            assert!(!is_zero(&page), "byte {at}");
            page[at] = 0;
        }
        assert!(!is_zero(&[1; PAGE]));
    }

    #[test]
    fn own_memory_is_walked_page_by_page_without_its_zero_pages() {
        let mut area = vec![0u8; 64 * PAGE];
        let base = (area.as_ptr() as u64).next_multiple_of(PAGE_BYTES);
        let offset = (base - area.as_ptr() as u64) as usize;
        for page in [3, 4, 9] {
            area[offset + page * PAGE + 17] = page as u8;
        }
        let me = std::process::id().cast_signed();
        let memory = ProcessMemory::open(me).unwrap();
        let page_map = PageMap::open(me).unwrap();
        let region = Region {
            range: base..base + 20 * PAGE_BYTES,
            origin: Origin::Zero,
        };
        let mut runs = Vec::new();
        let count = for_each_run(&[region], &memory, &page_map, |address, bytes| {
            runs.push((
                (address - base) as usize / PAGE,
                bytes.len() / PAGE,
                bytes[17],
            ));
            Ok::<(), io::Error>(())
        })
        .unwrap();
        assert_eq!(count, 3);
        assert_eq!(runs, [(3, 2, 3), (9, 1, 9)]);
    }

    /// The pages of an area of 1 GiB of which four are touched, found by each way of looking.
    #[test]
    fn scanning_and_reading_the_page_map_find_the_same_runs() {
        let area: Vec<u8> = Vec::with_capacity(1 << 30);
        let base = (area.as_ptr() as u64).next_multiple_of(PAGE_BYTES);
        let me = std::process::id().cast_signed();
        let memory = ProcessMemory::open(me).unwrap();
        let touched = [0, 1, 70_000, 200_000];
        for page in touched {
            memory.write(base + page * PAGE_BYTES, &[1]).unwrap();
        }
        let range = base..base + 250_000 * PAGE_BYTES;
        for way in [Way::Scan, Way::ScanWithoutGuards, Way::Read] {
            let page_map = PageMap::open(me).unwrap();
            page_map.way.set(way);
            let mut found = Vec::new();
            for_each_piece(&range, Origin::Zero, &page_map, |piece| {
                let pages = (piece.start - base) / PAGE_BYTES..(piece.end - base) / PAGE_BYTES;
                found.extend(pages);
                Ok::<(), io::Error>(())
            })
            .unwrap();
            // A huge page may stand behind a touched one: the touched ones are there in any case.
            assert!(touched.iter().all(|page| found.contains(page)), "{way:?}");
            assert!(found.len() <= 4 * 512, "{way:?}");
        }
    }
}
