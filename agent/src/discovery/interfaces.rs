//! What the kernel tells of the network interfaces: rtnetlink(7) messages, parsed.
//!
//! Pure: bytes of the socket in, a table out. The same messages come as answer to a dump and, later, as
//! notices of every change, so the table follows interfaces that come, go and get addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::limits::{INTERFACE_ADDRESSES_MAX, INTERFACES_MAX};

// From linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h and linux/if.h.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const IFLA_IFNAME: u16 = 3;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;
const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
const IFF_RUNNING: u32 = 0x40;
const IFF_MULTICAST: u32 = 0x1000;
const AF_UNSPEC: u8 = 0;

const HEADER_BYTES: usize = 16;
const LINK_BYTES: usize = 16;
const ADDRESS_BYTES: usize = 8;

/// Multicast groups of the notices: links, IPv4 addresses, IPv6 addresses (RTMGRP_*).
pub const NOTICE_GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// What to ask the kernel for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dump {
    /// All interfaces.
    Links,
    /// All their addresses.
    Addresses,
}

/// The request for a dump.
#[must_use]
pub fn request(dump: Dump) -> [u8; HEADER_BYTES + LINK_BYTES] {
    let kind = match dump {
        Dump::Links => RTM_GETLINK,
        Dump::Addresses => RTM_GETADDR,
    };
    let mut bytes = [0; HEADER_BYTES + LINK_BYTES];
    bytes[..4].copy_from_slice(&((HEADER_BYTES + LINK_BYTES) as u32).to_ne_bytes());
    bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
    bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes[HEADER_BYTES] = AF_UNSPEC;
    bytes
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Interface {
    name: String,
    flags: u32,
    addresses: Vec<IpAddr>,
}

/// A version of the Internet protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Version 4.
    Ipv4,
    /// Version 6.
    Ipv6,
}

/// An interface on which beacons go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Usable {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its IPv4 addresses.
    pub ipv4: Vec<Ipv4Addr>,
    /// Its IPv6 addresses; those whose uniqueness is still being checked do not count.
    pub ipv6: Vec<Ipv6Addr>,
}

impl Usable {
    /// The IP versions in which something can be sent there: those it has an address of.
    pub fn versions(&self) -> impl Iterator<Item = Version> {
        let ipv4 = (!self.ipv4.is_empty()).then_some(Version::Ipv4);
        let ipv6 = (!self.ipv6.is_empty()).then_some(Version::Ipv6);
        ipv4.into_iter().chain(ipv6)
    }
}

/// An interface as somebody wants to know it who looks for what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// It is the loopback.
    pub is_loopback: bool,
    /// It was set up.
    pub is_up: bool,
    /// Something is at the other end.
    pub has_carrier: bool,
    /// It does multicast.
    pub has_multicast: bool,
    /// It has an address that can be used.
    pub has_address: bool,
}

/// All interfaces, as far as the kernel has told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceTable {
    interfaces: BTreeMap<u32, Interface>,
}

/// What a read of the socket brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The dump is complete.
    pub done: bool,
    /// The kernel refused the request, or the bytes were not rtnetlink's.
    pub failed: bool,
}

