//! The source's part of a move out.
//!
//! 1. The process is examined: what keeps it at home is found before anything is touched.
//! 2. The agents connect; the remote node makes an empty guest (`Prepare`, `Prepared`).
//! 3. All threads are stopped and captured; the scratch area is mapped.
//! 4. Image, contents of objects and the pages that cannot follow are sent; the guest can run (`Restored`).
//! 5. `Commit`: the threads become the deputy. Most of the memory follows ([`super::push`]).
//!
//! If anything fails before step 5, the scratch area goes and the process runs on at home as if nothing
//! had happened.

use std::fs;
use std::time::{Duration, Instant};

use crate::migrate::attributes::{self, Attribute};
use crate::migrate::baseline;
use crate::migrate::cantmove;
use crate::migrate::capture::{self, CaptureError, ThreadToCapture};
use crate::migrate::channel::{Channel, ChannelError, Message};
use crate::migrate::freeze::{self, FreezeError, Frozen};
use crate::migrate::image::{ProcessImage, ThreadImage, Waiting};
use crate::migrate::inject::Scratch;
use crate::migrate::objects::Sources;
use crate::migrate::page_stream::PageStream;
use crate::migrate::pages::{self, PageMap};
use crate::migrate::process_memory::ProcessMemory;
use crate::migrate::resource_limits::{Limits, used_cpu_seconds};
use crate::migrate::scheduling::Scheduling;
use crate::process::maps::{self, Mapping, MappingKind};
use crate::process::tasks;
use crate::sys::call_numbers as number;
use crate::sys::probe::Capabilities;
use crate::sys::ptrace::{self, ThreadId};
use crate::sys::registers::Registers;
use crate::sys::vdso;
use crate::wire::migration::{Prepare, ToDeputy, ToGuest};
use crate::wire::supervisor::{MoveError, NodeName, PagesToken, Reason};

use super::away::{Away, Member};
use super::family::Family;
use super::objects::DeputyObjects;
use super::own_memory::MapsViews;
use super::parting::Parting;
use super::push::Pusher;
use super::scratch::{DeputyScratch, ScratchError};
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
    /// Anything else: one line.
    Failed(String),
}

