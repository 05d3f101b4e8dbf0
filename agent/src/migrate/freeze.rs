//! Stopping every thread of a process, and letting them go again as if nothing had happened.
//!
//! 1. Attach to each thread of /proc/PID/task and ask it to stop; look again until no new one shows up.
//! 2. Lead each thread out of the vDSO: its data pages belong to one machine's clock and one time
//!    namespace, so a thread must never travel in the middle of reading them.
//!
//! Until something is injected nothing of the process is changed, and a tracer that dies leaves it
//! running: EXIT_KILL is set by [`Frozen::hold`], which the caller calls before the first injection.

use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::limits;
use crate::migrate::asleep::Asleep;
use crate::migrate::capture;
use crate::process::maps::{self, MappingKind};
use crate::process::status::State;
use crate::process::{stat, status};
use crate::sys::ptrace::{self, ThreadId, options};
use crate::sys::signal::{SIGNAL_MAX, SignalSet, numbers};
use crate::sys::wait::{self, Report, Stop};

/// How long all threads together may take to stop. A thread in vfork(2) or in uninterruptible sleep
/// does not stop; the move is given up then and the process goes on.
const STOP_TIMEOUT: Duration = Duration::from_millis(2000);

/// Why a process could not be stopped; it runs on unharmed.
#[derive(Debug)]
pub enum FreezeError {
    /// It ended.
    Gone,
    /// Somebody else traces it, or the kernel forbids tracing it.
    Refused(ThreadId, io::Error),
    /// A thread did not stop in time: it waits in vfork(2), or for a device.
    DoesNotStop(ThreadId),
    /// It is stopped by this signal (job control); it can move when it is continued.
    StoppedBySignal(i32),
    /// It has more threads than [`limits::THREADS_MAX`].
    TooManyThreads,
    /// A thread could not be led out of the vDSO.
    StaysInVdso(ThreadId),
}

impl std::fmt::Display for FreezeError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gone => write!(out, "the process has ended"),
            Self::Refused(thread, error) => {
                write!(out, "thread {thread} cannot be traced: {error}")
            }
            Self::DoesNotStop(thread) => write!(
                out,
                "thread {thread} does not stop: it waits for a child in vfork, or for a device; try again later"
            ),
            Self::StoppedBySignal(signal) => {
                write!(
                    out,
                    "the process is stopped by signal {signal}; continue it first"
                )
            }
            Self::TooManyThreads => {
                write!(
                    out,
                    "the process has more than {} threads",
                    limits::THREADS_MAX
                )
            }
            Self::StaysInVdso(thread) => {
                write!(
                    out,
                    "thread {thread} asks for the time so often that it cannot be stopped; try again"
                )
            }
        }
    }
}

impl std::error::Error for FreezeError {}

/// A process all of whose threads are stopped by us.
#[derive(Debug)]
pub struct Frozen {
    /// The process.
    pub pid: ThreadId,
    /// Its threads; the leader first.
    pub threads: Vec<ThreadId>,
    /// What those of them slept in that were asleep.
    pub asleep: Vec<(ThreadId, Asleep)>,
}

/// Stops all threads of `pid`, which nobody traces yet.
pub fn freeze(pid: ThreadId) -> Result<Frozen, FreezeError> {
    let mut frozen = Frozen {
        pid,
        threads: Vec::new(),
        asleep: Vec::new(),
    };
    match frozen.stop_all() {
        Ok(()) => Ok(frozen),
        Err(error) => {
            frozen.release();
            Err(error)
        }
    }
}

impl Frozen {
    /// A process that we have traced since before its exec, and that has stopped there: it has one thread.
    pub fn at_exec(pid: ThreadId) -> Frozen {
        Frozen {
            pid,
            threads: vec![pid],
            asleep: Vec::new(),
        }
    }

    /// What a thread slept in when it was stopped.
    pub fn asleep_in(&self, thread: ThreadId) -> Option<Asleep> {
        let mut asleep = self.asleep.iter();
        asleep
            .find(|(known, _)| *known == thread)
            .map(|&(_, asleep)| asleep)
    }

