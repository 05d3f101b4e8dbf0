//! Objects behind mappings: files and shared memory, their contents on the way.
//!
//! At home an object is whatever the program has mapped; the guest has a memory file in its place. So what
//! the program may do with its mappings by itself (unmap, protect, move, share with a child, throw away
//! its own copies) is done by the remote's kernel as home's would do it. Contents travel once for each
//! object, however often it is mapped: out for all objects, home for those that are shared, because
//! only they can have changed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};

use crate::process::maps::{Mapping, MappingKind};
use crate::process::smaps::{MappingDetail, VmFlags};

use super::image::{Backing, MappingImage, ObjectImage, PAGE_BYTES};
use super::pages::{RUN_BYTES_MAX, is_zero};
use super::process_memory::ProcessMemory;

const PAGE: usize = PAGE_BYTES as usize;

/// Which file an object is: major and minor number of its device, and its inode.
pub type Identity = ((u32, u32), u64);

/// What stands behind a process's mappings, as one side knows it.
pub trait Objects {
    /// What stands behind this mapping; nothing if it is private memory that begins as zero.
    fn backing(&mut self, detail: &MappingDetail) -> Option<Backing>;
}

/// Which file stands behind a mapping, if one does. A private mapping of /dev/zero is anonymous memory under
/// another name.
pub fn identity(mapping: &Mapping) -> Option<Identity> {
    let is_zero_device = mapping.kind.path().is_some_and(|path| {
        path.as_os_str() == "/dev/zero" && !matches!(mapping.kind, MappingKind::SharedMemory { .. })
    });
    (mapping.inode != 0 && !is_zero_device).then_some((mapping.device, mapping.inode))
}

/// Whether writing to a mapping can change what others see. A file opened only for reading and mapped shared
/// is as good as private.
pub fn is_shared(detail: &MappingDetail) -> bool {
    detail.mapping.shared && (detail.mapping.write || detail.flags.contains(VmFlags::MAY_WRITE))
}

/// Opens what stands behind a mapping of a process (/proc/PID/map_files).
pub fn open_behind(pid: i32, mapping: &Mapping, write: bool) -> io::Result<File> {
    let path = format!(
        "/proc/{pid}/map_files/{:x}-{:x}",
        mapping.start, mapping.end
    );
    File::options().read(true).write(write).open(path)
}

/// Parts of objects, by number: ascending and without overlap.
pub type Parts = BTreeMap<u64, Vec<Range<u64>>>;

/// The parts of each object that `mappings` show, ascending and without overlap; `shared`: only those that
/// are mapped shared, and by those mappings.
pub fn parts(mappings: &[MappingImage], shared: bool) -> Parts {
    let mut parts = Parts::new();
    for mapping in mappings {
        if let Some(backing) = mapping.backing
            && (backing.shared || !shared)
        {
            let range = backing.offset..backing.offset + mapping.length();
            parts.entry(backing.object).or_default().push(range);
        }
    }
    for ranges in parts.values_mut() {
        ranges.sort_by_key(|range| range.start);
        let mut joined: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
        for range in ranges.drain(..) {
            match joined.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => joined.push(range),
            }
        }
        *ranges = joined;
    }
    parts
}

/// What of `parts` is not in `others`; both are ascending and without overlap.
fn without(parts: &[Range<u64>], others: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut rest = Vec::new();
    for part in parts {
        let mut start = part.start;
        for other in others {
            if other.start > start {
                rest.push(start..other.start.min(part.end));
            }
            start = start.max(other.end);
            if start >= part.end {
                break;
            }
        }
        rest.push(start..part.end);
    }
    rest.retain(|range| range.start < range.end);
    rest
}

/// An object's size as its file tells.
pub fn size_bytes(file: &File) -> io::Result<u64> {
    file.metadata().map(|metadata| metadata.len())
}

/// Hands every run of an object's pages within `parts` that are not all zero to `send`, ascending, with the
/// offset; returns the number of pages. Holes of the file are not read.
pub fn for_each_run<E: From<io::Error>>(
    file: &File,
    parts: &[Range<u64>],
    mut send: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    let mut buffer = vec![0; RUN_BYTES_MAX];
    let mut count = 0;
    for part in parts {
        let mut at = part.start;
        while let Some(data) = next_data(file, at..part.end)? {
            let end = data.end.min(data.start + RUN_BYTES_MAX as u64);
            let length = (end - data.start).next_multiple_of(PAGE_BYTES) as usize;
            let read = read_up_to(file, data.start, &mut buffer[..length])?;
            buffer[read..length].fill(0);
            count += send_filled(data.start, &buffer[..length], &mut send)?;
            at = data.start + length as u64;
        }
    }
    Ok(count)
}

