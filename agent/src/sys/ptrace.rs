//! ptrace(2), typed. Every request must come from the thread that attached (the kernel answers ESRCH
//! otherwise), so a supervisor is single-threaded.
#![allow(unsafe_code)]

use std::io;

use super::registers::Registers;
use super::signal::{SIGNAL_INFO_BYTES, SignalInfo, SignalSet};

/// A thread, as our pid namespace numbers it.
pub type ThreadId = i32;

/// Options of `PTRACE_SEIZE` and `PTRACE_SETOPTIONS`.
pub mod options {
    /// Call stops are marked with bit 7 of the signal.
    pub const SYSCALL_GOOD: u32 = 0x01;
    /// Stop at fork(2), and attach to the child.
    pub const FORK: u32 = 0x02;
    /// Stop at vfork(2), and attach to the child.
    pub const VFORK: u32 = 0x04;
    /// Stop at clone(2), and attach to the new thread.
    pub const CLONE: u32 = 0x08;
    /// Stop at the first instruction of a new program.
    pub const EXEC: u32 = 0x10;
    /// Stop at calls for which seccomp says RET_TRACE.
    pub const SECCOMP: u32 = 0x80;
    /// Kill the tracee when the tracer dies.
    pub const EXIT_KILL: u32 = 0x0010_0000;
}

const NT_PRSTATUS: usize = 1;
const NT_PRFPREG: usize = 2;
const NT_X86_XSTATE: usize = 0x202;
const PTRACE_GET_RSEQ_CONFIGURATION: u32 = 0x420f;
/// linux/ptrace.h, from Linux 6.4.
const PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG: u32 = 0x4211;
const PTRACE_GETSIGMASK: u32 = 0x420a;
const PTRACE_SETSIGMASK: u32 = 0x420b;
const PTRACE_PEEKSIGINFO: u32 = 0x4209;
const PTRACE_PEEKSIGINFO_SHARED: u32 = 1;

/// Largest extended state that we accept: AVX-512 with AMX tiles needs about 11 KiB.
pub const EXTENDED_STATE_BYTES_MAX: usize = 16 << 10;

/// A thread's restartable-sequences registration (rseq(2), Linux 5.13 and later tell it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RseqConfiguration {
    /// Where the thread's `struct rseq` is.
    pub address: u64,
    /// Its registered size in bytes.
    pub size_bytes: u32,
    /// The signature in front of abort handlers.
    pub signature: u32,
}

fn request(request: u32, thread: ThreadId, address: usize, data: usize) -> io::Result<i64> {
    // SAFETY: the requests of this module pass either plain values or pointers to live buffers of the
    // size that the request writes (see each caller); ptrace(2) touches no other memory of ours.
    let result = unsafe { libc::ptrace(request, thread, address, data) };
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Attaches without stopping the thread.
pub fn seize(thread: ThreadId, options: u32) -> io::Result<()> {
    request(libc::PTRACE_SEIZE, thread, 0, options as usize).map(drop)
}

/// Changes the options of a stopped thread.
pub fn set_options(thread: ThreadId, options: u32) -> io::Result<()> {
    request(libc::PTRACE_SETOPTIONS, thread, 0, options as usize).map(drop)
}

/// Which of the two stops of a system call a thread is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallPhase {
    /// Before it.
    Entry,
    /// Behind it; the call's result, which may be a restart code.
    Exit(i64),
    /// Neither.
    None,
}

/// Tells entry from exit (PTRACE_GET_SYSCALL_INFO, Linux 5.3).
pub fn call_phase(thread: ThreadId) -> io::Result<CallPhase> {
    const PTRACE_GET_SYSCALL_INFO: u32 = 0x420e;
    let mut information = [0u64; 12];
    let (size, target) = (size_of_val(&information), information.as_mut_ptr() as usize);
    request(PTRACE_GET_SYSCALL_INFO, thread, size, target)?;
    Ok(match information[0] & 0xff {
        1 => CallPhase::Entry,
        2 => CallPhase::Exit(information[3].cast_signed()),
        _ => CallPhase::None,
    })
}

