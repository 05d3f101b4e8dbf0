//! The daemon's control socket: one request and one answer a connection, each a line of JSON.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::entrance::Entrance;
use crate::error::LabError;
use crate::process::ProcessIdentity;
use crate::state::StateDirectory;
use crate::switch::Counters;

/// Longest request that the daemon reads.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// What a client may ask of the daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// How the lab is.
    Status,
    /// End the lab with this process; `None`: with nobody.
    Own {
        /// The new owner.
        owner: Option<ProcessIdentity>,
    },
    /// Let nothing pass between two nodes.
    Cut {
        /// One node.
        a: String,
        /// The other.
        b: String,
    },
    /// Let all pass again between two nodes.
    Join {
        /// One node.
        a: String,
        /// The other.
        b: String,
    },
    /// End all faults.
    Heal,
    /// Lose this share of all frames.
    Loss {
        /// 0 to 100.
        percent: f64,
    },
    /// Double this share of all frames.
    Duplicate {
        /// 0 to 100.
        percent: f64,
    },
    /// Delay all frames.
    Delay {
        /// By how much; parts of a millisecond count.
        delay_ms: f64,
    },
    /// Unplug the node from the network and from the mains: all its processes die at once.
    Kill {
        /// Which.
        node: String,
    },
    /// Ask the node's agent to end (SIGTERM), or the virtual machine to power off.
    Stop {
        /// Which.
        node: String,
    },
    /// Start the agent of a node that has none, or a virtual machine that is off.
    Start {
        /// Which.
        node: String,
    },
    /// Plug the node's network cable in.
    Plug {
        /// Which.
        node: String,
    },
    /// Pull the node's network cable: the interface vanishes.
    Unplug {
        /// Which.
        node: String,
    },
    /// End the lab.
    Down,
}

/// How a node's main process is: its agent, or its virtual machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum NodeState {
    /// It runs.
    Running {
        /// Its identity.
        process: ProcessIdentity,
    },
    /// It ended by itself or was asked to.
    Ended {
        /// How, in words.
        how: String,
    },
    /// Not started yet, or killed by `lab kill`.
    Off,
}

/// One node in the answer to [`Request::Status`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Whether it is a virtual machine.
    pub is_vm: bool,
    /// How it is.
    #[serde(flatten)]
    pub state: NodeState,
    /// Whether it is connected to the switch.
    pub plugged: bool,
    /// The directory of its logs, sockets and keys.
    pub directory: PathBuf,
    /// The way in; none for a virtual machine or a killed node.
    pub entrance: Option<Entrance>,
}

/// The answer to [`Request::Status`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LabStatus {
    /// Its nodes, in order.
    pub nodes: Vec<NodeStatus>,
    /// What the switch has done.
    pub frames: Counters,
}

/// The daemon's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It is done.
    Done,
    /// The answer to [`Request::Status`].
    Status(LabStatus),
    /// It was not done; the reason is for a person.
    Refused(String),
}

/// Asks the daemon of a lab.
///
/// # Errors
/// [`LabError::NoSuchLab`], [`LabError::DaemonGone`], or [`LabError::Refused`] with the daemon's words.
pub fn ask(state: &StateDirectory, request: &Request) -> Result<Answer, LabError> {
    if !state.path().exists() {
        return Err(LabError::NoSuchLab(state.name().into()));
    }
    let gone = |_| LabError::DaemonGone(state.name().into());
    let stream = UnixStream::connect(state.control()).map_err(gone)?;
    let mut line = serde_json::to_string(request)
        .map_err(|error| LabError::Protocol(format!("{request:?}: {error}")))?;
    line.push('\n');
    (&stream).write_all(line.as_bytes()).map_err(gone)?;
    let mut answer = String::new();
    BufReader::new(&stream)
        .read_line(&mut answer)
        .map_err(gone)?;
    match serde_json::from_str(&answer) {
        Ok(Answer::Refused(reason)) => Err(LabError::Refused(reason)),
        Ok(answer) => Ok(answer),
        Err(_) if answer.is_empty() => Err(LabError::DaemonGone(state.name().into())),
        Err(error) => Err(LabError::Protocol(format!(
            "{answer:?} from the lab's daemon: {error}"
        ))),
    }
}

/// Asks the daemon how the lab is.
pub fn status(state: &StateDirectory) -> Result<LabStatus, LabError> {
    match ask(state, &Request::Status)? {
        Answer::Status(status) => Ok(status),
        other => Err(LabError::Protocol(format!(
            "{other:?} from the lab's daemon"
        ))),
    }
}
