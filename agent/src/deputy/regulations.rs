//! What the guest's node has to go by although home keeps it: limits and scheduling. It is told of every
//! change, whoever makes it: at once when the program does, within a second when others do.

use crate::migrate::resource_limits::Limits;
use crate::migrate::scheduling::Scheduling;
use crate::wire::migration::ToGuest;

use super::away::{Away, Trouble};

/// Why a process is called home that has become one which cannot be away.
const REAL_TIME: &str = "it was given a real-time scheduling policy";

impl Away<'_> {
    /// Tells what has changed since the last time.
    pub(super) fn tell_regulations(&mut self) -> Result<(), Trouble> {
        let pid = self.deputy.pid;
        // A process or thread that cannot be asked is ending, and is found out to.
        if let Ok(limits) = Limits::of(pid)
            && self.deputy.limits != limits
        {
            self.deputy.limits = limits;
            self.tell(&ToGuest::Limits { pid, limits }, &[])?;
        }
        let mut is_real_time = false;
        for index in 0..self.deputy.threads.len() {
            let thread = &mut self.deputy.threads[index];
            let Ok(scheduling) = Scheduling::of(thread.tid) else {
                continue;
            };
            is_real_time |= scheduling.is_real_time();
            if thread.scheduling != scheduling {
                thread.scheduling = scheduling.clone();
                let tid = thread.tid;
                self.tell(&ToGuest::Scheduling { tid, scheduling }, &[])?;
            }
        }
        if is_real_time {
            self.recall_for(REAL_TIME)?;
        }
        Ok(())
    }

    /// The guest has set its own CPUs, and home's with them as far as that goes: its node knows.
    pub(super) fn note_affinity(&mut self) {
        for thread in &mut self.deputy.threads {
            if let Ok(scheduling) = Scheduling::of(thread.tid) {
                thread.scheduling.cpus = scheduling.cpus;
            }
        }
    }
}
