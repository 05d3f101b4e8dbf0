//! The datagram sockets: beacons by multicast on every usable interface, all else by unicast.
//!
//! One socket for each IP version, bound to the same port, so that a kernel without IPv6 (or an
//! interface without IPv4) loses nothing but that half. Each interface is named by its index when sending
//! and when joining a group, so no default route and no address configuration is needed: IPv6
//! link-local addresses make themselves. Hop limit 1: a beacon never crosses a router.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use smol::Async;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use super::interfaces::{Usable, Version};

/// Transient link-local group ("Limosa").
pub const GROUP_IPV6: Ipv6Addr = Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0x4c69, 0x6d6f, 0x7361);

/// Group of the locally scoped range ("Li").
pub const GROUP_IPV4: Ipv4Addr = Ipv4Addr::new(239, 255, 76, 105);

/// The sockets and the groups they have joined.
pub struct DatagramSockets {
    ipv4: Option<Async<UdpSocket>>,
    ipv6: Option<Async<UdpSocket>>,
    port: u16,
    joined: RefCell<BTreeSet<(u32, Version)>>,
}

impl DatagramSockets {
    /// Binds both sockets; it is enough if one IP version is there.
    pub fn open(port: u16) -> io::Result<DatagramSockets> {
        let (ipv4, ipv6) = (open(Version::Ipv4, port), open(Version::Ipv6, port));
        let (ipv4, ipv6) = match (ipv4, ipv6) {
            (Err(error), _) | (_, Err(error)) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(error);
            }
            (Err(_), Err(error)) => return Err(error),
            (ipv4, ipv6) => (ipv4.ok(), ipv6.ok()),
        };
        Ok(DatagramSockets {
            ipv4,
            ipv6,
            port,
            joined: RefCell::default(),
        })
    }

    /// The sockets to receive from.
    pub fn receivers(&self) -> impl Iterator<Item = &Async<UdpSocket>> {
        self.ipv4.iter().chain(&self.ipv6)
    }

    /// Joins the groups on these interfaces and forgets the others.
    pub fn follow(&self, interfaces: &[Usable]) {
        let mut joined = self.joined.borrow_mut();
        // The kernel drops the membership with the interface; an index that comes back is joined anew.
        joined.retain(|(index, _)| interfaces.iter().any(|interface| interface.index == *index));
        for interface in interfaces {
            for version in [Version::Ipv4, Version::Ipv6] {
                if joined.contains(&(interface.index, version)) {
                    continue;
                }
                match self.join(interface.index, version) {
                    Ok(()) => {
                        joined.insert((interface.index, version));
                    }
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                        joined.insert((interface.index, version));
                    }
                    Err(error) => {
                        log::debug!("{}: no {version:?} multicast: {error}", interface.name);
                    }
                }
            }
        }
    }

    fn join(&self, index: u32, version: Version) -> io::Result<()> {
        match version {
            Version::Ipv4 => self.ipv4.as_ref().map_or(Ok(()), |socket| {
                let index = InterfaceIndexOrAddress::Index(index);
                socket2::SockRef::from(socket).join_multicast_v4_n(&GROUP_IPV4, &index)
            }),
            Version::Ipv6 => self.ipv6.as_ref().map_or(Ok(()), |socket| {
                socket2::SockRef::from(socket).join_multicast_v6(&GROUP_IPV6, index)
            }),
        }
    }

    /// Sends to the group of one IP version on one interface; returns whether it went out.
    pub fn send_to_group(&self, interface: &Usable, version: Version, datagram: &[u8]) -> bool {
        match version {
            Version::Ipv4 => self.ipv4.as_ref().is_some_and(|socket| {
                let selected = rustix::net::sockopt::set_ip_multicast_if_with_ifindex(
                    socket,
                    &GROUP_IPV4,
                    &Ipv4Addr::UNSPECIFIED,
                    interface.index,
                );
                selected.is_ok() && send(socket, (GROUP_IPV4, self.port).into(), datagram)
            }),
            Version::Ipv6 => self.ipv6.as_ref().is_some_and(|socket| {
                let group = SocketAddrV6::new(GROUP_IPV6, self.port, 0, interface.index);
                send(socket, group.into(), datagram)
            }),
        }
    }

    /// Sends to one address; returns whether it went out.
    pub fn send_to(&self, address: SocketAddr, datagram: &[u8]) -> bool {
        let socket = if address.is_ipv4() {
            &self.ipv4
        } else {
            &self.ipv6
        };
        socket
            .as_ref()
            .is_some_and(|socket| send(socket, address, datagram))
    }
}

/// Without waiting: a datagram that finds the queue full is lost like any other, and the protocols
/// above live with that.
fn send(socket: &Async<UdpSocket>, address: SocketAddr, datagram: &[u8]) -> bool {
    match socket.get_ref().send_to(datagram, address) {
        Ok(_) => true,
        Err(error) => {
            log::trace!("datagram to {address}: {error}");
            false
        }
    }
}

fn open(version: Version, port: u16) -> io::Result<Async<UdpSocket>> {
    let domain = match version {
        Version::Ipv4 => Domain::IPV4,
        Version::Ipv6 => Domain::IPV6,
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    match version {
        Version::Ipv4 => {
            socket.set_multicast_ttl_v4(1)?;
            socket.set_multicast_loop_v4(false)?;
            socket.set_multicast_all_v4(false)?;
            socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
        }
        Version::Ipv6 => {
            socket.set_only_v6(true)?;
            socket.set_multicast_hops_v6(1)?;
            socket.set_multicast_loop_v6(false)?;
            socket.set_multicast_all_v6(false)?;
            socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
        }
    }
    Async::new(socket.into())
}
