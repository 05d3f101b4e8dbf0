//! Injected calls: a stopped thread is made to execute system calls of ours, and is put back as it was.
//!
//! The thread must be in a ptrace stop other than a call's entry, with all signals blocked, so that
//! nothing but our calls runs. SIGSTOP cannot be blocked: one that arrives is held back and sent again
//! afterwards.

use std::io;

use crate::sys::blob::{self, CALL_BYTES, Call};
use crate::sys::ptrace::{self, CallPhase, ThreadId};
use crate::sys::registers::Registers;
use serde::{Deserialize, Serialize};

use crate::sys::signal::{self, SignalSet, numbers};
use crate::sys::wait::{self, Report, Stop};

use super::capture::restart;
use super::process_memory::ProcessMemory;

/// Why an injected call has no result.
#[derive(Debug)]
pub enum InjectError {
    /// The thread ended under our hands; it was killed.
    Gone(ThreadId),
    /// ptrace or the tracee's memory refused; the thread's registers may be ours, not its own.
    Kernel(ThreadId, io::Error),
    /// The thread stopped for a reason that cannot happen while our calls run.
    Unexpected(ThreadId, Stop),
}

impl std::fmt::Display for InjectError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gone(thread) => write!(out, "thread {thread} ended while it was being moved"),
            Self::Kernel(thread, error) => write!(
                out,
                "the kernel refused to let thread {thread} be steered: {error}"
            ),
            Self::Unexpected(thread, stop) => {
                write!(
                    out,
                    "thread {thread} stopped unexpectedly ({stop:?}) while it was being moved"
                )
            }
        }
    }
}

impl std::error::Error for InjectError {}

/// SIGTRAP's `si_code` when `int3` raised it (SI_KERNEL, include/uapi/asm-generic/siginfo.h).
const SENT_BY_KERNEL: i32 = 0x80;

fn kernel(thread: ThreadId) -> impl Fn(io::Error) -> InjectError {
    move |error| {
        if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) {
            InjectError::Gone(thread)
        } else {
            InjectError::Kernel(thread, error)
        }
    }
}

fn next_stop(thread: ThreadId) -> Result<Stop, InjectError> {
    match wait::wait_for(thread).map_err(kernel(thread))? {
        Report::Stopped(stop) => Ok(stop),
        Report::Exited(_) | Report::Killed(_) => Err(InjectError::Gone(thread)),
    }
}

/// As [`next_stop`]. The threads that it makes stop at their beginning and say so: left there, that would keep the kernel
/// from letting us sleep until `thread` stops.
fn next_stop_among(thread: ThreadId, made: &mut Made) -> Result<Stop, InjectError> {
    let take = |other| {
        let is_new = made.threads.contains(&other);
        let has_stopped = is_new
            && matches!(
                wait::poll_for(other),
                Ok(Some(Report::Stopped(Stop::Interrupted)))
            );
        if has_stopped {
            made.stopped.push(other);
        }
        has_stopped
    };
    match wait::wait_for_among(thread, take).map_err(kernel(thread))? {
        Report::Stopped(stop) => Ok(stop),
        Report::Exited(_) | Report::Killed(_) => Err(InjectError::Gone(thread)),
    }
}

/// Threads that were made, as this node numbers them.
#[derive(Debug, Default)]
pub struct Made {
    /// All, in the order of the calls.
    pub threads: Vec<ThreadId>,
    /// Those of them whose first stop has been seen.
    pub stopped: Vec<ThreadId>,
}

/// What an injected call did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its result, or minus errno.
    pub result: i64,
    /// The thread that it made (clone(2)), which we trace now.
    pub new_thread: Option<ThreadId>,
}

/// Makes `thread` execute one call by the `syscall` instruction at `instruction`. `stack_pointer` is what
/// the thread's stack pointer shall be meanwhile: sigaltstack(2) asks whether it is on the alternate
/// stack.
pub fn call(
    thread: ThreadId,
    instruction: u64,
    stack_pointer: u64,
    number: i64,
    arguments: [u64; 6],
) -> Result<Outcome, InjectError> {
    let fail = kernel(thread);
    let saved = ptrace::registers(thread).map_err(&fail)?;
    let mut registers = saved;
    registers.enter_call(instruction, number.cast_unsigned(), arguments);
    registers.rsp = stack_pointer;
    ptrace::set_registers(thread, &registers).map_err(&fail)?;
    let mut entered = false;
    let mut held_stop = false;
    let mut new_thread = None;
    let result = loop {
        ptrace::resume_to_call(thread, 0).map_err(&fail)?;
        match next_stop(thread)? {
            // A thread that stood at a seccomp stop first reports the exit of that call, skipped.
            Stop::Call => match ptrace::call_phase(thread).map_err(&fail)? {
                CallPhase::Entry => entered = true,
                CallPhase::Exit(result) if entered => {
                    // A stop is pending, which clone(2) takes for a signal: the kernel makes the call again.
                    if result != restart::ERESTARTNOINTR {
                        break result;
                    }
                }
                CallPhase::Exit(_) | CallPhase::None => {}
            },
            Stop::Signal(signal) if signal == numbers::SIGSTOP => held_stop = true,
            Stop::NewThread => {
                new_thread = Some(ptrace::event_message(thread).map_err(&fail)? as ThreadId);
            }
            Stop::Seccomp | Stop::Interrupted | Stop::Group(_) => {}
            stop => return Err(InjectError::Unexpected(thread, stop)),
        }
    };
    ptrace::set_registers(thread, &saved).map_err(&fail)?;
    if held_stop {
        resend_stop(thread);
    }
    Ok(Outcome { result, new_thread })
}

