//! `limosa run` as the parent of its program, where the agent has no cgroup that it can use.
//!
//! The agent then takes for the job whoever descends from this process, so it is a subreaper: what the
//! program leaves behind stays below it. Otherwise it is a mirror:
//!
//! - What a key of the terminal sends reaches the program by itself, in the same foreground group; what a
//!   process sends here is passed on. (One that signals the whole group reaches the program twice: a
//!   sender's choice of group cannot be seen.)
//! - When the program is stopped, this process stops the same way; continued, it continues it.
//! - It ends as the program ends: with its exit code, or by the same signal, without a second core dump.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus, getpid, kill_process,
    set_child_subreaper, setrlimit, wait,
};

use crate::sys::relay::SignalReader;

/// What a change of the program's state leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Stopped(i32),
    Exited(i32),
    Killed(i32),
}

/// Runs `limosa run WORDS...` as a child, which the agent recognises by its descent, and mirrors it.
pub(super) fn run(words: impl Iterator<Item = OsString>) -> io::Result<ExitCode> {
    set_child_subreaper(Some(getpid()))?;
    let mut signals = SignalReader::start()?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("limosa").arg("run").args(words);
    let child = signals.spawn(&mut command)?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("the child has no pid"))?;
    loop {
        let heard = signals.read()?;
        if heard.signal != Signal::CHILD.as_raw() {
            let signal = Signal::from_named_raw(heard.signal);
            if let Some(signal) = signal.filter(|_| !heard.from_kernel) {
                // It may have ended in this moment; then its end is read next.
                let _ = kill_process(pid, signal);
            }
            continue;
        }
        while let Some(change) = next_change(pid)? {
            match change {
                Change::Stopped(signal) => signals.act_on(signal),
                Change::Exited(code) => {
                    return Ok(ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX)));
                }
                Change::Killed(signal) => {
                    setrlimit(
                        Resource::Core,
                        Rlimit {
                            current: Some(0),
                            maximum: Some(0),
                        },
                    )?;
                    signals.act_on(signal);
                    // Only a signal that does not end a process by default comes here.
                    return Ok(ExitCode::from(
                        u8::try_from(128 + signal).unwrap_or(u8::MAX),
                    ));
                }
            }
        }
    }
}

/// What has changed with the program; orphans that came to us are reaped by the way.
fn next_change(program: Pid) -> io::Result<Option<Change>> {
    while let Some((pid, status)) = wait(WaitOptions::NOHANG | WaitOptions::UNTRACED)? {
        // Of an orphan nobody would want to know.
        if pid == program {
            return Ok(change_of(status));
        }
    }
    Ok(None)
}

fn change_of(status: WaitStatus) -> Option<Change> {
    status
        .exit_status()
        .map(Change::Exited)
        .or_else(|| status.terminating_signal().map(Change::Killed))
        .or_else(|| status.stopping_signal().map(Change::Stopped))
}