/// Asks a running thread to stop; it reports `PTRACE_EVENT_STOP`.
pub fn interrupt(thread: ThreadId) -> io::Result<()> {
    request(libc::PTRACE_INTERRUPT, thread, 0, 0).map(drop)
}

/// Lets a stopped thread run; `signal` (0: none) is delivered if it is in a signal-delivery stop.
pub fn resume(thread: ThreadId, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_CONT, thread, 0, signal as usize).map(drop)
}

/// As [`resume`], up to the next entry into or exit from a system call.
pub fn resume_to_call(thread: ThreadId, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_SYSCALL, thread, 0, signal as usize).map(drop)
}

/// Leaves a thread in its group stop, listening for SIGCONT.
pub fn listen(thread: ThreadId) -> io::Result<()> {
    request(libc::PTRACE_LISTEN, thread, 0, 0).map(drop)
}

/// Detaches from a stopped thread and lets it run.
pub fn detach(thread: ThreadId, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_DETACH, thread, 0, signal as usize).map(drop)
}

/// The message of the last event: a new thread's id, a seccomp filter's data, an exit status.
pub fn event_message(thread: ThreadId) -> io::Result<u64> {
    let mut message: u64 = 0;
    request(
        libc::PTRACE_GETEVENTMSG,
        thread,
        0,
        (&raw mut message) as usize,
    )?;
    Ok(message)
}

fn region(base: *mut u8, length: usize) -> libc::iovec {
    libc::iovec {
        iov_base: base.cast(),
        iov_len: length,
    }
}

/// Reads the general-purpose registers.
pub fn registers(thread: ThreadId) -> io::Result<Registers> {
    let mut registers = Registers::default();
    let mut vector = region((&raw mut registers).cast(), size_of::<Registers>());
    request(
        libc::PTRACE_GETREGSET,
        thread,
        NT_PRSTATUS,
        (&raw mut vector) as usize,
    )?;
    Ok(registers)
}

/// Writes the general-purpose registers.
pub fn set_registers(thread: ThreadId, registers: &Registers) -> io::Result<()> {
    let mut copy = *registers;
    let mut vector = region((&raw mut copy).cast(), size_of::<Registers>());
    request(
        libc::PTRACE_SETREGSET,
        thread,
        NT_PRSTATUS,
        (&raw mut vector) as usize,
    )
    .map(drop)
}

/// Reads the extended state (FPU, vector registers, protection keys) in XSAVE's standard layout, or in
/// FXSAVE's on a CPU without XSAVE.
pub fn extended_state(thread: ThreadId) -> io::Result<Vec<u8>> {
    let read = |kind| {
        let mut state = vec![0; EXTENDED_STATE_BYTES_MAX];
        let mut vector = region(state.as_mut_ptr(), state.len());
        let address = (&raw mut vector) as usize;
        request(libc::PTRACE_GETREGSET, thread, kind, address)?;
        state.truncate(vector.iov_len);
        Ok(state)
    };
    match read(NT_X86_XSTATE) {
        Err(error) if is_without_xsave(&error) => read(NT_PRFPREG),
        result => result,
    }
}

/// Writes the extended state; its layout must be this machine's.
pub fn set_extended_state(thread: ThreadId, state: &[u8]) -> io::Result<()> {
    let write = |kind| {
        let mut vector = region(state.as_ptr().cast_mut(), state.len());
        let address = (&raw mut vector) as usize;
        request(libc::PTRACE_SETREGSET, thread, kind, address).map(drop)
    };
    match write(NT_X86_XSTATE) {
        Err(error) if is_without_xsave(&error) => write(NT_PRFPREG),
        result => result,
    }
}

/// What the kernel says of NT_X86_XSTATE where the CPU has no XSAVE (xstateregs_get).
fn is_without_xsave(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENODEV)
}

