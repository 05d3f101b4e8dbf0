//! Who else has, or can get, what a process maps shared and writable.
//!
//! Shared memory that nobody else has travels like any other. It must have no name by which others could
//! open it, no open descriptor (through which home's kernel would read and write it behind the guest's back),
//! and no other process that maps it. Memory without a name or a descriptor gets around by fork(2) alone.

use crate::migrate::objects::{self, Identity};
use crate::process::maps::{self, MappingKind};
use crate::process::smaps::MappingDetail;
use crate::process::stat;
use std::os::unix::fs::MetadataExt;

/// Most other processes that are named.
const PEERS_NAMED_MAX: usize = 4;

/// Something that a process maps shared and writable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedObject {
    /// Which.
    pub identity: Identity,
    /// It has a name in a file system, or a key of System V.
    pub has_name: bool,
    /// Other processes that map it.
    pub peers: Vec<Peer>,
    /// A process that has it open, and the descriptor.
    pub open: Option<(Peer, u32)>,
}

/// Another process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its pid.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

impl SharedObject {
    /// Whether nobody else has it or can get it.
    #[must_use]
    pub fn is_exclusive(&self) -> bool {
        !self.has_name && self.peers.is_empty() && self.open.is_none()
    }

    /// Who else has it, for a person; nothing if nobody has at the moment.
    pub(super) fn others(&self, own_pid: u32) -> Option<String> {
        let named: Vec<String> = self
            .peers
            .iter()
            .take(PEERS_NAMED_MAX)
            .map(|peer| format!("{} ({})", peer.pid, peer.name))
            .collect();
        let more = match self.peers.len().saturating_sub(PEERS_NAMED_MAX) {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        match (&self.open, named.len()) {
            (_, 1) => Some(format!("process {} has it, too", named[0])),
            (_, 2..) => Some(format!("processes {}{more} have it, too", named.join(", "))),
            (Some((peer, number)), _) if peer.pid == own_pid => {
                Some(format!("descriptor {number} refers to it"))
            }
            (Some((peer, _)), _) => {
                Some(format!("process {} ({}) has it open", peer.pid, peer.name))
            }
            (None, _) => None,
        }
    }
}

/// What the process maps shared and writable, and who else has it. Looks at all processes if there is
/// anything of that kind; one that cannot be looked at, or that is too large, is passed over.
#[must_use]
pub(super) fn shared_objects(pid: u32, mappings: &[MappingDetail]) -> Vec<SharedObject> {
    let mut found: Vec<SharedObject> = Vec::new();
    for detail in mappings.iter().filter(|detail| objects::is_shared(detail)) {
        let Some(identity) = objects::identity(&detail.mapping) else {
            continue;
        };
        if found.iter().all(|known| known.identity != identity) {
            found.push(SharedObject {
                identity,
                has_name: has_name(pid, detail),
                peers: Vec::new(),
                open: None,
            });
        }
    }
    if found.is_empty() {
        return found;
    }
    // /dev/zero and its like cannot be opened: their descriptors need not be looked for.
    let can_be_open = mappings.iter().any(|detail| {
        objects::is_shared(detail) && detail.mapping.kind != anonymous_shared_memory()
    });
    for other in processes() {
        if other != pid {
            note_peer(other, &mut found);
        }
        if can_be_open {
            note_open(other, &mut found);
        }
    }
    found
}

/// MAP_SHARED | MAP_ANONYMOUS as the kernel calls it.
fn anonymous_shared_memory() -> MappingKind {
    MappingKind::SharedMemory {
        name: "/dev/zero".to_owned(),
    }
}

/// Whether others can get at it by a name: a deleted file may have another one.
fn has_name(pid: u32, detail: &MappingDetail) -> bool {
    match &detail.mapping.kind {
        MappingKind::SharedMemory { name } => name.starts_with("/SYSV"),
        MappingKind::File { deleted: true, .. } => {
            let opened = objects::open_behind(pid.cast_signed(), &detail.mapping, false);
            let links = opened.and_then(|file| file.metadata().map(|metadata| metadata.nlink()));
            links.map_or(true, |links| links > 0)
        }
        _ => true,
    }
}

/// All processes.
pub(super) fn processes() -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn peer(pid: u32) -> Peer {
    let name = stat::read(pid).map(|stat| stat.name);
    Peer {
        pid,
        name: name.unwrap_or_default(),
    }
}

fn note_peer(other: u32, found: &mut [SharedObject]) {
    let Ok(mappings) = maps::read(other) else {
        return;
    };
    for object in found {
        let is_mapped = |mapping| objects::identity(mapping) == Some(object.identity);
        if mappings.iter().any(is_mapped) {
            object.peers.push(peer(other));
        }
    }
}

fn note_open(other: u32, found: &mut [SharedObject]) {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{other}/fd")) else {
        return;
    };
    for entry in entries.flatten() {
        let number = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let inode = std::fs::metadata(entry.path()).map(|metadata| metadata.ino());
        let (Some(number), Ok(inode)) = (number, inode) else {
            continue;
        };
        // Some file systems tell another device here than the mapping does; one inode too many is only a
        // process that stays home.
        for object in found.iter_mut().filter(|object| object.identity.1 == inode) {
            object.open.get_or_insert_with(|| (peer(other), number));
        }
    }
}
