//! Signals of the guest: home's kernel decides who hears what; this side makes it so.
//!
//! A signal from home is sent to the thread by tgkill(2); when the kernel is about to deliver it, its
//! siginfo is replaced by home's, which no other interface can forge, and the call that it interrupted is
//! shown to the kernel as interrupted, so that EINTR, SA_RESTART and the signal frame are the kernel's.
//! Faults that the program handles are delivered here; those that it does not are taken home, where the
//! faulting instruction is executed again and the kernel does what it would have done.

use crate::migrate::freeze;
use crate::sys::ptrace::{self, ThreadId};
use crate::sys::registers::NO_CALL;
use crate::sys::signal::{self, SignalAction, SignalInfo, numbers};

use crate::wire::migration::ToDeputy;

use super::stay::{Next, Stay};
use super::threads::{GuestThread, ThreadState};
use super::trouble::Trouble;

/// First real-time signal: from here on each one sent is queued (signal(7)).
const REAL_TIME: i32 = 32;

const EINTR: i64 = -4;

impl Stay<'_> {
    /// Home wants thread `tid` to hear a signal.
    pub(super) fn on_signal_from_home(
        &mut self,
        tid: i32,
        info: SignalInfo,
        is_first: bool,
    ) -> Result<Next, Trouble> {
        self.guest.signals_received += 1;
        let Some(known) = self.guest.by_tid(tid) else {
            // Ended meanwhile: as natively, a signal to an ending thread is lost.
            return Ok(Next::Continue);
        };
        let thread = known.thread;
        self.post_signal(thread, info, is_first)?;
        Ok(Next::Continue)
    }

    /// Sends a signal to a thread, and remembers what home knows of it; `is_first` if home may have others, for
    /// which the thread waits at the end of this one's handler.
    pub(super) fn post_signal(
        &mut self,
        thread: ThreadId,
        info: SignalInfo,
        is_first: bool,
    ) -> Result<(), Trouble> {
        let signal = info.signal();
        if !(1..=signal::SIGNAL_MAX).contains(&signal) {
            return Err(Trouble::Protocol(format!(
                "home sends signal {signal}, which does not exist"
            )));
        }
        let (leader, action) = (self.guest.leader, self.guest.action(signal));
        let Some(known) = self.guest.by_thread(thread) else {
            return Ok(());
        };
        known.signals.push_back(info);
        // Home takes it that the handler runs.
        known.mask_at_home = action.mask_in_handler(signal, known.mask_at_home);
        if is_first {
            known.mask_told = known.mask_at_home;
        }
        signal::send_to_thread(leader, thread, signal)?;
        Ok(())
    }

    /// A forwarded call was interrupted by a signal at home.
    pub(super) fn interrupt_call(
        &mut self,
        thread: ThreadId,
        number: u64,
        restart_code: i64,
        info: SignalInfo,
    ) -> Result<Next, Trouble> {
        if let Some(known) = self.guest.by_thread(thread) {
            known.interrupted = Some((number, restart_code));
        }
        self.post_signal(thread, info, true)?;
        let mut registers = ptrace::registers(thread)?;
        registers.orig_rax = NO_CALL;
        registers.rax = EINTR.cast_unsigned();
        ptrace::set_registers(thread, &registers)?;
        self.guest.run(thread, 0)?;
        Ok(Next::Continue)
    }

    /// The kernel is about to deliver `signal` to a thread.
    pub(super) fn on_delivery(&mut self, thread: ThreadId, signal: i32) -> Result<Next, Trouble> {
        let action = self.guest.action(signal);
        let Some(known) = self.guest.by_thread(thread) else {
            ptrace::resume(thread, signal)?;
            return Ok(Next::Continue);
        };
        // Its handler has another mask than the one that home was told.
        known.knows_all_signals = false;
        known.waits_since_ns = None;
        let position = known
            .signals
            .iter()
            .position(|info| info.signal() == signal);
        if let Some(position) = position {
            if !action.is_handled() {
                return self.leave_to_home(thread, signal);
            }
            deliver(thread, known, position, signal)?;
            self.note_delivery(signal);
            return Ok(Next::Continue);
        }
        if freeze::is_fault(signal) {
            if action.is_handled() && !is_blocked(thread, signal)? {
                ptrace::resume(thread, signal)?;
                self.note_delivery(signal);
                return Ok(Next::Continue);
            }
            step_back_over_breakpoint(self, thread, signal)?;
            if let Some(known) = self.guest.by_thread(thread) {
                known.state = ThreadState::Stopped;
            }
            return Ok(Next::GoHome(Some(format!(
                "it gets signal {signal}, which it does not handle"
            ))));
        }
        if signal == numbers::SIGXCPU {
            return self.end_of_cpu_time(thread);
        }
        log::warn!("signal {signal} was sent to the guest on this node; it is not delivered");
        self.guest.run(thread, 0)?;
        Ok(Next::Continue)
    }

    /// The guest has used up its CPU time, of which this node's kernel keeps account while it is here: it hears
    /// the signal at home.
    fn end_of_cpu_time(&mut self, thread: ThreadId) -> Result<Next, Trouble> {
        let info = ptrace::signal_info(thread)?;
        if let Some(known) = self.guest.by_thread(thread) {
            known.signals.push_back(info);
            known.state = ThreadState::Stopped;
        }
        let cause = "it has used up its CPU time (RLIMIT_CPU)".to_owned();
        Ok(Next::GoHome(Some(cause)))
    }

    /// A signal that no handler is for: its action has changed after home had sent it, or the process shall leave
    /// a core dump. What it does by default happens at home, to where it goes back.
    fn leave_to_home(&mut self, thread: ThreadId, signal: i32) -> Result<Next, Trouble> {
        let is_ignored = self.guest.action(signal).handler == SignalAction::IGNORE
            || freeze::is_ignored_by_default(signal);
        let Some(known) = self.guest.by_thread(thread) else {
            return Ok(Next::Continue);
        };
        if is_ignored {
            known.signals.retain(|info| info.signal() != signal);
            let mask = ptrace::signal_mask(thread)?;
            known.tell_mask(mask);
            let (tid, call) = (known.tid, None);
            self.tell(&ToDeputy::Mask { tid, call, mask }, &[])?;
            self.guest.run(thread, 0)?;
            return Ok(Next::Continue);
        }
        known.state = ThreadState::Stopped;
        self.decide_interrupted_call(thread)?;
        let cause = format!("it gets signal {signal}, which it does not handle");
        Ok(Next::GoHome(Some(cause)))
    }

    /// The kernel runs the handler of `signal`, maybe for the last time.
    fn note_delivery(&mut self, signal: i32) {
        let index = usize::try_from(signal - 1).ok();
        let action = index.and_then(|index| self.guest.signal_actions.get_mut(index));
        if let Some(action) = action.filter(|action| action.runs_once()) {
            action.handler = SignalAction::DEFAULT;
        }
    }
}

