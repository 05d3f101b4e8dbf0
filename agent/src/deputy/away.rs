//! A process that is away: what its supervisor knows of it, and what follows from each event.
//!
//! The reports of the deputy's threads and the messages of the guest's supervisor end up here; the other
//! files of this folder add what is done about them, each its own subject.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::migrate::channel::{Channel, ChannelError, Message};
use crate::migrate::inject::InjectError;
use crate::sys::ptrace::ThreadId;
use crate::sys::signal::SignalInfo;
use crate::sys::wait::{self, Report};
use crate::wire::migration::{ToDeputy, ToGuest};
use crate::wire::supervisor::{MoveReport, NodeName};

use super::threads::Deputy;

/// After this much silence of the remote node home falls silent too, so that the guest's lease
/// ([`crate::guest::supervisor::LEASE`]) runs out while home waits for [`LOST_AFTER`].
const MUTE_AFTER: Duration = Duration::from_secs(3);

/// After this much silence the remote node is lost: longer than [`MUTE_AFTER`] and the lease together.
pub const LOST_AFTER: Duration = Duration::from_secs(10);

/// Why a journey cannot go on.
#[derive(Debug)]
pub enum Trouble {
    /// The process has ended.
    ProcessEnded,
    /// The channel to the remote node is of no more use.
    Channel(ChannelError),
    /// The remote node has been silent for [`LOST_AFTER`].
    RemoteSilent,
    /// ptrace or /proc refused.
    Io(std::io::Error),
    /// A call could not be injected.
    Inject(InjectError),
    /// The two sides disagree: one line.
    Protocol(String),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ProcessEnded => write!(out, "the process has ended"),
            Self::Channel(error) => error.fmt(out),
            Self::RemoteSilent => write!(out, "it has not answered for {} s", LOST_AFTER.as_secs()),
            Self::Io(error) => write!(out, "the kernel refused: {error}"),
            Self::Inject(error) => error.fmt(out),
            Self::Protocol(text) => out.write_str(text),
        }
    }
}

impl std::error::Error for Trouble {}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        const ESRCH: i32 = 3;
        if error.raw_os_error() == Some(ESRCH) {
            Self::ProcessEnded
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
        match error {
            InjectError::Gone(_) => Self::ProcessEnded,
            error => Self::Inject(error),
        }
    }
}

/// How a journey ended.
#[derive(Debug)]
pub enum Fate {
    /// The process runs at home; the cause if it came by itself.
    AtHome(MoveReport, Option<String>),
    /// It runs at home again from where it left: its remote node was lost. One line.
    Resumed(String),
    /// It has ended.
    Ended,
    /// It was killed because its remote node was lost. One line.
    Killed(String),
}

/// A signal sent to the guest that its supervisor has not confirmed.
#[derive(Clone, Copy, Debug)]
pub struct SentSignal {
    /// Its number among those sent.
    pub number: u64,
    /// The thread that it is for.
    pub tid: ThreadId,
    /// Its information.
    pub info: SignalInfo,
}

/// A process that is away.
pub struct Away {
    pub(super) channel: Channel,
    pub(super) deputy: Deputy,
    pub(super) node: NodeName,
    pub(super) signals_sent: u64,
    pub(super) unconfirmed: VecDeque<SentSignal>,
    pub(super) calls_forwarded: u64,
    /// When the threads were let go at home.
    pub(super) home_since: Option<Instant>,
    /// What the guest sent while job control had stopped the thread concerned.
    pub(super) deferred: VecDeque<Message<ToDeputy>>,
    pub(super) freeze_start: Instant,
    pub(super) recalled: Option<Instant>,
    /// CPU time that the guest has used, in seconds.
    pub(super) cpu_seconds: f64,
}

impl Away {
    /// A process that has just left.
    pub fn new(channel: Channel, deputy: Deputy, node: NodeName, freeze_start: Instant) -> Away {
        Away {
            channel,
            deputy,
            node,
            signals_sent: 0,
            unconfirmed: VecDeque::new(),
            calls_forwarded: 0,
            home_since: None,
            deferred: VecDeque::new(),
            freeze_start,
            recalled: None,
            cpu_seconds: 0.0,
        }
    }

    /// Handles whatever the deputy's threads report.
    pub(super) fn on_threads(&mut self) -> Result<Option<Fate>, Trouble> {
        while let Some((tid, report)) = wait::poll_any()? {
            match report {
                Report::Exited(_) | Report::Killed(_) => {
                    if let Some(fate) = self.on_end(tid) {
                        return Ok(Some(fate));
                    }
                }
                Report::Stopped(stop) => self.on_stop(tid, stop)?,
            }
        }
        if !self.deputy.is_stopped {
            while let Some(message) = self.deferred.pop_front() {
                if let Some(fate) = self.on_message(message)? {
                    return Ok(Some(fate));
                }
                if self.deputy.is_stopped {
                    break;
                }
            }
        }
        Ok(None)
    }

    /// Handles whatever the guest's supervisor has sent.
    pub(super) fn on_messages(&mut self) -> Result<Option<Fate>, Trouble> {
        while let Some(message) = self.channel.try_receive()? {
            if let Some(fate) = self.on_message(message)? {
                return Ok(Some(fate));
            }
        }
        Ok(None)
    }

