//! The image of a process: everything of it that travels, but for the contents of its memory.
//!
//! The same types describe a process that leaves home and a guest that comes back; [`super::capture`]
//! makes them from stopped threads, `guest::build` and `deputy::homecoming` put them back into force.

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::migrate::advice::Advice;
use crate::migrate::attributes::Attribute;
use crate::migrate::resource_limits::Limits;
use crate::migrate::scheduling::Scheduling;
use crate::sys::registers::Registers;
use crate::sys::signal::{SignalAction, SignalInfo, SignalSet};

/// A whole process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessImage {
    /// Its pid, as home numbers it.
    pub pid: i32,
    /// The threads; the first is the leader.
    pub threads: Vec<ThreadImage>,
    /// The mappings, ascending and without overlap; the vDSO and its data are not among them.
    pub mappings: Vec<MappingImage>,
    /// The objects behind mappings.
    pub objects: Vec<ObjectImage>,
    /// Guard pages (MADV_GUARD_INSTALL), ascending: start and end; nothing if the kernel does not tell.
    pub guards: Option<Vec<(u64, u64)>>,
    /// Advice that the node which made this image could not give or cannot tell.
    pub advice_unknown: Advice,
    /// Limits that count where it computes; from home only.
    pub limits: Limits,
    /// CPU time that it had used there, in seconds.
    pub used_cpu_seconds: u64,
    /// The barriers that it has registered for: a bit for each command (membarrier(2)).
    pub barriers: u32,
    /// What each signal does: entry n-1 is signal n's.
    pub signal_actions: Vec<SignalAction>,
    /// Where the kernel believes the program's parts to be.
    pub memory_layout: MemoryLayout,
    /// The vDSO and its data pages.
    pub vdso: VdsoImage,
}

/// One thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreadImage {
    /// Its id, as home numbers it.
    pub tid: i32,
    /// General-purpose registers, set up so that the thread goes on (or makes its call again) when it runs.
    pub registers: Registers,
    /// FPU and vector registers in XSAVE layout.
    #[serde(with = "serde_bytes_vec")]
    pub extended_state: Vec<u8>,
    /// Blocked signals.
    pub signal_mask: SignalSet,
    /// rseq(2) registration.
    pub rseq: Option<RseqImage>,
    /// Head and length of the robust futex list (set_robust_list(2)).
    pub robust_list: (u64, u64),
    /// Cleared and woken when the thread ends (set_tid_address(2)).
    pub clear_tid_address: u64,
    /// Alternate signal stack: address, flags, size (sigaltstack(2)).
    pub alternate_stack: (u64, u32, u64),
    /// The name that ps shows.
    pub name: String,
    /// How it is scheduled; from home only.
    pub scheduling: Scheduling,
    /// What it has set by prctl(2) and arch_prctl(2); from home only.
    pub attributes: Vec<Attribute>,
    /// What the thread is waiting for.
    pub waiting: Waiting,
}

impl ThreadImage {
    /// The call that it was stopped in and goes on with.
    pub fn interrupted_call(&self) -> u64 {
        match self.waiting {
            Waiting::ForHome | Waiting::ForReturn { .. } => self.registers.orig_rax,
            Waiting::No | Waiting::Since { .. } => self.registers.rax,
        }
    }
}

/// What a captured thread was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Waiting {
    /// Nothing: it runs on from its registers.
    No,
    /// It left home inside a call whose remaining time only home's kernel knows (ERESTART_RESTARTBLOCK):
    /// the deputy finishes it and the guest thread waits for its return.
    ForHome,
    /// It makes its call again, which began to wait at this moment of home's CLOCK_MONOTONIC: what has passed
    /// of the call's relative timeout counts.
    Since {
        /// In nanoseconds.
        began_ns: u64,
    },
    /// It comes home while a forwarded call is under way there.
    ForReturn {
        /// The call's number among the guest's.
        call: u64,
        /// Bytes that earlier portions of the same call have transferred.
        done: u64,
    },
}

/// An rseq(2) registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RseqImage {
    /// Where the thread's `struct rseq` is.
    pub address: u64,
    /// Its registered size in bytes.
    pub size_bytes: u32,
    /// The signature in front of abort handlers.
    pub signature: u32,
}

/// One mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappingImage {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// PROT_* bits.
    pub protection: u32,
    /// What the kernel was told to do with it.
    pub advice: Advice,
    /// What stands behind it; nothing if it is private and begins as zero.
    pub backing: Option<Backing>,
}

/// The part of an object that a mapping shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backing {
    /// The object's number.
    pub object: u64,
    /// Where in the object the mapping begins, in bytes.
    pub offset: u64,
    /// What is written goes to the object, and is seen by all its mappings. Otherwise it is a copy of the
    /// mapping's own.
    pub shared: bool,
}

/// Something that can be mapped: a file at home, or shared memory. The guest has a memory file (memfd_create(2))
/// in its place, with those of its contents that are mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectImage {
    /// Its number, the same on both sides until the process is home again.
    pub number: u64,
    /// Its size; pages behind it cannot be touched (SIGBUS).
    pub size_bytes: u64,
}

impl MappingImage {
    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.end - self.start
    }
}

/// The fields of `struct prctl_mm_map` that matter to a running program (PR_SET_MM_MAP, prctl(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct MemoryLayout {
    pub start_code: u64,
    pub end_code: u64,
    pub start_data: u64,
    pub end_data: u64,
    pub start_brk: u64,
    pub brk: u64,
    pub start_stack: u64,
    pub argument_start: u64,
    pub argument_end: u64,
    pub environment_start: u64,
    pub environment_end: u64,
}

