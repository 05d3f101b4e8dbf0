//! Memory contents on their way: which pages of a process have any, and putting them in place.
//!
//! The sender walks its mappings in ascending order and sends every page that is not all zero, in runs
//! of at most [`RUN_BYTES_MAX`]. What is not sent is zero: the guest starts from fresh anonymous memory,
//! and a deputy clears what its guest no longer has.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::image::PAGE_BYTES;
use super::process_memory::ProcessMemory;

/// Longest run of pages in one message, in bytes.
pub const RUN_BYTES_MAX: usize = 256 << 10;

const PAGE: usize = PAGE_BYTES as usize;

/// Memory to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its addresses.
    pub range: Range<u64>,
    /// Backed by a file: pages that the process has not touched have contents too.
    pub file_backed: bool,
}

/// What the kernel has behind a process's addresses (/proc/PID/pagemap,
/// Documentation/admin-guide/mm/pagemap.rst).
pub struct PageMap(File);

impl PageMap {
    /// Opens the page map of the process that `thread` belongs to.
    pub fn open(thread: i32) -> io::Result<PageMap> {
        File::open(format!("/proc/{thread}/pagemap")).map(PageMap)
    }

    /// For each page of `range`, whether memory or swap stands behind it.
    pub fn populated(&self, range: &Range<u64>) -> io::Result<Vec<bool>> {
        const PRESENT_OR_SWAPPED: u64 = 0b11 << 62;
        let pages = ((range.end - range.start) / PAGE_BYTES) as usize;
        let mut entries = vec![0; pages * 8];
        self.0
            .read_exact_at(&mut entries, range.start / PAGE_BYTES * 8)?;
        let (words, _) = entries.as_chunks();
        Ok(words
            .iter()
            .map(|word| u64::from_le_bytes(*word) & PRESENT_OR_SWAPPED != 0)
            .collect())
    }
}

fn is_zero(page: &[u8]) -> bool {
    // Comparing a slice with itself shifted by one lets memcmp do the work.
    page[0] == 0 && page[..page.len() - 1] == page[1..]
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
        let mut start = region.range.start;
        while start < region.range.end {
            let end = region.range.end.min(start + RUN_BYTES_MAX as u64);
            let mut wanted = if region.file_backed {
                vec![true; ((end - start) / PAGE_BYTES) as usize]
            } else {
                page_map.populated(&(start..end))?
            };
            read_wanted(start, &mut wanted, memory, &mut buffer);
            count += send_runs(start, &wanted, &buffer, &mut send)?;
            start = end;
        }
    }
    Ok(count)
}

/// Reads the wanted pages into `buffer` and strikes out those that are zero or cannot be read (past
/// the end of a file).
fn read_wanted(start: u64, wanted: &mut [bool], memory: &ProcessMemory, buffer: &mut [u8]) {
    let mut page = 0;
    while page < wanted.len() {
        if !wanted[page] {
            page += 1;
            continue;
        }
        let run = wanted[page..].iter().take_while(|&&want| want).count();
        let bytes = &mut buffer[page * PAGE..(page + run) * PAGE];
        let read = memory.read_available(start + (page * PAGE) as u64, bytes) / PAGE;
        for (offset, contents) in bytes.chunks(PAGE).enumerate() {
            wanted[page + offset] = offset < read && !is_zero(contents);
        }
        page += run;
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

/// Makes every page of `range` zero that is not.
pub fn clear(
    memory: &ProcessMemory,
    page_map: &PageMap,
    range: &Range<u64>,
    file_backed: bool,
) -> io::Result<()> {
    let zeros = vec![0; PAGE];
    let mut buffer = vec![0; RUN_BYTES_MAX];
    let mut start = range.start;
    while start < range.end {
        let end = range.end.min(start + RUN_BYTES_MAX as u64);
        let mut filled = if file_backed {
            vec![true; ((end - start) / PAGE_BYTES) as usize]
        } else {
            page_map.populated(&(start..end))?
        };
        read_wanted(start, &mut filled, memory, &mut buffer);
        for (index, _) in filled.iter().enumerate().filter(|(_, filled)| **filled) {
            memory.write(start + (index * PAGE) as u64, &zeros)?;
        }
        start = end;
    }
    Ok(())
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
            file_backed: false,
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
}
