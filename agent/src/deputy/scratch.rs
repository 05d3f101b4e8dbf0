//! The deputy's scratch area: where injected code and the buffers of forwarded calls lie.
//!
//! ```text
//!   code | data (lists of calls) | slot 0 | slot 1 | ...     one slot a thread
//! ```
//!
//! It is free address space of the program at departure, is never touched by the program, and goes when
//! the program is home again. The guest has code and data at the same addresses, without slots.

use std::ops::Range;

use crate::migrate::image::PAGE_BYTES;
use crate::migrate::inject::{self, InjectError, Scratch};
use crate::migrate::process_memory::ProcessMemory;
use crate::migrate::resource_limits::Lifted;
use crate::process::maps::Mapping;
use crate::sys::blob;
use crate::sys::call_numbers as number;
use crate::sys::ptrace::ThreadId;

/// Length of the data area.
const DATA_BYTES: u64 = 1 << 20;

/// Length of a thread's slot.
const SLOT_BYTES: u64 = crate::limits::FORWARD_SCRATCH_BYTES.next_multiple_of(PAGE_BYTES);

/// Slots beyond one for each thread at departure: threads that the guest may start.
const SPARE_SLOTS: usize = 512;

/// Kept free behind the area: guests park their vDSO there while they are built.
const PARKING_BYTES: u64 = 1 << 20;

/// Where the search for free address space begins: far from where kernels place mappings by themselves.
const SEARCH_START: u64 = 0x1000_0000_0000;

/// The scratch area of a deputy.
#[derive(Clone, Debug)]
pub struct DeputyScratch {
    /// Code and data.
    pub shared: Scratch,
    slots: usize,
}

impl DeputyScratch {
    /// Finds room for a process with these mappings and this many threads.
    pub fn choose(mappings: &[Mapping], threads: usize) -> Option<DeputyScratch> {
        let slots = threads + SPARE_SLOTS;
        let needed = PAGE_BYTES + DATA_BYTES + slots as u64 * SLOT_BYTES + PARKING_BYTES;
        let mut start = SEARCH_START;
        for mapping in mappings {
            if mapping.end > start && mapping.start < start + needed {
                start = mapping.end.next_multiple_of(1 << 30);
            }
        }
        let shared = Scratch {
            code: start,
            data: start + PAGE_BYTES,
            data_bytes: DATA_BYTES,
        };
        let end = start.checked_add(needed)?;
        (end < crate::migrate::image::USER_ADDRESS_END).then_some(DeputyScratch { shared, slots })
    }

    /// Whether nothing of `mappings` is where the area shall be.
    pub fn is_free_among<'a>(&self, mut mappings: impl Iterator<Item = &'a Mapping>) -> bool {
        let (start, end) = (self.shared.code, self.range().end + PARKING_BYTES);
        mappings.all(|mapping| mapping.end <= start || end <= mapping.start)
    }

    /// The whole area.
    pub fn range(&self) -> Range<u64> {
        self.shared.code..self.shared.end() + self.slots as u64 * SLOT_BYTES
    }

    /// The slot of the thread with this index among those that have existed, if there is one.
    pub fn slot(&self, index: usize) -> Option<Range<u64>> {
        let start = self.shared.end() + index as u64 * SLOT_BYTES;
        (index < self.slots).then_some(start..start + SLOT_BYTES)
    }

    /// Maps the area into the process of `thread`, by the `syscall` instruction at `instruction`.
    pub fn map(
        &self,
        thread: ThreadId,
        instruction: u64,
        memory: &ProcessMemory,
    ) -> Result<(), ScratchError> {
        const READ_WRITE: u64 = 3;
        const READ_EXECUTE: u64 = 5;
        // MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE
        const FLAGS: u64 = 0x02 | 0x20 | 0x4000 | 0x10_0000;
        let range = self.range();
        let behind_code = self.shared.data;
        // The program's limits are for what it maps itself.
        let _lifted = Lifted::of(thread)
            .map_err(|error| ScratchError::Inject(InjectError::Kernel(thread, error)))?;
        for (start, end, protection) in [
            (range.start, behind_code, READ_EXECUTE),
            (behind_code, range.end, READ_WRITE),
        ] {
            let arguments = [start, end - start, protection, FLAGS, u64::MAX, 0];
            let stack = self.shared.code;
            let outcome = inject::call(thread, instruction, stack, number::SYS_mmap, arguments)?;
            if outcome.result != start.cast_signed() {
                return Err(ScratchError::Refused(-outcome.result));
            }
        }
        memory
            .write(self.shared.code, blob::code())
            .map_err(|error| ScratchError::Inject(InjectError::Kernel(thread, error)))
    }

    /// Removes the area; `instruction` must lie outside of it.
    pub fn unmap(&self, thread: ThreadId, instruction: u64) -> Result<(), InjectError> {
        let range = self.range();
        let arguments = [range.start, range.end - range.start, 0, 0, 0, 0];
        inject::call(thread, instruction, 0, number::SYS_munmap, arguments).map(drop)
    }
}

/// Why there is no scratch area.
#[derive(Debug)]
pub enum ScratchError {
    /// A call could not be injected.
    Inject(InjectError),
    /// The kernel refused the mapping: errno.
    Refused(i64),
}

impl std::fmt::Display for ScratchError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inject(error) => error.fmt(out),
            Self::Refused(errno) => {
                let error = std::io::Error::from_raw_os_error(*errno as i32);
                write!(
                    out,
                    "no room in the process for the engine's own memory: {error}"
                )
            }
        }
    }
}

impl std::error::Error for ScratchError {}

impl From<InjectError> for ScratchError {
    fn from(error: InjectError) -> Self {
        Self::Inject(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::maps;

    #[test]
    fn the_area_is_free_in_the_process_and_its_slots_do_not_overlap() {
        let mappings = maps::read(std::process::id()).unwrap();
        let scratch = DeputyScratch::choose(&mappings, 4).unwrap();
        let range = scratch.range();
        assert!(
            mappings
                .iter()
                .all(|mapping| { mapping.end <= range.start || mapping.start >= range.end })
        );
        let first = scratch.slot(0).unwrap();
        assert_eq!(first.start, scratch.shared.end());
        assert_eq!(scratch.slot(1).unwrap().start, first.end);
        assert_eq!(scratch.slot(4 + SPARE_SLOTS - 1).unwrap().end, range.end);
        assert!(scratch.slot(4 + SPARE_SLOTS).is_none());
    }
}
