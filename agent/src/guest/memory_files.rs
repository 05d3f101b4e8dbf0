//! The guest's memory files: what stands behind its mappings in place of home's files and shared memory.
//!
//! Each is a memfd_create(2) file that the guest itself has made (so its own namespaces and limits count) and
//! has closed as soon as it was mapped: it lives as long as a mapping of it does. The supervisor knows
//! them by their inodes, which the guest's mappings tell.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use crate::limits;
use crate::migrate::image::{Backing, ObjectImage};
use crate::migrate::objects::{self, Objects};
use crate::process::maps::{self, Mapping};
use crate::process::smaps::MappingDetail;

/// The memory files of one guest.
#[derive(Debug, Default)]
pub struct MemoryFiles {
    /// Object numbers by inode. All are of the kernel's one instance of shared memory.
    numbers: BTreeMap<u64, u64>,
    /// Sizes by object number.
    sizes: BTreeMap<u64, u64>,
    /// Files whose contents arrive.
    filling: BTreeMap<u64, Filling>,
    /// The highest number that was ever given.
    last_number: u64,
    /// Addresses that some memory file was mapped to: more than those where there still is one.
    ranges: BTreeMap<u64, u64>,
    /// Some of it was mapped shared once.
    was_shared: bool,
}

/// A file whose contents arrive.
#[derive(Debug)]
pub struct Filling {
    /// The guest's descriptor for it.
    pub descriptor: u64,
    file: File,
    size_bytes: u64,
}

impl MemoryFiles {
    /// Takes a file that the guest `pid` has open as `descriptor` and that stands for `object`.
    pub fn adopt(&mut self, pid: i32, descriptor: u64, object: ObjectImage) -> io::Result<()> {
        let path = format!("/proc/{pid}/fd/{descriptor}");
        let file = File::options().read(true).write(true).open(path)?;
        self.register(file.metadata()?.ino(), object);
        let filling = Filling {
            descriptor,
            file,
            size_bytes: object.size_bytes,
        };
        self.filling.insert(object.number, filling);
        Ok(())
    }

    /// Knows the object by this inode from now on.
    pub fn register(&mut self, inode: u64, object: ObjectImage) {
        self.numbers.insert(inode, object.number);
        self.sizes.insert(object.number, object.size_bytes);
        self.last_number = self.last_number.max(object.number);
    }

    /// The number for a new object.
    pub fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Writes a part of a file whose contents arrive; `false` if there is none of this number.
    pub fn fill(&self, number: u64, offset: u64, contents: &[u8]) -> io::Result<bool> {
        let Some(filling) = self.filling.get(&number) else {
            return Ok(false);
        };
        let room = filling.size_bytes.saturating_sub(offset);
        let length = contents
            .len()
            .min(usize::try_from(room).unwrap_or(usize::MAX));
        filling.file.write_all_at(&contents[..length], offset)?;
        Ok(true)
    }

    /// All contents of this file have arrived.
    pub fn filled(&mut self, number: u64) -> Option<Filling> {
        self.filling.remove(&number)
    }

    /// All contents of all files have arrived.
    pub fn all_filled(&mut self) {
        self.filling.clear();
    }

    /// A memory file was mapped there.
    pub fn note_mapped(&mut self, start: u64, length: u64) {
        let end = start.saturating_add(length);
        let known = self.ranges.entry(start).or_insert(end);
        *known = (*known).max(end);
    }

    /// Whether a memory file may be mapped somewhere in the `length` bytes from `start` on. It certainly is
    /// not if the answer is no.
    pub fn may_be_at(&self, start: u64, length: u64) -> bool {
        let end = start.saturating_add(length.max(1));
        self.ranges
            .range(..end)
            .any(|(_, &known_end)| known_end > start)
    }

    /// A memory file, or shared memory, was mapped shared.
    pub fn note_shared(&mut self) {
        self.was_shared = true;
    }

    /// Whether the guest may have anything mapped shared. It certainly has not if the answer is no.
    pub fn may_be_shared(&self) -> bool {
        self.was_shared
    }

    /// Those of a child that the guest forks: the same, but for what is still being mapped.
    pub fn of_child(&self) -> MemoryFiles {
        MemoryFiles {
            numbers: self.numbers.clone(),
            sizes: self.sizes.clone(),
            filling: BTreeMap::new(),
            last_number: self.last_number,
            ranges: self.ranges.clone(),
            was_shared: self.was_shared,
        }
    }

    /// The number of the object that a mapping shows.
    pub fn number_of(&self, mapping: &Mapping) -> Option<u64> {
        self.numbers.get(&mapping.inode).copied()
    }

    /// The objects by number, with their sizes.
    pub fn images(&self) -> Vec<ObjectImage> {
        let image = |(&number, &size_bytes)| ObjectImage { number, size_bytes };
        self.sizes.iter().map(image).collect()
    }

    /// Forgets, once there are many, the files that the guest no longer has mapped.
    pub fn forget_unmapped(&mut self, pid: i32) {
        if self.numbers.len() < limits::MEMORY_OBJECTS_MAX / 2 {
            return;
        }
        let Ok(mappings) = maps::read(pid.cast_unsigned()) else {
            return;
        };
        let mapped: Vec<&Mapping> = mappings
            .iter()
            .filter(|mapping| self.numbers.contains_key(&mapping.inode))
            .collect();
        let ranges = mapped.iter().map(|mapping| (mapping.start, mapping.end));
        self.ranges = ranges.collect();
        let filling = &self.filling;
        self.numbers.retain(|inode, number| {
            filling.contains_key(number) || mapped.iter().any(|mapping| mapping.inode == *inode)
        });
        let numbers = &self.numbers;
        self.sizes
            .retain(|number, _| numbers.values().any(|kept| kept == number));
    }
}

impl Objects for MemoryFiles {
    fn backing(&mut self, detail: &MappingDetail) -> Option<Backing> {
        objects::identity(&detail.mapping)?;
        Some(Backing {
            object: self.number_of(&detail.mapping)?,
            offset: detail.mapping.offset,
            shared: objects::is_shared(detail),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_no_memory_file_ever_was_there_is_none() {
        let mut files = MemoryFiles::default();
        files.note_mapped(0x5000, 0x3000);
        files.note_mapped(0x5000, 0x1000);
        files.note_mapped(0x20000, 0x1000);
        for (start, length, may_be) in [
            (0x4000, 0x1000, false),
            (0x4000, 0x1001, true),
            (0x7fff, 0, true),
            (0x8000, 0x18000, false),
            (0x8000, 0x18001, true),
        ] {
            assert_eq!(files.may_be_at(start, length), may_be, "{start:#x}");
        }
    }

    #[test]
    fn contents_behind_a_files_end_are_left_out() {
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let file = File::from(rustix::fs::memfd_create("test", flags).unwrap());
        file.set_len(5000).unwrap();
        let mut files = MemoryFiles::default();
        let object = ObjectImage {
            number: files.next_number(),
            size_bytes: 5000,
        };
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&file) as u64;
        let me = std::process::id().cast_signed();
        files.adopt(me, descriptor, object).unwrap();
        assert!(files.fill(object.number, 4096, &[7; 4096]).unwrap());
        assert!(!files.fill(99, 0, &[7; 4096]).unwrap());
        assert_eq!(file.metadata().unwrap().len(), 5000);
        assert_eq!(files.images(), [object]);
        assert!(files.filled(object.number).is_some());
        assert!(files.filled(object.number).is_none());
    }
}
