//! A deputy's supervisor: the process at home that takes a process through its journeys, and those that
//! this one forks while it is away.
//!
//! ```text
//!             Move{node}                       Homecoming
//!   at home ------------> leaving --> away --------------------> at home
//!      ^                     |          |  exec
//!      +---- any failure ----+          +------------------------> at home, or sent after it (follow)
//!                                       |  remote lost, nothing seen since
//!                                       +------------------------> at home, as it left
//!                                       |  remote lost, something seen
//!                                       +------------------------> killed, with one line
//! ```
//!
//! At home nothing is attached to a process, except between an exec and its being sent on. When all are
//! at home and nothing more is asked, the supervisor ends. It has one thread: only it may use ptrace on
//! its processes. If it ends while they are away, the kernel kills the deputies (EXITKILL), and the remote
//! node the guests.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use crate::migrate::channel::Channel;
use crate::migrate::link::{self, AgentLink};
use crate::secure::page_digest::DigestKey;
use crate::sys::inherited;
use crate::sys::probe::{Capabilities, Feature};
use crate::sys::ptrace::{self, ThreadId, options};
use crate::sys::signal;
use crate::sys::wait::{self, Report, Stop};
use crate::wire::supervisor::{
    ChannelKeys, ConnectionUse, Destination, FromSupervisor, LINK_FD, MoveError, MoveReport,
    NoConnection, NodeName, PagesToken, ProcessState, Role, SupervisorStatus, ToSupervisor,
};

use super::away::{Fate, Member, Trouble};
use super::departure::{self, Departed, DepartureError, Start};
use super::draft::Draft;
use super::family::{Family, Happening};
use super::following;
use super::orders::Order;

/// How often the supervisor says that it is alive, and looks whether the remote node is.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// Why a process came home that executes another program; the agent, too, goes by it.
pub const EXECUTES: &str = "it executes another program";

/// A connection as the agent hands it over.
pub(super) type Connection = (OwnedFd, ChannelKeys);

/// The supervisor of a process and of what it forks while it is away.
pub(super) struct Supervisor {
    /// The process that it serves when none is away.
    pub(super) pid: ThreadId,
    pub(super) link: AgentLink,
    home: NodeName,
    follow: bool,
    children: OwnedFd,
    capabilities: Capabilities,
    piece_key: DigestKey,
    /// CPU time and calls of earlier journeys of the process `pid`.
    past_cpu_seconds: f64,
    past_calls: u64,
    /// Moves asked for and not yet begun.
    pub(super) orders: VecDeque<Order>,
    /// Answers to [`FromSupervisor::OpenChannel`] not yet taken.
    pub(super) channels: VecDeque<(u64, Result<Connection, NoConnection>)>,
    pub(super) channels_asked: u64,
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
    let children = signal::child_descriptor()?;
    let (stream, first) = link::first_message(descriptor)
        .map_err(|error| Trouble::Protocol(format!("the agent's link failed: {error}")))?;
    let ToSupervisor::StartDeputy {
        pid,
        wait_exec,
        control_socket,
        home,
        follow,
        capabilities,
        piece_key,
    } = first.message
    else {
        return Err(Trouble::Protocol(
            "the agent did not say what to start".to_owned(),
        ));
    };
    let state = if wait_exec {
        ProcessState::Starting
    } else {
        ProcessState::Home
    };
    let mut link = AgentLink::new(stream, control_socket, Role::Deputy);
    link.begin(pid, SupervisorStatus::new(state, home.clone()));
    let pid = pid.cast_signed();
    if wait_exec {
        ptrace::seize(pid, options::EXEC | options::SYSCALL_GOOD)?;
        link.send(&FromSupervisor::Seized);
    }
    let supervisor = Supervisor {
        pid,
        link,
        home,
        follow,
        children,
        capabilities,
        piece_key: DigestKey(piece_key),
        past_cpu_seconds: 0.0,
        past_calls: 0,
        orders: VecDeque::new(),
        channels: VecDeque::new(),
        channels_asked: 0,
    };
    Ok((supervisor, wait_exec))
}

impl Supervisor {
    fn serve(mut self, wait_exec: bool) {
        if wait_exec && !self.await_exec() {
            return;
        }
        let mut stands_at_exec = wait_exec;
        while let Some(mut order) = self.next_order() {
            if stands_at_exec {
                order.start = Start::AtExec;
                stands_at_exec = false;
            }
            if !self.carry_out(&order) {
                return;
            }
        }
        if stands_at_exec {
            let_go(self.pid);
        }
    }

