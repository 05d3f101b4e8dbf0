//! Which of a guest's memory has not arrived yet. A pure core without I/O.
//!
//! Memory is sent after its program ([`super::pager`]); until a page has come, the program's threads that touch
//! it wait. What the program does meanwhile with memory that has not come counts: what it has unmapped or
//! thrown away is not to be filled, and what it has moved is filled at its new place.

use std::collections::BTreeMap;
use std::ops::Range;

/// A piece that is missing: where it ends, and where home has its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    end: u64,
    home: u64,
}

/// The missing memory of one guest.
#[derive(Debug, Default)]
pub struct Missing {
    /// Pieces by their beginning in the guest, without overlap.
    pieces: BTreeMap<u64, Piece>,
    /// Some piece is elsewhere than at home.
    has_moved: bool,
}

/// Memory that has come and belongs there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where in the guest.
    pub guest: Range<u64>,
    /// Where home has its beginning.
    pub home: u64,
}

impl Missing {
    /// All of `range`, which the guest has where home has it, is missing.
    pub fn add(&mut self, range: Range<u64>) {
        self.forget(range.clone());
        if !range.is_empty() {
            let (end, home) = (range.end, range.start);
            self.pieces.insert(range.start, Piece { end, home });
        }
    }

    /// Whether everything has come.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether something that was missing is, or was, elsewhere than at home.
    pub fn has_moved(&self) -> bool {
        self.has_moved
    }

    /// Where home has what is missing at `address`; nothing if nothing is.
    pub fn home_of(&self, address: u64) -> Option<u64> {
        let (&start, piece) = self.pieces.range(..=address).next_back()?;
        (address < piece.end).then(|| piece.home + (address - start))
    }

    /// Of `home`, an address range of home's that has come, something that is missing: where it belongs. It stays
    /// missing until it is in its place ([`Self::forget`]), so that who waits for it meanwhile is not given
    /// anything else.
    pub fn first_of(&self, home: &Range<u64>) -> Option<Place> {
        let place = |(&start, piece): (&u64, &Piece)| {
            let from = home.start.max(piece.home);
            let to = home.end.min(piece.home + (piece.end - start));
            let guest = |address: u64| start + (address - piece.home);
            (from < to).then(|| Place {
                guest: guest(from)..guest(to),
                home: from,
            })
        };
        if self.has_moved {
            return self.pieces.iter().find_map(place);
        }
        let before = self.pieces.range(..=home.start).next_back();
        let behind = self.pieces.range(home.start..home.end).next();
        before.and_then(place).or_else(|| behind.and_then(place))
    }

    /// What lies in `range` of the guest is not missed any more: it has been placed, unmapped or thrown away.
    pub fn forget(&mut self, range: Range<u64>) {
        self.cut(range);
    }

    /// The guest has moved `length` bytes.
    pub fn shift(&mut self, from: u64, to: u64, length: u64) {
        let moved = self.cut(from..from.saturating_add(length));
        self.cut(to..to.saturating_add(length));
        for Place { guest, home } in moved {
            let start = to + (guest.start - from);
            let end = start + (guest.end - guest.start);
            self.pieces.insert(start, Piece { end, home });
            self.has_moved = true;
        }
    }

    /// `home`, an address range of home's, has come: where what of it was missing belongs. It is missing no
    /// more.
    pub fn arrive(&mut self, home: Range<u64>) -> Vec<Place> {
        if !self.has_moved {
            return self.cut(home);
        }
        let there: Vec<Range<u64>> = self
            .pieces
            .iter()
            .filter_map(|(&start, piece)| {
                let length = piece.end - start;
                let from = home.start.max(piece.home);
                let to = home.end.min(piece.home + length);
                let place = |address: u64| start + (address - piece.home);
                (from < to).then(|| place(from)..place(to))
            })
            .collect();
        there
            .into_iter()
            .flat_map(|range| self.cut(range))
            .collect()
    }

