//! Calls that are under way at home while the guest comes home: each is finished, given up to be made
//! again, or continued.
//!
//! The kernel tells by its restart codes what it would have done; a signal that interrupted the call
//! decides between them, as sigaction(2) says.

use std::time::{Duration, Instant};

use crate::migrate::capture::restart;
use crate::migrate::channel::Message;
use crate::migrate::image::{UndeliveredSignal, Waiting};
use crate::process::status;
use crate::sys::ptrace::{self, ThreadId};
use crate::sys::signal::{SignalInfo, SignalSet};
use crate::sys::wait::{self, Report, Stop};
use crate::syscall::Timeout;
use crate::wire::migration::ToDeputy;

use super::away::{Away, Trouble};
use super::homecoming::Homecoming;
use super::threads::{CallPhase, DeputyState, LastReturn};

const EINTR: i64 = -4;
const SA_RESTART: u64 = 0x1000_0000;

/// What became of the call that a guest thread was in when it was stopped.
#[derive(Debug)]
pub(super) enum CallOutcome {
    /// It has this result, and has left these bytes in memory.
    Done {
        result: i64,
        writes: Vec<(u64, Vec<u8>)>,
        /// It was a portion of a transfer, and has transferred all that it asked for.
        is_whole_portion: bool,
    },
    /// It is made again at home, from its beginning; what it has left in memory so far counts.
    Again { writes: Vec<(u64, Vec<u8>)> },
    /// It is made again at home, for what is left of its timeout.
    AgainFor { place: Timeout, left: Duration },
    /// It began then, and goes on at home for the time that remains of it.
    Remaining { began: Instant },
    /// It uses the program's own buffers, and the kernel can simply continue it.
    Continues,
}

