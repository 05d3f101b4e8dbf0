//! The program's memory in a guest under construction: what is mapped where, and what fills it.
//!
//! 1. A memory file for each object that home has mapped; the supervisor opens it, to fill it.
//! 2. The mappings: private and empty, or of a memory file.
//! 3. What the program has told the kernel to do with them, as far as this kernel can.
//! 4. (The contents arrive.)
//! 5. The files' descriptors go.
//! 6. Guard pages and locked memory, which need the contents in place.

use rustix::process::{Resource, Rlimit, getrlimit, prlimit, setrlimit};

use crate::migrate::advice::Advice;
use crate::migrate::image::{MappingImage, ObjectImage, PAGE_BYTES};
use crate::sys::blob::Call;
use crate::sys::call_numbers as number;

use super::build::{BuildError, Builder, NO_FD, expect};

const MAP_SHARED: u64 = 0x01;
const MAP_PRIVATE: u64 = 0x02;
const MAP_DROPPABLE: u64 = 0x08;
const MAP_ANONYMOUS: u64 = 0x20;
const MAP_GROWSDOWN: u64 = 0x100;
const MAP_NORESERVE: u64 = 0x4000;
const MAP_FIXED_NOREPLACE: u64 = 0x10_0000;

/// memfd_create(2): the name, with its zero, and the flag that exec(2) closes it.
pub(super) const MEMORY_FILE_NAME: &[u8] = b"limosa\0";
pub(super) const MFD_CLOEXEC: u64 = 1;

/// MADV_GUARD_INSTALL.
const GUARD_INSTALL: u64 = 102;

/// Descriptors that a supervisor needs besides those of memory files.
const OWN_DESCRIPTORS: u64 = 64;

impl Builder {
    /// Steps 1 to 3, where the guest has the mappings `present`.
    pub(super) fn map_program(&mut self, present: &[MappingImage]) -> Result<(), BuildError> {
        self.make_files()?;
        let mut calls: Vec<Call> = present
            .iter()
            .filter(|mapping| !is_among(mapping, &self.image.mappings))
            .map(|mapping| {
                let arguments = [mapping.start, mapping.length(), 0, 0, 0, 0];
                Call::new(number::SYS_munmap, arguments)
            })
            .collect();
        self.run_all(&mut calls, "unmapping what the program no longer has")?;
        let new: Vec<MappingImage> = self
            .image
            .mappings
            .iter()
            .filter(|mapping| !is_among(mapping, present))
            .copied()
            .collect();
        let descriptor = |object| self.descriptors.get(&object).copied().unwrap_or(NO_FD);
        let mut calls: Vec<Call> = new
            .iter()
            .map(|mapping| map_call(mapping, descriptor))
            .collect();
        self.scratch.run(self.guest, &self.memory, &mut calls)?;
        self.retry_droppable(&mut calls)?;
        for call in &calls {
            expect(
                call.result,
                call.arguments[0].cast_signed(),
                "mapping the program's memory",
            )?;
        }
        for mapping in &new {
            if let Some(backing) = mapping.backing {
                self.files.note_mapped(mapping.start, mapping.length());
                if backing.shared {
                    self.files.note_shared();
                }
            }
        }
        let not_yet = Advice::NONE
            .with(Advice::LOCKED)
            .with(Advice::LOCK_ON_FAULT);
        self.advise(&new, not_yet)
    }

    /// Makes the memory files that there are not yet.
    fn make_files(&mut self) -> Result<(), BuildError> {
        let known = &self.descriptors;
        let objects: Vec<ObjectImage> = self
            .image
            .objects
            .iter()
            .filter(|object| !known.contains_key(&object.number))
            .copied()
            .collect();
        if objects.is_empty() {
            return Ok(());
        }
        self.allow_descriptors((known.len() + objects.len()) as u64);
        self.write(self.scratch.data, MEMORY_FILE_NAME)?;
        let arguments = [self.scratch.data, MFD_CLOEXEC, 0, 0, 0, 0];
        let mut calls = vec![Call::new(number::SYS_memfd_create, arguments); objects.len()];
        self.run_all(&mut calls, "making memory files")?;
        let descriptors: Vec<u64> = calls
            .iter()
            .map(|call| call.result.cast_unsigned())
            .collect();
        let mut calls: Vec<Call> = descriptors
            .iter()
            .zip(&objects)
            .map(|(&descriptor, object)| {
                let arguments = [descriptor, object.size_bytes, 0, 0, 0, 0];
                Call::new(number::SYS_ftruncate, arguments)
            })
            .collect();
        self.run_all(&mut calls, "sizing memory files")?;
        for (descriptor, object) in descriptors.into_iter().zip(objects) {
            self.files
                .adopt(self.guest, descriptor, object)
                .map_err(|error| BuildError::Io("opening a memory file", error))?;
            self.descriptors.insert(object.number, descriptor);
        }
        Ok(())
    }

    /// All contents have arrived: the mappings keep the files.
    pub(super) fn close_files(&mut self) -> Result<(), BuildError> {
        self.files.all_filled();
        self.descriptors.clear();
        let all = [0, u64::from(u32::MAX), 0, 0, 0, 0];
        self.run_all(
            &mut [Call::new(number::SYS_close_range, all)],
            "closing its memory files",
        )
    }

    /// Both this process and the guest have all memory files open for a moment. If they may not have that
    /// many, making them fails.
    fn allow_descriptors(&self, count: u64) {
        let current = getrlimit(Resource::Nofile);
        let wanted = count + OWN_DESCRIPTORS;
        if current.current.is_none_or(|current| current >= wanted) {
            return;
        }
        let raised = Rlimit {
            current: current.maximum,
            maximum: current.maximum,
        };
        let guest = rustix::process::Pid::from_raw(self.guest);
        let outcome = setrlimit(Resource::Nofile, raised)
            .and_then(|()| prlimit(guest, Resource::Nofile, raised).map(drop));
        if let Err(error) = outcome {
            log::debug!("no more descriptors for memory files: {error}");
        }
    }

