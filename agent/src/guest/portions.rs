//! Transfers that are too long for one message: after each portion the next, until all is done.

use crate::sys::ptrace::{self, ThreadId};
use crate::sys::signal::SignalInfo;
use crate::syscall::{self, Class, Limits, Portions};
use crate::wire::migration::ToDeputy;

use super::stay::{Next, Stay};
use super::threads::{Completion, PendingCall, ThreadState};
use super::trouble::Trouble;

/// How a transfer goes on when a portion has been transferred whole.
fn portions_of(number: u64, arguments: &[u64; 6]) -> Option<Portions> {
    match syscall::resolve(syscall::lookup(number)?, arguments) {
        Class::Forward(forward) => forward.facts.portions,
        _ => None,
    }
}

impl PendingCall {
    /// Whether it is a transfer of which only a portion was asked for.
    pub(super) fn is_cut(&self) -> bool {
        let plan = self.plan.as_ref();
        plan.is_some_and(|plan| {
            plan.shortened() && portions_of(self.number, &plan.request().args).is_some()
        })
    }
}

impl Stay<'_> {
    /// A portion is over: goes on with the next one, or ends with the sum. `goes_on` as home says.
    pub(super) fn continue_transfer(
        &mut self,
        thread: ThreadId,
        pending: &PendingCall,
        result: i64,
        signal: Option<SignalInfo>,
        goes_on: bool,
    ) -> Result<Next, Trouble> {
        let transferred = u64::try_from(result).unwrap_or(0);
        let done = pending.done + transferred;
        let is_whole = pending.plan.as_ref().is_some_and(|plan| {
            let portions = portions_of(pending.number, &plan.request().args);
            plan.shortened()
                && transferred == plan.transfer_bytes()
                && portions.is_some_and(|portions| !portions.reads || goes_on)
        });
        if is_whole && signal.is_none() {
            return self.next_portion(thread, pending.number, done);
        }
        if done == 0 {
            return match signal {
                Some(info) => self.interrupt_call(thread, pending.number, result, info),
                None => self.resume_with(thread, result),
            };
        }
        // An error behind the first portion makes a short transfer, as in the kernel.
        if let Some(info) = signal {
            self.post_signal(thread, info, true)?;
        }
        self.resume_with(thread, done.cast_signed())
    }

    /// Asks for what is left when `done` bytes have been transferred.
    pub(super) fn next_portion(
        &mut self,
        thread: ThreadId,
        number: u64,
        done: u64,
    ) -> Result<Next, Trouble> {
        let arguments = ptrace::registers(thread)?.arguments();
        let class = syscall::lookup(number).map(|call| syscall::resolve(call, &arguments));
        let Some(Class::Forward(forward)) = class else {
            return self.resume_with(thread, done.cast_signed());
        };
        let memory = &mut self.guest.memory;
        let limits = Limits::default();
        let planned = syscall::plan_rest(number, &arguments, forward, memory, limits, done);
        let Ok(mut plan) = planned else {
            return self.resume_with(thread, done.cast_signed());
        };
        let mask = self.current_mask(thread)?;
        let call = self.next_call();
        let payload = plan.take_payload();
        let request = plan.request();
        let Some(known) = self.guest.by_thread(thread) else {
            return Ok(Next::Continue);
        };
        let tid = known.tid;
        known.state = ThreadState::AwaitingReturn(Box::new(PendingCall {
            call,
            number,
            plan: Some(plan),
            completion: Completion::Result,
            done,
        }));
        let header = ToDeputy::Call {
            tid,
            call,
            request,
            mask,
            signals_received: self.guest.signals_received,
        };
        self.tell(&header, &payload)?;
        Ok(Next::Continue)
    }
}
