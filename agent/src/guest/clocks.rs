//! How far home's clocks are ahead of this node's.
//!
//! A guest reads the clocks of its own time namespace and sleeps at home as well as here; so the two must
//! agree as closely as they can be compared. Home is asked several times; its answer was made somewhere
//! between question and arrival, and the shortest round trip says best when.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::migrate::channel::{Channel, Message};
use crate::wire::migration::{ToDeputy, ToGuest};

use super::trouble::Trouble;

/// How often home is asked.
const ROUNDS: u32 = 5;

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
    for _ in 0..ROUNDS {
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
        if best.is_none_or(|(shortest_ns, _)| round_trip_ns < shortest_ns) {
            best = Some((round_trip_ns, offsets));
        }
    }
    best.map(|(_, offsets)| offsets)
        .ok_or_else(|| Trouble::Protocol("home's clocks are not known".to_owned()))
}

/// The round trip's length, and the offsets if home answered in its middle.
fn compare(asked: Clocks, home: Clocks, answered: Clocks) -> (i64, ClockOffsets) {
    let offset_ns = |asked_ns: i64, home_ns: i64, answered_ns: i64| {
        let middle_ns = asked_ns + (answered_ns - asked_ns) / 2;
        home_ns.wrapping_sub(middle_ns)
    };
    let offsets = ClockOffsets {
        monotonic_ns: offset_ns(asked.monotonic_ns, home.monotonic_ns, answered.monotonic_ns),
        boottime_ns: offset_ns(asked.boottime_ns, home.boottime_ns, answered.boottime_ns),
    };
    (answered.monotonic_ns - asked.monotonic_ns, offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_is_taken_to_have_answered_in_the_middle_of_the_round_trip() {
        let at = |monotonic_ns, boottime_ns| Clocks {
            monotonic_ns,
            boottime_ns,
        };
        let (round_trip_ns, offsets) = compare(at(100, 1000), at(7_000, 50), at(300, 1200));
        assert_eq!(round_trip_ns, 200);
        let expected = ClockOffsets {
            monotonic_ns: 6_800,
            boottime_ns: -1_050,
        };
        assert_eq!(offsets, expected);
    }
}
