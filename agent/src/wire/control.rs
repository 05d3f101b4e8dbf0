//! The control socket's messages: what the commands ask of the agent, and its answers.
//!
//! One request a connection, one answer, both framed as [`super::local`] says. The agent judges a
//! request by the peer's credentials (SO_PEERCRED), never by anything in the request. The rows of the
//! answers are at the same time the objects that `--json` prints: their fields are a contract with
//! scripts; fields may be added, never renamed or removed.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::supervisor::{ProcessState, Reason};

/// What a command asks of the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ControlRequest {
    /// The members of the cluster. Answered by [`ControlResponse::Nodes`].
    Nodes,
    /// The processes of this node's jobs. Answered by [`ControlResponse::Processes`].
    Processes {
        /// Also examine each process for what keeps it from leaving home.
        examine: bool,
    },
    /// Make the calling process a job. Answered by [`ControlResponse::Running`], upon which the caller
    /// executes its program.
    Run(RunRequest),
    /// Move a process. Answered by [`ControlResponse::Migrated`].
    Migrate {
        /// The process.
        pid: u32,
        /// `home`, or a node's name, number or address.
        destination: String,
        /// Answer when the move is over, not when it is asked for.
        wait: bool,
    },
    /// What keeps a process from moving. Answered by [`ControlResponse::Why`].
    Why {
        /// The process.
        pid: u32,
        /// The node it should go to, by name, number or address; any node without one.
        node: Option<String>,
    },
    /// Something that an operator tells this node, or asks it. Answered by [`ControlResponse::Node`].
    Node(NodeOrder),
    /// How this node, its cluster and its agent are doing. Answered by [`ControlResponse::Status`].
    Status,
    /// Root only: who asks to be admitted to the cluster? Answered by [`ControlResponse::Askers`]. With a code:
    /// send the cluster key to who shows it. Answered by [`ControlResponse::Admitted`].
    Admit {
        /// The code, as somebody has typed it.
        code: Option<String>,
        /// Ask at this address, and not by multicast.
        address: Option<String>,
    },
    /// Root only: from here on the connection is a supervisor's link, and the supervisor sends
    /// [`super::supervisor::FromSupervisor::Hello`] next. Not answered; the agent closes the connection
    /// if it does not want it.
    Adopt,
}

/// How a program is to be run as a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunRequest {
    /// Send it to this node (name, number or address) as soon as it is executed.
    pub node: Option<String>,
    /// It and its children use these nodes and no others: names, numbers or addresses, with commas between them.
    pub only: Option<String>,
    /// They do not use these.
    pub not: Option<String>,
    /// It and its children are never to leave home.
    pub stay_home: bool,
    /// They leave home when a person sends them, and not by themselves.
    pub by_hand: bool,
    /// What it executes while it is away is sent after it.
    pub follow: bool,
    /// Answer only when this many nodes are alive, this one included.
    pub wait_nodes: Option<u32>,
    /// The caller stays as the program's parent, so the job can be followed without a cgroup.
    pub stays_as_parent: bool,
}

/// What an operator tells a node. All but `Show` is root's. openMosix's words, with what undoes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeOrder {
    /// Only say how it is.
    Show,
    /// Nothing leaves by itself.
    Stay(bool),
    /// No process whose home this is leaves by itself.
    LocalStay(bool),
    /// No guest comes in.
    Block(bool),
    /// The others are not told this node's load.
    Quiet(bool),
    /// Send all guests home, and block.
    Expel,
    /// Call all processes of this home back, and keep them.
    Bring,
    /// Use this as the speed of a CPU; none for what was measured.
    Speed(Option<u32>),
}

/// What operators have told a node, and what of it is still to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeModes {
    /// Nothing leaves by itself.
    pub stay: bool,
    /// No process whose home this is leaves by itself.
    pub lstay: bool,
    /// No guest comes in.
    pub block: bool,
    /// The others are not told this node's load.
    pub quiet: bool,
    /// Speed of one processor as others are told; 10,000 is the reference machine.
    pub speed: u32,
    /// Guests that are here.
    pub guests: u32,
    /// Processes whose home this is and that are away.
    pub away: u32,
}

