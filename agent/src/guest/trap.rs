//! Calls of the guest that its filter does not let pass: what becomes of each.
//!
//! Most are forwarded: the deputy executes them at home. A few need both sides, or only this one and
//! home told. What is neither sends the process home, where it makes the call natively.

use crate::migrate::capture::restart;
use crate::migrate::process_memory::ProcessMemory;
use crate::sys::call_numbers as number;
use crate::sys::ptrace::{self, CallPhase, ThreadId};
use crate::sys::registers::{NO_CALL, Registers};
use crate::sys::signal::{SIGNAL_ACTION_BYTES, SIGNAL_MAX, SignalAction, SignalInfo, SignalSet};
use crate::sys::wait::{self, Report, Stop};
use crate::syscall::name_query::NameQuery;
use crate::syscall::{self, Answer, Class, Fault, Forward, Limits, Memory, PlanError, SpecialCall};
use crate::wire::migration::ToDeputy;

use super::filter;
use super::stay::{Next, Stay};
use super::threads::{Completion, PendingCall, ThreadState};
use super::trouble::Trouble;

impl Memory for ProcessMemory {
    fn read(&mut self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        self.read_as_program(address, into).map_err(|_| Fault)
    }

    fn is_writable(&mut self, address: u64, length: u64) -> bool {
        length == 0 || self.is_writable_by_program(address, length)
    }
}

const EFAULT: i64 = -14;
const ENOSYS: i64 = -38;

/// Whether a call makes the caller the tracer of a process that runs (ptrace(2)).
fn attaches(trap: &Trap) -> bool {
    const PTRACE_ATTACH: u64 = 16;
    const PTRACE_SEIZE: u64 = 0x4206;
    trap.number.cast_signed() == number::SYS_ptrace
        && [PTRACE_ATTACH, PTRACE_SEIZE].contains(&trap.arguments[0])
}

/// A trapped call.
pub(super) struct Trap {
    pub(super) thread: ThreadId,
    pub(super) tid: i32,
    pub(super) registers: Registers,
    pub(super) number: u64,
    pub(super) arguments: [u64; 6],
}

