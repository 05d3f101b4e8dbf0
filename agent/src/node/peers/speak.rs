//! What a node says: its beacons, membership messages and loads, in their envelopes.

use std::io::Cursor;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand::RngExt;

use super::{Datagram, Peers, To, VERSION};
use crate::discovery::beacon::Beacon;
use crate::discovery::schedule;
use crate::limits::{BEACON_BYTES_MAX, LOAD_BYTES_MAX, NODE_ADDRESSES_MAX};
use crate::membership::roster::Node;
use crate::secure::datagram::{Kind, OVERHEAD_BYTES};
use crate::wire::bytes::{AddressBytes, ByteArray};

/// Most nodes asked for their beacon at a time.
const ASKED_MAX: usize = 4;

impl Peers {
    pub(super) fn send_membership(&mut self) {
        let mut head = [0; LOAD_BYTES_MAX];
        let mut cursor = Cursor::new(&mut head[1..]);
        if ciborium::into_writer(&self.load, &mut cursor).is_err() {
            return;
        }
        let length = cursor.position() as usize;
        head[0] = length as u8;
        for outgoing in self.swim.take_outgoing() {
            let addresses = match self.roster.get(outgoing.to.id) {
                Some(node) => node.datagram_addresses(),
                None => outgoing.to.address.into_iter().collect(),
            };
            let payload = [&head[..=length], &outgoing.message].concat();
            for address in addresses {
                self.counters.membership_sent += 1;
                self.send(Kind::Membership, &payload, To::Address(address));
            }
        }
    }

    /// To whom the gossip wants it sent, else to a random member.
    pub(super) fn send_loads(&mut self, now: Duration) {
        let message = self.gossip.compose(now);
        let wanted = self.gossip.receiver(now, &mut self.homes);
        let to = match wanted {
            Some(home) => self.roster.get(home),
            None => {
                let present = |node: &&Node| node.state.is_present();
                let count = self.roster.nodes().filter(present).count();
                let chosen = self.gossip.choose(count);
                self.roster.nodes().filter(present).nth(chosen)
            }
        };
        let Some(address) = to.and_then(|node| node.datagram_addresses().first().copied()) else {
            return;
        };
        self.counters.loads_sent += 1;
        self.send(Kind::Loads, &message, To::Address(address));
    }

    pub(super) fn send_beacons(&mut self, now: Duration) {
        self.send_to_groups(&self.beacon(false));
        for seed in self.setup.seeds.clone() {
            let there = |node: &Node| node.state.is_present() && node.addresses().contains(&seed);
            let met = self.roster.nodes().any(there);
            self.send_beacon(&self.beacon(!met), To::Address(seed));
        }
        let random = self.random.random();
        self.schedule.sent(now, self.roster.present() + 1, random);
    }

    pub(super) fn send_to_groups(&mut self, beacon: &Beacon) {
        for interface in self.interfaces.clone() {
            for version in interface.versions() {
                self.send_beacon(beacon, To::Group(interface.clone(), version));
            }
        }
    }

    /// Asks for the beacons of members that no beacon tells of: met through others, on other links.
    pub(super) fn ask_for_beacons(&mut self, now: Duration) {
        let silence = schedule::steady_interval(self.roster.present() + 1) * 3;
        let silent = self
            .swim
            .present()
            .filter_map(|member| match self.roster.get(member.id) {
                None => member.address,
                Some(node) if node.beacon_heard() + silence < now => {
                    node.addresses().first().copied()
                }
                Some(_) => None,
            });
        let silent: Vec<SocketAddr> = silent.take(ASKED_MAX).collect();
        for address in silent {
            self.ask(Some(address));
        }
    }

    pub(super) fn ask(&mut self, address: Option<SocketAddr>) {
        if let Some(address) = address {
            self.send_beacon(&self.beacon(true), To::Address(address));
        }
    }

    pub(super) fn beacon(&self, answer_wanted: bool) -> Beacon {
        Beacon {
            // Cannot fall back: both were checked against these limits at the start.
            name: self.setup.name.as_str().try_into().unwrap_or_default(),
            version: VERSION.try_into().unwrap_or_default(),
            public_key: ByteArray(*self.setup.identity.public_key()),
            generation: self.swim.generation(),
            port: self.setup.port,
            addresses: self.own_ips().map(AddressBytes).collect(),
            number: self.number,
            answer_wanted,
            leaving: false,
            load: self.load,
        }
    }

    /// IPv4 first, which people recognise; link-local ones mean nothing to others.
    pub(super) fn own_ips(&self) -> impl Iterator<Item = IpAddr> {
        let ipv4 = self
            .interfaces
            .iter()
            .flat_map(|i| i.ipv4.iter().copied())
            .map(IpAddr::from);
        let ipv6 = self
            .interfaces
            .iter()
            .flat_map(|interface| interface.ipv6.iter().copied());
        let ipv6 = ipv6
            .filter(|ip| !ip.is_unicast_link_local())
            .map(IpAddr::from);
        ipv4.chain(ipv6).take(NODE_ADDRESSES_MAX)
    }

    pub(super) fn send_beacon(&mut self, beacon: &Beacon, to: To) {
        match beacon.encode() {
            Ok(payload) => {
                self.counters.beacons_sent += 1;
                self.send(Kind::Beacon, &payload, to);
            }
            Err(_) => log::error!("this node's beacon does not fit {BEACON_BYTES_MAX} bytes"),
        }
    }

    pub(super) fn send(&mut self, kind: Kind, payload: &[u8], to: To) {
        self.sequence += 1;
        let mut bytes = Vec::with_capacity(payload.len() + OVERHEAD_BYTES);
        let identity = &self.setup.identity;
        self.keys.seal(
            kind,
            identity.id(),
            identity.epoch(),
            self.sequence,
            payload,
            &mut bytes,
        );
        self.outgoing.push(Datagram { to, bytes });
    }
}
