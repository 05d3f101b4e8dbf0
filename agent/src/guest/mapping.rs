//! mmap(2) and mremap(2) of what is not the guest's alone, and locking memory.
//!
//! A file is mapped on both sides at the same address: at home the file itself, here a memory file
//! with its contents:
//!
//! 1. Room is kept at the address that this kernel chooses; home is asked to map the file there (`Map`).
//! 2. Home has: a memory file is made (`Object`), its contents arrive (`ObjectPages`).
//! 3. The call returns at home: the memory file is mapped in place of the room, and the thread goes on.
//!
//! Shared memory without a file is made here at once, and then at home.

use crate::migrate::image::{ObjectImage, PAGE_BYTES};
use crate::process::maps::{self, Mapping};
use crate::sys::call_numbers as number;
use crate::sys::ptrace::{self, ThreadId};
use crate::sys::signal::SignalSet;
use crate::wire::migration::{MappedLine, Remapped, ToDeputy};

use super::program_memory::{MEMORY_FILE_NAME, MFD_CLOEXEC};
use super::stay::{Next, Stay};
use super::threads::{Completion, MapFile, ThreadState};
use super::trap::Trap;
use super::trouble::Trouble;

const MAP_TYPE: u64 = 0x0f;
const MAP_SHARED: u64 = 0x01;
const MAP_PRIVATE: u64 = 0x02;
const MAP_SHARED_VALIDATE: u64 = 0x03;
const MAP_FIXED: u64 = 0x10;
const MAP_ANONYMOUS: u64 = 0x20;
const MAP_GROWSDOWN: u64 = 0x100;
const MAP_LOCKED: u64 = 0x2000;
const MAP_NORESERVE: u64 = 0x4000;
const MAP_HUGETLB: u64 = 0x4_0000;
const MAP_FIXED_NOREPLACE: u64 = 0x10_0000;
const PROT_NONE: u64 = 0;
const PROT_WRITE: u64 = 2;

const EPERM: i64 = -1;
const EAGAIN: i64 = -11;
const ENOMEM: i64 = -12;

/// Whether a call's result is an error.
fn is_error(result: i64) -> bool {
    (-4095..0).contains(&result)
}

