//! The switch: where a frame goes. Learns addresses, floods what it does not know.
//!
//! Pure: it neither reads nor writes; [`crate::ports`] and [`crate::daemon`] do.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::faults::{Fate, Faults};

/// A port of the switch: the number of the node behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub u32);

/// Most hardware addresses that are remembered; beyond it the table starts anew, and frames are
/// flooded for a moment, as in a real switch.
const ADDRESSES_MAX: usize = 4096;

/// Length of an Ethernet header without tags: what is shorter is no frame.
const HEADER_BYTES: usize = 14;

type Address = [u8; 6];

/// One copy of a frame on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Where it leaves the switch.
    pub port: PortId,
    /// How long it is held back.
    pub delay: Duration,
}

/// What the switch has done so far, in frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Copies that were delivered or are still held back.
    pub delivered: u64,
    /// Copies that were lost by chance.
    pub lost: u64,
    /// Copies that did not pass because the pair is cut.
    pub cut: u64,
    /// Copies that were made by duplication.
    pub duplicated: u64,
}

/// A learning switch with faults.
#[derive(Debug)]
pub struct Switch {
    /// The faults in force.
    pub faults: Faults,
    ports: BTreeSet<PortId>,
    addresses: HashMap<Address, PortId>,
    counters: Counters,
}

impl Switch {
    /// A switch without ports.
    pub fn new(faults: Faults) -> Self {
        Self {
            faults,
            ports: BTreeSet::new(),
            addresses: HashMap::new(),
            counters: Counters::default(),
        }
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Adds a port.
    pub fn plug(&mut self, port: PortId) {
        self.ports.insert(port);
    }

    /// Removes a port and forgets what was behind it.
    pub fn unplug(&mut self, port: PortId) {
        self.ports.remove(&port);
        self.addresses.retain(|_, behind| *behind != port);
    }

    /// Decides where `frame`, which came in at `from`, goes; appends to `deliveries`.
    pub fn forward(&mut self, from: PortId, frame: &[u8], deliveries: &mut Vec<Delivery>) {
        let Some((destination, source)) = addresses_of(frame) else {
            return;
        };
        if !is_group(source) {
            if self.addresses.len() >= ADDRESSES_MAX && !self.addresses.contains_key(&source) {
                self.addresses.clear();
            }
            self.addresses.insert(source, from);
        }
        match self.addresses.get(&destination) {
            Some(&port) if port == from => {}
            Some(&port) => self.deliver(from, port, deliveries),
            None => {
                for port in self.ports.clone() {
                    if port != from {
                        self.deliver(from, port, deliveries);
                    }
                }
            }
        }
    }

    fn deliver(&mut self, from: PortId, port: PortId, deliveries: &mut Vec<Delivery>) {
        match self.faults.fate(from, port) {
            Fate::Cut => self.counters.cut += 1,
            Fate::Lost => self.counters.lost += 1,
            Fate::Arrives { delay, twice } => {
                self.counters.delivered += 1;
                deliveries.push(Delivery { port, delay });
                if twice {
                    self.counters.duplicated += 1;
                    deliveries.push(Delivery { port, delay });
                }
            }
        }
    }
}

fn addresses_of(frame: &[u8]) -> Option<(Address, Address)> {
    if frame.len() < HEADER_BYTES {
        return None;
    }
    Some((frame[0..6].try_into().ok()?, frame[6..12].try_into().ok()?))
}

/// Multicast or broadcast: the lowest bit of the first byte (IEEE 802.3, clause 3.2.3).
fn is_group(address: Address) -> bool {
    address[0] & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(destination: Address, source: Address) -> Vec<u8> {
        [&destination[..], &source[..], &[0x86, 0xdd, 1, 2, 3]].concat()
    }

    fn host(number: u8) -> Address {
        [2, 0, 0, 0, 0, number]
    }

    fn switch_of(ports: u32) -> Switch {
        let mut switch = Switch::new(Faults::none(1));
        (1..=ports).for_each(|port| switch.plug(PortId(port)));
        switch
    }

    fn ports_reached(switch: &mut Switch, from: u32, frame: &[u8]) -> Vec<u32> {
        let mut deliveries = Vec::new();
        switch.forward(PortId(from), frame, &mut deliveries);
        deliveries.iter().map(|delivery| delivery.port.0).collect()
    }

    #[test]
    fn an_unknown_address_is_flooded_and_a_learned_one_is_not() {
        let mut switch = switch_of(3);
        assert_eq!(
            ports_reached(&mut switch, 1, &frame(host(2), host(1))),
            [2, 3]
        );
        assert_eq!(ports_reached(&mut switch, 2, &frame(host(1), host(2))), [1]);
        assert_eq!(ports_reached(&mut switch, 1, &frame(host(2), host(1))), [2]);
    }

    #[test]
    fn multicast_reaches_everybody_but_the_sender() {
        let mut switch = switch_of(3);
        let all_nodes = [0x33, 0x33, 0, 0, 0, 1];
        assert_eq!(
            ports_reached(&mut switch, 2, &frame(all_nodes, host(2))),
            [1, 3]
        );
        assert_eq!(
            ports_reached(&mut switch, 2, &frame(all_nodes, host(2))),
            [1, 3]
        );
    }

    #[test]
    fn a_host_that_moves_is_found_at_its_new_port() {
        let mut switch = switch_of(3);
        ports_reached(&mut switch, 1, &frame(host(9), host(7)));
        ports_reached(&mut switch, 3, &frame(host(9), host(7)));
        assert_eq!(ports_reached(&mut switch, 2, &frame(host(7), host(2))), [3]);
    }

    #[test]
    fn an_unplugged_port_gets_nothing_and_is_forgotten() {
        let mut switch = switch_of(3);
        ports_reached(&mut switch, 3, &frame(host(9), host(3)));
        switch.unplug(PortId(3));
        assert_eq!(ports_reached(&mut switch, 1, &frame(host(3), host(1))), [2]);
    }

    #[test]
    fn a_fragment_of_a_frame_goes_nowhere() {
        let mut switch = switch_of(2);
        assert!(ports_reached(&mut switch, 1, &[0xff; 13]).is_empty());
        assert!(ports_reached(&mut switch, 1, &[]).is_empty());
    }

    #[test]
    fn the_table_of_addresses_is_bounded() {
        let mut switch = switch_of(2);
        for number in 0..(ADDRESSES_MAX as u32 * 2) {
            let [a, b, c, d] = number.to_be_bytes();
            ports_reached(&mut switch, 1, &frame(host(9), [2, 0, a, b, c, d]));
        }
        assert!(switch.addresses.len() <= ADDRESSES_MAX);
    }

    #[test]
    fn cut_and_lost_frames_are_counted() {
        let mut switch = switch_of(3);
        switch.faults.cut(PortId(1), PortId(2));
        assert_eq!(
            ports_reached(&mut switch, 1, &frame([0xff; 6], host(1))),
            [3]
        );
        switch.faults.set_loss_percent(100.0).unwrap();
        assert!(ports_reached(&mut switch, 1, &frame([0xff; 6], host(1))).is_empty());
        let expected = Counters {
            delivered: 1,
            lost: 1,
            cut: 2,
            duplicated: 0,
        };
        assert_eq!(switch.counters(), expected);
    }
}
