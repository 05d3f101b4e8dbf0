//! The process comes home: the deputy becomes the whole process again.
//!
//! 1. All threads of the deputy are stopped; a call under way is finished or given up, to be made again.
//! 2. Break, stack and mappings become the guest's ([`super::memory_at_home`]).
//! 3. The pages and the contents of shared objects arrive: what differs is written, what the guest no longer
//!    has is cleared.
//! 4. What calls have left in memory after the guest had stopped is written.
//! 5. Per thread: alternate stack, robust list, address to clear, rseq, if they have changed.
//! 6. Signals that the guest has not heard are queued again; the scratch area goes.
//! 7. Extended state, mask, registers; the threads are let go.
//!
//! A process that job control has stopped comes home, too: a traced thread runs for its tracer all the same,
//! and at the end PTRACE_DETACH puts it back into the stop that its process is in (__ptrace_unlink in
//! kernel/ptrace.c).

use std::time::{Duration, Instant};

use crate::migrate::asleep;
use crate::migrate::capture::restart;
use crate::migrate::image::{ProcessImage, ThreadImage, UndeliveredSignal, Waiting};
use crate::migrate::{extended_state, inject};
use crate::sys::blob::Call;
use crate::sys::call_numbers as number;
use crate::sys::ptrace::{self, ThreadId};
use crate::sys::registers::{NO_CALL, Registers};
use crate::sys::wait::{self, Report, Stop};
use crate::syscall::Timeout;
use crate::wire::migration::ToGuest;

use super::away::{Away, Fate, Step, Trouble};
use super::in_flight::CallOutcome;
use super::interrupted::{timespec, whole_milliseconds};
use super::memory_at_home::Guards;
use super::threads::DeputyState;

const EINTR: i64 = -4;
const EFAULT: i64 = -14;

/// A homecoming under way.
pub(super) struct Homecoming {
    pub(super) image: Box<ProcessImage>,
    /// Signals to be queued again.
    pub(super) signals: Vec<UndeliveredSignal>,
    /// Outcomes of calls under way, by thread.
    pub(super) outcomes: Vec<(ThreadId, CallOutcome)>,
    /// Memory whose contents are the deputy's own.
    pub(super) own_memory: Vec<std::ops::Range<u64>>,
}

/// Waits until the coarsest monotonic clock has reached what the guest has seen: its clocks were ahead of
/// home's, by less than the pages were on their way unless the network is faster now.
fn await_clock(monotonic_ns: u64) {
    const PAUSE: Duration = Duration::from_millis(1);
    const PATIENCE: Duration = Duration::from_millis(500);
    let begin = Instant::now();
    while asleep::coarse_monotonic_ns() < monotonic_ns && begin.elapsed() < PATIENCE {
        std::thread::sleep(PAUSE);
    }
}

