//! What the rest of the agent gives to the cluster and gets from it: configuration, members, errors.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::balance::vector::LoadVector;
use crate::limits::NODE_NAME_LENGTH_MAX;
use crate::load::ShortLoad;
use crate::membership::MemberState;
use crate::secure::identity::IdentityError;
use crate::secure::key::ClusterKey;
use crate::wire::supervisor::{NodeId, NodeName};

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
    Identity(IdentityError),
    /// The kernel gives no random bytes.
    NoRandomBytes,
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
                "{name:?} cannot be a node's name: at most {NODE_NAME_LENGTH_MAX} bytes, visible \
                 characters only"
            ),
            StartError::Identity(error) => write!(f, "no identity for this node: {error}"),
            StartError::NoRandomBytes => write!(f, "the kernel gives no random bytes"),
        }
    }
}

impl std::error::Error for StartError {}

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
    /// Speed of one CPU; see [`crate::load::speed`].
    pub speed: u32,
    /// Runnable threads, averaged as [`crate::load::meter`] says.
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
    /// It was reached and has no room at the moment.
    Full {
        /// The node.
        node: NodeName,
        /// Why, in its own words.
        reason: String,
        /// Its load at this moment.
        load: LoadVector,
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
            ConnectError::Refused { node, reason } | ConnectError::Full { node, reason, .. } => {
                write!(f, "{} refused: {reason}", node.name)
            }
        }
    }
}

impl std::error::Error for ConnectError {}

impl Member {
    /// Another node with this load, as far as it is not said otherwise.
    pub(super) fn new(
        node: NodeName,
        number: u16,
        addresses: Vec<SocketAddr>,
        load: ShortLoad,
        version: &str,
    ) -> Member {
        Member {
            number,
            name: node.name,
            id: node.id,
            state: MemberState::Joined,
            addresses,
            cpus: load.cpus.into(),
            speed: load.speed,
            load: load.load(),
            memory_total_bytes: load.memory_total_kib.saturating_mul(1024),
            memory_free_bytes: load.memory_free_kib.saturating_mul(1024),
            guests: load.guests,
            version: version.to_owned(),
            this: false,
        }
    }
}