    /// Makes one move, and all that follows from it. `false` if no process is left to serve.
    fn carry_out(&mut self, order: &Order) -> bool {
        let began = Instant::now();
        let node = match &order.destination {
            Destination::Home => {
                if order.start == Start::AtExec {
                    let_go(order.pid);
                }
                self.answer(order, Ok(MoveReport::default()), None);
                return true;
            }
            Destination::Node(node) => node.clone(),
        };
        match self.leave(&node, order.start) {
            Err(error) => {
                if order.start == Start::AtExec {
                    // It stands at its exec still, unless it was let go after the freeze.
                    let_go(order.pid);
                }
                self.report_at_home(order.pid);
                let is_gone = matches!(error, DepartureError::Gone);
                self.answer(order, Err(error.into_move_error()), None);
                !is_gone
            }
            Ok(departed) => {
                let report = MoveReport {
                    freeze_ms: departed.freeze_start.elapsed().as_secs_f64() * 1000.0,
                    total_ms: began.elapsed().as_secs_f64() * 1000.0,
                    bytes_sent: departed.family.channel.bytes(),
                };
                // Whoever hears the answer may look at once where it is.
                self.report_away(self.pid, &departed.family.node);
                self.answer(order, Ok(report), None);
                self.journey(departed.family)
            }
        }
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
                Ok(None) => self.wait(Vec::new(), TICK),
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
    pub(super) fn wait(&mut self, others: Vec<PollFd<'_>>, timeout: Duration) {
        let mut descriptors = vec![PollFd::new(&self.children, PollFlags::IN)];
        let link_index = self.link.descriptor().map(|link| {
            descriptors.push(PollFd::from_borrowed_fd(link, PollFlags::IN));
            1
        });
        descriptors.extend(others);
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
                pid,
                request,
                destination,
            } => self.orders.push_back(Order {
                pid: pid.cast_signed(),
                request,
                destination,
                start: Start::Running,
            }),
            ToSupervisor::Channel { request, result } => {
                let connection = result.and_then(|keys| match received.descriptor {
                    Some(descriptor) => Ok((descriptor, keys)),
                    None => Err(NoConnection {
                        text: "the agent sent no connection".to_owned(),
                        is_full: false,
                    }),
                });
                self.channels.push_back((request, connection));
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

    fn leave(&mut self, node: &NodeName, start: Start) -> Result<Departed, DepartureError> {
        let pid = self.pid;
        self.link.report(pid.cast_unsigned(), |status| {
            status.state = ProcessState::Leaving;
        });
        departure::examine_patiently(pid)?;
        // Without PAGEMAP_SCAN what nobody has touched is best told by what a draft does not keep.
        let is_drafted =
            start == Start::Running && self.capabilities.features.has(Feature::PagemapScan);
        match self.leave_once(node, start, is_drafted) {
            Err(DepartureError::Outdated) => self.leave_once(node, start, false),
            outcome => outcome,
        }
    }

    fn leave_once(
        &mut self,
        node: &NodeName,
        start: Start,
        is_drafted: bool,
    ) -> Result<Departed, DepartureError> {
        let pid = self.pid;
        let token = PagesToken::random()?;
        let request = self.ask_to_connect(node, ConnectionUse::Migration(token));
        let (descriptor, keys) = self.connection(node, request)?;
        let mut channel = Channel::new(descriptor, &keys)?;
        departure::prepare(&mut channel, pid, &self.capabilities)?;
        // While the remote node makes its guest.
        let request = self.ask_to_connect(node, ConnectionUse::Pages(token));
        let takes_pages_later = departure::prepared(&mut channel, &self.piece_key)?;
        let pages = self.page_connection(node, request);
        let pages = pages.filter(|_| takes_pages_later);
        let draft = is_drafted
            .then(|| Draft::send(&mut channel, pid))
            .transpose()?;
        departure::depart(channel, pages, pid, start, draft, node.clone())
    }

    /// Serves a family until nobody of it is away. `false` if its last member has ended.
    fn journey(&mut self, mut family: Family) -> bool {
        let mut last_tick = Instant::now();
        let mut has_process = true;
        family.channel.give_back_room();
        loop {
            let happenings = family.advance();
            has_process = self.on_happenings(&family, happenings, has_process);
            self.follow_orders(&mut family);
            if last_tick.elapsed() >= TICK {
                last_tick = Instant::now();
                let happenings = family.on_tick();
                has_process = self.on_happenings(&family, happenings, has_process);
                for member in &family.members {
                    self.report_usage(member);
                }
            }
            if family.members.is_empty() {
                return has_process;
            }
            self.wait(family.descriptors(), family.patience());
        }
    }

    fn report_away(&mut self, pid: ThreadId, node: &NodeName) {
        self.link.report(pid.cast_unsigned(), |status| {
            status.state = ProcessState::Away;
            status.node = node.clone();
        });
    }

    fn report_at_home(&mut self, pid: ThreadId) {
        let home = self.home.clone();
        self.link.report(pid.cast_unsigned(), |status| {
            status.state = ProcessState::Home;
            status.node = home;
        });
    }

    fn report_usage(&mut self, member: &Member) {
        let (mut cpu_seconds, mut calls) =
            (member.progress.cpu_seconds, member.progress.calls_forwarded);
        if member.deputy.pid == self.pid {
            cpu_seconds += self.past_cpu_seconds;
            calls += self.past_calls;
        }
        let pid = member.deputy.pid.cast_unsigned();
        self.link.report(pid, |status| {
            status.away_cpu_seconds = cpu_seconds;
            status.calls_forwarded = calls;
        });
    }

    /// Whether the process that the last of them concerns lives on at home, for this supervisor to serve.
    fn on_happenings(
        &mut self,
        family: &Family,
        happenings: Vec<Happening>,
        mut has_process: bool,
    ) -> bool {
        let mut happenings = happenings.into_iter().peekable();
        while let Some(happening) = happenings.next() {
            // Several can have left before this supervisor hears of it, but it serves only one.
            let is_last = family.members.is_empty() && happenings.peek().is_none();
            has_process = self.on_happening(family, happening, is_last);
        }
        has_process
    }

    fn on_happening(&mut self, family: &Family, happening: Happening, is_last: bool) -> bool {
        match happening {
            Happening::Joined(pid) => {
                let status = SupervisorStatus::new(ProcessState::Away, family.node.clone());
                self.link.begin(pid.cast_unsigned(), status);
                true
            }
            Happening::Left(member, fate) => {
                self.report_usage(&member);
                self.end_journey(&member, fate, &family.node, is_last)
            }
        }
    }

    fn end_journey(&mut self, member: &Member, fate: Fate, node: &NodeName, is_last: bool) -> bool {
        let pid = member.deputy.pid;
        self.report_at_home(pid);
        let lives = match fate {
            Fate::AtHome(report, cause) => {
                let order = self.take_order_home(pid);
                self.answer(&order, Ok(report), cause);
                true
            }
            Fate::Resumed(text) => {
                let notice = format!("{text}; it goes on at home from where it left");
                self.link.send(&FromSupervisor::Notice(notice));
                self.fail_orders(pid, &MoveError::Failed(text.clone()));
                let order = Order::of_its_own(pid, Destination::Home);
                self.answer(&order, Ok(MoveReport::default()), Some(text));
                true
            }
            Fate::Executed => {
                let order = self.take_order_home(pid);
                let cause = Some(EXECUTES.to_owned());
                let is_wanted_home = order.request != 0;
                let follows =
                    self.follow && !is_wanted_home && departure::examine_patiently(pid).is_ok();
                if !follows {
                    // Before the answer: whoever hears it may look at once whether it is untouched.
                    let_go(pid);
                }
                self.answer(&order, Ok(MoveReport::default()), cause);
                if follows {
                    self.send_after(pid, node, is_last);
                }
                true
            }
            Fate::Killed(text) => {
                let notice = format!("killed: {text}");
                self.link.send(&FromSupervisor::Notice(notice));
                self.fail_orders(pid, &MoveError::Failed(text));
                false
            }
            Fate::Ended => {
                self.fail_orders(pid, &MoveError::Gone);
                false
            }
        };
        if is_last && lives {
            if self.pid != pid {
                self.pid = pid;
                self.past_cpu_seconds = 0.0;
                self.past_calls = 0;
            }
            self.past_cpu_seconds += member.progress.cpu_seconds;
            self.past_calls += member.progress.calls_forwarded;
        } else {
            // Whatever else it is asked for is another supervisor's.
            self.orders.retain(|order| order.pid != pid);
            self.link.end(pid.cast_unsigned());
        }
        lives
    }

    /// Has a process leave for `node` that stands at the first instruction of a new program, at home.
    fn send_after(&mut self, pid: ThreadId, node: &NodeName, is_last: bool) {
        let order = Order {
            start: Start::AtExec,
            ..Order::of_its_own(pid, Destination::Node(node.clone()))
        };
        if is_last {
            self.orders.push_front(order);
        } else if let Err(error) = following::hand_over(pid, || self.successor(order)) {
            log::warn!("process {pid} is not sent after its parent: {error}");
        }
    }

    /// In a new supervisor, the child of this one, that has taken over one process standing at its exec:
    /// serves it, and ends. The agent finds it as one that has lost its link.
    fn successor(&self, order: Order) -> i32 {
        let children = match signal::child_descriptor() {
            Ok(children) => children,
            Err(error) => {
                log::warn!("process {} stays at home: {error}", order.pid);
                let_go(order.pid);
                return 1;
            }
        };
        let control_socket = self.link.control_socket().to_owned();
        let mut link = AgentLink::without_agent(control_socket, Role::Deputy);
        let status = SupervisorStatus::new(ProcessState::Starting, self.home.clone());
        link.begin(order.pid.cast_unsigned(), status);
        link.reconnect(Instant::now());
        let supervisor = Supervisor {
            pid: order.pid,
            link,
            home: self.home.clone(),
            follow: true,
            children,
            capabilities: self.capabilities.clone(),
            piece_key: self.piece_key.clone(),
            past_cpu_seconds: 0.0,
            past_calls: 0,
            orders: VecDeque::from([order]),
            channels: VecDeque::new(),
            channels_asked: 0,
        };
        supervisor.serve(false);
        0
    }
}

/// Lets a process run that stands at its exec.
fn let_go(pid: ThreadId) {
    if let Err(error) = ptrace::detach(pid, 0) {
        log::debug!("process {pid} was let go before, or has ended: {error}");
    }
}
