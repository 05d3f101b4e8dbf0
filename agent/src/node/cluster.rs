//! This node's place in the cluster: who the others are, and connections to and from them.
//!
//! The one handle through which the rest of the agent knows of other nodes; it belongs to the agent's
//! single thread. It is glue: [`super::peers`] decides what is said to whom, and the tasks here connect
//! it to the kernel:
//!
//! - one for each datagram socket: receives;
//! - one timer: does what is due next, and nothing before;
//! - one for the interfaces, one for the load meter;
//! - the listener ([`super::listener`]), and whoever calls [`Cluster::connect`].

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};
use smol::channel::{Receiver, Sender, bounded};
use smol::future::FutureExt;
use smol::{LocalExecutor, Task, Timer};

use super::channel::{self, ChannelError, Credentials};
use super::interfaces::InterfaceWatch;
use super::listener;
use super::peers::{Peers, Setup, To, VERSION};
use crate::admission::search::Askers;
use crate::balance::brain::Neighbour;
use crate::balance::vector::LoadVector;
use crate::discovery::multicast::DatagramSockets;
use crate::limits::{DATAGRAM_BYTES_MAX, INCOMING_MAX, MEMBER_EVENTS_MAX};
use crate::load::ShortLoad;
use crate::load::meter::Meter;
use crate::membership::names::{self, Known};
use crate::membership::roster::Node;
use crate::secure::identity::NodeIdentity;
use crate::sys::probe::Capabilities;
use crate::wire::hello::{ClockReading, Purpose, is_node_name};
use crate::wire::supervisor::{NodeId, NodeName};

mod api;
mod search;

pub use self::api::{ClusterConfig, ConnectError, Member, StartError};
pub use self::search::SearchError;
pub use super::channel::{Channel, Incoming};
pub use super::peers::Counters;
pub use crate::membership::MemberState;
pub use crate::membership::names::UnknownNode;
pub use crate::membership::roster::MemberEvent;

/// UDP and TCP port of the agents, unless `--port` says otherwise; not assigned to anything else by
/// IANA.
pub const PORT_DEFAULT: u16 = 4460;

/// How often the load is sampled.
const LOAD_PERIOD: Duration = Duration::from_secs(1);

/// Pause after a receive error, so that it does not become a busy loop.
const FAILURE_PAUSE: Duration = Duration::from_millis(100);

/// This node's place in the cluster.
pub struct Cluster {
    started: Instant,
    credentials: Rc<Credentials>,
    interface_names: Vec<String>,
    peers: RefCell<Peers>,
    meter: RefCell<Meter>,
    sockets: DatagramSockets,
    /// Those who ask to be admitted, while somebody wants to know.
    askers: RefCell<Option<Askers>>,
    incoming: Receiver<Incoming>,
    events: (Sender<MemberEvent>, Receiver<MemberEvent>),
    /// Ends the timer's wait when something became due earlier.
    wake: (Sender<()>, Receiver<()>),
    timer_at: Cell<Duration>,
    tasks: RefCell<Vec<Task<()>>>,
}

impl Cluster {
    /// Starts to take part: sockets, beacons, membership, listener. Having no usable interface is no
    /// error: they are waited for.
    pub async fn start(
        config: ClusterConfig,
        executor: &Rc<LocalExecutor<'static>>,
    ) -> Result<Rc<Cluster>, StartError> {
        let ClusterConfig {
            key,
            name,
            interfaces,
            seeds,
            port,
            run_dir,
        } = config;
        if !is_node_name(&name) {
            return Err(StartError::Name(name));
        }
        let socket_error = |what, transport| {
            move |error: io::Error| match error.kind() {
                io::ErrorKind::AddrInUse => StartError::PortTaken { port, transport },
                _ => StartError::Socket { what, error },
            }
        };
        let listening = listener::bind(port).map_err(socket_error("connections", "TCP"))?;
        let sockets = DatagramSockets::open(port).map_err(socket_error("datagrams", "UDP"))?;
        let watch = InterfaceWatch::start()
            .await
            .map_err(|error| StartError::Socket {
                what: "following the interfaces",
                error,
            })?;
        let identity = NodeIdentity::load_or_generate(&run_dir).map_err(StartError::Identity)?;
        let random_seed = random_seed().ok_or(StartError::NoRandomBytes)?;
        if key.is_open() {
            log::warn!(
                "this cluster is open: whoever is on the network can join it and run programs here"
            );
        }
        for name in interfaces.iter().filter(|name| !watch.table().exists(name)) {
            log::warn!("there is no interface {name} yet; it is used when it comes");
        }
        let credentials = Rc::new(Credentials::new(identity.clone(), name.clone(), &key));
        let meter = Meter::start();
        let setup = Setup {
            key,
            identity,
            name,
            port,
            seeds,
            random_seed,
        };
        let (arrivals, incoming) = bounded(INCOMING_MAX);
        let cluster = Rc::new(Cluster {
            started: Instant::now(),
            credentials: credentials.clone(),
            interface_names: interfaces,
            peers: RefCell::new(Peers::new(Duration::ZERO, setup, meter.short())),
            meter: RefCell::new(meter),
            sockets,
            askers: RefCell::default(),
            incoming,
            events: bounded(MEMBER_EVENTS_MAX),
            wake: bounded(1),
            timer_at: Cell::new(Duration::ZERO),
            tasks: RefCell::default(),
        });
        let failing = cluster.clone();
        let failed = Rc::new(move |address, error: &ChannelError| failing.failed(address, error));
        let accepting = listener::run(listening, executor.clone(), credentials, arrivals, failed);
        cluster.spawn_all(executor, watch, accepting);
        Ok(cluster)
    }

