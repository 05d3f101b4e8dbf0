//! How load vectors spread: probabilistic gossip with bounded age (Amar, Barak, Drezner, Okun 2009).
//!
//! About once a second each node sends to one random member its own vector and the freshest of those it has heard, as
//! many as fit one datagram. So its traffic does not depend on the size of the cluster, and neither does its memory: it
//! keeps the [`VIEW_MAX`] freshest vectors. In a cluster larger than that each node sees a sample of the others that
//! changes all the time, and a good place among dozens of random ones is nearly as good as the best of all.
//!
//! News go out at once, but not more often than four times a second: first, if a CPU has become free, to those homes that were
//! turned away here; and every second message goes to the home of a guest, which has to know how its process fares.
//!
//! A vector travels with its age, not with a time, so clocks need not agree and may jump. Nobody can claim to be newer
//! than now, and what a node says of itself replaces what others said of it.
//!
//! ```text
//! 0   version, 2        1   number of entries
//! 2   entries: node id, 16 bytes; age in hundredths of a second, u16; the vector. The first is the sender's own.
//! ```

use std::fmt;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::vector::{Absurd, LoadVector, VECTOR_BYTES};
use crate::limits::{
    DATAGRAM_BYTES_MAX, GOSSIP_ENTRIES_MAX, GOSSIP_HOSTS_MAX, GOSSIP_TURNED_AWAY_MAX,
    GOSSIP_VIEW_MAX,
};
use crate::secure::datagram::OVERHEAD_BYTES;
use crate::wire::supervisor::NodeId;

const VERSION: u8 = 2;
const HEADER_BYTES: usize = 2;
const ENTRY_BYTES: usize = 16 + 2 + VECTOR_BYTES;

/// Longest message, in bytes.
pub const MESSAGE_BYTES_MAX: usize = HEADER_BYTES + GOSSIP_ENTRIES_MAX * ENTRY_BYTES;

const _: () = assert!(MESSAGE_BYTES_MAX + OVERHEAD_BYTES <= DATAGRAM_BYTES_MAX);
const _: () = assert!(VIEW_MAX <= 1 << 8);

/// Vectors that a node keeps.
pub const VIEW_MAX: usize = GOSSIP_VIEW_MAX;

/// What is older is neither believed nor passed on.
pub const AGE_MAX: Duration = Duration::from_secs(10);

/// How often a message is sent; jittered by a quarter.
pub const PERIOD: Duration = Duration::from_secs(1);

/// News go out so long after the last message.
const URGENT_AFTER: Duration = Duration::from_millis(250);

/// How long an urgent vector goes before fresher ones.
const URGENT_FOR: Duration = Duration::from_secs(2);

/// Who was turned away so long ago has found another place.
const WAITS_FOR: Duration = Duration::from_secs(3);

/// Why a message is not taken. What stood before the first bad entry was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsound {
    /// Another version, or a length that does not fit its number of entries.
    Layout,
    /// The first entry is not the sender's.
    NotItsOwn,
    /// An entry cannot be true.
    Absurd(Absurd),
}

impl fmt::Display for Unsound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsound::Layout => f.write_str("a load message of an unknown layout"),
            Unsound::NotItsOwn => {
                f.write_str("a load message that does not begin with its sender's load")
            }
            Unsound::Absurd(absurd) => absurd.fmt(f),
        }
    }
}

impl std::error::Error for Unsound {}

/// What is known of another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Which.
    pub node: NodeId,
    /// What it said.
    pub vector: LoadVector,
    heard: Duration,
    age_then: Duration,
}

impl Known {
    /// How old it is.
    #[must_use]
    pub fn age(&self, now: Duration) -> Duration {
        self.age_then + now.saturating_sub(self.heard)
    }
}

/// One node's part in the gossip. All times are since an arbitrary start.
#[derive(Debug)]
pub struct Gossip {
    this: NodeId,
    own: LoadVector,
    /// What the others were told last.
    told: LoadVector,
    urgent_until: Duration,
    quiet: bool,
    /// Nodes that host processes of ours: theirs are the last vectors to make room.
    hosts: heapless::Vec<NodeId, GOSSIP_HOSTS_MAX>,
    /// By node.
    view: heapless::Vec<Known, VIEW_MAX>,
    /// Homes whose processes were turned away here, and when.
    turned_away: heapless::Vec<(NodeId, Duration), GOSSIP_TURNED_AWAY_MAX>,
    sent: u64,
    next: Duration,
    last: Duration,
    random: SmallRng,
}

impl Gossip {
    /// A node that has heard of nobody.
    #[must_use]
    pub fn new(now: Duration, this: NodeId, own: LoadVector, seed: u64) -> Gossip {
        let mut random = SmallRng::seed_from_u64(seed);
        Gossip {
            this,
            own,
            told: own,
            urgent_until: Duration::ZERO,
            quiet: false,
            hosts: heapless::Vec::new(),
            view: heapless::Vec::new(),
            turned_away: heapless::Vec::new(),
            sent: 0,
            next: now + PERIOD.mul_f64(random.random::<f64>()),
            last: now,
            random,
        }
    }