    fn on_message(&mut self, message: Message<ToDeputy>) -> Result<Option<Fate>, Trouble> {
        if let Some(tid) = thread_concerned(&message.header)
            && !self.wake(tid)?
        {
            self.deferred.push_back(message);
            return Ok(None);
        }
        let Message { header, payload } = message;
        match header {
            ToDeputy::Call {
                tid,
                call,
                request,
                mask,
                signals_received,
            } => {
                self.confirm_signals(signals_received);
                if self.is_unheard(tid, mask) {
                    self.postpone_call(tid, call, mask)?;
                } else {
                    self.on_call(tid, call, &request, mask, payload)?;
                }
            }
            ToDeputy::Mask { tid, call, mask } => self.on_mask(tid, call, mask)?,
            ToDeputy::Action {
                tid,
                call,
                signal,
                action,
                mask,
            } => {
                self.on_action(tid, call, signal, action, mask)?;
            }
            ToDeputy::MapFile {
                tid,
                call,
                start,
                arguments,
                mask,
            } => {
                self.on_map_file(tid, call, start, arguments, mask)?;
            }
            ToDeputy::MapFresh {
                tid,
                start,
                length,
                protection,
            } => {
                self.on_map_fresh(tid, start, length, protection)?;
            }
            ToDeputy::StartThread { tid, call, mask } => self.on_start_thread(tid, call, mask)?,
            ToDeputy::ThreadExit { tid, status } => self.on_thread_exit(tid, status)?,
            ToDeputy::Exit {
                tid,
                status,
                cpu_seconds,
            } => {
                self.cpu_seconds = cpu_seconds;
                self.on_exit(tid, status)?;
            }
            ToDeputy::Usage {
                cpu_seconds,
                signals_received,
            } => {
                self.cpu_seconds = cpu_seconds;
                self.confirm_signals(signals_received);
            }
            ToDeputy::Homecoming {
                image,
                undelivered,
                signals_received,
                cpu_seconds,
                cause,
            } => {
                self.cpu_seconds = cpu_seconds;
                let stopped = self.recalled.unwrap_or_else(Instant::now);
                self.come_home(image, undelivered, signals_received)?;
                return Ok(Some(Fate::AtHome(self.report(stopped), cause)));
            }
            other @ (ToDeputy::AskClocks
            | ToDeputy::Prepared
            | ToDeputy::Refused(_)
            | ToDeputy::Restored
            | ToDeputy::Failed(_)
            | ToDeputy::Pages { .. }
            | ToDeputy::PagesEnd { .. }) => {
                return Err(Trouble::Protocol(format!(
                    "the guest sent {other:?} out of turn"
                )));
            }
        }
        Ok(None)
    }

    fn report(&self, stopped: Instant) -> MoveReport {
        let ended = self.home_since.unwrap_or_else(Instant::now);
        let milliseconds = ended.duration_since(stopped).as_secs_f64() * 1000.0;
        MoveReport {
            freeze_ms: milliseconds,
            total_ms: milliseconds,
            bytes_sent: self.channel.bytes(),
        }
    }

    pub(super) fn recall(&mut self) -> Result<(), Trouble> {
        if self.recalled.is_none() {
            self.recalled = Some(Instant::now());
            self.channel.send(&ToGuest::Recall, &[])?;
        }
        Ok(())
    }

    pub(super) fn on_tick(&mut self) -> Result<(), Trouble> {
        let silence = self.channel.last_heard().elapsed();
        if silence > LOST_AFTER {
            return Err(Trouble::RemoteSilent);
        }
        if silence < MUTE_AFTER {
            self.channel.send(&ToGuest::Alive, &[])?;
        }
        Ok(())
    }

    /// What follows from trouble: the process goes on from its departure, or is killed with one line.
    pub(super) fn on_trouble(&mut self, trouble: &Trouble) -> Fate {
        if matches!(trouble, Trouble::ProcessEnded) {
            return Fate::Ended;
        }
        let lost = format!("node {} was lost ({trouble})", self.node.name);
        let why = match self.deputy.visible {
            _ if self.deputy.is_stopped => {
                format!("{lost} while the process was stopped by job control")
            }
            Some(call) => {
                format!("{lost}; since it left home it has done what cannot be done twice: {call}")
            }
            None => match self.resume_from_departure() {
                Ok(()) => return Fate::Resumed(lost),
                Err(Trouble::ProcessEnded) => return Fate::Ended,
                Err(error) => format!("{lost}, and it could not be resumed: {error}"),
            },
        };
        self.die(&why);
        Fate::Killed(why)
    }
}

/// The thread that a message needs to be awake.
fn thread_concerned(message: &ToDeputy) -> Option<ThreadId> {
    match message {
        ToDeputy::Call { tid, .. }
        | ToDeputy::Mask { tid, .. }
        | ToDeputy::Action { tid, .. }
        | ToDeputy::MapFile { tid, .. }
        | ToDeputy::MapFresh { tid, .. }
        | ToDeputy::StartThread { tid, .. }
        | ToDeputy::ThreadExit { tid, .. }
        | ToDeputy::Exit { tid, .. } => Some(*tid),
        _ => None,
    }
}