    fn spawn_all(
        self: &Rc<Self>,
        executor: &Rc<LocalExecutor<'static>>,
        watch: InterfaceWatch,
        accepting: impl Future<Output = ()> + 'static,
    ) {
        if !self.apply_interfaces(&watch) {
            log::warn!("no usable network interface yet; they are used when they come");
        }
        let mut tasks = self.tasks.borrow_mut();
        for receiver in 0..self.sockets.receivers().count() {
            tasks.push(executor.spawn(self.clone().receive(receiver)));
        }
        tasks.push(executor.spawn(self.clone().follow_interfaces(watch)));
        tasks.push(executor.spawn(self.clone().keep_time()));
        tasks.push(executor.spawn(self.clone().measure_load()));
        tasks.push(executor.spawn(accepting));
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Lets the peers do something, then carries out what came of it.
    fn with_peers<T>(&self, action: impl FnOnce(&mut Peers, Duration) -> T) -> T {
        let mut peers = self.peers.borrow_mut();
        let result = action(&mut peers, self.now());
        for datagram in peers.take_outgoing() {
            match datagram.to {
                To::Group(interface, version) => {
                    self.sockets
                        .send_to_group(&interface, version, &datagram.bytes);
                }
                To::Address(address) => {
                    self.sockets.send_to(address, &datagram.bytes);
                }
            }
        }
        for event in peers.take_events() {
            log_event(&event);
            if self.events.0.try_send(event).is_err() {
                peers.counters.events_lost += 1;
            }
        }
        if peers.next_due() < self.timer_at.get() {
            // Full means that it is being woken already.
            let _ = self.wake.0.try_send(());
        }
        result
    }

    async fn receive(self: Rc<Self>, receiver: usize) {
        let Some(socket) = self.sockets.receivers().nth(receiver) else {
            return;
        };
        // One byte more than allowed, to tell too long from just fitting.
        let mut buffer = [0; DATAGRAM_BYTES_MAX + 1];
        loop {
            match socket.recv_from(&mut buffer).await {
                Ok((bytes, from)) => {
                    if !self.is_about_admission(&buffer[..bytes], from) {
                        self.with_peers(|peers, now| peers.receive(now, &buffer[..bytes], from));
                    }
                }
                Err(error) => {
                    log::debug!("receiving datagrams: {error}");
                    Timer::after(FAILURE_PAUSE).await;
                }
            }
        }
    }

    async fn keep_time(self: Rc<Self>) {
        loop {
            let due = self.peers.borrow().next_due();
            self.timer_at.set(due);
            let due = async {
                Timer::at(self.started + due).await;
            };
            let woken = async {
                // Fails only once the handle is gone, and this task with it.
                let _ = self.wake.1.recv().await;
            };
            due.or(woken).await;
            self.with_peers(Peers::tick);
        }
    }

    async fn follow_interfaces(self: Rc<Self>, mut watch: InterfaceWatch) {
        let mut before = watch.table().usable(&self.interface_names);
        loop {
            if let Err(error) = watch.changed().await {
                log::warn!("following the network interfaces: {error}");
                Timer::after(LOAD_PERIOD).await;
            }
            let usable = watch.table().usable(&self.interface_names);
            if usable != before {
                self.apply_interfaces(&watch);
                before = usable;
            }
        }
    }

    /// Returns whether there is any usable interface.
    fn apply_interfaces(&self, watch: &InterfaceWatch) -> bool {
        let usable = watch.table().usable(&self.interface_names);
        let names: Vec<&str> = usable
            .iter()
            .map(|interface| interface.name.as_str())
            .collect();
        log::info!(
            "interfaces in use: {}",
            if names.is_empty() {
                "none".into()
            } else {
                names.join(", ")
            }
        );
        self.sockets.follow(&usable);
        let any = !usable.is_empty();
        self.with_peers(|peers, now| peers.set_interfaces(now, usable));
        any
    }

    async fn measure_load(self: Rc<Self>) {
        loop {
            Timer::after(LOAD_PERIOD).await;
            if let Err(error) = self.meter.borrow_mut().sample() {
                log::debug!("the load cannot be measured: {error}");
            }
            self.share_load();
        }
    }

    fn share_load(&self) {
        let load = self.meter.borrow().short();
        self.peers.borrow_mut().set_load(load);
    }

    /// A connection ended before it said what it was for.
    fn failed(&self, address: SocketAddr, error: &ChannelError) {
        // The listener serves both IP versions and shows IPv4 addresses as IPv6 ones.
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let mut peers = self.peers.borrow_mut();
        peers.counters.handshakes_failed += 1;
        let mismatch = matches!(
            error,
            ChannelError::Mismatch(_) | ChannelError::Handshake(_)
        );
        if mismatch {
            peers.counters.connections_refused += 1;
            let line = format!("a connection from {address} is refused: {error}");
            peers.refuse(self.now(), &format!("{} {error}", address.ip()), &line);
        } else {
            log::debug!("a connection from {address}: {error}");
        }
    }

    /// This node.
    #[must_use]
    pub fn this(&self) -> NodeName {
        self.credentials.node_name()
    }

    /// All members known, this node included, ordered by number.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let peers = self.peers.borrow();
        let this = Member {
            state: MemberState::Alive,
            this: true,
            ..Member::new(
                self.this(),
                peers.number(),
                peers.own_addresses(),
                peers.load(),
                VERSION,
            )
        };
        let other = |node: &Node| Member {
            state: node.state,
            ..Member::new(
                node.node_name(),
                node.number,
                node.addresses(),
                node.load,
                &node.version,
            )
        };
        let mut members: Vec<Member> = peers.roster().nodes().map(other).chain([this]).collect();
        members.sort_by(|one, other| (one.number, &one.name).cmp(&(other.number, &other.name)));
        members
    }

