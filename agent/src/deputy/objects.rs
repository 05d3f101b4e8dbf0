//! The objects behind a deputy's mappings: files, and memory that is shared.
//!
//! Both sides call an object by the same number. At home it is known by device and inode, which its mappings
//! tell; so nothing is held open, and an object lives as long as the program maps it.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;

use crate::limits;
use crate::migrate::image::{Backing, MappingImage, ObjectImage, PAGE_BYTES};
use crate::migrate::objects::{self, Identity, Objects};
use crate::process::maps::Mapping;
use crate::process::smaps::MappingDetail;

use super::away::Trouble;

/// The objects of one deputy.
#[derive(Clone, Debug, Default)]
pub struct DeputyObjects {
    identities: BTreeMap<u64, Identity>,
    last_number: u64,
}

impl DeputyObjects {
    /// Numbers every object that is met and has no number yet, as at departure.
    pub fn numbering(&mut self) -> Numbering<'_> {
        Numbering(self)
    }

    /// The guest has given a number to what this mapping shows. The same file may have several.
    pub fn register(&mut self, number: u64, mapping: &Mapping) {
        if let Some(identity) = objects::identity(mapping) {
            self.identities.insert(number, identity);
            self.last_number = self.last_number.max(number);
        }
    }

    /// Forgets a number. What it stood for gets another one.
    pub fn forget(&mut self, number: u64) {
        self.identities.remove(&number);
    }

    /// Forgets, once there are many, what is no longer among `mappings`.
    pub fn forget_unmapped(&mut self, mappings: &[Mapping]) {
        if self.identities.len() < limits::MEMORY_OBJECTS_MAX / 2 {
            return;
        }
        let mapped: Vec<Identity> = mappings.iter().filter_map(objects::identity).collect();
        self.identities
            .retain(|_, identity| mapped.contains(identity));
    }

    /// Whether a mapping shows this object.
    pub fn is_behind(&self, number: u64, mapping: &Mapping) -> bool {
        let identity = self.identities.get(&number);
        identity.is_some() && identity == objects::identity(mapping).as_ref()
    }
}

/// See [`DeputyObjects::numbering`].
pub struct Numbering<'a>(&'a mut DeputyObjects);

impl Objects for Numbering<'_> {
    fn backing(&mut self, detail: &MappingDetail) -> Option<Backing> {
        let identity = objects::identity(&detail.mapping)?;
        let DeputyObjects {
            identities,
            last_number,
        } = &mut *self.0;
        let known = identities.iter().find(|(_, known)| **known == identity);
        let object = known.map(|(number, _)| *number).unwrap_or_else(|| {
            *last_number += 1;
            identities.insert(*last_number, identity);
            *last_number
        });
        Some(Backing {
            object,
            offset: detail.mapping.offset,
            shared: objects::is_shared(detail),
        })
    }
}

/// The contents of shared objects on their way home.
pub(super) struct Incoming {
    /// What is still to come, by object: its file, and the parts that the guest shows.
    rest: BTreeMap<u64, (File, Vec<Range<u64>>)>,
}

impl Incoming {
    /// For a guest with the mappings `wanted`, whose deputy has `present`.
    pub(super) fn new(
        pid: i32,
        wanted: &[MappingImage],
        present: &[MappingDetail],
        objects: &DeputyObjects,
    ) -> Result<Incoming, Trouble> {
        let mut rest = BTreeMap::new();
        for (number, parts) in objects::parts(wanted, true) {
            let detail = present.iter().find(|detail| {
                objects.is_behind(number, &detail.mapping) && objects::is_shared(detail)
            });
            let detail = detail.ok_or_else(|| {
                Trouble::Protocol(format!("shared object {number} is not at home"))
            })?;
            let file = objects::open_behind(pid, &detail.mapping, true)?;
            rest.insert(number, (file, parts));
        }
        Ok(Incoming { rest })
    }

