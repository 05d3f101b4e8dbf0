//! The guest and its threads as their supervisor sees them.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::migrate::advice::Advice;
use crate::migrate::inject::Scratch;
use crate::migrate::process_memory::ProcessMemory;
use crate::sys::ptrace::{self, ThreadId};
use crate::sys::registers::Registers;
use crate::sys::signal::{SignalAction, SignalInfo, SignalSet};
use crate::sys::userfaultfd::Userfaultfd;
use crate::syscall::Plan;

use super::ahead::Received;
use super::lasting::LastingAnswers;
use super::memory_files::MemoryFiles;
use super::returning::Returning;

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
    /// What stands behind its mappings.
    pub files: MemoryFiles,
    /// Advice that this kernel cannot give: home remembers it.
    pub advice_refused: Advice,
    /// Where injected code lies.
    pub scratch: Scratch,
    /// CPU time that it had used at home when it left, in seconds; 0 if it was made here.
    pub used_cpu_seconds: u64,
    /// Number of CPUs that home's kernel can have: it may run on those below.
    pub possible_cpus: u32,
    /// What each signal does: entry n-1 is signal n's.
    pub signal_actions: Vec<SignalAction>,
    /// Where it has its vDSO: no thread may leave from there.
    pub vdso: Range<u64>,
    /// The vDSO and its data as home has them: not the program's memory.
    pub kernel_ranges: Vec<Range<u64>>,
    /// Job control at home has stopped the process: no thread may run.
    pub is_held: bool,
    /// Calls sent home so far; the next one gets the next number.
    pub calls_made: u64,
    /// Answers of home that it need not be asked for again.
    pub lasting: LastingAnswers,
    /// What home has sent of a file before it was asked to.
    pub ahead: Option<Received>,
    /// `Signal` messages received so far.
    pub signals_received: u64,
    /// Whether it is on its way home.
    pub journey: Journey,
    /// Its memory is still coming.
    pub memory_follows: bool,
    /// Notes what it writes to, if this node can do that and has made its memory.
    pub written: Option<Userfaultfd>,
    /// Its memory goes home while it runs.
    pub returning: Option<Returning>,
    /// The guest that has to be home before it.
    pub goes_after: Option<i32>,
}

/// Whether a guest is on its way home.
#[derive(Debug, PartialEq, Eq)]
pub enum Journey {
    /// It is not.
    None,
    /// It is to leave as soon as it can; why, if home has not asked for it.
    Wanted(Option<String>),
    /// Everything of it has been sent; home has still to say that it has arrived.
    Sent,
}

/// What a thread is doing.
///
/// ```text
///            trap                    Return
///   Running ------> AwaitingReturn ---------> Running
///      |  \
///      |   +-- trap that home must do --> Stopped (until the homecoming)
///      +-- job control ----------------> Held ----> Running
///      +-- vfork(2) -------------------> InVfork -> Running (when the child has let go of the memory)
/// ```
#[derive(Debug)]
pub enum ThreadState {
    /// It runs.
    Running,
    /// Stopped at a call that is under way at home.
    AwaitingReturn(Box<PendingCall>),
    /// Would run, if job control had not stopped the process.
    Held,
    /// Waits in the kernel until the child that shares its memory has ended or runs another program.
    InVfork(Box<Vfork>),
    /// Stopped for the way home.
    Stopped,
}

/// How long the child of a vfork(2) may keep its parent from going home. What it writes to their memory is
/// the parent's too only while both are here; most children write next to nothing and execute a program at
/// once.
const VFORK_PATIENCE: Duration = Duration::from_secs(3);

/// A vfork(2) under way.
#[derive(Debug)]
pub struct Vfork {
    /// The child.
    pub child: i32,
    /// The registers with which its parent goes on, but for the call's result.
    pub registers: Registers,
    /// The signals that it has blocked.
    pub mask: SignalSet,
    /// When it began.
    pub began: Instant,
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
    /// Bytes that earlier portions of a long transfer have transferred.
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
    /// As [`Self::StartThread`], for a new process.
    Fork,
    /// Maps the file that home has mapped.
    MapFile(MapFile),
    /// Shared memory is there already. Undone if home failed.
    MapShared {
        /// Where.
        start: u64,
        /// How long.
        length: u64,
    },
    /// The call has been made here, with this result; home was told.
    Made(u64),
}

/// A file mapping under way: the arguments of mmap(2), and what they have become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapFile {
    /// Where room is kept for it.
    pub start: u64,
    /// Its length in whole pages.
    pub length: u64,
    /// PROT_* bits.
    pub protection: u64,
    /// MAP_* bits, as the program gave them.
    pub flags: u64,
    /// Where in the file it begins.
    pub offset: u64,
    /// The number of the object that it shows.
    pub object: u64,
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
    /// Its signal mask as home takes it to be.
    pub mask_at_home: SignalSet,
    /// Its signal mask as home was last told. What it lets through more than this is waited for; what only the
    /// handler of a signal from home has blocked is not, lest a timer that rings often leave the
    /// program no time between its handlers.
    pub mask_told: SignalSet,
    /// All signals that home had sent before it knew this thread's mask have arrived: the next step of
    /// returning what it blocks can be taken.
    pub knows_all_signals: bool,
    /// When the call began, on home's CLOCK_MONOTONIC, which it goes on with since it came here.
    pub waits_since_ns: Option<u64>,
    /// It is on its way through exit(2).
    pub is_exiting: bool,
}

impl GuestThread {
    /// Home is told this mask.
    pub fn tell_mask(&mut self, mask: SignalSet) {
        self.mask_at_home = mask;
        self.mask_told = mask;
    }
}

impl GuestThread {
    /// One that is stopped and has this mask, here and at home.
    pub fn new(thread: ThreadId, tid: i32, mask: SignalSet) -> GuestThread {
        GuestThread {
            thread,
            tid,
            state: ThreadState::Held,
            signals: VecDeque::new(),
            interrupted: None,
            mask_at_home: mask,
            mask_told: mask,
            knows_all_signals: false,
            waits_since_ns: None,
            is_exiting: false,
        }
    }
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

    /// Whether home is making a thread or a process. It has to be made here, too, before the guest leaves:
    /// only then is there anything that it could go on with at home. And a thread in vfork(2) cannot be
    /// stopped.
    pub fn must_wait(&self) -> bool {
        self.threads.iter().any(|thread| match &thread.state {
            ThreadState::AwaitingReturn(pending) => {
                matches!(
                    pending.completion,
                    Completion::StartThread | Completion::Fork
                )
            }
            ThreadState::InVfork(_) => true,
            _ => false,
        })
    }

    /// The children that threads in vfork(2) have been waiting for longer than [`VFORK_PATIENCE`].
    pub fn late_vfork_children(&self) -> impl Iterator<Item = i32> {
        self.threads
            .iter()
            .filter_map(|thread| match &thread.state {
                ThreadState::InVfork(vfork) if vfork.began.elapsed() > VFORK_PATIENCE => {
                    Some(vfork.child)
                }
                _ => None,
            })
    }

    /// Whether this thread waits in vfork(2).
    pub fn is_in_vfork(&mut self, thread: ThreadId) -> bool {
        self.by_thread(thread)
            .is_some_and(|known| matches!(known.state, ThreadState::InVfork(_)))
    }

    /// Lets a stopped thread go on with what it was doing.
    pub fn resume(&mut self, thread: ThreadId, signal: i32) -> io::Result<()> {
        if self.is_in_vfork(thread) {
            ptrace::resume_to_call(thread, signal)
        } else {
            ptrace::resume(thread, signal)
        }
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
