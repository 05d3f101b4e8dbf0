//! The deputy and its threads as their supervisor sees them.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::guest::threads::FINISHING_CALL;
use crate::migrate::freeze;
use crate::migrate::image::{ProcessImage, ThreadImage};
use crate::migrate::process_memory::ProcessMemory;
use crate::migrate::resource_limits::Limits;
use crate::migrate::scheduling::Scheduling;
use crate::process::core_dump;
use crate::sys::call_numbers as number;
use crate::sys::ptrace::{self, ThreadId};
use crate::sys::registers::Registers;
use crate::sys::signal::{SIGNAL_MAX, SignalAction, SignalInfo, SignalSet};
use crate::syscall::Layout;
use crate::wire::migration::ToGuest;

use super::ahead::Wish;
use super::lasting::Inquiry;
use super::objects::DeputyObjects;
use super::own_memory::MapsViews;
use super::scratch::DeputyScratch;

/// For how long a thread rests. Signals for its process are heard that much later at most.
pub const REST: Duration = Duration::from_micros(300);

/// The deputy: the original process, its memory as it was at departure.
pub struct Deputy {
    /// The process.
    pub pid: i32,
    /// Its threads, the leader first.
    pub threads: Vec<DeputyThread>,
    /// Its memory.
    pub memory: ProcessMemory,
    /// Where injected code and call buffers lie.
    pub scratch: DeputyScratch,
    /// A `syscall` instruction of the process's own, in its vDSO.
    pub own_instruction: u64,
    /// What stands behind its mappings.
    pub objects: DeputyObjects,
    /// What it has open of its own memory's files.
    pub views: MapsViews,
    /// Its limits as its guest's node was told them.
    pub limits: Limits,
    /// Its image at departure, without the threads (each has its own).
    pub image: ProcessImage,
    /// What each signal does now: entry n-1 is signal n's.
    pub signal_actions: Vec<SignalAction>,
    /// A call that can be seen from outside, or that changed the deputy itself, was made since
    /// departure: the process cannot be resumed from its departure image. The call's name.
    pub visible: Option<&'static str>,
    /// Job control has stopped the process.
    pub is_stopped: bool,
}

/// What a thread is doing.
///
/// ```text
///                 +--- Resting <--+
///                 v      |        |
///   Stopped --> Parked --+---> Making
///                 ^               |
///                 +-- Delivering <+
/// ```
#[derive(Debug)]
pub enum DeputyState {
    /// Stopped, for departure, homecoming or a change of its own.
    Stopped,
    /// Stands where its last call has ended, since then: the next often comes at once.
    Resting(Instant),
    /// Sleeps in pause(2) and hears signals.
    Parked,
    /// Executes a call for its guest thread.
    Making(Box<MakingCall>),
    /// On its way to sleep, hearing the signals that the guest must hear before this answer.
    Delivering(Box<Answer>),
    /// Was told to end.
    Ending,
}

/// What the guest is told when its call is over.
#[derive(Debug)]
pub struct Answer {
    /// `Return` or `Finished`.
    pub header: ToGuest,
    /// The call's output buffers.
    pub payload: Vec<u8>,
    /// What to send with it if it is sent at once.
    pub(super) wish: Option<Wish>,
}

/// A call under way.
#[derive(Debug)]
pub struct MakingCall {
    /// Its number among the guest's calls.
    pub call: u64,
    /// How far it is.
    pub phase: CallPhase,
    /// When it was begun.
    pub began: Instant,
    /// How long it shall wait at most, if the kernel forgets that when it is interrupted.
    pub timeout: Option<Duration>,
    /// Where its buffers are; none for the call that the thread left home in, which uses its own.
    pub layout: Option<Layout>,
    /// It asks about a name, and its answer may last.
    pub(super) inquiry: Option<Inquiry>,
}

impl MakingCall {
    /// The call that the thread left home in.
    pub fn at_home() -> MakingCall {
        MakingCall {
            call: FINISHING_CALL,
            phase: CallPhase::Entering,
            began: Instant::now(),
            timeout: None,
            layout: None,
            inquiry: None,
        }
    }

    /// Whether an end by EINTR does not show that the program has heard a signal.
    pub fn is_made_again(&self) -> bool {
        self.layout.as_ref().is_some_and(|layout| {
            layout.forward.facts.restart_after_stop || layout.signal_mask().is_some()
        })
    }
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallPhase {
    /// The kernel has not begun it.
    Entering,
    /// The kernel executes it.
    Inside,
    /// The kernel has interrupted it, with this restart code, and will deliver a signal or make it again.
    Interrupted(i64),
}

/// What the guest was told of its last call, kept until its next: the message may not have reached it
/// when it came home.
#[derive(Debug)]
pub struct LastReturn {
    /// The call.
    pub call: u64,
    /// Its result.
    pub result: i64,
    /// What it left in memory: guest addresses and bytes.
    pub writes: Vec<(u64, Vec<u8>)>,
    /// It was a portion of a transfer, and has transferred all that it asked for.
    pub is_whole_portion: bool,
    /// Memory whose contents are the deputy's own, not the guest's: a file that was just mapped.
    pub mapped: Option<Range<u64>>,
    /// The signal that interrupted it.
    pub signal: Option<SignalInfo>,
}

/// One thread.
#[derive(Debug)]
pub struct DeputyThread {
    /// Its id.
    pub tid: ThreadId,
    /// What it is doing.
    pub state: DeputyState,
    /// Its registers as it was stopped at departure: a valid base for injected calls.
    pub base: Registers,
    /// The guest thread's signal mask as last told.
    pub mask: SignalSet,
    /// How it is scheduled, as its guest's node was told.
    pub scheduling: Scheduling,
    /// Its image at departure, or what it has inherited of its parent's; none for a thread made since.
    pub image: Option<ThreadImage>,
    /// Index of its slot.
    pub slot: usize,
    /// Calls made for the guest since departure.
    pub calls_made: u64,
    /// See [`LastReturn`].
    pub last_return: Option<LastReturn>,
}

impl Deputy {
    /// The signals that do nothing to the process now.
    pub fn ignored_signals(&self) -> SignalSet {
        let ignored = (1..=SIGNAL_MAX).filter(|&signal| self.ignores(signal));
        ignored.fold(SignalSet::default(), |set, signal| {
            set.with(SignalSet::only(signal))
        })
    }

