//! Everything a node knows of the others, and what it tells them: beacons, SWIM, roster and numbers put
//! together.
//!
//! Pure: datagrams, interfaces and time go in; datagrams and events come out. [`super::cluster`] is the
//! glue that connects it to sockets and clocks, and the tests connect many of these to each other. What
//! it says, and how, is in `speak`.
//!
//! What happens to a datagram:
//!
//! 1. out of its envelope: garbage and forgeries are counted, other clusters and protocols are refused
//!    in words, and answered once so that the other side can say it too;
//! 2. repeated ones are dropped;
//! 3. a beacon goes to the roster; if SWIM does not have its sender, we announce ourselves to it;
//! 4. a membership message goes to SWIM, whose changes go to the roster;
//! 5. a load message goes to the gossip.

use std::net::{SocketAddr, SocketAddrV6};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::balance::brain::Neighbour;
use crate::balance::gossip::Gossip;
use crate::balance::vector::LoadVector;
use crate::discovery::beacon::Beacon;
use crate::discovery::interfaces::{Usable, Version};
use crate::discovery::refusals::Refusals;
use crate::discovery::schedule::{self, Schedule};
use crate::limits::{MEMBER_EVENTS_MAX, MEMBERS_MAX, NODE_ADDRESSES_MAX};
use crate::load::ShortLoad;
use crate::membership::MemberState;
use crate::membership::codec::MemberIdentity;
use crate::membership::numbers::{self, Claim};
use crate::membership::roster::{Heard, MemberEvent, Origin, Roster};
use crate::membership::swim::{Standing, Swim};
use crate::secure::datagram::{DatagramError, DatagramKeys, Kind, Opened, ReplayGuard};
use crate::secure::identity::NodeIdentity;
use crate::secure::key::ClusterKey;
use crate::wire::cbor;
use crate::wire::hello::Mismatch;
use crate::wire::supervisor::NodeId;

/// How long a node whose name has no number listens before it chooses one.
const NUMBER_CHOSEN_AFTER: Duration = Duration::from_millis(400);

/// How often tables are looked through.
const HOUSEKEEPING_PERIOD: Duration = Duration::from_secs(1);

/// Version of this agent.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a node is told at its start.
pub struct Setup {
    /// The cluster key.
    pub key: ClusterKey,
    /// This node's identity.
    pub identity: NodeIdentity,
    /// Its name.
    pub name: String,
    /// Its port.
    pub port: u16,
    /// Nodes to ask by unicast.
    pub seeds: Vec<SocketAddr>,
    /// Seed of its random numbers.
    pub random_seed: u64,
}

/// Where a datagram goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// To the group of this version on this interface.
    Group(Usable, Version),
    /// To one address.
    Address(SocketAddr),
}

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Where.
    pub to: To,
    /// What.
    pub bytes: Vec<u8>,
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Beacons sent, each interface and seed counted.
    pub beacons_sent: u64,
    /// Beacons heard of our own cluster.
    pub beacons_heard: u64,
    /// Datagrams that were no sound beacon or membership message.
    pub datagrams_bad: u64,
    /// Datagrams of other clusters or in other protocol versions.
    pub datagrams_foreign: u64,
    /// Datagrams that repeated an older one.
    pub datagrams_repeated: u64,
    /// Membership messages sent.
    pub membership_sent: u64,
    /// Membership messages received.
    pub membership_received: u64,
    /// Connections accepted that did not complete their handshake.
    pub handshakes_failed: u64,
    /// Connections that this node refused in words.
    pub connections_refused: u64,
    /// Load messages sent.
    pub loads_sent: u64,
    /// Load messages received.
    pub loads_received: u64,
    /// Events about members that nobody took in time.
    pub events_lost: u64,
}

/// This node's view of the others. All times are since an arbitrary start and never go back.
pub struct Peers {
    setup: Setup,
    keys: DatagramKeys,
    sequence: u64,
    guard: ReplayGuard,
    roster: Roster,
    swim: Swim,
    gossip: Gossip,
    /// Homes of the guests here, which hear of this node's load in turn.
    homes: Vec<NodeId>,
    schedule: Schedule,
    started: Duration,
    housekeeping_at: Duration,
    interfaces: Vec<Usable>,
    load: ShortLoad,
    number: u16,
    generation: u64,
    refusals: Refusals,
    random: SmallRng,
    outgoing: Vec<Datagram>,
    events: Vec<MemberEvent>,
    /// What was counted; the glue counts connections here too.
    pub counters: Counters,
}

