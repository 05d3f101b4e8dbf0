//! The files that are handed out, as ranges of the image's files and of what is added to them.
//!
//! `limosa.efi` is not stored: its head, the kernel and the initramfs are, and lie in it one after the other
//! as the section table in the head says (`image/efi.sh`). Behind the initramfs there is room for the added
//! archive.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What a BIOS loads first.
pub const BIOS_LOADER: &str = "undionly.kpxe";
/// What UEFI loads: all in one.
pub const EFI_PROGRAM: &str = "limosa.efi";
/// What iPXE is told to do.
pub const SCRIPT: &str = "boot.ipxe";

const KERNEL: &str = "vmlinuz";
const INITRAMFS: &str = "initramfs.img";
const EFI_HEAD: &str = "limosa.efi.head";
/// The added archive, for iPXE.
const ADDED: &str = "added.img";

/// Longest head that is looked at, in bytes: the EFI stub has about 70 KB.
const EFI_HEAD_BYTES_MAX: u64 = 1 << 20;
/// Sections begin at multiples of this in the file (FileAlignment of the PE header).
const SECTION_BYTES: usize = 40;

/// Names are relative to the script's own URL.
const SCRIPT_TEXT: &str = "#!ipxe\n\
    iseq ${platform} efi && chain limosa.efi ||\n\
    kernel vmlinuz quiet panic=10 console=ttyS0,115200 console=tty0\n\
    initrd initramfs.img\n";

/// Why nothing can be handed out.
#[derive(Debug)]
pub enum CatalogError {
    /// A file of the image cannot be read.
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// The head of the EFI program is not that of this kernel and initramfs.
    Head(PathBuf),
    /// What is to be added does not fit.
    TooLong {
        /// Its length in bytes.
        bytes: usize,
        /// The room in the EFI program, in bytes.
        room_bytes: usize,
    },
}

impl fmt::Display for CatalogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, error } => write!(
                f,
                "cannot read {}: {error}; choose \"boots other PCs over the network\" in the boot menu of \
                 the image, or name with --image the netboot directory that mkiso.sh makes",
                path.display()
            ),
            Self::Head(path) => write!(
                f,
                "{} does not belong to the kernel and the initramfs beside it: make them anew by mkiso.sh",
                path.display()
            ),
            Self::TooLong { bytes, room_bytes } => write!(
                f,
                "the parameters and the key take {bytes} bytes, and there is room for {room_bytes}"
            ),
        }
    }
}

impl std::error::Error for CatalogError {}

/// A part of a document.
#[derive(Debug)]
enum Piece {
    File(usize),
    Bytes(Vec<u8>),
    Zeroes,
}

/// Something that can be asked for.
#[derive(Debug)]
struct Document {
    name: &'static str,
    /// Each with its place in the document, in order and without gaps.
    pieces: Vec<(Range<u64>, Piece)>,
}

impl Document {
    fn new(name: &'static str) -> Document {
        let pieces = Vec::new();
        Document { name, pieces }
    }

    fn size(&self) -> u64 {
        self.pieces.last().map_or(0, |(place, _)| place.end)
    }

    fn add(mut self, piece: Piece, bytes: u64) -> Document {
        let begin = self.size();
        self.pieces.push((begin..begin + bytes, piece));
        self
    }

    /// Zeroes up to `size`.
    fn pad_to(self, size: u64) -> Document {
        let missing = size.saturating_sub(self.size());
        self.add(Piece::Zeroes, missing)
    }
}

/// All that can be asked for.
#[derive(Debug)]
pub struct Catalog {
    files: Vec<File>,
    documents: Vec<Document>,
}