/// The first stretch of `range` that the file has data for, from a page's beginning on.
fn next_data(file: &File, range: Range<u64>) -> io::Result<Option<Range<u64>>> {
    if range.is_empty() {
        return Ok(None);
    }
    let start = match seek(file, SeekFrom::Data(range.start)) {
        Ok(start) => start / PAGE_BYTES * PAGE_BYTES,
        Err(rustix::io::Errno::NXIO) => return Ok(None),
        // A file that does not know of holes.
        Err(_) => range.start,
    };
    if start >= range.end {
        return Ok(None);
    }
    let start = start.max(range.start);
    let end = seek(file, SeekFrom::Hole(start)).unwrap_or(range.end);
    if end <= start {
        return Ok(None);
    }
    Ok(Some(start..end.min(range.end)))
}

fn read_up_to(file: &File, offset: u64, into: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Sends the runs of pages that are not all zero; returns their number.
fn send_filled<E>(
    offset: u64,
    contents: &[u8],
    send: &mut impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    let mut count = 0;
    let mut start = 0;
    while start < contents.len() {
        let filled = contents[start..]
            .chunks(PAGE)
            .take_while(|page| !is_zero(page))
            .count();
        if filled > 0 {
            let end = start + filled * PAGE;
            send(offset + start as u64, &contents[start..end])?;
            count += filled as u64;
            start = end;
        } else {
            start += PAGE;
        }
    }
    Ok(count)
}

/// As [`for_each_run`], of an object that nobody but the process can open: what its mapping at `range` shows,
/// which is `offset` into the object.
pub fn for_each_mapped_run<E: From<io::Error>>(
    memory: &ProcessMemory,
    range: &Range<u64>,
    offset: u64,
    mut send: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    let mut buffer = vec![0; RUN_BYTES_MAX];
    let mut count = 0;
    let mut at = range.start;
    while at < range.end {
        let length = (range.end - at).min(RUN_BYTES_MAX as u64) as usize;
        let read = memory.read_available(at, &mut buffer[..length]) / PAGE * PAGE;
        let place = offset + (at - range.start);
        count += send_filled(place, &buffer[..read], &mut send)?;
        if read < length {
            // The end of the file, which nothing follows.
            break;
        }
        at += length as u64;
    }
    Ok(count)
}

/// Writes `contents` at `offset`, but only pages that differ; what lies behind the object's end is left out.
pub fn write_differing(file: &File, offset: u64, contents: &[u8]) -> io::Result<()> {
    let mut present = vec![0; contents.len()];
    let read = read_up_to(file, offset, &mut present)?;
    for (index, page) in contents[..read].chunks(PAGE).enumerate() {
        let at = index * PAGE;
        if *page != present[at..at + page.len()] {
            file.write_all_at(page, offset + at as u64)?;
        }
    }
    Ok(())
}

/// Makes `range` of an object zero.
pub fn clear(file: &File, range: &Range<u64>) -> io::Result<()> {
    let mut at = range.start;
    while let Some(data) = next_data(file, at..range.end)? {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(file, flags, data.start, data.end - data.start)?;
        at = data.end;
    }
    Ok(())
}

/// The objects that the guest has to get, and how to read each at home.
pub struct Sources {
    /// The objects, by number.
    pub images: Vec<ObjectImage>,
    files: BTreeMap<u64, File>,
}

impl Sources {
    /// Opens the objects behind `mappings`, of which `details` are the kernel's; one that cannot be opened
    /// will be read through its mappings.
    pub fn open(
        pid: i32,
        mappings: &[MappingImage],
        details: &[MappingDetail],
    ) -> io::Result<Sources> {
        let mut sizes: BTreeMap<u64, u64> = BTreeMap::new();
        let mut files = BTreeMap::new();
        for mapping in mappings {
            let Some(Backing { object, offset, .. }) = mapping.backing else {
                continue;
            };
            let end = offset.saturating_add(mapping.length());
            if let Some(size) = sizes.get_mut(&object) {
                if !files.contains_key(&object) {
                    *size = end.max(*size);
                }
                continue;
            }
            let index = details.partition_point(|detail| detail.mapping.end <= mapping.start);
            let opened = details
                .get(index)
                .map(|detail| open_behind(pid, &detail.mapping, false));
            let size = match opened {
                Some(Ok(file)) => {
                    let size = size_bytes(&file)?;
                    files.insert(object, file);
                    size
                }
                Some(Err(error)) => {
                    log::debug!("memory at {:#x} is read as mapped: {error}", mapping.start);
                    end
                }
                None => end,
            };
            sizes.insert(object, size);
        }
        let images = sizes
            .into_iter()
            .map(|(number, size_bytes)| ObjectImage { number, size_bytes })
            .collect();
        Ok(Sources { images, files })
    }

    /// The file that an object is, if it could be opened.
    pub fn file(&self, number: u64) -> Option<&File> {
        self.files.get(&number)
    }

    /// Hands the contents of all objects that `mappings` show to `send`: number, offset, bytes. Returns
    /// the number of pages. With `shared`, only of those that are mapped shared; without those parts that have
    /// been `sent` before.
    pub fn send_all<E: From<io::Error>>(
        &self,
        mappings: &[MappingImage],
        memory: &ProcessMemory,
        shared: bool,
        sent: &Parts,
        mut send: impl FnMut(u64, u64, &[u8]) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut count = 0;
        for (number, parts) in parts(mappings, shared) {
            if let Some(file) = self.files.get(&number) {
                let parts = match sent.get(&number) {
                    Some(sent) => without(&parts, sent),
                    None => parts,
                };
                count += for_each_run(file, &parts, |offset, bytes| send(number, offset, bytes))?;
                continue;
            }
            for mapping in mappings {
                if let Some(backing) = mapping.backing
                    && backing.object == number
                    && (backing.shared || !shared)
                {
                    let range = mapping.start..mapping.end;
                    count += for_each_mapped_run(memory, &range, backing.offset, |at, bytes| {
                        send(number, at, bytes)
                    })?;
                }
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::advice::Advice;

    fn mapping(start: u64, pages: u64, object: u64, first_page: u64, shared: bool) -> MappingImage {
        MappingImage {
            start,
            end: start + pages * PAGE_BYTES,
            protection: 3,
            advice: Advice::NONE,
            backing: Some(Backing {
                object,
                offset: first_page * PAGE_BYTES,
                shared,
            }),
        }
    }

    fn pages(range: Range<u64>) -> Range<u64> {
        range.start * PAGE_BYTES..range.end * PAGE_BYTES
    }

    #[test]
    fn what_has_been_sent_is_cut_out_of_the_parts() {
        let parts = [10..20, 30..50, 60..70];
        let sent = [0..12, 15..32, 40..45, 50..90];
        assert_eq!(without(&parts, &sent), [12..15, 32..40, 45..50]);
        assert_eq!(without(&parts, &[20..30, 50..60]), parts);
        assert_eq!(without(&parts, &[]), parts);
        assert!(without(&parts[..2], &[5..25, 25..50]).is_empty());
    }

    #[test]
    fn each_part_of_an_object_travels_once_however_often_it_is_mapped() {
        let mappings = [
            mapping(0x10000, 4, 1, 2, false),
            mapping(0x20000, 4, 1, 4, true),
            mapping(0x30000, 1, 1, 20, false),
            mapping(0x40000, 1, 2, 0, false),
        ];
        let all = parts(&mappings, false);
        assert_eq!(all[&1], [pages(2..8), pages(20..21)]);
        assert_eq!(all[&2], [pages(0..1)]);
        let shared = parts(&mappings, true);
        assert_eq!(
            shared.into_iter().collect::<Vec<_>>(),
            [(1, vec![pages(4..8)])]
        );
    }

    fn memory_file(size_bytes: u64) -> File {
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let file = File::from(rustix::fs::memfd_create("test", flags).unwrap());
        file.set_len(size_bytes).unwrap();
        file
    }

    #[test]
    fn a_sparse_terabyte_is_read_where_it_has_data_up_to_its_odd_end() {
        let file = memory_file((1 << 40) + 100);
        file.write_all_at(b"x", 5 * PAGE_BYTES + 7).unwrap();
        file.write_all_at(&[0; PAGE], 6 * PAGE_BYTES).unwrap();
        file.write_all_at(b"end", (1 << 40) + 97).unwrap();
        let mut seen = Vec::new();
        let whole = 0..(1 << 40) + 2 * PAGE_BYTES;
        let count = for_each_run(&file, &[whole], |offset, bytes| {
            seen.push((offset, bytes.len(), bytes[7], bytes[97]));
            Ok::<(), io::Error>(())
        });
        assert_eq!(count.unwrap(), 2);
        assert_eq!(
            seen,
            [(5 * PAGE_BYTES, PAGE, b'x', 0), (1 << 40, PAGE, 0, b'e')]
        );
    }

    #[test]
    fn contents_are_written_up_to_the_end_and_cleared_where_they_are_gone() {
        let file = memory_file(2 * PAGE_BYTES + 10);
        write_differing(&file, 0, &[7; 3 * PAGE]).unwrap();
        assert_eq!(size_bytes(&file).unwrap(), 2 * PAGE_BYTES + 10);
        clear(&file, &(PAGE_BYTES..2 * PAGE_BYTES)).unwrap();
        let mut contents = Vec::new();
        let whole = 0..3 * PAGE_BYTES;
        for_each_run(&file, std::slice::from_ref(&whole), |offset, bytes| {
            contents.push((offset, bytes.iter().filter(|byte| **byte == 7).count()));
            Ok::<(), io::Error>(())
        })
        .unwrap();
        assert_eq!(contents, [(0, PAGE), (2 * PAGE_BYTES, 10)]);
    }
}