    /// Whether `signal` does nothing to the process now.
    pub fn ignores(&self, signal: i32) -> bool {
        match self.action(signal).handler {
            SignalAction::IGNORE => true,
            SignalAction::DEFAULT => freeze::is_ignored_by_default(signal),
            _ => false,
        }
    }

    /// Whether the process leaves a core dump when `signal` does what it does by default.
    pub fn dumps_core(&self, signal: i32) -> bool {
        self.action(signal).handler == SignalAction::DEFAULT
            && freeze::dumps_core_by_default(signal)
            && core_dump::is_left_by(self.pid.cast_unsigned())
    }

    /// The thread with this id.
    pub fn thread(&mut self, tid: ThreadId) -> Option<&mut DeputyThread> {
        self.threads.iter_mut().find(|thread| thread.tid == tid)
    }

    /// The thread that executes another program, if one does. There is at most one.
    pub fn executing(&self) -> Option<ThreadId> {
        let mut threads = self.threads.iter();
        let executes = |thread: &&DeputyThread| match &thread.state {
            DeputyState::Making(making) => {
                making.layout.as_ref().is_some_and(|layout| layout.executes)
            }
            _ => false,
        };
        threads.find(executes).map(|thread| thread.tid)
    }

    /// A slot that no thread has; none if there are not enough.
    pub fn free_slot(&self) -> Option<usize> {
        let is_taken = |slot| self.threads.iter().any(|thread| thread.slot == slot);
        let free = (0..=self.threads.len()).find(|&slot| !is_taken(slot))?;
        self.scratch.slot(free).map(|_| free)
    }

    /// The ids of all threads.
    pub fn thread_ids(&self) -> Vec<ThreadId> {
        self.threads.iter().map(|thread| thread.tid).collect()
    }

    /// What `signal` does.
    pub fn action(&self, signal: i32) -> SignalAction {
        usize::try_from(signal - 1)
            .ok()
            .and_then(|index| self.signal_actions.get(index))
            .copied()
            .unwrap_or_default()
    }

    /// Lets a stopped thread sleep and hear signals.
    pub fn park(&mut self, tid: ThreadId) -> std::io::Result<()> {
        if self.lead_to_sleep(tid, DeputyState::Parked)? {
            ptrace::resume(tid, 0)?;
        }
        Ok(())
    }

    /// Lets a thread whose call is over rest before it is parked ([`Self::park_rested`]), which saves both
    /// putting it to sleep and waking it.
    pub fn rest(&mut self, tid: ThreadId) {
        if let Some(thread) = self.thread(tid) {
            thread.state = DeputyState::Resting(Instant::now());
        }
    }

    /// Whether any thread rests.
    pub fn has_resting(&self) -> bool {
        let mut threads = self.threads.iter();
        threads.any(|thread| matches!(thread.state, DeputyState::Resting(_)))
    }

    /// Parks the threads that have rested for [`REST`] by `now`: they must hear signals.
    pub fn park_rested(&mut self, now: Instant) -> std::io::Result<()> {
        for index in 0..self.threads.len() {
            let thread = &self.threads[index];
            if let DeputyState::Resting(since) = thread.state
                && now.saturating_duration_since(since) >= REST
            {
                self.park(thread.tid)?;
            }
        }
        Ok(())
    }

    /// As [`Self::park`], but stops once more when the thread has heard all signals that are pending for
    /// it: the kernel delivers them before it lets the thread enter its sleep.
    pub fn park_after_signals(&mut self, tid: ThreadId, answer: Answer) -> std::io::Result<()> {
        if self.lead_to_sleep(tid, DeputyState::Delivering(Box::new(answer)))? {
            ptrace::resume_to_call(tid, 0)?;
        }
        Ok(())
    }

    fn lead_to_sleep(&mut self, tid: ThreadId, state: DeputyState) -> std::io::Result<bool> {
        let instruction = self.scratch.shared.instruction();
        let Some(thread) = self.thread(tid) else {
            return Ok(false);
        };
        let mut registers = thread.base;
        registers.enter_call(instruction, number::SYS_pause as u64, [0; 6]);
        ptrace::set_signal_mask(tid, thread.mask)?;
        ptrace::set_registers(tid, &registers)?;
        thread.state = state;
        Ok(true)
    }
}
