//! The remote node is lost: what becomes of the process.
//!
//! The deputy's memory is the process as it left. If nothing that the guest did since can have been seen
//! from outside, the process goes on from there and nobody notices. Otherwise it would do things twice:
//! it is killed, and says why on its standard error.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::migrate::freeze::{self, FreezeError};
use crate::migrate::image::UndeliveredSignal;
use crate::sys::blob::Call;
use crate::sys::call_numbers as number;
use crate::sys::ptrace::{self, ThreadId};
use crate::sys::signal::{self, SIGNAL_ACTION_BYTES, SignalSet, numbers};
use crate::sys::wait;

use super::away::{Away, Trouble};
use super::departure;
use super::threads::DeputyState;

/// How long the threads may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

impl Away<'_> {
    /// Puts the process back as it was at departure and lets it run.
    pub(super) fn resume_from_departure(&mut self) -> Result<(), Trouble> {
        let tids: Vec<ThreadId> = self
            .deputy
            .threads
            .iter()
            .map(|thread| thread.tid)
            .collect();
        for &tid in &tids {
            self.stop_for_good(tid)?;
        }
        for &tid in &tids {
            ptrace::set_signal_mask(tid, SignalSet::ALL)?;
        }
        self.restore_actions()?;
        let signals: Vec<UndeliveredSignal> = self
            .progress
            .unconfirmed
            .drain(..)
            .map(|sent| UndeliveredSignal {
                tid: sent.tid,
                info: sent.info,
            })
            .collect();
        self.queue_again(&signals)?;
        let pid = self.deputy.pid;
        self.deputy
            .scratch
            .unmap(pid, self.deputy.own_instruction)?;
        for thread in &self.deputy.threads {
            // Without an image it was made since, which is visible: then we are not here.
            let Some(image) = &thread.image else { continue };
            let is_overwritten = thread.calls_made > 0;
            let registers = departure::settled_in_place(image, thread.base, is_overwritten);
            ptrace::set_extended_state(thread.tid, &image.extended_state)?;
            ptrace::set_registers(thread.tid, &registers)?;
            ptrace::set_signal_mask(thread.tid, image.signal_mask)?;
        }
        for &tid in &tids {
            ptrace::detach(tid, 0)?;
        }
        Ok(())
    }

    /// Stops a thread; a call that it makes is given up.
    fn stop_for_good(&mut self, tid: ThreadId) -> Result<(), Trouble> {
        if matches!(
            self.deputy.thread(tid).map(|thread| &thread.state),
            Some(DeputyState::Stopped | DeputyState::Resting(_))
        ) {
            return Ok(());
        }
        ptrace::interrupt(tid)?;
        match freeze::wait_for_stop(tid, Instant::now() + STOP_TIMEOUT) {
            // Once it is let go it is stopped again.
            Ok(()) | Err(FreezeError::StoppedBySignal(_)) => {}
            Err(error) => return Err(Trouble::Protocol(error.to_string())),
        }
        self.set_state(tid, DeputyState::Stopped);
        Ok(())
    }

    fn restore_actions(&mut self) -> Result<(), Trouble> {
        let departed = &self.deputy.image.signal_actions;
        if *departed == self.deputy.signal_actions {
            return Ok(());
        }
        let shared = self.deputy.scratch.shared;
        let mut calls = Vec::new();
        for (signal, action) in (1..).zip(departed) {
            let at = shared.data + (signal as u64 - 1) * SIGNAL_ACTION_BYTES as u64;
            self.deputy.memory.write(at, &action.to_bytes())?;
            if signal != numbers::SIGKILL && signal != numbers::SIGSTOP {
                let arguments = [signal as u64, at, 0, size_of::<u64>() as u64, 0, 0];
                calls.push(Call::new(number::SYS_rt_sigaction, arguments));
            }
        }
        shared.run(self.deputy.pid, &self.deputy.memory, &mut calls)?;
        Ok(())
    }

    /// Kills the process, after one line on its standard error.
    pub(super) fn die(&mut self, why: &str) {
        let pid = self.deputy.pid;
        let line = format!("limosa: process {pid} is killed: {why}\n");
        if let Err(error) = say(pid, &line) {
            log::debug!("process {pid} has no standard error to write to: {error}");
        }
        if let Err(error) = signal::send_to_process(pid, numbers::SIGKILL) {
            log::debug!("process {pid} had ended already: {error}");
        }
        wait::reap_process(pid);
    }
}

/// Writes a line to a process's standard error, whatever that is, unless it is full.
fn say(pid: i32, line: &str) -> io::Result<()> {
    const STANDARD_ERROR: i32 = 2;
    let process = Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?;
    let process = pidfd_open(process, PidfdFlags::empty())?;
    let error: OwnedFd = pidfd_getfd(process, STANDARD_ERROR, PidfdGetfdFlags::empty())?;
    let now = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut descriptors = [PollFd::from_borrowed_fd(error.as_fd(), PollFlags::OUT)];
    poll(&mut descriptors, Some(&now))?;
    if !descriptors[0].revents().contains(PollFlags::OUT) {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    std::fs::File::from(error).write_all(line.as_bytes())
}