impl Stay<'_> {
    /// A thread stands at a call that its filter has trapped.
    pub(super) fn on_trap(&mut self, thread: ThreadId) -> Result<Next, Trouble> {
        let registers = ptrace::registers(thread)?;
        let Some(known) = self.guest.by_thread(thread) else {
            return Ok(Next::Continue);
        };
        known.waits_since_ns = None;
        let trap = Trap {
            thread,
            tid: known.tid,
            registers,
            number: registers.orig_rax,
            arguments: registers.arguments(),
        };
        if ptrace::event_message(thread)? == filter::FOREIGN_DATA {
            let cause = "it makes a call by the 32-bit interface".to_owned();
            return self.go_home_for(&trap, cause);
        }
        if self.has_signal_to_hear(thread)? {
            return self.make_again(thread, trap.number);
        }
        if self.has_blocked_signal(thread)? {
            return self.return_blocked_signals(&trap);
        }
        if trap.number.cast_signed() == number::SYS_rt_sigreturn {
            return self.run_here_and_tell_mask(&trap);
        }
        let Some(call) = syscall::lookup(trap.number) else {
            let cause = format!(
                "it makes system call {}, which Limosa does not know",
                trap.number
            );
            return self.go_home_for(&trap, cause);
        };
        match syscall::resolve(call, &trap.arguments) {
            Class::Local => self.run_here(&trap),
            Class::Answered(Answer::NotImplemented) => self.answer(&trap, ENOSYS),
            Class::Forward(forward) => self.forward(&trap, forward, Completion::Result),
            Class::Special(special, forward) => match (special, forward) {
                (SpecialCall::Clone, _) => self.clone_guest(&trap),
                (SpecialCall::Exec, Some(forward)) => {
                    self.forward(&trap, forward, Completion::Result)
                }
                (SpecialCall::Mmap, _) => self.map(&trap),
                (SpecialCall::Remap, _) => self.remap(&trap),
                (SpecialCall::Residency, _) if self.guest.memory_follows => {
                    self.wait_for_memory(&trap)
                }
                (SpecialCall::Residency, _) => self.run_here(&trap),
                (SpecialCall::Lock, _) => self.lock(&trap),
                (SpecialCall::SignalAction, _) => self.change_action(&trap),
                (SpecialCall::SignalMask, _) => self.run_here_and_tell_mask(&trap),
                (SpecialCall::Exit, _) => self.exit_thread(&trap),
                (SpecialCall::ExitGroup, _) => self.exit_process(&trap),
                (SpecialCall::Mirror, Some(forward)) => {
                    self.forward(&trap, forward, Completion::MirrorIfDone)
                }
                (SpecialCall::SetAffinity, Some(forward)) => self.set_affinity(&trap, forward),
                (SpecialCall::GetAffinity, Some(forward)) => self.get_affinity(&trap, forward),
                (SpecialCall::Schedule, Some(forward)) => self.set_policy(&trap, forward),
                (
                    SpecialCall::Mirror
                    | SpecialCall::SetAffinity
                    | SpecialCall::GetAffinity
                    | SpecialCall::Schedule
                    | SpecialCall::Exec,
                    _,
                ) => self.go_home_for(&trap, format!("it calls {}", call.name)),
            },
            Class::ComesHome(reason) if attaches(&trap) => {
                // Nobody can attach to a deputy, which has its supervisor.
                let cause = format!("it calls {}: {reason}", call.name);
                self.go_home_for(&trap, String::new())?;
                Ok(Next::GoHomeAfter(trap.arguments[1] as i32, cause))
            }
            Class::ComesHome(reason) => {
                self.go_home_for(&trap, format!("it calls {}: {reason}", call.name))
            }
            Class::If { .. } | Class::ByCommand { .. } | Class::Ioctl => {
                self.go_home_for(&trap, format!("it calls {}", call.name))
            }
        }
    }

    /// The thread makes its call at home, natively.
    pub(super) fn go_home_for(&mut self, trap: &Trap, cause: String) -> Result<Next, Trouble> {
        let mut registers = trap.registers;
        registers.rewind_to_call(trap.number);
        ptrace::set_registers(trap.thread, &registers)?;
        self.set_state(trap.thread, ThreadState::Stopped);
        Ok(Next::GoHome(Some(cause)))
    }

    pub(super) fn set_state(&mut self, thread: ThreadId, state: ThreadState) {
        if let Some(known) = self.guest.by_thread(thread) {
            known.state = state;
        }
    }

    pub(super) fn run_here(&mut self, trap: &Trap) -> Result<Next, Trouble> {
        self.guest.run(trap.thread, 0)?;
        Ok(Next::Continue)
    }

    pub(super) fn answer(&mut self, trap: &Trap, result: i64) -> Result<Next, Trouble> {
        let mut registers = trap.registers;
        registers.orig_rax = NO_CALL;
        registers.rax = result.cast_unsigned();
        ptrace::set_registers(trap.thread, &registers)?;
        self.run_here(trap)
    }

    pub(super) fn next_call(&mut self) -> u64 {
        self.guest.calls_made += 1;
        self.guest.calls_made
    }

    pub(super) fn await_return(
        &mut self,
        trap: &Trap,
        call: u64,
        plan: Option<syscall::Plan>,
        completion: Completion,
    ) {
        let number = trap.number;
        let pending = PendingCall {
            call,
            number,
            plan,
            completion,
            done: 0,
        };
        self.set_state(trap.thread, ThreadState::AwaitingReturn(Box::new(pending)));
    }

    pub(super) fn forward(
        &mut self,
        trap: &Trap,
        forward: &Forward,
        completion: Completion,
    ) -> Result<Next, Trouble> {
        if let Some(result) = self.answer_ahead(trap) {
            self.answer(trap, result)?;
            return Ok(Next::Soon);
        }
        let memory = &mut self.guest.memory;
        let mut plan = match syscall::plan(
            trap.number,
            &trap.arguments,
            forward,
            memory,
            Limits::default(),
        ) {
            Ok(plan) => plan,
            Err(PlanError::Fault) => {
                // Which error such a call has depends on what the kernel looks at first.
                return self.go_home_for(trap, format!("{Fault}"));
            }
            Err(PlanError::ComesHome(reason)) => {
                return self.go_home_for(trap, reason.to_owned());
            }
        };
        let query = NameQuery::of(&plan.request(), plan.payload());
        if let Some(result) = query
            .as_ref()
            .and_then(|query| self.guest.lasting.find(query))
        {
            self.answer(trap, result)?;
            return Ok(Next::Soon);
        }
        let mask = self.current_mask(trap.thread)?;
        let call = self.next_call();
        if let Some(query) = query {
            self.guest.lasting.ask(call, query);
        }
        let payload = plan.take_payload();
        let header = ToDeputy::Call {
            tid: trap.tid,
            call,
            request: plan.request(),
            mask,
            signals_received: self.guest.signals_received,
        };
        self.await_return(trap, call, Some(plan), completion);
        self.tell(&header, &payload)?;
        Ok(Next::Continue)
    }

    /// The thread's mask; what goes home with it makes home know it.
    pub(super) fn current_mask(&mut self, thread: ThreadId) -> Result<SignalSet, Trouble> {
        let mask = ptrace::signal_mask(thread)?;
        if let Some(known) = self.guest.by_thread(thread) {
            known.tell_mask(mask);
        }
        Ok(mask)
    }

    /// Lets the trapped call run here up to its end.
    pub(super) fn finish_here(&mut self, thread: ThreadId) -> Result<Registers, Trouble> {
        loop {
            ptrace::resume_to_call(thread, 0)?;
            match wait::wait_for(thread)? {
                Report::Stopped(Stop::Call)
                    if matches!(ptrace::call_phase(thread)?, CallPhase::Exit(_)) =>
                {
                    return Ok(ptrace::registers(thread)?);
                }
                Report::Stopped(_) => {}
                Report::Exited(_) | Report::Killed(_) => return Err(Trouble::GuestGone),
            }
        }
    }

    fn run_here_and_tell_mask(&mut self, trap: &Trap) -> Result<Next, Trouble> {
        self.finish_here(trap.thread)?;
        let mask = ptrace::signal_mask(trap.thread)?;
        let Some(known) = self.guest.by_thread(trap.thread) else {
            return Ok(Next::Continue);
        };
        let (at_home, told) = (known.mask_at_home, known.mask_told);
        known.tell_mask(mask);
        if at_home == mask && told == mask {
            return self.run_here(trap);
        }
        let call = told.has_more_than(mask).then(|| self.next_call());
        let tid = trap.tid;
        self.tell(&ToDeputy::Mask { tid, call, mask }, &[])?;
        match call {
            None => self.run_here(trap),
            Some(call) => {
                self.await_return(trap, call, None, Completion::None);
                Ok(Next::Continue)
            }
        }
    }

    /// The thread makes its call again after the signals that wait for it.
    pub(super) fn make_again(&mut self, thread: ThreadId, number: u64) -> Result<Next, Trouble> {
        let mut registers = ptrace::registers(thread)?;
        registers.rewind_to_call(number);
        ptrace::set_registers(thread, &registers)?;
        self.guest.run(thread, 0)?;
        Ok(Next::Continue)
    }

    fn change_action(&mut self, trap: &Trap) -> Result<Next, Trouble> {
        let [signal, new_action, old_at, set_bytes, ..] = trap.arguments;
        let is_valid = (1..=SIGNAL_MAX as u64).contains(&signal) && set_bytes == 8;
        let mut bytes = [0; SIGNAL_ACTION_BYTES];
        if new_action == 0
            || !is_valid
            || (self.guest.memory.read_as_program(new_action, &mut bytes)).is_err()
        {
            // A query, or an error that this node's kernel finds as home's would.
            return self.run_here(trap);
        }
        let action = SignalAction::from_bytes(&bytes);
        let mask = self.current_mask(trap.thread)?;
        let call = self.next_call();
        self.await_return(trap, call, None, Completion::MirrorIfDone);
        let signal = signal as i32;
        let header = ToDeputy::Action {
            tid: trap.tid,
            call,
            signal,
            action,
            old_at,
            mask,
        };
        self.tell(&header, &[])?;
        if let Some(known) = self.guest.signal_actions.get_mut(signal as usize - 1) {
            *known = action;
        }
        Ok(Next::Continue)
    }

    fn exit_thread(&mut self, trap: &Trap) -> Result<Next, Trouble> {
        let others = self
            .guest
            .threads
            .iter()
            .any(|other| other.thread != trap.thread && !other.is_exiting);
        if !others {
            return self.exit_process(trap);
        }
        if trap.thread == self.guest.leader {
            return self.go_home_for(trap, "its first thread ends before the others".to_owned());
        }
        let status = trap.arguments[0] as i32;
        self.tell(
            &ToDeputy::ThreadExit {
                tid: trap.tid,
                status,
            },
            &[],
        )?;
        if let Some(known) = self.guest.by_thread(trap.thread) {
            known.is_exiting = true;
        }
        self.run_here(trap)
    }

    fn exit_process(&mut self, trap: &Trap) -> Result<Next, Trouble> {
        let status = trap.arguments[0] as i32;
        self.set_state(trap.thread, ThreadState::Stopped);
        self.tell(
            &ToDeputy::Exit {
                tid: trap.tid,
                status,
                cpu_seconds: self.cpu_seconds(),
            },
            &[],
        )?;
        Ok(Next::Continue)
    }

    /// The call that a thread waits for, which is over.
    fn take_pending(
        &mut self,
        tid: i32,
        call: u64,
    ) -> Result<(ThreadId, Box<PendingCall>), Trouble> {
        let known = self.guest.by_tid(tid).filter(|known| {
            matches!(&known.state, ThreadState::AwaitingReturn(pending) if pending.call == call)
        });
        if let Some(known) = known
            && let ThreadState::AwaitingReturn(pending) =
                std::mem::replace(&mut known.state, ThreadState::Stopped)
        {
            return Ok((known.thread, pending));
        }
        Err(Trouble::Protocol(format!(
            "call {call} of thread {tid} returned, which is not under way"
        )))
    }

    /// A call can only be made at home, natively; nothing has been done yet.
    pub(super) fn on_call_home(
        &mut self,
        tid: i32,
        call: u64,
        cause: String,
    ) -> Result<Next, Trouble> {
        let (thread, pending) = self.take_pending(tid, call)?;
        if let Completion::MapFile(map) = pending.completion {
            self.give_up_room(thread, map)?;
        }
        let mut registers = ptrace::registers(thread)?;
        registers.rewind_to_call(pending.number);
        ptrace::set_registers(thread, &registers)?;
        Ok(Next::GoHome(Some(cause)))
    }

    /// A call has returned at home: gives the thread its result.
    pub(super) fn on_return(
        &mut self,
        tid: i32,
        call: u64,
        result: i64,
        payload: &[u8],
        signal: Option<SignalInfo>,
        goes_on: bool,
    ) -> Result<Next, Trouble> {
        let (thread, pending) = self.take_pending(tid, call)?;
        if pending.completion == Completion::None {
            self.guest.run(thread, 0)?;
            return Ok(Next::Continue);
        }
        let is_postponed = result == restart::ERESTARTNOINTR && signal.is_none();
        if is_postponed && pending.plan.is_some() {
            return match pending.done {
                0 => self.make_again(thread, pending.number),
                done => self.next_portion(thread, pending.number, done),
            };
        }
        if let Some(plan) = &pending.plan {
            let writes = plan
                .scatter(result, payload)
                .map_err(|error| Trouble::Protocol(error.to_string()))?;
            if pending.completion == Completion::MirrorIfDone && result >= 0 {
                self.finish_here(thread)?;
            }
            for write in writes {
                // An output buffer that cannot be written: the program gets EFAULT, as natively.
                if self
                    .guest
                    .memory
                    .write_as_program(write.address, &payload[write.bytes])
                    .is_err()
                {
                    return self.resume_with(thread, EFAULT);
                }
            }
        }
        if pending.done > 0 || pending.is_cut() {
            return self.continue_transfer(thread, &pending, result, signal, goes_on);
        }
        if let Some(info) = signal {
            let mask = pending.plan.as_ref().and_then(syscall::Plan::signal_mask);
            // Before the call had begun only signals came that the thread itself lets through.
            let mask = mask.filter(|_| result != restart::ERESTARTNOINTR);
            return match mask {
                None => self.interrupt_call(thread, pending.number, result, info),
                Some(mask) => {
                    self.end_masked_wait(thread, pending.number, result, info, SignalSet(mask))
                }
            };
        }
        match pending.completion {
            Completion::StartThread | Completion::Fork if result == restart::ERESTARTNOINTR => {
                let mut registers = ptrace::registers(thread)?;
                registers.rewind_to_call(pending.number);
                ptrace::set_registers(thread, &registers)?;
                self.set_state(thread, ThreadState::Stopped);
                let cause = "home has no room for another thread while it is away";
                Ok(Next::GoHome(Some(cause.to_owned())))
            }
            Completion::StartThread if result > 0 => self.start_thread_here(thread, result as i32),
            Completion::Fork if result > 0 => self.fork_here(thread, result as i32),
            Completion::MirrorIfDone if pending.plan.is_none() && result >= 0 => {
                self.guest.run(thread, 0)?;
                Ok(Next::Continue)
            }
            Completion::MapFile(map) => self.map_returned(thread, map, result),
            Completion::MapShared { start, length } => {
                self.shared_map_returned(thread, (start, length), result)
            }
            Completion::Made(here) => self.resume_with(thread, here.cast_signed()),
            _ => self.resume_with(thread, result),
        }
    }

    pub(super) fn resume_with(&mut self, thread: ThreadId, result: i64) -> Result<Next, Trouble> {
        let mut registers = ptrace::registers(thread)?;
        registers.orig_rax = NO_CALL;
        registers.rax = result.cast_unsigned();
        ptrace::set_registers(thread, &registers)?;
        self.guest.run(thread, 0)?;
        Ok(Next::Continue)
    }
}
