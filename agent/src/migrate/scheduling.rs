//! How threads are scheduled where they compute: policy, niceness, timer slack, CPUs.
//!
//! Home's kernel knows it and answers for it; the remote's goes by it. Nobody's priority on a remote is
//! raised above the ordinary: that is for its owner to do. CPUs are those of the node where the program is.
//! A thread that home does not restrict to some of its CPUs has all of the remote's; one that it does, those of
//! the same numbers, or all if there are none. Numbers stay below those that home's kernel knows: programs size
//! their per-CPU data by them.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use crate::limits::CPU_SET_BYTES_MAX;
use crate::sys::scheduling::{self, ORDINARY, Policy, REAL_TIME};

/// How a thread is scheduled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduling {
    /// SCHED_* of sched(7).
    pub policy: u32,
    /// Its children begin with the ordinary policy.
    pub resets_on_fork: bool,
    /// Niceness, from -20 to 19.
    pub nice: i32,
    /// How late its timers may be (PR_SET_TIMERSLACK), in nanoseconds.
    pub timer_slack_ns: u64,
    /// The CPUs to which it is restricted, one bit each; nothing if it may run on all.
    pub cpus: Option<Vec<u8>>,
}

fn timer_slack_file(thread: i32) -> String {
    format!("/proc/{thread}/timerslack_ns")
}

impl Scheduling {
    /// That of a thread at home.
    ///
    /// # Errors
    /// When it is gone.
    pub fn of(thread: i32) -> io::Result<Scheduling> {
        let Policy {
            policy,
            resets_on_fork,
            nice,
        } = scheduling::policy(thread)?;
        let slack = fs::read_to_string(timer_slack_file(thread))?;
        let cpus = scheduling::cpus(thread)?;
        Ok(Scheduling {
            policy,
            resets_on_fork,
            nice,
            timer_slack_ns: slack.trim_end().parse().map_err(io::Error::other)?,
            cpus: (cpus != scheduling::cpus(0)?).then_some(cpus),
        })
    }

    /// Whether it asks for what a network cannot give.
    pub fn is_real_time(&self) -> bool {
        REAL_TIME.contains(&self.policy)
    }

    /// Makes the remote's kernel schedule a guest's thread like that, on CPUs below `possible_cpus`.
    ///
    /// # Errors
    /// When the thread is gone, or has no CPU to run on.
    pub fn impose(&self, thread: i32, possible_cpus: u32) -> io::Result<()> {
        let policy = if ORDINARY.contains(&self.policy) {
            self.policy
        } else {
            ORDINARY[0]
        };
        let wanted = Policy {
            policy,
            resets_on_fork: self.resets_on_fork,
            nice: self.nice.clamp(0, 19),
        };
        if scheduling::policy(thread)? != wanted {
            scheduling::set_policy(thread, wanted)?;
        }
        // 0 is what real-time threads have, and here would mean "as at the beginning".
        if self.timer_slack_ns != 0 {
            fs::write(timer_slack_file(thread), self.timer_slack_ns.to_string())?;
        }
        let all = scheduling::cpus(0)?;
        let restricted = self.cpus.as_deref().map(|cpus| common(cpus, &all));
        let allowed = |set: &[u8]| common(set, &first_cpus(possible_cpus));
        let chosen = restricted
            .map(|set| allowed(&set))
            .filter(|set| set.iter().any(|&byte| byte != 0));
        scheduling::set_cpus(thread, &chosen.unwrap_or_else(|| allowed(&all)))
    }
}

/// The CPUs of both sets.
fn common(one: &[u8], other: &[u8]) -> Vec<u8> {
    one.iter().zip(other).map(|(a, b)| a & b).collect()
}

/// Gives a guest's thread the CPUs that its program has asked for, of those that it may have.
///
/// # Errors
/// As sched_setaffinity(2).
pub fn set_wanted_cpus(thread: i32, wanted: &[u8], possible_cpus: u32) -> io::Result<()> {
    scheduling::set_cpus(thread, &common(wanted, &first_cpus(possible_cpus)))
}

/// A set of the first `count` CPUs, as long as any that is handled.
fn first_cpus(count: u32) -> Vec<u8> {
    let count = (count.max(1) as usize).min(CPU_SET_BYTES_MAX * 8);
    let mut set = vec![0u8; CPU_SET_BYTES_MAX];
    for cpu in 0..count {
        set[cpu / 8] |= 1 << (cpu % 8);
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_the_first_cpus_has_exactly_those() {
        let of = |count| first_cpus(count);
        assert_eq!(of(3)[..2], [7, 0]);
        assert_eq!(of(64)[..9], [255, 255, 255, 255, 255, 255, 255, 255, 0]);
        assert_eq!(of(0)[0], 1);
        assert_eq!(of(u32::MAX), [255; CPU_SET_BYTES_MAX]);
    }

    #[test]
    fn what_is_imposed_is_what_is_seen_but_for_more_priority_than_ordinary() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = child.id().cast_signed();
        let mut wanted = Scheduling {
            policy: ORDINARY[1],
            resets_on_fork: false,
            nice: 5,
            timer_slack_ns: 12_345,
            cpus: None,
        };
        let seen = wanted
            .impose(pid, u32::MAX)
            .and_then(|()| Scheduling::of(pid));
        let mut eager = wanted.clone();
        eager.nice = -10;
        // None of these exists: all are taken.
        eager.cpus = Some(vec![0; 8]);
        let floored = eager
            .impose(pid, u32::MAX)
            .and_then(|()| Scheduling::of(pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(seen.unwrap(), wanted);
        wanted.nice = 0;
        assert_eq!(floored.unwrap(), wanted);
    }
}
