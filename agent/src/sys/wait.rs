//! waitpid(2) for traced threads, its status taken apart.
#![allow(unsafe_code)]

use std::io;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::thread::sched_getaffinity;

use crate::process::status::State;
use crate::process::{stat, tasks};

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
///
/// The end of a process's first thread is not reported before its tracer has taken note of the others'
/// ends: if it has ended and that is what it waits for, it counts as killed, and
/// [`reap_process`] is to be called.
pub fn wait_for(thread: ThreadId) -> io::Result<Report> {
    wait_for_among(thread, |_| false)
}

/// As [`wait_for`]; of others that report meanwhile `take` can take the reports, and says whether it has.
pub fn wait_for_among(
    thread: ThreadId,
    mut take: impl FnMut(ThreadId) -> bool,
) -> io::Result<Report> {
    let mut polls = 0;
    loop {
        if let Some(report) = poll_for(thread)? {
            return Ok(report);
        }
        polls += 1;
        if polls <= QUICK_POLLS && is_asking_worthwhile() {
            std::hint::spin_loop();
            continue;
        }
        let reporting = wait_for_any()?;
        if reporting == thread || take(reporting) {
            continue;
        }
        if is_held_back(thread) {
            return match poll_for(thread)? {
                Some(report) => Ok(report),
                None => Ok(Report::Killed(libc::SIGKILL)),
            };
        }
        // Somebody else's report stays where it is, so nothing tells of this thread's but asking.
        std::thread::sleep(PAUSE);
    }
}

/// How often a thread is asked before it is waited for: most reports come within microseconds.
const QUICK_POLLS: usize = 20;

/// How often a thread in a call is asked whether the call has ended before others are listened to: about 20 us.
const SHORT_CALL_POLLS: usize = 60;

/// Whether another CPU can run the thread while it is asked: on the only one it waits for us to be still.
fn is_asking_worthwhile() -> bool {
    static CPUS: OnceLock<u32> = OnceLock::new();
    let cpus = || sched_getaffinity(None).map_or(1, |cpus| cpus.count());
    *CPUS.get_or_init(cpus) > 1
}

/// The next report of a thread that makes a call, if it comes within microseconds: that is cheaper to wait for than
/// to be woken by.
pub fn poll_briefly(thread: ThreadId) -> io::Result<Option<Report>> {
    let polls = if is_asking_worthwhile() {
        SHORT_CALL_POLLS
    } else {
        1
    };
    for _ in 0..polls {
        if let Some(report) = poll_for(thread)? {
            return Ok(Some(report));
        }
        std::hint::spin_loop();
    }
    Ok(None)
}

/// Between two questions.
const PAUSE: Duration = Duration::from_micros(20);

/// Waits until any child or traced thread has something to report, and leaves it there: whose it is.
fn wait_for_any() -> io::Result<ThreadId> {
    const FLAGS: i32 = libc::WEXITED | libc::WNOWAIT | libc::__WALL;
    loop {
        // SAFETY: an all-zero siginfo_t is a valid value.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: writes one siginfo_t, into `info`.
        if unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, FLAGS) } == 0 {
            // SAFETY: waitid(2) has filled in the fields of a SIGCHLD.
            return Ok(unsafe { info.si_pid() });
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Whether a thread has ended and cannot report it yet.
fn is_held_back(thread: ThreadId) -> bool {
    let id = thread.cast_unsigned();
    stat::read_thread(id, id).is_ok_and(|stat| stat.state == State::Zombie)
}

/// The next report of one thread, if there is one now.
pub fn poll_for(thread: ThreadId) -> io::Result<Option<Report>> {
    Ok(wait_with(thread, libc::WNOHANG)?.map(|(_, report)| report))
}

/// Reaps all threads of a traced process that has been killed or is ending, the leader last: its end is
/// not reported before those of the threads, which in turn wait for their tracer to take note. Those that
/// it has made meanwhile are among them.
pub fn reap_process(leader: ThreadId) {
    let deadline = Instant::now() + REAP_TIMEOUT;
    loop {
        let mut threads = tasks::read(leader.cast_unsigned()).unwrap_or_default();
        threads.push(leader.cast_unsigned());
        for thread in threads.into_iter().map(u32::cast_signed) {
            while let Ok(Some(report)) = poll_for(thread) {
                match report {
                    // It ends as soon as it runs; an error says that it has been killed by now.
                    Report::Stopped(_) => _ = super::ptrace::resume(thread, 0),
                    Report::Exited(_) | Report::Killed(_) => {}
                }
            }
        }
        if matches!(wait_with(leader, libc::WNOHANG), Err(error) if is_no_child(&error)) {
            return;
        }
        if Instant::now() >= deadline {
            log::warn!("process {leader} was killed and does not end");
            return;
        }
        std::thread::sleep(PAUSE);
    }
}

/// How long a killed process may take to end: a device can hold it up.
const REAP_TIMEOUT: Duration = Duration::from_secs(2);

fn is_no_child(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ECHILD)
}

/// The next report of any child or traced thread, if there is one now; none as well if there are no
/// children at all.
pub fn poll_any() -> io::Result<Option<(ThreadId, Report)>> {
    match wait_with(-1, libc::WNOHANG) {
        Err(error) if is_no_child(&error) => Ok(None),
        other => other,
    }
}
