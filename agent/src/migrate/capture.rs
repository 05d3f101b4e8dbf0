//! Making the image of a stopped process: at home on departure, on the remote node on return.
//!
//! 1. Per thread: registers, extended state, mask, rseq, robust list, name; then all signals blocked.
//! 2. By one injected list of calls in the leader: every signal's action, the program break.
//! 3. By one injected list in each thread: the address to clear at its end, its alternate stack.
//!
//! Registers are read before anything is injected: the kernel restarts interrupted calls lazily, and the
//! first injected call would make it forget rseq critical sections.

use std::io;
use std::ops::Range;

use crate::process::maps::MappingKind;
use crate::process::smaps::{self, MappingDetail};
use crate::process::{ReadError, stat};
use crate::sys::blob::Call;
use crate::sys::call_numbers as number;
use crate::sys::ptrace::{self, ThreadId};
use crate::sys::registers::{NO_CALL, Registers};
use crate::sys::robust_list;
use crate::sys::signal::{SIGNAL_ACTION_BYTES, SIGNAL_MAX, SignalAction, SignalSet, numbers};
use crate::syscall::{self, Class};

use super::advice::Advice;
use super::asleep::Asleep;
use super::image::{
    MappingImage, MemoryLayout, ProcessImage, RseqImage, ThreadImage, VdsoImage, Waiting,
};
use super::inject::{InjectError, Scratch, TOGETHER_MAX, Task};
use super::objects::Objects;
use super::pages::PageMap;
use super::process_memory::ProcessMemory;
use super::resource_limits::Limits;
use super::scheduling::Scheduling;

/// Why no image could be made.
#[derive(Debug)]
pub enum CaptureError {
    /// A call could not be injected.
    Inject(InjectError),
    /// ptrace refused to tell a thread's state.
    Thread(ThreadId, io::Error),
    /// /proc could not be read.
    Process(ReadError),
    /// An injected call failed: its name, and errno.
    Call(&'static str, i64),
}

impl std::fmt::Display for CaptureError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inject(error) => error.fmt(out),
            Self::Thread(thread, error) => {
                write!(out, "the state of thread {thread} cannot be read: {error}")
            }
            Self::Process(error) => error.fmt(out),
            Self::Call(name, errno) => {
                write!(out, "the process's own {name} failed: errno {errno}")
            }
        }
    }
}

impl std::error::Error for CaptureError {}

impl From<InjectError> for CaptureError {
    fn from(error: InjectError) -> Self {
        Self::Inject(error)
    }
}

/// A thread to be captured: as our namespace numbers it, and as home does.
#[derive(Clone, Copy, Debug)]
pub struct ThreadToCapture {
    /// Our number.
    pub thread: ThreadId,
    /// Home's number.
    pub tid: i32,
    /// What it slept in when it was stopped.
    pub asleep: Option<Asleep>,
    /// The forwarded call that it is waiting for, if any, and what earlier portions of it have moved: its
    /// registers are taken as they are.
    pub forwarded_call: Option<(u64, u64)>,
}

/// Kernel-internal results of interrupted calls (include/linux/errno.h); user space never sees them.
pub mod restart {
    /// Restart if no handler ran, or if its action has SA_RESTART.
    pub const ERESTARTSYS: i64 = -512;
    /// Restart always.
    pub const ERESTARTNOINTR: i64 = -513;
    /// Restart if no handler ran.
    pub const ERESTARTNOHAND: i64 = -514;
    /// Continue by restart_syscall(2) with what the kernel remembers, if no handler ran.
    pub const ERESTART_RESTARTBLOCK: i64 = -516;
    /// Whether a call's result is one of these.
    pub fn is_restart(result: i64) -> bool {
        matches!(
            result,
            ERESTARTSYS | ERESTARTNOINTR | ERESTARTNOHAND | ERESTART_RESTARTBLOCK
        )
    }
}

const EINTR: i64 = -4;

/// Sets up the registers of a thread that was stopped at any moment so that it can go on elsewhere, and
/// tells what it waits for.
///
/// A call that our stop has interrupted is made again from its beginning, which is what the kernel
/// would do. One that only restart_syscall(2) can continue has to be finished where it began.
pub fn settle_registers(registers: &mut Registers) -> Waiting {
    if !registers.in_call() {
        return Waiting::No;
    }
    let call = registers.orig_rax;
    match registers.result() {
        restart::ERESTARTSYS | restart::ERESTARTNOINTR | restart::ERESTARTNOHAND => {
            registers.rewind_to_call(call);
        }
        // A futex's waker will be elsewhere: only the thread's new kernel can wait for it.
        restart::ERESTART_RESTARTBLOCK if call == number::SYS_futex.cast_unsigned() => {
            registers.rewind_to_call(call);
        }
        restart::ERESTART_RESTARTBLOCK => return Waiting::ForHome,
        // Some calls are interrupted by a stop although no handler ran (signal(7)); unmoved, the
        // program would not have seen this EINTR.
        EINTR if restarts_after_stop(call, &registers.arguments()) => {
            registers.rewind_to_call(call);
        }
        _ => registers.orig_rax = NO_CALL,
    }
    Waiting::No
}