/// Makes `thread` begin one call and interrupts it at once: its result, a restart code if it would have
/// blocked. What the kernel remembers for restart_syscall(2) is this call from then on.
pub fn call_interrupted(
    thread: ThreadId,
    instruction: u64,
    number: i64,
    arguments: [u64; 6],
) -> Result<i64, InjectError> {
    let fail = kernel(thread);
    let saved = ptrace::registers(thread).map_err(&fail)?;
    let mut registers = saved;
    registers.enter_call(instruction, number.cast_unsigned(), arguments);
    ptrace::set_registers(thread, &registers).map_err(&fail)?;
    let mut entered = false;
    let mut held_stop = false;
    loop {
        ptrace::resume_to_call(thread, 0).map_err(&fail)?;
        match next_stop(thread)? {
            Stop::Call => match ptrace::call_phase(thread).map_err(&fail)? {
                CallPhase::Entry => {
                    entered = true;
                    // The kernel finds the request when the call is about to sleep.
                    ptrace::interrupt(thread).map_err(&fail)?;
                }
                CallPhase::Exit(_) if entered => break,
                CallPhase::Exit(_) | CallPhase::None => {}
            },
            Stop::Signal(signal) if signal == numbers::SIGSTOP => held_stop = true,
            Stop::Interrupted | Stop::Seccomp | Stop::Group(_) => {}
            stop => return Err(InjectError::Unexpected(thread, stop)),
        }
    }
    let result = ptrace::registers(thread).map_err(&fail)?.result();
    ptrace::set_registers(thread, &saved).map_err(&fail)?;
    if held_stop {
        resend_stop(thread);
    }
    Ok(result)
}

/// Sends a held-back SIGSTOP again. It is thread-directed now, which for SIGSTOP makes no difference: it
/// stops the whole process either way.
fn resend_stop(thread: ThreadId) {
    if let Err(error) = signal::send_to_process(thread, numbers::SIGSTOP) {
        log::warn!("SIGSTOP for thread {thread} was lost: {error}");
    }
}

/// Where injected code and its data lie in a tracee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scratch {
    /// The blob's page, readable and executable.
    pub code: u64,
    /// Readable and writable memory behind it.
    pub data: u64,
    /// Length of the data area.
    pub data_bytes: u64,
}

impl Scratch {
    /// Address of a `syscall` instruction.
    pub fn instruction(&self) -> u64 {
        self.code + blob::syscall_offset()
    }

    /// First address behind the scratch area.
    pub fn end(&self) -> u64 {
        self.data + self.data_bytes
    }

    /// Whether `address` lies in the scratch area.
    pub fn contains(&self, address: u64) -> bool {
        (self.code..self.end()).contains(&address)
    }

    /// Makes `thread` execute one call; its result or minus errno.
    pub fn call(
        &self,
        thread: ThreadId,
        number: i64,
        arguments: [u64; 6],
    ) -> Result<i64, InjectError> {
        call(thread, self.instruction(), self.data, number, arguments).map(|outcome| outcome.result)
    }

    /// Makes `thread` execute all `calls`, in order, whatever their results, which are filled in. The
    /// list lies at the end of the data area, whose beginning stays free for what the calls point to.
    pub fn run(
        &self,
        thread: ThreadId,
        memory: &ProcessMemory,
        calls: &mut [Call],
    ) -> Result<(), InjectError> {
        let capacity = (self.data_bytes as usize / 2 / CALL_BYTES).min(LIST_CALLS_MAX);
        for part in calls.chunks_mut(capacity) {
            self.run_part(thread, memory, part)?;
        }
        Ok(())
    }

