//! Turning an empty guest into the process that left home.
//!
//! 1. The scratch area is mapped where home says; the injected code is put there.
//! 2. The empty guest's own traces go: rseq registration, robust list, descriptors, all mappings but the
//!    vDSO.
//! 3. The vDSO moves to where the program knows it.
//! 4. The program's mappings are made (`program_memory`): first from a draft, while the program still runs at
//!    home, then once more what has changed since ([`Builder::revise`]).
//! 5. (The contents arrive and are written, see [`Builder::write_pages`] and [`Builder::write_object`].)
//! 6. Limits, guard pages, locks, memory layout, signal actions.
//! 7. The other threads, with their ids (`build_threads`).
//! 8. Per thread: name, scheduling and CPUs, attributes, rseq, robust list, address to clear, alternate stack; capabilities dropped.
//! 9. No new privileges, seccomp filter, for all threads at once.
//! 10. Extended state, signal mask, registers. The guest is complete and stopped.

use std::collections::BTreeMap;
use std::io;

use crate::migrate::advice::Advice;
use crate::migrate::attributes::Attribute;
use crate::migrate::freeze;
use crate::migrate::image::{ImageError, PAGE_BYTES, ProcessImage, ThreadImage, USER_ADDRESS_END};
use crate::migrate::inject::{self, InjectError, Scratch};
use crate::migrate::process_memory::ProcessMemory;
use crate::migrate::runs::Runs;
use crate::process::maps::{self, MappingKind};
use crate::sys::blob::{self, Call};
use crate::sys::call_numbers as number;
use crate::sys::ptrace::{self, ThreadId};
use crate::sys::signal::{SIGNAL_ACTION_BYTES, SIGNAL_MAX, numbers};
use crate::sys::vdso as own_vdso;

use super::filter;
use super::memory_files::MemoryFiles;
use super::vdso::{self, VdsoPlan};

/// Why no guest could be made.
#[derive(Debug)]
pub enum BuildError {
    /// The image is not believable.
    Image(ImageError),
    /// A call could not be injected.
    Inject(InjectError),
    /// ptrace, /proc or the guest's memory refused.
    Io(&'static str, io::Error),
    /// A call of the guest failed: what it was for, and errno.
    Call(&'static str, i64),
    /// This node's kernel or CPU cannot treat a thread as home's does.
    Attribute(Attribute),
    /// The seccomp filter could not be made.
    Filter(String),
    /// The remote node cannot give the guest what it needs: one line.
    Impossible(String),
}

impl std::fmt::Display for BuildError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Image(error) => error.fmt(out),
            Self::Inject(error) => error.fmt(out),
            Self::Io(what, error) => write!(out, "{what} of the guest failed: {error}"),
            Self::Call(what, errno) => {
                let error = io::Error::from_raw_os_error(*errno as i32);
                write!(out, "the guest could not be built: {what} failed: {error}")
            }
            Self::Attribute(attribute) => write!(
                out,
                "this node cannot treat the program as its prctl(2) or arch_prctl(2) asks: {attribute:?}"
            ),
            Self::Filter(cause) => write!(out, "no seccomp filter for the guest: {cause}"),
            Self::Impossible(text) => out.write_str(text),
        }
    }
}

impl std::error::Error for BuildError {}

impl From<InjectError> for BuildError {
    fn from(error: InjectError) -> Self {
        Self::Inject(error)
    }
}

const PROT_READ_WRITE: u64 = 3;
const PROT_READ_EXECUTE: u64 = 5;
const MAP_PRIVATE: u64 = 0x02;
const MAP_ANONYMOUS: u64 = 0x20;
const MAP_NORESERVE: u64 = 0x4000;
const MAP_FIXED_NOREPLACE: u64 = 0x10_0000;

/// No descriptor.
pub(super) const NO_FD: u64 = u64::MAX;

/// Longest code of a vDSO, in bytes.
const VDSO_BYTES_MAX: usize = 64 << 10;

/// A guest under construction.
pub struct Builder {
    pub(super) guest: ThreadId,
    pub(super) memory: ProcessMemory,
    pub(super) scratch: Scratch,
    pub(super) image: Box<ProcessImage>,
    pub(super) files: MemoryFiles,
    /// Advice that this kernel cannot give.
    pub(super) advice_refused: Advice,
    pub(super) possible_cpus: u32,
    /// The seccomp filter that it will have.
    filter: Vec<u8>,
    /// The guest's descriptors for its memory files, by object.
    pub(super) descriptors: BTreeMap<u64, u64>,
    pub(super) pages: u64,
    /// Addresses of the pages written so far.
    sent: Runs,
}

