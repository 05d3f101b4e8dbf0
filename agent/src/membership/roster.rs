//! The table of nodes: what beacons and membership messages told of each.
//!
//! Bounded: at most [`MEMBERS_MAX`] nodes; a new one takes the place of the longest lost or left one, and
//! is turned away if all are present. All times are since an arbitrary start and never go back.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::MemberState;
use super::codec::MemberIdentity;
use super::names::Known;
use super::numbers::Claim;
use super::swim::Standing;
use crate::discovery::beacon::Beacon;
use crate::discovery::schedule::steady_interval;
use crate::limits::{HEARD_ADDRESSES_MAX, MEMBERS_MAX, NODE_ADDRESSES_MAX};
use crate::load::ShortLoad;
use crate::wire::bytes::AddressBytes;
use crate::wire::supervisor::{NodeId, NodeName};

/// An address at which so many beacons in turn were not heard is dropped.
const BEACONS_MISSED_MAX: u32 = 3;

/// An address at which nothing came for so long works no more, if the node is heard at another one.
const WORKS_FOR: Duration = Duration::from_secs(2);

/// How long a node that joined may stay unconfirmed, and silent, before it is forgotten.
const JOINED_FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// How long a lost node is shown.
const LOST_FORGOTTEN_AFTER: Duration = Duration::from_secs(3_600);

/// How long a node that left is shown.
const LEFT_FORGOTTEN_AFTER: Duration = Duration::from_secs(300);

/// One other node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Its static public key.
    pub public_key: [u8; 32],
    /// When its agent started.
    pub epoch: u64,
    /// Generation of its membership identity, as its last beacon said.
    pub generation: u64,
    /// The number it goes by; 0 if it has none.
    pub number: u16,
    /// What is known of its life.
    pub state: MemberState,
    /// Version of its agent.
    pub version: String,
    /// Its load as last told.
    pub load: ShortLoad,
    /// The generation in which it said that it goes.
    left_in: u64,
    port: u16,
    heard_from: heapless::Vec<HeardFrom, HEARD_ADDRESSES_MAX>,
    announced: heapless::Vec<AddressBytes, NODE_ADDRESSES_MAX>,
    newest: (u64, u64),
    heard: Duration,
    beacon_heard: Duration,
    since: Duration,
}

/// An address from which a node was heard.
#[derive(Clone, Copy, Debug)]
struct HeardFrom {
    address: SocketAddr,
    heard: Duration,
    /// When a membership message came from there that shows that it works both ways.
    works: Option<Duration>,
}

/// How a node was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Beacon,
    Membership,
}

/// What a beacon brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A node that was not known, or a known one that has started again.
    New,
    /// A known node, at an address at which it was not heard lately.
    NewAddress,
    /// A known node.
    Known,
    /// A known node that goes.
    Leaving,
    /// An older beacon than one heard already.
    Old,
    /// A new node for which there is no room.
    Full,
}

/// What happened to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberEvent {
    /// It is a member now (also: again).
    Joined(NodeName),
    /// It does not answer.
    Suspect(NodeName),
    /// It answers again.
    Alive(NodeName),
    /// It is taken for dead.
    Lost(NodeName),
    /// It said that it goes.
    Left(NodeName),
}

/// All other nodes.
#[derive(Debug, Default)]
pub struct Roster {
    nodes: BTreeMap<NodeId, Node>,
}

/// Where a beacon came from.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// Who sent it.
    pub sender: NodeId,
    /// In which epoch.
    pub epoch: u64,
    /// Its number in that epoch.
    pub sequence: u64,
    /// From which address.
    pub address: SocketAddr,
}

impl Roster {
    /// The nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// One node.
    #[must_use]
    pub fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    /// How many nodes are present.
    #[must_use]
    pub fn present(&self) -> usize {
        self.nodes
            .values()
            .filter(|node| node.state.is_present())
            .count()
    }

