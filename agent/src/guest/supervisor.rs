//! A guest's supervisor: the process on the remote node that makes, traces and ends one guest.
//!
//! 1. The agent hands over a connection; home says what is coming (`Prepare`).
//! 2. A sandbox with an empty guest is made; home freezes the process and sends it.
//! 3. The guest is built; at `Commit` it runs.
//! 4. Until the process goes home or ends: trapped calls go home, results and signals come back.
//!
//! The supervisor has one thread: only it may use ptrace on the guest. If it ends, for whatever reason,
//! the kernel kills the guest (EXITKILL, and the death of the namespaces' init). If home has not been
//! heard for [`LEASE`], it ends by itself: home, which declares a silent guest lost only later, may then
//! run the process again.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use crate::migrate::capture::CaptureError;
use crate::migrate::channel::{Channel, ChannelError, Message};
use crate::migrate::inject::InjectError;
use crate::migrate::link::{self, AgentLink};
use crate::process::stat;
use crate::sys::inherited;
use crate::sys::probe::Capabilities;
use crate::sys::ptrace::{self, ThreadId};
use crate::sys::signal::{self, numbers};
use crate::sys::wait::{self, Report, Stop};
use crate::wire::migration::{ToDeputy, ToGuest};
use crate::wire::supervisor::{
    Destination, FromSupervisor, LINK_FD, MoveReport, ProcessState, Role, SupervisorStatus,
    ToSupervisor,
};

use super::arrival::{self, DEPARTURE_TIMEOUT};
use super::build::BuildError;
use super::sandbox::{Sandbox, SandboxError};
use super::threads::{FINISHING_CALL, Guest, GuestThread, ThreadState};

/// How long home may be silent before the guest is killed.
pub const LEASE: Duration = Duration::from_secs(5);

/// How often the supervisor reports and looks at its lease.
const TICK: Duration = Duration::from_secs(1);

/// Why a guest has to end.
#[derive(Debug)]
pub enum Trouble {
    /// The guest was killed on this node.
    GuestGone,
    /// The channel to home is of no more use.
    Channel(ChannelError),
    /// Home has been silent for [`LEASE`].
    HomeSilent,
    /// ptrace or /proc refused.
    Io(io::Error),
    /// A call could not be injected.
    Inject(InjectError),
    /// The guest's image could not be made.
    Capture(CaptureError),
    /// Home and this side disagree: one line.
    Protocol(String),
    /// The guest could not be made.
    Build(BuildError),
    /// The sandbox could not be made.
    Sandbox(SandboxError),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::GuestGone => write!(out, "the guest was killed on this node"),
            Self::Channel(error) => error.fmt(out),
            Self::HomeSilent => write!(out, "home has been silent for {} s", LEASE.as_secs()),
            Self::Io(error) => write!(out, "the kernel refused: {error}"),
            Self::Inject(error) => error.fmt(out),
            Self::Capture(error) => error.fmt(out),
            Self::Protocol(text) => out.write_str(text),
            Self::Build(error) => error.fmt(out),
            Self::Sandbox(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for Trouble {}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        const ESRCH: i32 = 3;
        if error.raw_os_error() == Some(ESRCH) {
            Self::GuestGone
        } else {
            Self::Io(error)
        }
    }
}

impl From<ChannelError> for Trouble {
    fn from(error: ChannelError) -> Self {
        Self::Channel(error)
    }
}

impl From<InjectError> for Trouble {
    fn from(error: InjectError) -> Self {
        Self::Inject(error)
    }
}

impl From<CaptureError> for Trouble {
    fn from(error: CaptureError) -> Self {
        Self::Capture(error)
    }
}

impl From<BuildError> for Trouble {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

impl From<SandboxError> for Trouble {
    fn from(error: SandboxError) -> Self {
        Self::Sandbox(error)
    }
}

/// What follows from an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// The guest goes on.
    Continue,
    /// It must go home; why, if home has not asked for it.
    GoHome(Option<String>),
    /// The process runs at home or has ended: nothing is left to do.
    End,
}