impl Stay<'_> {
    /// mmap(2) that is not of ordinary private memory.
    pub(super) fn map(&mut self, trap: &Trap) -> Result<Next, Trouble> {
        let [_, _, protection, flags, ..] = trap.arguments;
        if flags & MAP_HUGETLB != 0 {
            return self.go_home_for(trap, "it maps pages of hugetlbfs".to_owned());
        }
        match (flags & MAP_ANONYMOUS != 0, flags & MAP_TYPE) {
            (true, MAP_SHARED) => self.map_shared_memory(trap),
            (true, _) if flags & MAP_LOCKED != 0 => self.lock(trap),
            (true, _) => self.run_here(trap),
            (false, MAP_PRIVATE) if flags & MAP_GROWSDOWN == 0 => self.map_file(trap),
            // What is only read is as good as private; home looks whether it could be written.
            (false, MAP_SHARED | MAP_SHARED_VALIDATE) if protection & PROT_WRITE == 0 => {
                self.map_file(trap)
            }
            (false, _) => self.go_home_for(
                trap,
                "it maps a file that it may write to, shared".to_owned(),
            ),
        }
    }

    fn map_shared_memory(&mut self, trap: &Trap) -> Result<Next, Trouble> {
        let registers = self.finish_here(trap.thread)?;
        if is_error(registers.result()) {
            return self.run_here(trap);
        }
        let [_, length, protection, flags, ..] = trap.arguments;
        let (start, length) = (registers.rax, length.next_multiple_of(PAGE_BYTES));
        let mapping = self.mapping_at(start)?.ok_or_else(|| {
            Trouble::Protocol("the guest's new shared memory is not there".to_owned())
        })?;
        let leader = self.guest.leader;
        let files = &mut self.guest.files;
        files.forget_unmapped(leader);
        let object = files.next_number();
        let image = ObjectImage {
            number: object,
            size_bytes: length,
        };
        files.register(mapping.inode, image);
        files.note_mapped(start, length);
        files.note_shared();
        let completion = Completion::MapShared { start, length };
        let arguments = [length, protection, flags, u64::MAX, 0];
        self.ask_to_map(trap, completion, start, arguments, object)
    }

    /// Step 1.
    fn map_file(&mut self, trap: &Trap) -> Result<Next, Trouble> {
        let [address, length, protection, flags, descriptor, offset] = trap.arguments;
        let start = if flags & MAP_FIXED != 0 {
            // What is there stays until home has mapped the file.
            address
        } else {
            let flags = flags & !MAP_TYPE | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
            let arguments = [address, length, PROT_NONE, flags, u64::MAX, 0];
            let start = self.inject(trap.thread, number::SYS_mmap, arguments)?;
            if is_error(start) {
                return self.resume_with(trap.thread, start);
            }
            start.cast_unsigned()
        };
        let leader = self.guest.leader;
        self.guest.files.forget_unmapped(leader);
        let object = self.guest.files.next_number();
        let length = length.next_multiple_of(PAGE_BYTES);
        let completion = Completion::MapFile(MapFile {
            start,
            length,
            protection,
            flags,
            offset,
            object,
        });
        let arguments = [length, protection, flags, descriptor, offset];
        self.ask_to_map(trap, completion, start, arguments, object)
    }

    fn ask_to_map(
        &mut self,
        trap: &Trap,
        completion: Completion,
        start: u64,
        mut arguments: [u64; 5],
        object: u64,
    ) -> Result<Next, Trouble> {
        arguments[2] = arguments[2] & !MAP_FIXED_NOREPLACE | MAP_FIXED;
        let mask = self.current_mask(trap.thread)?;
        let call = self.next_call();
        self.await_return(trap, call, None, completion);
        let header = ToDeputy::Map {
            tid: trap.tid,
            call,
            start,
            arguments,
            object,
            mask,
        };
        self.tell(&header, &[])?;
        Ok(Next::Continue)
    }

    /// Step 2: home has mapped what the thread asked for.
    pub(super) fn on_object(&mut self, tid: i32, object: ObjectImage) -> Result<(), Trouble> {
        let unknown = || Trouble::Protocol(format!("thread {tid} maps nothing"));
        let known = self.guest.by_tid(tid).ok_or_else(unknown)?;
        let thread = known.thread;
        let is_asked_for = matches!(&known.state, ThreadState::AwaitingReturn(pending)
            if matches!(&pending.completion, Completion::MapFile(map) if map.object == object.number));
        if !is_asked_for || i64::try_from(object.size_bytes).is_err() {
            return Err(unknown());
        }
        let name_at = self.guest.scratch.data;
        self.guest.memory.write(name_at, MEMORY_FILE_NAME)?;
        let arguments = [name_at, MFD_CLOEXEC, 0, 0, 0, 0];
        let descriptor = self.inject(thread, number::SYS_memfd_create, arguments)?;
        let descriptor = u64::try_from(descriptor).map_err(|_| refused(descriptor))?;
        let arguments = [descriptor, object.size_bytes, 0, 0, 0, 0];
        let sized = self.inject(thread, number::SYS_ftruncate, arguments)?;
        if sized < 0 {
            return Err(refused(sized));
        }
        self.guest.files.adopt(thread, descriptor, object)?;
        Ok(())
    }

    /// Step 3, or its failure.
    pub(super) fn map_returned(
        &mut self,
        thread: ThreadId,
        map: MapFile,
        result: i64,
    ) -> Result<Next, Trouble> {
        let filled = self.guest.files.filled(map.object);
        let mut mapped = result;
        if let Some(filling) = &filled {
            if !is_error(result) {
                let flags = map.flags & !(MAP_TYPE | MAP_FIXED_NOREPLACE)
                    | MAP_PRIVATE
                    | MAP_FIXED
                    | MAP_NORESERVE;
                let MapFile {
                    start,
                    length,
                    protection,
                    offset,
                    ..
                } = map;
                let arguments = [start, length, protection, flags, filling.descriptor, offset];
                mapped = self.inject(thread, number::SYS_mmap, arguments)?;
                self.guest.files.note_mapped(start, length);
            }
            let arguments = [filling.descriptor, 0, 0, 0, 0, 0];
            self.inject(thread, number::SYS_close, arguments)?;
        }
        if !is_error(result) && mapped != map.start.cast_signed() {
            return Err(refused(mapped));
        }
        if is_error(result) {
            self.give_up_room(thread, map)?;
        }
        self.resume_with(thread, result)
    }

    /// The file was not mapped.
    pub(super) fn give_up_room(&mut self, thread: ThreadId, map: MapFile) -> Result<(), Trouble> {
        if map.flags & MAP_FIXED == 0 {
            self.unmap(thread, map.start, map.length)?;
        }
        Ok(())
    }

    /// Home has made the shared memory, or could not.
    pub(super) fn shared_map_returned(
        &mut self,
        thread: ThreadId,
        (start, length): (u64, u64),
        result: i64,
    ) -> Result<Next, Trouble> {
        if is_error(result) {
            self.unmap(thread, start, length)?;
        }
        self.resume_with(thread, result)
    }

    /// mremap(2): ordinary memory is the guest's own affair, all else is moved on both sides.
    pub(super) fn remap(&mut self, trap: &Trap) -> Result<Next, Trouble> {
        const MREMAP_DONTUNMAP: u64 = 4;
        let [old_start, old_length, new_length, flags, ..] = trap.arguments;
        if !self.guest.files.may_be_at(old_start, old_length) {
            return self.run_here(trap);
        }
        let mapping = self.mapping_at(old_start)?;
        let Some(mapping) = mapping.filter(|mapping| self.guest.files.number_of(mapping).is_some())
        else {
            return self.run_here(trap);
        };
        let old_length = old_length.next_multiple_of(PAGE_BYTES);
        let new_length = new_length.next_multiple_of(PAGE_BYTES);
        if new_length > old_length && !mapping.shared {
            // The memory file has only what was mapped of the file.
            return self.go_home_for(trap, "it maps more of a file (mremap)".to_owned());
        }
        let registers = self.finish_here(trap.thread)?;
        if is_error(registers.result()) {
            return self.run_here(trap);
        }
        let change = Remapped {
            old_start,
            old_length,
            new_length,
            new_start: registers.rax,
            stays: flags & MREMAP_DONTUNMAP != 0,
        };
        self.guest.files.note_mapped(change.new_start, new_length);
        let mask = self.current_mask(trap.thread)?;
        let call = self.next_call();
        let completion = Completion::Made(registers.rax);
        self.await_return(trap, call, None, completion);
        let header = ToDeputy::Remap {
            tid: trap.tid,
            call,
            change,
            mask,
        };
        self.tell(&header, &[])?;
        Ok(Next::Continue)
    }

    /// Locks memory here. Whether this node refuses is of no interest: home decides then.
    pub(super) fn lock(&mut self, trap: &Trap) -> Result<Next, Trouble> {
        let registers = self.finish_here(trap.thread)?;
        if [EPERM, EAGAIN, ENOMEM].contains(&registers.result()) {
            let cause = "it locks memory, which this node does not let it".to_owned();
            return self.go_home_for(trap, cause);
        }
        self.run_here(trap)
    }

    /// Tells home what the guest has mapped.
    pub(super) fn on_ask_mappings(&mut self, tid: i32, call: u64) -> Result<Next, Trouble> {
        let mappings = maps::read(self.guest.leader.cast_unsigned())
            .map_err(|error| Trouble::Protocol(error.to_string()))?;
        let guest = &*self.guest;
        let is_programs = |mapping: &&Mapping| {
            !mapping.kind.is_kernel_provided()
                && !guest.scratch.contains(mapping.start)
                && !guest
                    .kernel_ranges
                    .iter()
                    .any(|range| range.contains(&mapping.start))
        };
        let lines = mappings.iter().filter(is_programs);
        let lines = lines
            .map(|mapping| MappedLine::of(mapping, guest.files.number_of(mapping)))
            .collect();
        self.tell(&ToDeputy::Mappings { tid, call, lines }, &[])?;
        Ok(Next::Continue)
    }

    /// Whether the guest has anything mapped that a child of it would share.
    pub(super) fn has_shared_memory(&self) -> Result<bool, Trouble> {
        if !self.guest.files.may_be_shared() {
            return Ok(false);
        }
        let mappings = maps::read(self.guest.leader.cast_unsigned())
            .map_err(|error| Trouble::Protocol(error.to_string()))?;
        let files = &self.guest.files;
        let is_shared = |mapping: &Mapping| mapping.shared && files.number_of(mapping).is_some();
        Ok(mappings.iter().any(is_shared))
    }

    fn mapping_at(&self, address: u64) -> Result<Option<Mapping>, Trouble> {
        let mappings = maps::read(self.guest.leader.cast_unsigned())
            .map_err(|error| Trouble::Protocol(error.to_string()))?;
        let index = mappings.partition_point(|mapping| mapping.end <= address);
        let found = mappings.into_iter().nth(index);
        Ok(found.filter(|mapping| mapping.start <= address))
    }

    fn unmap(&mut self, thread: ThreadId, start: u64, length: u64) -> Result<(), Trouble> {
        let arguments = [start, length, 0, 0, 0, 0];
        self.inject(thread, number::SYS_munmap, arguments)?;
        Ok(())
    }

    /// Executes one call in a thread that stands at a trapped one.
    fn inject(&mut self, thread: ThreadId, call: i64, arguments: [u64; 6]) -> Result<i64, Trouble> {
        let mask = ptrace::signal_mask(thread)?;
        ptrace::set_signal_mask(thread, SignalSet::ALL)?;
        let result = self.guest.scratch.call(thread, call, arguments)?;
        ptrace::set_signal_mask(thread, mask)?;
        Ok(result)
    }
}

/// This node's kernel has refused what home's has done.
fn refused(result: i64) -> Trouble {
    Trouble::Io(std::io::Error::from_raw_os_error(-result as i32))
}
