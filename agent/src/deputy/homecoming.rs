//! The process comes home: the deputy becomes the whole process again.
//!
//! 1. All threads of the deputy are stopped; a call under way is finished or given up, to be made again.
//! 2. Break, stack and mappings become the guest's.
//! 3. The pages arrive: what differs is written, what the guest no longer has is cleared.
//! 4. What calls have left in memory after the guest had stopped is written.
//! 5. Per thread: alternate stack, robust list, address to clear, rseq, if they have changed.
//! 6. Signals that the guest has not heard are queued again; the scratch area goes.
//! 7. Extended state, mask, registers; the threads are let go.

use std::time::{Duration, Instant};

use crate::migrate::capture::restart;
use crate::migrate::channel::Message;
use crate::migrate::image::{PAGE_BYTES, ProcessImage, ThreadImage, UndeliveredSignal, Waiting};
use crate::migrate::inject;
use crate::migrate::pages::{self, PageMap};
use crate::process::maps::{self, Mapping};
use crate::process::status;
use crate::sys::blob::Call;
use crate::sys::call_numbers as number;
use crate::sys::ptrace::{self, ThreadId};
use crate::sys::registers::{NO_CALL, Registers};
use crate::sys::signal::{SignalInfo, SignalSet};
use crate::sys::wait::{self, Report, Stop};
use crate::wire::migration::{ToDeputy, ToGuest};

use super::departure;
use super::layout;
use super::supervisor::{Away, Trouble};
use super::threads::{CallPhase, DeputyState, LastReturn};

/// How long the guest's pages may be on their way without any arriving.
const PAGES_TIMEOUT: Duration = Duration::from_secs(10);

const EINTR: i64 = -4;
const SA_RESTART: u64 = 0x1000_0000;

/// What became of the call that a guest thread was in when it was stopped.
#[derive(Debug)]
enum CallOutcome {
    /// It has this result, and has left these bytes in memory.
    Done {
        result: i64,
        writes: Vec<(u64, Vec<u8>)>,
    },
    /// It is made again at home, from its beginning; what it has left in memory so far counts.
    Again { writes: Vec<(u64, Vec<u8>)> },
    /// It began then, and goes on at home for the time that remains of it.
    Remaining { began: Instant },
    /// It uses the program's own buffers, and the kernel can simply continue it.
    Continues,
}

/// A homecoming under way.
struct Homecoming {
    image: Box<ProcessImage>,
    /// Signals to be queued again.
    signals: Vec<UndeliveredSignal>,
    /// Outcomes of calls under way, by thread.
    outcomes: Vec<(ThreadId, CallOutcome)>,
    /// Memory whose contents are the deputy's own.
    own_memory: Vec<std::ops::Range<u64>>,
}

impl Away {
    /// Steps 1 to 7. Returns when the program runs at home, nothing of ours left in it.
    pub(super) fn come_home(
        &mut self,
        image: Box<ProcessImage>,
        undelivered: Vec<UndeliveredSignal>,
        signals_received: u64,
    ) -> Result<(), Trouble> {
        image
            .validate()
            .map_err(|error| Trouble::Protocol(error.to_string()))?;
        if image.pid != self.deputy.pid {
            return Err(Trouble::Protocol("another process came home".to_owned()));
        }
        self.note_visible("its way home");
        self.confirm_signals(signals_received);
        let mut signals = undelivered;
        let unheard = self.unconfirmed.drain(..);
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
        self.adapt_layout(&homecoming.image)?;
        self.receive_pages(&homecoming)?;
        for (_, outcome) in &homecoming.outcomes {
            if let CallOutcome::Done { writes, .. } | CallOutcome::Again { writes } = outcome {
                self.write_all(writes)?;
            }
        }
        self.restore_threads(homecoming)
    }

    fn write_all(&self, writes: &[(u64, Vec<u8>)]) -> Result<(), Trouble> {
        for (address, bytes) in writes {
            self.deputy.memory.write(*address, bytes)?;
        }
        Ok(())
    }