/// Rewinds a thread whose call was ended by a signal that does nothing, and only because the thread is traced.
/// The kernel restarts most calls by itself; `false` if there is nothing to do.
pub fn undo_false_interruption(registers: &mut Registers) -> bool {
    let call = registers.orig_rax;
    let is_false = registers.in_call()
        && registers.result() == EINTR
        && restarts_after_stop(call, &registers.arguments());
    if is_false {
        registers.rewind_to_call(call);
    }
    is_false
}

/// Whether a stop may end this call with EINTR although no handler ran (signal(7)).
fn restarts_after_stop(call: u64, arguments: &[u64; 6]) -> bool {
    let class = syscall::lookup(call).map(|known| syscall::resolve(known, arguments));
    matches!(
        class,
        Some(Class::Forward(forward) | Class::Special(_, Some(forward)))
            if forward.facts.restart_after_stop
    )
}

/// As [`settle_registers`], for a thread that goes on where it was stopped: what the kernel remembers of
/// its call is still there, unless `is_overwritten` says that other calls have been made since.
pub fn settle_in_place(registers: &mut Registers, is_overwritten: bool) {
    if registers.in_call() && registers.result() == restart::ERESTART_RESTARTBLOCK {
        let call = registers.orig_rax;
        let number = if is_overwritten {
            call
        } else {
            number::SYS_restart_syscall as u64
        };
        registers.rewind_to_call(number);
    } else {
        settle_registers(registers);
    }
}

/// Step 1, before anything is injected: what ptrace alone tells of each thread; then blocks all signals.
pub fn capture_threads(
    threads: &[ThreadToCapture],
    memory: &ProcessMemory,
) -> Result<Vec<ThreadImage>, CaptureError> {
    let images: Result<Vec<_>, _> = threads
        .iter()
        .map(|thread| capture_registers(thread, memory))
        .collect();
    for thread in threads {
        ptrace::set_signal_mask(thread.thread, SignalSet::ALL)
            .map_err(|error| CaptureError::Thread(thread.thread, error))?;
    }
    images
}

/// What a stopped process has mapped, and its guard pages as far as the kernel tells.
pub struct Known {
    /// Its mappings.
    pub details: Vec<MappingDetail>,
    /// Ascending.
    pub guards: Option<Vec<Range<u64>>>,
}

impl Known {
    /// Of a process of which nothing is known yet.
    pub fn of(leader: ThreadId) -> Result<Known, CaptureError> {
        let details = smaps::read(leader.cast_unsigned()).map_err(CaptureError::Process)?;
        let guards = PageMap::open(leader)
            .and_then(|page_map| page_map.guards_of(&details))
            .map_err(|error| CaptureError::Thread(leader, error))?;
        Ok(Known { details, guards })
    }
}

/// Steps 2 and 3: the rest of the process, by injected calls. The leader is the first of `threads`.
pub fn capture_process(
    threads: &[ThreadToCapture],
    mut images: Vec<ThreadImage>,
    memory: &ProcessMemory,
    scratch: &Scratch,
    known: &Known,
    objects: &mut dyn Objects,
) -> Result<ProcessImage, CaptureError> {
    let leader = threads[0];
    let (signal_actions, brk) = capture_actions(leader.thread, memory, scratch)?;
    capture_addresses(threads, memory, scratch, &mut images)?;
    let pid = leader.thread.cast_unsigned();
    let Known { details, guards } = known;
    let image = ProcessImage {
        pid: leader.tid,
        threads: images,
        mappings: mapping_images(details, scratch, objects),
        objects: Vec::new(),
        guards: guards
            .as_ref()
            .map(|runs| runs.iter().map(|run| (run.start, run.end)).collect()),
        advice_unknown: Advice::NONE,
        limits: Limits::default(),
        used_cpu_seconds: 0,
        barriers: registered_barriers(leader.thread, scratch)?,
        signal_actions,
        memory_layout: memory_layout(pid, brk)?,
        vdso: vdso_image(details, memory),
    };
    Ok(image)
}

