//! A call that is interrupted at home although the program hears nothing: it goes on, for the time that
//! remains.
//!
//! The kernel wakes a traced thread even for a signal that the process ignores, which unmoved would not
//! have interrupted its call. Calls that the kernel restarts by itself then go on; others end with EINTR.
//! Therefore such signals are blocked while a call waits. What interrupts it all the same (a new handler, a
//! stop of ours) makes it again.

use std::time::{Duration, Instant};

use crate::migrate::asleep;
use crate::migrate::image::Waiting;
use crate::sys::call_numbers as number;
use crate::sys::ptrace::{self, ThreadId};
use crate::sys::registers::Registers;
use crate::sys::signal::SignalSet;
use crate::syscall::{Layout, Timeout};

use super::away::{Away, Trouble};
use super::threads::{CallPhase, DeputyState, MakingCall};

const EINTR: i64 = -4;

impl Away<'_> {
    /// Blocks what the process ignores while a woken thread makes a call that may wait, in its own mask and in
    /// the call's.
    pub(super) fn keep_ignored_signals_out(
        &mut self,
        tid: ThreadId,
        layout: &Layout,
    ) -> Result<(), Trouble> {
        let ignored = self.deputy.ignored_signals();
        if let (Some(address), Some(mask)) = (layout.signal_mask_address(), layout.signal_mask()) {
            let mask = SignalSet(mask).with(ignored);
            self.deputy.memory.write(address, &mask.0.to_le_bytes())?;
        }
        // sigtimedwait(2) would find them, and the program that is executed inherits the mask.
        let is_waiting = layout.forward.facts.blocks && !takes_signals(layout) && !layout.executes;
        if let Some(thread) = self.deputy.thread(tid).filter(|_| is_waiting) {
            ptrace::set_signal_mask(tid, thread.mask.with(ignored))?;
        }
        Ok(())
    }

    /// A signal does something now that it did not do: calls that wait must be interrupted by it.
    pub(super) fn let_signal_interrupt(&mut self, signal: i32) {
        for thread in &self.deputy.threads {
            if matches!(thread.state, DeputyState::Making(_)) && !thread.mask.contains(signal) {
                // One that has just stopped by itself refuses. At its next entry it gets its new mask.
                let _ = ptrace::interrupt(thread.tid);
            }
        }
    }

    /// A thread that makes a call is about to enter it, maybe again.
    pub(super) fn on_call_entry(&mut self, tid: ThreadId) -> Result<(), Trouble> {
        let state = self.deputy.thread(tid).map(|thread| &mut thread.state);
        let Some(DeputyState::Making(making)) = state else {
            return Ok(ptrace::resume(tid, 0)?);
        };
        let before = std::mem::replace(&mut making.phase, CallPhase::Inside);
        if matches!(before, CallPhase::Interrupted(_))
            && let Some(layout) = making.layout.clone()
        {
            self.keep_ignored_signals_out(tid, &layout)?;
        }
        ptrace::resume_to_call(tid, 0)?;
        Ok(())
    }

    /// A call has ended with EINTR, maybe without a signal that the program hears: it is made again, for the time
    /// that remains, if none is heard before it begins.
    pub(super) fn make_again(
        &mut self,
        tid: ThreadId,
        mut registers: Registers,
    ) -> Result<(), Trouble> {
        registers.rewind_to_call(registers.orig_rax);
        let Some(DeputyState::Making(making)) = self
            .deputy
            .threads
            .iter_mut()
            .find(|thread| thread.tid == tid)
            .map(|it| &mut it.state)
        else {
            return Ok(ptrace::resume(tid, 0)?);
        };
        making.phase = CallPhase::Interrupted(EINTR);
        if let Some((place, remaining)) = making.remaining() {
            registers.set_arguments(self.with_timeout(registers.arguments(), place, remaining)?);
        }
        ptrace::set_registers(tid, &registers)?;
        ptrace::resume_to_call(tid, 0)?;
        Ok(())
    }

    /// The arguments of a call that has been laid out, with another timeout.
    pub(super) fn with_timeout(
        &self,
        mut arguments: [u64; 6],
        place: Timeout,
        timeout: Duration,
    ) -> Result<[u64; 6], Trouble> {
        match place {
            Timeout::Milliseconds(index) => {
                arguments[usize::from(index)] = whole_milliseconds(timeout);
            }
            Timeout::Timespec(index) => {
                let at = arguments[usize::from(index)];
                self.deputy.memory.write(at, &timespec(timeout))?;
            }
        }
        Ok(arguments)
    }

    /// When the call that a guest's thread makes began to wait: before the departure, if the thread left
    /// home in it and has heard nothing since.
    pub(super) fn began(&self, tid: ThreadId, number: u64) -> Instant {
        let now = Instant::now();
        let thread = self.deputy.threads.iter().find(|it| it.tid == tid);
        let left_in_it = thread.filter(|thread| {
            let image = thread.image.as_ref();
            thread.calls_made == 1
                && self.progress.signals_sent == 0
                && image.is_some_and(|image| image.interrupted_call() == number)
        });
        match left_in_it
            .and_then(|thread| thread.image.as_ref())
            .map(|image| image.waiting)
        {
            Some(Waiting::Since { began_ns }) => {
                now.checked_sub(asleep::since(began_ns)).unwrap_or(now)
            }
            _ => now,
        }
    }

    /// How long a call that has been laid out shall wait at most; none if it is for ever, or not known.
    pub(super) fn timeout_of(&self, layout: &Layout) -> Option<Duration> {
        match layout.forward.facts.timeout? {
            Timeout::Milliseconds(index) => {
                let milliseconds = layout.args[usize::from(index)] as i32;
                u64::try_from(milliseconds).ok().map(Duration::from_millis)
            }
            Timeout::Timespec(index) => {
                let at = layout.args[usize::from(index)];
                asleep::read_timespec(&self.deputy.memory, at)
            }
        }
    }
}

fn takes_signals(layout: &Layout) -> bool {
    layout.number == number::SYS_rt_sigtimedwait.cast_unsigned()
}

impl MakingCall {
    /// Where the call has its timeout, and what is left of that.
    pub(super) fn remaining(&self) -> Option<(Timeout, Duration)> {
        let place = self.layout.as_ref()?.forward.facts.timeout?;
        let timeout = self.timeout?;
        Some((place, timeout.saturating_sub(self.began.elapsed())))
    }
}

/// A `struct timespec`.
pub(super) fn timespec(duration: Duration) -> Vec<u8> {
    let words = [duration.as_secs(), u64::from(duration.subsec_nanos())];
    words.map(u64::to_le_bytes).concat()
}

/// Milliseconds that are not less than this, as an argument.
pub(super) fn whole_milliseconds(duration: Duration) -> u64 {
    duration.as_nanos().div_ceil(1_000_000) as u64
}