    fn stop_all(&mut self) -> Result<(), FreezeError> {
        let deadline = Instant::now() + STOP_TIMEOUT;
        let vdso = vdso_range(self.pid).ok_or(FreezeError::Gone)?;
        loop {
            let new: Vec<ThreadId> = threads_of(self.pid)
                .ok_or(FreezeError::Gone)?
                .into_iter()
                .filter(|thread| !self.threads.contains(thread))
                .collect();
            if new.is_empty() {
                break;
            }
            if self.threads.len() + new.len() > limits::THREADS_MAX {
                return Err(FreezeError::TooManyThreads);
            }
            let mut attached = Vec::new();
            for thread in new {
                match ptrace::seize(thread, 0) {
                    Ok(()) => {
                        self.threads.push(thread);
                        attached.push((thread, Asleep::look(thread)));
                        // A thread that ends meanwhile is found out by wait.
                        let _ = ptrace::interrupt(thread);
                    }
                    Err(error) if is_gone(&error) => {}
                    Err(_) if thread != self.pid && has_ended(self.pid, thread) => {
                        if Instant::now() >= deadline {
                            return Err(FreezeError::DoesNotStop(thread));
                        }
                    }
                    Err(_) if has_ended(self.pid, thread) => return Err(FreezeError::Gone),
                    Err(error) => return Err(FreezeError::Refused(thread, error)),
                }
            }
            for (thread, asleep) in attached {
                match stop_outside_vdso(thread, &vdso, deadline) {
                    Err(FreezeError::Gone) if thread != self.pid => {
                        self.threads.retain(|&known| known != thread);
                        continue;
                    }
                    other => other?,
                }
                let registers = ptrace::registers(thread).map_err(|_| FreezeError::Gone)?;
                let asleep = asleep.filter(|asleep| asleep.is_still(thread, &registers));
                self.asleep.extend(asleep.map(|asleep| (thread, asleep)));
            }
        }
        self.threads
            .sort_by_key(|&thread| (thread != self.pid, thread));
        if self.threads.first() == Some(&self.pid) {
            Ok(())
        } else {
            Err(FreezeError::Gone)
        }
    }

    /// From here on the threads are killed if their tracer dies: they may be in a state that must not
    /// run. New threads and programs are reported.
    pub fn hold(&self) -> io::Result<()> {
        let wanted = options::SYSCALL_GOOD
            | options::CLONE
            | options::FORK
            | options::VFORK
            | options::EXEC
            | options::EXIT_KILL;
        self.threads
            .iter()
            .try_for_each(|&thread| ptrace::set_options(thread, wanted))
    }

    /// Detaches from all threads; they run on.
    pub fn release(&self) {
        for &thread in &self.threads {
            match ptrace::detach(thread, 0) {
                Ok(()) => {}
                Err(error) if is_gone(&error) => {
                    // Still running (it never stopped): stop it to be able to let go of it.
                    let deadline = Instant::now() + STOP_TIMEOUT;
                    let _ = ptrace::interrupt(thread);
                    match wait_for_stop(thread, deadline) {
                        Ok(()) | Err(FreezeError::StoppedBySignal(_)) => {
                            let _ = ptrace::detach(thread, 0);
                        }
                        Err(error) => log::warn!("thread {thread} could not be let go: {error}"),
                    }
                }
                Err(error) => log::warn!("thread {thread} could not be let go: {error}"),
            }
        }
    }
}

/// Whether a thread has ended, though it may be listed still: ptrace(2) then refuses with EPERM.
fn has_ended(pid: ThreadId, thread: ThreadId) -> bool {
    let stat = stat::read_thread(pid.cast_unsigned(), thread.cast_unsigned());
    stat.is_ok_and(|stat| matches!(stat.state, State::Zombie | State::Dead))
        || !std::path::Path::new(&format!("/proc/{pid}/task/{thread}")).exists()
}

fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// The ids of a process's threads; none if it has ended.
pub fn threads_of(pid: ThreadId) -> Option<Vec<ThreadId>> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let threads: Vec<ThreadId> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    (!threads.is_empty()).then_some(threads)
}

/// Where a process has its vDSO: empty if it has none, nothing if the process has ended.
pub fn vdso_range(pid: ThreadId) -> Option<Range<u64>> {
    let mappings = maps::read(pid.cast_unsigned()).ok()?;
    let vdso = mappings
        .iter()
        .find(|mapping| mapping.kind == MappingKind::Vdso);
    Some(vdso.map_or(0..0, |mapping| mapping.start..mapping.end))
}

/// Waits until an interrupted thread reports its stop; signals that come first are delivered. Any other
/// stop makes the kernel forget our request (ptrace_stop in kernel/signal.c), so it is made again.
pub fn wait_for_stop(thread: ThreadId, deadline: Instant) -> Result<(), FreezeError> {
    let mut pause = Duration::from_micros(10);
    loop {
        match wait::poll_for(thread) {
            Ok(None) if Instant::now() >= deadline => return Err(FreezeError::DoesNotStop(thread)),
            Ok(None) => {
                // No descriptor tells of one thread's stop; the pause doubles up to a millisecond.
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(1));
            }
            Ok(Some(Report::Exited(_) | Report::Killed(_))) => return Err(FreezeError::Gone),
            Ok(Some(Report::Stopped(Stop::Interrupted))) => {
                let is_faulting = has_pending_fault(thread).map_err(|_| FreezeError::Gone)?;
                if !is_faulting {
                    return Ok(());
                }
                ptrace::resume(thread, 0).map_err(|_| FreezeError::Gone)?;
            }
            Ok(Some(Report::Stopped(Stop::Group(signal)))) => {
                return Err(FreezeError::StoppedBySignal(signal));
            }
            Ok(Some(Report::Stopped(stop))) => {
                pass_on(thread, stop)
                    .and_then(|()| ptrace::interrupt(thread))
                    .map_err(|_| FreezeError::Gone)?;
            }
            Err(error) => return Err(FreezeError::Refused(thread, error)),
        }
    }
}

