//! /proc/PID/smaps: the mappings once more, with what each occupies and the kernel's flags for it.
//!
//! The kernel walks the page tables to write it, which takes milliseconds a gigabyte; where only
//! addresses and names matter, [`super::maps`] is the file to read.

use super::maps::{self, Mapping, parse_line};
use super::{ParseError, ReadError, field, read_file};
use crate::limits::{MAPPINGS_MAX, SMAPS_BYTES_MAX};
use std::fmt;

const FILE: &str = "smaps";

/// A mapping, what it occupies and how the kernel treats it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingDetail {
    /// As in /proc/PID/maps.
    pub mapping: Mapping,
    /// Size of the pages it is made of, in bytes: 4 KiB unless it is hugetlbfs.
    pub page_size_bytes: u64,
    /// What of it is in memory, in bytes.
    pub resident_bytes: u64,
    /// Pages of its own (not those of the file), in bytes, as far as they are in memory.
    pub anonymous_bytes: u64,
    /// What of it is in swap, in bytes.
    pub swap_bytes: u64,
    /// The memory protection key (pkeys(7)); 0 is what every mapping begins with.
    pub protection_key: u32,
    /// The line `VmFlags`; empty if the kernel does not write one.
    pub flags: VmFlags,
}

/// The flags that the kernel keeps for a mapping, as told by the two-letter words of `VmFlags`
/// (Documentation/filesystems/proc.rst).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct VmFlags(u64);

