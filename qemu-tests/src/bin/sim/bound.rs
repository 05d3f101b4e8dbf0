//! What nobody can do better without knowing how long processes live: everybody always has an equal share of the
//! fastest CPUs, though no process of more than one CPU, and nothing costs anything or takes time to be known.
//!
//! It is no more than can be done: any k of n processes together get at most what the k fastest CPUs do, which is all that it
//! takes to let each run on one CPU at a time by moving them often enough (Gonzalez, Sahni 1978). CPUs of unequal speed do
//! not change that: all take turns on the fastest. Who knew how long each lives could do a little better, by giving the fastest
//! CPUs to the shortest. No strategy reaches it, since a process that leaves home pays for its journey.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::trace::Trace;

/// A process that ends when each has got so much done.
#[derive(PartialEq)]
struct Finish {
    /// Work that each process has got done since the beginning.
    progress: f64,
    process: usize,
}

impl Eq for Finish {}

impl PartialOrd for Finish {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Finish {
    /// The soonest is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.progress.total_cmp(&self.progress)
    }
}

/// When each process ends.
pub(crate) fn ends(trace: &Trace) -> Vec<f64> {
    let mut speeds: Vec<f64> = Vec::new();
    for machine in &trace.machines {
        speeds.extend(std::iter::repeat_n(machine.speed, machine.cpus.into()));
    }
    speeds.sort_by(|one, other| other.total_cmp(one));
    let mut together = vec![0.0];
    for speed in &speeds {
        together.push(together[together.len() - 1] + speed);
    }
    let rate = |running: usize| match running {
        0 => 0.0,
        _ => together[running.min(speeds.len())] / running as f64,
    };
    let mut ends = vec![0.0; trace.starts.len()];
    let mut running: BinaryHeap<Finish> = BinaryHeap::new();
    let (mut now, mut progress, mut next) = (0.0, 0.0, 0);
    loop {
        let ending = running
            .peek()
            .map(|finish| now + (finish.progress - progress).max(0.0) / rate(running.len()));
        let starting = trace.starts.get(next).map(|start| start.at);
        let (at, ends_first) = match (ending, starting) {
            (None, None) => return ends,
            (Some(ending), Some(starting)) if starting < ending => (starting, false),
            (None, Some(starting)) => (starting, false),
            (Some(ending), _) => (ending, true),
        };
        progress += (at - now) * rate(running.len());
        now = at;
        if ends_first {
            if let Some(finish) = running.pop() {
                ends[finish.process] = now;
            }
        } else {
            let work = trace.starts[next].work;
            running.push(Finish {
                progress: progress + work,
                process: next,
            });
            next += 1;
        }
    }
}