    /// A beacon was heard.
    pub fn hear_beacon(&mut self, now: Duration, origin: Origin, beacon: &Beacon) -> Heard {
        let order = (origin.epoch, origin.sequence);
        let stale_after = self.stale_after();
        if let Some(node) = self.nodes.get_mut(&origin.sender) {
            if order < node.newest {
                if origin.epoch == node.epoch && node.state.is_present() {
                    node.heard_at(now, origin.address, Way::Beacon, stale_after);
                }
                return Heard::Old;
            }
            let again = origin.epoch > node.epoch;
            if again {
                node.heard_from.clear();
            }
            let here = node
                .heard_from
                .iter()
                .any(|from| from.address == origin.address);
            node.tell(now, origin, beacon, stale_after);
            return match (beacon.leaving, again, here) {
                (true, ..) => Heard::Leaving,
                (false, true, _) => Heard::New,
                (false, false, false) => Heard::NewAddress,
                (false, false, true) => Heard::Known,
            };
        }
        if beacon.leaving {
            return Heard::Old;
        }
        // The same PC after a boot: its former self is only in the way.
        self.nodes
            .retain(|_, node| node.state.is_present() || node.name != *beacon.name);
        if !self.make_room() {
            return Heard::Full;
        }
        self.nodes
            .insert(origin.sender, Node::new(now, origin, beacon));
        Heard::New
    }

    /// A membership message was heard.
    pub fn hear(&mut self, now: Duration, sender: NodeId, address: SocketAddr, load: ShortLoad) {
        let stale_after = self.stale_after();
        if let Some(node) = self.nodes.get_mut(&sender) {
            node.heard_at(now, address, Way::Membership, stale_after);
            node.load = load;
        }
    }

    /// SWIM has changed its mind about a node.
    pub fn set_standing(
        &mut self,
        now: Duration,
        identity: MemberIdentity,
        standing: Standing,
    ) -> Option<MemberEvent> {
        let node = self.nodes.get_mut(&identity.id)?;
        let state = match (standing, node.state) {
            // The dissemination of its own "I go", or of what it was before it went.
            (_, MemberState::Left) if identity.generation <= node.left_in => return None,
            (Standing::Alive, _) => MemberState::Alive,
            (Standing::Suspect, _) => MemberState::Suspect,
            (Standing::Down, MemberState::Joined) => return None,
            (Standing::Down, _) => MemberState::Lost,
        };
        node.change(now, state)
    }

    /// A node has said that it goes.
    pub fn set_left(&mut self, now: Duration, id: NodeId) -> Option<MemberEvent> {
        let node = self.nodes.get_mut(&id)?;
        node.left_in = node.generation;
        node.change(now, MemberState::Left)
    }

    /// Forgets what need not be shown any more.
    pub fn forget(&mut self, now: Duration) {
        self.nodes.retain(|_, node| match node.state {
            MemberState::Alive | MemberState::Suspect => true,
            MemberState::Joined => now < node.heard + JOINED_FORGOTTEN_AFTER,
            MemberState::Lost => now < node.since + LOST_FORGOTTEN_AFTER,
            MemberState::Left => now < node.since + LEFT_FORGOTTEN_AFTER,
        });
    }

    /// The numbers that other nodes claim; nodes that left claim none.
    #[must_use]
    pub fn claims(&self) -> Vec<Claim<'_>> {
        let staying = self
            .nodes
            .values()
            .filter(|node| node.state != MemberState::Left);
        staying
            .map(|node| Claim {
                number: node.number,
                name: &node.name,
                epoch: node.epoch,
                id: node.id,
            })
            .collect()
    }

    fn stale_after(&self) -> Duration {
        steady_interval(self.nodes.len() + 1) * BEACONS_MISSED_MAX
    }

    fn make_room(&mut self) -> bool {
        if self.nodes.len() < MEMBERS_MAX {
            return true;
        }
        let absent = self.nodes.values().filter(|node| !node.state.is_present());
        let oldest = absent.min_by_key(|node| node.since).map(|node| node.id);
        oldest.is_some_and(|id| self.nodes.remove(&id).is_some())
    }
}

impl Node {
    fn new(now: Duration, origin: Origin, beacon: &Beacon) -> Node {
        let mut node = Node {
            id: origin.sender,
            name: String::new(),
            public_key: beacon.public_key.0,
            epoch: origin.epoch,
            generation: beacon.generation,
            number: 0,
            state: MemberState::Joined,
            version: String::new(),
            load: beacon.load,
            left_in: 0,
            port: beacon.port,
            heard_from: heapless::Vec::new(),
            announced: heapless::Vec::new(),
            newest: (0, 0),
            heard: now,
            beacon_heard: now,
            since: now,
        };
        node.tell(now, origin, beacon, Duration::MAX);
        node
    }

