//! The pieces of files that a node keeps after its guests have gone, for those that come next from the same home.
//!
//! ```text
//! <run directory>/pieces/HOME-NUMBER
//!   pieces, one after the other | for each: digest (16 bytes), offset (u64), length (u32) | number of pieces (u32)
//! ```
//!
//! What one supervisor receives becomes one file, which has a name only when it is whole. A supervisor
//! opens what there is when it starts, and so keeps the promise that it gives home then, whatever is removed
//! meanwhile: what was used least recently goes when there is too much. Numbers are little-endian.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};

use super::pieces::{DIGEST_BYTES, PieceDigest};
use crate::limits::{MIGRATION_PAYLOAD_BYTES_MAX, PIECE_FILES_MAX, PIECES_MAX};
use crate::wire::supervisor::{NodeId, PiecePlace};

/// Of one piece, in a file's index.
const ENTRY_BYTES: usize = DIGEST_BYTES + 8 + 4;

/// Where a piece is.
#[derive(Clone, Copy, Debug)]
struct Place {
    file: usize,
    offset: u64,
    length: u32,
}

/// The pieces of one home, as a guest's supervisor has them.
pub struct PieceStore {
    place: PiecePlace,
    home: NodeId,
    files: Vec<StoredFile>,
    pieces: BTreeMap<PieceDigest, Place>,
    arriving: Option<Arriving>,
    /// Something failed: nothing more is kept.
    is_broken: bool,
}

struct StoredFile {
    file: File,
    is_used: bool,
}

/// A file that has no name yet.
struct Arriving {
    file: File,
    index: Vec<u8>,
    end: u64,
}

impl PieceStore {
    /// Opens what there is; a file that is no good is passed over.
    pub fn open(place: PiecePlace, home: NodeId) -> PieceStore {
        let mut store = PieceStore {
            place,
            home,
            files: Vec::new(),
            pieces: BTreeMap::new(),
            arriving: None,
            is_broken: false,
        };
        let prefix = format!("{home}-");
        let mut stored = stored(Path::new(&store.place.directory)).unwrap_or_default();
        stored.retain(|(path, _)| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(&prefix))
        });
        // The most recently used first: they are what is taken if there is too much.
        for (path, _) in stored.into_iter().rev().take(PIECE_FILES_MAX) {
            if let Err(error) = store.take(&path) {
                log::debug!("the pieces in {} are of no use: {error}", path.display());
            }
        }
        store
    }

    fn take(&mut self, path: &Path) -> io::Result<()> {
        let file = File::open(path)?;
        let index = read_index(&file)?;
        let number = self.files.len();
        for entry in index.chunks_exact(ENTRY_BYTES) {
            if self.pieces.len() >= PIECES_MAX {
                break;
            }
            let (digest, place) = parse_entry(entry, number).ok_or(io::ErrorKind::InvalidData)?;
            self.pieces.entry(digest).or_insert(place);
        }
        self.files.push(StoredFile {
            file,
            is_used: false,
        });
        Ok(())
    }

    /// The digests of all pieces, one after the other.
    pub fn digests(&self) -> Vec<u8> {
        self.pieces.keys().flatten().copied().collect()
    }

    /// A piece's contents; nothing if it was never here.
    pub fn read(&mut self, digest: &PieceDigest) -> io::Result<Option<Vec<u8>>> {
        let Some(place) = self.pieces.get(digest) else {
            return Ok(None);
        };
        let Some(stored) = self.files.get_mut(place.file) else {
            return Ok(None);
        };
        stored.is_used = true;
        let mut contents = vec![0; place.length as usize];
        stored.file.read_exact_at(&mut contents, place.offset)?;
        Ok(Some(contents))
    }

    /// Keeps a piece, unless there is no room for it.
    pub fn keep(&mut self, digest: &PieceDigest, contents: &[u8]) {
        if self.is_broken || self.pieces.contains_key(digest) {
            return;
        }
        if let Err(error) = self.try_to_keep(digest, contents) {
            log::debug!("pieces are not kept: {error}");
            self.is_broken = true;
            self.arriving = None;
        }
    }

    fn try_to_keep(&mut self, digest: &PieceDigest, contents: &[u8]) -> io::Result<()> {
        let mut arriving = match self.arriving.take() {
            Some(arriving) => arriving,
            None => Arriving::begin(Path::new(&self.place.directory))?,
        };
        // One program is not to drive out all others.
        let has_room = arriving.end + contents.len() as u64 <= self.place.bytes_max / 2
            && arriving.index.len() < PIECES_MAX * ENTRY_BYTES;
        if has_room {
            arriving.file.write_all_at(contents, arriving.end)?;
            arriving.index.extend_from_slice(digest);
            arriving
                .index
                .extend_from_slice(&arriving.end.to_le_bytes());
            let length = u32::try_from(contents.len()).map_err(io::Error::other)?;
            arriving.index.extend_from_slice(&length.to_le_bytes());
            arriving.end += contents.len() as u64;
        }
        self.arriving = Some(arriving);
        Ok(())
    }

    /// What has arrived is for others from here on. What was used least recently makes room for it.
    pub fn settle(&mut self) {
        let Some(arriving) = self.arriving.take() else {
            return;
        };
        let directory = Path::new(&self.place.directory);
        let settled = arriving
            .publish(directory, self.home)
            .and_then(|()| make_room(directory, self.place.bytes_max));
        if let Err(error) = settled {
            log::debug!("pieces are not kept: {error}");
            self.is_broken = true;
        }
    }
}