fn capture_registers(
    thread: &ThreadToCapture,
    memory: &ProcessMemory,
) -> Result<ThreadImage, CaptureError> {
    let id = thread.thread;
    let fail = |error| CaptureError::Thread(id, error);
    let mut registers = ptrace::registers(id).map_err(fail)?;
    let rseq = ptrace::rseq_configuration(id).map_err(fail)?;
    if let Some(rseq) = rseq {
        leave_critical_section(&mut registers, rseq.address, memory);
    }
    if let Some(asleep) = thread.asleep {
        registers.orig_rax = asleep.number;
    }
    let stopped_at = registers.rip;
    let mut waiting = match thread.forwarded_call {
        Some((call, done)) => Waiting::ForReturn { call, done },
        None => settle_registers(&mut registers),
    };
    let is_made_again = waiting == Waiting::No && registers.rip != stopped_at;
    if is_made_again && let Some(began_ns) = thread.asleep.and_then(|asleep| asleep.began_ns) {
        waiting = Waiting::Since { began_ns };
    }
    Ok(ThreadImage {
        tid: thread.tid,
        registers,
        extended_state: ptrace::extended_state(id).map_err(fail)?,
        signal_mask: ptrace::signal_mask(id).map_err(fail)?,
        rseq: rseq.map(|rseq| RseqImage {
            address: rseq.address,
            size_bytes: rseq.size_bytes,
            signature: rseq.signature,
        }),
        robust_list: robust_list::of_thread(id).map_err(fail)?,
        clear_tid_address: 0,
        alternate_stack: (0, 0, 0),
        name: thread_name(id),
        scheduling: Scheduling::default(),
        attributes: Vec::new(),
        waiting,
    })
}

/// The name that the thread shows; a thread that ends meanwhile has none, and is found out later.
fn thread_name(thread: ThreadId) -> String {
    let bytes = std::fs::read(format!("/proc/{thread}/comm")).unwrap_or_default();
    String::from_utf8_lossy(&bytes)
        .trim_end_matches('\n')
        .to_owned()
}

/// A thread inside an rseq critical section continues at its abort handler, as after any preemption
/// (kernel/rseq.c): `struct rseq_cs` is version, flags, start, length, abort address.
fn leave_critical_section(registers: &mut Registers, rseq: u64, memory: &ProcessMemory) {
    const SECTION_OFFSET: u64 = 8;
    let Ok(section) = memory.word(rseq + SECTION_OFFSET) else {
        return;
    };
    if section == 0 {
        return;
    }
    let field = |index: u64| memory.word(section + 8 * index);
    if let (Ok(start), Ok(length), Ok(abort)) = (field(1), field(2), field(3))
        && registers.rip.wrapping_sub(start) < length
    {
        registers.rip = abort;
    }
}

fn capture_actions(
    leader: ThreadId,
    memory: &ProcessMemory,
    scratch: &Scratch,
) -> Result<(Vec<SignalAction>, u64), CaptureError> {
    let place = |signal: i32| scratch.data + (signal as u64 - 1) * SIGNAL_ACTION_BYTES as u64;
    let set_bytes = size_of::<u64>() as u64;
    let mut calls: Vec<Call> = (1..=SIGNAL_MAX)
        .map(|signal| {
            let arguments = [signal as u64, 0, place(signal), set_bytes, 0, 0];
            Call::new(number::SYS_rt_sigaction, arguments)
        })
        .collect();
    calls.push(Call::new(number::SYS_brk, [0; 6]));
    scratch.run(leader, memory, &mut calls)?;

    let mut bytes = [0; SIGNAL_MAX as usize * SIGNAL_ACTION_BYTES];
    memory
        .read(place(1), &mut bytes)
        .map_err(|error| CaptureError::Thread(leader, error))?;
    let (each, _) = bytes.as_chunks::<SIGNAL_ACTION_BYTES>();
    let actions: Vec<SignalAction> = each.iter().map(SignalAction::from_bytes).collect();
    let mut asked = calls[..actions.len()].iter();
    if let Some(refused) = asked.find(|call| call.result != 0) {
        return Err(CaptureError::Call("rt_sigaction", -refused.result));
    }
    let trap = actions[numbers::SIGTRAP as usize - 1];
    if trap.handler == SignalAction::IGNORE {
        // The list's final int3 has made the kernel reset an ignored SIGTRAP (force_sig): set it again.
        let at = scratch.data;
        memory
            .write(at, &trap.to_bytes())
            .map_err(|error| CaptureError::Thread(leader, error))?;
        let arguments = [numbers::SIGTRAP as u64, at, 0, set_bytes, 0, 0];
        scratch.call(leader, number::SYS_rt_sigaction, arguments)?;
    }
    Ok((actions, calls[SIGNAL_MAX as usize].result.cast_unsigned()))
}