impl Peers {
    /// A node that knows nobody; its first beacon is due at once.
    #[must_use]
    pub fn new(now: Duration, setup: Setup, load: ShortLoad) -> Peers {
        let generation = setup.identity.epoch();
        let identity = MemberIdentity {
            id: setup.identity.id(),
            generation,
            address: None,
        };
        Peers {
            keys: DatagramKeys::new(&setup.key),
            sequence: 0,
            guard: ReplayGuard::default(),
            roster: Roster::default(),
            swim: Swim::new(identity, setup.random_seed),
            gossip: Gossip::new(now, identity.id, vector(&load), setup.random_seed),
            homes: Vec::new(),
            schedule: Schedule::new(now),
            started: now,
            housekeeping_at: now,
            interfaces: Vec::new(),
            load,
            number: numbers::named_number(&setup.name).unwrap_or(0),
            generation,
            refusals: Refusals::default(),
            random: SmallRng::seed_from_u64(setup.random_seed),
            outgoing: Vec::new(),
            events: Vec::new(),
            counters: Counters::default(),
            setup,
        }
    }

    /// The other nodes.
    #[must_use]
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The number that this node goes by; 0 as long as it has none.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// This node's load as it tells it.
    #[must_use]
    pub fn load(&self) -> ShortLoad {
        self.load
    }

    /// This node's own addresses, the most useful to others first; link-local ones, which mean something
    /// on their link only, last.
    #[must_use]
    pub fn own_addresses(&self) -> Vec<SocketAddr> {
        let port = self.setup.port;
        let link_local = self.interfaces.iter().flat_map(|interface| {
            let ips = interface
                .ipv6
                .iter()
                .filter(|ip| ip.is_unicast_link_local());
            ips.map(|ip| SocketAddrV6::new(*ip, port, 0, interface.index).into())
        });
        let routable = self.own_ips().map(|ip| SocketAddr::new(ip, port));
        routable
            .chain(link_local)
            .take(NODE_ADDRESSES_MAX)
            .collect()
    }

    /// Whom this node has refused and why, oldest first.
    #[must_use]
    pub fn refusals(&self) -> Vec<String> {
        self.refusals.lines()
    }

    /// Notes and logs a refusal of `subject`, unless it is known.
    pub fn refuse(&mut self, now: Duration, subject: &str, line: &str) -> bool {
        self.refusals.note(now, subject, line)
    }

    /// The datagrams to send since the last call.
    pub fn take_outgoing(&mut self) -> Vec<Datagram> {
        std::mem::take(&mut self.outgoing)
    }

    /// What happened to members since the last call.
    pub fn take_events(&mut self) -> Vec<MemberEvent> {
        std::mem::take(&mut self.events)
    }

    /// This node's load has been measured.
    pub fn set_load(&mut self, load: ShortLoad) {
        self.load = load;
    }

    /// What this node tells of its load, whether it does, which nodes host its processes, and whose guests are here.
    pub fn set_vector(
        &mut self,
        now: Duration,
        vector: LoadVector,
        quiet: bool,
        hosts: impl Iterator<Item = NodeId>,
        homes: Vec<NodeId>,
    ) {
        self.gossip.set_own(now, vector);
        self.gossip.set_quiet(quiet);
        self.gossip.set_hosts(hosts);
        self.homes = homes;
    }

    /// A process of this home was turned away here.
    pub fn turn_away(&mut self, now: Duration, home: NodeId) {
        self.gossip.turn_away(now, home);
    }

    /// Another node has said of itself, over a connection, that this is its load now.
    pub fn hear_load(&mut self, now: Duration, node: NodeId, vector: LoadVector) {
        self.gossip.hear(now, node, vector);
    }

    /// The loads of the other nodes that are there, as far as they are known and not too old.
    #[must_use]
    pub fn vectors(&self, now: Duration) -> Vec<Neighbour> {
        let known = self.gossip.view(now);
        let is_there = |node| {
            self.roster
                .get(node)
                .is_some_and(|node| node.state == MemberState::Alive)
        };
        known
            .filter(|known| is_there(known.node))
            .map(|known| Neighbour {
                node: known.node,
                vector: known.vector,
                age: known.age(now),
            })
            .collect()
    }

    /// The usable interfaces.
    #[must_use]
    pub fn interfaces(&self) -> &[Usable] {
        &self.interfaces
    }

    /// The usable interfaces or their addresses have changed.
    pub fn set_interfaces(&mut self, now: Duration, interfaces: Vec<Usable>) {
        self.interfaces = interfaces;
        let address = self
            .own_ips()
            .next()
            .map(|ip| SocketAddr::new(ip, self.setup.port));
        self.swim.set_own_address(address);
        self.schedule.hurry(now);
    }