/// What the agent answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ControlResponse {
    /// Answer to [`ControlRequest::Nodes`], by number.
    Nodes(Vec<NodeRow>),
    /// Answer to [`ControlRequest::Processes`], by job and pid.
    Processes(Vec<ProcessRow>),
    /// Answer to [`ControlRequest::Run`].
    Running(Running),
    /// Answer to [`ControlRequest::Migrate`].
    Migrated(MigrationRow),
    /// Answer to [`ControlRequest::Why`].
    Why(WhyRow),
    /// Answer to [`ControlRequest::Node`].
    Node(NodeModes),
    /// Answer to [`ControlRequest::Status`].
    Status(Box<StatusReport>),
    /// Answer to [`ControlRequest::Admit`] without a code, by name.
    Askers(Vec<AskerRow>),
    /// Answer to [`ControlRequest::Admit`] with one.
    Admitted(AskerRow),
    /// The request was not done.
    Error(ControlError),
}

/// How a caller of [`ControlRequest::Run`] goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Running {
    /// It is part of a job: execute the program.
    InJob {
        /// The job's number.
        job: u32,
    },
    /// This node has no cgroup2 that the agent can use: ask again as the program's parent.
    NeedsParent,
    /// It is known as the parent of a job: start the program as its child.
    AsParent {
        /// The job's number.
        job: u32,
    },
}

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlError {
    /// What kind of error; decides the exit code.
    pub kind: ErrorKind,
    /// One line: what failed, on which node or process, why, what to do.
    pub text: String,
    /// The reasons, when a process cannot move.
    pub reasons: Vec<Reason>,
}

/// Kinds of errors, by what a script would do about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// It was tried and failed (exit code 1).
    Failed,
    /// The request makes no sense to this agent (exit code 2).
    BadRequest,
    /// It may not or cannot be done, and nothing was changed (exit code 4).
    Refused,
}

impl ControlError {
    /// An error of the kind, without reasons.
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            reasons: Vec::new(),
        }
    }

    /// It was tried and failed.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, text)
    }

    /// It may not or cannot be done.
    pub fn refused(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Refused, text)
    }
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for ControlError {}

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeRow {
    /// Its number, the same on every node of the cluster.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Its identity, in hexadecimal.
    pub id: String,
    /// `joined`, `alive`, `suspect`, `lost` or `left`.
    pub state: String,
    /// Where it can be reached.
    pub addresses: Vec<String>,
    /// Processors.
    pub cpus: u32,
    /// Speed of one processor; 10,000 is the reference machine.
    pub speed: u32,
    /// Runnable threads, without Limosa's own, averaged over the last seconds.
    pub load: f64,
    /// Memory.
    pub memory_total_bytes: u64,
    /// Memory that could be used at once.
    pub memory_free_bytes: u64,
    /// Guests that run there.
    pub guests: u32,
    /// Version of its agent.
    pub version: String,
    /// Whether it is the node that was asked.
    pub this: bool,
}

/// A node that asks to be admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskerRow {
    /// What it calls itself.
    pub name: String,
    /// Where it was heard.
    pub address: String,
    /// The first two digits of its code.
    pub mark: String,
}

/// A process of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessRow {
    /// Its pid at home.
    pub pid: u32,
    /// Its command line, or its name in brackets.
    pub command: String,
    /// The user it runs as; the number where there is no name.
    pub user: String,
    /// The job's number.
    pub job: u32,
    /// The name of its home.
    pub home: String,
    /// The name of the node it runs on.
    pub node: String,
    /// Where it is in its journey.
    #[serde(with = "state_name")]
    pub state: ProcessState,
    /// How often it has moved, returns included.
    pub migrations: u32,
    /// How long it was frozen the last time it moved.
    pub freeze_ms_last: Option<f64>,
    /// Resident memory at home.
    pub memory_bytes: u64,
    /// CPU time used away from home.
    pub away_cpu_seconds: f64,
    /// What keeps it from leaving home, if the request asked for that.
    pub cantmove: Vec<Reason>,
    /// Why its last move did not happen, if it did not.
    pub last_failure: Option<String>,
    /// The nodes that it may use besides home; any, if none is named.
    pub only: Vec<String>,
    /// The nodes that it may not use.
    pub not: Vec<String>,
}

