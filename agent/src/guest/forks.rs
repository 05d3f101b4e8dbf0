//! Threads and processes that a guest makes: first at home, then here, with the same id.
//!
//! 1. The call is taken apart; what neither side can do here goes home.
//! 2. Home makes the thread or the process in the deputy, and answers with its id.
//! 3. The next id of the guest's pid namespace is set to it, and the guest makes its call here.
//!
//! A new process is a guest of the same supervisor: it has inherited the filter, the sandbox and its
//! tracer. On this node it is the supervisor's child and sends no signal when it ends: its parent's
//! wait(2) and SIGCHLD are home's affair. After vfork(2) the two share their memory, as natively.

use std::io;
use std::time::Instant;

use crate::migrate::capture::restart;
use crate::migrate::image::USER_ADDRESS_END;
use crate::migrate::process_memory::ProcessMemory;
use crate::sys::call_numbers as number;
use crate::sys::ptrace::{self, CallPhase, ThreadId};
use crate::sys::registers::{NO_CALL, Registers};
use crate::sys::signal::{SignalAction, SignalSet};
use crate::sys::wait::{self, Report, Stop};
use crate::wire::migration::ToDeputy;

use super::lasting::LastingAnswers;
use super::stay::{Next, Stay};
use super::threads::{Completion, Guest, GuestThread, Journey, ThreadState, Vfork};
use super::trap::Trap;
use super::trouble::Trouble;

/// Flags of clone(2).
pub mod flags {
    /// The memory is shared.
    pub const VM: u64 = 0x100;
    /// Working directory, root and umask are shared.
    pub const FS: u64 = 0x200;
    /// The descriptors are shared.
    pub const FILES: u64 = 0x400;
    /// The signal actions are shared.
    pub const SIGHAND: u64 = 0x800;
    /// The caller waits until the child has let go of the memory.
    pub const VFORK: u64 = 0x4000;
    /// The caller's parent is the child's, too.
    pub const PARENT: u64 = 0x8000;
    /// A thread of the same process.
    pub const THREAD: u64 = 0x10000;
    /// The semaphore adjustments are shared.
    pub const SYSVSEM: u64 = 0x40000;
    /// Has its own thread-local storage.
    pub const SETTLS: u64 = 0x80000;
    /// Its id is stored in the caller's memory.
    pub const PARENT_SETTID: u64 = 0x10_0000;
    /// Its id is cleared when it ends.
    pub const CHILD_CLEARTID: u64 = 0x20_0000;
    /// Ignored by every kernel since 2.6.
    pub const DETACHED: u64 = 0x40_0000;
    /// Its id is stored in its memory.
    pub const CHILD_SETTID: u64 = 0x100_0000;
    /// The I/O context is shared.
    pub const IO: u64 = 0x8000_0000;
    /// Handled signals get their default action (clone3(2) only).
    pub const CLEAR_SIGHAND: u64 = 0x1_0000_0000;
}

/// What makes a thread.
const THREAD: u64 = flags::VM | flags::FS | flags::FILES | flags::SIGHAND | flags::THREAD;

/// What concerns only the guest's memory and registers: its own kernel does it.
const DONE_HERE: u64 = flags::SETTLS
    | flags::PARENT_SETTID
    | flags::CHILD_CLEARTID
    | flags::DETACHED
    | flags::CHILD_SETTID;

/// What concerns a new process at home, and there only.
pub const DONE_AT_HOME: u64 =
    flags::FS | flags::FILES | flags::PARENT | flags::IO | flags::SYSVSEM | flags::CLEAR_SIGHAND;

/// The signal of clone(2), in the flags' lowest bits.
const SIGNAL_BITS: u64 = 0xff;

/// What a call asks for, in the terms of clone3(2).
struct CloneRequest {
    flags: u64,
    exit_signal: u64,
}

impl CloneRequest {
    fn is_thread(&self) -> bool {
        self.flags & THREAD == THREAD && self.flags & !(THREAD | flags::SYSVSEM | DONE_HERE) == 0
    }

    /// A process of its own. One that shares its parent's memory for longer than a vfork(2) could not be
    /// put together again at home.
    fn is_process(&self) -> bool {
        const VFORK: u64 = flags::VM | flags::VFORK;
        let sharing = self.flags & VFORK;
        self.flags & !(VFORK | DONE_HERE | DONE_AT_HOME) == 0 && sharing != flags::VM
    }
}