impl InterfaceTable {
    /// Applies what one read of the socket brought.
    pub fn apply(&mut self, mut bytes: &[u8]) -> Applied {
        let mut applied = Applied::default();
        while let Some(header) = bytes.get(..HEADER_BYTES) {
            let length = u32_at(header, 0) as usize;
            let Some(body) = bytes.get(HEADER_BYTES..length) else {
                applied.failed = true;
                break;
            };
            match u16_at(header, 4) {
                NLMSG_DONE => applied.done = true,
                NLMSG_ERROR => applied.failed = true,
                RTM_NEWLINK => self.new_link(body),
                RTM_DELLINK => self.delete_link(body),
                RTM_NEWADDR => self.address(body, true),
                RTM_DELADDR => self.address(body, false),
                _ => {}
            }
            bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        applied
    }

    /// The interfaces that are up, have a carrier, can multicast and are not loopback; only those in
    /// `names` if it names any.
    #[must_use]
    pub fn usable(&self, names: &[String]) -> Vec<Usable> {
        let wanted = |interface: &Interface| {
            let flags = IFF_UP | IFF_RUNNING | IFF_MULTICAST;
            interface.flags & flags == flags
                && interface.flags & IFF_LOOPBACK == 0
                && (names.is_empty() || names.contains(&interface.name))
        };
        let interfaces = self
            .interfaces
            .iter()
            .filter(|(_, interface)| wanted(interface));
        let usable = interfaces.map(|(&index, interface)| {
            let addresses = interface.addresses.iter();
            Usable {
                index,
                name: interface.name.clone(),
                ipv4: addresses.clone().filter_map(ipv4).collect(),
                ipv6: addresses.filter_map(ipv6).collect(),
            }
        });
        usable.collect()
    }

    /// All interfaces, usable or not.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        let interfaces = self.interfaces.values();
        let seen = interfaces.map(|interface| Seen {
            name: interface.name.clone(),
            is_loopback: interface.flags & IFF_LOOPBACK != 0,
            is_up: interface.flags & IFF_UP != 0,
            has_carrier: interface.flags & IFF_RUNNING != 0,
            has_multicast: interface.flags & IFF_MULTICAST != 0,
            has_address: !interface.addresses.is_empty(),
        });
        seen.collect()
    }

    /// Whether an interface of this name exists, usable or not.
    #[must_use]
    pub fn exists(&self, name: &str) -> bool {
        self.interfaces
            .values()
            .any(|interface| interface.name == name)
    }

    fn new_link(&mut self, body: &[u8]) {
        let Some(link) = body.get(..LINK_BYTES) else {
            return;
        };
        let index = u32_at(link, 4);
        if self.interfaces.len() >= INTERFACES_MAX && !self.interfaces.contains_key(&index) {
            return;
        }
        let name = attributes(&body[LINK_BYTES..]).find(|(kind, _)| *kind == IFLA_IFNAME);
        let interface = self.interfaces.entry(index).or_default();
        interface.flags = u32_at(link, 8);
        if let Some((_, name)) = name {
            let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
            interface.name = String::from_utf8_lossy(name).into_owned();
        }
    }

    fn delete_link(&mut self, body: &[u8]) {
        if let Some(link) = body.get(..LINK_BYTES) {
            self.interfaces.remove(&u32_at(link, 4));
        }
    }

    fn address(&mut self, body: &[u8], present: bool) {
        let Some(fixed) = body.get(..ADDRESS_BYTES) else {
            return;
        };
        let Some(interface) = self.interfaces.get_mut(&u32_at(fixed, 4)) else {
            return;
        };
        let mut flags = u32::from(fixed[2]);
        let (mut local, mut address) = (None, None);
        for (kind, value) in attributes(&body[ADDRESS_BYTES..]) {
            match kind {
                IFA_LOCAL => local = ip(value),
                IFA_ADDRESS => address = ip(value),
                IFA_FLAGS if value.len() == 4 => flags = u32_at(value, 0),
                _ => {}
            }
        }
        // On point-to-point links IFA_ADDRESS is the peer's, and IFA_LOCAL ours.
        let Some(address) = local.or(address) else {
            return;
        };
        interface.addresses.retain(|known| *known != address);
        let checked = flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED) == 0;
        if present && checked && interface.addresses.len() < INTERFACE_ADDRESSES_MAX {
            interface.addresses.push(address);
            interface.addresses.sort_unstable();
        }
    }
}

/// The attributes behind a message's fixed part; stops at the first odd one.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let header = bytes.get(..4)?;
        let length = usize::from(u16_at(header, 0));
        let value = bytes.get(4..length)?;
        let kind = u16_at(header, 2);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(octets).into());
    }
    <[u8; 16]>::try_from(bytes)
        .ok()
        .map(|octets| Ipv6Addr::from(octets).into())
}

fn ipv4(address: &IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    }
}

fn ipv6(address: &IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(*address),
    }
}

fn u16_at(bytes: &[u8], place: usize) -> u16 {
    u16::from_ne_bytes([bytes[place], bytes[place + 1]])
}

