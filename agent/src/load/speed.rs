//! How fast one CPU of this node is.
//!
//! 10,000 is the reference machine, as in MOSIX: one that does 500 million rounds per second of a fixed
//! loop in which every round needs the result of the one before (a multiplication, a shift, exclusive
//! ors). The loop fits any CPU's registers, so it measures clock rate and core, not memory; two nodes'
//! figures compare as their single-thread integer speeds do. A build without optimisation measures less.

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Rounds per second of the reference machine, and its speed.
const REFERENCE: (u128, u128) = (500_000_000, 10_000);

const ROUNDS: u64 = 200_000;
const TRIES: usize = 8;

/// No CPU makes a round in less. A virtual machine's clock that stands still for a moment makes it look so.
const ROUND_PICOSECONDS_MIN: u64 = 250;

/// Measures, in about five milliseconds of CPU time. The best of several tries counts: what slows a try down is
/// other work, never the CPU.
#[must_use]
pub fn measure() -> u32 {
    best((0..TRIES).map(|_| time(ROUNDS)))
}

/// The speed by the best try that can be true; the reference machine's if there is none.
fn best(tries: impl Iterator<Item = Duration>) -> u32 {
    let shortest = Duration::from_nanos(ROUNDS * ROUND_PICOSECONDS_MIN / 1000);
    let believed = tries.filter(|taken| *taken >= shortest).min();
    believed.map_or(REFERENCE.1 as u32, |taken| speed(ROUNDS, taken))
}

fn speed(rounds: u64, taken: Duration) -> u32 {
    let (reference_rounds, reference_speed) = REFERENCE;
    let rounds_per_second = u128::from(rounds) * 1_000_000_000 / taken.as_nanos().max(1);
    let speed = rounds_per_second * reference_speed / reference_rounds;
    u32::try_from(speed).unwrap_or(u32::MAX).max(1)
}

fn time(rounds: u64) -> Duration {
    let start = own_cpu_time();
    black_box(mix(black_box(1), rounds));
    own_cpu_time().saturating_sub(start)
}

/// CPU time of this thread: others that want the CPU do not count.
fn own_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

fn mix(seed: u64, rounds: u64) -> u64 {
    (0..rounds).fold(seed, |state, round| {
        let state = (state ^ round).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        state ^ state >> 29
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_stood_still_is_not_believed() {
        let truth = Duration::from_micros(400);
        assert_eq!(best([Duration::ZERO, truth].into_iter()), 10_000);
        assert_eq!(
            best([truth * 2, Duration::from_nanos(30)].into_iter()),
            5_000
        );
        assert_eq!(best([Duration::ZERO].into_iter()), 10_000);
    }

    #[test]
    fn the_reference_machine_has_a_speed_of_ten_thousand() {
        assert_eq!(speed(200_000, Duration::from_micros(400)), 10_000);
        assert_eq!(speed(200_000, Duration::from_micros(800)), 5_000);
        assert_eq!(speed(1, Duration::MAX), 1);
        assert_eq!(speed(u64::MAX, Duration::ZERO), u32::MAX);
    }

    #[test]
    fn the_loop_cannot_be_computed_without_running_it() {
        assert_ne!(mix(1, 1_000), mix(1, 999));
    }
}
