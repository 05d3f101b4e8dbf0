//! Threads and processes that the guest makes: made here first, by the deputy, so that they have the ids,
//! parents, groups and descriptors that they would have natively. The guest's side gives its own the same
//! ids (`guest::forks`).

use crate::migrate::capture::restart;
use crate::migrate::inject;
use crate::migrate::process_memory::ProcessMemory;
use crate::sys::call_numbers as number;
use crate::sys::ptrace::{self, ThreadId};
use crate::sys::signal::{SignalAction, SignalSet};
use crate::sys::wait::{self, Report};

use crate::guest::forks::{DONE_AT_HOME, flags};

use super::away::{Away, Member, Trouble};
use super::threads::{Deputy, DeputyState, DeputyThread};

/// What every thread of a process shares with the others.
const THREAD: u64 =
    flags::VM | flags::FS | flags::FILES | flags::SIGHAND | flags::THREAD | flags::SYSVSEM;

/// Size of `struct clone_args` as far as it is used here (clone3(2)).
const CLONE_ARGUMENTS_BYTES: u64 = 88;

/// Highest signal that a child's end may send; the kernel refuses more.
const EXIT_SIGNAL_MAX: u64 = 64;

impl Away<'_> {
    /// The guest wants a new thread: the deputy makes one, whose id the guest's will get.
    pub(super) fn on_start_thread(
        &mut self,
        tid: ThreadId,
        call: u64,
        mask: SignalSet,
    ) -> Result<(), Trouble> {
        self.take_mask(tid, mask)?;
        let Some(slot) = self.deputy.free_slot() else {
            // At home the process makes it by itself; at its next departure it gets more room.
            return self.return_injected(tid, call, restart::ERESTARTNOINTR, None);
        };
        self.note_visible("clone");
        let outcome = self.make(tid, THREAD, 0)?;
        if let Some(new) = outcome.new_thread {
            self.await_start(new)?;
            let maker = self.known(tid)?;
            let (base, scheduling) = (maker.base, maker.scheduling.clone());
            self.deputy.threads.push(DeputyThread {
                tid: new,
                scheduling,
                state: DeputyState::Stopped,
                base,
                mask,
                image: None,
                slot,
                calls_made: 0,
                last_return: None,
            });
            self.deputy.park(new)?;
        }
        self.return_injected(tid, call, outcome.result, None)
    }

    /// The guest wants a new process: the deputy forks, and its child is the new guest's deputy.
    pub(super) fn on_fork(
        &mut self,
        tid: ThreadId,
        call: u64,
        flags: u64,
        exit_signal: u64,
        mask: SignalSet,
    ) -> Result<Option<Member>, Trouble> {
        if flags & !DONE_AT_HOME != 0 || exit_signal > EXIT_SIGNAL_MAX {
            return Err(Trouble::Protocol(
                "the guest asks for a process of a kind that is not made for it".to_owned(),
            ));
        }
        self.take_mask(tid, mask)?;
        self.note_visible("fork");
        self.progress.read_ahead.share();
        let outcome = self.make(tid, flags, exit_signal)?;
        let child = match outcome.new_thread {
            Some(new) => Some(self.child(tid, new, flags, mask)?),
            None => None,
        };
        self.return_injected(tid, call, outcome.result, None)?;
        Ok(child)
    }

    fn make(
        &mut self,
        tid: ThreadId,
        flags: u64,
        exit_signal: u64,
    ) -> Result<inject::Outcome, Trouble> {
        ptrace::set_signal_mask(tid, SignalSet::ALL)?;
        let shared = self.deputy.scratch.shared;
        let mut arguments = [0u64; CLONE_ARGUMENTS_BYTES as usize / 8];
        arguments[0] = flags;
        arguments[4] = exit_signal;
        let bytes = arguments.map(u64::to_le_bytes).concat();
        self.deputy.memory.write(shared.data, &bytes)?;
        let arguments = [shared.data, CLONE_ARGUMENTS_BYTES, 0, 0, 0, 0];
        let instruction = shared.instruction();
        Ok(inject::call(
            tid,
            instruction,
            shared.data,
            number::SYS_clone3,
            arguments,
        )?)
    }

    /// The kernel attaches us to what a traced thread makes, and stops it.
    fn await_start(&mut self, new: ThreadId) -> Result<(), Trouble> {
        match wait::wait_for(new)? {
            Report::Stopped(_) => Ok(()),
            Report::Exited(_) | Report::Killed(_) => Err(Trouble::ProcessEnded),
        }
    }

    fn child(
        &mut self,
        parent: ThreadId,
        pid: ThreadId,
        wanted: u64,
        mask: SignalSet,
    ) -> Result<Member, Trouble> {
        match wait::wait_for(pid)? {
            Report::Stopped(_) => {}
            // Its own end is no trouble of its parent's; the child is found out to be gone at once.
            Report::Exited(_) | Report::Killed(_) => {
                log::debug!("process {pid} was killed as soon as it was made");
            }
        }
        let known = self.known(parent)?;
        let (base, slot) = (known.base, known.slot);
        let scheduling = known.scheduling.clone();
        // What a child inherits of its parent's registrations, and what it does not (fork(2)).
        let image = known.image.clone().map(|mut image| {
            image.tid = pid;
            image.robust_list = (0, 0);
            image.clear_tid_address = 0;
            image
        });
        let mut signal_actions = self.deputy.signal_actions.clone();
        if wanted & flags::CLEAR_SIGHAND != 0 {
            for action in signal_actions
                .iter_mut()
                .filter(|action| action.is_handled())
            {
                *action = SignalAction::default();
            }
        }
        let mut deputy = Deputy {
            pid,
            threads: vec![DeputyThread {
                tid: pid,
                scheduling,
                state: DeputyState::Stopped,
                base,
                mask,
                image,
                slot,
                calls_made: 0,
                last_return: None,
            }],
            memory: ProcessMemory::open(pid)?,
            scratch: self.deputy.scratch.clone(),
            own_instruction: self.deputy.own_instruction,
            objects: self.deputy.objects.clone(),
            views: self.deputy.views.clone(),
            image: self.deputy.image.clone(),
            limits: self.deputy.limits,
            signal_actions,
            visible: Some("fork"),
            is_stopped: false,
        };
        deputy.park(pid)?;
        Ok(Member::new(deputy))
    }
}
