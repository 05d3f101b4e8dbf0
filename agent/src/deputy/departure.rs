//! The source's part of a move out.
//!
//! 1. The process is examined: what keeps it at home is found before anything is touched.
//! 2. The agents connect; the remote node makes an empty guest (`Prepare`, `Prepared`).
//! 3. What does not need a stopped process is sent ([`super::draft`]).
//! 4. All threads are stopped and captured; the scratch area is mapped.
//! 5. Image and the pages that cannot follow are sent; the guest can run (`Restored`).
//! 6. `Commit`: the threads become the deputy. Most of the memory follows ([`super::push`]).
//!
//! If anything fails before step 6, the scratch area goes and the process runs on at home as if nothing
//! had happened.

use std::fs;
use std::time::{Duration, Instant};

use crate::migrate::baseline;
use crate::migrate::cantmove::{self, ExamineError};
use crate::migrate::capture::{self, CaptureError, ThreadToCapture};
use crate::migrate::channel::{Channel, ChannelError, Message};
use crate::migrate::freeze::{self, FreezeError, Frozen};
use crate::migrate::image::{ProcessImage, ThreadImage, Waiting};
use crate::migrate::page_stream::PageStream;
use crate::migrate::pieces::KnownPieces;
use crate::migrate::process_memory::ProcessMemory;
use crate::process::maps::{Mapping, MappingKind};
use crate::process::tasks;
use crate::secure::page_digest::DigestKey;
use crate::sys::call_numbers as number;
use crate::sys::probe::Capabilities;
use crate::sys::ptrace::{self, ThreadId};
use crate::sys::registers::Registers;
use crate::sys::vdso;
use crate::wire::migration::{Prepare, ToDeputy, ToGuest};
use crate::wire::supervisor::{MoveError, NoConnection, NodeName, Reason};

use super::away::{Away, Member};
use super::draft::{Assumed, Draft};
use super::family::Family;
use super::objects::DeputyObjects;
use super::own_memory::MapsViews;
use super::push::Pusher;
use super::scratch::{DeputyScratch, ScratchError};
use super::sending::{Leaver, Sent, known};
use super::threads::{Deputy, DeputyState, DeputyThread, MakingCall};

/// How long the remote node may take to make an empty guest, and to complete it.
const REMOTE_TIMEOUT: Duration = Duration::from_secs(20);

/// The reason that mostly goes away by itself: a thread that changes the address space waits like this for
/// another one to have changed it.
const MOMENTARY: &str = "device-wait";

/// How long such a wait may last before it is a reason.
const MOMENT: Duration = Duration::from_secs(1);

/// Why the process did not leave. It runs on at home, unless it was killed meanwhile.
#[derive(Debug)]
pub enum DepartureError {
    /// The process was killed or has ended.
    Gone,
    /// What keeps it at home, or keeps it from that node.
    CannotMove(Vec<Reason>),
    /// The draft is of no use: it is another program now, or has mapped memory where injected code was to lie.
    Outdated,
    /// The node lets nobody in at the moment: one line.
    Full(String),
    /// Anything else: one line.
    Failed(String),
}

impl DepartureError {
    /// As the agent is told.
    pub fn into_move_error(self) -> MoveError {
        match self {
            Self::Gone => MoveError::Gone,
            Self::CannotMove(reasons) => MoveError::CannotMove(reasons),
            Self::Outdated => MoveError::Failed("its draft is of no use".to_owned()),
            Self::Full(text) => MoveError::Full(text),
            Self::Failed(text) => MoveError::Failed(text),
        }
    }
}

impl From<NoConnection> for DepartureError {
    fn from(error: NoConnection) -> Self {
        if error.is_full {
            Self::Full(error.text)
        } else {
            Self::Failed(error.text)
        }
    }
}