impl Away<'_> {
    /// The guest's thread may not have heard of its call's return any more.
    pub(super) fn take_last_return(&mut self, tid: ThreadId, homecoming: &mut Homecoming) {
        let waiting = homecoming
            .image
            .threads
            .iter()
            .find(|thread| thread.tid == tid);
        let Some((mask, Waiting::ForReturn { call, .. })) =
            waiting.map(|thread| (thread.signal_mask, thread.waiting))
        else {
            return;
        };
        let last = self
            .deputy
            .thread(tid)
            .and_then(|thread| thread.last_return.take());
        let Some(LastReturn {
            result,
            writes,
            is_whole_portion,
            mapped,
            signal,
            ..
        }) = last.filter(|last| last.call == call)
        else {
            return;
        };
        homecoming.own_memory.extend(mapped);
        let outcome = match signal {
            None if restart::is_restart(result) => CallOutcome::Again { writes },
            None => CallOutcome::Done {
                result,
                writes,
                is_whole_portion,
            },
            Some(info) => {
                homecoming.signals.push(UndeliveredSignal { tid, info });
                self.after_signal(mask, result, info, writes)
            }
        };
        homecoming.outcomes.push((tid, outcome));
    }

    /// What the kernel makes of a call that a signal has interrupted (sigaction(2), SA_RESTART). One that the
    /// thread's own mask blocks was let through by the call's: made again, the call lets it through again.
    fn after_signal(
        &self,
        mask: SignalSet,
        code: i64,
        info: SignalInfo,
        writes: Vec<(u64, Vec<u8>)>,
    ) -> CallOutcome {
        let restarts = self.deputy.action(info.signal()).flags & SA_RESTART != 0;
        match code {
            _ if mask.contains(info.signal()) => CallOutcome::Again { writes },
            restart::ERESTARTNOINTR => CallOutcome::Again { writes },
            restart::ERESTARTSYS if restarts => CallOutcome::Again { writes },
            _ => CallOutcome::Done {
                result: EINTR,
                writes,
                is_whole_portion: false,
            },
        }
    }

    /// Stops a thread that makes a call. Each stop on the way makes the kernel forget our request, so it
    /// is made again until the call has ended, by itself or by the request.
    pub(super) fn interrupt_call(
        &mut self,
        tid: ThreadId,
        homecoming: &mut Homecoming,
    ) -> Result<CallOutcome, Trouble> {
        let mut heard: Option<SignalInfo> = None;
        ptrace::interrupt(tid)?;
        loop {
            let stop = match wait::wait_for(tid)? {
                Report::Exited(_) | Report::Killed(_) => return Err(Trouble::ProcessEnded),
                Report::Stopped(stop) => stop,
            };
            match stop {
                Stop::Call if ptrace::call_phase(tid)? == ptrace::CallPhase::Entry => {
                    self.set_phase(tid, CallPhase::Inside);
                    ptrace::interrupt(tid)?;
                    ptrace::resume_to_call(tid, 0)?;
                }
                Stop::Call => {
                    let result = ptrace::registers(tid)?.result();
                    if result == EINTR && self.is_made_again(tid) {
                        return Ok(self.made_again(tid));
                    }
                    if !restart::is_restart(result) {
                        return self.call_done(tid, result);
                    }
                    self.set_phase(tid, CallPhase::Interrupted(result));
                    if !self.has_signal_to_hear(tid) {
                        return self.call_given_up(tid, heard);
                    }
                    // What interrupted it was a signal: it comes next.
                    ptrace::resume_to_call(tid, 0)?;
                }
                Stop::Signal(signal) if self.deputy.action(signal).is_handled() => {
                    let info = ptrace::signal_info(tid)?;
                    homecoming.signals.push(UndeliveredSignal { tid, info });
                    heard = Some(info);
                    ptrace::interrupt(tid)?;
                    ptrace::resume_to_call(tid, 0)?;
                }
                // A stop ends such calls, and only such (signal(7)).
                Stop::Group(_) if self.call_phase(tid) == CallPhase::Interrupted(EINTR) => {
                    return self.call_done(tid, EINTR);
                }
                Stop::Interrupted | Stop::Group(_) => return self.call_given_up(tid, heard),
                stop => {
                    self.on_stop(tid, stop)?;
                    ptrace::interrupt(tid)?;
                }
            }
        }
    }

    /// What the guest asked for while job control held the process, or another thread executed a program:
    /// nothing of it has been done.
    pub(super) fn settle_deferred(&mut self, homecoming: &mut Homecoming) -> Result<(), Trouble> {
        let mut earlier = Vec::new();
        for Message { header, .. } in std::mem::take(&mut self.progress.deferred) {
            let Some(tid) = header.concerns() else {
                continue;
            };
            let done = |result, writes| CallOutcome::Done {
                result,
                writes,
                is_whole_portion: false,
            };
            let outcome = match header {
                ToDeputy::ThreadExit { status, .. } => {
                    self.on_thread_exit(tid, status)?;
                    self.await_end(tid)?;
                    continue;
                }
                ToDeputy::GiveBack { signals, .. } => {
                    let own = |info| UndeliveredSignal { tid, info };
                    earlier.extend(signals.into_iter().map(own));
                    continue;
                }
                ToDeputy::Mask { call: None, .. } => continue,
                // The guest has its new mask already.
                ToDeputy::Mask { .. } => done(0, Vec::new()),
                // And its new action, so that only this process still knows the old one.
                ToDeputy::Action {
                    signal,
                    action,
                    old_at,
                    ..
                } => {
                    let (result, old) = self.set_action(tid, signal, action)?;
                    let is_told = result == 0 && old_at != 0;
                    done(
                        result,
                        is_told
                            .then(|| (old_at, old.to_vec()))
                            .into_iter()
                            .collect(),
                    )
                }
                _ => CallOutcome::Again { writes: Vec::new() },
            };
            homecoming.outcomes.push((tid, outcome));
        }
        homecoming.signals.splice(0..0, earlier);
        Ok(())
    }

    /// Whether a call that has ended with EINTR was ended by our stop alone (signal(7)), or by a signal that
    /// only its own mask lets through.
    fn is_made_again(&mut self, tid: ThreadId) -> bool {
        let Some(DeputyState::Making(making)) = self.deputy.thread(tid).map(|thread| &thread.state)
        else {
            return false;
        };
        let has_own_mask = making
            .layout
            .as_ref()
            .is_some_and(|layout| layout.signal_mask().is_some());
        making.is_made_again() && (has_own_mask || !self.has_signal_to_hear(tid))
    }

    fn made_again(&mut self, tid: ThreadId) -> CallOutcome {
        let remaining = match self.deputy.thread(tid).map(|thread| &thread.state) {
            Some(DeputyState::Making(making)) => making.remaining(),
            _ => None,
        };
        self.set_state(tid, DeputyState::Stopped);
        match remaining {
            Some((place, left)) => CallOutcome::AgainFor { place, left },
            None => CallOutcome::Again { writes: Vec::new() },
        }
    }

    fn call_phase(&mut self, tid: ThreadId) -> CallPhase {
        match self.deputy.thread(tid).map(|thread| &thread.state) {
            Some(DeputyState::Making(making)) => making.phase,
            _ => CallPhase::Entering,
        }
    }

    fn set_phase(&mut self, tid: ThreadId, phase: CallPhase) {
        if let Some(thread) = self.deputy.thread(tid)
            && let DeputyState::Making(making) = &mut thread.state
        {
            making.phase = phase;
        }
    }

    fn call_done(&mut self, tid: ThreadId, result: i64) -> Result<CallOutcome, Trouble> {
        let writes = self.writes_of(tid, result)?;
        let is_whole_portion = match self.deputy.thread(tid).map(|thread| &thread.state) {
            Some(DeputyState::Making(making)) => {
                let layout = making.layout.as_ref();
                layout.is_some_and(|layout| layout.is_whole_portion(result))
            }
            _ => false,
        };
        self.set_state(tid, DeputyState::Stopped);
        Ok(CallOutcome::Done {
            result,
            writes,
            is_whole_portion,
        })
    }

    /// What a call has left in its buffers, as guest addresses and bytes. A call without a layout has
    /// used the program's own.
    fn writes_of(&mut self, tid: ThreadId, result: i64) -> Result<Vec<(u64, Vec<u8>)>, Trouble> {
        let Some(thread) = self.deputy.threads.iter().find(|thread| thread.tid == tid) else {
            return Ok(Vec::new());
        };
        let DeputyState::Making(making) = &thread.state else {
            return Ok(Vec::new());
        };
        let Some(layout) = &making.layout else {
            return self
                .finished_in_place(tid, result, None)
                .map(|(.., last)| last.writes);
        };
        let mismatch = || Trouble::Protocol("the call buffers cannot be read".to_owned());
        let reply = layout
            .collect(result, &mut self.deputy.memory)
            .map_err(|_| mismatch())?;
        let writes = layout.scatter(result, &reply).map_err(|_| mismatch())?;
        Ok(writes
            .into_iter()
            .map(|write| (write.address, reply[write.bytes].to_vec()))
            .collect())
    }

    /// A call that our interruption has ended before its time.
    fn call_given_up(
        &mut self,
        tid: ThreadId,
        heard: Option<SignalInfo>,
    ) -> Result<CallOutcome, Trouble> {
        let phase = self.call_phase(tid);
        let began = match self.deputy.thread(tid).map(|thread| &thread.state) {
            Some(DeputyState::Making(making)) if making.layout.is_some() => Some(making.began),
            _ => None,
        };
        let CallPhase::Interrupted(code) = phase else {
            // Not begun: made again at home, or continued if it was a continuation.
            return Ok(match began {
                Some(_) => self.made_again(tid),
                None => {
                    self.set_state(tid, DeputyState::Stopped);
                    CallOutcome::Continues
                }
            });
        };
        if code == EINTR && heard.is_none() {
            return Ok(self.made_again(tid));
        }
        let writes = self.writes_of(tid, code)?;
        self.set_state(tid, DeputyState::Stopped);
        let is_timed = code == restart::ERESTART_RESTARTBLOCK;
        Ok(match (heard, began) {
            (Some(info), _) => {
                let mask = self.deputy.thread(tid).map(|thread| thread.mask);
                self.after_signal(mask.unwrap_or_default(), code, info, writes)
            }
            (None, Some(began)) if is_timed => CallOutcome::Remaining { began },
            (None, None) if is_timed => CallOutcome::Continues,
            (None, _) => CallOutcome::Again { writes },
        })
    }

    /// Whether a signal that the thread does not block and the process does not ignore is queued for it.
    fn has_signal_to_hear(&self, tid: ThreadId) -> bool {
        let ignored = self.deputy.ignored_signals();
        let tid = tid.cast_unsigned();
        status::read_thread(tid, tid).is_ok_and(|status| {
            let signals = status.signals;
            (signals.pending | signals.pending_shared) & !signals.blocked & !ignored.0 != 0
        })
    }
}
