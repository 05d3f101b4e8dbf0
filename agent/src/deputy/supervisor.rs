//! A deputy's supervisor: the process at home that takes one process through its journeys.
//!
//! ```text
//!             Move{node}                       Homecoming
//!   at home ------------> leaving --> away --------------------> at home
//!      ^                     |          |  remote lost, nothing seen since
//!      +---- any failure ----+          +------------------------> at home, as it left
//!                                       |  remote lost, something seen
//!                                       +------------------------> killed, with one line
//! ```
//!
//! At home nothing is attached to the process, except between `limosa run --node` and its exec. When the
//! process is at home and nothing more is asked, the supervisor ends. It has one thread: only it may use
//! ptrace on the process. If it ends while the process is away, the kernel kills the deputy (EXITKILL),
//! and the remote node the guest.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use crate::migrate::channel::Channel;
use crate::migrate::link::{self, AgentLink};
use crate::sys::inherited;
use crate::sys::probe::Capabilities;
use crate::sys::ptrace::{self, ThreadId, options};
use crate::sys::signal;
use crate::sys::wait::{self, Report, Stop};
use crate::wire::migration::ToGuest;
use crate::wire::supervisor::{
    Destination, FromSupervisor, LINK_FD, MoveError, MoveReport, NodeName, ProcessState, Role,
    SupervisorStatus, ToSupervisor,
};

use super::away::{Away, Fate, Trouble};
use super::departure::{self, DepartureError, Start};

/// How often the supervisor says that it is alive, and looks whether the remote node is.
const TICK: Duration = Duration::from_secs(1);

/// How long the agents may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a supervisor with nothing to do waits to be asked for something.
const IDLE_TIMEOUT: Duration = Duration::from_millis(200);

/// The supervisor of one process.
struct Supervisor {
    pid: ThreadId,
    link: AgentLink,
    home: NodeName,
    children: OwnedFd,
    capabilities: Capabilities,
    /// Moves asked for and not yet begun.
    requests: VecDeque<(u64, Destination)>,
    /// Answers to [`FromSupervisor::OpenChannel`] not yet taken.
    channels: VecDeque<(u64, Result<Channel, String>)>,
    channels_asked: u64,
    away_cpu_seconds: f64,
    calls_forwarded: u64,
}