/// A running guest's supervisor.
pub struct Supervisor {
    pub(super) channel: Channel,
    pub(super) guest: Guest,
    pub(super) sandbox: Sandbox,
    /// Forwarded calls so far; the next one gets the next number.
    pub(super) calls_made: u64,
    /// `Signal` messages so far.
    pub(super) signals_received: u64,
    /// The agent's request to send the guest home.
    dismissed: Option<u64>,
    link: AgentLink,
}

/// The hidden command `guest-supervisor`.
pub fn main() -> ExitCode {
    let outcome = inherited::take(LINK_FD)
        .map_err(Trouble::from)
        .and_then(|descriptor| start(descriptor).and_then(Supervisor::serve));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            log::warn!("guest supervisor ends: {trouble}");
            ExitCode::FAILURE
        }
    }
}

fn start(descriptor: OwnedFd) -> Result<Supervisor, Trouble> {
    let protocol = |text: &str| Trouble::Protocol(text.to_owned());
    let (stream, first) = link::first_message(descriptor)
        .map_err(|error| Trouble::Protocol(format!("the agent's link failed: {error}")))?;
    let ToSupervisor::StartGuest {
        keys,
        home: _,
        remote,
        control_socket,
    } = first.message
    else {
        return Err(protocol("the agent did not say what to start"));
    };
    let connection = first
        .descriptor
        .ok_or_else(|| protocol("the agent has handed over no connection"))?;
    // The kernel's answers about this node; made before there is a guest, because it forks.
    let capabilities = Capabilities::probe();
    let mut channel = Channel::new(connection, &keys)?;
    let message: Message<ToGuest> = channel.receive(DEPARTURE_TIMEOUT)?;
    let ToGuest::Prepare(prepare) = message.header else {
        return Err(protocol("home did not begin with Prepare"));
    };
    let status = SupervisorStatus {
        state: ProcessState::Leaving,
        node: remote.clone(),
        away_cpu_seconds: 0.0,
        calls_forwarded: 0,
    };
    let pid = prepare.pid.cast_unsigned();
    let link = AgentLink::new(stream, control_socket, Role::Guest, pid, status);
    let (sandbox, guest) = arrival::receive_guest(&mut channel, &prepare, &capabilities, &remote)?;
    Ok(Supervisor {
        channel,
        guest,
        sandbox,
        calls_made: FINISHING_CALL,
        signals_received: 0,
        dismissed: None,
        link,
    })
}

impl Supervisor {
    /// From `Commit` on: runs the guest until it is at home or has ended.
    fn serve(mut self) -> Result<(), Trouble> {
        let children = signal::child_descriptor()?;
        self.link.report(|status| status.state = ProcessState::Away);
        self.run_held()?;
        let mut last_tick = Instant::now();
        let mut cause_to_leave = None;
        loop {
            let mut next = self.on_threads()?;
            if next == Next::Continue {
                next = self.on_messages()?;
            }
            if next == Next::Continue && self.dismissed.is_some() {
                next = Next::GoHome(Some("the node that it ran on stops".to_owned()));
            }
            match next {
                Next::Continue => {}
                Next::GoHome(cause) => {
                    cause_to_leave.get_or_insert(cause);
                }
                Next::End => return Ok(()),
            }
            if !self.guest.awaits_thread()
                && let Some(cause) = cause_to_leave.take()
            {
                return self.go_home(cause);
            }
            if last_tick.elapsed() >= TICK {
                last_tick = Instant::now();
                self.on_tick()?;
            }
            self.wait(&children, TICK)?;
            signal::drain(&children);
        }
    }

    /// Waits until something has happened, at most for `timeout`; takes the agent's messages.
    fn wait(&mut self, children: &OwnedFd, timeout: Duration) -> Result<(), Trouble> {
        let mut descriptors = vec![
            PollFd::new(&self.channel, PollFlags::IN),
            PollFd::new(children, PollFlags::IN),
        ];
        if let Some(link) = self.link.descriptor() {
            descriptors.push(PollFd::from_borrowed_fd(link, PollFlags::IN));
        }
        let timeout = rustix::event::Timespec {
            tv_sec: timeout.as_secs().cast_signed(),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        match poll(&mut descriptors, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Trouble::Io(error.into())),
        }
        let link_is_ready = descriptors
            .get(2)
            .is_some_and(|link| !link.revents().is_empty());
        if link_is_ready && let Some(received) = self.link.receive() {
            self.on_agent(&received.message);
        }
        Ok(())
    }

