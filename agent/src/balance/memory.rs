//! What the brain remembers: moves that the loads do not show yet, what each process has been through, and whom not to
//! trust for a while. All of it bounded.
//!
//! - A process that was moved stays where it is for its residency, which doubles with each further move and is
//!   halved by each quiet minute. So it moves a few times a minute at most, whatever the loads do.
//! - A move that failed is not tried again for a while, which doubles as well: on that node by anybody, anywhere by
//!   that process.
//! - A node that was gone is not trusted at once when it is back; each further time it takes twice as long.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::limits::{AVOIDED_NODES_MAX, DOUBTFUL_NODES_MAX, MOVES_EXPECTED_MAX};
use crate::wire::supervisor::NodeId;

/// How long a process stays at least where its first move has brought it.
pub const RESIDENCY: Duration = Duration::from_secs(3);

/// How long a node is not chosen after a move there failed, or after it was gone.
pub const DOUBT: Duration = Duration::from_secs(5);

/// How long a process that failed to move is left alone.
pub const FAILURE_PAUSE: Duration = Duration::from_secs(2);

/// How long one that came home by itself is left alone.
pub const HOMECOMING_PAUSE: Duration = Duration::from_secs(10);

/// How long a process that cannot move at all is left alone.
pub const CANNOT_MOVE_PAUSE: Duration = Duration::from_secs(60);

/// How long a node is not chosen at most that let nobody in because others had come before, while nothing newer is heard of
/// it.
const FULL_PAUSE_MAX: Duration = Duration::from_secs(5);

/// The longest of all these pauses, however often they doubled.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// A quiet time so long halves what has doubled.
const FORGIVENESS: Duration = Duration::from_secs(60);

/// Until then a move has ended that ever will.
const EXPECTED_FOR: Duration = Duration::from_secs(10);

/// A pause that doubles each time, and is forgiven with time.
#[derive(Clone, Copy, Debug, Default)]
struct Pause {
    times: u32,
    last: Duration,
    until: Duration,
    /// For a node: when it let nobody in.
    full: Option<Duration>,
}

impl Pause {
    fn impose(&mut self, now: Duration, first: Duration) {
        let forgiven = now.saturating_sub(self.last).as_secs() / FORGIVENESS.as_secs();
        self.times = self
            .times
            .saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX));
        let pause = first.saturating_mul(1 << self.times.min(10)).min(PAUSE_MAX);
        self.times += 1;
        self.last = now;
        self.until = self.until.max(now + pause);
    }
}

/// What a process has been through.
#[derive(Clone, Debug, Default)]
struct History {
    residency: Pause,
    /// As it was before the last move was ordered.
    residency_before: Pause,
    failures: Pause,
    avoids: heapless::Vec<(NodeId, Duration), AVOIDED_NODES_MAX>,
}

/// A move that was ordered and does not show yet.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    pid: u32,
    /// Where; none: at home.
    pub node: Option<NodeId>,
    /// The load that will come; negative if it goes.
    pub load: f64,
    /// The memory that will be taken.
    pub memory_mib: u32,
    /// The load of the node, with it, that was counted on.
    load_there: f64,
    ordered: Duration,
    /// A load that was measured then or later shows it; none as long as the process is on its way.
    shows: Option<Duration>,
}

impl Expected {
    /// Whether a load that was measured at this moment does not show it yet.
    #[must_use]
    pub fn is_hidden(&self, measured: Duration) -> bool {
        self.shows.is_none_or(|shows| measured < shows)
    }
}

/// All that is remembered.
#[derive(Debug, Default)]
pub struct Memory {
    processes: BTreeMap<u32, History>,
    nodes: BTreeMap<NodeId, Pause>,
    expected: Vec<Expected>,
}

impl Memory {
    /// Forgets what is over, and processes that are no more.
    pub fn tidy(&mut self, now: Duration, lives: impl Fn(u32) -> bool) {
        self.expected
            .retain(|expected| expected.ordered + EXPECTED_FOR > now);
        // Who has ended on the way arrives nowhere.
        self.expected
            .retain(|expected| expected.shows.is_some() || lives(expected.pid));
        let is_full = |full: Duration| full + FULL_PAUSE_MAX > now;
        self.nodes.retain(|_, doubt| {
            doubt.until + FORGIVENESS * 4 > now || doubt.full.is_some_and(is_full)
        });
        self.processes.retain(|pid, _| lives(*pid));
    }

    /// Whether this process may be moved again.
    #[must_use]
    pub fn may_move(&self, now: Duration, pid: u32) -> bool {
        let history = self.processes.get(&pid);
        history.is_none_or(|h| h.residency.until <= now && h.failures.until <= now)
    }