fn deliver(
    thread: ThreadId,
    known: &mut GuestThread,
    position: usize,
    signal: i32,
) -> Result<(), Trouble> {
    if let Some(info) = known.signals.remove(position) {
        ptrace::set_signal_info(thread, &info)?;
    }
    if signal < REAL_TIME {
        // Several of a standard signal merge into one.
        known.signals.retain(|info| info.signal() != signal);
    }
    if let Some((number, restart_code)) = known.interrupted.take() {
        let mut registers = ptrace::registers(thread)?;
        registers.orig_rax = number;
        registers.rax = restart_code.cast_unsigned();
        ptrace::set_registers(thread, &registers)?;
    }
    known.state = ThreadState::Running;
    ptrace::resume(thread, signal)?;
    Ok(())
}

fn is_blocked(thread: ThreadId, signal: i32) -> Result<bool, Trouble> {
    Ok(ptrace::signal_mask(thread)?.contains(signal))
}

/// `int3` is the one fault that is reported behind its instruction.
fn step_back_over_breakpoint(
    stay: &Stay<'_>,
    thread: ThreadId,
    signal: i32,
) -> Result<(), Trouble> {
    const INT3: u8 = 0xcc;
    if signal != numbers::SIGTRAP {
        return Ok(());
    }
    let mut registers = ptrace::registers(thread)?;
    let mut before = [0];
    let at = registers.rip.wrapping_sub(1);
    if stay.guest.memory.read(at, &mut before).is_ok() && before == [INT3] {
        registers.rip = at;
        ptrace::set_registers(thread, &registers)?;
    }
    Ok(())
}
