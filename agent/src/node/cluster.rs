//! This node's place in the cluster: who the others are, and connections to and from them.
//!
//! The one handle through which the rest of the agent knows of other nodes. It belongs to the agent's
//! single thread.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;

use smol::LocalExecutor;
use smol::channel::Receiver;

use crate::secure::key::ClusterKey;
use crate::wire::hello::Purpose;
use crate::wire::supervisor::{ChannelKeys, NodeId, NodeName};

/// UDP and TCP port of the agents, unless `--port` says otherwise; not assigned to anything else by
/// IANA.
pub const PORT_DEFAULT: u16 = 4460;

/// What a node needs to take part in a cluster.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// The cluster key; [`ClusterKey::open`] for `--open`.
    pub key: ClusterKey,
    /// This node's name.
    pub name: String,
    /// The interfaces to use; none named: all that are usable.
    pub interfaces: Vec<String>,
    /// Nodes to ask by unicast.
    pub seeds: Vec<SocketAddr>,
    /// UDP and TCP port.
    pub port: u16,
    /// Where this node's identity is kept; exists already and belongs to us.
    pub run_dir: PathBuf,
}

/// Why this node could not take part. Nothing was left running.
#[derive(Debug)]
pub enum StartError {
    /// Another program has the port.
    PortTaken {
        /// The port.
        port: u16,
        /// `TCP` or `UDP`.
        transport: &'static str,
    },
    /// A socket could not be set up.
    Socket {
        /// What for.
        what: &'static str,
        /// The cause.
        error: io::Error,
    },
    /// The node's name is empty, too long or not printable.
    Name(String),
    /// The node's identity in the run directory can neither be read nor made.
    Identity(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::PortTaken { port, transport } => write!(
                f,
                "{transport} port {port} is taken: perhaps another agent runs here; stop it or choose \
                 another port with --port"
            ),
            StartError::Socket { what, error } => write!(f, "no socket for {what}: {error}"),
            StartError::Name(name) => write!(
                f,
                "{name:?} cannot be a node's name: at most {} bytes, visible characters only",
                crate::limits::NODE_NAME_LENGTH_MAX
            ),
            StartError::Identity(cause) => write!(f, "no identity for this node: {cause}"),
        }
    }
}

impl std::error::Error for StartError {}

/// What is known of a member's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// Heard of, not yet confirmed.
    Joined,
    /// Answers.
    Alive,
    /// Has not answered lately.
    Suspect,
    /// Did not answer for so long that it is taken for dead.
    Lost,
    /// Said that it goes.
    Left,
}

impl MemberState {
    /// In lower case, as commands print it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            MemberState::Joined => "joined",
            MemberState::Alive => "alive",
            MemberState::Suspect => "suspect",
            MemberState::Lost => "lost",
            MemberState::Left => "left",
        }
    }
}

/// A node of the cluster as this node knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Small number that names it; the same on all nodes. 0 as long as it has not chosen one.
    pub number: u16,
    /// Its name.
    pub name: String,
    /// Its identity.
    pub id: NodeId,
    /// What is known of its life.
    pub state: MemberState,
    /// Where it can be reached, best first.
    pub addresses: Vec<SocketAddr>,
    /// CPUs it may use.
    pub cpus: u32,
    /// Speed of one CPU; see [`crate::load`].
    pub speed: u32,
    /// Runnable threads, averaged over about a second.
    pub load: f32,
    /// Memory.
    pub memory_total_bytes: u64,
    /// Memory that new programs could have without swapping.
    pub memory_free_bytes: u64,
    /// Guests that run there.
    pub guests: u32,
    /// Version of its agent.
    pub version: String,
    /// Whether it is this node.
    pub this: bool,
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

/// No node is called so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownNode {
    /// What was asked for.
    pub wanted: String,
    /// The nearest names, best first; empty when nothing is near.
    pub nearest: Vec<String>,
}