/// What the process has registered for with membarrier(2). Before Linux 6.3 nobody tells: then for all that
/// there is, which allows it more than it asked for.
fn registered_barriers(leader: ThreadId, scratch: &Scratch) -> Result<u32, CaptureError> {
    const GET_REGISTRATIONS: u64 = 0x200;
    const ALL: u32 = 0x4 | 0x10 | 0x40 | 0x100;
    let arguments = [GET_REGISTRATIONS, 0, 0, 0, 0, 0];
    let registered = scratch.call(leader, number::SYS_membarrier, arguments)?;
    Ok(u32::try_from(registered).unwrap_or(ALL))
}

const PR_GET_TID_ADDRESS: u64 = 40;

/// What each thread has registered: where its end is noted, and its alternate stack.
fn capture_addresses(
    threads: &[ThreadToCapture],
    memory: &ProcessMemory,
    scratch: &Scratch,
    images: &mut [ThreadImage],
) -> Result<(), CaptureError> {
    /// A word, and a `stack_t`.
    const PLACE_BYTES: usize = 32;
    const STACK_OFFSET: usize = 8;
    for (threads, images) in threads
        .chunks(TOGETHER_MAX)
        .zip(images.chunks_mut(TOGETHER_MAX))
    {
        let places = (scratch.data..).step_by(PLACE_BYTES);
        let tasks = threads.iter().zip(places).map(|(thread, place)| Task {
            thread: thread.thread,
            calls: vec![
                Call::new(number::SYS_prctl, [PR_GET_TID_ADDRESS, place, 0, 0, 0, 0]),
                Call::new(
                    number::SYS_sigaltstack,
                    [0, place + STACK_OFFSET as u64, 0, 0, 0, 0],
                ),
            ],
        });
        let mut tasks: Vec<Task> = tasks.collect();
        scratch.run_on_each(memory, &mut tasks)?;
        let mut written = vec![0; threads.len() * PLACE_BYTES];
        memory
            .read(scratch.data, &mut written)
            .map_err(|error| CaptureError::Thread(threads[0].thread, error))?;
        let places = written.as_chunks::<PLACE_BYTES>().0;
        for ((task, place), image) in tasks.iter().zip(places).zip(images) {
            let names = ["prctl(PR_GET_TID_ADDRESS)", "sigaltstack"];
            for (call, name) in task.calls.iter().zip(names) {
                if call.result != 0 {
                    return Err(CaptureError::Call(name, -call.result));
                }
            }
            let (words, _) = place.as_chunks::<8>();
            // stack_t: address, flags (int, padded), size.
            let [clear, address, flags, size] =
                std::array::from_fn(|index| u64::from_le_bytes(words[index]));
            image.clear_tid_address = clear;
            image.alternate_stack = (address, flags as u32, size);
        }
    }
    Ok(())
}

/// The mappings but for the kernel's own and the scratch area.
pub fn mapping_images(
    details: &[MappingDetail],
    scratch: &Scratch,
    objects: &mut dyn Objects,
) -> Vec<MappingImage> {
    details
        .iter()
        .filter(|MappingDetail { mapping, .. }| {
            !mapping.kind.is_kernel_provided() && !scratch.contains(mapping.start)
        })
        .map(|detail| MappingImage {
            start: detail.mapping.start,
            end: detail.mapping.end,
            protection: detail.mapping.protection(),
            advice: Advice::of(detail.flags),
            backing: objects.backing(detail),
        })
        .collect()
}

/// The vDSO among the mappings.
pub fn vdso_image(details: &[MappingDetail], memory: &ProcessMemory) -> VdsoImage {
    let mut image = VdsoImage::default();
    for MappingDetail { mapping, .. } in details {
        match mapping.kind {
            MappingKind::Vdso => {
                image.start = mapping.start;
                image.code = vec![0; (mapping.end - mapping.start) as usize];
                let read = memory.read_available(mapping.start, &mut image.code);
                image.code.truncate(read);
            }
            MappingKind::Vvar | MappingKind::VvarVclock => {
                image.data.push((mapping.start, mapping.end));
            }
            _ => {}
        }
    }
    image
}

fn memory_layout(pid: u32, brk: u64) -> Result<MemoryLayout, CaptureError> {
    let layout = stat::read(pid).map_err(CaptureError::Process)?.layout;
    Ok(MemoryLayout {
        start_code: layout.start_code,
        end_code: layout.end_code,
        start_data: layout.start_data,
        end_data: layout.end_data,
        start_brk: layout.start_brk,
        brk,
        start_stack: layout.start_stack,
        argument_start: layout.arg_start,
        argument_end: layout.arg_end,
        environment_start: layout.env_start,
        environment_end: layout.env_end,
    })
}
