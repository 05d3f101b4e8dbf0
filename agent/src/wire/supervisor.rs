//! The supervisor link: what an agent and the supervisors of its migrated processes tell each other.
//!
//! Every migrated process has one deputy supervisor at home and one guest supervisor on its remote
//! node. Each is a process of its own, started by its agent with one end of a unix stream socket pair
//! as file descriptor [`LINK_FD`]. It begins with one process; those that this one forks while it is away
//! are its charges, too, until they come home or end. Messages are frames: a u32 length (little endian, at most
//! [`crate::limits::LOCAL_MESSAGE_BYTES_MAX`]) and that many bytes of CBOR. A message that carries a
//! descriptor has it attached (SCM_RIGHTS) to the first byte of its length.
//!
//! A supervisor outlives its agent: when the link closes it goes on, connects to the agent's control
//! socket again and again (`ControlRequest::Adopt`, root only), and sends [`FromSupervisor::Hello`]
//! first; from there on the connection is the link.

use serde::{Deserialize, Serialize};

use crate::sys::probe::Capabilities;

/// The descriptor on which a supervisor finds its end of the link when it is started.
pub const LINK_FD: i32 = 3;

/// Identifies a node: the first 16 bytes of the BLAKE2s-256 hash of its static public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeId(pub [u8; 16]);

impl std::fmt::Display for NodeId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// A node as people call it, with its identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeName {
    /// Its identity.
    pub id: NodeId,
    /// Its name.
    pub name: String,
}

/// The symmetric keys of an established connection, handed to the process that goes on with it.
#[derive(Clone, Serialize, Deserialize)]
pub struct ChannelKeys {
    /// Key of the records that we send.
    pub send_key: [u8; 32],
    /// Key of the records that we receive.
    pub receive_key: [u8; 32],
    /// Number of the next record that we send.
    pub send_nonce: u64,
    /// Number of the next record that we receive.
    pub receive_nonce: u64,
}

/// Names a guest whose memory is yet to come: the page connection is for the supervisor that waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PagesToken(pub [u8; 16]);

impl PagesToken {
    /// One that nobody else has.
    pub fn random() -> std::io::Result<PagesToken> {
        use ring::rand::{SecureRandom, SystemRandom};
        let mut token = [0; 16];
        match SystemRandom::new().fill(&mut token) {
            Ok(()) => Ok(PagesToken(token)),
            Err(_) => Err(std::io::Error::other("the kernel gives no random bytes")),
        }
    }
}

/// Where a node keeps pieces of files ([`crate::migrate::piece_store`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PiecePlace {
    /// The directory.
    pub directory: String,
    /// How much of them it keeps.
    pub bytes_max: u64,
}

/// What a supervisor wants a connection for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConnectionUse {
    /// A migration channel, and what names the page connection that will follow it.
    Migration(PagesToken),
    /// The pages of the guest that waits for them.
    Pages(PagesToken),
}

/// Which side of a migration a supervisor serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// At home, tracing the original process.
    Deputy,
    /// On a remote node, tracing the guest.
    Guest,
}

/// Where a move leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Destination {
    /// Back to the home node.
    Home,
    /// To this node.
    Node(NodeName),
}

/// What became of a move that succeeded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MoveReport {
    /// From the moment the program stopped to the moment it ran again elsewhere.
    pub freeze_ms: f64,
    /// From the request to its end.
    pub total_ms: f64,
    /// Bytes sent over the migration channel for this move, both ways.
    pub bytes_sent: u64,
}

/// Why a process cannot move: a stable code for scripts, and a sentence for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable, lower case, with hyphens: `setuid`, `shared-memory`, ...
    pub code: String,
    /// One line: what stands in the way and what would remove it.
    pub text: String,
}

/// Why a move did not happen. The process runs on where it was unless the text says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MoveError {
    /// The process is in a state that cannot leave.
    CannotMove(Vec<Reason>),
    /// The process ended before it could move.
    Gone,
    /// The node let it not in, as others were there before: in one line.
    Full(String),
    /// Anything else, in one line that names the node and the cause.
    Failed(String),
}

/// Why there is no connection to another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoConnection {
    /// One line that names the node and what failed.
    pub text: String,
    /// The node is there, and has no room at the moment.
    pub is_full: bool,
}

/// Where a process is in its journey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProcessState {
    /// Runs at home; the supervisor waits for its exec to send the new program on.
    Starting,
    /// Runs at home, nothing attached.
    Home,
    /// Leaving home.
    Leaving,
    /// Runs on a remote node.
    Away,
    /// Coming home.
    Returning,
}

