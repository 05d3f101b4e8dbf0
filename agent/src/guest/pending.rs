//! Signals that a guest's thread has been sent and does not hear, because it has blocked them meanwhile or
//! hears them only within a call.
//!
//! What home has sent on waits in this node's kernel, where home does not see it: neither sigpending(2),
//! sigtimedwait(2) and signalfd(2), which are made there, nor a call that waits with a mask of its own. So what
//! the thread blocks when it makes a call goes back first:
//!
//! 1. Home is told the mask, and answers. From then on it keeps what the thread blocks, and all that it had sent
//!    before is here.
//! 2. That is taken out of the thread's queue and sent back; home queues it before what has come since.
//! 3. The thread makes its call.
//!
//! A call with a mask of its own (sigsuspend(2), ppoll(2), pselect(2), epoll_pwait(2)) is made at home, whose
//! kernel puts the mask in force. A signal that ends it must be heard here as there: the handler runs with
//! the call's mask and its own, and returns to the thread's. No interface sets both masks, so the
//! thread calls sigsuspend(2) with the call's mask while the signal is pending: that ends at once, and
//! the kernel does the rest, with several signals, too.

use crate::migrate::capture::restart;
use crate::sys::call_numbers as number;
use crate::sys::ptrace::{self, ThreadId};
use crate::sys::registers::NO_CALL;
use crate::sys::signal::{SignalInfo, SignalSet};
use crate::wire::migration::ToDeputy;

use super::stay::{Next, Stay};
use super::threads::Completion;
use super::trap::Trap;
use super::trouble::Trouble;

const SET_BYTES: u64 = size_of::<SignalSet>() as u64;
const EINTR: i64 = -4;

impl Stay<'_> {
    /// Whether a signal that the thread does not block waits for it to run on.
    pub(super) fn has_signal_to_hear(&mut self, thread: ThreadId) -> Result<bool, Trouble> {
        if !self.awaits_signal(thread) {
            return Ok(false);
        }
        let mask = ptrace::signal_mask(thread)?;
        let queued = ptrace::queued_signals(thread, false)?;
        Ok(queued.iter().any(|info| !mask.contains(info.signal())))
    }

    /// Whether a signal from home waits for the thread to unblock it.
    pub(super) fn has_blocked_signal(&mut self, thread: ThreadId) -> Result<bool, Trouble> {
        if !self.awaits_signal(thread) {
            return Ok(false);
        }
        let mask = ptrace::signal_mask(thread)?;
        let known = self.guest.by_thread(thread);
        Ok(known.is_some_and(|known| {
            known
                .signals
                .iter()
                .any(|info| mask.contains(info.signal()))
        }))
    }

    fn awaits_signal(&mut self, thread: ThreadId) -> bool {
        let known = self.guest.by_thread(thread);
        known.is_some_and(|known| !known.signals.is_empty())
    }

    /// Steps 1 to 3, of which this takes the next.
    pub(super) fn return_blocked_signals(&mut self, trap: &Trap) -> Result<Next, Trouble> {
        let (thread, tid) = (trap.thread, trap.tid);
        let mask = ptrace::signal_mask(thread)?;
        let Some(known) = self.guest.by_thread(thread) else {
            return Ok(Next::Continue);
        };
        known.tell_mask(mask);
        known.knows_all_signals = !known.knows_all_signals;
        if !known.knows_all_signals {
            self.give_signals_back(thread, mask)?;
            return self.make_again(thread, trap.number);
        }
        let mut registers = ptrace::registers(thread)?;
        registers.rewind_to_call(trap.number);
        ptrace::set_registers(thread, &registers)?;
        let call = self.next_call();
        self.await_return(trap, call, None, Completion::None);
        let call = Some(call);
        self.tell(&ToDeputy::Mask { tid, call, mask }, &[])?;
        Ok(Next::Continue)
    }

    fn give_signals_back(&mut self, thread: ThreadId, mask: SignalSet) -> Result<(), Trouble> {
        let scratch = self.guest.scratch;
        // The set, and a timeout of nothing: a struct timespec.
        let words = [mask.0, 0, 0];
        let words = words.map(u64::to_le_bytes).concat();
        self.guest.memory.write(scratch.data, &words)?;
        let arguments = [scratch.data, 0, scratch.data + SET_BYTES, SET_BYTES, 0, 0];
        ptrace::set_signal_mask(thread, SignalSet::ALL)?;
        while scratch.call(thread, number::SYS_rt_sigtimedwait, arguments)? > 0 {}
        ptrace::set_signal_mask(thread, mask)?;
        let signals_received = self.guest.signals_received;
        let Some(known) = self.guest.by_thread(thread) else {
            return Ok(());
        };
        let is_blocked = |info: &SignalInfo| mask.contains(info.signal());
        let (signals, heard): (Vec<_>, Vec<_>) = known.signals.drain(..).partition(is_blocked);
        known.signals = heard.into();
        let header = ToDeputy::GiveBack {
            tid: known.tid,
            signals,
            signals_received,
        };
        self.tell(&header, &[])?;
        Ok(())
    }

    /// A call that waited at home with a mask of its own was ended there by a signal.
    pub(super) fn end_masked_wait(
        &mut self,
        thread: ThreadId,
        number: u64,
        restart_code: i64,
        info: SignalInfo,
        call_mask: SignalSet,
    ) -> Result<Next, Trouble> {
        let signal = info.signal();
        if call_mask.contains(signal) {
            let text = format!("home says that signal {signal} has ended a call that blocks it");
            return Err(Trouble::Protocol(text));
        }
        let in_handler = self.guest.action(signal).mask_in_handler(signal, call_mask);
        let scratch = self.guest.scratch;
        self.post_signal(thread, info, true)?;
        let Some(known) = self.guest.by_thread(thread) else {
            return Ok(Next::Continue);
        };
        known.interrupted = Some((number, restart_code));
        known.tell_mask(in_handler);

        let set = call_mask.0.to_le_bytes();
        self.guest.memory.write(scratch.data, &set)?;
        let mut registers = ptrace::registers(thread)?;
        let arguments = registers.arguments();
        // The thread stands at the entry of its call, which becomes this one.
        registers.orig_rax = number::SYS_rt_sigsuspend.cast_unsigned();
        registers.set_arguments([scratch.data, SET_BYTES, 0, 0, 0, 0]);
        ptrace::set_registers(thread, &registers)?;
        let mut registers = self.finish_here(thread)?;
        if registers.result() != restart::ERESTARTNOHAND {
            let text = format!("a signal was not heard: {}", registers.result());
            return Err(Trouble::Protocol(text));
        }
        registers.set_arguments(arguments);
        registers.orig_rax = NO_CALL;
        registers.rax = EINTR.cast_unsigned();
        ptrace::set_registers(thread, &registers)?;
        self.guest.run(thread, 0)?;
        Ok(Next::Continue)
    }
}