    /// A node that stops sends its guests home; what else an agent says concerns only deputies.
    fn on_agent(&mut self, message: &ToSupervisor) {
        match message {
            ToSupervisor::Move {
                request,
                destination: Destination::Home,
            } => {
                self.dismissed = Some(*request);
            }
            ToSupervisor::NodeLost(node) => {
                log::debug!("the agent believes that node {node} is lost; the channel decides");
            }
            _ => log::warn!("the agent asks of a guest's supervisor what only a deputy's can do"),
        }
    }

    fn on_tick(&mut self) -> Result<(), Trouble> {
        if self.channel.last_heard().elapsed() > LEASE {
            return Err(Trouble::HomeSilent);
        }
        let cpu_seconds = self.cpu_seconds();
        let signals_received = self.signals_received;
        self.channel.send(
            &ToDeputy::Usage {
                cpu_seconds,
                signals_received,
            },
            &[],
        )?;
        let calls_forwarded = self.calls_made;
        self.link.report(|status| {
            status.away_cpu_seconds = cpu_seconds;
            status.calls_forwarded = calls_forwarded;
        });
        self.link.reconnect(Instant::now());
        Ok(())
    }

    pub(super) fn cpu_seconds(&self) -> f64 {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        stat::read(self.guest.leader.cast_unsigned()).map_or(0.0, |stat| {
            (stat.user_time_ticks + stat.system_time_ticks) as f64 / ticks
        })
    }

    /// Handles whatever the guest's threads report.
    fn on_threads(&mut self) -> Result<Next, Trouble> {
        while let Some((thread, report)) = wait::poll_any()? {
            match self.on_report(thread, report)? {
                Next::Continue => {}
                next => return Ok(next),
            }
        }
        Ok(Next::Continue)
    }

    fn on_report(&mut self, thread: ThreadId, report: Report) -> Result<Next, Trouble> {
        let stop = match report {
            Report::Exited(_) | Report::Killed(_) => return self.on_end(thread),
            Report::Stopped(stop) => stop,
        };
        match stop {
            Stop::Seccomp => self.on_trap(thread),
            Stop::Signal(signal) => self.on_delivery(thread, signal),
            Stop::Interrupted if self.guest.is_held => {
                if let Some(known) = self.guest.by_thread(thread) {
                    known.state = ThreadState::Held;
                }
                Ok(Next::Continue)
            }
            // Job control is home's: a stop signal sent on this node has no effect.
            Stop::Group(_)
            | Stop::Interrupted
            | Stop::Call
            | Stop::NewThread
            | Stop::Exec
            | Stop::Other(_) => {
                ptrace::resume(thread, 0)?;
                Ok(Next::Continue)
            }
        }
    }

    fn on_end(&mut self, thread: ThreadId) -> Result<Next, Trouble> {
        let position = self
            .guest
            .threads
            .iter()
            .position(|known| known.thread == thread);
        match position {
            Some(index) if self.guest.threads[index].is_exiting => {
                self.guest.threads.remove(index);
                Ok(Next::Continue)
            }
            Some(_) => Err(Trouble::GuestGone),
            None if thread == self.sandbox.init() => Err(Trouble::GuestGone),
            None => Ok(Next::Continue),
        }
    }

    /// Handles whatever home has sent.
    fn on_messages(&mut self) -> Result<Next, Trouble> {
        while let Some(message) = self.channel.try_receive()? {
            match self.on_message(message)? {
                Next::Continue => {}
                next => return Ok(next),
            }
        }
        Ok(Next::Continue)
    }

