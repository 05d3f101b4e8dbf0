//! When to send a beacon.
//!
//! At once after a start or a change, then at doubling intervals until the steady one, which grows with
//! the cluster so that all nodes of a link together send at most [`BEACONS_PER_SECOND_MAX`] a second,
//! however many they are. Every interval is jittered, so that PCs switched on together drift apart.

use std::time::Duration;

/// First interval after a start or a change.
const FIRST_INTERVAL: Duration = Duration::from_millis(100);

/// Steady interval of a small cluster.
const STEADY_INTERVAL: Duration = Duration::from_secs(5);

/// Most beacons a second of all nodes on a link together, once they are stable.
pub const BEACONS_PER_SECOND_MAX: u32 = 20;

/// About how many nodes answer a newcomer that asked all of them.
const ANSWERS_WANTED: f32 = 8.0;

/// The schedule; all times are since an arbitrary start.
#[derive(Clone, Debug)]
pub struct Schedule {
    interval: Duration,
    next: Duration,
    last: Option<Duration>,
}

impl Schedule {
    /// The first beacon is due at once.
    #[must_use]
    pub fn new(now: Duration) -> Schedule {
        Schedule {
            interval: FIRST_INTERVAL,
            next: now,
            last: None,
        }
    }

    /// When the next beacon is due.
    #[must_use]
    pub fn next(&self) -> Duration {
        self.next
    }

    /// Something changed that others should know: begin anew, but never more often than
    /// at the first interval.
    pub fn hurry(&mut self, now: Duration) {
        self.interval = FIRST_INTERVAL;
        let earliest = self.last.map_or(now, |last| last + FIRST_INTERVAL);
        self.next = self.next.min(earliest.max(now));
    }

    /// A beacon was sent; `members` is the size of the cluster and `random` is in 0..1.
    pub fn sent(&mut self, now: Duration, members: usize, random: f32) {
        self.last = Some(now);
        self.next = now + self.interval.mul_f32(0.75 + 0.5 * random.clamp(0.0, 1.0));
        self.interval = (self.interval * 2).min(steady_interval(members));
    }
}

/// The interval between two beacons of a node in a stable cluster of this size.
#[must_use]
pub fn steady_interval(members: usize) -> Duration {
    let members = u32::try_from(members).unwrap_or(u32::MAX);
    STEADY_INTERVAL.max(Duration::from_secs(1) * (members / BEACONS_PER_SECOND_MAX))
}

/// Whether to answer a newcomer that all `members` have heard; `random` is in 0..1.
#[must_use]
pub fn answers(members: usize, random: f32) -> bool {
    random * members as f32 <= ANSWERS_WANTED
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_first_beacons_come_at_once_and_then_ever_more_slowly() {
        let mut schedule = Schedule::new(ms(0));
        let mut sent = Vec::new();
        for _ in 0..9 {
            let now = schedule.next();
            sent.push(now.as_millis());
            schedule.sent(now, 3, 0.5);
        }
        assert_eq!(
            sent,
            [0, 100, 300, 700, 1_500, 3_100, 6_300, 11_300, 16_300]
        );
    }

    #[test]
    fn a_thousand_nodes_stay_below_the_fixed_rate() {
        let mut schedule = Schedule::new(ms(0));
        for _ in 0..20 {
            schedule.sent(schedule.next(), 1_000, 0.5);
        }
        let before = schedule.next();
        schedule.sent(before, 1_000, 0.5);
        let interval = schedule.next() - before;
        assert!(1_000.0 / interval.as_secs_f32() <= BEACONS_PER_SECOND_MAX as f32);
    }

    #[test]
    fn a_change_hurries_but_a_flood_of_changes_does_not_flood_the_link() {
        let mut schedule = Schedule::new(ms(0));
        for _ in 0..10 {
            schedule.sent(schedule.next(), 3, 0.5);
        }
        let last = schedule.last.unwrap();
        schedule.hurry(last + ms(20));
        assert_eq!(schedule.next(), last + ms(100));
        schedule.sent(last + ms(100), 3, 0.5);
        schedule.hurry(last + ms(150));
        assert_eq!(schedule.next(), last + ms(200));
        schedule.sent(last + ms(200), 3, 0.5);
        schedule.sent(last + ms(300), 3, 0.5);
        schedule.hurry(last + ms(450));
        assert_eq!(
            schedule.next(),
            last + ms(450),
            "after a pause it is due at once"
        );
    }

    #[test]
    fn all_of_a_small_cluster_answer_and_about_eight_of_a_large_one() {
        assert!(answers(8, 1.0) && answers(1_000, 0.007) && !answers(1_000, 0.01));
    }
}