/// Reads the mask of blocked signals; inside sigsuspend(2) and its like, the mask that will be restored.
pub fn signal_mask(thread: ThreadId) -> io::Result<SignalSet> {
    let mut mask: u64 = 0;
    request(
        PTRACE_GETSIGMASK,
        thread,
        size_of::<u64>(),
        (&raw mut mask) as usize,
    )?;
    Ok(SignalSet(mask))
}

/// Writes the mask of blocked signals.
pub fn set_signal_mask(thread: ThreadId, mask: SignalSet) -> io::Result<()> {
    let mut copy = mask.0;
    request(
        PTRACE_SETSIGMASK,
        thread,
        size_of::<u64>(),
        (&raw mut copy) as usize,
    )
    .map(drop)
}

/// The thread's rseq registration, if it has one.
pub fn rseq_configuration(thread: ThreadId) -> io::Result<Option<RseqConfiguration>> {
    #[repr(C)]
    #[derive(Default)]
    struct Raw {
        address: u64,
        size_bytes: u32,
        signature: u32,
        flags: u32,
        pad: u32,
    }
    let mut raw = Raw::default();
    let target = (&raw mut raw) as usize;
    request(
        PTRACE_GET_RSEQ_CONFIGURATION,
        thread,
        size_of::<Raw>(),
        target,
    )?;
    Ok((raw.address != 0).then_some(RseqConfiguration {
        address: raw.address,
        size_bytes: raw.size_bytes,
        signature: raw.signature,
    }))
}

/// Whether the thread has its own calls dispatched as signals (PR_SET_SYSCALL_USER_DISPATCH); `false` on
/// kernels before 6.4, which do not tell.
pub fn dispatches_calls(thread: ThreadId) -> io::Result<bool> {
    #[repr(C)]
    #[derive(Default)]
    struct Raw {
        mode: u64,
        selector: u64,
        offset: u64,
        length: u64,
    }
    let mut raw = Raw::default();
    let target = (&raw mut raw) as usize;
    let asked = request(
        PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG,
        thread,
        size_of::<Raw>(),
        target,
    );
    match asked {
        Ok(_) => Ok(raw.mode != 0),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The signal that a thread in a signal-delivery stop is about to receive.
pub fn signal_info(thread: ThreadId) -> io::Result<SignalInfo> {
    let mut info = SignalInfo::default();
    request(
        libc::PTRACE_GETSIGINFO,
        thread,
        0,
        info.0.as_mut_ptr() as usize,
    )?;
    Ok(info)
}

/// Replaces the signal information of a thread in a signal-delivery stop.
pub fn set_signal_info(thread: ThreadId, info: &SignalInfo) -> io::Result<()> {
    let mut copy = *info;
    request(
        libc::PTRACE_SETSIGINFO,
        thread,
        0,
        copy.0.as_mut_ptr() as usize,
    )
    .map(drop)
}

/// Signals that are queued and not delivered: the thread's own, or with `shared` the process's.
pub fn queued_signals(thread: ThreadId, shared: bool) -> io::Result<Vec<SignalInfo>> {
    #[repr(C)]
    struct Arguments {
        offset: u64,
        flags: u32,
        count: i32,
    }
    const BATCH: usize = 32;
    let mut signals = Vec::new();
    loop {
        let mut batch = [0u8; BATCH * SIGNAL_INFO_BYTES];
        let mut arguments = Arguments {
            offset: signals.len() as u64,
            flags: if shared { PTRACE_PEEKSIGINFO_SHARED } else { 0 },
            count: BATCH as i32,
        };
        let address = (&raw mut arguments) as usize;
        let got = request(
            PTRACE_PEEKSIGINFO,
            thread,
            address,
            batch.as_mut_ptr() as usize,
        )?;
        for raw in batch
            .as_chunks::<SIGNAL_INFO_BYTES>()
            .0
            .iter()
            .take(got as usize)
        {
            signals.push(SignalInfo(*raw));
        }
        if (got as usize) < BATCH || signals.len() >= crate::limits::QUEUED_SIGNALS_MAX {
            return Ok(signals);
        }
    }
}
