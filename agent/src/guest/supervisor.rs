//! A guest's supervisor: the process on the remote node that makes, traces and ends a guest, and every
//! process that the guest forks here.
//!
//! 1. The agent hands over a connection; home says what is coming (`Prepare`).
//! 2. A sandbox with an empty guest is made; home freezes the process and sends it.
//! 3. The guest is built; at `Commit` it runs.
//! 4. Until the process goes home or ends: trapped calls go home, results and signals come back.
//!
//! The supervisor has one thread: only it may use ptrace on its guests. If it ends, for whatever reason,
//! the kernel kills them (EXITKILL, and the death of the namespaces' init). If home has not been heard for
//! [`LEASE`], it ends by itself: home, which declares a silent guest lost only later, may then run the
//! process again.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::migrate::channel::{Channel, Message};
use crate::migrate::link::{self, AgentLink};
use crate::migrate::piece_store::PieceStore;
use crate::sys::inherited;
use crate::sys::ptrace::ThreadId;
use crate::sys::signal::{self, numbers};
use crate::sys::wait::{self, Report};
use crate::wire::migration::{ToDeputy, ToGuest};
use crate::wire::supervisor::{
    Destination, FromSupervisor, LINK_FD, MoveReport, NodeName, ProcessState, Role,
    SupervisorStatus, ToSupervisor,
};

use super::arrival::{self, Arrived, DEPARTURE_TIMEOUT};
use super::pager::Pager;
use super::returning::{Progress, Returning};
use super::sandbox::Sandbox;
use super::stay::{Next, Stay};
use super::threads::{Guest, Journey};
use super::trouble::Trouble;

/// How long home may be silent before the guests are killed.
pub const LEASE: Duration = Duration::from_secs(5);

/// How often the supervisor reports and looks at its lease.
const TICK: Duration = Duration::from_secs(1);

/// Reports of guests' threads that are handled before home is heard: a thread whose calls are answered here can make the
/// next before the last is forgotten.
const REPORTS_AT_ONCE_MAX: usize = 256;

/// The supervisor of a family of guests: one that came from home, and those that were forked here.
pub struct Supervisor {
    channel: Channel,
    sandbox: Sandbox,
    guests: Vec<Guest>,
    /// What fills the first guest's memory, until it has come.
    pager: Option<Pager>,
    /// This node.
    remote: NodeName,
    /// The agent's requests to send guests home: request and process.
    dismissals: Vec<(u64, i32)>,
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
        home,
        remote,
        control_socket,
        capabilities,
        pieces,
    } = first.message
    else {
        return Err(protocol("the agent did not say what to start"));
    };
    let connection = first
        .descriptor
        .ok_or_else(|| protocol("the agent has handed over no connection"))?;
    let mut channel = Channel::new(connection, &keys)?;
    let message: Message<ToGuest> = channel.receive(DEPARTURE_TIMEOUT)?;
    let ToGuest::Prepare(prepare) = message.header else {
        return Err(protocol("home did not begin with Prepare"));
    };
    let mut link = AgentLink::new(stream, control_socket, Role::Guest);
    let status = SupervisorStatus::new(ProcessState::Leaving, remote.clone());
    link.begin(prepare.pid.cast_unsigned(), status);
    let pieces = PieceStore::open(pieces, home.id);
    let Arrived {
        sandbox,
        guest,
        pager,
    } = arrival::receive_guest(
        &mut channel,
        &mut link,
        &prepare,
        &capabilities,
        &remote,
        pieces,
    )?;
    Ok(Supervisor {
        channel,
        sandbox,
        guests: vec![guest],
        pager,
        remote,
        dismissals: Vec::new(),
        link,
    })
}