impl Away<'_> {
    /// Steps 1 to 7. Returns when the program runs at home, nothing of ours left in it.
    pub(super) fn come_home(
        &mut self,
        image: Box<ProcessImage>,
        undelivered: Vec<UndeliveredSignal>,
        monotonic_ns: u64,
        awaits_renewed: bool,
    ) -> Result<(), Trouble> {
        image
            .validate()
            .map_err(|error| Trouble::Protocol(error.to_string()))?;
        if image.pid != self.deputy.pid {
            return Err(Trouble::Protocol("another process came home".to_owned()));
        }
        self.note_visible("its way home");
        let mut signals = undelivered;
        let unheard = self.progress.unconfirmed.drain(..);
        signals.extend(unheard.map(|sent| UndeliveredSignal {
            tid: sent.tid,
            info: sent.info,
        }));
        let mut homecoming = Homecoming {
            image,
            signals,
            outcomes: Vec::new(),
            own_memory: Vec::new(),
        };
        self.stop_all(&mut homecoming)?;
        let renewed = self.adapt_layout(&homecoming)?;
        self.settle_guards(&homecoming.image, Guards::Remove)?;
        if awaits_renewed {
            self.tell_renewed(renewed)?;
        }
        self.receive_pages(&homecoming)?;
        self.settle_guards(&homecoming.image, Guards::Install)?;
        for (_, outcome) in &mut homecoming.outcomes {
            self.write_results(outcome);
        }
        await_clock(monotonic_ns);
        self.restore_threads(homecoming)
    }

    /// Puts what a call has left in its buffers into the program's. One that is not mapped makes the call
    /// fail, as natively; a call that is made again finds that out by itself.
    fn write_results(&self, outcome: &mut CallOutcome) {
        let is_written = |writes: &[(u64, Vec<u8>)]| {
            let mut writes = writes.iter();
            writes.all(|(address, bytes)| self.deputy.memory.write(*address, bytes).is_ok())
        };
        match outcome {
            CallOutcome::Done { result, writes, .. } if !is_written(writes) => *result = EFAULT,
            CallOutcome::Again { writes } => _ = is_written(writes),
            _ => {}
        }
    }

    fn stop_all(&mut self, homecoming: &mut Homecoming) -> Result<(), Trouble> {
        let tids: Vec<ThreadId> = self
            .deputy
            .threads
            .iter()
            .map(|thread| thread.tid)
            .collect();
        // An exec that succeeds ends all other threads: none of them can be steered before it has failed.
        if let Some(tid) = self.deputy.executing() {
            self.await_exec(tid)?;
        }
        for tid in tids {
            let state = self.deputy.thread(tid).map(|thread| &thread.state);
            match state {
                Some(DeputyState::Ending) => self.await_end(tid)?,
                Some(DeputyState::Making(_)) => {
                    let outcome = self.interrupt_call(tid, homecoming)?;
                    homecoming.outcomes.push((tid, outcome));
                }
                _ => {
                    self.halt(tid)?;
                    self.take_last_return(tid, homecoming);
                }
            }
        }
        self.settle_deferred(homecoming)?;
        // Signals that woke threads on the way were sent to a guest that is no more.
        let unheard = self.progress.unconfirmed.drain(..);
        homecoming
            .signals
            .extend(unheard.map(|sent| UndeliveredSignal {
                tid: sent.tid,
                info: sent.info,
            }));
        Ok(())
    }

    /// Stops a thread that sleeps, or is on its way to sleep, whether job control has stopped it or not.
    fn halt(&mut self, tid: ThreadId) -> Result<(), Trouble> {
        if matches!(
            self.known(tid)?.state,
            DeputyState::Stopped | DeputyState::Resting(_)
        ) {
            self.set_state(tid, DeputyState::Stopped);
            return Ok(());
        }
        loop {
            // Any other stop makes the kernel forget our request.
            ptrace::interrupt(tid)?;
            match wait::wait_for(tid)? {
                Report::Exited(_) | Report::Killed(_) => return Err(Trouble::ProcessEnded),
                // In a stopped process our own stop is reported like job control's.
                Report::Stopped(Stop::Interrupted | Stop::Group(_)) => {
                    self.set_state(tid, DeputyState::Stopped);
                    return Ok(());
                }
                Report::Stopped(stop) => self.on_stop(tid, stop)?,
            }
        }
    }

    /// Waits until a thread's exec has failed. If it succeeds there is nobody to come home.
    fn await_exec(&mut self, tid: ThreadId) -> Result<(), Trouble> {
        loop {
            // It is reported by the leader, when all other threads have been seen to end.
            for id in self.deputy.thread_ids() {
                if let Ok(Some(report)) = wait::poll_for(id)
                    && let Step::End(Fate::Ended) = self.on_report(id, report)?
                {
                    return Err(Trouble::ProcessEnded);
                }
            }
            if self.progress.has_executed {
                return Err(Trouble::Executed);
            }
            if self.deputy.executing() != Some(tid) {
                return Ok(());
            }
            // Nothing tells of one thread's stop but asking.
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    pub(super) fn await_end(&mut self, tid: ThreadId) -> Result<(), Trouble> {
        loop {
            match wait::wait_for(tid)? {
                Report::Exited(_) | Report::Killed(_) if tid == self.deputy.pid => {
                    return Err(Trouble::ProcessEnded);
                }
                Report::Exited(_) | Report::Killed(_) => {
                    self.deputy.threads.retain(|thread| thread.tid != tid);
                    return Ok(());
                }
                Report::Stopped(_) => ptrace::resume(tid, 0)?,
            }
        }
    }

    fn restore_threads(&mut self, homecoming: Homecoming) -> Result<(), Trouble> {
        let Homecoming {
            image,
            signals,
            outcomes,
            ..
        } = homecoming;
        let mut registers = Vec::with_capacity(image.threads.len());
        for thread in &image.threads {
            if self.deputy.thread(thread.tid).is_none() {
                return Err(Trouble::Protocol(format!(
                    "thread {} is not known here",
                    thread.tid
                )));
            }
            self.restore_addresses(thread)?;
            let outcome = outcomes.iter().find(|(tid, _)| *tid == thread.tid);
            registers.push(self.registers_at_home(thread, outcome.map(|(_, outcome)| outcome))?);
        }
        self.put_kernel_views_back()?;
        self.adopt_actions(&image)?;
        let signals = self.before_those_queued(signals)?;
        self.queue_again(&signals)?;
        let instruction = self.deputy.own_instruction;
        self.deputy.scratch.unmap(self.deputy.pid, instruction)?;
        for (thread, registers) in image.threads.iter().zip(&registers) {
            extended_state::take_over(thread.tid, &thread.extended_state)?;
            ptrace::set_signal_mask(thread.tid, thread.signal_mask)?;
            let outcome = outcomes.iter().find(|(tid, _)| *tid == thread.tid);
            let outcome = outcome.map(|(_, outcome)| outcome);
            let registers = match self.timeout_in_memory(thread, registers, outcome) {
                Some((argument, left)) => {
                    self.with_timeout_below_stack(thread, *registers, argument, left)?
                }
                None => *registers,
            };
            ptrace::set_registers(thread.tid, &registers)?;
        }
        for thread in &image.threads {
            ptrace::detach(thread.tid, 0)?;
        }
        self.progress.home_since = Some(Instant::now());
        self.tell(
            &ToGuest::Arrived {
                pid: self.deputy.pid,
            },
            &[],
        )?;
        Ok(())
    }

    /// The registers of a thread that makes its call again with a timeout in memory that is not the program's
    /// own: it lies below the stack's red zone, where only a handler could write, and none is to run.
    fn with_timeout_below_stack(
        &self,
        thread: &ThreadImage,
        mut registers: Registers,
        argument: u8,
        left: Duration,
    ) -> Result<Registers, Trouble> {
        const RED_ZONE_BYTES: u64 = 128;
        const TIMESPEC_BYTES: u64 = 16;
        const INSTRUCTION_BYTES: u64 = 2;
        if self.has_handler_to_run(thread)? {
            registers.rip += INSTRUCTION_BYTES;
            registers.rax = EINTR.cast_unsigned();
            return Ok(registers);
        }
        let below = RED_ZONE_BYTES + TIMESPEC_BYTES;
        let at = registers.rsp.saturating_sub(below) & !(TIMESPEC_BYTES - 1);
        match self.deputy.memory.write(at, &timespec(left)) {
            Ok(()) => {
                let mut arguments = registers.arguments();
                arguments[usize::from(argument)] = at;
                registers.set_arguments(arguments);
            }
            Err(error) => log::debug!("thread {} begins its timeout anew: {error}", thread.tid),
        }
        Ok(registers)
    }

    /// What remains of the relative timeout of a call that is made again, and the argument that points to it.
    fn timeout_in_memory(
        &self,
        thread: &ThreadImage,
        registers: &Registers,
        outcome: Option<&CallOutcome>,
    ) -> Option<(u8, Duration)> {
        const FUTEX_TIMEOUT: u8 = 3;
        match (thread.waiting, outcome) {
            (Waiting::Since { began_ns }, _) => {
                let arguments = registers.arguments();
                let is_futex = registers.rax == number::SYS_futex.cast_unsigned();
                let is_timed = is_futex && asleep::is_relative_futex(arguments);
                let at = is_timed.then_some(arguments[usize::from(FUTEX_TIMEOUT)])?;
                let timeout = asleep::read_timespec(&self.deputy.memory, at)?;
                Some((
                    FUTEX_TIMEOUT,
                    timeout.saturating_sub(asleep::since(began_ns)),
                ))
            }
            (_, Some(&CallOutcome::AgainFor { place, left })) => match place {
                Timeout::Timespec(argument) => Some((argument, left)),
                Timeout::Milliseconds(_) => None,
            },
            _ => None,
        }
    }

    /// Whether a signal waits for a stopped thread that it shall let through and the program handles.
    fn has_handler_to_run(&self, thread: &ThreadImage) -> Result<bool, Trouble> {
        for is_shared in [false, true] {
            let queued = ptrace::queued_signals(thread.tid, is_shared)?;
            if queued.iter().any(|info| {
                let signal = info.signal();
                !thread.signal_mask.contains(signal) && self.deputy.action(signal).is_handled()
            }) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn restore_addresses(&self, thread: &ThreadImage) -> Result<(), Trouble> {
        let before = self
            .deputy
            .threads
            .iter()
            .find(|known| known.tid == thread.tid)
            .and_then(|known| known.image.as_ref());
        let shared = self.deputy.scratch.shared;
        let mut calls = Vec::new();
        if before.map(|before| before.alternate_stack) != Some(thread.alternate_stack) {
            let (stack, flags, size) = thread.alternate_stack;
            let words = [stack, u64::from(flags & !1), size];
            self.deputy
                .memory
                .write(shared.data, &words.map(u64::to_le_bytes).concat())?;
            calls.push(Call::new(
                number::SYS_sigaltstack,
                [shared.data, 0, 0, 0, 0, 0],
            ));
        }
        if before.map(|before| before.robust_list) != Some(thread.robust_list) {
            let (head, length) = thread.robust_list;
            calls.push(Call::new(
                number::SYS_set_robust_list,
                [head, length, 0, 0, 0, 0],
            ));
        }
        if before.map(|before| before.clear_tid_address) != Some(thread.clear_tid_address) {
            let arguments = [thread.clear_tid_address, 0, 0, 0, 0, 0];
            calls.push(Call::new(number::SYS_set_tid_address, arguments));
        }
        let rseq_before = before.and_then(|before| before.rseq);
        if rseq_before != thread.rseq {
            const UNREGISTER: u64 = 1;
            for (rseq, flags) in [(rseq_before, UNREGISTER), (thread.rseq, 0)] {
                if let Some(rseq) = rseq {
                    let (size, signature) = (u64::from(rseq.size_bytes), u64::from(rseq.signature));
                    let arguments = [rseq.address, size, flags, signature, 0, 0];
                    calls.push(Call::new(number::SYS_rseq, arguments));
                }
            }
        }
        shared.run(thread.tid, &self.deputy.memory, &mut calls)?;
        match calls.iter().find(|call| (-4095..0).contains(&call.result)) {
            None => Ok(()),
            Some(call) => Err(Trouble::Protocol(format!(
                "thread {} cannot be restored: call {} failed: errno {}",
                thread.tid, call.number, -call.result
            ))),
        }
    }

    /// The registers with which a thread goes on at home.
    fn registers_at_home(
        &self,
        thread: &ThreadImage,
        outcome: Option<&CallOutcome>,
    ) -> Result<Registers, Trouble> {
        let mut registers = thread.registers;
        let call = registers.orig_rax;
        if let Some(outcome) = outcome
            && let Some(result) = self.finish_transfer(thread, outcome)?
        {
            registers.rax = result.cast_unsigned();
            registers.orig_rax = NO_CALL;
            return Ok(registers);
        }
        match (thread.waiting, outcome) {
            (Waiting::No, _) => {}
            // Made again for the time that remains, which is written last.
            (Waiting::Since { .. }, _) => {}
            (_, Some(CallOutcome::Done { result, .. })) => {
                registers.rax = result.cast_unsigned();
                registers.orig_rax = NO_CALL;
            }
            (_, Some(CallOutcome::Again { .. })) => registers.rewind_to_call(call),
            (_, Some(&CallOutcome::AgainFor { place, left })) => {
                // One in memory is written last.
                if let Timeout::Milliseconds(argument) = place {
                    let mut arguments = registers.arguments();
                    arguments[usize::from(argument)] = whole_milliseconds(left);
                    registers.set_arguments(arguments);
                }
                registers.rewind_to_call(call);
            }
            (_, Some(CallOutcome::Remaining { began })) => {
                match self.begin_remainder(thread, began.elapsed())? {
                    restart::ERESTART_RESTARTBLOCK => {
                        registers.rewind_to_call(number::SYS_restart_syscall as u64);
                    }
                    result => {
                        registers.rax = result.cast_unsigned();
                        registers.orig_rax = NO_CALL;
                    }
                }
            }
            (_, Some(CallOutcome::Continues)) => {
                registers.rewind_to_call(number::SYS_restart_syscall as u64);
            }
            (_, None) => {
                return Err(Trouble::Protocol(format!(
                    "thread {} waits for a call that was never made",
                    thread.tid
                )));
            }
        }
        Ok(registers)
    }

    /// The kernel remembers the remaining time of a call together with the addresses of its buffers, which
    /// were in the scratch area: the call is made once more with the program's own addresses and the time
    /// that remains, and interrupted at once, so that restart_syscall(2) continues that one. Its result,
    /// which is not ERESTART_RESTARTBLOCK if it was over at once.
    fn begin_remainder(&self, thread: &ThreadImage, elapsed: Duration) -> Result<i64, Trouble> {
        let registers = thread.registers;
        let mut arguments = registers.arguments();
        let call = registers.orig_rax.cast_signed();
        // nanosleep(2): interval, remainder. clock_nanosleep(2): clock, flags, interval, remainder.
        let interval_argument = match call {
            number::SYS_nanosleep => Some(0),
            number::SYS_clock_nanosleep => Some(2),
            _ => None,
        };
        if let Some(index) = interval_argument {
            let at = arguments[index];
            let memory = &self.deputy.memory;
            let wanted = Duration::new(memory.word(at)?, memory.word(at + 8)? as u32);
            let remaining = wanted.saturating_sub(elapsed);
            let words = [remaining.as_secs(), u64::from(remaining.subsec_nanos())];
            let place = self.deputy.scratch.shared.data;
            memory.write(place, &words.map(u64::to_le_bytes).concat())?;
            arguments[index] = place;
        } else if call == number::SYS_poll {
            let wanted = Duration::from_millis(arguments[2] & 0x7fff_ffff);
            arguments[2] = wanted.saturating_sub(elapsed).as_millis() as u64;
        } else {
            // No other forwarded call is continued by restart_syscall(2).
            return Ok(EINTR);
        }
        let instruction = self.deputy.scratch.shared.instruction();
        Ok(inject::call_interrupted(
            thread.tid,
            instruction,
            call,
            arguments,
        )?)
    }

    /// Signals that the guest has not heard, with their siginfo: a thread may queue any to itself
    /// (rt_tgsigqueueinfo(2)).
    pub(super) fn queue_again(&self, signals: &[UndeliveredSignal]) -> Result<(), Trouble> {
        let shared = self.deputy.scratch.shared;
        for UndeliveredSignal { tid, info } in signals {
            if !self.deputy.threads.iter().any(|thread| thread.tid == *tid) {
                // A signal to a thread that has ended is lost natively, too.
                continue;
            }
            self.deputy.memory.write(shared.data, &info.0)?;
            let signal = i64::from(info.signal()).cast_unsigned();
            let arguments = [
                self.deputy.pid as u64,
                *tid as u64,
                signal,
                shared.data,
                0,
                0,
            ];
            let result = shared.call(*tid, number::SYS_rt_tgsigqueueinfo, arguments)?;
            if result < 0 {
                log::warn!("{info:?} for thread {tid} was lost: errno {}", -result);
            }
        }
        Ok(())
    }
}
