//! What goes wrong on a network: which copies of a frame arrive at a port, and how late.
//!
//! Pure: the only chance in it is a seeded generator, so a run can be repeated.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::switch::PortId;

/// The SplitMix64 generator: small, seedable, and good enough to lose frames by.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// A generator that always yields the same sequence for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, all alike likely; 0 when there is none.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The remainder's bias is beyond notice for bounds far below 2^64.
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// True in `percent` of all cases.
    pub fn happens(&mut self, percent: f64) -> bool {
        // 53 bits are what an f64 holds exactly.
        percent > 0.0 && (self.next() >> 11) as f64 / (1u64 << 53) as f64 * 100.0 < percent
    }
}

/// What happens to one frame on its way from one port to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The pair is cut off from each other.
    Cut,
    /// Lost by chance.
    Lost,
    /// Arrives.
    Arrives {
        /// How much later than on a perfect network.
        delay: Duration,
        /// Arrives twice.
        twice: bool,
    },
}

/// The faults in force.
#[derive(Clone, Debug)]
pub struct Faults {
    chance: Chance,
    cut_pairs: BTreeSet<(PortId, PortId)>,
    loss_percent: f64,
    duplicate_percent: f64,
    delay: Duration,
}

/// A percentage outside 0..=100.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NotAPercentage(pub f64);

impl std::fmt::Display for NotAPercentage {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} is not a percentage between 0 and 100", self.0)
    }
}

fn percentage(percent: f64) -> Result<f64, NotAPercentage> {
    if (0.0..=100.0).contains(&percent) {
        Ok(percent)
    } else {
        Err(NotAPercentage(percent))
    }
}

impl Faults {
    /// A perfect network whose later chances follow from `seed`.
    pub fn none(seed: u64) -> Self {
        Self {
            chance: Chance::new(seed),
            cut_pairs: BTreeSet::new(),
            loss_percent: 0.0,
            duplicate_percent: 0.0,
            delay: Duration::ZERO,
        }
    }

    /// Lets no frame pass between `a` and `b`, in either direction.
    pub fn cut(&mut self, a: PortId, b: PortId) {
        self.cut_pairs.insert((a.min(b), a.max(b)));
    }

    /// Joins `a` and `b` again.
    pub fn join(&mut self, a: PortId, b: PortId) {
        self.cut_pairs.remove(&(a.min(b), a.max(b)));
    }

    /// Loses this share of all frames.
    pub fn set_loss_percent(&mut self, percent: f64) -> Result<(), NotAPercentage> {
        self.loss_percent = percentage(percent)?;
        Ok(())
    }

    /// Delivers this share of all frames twice.
    pub fn set_duplicate_percent(&mut self, percent: f64) -> Result<(), NotAPercentage> {
        self.duplicate_percent = percentage(percent)?;
        Ok(())
    }

    /// Delivers every frame this much later.
    pub fn set_delay(&mut self, delay: Duration) {
        self.delay = delay;
    }

    /// Makes the network perfect again; what is already delayed still arrives.
    pub fn heal(&mut self) {
        *self = Self {
            chance: self.chance.clone(),
            ..Self::none(0)
        };
    }

    /// Decides over one frame on its way from `from` to `to`.
    pub fn fate(&mut self, from: PortId, to: PortId) -> Fate {
        if self.cut_pairs.contains(&(from.min(to), from.max(to))) {
            return Fate::Cut;
        }
        if self.chance.happens(self.loss_percent) {
            return Fate::Lost;
        }
        Fate::Arrives {
            delay: self.delay,
            twice: self.chance.happens(self.duplicate_percent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARRIVES: Fate = Fate::Arrives {
        delay: Duration::ZERO,
        twice: false,
    };

    #[test]
    fn a_perfect_network_delivers_everything_once() {
        let mut faults = Faults::none(1);
        assert!((0..1000).all(|_| faults.fate(PortId(1), PortId(2)) == ARRIVES));
    }

    #[test]
    fn a_cut_holds_in_both_directions_and_for_that_pair_only() {
        let mut faults = Faults::none(1);
        faults.cut(PortId(2), PortId(1));
        assert_eq!(faults.fate(PortId(1), PortId(2)), Fate::Cut);
        assert_eq!(faults.fate(PortId(2), PortId(1)), Fate::Cut);
        assert_eq!(faults.fate(PortId(1), PortId(3)), ARRIVES);
        faults.join(PortId(1), PortId(2));
        assert_eq!(faults.fate(PortId(1), PortId(2)), ARRIVES);
    }

    #[test]
    fn loss_is_as_frequent_as_it_was_asked_for_and_repeats_with_the_seed() {
        let lost = |seed| {
            let mut faults = Faults::none(seed);
            faults.set_loss_percent(10.0).unwrap();
            (0..10_000)
                .map(|_| faults.fate(PortId(1), PortId(2)) == Fate::Lost)
                .collect::<Vec<_>>()
        };
        let count = lost(7).iter().filter(|lost| **lost).count();
        assert!((900..1100).contains(&count), "{count} of 10,000 lost");
        assert_eq!(lost(7), lost(7));
        assert_ne!(lost(7), lost(8));
    }

    #[test]
    fn numbers_are_below_their_bound_and_reach_it() {
        let mut chance = Chance::new(11);
        let drawn: BTreeSet<u64> = (0..200).map(|_| chance.below(6)).collect();
        assert_eq!(drawn, (0..6).collect());
        assert_eq!(chance.below(0), 0);
    }

    #[test]
    fn every_frame_is_lost_at_100_percent_and_doubled_at_100_percent() {
        let mut faults = Faults::none(3);
        faults.set_duplicate_percent(100.0).unwrap();
        assert_eq!(
            faults.fate(PortId(1), PortId(2)),
            Fate::Arrives {
                delay: Duration::ZERO,
                twice: true
            }
        );
        faults.set_loss_percent(100.0).unwrap();
        assert!((0..100).all(|_| faults.fate(PortId(1), PortId(2)) == Fate::Lost));
    }

    #[test]
    fn what_is_not_a_percentage_is_refused_and_changes_nothing() {
        let mut faults = Faults::none(3);
        for percent in [-1.0, 100.1, f64::NAN] {
            assert!(faults.set_loss_percent(percent).is_err());
        }
        assert_eq!(faults.fate(PortId(1), PortId(2)), ARRIVES);
    }

    #[test]
    fn healing_ends_all_faults() {
        let mut faults = Faults::none(5);
        faults.cut(PortId(1), PortId(2));
        faults.set_loss_percent(100.0).unwrap();
        faults.set_delay(Duration::from_secs(1));
        faults.heal();
        assert_eq!(faults.fate(PortId(1), PortId(2)), ARRIVES);
    }
}