/// A move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MigrationRow {
    /// The process.
    pub pid: u32,
    /// The name of the node it was on.
    pub from: String,
    /// The name of the node it moves to.
    pub to: String,
    /// From the moment it stopped to the moment it ran again elsewhere; none without waiting.
    pub freeze_ms: Option<f64>,
    /// From the request to its end; none without waiting.
    pub total_ms: Option<f64>,
    /// Bytes sent for it, both ways; none without waiting.
    pub bytes_sent: Option<u64>,
}

/// Whether a process can move, and why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyRow {
    /// The process.
    pub pid: u32,
    /// The name of the node asked about, if one was.
    pub node: Option<String>,
    /// Whether nothing stands in the way.
    pub can_move: bool,
    /// What stands in the way.
    pub reasons: Vec<Reason>,
    /// Why its last move did not happen, if it did not.
    pub last_failure: Option<String>,
}

/// How a node, its cluster and its agent are doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    /// This node.
    pub node: NodeRow,
    /// The cluster's short id.
    pub cluster: String,
    /// Whether the key is the one that everybody has.
    pub open: bool,
    /// Members by state.
    pub members: MemberCounts,
    /// Jobs that were started here and have not ended.
    pub jobs: u32,
    /// Supervisors that run here.
    pub supervisors: Vec<SupervisorRow>,
    /// Nodes that were refused, or refused us: one line each.
    pub refusals: Vec<String>,
    /// Named counts of what the agent has seen since it started.
    pub counters: Vec<Counter>,
    /// The agent itself.
    pub agent: AgentUsage,
}

/// Members by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberCounts {
    /// In the cluster, this node included.
    pub alive: u32,
    /// Not heard of for a moment.
    pub suspect: u32,
    /// Gone without a word.
    pub lost: u32,
    /// Gone with one.
    pub left: u32,
}

/// A supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SupervisorRow {
    /// Its own pid.
    pub supervisor_pid: u32,
    /// `deputy` or `guest`.
    pub role: String,
    /// The process as home numbers it.
    pub pid: u32,
    /// The other node: where the guest runs, or where it comes from.
    pub node: String,
    /// Where the process is in its journey.
    pub state: String,
    /// Calls forwarded to home so far.
    pub calls_forwarded: u64,
}

/// A named count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// What is counted, with hyphens.
    pub name: String,
    /// How many.
    pub value: u64,
}

/// What the agent itself uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentUsage {
    /// Its pid.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// CPU time used since.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub memory_bytes: u64,
    /// Its run directory.
    pub run_dir: String,
    /// The cgroup2 that holds its jobs, as /proc/PID/cgroup names it; none when it follows children.
    pub cgroup: Option<String>,
}

/// The word for a state, as commands and JSON write it.
pub fn state_word(state: ProcessState) -> &'static str {
    match state {
        ProcessState::Starting => "starting",
        ProcessState::Home => "home",
        ProcessState::Leaving => "leaving",
        ProcessState::Away => "away",
        ProcessState::Returning => "returning",
    }
}

/// States are written as their words.
mod state_name {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::{ProcessState, state_word};