/// The kernel's code and data in every process, which must stay where the program knows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VdsoImage {
    /// Where `[vdso]` is; 0 if the process has none.
    pub start: u64,
    /// The code, to be compared with the remote's own.
    #[serde(with = "serde_bytes_vec")]
    pub code: Vec<u8>,
    /// `[vvar]` and `[vvar_vclock]`: start and end.
    pub data: Vec<(u64, u64)>,
}

/// A signal that has reached the guest's supervisor and not yet the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndeliveredSignal {
    /// The thread that it is for, as home numbers it.
    pub tid: i32,
    /// Its siginfo as home's kernel made it.
    pub info: SignalInfo,
}

/// Why an image from the network is not believable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageError(&'static str);

impl std::fmt::Display for ImageError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "the process image is malformed: {}", self.0)
    }
}

impl std::error::Error for ImageError {}

/// Highest address of user memory with four-level page tables.
pub const USER_ADDRESS_END: u64 = 0x7fff_ffff_f000;

/// Size of a page.
pub const PAGE_BYTES: u64 = 4096;

impl ProcessImage {
    /// Checks what every receiver relies on: counts within limits, mappings sorted, page-aligned and in
    /// user memory, at least one thread, one action for each signal.
    pub fn validate(&self) -> Result<(), ImageError> {
        let check = |ok: bool, what| if ok { Ok(()) } else { Err(ImageError(what)) };
        check(!self.threads.is_empty(), "it has no thread")?;
        check(
            self.threads.len() <= limits::THREADS_MAX,
            "too many threads",
        )?;
        check(
            self.threads[0].tid == self.pid,
            "its first thread is not the leader",
        )?;
        check(self.signal_actions.len() == 64, "not 64 signal actions")?;
        self.validate_memory()?;
        let mut tids: Vec<i32> = self.threads.iter().map(|thread| thread.tid).collect();
        tids.sort_unstable();
        tids.dedup();
        check(tids.len() == self.threads.len(), "two threads with one id")?;
        self.threads.iter().try_for_each(|thread| {
            let cpus = thread.scheduling.cpus.as_deref().unwrap_or_default();
            check(cpus.len() <= limits::CPU_SET_BYTES_MAX, "too many CPUs")?;
            let attributes = thread.attributes.len();
            check(
                attributes <= limits::THREAD_ATTRIBUTES_MAX,
                "too many attributes",
            )
        })
    }

    /// As [`Self::validate`], of the memory alone: a draft has no more.
    pub fn validate_memory(&self) -> Result<(), ImageError> {
        let check = |ok: bool, what| if ok { Ok(()) } else { Err(ImageError(what)) };
        check(
            self.mappings.len() <= limits::MAPPINGS_MAX,
            "too many mappings",
        )?;
        check(self.vdso.data.len() <= 4, "too many vDSO data mappings")?;
        check(
            self.objects.len() <= limits::MEMORY_OBJECTS_MAX,
            "too many memory objects",
        )?;
        let numbers_ascend = self
            .objects
            .is_sorted_by(|one, next| one.number < next.number);
        check(numbers_ascend, "memory objects are not ascending")?;
        let sizes_fit = |object: &ObjectImage| i64::try_from(object.size_bytes).is_ok();
        check(self.objects.iter().all(sizes_fit), "an object of no size")?;
        let mut behind = 0;
        for mapping in &self.mappings {
            check(
                mapping.start >= behind,
                "mappings overlap or are not ascending",
            )?;
            check(mapping.start < mapping.end, "an empty mapping")?;
            check(
                mapping.end <= USER_ADDRESS_END,
                "a mapping outside user memory",
            )?;
            check(
                (mapping.start | mapping.end) % PAGE_BYTES == 0,
                "a mapping off page boundaries",
            )?;
            check(mapping.protection & !7 == 0, "an unknown protection")?;
            if let Some(backing) = &mapping.backing {
                self.validate_backing(mapping, backing)?;
            }
            behind = mapping.end;
        }
        self.validate_guards()
    }

    fn validate_backing(&self, mapping: &MappingImage, back: &Backing) -> Result<(), ImageError> {
        let known = self.object(back.object).is_some();
        let end = back.offset.checked_add(mapping.length());
        let fits = end.is_some_and(|end| i64::try_from(end).is_ok());
        if known && fits && back.offset.is_multiple_of(PAGE_BYTES) {
            Ok(())
        } else {
            Err(ImageError("a mapping of nothing"))
        }
    }

    fn validate_guards(&self) -> Result<(), ImageError> {
        let mut behind = 0;
        let is_good = |&(start, end): &(u64, u64)| {
            let good = start >= behind
                && start < end
                && end <= USER_ADDRESS_END
                && (start | end) % PAGE_BYTES == 0;
            behind = end;
            good
        };
        let guards = self.guards.as_deref().unwrap_or_default();
        if guards.len() <= limits::GUARD_REGIONS_MAX && guards.iter().all(is_good) {
            Ok(())
        } else {
            Err(ImageError("guard pages out of place"))
        }
    }

    /// The object with this number.
    pub fn object(&self, number: u64) -> Option<&ObjectImage> {
        let index = self
            .objects
            .binary_search_by_key(&number, |object| object.number);
        index.ok().map(|index| &self.objects[index])
    }

    /// The mapping that covers `address`.
    pub fn mapping_at(&self, address: u64) -> Option<&MappingImage> {
        let index = self
            .mappings
            .partition_point(|mapping| mapping.end <= address);
        self.mappings
            .get(index)
            .filter(|mapping| mapping.start <= address)
    }
}

/// Byte vectors as CBOR byte strings instead of arrays of numbers.
mod serde_bytes_vec {
    use serde::{Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Vec<u8>;
            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("a byte string")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }
        }
        from.deserialize_byte_buf(Visitor)
    }
}