    /// Whether a node may be chosen for a process.
    #[must_use]
    pub fn may_go(&self, now: Duration, pid: u32, node: NodeId) -> bool {
        let avoids = |history: &History| {
            let mut avoided = history.avoids.iter();
            avoided.any(|(avoided, until)| *avoided == node && *until > now)
        };
        !self.processes.get(&pid).is_some_and(avoids)
    }

    /// Whether a node may be chosen at all of which was heard so long ago.
    #[must_use]
    pub fn trusts(&self, now: Duration, node: NodeId, age: Duration) -> bool {
        let heard = now.saturating_sub(age);
        self.nodes.get(&node).is_none_or(|doubt| {
            let is_full = |full: Duration| heard <= full && full + FULL_PAUSE_MAX > now;
            doubt.until <= now && !doubt.full.is_some_and(is_full)
        })
    }

    /// A process is sent from somewhere to somewhere: none is home. `load_there` is the load that the node is thought to
    /// have then.
    pub fn ordered(
        &mut self,
        now: Duration,
        pid: u32,
        (from, to): (Option<NodeId>, Option<NodeId>),
        (load, memory_mib): (f64, u32),
        load_there: f64,
    ) {
        let history = self.processes.entry(pid).or_default();
        history.residency_before = history.residency;
        history.residency.impose(now, RESIDENCY);
        // Home counts a process where it goes.
        let shows = |node: Option<NodeId>| node.is_none().then_some(now);
        self.expect(Expected {
            pid,
            node: to,
            load,
            memory_mib,
            load_there,
            ordered: now,
            shows: shows(to),
        });
        if from.is_some() {
            self.expect(Expected {
                pid,
                node: from,
                load: -load,
                memory_mib: 0,
                load_there: f64::INFINITY,
                ordered: now,
                shows: shows(from),
            });
        }
    }

    /// A program starts at home, which shows in a load that is measured from now on.
    pub fn starts_at_home(&mut self, now: Duration, pid: u32) {
        self.expect(Expected {
            pid,
            node: None,
            load: 1.0,
            memory_mib: 0,
            load_there: f64::INFINITY,
            ordered: now,
            shows: Some(now),
        });
    }

    /// A process has ended on a node, after it was seen there at that moment for the last time.
    pub fn ended(&mut self, now: Duration, pid: u32, node: NodeId, (load, seen): (f64, Duration)) {
        let was_on_its_way = |it: &Expected| it.pid == pid && it.shows.is_none();
        if self.expected.iter().any(was_on_its_way) {
            return self.stays(pid);
        }
        // A node whose load was measured in between may have missed it already.
        self.expect(Expected {
            pid,
            node: Some(node),
            load: -load,
            memory_mib: 0,
            load_there: f64::INFINITY,
            ordered: now,
            shows: Some(seen),
        });
    }

    /// A process has arrived on a node, or at home: the loads that are measured from now on show it, and that it has left
    /// where it was.
    pub fn arrived(&mut self, now: Duration, pid: u32, node: Option<NodeId>) {
        for expected in self.expected.iter_mut().filter(|it| it.pid == pid) {
            if expected.node == node || expected.load < 0.0 {
                expected.shows.get_or_insert(now);
            }
        }
    }

    fn expect(&mut self, expected: Expected) {
        if self.expected.len() >= MOVES_EXPECTED_MAX {
            self.expected.remove(0);
        }
        self.expected.push(expected);
    }

    /// A process did not set out, or has not arrived.
    fn stays(&mut self, pid: u32) {
        self.expected
            .retain(|expected| expected.pid != pid || expected.shows.is_some());
    }

    /// The moves that may not show yet.
    pub fn expected(&self, now: Duration) -> impl Iterator<Item = &Expected> {
        self.expected
            .iter()
            .filter(move |expected| expected.ordered + EXPECTED_FOR > now)
    }

    /// The load of a node that was counted on when this process was sent there, with it.
    #[must_use]
    pub fn counted_on(&self, pid: u32, node: NodeId) -> Option<f64> {
        let mut sent = self.expected.iter().rev();
        let sent = sent.find(|expected| {
            (expected.pid, expected.node, expected.load > 0.0) == (pid, Some(node), true)
        });
        sent.map(|expected| expected.load_there)
    }

    /// A process could not go to a node, for a reason of its own or between the two: it does not try there soon.
    pub fn failed(&mut self, now: Duration, pid: u32, node: NodeId) {
        self.stays(pid);
        let history = self.processes.entry(pid).or_default();
        history.failures.impose(now, FAILURE_PAUSE);
        let until = now + PAUSE_MAX;
        history.avoids.retain(|(avoided, _)| *avoided != node);
        if history.avoids.is_full() {
            history.avoids.remove(0);
        }
        // Cannot fail: there is room now.
        let _ = history.avoids.push((node, until));
    }