impl DepartureError {
    /// As the agent is told.
    pub fn into_move_error(self) -> MoveError {
        match self {
            Self::Gone => MoveError::Gone,
            Self::CannotMove(reasons) => MoveError::CannotMove(reasons),
            Self::Failed(text) => MoveError::Failed(text),
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
    let reasons = cantmove::examine_supervised(pid.cast_unsigned(), std::process::id())
        .map_err(|error| DepartureError::Failed(error.to_string()))?;
    if reasons.is_empty() {
        Ok(())
    } else {
        Err(DepartureError::CannotMove(reasons))
    }
}

/// Step 2: from the connection to an empty guest. Whether its memory may follow it.
pub fn prepare(
    channel: &mut Channel,
    pid: ThreadId,
    capabilities: &Capabilities,
    pages: PagesToken,
) -> Result<bool, DepartureError> {
    let tids = tasks::read(pid.cast_unsigned())
        .map_err(|error| DepartureError::Failed(error.to_string()))?;
    let prepare = Prepare {
        pid,
        highest_tid: tids.into_iter().max().unwrap_or_default(),
        capabilities: baseline::relied_on(capabilities, pid.cast_unsigned())
            .map_err(|error| DepartureError::Failed(error.to_string()))?,
        possible_cpus: possible_cpus(),
        pages,
    };
    channel.send(&ToGuest::Prepare(prepare), &[])?;
    expect(channel, |message| match message {
        ToDeputy::Prepared { takes_pages_later } => Some(*takes_pages_later),
        _ => None,
    })
}

/// Waits for the one answer that lets the move go on.
fn expect<T>(
    channel: &mut Channel,
    wanted: impl Fn(&ToDeputy) -> Option<T>,
) -> Result<T, DepartureError> {
    loop {
        let message: Message<ToDeputy> = channel.receive(REMOTE_TIMEOUT)?;
        if let Some(answer) = wanted(&message.header) {
            return Ok(answer);
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

/// Steps 3 to 5.
pub fn depart(
    mut channel: Channel,
    pages: Option<PageStream>,
    pid: ThreadId,
    start: Start,
    node: NodeName,
) -> Result<Departed, DepartureError> {
    let freeze_start = Instant::now();
    let frozen = match start {
        Start::Running => freeze::freeze(pid)?,
        Start::AtExec => Frozen::at_exec(pid),
    };
    match stop_and_send(&mut channel, &frozen, pages) {
        Ok((deputy, pusher)) => {
            channel.send(&ToGuest::Commit, &[])?;
            let mut family = Family::new(channel, node, Member::new(deputy));
            family.pusher = pusher;
            family
                .view(0)
                .settle_in()
                .map_err(|error| DepartureError::Failed(error.to_string()))?;
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

/// The deputy, and who sends its memory after it if there is a connection for that.
fn stop_and_send(
    channel: &mut Channel,
    frozen: &Frozen,
    page_stream: Option<PageStream>,
) -> Result<(Deputy, Option<Pusher>), DepartureError> {
    // What may have changed since the examination, now that nothing changes any more.
    examine(frozen.pid)?;
    refuse_dispatched_calls(&frozen.threads)?;
    frozen.hold()?;
    let memory = ProcessMemory::open(frozen.pid)?;
    let mappings = maps::read(frozen.pid.cast_unsigned())
        .map_err(|error| DepartureError::Failed(error.to_string()))?;
    let instruction = syscall_instruction(&mappings, &memory)?;
    let scratch = DeputyScratch::choose(&mappings, frozen.threads.len()).ok_or_else(|| {
        DepartureError::Failed("the process has used up its address space".into())
    })?;

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
    let sent = scratch
        .map(frozen.pid, instruction, &memory)
        .map_err(DepartureError::from)
        .and_then(|()| capture_and_send(channel, page_stream, &threads, images, &memory, &scratch));
    match sent {
        Ok(Sent {
            image,
            objects,
            pusher,
        }) => {
            let deputy = deputy_of(
                frozen.pid,
                image,
                &before,
                memory,
                scratch,
                instruction,
                objects,
            );
            Ok((deputy, pusher))
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

/// What has been sent.
struct Sent {
    image: ProcessImage,
    objects: DeputyObjects,
    /// Who sends what goes later.
    pusher: Option<Pusher>,
}

fn capture_and_send(
    channel: &mut Channel,
    page_stream: Option<PageStream>,
    threads: &[ThreadToCapture],
    images: Vec<ThreadImage>,
    memory: &ProcessMemory,
    scratch: &DeputyScratch,
) -> Result<Sent, DepartureError> {
    let mut objects = DeputyObjects::default();
    let mut numbering = objects.numbering();
    let (mut image, details) =
        capture::capture_process(threads, images, memory, &scratch.shared, &mut numbering)?;
    // The slots are no part of the program either.
    let area = scratch.range();
    image
        .mappings
        .retain(|mapping| !area.contains(&mapping.start));
    let sources = Sources::open(image.pid, &image.mappings, &details)?;
    image.objects = sources.images.clone();
    image.limits = Limits::of(image.pid)?;
    image.used_cpu_seconds = used_cpu_seconds(image.pid)?;
    for thread in &mut image.threads {
        thread.scheduling = Scheduling::of(thread.tid)?;
        thread.attributes = attributes_of(thread.tid, memory, &scratch.shared)?;
    }
    let regions = pages::regions(&image.mappings, &details);
    let parting = Parting::of(regions, &image, page_stream.is_some());
    let header = ToGuest::Depart {
        image: Box::new(image.clone()),
        scratch: scratch.shared,
        later: parting.later_pairs(),
    };
    channel.send(&header, &[])?;
    let pid = image.pid;
    let mut count = sources.send_all(
        &image.mappings,
        memory,
        false,
        |object, offset, contents| {
            channel
                .send(
                    &ToGuest::ObjectPages {
                        pid,
                        object,
                        offset,
                    },
                    contents,
                )
                .map_err(DepartureError::from)
        },
    )?;
    let page_map = PageMap::open(image.pid)?;
    count += pages::for_each_run(&parting.now, memory, &page_map, |address, contents| {
        channel
            .send(&ToGuest::Pages { pid, address }, contents)
            .map_err(DepartureError::from)
    })?;
    channel.send(&ToGuest::PagesEnd { count }, &[])?;
    expect(channel, |message| {
        matches!(message, ToDeputy::Restored).then_some(())
    })?;
    let pusher = page_stream
        .filter(|_| !parting.later.is_empty())
        .map(|stream| Pusher::start(pid, stream, &parting.later))
        .transpose()?;
    Ok(Sent {
        image,
        objects,
        pusher,
    })
}

/// What a stopped thread has set by prctl(2) and arch_prctl(2) that acts where it runs.
fn attributes_of(
    thread: ThreadId,
    memory: &ProcessMemory,
    scratch: &Scratch,
) -> Result<Vec<Attribute>, DepartureError> {
    let mut calls = attributes::questions(scratch.data);
    let run = scratch.run(thread, memory, &mut calls);
    run.map_err(CaptureError::from)?;
    let words = [memory.word(scratch.data)?, memory.word(scratch.data + 8)?];
    Ok(attributes::answers(&calls, words))
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
    /// Step 5, after `Commit`: parks the threads, and lets those that left home inside a call which only
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