    fn on_message(&mut self, message: Message<ToGuest>) -> Result<Next, Trouble> {
        let Message { header, payload } = message;
        match header {
            ToGuest::Return {
                tid,
                call,
                result,
                signal,
            } => self.on_return(tid, call, result, &payload, signal),
            ToGuest::Finished {
                tid,
                result,
                changed,
                signal,
            } => {
                self.write_changed(&changed, &payload)?;
                self.on_return(tid, FINISHING_CALL, result, &[], signal)
            }
            ToGuest::Pages { address } => {
                // The contents of a file that the guest is mapping; it may have unmapped it already.
                if let Err(error) = self.guest.memory.write(address, &payload) {
                    log::debug!("a mapped file's page at {address:#x} has no place: {error}");
                }
                Ok(Next::Continue)
            }
            ToGuest::Signal { tid, info } => self.on_signal_from_home(tid, info),
            ToGuest::Stopped(is_held) => self.hold(is_held),
            ToGuest::Recall => Ok(Next::GoHome(None)),
            ToGuest::Arrived => Ok(Next::End),
            ToGuest::Alive | ToGuest::PagesEnd { .. } => Ok(Next::Continue),
            ToGuest::Prepare(_)
            | ToGuest::Clocks { .. }
            | ToGuest::Depart { .. }
            | ToGuest::Commit => Err(Trouble::Protocol(
                "home begins a migration that is long over".to_owned(),
            )),
        }
    }

    fn write_changed(&mut self, changed: &[(u64, u64)], payload: &[u8]) -> Result<(), Trouble> {
        let mut rest = payload;
        for &(address, length) in changed {
            let (bytes, behind) = usize::try_from(length)
                .ok()
                .and_then(|length| rest.split_at_checked(length))
                .ok_or_else(|| Trouble::Protocol("changed memory is incomplete".to_owned()))?;
            self.guest.memory.write(address, bytes)?;
            rest = behind;
        }
        Ok(())
    }

    /// Job control at home has stopped or continued the process.
    fn hold(&mut self, is_held: bool) -> Result<Next, Trouble> {
        self.guest.is_held = is_held;
        if is_held {
            for thread in &self.guest.threads {
                if matches!(thread.state, ThreadState::Running) {
                    // One that has just stopped by itself is held when it would be resumed.
                    let _ = ptrace::interrupt(thread.thread);
                }
            }
        } else {
            self.run_held()?;
        }
        Ok(Next::Continue)
    }

    fn run_held(&mut self) -> Result<(), Trouble> {
        let held: Vec<ThreadId> = self
            .guest
            .threads
            .iter()
            .filter(|thread| matches!(thread.state, ThreadState::Held))
            .map(|thread| thread.thread)
            .collect();
        for thread in held {
            self.guest.run(thread, 0)?;
        }
        Ok(())
    }

    /// A thread that the guest has just made, attached to and stopped by the kernel.
    pub(super) fn adopt_thread(&mut self, thread: ThreadId, tid: i32) -> Result<(), Trouble> {
        match wait::wait_for(thread)? {
            Report::Stopped(_) => {}
            Report::Exited(_) | Report::Killed(_) => return Err(Trouble::GuestGone),
        }
        let mask_at_home = ptrace::signal_mask(thread)?;
        self.guest.threads.push(GuestThread {
            thread,
            tid,
            state: ThreadState::Held,
            signals: std::collections::VecDeque::new(),
            interrupted: None,
            mask_at_home,
            is_exiting: false,
        });
        self.guest.run(thread, 0)?;
        Ok(())
    }

    /// Sends the guest home and waits until home no longer needs it.
    fn go_home(mut self, cause: Option<String>) -> Result<(), Trouble> {
        self.link
            .report(|status| status.state = ProcessState::Returning);
        self.send_home(cause)?;
        loop {
            match self.channel.receive::<ToGuest>(LEASE) {
                Ok(message) if matches!(message.header, ToGuest::Arrived) => break,
                Ok(_) => {}
                // Home has everything; whether it is still there changes nothing here.
                Err(ChannelError::Closed | ChannelError::Io(_)) => break,
                Err(error) => return Err(error.into()),
            }
        }
        let leader = self.guest.leader;
        if let Err(error) = signal::send_to_process(leader, numbers::SIGKILL) {
            log::debug!("guest {leader} had ended already: {error}");
        }
        wait::reap_process(leader);
        if let Some(request) = self.dismissed {
            let (destination, result) = (Destination::Home, Ok(MoveReport::default()));
            let done = FromSupervisor::MoveDone {
                request,
                destination,
                result,
                cause: None,
            };
            self.link.send(&done);
        }
        Ok(())
    }
}