macro_rules! vm_flags {
    ($($(#[$doc:meta])* $name:ident = $bit:literal $word:literal;)*) => {
        impl VmFlags {
            $($(#[$doc])* pub const $name: VmFlags = VmFlags(1 << $bit);)*

            /// Each flag with the word that stands for it.
            const WORDS: &'static [(&'static [u8; 2], VmFlags)] = &[$(($word, VmFlags::$name),)*];
        }
    };
}

vm_flags! {
    /// PROT_READ now.
    READ = 0 b"rd";
    /// PROT_WRITE now.
    WRITE = 1 b"wr";
    /// PROT_EXEC now.
    EXECUTE = 2 b"ex";
    /// Shared with whoever maps the same object.
    SHARED = 3 b"sh";
    /// PROT_READ is allowed.
    MAY_READ = 4 b"mr";
    /// PROT_WRITE is allowed.
    MAY_WRITE = 5 b"mw";
    /// PROT_EXEC is allowed.
    MAY_EXECUTE = 6 b"me";
    /// MAP_SHARED was asked for.
    MAY_SHARE = 7 b"ms";
    /// Grows downwards when touched below: stacks.
    GROWS_DOWN = 8 b"gd";
    /// Page frames without `struct page`: devices.
    PAGE_FRAMES = 9 b"pf";
    /// mlock(2).
    LOCKED = 10 b"lo";
    /// Device memory.
    IO = 11 b"io";
    /// MADV_SEQUENTIAL.
    SEQUENTIAL_READ = 12 b"sr";
    /// MADV_RANDOM.
    RANDOM_READ = 13 b"rr";
    /// MADV_DONTFORK.
    DONT_FORK = 14 b"dc";
    /// Cannot be enlarged by mremap(2).
    DONT_EXPAND = 15 b"de";
    /// Counts towards the commit limit.
    ACCOUNTED = 16 b"ac";
    /// MAP_NORESERVE.
    NO_RESERVE = 17 b"nr";
    /// Huge pages of hugetlbfs.
    HUGETLB = 18 b"ht";
    /// MAP_SYNC.
    SYNCHRONOUS_FAULT = 19 b"sf";
    /// MADV_WIPEONFORK.
    WIPE_ON_FORK = 20 b"wf";
    /// MADV_DONTDUMP.
    DONT_DUMP = 21 b"dd";
    /// Soft-dirty tracking is on.
    SOFT_DIRTY = 22 b"sd";
    /// Mixes page frames with and without `struct page`: some devices.
    MIXED_MAP = 23 b"mm";
    /// MADV_HUGEPAGE.
    HUGE_PAGE = 24 b"hg";
    /// MADV_NOHUGEPAGE.
    NO_HUGE_PAGE = 25 b"nh";
    /// MADV_MERGEABLE.
    MERGEABLE = 26 b"mg";
    /// userfaultfd(2), missing pages.
    USERFAULT_MISSING = 27 b"um";
    /// userfaultfd(2), write protection.
    USERFAULT_WRITE_PROTECT = 28 b"uw";
    /// userfaultfd(2), minor faults.
    USERFAULT_MINOR = 29 b"ui";
    /// A shadow stack.
    SHADOW_STACK = 30 b"ss";
    /// mseal(2).
    SEALED = 31 b"sl";
    /// MAP_DROPPABLE.
    DROPPABLE = 32 b"dp";
    /// mlock2(2) with MLOCK_ONFAULT.
    LOCK_ON_FAULT = 33 b"lf";
    /// Architecture-specific.
    ARCHITECTURE = 34 b"ar";
    /// Not linear (before Linux 4.0).
    NON_LINEAR = 35 b"nl";
    /// May contain guard pages (MADV_GUARD_INSTALL).
    MAYBE_GUARD = 36 b"gu";
}

impl VmFlags {
    /// No flag.
    pub const NONE: VmFlags = VmFlags(0);

    /// A flag that this program has no name for was among them.
    pub const UNKNOWN: VmFlags = VmFlags(1 << 63);

    /// The flags of a line, its key taken off.
    #[must_use]
    pub fn parse(value: &[u8]) -> VmFlags {
        let mut flags = VmFlags::NONE;
        for word in field::words(value) {
            let known = VmFlags::WORDS
                .iter()
                .find(|(known, _)| known.as_slice() == word);
            flags = flags.union(known.map_or(VmFlags::UNKNOWN, |(_, flag)| *flag));
        }
        flags
    }

    /// The flags of both.
    #[must_use]
    pub const fn union(self, other: VmFlags) -> VmFlags {
        VmFlags(self.0 | other.0)
    }

    /// Whether all of `other` are set.
    #[must_use]
    pub const fn contains(self, other: VmFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is set.
    #[must_use]
    pub const fn intersects(self, other: VmFlags) -> bool {
        self.0 & other.0 != 0
    }
}

impl fmt::Debug for VmFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (word, flag) in VmFlags::WORDS {
            if self.contains(*flag) {
                write!(f, "{separator}{}", String::from_utf8_lossy(word.as_slice()))?;
                separator = " ";
            }
        }
        if self.contains(VmFlags::UNKNOWN) {
            write!(f, "{separator}??")?;
        }
        Ok(())
    }
}

/// The mappings in the order of the file.
///
/// # Errors
/// When a line is neither a mapping nor `Key: value`, a number is none, or there are more than
/// [`MAPPINGS_MAX`] mappings.
pub fn parse(contents: &[u8]) -> Result<Vec<MappingDetail>, ParseError> {
    let mut details: Vec<MappingDetail> = Vec::new();
    for (line, text) in field::lines(contents) {
        let error = |expected| ParseError {
            file: FILE,
            line,
            expected,
        };
        if begins_mapping(text) {
            let mapping = parse_line(text).map_err(error)?;
            if details.len() == MAPPINGS_MAX {
                return Err(error("an end: there are more mappings than Limosa handles"));
            }
            details.push(MappingDetail {
                mapping,
                page_size_bytes: 4096,
                resident_bytes: 0,
                anonymous_bytes: 0,
                swap_bytes: 0,
                protection_key: 0,
                flags: VmFlags::NONE,
            });
            continue;
        }
        let (key, value) = field::key_and_value(text).ok_or(error("Key: value"))?;
        let detail = details.last_mut().ok_or(error("a mapping first"))?;
        let size = || field::kilobytes(value).ok_or(error("a size in kB"));
        match key {
            b"KernelPageSize" => detail.page_size_bytes = size()?,
            b"Rss" => detail.resident_bytes = size()?,
            b"Anonymous" => detail.anonymous_bytes = size()?,
            b"Swap" => detail.swap_bytes = size()?,
            b"ProtectionKey" => {
                detail.protection_key = field::decimal(value).ok_or(error("a protection key"))?;
            }
            b"VmFlags" => detail.flags = VmFlags::parse(value),
            _ => {}
        }
    }
    Ok(details)
}

/// Keys begin with a capital letter, addresses are written in small hexadecimal digits.
fn begins_mapping(line: &[u8]) -> bool {
    !line.first().is_some_and(u8::is_ascii_uppercase)
}

/// The mappings of a process with their details. A zombie and a kernel thread have none.
///
/// # Errors
/// When the process is gone, or its file cannot be read or understood.
pub fn read(pid: u32) -> Result<Vec<MappingDetail>, ReadError> {
    // The kernel writes the file in pieces: where mappings are joined meanwhile, which closing a userfaultfd
    // does even to a stopped process, one begins before the end of the last.
    const TRIES: usize = 8;
    let mut details = read_once(pid)?;
    for _ in 1..TRIES {
        if details.is_sorted_by(|one, next| one.mapping.end <= next.mapping.start) {
            break;
        }
        details = read_once(pid)?;
    }
    Ok(details)
}

fn read_once(pid: u32) -> Result<Vec<MappingDetail>, ReadError> {
    let contents = read_file(pid, FILE, SMAPS_BYTES_MAX)?;
    let mappings = field::lines(&contents)
        .filter(|(_, line)| begins_mapping(line))
        .count();
    if mappings > MAPPINGS_MAX {
        return Err(ReadError::TooLarge {
            pid,
            file: FILE.to_owned(),
            limit: MAPPINGS_MAX,
        });
    }
    parse(&contents).map_err(|cause| ReadError::Malformed { pid, cause })
}

/// As [`read`], but what `before` tells of a mapping that looks the same, or has only grown since, is taken from
/// there, which saves walking the page tables. Such a mapping counts as wholly in memory, unless its protection
/// keeps everybody out.
///
/// # Errors
/// As [`read`].
pub fn read_again(pid: u32, before: &[MappingDetail]) -> Result<Vec<MappingDetail>, ReadError> {
    let mappings = maps::read(pid)?;
    let known: Option<Vec<MappingDetail>> = mappings
        .into_iter()
        .map(|mapping| known_detail(before, mapping))
        .collect();
    known.map_or_else(|| read(pid), Ok)
}

fn known_detail(before: &[MappingDetail], mapping: Mapping) -> Option<MappingDetail> {
    let index = before.partition_point(|detail| detail.mapping.end <= mapping.start);
    // One whose beginning has moved down is a stack.
    let known = before.get(index)?;
    let old = &known.mapping;
    let has_grown = mapping.start == old.start && mapping.end >= old.end
        || mapping.end == old.end && mapping.start <= old.start;
    let grown = Mapping {
        start: mapping.start,
        end: mapping.end,
        ..old.clone()
    };
    if !has_grown || grown != mapping {
        return None;
    }
    let is_closed = mapping.protection() == 0 && *old == mapping;
    let resident_bytes = if is_closed {
        known.resident_bytes
    } else {
        mapping.size_bytes()
    };
    Some(MappingDetail {
        mapping,
        resident_bytes,
        ..known.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::super::maps::MappingKind;
    use super::*;
    use proptest::prelude::*;
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    const SLEEP: &[u8] = include_bytes!("fixtures/smaps-sleep");

    fn find(details: &[MappingDetail], kind: &MappingKind) -> MappingDetail {
        details
            .iter()
            .find(|detail| detail.mapping.kind == *kind)
            .cloned()
            .unwrap()
    }

    #[test]
    fn an_ordinary_program_is_read_in_full() {
        let details = parse(SLEEP).unwrap();
        assert_eq!(details[0].resident_bytes, 8192);
        assert_eq!(details[0].anonymous_bytes, 0);
        assert!(
            details
                .iter()
                .all(|detail| !detail.flags.contains(VmFlags::UNKNOWN))
        );

        let stack = find(&details, &MappingKind::Stack);
        assert!(
            stack
                .flags
                .contains(VmFlags::GROWS_DOWN.union(VmFlags::WRITE))
        );
        assert!(stack.anonymous_bytes > 0);
        let clock_data = find(&details, &MappingKind::Vvar);
        assert_eq!(clock_data.flags, VmFlags::parse(b"rd mr pf io de dd"));
        let heap = find(&details, &MappingKind::Heap);
        assert!(!heap.flags.intersects(VmFlags::IO.union(VmFlags::HUGETLB)));
    }

    #[test]
    fn each_flag_has_a_word_and_a_bit_of_its_own() {
        let mut seen = VmFlags::UNKNOWN;
        for (word, flag) in VmFlags::WORDS {
            assert!(!seen.intersects(*flag), "{flag:?}");
            assert_eq!(VmFlags::parse(word.as_slice()), *flag);
            seen = seen.union(*flag);
        }
    }

    #[test]
    fn a_flag_without_a_name_is_not_overlooked() {
        let flags = VmFlags::parse(b"rd ?? sl");
        assert!(flags.contains(VmFlags::UNKNOWN) && flags.contains(VmFlags::SEALED));
    }

    #[test]
    fn lines_out_of_place_are_refused() {
        let mapping = "1000-2000 r--p 00000000 00:00 0 ";
        for (contents, line) in [
            ("Rss: 4 kB\n".to_owned(), 1),
            (format!("{mapping}\nRss: four kB\n"), 2),
            (format!("{mapping}\nRss: 4\n"), 2),
            (format!("{mapping}\nRss: 18446744073709551615 kB\n"), 2),
            (format!("{mapping}\nRss\n"), 2),
            (format!("{mapping}\n\n{mapping}\n"), 2),
        ] {
            assert_eq!(
                parse(contents.as_bytes()).unwrap_err().line,
                line,
                "{contents}"
            );
        }
    }

    #[test]
    fn both_files_tell_the_same_mappings() {
        let mut cat = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Once it answers it waits for more, and its mappings no longer change.
        cat.stdin.as_mut().unwrap().write_all(b".").unwrap();
        cat.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let maps = maps::read(cat.id()).unwrap();
        let smaps = read(cat.id()).unwrap();
        drop(cat.stdin.take());
        cat.wait().unwrap();
        assert_eq!(
            smaps
                .into_iter()
                .map(|detail| detail.mapping)
                .collect::<Vec<_>>(),
            maps
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(contents in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&contents);
        }

        #[test]
        fn a_file_with_one_byte_changed_is_survived(
            at in 0..SLEEP.len(),
            byte in any::<u8>(),
            length in 0..SLEEP.len(),
        ) {
            let mut contents = SLEEP[..length.max(at + 1)].to_vec();
            contents[at] = byte;
            let _ = parse(&contents);
        }
    }
}