    /// This node has been measured. A great change goes out soon.
    pub fn set_own(&mut self, now: Duration, own: LoadVector) {
        self.own = own;
        if self.told.differs_much(&own) {
            self.urgent_until = now + URGENT_FOR;
            self.next = self.next.min(now.max(self.last + URGENT_AFTER));
        }
    }

    /// This node's own vector.
    #[must_use]
    pub fn own(&self) -> &LoadVector {
        &self.own
    }

    /// Whether to say nothing of this node: it then passes on nothing either, and others do without it.
    pub fn set_quiet(&mut self, quiet: bool) {
        self.quiet = quiet;
    }

    /// Which nodes host processes of ours; of very many, the first count.
    pub fn set_hosts(&mut self, hosts: impl Iterator<Item = NodeId>) {
        self.hosts.clear();
        for host in hosts {
            if !self.hosts.contains(&host) && self.hosts.push(host).is_err() {
                return;
            }
        }
    }

    /// When the next message is due; never while quiet.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        (!self.quiet).then_some(self.next)
    }

    /// A process of this home was turned away here: it hears first when there is room.
    pub fn turn_away(&mut self, now: Duration, home: NodeId) {
        self.turned_away.retain(|(other, _)| *other != home);
        if self.turned_away.is_full() {
            self.turned_away.remove(0);
        }
        // Cannot fail: there is room now.
        let _ = self.turned_away.push((home, now));
    }

    /// Whom the message is for that has just been composed, if that is not for chance to say: who was turned away, if there
    /// is room now, or every second time the home of a guest. These are `homes`, of which the next comes first then.
    pub fn receiver(&mut self, now: Duration, homes: &mut [NodeId]) -> Option<NodeId> {
        self.sent += 1;
        self.turned_away
            .retain(|(_, since)| *since + WAITS_FOR > now);
        if !self.turned_away.is_empty() && self.own.has_free_cpu() {
            let (home, _) = self.turned_away.remove(0);
            if !self.turned_away.is_empty() {
                self.next = self.next.min(now + URGENT_AFTER);
            }
            return Some(home);
        }
        let home = homes
            .first()
            .copied()
            .filter(|_| self.sent.is_multiple_of(2));
        if home.is_some() {
            homes.rotate_left(1);
        }
        home
    }

    /// A node has said of itself, over a connection, that this is its state now.
    pub fn hear(&mut self, now: Duration, node: NodeId, vector: LoadVector) {
        if node == self.this {
            return;
        }
        let mut strangers = heapless::Vec::new();
        let heard = Known {
            node,
            vector,
            heard: now,
            age_then: Duration::ZERO,
        };
        self.merge(now, heard, &mut strangers);
        self.take_in(now, &strangers);
    }

    /// A number below `count`, to choose whom to send to.
    pub fn choose(&mut self, count: usize) -> usize {
        self.random.random_range(0..count.max(1))
    }

    /// The message that is due now; the next will be a period later.
    pub fn compose(&mut self, now: Duration) -> Vec<u8> {
        self.last = now;
        self.next = now + PERIOD.mul_f64(0.75 + 0.5 * self.random.random::<f64>());
        self.told = self.own;
        self.view.retain(|known| known.age(now) <= AGE_MAX);
        let others = self.view.len().min(GOSSIP_ENTRIES_MAX - 1);
        let mut message = Vec::with_capacity(HEADER_BYTES + (others + 1) * ENTRY_BYTES);
        message.extend([VERSION, others as u8 + 1]);
        let own = LoadVector {
            urgent: now < self.urgent_until,
            ..self.own
        };
        put(&mut message, self.this, Duration::ZERO, &own);
        let mut freshest: heapless::Vec<(u64, u8), VIEW_MAX> = heapless::Vec::new();
        freshest.extend((0..).zip(&self.view).map(|(index, known)| {
            let age = known.age(now);
            let first = known.vector.urgent && age < URGENT_FOR;
            (rank(first, age), index)
        }));
        freshest.sort_unstable();
        for &(_, index) in freshest.iter().take(others) {
            let known = &self.view[usize::from(index)];
            put(&mut message, known.node, known.age(now), &known.vector);
        }
        message
    }

    /// Takes the message of another node.
    ///
    /// # Errors
    /// When something in it is unsound; what stood before it was taken.
    pub fn receive(
        &mut self,
        now: Duration,
        sender: NodeId,
        message: &[u8],
    ) -> Result<(), Unsound> {
        let (&[version, count], entries) = message.split_first_chunk().ok_or(Unsound::Layout)?;
        let count = usize::from(count);
        let fits =
            (1..=GOSSIP_ENTRIES_MAX).contains(&count) && entries.len() == count * ENTRY_BYTES;
        if version != VERSION || !fits {
            return Err(Unsound::Layout);
        }
        let mut strangers: heapless::Vec<Known, GOSSIP_ENTRIES_MAX> = heapless::Vec::new();
        let result = self.take_entries(now, sender, entries, &mut strangers);
        self.take_in(now, &strangers);
        result
    }

    fn take_entries(
        &mut self,
        now: Duration,
        sender: NodeId,
        entries: &[u8],
        strangers: &mut heapless::Vec<Known, GOSSIP_ENTRIES_MAX>,
    ) -> Result<(), Unsound> {
        for (index, entry) in entries.chunks_exact(ENTRY_BYTES).enumerate() {
            let mut id = [0; 16];
            id.copy_from_slice(&entry[..16]);
            let node = NodeId(id);
            let direct = index == 0;
            if direct && node != sender {
                return Err(Unsound::NotItsOwn);
            }
            let age = u64::from(u16::from_le_bytes([entry[16], entry[17]]));
            let vector = LoadVector::from_bytes(&entry[18..]).map_err(Unsound::Absurd)?;
            let age_then = Duration::from_millis(age * 10);
            if node != self.this && (direct || node != sender) && age_then <= AGE_MAX {
                let heard = Known {
                    node,
                    vector,
                    heard: now,
                    age_then: if direct { Duration::ZERO } else { age_then },
                };
                self.merge(now, heard, strangers);
            }
        }
        Ok(())
    }

    /// Takes what is fresher of a node that is known, and notes a stranger.
    fn merge(
        &mut self,
        now: Duration,
        heard: Known,
        strangers: &mut heapless::Vec<Known, GOSSIP_ENTRIES_MAX>,
    ) {
        match self
            .view
            .binary_search_by_key(&heard.node, |known| known.node)
        {
            Ok(place) => {
                if heard.age(now) <= self.view[place].age(now) {
                    self.view[place] = heard;
                }
            }
            Err(_) => match strangers.iter_mut().find(|known| known.node == heard.node) {
                Some(known) if heard.age(now) <= known.age(now) => *known = heard,
                Some(_) => {}
                // Cannot fail: there are at most as many as entries.
                None => drop(strangers.push(heard)),
            },
        }
    }

    /// Takes strangers in, and makes room for them: the oldest vectors go, last those of our hosts. The view stays ordered by
    /// node.
    fn take_in(&mut self, now: Duration, strangers: &[Known]) {
        let Gossip { view, hosts, .. } = self;
        // How dispensable a vector is: one that is not a host's first, then by age.
        let dispensable = |known: &Known| {
            let age = known.age(now);
            let is_host = age <= AGE_MAX && hosts.contains(&known.node);
            rank(is_host, age)
        };
        // In the order of the view.
        let mut ranks: heapless::Vec<u64, VIEW_MAX> = heapless::Vec::new();
        if view.len() + strangers.len() > VIEW_MAX {
            ranks.extend(view.iter().map(&dispensable));
        }
        for stranger in strangers {
            let own = dispensable(stranger);
            if view.is_full() {
                let worst = (0..ranks.len()).max_by_key(|&index| ranks[index]);
                let Some(worst) = worst.filter(|&worst| own < ranks[worst]) else {
                    continue;
                };
                view.remove(worst);
                ranks.remove(worst);
            }
            if let Err(place) = view.binary_search_by_key(&stranger.node, |known| known.node) {
                // Cannot fail: there is room now. Where none will be missing the ranks do not count.
                let _ = view.insert(place, *stranger);
                let _ = ranks.insert(place.min(ranks.len()), own);
            }
        }
    }

    /// A node is gone: nothing of it is believed any more.
    pub fn forget(&mut self, node: NodeId) {
        self.view.retain(|known| known.node != node);
    }

    /// What is known and not too old.
    pub fn view(&self, now: Duration) -> impl Iterator<Item = &Known> {
        self.view
            .iter()
            .filter(move |known| known.age(now) <= AGE_MAX)
    }
}

/// A number for an order by age in which some come before all others.
fn rank(first: bool, age: Duration) -> u64 {
    let age_us = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
    u64::from(!first) << 63 | age_us.min(u64::MAX >> 1)
}

fn put(message: &mut Vec<u8>, node: NodeId, age: Duration, vector: &LoadVector) {
    // Rounded up: what is passed on at once many times still ages.
    let age = u16::try_from(age.as_millis() / 10 + 1).unwrap_or(u16::MAX);
    message.extend(node.0);
    message.extend(age.to_le_bytes());
    message.extend(vector.to_bytes());
}

#[cfg(test)]
mod tests;
