//! The program does not see that it is away: who traces it is told as at home, where nobody does.
//!
//! Programs read `TracerPid` in /proc/PID/status to find out whether they are being debugged.

use std::fs;

use crate::sys::call_numbers as number;
use crate::sys::ptrace::ThreadId;
use crate::syscall::Layout;

const LABEL: &[u8] = b"\nTracerPid:\t";

/// What a read at home has given, as it would have been without our supervisors: result and bytes. They are
/// fewer if digits are left out; the file's offset is behind them all, so that the next read goes on there.
pub(super) fn conceal_tracer(
    process: ThreadId,
    layout: &Layout,
    result: i64,
    mut reply: Vec<u8>,
) -> (i64, Vec<u8>) {
    let reads = [number::SYS_read, number::SYS_pread64];
    if result <= 0
        || !reads.contains(&layout.number.cast_signed())
        || reply.len() as i64 != result
        || !reply.starts_with(b"Name:\t")
    {
        return (result, reply);
    }
    let Some(label) = reply.windows(LABEL.len()).position(|part| part == LABEL) else {
        return (result, reply);
    };
    let digits = label + LABEL.len();
    let rest = reply[digits..].iter();
    let end = digits + rest.take_while(|byte| byte.is_ascii_digit()).count();
    let tracer = std::str::from_utf8(&reply[digits..end])
        .ok()
        .and_then(|text| text.parse().ok());
    if tracer.is_some_and(is_supervisor) && is_status(process, layout.args[0] as i32) {
        reply.splice(digits..end, [b'0']);
    }
    (reply.len() as i64, reply)
}

/// Whether a process is one of ours.
fn is_supervisor(pid: u32) -> bool {
    let program = |pid: &str| fs::read_link(format!("/proc/{pid}/exe")).ok();
    pid == std::process::id()
        || program(&pid.to_string()).is_some_and(|other| program("self") == Some(other))
}

/// Whether a descriptor of the process is of a file with the status of a process or thread.
fn is_status(process: ThreadId, descriptor: i32) -> bool {
    fs::read_link(format!("/proc/{process}/fd/{descriptor}"))
        .is_ok_and(|path| path.starts_with("/proc") && path.ends_with("status"))
}