    /// A process has ended on its way.
    pub fn has_ended(&mut self, pid: u32) {
        self.stays(pid);
    }

    /// A process cannot leave home at all, for the time being.
    pub fn cannot_move(&mut self, now: Duration, pid: u32) {
        self.stays(pid);
        let history = self.processes.entry(pid).or_default();
        history.failures.impose(now, CANNOT_MOVE_PAUSE);
    }

    /// A process came home by itself, because of what it does.
    pub fn came_home(&mut self, now: Duration, pid: u32) {
        let history = self.processes.entry(pid).or_default();
        history.failures.impose(now, HOMECOMING_PAUSE);
    }

    /// A node let a process not in, as others had come before: it is asked again when something newer is heard of it, and
    /// the process, which has not moved, may go elsewhere at once.
    pub fn turned_away(&mut self, now: Duration, pid: u32, node: NodeId) {
        self.pause_of(node).full = Some(now);
        if let Some(history) = self.processes.get_mut(&pid) {
            history.residency = history.residency_before;
        }
        self.stays(pid);
    }

    /// A node did not take a process, or was lost: nobody is sent there for a while.
    pub fn doubt(&mut self, now: Duration, node: NodeId) {
        self.pause_of(node).impose(now, DOUBT);
    }

    fn pause_of(&mut self, node: NodeId) -> &mut Pause {
        if self.nodes.len() >= DOUBTFUL_NODES_MAX && !self.nodes.contains_key(&node) {
            let least = self.nodes.iter().min_by_key(|(_, doubt)| doubt.until);
            if let Some(id) = least.map(|(id, _)| *id) {
                self.nodes.remove(&id);
            }
        }
        self.nodes.entry(node).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId([1; 16]);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn residency_doubles_with_each_move_and_quiet_minutes_make_up_for_it() {
        let mut memory = Memory::default();
        let mut now = seconds(0);
        for expected in [3, 6, 12, 24] {
            memory.ordered(now, 7, (None, Some(NODE)), (1.0, 10), 1.0);
            assert!(!memory.may_move(now + seconds(expected - 1), 7));
            now += seconds(expected);
            assert!(memory.may_move(now, 7));
        }
        now += seconds(600);
        memory.ordered(now, 7, (Some(NODE), None), (1.0, 10), 1.0);
        assert!(memory.may_move(now + seconds(3), 7));
    }

    #[test]
    fn a_node_that_is_full_at_the_moment_is_asked_again_soon_however_often() {
        let mut memory = Memory::default();
        let now = seconds(10);
        for _ in 0..9 {
            memory.turned_away(now, 7, NODE);
        }
        assert!(memory.may_go(now, 7, NODE));
        let trusts = |later: Duration, age| memory.trusts(now + later, NODE, age);
        let soon = Duration::from_millis(10);
        assert!(!trusts(Duration::ZERO, Duration::ZERO) && trusts(soon, Duration::ZERO));
        // As long as nothing is heard of it, it is taken for full; but not for ever.
        assert!(!trusts(soon, soon));
        assert!(trusts(FULL_PAUSE_MAX, FULL_PAUSE_MAX));
    }

    #[test]
    fn who_was_turned_away_has_not_moved_and_may_go_elsewhere_at_once() {
        let mut memory = Memory::default();
        let now = seconds(10);
        memory.ordered(now, 7, (None, Some(NODE)), (1.0, 10), 2.0);
        assert_eq!(memory.counted_on(7, NODE), Some(2.0));
        memory.turned_away(now, 7, NODE);
        assert!(memory.may_move(now, 7));
        assert_eq!(memory.expected(now).count(), 0);
        assert_eq!(memory.counted_on(7, NODE), None);
    }

    #[test]
    fn a_node_that_flaps_is_trusted_ever_later() {
        let mut memory = Memory::default();
        let mut times = 0;
        for second in 0..300 {
            if memory.trusts(seconds(second), NODE, Duration::ZERO) {
                times += 1;
                memory.doubt(seconds(second), NODE);
            }
        }
        assert!((3..=8).contains(&times), "{times}");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten() {
        let mut memory = Memory::default();
        for number in 0..2_000_u32 {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&number.to_le_bytes());
            memory.doubt(seconds(1), NodeId(id));
            memory.starts_at_home(seconds(1), 1);
            memory.failed(seconds(1), 1, NodeId(id));
        }
        assert_eq!(memory.nodes.len(), DOUBTFUL_NODES_MAX);
        assert_eq!(memory.expected.len(), MOVES_EXPECTED_MAX);
        assert_eq!(memory.processes[&1].avoids.len(), AVOIDED_NODES_MAX);
        memory.tidy(seconds(1000), |_| false);
        assert!(memory.nodes.is_empty() && memory.expected.is_empty());
        assert!(memory.processes.is_empty());
    }
}