/// A guest's thread: as this node numbers it, and its image.
pub struct BuiltThread {
    /// This node's number.
    pub thread: ThreadId,
    /// What it is to be.
    pub image: ThreadImage,
}

/// A complete guest, stopped.
pub struct Built {
    /// Its threads, the leader first.
    pub threads: Vec<BuiltThread>,
    /// Its memory.
    pub memory: ProcessMemory,
    /// What of it was sent with it.
    pub sent: Runs,
    /// What stands behind its mappings.
    pub files: MemoryFiles,
    /// What of the image this kernel cannot do: see [`ProcessImage`].
    pub advice_refused: Advice,
    /// Number of CPUs that home's kernel can have.
    pub possible_cpus: u32,
    /// What it was made from; its threads have been moved to `threads`.
    pub image: ProcessImage,
}

impl Builder {
    /// Steps 1 to 4. The image may be a draft; then [`Self::revise`] is to follow.
    pub fn start(
        guest: ThreadId,
        image: Box<ProcessImage>,
        scratch: Scratch,
        possible_cpus: u32,
    ) -> Result<Builder, BuildError> {
        image.validate_memory().map_err(BuildError::Image)?;
        let memory = ProcessMemory::open(guest).map_err(|error| BuildError::Io("memory", error))?;
        let filter = filter::program().map_err(|error| BuildError::Filter(error.to_string()))?;
        let mut builder = Builder {
            guest,
            memory,
            scratch,
            image,
            files: MemoryFiles::default(),
            advice_refused: Advice::NONE,
            possible_cpus,
            filter,
            descriptors: BTreeMap::new(),
            pages: 0,
            sent: Runs::default(),
        };
        builder.map_scratch()?;
        builder.strip()?;
        builder.place_vdso()?;
        builder.map_program(&[])?;
        Ok(builder)
    }

    /// Takes the process's image in place of the draft, and maps what the draft has not.
    pub fn revise(&mut self, image: Box<ProcessImage>, scratch: Scratch) -> Result<(), BuildError> {
        if scratch != self.scratch || image.vdso != self.image.vdso || image.pid != self.image.pid {
            return Err(BuildError::Impossible(
                "home has sent another process than it had announced".into(),
            ));
        }
        image.validate_memory().map_err(BuildError::Image)?;
        let draft = std::mem::replace(&mut self.image, image);
        self.pages = 0;
        self.map_program(&draft.mappings)
    }

    fn map_scratch(&self) -> Result<(), BuildError> {
        let Scratch {
            code,
            data,
            data_bytes,
        } = self.scratch;
        if code % PAGE_BYTES != 0
            || data != code + PAGE_BYTES
            || self.scratch.end() > USER_ADDRESS_END
        {
            return Err(BuildError::Impossible(
                "home's scratch area is malformed".into(),
            ));
        }
        let instruction = own_syscall_instruction(self.guest, &self.memory)?;
        for (start, length, protection) in [
            (code, PAGE_BYTES, PROT_READ_EXECUTE),
            (data, data_bytes, PROT_READ_WRITE),
        ] {
            let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE;
            let arguments = [start, length, protection, flags, NO_FD, 0];
            let outcome = inject::call(self.guest, instruction, 0, number::SYS_mmap, arguments)?;
            expect(
                outcome.result,
                start.cast_signed(),
                "mapping the scratch area",
            )?;
        }
        self.write(code, blob::code())
    }