impl From<ChannelError> for DepartureError {
    fn from(error: ChannelError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<CaptureError> for DepartureError {
    fn from(error: CaptureError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<ScratchError> for DepartureError {
    fn from(error: ScratchError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<std::io::Error> for DepartureError {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(format!("the kernel refused: {error}"))
    }
}

impl From<FreezeError> for DepartureError {
    fn from(error: FreezeError) -> Self {
        match error {
            FreezeError::Gone => Self::Gone,
            error => Self::Failed(error.to_string()),
        }
    }
}

/// Whether the process is running or stands at an exec that we have waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nobody traces it.
    Running,
    /// We trace it, and it stands at the first instruction of its program.
    AtExec,
}

/// Step 1. What keeps the process at home only for a moment is waited for.
pub fn examine_patiently(pid: ThreadId) -> Result<(), DepartureError> {
    let deadline = Instant::now() + MOMENT;
    loop {
        match examine(pid) {
            Err(DepartureError::CannotMove(reasons))
                if reasons.iter().all(|reason| reason.code == MOMENTARY)
                    && Instant::now() < deadline =>
            {
                // Nothing tells of the end of such a wait but looking.
                std::thread::sleep(Duration::from_millis(5));
            }
            outcome => return outcome,
        }
    }
}

fn examine(pid: ThreadId) -> Result<(), DepartureError> {
    accept(cantmove::examine_supervised(
        pid.cast_unsigned(),
        std::process::id(),
    ))
}

fn accept(examined: Result<Vec<Reason>, ExamineError>) -> Result<(), DepartureError> {
    let reasons = examined.map_err(|error| DepartureError::Failed(error.to_string()))?;
    if reasons.is_empty() {
        Ok(())
    } else {
        Err(DepartureError::CannotMove(reasons))
    }
}

/// Step 2, first half: asks for an empty guest.
pub fn prepare(
    channel: &mut Channel,
    pid: ThreadId,
    capabilities: &Capabilities,
) -> Result<(), DepartureError> {
    let tids = tasks::read(pid.cast_unsigned())
        .map_err(|error| DepartureError::Failed(error.to_string()))?;
    let prepare = Prepare {
        pid,
        highest_tid: tids.into_iter().max().unwrap_or_default(),
        capabilities: baseline::relied_on(capabilities, pid.cast_unsigned())
            .map_err(|error| DepartureError::Failed(error.to_string()))?,
        possible_cpus: possible_cpus(),
    };
    Ok(channel.send(&ToGuest::Prepare(prepare), &[])?)
}

/// Step 2, second half: the empty guest is there. Whether its memory may follow it. What its node has of files
/// need not be sent from here on.
pub fn prepared(channel: &mut Channel, piece_key: &DigestKey) -> Result<bool, DepartureError> {
    let (takes_pages_later, pieces) = expect_with_payload(channel, |message| match message {
        ToDeputy::Prepared { takes_pages_later } => Some(*takes_pages_later),
        _ => None,
    })?;
    channel.name_pieces(KnownPieces::new(piece_key.clone(), &pieces));
    Ok(takes_pages_later)
}

/// Waits for the one answer that lets the move go on.
pub(super) fn expect<T>(
    channel: &mut Channel,
    wanted: impl Fn(&ToDeputy) -> Option<T>,
) -> Result<T, DepartureError> {
    Ok(expect_with_payload(channel, wanted)?.0)
}

fn expect_with_payload<T>(
    channel: &mut Channel,
    wanted: impl Fn(&ToDeputy) -> Option<T>,
) -> Result<(T, Vec<u8>), DepartureError> {
    loop {
        let message: Message<ToDeputy> = channel.receive(REMOTE_TIMEOUT)?;
        if let Some(answer) = wanted(&message.header) {
            return Ok((answer, message.payload));
        }
        return match message.header {
            ToDeputy::AskClocks => {
                channel.send(&clocks_now(), &[])?;
                continue;
            }
            ToDeputy::Refused(reasons) => Err(DepartureError::CannotMove(reasons)),
            ToDeputy::Failed(text) => Err(DepartureError::Failed(text)),
            other => Err(DepartureError::Failed(format!(
                "the remote node answered {other:?}"
            ))),
        };
    }
}

fn clocks_now() -> ToGuest {
    use rustix::time::{ClockId, clock_gettime};
    let nanoseconds = |clock| {
        let now = clock_gettime(clock);
        now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
    };
    ToGuest::Clocks {
        monotonic_ns: nanoseconds(ClockId::Monotonic),
        boottime_ns: nanoseconds(ClockId::Boottime),
    }
}

/// Number of CPUs that this kernel can ever have; the last number in "0-7" or "0".
fn possible_cpus() -> u32 {
    let text = fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = text
        .trim()
        .rsplit(['-', ','])
        .next()
        .and_then(|number| number.parse::<u32>().ok());
    last.map_or(1, |last| last.saturating_add(1))
}

/// A process that has just left.
pub struct Departed {
    /// It alone.
    pub family: Family,
    /// When its first thread was stopped.
    pub freeze_start: Instant,
}

/// Steps 4 to 6.
pub fn depart(
    mut channel: Channel,
    pages: Option<PageStream>,
    pid: ThreadId,
    start: Start,
    draft: Option<Draft>,
    node: NodeName,
) -> Result<Departed, DepartureError> {
    let freeze_start = Instant::now();
    let frozen = match start {
        Start::Running => freeze::freeze(pid)?,
        Start::AtExec => Frozen::at_exec(pid),
    };
    match stop_and_send(&mut channel, &frozen, pages, draft) {
        Ok(Leaving {
            deputy,
            pusher,
            unseen,
        }) => {
            channel.send(&ToGuest::Commit, &[])?;
            let mut family = Family::new(channel, node, Member::new(deputy));
            family.pusher = pusher;
            let mut view = family.view(0);
            view.settle_in()
                .map_err(|error| DepartureError::Failed(error.to_string()))?;
            if unseen.is_some_and(|assumed| !assumed.holds(pid)) {
                view.recall_for(MEMORY_CHANGED)
                    .map_err(|error| DepartureError::Failed(error.to_string()))?;
            }
            Ok(Departed {
                family,
                freeze_start,
            })
        }
        Err(error) => {
            frozen.release();
            Err(error)
        }
    }
}

/// Why a guest comes home whose memory was not what it was taken for.
pub(super) const MEMORY_CHANGED: &str = "it changed the use of its memory just as it left";

/// A process that may leave.
struct Leaving {
    deputy: Deputy,
    /// Who sends its memory after it, if there is a connection for that.
    pusher: Option<Pusher>,
    /// What is still to be looked at, and not by the pusher.
    unseen: Option<Assumed>,
}

fn stop_and_send(
    channel: &mut Channel,
    frozen: &Frozen,
    page_stream: Option<PageStream>,
    mut draft: Option<Draft>,
) -> Result<Leaving, DepartureError> {
    let known = known(frozen.pid, draft.as_ref())?;
    // What may have changed since the examination, now that nothing changes any more.
    let examined = cantmove::examine_mapped(
        frozen.pid.cast_unsigned(),
        std::process::id(),
        known.details.clone(),
    );
    accept(examined)?;
    refuse_dispatched_calls(&frozen.threads)?;
    frozen.hold()?;
    let memory = ProcessMemory::open(frozen.pid)?;
    let mappings: Vec<Mapping> = known.details.iter().map(|it| it.mapping.clone()).collect();
    let instruction = syscall_instruction(&mappings, &memory)?;
    let scratch = match &draft {
        Some(draft) => draft.scratch(),
        None => DeputyScratch::choose(&mappings, frozen.threads.len()).ok_or_else(|| {
            DepartureError::Failed("the process has used up its address space".into())
        })?,
    };

    let threads: Vec<ThreadToCapture> = frozen
        .threads
        .iter()
        .map(|&thread| ThreadToCapture {
            thread,
            tid: thread,
            asleep: frozen.asleep_in(thread),
            forwarded_call: None,
        })
        .collect();
    let before: Vec<Registers> = frozen
        .threads
        .iter()
        .map(|&thread| ptrace::registers(thread))
        .collect::<Result<_, _>>()?;
    let images = capture::capture_threads(&threads, &memory)?;
    let undo = Undo {
        images: images.clone(),
        before: before.clone(),
        instruction,
    };
    let mut leaver = Leaver {
        channel,
        draft: draft.as_mut(),
        known: &known,
        memory: &memory,
        scratch: &scratch,
    };
    let sent = scratch
        .map(frozen.pid, instruction, &memory)
        .map_err(DepartureError::from)
        .and_then(|()| leaver.capture_and_send(page_stream, &threads, images));
    match sent {
        Ok(Sent {
            image,
            objects,
            pusher,
        }) => {
            let is_unseen = draft.is_some() && pusher.is_none();
            let unseen = is_unseen.then(|| Assumed::of(&known));
            let deputy = deputy_of(
                frozen.pid,
                image,
                &before,
                memory,
                scratch,
                instruction,
                objects,
            );
            Ok(Leaving {
                deputy,
                pusher,
                unseen,
            })
        }
        Err(error) => {
            undo.apply(frozen.pid, &scratch);
            Err(error)
        }
    }
}

/// A thread whose calls become signals of its own would get them for ours, too. Only its tracer can tell.
fn refuse_dispatched_calls(threads: &[ThreadId]) -> Result<(), DepartureError> {
    for &thread in threads {
        if ptrace::dispatches_calls(thread)? {
            let text = format!(
                "thread {thread} has its system calls turned into signals (syscall user dispatch), as Wine \
                 does; it can move once it has switched that off"
            );
            return Err(DepartureError::CannotMove(vec![Reason {
                code: "call-dispatch".to_owned(),
                text,
            }]));
        }
    }
    Ok(())
}

/// A `syscall` instruction of the process's own, in its vDSO.
pub(super) fn syscall_instruction(
    mappings: &[Mapping],
    memory: &ProcessMemory,
) -> Result<u64, DepartureError> {
    let none = || DepartureError::Failed("the process has no vDSO to make calls with".into());
    let mapping = mappings
        .iter()
        .find(|mapping| mapping.kind == MappingKind::Vdso);
    let mapping = mapping.ok_or_else(none)?;
    let mut code = vec![0; mapping.size_bytes() as usize];
    let read = memory.read_available(mapping.start, &mut code);
    let offset = vdso::find_syscall_instruction(&code[..read]).ok_or_else(none)?;
    Ok(mapping.start + offset as u64)
}

fn deputy_of(
    pid: ThreadId,
    mut image: ProcessImage,
    before: &[Registers],
    memory: ProcessMemory,
    scratch: DeputyScratch,
    own_instruction: u64,
    objects: DeputyObjects,
) -> Deputy {
    let threads: Vec<DeputyThread> = std::mem::take(&mut image.threads)
        .into_iter()
        .zip(before)
        .enumerate()
        .map(|(slot, (image, &base))| DeputyThread {
            scheduling: image.scheduling.clone(),
            tid: image.tid,
            state: DeputyState::Stopped,
            base,
            mask: image.signal_mask,
            image: Some(image),
            slot,
            calls_made: 0,
            last_return: None,
        })
        .collect();
    Deputy {
        pid,
        threads,
        memory,
        scratch,
        own_instruction,
        objects,
        views: MapsViews::default(),
        signal_actions: image.signal_actions.clone(),
        limits: image.limits,
        image,
        visible: None,
        is_stopped: false,
    }
}

/// How to put a process back as it was before step 3.
struct Undo {
    images: Vec<ThreadImage>,
    before: Vec<Registers>,
    instruction: u64,
}

impl Undo {
    /// What cannot be undone is logged: the process then is being killed, or the kernel refuses what it
    /// has just allowed.
    fn apply(&self, pid: ThreadId, scratch: &DeputyScratch) {
        if let Err(error) = scratch.unmap(pid, self.instruction) {
            log::warn!("the scratch area of process {pid} stays: {error}");
        }
        for (image, before) in self.images.iter().zip(&self.before) {
            let registers = settled_in_place(image, *before, false);
            let restored = ptrace::set_registers(image.tid, &registers)
                .and_then(|()| ptrace::set_signal_mask(image.tid, image.signal_mask));
            if let Err(error) = restored {
                log::warn!("thread {} could not be put back: {error}", image.tid);
            }
        }
    }
}

/// The registers with which a thread goes on at home from where it was stopped.
pub fn settled_in_place(image: &ThreadImage, before: Registers, is_overwritten: bool) -> Registers {
    let mut registers = before;
    // The capture may have led it out of an rseq critical section.
    registers.rip = match image.waiting {
        Waiting::No if !before.in_call() => image.registers.rip,
        _ => before.rip,
    };
    let continued = number::SYS_restart_syscall.cast_unsigned();
    if is_overwritten && registers.orig_rax == continued {
        registers.orig_rax = image.interrupted_call();
    }
    capture::settle_in_place(&mut registers, is_overwritten);
    registers
}

impl Away<'_> {
    /// Step 6, after `Commit`: parks the threads, and lets those that left home inside a call which only
    /// this kernel can continue go on with it.
    fn settle_in(&mut self) -> Result<(), super::away::Trouble> {
        self.keep_views()?;
        let threads: Vec<(ThreadId, bool)> = self
            .deputy
            .threads
            .iter()
            .map(|thread| {
                let waits = thread.image.as_ref().map(|image| image.waiting);
                (thread.tid, waits == Some(Waiting::ForHome))
            })
            .collect();
        for (tid, waits_for_home) in threads {
            if waits_for_home {
                let Some(thread) = self.deputy.thread(tid) else {
                    continue;
                };
                let mut registers = thread.base;
                registers.rewind_to_call(number::SYS_restart_syscall as u64);
                ptrace::set_signal_mask(tid, thread.mask)?;
                ptrace::set_registers(tid, &registers)?;
                self.begin(tid, MakingCall::at_home())?;
            } else {
                self.deputy.park(tid)?;
            }
        }
        Ok(())
    }
}
