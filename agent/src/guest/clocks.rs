//! How far home's clocks are ahead of this node's.
//!
//! A guest reads the clocks of its own time namespace and sleeps at home as well as here; so the two must
//! agree as closely as they can be compared. Home is asked several times; its answer was made somewhere
//! between question and arrival, and the shortest round trip says best when. It is taken to have been made as
//! soon as the question was sent, so the guest's clocks are never behind home's, but ahead by less than a
//! message takes: a sleep until a moment that home says is over is over for the guest, and no clock goes back
//! on the way home, which takes longer.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::migrate::channel::{Channel, Message};
use crate::wire::migration::{ToDeputy, ToGuest};

use super::trouble::Trouble;

/// How often home is asked at least, and at most.
const ROUNDS: std::ops::RangeInclusive<u32> = 5..=32;

/// With a round trip as short as this home is not asked more often than it must be.
const SHORT_NS: i64 = 200_000;

/// Nor if two round trips were the shortest but for this part of them: then that is what the link takes.
const ALIKE_PART: i64 = 8;

/// For longer than this home is not asked more often than it must be.
const PATIENCE: Duration = Duration::from_millis(50);

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Home's clocks minus this node's, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOffsets {
    /// Of CLOCK_MONOTONIC.
    pub monotonic_ns: i64,
    /// Of CLOCK_BOOTTIME.
    pub boottime_ns: i64,
}

/// Clocks at one moment, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    monotonic_ns: i64,
    boottime_ns: i64,
}

impl Clocks {
    fn here() -> Clocks {
        let nanoseconds = |clock| {
            let now = clock_gettime(clock);
            now.tv_sec * 1_000_000_000 + now.tv_nsec
        };
        Clocks {
            monotonic_ns: nanoseconds(ClockId::Monotonic),
            boottime_ns: nanoseconds(ClockId::Boottime),
        }
    }
}

/// Asks home for its clocks and compares.
pub fn measure(channel: &mut Channel) -> Result<ClockOffsets, Trouble> {
    let mut best: Option<(i64, ClockOffsets)> = None;
    let mut second_ns = i64::MAX;
    let begin = Instant::now();
    for round in 0..*ROUNDS.end() {
        let is_good = best.is_some_and(|(shortest_ns, _)| {
            shortest_ns <= SHORT_NS || second_ns - shortest_ns <= shortest_ns / ALIKE_PART
        });
        if round >= *ROUNDS.start() && (is_good || begin.elapsed() > PATIENCE) {
            break;
        }
        let asked = Clocks::here();
        channel.send(&ToDeputy::AskClocks, &[])?;
        let message: Message<ToGuest> = channel.receive(ANSWER_TIMEOUT)?;
        let answered = Clocks::here();
        let ToGuest::Clocks {
            monotonic_ns,
            boottime_ns,
        } = message.header
        else {
            return Err(Trouble::Protocol("home did not tell its clocks".to_owned()));
        };
        let home = Clocks {
            monotonic_ns: monotonic_ns.cast_signed(),
            boottime_ns: boottime_ns.cast_signed(),
        };
        let (round_trip_ns, offsets) = compare(asked, home, answered);
        match best {
            Some((shortest_ns, _)) if shortest_ns <= round_trip_ns => {
                second_ns = second_ns.min(round_trip_ns);
            }
            _ => {
                second_ns = best.map_or(i64::MAX, |(shortest_ns, _)| shortest_ns);
                best = Some((round_trip_ns, offsets));
            }
        }
    }
    best.map(|(_, offsets)| offsets)
        .ok_or_else(|| Trouble::Protocol("home's clocks are not known".to_owned()))
}

/// The round trip's length, and the offsets if home answered at once.
fn compare(asked: Clocks, home: Clocks, answered: Clocks) -> (i64, ClockOffsets) {
    let offsets = ClockOffsets {
        monotonic_ns: home.monotonic_ns.wrapping_sub(asked.monotonic_ns),
        boottime_ns: home.boottime_ns.wrapping_sub(asked.boottime_ns),
    };
    (answered.monotonic_ns - asked.monotonic_ns, offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_is_taken_to_have_answered_at_the_beginning_of_the_round_trip() {
        let at = |monotonic_ns, boottime_ns| Clocks {
            monotonic_ns,
            boottime_ns,
        };
        let (round_trip_ns, offsets) = compare(at(100, 1000), at(7_000, 50), at(300, 1200));
        assert_eq!(round_trip_ns, 200);
        let expected = ClockOffsets {
            monotonic_ns: 6_900,
            boottime_ns: -950,
        };
        assert_eq!(offsets, expected);
    }
}