    fn strip(&self) -> Result<(), BuildError> {
        const RSEQ_FLAG_UNREGISTER: u64 = 1;
        const ROBUST_LIST_HEAD_BYTES: u64 = 24;
        let mut calls = Vec::new();
        let rseq = ptrace::rseq_configuration(self.guest)
            .map_err(|error| BuildError::Io("the rseq registration", error))?;
        if let Some(rseq) = rseq {
            let (size, signature) = (u64::from(rseq.size_bytes), u64::from(rseq.signature));
            let arguments = [rseq.address, size, RSEQ_FLAG_UNREGISTER, signature, 0, 0];
            calls.push(Call::new(number::SYS_rseq, arguments));
        }
        calls.push(Call::new(
            number::SYS_set_robust_list,
            [0, ROBUST_LIST_HEAD_BYTES, 0, 0, 0, 0],
        ));
        calls.push(Call::new(
            number::SYS_close_range,
            [0, u64::from(u32::MAX), 0, 0, 0, 0],
        ));
        for mapping in self.mappings()? {
            if !mapping.kind.is_kernel_provided() && !self.scratch.contains(mapping.start) {
                let arguments = [mapping.start, mapping.end - mapping.start, 0, 0, 0, 0];
                calls.push(Call::new(number::SYS_munmap, arguments));
            }
        }
        self.run_all(&mut calls, "emptying it")
    }

    fn place_vdso(&self) -> Result<(), BuildError> {
        if self.image.vdso.code.len() > VDSO_BYTES_MAX {
            return Err(BuildError::Impossible(
                "home's vDSO is larger than any known".into(),
            ));
        }
        let own: Vec<_> = self
            .mappings()?
            .into_iter()
            .filter(|mapping| {
                mapping.kind.is_kernel_provided() && mapping.kind != MappingKind::Vsyscall
            })
            .collect();
        let parking = self.scratch.end() + PAGE_BYTES;
        match vdso::plan(&own, &self.image.vdso, &self.memory, parking) {
            VdsoPlan::Move(mut calls) => self.run_all(&mut calls, "moving the vDSO"),
            VdsoPlan::Replace {
                mut calls,
                start,
                code,
            } => {
                self.run_all(&mut calls, "replacing the vDSO")?;
                self.write(start, &code)
            }
        }
    }

    /// Step 5: some of the program's pages.
    pub fn write_pages(&mut self, address: u64, contents: &[u8]) -> Result<(), BuildError> {
        let malformed = || BuildError::Impossible("home sent pages outside the program".into());
        if contents.is_empty() || !(address | contents.len() as u64).is_multiple_of(PAGE_BYTES) {
            return Err(malformed());
        }
        let mut at = address;
        let end = address
            .checked_add(contents.len() as u64)
            .ok_or_else(malformed)?;
        while at < end {
            at = self.image.mapping_at(at).ok_or_else(malformed)?.end;
        }
        self.write(address, contents)?;
        self.pages += contents.len() as u64 / PAGE_BYTES;
        self.sent.add(address..end);
        Ok(())
    }

    /// Number of pages written so far.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// Steps 6 to 10. `choose_next_id` is not needed: while the guest has its capabilities it chooses
    /// its threads' ids by clone3(2).
    pub fn finish(mut self) -> Result<Built, BuildError> {
        self.image.validate().map_err(BuildError::Image)?;
        self.close_files()?;
        self.guard_and_lock()?;
        self.settle_process()?;
        self.register_barriers()?;
        let threads = self.start_threads()?;
        self.settle_threads(&threads)?;
        self.confine()?;
        for thread in &threads {
            thread.restore_registers()?;
        }
        Ok(Built {
            threads,
            memory: self.memory,
            sent: self.sent,
            files: self.files,
            advice_refused: self.advice_refused,
            possible_cpus: self.possible_cpus,
            image: *self.image,
        })
    }

    fn settle_process(&self) -> Result<(), BuildError> {
        const PR_SET_MM: u64 = 35;
        const PR_SET_MM_MAP: u64 = 14;
        const MM_MAP_BYTES: u64 = 13 * 8;
        const NO_EXE_FD: u64 = 0xffff_ffff << 32;
        let actions_at = self.scratch.data;
        let action_bytes = SIGNAL_ACTION_BYTES as u64;
        let layout_at = actions_at + SIGNAL_MAX as u64 * action_bytes;

        let layout = self.image.memory_layout;
        let words = [
            layout.start_code,
            layout.end_code,
            layout.start_data,
            layout.end_data,
            layout.start_brk,
            layout.brk,
            layout.start_stack,
            layout.argument_start,
            layout.argument_end,
            layout.environment_start,
            layout.environment_end,
            0,
            NO_EXE_FD,
        ];
        self.write(layout_at, &words.map(u64::to_le_bytes).concat())?;
        let arguments = [PR_SET_MM, PR_SET_MM_MAP, layout_at, MM_MAP_BYTES, 0, 0];
        let mut calls = vec![Call::new(number::SYS_prctl, arguments)];

        let mut action_table = Vec::new();
        for (signal, action) in (1..).zip(&self.image.signal_actions) {
            action_table.extend_from_slice(&action.to_bytes());
            if signal != numbers::SIGKILL && signal != numbers::SIGSTOP {
                let at = actions_at + (signal as u64 - 1) * action_bytes;
                let arguments = [signal as u64, at, 0, size_of::<u64>() as u64, 0, 0];
                calls.push(Call::new(number::SYS_rt_sigaction, arguments));
            }
        }
        self.write(actions_at, &action_table)?;

        self.run_all(&mut calls, "restoring its memory layout and signal actions")
    }

