//! What is sent of a process before it is stopped: where it has what mapped, and the contents of files.
//!
//! 1. While the program runs on at home, the remote node makes the same mappings and fills its memory files.
//! 2. The process is stopped. What looks different now is sent again; what looks the same is taken to be
//!    the same, because the kernel tells the rest only by walking all page tables (/proc/PID/smaps).
//! 3. When the guest runs, that is looked at after all ([`Assumed`]). If the program has changed it in the moment
//!    between 1 and 2, the guest comes home, where it is right.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;

use crate::migrate::advice::Advice;
use crate::migrate::capture::{self, Known};
use crate::migrate::channel::Channel;
use crate::migrate::image::{MappingImage, MemoryLayout, ProcessImage};
use crate::migrate::objects::{Parts, Sources, parts};
use crate::migrate::pages::PageMap;
use crate::migrate::process_memory::ProcessMemory;
use crate::migrate::resource_limits::Limits;
use crate::process::maps::{Mapping, MappingKind};
use crate::process::smaps::{self, MappingDetail, VmFlags};
use crate::process::tasks;
use crate::sys::ptrace::ThreadId;
use crate::wire::migration::{ToDeputy, ToGuest};

use super::departure::{DepartureError, expect};
use super::objects::DeputyObjects;
use super::scratch::DeputyScratch;
use super::sending::send_objects;

/// Guard pages of smaller mappings are looked for again when the process is stopped.
const LOOKED_AT_AGAIN_BYTES: u64 = 64 << 20;

/// The page tables of a process with no more than this in memory are walked while it is stopped: that takes about
/// a millisecond.
const WALKED_BYTES_MAX: u64 = 32 << 20;

/// What the remote node has been sent.
pub struct Draft {
    details: Vec<MappingDetail>,
    guards: Option<Vec<Range<u64>>>,
    objects: DeputyObjects,
    sent: BTreeMap<u64, SentObject>,
    scratch: DeputyScratch,
}

/// An object whose contents have been sent.
struct SentObject {
    file: File,
    stamp: Stamp,
    parts: Vec<Range<u64>>,
}

/// What changes when a file's contents do.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    size_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of a file with a name. What has none, like memory that is shared, can change without a trace.
    fn of(file: &File) -> io::Result<Option<Stamp>> {
        let metadata = file.metadata()?;
        let stamp = Stamp {
            size_bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        };
        Ok((metadata.is_file() && metadata.nlink() > 0).then_some(stamp))
    }
}

impl Draft {
    /// Step 1. Returns when the remote node is done with it.
    ///
    /// # Errors
    /// [`DepartureError::Outdated`] if it fails: what is looked at in the middle of an exec is of no use, and the
    /// remote node may close the connection because of it.
    pub fn send(channel: &mut Channel, pid: ThreadId) -> Result<Draft, DepartureError> {
        Draft::try_to_send(channel, pid).map_err(|error| match error {
            DepartureError::Failed(cause) => {
                log::debug!("no draft of process {pid}: {cause}");
                DepartureError::Outdated
            }
            other => other,
        })
    }

    fn try_to_send(channel: &mut Channel, pid: ThreadId) -> Result<Draft, DepartureError> {
        let failed = |error: &dyn std::fmt::Display| DepartureError::Failed(error.to_string());
        let details = smaps::read(pid.cast_unsigned()).map_err(|error| failed(&error))?;
        let guards = PageMap::open(pid)?.guards_of(&details)?;
        let threads = tasks::read(pid.cast_unsigned()).map_err(|error| failed(&error))?;
        let mappings: Vec<Mapping> = details.iter().map(|it| it.mapping.clone()).collect();
        let scratch = DeputyScratch::choose(&mappings, threads.len()).ok_or_else(|| {
            DepartureError::Failed("the process has used up its address space".into())
        })?;
        let memory = ProcessMemory::open(pid)?;
        let mut objects = DeputyObjects::default();
        let all = capture::mapping_images(&details, &scratch.shared, &mut objects.numbering());
        let mut sources = Sources::open(pid, &all, &details)?;
        let sent = steady_objects(&sources, &all)?;
        let is_steady = |mapping: &MappingImage| {
            let object = mapping.backing.map(|backing| backing.object);
            object.is_none_or(|object| sent.contains_key(&object))
        };
        let mappings: Vec<MappingImage> = all.into_iter().filter(is_steady).collect();
        sources
            .images
            .retain(|image| sent.contains_key(&image.number));
        let image = ProcessImage {
            pid,
            threads: Vec::new(),
            mappings: mappings.clone(),
            objects: sources.images.clone(),
            guards: None,
            advice_unknown: Advice::NONE,
            limits: Limits::default(),
            used_cpu_seconds: 0,
            barriers: 0,
            signal_actions: Vec::new(),
            memory_layout: MemoryLayout::default(),
            vdso: capture::vdso_image(&details, &memory),
        };
        let header = ToGuest::Draft {
            image: Box::new(image),
            scratch: scratch.shared,
        };
        channel.send(&header, &[])?;
        let sent_before = Parts::default();
        let count = send_objects(channel, pid, &sources, &mappings, &memory, &sent_before)?;
        channel.send(&ToGuest::PagesEnd { count }, &[])?;
        expect(channel, |message| {
            matches!(message, ToDeputy::Drafted).then_some(())
        })?;
        Ok(Draft {
            details,
            guards,
            objects,
            sent,
            scratch,
        })
    }

