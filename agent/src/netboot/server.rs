//! The boot server's one loop: sockets, transfers and connections, and what is due when.
//!
//! 1. Every few seconds: interfaces that came are served, those that went are let go.
//! 2. DHCP messages are answered as [`super::choice`] says.
//! 3. TFTP requests become transfers ([`super::tftp`]), each with a socket of its own.
//! 4. HTTP connections are read until their request is whole, then written to until it is answered.
//!
//! One thread, nothing blocks, and every list has a limit: a flood of requests slows booting down, no more.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::catalog::Catalog;
use super::choice::{self, Port, Site};
use super::dhcp;
use super::http::{self, Request, Status};
use super::leases::Leases;
use super::link::{self, HTTP_PORT, Link};
use super::tftp::{self, Refusal, Step, Transfer};
use crate::discovery::interfaces::Usable;
use crate::limits::{NETBOOT_CONNECTIONS_MAX, NETBOOT_LINKS_MAX, NETBOOT_TRANSFERS_MAX};
use crate::node::interfaces::InterfaceWatch;

/// How often the interfaces are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// A connection on which nothing moves for so long is given up.
const CONNECTION_IDLE_MAX: Duration = Duration::from_secs(30);
/// Messages taken from one socket before the others get their turn.
const MESSAGES_A_TURN: usize = 32;
/// How much of a file is read at once for HTTP.
const PIECE_BYTES: usize = 64 << 10;

/// Why a boot server did not start or go on.
#[derive(Debug)]
pub enum ServerError {
    /// Another boot or DHCP server has the ports.
    PortTaken(String),
    /// The ports of an interface cannot be had.
    Socket(String, io::Error),
    /// The interfaces cannot be listed, or what happens cannot be waited for.
    System(io::Error),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PortTaken(interface) => write!(
                f,
                "a port of UDP 67, 69, 4011 or TCP {HTTP_PORT} is taken on {interface}: another DHCP or boot \
                 server runs here; stop it first"
            ),
            Self::Socket(interface, error) => write!(f, "cannot serve {interface}: {error}"),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ServerError {}

/// What an operator has chosen.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Serve these interfaces only; none named: all that are usable.
    pub interfaces: Vec<String>,
    /// Give addresses, too.
    pub gives_addresses: bool,
}

struct Sending {
    link: usize,
    client: SocketAddrV4,
    name: String,
    document: usize,
    socket: UdpSocket,
    transfer: Transfer,
}

/// A connection: first its request grows, then its answer shrinks.
struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Option<HttpAnswer>,
    idle_since: Duration,
}

struct HttpAnswer {
    /// What was read or made and not yet taken by the client.
    pending: VecDeque<u8>,
    /// The rest of a document.
    body: Option<(usize, u64, u64)>,
}

/// The server's state.
pub struct Server {
    catalog: Catalog,
    options: Options,
    started: Instant,
    /// `None` where an interface went: transfers name links by their place.
    links: Vec<Option<Link>>,
    sending: Vec<Sending>,
    connections: Vec<Connection>,
}