impl Drop for PieceStore {
    fn drop(&mut self) {
        let now = SystemTime::now();
        for stored in self.files.iter().filter(|stored| stored.is_used) {
            // If the time cannot be set it is only removed earlier.
            let _ = stored.file.set_modified(now);
        }
        self.settle();
    }
}

impl Arriving {
    fn begin(directory: &Path) -> io::Result<Arriving> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = File::from(open(directory, flags, Mode::RUSR | Mode::WUSR)?);
        Ok(Arriving {
            file,
            index: Vec::new(),
            end: 0,
        })
    }

    fn publish(self, directory: &Path, home: NodeId) -> io::Result<()> {
        let count = (self.index.len() / ENTRY_BYTES) as u32;
        let mut tail = self.index;
        tail.extend_from_slice(&count.to_le_bytes());
        self.file.write_all_at(&tail, self.end)?;
        // Its inode is a number that no other file here has.
        let name = format!("{home}-{}", self.file.metadata()?.ino());
        let unnamed = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        linkat(
            CWD,
            unnamed,
            CWD,
            directory.join(name),
            AtFlags::SYMLINK_FOLLOW,
        )?;
        Ok(())
    }
}

/// The index at a file's end.
fn read_index(file: &File) -> io::Result<Vec<u8>> {
    const COUNT_BYTES: u64 = 4;
    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    let size = file.metadata()?.len();
    let index_end = size.checked_sub(COUNT_BYTES).ok_or_else(damaged)?;
    let mut count = [0; COUNT_BYTES as usize];
    file.read_exact_at(&mut count, index_end)?;
    let count = u32::from_le_bytes(count) as usize;
    if count > PIECES_MAX {
        return Err(damaged());
    }
    let mut index = vec![0; count * ENTRY_BYTES];
    let start = index_end.checked_sub(index.len() as u64);
    file.read_exact_at(&mut index, start.ok_or_else(damaged)?)?;
    Ok(index)
}

fn parse_entry(entry: &[u8], file: usize) -> Option<(PieceDigest, Place)> {
    let (digest, rest) = entry.split_first_chunk()?;
    let (offset, rest) = rest.split_first_chunk()?;
    let (length, _) = rest.split_first_chunk()?;
    let length = u32::from_le_bytes(*length);
    let place = Place {
        file,
        offset: u64::from_le_bytes(*offset),
        length,
    };
    (length as usize <= MIGRATION_PAYLOAD_BYTES_MAX).then_some((*digest, place))
}

/// The files of a directory with their times, the oldest first.
fn stored(directory: &Path) -> io::Result<Vec<(PathBuf, fs::Metadata)>> {
    let mut stored = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // One that has gone meanwhile is no loss.
        if let Ok(metadata) = entry.metadata() {
            stored.push((entry.path(), metadata));
        }
    }
    let age = |metadata: &fs::Metadata| {
        Duration::new(
            metadata.mtime().cast_unsigned(),
            metadata.mtime_nsec() as u32,
        )
    };
    stored.sort_by_key(|(_, metadata)| age(metadata));
    Ok(stored)
}