fn u32_at(bytes: &[u8], place: usize) -> u32 {
    u32::from_ne_bytes([
        bytes[place],
        bytes[place + 1],
        bytes[place + 2],
        bytes[place + 3],
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UP: u32 = IFF_UP | IFF_RUNNING | IFF_MULTICAST;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((HEADER_BYTES + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&[0; 10]);
        bytes.extend_from_slice(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn link(kind: u16, index: u32, name: &str, flags: u32) -> Vec<u8> {
        let mut body = vec![0; LINK_BYTES];
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        body[8..12].copy_from_slice(&flags.to_ne_bytes());
        body.extend(attribute(IFLA_IFNAME, format!("{name}\0").as_bytes()));
        message(kind, &body)
    }

    fn address(kind: u16, index: u32, address: &str, flags: u32) -> Vec<u8> {
        let mut body = vec![0; ADDRESS_BYTES];
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        match address.parse().unwrap() {
            IpAddr::V4(address) => body.extend(attribute(IFA_LOCAL, &address.octets())),
            IpAddr::V6(address) => body.extend(attribute(IFA_ADDRESS, &address.octets())),
        }
        body.extend(attribute(IFA_FLAGS, &flags.to_ne_bytes()));
        message(kind, &body)
    }

    #[test]
    fn only_interfaces_that_are_up_multicast_and_not_loopback_are_usable() {
        let mut table = InterfaceTable::default();
        let mut dump = link(RTM_NEWLINK, 1, "lo", UP | IFF_LOOPBACK);
        dump.extend(link(RTM_NEWLINK, 2, "eth0", UP));
        dump.extend(link(RTM_NEWLINK, 3, "eth1", IFF_UP | IFF_MULTICAST));
        dump.extend(message(NLMSG_DONE, &[0; 4]));
        assert!(table.apply(&dump).done);
        assert_eq!(table.usable(&[]).len(), 1);
        assert_eq!(table.usable(&[])[0].name, "eth0");
        assert!(table.usable(&["eth1".into()]).is_empty() && table.exists("eth1"));
    }

    #[test]
    fn an_ipv6_address_counts_once_its_uniqueness_is_checked() {
        let mut table = InterfaceTable::default();
        table.apply(&link(RTM_NEWLINK, 2, "eth0", UP));
        table.apply(&address(RTM_NEWADDR, 2, "fe80::1", IFA_F_TENTATIVE));
        assert!(table.usable(&[])[0].ipv6.is_empty());
        table.apply(&address(RTM_NEWADDR, 2, "fe80::1", 0));
        assert_eq!(
            table.usable(&[])[0].ipv6,
            ["fe80::1".parse::<Ipv6Addr>().unwrap()]
        );
    }

    #[test]
    fn addresses_and_interfaces_come_and_go() {
        let mut table = InterfaceTable::default();
        table.apply(&link(RTM_NEWLINK, 2, "eth0", UP));
        table.apply(&address(RTM_NEWADDR, 2, "10.0.0.1", 0));
        table.apply(&address(RTM_NEWADDR, 9, "10.0.0.9", 0));
        assert_eq!(table.usable(&[])[0].ipv4, [Ipv4Addr::new(10, 0, 0, 1)]);
        table.apply(&address(RTM_DELADDR, 2, "10.0.0.1", 0));
        assert!(table.usable(&[])[0].ipv4.is_empty());
        table.apply(&link(RTM_DELLINK, 2, "eth0", 0));
        assert_eq!(table, InterfaceTable::default());
    }

    #[test]
    fn the_tables_size_is_bounded() {
        let mut table = InterfaceTable::default();
        for index in 0..2 * INTERFACES_MAX as u32 {
            table.apply(&link(RTM_NEWLINK, index, "eth", UP));
        }
        for host in 0..2 * INTERFACE_ADDRESSES_MAX {
            table.apply(&address(RTM_NEWADDR, 0, &format!("10.0.0.{host}"), 0));
        }
        assert_eq!(table.interfaces.len(), INTERFACES_MAX);
        assert_eq!(table.usable(&[])[0].ipv4.len(), INTERFACE_ADDRESSES_MAX);
    }

    proptest! {
        #[test]
        fn random_bytes_and_truncated_messages_never_fail(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            cut in 0..100_usize,
        ) {
            let mut table = InterfaceTable::default();
            table.apply(&bytes);
            for kind in [RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR] {
                table.apply(&message(kind, &bytes));
            }
            let link = link(RTM_NEWLINK, 2, "eth0", UP);
            table.apply(&link[..cut.min(link.len())]);
        }
    }
}