impl Server {
    /// Serves for ever.
    ///
    /// # Errors
    /// When the ports of the first interfaces cannot be had, or the kernel fails.
    pub fn run(catalog: Catalog, options: Options) -> Result<(), ServerError> {
        let mut server = Server {
            catalog,
            options,
            started: Instant::now(),
            links: Vec::new(),
            sending: Vec::new(),
            connections: Vec::new(),
        };
        let mut look_again = Duration::ZERO;
        loop {
            if server.now() >= look_again {
                server.follow_interfaces()?;
                look_again = server.now() + LOOK_INTERVAL;
            }
            server.wait(look_again)?;
            server.answer_messages();
            server.take_requests();
            server.turn_transfers();
            server.accept_connections();
            server.turn_connections();
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn wait(&self, look_again: Duration) -> Result<(), ServerError> {
        let mut wanted = Vec::new();
        for link in self.links.iter().flatten() {
            let sockets = [link.dhcp.as_fd(), link.boot.as_fd(), link.tftp.as_fd()];
            let sockets = sockets.into_iter().chain([link.http.as_fd()]);
            wanted.extend(sockets.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        }
        wanted.extend(
            self.sending
                .iter()
                .map(|sending| PollFd::new(&sending.socket, PollFlags::IN)),
        );
        wanted.extend(self.connections.iter().map(|connection| {
            let flags = match connection.answer {
                Some(_) => PollFlags::OUT,
                None => PollFlags::IN,
            };
            PollFd::new(&connection.stream, flags)
        }));
        let due = self.sending.iter().map(|sending| sending.transfer.due());
        let next = due.chain([look_again]).min().unwrap_or(look_again);
        let left = next.saturating_sub(self.now());
        let timeout = Timespec::try_from(left).ok();
        match poll(&mut wanted, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(ServerError::System(error.into())),
        }
    }

    /// Opens links that can be served and closes those that cannot any more.
    fn follow_interfaces(&mut self) -> Result<(), ServerError> {
        let watch = smol::block_on(InterfaceWatch::start()).map_err(ServerError::System)?;
        let mut usable = watch.table().usable(&self.options.interfaces);
        usable.truncate(NETBOOT_LINKS_MAX);
        for slot in &mut self.links {
            let still = |link: &Link| {
                let same = |interface: &&Usable| interface.name == link.interface;
                usable
                    .iter()
                    .find(same)
                    .is_some_and(|interface| interface.ipv4.contains(&link.address))
            };
            if let Some(gone) = slot.take_if(|link| !still(link)) {
                log::info!("{} is not served any more", gone.interface);
            }
        }
        for interface in &usable {
            let is_new = !self
                .links
                .iter()
                .flatten()
                .any(|link| link.interface == interface.name);
            if is_new {
                self.open_link(interface)?;
            }
        }
        Ok(())
    }

    fn open_link(&mut self, interface: &Usable) -> Result<(), ServerError> {
        let name = &interface.name;
        let slot = self.links.iter().position(Option::is_none);
        let slot = slot.unwrap_or(self.links.len());
        if slot >= NETBOOT_LINKS_MAX {
            return Ok(());
        }
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => ServerError::PortTaken(name.clone()),
            _ => ServerError::Socket(name.clone(), error),
        };
        let (address, leases) = if self.options.gives_addresses {
            // Two servers on two links of one node must not give the same addresses.
            let leases = Leases::new(slot as u8 + 1);
            let address = leases.server();
            if !interface.ipv4.contains(&address) {
                link::add_address(interface.index, address).map_err(failed)?;
            }
            (address, Some(leases))
        } else {
            // Without an address nothing can be sent to it; the network's DHCP server may be late.
            let Some(&address) = interface.ipv4.first() else {
                log::debug!("{name} has no IPv4 address yet");
                return Ok(());
            };
            (address, None)
        };
        let link = Link::open(name, address, leases).map_err(failed)?;
        log::info!("{name} is served from {address}");
        if slot == self.links.len() {
            self.links.push(Some(link));
        } else {
            self.links[slot] = Some(link);
        }
        Ok(())
    }

    fn answer_messages(&mut self) {
        let mut buffer = [0; dhcp::MESSAGE_BYTES_MAX + 1];
        for link in self.links.iter_mut().flatten() {
            for port in [Port::Dhcp, Port::Boot] {
                for _ in 0..MESSAGES_A_TURN {
                    let socket = match port {
                        Port::Dhcp => &link.dhcp,
                        Port::Boot => &link.boot,
                    };
                    let Some((length, source)) = receive(socket, &mut buffer) else {
                        break;
                    };
                    if let Some(message) = dhcp::parse(&buffer[..length]) {
                        answer(link, port, &message, source);
                    }
                }
            }
        }
    }

    fn take_requests(&mut self) {
        let now = self.now();
        let mut buffer = [0; tftp::REQUEST_BYTES_MAX + 1];
        for (index, link) in self.links.iter().enumerate() {
            let Some(link) = link else { continue };
            for _ in 0..MESSAGES_A_TURN {
                let Some((length, client)) = receive(&link.tftp, &mut buffer) else {
                    break;
                };
                let found = tftp::parse(&buffer[..length]).and_then(|request| {
                    let found = self.catalog.find(&request.name).ok_or(Refusal::NotFound)?;
                    Ok((request, found))
                });
                // Asked again because the first answer was lost: the transfer repeats that by itself.
                let is_known = self.sending.iter().any(|sending| sending.client == client);
                let found = match found {
                    Ok(_) if is_known => continue,
                    Ok(_) if self.sending.len() >= NETBOOT_TRANSFERS_MAX => Err(Refusal::Busy),
                    found => found,
                };
                match found {
                    Err(refusal) => {
                        // A lost refusal is asked for again.
                        let _ = link.tftp.send_to(&refusal.packet(), client);
                    }
                    Ok((request, (document, size))) => match link.transfer_socket(client) {
                        Ok(socket) => {
                            let (transfer, step) = Transfer::start(&request, size, now);
                            let sending = Sending {
                                link: index,
                                client,
                                name: request.name,
                                document,
                                socket,
                                transfer,
                            };
                            if carry_out(&self.catalog, &sending, step) {
                                self.sending.push(sending);
                            }
                        }
                        Err(error) => log::warn!("{} for {client}: {error}", request.name),
                    },
                }
            }
        }
    }

    fn turn_transfers(&mut self) {
        let now = self.now();
        let (catalog, links) = (&self.catalog, &self.links);
        let mut buffer = [0; 64];
        self.sending.retain_mut(|sending| {
            if links.get(sending.link).is_none_or(Option::is_none) {
                return false;
            }
            for _ in 0..MESSAGES_A_TURN {
                let length = match sending.socket.recv(&mut buffer) {
                    Ok(length) => length,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // The client closed its port (ECONNREFUSED): firmware does so once it has seen the size.
                    Err(_) => return false,
                };
                let step = sending.transfer.packet(&buffer[..length], now);
                if !carry_out(catalog, sending, step) {
                    return false;
                }
            }
            let step = sending.transfer.turn(now);
            carry_out(catalog, sending, step)
        });
    }

    fn accept_connections(&mut self) {
        let now = self.now();
        for link in self.links.iter().flatten() {
            for _ in 0..MESSAGES_A_TURN {
                let Ok((stream, _)) = link.http.accept() else {
                    break;
                };
                // Who comes when all places are taken is closed at once, and tries again.
                if self.connections.len() < NETBOOT_CONNECTIONS_MAX
                    && stream.set_nonblocking(true).is_ok()
                {
                    self.connections.push(Connection {
                        stream,
                        request: Vec::new(),
                        answer: None,
                        idle_since: now,
                    });
                }
            }
        }
    }

    fn turn_connections(&mut self) {
        let now = self.now();
        let catalog = &self.catalog;
        self.connections.retain_mut(|connection| {
            let goes_on = match connection.answer {
                None => connection.read(catalog, now),
                Some(_) => true,
            };
            goes_on
                && connection.write(catalog, now)
                && now.saturating_sub(connection.idle_since) < CONNECTION_IDLE_MAX
        });
    }
}

/// The next datagram of a socket and who sent it.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Option<(usize, SocketAddrV4)> {
    match socket.recv_from(buffer) {
        Ok((length, SocketAddr::V4(source))) => Some((length, source)),
        // Errors of earlier datagrams (ICMP) are reported here, too, and mean nothing.
        _ => None,
    }
}

fn answer(link: &mut Link, port: Port, message: &dhcp::Message, source: SocketAddrV4) {
    let site = Site {
        address: link.address,
        http_port: HTTP_PORT,
    };
    let Some(reply) = choice::reply(message, port, source, site, link.leases.as_mut()) else {
        return;
    };
    let socket = match port {
        Port::Dhcp => &link.dhcp,
        Port::Boot => &link.boot,
    };
    let [a, b, c, d, e, f] = message.hardware;
    let card = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
    if let Err(error) = socket.send_to(&reply.bytes, reply.to) {
        log::warn!("{card} cannot be answered on {}: {error}", link.interface);
    } else if let Some(file) = reply.boot_file {
        log::info!("{card} asks what to boot: {file}");
    } else if let (Some(address), true) = (reply.granted, reply.is_final) {
        log::info!("{card} has {address}");
    }
}

/// Does what a transfer wants; returns whether it goes on.
fn carry_out(catalog: &Catalog, sending: &Sending, step: Step) -> bool {
    let (client, name) = (IpAddr::V4(*sending.client.ip()), &sending.name);
    // What cannot be sent now counts as lost, and is sent again.
    match step {
        Step::Wait => {}
        Step::Packet(packet) => {
            let _ = sending.socket.send(&packet);
        }
        Step::Blocks(blocks) => {
            for number in blocks {
                let (header, part) = sending.transfer.block(number);
                let mut packet = header.to_vec();
                packet.resize(header.len() + (part.end - part.start) as usize, 0);
                let into = &mut packet[header.len()..];
                if let Err(error) = catalog.read(sending.document, part.start, into) {
                    log::warn!("{name} for {client}: {error}");
                    return false;
                }
                let _ = sending.socket.send(&packet);
            }
        }
        Step::Done => {
            log::info!("{client} has loaded {name}");
            return false;
        }
        Step::Failed => {
            log::debug!("{client} has not loaded {name}");
            return false;
        }
    }
    true
}

impl Connection {
    /// Reads what there is of the request; returns whether the connection goes on.
    fn read(&mut self, catalog: &Catalog, now: Duration) -> bool {
        let mut buffer = [0; http::HEAD_BYTES_MAX];
        let length = match self.stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(length) => length,
            Err(error) => return is_for_later(&error),
        };
        self.idle_since = now;
        self.request.extend_from_slice(&buffer[..length]);
        let (status, body, body_bytes) = match http::parse(&self.request) {
            Request::Incomplete => return true,
            Request::Refused(status) => (status, None, 0),
            Request::Get { name, with_body } => match catalog.find(&name) {
                Some((document, size)) => {
                    log::info!("{} loads {name}", peer(&self.stream));
                    (Status::Ok, with_body.then_some((document, 0, size)), size)
                }
                None => (Status::NotFound, None, 0),
            },
        };
        self.answer = Some(HttpAnswer {
            pending: http::head(status, body_bytes).into_bytes().into(),
            body,
        });
        true
    }

