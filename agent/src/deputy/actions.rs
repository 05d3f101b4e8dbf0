//! What each signal does (sigaction(2)): the deputy's kernel knows it as the guest's does, because it decides
//! what interrupts, stops or ends the process, and because the program needs it when it is home again.

use crate::migrate::image::{ProcessImage, Waiting};
use crate::sys::call_numbers as number;
use crate::sys::ptrace::ThreadId;
use crate::sys::signal::{SIGNAL_ACTION_BYTES, SignalAction, SignalSet};

use super::away::{Away, Trouble};

impl Away<'_> {
    /// rt_sigaction(2) of the guest: the deputy must know which signals are ignored, and has the handler
    /// when the program is home again.
    pub(super) fn on_action(
        &mut self,
        tid: ThreadId,
        call: u64,
        signal: i32,
        action: SignalAction,
        old_at: u64,
        mask: SignalSet,
    ) -> Result<(), Trouble> {
        self.take_mask(tid, mask)?;
        let was_ignored = self.deputy.ignores(signal);
        let (result, old) = self.set_action(tid, signal, action)?;
        if was_ignored && !self.deputy.ignores(signal) {
            self.let_signal_interrupt(signal);
        }
        self.return_injected(tid, call, result, None)?;
        // The guest's kernel leaves the old action there, unless the guest comes home before it hears of this.
        if result == 0
            && old_at != 0
            && let Some(last) = &mut self.known(tid)?.last_return
        {
            last.writes.push((old_at, old.to_vec()));
        }
        Ok(())
    }

    /// Sets an action, by a stopped thread, whose registers and mask are the caller's to set. Returns the
    /// result, and the old action in the kernel's layout.
    pub(super) fn set_action(
        &mut self,
        tid: ThreadId,
        signal: i32,
        action: SignalAction,
    ) -> Result<(i64, [u8; SIGNAL_ACTION_BYTES]), Trouble> {
        let at = self.deputy.scratch.shared.data;
        let old_at = at + SIGNAL_ACTION_BYTES as u64;
        self.deputy.memory.write(at, &action.to_bytes())?;
        let number_of = i64::from(signal).cast_unsigned();
        let arguments = [number_of, at, old_at, size_of::<SignalSet>() as u64, 0, 0];
        let result = self.inject(tid, number::SYS_rt_sigaction, arguments)?;
        if result == 0
            && let Some(known) = self.deputy.signal_actions.get_mut(signal as usize - 1)
        {
            *known = action;
        }
        let mut old = [0; SIGNAL_ACTION_BYTES];
        self.deputy.memory.read(old_at, &mut old)?;
        Ok((result, old))
    }

    /// The guest hears a signal whose handler runs once: from here on it has its default action.
    pub(super) fn forget_handler(&mut self, tid: ThreadId, signal: i32) -> Result<(), Trouble> {
        let action = SignalAction {
            handler: SignalAction::DEFAULT,
            ..self.deputy.action(signal)
        };
        self.set_action(tid, signal, action).map(drop)
    }

    /// Sets the actions that the guest has and the deputy has not: those of handlers that run once, whose
    /// signal one side has delivered and the other not yet. A sigaction(2) that home has just made for
    /// a thread which did not hear of it counts.
    pub(super) fn adopt_actions(&mut self, image: &ProcessImage) -> Result<(), Trouble> {
        let pid = self.deputy.pid;
        for (signal, &action) in (1..).zip(&image.signal_actions) {
            let is_being_changed = image.threads.iter().any(|thread| {
                let registers = &thread.registers;
                matches!(thread.waiting, Waiting::ForReturn { .. })
                    && registers.orig_rax == number::SYS_rt_sigaction.cast_unsigned()
                    && registers.rdi as i32 == signal
            });
            if action != self.deputy.action(signal) && !is_being_changed {
                self.set_action(pid, signal, action)?;
            }
        }
        Ok(())
    }
}