/// The hidden command `deputy-supervisor`.
pub fn main() -> ExitCode {
    let started = inherited::take(LINK_FD)
        .map_err(|error| error.to_string())
        .and_then(|descriptor| start(descriptor).map_err(|error| error.to_string()));
    match started {
        Ok((supervisor, wait_exec)) => {
            supervisor.serve(wait_exec);
            ExitCode::SUCCESS
        }
        Err(error) => {
            log::warn!("deputy supervisor ends: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(descriptor: OwnedFd) -> Result<(Supervisor, bool), Trouble> {
    // Before anything is traced: it forks.
    let capabilities = Capabilities::probe();
    let children = signal::child_descriptor()?;
    let (stream, first) = link::first_message(descriptor)
        .map_err(|error| Trouble::Protocol(format!("the agent's link failed: {error}")))?;
    let ToSupervisor::StartDeputy {
        pid,
        wait_exec,
        control_socket,
        home,
    } = first.message
    else {
        return Err(Trouble::Protocol(
            "the agent did not say what to start".to_owned(),
        ));
    };
    let status = SupervisorStatus {
        state: if wait_exec {
            ProcessState::Starting
        } else {
            ProcessState::Home
        },
        node: home.clone(),
        away_cpu_seconds: 0.0,
        calls_forwarded: 0,
    };
    let mut link = AgentLink::new(stream, control_socket, Role::Deputy, pid, status);
    let pid = pid.cast_signed();
    if wait_exec {
        ptrace::seize(pid, options::EXEC | options::SYSCALL_GOOD)?;
        link.send(&FromSupervisor::Seized);
    }
    let supervisor = Supervisor {
        pid,
        link,
        home,
        children,
        capabilities,
        requests: VecDeque::new(),
        channels: VecDeque::new(),
        channels_asked: 0,
        away_cpu_seconds: 0.0,
        calls_forwarded: 0,
    };
    Ok((supervisor, wait_exec))
}

impl Supervisor {
    fn serve(mut self, wait_exec: bool) {
        let mut start = Start::Running;
        if wait_exec {
            if !self.await_exec() {
                return;
            }
            start = Start::AtExec;
        }
        while let Some((request, destination)) = self.next_request() {
            let began = Instant::now();
            let node = match &destination {
                Destination::Home => {
                    self.answer(request, destination, Ok(MoveReport::default()), None);
                    continue;
                }
                Destination::Node(node) => node.clone(),
            };
            let outcome = self.leave(node, start);
            if start == Start::AtExec && outcome.is_err() {
                // It stands at its exec still, unless it was let go after the freeze.
                let _ = ptrace::detach(self.pid, 0);
            }
            start = Start::Running;
            match outcome {
                Err(error) => {
                    self.link.report(|status| status.state = ProcessState::Home);
                    let is_gone = matches!(error, DepartureError::Gone);
                    self.answer(request, destination, Err(error.into_move_error()), None);
                    if is_gone {
                        return;
                    }
                }
                Ok(away) => {
                    let freeze_ms = away.freeze_start.elapsed().as_secs_f64() * 1000.0;
                    let report = MoveReport {
                        freeze_ms,
                        total_ms: began.elapsed().as_secs_f64() * 1000.0,
                        bytes_sent: away.channel.bytes(),
                    };
                    self.answer(request, destination, Ok(report), None);
                    if !self.journey(away) {
                        return;
                    }
                }
            }
        }
        if start == Start::AtExec {
            let _ = ptrace::detach(self.pid, 0);
        }
    }

    fn answer(
        &mut self,
        request: u64,
        destination: Destination,
        result: Result<MoveReport, MoveError>,
        cause: Option<String>,
    ) {
        self.link.send(&FromSupervisor::MoveDone {
            request,
            destination,
            result,
            cause,
        });
    }

    /// The next move asked for; none if the supervisor is not needed.
    fn next_request(&mut self) -> Option<(u64, Destination)> {
        let deadline = Instant::now() + IDLE_TIMEOUT;
        while self.requests.is_empty() && Instant::now() < deadline {
            self.link.descriptor()?;
            self.wait(None, IDLE_TIMEOUT);
        }
        self.requests.pop_front()
    }

    /// Lets the seized process run until it stands at its exec. `false` if it ends before.
    fn await_exec(&mut self) -> bool {
        loop {
            match wait::poll_for(self.pid) {
                Ok(Some(Report::Stopped(Stop::Exec))) => return self.finish_exec(),
                Ok(Some(Report::Stopped(stop))) => {
                    let resumed = match stop {
                        Stop::Signal(signal) => ptrace::resume(self.pid, signal),
                        Stop::Group(_) => ptrace::listen(self.pid),
                        _ => ptrace::resume(self.pid, 0),
                    };
                    if resumed.is_err() {
                        return false;
                    }
                }
                Ok(Some(Report::Exited(_) | Report::Killed(_))) | Err(_) => return false,
                Ok(None) => self.wait(None, TICK),
            }
        }
    }

    /// The stop at an exec lies inside the call, whose exit will yet set registers: lets it get there, to
    /// just before the first instruction of the new program.
    fn finish_exec(&self) -> bool {
        ptrace::resume_to_call(self.pid, 0).is_ok()
            && matches!(wait::wait_for(self.pid), Ok(Report::Stopped(Stop::Call)))
    }

    /// Waits until something has happened, at most for `timeout`, and takes the agent's messages.
    fn wait(&mut self, channel: Option<&Channel>, timeout: Duration) {
        let mut descriptors = vec![PollFd::new(&self.children, PollFlags::IN)];
        let link_index = self.link.descriptor().map(|link| {
            descriptors.push(PollFd::from_borrowed_fd(link, PollFlags::IN));
            1
        });
        if let Some(channel) = channel {
            descriptors.push(PollFd::new(channel, PollFlags::IN));
        }
        let timeout = rustix::event::Timespec {
            tv_sec: timeout.as_secs().cast_signed(),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        // An error is as good as nothing having happened: everything is looked at again.
        let _ = poll(&mut descriptors, Some(&timeout));
        let link_is_ready =
            link_index.is_some_and(|index: usize| !descriptors[index].revents().is_empty());
        drop(descriptors);
        signal::drain(&self.children);
        if link_is_ready {
            self.on_agent();
        }
        self.link.reconnect(Instant::now());
    }

    fn on_agent(&mut self) {
        let Some(received) = self.link.receive() else {
            return;
        };
        match received.message {
            ToSupervisor::Move {
                request,
                destination,
            } => {
                self.requests.push_back((request, destination));
            }
            ToSupervisor::Channel { request, result } => {
                let channel = result.and_then(|keys| {
                    let descriptor = received.descriptor.ok_or("the agent sent no connection")?;
                    Channel::new(descriptor, &keys).map_err(|error| error.to_string())
                });
                self.channels.push_back((request, channel));
            }
            ToSupervisor::NodeLost(node) => {
                // The channel decides: a node that is only slow for others still serves this guest.
                log::debug!("the agent believes that node {node} is lost");
            }
            ToSupervisor::StartDeputy { .. } | ToSupervisor::StartGuest { .. } => {
                log::warn!("the agent starts a supervisor that runs already");
            }
        }
    }

    /// Has the agents connect.
    fn open_channel(&mut self, node: &NodeName) -> Result<Channel, DepartureError> {
        self.channels_asked += 1;
        let request = self.channels_asked;
        self.link.send(&FromSupervisor::OpenChannel {
            request,
            node: node.id,
        });
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        while Instant::now() < deadline {
            let position = self
                .channels
                .iter()
                .position(|(answered, _)| *answered == request);
            if let Some((_, channel)) = position.and_then(|index| self.channels.remove(index)) {
                return channel.map_err(DepartureError::Failed);
            }
            if self.link.descriptor().is_none() {
                let text = format!("the agent ended while it was connecting to {}", node.name);
                return Err(DepartureError::Failed(text));
            }
            self.wait(None, TICK);
        }
        Err(DepartureError::Failed(format!(
            "node {} could not be reached in time",
            node.name
        )))
    }

    fn leave(&mut self, node: NodeName, start: Start) -> Result<Away, DepartureError> {
        self.link
            .report(|status| status.state = ProcessState::Leaving);
        departure::examine_patiently(self.pid)?;
        let mut channel = self.open_channel(&node)?;
        departure::prepare(&mut channel, self.pid, &self.capabilities)?;
        departure::depart(channel, self.pid, start, node)
    }

    /// Serves a process that is away until it is not. `false` if it has ended.
    fn journey(&mut self, mut away: Away) -> bool {
        let cpu_before = self.away_cpu_seconds;
        let calls_before = self.calls_forwarded;
        let node = away.node.clone();
        self.link.report(|status| {
            status.state = ProcessState::Away;
            status.node = node;
        });
        let mut last_tick = Instant::now();
        let fate = loop {
            match self.advance(&mut away, &mut last_tick) {
                Ok(None) => {}
                Ok(Some(fate)) => break fate,
                Err(trouble) => break away.on_trouble(&trouble),
            }
            self.away_cpu_seconds = cpu_before + away.cpu_seconds;
            self.calls_forwarded = calls_before + away.calls_forwarded;
        };
        self.away_cpu_seconds = cpu_before + away.cpu_seconds;
        self.calls_forwarded = calls_before + away.calls_forwarded;
        self.end_journey(&mut away, fate)
    }

    fn advance(
        &mut self,
        away: &mut Away,
        last_tick: &mut Instant,
    ) -> Result<Option<Fate>, Trouble> {
        if let Some(fate) = away.on_threads()? {
            return Ok(Some(fate));
        }
        if let Some(fate) = away.on_messages()? {
            return Ok(Some(fate));
        }
        if !self.requests.is_empty() && !self.answer_arrived(&away.node) && away.recalled.is_none()
        {
            self.link
                .report(|status| status.state = ProcessState::Returning);
            away.recall()?;
        }
        if last_tick.elapsed() >= TICK {
            *last_tick = Instant::now();
            away.on_tick()?;
            let (cpu_seconds, calls) = (self.away_cpu_seconds, self.calls_forwarded);
            self.link.report(|status| {
                status.away_cpu_seconds = cpu_seconds;
                status.calls_forwarded = calls;
            });
        }
        self.wait(Some(&away.channel), TICK);
        Ok(None)
    }

    /// Answers requests to go where the process is. `true` if none of another kind is left.
    fn answer_arrived(&mut self, node: &NodeName) -> bool {
        while let Some((_, Destination::Node(wanted))) = self.requests.front()
            && wanted.id == node.id
        {
            if let Some((request, destination)) = self.requests.pop_front() {
                self.answer(request, destination, Ok(MoveReport::default()), None);
            }
        }
        self.requests.is_empty()
    }

    fn end_journey(&mut self, away: &mut Away, fate: Fate) -> bool {
        let (cpu_seconds, calls) = (self.away_cpu_seconds, self.calls_forwarded);
        let home = self.home.clone();
        self.link.report(|status| {
            status.state = ProcessState::Home;
            status.node = home;
            status.away_cpu_seconds = cpu_seconds;
            status.calls_forwarded = calls;
        });
        match fate {
            Fate::AtHome(report, cause) => {
                let mut request = 0;
                if let Some((_, Destination::Home)) = self.requests.front() {
                    request = self.requests.pop_front().map_or(0, |(request, _)| request);
                }
                self.answer(request, Destination::Home, Ok(report), cause);
                true
            }
            Fate::Resumed(text) => {
                let notice = format!("{text}; it goes on at home from where it left");
                self.link.send(&FromSupervisor::Notice(notice));
                self.fail_requests(&MoveError::Failed(text.clone()));
                let report = MoveReport::default();
                self.answer(0, Destination::Home, Ok(report), Some(text));
                true
            }
            Fate::Killed(text) => {
                let notice = format!("killed: {text}");
                self.link.send(&FromSupervisor::Notice(notice));
                self.fail_requests(&MoveError::Failed(text));
                false
            }
            Fate::Ended => {
                if let Err(error) = away.channel.send(&ToGuest::Arrived, &[]) {
                    log::debug!("the guest's supervisor had ended already: {error}");
                }
                self.fail_requests(&MoveError::Gone);
                false
            }
        }
    }

    fn fail_requests(&mut self, error: &MoveError) {
        while let Some((request, destination)) = self.requests.pop_front() {
            self.answer(request, destination, Err(error.clone()), None);
        }
    }
}
