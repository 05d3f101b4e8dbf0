//! One guest's stay on this node: what its supervisor does about each event of it.
//!
//! A [`Stay`] is the supervisor's view of one guest while it handles an event: the guest's own state, and
//! what all guests of one supervisor share. The other files of this folder add to it, each its own
//! subject: trapped calls, forks, signals, the way home.

use crate::migrate::channel::{Channel, Message};
use crate::process::stat;
use crate::sys::ptrace::{self, ThreadId};
use crate::sys::signal::SignalSet;
use crate::sys::wait::{self, Report, Stop};
use crate::wire::migration::ToGuest;

use super::ahead::Received;
use super::sandbox::Sandbox;
use super::threads::{FINISHING_CALL, Guest, GuestThread, Journey, ThreadState};
use super::trouble::Trouble;

/// What follows from an event.
pub enum Next {
    /// The guest goes on.
    Continue,
    /// It goes on with an answer for which home was not asked, and may call again within microseconds.
    Soon,
    /// It must go home; why, if home has not asked for it.
    GoHome(Option<String>),
    /// As [`Self::GoHome`], but not before the process of this thread has, if that is a guest as well.
    GoHomeAfter(i32, String),
    /// It has made another process, which is a guest from now on.
    Forked(Box<Guest>),
    /// The process runs at home or has ended: the guest is of no more use.
    End,
}

/// One guest and what it shares with the others of its supervisor.
pub struct Stay<'a> {
    pub(super) channel: &'a mut Channel,
    pub(super) sandbox: &'a mut Sandbox,
    pub(super) guest: &'a mut Guest,
}