    fn stop_all(&mut self, homecoming: &mut Homecoming) -> Result<(), Trouble> {
        let tids: Vec<ThreadId> = self
            .deputy
            .threads
            .iter()
            .map(|thread| thread.tid)
            .collect();
        for tid in tids {
            let state = self.deputy.thread(tid).map(|thread| &thread.state);
            match state {
                Some(DeputyState::Ending) => self.await_end(tid)?,
                Some(DeputyState::Making(_)) => {
                    let outcome = self.interrupt_call(tid, homecoming)?;
                    homecoming.outcomes.push((tid, outcome));
                }
                _ => {
                    if !self.wake(tid)? {
                        return Err(Trouble::Protocol("the process was stopped".to_owned()));
                    }
                    self.take_last_return(tid, homecoming);
                }
            }
        }
        // Signals that woke threads on the way were sent to a guest that is no more.
        let unheard = self.unconfirmed.drain(..);
        homecoming
            .signals
            .extend(unheard.map(|sent| UndeliveredSignal {
                tid: sent.tid,
                info: sent.info,
            }));
        Ok(())
    }

    fn await_end(&mut self, tid: ThreadId) -> Result<(), Trouble> {
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

    /// The guest's thread may not have heard of its call's return any more.
    fn take_last_return(&mut self, tid: ThreadId, homecoming: &mut Homecoming) {
        let waiting = homecoming
            .image
            .threads
            .iter()
            .find(|thread| thread.tid == tid);
        let Some(Waiting::ForReturn { call, .. }) = waiting.map(|thread| thread.waiting) else {
            return;
        };
        let last = self
            .deputy
            .thread(tid)
            .and_then(|thread| thread.last_return.take());
        let Some(LastReturn {
            result,
            writes,
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
            None => CallOutcome::Done { result, writes },
            Some(info) => {
                homecoming.signals.push(UndeliveredSignal { tid, info });
                self.after_signal(result, info, writes)
            }
        };
        homecoming.outcomes.push((tid, outcome));
    }

    /// What the kernel makes of a call that a signal has interrupted (sigaction(2), SA_RESTART).
    fn after_signal(
        &self,
        code: i64,
        info: SignalInfo,
        writes: Vec<(u64, Vec<u8>)>,
    ) -> CallOutcome {
        let restarts = self.deputy.action(info.signal()).flags & SA_RESTART != 0;
        match code {
            restart::ERESTARTNOINTR => CallOutcome::Again { writes },
            restart::ERESTARTSYS if restarts => CallOutcome::Again { writes },
            _ => CallOutcome::Done {
                result: EINTR,
                writes,
            },
        }
    }

    /// Stops a thread that makes a call. Each stop on the way makes the kernel forget our request, so it
    /// is made again until the call has ended, by itself or by the request.
    fn interrupt_call(
        &mut self,
        tid: ThreadId,
        homecoming: &mut Homecoming,
    ) -> Result<CallOutcome, Trouble> {
        let mut heard: Option<SignalInfo> = None;
        ptrace::interrupt(tid)?;
        loop {
            let stop = match wait::wait_for(tid)? {
                Report::Exited(_) | Report::Killed(_) => return Err(self.thread_ended(tid)),
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
                    if result == EINTR && self.ends_with_our_stop(tid) {
                        self.set_state(tid, DeputyState::Stopped);
                        return Ok(CallOutcome::Again { writes: Vec::new() });
                    }
                    if !restart::is_restart(result) {
                        return self.call_done(tid, result);
                    }
                    self.set_phase(tid, CallPhase::Interrupted(result));
                    if !has_deliverable_signal(tid) {
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
                Stop::Interrupted => return self.call_given_up(tid, heard),
                Stop::Group(_) => {
                    return Err(Trouble::Protocol("the process was stopped".to_owned()));
                }
                stop => {
                    self.on_stop(tid, stop)?;
                    ptrace::interrupt(tid)?;
                }
            }
        }
    }

    /// Whether a call has ended with EINTR only because we have stopped its thread (signal(7)).
    fn ends_with_our_stop(&mut self, tid: ThreadId) -> bool {
        let Some(DeputyState::Making(making)) = self.deputy.thread(tid).map(|thread| &thread.state)
        else {
            return false;
        };
        let restarts = making
            .layout
            .as_ref()
            .is_some_and(|layout| layout.forward.facts.restart_after_stop);
        restarts && !has_deliverable_signal(tid)
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
        self.set_state(tid, DeputyState::Stopped);
        Ok(CallOutcome::Done { result, writes })
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
            self.set_state(tid, DeputyState::Stopped);
            return Ok(match began {
                Some(_) => CallOutcome::Again { writes: Vec::new() },
                None => CallOutcome::Continues,
            });
        };
        let writes = self.writes_of(tid, code)?;
        self.set_state(tid, DeputyState::Stopped);
        let is_timed = code == restart::ERESTART_RESTARTBLOCK;
        Ok(match (heard, began) {
            (Some(info), _) => self.after_signal(code, info, writes),
            (None, Some(began)) if is_timed => CallOutcome::Remaining { began },
            (None, None) if is_timed => CallOutcome::Continues,
            (None, _) => CallOutcome::Again { writes },
        })
    }

    fn adapt_layout(&mut self, image: &ProcessImage) -> Result<(), Trouble> {
        let pid = self.deputy.pid;
        let shared = self.deputy.scratch.shared;
        for thread in &self.deputy.threads {
            ptrace::set_signal_mask(thread.tid, SignalSet::ALL)?;
        }
        let brk = image.memory_layout.brk;
        shared.call(pid, number::SYS_brk, [brk, 0, 0, 0, 0, 0])?;
        let present = self.present_mappings()?;
        if let Some(lowest) = layout::grown_stack(&present, &image.mappings) {
            // The kernel grows the stack when a call of the process touches it: time(2) writes there.
            shared.call(pid, number::SYS_time, [lowest, 0, 0, 0, 0, 0])?;
        }
        let present = self.present_mappings()?;
        let area = self.deputy.scratch.range();
        let mut change = layout::change(&present, &image.mappings, &area);
        shared.run(pid, &self.deputy.memory, &mut change.calls)?;
        let failed = change
            .calls
            .iter()
            .find(|call| (-4095..0).contains(&call.result));
        match failed {
            None => Ok(()),
            Some(call) => Err(Trouble::Protocol(format!(
                "memory at {:#x} cannot be made as the guest had it: {}",
                call.arguments[0],
                std::io::Error::from_raw_os_error(-call.result as i32)
            ))),
        }
    }

    fn present_mappings(&self) -> Result<Vec<Mapping>, Trouble> {
        maps::read(self.deputy.pid.cast_unsigned())
            .map_err(|error| Trouble::Protocol(error.to_string()))
    }

    fn receive_pages(&mut self, homecoming: &Homecoming) -> Result<(), Trouble> {
        let present = self.present_mappings()?;
        let page_map = PageMap::open(self.deputy.pid)?;
        let image = &homecoming.image;
        let mut behind = 0;
        let mut count = 0;
        loop {
            let Message { header, payload } = self.channel.receive::<ToDeputy>(PAGES_TIMEOUT)?;
            match header {
                ToDeputy::Pages { address } => {
                    let end = address.saturating_add(payload.len() as u64);
                    let is_placed = address >= behind
                        && !payload.is_empty()
                        && (address | payload.len() as u64).is_multiple_of(PAGE_BYTES)
                        && image
                            .mapping_at(address)
                            .is_some_and(|mapping| mapping.end >= end);
                    if !is_placed {
                        return Err(Trouble::Protocol(
                            "the guest sent misplaced pages".to_owned(),
                        ));
                    }
                    self.clear(&present, homecoming, behind..address, &page_map)?;
                    self.write_pages(homecoming, address, &payload)?;
                    count += payload.len() as u64 / PAGE_BYTES;
                    behind = end;
                }
                ToDeputy::PagesEnd { count: sent } if sent == count => {
                    return self.clear(&present, homecoming, behind..u64::MAX, &page_map);
                }
                ToDeputy::Usage { .. } => {}
                other => {
                    return Err(Trouble::Protocol(format!(
                        "the guest sent {other:?} among its pages"
                    )));
                }
            }
        }
    }

    fn write_pages(
        &mut self,
        homecoming: &Homecoming,
        address: u64,
        contents: &[u8],
    ) -> Result<(), Trouble> {
        let end = address + contents.len() as u64;
        let is_mixed = homecoming
            .own_memory
            .iter()
            .any(|own| own.start < end && address < own.end);
        if !is_mixed && pages::write_differing(&self.deputy.memory, address, contents).is_ok() {
            return Ok(());
        }
        for (index, page) in contents.chunks(PAGE_BYTES as usize).enumerate() {
            let at = address + index as u64 * PAGE_BYTES;
            if homecoming.own_memory.iter().any(|own| own.contains(&at)) {
                continue;
            }
            if pages::write_differing(&self.deputy.memory, at, page).is_err() {
                // A mapping of a file that ends before this page, unmapped by the guest and mapped anew.
                let mapping = homecoming.image.mapping_at(at);
                let protection = mapping.map_or(0, |mapping| mapping.protection);
                let pid = self.deputy.pid;
                self.replace_by_fresh(pid, at..at + PAGE_BYTES, protection.into())?;
                self.deputy.memory.write(at, page)?;
            }
        }
        Ok(())
    }

    /// Clears what the deputy has of the program's memory within `range`: the guest has nothing there.
    fn clear(
        &self,
        present: &[Mapping],
        homecoming: &Homecoming,
        range: std::ops::Range<u64>,
        page_map: &PageMap,
    ) -> Result<(), Trouble> {
        let first = present.partition_point(|mapping| mapping.end <= range.start);
        for mapping in present[first..]
            .iter()
            .take_while(|mapping| mapping.start < range.end)
        {
            let part = mapping.start.max(range.start)..mapping.end.min(range.end);
            let is_programs = !mapping.kind.is_kernel_provided()
                && !self.deputy.scratch.range().contains(&mapping.start)
                && homecoming.image.mapping_at(part.start).is_some();
            let is_own = homecoming
                .own_memory
                .iter()
                .any(|own| own.contains(&part.start));
            if is_programs && !is_own {
                let file_backed = departure::is_file_backed(mapping);
                pages::clear(&self.deputy.memory, page_map, &part, file_backed)?;
            }
        }
        Ok(())
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
        self.queue_again(&signals)?;
        let instruction = self.deputy.own_instruction;
        self.deputy.scratch.unmap(self.deputy.pid, instruction)?;
        for (thread, registers) in image.threads.iter().zip(&registers) {
            ptrace::set_extended_state(thread.tid, &thread.extended_state)?;
            ptrace::set_signal_mask(thread.tid, thread.signal_mask)?;
            ptrace::set_registers(thread.tid, registers)?;
        }
        for thread in &image.threads {
            ptrace::detach(thread.tid, 0)?;
        }
        self.home_since = Some(Instant::now());
        self.channel.send(&ToGuest::Arrived, &[])?;
        Ok(())
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
        match (thread.waiting, outcome) {
            (Waiting::No, _) => {}
            // Earlier portions count: an end before the last is a short write.
            (
                Waiting::ForReturn {
                    done: done @ 1.., ..
                },
                Some(outcome),
            ) => {
                let last = match outcome {
                    CallOutcome::Done { result, .. } => u64::try_from(*result).unwrap_or(0),
                    _ => 0,
                };
                registers.rax = done + last;
                registers.orig_rax = NO_CALL;
            }
            (_, Some(CallOutcome::Done { result, .. })) => {
                registers.rax = result.cast_unsigned();
                registers.orig_rax = NO_CALL;
            }
            (_, Some(CallOutcome::Again { .. })) => registers.rewind_to_call(call),
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

/// Whether a signal that the thread does not block is queued for it or its process.
fn has_deliverable_signal(tid: ThreadId) -> bool {
    let tid = tid.cast_unsigned();
    status::read_thread(tid, tid).is_ok_and(|status| {
        (status.signals.pending | status.signals.pending_shared) & !status.signals.blocked != 0
    })
}
