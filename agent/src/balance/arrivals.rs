//! The host's side: how many guests come in at a time, and which leave when the owner of the machine works on it.

use std::time::Duration;

/// A guest that has come in shows in the node's load after so many seconds.
const SHOWS_AFTER_SECONDS: f64 = 1.5;

/// From so much work of its own for each CPU on, a node is its owner's.
const OWNER_WORKS: f64 = 0.5;

/// A node that has so much more load than a home thought, and no free CPU, lets its process not in.
const MORE_THAN_THOUGHT: f64 = 0.5;

/// Lets guests in that balancers send: as many at once as there are free CPUs, and on a busy node one at a time. What a
/// person sends is not counted.
///
/// All homes see the same idle node at the same time; without this it would be flooded before its load shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Door {
    /// Guests that have come in and do not show in the load yet, less those that have left and still show.
    unseen: f64,
    at: Duration,
}

impl Door {
    /// Whether one more may come in to a node with so many CPUs and this load; counts it if so. Its home has counted on the
    /// load `counted_on`, with it: where it is more, there may be a better place.
    pub fn admit(&mut self, now: Duration, cpus: u16, load: f64, counted_on: f64) -> bool {
        let cpus = f64::from(cpus.max(1));
        let passed = now.saturating_sub(self.at).as_secs_f64();
        let shows = passed * cpus / SHOWS_AFTER_SECONDS;
        self.unseen -= self.unseen.clamp(-shows, shows);
        self.at = self.at.max(now);
        let most = cpus.max(counted_on + MORE_THAN_THOUGHT);
        // A load that is no number exceeds nothing.
        let excess = (load + self.unseen + 1.0 - most).max(0.0);
        let open = excess == 0.0 && self.unseen + 1.0 <= (cpus - load).max(1.0);
        if open {
            self.unseen += 1.0;
        }
        open
    }

    /// A guest has left, or ended.
    pub fn let_out(&mut self, cpus: u16) {
        self.unseen = (self.unseen - 1.0).max(-f64::from(cpus.max(1)));
    }
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
    fn an_idle_node_lets_in_as_many_as_it_has_cpus_and_a_busy_one_one_at_a_time() {
        let mut door = Door::default();
        let admitted = |door: &mut Door, second, load| {
            let now = Duration::from_secs(second);
            (0..100)
                .filter(|_| door.admit(now, 4, load, f64::INFINITY))
                .count()
        };
        assert_eq!(admitted(&mut door, 50, 0.0), 4);
        assert_eq!(admitted(&mut door, 50, 0.0), 0);
        assert_eq!(admitted(&mut door, 52, 4.0), 1);
        assert_eq!(admitted(&mut door, 60, 3.0), 1);
        // Who has left makes room for the next.
        door.let_out(4);
        assert_eq!(admitted(&mut door, 60, 3.0), 1);
        door.let_out(4);
        door.let_out(4);
        assert_eq!(admitted(&mut door, 60, 4.0), 2);
        // A clock that goes back lets nobody in.
        assert_eq!(admitted(&mut door, 1, 3.0), 0);
        assert_eq!(admitted(&mut door, 90, f64::NAN), 1);
    }

    #[test]
    fn who_counts_on_a_free_cpu_does_not_come_in_where_there_is_none() {
        let admitted = |load, counted_on| {
            let mut door = Door::default();
            door.admit(Duration::from_secs(50), 2, load, counted_on)
        };
        assert!(admitted(1.0, 1.0));
        assert!(!admitted(2.0, 1.0) && !admitted(4.0, 3.0));
        assert!(admitted(4.0, 5.0));
        assert!(!admitted(4.0, f64::NAN));
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