    /// The node that people call `wanted`: by name, number or address. Nodes that are lost or have left
    /// are found too.
    pub fn resolve(&self, wanted: &str) -> Result<NodeName, UnknownNode> {
        let peers = self.peers.borrow();
        let this = self.this();
        let this = Known {
            number: peers.number(),
            name: this.name,
            id: this.id,
            addresses: peers.own_addresses(),
        };
        let nodes: Vec<Known> = peers
            .roster()
            .nodes()
            .map(Node::known)
            .chain([this])
            .collect();
        names::resolve(wanted, &nodes)
    }

    /// Connects to a member; returns when it has welcomed us.
    pub async fn connect(&self, node: NodeId, purpose: Purpose) -> Result<Channel, ConnectError> {
        self.reach(node, async |address, public_key| {
            let purpose = purpose.clone();
            channel::connect(&self.credentials, address, node, public_key, purpose).await
        })
        .await
    }

    /// Asks a member what it can do.
    pub async fn capabilities(&self, node: NodeId) -> Result<Capabilities, ConnectError> {
        self.reach(node, async |address, public_key| {
            channel::ask_capabilities(&self.credentials, address, node, public_key).await
        })
        .await
    }

    /// Asks a member what time it is.
    pub async fn time(&self, node: NodeId) -> Result<ClockReading, ConnectError> {
        self.reach(node, async |address, public_key| {
            channel::ask_time(&self.credentials, address, node, public_key).await
        })
        .await
    }

    /// Tries the addresses of a member, given with its public key, until it answers at one.
    async fn reach<T>(
        &self,
        node: NodeId,
        connect: impl AsyncFn(SocketAddr, &[u8; 32]) -> Result<T, ChannelError>,
    ) -> Result<T, ConnectError> {
        let (name, public_key, addresses) = {
            let peers = self.peers.borrow();
            let known = peers
                .roster()
                .get(node)
                .ok_or(ConnectError::Unknown(node))?;
            if !known.state.is_present() {
                return Err(ConnectError::Gone(known.node_name()));
            }
            (known.node_name(), known.public_key, known.addresses())
        };
        let mut last = ConnectError::Unreachable {
            node: name.clone(),
            cause: "it has told no address".into(),
        };
        for address in addresses {
            let node = name.clone();
            last = match connect(address, &public_key).await {
                Ok(reached) => return Ok(reached),
                Err(ChannelError::Refused(reason)) => {
                    return Err(ConnectError::Refused { node, reason });
                }
                Err(ChannelError::Full(reason, load)) => {
                    return Err(ConnectError::Full { node, reason, load });
                }
                Err(error @ (ChannelError::Connect(_) | ChannelError::TimedOut("connection"))) => {
                    ConnectError::Unreachable {
                        node,
                        cause: format!("at {address}: {error}"),
                    }
                }
                Err(error) => ConnectError::Handshake {
                    node,
                    cause: format!("at {address}: {error}"),
                },
            };
        }
        log::info!("{last}");
        Err(last)
    }