impl fmt::Display for UnknownNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no node is called {:?}", self.wanted)?;
        match self.nearest.as_slice() {
            [] => write!(f, "; `limosa nodes` lists them"),
            names => write!(f, "; did you mean {}?", names.join(" or ")),
        }
    }
}

impl std::error::Error for UnknownNode {}

/// An established connection, ready to be handed to another process.
pub struct Channel {
    /// The connected TCP socket, in blocking mode.
    pub fd: OwnedFd,
    /// Keys and record numbers.
    pub keys: ChannelKeys,
    /// Who is at the other end; its identity is proven.
    pub peer: NodeName,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// No such node is known, or it is this one.
    Unknown(NodeId),
    /// The node is lost or has left.
    Gone(NodeName),
    /// None of its addresses could be reached: the last address and why.
    Unreachable {
        /// The node.
        node: NodeName,
        /// The address tried last and what happened.
        cause: String,
    },
    /// It was reached but the two could not agree.
    Handshake {
        /// The node.
        node: NodeName,
        /// What failed.
        cause: String,
    },
    /// It was reached and said no.
    Refused {
        /// The node.
        node: NodeName,
        /// Why, in its own words.
        reason: String,
    },
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Unknown(id) => write!(f, "no other node has the identity {:02x?}", id.0),
            ConnectError::Gone(node) => write!(f, "{} is not there any more", node.name),
            ConnectError::Unreachable { node, cause } => {
                write!(f, "{} cannot be reached: {cause}", node.name)
            }
            ConnectError::Handshake { node, cause } => {
                write!(f, "no secure connection to {}: {cause}", node.name)
            }
            ConnectError::Refused { node, reason } => {
                write!(f, "{} refused: {reason}", node.name)
            }
        }
    }
}

impl std::error::Error for ConnectError {}

/// A node that has proven its identity waits for an answer.
pub struct Incoming {
    /// Who connects.
    pub peer: NodeName,
    /// What for.
    pub purpose: Purpose,
}

impl Incoming {
    /// Welcomes it; the connection is ours from here on.
    pub async fn accept(self) -> io::Result<Channel> {
        todo!()
    }

    /// Tells it why not, in one line, and closes. Dropping it refuses too, without a reason.
    pub async fn refuse(self, _reason: String) {
        todo!()
    }
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
    /// Datagrams of other clusters.
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
    /// Events about members that nobody took in time.
    pub events_lost: u64,
}

/// This node's place in the cluster.
pub struct Cluster {}

impl Cluster {
    /// Starts to take part: sockets, beacons, membership, listener. Having no usable interface is no
    /// error: they are waited for.
    pub async fn start(
        _config: ClusterConfig,
        _executor: &Rc<LocalExecutor<'static>>,
    ) -> Result<Rc<Cluster>, StartError> {
        todo!()
    }

    /// This node.
    #[must_use]
    pub fn this(&self) -> NodeName {
        todo!()
    }

    /// All members known, this node included, ordered by number.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        todo!()
    }

    /// The node that people call `wanted`: by name, number or address.
    pub fn resolve(&self, _wanted: &str) -> Result<NodeName, UnknownNode> {
        todo!()
    }

    /// Connects to a member; returns when it has welcomed us.
    pub async fn connect(&self, _node: NodeId, _purpose: Purpose) -> Result<Channel, ConnectError> {
        todo!()
    }

    /// Connections of other nodes, each to be accepted or refused. One consumer.
    #[must_use]
    pub fn incoming(&self) -> Receiver<Incoming> {
        todo!()
    }

    /// What happens to members. One consumer.
    #[must_use]
    pub fn events(&self) -> Receiver<MemberEvent> {
        todo!()
    }

    /// Tells the cluster how many guests run here.
    pub fn set_guests(&self, _guests: u32) {
        todo!()
    }

    /// Whom this node has refused and why, oldest first; bounded.
    #[must_use]
    pub fn refusals(&self) -> Vec<String> {
        todo!()
    }

    /// What was counted since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        todo!()
    }

    /// Tells the others that this node goes. Afterwards nothing is sent or accepted any more.
    pub async fn leave(&self) {
        todo!()
    }
}
