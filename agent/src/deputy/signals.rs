//! Signals for the migrated process arrive at the deputy, which is the process for everybody else.
//!
//! The kernel picks a thread that does not block the signal, as it would have natively, because each
//! deputy thread has its guest thread's mask. What the program handles is sent on to the guest with its
//! siginfo; what it ignores is nothing; what stops or ends a process by default happens to the deputy,
//! and so to the process, and the guest follows.

use crate::migrate::capture::restart;
use crate::migrate::freeze;
use crate::sys::ptrace::{self, ThreadId};
use crate::sys::signal::{SignalAction, SignalSet};
use crate::sys::wait::Stop;
use crate::wire::migration::ToGuest;

use super::away::{Away, SentSignal, Trouble};
use super::threads::{CallPhase, DeputyState};

impl Away<'_> {
    /// A thread of the deputy has stopped.
    pub(super) fn on_stop(&mut self, tid: ThreadId, stop: Stop) -> Result<(), Trouble> {
        match stop {
            Stop::Call => self.on_call_stop(tid),
            Stop::Signal(signal) => self.on_delivery(tid, signal),
            Stop::Group(_) => self.on_group_stop(tid),
            Stop::Interrupted => self.on_continued(tid),
            Stop::Exec => {
                self.progress.has_executed = true;
                Ok(())
            }
            Stop::NewThread | Stop::Seccomp | Stop::Other(_) => self.go_on(tid, 0),
        }
    }

    /// Lets a thread go on with what it was doing.
    fn go_on(&mut self, tid: ThreadId, signal: i32) -> Result<(), Trouble> {
        match self.deputy.thread(tid).map(|thread| &thread.state) {
            Some(DeputyState::Making(_) | DeputyState::Delivering(_)) => {
                ptrace::resume_to_call(tid, signal)?;
            }
            _ => ptrace::resume(tid, signal)?,
        }
        Ok(())
    }

    fn on_delivery(&mut self, tid: ThreadId, signal: i32) -> Result<(), Trouble> {
        let action = self.deputy.action(signal);
        let is_ignored = action.handler == SignalAction::IGNORE
            || action.handler == SignalAction::DEFAULT && freeze::is_ignored_by_default(signal);
        if is_ignored {
            return self.go_on(tid, 0);
        }
        if !action.is_handled() {
            // The default action: the kernel stops or ends the deputy.
            return self.go_on(tid, signal);
        }
        let info = ptrace::signal_info(tid)?;
        let phase = match self.deputy.thread(tid).map(|thread| &thread.state) {
            Some(DeputyState::Making(making)) => Some(making.phase),
            _ => None,
        };
        match phase {
            Some(CallPhase::Entering | CallPhase::Inside) => {
                self.finish(tid, restart::ERESTARTNOINTR, Some(info))
            }
            Some(CallPhase::Interrupted(code)) => self.finish(tid, code, Some(info)),
            None => {
                self.progress.signals_sent += 1;
                self.progress.unconfirmed.push_back(SentSignal {
                    number: self.progress.signals_sent,
                    tid,
                    info,
                });
                self.channel.send(&ToGuest::Signal { tid, info }, &[])?;
                self.go_on(tid, 0)
            }
        }
    }

    /// The guest's supervisor has received this many signals.
    pub(super) fn confirm_signals(&mut self, received: u64) {
        self.progress
            .unconfirmed
            .retain(|sent| sent.number > received);
    }

    /// Whether a signal that `mask` lets through is on its way to the guest's thread.
    pub(super) fn is_unheard(&self, tid: ThreadId, mask: SignalSet) -> bool {
        let mut sent = self.progress.unconfirmed.iter();
        sent.any(|sent| sent.tid == tid && !mask.contains(sent.info.signal()))
    }

    /// Job control stops the process: the guest's threads must stand still, too.
    fn on_group_stop(&mut self, tid: ThreadId) -> Result<(), Trouble> {
        if !self.deputy.is_stopped {
            self.deputy.is_stopped = true;
            self.channel.send(
                &ToGuest::Stopped {
                    pid: self.deputy.pid,
                    is_stopped: true,
                },
                &[],
            )?;
        }
        ptrace::listen(tid)?;
        Ok(())
    }

    /// A thread that was stopped by job control goes on.
    fn on_continued(&mut self, tid: ThreadId) -> Result<(), Trouble> {
        if self.deputy.is_stopped {
            self.deputy.is_stopped = false;
            self.channel.send(
                &ToGuest::Stopped {
                    pid: self.deputy.pid,
                    is_stopped: false,
                },
                &[],
            )?;
        }
        self.go_on(tid, 0)
    }
}