    /// Writes as much of the answer as the client takes; returns whether there is more.
    fn write(&mut self, catalog: &Catalog, now: Duration) -> bool {
        let Some(answer) = &mut self.answer else {
            return true;
        };
        loop {
            if answer.pending.is_empty() {
                match answer.refill(catalog) {
                    Ok(true) => {}
                    Ok(false) => return false,
                    Err(error) => {
                        log::warn!("the image cannot be read: {error}");
                        return false;
                    }
                }
            }
            let (bytes, _) = answer.pending.as_slices();
            match self.stream.write(bytes) {
                Ok(0) => return false,
                Ok(length) => {
                    answer.pending.drain(..length);
                    self.idle_since = now;
                }
                Err(error) => return is_for_later(&error),
            }
        }
    }
}

impl HttpAnswer {
    /// Reads the next piece of the document; returns whether there was one.
    fn refill(&mut self, catalog: &Catalog) -> io::Result<bool> {
        let Some((document, offset, size)) = &mut self.body else {
            return Ok(false);
        };
        let mut piece = vec![0; PIECE_BYTES];
        let length = catalog.read(*document, *offset, &mut piece)?;
        *offset += length as u64;
        if length == 0 && *offset < *size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        piece.truncate(length);
        self.pending = piece.into();
        Ok(length > 0)
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

fn peer(stream: &TcpStream) -> IpAddr {
    let address = stream.peer_addr().map(|address| address.ip());
    address.unwrap_or(Ipv4Addr::UNSPECIFIED.into())
}