    /// As [`Self::run`], by several threads at the same time. What their calls point to must not overlap, nor reach
    /// into the second half of the data area.
    pub fn run_on_each(
        &self,
        memory: &ProcessMemory,
        tasks: &mut [Task],
    ) -> Result<(), InjectError> {
        for part in tasks.chunks_mut(TOGETHER_MAX) {
            let mut list = self.end();
            let mut outcome = Ok(());
            let mut started = Vec::with_capacity(part.len());
            for task in part.iter() {
                list -= (task.calls.len() * CALL_BYTES) as u64;
                match self.start(task.thread, memory, list, &task.calls) {
                    Ok(running) => started.push(running),
                    Err(error) => {
                        outcome = Err(error);
                        break;
                    }
                }
            }
            // Whatever happens to one, none may be left where the program never was.
            for (task, running) in part.iter_mut().zip(started) {
                let finished = running.finish(memory, &mut task.calls).map(drop);
                outcome = outcome.and(finished);
            }
            outcome?;
        }
        Ok(())
    }

    /// As [`Self::run`], with calls that make threads, which we trace from then on.
    pub fn run_making_threads(
        &self,
        thread: ThreadId,
        memory: &ProcessMemory,
        calls: &mut [Call],
    ) -> Result<Made, InjectError> {
        let list = self.end() - (calls.len() * CALL_BYTES) as u64;
        self.start(thread, memory, list, calls)?
            .finish(memory, calls)
    }

    fn run_part(
        &self,
        thread: ThreadId,
        memory: &ProcessMemory,
        calls: &mut [Call],
    ) -> Result<(), InjectError> {
        self.run_making_threads(thread, memory, calls).map(drop)
    }

    fn start(
        &self,
        thread: ThreadId,
        memory: &ProcessMemory,
        list: u64,
        calls: &[Call],
    ) -> Result<RunningList, InjectError> {
        let fail = kernel(thread);
        let bytes: Vec<u8> = calls.iter().flat_map(Call::to_bytes).collect();
        memory.write(list, &bytes).map_err(&fail)?;

        let saved = ptrace::registers(thread).map_err(&fail)?;
        // A blocked SIGTRAP would be unblocked and its action reset by the kernel's force_sig.
        ptrace::set_signal_mask(thread, SignalSet::ALL.without(numbers::SIGTRAP)).map_err(&fail)?;
        let mut registers = Registers {
            rip: self.code,
            rsp: self.data,
            ..saved
        };
        registers.orig_rax = crate::sys::registers::NO_CALL;
        registers.r12 = list;
        registers.r13 = calls.len() as u64;
        ptrace::set_registers(thread, &registers).map_err(&fail)?;
        ptrace::resume(thread, 0).map_err(&fail)?;
        Ok(RunningList {
            thread,
            list,
            saved,
        })
    }
}

/// What a thread does of [`Scratch::run_on_each`].
#[derive(Clone, Debug)]
pub struct Task {
    /// The thread.
    pub thread: ThreadId,
    /// Its calls, in order; few enough that all lists together fill no more than half of the data area.
    pub calls: Vec<Call>,
}

/// So many threads run lists at the same time.
pub const TOGETHER_MAX: usize = 64;

/// A thread that executes a list of calls.
#[must_use]
struct RunningList {
    thread: ThreadId,
    list: u64,
    saved: Registers,
}

impl RunningList {
    /// Waits for its end, and lets the thread stand where it stood before; the threads that it made.
    fn finish(self, memory: &ProcessMemory, calls: &mut [Call]) -> Result<Made, InjectError> {
        let thread = self.thread;
        let fail = kernel(thread);
        let mut held_stop = false;
        let mut made = Made::default();
        loop {
            match next_stop_among(thread, &mut made)? {
                Stop::Signal(signal) if signal == numbers::SIGTRAP => {
                    if ptrace::signal_info(thread).map_err(&fail)?.code() == SENT_BY_KERNEL {
                        break;
                    }
                }
                Stop::Signal(signal) if signal == numbers::SIGSTOP => held_stop = true,
                Stop::NewThread => {
                    let new = ptrace::event_message(thread).map_err(&fail)? as ThreadId;
                    made.threads.push(new);
                }
                Stop::Seccomp | Stop::Interrupted | Stop::Group(_) => {}
                stop => return Err(InjectError::Unexpected(thread, stop)),
            }
            ptrace::resume(thread, 0).map_err(&fail)?;
        }
        ptrace::set_registers(thread, &self.saved).map_err(&fail)?;
        ptrace::set_signal_mask(thread, SignalSet::ALL).map_err(&fail)?;
        if held_stop {
            resend_stop(thread);
        }
        let mut bytes = vec![0; calls.len() * CALL_BYTES];
        memory.read(self.list, &mut bytes).map_err(&fail)?;
        for (call, entry) in calls.iter_mut().zip(bytes.as_chunks::<CALL_BYTES>().0) {
            call.result = Call::result_in(entry);
        }
        Ok(made)
    }
}

/// Most calls of one list; longer ones are run in parts.
const LIST_CALLS_MAX: usize = 2048;