    /// Step 2: the mappings of the process, which is stopped now.
    ///
    /// # Errors
    /// [`DepartureError::Outdated`] if the draft is of no use.
    pub fn details_now(&self, pid: ThreadId) -> Result<Vec<MappingDetail>, DepartureError> {
        let pid = pid.cast_unsigned();
        let resident_bytes: u64 = self.details.iter().map(|it| it.resident_bytes).sum();
        let details = if resident_bytes > WALKED_BYTES_MAX {
            smaps::read_again(pid, &self.details)
        } else {
            smaps::read(pid)
        };
        let details = details.map_err(|error| DepartureError::Failed(error.to_string()))?;
        let vdso = |details: &[MappingDetail]| {
            let mut mappings = details.iter().map(|detail| &detail.mapping);
            let vdso = mappings.find(|mapping| mapping.kind == MappingKind::Vdso);
            vdso.map(|mapping| mapping.start)
        };
        let mut mapped = details.iter().map(|detail| &detail.mapping);
        if vdso(&details) == vdso(&self.details) && self.scratch.is_free_among(&mut mapped) {
            Ok(details)
        } else {
            Err(DepartureError::Outdated)
        }
    }

    /// Where injected code shall lie.
    pub fn scratch(&self) -> DeputyScratch {
        self.scratch.clone()
    }

    /// Its guard pages now.
    pub fn guards_now(
        &self,
        page_map: &PageMap,
        details: &[MappingDetail],
    ) -> io::Result<Option<Vec<Range<u64>>>> {
        let Some(before) = &self.guards else {
            return Ok(None);
        };
        let (small, large): (Vec<_>, Vec<_>) = details
            .iter()
            .cloned()
            .partition(|detail| detail.mapping.size_bytes() <= LOOKED_AT_AGAIN_BYTES);
        let mut guards = page_map.guards_of(&small)?.unwrap_or_default();
        let is_in_large = |guard: &&Range<u64>| {
            let index = large.partition_point(|it| it.mapping.end <= guard.start);
            large
                .get(index)
                .is_some_and(|it| it.mapping.start <= guard.start && guard.end <= it.mapping.end)
        };
        guards.extend(before.iter().filter(is_in_large).cloned());
        guards.sort_by_key(|guard| guard.start);
        Ok(Some(guards))
    }

    /// The objects' numbers, without those of files that have changed: these get new ones.
    pub fn take_objects(&mut self) -> io::Result<DeputyObjects> {
        let mut changed = BTreeSet::new();
        for (&number, sent) in &self.sent {
            if Stamp::of(&sent.file)?.as_ref() != Some(&sent.stamp) {
                changed.insert(number);
            }
        }
        let mut objects = std::mem::take(&mut self.objects);
        for number in changed {
            self.sent.remove(&number);
            objects.forget(number);
        }
        Ok(objects)
    }

    /// Which parts of which objects the remote node has.
    pub fn sent_parts(&self) -> Parts {
        let parts = self.sent.iter();
        parts
            .map(|(&number, sent)| (number, sent.parts.clone()))
            .collect()
    }
}

/// The objects whose contents can be sent before the process is stopped.
fn steady_objects(
    sources: &Sources,
    mappings: &[MappingImage],
) -> io::Result<BTreeMap<u64, SentObject>> {
    let shared = parts(mappings, true);
    let mut steady = BTreeMap::new();
    for (number, parts) in parts(mappings, false) {
        let Some(file) = sources
            .file(number)
            .filter(|_| !shared.contains_key(&number))
        else {
            continue;
        };
        if let Some(stamp) = Stamp::of(file)? {
            let file = file.try_clone()?;
            steady.insert(number, SentObject { file, stamp, parts });
        }
    }
    Ok(steady)
}

/// What was taken to be the same.
#[derive(Clone, Debug, Default)]
pub struct Assumed {
    details: Vec<MappingDetail>,
    guards: Option<Vec<Range<u64>>>,
}

impl Assumed {
    /// Of a process that leaves with this.
    pub fn of(known: &Known) -> Assumed {
        Assumed {
            details: known.details.clone(),
            guards: known.guards.clone(),
        }
    }

    /// Step 3: whether the deputy's memory, which is the program's as it left, shows it to be so. What has
    /// been mapped or unmapped since is passed over.
    pub fn holds(&self, pid: ThreadId) -> bool {
        let Ok(now) = smaps::read(pid.cast_unsigned()) else {
            // It has ended.
            return true;
        };
        let is_as_assumed = |assumed: &MappingDetail| {
            let index = now.partition_point(|it| it.mapping.start < assumed.mapping.start);
            now.get(index).is_none_or(|it| {
                it.mapping != assumed.mapping
                    || flags(it) == flags(assumed) && it.protection_key == assumed.protection_key
            })
        };
        let guards = PageMap::open(pid).and_then(|page_map| page_map.guards_of(&now));
        let Ok(guards) = guards else {
            return true;
        };
        let is_there = |guard: &Range<u64>| now.iter().any(|it| contains(&it.mapping, guard));
        let assumed = self.guards.iter().flatten().filter(|guard| is_there(guard));
        let were_mapped = |guard: &&Range<u64>| {
            let mut details = self.details.iter();
            details.any(|it| contains(&it.mapping, guard))
        };
        let present = guards.iter().flatten().filter(were_mapped);
        self.details.iter().all(is_as_assumed) && (guards.is_none() || assumed.eq(present))
    }
}

/// Those that only the program's calls change.
fn flags(detail: &MappingDetail) -> VmFlags {
    detail.flags.union(VmFlags::SOFT_DIRTY)
}

fn contains(mapping: &Mapping, range: &Range<u64>) -> bool {
    mapping.start <= range.start && range.end <= mapping.end
}
