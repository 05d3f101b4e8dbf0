//! Sets of addresses.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of addresses: runs by their beginning, without overlap.
#[derive(Debug, Default)]
pub struct Runs(BTreeMap<u64, u64>);

impl Runs {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.0.iter().map(|(&start, &end)| start..end)
    }

    /// Adds what may be in it already, and joins it with its neighbours.
    pub fn add(&mut self, run: Range<u64>) {
        self.take(run.clone());
        let (mut start, mut end) = (run.start, run.end);
        if let Some((&before, _)) = self
            .0
            .range(..start)
            .next_back()
            .filter(|it| *it.1 == start)
        {
            self.0.remove(&before);
            start = before;
        }
        if let Some(behind) = self.0.remove(&end) {
            end = behind;
        }
        self.insert(start..end);
    }

    /// Adds what is not in it.
    pub fn insert(&mut self, run: Range<u64>) {
        if !run.is_empty() {
            self.0.insert(run.start, run.end);
        }
    }

    /// Takes the first run at or behind `address`, or the first of all, at most `length` bytes of it.
    pub fn take_next(&mut self, address: u64, length: u64) -> Option<Range<u64>> {
        let around = self.0.range(..=address).next_back();
        let (start, run_end) = match around {
            Some((_, &end)) if address < end => (address, end),
            _ => {
                let behind = self.0.range(address..).next();
                let (&start, &end) = behind.or_else(|| self.0.iter().next())?;
                (start, end)
            }
        };
        let end = start.saturating_add(length).min(run_end);
        self.take(start..end).into_iter().next()
    }

    /// What of `range` is not in it.
    pub fn outside(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut outside = Vec::new();
        let around = self.0.range(..=range.start).next_back();
        let mut start = around.map_or(range.start, |(_, &end)| end.max(range.start));
        if start < range.end {
            for (&from, &to) in self.0.range(start..range.end) {
                if start < from {
                    outside.push(start..from);
                }
                start = to;
            }
        }
        if start < range.end {
            outside.push(start..range.end);
        }
        outside
    }

    /// Takes what lies in `range`.
    pub fn take(&mut self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut taken = Vec::new();
        while let Some((&start, &end)) = self.0.range(..range.end).next_back() {
            if end <= range.start {
                break;
            }
            self.0.remove(&start);
            self.insert(range.end.min(end)..end);
            self.insert(start..range.start.max(start));
            taken.push(start.max(range.start)..end.min(range.end));
        }
        taken.reverse();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_joined_with_its_neighbours() {
        let mut runs = Runs::default();
        for run in [10..20, 30..40, 20..30, 35..50, 60..70, 5..80] {
            runs.add(run);
        }
        assert_eq!(runs.len(), 1);
        assert_eq!(runs.iter().next(), Some(5..80));
    }

    #[test]
    fn what_is_outside_lies_between_the_runs() {
        let mut runs = Runs::default();
        for run in [10..20, 30..40, 60..70] {
            runs.add(run);
        }
        for (range, wanted) in [
            (0..10, vec![(0, 10)]),
            (5..35, vec![(5, 10), (20, 30)]),
            (32..38, vec![]),
            (35..65, vec![(40, 60)]),
            (0..100, vec![(0, 10), (20, 30), (40, 60), (70, 100)]),
            (15..15, vec![]),
            (25..25, vec![]),
        ] {
            let outside = runs.outside(range).into_iter();
            assert!(outside.map(|run| (run.start, run.end)).eq(wanted));
        }
    }

    #[test]
    fn runs_are_taken_from_the_cursor_on_and_then_from_the_beginning() {
        let mut runs = Runs::default();
        runs.insert(10..20);
        runs.insert(30..50);
        assert_eq!(runs.take_next(35, 10), Some(35..45));
        assert_eq!(runs.take_next(45, 10), Some(45..50));
        assert_eq!(runs.take_next(50, 10), Some(10..20));
        assert_eq!(runs.take_next(20, 10), Some(30..35));
        assert_eq!(runs.take_next(0, 10), None);
        runs.insert(10..12);
        runs.insert(13..20);
        assert_eq!(runs.take_next(10, 10), Some(10..12));
        assert_eq!(runs.take_next(12, 10), Some(13..20));
    }

    #[test]
    fn a_range_is_taken_out_of_the_runs_that_it_cuts() {
        let mut runs = Runs::default();
        runs.insert(10..20);
        runs.insert(30..50);
        assert_eq!(runs.take(15..35), [15..20, 30..35]);
        assert_eq!(runs.take(0..100), [10..15, 35..50]);
        assert!(runs.take(0..100).is_empty());
    }
}