    /// Connections of other nodes, each to be accepted or refused. One consumer.
    #[must_use]
    pub fn incoming(&self) -> Receiver<Incoming> {
        self.incoming.clone()
    }

    /// What happens to members. One consumer.
    #[must_use]
    pub fn events(&self) -> Receiver<MemberEvent> {
        self.events.1.clone()
    }

    /// What this node measures of itself.
    #[must_use]
    pub fn load(&self) -> ShortLoad {
        self.meter.borrow().short()
    }

    /// Runnable threads of the whole machine.
    #[must_use]
    pub fn machine_load(&self) -> f64 {
        self.meter.borrow().load()
    }

    /// Tells the cluster this load instead of the machine's.
    pub fn tell_load(&self, load: f64) {
        self.meter.borrow_mut().tell(load);
        self.share_load();
    }

    /// Tells the cluster this speed of a CPU; none for what was measured.
    pub fn set_speed(&self, speed: Option<u32>) {
        self.meter.borrow_mut().set_speed(speed);
        self.share_load();
    }

    /// What this node tells of its load, whether it does, which nodes host its processes, and whose guests are here.
    pub fn set_vector(
        &self,
        vector: LoadVector,
        quiet: bool,
        hosts: impl Iterator<Item = NodeId>,
        homes: Vec<NodeId>,
    ) {
        self.with_peers(|peers, now| peers.set_vector(now, vector, quiet, hosts, homes));
    }

    /// A process of this home was turned away here: it hears first when there is room.
    pub fn turn_away(&self, home: NodeId) {
        self.with_peers(|peers, now| peers.turn_away(now, home));
    }

    /// Another node has said of itself, over a connection, that this is its load now.
    pub fn hear_load(&self, node: NodeId, vector: LoadVector) {
        self.with_peers(|peers, now| peers.hear_load(now, node, vector));
    }

    /// For which part of the time a CPU stands still because of a quota, in hundredths.
    #[must_use]
    pub fn throttled_percent(&self) -> u8 {
        self.meter.borrow().throttled_percent()
    }

    /// The loads of the other nodes that are alive, as far as they are known.
    #[must_use]
    pub fn vectors(&self) -> Vec<Neighbour> {
        self.peers.borrow().vectors(self.now())
    }

    /// Where this node's chances begin: no two nodes' are the same.
    #[must_use]
    pub fn random_seed(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.this().id.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// The name of another node.
    #[must_use]
    pub fn name(&self, node: NodeId) -> Option<NodeName> {
        self.peers.borrow().roster().get(node).map(Node::node_name)
    }

    /// Tells the cluster how many guests run here.
    pub fn set_guests(&self, guests: u32) {
        self.meter.borrow_mut().set_guests(guests);
        self.share_load();
    }

    /// Whom this node has refused and why, oldest first; bounded.
    #[must_use]
    pub fn refusals(&self) -> Vec<String> {
        self.peers.borrow().refusals()
    }

    /// What was counted since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.peers.borrow().counters
    }

    /// Tells the others that this node goes. Afterwards nothing is sent or accepted any more.
    pub async fn leave(&self) {
        self.with_peers(Peers::leave);
        let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
        for task in tasks {
            task.cancel().await;
        }
    }
}

fn log_event(event: &MemberEvent) {
    match event {
        MemberEvent::Joined(node) => log::info!("{} has joined", node.name),
        MemberEvent::Suspect(node) => log::info!("{} does not answer", node.name),
        MemberEvent::Alive(node) => log::info!("{} answers again", node.name),
        MemberEvent::Lost(node) => log::warn!("{} is lost", node.name),
        MemberEvent::Left(node) => log::info!("{} has left", node.name),
    }
}

fn random_seed() -> Option<u64> {
    let mut seed = [0; 8];
    SystemRandom::new().fill(&mut seed).ok()?;
    Some(u64::from_le_bytes(seed))
}

#[cfg(test)]
mod tests;
