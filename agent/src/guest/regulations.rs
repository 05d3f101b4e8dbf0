//! What this node's kernel has to go by although home keeps it: limits, scheduling, CPUs.

use crate::limits::CPU_SET_BYTES_MAX;
use crate::migrate::resource_limits::Limits;
use crate::migrate::scheduling::{self, Scheduling};
use crate::sys::scheduling::REAL_TIME;
use crate::syscall::{Fault, Forward};

use super::stay::{Next, Stay};
use super::threads::Completion;
use super::trap::Trap;
use super::trouble::Trouble;

impl Stay<'_> {
    /// The process's limits have changed at home.
    pub(super) fn limit(&mut self, limits: &Limits) -> Result<Next, Trouble> {
        let scratch = self.guest.scratch;
        let own_bytes = scratch.end() - scratch.code;
        limits.impose(self.guest.leader, own_bytes, self.guest.used_cpu_seconds)?;
        Ok(Next::Continue)
    }

    /// Home's kernel schedules a thread otherwise.
    pub(super) fn schedule(&mut self, tid: i32, scheduling: &Scheduling) -> Result<Next, Trouble> {
        let possible_cpus = self.guest.possible_cpus;
        let Some(known) = self.guest.by_tid(tid) else {
            return Ok(Next::Continue);
        };
        if known.is_exiting {
            return Ok(Next::Continue);
        }
        scheduling.impose(known.thread, possible_cpus)?;
        Ok(Next::Continue)
    }

    /// sched_setaffinity(2): the CPUs are this node's. Home takes those of the same numbers if there are any,
    /// and has its own way otherwise.
    pub(super) fn set_affinity(&mut self, trap: &Trap, forward: &Forward) -> Result<Next, Trouble> {
        let [target, length, address, ..] = trap.arguments;
        let possible_cpus = self.guest.possible_cpus;
        let target = match target as i32 {
            0 => Some(trap.thread),
            tid => self.guest.by_tid(tid).map(|known| known.thread),
        };
        let Some(target) = target else {
            let cause = "it sets the CPUs of another process".to_owned();
            return self.go_home_for(trap, cause);
        };
        // The kernel takes the length as an unsigned int, and reads no more than it has CPUs.
        let length = (length as u32 as usize).min(CPU_SET_BYTES_MAX);
        let mut wanted = vec![0; length];
        if self
            .guest
            .memory
            .read_as_program(address, &mut wanted)
            .is_err()
        {
            return self.go_home_for(trap, format!("{Fault}"));
        }
        match scheduling::set_wanted_cpus(target, &wanted, possible_cpus) {
            Ok(()) => self.forward(trap, forward, Completion::Made(0)),
            Err(error) => match error.raw_os_error() {
                Some(errno) => self.answer(trap, -i64::from(errno)),
                None => Err(error.into()),
            },
        }
    }

    /// sched_getaffinity(2) of another thread.
    pub(super) fn get_affinity(&mut self, trap: &Trap, forward: &Forward) -> Result<Next, Trouble> {
        match self.guest.by_tid(trap.arguments[0] as i32) {
            // It has the same number in its own namespace here.
            Some(_) => self.run_here(trap),
            None => self.forward(trap, forward, Completion::Result),
        }
    }

    /// sched_setattr(2).
    pub(super) fn set_policy(&mut self, trap: &Trap, forward: &Forward) -> Result<Next, Trouble> {
        const POLICY_OFFSET: u64 = 4;
        let mut policy = [0; 4];
        let at = trap.arguments[1].wrapping_add(POLICY_OFFSET);
        let read = self.guest.memory.read_as_program(at, &mut policy);
        if read.is_ok() && REAL_TIME.contains(&u32::from_le_bytes(policy)) {
            let cause = "it asks for a real-time scheduling policy".to_owned();
            return self.go_home_for(trap, cause);
        }
        self.forward(trap, forward, Completion::Result)
    }
}
