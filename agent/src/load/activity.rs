//! What each of our processes and guests does: its load, CPU time, memory and calls, seen from look to look.
//!
//! A process's load is the time that its threads ran or waited for a CPU since the last look, for each second of that
//! time. Calls for each second of CPU time are averaged with a decay, as MOSIX does it: what was long ago counts less.

use std::collections::HashMap;
use std::time::Duration;

use crate::process::schedstat::Schedstat;
use crate::process::status::State;
use crate::process::{Identity, ReadError, io_calls, schedstat, stat, status};

/// Part of the calls and CPU time before that still counts after each look.
const DECAY: f64 = 0.8;

/// What a process does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU time used here in its whole life, in seconds of this node.
    pub cpu_seconds: f64,
    /// Its threads that ran or waited for a CPU, averaged since the last look.
    pub runnable: f64,
    /// Calls of read and write for each second of CPU time.
    pub calls_per_cpu_second: f64,
    /// Its resident memory, in MiB.
    pub memory_mib: u32,
    /// Its threads.
    pub threads: u32,
    /// Its name (comm).
    pub name: String,
}

/// A process at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    at: Duration,
    times: Schedstat,
    calls: u64,
    /// Decayed sums.
    calls_lately: f64,
    cpu_seconds_lately: f64,
}

/// What was seen of the processes at the last look.
#[derive(Debug, Default)]
pub struct Activity {
    seen: HashMap<Identity, Look>,
}

impl Activity {
    /// Looks at a process again; of one not seen before, only the state at this moment is known.
    ///
    /// # Errors
    /// When it is gone, or cannot be read.
    pub fn look(&mut self, now: Duration, pid: u32) -> Result<(Identity, Usage), ReadError> {
        let stat = stat::read(pid)?;
        let status = status::read(pid)?;
        let process = Identity {
            pid,
            start_time_ticks: stat.start_time_ticks,
        };
        let ticks = stat.user_time_ticks + stat.system_time_ticks;
        let memory_mib = status.resident_bytes.unwrap_or(0) >> 20;
        let mut usage = Usage {
            cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
            runnable: f64::from(u8::from(stat.state == State::Running)),
            calls_per_cpu_second: 0.0,
            memory_mib: u32::try_from(memory_mib).unwrap_or(u32::MAX),
            threads: stat.threads,
            name: stat.name,
        };
        let mut look = Look {
            at: now,
            // A kernel without these figures leaves the state of the moment.
            times: schedstat::read(pid).unwrap_or_default(),
            calls: io_calls::read(pid).unwrap_or(0),
            ..Look::default()
        };
        if let Some(before) = self.seen.get(&process) {
            (usage.runnable, usage.calls_per_cpu_second) = compare(before, &mut look, &usage);
        }
        self.seen.insert(process, look);
        Ok((process, usage))
    }

    /// Forgets processes that were not looked at in this round.
    pub fn forget_unseen(&mut self, now: Duration) {
        self.seen.retain(|_, look| look.at >= now);
    }
}

/// The load between two looks and the calls for each second of CPU time lately; the decayed sums go on in `after`.
fn compare(before: &Look, after: &mut Look, usage: &Usage) -> (f64, f64) {
    let seconds = after.at.saturating_sub(before.at).as_secs_f64();
    let ran = after
        .times
        .running_ns
        .saturating_sub(before.times.running_ns) as f64
        / 1e9;
    let waited = after
        .times
        .waiting_ns
        .saturating_sub(before.times.waiting_ns) as f64
        / 1e9;
    let calls = after.calls.saturating_sub(before.calls) as f64;
    after.calls_lately = before.calls_lately * DECAY + calls;
    after.cpu_seconds_lately = before.cpu_seconds_lately * DECAY + ran;
    // The kernel adds a wait when it ends, so one that began before the last look can exceed the time since.
    let runnable = if seconds > 0.0 && after.times != Schedstat::default() {
        ((ran + waited) / seconds).min(f64::from(usage.threads))
    } else {
        usage.runnable
    };
    (
        runnable,
        after.calls_lately / after.cpu_seconds_lately.max(0.01),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(seconds: u64, running_ms: u64, waiting_ms: u64, calls: u64) -> Look {
        Look {
            at: Duration::from_secs(seconds),
            times: Schedstat {
                running_ns: running_ms * 1_000_000,
                waiting_ns: waiting_ms * 1_000_000,
            },
            calls,
            ..Look::default()
        }
    }

    const ONE_THREAD: Usage = Usage {
        cpu_seconds: 0.0,
        runnable: 0.0,
        calls_per_cpu_second: 0.0,
        memory_mib: 0,
        threads: 1,
        name: String::new(),
    };

    #[test]
    fn who_runs_half_the_time_and_waits_for_a_cpu_the_other_half_is_a_load_of_one() {
        let mut after = look(12, 2_000, 1_000, 50);
        let (runnable, calls) = compare(&look(10, 1_000, 0, 0), &mut after, &ONE_THREAD);
        assert_eq!(runnable, 1.0);
        assert_eq!(calls, 50.0);
    }

    #[test]
    fn a_sleeper_is_no_load_and_a_long_wait_no_more_than_its_threads() {
        let runnable = |mut after| compare(&look(10, 1_000, 0, 0), &mut after, &ONE_THREAD).0;
        assert_eq!(runnable(look(11, 1_000, 0, 0)), 0.0);
        assert_eq!(runnable(look(11, 1_000, 9_000, 0)), 1.0);
        // Threads that ended take their times along.
        assert_eq!(runnable(look(11, 500, 0, 0)), 0.0);
        // A clock that stands still or goes back.
        assert_eq!(runnable(look(9, 2_000, 0, 0)), 0.0);
    }

    #[test]
    fn this_process_is_seen() {
        let mut activity = Activity::default();
        let pid = std::process::id();
        let (process, first) = activity.look(Duration::from_secs(1), pid).unwrap();
        assert_eq!(process.pid, pid);
        assert!(first.threads > 0 && first.memory_mib > 0);
        activity.look(Duration::from_secs(2), pid).unwrap();
        activity.forget_unseen(Duration::from_secs(3));
        assert!(activity.seen.is_empty());
    }
}