/// Removes the oldest files until those that are left have at most `bytes_max` bytes, and are not too many.
pub fn make_room(directory: &Path, bytes_max: u64) -> io::Result<()> {
    let mut stored = stored(directory)?;
    let mut bytes: u64 = stored.iter().map(|(_, metadata)| metadata.len()).sum();
    let mut count = stored.len();
    for (path, metadata) in stored.drain(..) {
        if bytes <= bytes_max && count <= PIECE_FILES_MAX {
            break;
        }
        // Another supervisor may have been faster.
        let _ = fs::remove_file(path);
        bytes -= metadata.len();
        count -= 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: NodeId = NodeId([1; 16]);

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Directory {
            let name = format!("limosa-pieces-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Directory(path)
        }

        fn open(&self, home: NodeId, bytes_max: u64) -> PieceStore {
            let directory = self.0.to_str().unwrap().to_owned();
            PieceStore::open(
                PiecePlace {
                    directory,
                    bytes_max,
                },
                home,
            )
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_one_supervisor_received_the_next_one_has_and_other_homes_do_not() {
        let directory = Directory::new("next");
        let mut first = directory.open(HOME, 1 << 20);
        assert!(first.digests().is_empty());
        first.keep(&[1; 16], b"one");
        first.keep(&[2; 16], b"another");
        assert_eq!(first.read(&[1; 16]).unwrap(), None);
        drop(first);
        let mut next = directory.open(HOME, 1 << 20);
        assert_eq!(next.digests(), [[1; 16], [2; 16]].concat());
        assert_eq!(next.read(&[2; 16]).unwrap().unwrap(), b"another");
        assert_eq!(next.read(&[3; 16]).unwrap(), None);
        assert!(
            directory
                .open(NodeId([2; 16]), 1 << 20)
                .digests()
                .is_empty()
        );
    }

    #[test]
    fn the_least_recently_used_goes_first_and_whoever_has_it_open_keeps_it() {
        let directory = Directory::new("room");
        let bytes_max = 100_000;
        for number in 0..3 {
            let mut store = directory.open(HOME, bytes_max);
            store.keep(&[number; 16], &[number; 40_000]);
            assert!(store.files.len() <= 2);
        }
        let mut store = directory.open(HOME, bytes_max);
        assert_eq!(store.digests(), [[1; 16], [2; 16]].concat());
        make_room(&directory.0, 0).unwrap();
        assert!(directory.open(HOME, bytes_max).digests().is_empty());
        assert_eq!(store.read(&[1; 16]).unwrap().unwrap(), [1; 40_000]);
    }

    #[test]
    fn one_journey_fills_at_most_half_of_the_room() {
        let directory = Directory::new("half");
        let mut store = directory.open(HOME, 1000);
        store.keep(&[1; 16], &[0; 300]);
        store.keep(&[2; 16], &[0; 300]);
        store.keep(&[3; 16], &[0; 200]);
        drop(store);
        assert_eq!(
            directory.open(HOME, 1000).digests(),
            [[1; 16], [3; 16]].concat()
        );
    }

    #[test]
    fn a_damaged_file_is_passed_over() {
        let directory = Directory::new("damaged");
        let whole = {
            let mut store = directory.open(HOME, 1 << 20);
            store.keep(&[1; 16], b"one");
            drop(store);
            let (path, _) = stored(&directory.0).unwrap().remove(0);
            let whole = fs::read(&path).unwrap();
            fs::remove_file(path).unwrap();
            whole
        };
        let path = directory.0.join(format!("{HOME}-1"));
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let mut store = directory.open(HOME, 1 << 20);
            let _ = store.read(&[1; 16]);
            for position in 0..cut {
                let mut changed = whole.clone();
                changed[position] ^= 0xff;
                fs::write(&path, &changed).unwrap();
                let mut store = directory.open(HOME, 1 << 20);
                let _ = store.read(&[1; 16]);
            }
        }
        let nowhere = PiecePlace {
            directory: "/nonexistent".to_owned(),
            bytes_max: 1 << 20,
        };
        let mut store = PieceStore::open(nowhere, HOME);
        store.keep(&[1; 16], b"one");
        assert!(store.digests().is_empty() && store.is_broken);
    }
}