impl Stay<'_> {
    /// CPU time that the guest has used, in seconds.
    pub(super) fn cpu_seconds(&self) -> f64 {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        stat::read(self.guest.leader.cast_unsigned()).map_or(0.0, |stat| {
            (stat.user_time_ticks + stat.system_time_ticks) as f64 / ticks
        })
    }

    /// A thread of the guest has stopped or ended.
    pub(super) fn on_report(&mut self, thread: ThreadId, report: Report) -> Result<Next, Trouble> {
        let stop = match report {
            Report::Exited(_) | Report::Killed(_) => return self.on_end(thread),
            Report::Stopped(stop) => stop,
        };
        match stop {
            Stop::Seccomp => self.on_trap(thread),
            Stop::Signal(signal) => self.on_delivery(thread, signal),
            Stop::Interrupted if self.guest.is_held => {
                if let Some(known) = self.guest.by_thread(thread) {
                    known.state = ThreadState::Held;
                }
                Ok(Next::Continue)
            }
            Stop::Call if self.guest.is_in_vfork(thread) => self.end_vfork(thread),
            // Job control is home's: a stop signal sent on this node has no effect.
            Stop::Group(_)
            | Stop::Interrupted
            | Stop::Call
            | Stop::NewThread
            | Stop::Exec
            | Stop::Other(_) => {
                self.guest.resume(thread, 0)?;
                Ok(Next::Continue)
            }
        }
    }

    fn on_end(&mut self, thread: ThreadId) -> Result<Next, Trouble> {
        let threads = &mut self.guest.threads;
        match threads.iter().position(|known| known.thread == thread) {
            Some(index) if threads[index].is_exiting => {
                threads.remove(index);
                Ok(Next::Continue)
            }
            _ => Err(Trouble::GuestGone),
        }
    }

    /// Home has sent something about the guest.
    pub(super) fn on_message(&mut self, message: Message<ToGuest>) -> Result<Next, Trouble> {
        let Message {
            header,
            mut payload,
        } = message;
        if matches!(self.guest.journey, Journey::Sent) && !matches!(header, ToGuest::Arrived { .. })
        {
            // On its way before home had heard that the guest is.
            return Ok(Next::Continue);
        }
        if !matches!(header, ToGuest::Compared { .. }) {
            // Whoever has caused it may have changed what was sent before.
            self.end_ahead()?;
        }
        match header {
            ToGuest::Return {
                tid,
                call,
                result,
                signal,
                goes_on,
                lasting,
                ahead,
            } => {
                self.guest.lasting.hear(call, result, lasting);
                let split = |ahead| Received::split(&ahead, &mut payload);
                let received = ahead.map(split).transpose()?;
                let next = self.on_return(tid, call, result, &payload, signal, goes_on);
                self.guest.ahead = received;
                next
            }
            ToGuest::AskMappings { tid, call } => self.on_ask_mappings(tid, call),
            ToGuest::ComeHomeFor { tid, call, cause } => self.on_call_home(tid, call, cause),
            ToGuest::Finished {
                tid,
                result,
                changed,
                signal,
            } => {
                self.write_changed(&changed, &payload)?;
                self.on_return(tid, FINISHING_CALL, result, &[], signal, false)
            }
            ToGuest::Object { tid, object } => {
                self.on_object(tid, object)?;
                Ok(Next::Continue)
            }
            ToGuest::ObjectPages { object, offset, .. } => {
                if self.guest.files.fill(object, offset, &payload)? {
                    Ok(Next::Continue)
                } else {
                    Err(Trouble::Protocol(format!(
                        "home sent contents of object {object}, which is not being mapped"
                    )))
                }
            }
            ToGuest::Compared {
                address,
                length,
                differing,
                absent,
                ..
            } => {
                if let Some(returning) = &mut self.guest.returning {
                    let range = address..address.saturating_add(length);
                    returning.on_compared(range, &differing, &absent)?;
                }
                Ok(Next::Continue)
            }
            ToGuest::Signal {
                tid,
                info,
                is_first,
            } => self.on_signal_from_home(tid, info, is_first),
            ToGuest::Limits { limits, .. } => self.limit(&limits),
            ToGuest::Scheduling { tid, scheduling } => self.schedule(tid, &scheduling),
            ToGuest::Stopped { is_stopped, .. } => self.hold(is_stopped),
            ToGuest::Recall { .. } => Ok(Next::GoHome(None)),
            ToGuest::Arrived { .. } => Ok(Next::End),
            ToGuest::Alive | ToGuest::Forget { .. } | ToGuest::PagesEnd { .. } => {
                Ok(Next::Continue)
            }
            ToGuest::Prepare(_)
            | ToGuest::Clocks { .. }
            | ToGuest::Draft { .. }
            | ToGuest::Renewed { .. }
            | ToGuest::Depart { .. }
            | ToGuest::Pages { .. }
            | ToGuest::Commit => Err(Trouble::Protocol(
                "home begins a migration that is long over".to_owned(),
            )),
        }
    }

    fn write_changed(&mut self, changed: &[(u64, u64)], payload: &[u8]) -> Result<(), Trouble> {
        let mut rest = payload;
        for &(address, length) in changed {
            let (bytes, behind) = usize::try_from(length)
                .ok()
                .and_then(|length| rest.split_at_checked(length))
                .ok_or_else(|| Trouble::Protocol("changed memory is incomplete".to_owned()))?;
            self.guest.memory.write(address, bytes)?;
            rest = behind;
        }
        Ok(())
    }

    /// Job control at home has stopped or continued the process.
    fn hold(&mut self, is_held: bool) -> Result<Next, Trouble> {
        self.guest.is_held = is_held;
        if is_held {
            for thread in &mut self.guest.threads {
                // From now on calls that go on need not be those that came here.
                thread.waits_since_ns = None;
            }
            for thread in &self.guest.threads {
                if matches!(thread.state, ThreadState::Running) {
                    // One that has just stopped by itself is held when it would be resumed.
                    let _ = ptrace::interrupt(thread.thread);
                }
            }
        } else {
            self.run_held()?;
        }
        Ok(Next::Continue)
    }

    /// Lets every thread run that only job control, or the guest's not being committed yet, has held.
    pub(super) fn run_held(&mut self) -> Result<(), Trouble> {
        let held: Vec<ThreadId> = self
            .guest
            .threads
            .iter()
            .filter(|thread| matches!(thread.state, ThreadState::Held))
            .map(|thread| thread.thread)
            .collect();
        for thread in held {
            self.guest.run(thread, 0)?;
        }
        Ok(())
    }

    /// A thread that the guest has just made, attached to and stopped by the kernel.
    pub(super) fn adopt_thread(
        &mut self,
        thread: ThreadId,
        tid: i32,
        mask: SignalSet,
    ) -> Result<(), Trouble> {
        match wait::wait_for(thread)? {
            Report::Stopped(_) => {}
            Report::Exited(_) | Report::Killed(_) => return Err(Trouble::GuestGone),
        }
        ptrace::set_signal_mask(thread, mask)?;
        self.guest.threads.push(GuestThread::new(thread, tid, mask));
        self.guest.run(thread, 0)?;
        Ok(())
    }
}
