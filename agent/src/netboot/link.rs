//! One link that is served: its sockets, each bound to the interface.
//!
//! Bound to the device, they receive what comes in there and nothing else, and may send to the broadcast
//! address where the routing table knows no way (SO_BINDTODEVICE, socket(7)).

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use socket2::{Domain, Protocol, Socket, Type};

use super::leases::{Leases, PREFIX_BITS};

const DHCP_PORT: u16 = 67;
const BOOT_PORT: u16 = 4011;
const TFTP_PORT: u16 = 69;
/// Beside the agent's own port: 80 is often taken.
pub const HTTP_PORT: u16 = 4461;

/// HTTP connections that wait to be accepted.
const BACKLOG: i32 = 32;

// linux/netlink.h, linux/rtnetlink.h, linux/if_addr.h.
const RTM_NEWADDR: u16 = 20;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const AF_INET: u8 = 2;

/// A link and its sockets.
#[derive(Debug)]
pub struct Link {
    /// The interface's name.
    pub interface: String,
    /// This node's address there.
    pub address: Ipv4Addr,
    /// Addresses to give, where this is the link's DHCP server.
    pub leases: Option<Leases>,
    /// DHCP's own port.
    pub dhcp: UdpSocket,
    /// The port of boot servers.
    pub boot: UdpSocket,
    /// Where transfers are asked for.
    pub tftp: UdpSocket,
    /// Where files are served by HTTP.
    pub http: TcpListener,
}

impl Link {
    /// Opens the sockets on an interface that has this address.
    ///
    /// # Errors
    /// When one cannot be had; [`io::ErrorKind::AddrInUse`] if another boot server runs.
    pub fn open(interface: &str, address: Ipv4Addr, leases: Option<Leases>) -> io::Result<Link> {
        let everybody = Ipv4Addr::UNSPECIFIED;
        let http = socket(interface, Type::STREAM)?;
        // A server that is started anew must not wait for the old one's connections to be forgotten.
        http.set_reuse_address(true)?;
        http.bind(&SocketAddrV4::new(everybody, HTTP_PORT).into())?;
        http.listen(BACKLOG)?;
        Ok(Link {
            interface: interface.to_owned(),
            address,
            leases,
            dhcp: datagrams(interface, SocketAddrV4::new(everybody, DHCP_PORT))?,
            boot: datagrams(interface, SocketAddrV4::new(everybody, BOOT_PORT))?,
            tftp: datagrams(interface, SocketAddrV4::new(address, TFTP_PORT))?,
            http: http.into(),
        })
    }

    /// A socket of its own for a transfer to `client`.
    ///
    /// # Errors
    /// When there is none to be had.
    pub fn transfer_socket(&self, client: SocketAddrV4) -> io::Result<UdpSocket> {
        let socket = datagrams(&self.interface, SocketAddrV4::new(self.address, 0))?;
        socket.connect(client)?;
        Ok(socket)
    }
}

fn socket(interface: &str, kind: Type) -> io::Result<Socket> {
    let protocol = if kind == Type::STREAM {
        Protocol::TCP
    } else {
        Protocol::UDP
    };
    let socket = Socket::new(Domain::IPV4, kind, Some(protocol))?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn datagrams(interface: &str, address: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = socket(interface, Type::DGRAM)?;
    socket.set_broadcast(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Gives an interface, by its index, an address of the leases' subnet.
///
/// # Errors
/// What the kernel says.
pub fn add_address(index: u32, address: Ipv4Addr) -> io::Result<()> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // NETLINK_ROUTE is protocol 0.
        None,
    )?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    rustix::net::send(
        &socket,
        &address_request(index, address),
        SendFlags::empty(),
    )?;
    let mut answer = [0; 64];
    let (_, length) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::empty())?;
    // struct nlmsghdr, then struct nlmsgerr, which begins with the negative error.
    let (kind, error) = (
        u16::from_ne_bytes([answer[4], answer[5]]),
        i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]),
    );
    match error {
        _ if length < 20 || kind != NLMSG_ERROR => Err(io::ErrorKind::InvalidData.into()),
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

/// struct nlmsghdr, struct ifaddrmsg and two attributes.
fn address_request(index: u32, address: Ipv4Addr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(40);
    bytes.extend(40_u32.to_ne_bytes());
    bytes.extend(RTM_NEWADDR.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([AF_INET, PREFIX_BITS, 0, 0]);
    bytes.extend(index.to_ne_bytes());
    for kind in [IFA_LOCAL, IFA_ADDRESS] {
        bytes.extend(8_u16.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(address.octets());
    }
    bytes
}
