//! waitpid(2) for traced threads, its status taken apart.
#![allow(unsafe_code)]

use std::io;

use super::ptrace::ThreadId;

/// What a traced thread reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// It has ended by exit(2), with this status.
    Exited(i32),
    /// It was killed by this signal.
    Killed(i32),
    /// It is stopped, and waits for its tracer.
    Stopped(Stop),
}

/// Why a traced thread is stopped (ptrace(2), for threads attached by PTRACE_SEIZE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// At the entry into or the exit from a system call.
    Call,
    /// At a call for which its seccomp filter says RET_TRACE.
    Seccomp,
    /// It made, or is, a new thread or process.
    NewThread,
    /// It runs a new program, and is at its first instruction.
    Exec,
    /// It was interrupted, or is a thread that has just been made.
    Interrupted,
    /// It is in a group stop after this signal (SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU).
    Group(i32),
    /// This signal is about to be delivered.
    Signal(i32),
    /// Another event, which no option of ours asks for.
    Other(i32),
}

const CALL_STOP: i32 = libc::SIGTRAP | 0x80;

fn interpret(status: i32) -> Report {
    if libc::WIFEXITED(status) {
        return Report::Exited(libc::WEXITSTATUS(status));
    }
    if libc::WIFSIGNALED(status) {
        return Report::Killed(libc::WTERMSIG(status));
    }
    let signal = libc::WSTOPSIG(status);
    Report::Stopped(match status >> 16 {
        0 if signal == CALL_STOP => Stop::Call,
        0 => Stop::Signal(signal),
        libc::PTRACE_EVENT_SECCOMP => Stop::Seccomp,
        libc::PTRACE_EVENT_CLONE | libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK => {
            Stop::NewThread
        }
        libc::PTRACE_EVENT_EXEC => Stop::Exec,
        libc::PTRACE_EVENT_STOP if signal == libc::SIGTRAP => Stop::Interrupted,
        libc::PTRACE_EVENT_STOP => Stop::Group(signal),
        event => Stop::Other(event),
    })
}

fn wait_with(thread: ThreadId, flags: i32) -> io::Result<Option<(ThreadId, Report)>> {
    let mut status = 0;
    loop {
        // SAFETY: writes one int, into `status`.
        let got = unsafe { libc::waitpid(thread, &raw mut status, flags | libc::__WALL) };
        if got > 0 {
            return Ok(Some((got, interpret(status))));
        }
        if got == 0 {
            return Ok(None);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Waits for the next report of one thread, as long as it takes.
pub fn wait_for(thread: ThreadId) -> io::Result<Report> {
    loop {
        if let Some((_, report)) = wait_with(thread, 0)? {
            return Ok(report);
        }
    }
}

/// The next report of one thread, if there is one now.
pub fn poll_for(thread: ThreadId) -> io::Result<Option<Report>> {
    Ok(wait_with(thread, libc::WNOHANG)?.map(|(_, report)| report))
}

/// Reaps all threads of a traced process that has been killed or is ending, the leader last: its end is
/// not reported before those of the threads, which in turn wait for their tracer to take note.
pub fn reap_process(leader: ThreadId, threads: &[ThreadId]) {
    let others = threads.iter().filter(|&&thread| thread != leader);
    for &thread in others.chain([&leader]) {
        // An error says that it was reaped before.
        while let Ok(Some((_, Report::Stopped(_)))) = wait_with(thread, 0) {
            // It ends as soon as it runs; an error says that it has been killed by now.
            let _ = super::ptrace::resume(thread, 0);
        }
    }
}

/// The next report of any child or traced thread, if there is one now; none as well if there are no
/// children at all.
pub fn poll_any() -> io::Result<Option<(ThreadId, Report)>> {
    match wait_with(-1, libc::WNOHANG) {
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        other => other,
    }
}