/// Resumes a thread that has stopped before our request, with its signal.
fn pass_on(thread: ThreadId, stop: Stop) -> io::Result<()> {
    let Stop::Signal(signal) = stop else {
        return ptrace::resume(thread, 0);
    };
    if ignores(thread, signal) {
        let mut registers = ptrace::registers(thread)?;
        if capture::undo_false_interruption(&mut registers) {
            ptrace::set_registers(thread, &registers)?;
        }
    }
    ptrace::resume(thread, signal)
}

/// Whether a signal does nothing to a thread's process. The kernel stops a traced thread for it all the same.
fn ignores(thread: ThreadId, signal: i32) -> bool {
    let thread = thread.cast_unsigned();
    status::read_thread(thread, thread).is_ok_and(|status| is_nothing(signal, &status.signals))
}

fn is_nothing(signal: i32, signals: &status::Signals) -> bool {
    SignalSet(signals.ignored).contains(signal)
        || is_ignored_by_default(signal) && !SignalSet(signals.caught).contains(signal)
}

/// Whether a stopped thread has a signal that it would hear before its next instruction. What a call has
/// raised must be heard before the call returns, so the thread must not leave before.
fn has_signal_to_hear(thread: ThreadId) -> bool {
    let thread = thread.cast_unsigned();
    status::read_thread(thread, thread).is_ok_and(|status| {
        let signals = status.signals;
        let pending = (signals.pending | signals.pending_shared) & !signals.blocked;
        (1..=SIGNAL_MAX)
            .filter(|&signal| SignalSet(pending).contains(signal))
            .any(|signal| !is_nothing(signal, &signals))
    })
}

/// Whether a stopped thread has raised a fault that it has not been told of. It must be told first: even
/// with all signals blocked, the kernel would deliver it in place of our own SIGTRAP
/// (dequeue_synchronous_signal in kernel/signal.c). If it is resumed, its next stop is the delivery.
pub fn has_pending_fault(thread: ThreadId) -> io::Result<bool> {
    let mask = ptrace::signal_mask(thread)?;
    let queued = ptrace::queued_signals(thread, false)?;
    Ok(queued.iter().any(|info| {
        let signal = info.signal();
        info.code() > 0 && is_fault(signal) && !mask.contains(signal)
    }))
}

/// Whether this is a signal that a thread's own instruction raises.
pub fn is_fault(signal: i32) -> bool {
    matches!(
        signal,
        numbers::SIGSEGV
            | numbers::SIGBUS
            | numbers::SIGFPE
            | numbers::SIGILL
            | numbers::SIGTRAP
            | numbers::SIGSYS
    )
}

/// As [`wait_for_stop`], and lets the thread run on for moments until it stops outside the vDSO, with no
/// signal to hear.
/// (Stepping out instruction by instruction can livelock in a sequence-count retry loop.)
pub fn stop_outside_vdso(
    thread: ThreadId,
    vdso: &Range<u64>,
    deadline: Instant,
) -> Result<(), FreezeError> {
    let mut pause = Duration::from_micros(5);
    loop {
        wait_for_stop(thread, deadline)?;
        let registers = ptrace::registers(thread).map_err(|_| FreezeError::Gone)?;
        if !vdso.contains(&registers.rip) && !has_signal_to_hear(thread) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(FreezeError::StaysInVdso(thread));
        }
        ptrace::resume(thread, 0).map_err(|_| FreezeError::Gone)?;
        // A thread that calls the vDSO in a loop is caught outside sooner or later; an odd factor keeps
        // us from stepping in time with it.
        std::thread::sleep(pause);
        pause = (pause * 7 / 4).min(Duration::from_micros(300));
        ptrace::interrupt(thread).map_err(|_| FreezeError::Gone)?;
    }
}

/// Signals whose default action does nothing (signal(7)).
pub fn is_ignored_by_default(signal: i32) -> bool {
    matches!(
        signal,
        numbers::SIGCHLD | numbers::SIGCONT | numbers::SIGURG | numbers::SIGWINCH
    )
}

/// Signals whose default action is to end the process with a core dump (signal(7)).
pub fn dumps_core_by_default(signal: i32) -> bool {
    is_fault(signal)
        || matches!(
            signal,
            numbers::SIGABRT | numbers::SIGQUIT | numbers::SIGXCPU | numbers::SIGXFSZ
        )
}

/// Signals whose default action stops the process (signal(7)).
pub fn stops_by_default(signal: i32) -> bool {
    matches!(
        signal,
        numbers::SIGSTOP | numbers::SIGTSTP | numbers::SIGTTIN | numbers::SIGTTOU
    )
}
