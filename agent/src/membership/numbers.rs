//! The small numbers by which people call nodes, agreed on without anybody in charge.
//!
//! Each node chooses its own number and tells it in its beacons:
//!
//! 1. The number at the end of its name, if it is free: `n3` is node 3 on every screen.
//! 2. Otherwise the lowest that is free. When several nodes choose at the same time, they go by age: the
//!    oldest takes the lowest, the second oldest the next one.
//! 3. When two nodes hear of each other with the same number, the one whose name ends in it keeps it,
//!    else the older one; the other chooses again.
//!
//! A node keeps its number as long as it is a member. Age is (epoch, id): what every node can compare
//! and nobody can dispute.

use crate::wire::supervisor::NodeId;

/// Highest number that a name can ask for.
const NAMED_NUMBER_MAX: u16 = 9_999;

/// What the choice depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    /// The number it goes by; 0 as long as it has none.
    pub number: u16,
    /// The node's name.
    pub name: &'a str,
    /// When its agent started.
    pub epoch: u64,
    /// Its id.
    pub id: NodeId,
}

impl Claim<'_> {
    fn age(&self) -> (u64, NodeId) {
        (self.epoch, self.id)
    }

    /// Whether this node keeps a number that `other` has too.
    fn wins(&self, other: &Claim<'_>) -> bool {
        let named = |claim: &Claim<'_>| named_number(claim.name) == Some(claim.number);
        match (named(self), named(other)) {
            (true, false) => true,
            (false, true) => false,
            _ => self.age() < other.age(),
        }
    }
}

/// The number that the end of a name asks for.
#[must_use]
pub fn named_number(name: &str) -> Option<u16> {
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let number = name[name.len() - digits..].parse().ok()?;
    (1..=NAMED_NUMBER_MAX).contains(&number).then_some(number)
}

/// The number that `this` should go by, seeing the claims of all `others`.
#[must_use]
pub fn choose(this: &Claim<'_>, others: &[Claim<'_>]) -> u16 {
    let all: Vec<&Claim<'_>> = others.iter().chain([this]).collect();
    if keeps(this, &all) {
        return this.number;
    }
    let taken = |number: u16| others.iter().any(|other| other.number == number);
    if let Some(number) = named_number(this.name).filter(|number| !taken(*number)) {
        return number;
    }
    // Others that have to choose too and are older go first.
    let before = others
        .iter()
        .filter(|other| other.age() < this.age())
        .filter(|other| named_number(other.name).is_none_or(taken) && !keeps(other, &all))
        .count();
    (1..=u16::MAX)
        .filter(|number| !taken(*number))
        .nth(before)
        .unwrap_or(0)
}

/// Whether a node has a number and nobody has a better claim to it.
fn keeps(claim: &Claim<'_>, all: &[&Claim<'_>]) -> bool {
    let rivals = all
        .iter()
        .filter(|rival| rival.id != claim.id && rival.number == claim.number);
    claim.number != 0 && rivals.into_iter().all(|rival| claim.wins(rival))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(id: u8, name: &str, number: u16) -> Claim<'_> {
        Claim {
            number,
            name,
            epoch: 100 + u64::from(id),
            id: NodeId([id; 16]),
        }
    }

    #[test]
    fn a_name_asks_for_the_number_at_its_end() {
        assert_eq!(named_number("n3"), Some(3));
        assert_eq!(named_number("pc-007"), Some(7));
        assert_eq!(named_number("42"), Some(42));
        for name in ["", "n", "n0", "n12345678901234567890", "3n", "n٣"] {
            assert_eq!(named_number(name), None, "{name}");
        }
    }

    #[test]
    fn the_lowest_free_number_is_taken_and_kept() {
        let others = [claim(1, "a", 1), claim(2, "b", 3)];
        assert_eq!(choose(&claim(3, "c", 0), &others), 2);
        assert_eq!(choose(&claim(3, "c", 9), &others), 9);
    }

    #[test]
    fn of_two_with_the_same_number_the_younger_chooses_again_unless_its_name_says_so() {
        assert_eq!(choose(&claim(2, "b", 1), &[claim(1, "a", 1)]), 2);
        assert_eq!(choose(&claim(1, "a", 1), &[claim(2, "b", 1)]), 1);
        assert_eq!(choose(&claim(2, "n1", 1), &[claim(1, "a", 1)]), 1);
        assert_eq!(choose(&claim(1, "a", 1), &[claim(2, "n1", 1)]), 2);
    }

    proptest! {
        /// All nodes choose at once, again and again, each seeing what the others chose last.
        #[test]
        fn nodes_that_start_together_soon_have_different_numbers(
            names in prop::collection::vec("[ab][1-4]?", 1..24),
        ) {
            let mut numbers = vec![0; names.len()];
            for _ in 0..8 {
                let claims: Vec<_> = names
                    .iter()
                    .zip(&numbers)
                    .enumerate()
                    .map(|(id, (name, &number))| claim(id as u8, name, number))
                    .collect();
                numbers = claims
                    .iter()
                    .map(|this| {
                        let others: Vec<_> =
                            claims.iter().copied().filter(|other| other.id != this.id).collect();
                        choose(this, &others)
                    })
                    .collect();
            }
            let mut different = numbers.clone();
            different.sort_unstable();
            different.dedup();
            prop_assert_eq!(different.len(), names.len(), "{:?} {:?}", names, numbers);
            prop_assert!(!different.contains(&0));
        }
    }
}