    /// A kernel that lacks a kind of barrier will refuse it to the guest, too.
    fn register_barriers(&self) -> Result<(), BuildError> {
        let wanted = self.image.barriers;
        let mut calls: Vec<Call> = (0..u32::BITS)
            .map(|bit| 1 << bit)
            .filter(|command| wanted & command != 0)
            .map(|command: u32| Call::new(number::SYS_membarrier, [command.into(), 0, 0, 0, 0, 0]))
            .collect();
        self.scratch.run(self.guest, &self.memory, &mut calls)?;
        for call in calls.iter().filter(|call| call.result < 0) {
            log::debug!(
                "no barriers {:#x}: errno {}",
                call.arguments[0],
                -call.result
            );
        }
        Ok(())
    }

    fn confine(&self) -> Result<(), BuildError> {
        const PR_SET_NO_NEW_PRIVS: u64 = 38;
        const SECCOMP_SET_MODE_FILTER: u64 = 1;
        const SECCOMP_FILTER_FLAG_TSYNC: u64 = 1;
        let program = &self.filter;
        let header_at = self.scratch.data;
        let program_at = header_at + 16;
        // struct sock_fprog: count (u16, padded to a pointer), address.
        let header = [(program.len() / 8) as u64, program_at];
        self.write(header_at, &header.map(u64::to_le_bytes).concat())?;
        self.write(program_at, program)?;
        let filter_arguments = [
            SECCOMP_SET_MODE_FILTER,
            SECCOMP_FILTER_FLAG_TSYNC,
            header_at,
            0,
            0,
            0,
        ];
        let mut calls = [
            Call::new(number::SYS_prctl, [PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0]),
            Call::new(number::SYS_seccomp, filter_arguments),
        ];
        self.run_all(&mut calls, "confining it")
    }

    fn mappings(&self) -> Result<Vec<maps::Mapping>, BuildError> {
        maps::read(self.guest.cast_unsigned())
            .map_err(|error| BuildError::Impossible(error.to_string()))
    }

    pub(super) fn write(&self, address: u64, bytes: &[u8]) -> Result<(), BuildError> {
        self.memory
            .write(address, bytes)
            .map_err(|error| BuildError::Io("writing memory", error))
    }

    /// Runs calls of which each must succeed.
    pub(super) fn run_all(&self, calls: &mut [Call], what: &'static str) -> Result<(), BuildError> {
        self.scratch.run(self.guest, &self.memory, calls)?;
        match calls.iter().find(|call| (-4095..0).contains(&call.result)) {
            Some(call) => Err(BuildError::Call(what, -call.result)),
            None => Ok(()),
        }
    }
}

pub(super) fn expect(result: i64, wanted: i64, what: &'static str) -> Result<(), BuildError> {
    if result == wanted {
        Ok(())
    } else {
        Err(BuildError::Call(what, -result))
    }
}

/// A `syscall` instruction in the guest's own vDSO.
fn own_syscall_instruction(guest: ThreadId, memory: &ProcessMemory) -> Result<u64, BuildError> {
    let range = freeze::vdso_range(guest).unwrap_or_default();
    let mut code = vec![0; (range.end - range.start) as usize];
    memory
        .read(range.start, &mut code)
        .map_err(|error| BuildError::Io("reading the vDSO", error))?;
    own_vdso::find_syscall_instruction(&code)
        .map(|offset| range.start + offset as u64)
        .ok_or_else(|| BuildError::Impossible("this node's vDSO has no syscall instruction".into()))
}
