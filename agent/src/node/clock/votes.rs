//! What becomes of a node's clock when others have told theirs (pure).
//!
//! 1. A clock from before the program was made says nothing.
//! 2. If some of those asked may be relied on (installed nodes, and nodes that were set by such), the middle one of their
//!    clocks counts; fewer than half of them may be wrong.
//! 3. Among nodes of which nobody can be relied on, the middle one of all counts, this node's own among them;
//!    of two the earlier, so that both come to the same.
//! 4. A clock that is nearly right stays as it is.
//!
//! How far ahead a clock is, is known but for the time that its answer took; who holds answers back makes this node's
//! late by as much, and the caller does not wait for long.

/// A clock that is no further off stays as it is: more than the network's delay, less than matters to `make`.
pub const NEAR_MS: i64 = 1_000;

/// What another node says of its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// What it shows, in milliseconds since 1970.
    pub unix_ms: i64,
    /// How far it is ahead of this node's.
    pub ahead_ms: i64,
    /// It may be relied on.
    pub is_set: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Keep {
        /// Others may rely on this node's clock.
        is_set: bool,
    },
    /// Set the clock ahead, or back if negative.
    Set {
        /// By so much.
        ahead_ms: i64,
        /// Others may rely on it then.
        is_set: bool,
    },
}

/// Decides by the votes; this node's clock shows `own_unix_ms`, and its program is of `program_unix_ms`.
#[must_use]
pub fn decide(votes: &[Vote], own_unix_ms: i64, program_unix_ms: i64) -> Verdict {
    let possible = votes.iter().filter(|vote| vote.unix_ms >= program_unix_ms);
    let is_set = possible.clone().any(|vote| vote.is_set);
    let mut ahead_ms: Vec<i64> = possible
        .filter(|vote| vote.is_set == is_set)
        .map(|vote| vote.ahead_ms)
        .collect();
    let own_is_possible = own_unix_ms >= program_unix_ms;
    if own_is_possible && !is_set {
        ahead_ms.push(0);
    }
    ahead_ms.sort_unstable();
    let middle = ahead_ms.get(ahead_ms.len().saturating_sub(1) / 2).copied();
    match middle {
        Some(ahead_ms) if ahead_ms.saturating_abs() > NEAR_MS => Verdict::Set { ahead_ms, is_set },
        _ => Verdict::Keep { is_set },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: i64 = 3_600_000;
    const PROGRAM: i64 = 1_000 * HOUR;
    /// What it is.
    const NOW: i64 = PROGRAM + 500 * HOUR;

    /// What a node whose clock shows `unix_ms` tells one whose clock shows `own`.
    fn vote(unix_ms: i64, own: i64, is_set: bool) -> Vote {
        Vote {
            unix_ms,
            ahead_ms: unix_ms - own,
            is_set,
        }
    }

    #[test]
    fn a_dead_battery_s_clock_is_set_to_the_time_of_an_installed_node() {
        let verdict = decide(&[vote(NOW, 5, true)], 5, PROGRAM);
        let ahead_ms = NOW - 5;
        let set = Verdict::Set {
            ahead_ms,
            is_set: true,
        };
        assert_eq!(verdict, set);
    }

    #[test]
    fn a_clock_that_is_nearly_right_stays_as_it_is_and_may_be_relied_on_from_then_on() {
        for off in [-NEAR_MS, 0, NEAR_MS] {
            let votes = [vote(NOW + off, NOW, true)];
            assert_eq!(decide(&votes, NOW, PROGRAM), Verdict::Keep { is_set: true });
        }
    }

    #[test]
    fn a_clock_in_local_time_is_set_back_and_fewer_than_half_of_those_asked_may_be_wrong() {
        let own = NOW + 2 * HOUR;
        let told = [NOW + 900 * HOUR, NOW, NOW + 1, NOW - 400 * HOUR, NOW - 1];
        let votes = told.map(|told| vote(told, own, true));
        let set = Verdict::Set {
            ahead_ms: -2 * HOUR,
            is_set: true,
        };
        assert_eq!(decide(&votes, own, PROGRAM), set);
    }

    #[test]
    fn clocks_from_before_the_program_was_made_say_nothing() {
        let keep = Verdict::Keep { is_set: false };
        assert_eq!(decide(&[vote(PROGRAM - 1, 5, true)], 5, PROGRAM), keep);
        assert_eq!(decide(&[vote(7, NOW, true)], NOW, PROGRAM), keep);
        assert_eq!(decide(&[], NOW, PROGRAM), keep);
    }

    #[test]
    fn who_cannot_be_relied_on_is_not_asked_where_somebody_can() {
        let votes = [
            vote(NOW + HOUR, NOW, false),
            vote(NOW + HOUR, NOW, false),
            vote(NOW, NOW, true),
        ];
        assert_eq!(decide(&votes, NOW, PROGRAM), Verdict::Keep { is_set: true });
    }

    #[test]
    fn booted_nodes_among_themselves_come_to_one_time_whoever_asks() {
        let clocks = [NOW + 3 * HOUR, NOW, 12, NOW + 7 * HOUR];
        for count in 2..=clocks.len() {
            let clocks = &clocks[..count];
            let after = |own: i64| {
                let others = clocks.iter().filter(|&&other| other != own);
                let votes: Vec<Vote> = others.map(|&other| vote(other, own, false)).collect();
                match decide(&votes, own, PROGRAM) {
                    Verdict::Keep { is_set: false } => own,
                    Verdict::Set {
                        ahead_ms,
                        is_set: false,
                    } => own + ahead_ms,
                    verdict => panic!("{verdict:?}"),
                }
            };
            let all: Vec<i64> = clocks.iter().map(|&own| after(own)).collect();
            assert!(all.iter().all(|&time| time == all[0]), "{all:?}");
        }
    }

    proptest! {
        #[test]
        fn a_clock_is_never_set_to_what_nobody_said_nor_to_before_the_program(
            told in prop::collection::vec((any::<i64>(), any::<bool>()), 0..8),
            own in 0..2 * NOW,
        ) {
            let votes: Vec<Vote> = told
                .iter()
                .map(|&(unix_ms, is_set)| Vote {
                    unix_ms,
                    ahead_ms: unix_ms.saturating_sub(own),
                    is_set,
                })
                .collect();
            if let Verdict::Set { ahead_ms, is_set } = decide(&votes, own, PROGRAM) {
                prop_assert!(own.saturating_add(ahead_ms) >= PROGRAM);
                let said = votes.iter().any(|vote| (vote.ahead_ms, vote.is_set) == (ahead_ms, is_set));
                prop_assert!(said);
            }
        }
    }
}
