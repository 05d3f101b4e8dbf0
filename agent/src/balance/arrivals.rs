//! The host's side: who is let in, and which guests leave when the owner of the machine works on it.

/// From so much work of its own for each CPU on, a node is its owner's.
const OWNER_WORKS: f64 = 0.5;

/// A node that has so much more load than a home thought, and no free CPU, lets its process not in.
const MORE_THAN_THOUGHT: f64 = 0.5;

/// Whether one more may come in whom a balancer sends, to a node with so many CPUs. `load` is what runs there at this moment
/// and what has been let in and is on its way; `counted_on` is the load, with it, that its home has thought of: where it
/// is more, there may be a better place. What a person sends is not asked.
///
/// All homes see the same idle node at the same time: this is what keeps it from being flooded by all of them.
#[must_use]
pub fn lets_in(cpus: u16, load: f64, counted_on: f64) -> bool {
    // A load that is no number lets nobody in.
    load + 1.0 <= f64::from(cpus.max(1)).max(counted_on + MORE_THAN_THOUGHT)
}

/// Whether the owner's own work leaves no room for guests.
#[must_use]
pub fn owner_works(cpus: u16, own_load: f64) -> bool {
    own_load >= OWNER_WORKS * f64::from(cpus)
}

/// The guests that have to leave, as their owner's work and theirs (`own_load` and each guest's load, in runnable threads)
/// are more than the CPUs can do: the busiest first, as few as will do. None while the owner hardly works.
#[must_use]
pub fn guests_to_leave<K: Copy>(cpus: u16, own_load: f64, guests: &[(K, f64)]) -> Vec<K> {
    if !owner_works(cpus, own_load) {
        return Vec::new();
    }
    let mut busy: Vec<&(K, f64)> = guests.iter().filter(|(_, load)| *load > 0.05).collect();
    let all: f64 = busy.iter().map(|(_, load)| load).sum();
    let mut excess = own_load + all - f64::from(cpus);
    let mut leave = Vec::new();
    // A tenth of a CPU is a measurement's error.
    while excess >= 0.1 {
        let loads = busy
            .iter()
            .enumerate()
            .map(|(index, (_, load))| (index, *load));
        let Some((busiest, load)) = loads.max_by(|(_, one), (_, other)| one.total_cmp(other))
        else {
            break;
        };
        excess -= load;
        leave.push(busy.swap_remove(busiest).0);
    }
    leave
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_node_lets_in_as_many_as_it_has_free_cpus_and_beyond_that_who_has_counted_on_it() {
        let comes_in = |load, counted_on| lets_in(2, load, counted_on);
        assert!(comes_in(0.0, 1.0) && comes_in(1.0, 1.0));
        assert!(!comes_in(2.0, 1.0) && !comes_in(4.0, 3.0));
        assert!(comes_in(2.0, 3.0) && comes_in(4.0, 5.0));
        assert!(!comes_in(f64::NAN, 1.0) && !comes_in(4.0, f64::NAN));
    }

    #[test]
    fn guests_leave_when_the_owner_works_and_no_more_of_them_than_must() {
        let guests = [(1, 1.0), (2, 1.0), (3, 0.0)];
        assert!(guests_to_leave(2, 0.2, &guests).is_empty());
        assert_eq!(guests_to_leave(2, 1.0, &guests).len(), 1);
        assert_eq!(guests_to_leave(2, 2.0, &guests).len(), 2);
        assert!(guests_to_leave(4, 2.0, &guests).is_empty());
    }

    proptest! {
        #[test]
        fn nothing_is_sent_away_twice_or_made_up(
            own in prop::num::f64::ANY,
            loads in prop::collection::vec(prop::num::f64::ANY, 0..20),
        ) {
            let guests: Vec<(usize, f64)> = loads.into_iter().enumerate().collect();
            let mut leave = guests_to_leave(2, own, &guests);
            leave.sort_unstable();
            leave.dedup();
            prop_assert!(leave.len() <= guests.len());
        }
    }
}