    /// Writes a part of an object; what was left out before it is zero.
    pub(super) fn write(
        &mut self,
        object: u64,
        offset: u64,
        contents: &[u8],
    ) -> Result<(), Trouble> {
        let misplaced = || Trouble::Protocol("the guest sent misplaced contents".to_owned());
        while let Some(first) = self
            .rest
            .first_entry()
            .filter(|first| *first.key() < object)
        {
            let (file, parts) = first.remove();
            clear_all(&file, &parts)?;
        }
        let (file, parts) = self.rest.get_mut(&object).ok_or_else(misplaced)?;
        let length = contents.len() as u64;
        let end = offset.checked_add(length).ok_or_else(misplaced)?;
        if length == 0 || !(offset | length).is_multiple_of(PAGE_BYTES) {
            return Err(misplaced());
        }
        while let Some(part) = parts.first().cloned() {
            if part.end <= offset {
                objects::clear(file, &part)?;
                parts.remove(0);
                continue;
            }
            if part.start > offset || end > part.end {
                return Err(misplaced());
            }
            objects::clear(file, &(part.start..offset))?;
            objects::write_differing(file, offset, contents)?;
            if end == part.end {
                parts.remove(0);
            } else {
                parts[0].start = end;
            }
            return Ok(());
        }
        Err(misplaced())
    }

    /// Nothing more comes: what was not sent is zero.
    pub(super) fn finish(self) -> Result<(), Trouble> {
        for (file, parts) in self.rest.values() {
            clear_all(file, parts)?;
        }
        Ok(())
    }
}

fn clear_all(file: &File, parts: &[Range<u64>]) -> Result<(), Trouble> {
    for part in parts {
        objects::clear(file, part)?;
    }
    Ok(())
}

/// The object that a mapping shows, for the guest to make a memory file of.
pub(super) fn image_of(number: u64, file: &File) -> Result<ObjectImage, Trouble> {
    Ok(ObjectImage {
        number,
        size_bytes: objects::size_bytes(file)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn memory_file(pages: u64) -> File {
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let file = File::from(rustix::fs::memfd_create("test", flags).unwrap());
        file.write_all_at(&vec![1; (pages * PAGE_BYTES) as usize], 0)
            .unwrap();
        file
    }

    /// For each page of a file, its first byte.
    fn first_bytes(file: &File, pages: u64) -> Vec<u8> {
        let byte = |page| {
            let mut byte = [0];
            file.read_exact_at(&mut byte, page * PAGE_BYTES).unwrap();
            byte[0]
        };
        (0..pages).map(byte).collect()
    }

    fn incoming(parts: &[Range<u64>]) -> (Incoming, File, File) {
        let (one, two) = (memory_file(8), memory_file(2));
        let bytes = |range: &Range<u64>| range.start * PAGE_BYTES..range.end * PAGE_BYTES;
        let parts = parts.iter().map(bytes).collect();
        let whole = Vec::from([Range {
            start: 0,
            end: 2 * PAGE_BYTES,
        }]);
        let rest = [
            (3, (one.try_clone().unwrap(), parts)),
            (5, (two.try_clone().unwrap(), whole)),
        ];
        let rest = rest.into_iter().collect();
        (Incoming { rest }, one, two)
    }

    #[test]
    fn what_is_not_sent_of_the_shown_parts_becomes_zero_and_nothing_else() {
        let (mut incoming, one, two) = incoming(&[1..4, 6..7]);
        incoming.write(3, 2 * PAGE_BYTES, &[9; 4096]).unwrap();
        incoming.write(5, PAGE_BYTES, &[7; 4096]).unwrap();
        incoming.finish().unwrap();
        assert_eq!(first_bytes(&one, 8), [1, 0, 9, 0, 1, 1, 0, 1]);
        assert_eq!(first_bytes(&two, 2), [0, 7]);
    }

    #[test]
    fn contents_outside_of_what_the_guest_shows_are_refused() {
        for (object, page, pages) in [(4, 0, 1), (3, 0, 1), (3, 3, 2), (3, 5, 1), (3, 1, 0)] {
            let (mut incoming, ..) = incoming(&[1..4, 6..7]);
            let contents = vec![9; pages * PAGE_BYTES as usize];
            let refused = incoming.write(object, page * PAGE_BYTES, &contents);
            assert!(refused.is_err(), "{object} {page} {pages}");
        }
        let (mut incoming, ..) = incoming(&[1..4, 6..7]);
        incoming.write(3, 2 * PAGE_BYTES, &[9; 4096]).unwrap();
        assert!(incoming.write(3, PAGE_BYTES, &[9; 4096]).is_err());
    }
}
