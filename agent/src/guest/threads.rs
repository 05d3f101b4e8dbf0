//! The guest and its threads as their supervisor sees them.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use crate::migrate::inject::Scratch;
use crate::migrate::process_memory::ProcessMemory;
use crate::sys::ptrace::{self, ThreadId};
use crate::sys::signal::{SignalAction, SignalInfo, SignalSet};
use crate::syscall::Plan;

/// The guest.
pub struct Guest {
    /// Its pid as home numbers it.
    pub pid: i32,
    /// Its leader as this node numbers it.
    pub leader: ThreadId,
    /// Its threads.
    pub threads: Vec<GuestThread>,
    /// Its memory.
    pub memory: ProcessMemory,
    /// Where injected code lies.
    pub scratch: Scratch,
    /// What each signal does: entry n-1 is signal n's.
    pub signal_actions: Vec<SignalAction>,
    /// Where it has its vDSO: no thread may leave from there.
    pub vdso: Range<u64>,
    /// The vDSO and its data as home has them: not the program's memory.
    pub kernel_ranges: Vec<Range<u64>>,
    /// Job control at home has stopped the process: no thread may run.
    pub is_held: bool,
}

/// What a thread is doing.
///
/// ```text
///            trap                    Return
///   Running ------> AwaitingReturn ---------> Running
///      |  \
///      |   +-- trap that home must do --> Stopped (until the homecoming)
///      +-- job control ----------------> Held ----> Running
/// ```
#[derive(Debug)]
pub enum ThreadState {
    /// It runs.
    Running,
    /// Stopped at a call that is under way at home.
    AwaitingReturn(Box<PendingCall>),
    /// Would run, if job control had not stopped the process.
    Held,
    /// Stopped for the way home.
    Stopped,
}

/// A call that home executes.
#[derive(Debug)]
pub struct PendingCall {
    /// Its number among the guest's calls; [`FINISHING_CALL`] for the one it left home in.
    pub call: u64,
    /// The system call.
    pub number: u64,
    /// Where its outputs go; none for calls that have none.
    pub plan: Option<Plan>,
    /// What to do with its result besides.
    pub completion: Completion,
    /// Bytes that earlier portions of a long write have written.
    pub done: u64,
}

/// What the supervisor does when a call returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completion {
    /// Puts the result into the thread's register.
    Result,
    /// Nothing: the call has been made here.
    None,
    /// Lets the thread make the call here as well if it succeeded at home.
    MirrorIfDone,
    /// Lets the thread make its clone here, with the id that home has given.
    StartThread,
    /// A file mapping: the memory is there, home sends the contents. Undone if home failed.
    MapFile {
        /// Where.
        start: u64,
        /// How long.
        length: u64,
    },
}

/// The number of the call that a thread was in when it left home; forwarded ones begin with 1.
pub const FINISHING_CALL: u64 = 0;

/// One thread.
#[derive(Debug)]
pub struct GuestThread {
    /// This node's number.
    pub thread: ThreadId,
    /// Home's number.
    pub tid: i32,
    /// What it is doing.
    pub state: ThreadState,
    /// Signals that we have sent to it and that it has not heard yet, as home's kernel made them.
    pub signals: VecDeque<SignalInfo>,
    /// A call that a signal has interrupted: its number and restart code, for the kernel to decide on
    /// when the signal is delivered.
    pub interrupted: Option<(u64, i64)>,
    /// Its signal mask as home knows it.
    pub mask_at_home: SignalSet,
    /// It is on its way through exit(2).
    pub is_exiting: bool,
}

impl Guest {
    /// The thread that home numbers `tid`.
    pub fn by_tid(&mut self, tid: i32) -> Option<&mut GuestThread> {
        self.threads.iter_mut().find(|thread| thread.tid == tid)
    }

    /// The thread that this node numbers `thread`.
    pub fn by_thread(&mut self, thread: ThreadId) -> Option<&mut GuestThread> {
        self.threads.iter_mut().find(|known| known.thread == thread)
    }

    /// Whether home is making a thread. It has to be made here, too, before the guest leaves: only then is
    /// there anything that it could go on with at home.
    pub fn awaits_thread(&self) -> bool {
        self.threads.iter().any(|thread| {
            matches!(&thread.state, ThreadState::AwaitingReturn(pending)
                if pending.completion == Completion::StartThread)
        })
    }

    /// What `signal` does.
    pub fn action(&self, signal: i32) -> SignalAction {
        usize::try_from(signal - 1)
            .ok()
            .and_then(|index| self.signal_actions.get(index))
            .copied()
            .unwrap_or_default()
    }

    /// Lets a stopped thread run, delivering `signal` (0: none), unless job control holds the process.
    pub fn run(&mut self, thread: ThreadId, signal: i32) -> io::Result<()> {
        let is_held = self.is_held;
        let Some(known) = self.by_thread(thread) else {
            return ptrace::resume(thread, signal);
        };
        if is_held && signal == 0 {
            known.state = ThreadState::Held;
            return Ok(());
        }
        known.state = ThreadState::Running;
        ptrace::resume(thread, signal)
    }
}
