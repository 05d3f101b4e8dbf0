//! Executing at home what the guest asks for, in the deputy's own context.
//!
//! The thread that corresponds to the guest's thread is woken from its pause, its buffers are laid out in
//! its slot of the scratch area, and it makes the call. It may block there as long as the call blocks; the
//! other threads are not held up. Its result goes back with what the call left in the buffers.

use crate::migrate::capture::restart;
use crate::migrate::image::ThreadImage;
use crate::migrate::resource_limits::Lifted;
use crate::sys::call_numbers as number;
use crate::sys::ptrace::{self, ThreadId};
use crate::sys::signal::{SignalInfo, SignalSet};
use crate::sys::wait::{self, Report, Stop};
use crate::syscall::name_query::NameQuery;
use crate::syscall::{self, Request};
use crate::wire::migration::ToGuest;

use super::away::{Away, Fate, Trouble};
use super::concealment::conceal_tracer;
use super::threads::{Answer, CallPhase, DeputyState, DeputyThread, LastReturn, MakingCall};

const EINTR: i64 = -4;

/// Whether a signal waits for a stopped thread that it does not block: the kernel delivers it before the
/// call returns to the program (arch_do_signal_or_restart), so the guest must hear it first, too.
fn has_signal_to_hear(tid: ThreadId, mask: SignalSet) -> std::io::Result<bool> {
    for is_shared in [false, true] {
        let queued = ptrace::queued_signals(tid, is_shared)?;
        if queued.iter().any(|info| !mask.contains(info.signal())) {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Away<'_> {
    /// Wakes a thread from its pause so that it can be steered. `false` if job control has stopped it, or
    /// another thread executes a program, which would end this one.
    pub(super) fn wake(&mut self, tid: ThreadId) -> Result<bool, Trouble> {
        if self.deputy.executing().is_some() {
            return Ok(false);
        }
        let is_held = self.deputy.is_stopped;
        match self.known(tid)?.state {
            DeputyState::Stopped => return Ok(true),
            DeputyState::Parked | DeputyState::Delivering(_) | DeputyState::Resting(_)
                if is_held =>
            {
                return Ok(false);
            }
            DeputyState::Resting(_) => {
                self.set_state(tid, DeputyState::Stopped);
                return Ok(true);
            }
            DeputyState::Parked | DeputyState::Delivering(_) => {}
            DeputyState::Making(_) | DeputyState::Ending => {
                return Err(Trouble::Protocol(format!(
                    "thread {tid} does two things at once"
                )));
            }
        }
        ptrace::interrupt(tid)?;
        loop {
            match wait::wait_for(tid)? {
                Report::Exited(_) | Report::Killed(_) => return Err(Trouble::ProcessEnded),
                Report::Stopped(Stop::Interrupted) => {
                    self.set_state(tid, DeputyState::Stopped);
                    return Ok(true);
                }
                Report::Stopped(stop) => self.on_stop(tid, stop)?,
            }
            if self.deputy.is_stopped {
                return Ok(false);
            }
            // The stop in between made the kernel forget our request.
            ptrace::interrupt(tid)?;
        }
    }

    pub(super) fn set_state(&mut self, tid: ThreadId, state: DeputyState) {
        if let Some(thread) = self.deputy.thread(tid) {
            thread.state = state;
        }
    }

    pub(super) fn known(&mut self, tid: ThreadId) -> Result<&mut DeputyThread, Trouble> {
        let unknown = Trouble::Protocol(format!(
            "the guest speaks of thread {tid}, which is not there"
        ));
        self.deputy.thread(tid).ok_or(unknown)
    }

    /// The guest's thread `tid` makes a call.
    pub(super) fn on_call(
        &mut self,
        tid: ThreadId,
        call: u64,
        request: &Request,
        mask: SignalSet,
        mut payload: Vec<u8>,
    ) -> Result<(), Trouble> {
        self.take_mask(tid, mask)?;
        let thread = self.known(tid)?;
        thread.calls_made += 1;
        let (slot, base) = (thread.slot, thread.base);
        let slot = self.deputy.scratch.slot(slot);
        let slot =
            slot.ok_or_else(|| Trouble::Protocol("a thread has no call buffers".to_owned()))?;
        let layout = syscall::layout(request, &mut payload, slot)
            .map_err(|rejection| Trouble::Protocol(rejection.to_string()))?;
        if layout.forward.facts.visible {
            self.note_visible(syscall::lookup(request.number).map_or("a call", |known| known.name));
        }
        for write in &layout.writes {
            self.deputy
                .memory
                .write(write.address, &payload[write.bytes.clone()])?;
        }
        let mut registers = base;
        let instruction = self.deputy.scratch.shared.instruction();
        registers.enter_call(instruction, request.number, layout.args);
        self.forget_by(request.number)?;
        let query = NameQuery::of(request, &payload);
        let inquiry = query.and_then(|query| self.lasting.inquire(self.deputy.pid, query));
        let making = MakingCall {
            call,
            phase: CallPhase::Entering,
            began: self.began(tid, request.number),
            timeout: self.timeout_of(&layout),
            layout: Some(layout.clone()),
            inquiry,
        };
        if let Some((place, remaining)) = making.remaining() {
            registers.set_arguments(self.with_timeout(registers.arguments(), place, remaining)?);
        }
        ptrace::set_registers(tid, &registers)?;
        self.keep_ignored_signals_out(tid, &layout)?;
        self.begin(tid, making)
    }

    /// Has the guest make a call again, because it has not yet heard a signal that would have interrupted
    /// the call: as if the signal had come just before it.
    pub(super) fn postpone_call(
        &mut self,
        tid: ThreadId,
        call: u64,
        mask: SignalSet,
    ) -> Result<(), Trouble> {
        let unheard = self.progress.unconfirmed.iter();
        let mask = unheard
            .filter(|sent| sent.tid == tid)
            .map(|sent| sent.info.signal())
            .fold(mask, |mask, signal| {
                self.deputy.action(signal).mask_in_handler(signal, mask)
            });
        self.take_mask(tid, mask)?;
        self.return_injected(tid, call, restart::ERESTARTNOINTR, None)
    }

    /// Gives a woken thread the mask that its guest has.
    pub(super) fn take_mask(&mut self, tid: ThreadId, mask: SignalSet) -> Result<(), Trouble> {
        self.known(tid)?.mask = mask;
        ptrace::set_signal_mask(tid, mask)?;
        Ok(())
    }

    /// From here on the process cannot be resumed from its departure image.
    pub(super) fn note_visible(&mut self, what: &'static str) {
        self.deputy.visible.get_or_insert(what);
    }

    pub(super) fn begin(&mut self, tid: ThreadId, making: MakingCall) -> Result<(), Trouble> {
        let layout = making.layout.as_ref();
        let executes = layout.is_some_and(|layout| layout.executes);
        self.set_state(tid, DeputyState::Making(Box::new(making)));
        self.progress.calls_forwarded += 1;
        ptrace::resume_to_call(tid, 0)?;
        // Its entry is reported at once, and most calls end within microseconds: waiting for them here
        // is cheaper than going to sleep.
        match wait::wait_for(tid)? {
            Report::Stopped(stop) => self.on_stop(tid, stop)?,
            Report::Exited(_) | Report::Killed(_) => return Err(Trouble::ProcessEnded),
        }
        if executes {
            // The thread that executes takes the leader's id, so its own may never report again.
            return Ok(());
        }
        match wait::poll_briefly(tid)? {
            None => Ok(()),
            Some(Report::Stopped(stop)) => self.on_stop(tid, stop),
            Some(Report::Exited(_) | Report::Killed(_)) => Err(Trouble::ProcessEnded),
        }
    }

    /// A thread that makes a call stands at its entry or exit.
    pub(super) fn on_call_stop(&mut self, tid: ThreadId) -> Result<(), Trouble> {
        let result = match ptrace::call_phase(tid)? {
            ptrace::CallPhase::Exit(result) => Some(result),
            ptrace::CallPhase::Entry | ptrace::CallPhase::None => None,
        };
        let making = match self.deputy.thread(tid).map(|thread| &mut thread.state) {
            Some(DeputyState::Making(making)) => making,
            Some(DeputyState::Delivering(_)) if result.is_none() => return self.end_delivery(tid),
            Some(DeputyState::Delivering(_)) => return Ok(ptrace::resume_to_call(tid, 0)?),
            _ => return Ok(ptrace::resume(tid, 0)?),
        };
        let Some(result) = result else {
            return self.on_call_entry(tid);
        };
        if restart::is_restart(result) {
            making.phase = CallPhase::Interrupted(result);
            ptrace::resume_to_call(tid, 0)?;
            return Ok(());
        }
        if result == EINTR && making.is_made_again() {
            return self.make_again(tid, ptrace::registers(tid)?);
        }
        if result >= 0 && self.has_opened(tid) && self.answers_for_memory_file(tid, result)? {
            return Ok(());
        }
        let Some(mut answer) = self.conclude(tid, result, None)? else {
            return Ok(());
        };
        let mask = self.known(tid)?.mask;
        if has_signal_to_hear(tid, mask)? {
            self.deputy.park_after_signals(tid, answer)?;
            return Ok(());
        }
        self.add_ahead(&mut answer);
        self.tell_answer(answer)?;
        self.deputy.rest(tid);
        Ok(())
    }

    fn has_opened(&mut self, tid: ThreadId) -> bool {
        match self.deputy.thread(tid).map(|thread| &thread.state) {
            Some(DeputyState::Making(making)) => {
                let layout = making.layout.as_ref();
                layout.is_some_and(|layout| layout.forward.facts.opens)
            }
            _ => false,
        }
    }

    /// The thread has heard all signals that had to come before its answer, and falls asleep.
    fn end_delivery(&mut self, tid: ThreadId) -> Result<(), Trouble> {
        let state = self
            .deputy
            .thread(tid)
            .map(|thread| std::mem::replace(&mut thread.state, DeputyState::Parked));
        if let Some(DeputyState::Delivering(answer)) = state {
            self.tell_answer(*answer)?;
        }
        ptrace::resume(tid, 0)?;
        Ok(())
    }

    /// A call is over: tells the guest, and lets the thread sleep again.
    pub(super) fn finish(
        &mut self,
        tid: ThreadId,
        result: i64,
        signal: Option<SignalInfo>,
    ) -> Result<(), Trouble> {
        let Some(answer) = self.conclude(tid, result, signal)? else {
            return Ok(());
        };
        self.tell_answer(answer)?;
        self.deputy.park(tid)?;
        Ok(())
    }

    /// What the guest is to be told of the call that its thread was making.
    pub(super) fn conclude(
        &mut self,
        tid: ThreadId,
        result: i64,
        signal: Option<SignalInfo>,
    ) -> Result<Option<Answer>, Trouble> {
        let Some(thread) = self.deputy.thread(tid) else {
            return Ok(None);
        };
        let state = std::mem::replace(&mut thread.state, DeputyState::Stopped);
        let DeputyState::Making(making) = state else {
            return Ok(None);
        };
        let mut wish = None;
        let (header, payload, last) = match &making.layout {
            Some(layout) => {
                let reply = layout
                    .collect(result, &mut self.deputy.memory)
                    .map_err(|_| Trouble::Protocol("the call buffers cannot be read".to_owned()))?;
                let (result, reply) = conceal_tracer(self.deputy.pid, layout, result, reply);
                if layout.number.cast_signed() == number::SYS_sched_setaffinity {
                    self.note_affinity();
                } else if layout.forward.facts.regulates {
                    self.tell_regulations()?;
                }
                self.forget_by(layout.number)?;
                wish = self.progress.read_ahead.wish(layout, result);
                let lasting = making.inquiry.map_or_else(Vec::new, |inquiry| {
                    inquiry.rests_on(self.deputy.pid, result)
                });
                let last = self.last_return(making.call, layout, result, &reply, signal)?;
                let reads = layout.forward.facts.portions.is_some_and(|it| it.reads);
                let goes_on = reads
                    && result.cast_unsigned() == crate::limits::FORWARD_PORTION_BYTES
                    && last.is_whole_portion
                    && self.is_of_file(layout.args[0]);
                (
                    ToGuest::Return {
                        tid,
                        call: making.call,
                        result,
                        signal,
                        goes_on,
                        lasting,
                        ahead: None,
                    },
                    reply,
                    last,
                )
            }
            None => self.finished_in_place(tid, result, signal)?,
        };
        if let Some(thread) = self.deputy.thread(tid) {
            thread.last_return = Some(last);
        }
        Ok(Some(Answer {
            header,
            payload,
            wish,
        }))
    }

    fn last_return(
        &self,
        call: u64,
        layout: &syscall::Layout,
        result: i64,
        reply: &[u8],
        signal: Option<SignalInfo>,
    ) -> Result<LastReturn, Trouble> {
        let writes = layout
            .scatter(result, reply)
            .map_err(|error| Trouble::Protocol(error.to_string()))?
            .into_iter()
            .map(|write| (write.address, reply[write.bytes].to_vec()))
            .collect();
        Ok(LastReturn {
            call,
            result,
            writes,
            is_whole_portion: layout.is_whole_portion(result),
            mapped: None,
            signal,
        })
    }

    /// The call that the thread left home in has used the program's own buffers, in the deputy's memory.
    pub(super) fn finished_in_place(
        &mut self,
        tid: ThreadId,
        result: i64,
        signal: Option<SignalInfo>,
    ) -> Result<(ToGuest, Vec<u8>, LastReturn), Trouble> {
        const POLL_ENTRY_BYTES: u64 = 8;
        const TIMESPEC_BYTES: u64 = 16;
        let thread = self.known(tid)?;
        let call = thread.image.as_ref().map(ThreadImage::interrupted_call);
        let [first, second, _, fourth, ..] = thread.base.arguments();
        let (address, length) = match call.map(u64::cast_signed) {
            Some(number::SYS_poll) if result >= 0 => {
                (first, second.saturating_mul(POLL_ENTRY_BYTES))
            }
            // What remains of a sleep that a signal interrupts.
            Some(number::SYS_nanosleep) if result < 0 && second != 0 => (second, TIMESPEC_BYTES),
            Some(number::SYS_clock_nanosleep) if result < 0 && fourth != 0 => {
                (fourth, TIMESPEC_BYTES)
            }
            _ => (0, 0),
        };
        let mut changed = Vec::new();
        let mut payload = Vec::new();
        if length > 0 && length < crate::limits::FORWARD_BYTES_MAX {
            payload.resize(length as usize, 0);
            self.deputy.memory.read(address, &mut payload)?;
            changed.push((address, length));
        }
        let writes = changed
            .iter()
            .map(|&(address, _)| (address, payload.clone()))
            .collect();
        let call = crate::guest::threads::FINISHING_CALL;
        let last = LastReturn {
            call,
            result,
            writes,
            is_whole_portion: false,
            mapped: None,
            signal,
        };
        Ok((
            ToGuest::Finished {
                tid,
                result,
                changed,
                signal,
            },
            payload,
            last,
        ))
    }

    /// The guest's thread has a new signal mask. With `call` it waits for the signals that this lets
    /// through: they are heard before sigprocmask(2) returns.
    pub(super) fn on_mask(
        &mut self,
        tid: ThreadId,
        call: Option<u64>,
        mask: SignalSet,
    ) -> Result<(), Trouble> {
        self.known(tid)?.mask = mask;
        let Some(call) = call else {
            self.deputy.park(tid)?;
            return Ok(());
        };
        let header = ToGuest::Return {
            tid,
            call,
            result: 0,
            signal: None,
            goes_on: false,
            lasting: Vec::new(),
            ahead: None,
        };
        let payload = Vec::new();
        self.deputy.park_after_signals(
            tid,
            Answer {
                header,
                payload,
                wish: None,
            },
        )?;
        Ok(())
    }

    /// Executes one call in a stopped thread that does not block.
    pub(super) fn inject(
        &mut self,
        tid: ThreadId,
        call: i64,
        arguments: [u64; 6],
    ) -> Result<i64, Trouble> {
        ptrace::set_signal_mask(tid, SignalSet::ALL)?;
        Ok(self.deputy.scratch.shared.call(tid, call, arguments)?)
    }

    pub(super) fn return_injected(
        &mut self,
        tid: ThreadId,
        call: u64,
        result: i64,
        mapped: Option<std::ops::Range<u64>>,
    ) -> Result<(), Trouble> {
        let last = LastReturn {
            call,
            result,
            writes: Vec::new(),
            is_whole_portion: false,
            mapped,
            signal: None,
        };
        self.known(tid)?.last_return = Some(last);
        self.progress.calls_forwarded += 1;
        self.tell(
            &ToGuest::Return {
                tid,
                call,
                result,
                signal: None,
                goes_on: false,
                lasting: Vec::new(),
                ahead: None,
            },
            &[],
        )?;
        self.deputy.rest(tid);
        Ok(())
    }

    /// Has the guest come home to make a call there that has had no effect.
    pub(super) fn call_home_for(
        &mut self,
        tid: ThreadId,
        call: u64,
        cause: &str,
    ) -> Result<(), Trouble> {
        let last = LastReturn {
            call,
            result: restart::ERESTARTNOINTR,
            writes: Vec::new(),
            is_whole_portion: false,
            mapped: None,
            signal: None,
        };
        self.known(tid)?.last_return = Some(last);
        let cause = cause.to_owned();
        self.tell(&ToGuest::ComeHomeFor { tid, call, cause }, &[])?;
        self.deputy.park(tid)?;
        Ok(())
    }

    /// Maps fresh memory in a stopped thread's process, in place of whatever was there.
    pub(super) fn replace_by_fresh(
        &mut self,
        tid: ThreadId,
        range: std::ops::Range<u64>,
        protection: u64,
    ) -> Result<(), Trouble> {
        // MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE
        const FLAGS: u64 = 0x02 | 0x10 | 0x20 | 0x4000;
        let scratch = self.deputy.scratch.range();
        if range.start < scratch.end && scratch.start < range.end {
            return Err(Trouble::Protocol(
                "the guest asks for an impossible mapping".to_owned(),
            ));
        }
        let arguments = [
            range.start,
            range.end - range.start,
            protection,
            FLAGS,
            u64::MAX,
            0,
        ];
        let lifted = Lifted::of(self.deputy.pid)?;
        let result = self.inject(tid, number::SYS_mmap, arguments)?;
        drop(lifted);
        if result != range.start.cast_signed() {
            let error = std::io::Error::from_raw_os_error(-result as i32);
            return Err(Trouble::Protocol(format!(
                "memory at {:#x} cannot be made as the guest has it: {error}",
                range.start
            )));
        }
        Ok(())
    }

    /// A thread of the guest has ended, others live on.
    pub(super) fn on_thread_exit(&mut self, tid: ThreadId, status: i32) -> Result<(), Trouble> {
        self.note_visible("exit");
        self.end_by(tid, number::SYS_exit, status)
    }

    /// The guest has ended: the deputy ends as it did.
    pub(super) fn on_exit(&mut self, tid: ThreadId, status: i32) -> Result<(), Trouble> {
        self.end_by(tid, number::SYS_exit_group, status)
    }

    fn end_by(&mut self, tid: ThreadId, call: i64, status: i32) -> Result<(), Trouble> {
        let base = self.known(tid)?.base;
        let instruction = self.deputy.scratch.shared.instruction();
        let mut registers = base;
        let arguments = [i64::from(status).cast_unsigned(), 0, 0, 0, 0, 0];
        registers.enter_call(instruction, call.cast_unsigned(), arguments);
        ptrace::set_registers(tid, &registers)?;
        self.set_state(tid, DeputyState::Ending);
        ptrace::resume(tid, 0)?;
        Ok(())
    }

    /// A thread of the deputy has ended.
    pub(super) fn on_end(&mut self, tid: ThreadId) -> Option<Fate> {
        if tid == self.deputy.pid {
            return Some(Fate::Ended);
        }
        self.deputy.threads.retain(|thread| thread.tid != tid);
        None
    }
}
