//! Signals for the migrated process arrive at the deputy, which is the process for everybody else.
//!
//! The kernel picks a thread that does not block the signal, as it would have natively, because each
//! deputy thread has its guest thread's mask. What the program handles is sent on to the guest with its
//! siginfo; what it ignores is nothing; what stops or ends a process by default happens to the deputy,
//! and so to the process, and the guest follows. Who is to leave a core dump hears of it as if it handled
//! the signal, and comes home with it: the dump is of what the program has in memory.

use crate::limits;
use crate::migrate::capture::restart;
use crate::migrate::image::UndeliveredSignal;
use crate::sys::call_numbers as number;
use crate::sys::ptrace::{self, ThreadId};
use crate::sys::signal::{SignalInfo, SignalSet};
use crate::sys::wait::Stop;
use crate::syscall::Layout;
use crate::wire::migration::ToGuest;

use super::away::{Away, SentSignal, Trouble};
use super::threads::{CallPhase, DeputyState};

const EINTR: i64 = -4;

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
        if self.deputy.ignores(signal) {
            return self.go_on(tid, 0);
        }
        if !action.is_handled() && !self.deputy.dumps_core(signal) {
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
                self.interrupted_by(tid, restart::ERESTARTNOINTR, info)
            }
            Some(CallPhase::Interrupted(code)) => self.interrupted_by(tid, code, info),
            None => {
                self.progress.signals_sent += 1;
                self.progress.unconfirmed.push_back(SentSignal {
                    number: self.progress.signals_sent,
                    tid,
                    info,
                });
                let is_first = self.block_as_handler(tid, signal)?;
                let header = ToGuest::Signal {
                    tid,
                    info,
                    is_first,
                };
                self.tell(&header, &[])?;
                if action.runs_once() {
                    return self.forget_handler_asleep(tid, signal);
                }
                self.go_on(tid, 0)
            }
        }
    }

    /// What the handler of `signal` blocks is heard after it; until then it is pending here, where sigpending(2)
    /// and timer_getoverrun(2) look. Whether there is any.
    fn block_as_handler(&mut self, tid: ThreadId, signal: i32) -> Result<bool, Trouble> {
        let before = self.known(tid)?.mask;
        let mask = self.deputy.action(signal).mask_in_handler(signal, before);
        self.known(tid)?.mask = mask;
        ptrace::set_signal_mask(tid, mask)?;
        for is_shared in [false, true] {
            let queued = ptrace::queued_signals(tid, is_shared)?;
            let mut queued = queued.iter().map(SignalInfo::signal);
            if queued.any(|signal| mask.contains(signal) && !before.contains(signal)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// As [`Self::forget_handler`], for a thread on its way to sleep or asleep.
    fn forget_handler_asleep(&mut self, tid: ThreadId, signal: i32) -> Result<(), Trouble> {
        self.forget_handler(tid, signal)?;
        let Some(thread) = self.deputy.thread(tid) else {
            return Ok(());
        };
        match std::mem::replace(&mut thread.state, DeputyState::Stopped) {
            DeputyState::Delivering(answer) => self.deputy.park_after_signals(tid, *answer)?,
            _ => self.deputy.park(tid)?,
        }
        Ok(())
    }

    /// A signal that the program handles has interrupted a call: the guest hears it, and with it whatever else
    /// is pending that a mask of the call's own lets through.
    fn interrupted_by(
        &mut self,
        tid: ThreadId,
        code: i64,
        info: SignalInfo,
    ) -> Result<(), Trouble> {
        let (signal, action) = (info.signal(), self.deputy.action(info.signal()));
        let call_mask = match self.deputy.thread(tid).map(|thread| &thread.state) {
            Some(DeputyState::Making(making)) if code != restart::ERESTARTNOINTR => {
                making.layout.as_ref().and_then(Layout::signal_mask)
            }
            _ => None,
        };
        let Some(answer) = self.conclude(tid, code, Some(info))? else {
            return Ok(());
        };
        if action.runs_once() {
            self.forget_handler(tid, signal)?;
        }
        if let Some(thread) = self.deputy.thread(tid) {
            let mask = call_mask.map_or(thread.mask, SignalSet);
            thread.mask = action.mask_in_handler(signal, mask);
        }
        if call_mask.is_none() {
            self.tell_answer(answer)?;
            self.deputy.park(tid)?;
            return Ok(());
        }
        self.deputy.park_after_signals(tid, answer)?;
        Ok(())
    }

    /// The guest's supervisor has received this many signals.
    pub(super) fn confirm_signals(&mut self, received: u64) {
        self.progress
            .unconfirmed
            .retain(|sent| sent.number > received);
    }

    /// Whether a signal is on its way to the guest's thread. If the thread blocks it by now, it comes back.
    pub(super) fn is_unheard(&self, tid: ThreadId) -> bool {
        self.progress.unconfirmed.iter().any(|sent| sent.tid == tid)
    }

    /// Queues signals again that the guest's thread has blocked before it heard them, in front of those that have
    /// come since.
    pub(super) fn take_signals_back(
        &mut self,
        tid: ThreadId,
        mut signals: Vec<SignalInfo>,
    ) -> Result<(), Trouble> {
        ptrace::set_signal_mask(tid, SignalSet::ALL)?;
        let returned = signals.iter().fold(SignalSet::default(), |set, info| {
            set.with(SignalSet::only(info.signal()))
        });
        signals.extend(self.take_queued(tid, returned)?);
        let signals: Vec<UndeliveredSignal> = signals
            .into_iter()
            .map(|info| UndeliveredSignal { tid, info })
            .collect();
        self.queue_again(&signals)?;
        self.deputy.park(tid)?;
        Ok(())
    }

    /// Signals that the guest has not heard, and behind them those of the same numbers that have come to the same
    /// threads since: taken out of the queues, to be queued in this order.
    pub(super) fn before_those_queued(
        &mut self,
        mut signals: Vec<UndeliveredSignal>,
    ) -> Result<Vec<UndeliveredSignal>, Trouble> {
        let tids: Vec<ThreadId> = self.deputy.threads.iter().map(|it| it.tid).collect();
        for tid in tids {
            let own = signals.iter().filter(|signal| signal.tid == tid);
            let set = own.fold(SignalSet::default(), |set, signal| {
                set.with(SignalSet::only(signal.info.signal()))
            });
            if set != SignalSet::default() {
                let later = self.take_queued(tid, set)?;
                signals.extend(
                    later
                        .into_iter()
                        .map(|info| UndeliveredSignal { tid, info }),
                );
            }
        }
        Ok(signals)
    }

    /// Takes what a stopped thread, all of whose signals are blocked, has queued of a set.
    fn take_queued(&mut self, tid: ThreadId, set: SignalSet) -> Result<Vec<SignalInfo>, Trouble> {
        let shared = self.deputy.scratch.shared;
        // The set, a timeout of nothing (struct timespec), the information.
        let words = [set.0, 0, 0];
        let (none, info) = (shared.data + 8, shared.data + 24);
        let memory = &self.deputy.memory;
        memory.write(shared.data, &words.map(u64::to_le_bytes).concat())?;
        let arguments = [shared.data, info, none, size_of::<SignalSet>() as u64, 0, 0];
        let mut taken = Vec::new();
        while taken.len() < limits::QUEUED_SIGNALS_MAX
            && shared.call(tid, number::SYS_rt_sigtimedwait, arguments)? > 0
        {
            let mut signal = SignalInfo::default();
            memory.read(info, &mut signal.0)?;
            taken.push(signal);
        }
        Ok(taken)
    }

    /// Job control stops the process: the guest's threads must stand still, too.
    fn on_group_stop(&mut self, tid: ThreadId) -> Result<(), Trouble> {
        if !self.deputy.is_stopped {
            self.deputy.is_stopped = true;
            self.tell(
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
            self.tell(
                &ToGuest::Stopped {
                    pid: self.deputy.pid,
                    is_stopped: false,
                },
                &[],
            )?;
        }
        let phase = match self.deputy.thread(tid).map(|thread| &thread.state) {
            Some(DeputyState::Making(making)) => Some(making.phase),
            _ => None,
        };
        if phase == Some(CallPhase::Interrupted(EINTR)) {
            // Such a call ends when its process was stopped by a signal (signal(7)).
            return self.finish(tid, EINTR, None);
        }
        self.go_on(tid, 0)
    }
}