impl Stay<'_> {
    /// clone(2), clone3(2), fork(2) or vfork(2).
    pub(super) fn clone_guest(&mut self, trap: &Trap) -> Result<Next, Trouble> {
        let request = self.clone_request(trap);
        let Some(request) = request.filter(|known| known.is_thread() || known.is_process()) else {
            let cause = "it makes a process of a kind that is made on the home node";
            return self.go_home_for(trap, cause.to_owned());
        };
        if !request.is_thread() && self.guest.memory_follows {
            // The kernel would give the child zeros for what has not come (userfaultfd(2) is not inherited).
            return self.wait_for_memory(trap);
        }
        if !request.is_thread() && self.has_shared_memory()? {
            // Each of the two would go home with contents of its own, at a time of its own.
            let cause = "it makes a process that has its shared memory, too";
            return self.go_home_for(trap, cause.to_owned());
        }
        let (tid, mask, call) = (trap.tid, self.current_mask(trap.thread)?, self.next_call());
        if request.is_thread() {
            self.await_return(trap, call, None, Completion::StartThread);
            let header = ToDeputy::StartThread { tid, call, mask };
            self.tell(&header, &[])?;
        } else {
            self.await_return(trap, call, None, Completion::Fork);
            let header = ToDeputy::Fork {
                tid,
                call,
                flags: request.flags & DONE_AT_HOME,
                exit_signal: request.exit_signal,
                mask,
            };
            self.tell(&header, &[])?;
        }
        Ok(Next::Continue)
    }

    /// The thread makes its call when all memory has come.
    pub(super) fn wait_for_memory(&mut self, trap: &Trap) -> Result<Next, Trouble> {
        let mut registers = trap.registers;
        registers.rewind_to_call(trap.number);
        ptrace::set_registers(trap.thread, &registers)?;
        self.set_state(trap.thread, ThreadState::Held);
        Ok(Next::Continue)
    }

    fn clone_request(&self, trap: &Trap) -> Option<CloneRequest> {
        const SIGCHLD: u64 = 17;
        let request = match trap.number.cast_signed() {
            number::SYS_fork => CloneRequest {
                flags: 0,
                exit_signal: SIGCHLD,
            },
            number::SYS_vfork => CloneRequest {
                flags: flags::VM | flags::VFORK,
                exit_signal: SIGCHLD,
            },
            number::SYS_clone => {
                let flags = trap.arguments[0] & u64::from(u32::MAX) & !SIGNAL_BITS;
                // A sibling sends what its maker would send; clone3(2) insists that nothing else is said.
                let is_sibling = flags & flags::PARENT != 0;
                let exit_signal = trap.arguments[0] & SIGNAL_BITS;
                CloneRequest {
                    flags,
                    exit_signal: if is_sibling { 0 } else { exit_signal },
                }
            }
            number::SYS_clone3 => {
                let words = self.clone3_arguments(trap.arguments)?;
                let has_more = words[CLONE3_WORDS_KNOWN..].iter().any(|&word| word != 0);
                if has_more || !is_valid_clone3(&words) {
                    // Chosen ids and cgroups are home's, and so are refusals.
                    return None;
                }
                CloneRequest {
                    flags: words[0],
                    exit_signal: words[4],
                }
            }
            _ => return None,
        };
        Some(request)
    }

    /// `struct clone_args` as the program gave it; words that it left out are 0.
    fn clone3_arguments(&self, arguments: [u64; 6]) -> Option<[u64; CLONE3_WORDS]> {
        let [at, size, ..] = arguments;
        let length = usize::try_from(size).ok()?;
        if !length.is_multiple_of(8) || !(CLONE3_BYTES_MIN..=CLONE3_WORDS * 8).contains(&length) {
            return None;
        }
        let mut bytes = [0; CLONE3_WORDS * 8];
        self.guest
            .memory
            .read_as_program(at, &mut bytes[..length])
            .ok()?;
        let mut words = [0; CLONE3_WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Some(words)
    }

    /// Home has made the thread `tid`: makes it here, with the same id.
    pub(super) fn start_thread_here(
        &mut self,
        parent: ThreadId,
        tid: i32,
    ) -> Result<Next, Trouble> {
        let mask = block_all(parent)?;
        self.sandbox.choose_next_id(tid).map_err(io::Error::other)?;
        let thread = self.make(parent, tid)?;
        self.await_call_exit(parent)?;
        ptrace::set_signal_mask(parent, mask)?;
        self.adopt_thread(thread, tid, mask)?;
        self.guest.run(parent, 0)?;
        Ok(Next::Continue)
    }

    /// Home has made the process `pid`: makes it here, with the same id.
    pub(super) fn fork_here(&mut self, parent: ThreadId, pid: i32) -> Result<Next, Trouble> {
        let before = ptrace::registers(parent)?;
        let (number, arguments) = (before.orig_rax, before.arguments());
        let known = self.guest.by_thread(parent);
        let tid = known.map_or(0, |known| known.tid);
        let request = self.clone_request(&Trap {
            thread: parent,
            tid,
            registers: before,
            number,
            arguments,
        });
        let Some(request) = request else {
            return Err(Trouble::Protocol(
                "a fork has changed while home was making it".to_owned(),
            ));
        };
        let mask = block_all(parent)?;
        self.sandbox.choose_next_id(pid).map_err(io::Error::other)?;
        self.enter_clone(parent, before, &request)?;
        let child = self.make(parent, pid)?;
        match wait::wait_for(child)? {
            Report::Stopped(_) => {}
            Report::Exited(_) | Report::Killed(_) => return Err(Trouble::GuestGone),
        }
        let mut registers = ptrace::registers(child)?;
        registers.set_arguments(arguments);
        registers.rax = 0;
        registers.orig_rax = NO_CALL;
        ptrace::set_registers(child, &registers)?;
        ptrace::set_signal_mask(child, mask)?;
        let mut new = self.new_guest(child, pid, &request, mask)?;
        if request.flags & flags::VFORK != 0 {
            let vfork = Vfork {
                child: pid,
                registers: before,
                mask,
                began: Instant::now(),
            };
            self.set_state(parent, ThreadState::InVfork(Box::new(vfork)));
            ptrace::resume_to_call(parent, 0)?;
        } else {
            self.await_call_exit(parent)?;
            self.return_from_clone(parent, before, mask, pid)?;
        }
        new.run(child, 0)?;
        Ok(Next::Forked(Box::new(new)))
    }

    /// The child of a vfork(2) has let go of the memory: its parent stands at the call's exit.
    pub(super) fn end_vfork(&mut self, parent: ThreadId) -> Result<Next, Trouble> {
        let Some(known) = self.guest.by_thread(parent) else {
            return Ok(Next::Continue);
        };
        match std::mem::replace(&mut known.state, ThreadState::Stopped) {
            ThreadState::InVfork(vfork) => {
                self.return_from_clone(parent, vfork.registers, vfork.mask, vfork.child)?;
            }
            other => known.state = other,
        }
        Ok(Next::Continue)
    }

    fn return_from_clone(
        &mut self,
        parent: ThreadId,
        before: Registers,
        mask: SignalSet,
        pid: i32,
    ) -> Result<(), Trouble> {
        ptrace::set_signal_mask(parent, mask)?;
        let mut registers = ptrace::registers(parent)?;
        registers.set_arguments(before.arguments());
        registers.rax = i64::from(pid).cast_unsigned();
        registers.orig_rax = NO_CALL;
        ptrace::set_registers(parent, &registers)?;
        self.guest.run(parent, 0)?;
        Ok(())
    }

    /// Sets a thread that stands at its trapped call up to make the process as it is made here: a child of
    /// the supervisor (CLONE_PARENT), whose end sends no signal.
    fn enter_clone(
        &self,
        thread: ThreadId,
        before: Registers,
        request: &CloneRequest,
    ) -> Result<(), Trouble> {
        let kept = flags::VM | flags::VFORK | DONE_HERE | flags::CLEAR_SIGHAND;
        let here = request.flags & kept | flags::PARENT;
        let mut registers = before;
        if before.orig_rax.cast_signed() == number::SYS_clone3 {
            let mut words = self
                .clone3_arguments(before.arguments())
                .ok_or(Trouble::GuestGone)?;
            words[0] = here;
            words[4] = 0;
            let at = self.guest.scratch.data;
            let bytes = words.map(u64::to_le_bytes).concat();
            self.guest.memory.write(at, &bytes)?;
            registers.rdi = at;
        } else {
            let is_clone = before.orig_rax.cast_signed() == number::SYS_clone;
            let [_, stack, parent_tid, child_tid, tls, _] = before.arguments();
            let given = if is_clone {
                [here, stack, parent_tid, child_tid, tls, 0]
            } else {
                [here, 0, 0, 0, 0, 0]
            };
            registers.set_arguments(given);
            registers.orig_rax = number::SYS_clone.cast_unsigned();
        }
        ptrace::set_registers(thread, &registers)?;
        Ok(())
    }

    /// Lets a thread make its clone, up to the moment at which the new thread or process is there; it must
    /// have the id `wanted`.
    fn make(&self, parent: ThreadId, wanted: i32) -> Result<ThreadId, Trouble> {
        loop {
            ptrace::resume_to_call(parent, 0)?;
            match wait::wait_for(parent)? {
                Report::Stopped(Stop::NewThread) => {
                    return Ok(ptrace::event_message(parent)? as ThreadId);
                }
                Report::Stopped(Stop::Call) => {
                    let CallPhase::Exit(result) = ptrace::call_phase(parent)? else {
                        continue;
                    };
                    if result == restart::ERESTARTNOINTR {
                        // A stop of ours is pending, which the kernel takes for a signal: it makes the call again.
                        continue;
                    }
                    return Err(Trouble::Protocol(format!(
                        "{wanted} could not be made here ({result})"
                    )));
                }
                Report::Stopped(_) => {}
                Report::Exited(_) | Report::Killed(_) => return Err(Trouble::GuestGone),
            }
        }
    }

    fn await_call_exit(&self, thread: ThreadId) -> Result<(), Trouble> {
        loop {
            ptrace::resume_to_call(thread, 0)?;
            match wait::wait_for(thread)? {
                Report::Stopped(Stop::Call)
                    if matches!(ptrace::call_phase(thread)?, CallPhase::Exit(_)) =>
                {
                    return Ok(());
                }
                Report::Stopped(_) => {}
                Report::Exited(_) | Report::Killed(_) => return Err(Trouble::GuestGone),
            }
        }
    }

    fn new_guest(
        &self,
        leader: ThreadId,
        pid: i32,
        request: &CloneRequest,
        mask: SignalSet,
    ) -> Result<Guest, Trouble> {
        let mut signal_actions = self.guest.signal_actions.clone();
        if request.flags & flags::CLEAR_SIGHAND != 0 {
            for action in signal_actions
                .iter_mut()
                .filter(|action| action.is_handled())
            {
                *action = SignalAction::default();
            }
        }
        Ok(Guest {
            pid,
            leader,
            threads: vec![GuestThread::new(leader, pid, mask)],
            memory: ProcessMemory::open(leader)?,
            files: self.guest.files.of_child(),
            advice_refused: self.guest.advice_refused,
            scratch: self.guest.scratch,
            used_cpu_seconds: 0,
            possible_cpus: self.guest.possible_cpus,
            signal_actions,
            vdso: self.guest.vdso.clone(),
            kernel_ranges: self.guest.kernel_ranges.clone(),
            is_held: false,
            calls_made: self.guest.calls_made,
            lasting: LastingAnswers::default(),
            ahead: None,
            signals_received: 0,
            journey: Journey::None,
            memory_follows: false,
            written: None,
            returning: None,
            goes_after: None,
        })
    }
}