    pub(super) fn serialize<S: Serializer>(state: &ProcessState, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(state_word(*state))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<ProcessState, D::Error> {
        let word = String::deserialize(from)?;
        [
            ProcessState::Starting,
            ProcessState::Home,
            ProcessState::Leaving,
            ProcessState::Away,
            ProcessState::Returning,
        ]
        .into_iter()
        .find(|state| state_word(*state) == word)
        .ok_or_else(|| de::Error::custom(format!("no process state is called {word:?}")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::local::{decode, encode};

    fn any_request() -> impl Strategy<Value = ControlRequest> {
        let run = (
            any::<Option<String>>(),
            any::<bool>(),
            any::<bool>(),
            any::<Option<u32>>(),
            any::<[bool; 2]>(),
            any::<[Option<String>; 2]>(),
        )
            .prop_map(
                |(node, stay_home, follow, wait_nodes, flags, [only, not])| {
                    let [stays_as_parent, by_hand] = flags;
                    ControlRequest::Run(RunRequest {
                        node,
                        only,
                        not,
                        stay_home,
                        by_hand,
                        follow,
                        wait_nodes,
                        stays_as_parent,
                    })
                },
            );
        prop_oneof![
            Just(ControlRequest::Nodes),
            Just(ControlRequest::Status),
            Just(ControlRequest::Adopt),
            any::<Option<u32>>().prop_map(|speed| ControlRequest::Node(NodeOrder::Speed(speed))),
            any::<bool>().prop_map(|on| ControlRequest::Node(NodeOrder::Block(on))),
            any::<bool>().prop_map(|examine| ControlRequest::Processes { examine }),
            run,
            (any::<u32>(), any::<String>(), any::<bool>()).prop_map(|(pid, destination, wait)| {
                ControlRequest::Migrate {
                    pid,
                    destination,
                    wait,
                }
            }),
            (any::<u32>(), any::<Option<String>>())
                .prop_map(|(pid, node)| ControlRequest::Why { pid, node }),
            any::<[Option<String>; 2]>()
                .prop_map(|[code, address]| ControlRequest::Admit { code, address }),
        ]
    }

    proptest! {
        #[test]
        fn a_request_reads_back_as_it_was_sent(request in any_request()) {
            let frame = encode(&request).unwrap();
            prop_assert_eq!(decode::<ControlRequest>(&frame[4..]).unwrap(), request);
        }

        #[test]
        fn a_truncated_request_is_an_error(request in any_request(), part in 0.0..1.0f64) {
            let frame = encode(&request).unwrap();
            let body = &frame[4..];
            let kept = (body.len() as f64 * part) as usize;
            prop_assert!(decode::<ControlRequest>(&body[..kept]).is_err());
        }

        #[test]
        fn garbage_is_an_error_or_a_request_and_never_a_panic(bytes: Vec<u8>) {
            let _ = decode::<ControlRequest>(&bytes);
        }
    }

    #[test]
    fn a_process_has_exactly_the_fields_that_scripts_rely_on() {
        let row = ProcessRow {
            pid: 7,
            command: "sleep 9".into(),
            user: "anna".into(),
            job: 1,
            home: "n1".into(),
            node: "n2".into(),
            state: ProcessState::Away,
            migrations: 1,
            freeze_ms_last: Some(4.5),
            memory_bytes: 4096,
            away_cpu_seconds: 0.5,
            cantmove: vec![Reason {
                code: "setuid".into(),
                text: "it is setuid".into(),
            }],
            last_failure: None,
            only: vec!["n2".into()],
            not: Vec::new(),
        };
        let json = serde_json::to_string(&row).unwrap();
        assert_eq!(
            json,
            r#"{"pid":7,"command":"sleep 9","user":"anna","job":1,"home":"n1","node":"n2","#
                .to_string()
                + r#""state":"away","migrations":1,"freeze_ms_last":4.5,"memory_bytes":4096,"#
                + r#""away_cpu_seconds":0.5,"cantmove":[{"code":"setuid","text":"it is setuid"}],"#
                + r#""last_failure":null,"only":["n2"],"not":[]}"#
        );
        assert_eq!(serde_json::from_str::<ProcessRow>(&json).unwrap(), row);
    }
}
