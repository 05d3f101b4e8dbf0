//! How fast one CPU of this node is.
//!
//! The unit is millions of rounds per second of a fixed loop in which every round needs the result of
//! the one before: a multiplication, a shift, an exclusive or. It fits any CPU's registers, so it
//! measures clock rate and core, not memory; two nodes' figures compare as their single-thread integer
//! speeds do. A PC of 2015 has about 500.

use std::hint::black_box;
use std::time::{Duration, Instant};

const ROUNDS: u64 = 200_000;
const TRIES: usize = 8;

/// Measures, in about five milliseconds. The best of several tries counts: what slows a try down is
/// other work, never the CPU.
#[must_use]
pub fn measure() -> u32 {
    let best = (0..TRIES)
        .map(|_| time(ROUNDS))
        .min()
        .unwrap_or(Duration::MAX);
    rounds_per_microsecond(ROUNDS, best)
}

fn rounds_per_microsecond(rounds: u64, taken: Duration) -> u32 {
    let rounds_per_ms = u128::from(rounds) * 1_000_000 / taken.as_nanos().max(1);
    u32::try_from(rounds_per_ms / 1_000)
        .unwrap_or(u32::MAX)
        .max(1)
}

fn time(rounds: u64) -> Duration {
    let start = Instant::now();
    black_box(mix(black_box(1), rounds));
    start.elapsed()
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
    fn the_unit_is_millions_of_rounds_per_second() {
        assert_eq!(
            rounds_per_microsecond(200_000, Duration::from_micros(400)),
            500
        );
        assert_eq!(rounds_per_microsecond(1, Duration::MAX), 1);
        assert_eq!(rounds_per_microsecond(1, Duration::ZERO), 1_000);
    }

    #[test]
    fn the_loop_cannot_be_computed_without_running_it() {
        assert_ne!(mix(1, 1_000), mix(1, 999));
    }
}
