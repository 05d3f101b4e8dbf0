//! The vDSO: the code that the kernel maps into every process, and the data it reads.
//!
//! A program remembers the addresses of the vDSO's functions. A guest can therefore use its own node's
//! vDSO, moved to where the program's was, if both have the same functions at the same offsets. The
//! images themselves may differ in a few bytes even between two machines with the same kernel: the
//! kernel patches them at boot to suit the CPU.

use crate::limits::VDSO_BYTES_MAX;
use crate::process::ReadError;
use crate::process::maps::{self, Mapping, MappingKind};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Where a process has its vDSO and the data before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VdsoMappings {
    /// The code.
    pub code: Mapping,
    /// `[vvar]` and, from Linux 6.13, `[vvar_vclock]`, in the order of their addresses.
    pub data: Vec<Mapping>,
}

impl VdsoMappings {
    /// The vDSO among a process's mappings; nothing if it has none (a kernel with vdso=0, or a
    /// program that unmapped it).
    #[must_use]
    pub fn find(mappings: &[Mapping]) -> Option<VdsoMappings> {
        let code = mappings
            .iter()
            .find(|mapping| mapping.kind == MappingKind::Vdso)?
            .clone();
        let is_data = |mapping: &&Mapping| {
            matches!(mapping.kind, MappingKind::Vvar | MappingKind::VvarVclock)
        };
        Some(VdsoMappings {
            code,
            data: mappings.iter().filter(is_data).cloned().collect(),
        })
    }
}

/// What two nodes' vDSOs must have in common for a guest to move between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VdsoIdentity {
    /// Length of the code, in bytes.
    pub code_bytes: u64,
    /// Length of the data before it, in bytes.
    pub data_bytes: u64,
    /// Hash of the functions' names and offsets. It tells honest nodes apart and protects from nobody.
    pub functions_hash: u64,
    /// Hash of the whole image; for information.
    pub image_hash: u64,
}

impl VdsoIdentity {
    /// Of an image and the length of its data.
    #[must_use]
    pub fn of(image: &[u8], data_bytes: u64) -> VdsoIdentity {
        let image_hash = Fnv1a::hash(image);
        // Without a symbol table that we can read only an equal image is surely compatible.
        let functions_hash = symbols(image).map_or(image_hash, |symbols| {
            let mut hash = Fnv1a::new();
            for (name, offset) in symbols {
                hash.write(name);
                hash.write(&offset.to_le_bytes());
            }
            hash.0
        });
        VdsoIdentity {
            code_bytes: image.len() as u64,
            data_bytes,
            functions_hash,
            image_hash,
        }
    }

    /// Whether the functions of both are at the same places.
    #[must_use]
    pub fn is_interchangeable_with(&self, other: &VdsoIdentity) -> bool {
        (self.code_bytes, self.data_bytes, self.functions_hash)
            == (other.code_bytes, other.data_bytes, other.functions_hash)
    }
}

/// This process's own vDSO, or nothing if it has none.
///
/// # Errors
/// When the mappings or the image cannot be read.
pub fn own_identity() -> Result<Option<VdsoIdentity>, ReadError> {
    let pid = std::process::id();
    let Some(found) = VdsoMappings::find(&maps::read(pid)?) else {
        return Ok(None);
    };
    let data_bytes = found.data.iter().map(Mapping::size_bytes).sum();
    Ok(Some(VdsoIdentity::of(
        &read_image(pid, &found.code)?,
        data_bytes,
    )))
}

/// The image of a process's vDSO.
///
/// # Errors
/// When it is larger than [`VDSO_BYTES_MAX`], or the process's memory cannot be read.
pub fn read_image(pid: u32, code: &Mapping) -> Result<Vec<u8>, ReadError> {
    let file = "mem";
    let size = usize::try_from(code.size_bytes()).unwrap_or(usize::MAX);
    if size > VDSO_BYTES_MAX {
        return Err(ReadError::TooLarge {
            pid,
            file: "[vdso]".to_owned(),
            limit: VDSO_BYTES_MAX,
        });
    }
    let mut image = vec![0; size];
    File::open(format!("/proc/{pid}/{file}"))
        .and_then(|memory| memory.read_exact_at(&mut image, code.start))
        .map_err(|cause| ReadError::Unreadable {
            pid,
            file: file.to_owned(),
            cause,
        })?;
    Ok(image)
}

/// Offset of the first `syscall` instruction in an image. Two such bytes in the middle of another
/// instruction serve as well: where execution begins there, they are one.
#[must_use]
pub fn find_syscall_instruction(image: &[u8]) -> Option<usize> {
    image.windows(2).position(|bytes| bytes == [0x0f, 0x05])
}