    /// When [`Peers::tick`] has something to do next.
    #[must_use]
    pub fn next_due(&self) -> Duration {
        let due = self.schedule.next().min(self.housekeeping_at);
        let due = self.gossip.next_due().map_or(due, |gossip| gossip.min(due));
        self.swim.next_due().map_or(due, |swim| swim.min(due))
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Duration) {
        self.swim.tick(now);
        self.after_swim(now);
        if self.housekeeping_at <= now {
            self.housekeeping_at = now + HOUSEKEEPING_PERIOD;
            self.roster.forget(now);
            self.ask_for_beacons(now);
        }
        self.settle_number(now);
        if self.schedule.next() <= now {
            self.send_beacons(now);
        }
        if self.gossip.next_due().is_some_and(|due| due <= now) {
            self.send_loads(now);
        }
    }

    /// Tells everybody that this node goes.
    pub fn leave(&mut self, now: Duration) {
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for node in self.roster.nodes().filter(|node| node.state.is_present()) {
            addresses.extend(node.addresses().first());
        }
        let goes = Beacon {
            leaving: true,
            ..self.beacon(false)
        };
        self.send_to_groups(&goes);
        for address in addresses {
            self.send_beacon(&goes, To::Address(address));
        }
        self.swim.leave(now);
        self.send_membership();
    }

    /// Takes a datagram that came from `address`.
    pub fn receive(&mut self, now: Duration, datagram: &[u8], address: SocketAddr) {
        match self.keys.open(datagram) {
            Ok(opened) => self.receive_opened(now, &opened, address),
            Err(error) => self.receive_refused(now, error, address),
        }
    }

    fn receive_opened(&mut self, now: Duration, opened: &Opened<'_>, address: SocketAddr) {
        if opened.sender == self.setup.identity.id() {
            if opened.epoch != self.setup.identity.epoch() {
                let line = format!(
                    "the node at {address} has this node's own identity: was its run directory copied?"
                );
                self.refuse(now, "own identity", &line);
            }
            return;
        }
        if !self.guard.admit(opened) {
            self.counters.datagrams_repeated += 1;
            return;
        }
        let sound = match opened.kind {
            Kind::Beacon => self.receive_beacon(now, opened, address),
            Kind::Membership => self.receive_membership(now, opened, address),
            Kind::Loads => self.receive_loads(now, opened, address),
        };
        if sound.is_none() {
            self.counters.datagrams_bad += 1;
        }
    }

    fn receive_beacon(
        &mut self,
        now: Duration,
        opened: &Opened<'_>,
        address: SocketAddr,
    ) -> Option<()> {
        let beacon = Beacon::decode(opened.payload, opened.sender).ok()?;
        self.counters.beacons_heard += 1;
        let Opened {
            sender,
            epoch,
            sequence,
            ..
        } = *opened;
        let origin = Origin {
            sender,
            epoch,
            sequence,
            address,
        };
        let heard = self.roster.hear_beacon(now, origin, &beacon);
        match heard {
            Heard::Old => {}
            Heard::Full => {
                let line = format!(
                    "no room for node {} at {address}: this node keeps track of {} nodes at most",
                    beacon.name, MEMBERS_MAX
                );
                self.refuse(now, &beacon.name, &line);
                return Some(());
            }
            Heard::Leaving => {
                let left = MemberIdentity {
                    id: sender,
                    generation: beacon.generation,
                    address: None,
                };
                self.swim.note_left(now, left);
                self.events.extend(self.roster.set_left(now, sender));
                self.after_swim(now);
            }
            Heard::New | Heard::NewAddress | Heard::Known => {
                self.meet(now, sender);
                self.settle_number(now);
            }
        }
        let random = self.random.random();
        // At each of its addresses: an answer may have no way back to the first one.
        let greet = matches!(heard, Heard::New | Heard::NewAddress)
            && schedule::answers(self.roster.present(), random);
        if beacon.answer_wanted || greet {
            self.send_beacon(&self.beacon(false), To::Address(address));
        }
        Some(())
    }

    /// Makes sure that a node whose beacon was heard is a member for SWIM too.
    fn meet(&mut self, now: Duration, sender: NodeId) {
        let Some(node) = self.roster.get(sender) else {
            return;
        };
        let identity = node.identity();
        match self.swim.standing(sender) {
            Some((known, standing))
                if standing != Standing::Down && known.generation >= identity.generation =>
            {
                self.events
                    .extend(self.roster.set_standing(now, known, standing));
            }
            _ => self.swim.announce(now, identity),
        }
        self.after_swim(now);
    }

