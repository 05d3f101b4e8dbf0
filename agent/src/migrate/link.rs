//! A supervisor's end of the link to its agent, which may come and go.
//!
//! When the agent ends, the supervisor goes on without it, and tries once in a while to be adopted by
//! its successor at the control socket (see [`crate::wire::supervisor`]).

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::wire::control::ControlRequest;
use crate::wire::local::{self, LocalError, Received};
use crate::wire::supervisor::{ChannelKeys, FromSupervisor, Role, SupervisorStatus, ToSupervisor};

/// How often an agent is looked for while there is none.
const RECONNECT_INTERVAL: Duration = Duration::from_secs(1);

/// Longest time that an agent may take to accept a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);

/// The link.
pub struct AgentLink {
    stream: Option<UnixStream>,
    control_socket: String,
    role: Role,
    processes: BTreeMap<u32, SupervisorStatus>,
    next_attempt: Instant,
    /// What the agent said while something else was waited for.
    early: VecDeque<Received<ToSupervisor>>,
}

/// Takes the link that the agent has left at `descriptor`, and its first message.
pub fn first_message(
    descriptor: OwnedFd,
) -> Result<(UnixStream, Received<ToSupervisor>), LocalError> {
    let stream = UnixStream::from(descriptor);
    match local::receive(&stream)? {
        Some(received) => Ok((stream, received)),
        None => Err(LocalError::Truncated),
    }
}

impl AgentLink {
    /// Goes on with a link whose first message has been received.
    pub fn new(stream: UnixStream, control_socket: String, role: Role) -> AgentLink {
        let mut link = AgentLink::without_agent(control_socket, role);
        link.use_stream(stream);
        link
    }

    /// A link to an agent that is yet to be found.
    pub fn without_agent(control_socket: String, role: Role) -> AgentLink {
        AgentLink {
            stream: None,
            control_socket,
            role,
            processes: BTreeMap::new(),
            next_attempt: Instant::now(),
            early: VecDeque::new(),
        }
    }

    fn use_stream(&mut self, stream: UnixStream) {
        match stream.set_write_timeout(Some(SEND_TIMEOUT)) {
            Ok(()) => self.stream = Some(stream),
            Err(error) => log::warn!("the agent's link cannot be used: {error}"),
        }
    }

    /// The descriptor to watch for messages, while there is an agent.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().map(AsFd::as_fd)
    }

    /// Path of the agent's control socket.
    pub fn control_socket(&self) -> &str {
        &self.control_socket
    }

    /// Another process is the supervisor's; the agent is told when its state changes.
    pub fn begin(&mut self, pid: u32, status: SupervisorStatus) {
        let is_first = self.processes.is_empty();
        self.processes.insert(pid, status.clone());
        if !is_first {
            self.send(&FromSupervisor::Status { pid, status });
        }
    }

    /// A process is the supervisor's no more.
    pub fn end(&mut self, pid: u32) {
        if self.processes.remove(&pid).is_some() {
            self.send(&FromSupervisor::Left { pid });
        }
    }

    /// Sends a message; without an agent it is dropped, and a successor learns the state at adoption.
    pub fn send(&mut self, message: &FromSupervisor) {
        if let Some(stream) = &self.stream
            && let Err(error) = local::send(stream, message, None)
        {
            log::info!("the agent is gone: {error}");
            self.stream = None;
        }
    }

    /// Tells the agent what has changed of a process.
    pub fn report(&mut self, pid: u32, change: impl FnOnce(&mut SupervisorStatus)) {
        let Some(status) = self.processes.get_mut(&pid) else {
            return;
        };
        let before = status.clone();
        change(status);
        if *status != before {
            let status = status.clone();
            self.send(&FromSupervisor::Status { pid, status });
        }
    }

    /// Whether the agent has said something that was put aside.
    pub fn has_early(&self) -> bool {
        !self.early.is_empty()
    }

    /// Waits for the connection that the agent hands over unasked; what else it says is put aside.
    ///
    /// # Errors
    /// One line: it does not come.
    pub fn await_connection(
        &mut self,
        timeout: Duration,
    ) -> Result<(ChannelKeys, OwnedFd), String> {
        let deadline = Instant::now() + timeout;
        loop {
            let remaining = deadline.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                return Err("this node's agent hands over no page connection".to_owned());
            }
            let Some(descriptor) = self.descriptor() else {
                return Err("this node's agent has ended".to_owned());
            };
            let timeout = Timespec {
                tv_sec: remaining.as_secs().cast_signed(),
                tv_nsec: i64::from(remaining.subsec_nanos()),
            };
            let mut descriptors = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
            if !matches!(poll(&mut descriptors, Some(&timeout)), Ok(1..)) {
                continue;
            }
            let Some(received) = self.receive_now() else {
                continue;
            };
            match received {
                Received {
                    message: ToSupervisor::Channel { result, .. },
                    descriptor: Some(connection),
                } => {
                    let result = result.map_err(|error| error.text);
                    return result.map(|keys| (keys, connection));
                }
                other => self.early.push_back(other),
            }
        }
    }

    /// The next message of the agent, to be called when the descriptor is readable or
    /// [`Self::has_early`].
    pub fn receive(&mut self) -> Option<Received<ToSupervisor>> {
        self.early.pop_front().or_else(|| self.receive_now())
    }

    fn receive_now(&mut self) -> Option<Received<ToSupervisor>> {
        let stream = self.stream.as_ref()?;
        match local::receive(stream) {
            Ok(Some(received)) => Some(received),
            Ok(None) => {
                log::info!("the agent has closed its link");
                self.stream = None;
                None
            }
            Err(error) => {
                log::warn!("the agent's link failed: {error}");
                self.stream = None;
                None
            }
        }
    }

    /// Looks for an agent if there is none; to be called about once a second.
    pub fn reconnect(&mut self, now: Instant) {
        if self.stream.is_some() || now < self.next_attempt {
            return;
        }
        self.next_attempt = now + RECONNECT_INTERVAL;
        let Ok(stream) = UnixStream::connect(&self.control_socket) else {
            return;
        };
        if stream.set_write_timeout(Some(SEND_TIMEOUT)).is_err() {
            return;
        }
        let hello = FromSupervisor::Hello {
            role: self.role,
            supervisor_pid: std::process::id(),
            processes: self
                .processes
                .iter()
                .map(|(&pid, status)| (pid, status.clone()))
                .collect(),
        };
        let sent = local::send(&stream, &ControlRequest::Adopt, None)
            .and_then(|()| local::send(&stream, &hello, None));
        match sent {
            Ok(()) => {
                log::info!("found a new agent at {}", self.control_socket);
                self.stream = Some(stream);
            }
            Err(error) => log::debug!("the new agent does not listen yet: {error}"),
        }
    }
}