    /// A kernel before 6.11 has no droppable memory: there it is private memory that a fork wipes.
    fn retry_droppable(&self, calls: &mut [Call]) -> Result<(), BuildError> {
        const EINVAL: i64 = -22;
        const EOPNOTSUPP: i64 = -95;
        const MADV_WIPEONFORK: u64 = 18;
        for call in calls.iter_mut().filter(|call| {
            call.arguments[3] & 0x0f == MAP_DROPPABLE && [EINVAL, EOPNOTSUPP].contains(&call.result)
        }) {
            call.arguments[3] = call.arguments[3] & !0x0f | MAP_PRIVATE;
            let [start, length, ..] = call.arguments;
            let advice = [start, length, MADV_WIPEONFORK, 0, 0, 0];
            let mut again = [*call, Call::new(number::SYS_madvise, advice)];
            self.run_all(&mut again, "mapping droppable memory")?;
            call.result = again[0].result;
        }
        Ok(())
    }

    /// Gives all advice for `mappings` but that in `not_yet`. What this kernel cannot do is home's to remember.
    fn advise(&mut self, mappings: &[MappingImage], not_yet: Advice) -> Result<(), BuildError> {
        let mut given = Vec::new();
        let mut calls = Vec::new();
        for mapping in mappings {
            let advice = mapping.advice.without(not_yet);
            for call in Advice::NONE.calls_to(advice, mapping.start, mapping.length()) {
                given.push(advice);
                calls.push(call);
            }
        }
        self.scratch.run(self.guest, &self.memory, &mut calls)?;
        for (advice, call) in given.into_iter().zip(&calls) {
            if call.result < 0 {
                log::debug!("advice {advice:?} is not given: errno {}", -call.result);
                self.advice_refused = self.advice_refused.with(advice);
            }
        }
        Ok(())
    }

    /// Step 6.
    pub(super) fn guard_and_lock(&mut self) -> Result<(), BuildError> {
        let own_bytes = self.scratch.end() - self.scratch.code;
        self.image
            .limits
            .impose(self.guest, own_bytes, self.image.used_cpu_seconds)
            .map_err(|error| BuildError::Io("limiting the memory", error))?;
        const LOCKS: Advice = Advice::LOCKED.with(Advice::LOCK_ON_FAULT);
        let mut locks = Vec::new();
        for mapping in &self.image.mappings {
            let (from, to) = (mapping.advice.without(LOCKS), mapping.advice);
            locks.extend(from.calls_to(to, mapping.start, mapping.length()));
        }
        self.scratch.run(self.guest, &self.memory, &mut locks)?;
        if locks.iter().any(|call| call.result < 0) {
            log::debug!("memory that is locked at home is not locked here");
            self.advice_refused = self.advice_refused.with(LOCKS);
        }
        let mut guards: Vec<Call> = self
            .image
            .guards
            .iter()
            .flatten()
            .map(|&(start, end)| {
                Call::new(
                    number::SYS_madvise,
                    [start, end - start, GUARD_INSTALL, 0, 0, 0],
                )
            })
            .collect();
        self.scratch.run(self.guest, &self.memory, &mut guards)?;
        // A kernel that cannot make them does not tell of any either: home remembers its own.
        if let Some(call) = guards.iter().find(|call| call.result < 0) {
            log::debug!("no guard pages: errno {}", -call.result);
        }
        Ok(())
    }

    /// A part of an object's contents.
    pub fn write_object(
        &mut self,
        object: u64,
        offset: u64,
        contents: &[u8],
    ) -> Result<(), BuildError> {
        let malformed = || BuildError::Impossible("home sent contents of no object".into());
        if !(offset | contents.len() as u64).is_multiple_of(PAGE_BYTES) {
            return Err(malformed());
        }
        let known = self
            .files
            .fill(object, offset, contents)
            .map_err(|error| BuildError::Io("filling a memory file", error))?;
        if !known {
            return Err(malformed());
        }
        self.pages += contents.len() as u64 / PAGE_BYTES;
        Ok(())
    }
}

/// Whether `mappings`, which ascend, have just this one.
fn is_among(mapping: &MappingImage, mappings: &[MappingImage]) -> bool {
    let index = mappings.partition_point(|other| other.start < mapping.start);
    mappings.get(index) == Some(mapping)
}

fn map_call(mapping: &MappingImage, descriptor: impl Fn(u64) -> u64) -> Call {
    let mut flags = MAP_FIXED_NOREPLACE | MAP_NORESERVE;
    if mapping.advice.has(Advice::GROWS_DOWN) {
        flags |= MAP_GROWSDOWN;
    }
    let (sharing, descriptor, offset) = match mapping.backing {
        None if mapping.advice.has(Advice::DROPPABLE) => (MAP_DROPPABLE | MAP_ANONYMOUS, NO_FD, 0),
        None => (MAP_PRIVATE | MAP_ANONYMOUS, NO_FD, 0),
        Some(backing) => {
            let sharing = if backing.shared {
                MAP_SHARED
            } else {
                MAP_PRIVATE
            };
            (sharing, descriptor(backing.object), backing.offset)
        }
    };
    let protection = u64::from(mapping.protection);
    Call::new(
        number::SYS_mmap,
        [
            mapping.start,
            mapping.length(),
            protection,
            flags | sharing,
            descriptor,
            offset,
        ],
    )
}