    /// Takes out what is missing of `range`.
    fn cut(&mut self, range: Range<u64>) -> Vec<Place> {
        let mut cut = Vec::new();
        while let Some((&start, &piece)) = self.pieces.range(..range.end).next_back() {
            if piece.end <= range.start {
                break;
            }
            self.pieces.remove(&start);
            let from = start.max(range.start);
            let to = piece.end.min(range.end);
            let home = |address: u64| piece.home + (address - start);
            if to < piece.end {
                let rest = Piece {
                    end: piece.end,
                    home: home(to),
                };
                self.pieces.insert(to, rest);
            }
            if start < from {
                let rest = Piece {
                    end: from,
                    home: piece.home,
                };
                self.pieces.insert(start, rest);
            }
            cut.push(Place {
                guest: from..to,
                home: home(from),
            });
        }
        cut.reverse();
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn missing(ranges: &[Range<u64>]) -> Missing {
        let mut missing = Missing::default();
        for range in ranges {
            missing.add(range.clone());
        }
        missing
    }

    #[test]
    fn what_has_come_is_missing_no_more() {
        let mut missing = missing(&[0x1000..0x5000, 0x8000..0x9000]);
        assert_eq!(missing.home_of(0x4fff), Some(0x4fff));
        assert_eq!(missing.home_of(0x5000), None);
        let places = missing.arrive(0x3000..0x8800);
        let place = |guest: Range<u64>| Place {
            home: guest.start,
            guest,
        };
        assert_eq!(places, [place(0x3000..0x5000), place(0x8000..0x8800)]);
        assert_eq!(missing.home_of(0x3000), None);
        assert_eq!(missing.home_of(0x2fff), Some(0x2fff));
        missing.arrive(0..0x10000);
        assert!(missing.is_empty());
    }

    #[test]
    fn moved_memory_is_filled_where_it_is_now() {
        let mut missing = Missing::default();
        missing.add(0x1000..0x5000);
        missing.shift(0x2000, 0x20000, 0x1000);
        assert_eq!(missing.home_of(0x2000), None);
        assert_eq!(missing.home_of(0x20800), Some(0x2800));
        let places = missing.arrive(0x1000..0x4000);
        let guests: Vec<_> = places.iter().map(|place| place.guest.clone()).collect();
        assert_eq!(guests, [0x1000..0x2000, 0x3000..0x4000, 0x20000..0x21000]);
        assert_eq!(places[2].home, 0x2000);
        assert_eq!(missing.home_of(0x4000), Some(0x4000));
    }

    #[test]
    fn what_is_moved_over_missing_memory_takes_its_place() {
        let mut missing = missing(&[0x1000..0x2000, 0x5000..0x6000]);
        missing.shift(0x1000, 0x5000, 0x1000);
        assert_eq!(missing.home_of(0x5000), Some(0x1000));
        assert!(missing.arrive(0x5000..0x6000).is_empty());
    }

    #[test]
    fn what_is_being_placed_is_missing_until_it_is_in_its_place() {
        let mut missing = missing(&[0x1000..0x3000, 0x3000..0x5000]);
        missing.shift(0x4000, 0x20000, 0x1000);
        let mut placed = Vec::new();
        while let Some(place) = missing.first_of(&(0x2000..0x9000)) {
            assert_eq!(missing.home_of(place.guest.start), Some(place.home));
            // One page at a time.
            let page = place.guest.start..place.guest.start + 0x1000;
            missing.forget(page.clone());
            placed.push((page.start, place.home));
        }
        let wanted = [(0x2000, 0x2000), (0x3000, 0x3000), (0x20000, 0x4000)];
        assert_eq!(placed, wanted);
        assert_eq!(missing.home_of(0x1000), Some(0x1000));
    }

    proptest! {
        /// Against a map of single bytes: guest address to home address.
        #[test]
        fn it_agrees_with_a_table_of_every_address(
            steps in prop::collection::vec((0..4_u8, 0..40_u64, 0..40_u64, 1..20_u64), 1..40),
        ) {
            let mut missing = Missing::default();
            let mut table: BTreeMap<u64, u64> = BTreeMap::new();
            for (kind, start, to, length) in steps {
                let range = start..start + length;
                match kind {
                    0 => {
                        missing.add(range.clone());
                        table.extend(range.map(|address| (address, address)));
                    }
                    1 => {
                        missing.forget(range.clone());
                        table.retain(|guest, _| !range.contains(guest));
                    }
                    2 => {
                        // The kernel moves nothing onto itself.
                        let to = to + 100;
                        missing.shift(start, to, length);
                        let moved: Vec<(u64, u64)> = table
                            .iter()
                            .filter(|(guest, _)| range.contains(guest))
                            .map(|(&guest, &home)| (guest - start + to, home))
                            .collect();
                        table.retain(|guest, _| {
                            !range.contains(guest) && !(to..to + length).contains(guest)
                        });
                        table.extend(moved);
                    }
                    _ => {
                        let mut came: Vec<(u64, u64)> = missing
                            .arrive(range.clone())
                            .into_iter()
                            .flat_map(|place| {
                                let offset = place.home.wrapping_sub(place.guest.start);
                                place.guest.map(move |guest| (guest, guest.wrapping_add(offset)))
                            })
                            .collect();
                        came.sort_unstable();
                        let expected: Vec<(u64, u64)> = table
                            .iter()
                            .filter(|(_, home)| range.contains(home))
                            .map(|(&guest, &home)| (guest, home))
                            .collect();
                        prop_assert_eq!(came, expected);
                        table.retain(|_, home| !range.contains(home));
                    }
                }
                for address in 0..200 {
                    prop_assert_eq!(missing.home_of(address), table.get(&address).copied());
                }
                prop_assert_eq!(missing.is_empty(), table.is_empty());
            }
        }
    }
}