impl Supervisor {
    /// From `Commit` on: runs the guests until all are at home or have ended.
    fn serve(mut self) -> Result<(), Trouble> {
        let children = signal::child_descriptor()?;
        self.channel.give_back_room();
        for index in 0..self.guests.len() {
            self.report_state(index, ProcessState::Away);
            self.stay(index).run_held()?;
        }
        let mut last_tick = Instant::now();
        while !self.guests.is_empty() {
            let mut is_busy = self.on_threads()?;
            self.on_messages()?;
            self.on_pager()?;
            if last_tick.elapsed() >= TICK {
                last_tick = Instant::now();
                self.on_tick()?;
            }
            // Can take longer than the lease: what home says meanwhile is heard before the next tick.
            is_busy |= self.send_home()?;
            if self.guests.is_empty() {
                break;
            }
            self.wait(&children, if is_busy { Duration::ZERO } else { TICK })?;
            signal::drain(&children);
        }
        Ok(())
    }

    fn stay(&mut self, index: usize) -> Stay<'_> {
        Stay {
            channel: &mut self.channel,
            sandbox: &mut self.sandbox,
            guest: &mut self.guests[index],
        }
    }

    fn report_state(&mut self, index: usize, state: ProcessState) {
        let pid = self.guests[index].pid.cast_unsigned();
        self.link.report(pid, |status| status.state = state);
    }

    /// Waits until something has happened, at most for `timeout`; takes the agent's messages.
    fn wait(&mut self, children: &OwnedFd, timeout: Duration) -> Result<(), Trouble> {
        let mut descriptors = vec![
            PollFd::new(&self.channel, PollFlags::IN),
            PollFd::new(children, PollFlags::IN),
        ];
        if let Some(pager) = &self.pager {
            descriptors.push(PollFd::new(pager, PollFlags::IN));
        }
        let link_index = self.link.descriptor().map(|link| {
            descriptors.push(PollFd::from_borrowed_fd(link, PollFlags::IN));
            descriptors.len() - 1
        });
        let timeout = Timespec {
            tv_sec: timeout.as_secs().cast_signed(),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        match poll(&mut descriptors, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Trouble::Io(error.into())),
        }
        let link_is_ready =
            link_index.is_some_and(|index| !descriptors[index].revents().is_empty());
        if (link_is_ready || self.link.has_early())
            && let Some(received) = self.link.receive()
        {
            self.on_agent(&received.message);
        }
        Ok(())
    }

    /// A node that stops, or has no room for guests any more, sends them home; what else an agent says concerns only deputies.
    fn on_agent(&mut self, message: &ToSupervisor) {
        match message {
            ToSupervisor::Move {
                pid,
                request,
                destination: Destination::Home,
            } => {
                let pid = pid.cast_signed();
                self.dismissals.push((*request, pid));
                if let Some(guest) = self.guests.iter_mut().find(|guest| guest.pid == pid) {
                    want_home(
                        guest,
                        Some("the node that it ran on sends it home".to_owned()),
                    );
                }
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
        self.channel.give_back_room();
        self.channel.settle_pieces();
        for index in 0..self.guests.len() {
            let cpu_seconds = self.stay(index).cpu_seconds();
            let guest = &self.guests[index];
            let usage = ToDeputy::Usage {
                pid: guest.pid,
                cpu_seconds,
                signals_received: guest.signals_received,
            };
            self.channel.send(&usage, &[])?;
            let calls_forwarded = guest.calls_made;
            self.link.report(guest.pid.cast_unsigned(), |status| {
                status.away_cpu_seconds = cpu_seconds;
                status.calls_forwarded = calls_forwarded;
            });
        }
        self.link.reconnect(Instant::now());
        Ok(())
    }

    /// Handles what the guests' threads report; whether there may be more.
    fn on_threads(&mut self) -> Result<bool, Trouble> {
        let mut soon = None;
        for _ in 0..REPORTS_AT_ONCE_MAX {
            let Some((thread, report)) = next_report(soon.take())? else {
                return Ok(false);
            };
            let owner = self
                .guests
                .iter()
                .position(|guest| guest.threads.iter().any(|known| known.thread == thread));
            match owner {
                Some(index) => {
                    let next = self.stay(index).on_report(thread, report);
                    soon = matches!(next, Ok(Next::Soon)).then_some(thread);
                    self.follow(index, next)?;
                }
                None if thread == self.sandbox.init() => return Err(Trouble::SandboxGone),
                None => leave_to_its_end(thread, report),
            }
        }
        Ok(true)
    }

    /// Handles whatever home has sent.
    fn on_messages(&mut self) -> Result<(), Trouble> {
        // Home closes the channel when it has nobody left to speak of.
        while !self.guests.is_empty()
            && let Some(message) = self.channel.try_receive::<ToGuest>()?
        {
            if let ToGuest::Forget { directories } = &message.header {
                for guest in &mut self.guests {
                    guest.lasting.forget(directories);
                }
            }
            let owner = match message.header.concerns() {
                // It is about all of them, or says only that home lives.
                None => continue,
                Some(id) => self
                    .guests
                    .iter_mut()
                    .position(|guest| guest.pid == id || guest.by_tid(id).is_some()),
            };
            let Some(index) = owner else {
                log::debug!(
                    "home speaks of a guest that has ended: {:?}",
                    message.header
                );
                continue;
            };
            let next = self.stay(index).on_message(message);
            self.follow(index, next)?;
        }
        Ok(())
    }

    /// Hears whether the memory that was to come has come.
    fn on_pager(&mut self) -> Result<(), Trouble> {
        let Some(pager) = &self.pager else {
            return Ok(());
        };
        let mut descriptors = [PollFd::new(pager, PollFlags::IN)];
        if !matches!(poll(&mut descriptors, Some(&Timespec::default())), Ok(1..)) {
            return Ok(());
        }
        let outcome = pager.report().map_err(Trouble::MemoryLost);
        // Dropped when the guest, if it has lost memory, is no more.
        let _pager = self.pager.take();
        let Some(index) = self.guests.iter().position(|guest| guest.memory_follows) else {
            return Ok(());
        };
        let next = outcome.and_then(|()| {
            self.guests[index].memory_follows = false;
            log::debug!("the memory of guest {} is complete", self.guests[index].pid);
            if !self.guests[index].is_held {
                self.stay(index).run_held()?;
            }
            Ok(Next::Continue)
        });
        self.follow(index, next)
    }

    /// Does what follows from an event of one guest.
    fn follow(&mut self, index: usize, next: Result<Next, Trouble>) -> Result<(), Trouble> {
        match next {
            Ok(Next::Continue | Next::Soon) => {}
            Ok(Next::GoHome(cause)) => want_home(&mut self.guests[index], cause),
            Ok(Next::GoHomeAfter(tid, cause)) => {
                let first = self
                    .guests
                    .iter_mut()
                    .find(|guest| guest.threads.iter().any(|known| known.tid == tid));
                if let Some(first) = first {
                    let pid = first.pid;
                    want_home(first, Some("another process traces it".to_owned()));
                    self.guests[index].goes_after = Some(pid);
                }
                want_home(&mut self.guests[index], Some(cause));
            }
            Ok(Next::Forked(guest)) => {
                let status = SupervisorStatus::new(ProcessState::Away, self.remote.clone());
                self.link.begin(guest.pid.cast_unsigned(), status);
                self.guests.push(*guest);
            }
            Ok(Next::End) => self.end(index),
            Err(trouble) if trouble.is_of_all() => return Err(trouble),
            Err(trouble) => {
                let pid = self.guests[index].pid;
                log::warn!("guest {pid} ends: {trouble}");
                let header = ToDeputy::GuestLost {
                    pid,
                    cause: trouble.to_string(),
                };
                self.channel.send(&header, &[])?;
                self.end(index);
            }
        }
        Ok(())
    }

    /// Sends those home that want to go and can; whether there is more to do at once.
    fn send_home(&mut self) -> Result<bool, Trouble> {
        let mut is_busy = false;
        for index in (0..self.guests.len()).rev() {
            let guest = &mut self.guests[index];
            if !matches!(guest.journey, Journey::Wanted(_)) {
                continue;
            }
            if guest.memory_follows {
                continue;
            }
            if let Some(first) = guest.goes_after
                && self.guests.iter().any(|other| other.pid == first)
            {
                continue;
            }
            let guest = &mut self.guests[index];
            if guest.must_wait() {
                // Its children in vfork(2) have a copy of the memory at home, and let go of it here.
                let children: Vec<i32> = guest.late_vfork_children().collect();
                for child in children {
                    if let Some(child) = self.guests.iter_mut().find(|guest| guest.pid == child) {
                        want_home(child, Some("its parent, in vfork, goes home".to_owned()));
                    }
                }
                continue;
            }
            match self.send_ahead(index) {
                Ok(Progress::Done) => {}
                Ok(progress) => {
                    is_busy |= progress == Progress::Busy;
                    continue;
                }
                Err(trouble) => {
                    self.follow(index, Err(trouble))?;
                    continue;
                }
            }
            let is_alone = self.guests.len() == 1;
            let guest = &mut self.guests[index];
            // While others live here, what home says may be about them.
            guest.returning.take_if(|_| !is_alone);
            let Journey::Wanted(cause) = std::mem::replace(&mut guest.journey, Journey::Sent)
            else {
                continue;
            };
            self.report_state(index, ProcessState::Returning);
            let sent = self.stay(index).send_home(cause).map(|()| Next::Continue);
            self.follow(index, sent)?;
        }
        Ok(is_busy)
    }

    /// Sends the memory of a guest that home has recalled, while it runs on. Who goes home by itself has a thread
    /// that waits for that.
    fn send_ahead(&mut self, index: usize) -> Result<Progress, Trouble> {
        let is_alone = self.guests.len() == 1;
        let guest = &mut self.guests[index];
        let is_recalled = guest.journey == Journey::Wanted(None);
        if let Some(written) = guest.written.take_if(|_| is_alone && is_recalled) {
            match Returning::begin(guest.leader, &guest.scratch, written) {
                Ok(returning) => guest.returning = returning,
                Err(error) => {
                    let pid = guest.pid;
                    log::warn!("guest {pid} is stopped before its memory goes home: {error}");
                }
            }
        }
        match &mut guest.returning {
            Some(returning) => returning.advance(guest.pid, &guest.memory, &mut self.channel),
            None => Ok(Progress::Done),
        }
    }

    /// Kills a guest and forgets it.
    fn end(&mut self, index: usize) {
        let guest = self.guests.swap_remove(index);
        if let Err(error) = signal::send_to_process(guest.leader, numbers::SIGKILL) {
            log::debug!("guest {} had ended already: {error}", guest.leader);
        }
        wait::reap_process(guest.leader);
        self.link.end(guest.pid.cast_unsigned());
        self.dismissals.retain(|&(request, pid)| {
            if pid != guest.pid {
                return true;
            }
            self.link.send(&FromSupervisor::MoveDone {
                pid: pid.cast_unsigned(),
                request,
                destination: Destination::Home,
                result: Ok(MoveReport::default()),
                cause: None,
            });
            false
        });
    }
}

/// The next report of a guest's threads, if there is one; that of a thread that will call soon is waited for briefly.
fn next_report(soon: Option<ThreadId>) -> io::Result<Option<(ThreadId, Report)>> {
    if let Some(thread) = soon
        && let Some(report) = wait::poll_briefly(thread)?
    {
        return Ok(Some((thread, report)));
    }
    wait::poll_any()
}

/// A guest is to leave; the first cause counts.
fn want_home(guest: &mut Guest, cause: Option<String>) {
    if guest.journey == Journey::None {
        guest.journey = Journey::Wanted(cause);
    }
}

/// A thread of a guest that was killed: it ends as soon as it runs.
fn leave_to_its_end(thread: ThreadId, report: Report) {
    if let Report::Stopped(stop) = report {
        log::debug!("thread {thread} of no guest stops ({stop:?})");
        if let Err(error) = crate::sys::ptrace::resume(thread, 0) {
            log::debug!("and has ended: {error}");
        }
    }
}