impl Catalog {
    /// Opens the image's files in `directory`, to which `added` is an archive to add.
    ///
    /// # Errors
    /// When one is missing or they do not belong together.
    pub fn open(directory: &Path, added: Vec<u8>) -> Result<Catalog, CatalogError> {
        let mut catalog = Catalog {
            files: Vec::new(),
            documents: Vec::new(),
        };
        let mut plain = |name| catalog.add_file(directory, name);
        let (loader, loader_bytes) = plain(BIOS_LOADER)?;
        let (kernel, kernel_bytes) = plain(KERNEL)?;
        let (initramfs, initramfs_bytes) = plain(INITRAMFS)?;
        let (head, head_bytes) = plain(EFI_HEAD)?;
        let sections = catalog.sections(head, head_bytes);
        let sections = sections.filter(|sections| {
            let room = initramfs_bytes.next_multiple_of(4)..;
            sections.kernel == (head_bytes..head_bytes + kernel_bytes)
                && sections.kernel.end <= sections.initramfs.start
                && room.contains(&(sections.initramfs.end - sections.initramfs.start))
        });
        let sections = sections.ok_or_else(|| CatalogError::Head(directory.join(EFI_HEAD)))?;
        let behind = sections.initramfs.start + initramfs_bytes.next_multiple_of(4);
        let room = (sections.initramfs.end - behind) as usize;
        if added.len() > room {
            let bytes = added.len();
            return Err(CatalogError::TooLong {
                bytes,
                room_bytes: room,
            });
        }
        let added_bytes = added.len() as u64;
        let program = Document::new(EFI_PROGRAM)
            .add(Piece::File(head), head_bytes)
            .add(Piece::File(kernel), kernel_bytes)
            .pad_to(sections.initramfs.start)
            .add(Piece::File(initramfs), initramfs_bytes)
            .pad_to(behind)
            .add(Piece::Bytes(added.clone()), added_bytes)
            .pad_to(sections.file_end);
        let mut script = SCRIPT_TEXT.to_owned();
        if added_bytes > 0 {
            script.push_str(&format!("initrd {ADDED}\n"));
        }
        script.push_str("boot\n");
        let script_bytes = script.len() as u64;
        catalog.documents = vec![
            Document::new(BIOS_LOADER).add(Piece::File(loader), loader_bytes),
            Document::new(KERNEL).add(Piece::File(kernel), kernel_bytes),
            Document::new(INITRAMFS).add(Piece::File(initramfs), initramfs_bytes),
            Document::new(ADDED).add(Piece::Bytes(added), added_bytes),
            Document::new(SCRIPT).add(Piece::Bytes(script.into_bytes()), script_bytes),
            program,
        ];
        Ok(catalog)
    }

    fn add_file(&mut self, directory: &Path, name: &str) -> Result<(usize, u64), CatalogError> {
        let path = directory.join(name);
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (bytes, file) = opened.map_err(|error| CatalogError::File { path, error })?;
        self.files.push(file);
        Ok((self.files.len() - 1, bytes))
    }

    fn sections(&self, head: usize, head_bytes: u64) -> Option<Sections> {
        let mut bytes = vec![0; usize::try_from(head_bytes.min(EFI_HEAD_BYTES_MAX)).ok()?];
        self.files.get(head)?.read_exact_at(&mut bytes, 0).ok()?;
        Sections::of(&bytes)
    }

    /// The document of this name, and its size in bytes.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<(usize, u64)> {
        let index = self
            .documents
            .iter()
            .position(|document| document.name == name)?;
        Some((index, self.documents[index].size()))
    }

    /// Fills `buffer` with the document from `offset` on, as far as it goes.
    ///
    /// # Errors
    /// When a file of the image cannot be read, or became shorter.
    pub fn read(&self, document: usize, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        for (place, piece) in &self.documents[document].pieces {
            let at = offset + filled as u64;
            if filled == buffer.len() || !place.contains(&at) {
                continue;
            }
            let wanted = (place.end - at).min((buffer.len() - filled) as u64) as usize;
            let into = &mut buffer[filled..filled + wanted];
            let inside = at - place.start;
            match piece {
                Piece::File(file) => self.files[*file].read_exact_at(into, inside)?,
                Piece::Bytes(bytes) => {
                    into.copy_from_slice(&bytes[inside as usize..inside as usize + wanted]);
                }
                Piece::Zeroes => into.fill(0),
            }
            filled += wanted;
        }
        Ok(filled)
    }
}

/// Where kernel and initramfs lie in the EFI program.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sections {
    kernel: Range<u64>,
    initramfs: Range<u64>,
    /// The end of the last section, with what rounds it up.
    file_end: u64,
}