    fn receive_membership(
        &mut self,
        now: Duration,
        opened: &Opened<'_>,
        address: SocketAddr,
    ) -> Option<()> {
        let (&length, rest) = opened.payload.split_first()?;
        let (load, message) = rest.split_at_checked(usize::from(length))?;
        let load = cbor::decode(load).ok()?;
        self.counters.membership_received += 1;
        self.roster.hear(now, opened.sender, address, load);
        if self.roster.get(opened.sender).is_none() {
            self.ask(Some(address));
        }
        let result = self.swim.receive(now, message);
        self.after_swim(now);
        match result {
            Ok(()) => Some(()),
            Err(error) => {
                log::debug!("membership message from {address}: {error}");
                None
            }
        }
    }

    fn receive_loads(
        &mut self,
        now: Duration,
        opened: &Opened<'_>,
        address: SocketAddr,
    ) -> Option<()> {
        self.counters.loads_received += 1;
        let result = self.gossip.receive(now, opened.sender, opened.payload);
        result
            .inspect_err(|error| log::debug!("{error} from {address}"))
            .ok()
    }

    /// Nothing in such a datagram is authentic: all it gets is a line for a person, and, once, our own
    /// beacon in return, so that the other side can say it too.
    fn receive_refused(&mut self, now: Duration, error: DatagramError<'_>, address: SocketAddr) {
        let (subject, line) = match error {
            DatagramError::Garbage | DatagramError::Forged => {
                self.counters.datagrams_bad += 1;
                return;
            }
            DatagramError::OtherCluster { cluster, beacon } => {
                self.counters.datagrams_foreign += 1;
                let Some(beacon) = beacon else { return };
                let Some(name) = Beacon::foreign_name(beacon) else {
                    return;
                };
                let line = format!(
                    "node {name} at {address} belongs to another cluster, {cluster} (wrong key?)"
                );
                (format!("{name} {cluster}"), line)
            }
            DatagramError::Protocol(theirs) => {
                self.counters.datagrams_foreign += 1;
                let why = Mismatch::Protocol(theirs);
                (
                    address.ip().to_string(),
                    format!("the node at {address} is refused: {why}"),
                )
            }
        };
        if self.refuse(now, &subject, &line) {
            self.send_beacon(&self.beacon(false), To::Address(address));
        }
    }

    /// Carries what SWIM found out to the roster, and what it wants to say to the others.
    fn after_swim(&mut self, now: Duration) {
        for change in self.swim.take_changes() {
            if change.standing == Standing::Down {
                self.gossip.forget(change.identity.id);
            }
            let event = self
                .roster
                .set_standing(now, change.identity, change.standing);
            self.events.extend(event);
            if change.standing == Standing::Alive && self.roster.get(change.identity.id).is_none() {
                self.ask(change.identity.address);
            }
        }
        if self.events.len() > MEMBER_EVENTS_MAX {
            self.counters.events_lost += (self.events.len() - MEMBER_EVENTS_MAX) as u64;
            self.events.truncate(MEMBER_EVENTS_MAX);
        }
        if self.swim.generation() != self.generation {
            self.generation = self.swim.generation();
            self.schedule.hurry(now);
        }
        self.send_membership();
    }

    fn settle_number(&mut self, now: Duration) {
        if self.number == 0 && now < self.started + NUMBER_CHOSEN_AFTER {
            return;
        }
        let this = Claim {
            number: self.number,
            name: &self.setup.name,
            epoch: self.setup.identity.epoch(),
            id: self.setup.identity.id(),
        };
        let number = numbers::choose(&this, &self.roster.claims());
        if number != self.number {
            self.number = number;
            self.schedule.hurry(now);
        }
    }
}

/// What is known of a node's load before it has looked at its processes.
pub(super) fn vector(load: &ShortLoad) -> LoadVector {
    let mib = |kib: u64| u32::try_from(kib >> 10).unwrap_or(u32::MAX);
    LoadVector {
        // Never absurd, whatever could not be measured.
        cpus: load.cpus.max(1),
        speed: load.speed.max(1),
        load_centi: load.load_centi,
        memory_mib: mib(load.memory_total_kib).max(1),
        free_mib: mib(load.memory_free_kib),
        ..LoadVector::default()
    }
}

mod speak;

#[cfg(test)]
mod tests;