/// From an agent to a supervisor.
#[derive(Clone, Serialize, Deserialize)]
pub enum ToSupervisor {
    /// First message to a deputy supervisor.
    StartDeputy {
        /// The process, as the home agent's pid namespace numbers it.
        pid: u32,
        /// Seize at once but let it run until its next exec, and move it only then. The supervisor
        /// answers [`FromSupervisor::Seized`] when the exec can no longer be missed.
        wait_exec: bool,
        /// Path of the agent's control socket, to connect to again if the agent restarts.
        control_socket: String,
        /// This node.
        home: NodeName,
        /// A program that the process executes while it is away is sent after it.
        follow: bool,
        /// What this node can do, as its agent found out.
        capabilities: Capabilities,
        /// Names pieces of files to remote nodes ([`crate::migrate::pieces`]).
        piece_key: [u8; 32],
    },
    /// First message to a guest supervisor. The connection's descriptor is attached; the agent has done
    /// the handshake and sent the answer to `Hello`.
    StartGuest {
        /// Keys of the connection.
        keys: ChannelKeys,
        /// The node the guest comes from.
        home: NodeName,
        /// This node.
        remote: NodeName,
        /// Path of the agent's control socket, to connect to again if the agent restarts.
        control_socket: String,
        /// What this node can do, as its agent found out.
        capabilities: Capabilities,
        /// Where pieces of files are kept.
        pieces: PiecePlace,
    },
    /// Answer to [`FromSupervisor::OpenChannel`], or the page connection that a guest's supervisor awaits
    /// (request 0); the connection's descriptor is attached on success.
    Channel {
        /// The request answered.
        request: u64,
        /// The keys, or why there is none.
        result: Result<ChannelKeys, NoConnection>,
    },
    /// Move the process. Answered by [`FromSupervisor::MoveDone`]; requests are served one by one.
    Move {
        /// The process.
        pid: u32,
        /// Names this request in the answer.
        request: u64,
        /// Where to.
        destination: Destination,
    },
    /// Membership says that this node is lost; the supervisor decides together with its channel.
    NodeLost(NodeId),
}

/// From a supervisor to its agent.
#[derive(Clone, Serialize, Deserialize)]
pub enum FromSupervisor {
    /// First message on a link that was opened again after the agent restarted; a full state.
    Hello {
        /// Which side.
        role: Role,
        /// The supervisor's own pid.
        supervisor_pid: u32,
        /// Its processes as home numbers them, and their states as last reported.
        processes: Vec<(u32, SupervisorStatus)>,
    },
    /// The process is seized and its next exec will be seen (`wait_exec`).
    Seized,
    /// Please connect to this node, and pass the connection.
    OpenChannel {
        /// Names this request in the answer.
        request: u64,
        /// The node to connect to.
        node: NodeId,
        /// What for.
        wanted: ConnectionUse,
    },
    /// The state of a process has changed (also sent about once a second while away, for the CPU time). One
    /// not heard of before has been forked by one that is away.
    Status {
        /// The process as home numbers it.
        pid: u32,
        /// Its state.
        status: SupervisorStatus,
    },
    /// This process is the supervisor's no more: it runs at home, or has ended. Moves asked for and not answered
    /// are for another supervisor.
    Left {
        /// The process as home numbers it.
        pid: u32,
    },
    /// The answer to [`ToSupervisor::Move`], and, with request 0, the report of a move that the
    /// supervisor made by itself (the guest came home because a call needed it).
    MoveDone {
        /// The process as home numbers it.
        pid: u32,
        /// The request answered, or 0.
        request: u64,
        /// Where the process went.
        destination: Destination,
        /// How it went.
        result: Result<MoveReport, MoveError>,
        /// Why the supervisor moved it by itself, if it did: one line.
        cause: Option<String>,
    },
    /// A line for the agent's log that a person should see.
    Notice(String),
}

/// What a supervisor knows of its process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SupervisorStatus {
    /// Where the process is in its journey.
    pub state: ProcessState,
    /// The node it runs on.
    pub node: NodeName,
    /// CPU time used away from home, in seconds, all journeys of this supervisor together.
    pub away_cpu_seconds: f64,
    /// Calls forwarded to home so far.
    pub calls_forwarded: u64,
}

impl SupervisorStatus {
    /// Of a process that has done nothing yet.
    pub fn new(state: ProcessState, node: NodeName) -> SupervisorStatus {
        SupervisorStatus {
            state,
            node,
            away_cpu_seconds: 0.0,
            calls_forwarded: 0,
        }
    }
}