impl Sections {
    /// Reads the section table of a PE file ("PE Format", Microsoft).
    fn of(file: &[u8]) -> Option<Sections> {
        let number = |offset: usize, bytes: usize| {
            let part = file.get(offset..offset.checked_add(bytes)?)?;
            let number = part
                .iter()
                .rev()
                .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
            Some(number)
        };
        let header = number(0x3c, 4)? as usize;
        let count = number(header + 6, 2)? as usize;
        let table = header + 24 + number(header + 20, 2)? as usize;
        let (mut kernel, mut initramfs) = (None, None);
        for index in 0..count {
            let section = table + index * SECTION_BYTES;
            let (size, raw_size) = (number(section + 8, 4)?, number(section + 16, 4)?);
            let begin = number(section + 20, 4)?;
            match file.get(section..section + 8)? {
                b".linux\0\0" => kernel = Some(begin..begin + size),
                b".initrd\0" => initramfs = Some((begin..begin + size, begin + raw_size)),
                _ => {}
            }
        }
        let (initramfs, file_end) = initramfs?;
        Some(Sections {
            kernel: kernel?,
            initramfs,
            file_end,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    const KERNEL_BYTES: usize = 1000;
    const INITRAMFS_BYTES: usize = 2001;
    const ROOM: usize = 64;

    /// A PE file's head with the two sections that matter, and one more.
    fn head(kernel_bytes: u32) -> Vec<u8> {
        let mut bytes = vec![0; 512];
        bytes[0x3c] = 0x80;
        bytes[0x86] = 3;
        bytes[0x94] = 8;
        let initramfs_bytes = INITRAMFS_BYTES.next_multiple_of(4) + ROOM;
        let rows = [
            (b".text\0\0\0", 0x10, 0x10, 0x10),
            (b".linux\0\0", kernel_bytes, 1024, 512),
            (b".initrd\0", initramfs_bytes as u32, 2560, 1536),
        ];
        for (index, (name, size, raw_size, begin)) in rows.into_iter().enumerate() {
            let section = 0x80 + 24 + 8 + index * SECTION_BYTES;
            bytes[section..section + 8].copy_from_slice(name);
            for (offset, number) in [(8, size), (16, raw_size), (20, begin)] {
                let at = section + offset;
                bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
            }
        }
        bytes
    }

    /// A directory with an image of the right form; removed by the caller.
    pub(in crate::netboot) fn image(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("limosa-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(KERNEL), [b'k'; KERNEL_BYTES]).unwrap();
        fs::write(directory.join(INITRAMFS), [b'i'; INITRAMFS_BYTES]).unwrap();
        fs::write(directory.join(BIOS_LOADER), b"loader").unwrap();
        fs::write(directory.join(EFI_HEAD), head(KERNEL_BYTES as u32)).unwrap();
        directory
    }

    fn whole(catalog: &Catalog, name: &str) -> Vec<u8> {
        let (document, size) = catalog.find(name).unwrap();
        let mut bytes = Vec::new();
        let mut part = [0; 333];
        loop {
            let read = catalog
                .read(document, bytes.len() as u64, &mut part)
                .unwrap();
            if read == 0 {
                assert_eq!(bytes.len() as u64, size);
                return bytes;
            }
            bytes.extend_from_slice(&part[..read]);
        }
    }

    #[test]
    fn the_efi_program_is_put_together_where_its_sections_are() {
        let directory = image("catalog");
        let catalog = Catalog::open(&directory, b"0707".to_vec()).unwrap();
        let program = whole(&catalog, EFI_PROGRAM);
        assert_eq!(program[..512], head(KERNEL_BYTES as u32));
        assert_eq!(program[512..1512], [b'k'; KERNEL_BYTES]);
        assert_eq!(program[1512..1536], [0; 24]);
        assert_eq!(
            program[1536..1536 + INITRAMFS_BYTES],
            [b'i'; INITRAMFS_BYTES]
        );
        let behind = 1536 + INITRAMFS_BYTES.next_multiple_of(4);
        assert_eq!(&program[behind..behind + 4], b"0707");
        assert_eq!(program.len(), 1536 + 2560);
        assert_eq!(whole(&catalog, KERNEL), [b'k'; KERNEL_BYTES]);
        let script = String::from_utf8(whole(&catalog, SCRIPT)).unwrap();
        assert!(script.ends_with("initrd added.img\nboot\n"), "{script}");
        assert_eq!(catalog.find("../etc/passwd"), None);

        let catalog = Catalog::open(&directory, Vec::new()).unwrap();
        assert!(
            !whole(&catalog, SCRIPT)
                .windows(5)
                .any(|word| word == b"added")
        );
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn files_that_do_not_belong_together_are_refused_in_words() {
        let directory = image("mismatch");
        let too_long = Catalog::open(&directory, vec![0; ROOM + 1]).unwrap_err();
        assert!(too_long.to_string().contains("room for 64"), "{too_long}");
        fs::write(directory.join(EFI_HEAD), head(7)).unwrap();
        let head = Catalog::open(&directory, Vec::new()).unwrap_err();
        assert!(head.to_string().contains("does not belong"), "{head}");
        fs::remove_file(directory.join(KERNEL)).unwrap();
        let missing = Catalog::open(&directory, Vec::new()).unwrap_err();
        assert!(missing.to_string().contains("--image"), "{missing}");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_file_that_is_no_program_has_no_sections() {
        for length in 0..512 {
            let head = head(1);
            let _ = Sections::of(&head[..length]);
        }
        assert_eq!(Sections::of(b"MZ"), None);
        assert_eq!(Sections::of(&[0xff; 512]), None);
    }
}