/// Blocks all signals of a thread, and tells what it had blocked: the kernel refuses to make a thread or
/// a process while a signal waits to be heard (copy_process in kernel/fork.c).
fn block_all(thread: ThreadId) -> io::Result<SignalSet> {
    let mask = ptrace::signal_mask(thread)?;
    ptrace::set_signal_mask(thread, SignalSet::ALL)?;
    Ok(mask)
}

/// Words of `struct clone_args` in Linux 6.18.
const CLONE3_WORDS: usize = 11;

/// Those that are understood here: up to the thread-local storage.
const CLONE3_WORDS_KNOWN: usize = 8;

/// The first version of the structure.
const CLONE3_BYTES_MIN: usize = 64;

/// Whether the kernel takes these words of `struct clone_args`, as far as it judges them by themselves
/// (`clone3_args_valid` and `clone3_stack_valid` in Linux 6.18, kernel/fork.c).
fn is_valid_clone3(words: &[u64; CLONE3_WORDS]) -> bool {
    const RESETS: u64 = flags::SIGHAND | flags::CLEAR_SIGHAND;
    const SIGNALS_MAX: u64 = 64;
    let [flags, _, _, _, exit_signal, stack, stack_bytes, ..] = *words;
    let stack_end = stack.checked_add(stack_bytes);
    flags & (SIGNAL_BITS | flags::DETACHED) == 0
        && flags & RESETS != RESETS
        && exit_signal <= SIGNALS_MAX
        && (exit_signal == 0 || flags & (flags::THREAD | flags::PARENT) == 0)
        && (stack == 0) == (stack_bytes == 0)
        && stack_end.is_some_and(|end| end <= USER_ADDRESS_END)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_arguments_of_clone3_are_not_taken() {
        let of = |flags, exit_signal, stack, stack_bytes| {
            let mut words = [0; CLONE3_WORDS];
            (words[0], words[4]) = (flags, exit_signal);
            (words[5], words[6]) = (stack, stack_bytes);
            is_valid_clone3(&words)
        };
        assert!(of(0, 17, 0, 0));
        assert!(of(THREAD, 0, 0x10000, 0x8000));
        assert!(of(flags::PARENT, 0, 0, 0));
        assert!(!of(17, 17, 0, 0), "a signal among the flags");
        assert!(!of(flags::SIGHAND | flags::CLEAR_SIGHAND, 17, 0, 0));
        assert!(!of(0, 65, 0, 0), "no such signal");
        assert!(!of(THREAD, 17, 0x10000, 0x8000), "a thread sends no signal");
        assert!(!of(flags::PARENT, 17, 0, 0), "a sibling sends its maker's");
        assert!(!of(0, 17, 0x10000, 0), "a stack of no size");
        assert!(!of(0, 17, 0, 4), "a size of no stack");
        assert!(!of(0, 17, 0x10000, u64::MAX), "a stack of all addresses");
    }
}