/// Names and values of the dynamic symbols of an ELF image, in its order; nothing if it is not a
/// 64-bit ELF image with such a section inside its bytes (elf(5)).
fn symbols(image: &[u8]) -> Option<Vec<(&[u8], u64)>> {
    const SECTION_DYNAMIC_SYMBOLS: u64 = 11;
    const SYMBOL_BYTES: u64 = 24;
    if !image.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let header_bytes = number(image, 58, 2)?;
    let section = |index: u64| {
        let start = number(image, 40, 8)?.checked_add(header_bytes.checked_mul(index)?)?;
        slice(image, start, header_bytes.max(64))
    };
    let table = (0..number(image, 60, 2)?)
        .filter_map(&section)
        .find(|header| number(header, 4, 4) == Some(SECTION_DYNAMIC_SYMBOLS))?;
    let contents = |header: &[u8]| slice(image, number(header, 24, 8)?, number(header, 32, 8)?);
    let strings = contents(section(number(table, 40, 4)?)?)?;
    let entries = contents(table)?.chunks_exact(usize::try_from(SYMBOL_BYTES).ok()?);
    entries
        .map(|entry| {
            let name = strings.get(usize::try_from(number(entry, 0, 4)?).ok()?..)?;
            let length = name.iter().position(|byte| *byte == 0)?;
            Some((&name[..length], number(entry, 8, 8)?))
        })
        .collect()
}

fn slice(bytes: &[u8], start: u64, length: u64) -> Option<&[u8]> {
    let start = usize::try_from(start).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(length).ok()?)?)
}

/// A little-endian number of at most eight bytes.
fn number(bytes: &[u8], start: u64, length: u64) -> Option<u64> {
    let parts = slice(bytes, start, length)?;
    Some(
        parts
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)),
    )
}

/// The hash FNV-1a with 64 bits.
struct Fnv1a(u64);

impl Fnv1a {
    fn new() -> Fnv1a {
        Fnv1a(0xcbf2_9ce4_8422_2325)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn hash(bytes: &[u8]) -> u64 {
        let mut hash = Fnv1a::new();
        hash.write(bytes);
        hash.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn own() -> (VdsoMappings, Vec<u8>) {
        let pid = std::process::id();
        let found = VdsoMappings::find(&maps::read(pid).unwrap()).unwrap();
        let image = read_image(pid, &found.code).unwrap();
        (found, image)
    }

    #[test]
    fn our_own_vdso_has_its_data_before_it_and_the_known_functions() {
        let (found, image) = own();
        assert!(!found.data.is_empty());
        assert!(found.data.iter().all(|data| data.end <= found.code.start));
        let names: Vec<_> = symbols(&image)
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert!(names.contains(&&b"__vdso_clock_gettime"[..]), "{names:?}");
    }

    #[test]
    fn our_own_vdso_has_a_syscall_instruction() {
        let (_, image) = own();
        let offset = find_syscall_instruction(&image).unwrap();
        assert_eq!(image[offset..offset + 2], [0x0f, 0x05]);
    }

    #[test]
    fn the_first_syscall_instruction_is_found_or_none() {
        assert_eq!(
            find_syscall_instruction(&[0x90, 0x0f, 0x0f, 0x05, 0x0f, 0x05]),
            Some(2)
        );
        for none in [&[][..], &[0x0f], &[0x05, 0x0f]] {
            assert_eq!(find_syscall_instruction(none), None);
        }
    }

    #[test]
    fn a_patched_image_is_interchangeable_and_a_moved_function_is_not() {
        let (_, image) = own();
        let identity = VdsoIdentity::of(&image, 4096);
        let mut patched = image.clone();
        patched[find_syscall_instruction(&image).unwrap()] = 0x90;
        let patched = VdsoIdentity::of(&patched, 4096);
        assert_ne!(patched.image_hash, identity.image_hash);
        assert!(patched.is_interchangeable_with(&identity));

        let offset = symbols(&image)
            .unwrap()
            .iter()
            .map(|(_, offset)| *offset)
            .max()
            .unwrap();
        let at = image
            .windows(8)
            .position(|bytes| bytes == offset.to_le_bytes())
            .unwrap();
        let mut moved = image.clone();
        moved[at] ^= 0x10;
        assert!(!VdsoIdentity::of(&moved, 4096).is_interchangeable_with(&identity));
        assert!(!VdsoIdentity::of(&image, 8192).is_interchangeable_with(&identity));
    }

    proptest! {
        #[test]
        fn any_image_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut image = bytes;
            let _ = VdsoIdentity::of(&image, 0);
            if let Some(start) = image.get_mut(..6) {
                start.copy_from_slice(b"\x7fELF\x02\x01");
            }
            let _ = VdsoIdentity::of(&image, 0);
        }

        #[test]
        fn our_own_image_with_one_byte_changed_is_survived(at in any::<prop::sample::Index>(), byte: u8) {
            let (_, mut image) = own();
            let at = at.index(image.len());
            image[at] = byte;
            let _ = VdsoIdentity::of(&image, 0);
            let _ = symbols(&image[..at]);
        }
    }
}