    fn tell(&mut self, now: Duration, origin: Origin, beacon: &Beacon, stale_after: Duration) {
        if origin.epoch > self.epoch && !self.state.is_present() {
            self.state = MemberState::Joined;
        }
        self.epoch = origin.epoch;
        self.newest = (origin.epoch, origin.sequence);
        if self.name != *beacon.name {
            self.name = beacon.name.as_str().to_owned();
        }
        if self.version != *beacon.version {
            self.version = beacon.version.as_str().to_owned();
        }
        self.generation = self.generation.max(beacon.generation);
        self.number = beacon.number;
        self.load = beacon.load;
        self.port = beacon.port;
        self.announced.clone_from(&beacon.addresses);
        self.beacon_heard = now;
        self.heard_at(now, origin.address, Way::Beacon, stale_after);
    }

    fn heard_at(&mut self, now: Duration, address: SocketAddr, way: Way, stale_after: Duration) {
        self.heard = now;
        let known = self
            .heard_from
            .iter()
            .position(|from| from.address == address);
        let before = known.map(|place| self.heard_from.remove(place));
        self.heard_from
            .retain(|from| now.saturating_sub(from.heard) < stale_after);
        if self.heard_from.is_full() {
            let stalest = (0..self.heard_from.len()).min_by_key(|&i| self.heard_from[i].heard);
            stalest.map(|stalest| self.heard_from.remove(stalest));
        }
        let mut works = before.and_then(|from| from.works);
        if way == Way::Membership {
            works = Some(now);
            for other in &mut self.heard_from {
                other.works = other.works.filter(|last| now <= *last + WORKS_FOR);
            }
        }
        // Cannot fail: there is room now.
        let _ = self.heard_from.push(HeardFrom {
            address,
            heard: now,
            works,
        });
        self.heard_from
            .sort_unstable_by_key(|from| (from.works.is_none(), from.address));
    }

    fn change(&mut self, now: Duration, state: MemberState) -> Option<MemberEvent> {
        let before = std::mem::replace(&mut self.state, state);
        if before == state {
            return None;
        }
        self.since = now;
        let name = self.node_name();
        Some(match (before, state) {
            (MemberState::Suspect, MemberState::Alive) => MemberEvent::Alive(name),
            (_, MemberState::Alive) => MemberEvent::Joined(name),
            (_, MemberState::Suspect) => MemberEvent::Suspect(name),
            (_, MemberState::Left) => MemberEvent::Left(name),
            (_, MemberState::Lost | MemberState::Joined) => MemberEvent::Lost(name),
        })
    }

    /// When its last beacon was heard.
    #[must_use]
    pub fn beacon_heard(&self) -> Duration {
        self.beacon_heard
    }

    /// Its name and id.
    #[must_use]
    pub fn node_name(&self) -> NodeName {
        NodeName {
            id: self.id,
            name: self.name.clone(),
        }
    }

    /// Its membership identity.
    #[must_use]
    pub fn identity(&self) -> MemberIdentity {
        let address = self.addresses().first().copied();
        MemberIdentity {
            id: self.id,
            generation: self.generation,
            address,
        }
    }

    /// Where it can be reached: where it was heard from, then what it announced; without repetition.
    ///
    /// Addresses from which it asks and answers go first: those work both ways, and did so lately. A beacon comes through
    /// even between two nodes whose IPv4 addresses have no route to each other. Then IPv4 goes before
    /// IPv6, because people recognise it.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses: Vec<SocketAddr> = Vec::new();
        let heard = self.heard_from.iter().map(|from| from.address);
        let announced = self
            .announced
            .iter()
            .map(|ip| SocketAddr::new(ip.0, self.port));
        for address in heard.chain(announced) {
            if !addresses.iter().any(|known| same_place(known, &address)) {
                addresses.push(address);
            }
        }
        addresses
    }

    /// The addresses to send a datagram to: the first, or all while it is in doubt whether that works.
    #[must_use]
    pub fn datagram_addresses(&self) -> Vec<SocketAddr> {
        let mut addresses = self.addresses();
        if self.state == MemberState::Alive {
            addresses.truncate(1);
        }
        addresses.truncate(HEARD_ADDRESSES_MAX);
        addresses
    }

    /// What it can be called by.
    #[must_use]
    pub fn known(&self) -> Known {
        Known {
            number: self.number,
            name: self.name.clone(),
            id: self.id,
            addresses: self.addresses(),
        }
    }
}

fn same_place(one: &SocketAddr, other: &SocketAddr) -> bool {
    let link_local = |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    one.ip() == other.ip() && one.port() == other.port() && (!link_local(one.ip()) || one == other)
}

#[cfg(test)]
mod tests;
