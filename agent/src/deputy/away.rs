//! A process that is away: what its supervisor knows of it, and what follows from each event.
//!
//! The reports of the deputy's threads and the messages of the guest's supervisor end up here; the other
//! files of this folder add what is done about them, each its own subject. Others of the same family
//! ([`super::family`]) share the channel.

use std::collections::VecDeque;
use std::time::Instant;

use crate::migrate::channel::{Channel, ChannelError, Message};
use crate::migrate::inject::InjectError;
use crate::process::smaps::MappingDetail;
use crate::sys::ptrace::ThreadId;
use crate::sys::signal::SignalInfo;
use crate::sys::wait::{self, Report};
use crate::wire::migration::{ToDeputy, ToGuest};
use crate::wire::supervisor::{MoveReport, NodeName};

use super::ahead::ReadAhead;
use super::family::LOST_AFTER;
use super::lasting::LastingAnswers;
use super::threads::Deputy;

/// Why a journey cannot go on.
#[derive(Debug)]
pub enum Trouble {
    /// The process has ended.
    ProcessEnded,
    /// The channel to the remote node is of no more use.
    Channel(ChannelError),
    /// The remote node has been silent for [`LOST_AFTER`].
    RemoteSilent,
    /// The guest alone was lost: one line.
    GuestLost(String),
    /// The process has executed another program while something else was done to it.
    Executed,
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
            Self::GuestLost(cause) => out.write_str(cause),
            Self::Executed => write!(out, "the process has executed another program"),
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
        const ECHILD: i32 = 10;
        match error.raw_os_error() {
            Some(ESRCH | ECHILD) => Self::ProcessEnded,
            _ => Self::Io(error),
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
    /// It has executed another program, and stands at that one's first instruction, at home.
    Executed,
    /// It has ended.
    Ended,
    /// It was killed because its remote node was lost. One line.
    Killed(String),
}

/// What follows from an event.
pub enum Step {
    /// The process is away as before.
    Continue,
    /// It has made another process, which is away too.
    Forked(Box<Member>),
    /// Its journey is over.
    End(Fate),
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

/// A process of a family.
pub struct Member {
    /// The deputy.
    pub deputy: Deputy,
    /// How far the two sides are with each other.
    pub progress: Progress,
}

/// What has been exchanged with a guest.
#[derive(Default)]
pub struct Progress {
    /// Signals sent so far.
    pub signals_sent: u64,
    /// Those of them that its supervisor has not confirmed.
    pub unconfirmed: VecDeque<SentSignal>,
    /// Calls made for it so far.
    pub calls_forwarded: u64,
    /// When the threads were let go at home.
    pub home_since: Option<Instant>,
    /// What the guest sent while job control, or another's exec, kept the thread concerned.
    pub deferred: VecDeque<Message<ToDeputy>>,
    /// All that belongs to its homecoming has been received.
    pub has_all_pages: bool,
    /// When it was called home.
    pub recalled: Option<Instant>,
    /// Why, if nobody has asked for it.
    pub recall_cause: Option<&'static str>,
    /// CPU time that it has used, in seconds.
    pub cpu_seconds: f64,
    /// The deputy's mappings when the first page was compared with the guest's.
    pub present: Option<Vec<MappingDetail>>,
    /// Pages that came early and could not be put in their place: begin and end.
    pub renewed: Vec<(u64, u64)>,
    /// It has executed another program.
    pub has_executed: bool,
    /// What it was sent of files before it asked.
    pub(super) read_ahead: ReadAhead,
}

impl Member {
    /// A process that has just left, or was forked away from home.
    pub fn new(deputy: Deputy) -> Member {
        Member {
            deputy,
            progress: Progress::default(),
        }
    }
}

/// A process that is away, as its supervisor sees it while it handles an event.
pub struct Away<'a> {
    pub(super) channel: &'a mut Channel,
    pub(super) node: &'a NodeName,
    pub(super) deputy: &'a mut Deputy,
    pub(super) progress: &'a mut Progress,
    pub(super) lasting: &'a mut LastingAnswers,
}

impl Away<'_> {
    /// Handles what a thread of the deputy reports.
    pub(super) fn on_report(&mut self, tid: ThreadId, report: Report) -> Result<Step, Trouble> {
        match report {
            Report::Exited(_) | Report::Killed(_) => {
                if let Some(fate) = self.on_end(tid) {
                    return Ok(Step::End(fate));
                }
            }
            Report::Stopped(stop) => self.on_stop(tid, stop)?,
        }
        Ok(self.after_exec(Step::Continue))
    }

    /// The next of the messages that had to wait for job control to continue the process, or for another
    /// thread's exec to fail.
    pub(super) fn take_deferred(&mut self) -> Option<Message<ToDeputy>> {
        if self.deputy.is_stopped || self.deputy.executing().is_some() {
            return None;
        }
        self.progress.deferred.pop_front()
    }

    /// Handles a message of the guest's supervisor.
    pub(super) fn on_message(&mut self, message: Message<ToDeputy>) -> Result<Step, Trouble> {
        if needs_thread(&message.header)
            && let Some(tid) = message.header.concerns()
            && !self.wake(tid)?
        {
            self.progress.deferred.push_back(message);
            return Ok(Step::Continue);
        }
        let step = self.handle(message)?;
        Ok(self.after_exec(step))
    }

    fn after_exec(&self, step: Step) -> Step {
        if self.progress.has_executed {
            Step::End(Fate::Executed)
        } else {
            step
        }
    }

    fn handle(&mut self, message: Message<ToDeputy>) -> Result<Step, Trouble> {
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
                if self.is_unheard(tid) {
                    self.postpone_call(tid, call, mask)?;
                } else {
                    self.on_call(tid, call, &request, mask, payload)?;
                }
            }
            ToDeputy::Mask { tid, call, mask } => self.on_mask(tid, call, mask)?,
            ToDeputy::GiveBack {
                tid,
                signals,
                signals_received,
            } => {
                self.confirm_signals(signals_received);
                self.take_signals_back(tid, signals)?;
            }
            ToDeputy::Action {
                tid,
                call,
                signal,
                action,
                old_at,
                mask,
            } => {
                self.on_action(tid, call, signal, action, old_at, mask)?;
            }
            ToDeputy::Map {
                tid,
                call,
                start,
                arguments,
                object,
                mask,
            } => {
                self.on_map(tid, call, start, arguments, object, mask)?;
            }
            ToDeputy::Remap {
                tid,
                call,
                change,
                mask,
            } => {
                self.on_remap(tid, call, change, mask)?;
            }
            ToDeputy::Mappings { tid, call, lines } => self.on_mappings(tid, call, &lines)?,
            ToDeputy::StartThread { tid, call, mask } => self.on_start_thread(tid, call, mask)?,
            ToDeputy::Fork {
                tid,
                call,
                flags,
                exit_signal,
                mask,
            } => {
                let child = self.on_fork(tid, call, flags, exit_signal, mask)?;
                return Ok(child.map_or(Step::Continue, |child| Step::Forked(Box::new(child))));
            }
            ToDeputy::ThreadExit { tid, status } => self.on_thread_exit(tid, status)?,
            ToDeputy::Exit {
                tid,
                status,
                cpu_seconds,
            } => {
                self.progress.cpu_seconds = cpu_seconds;
                self.on_exit(tid, status)?;
            }
            ToDeputy::Usage {
                cpu_seconds,
                signals_received,
                ..
            } => {
                self.progress.cpu_seconds = cpu_seconds;
                self.confirm_signals(signals_received);
            }
            ToDeputy::Consumed {
                descriptor, bytes, ..
            } => self.on_consumed(descriptor, bytes)?,
            ToDeputy::GuestLost { cause, .. } => return Err(Trouble::GuestLost(cause)),
            ToDeputy::Digests { address, .. } => self.compare(address, &payload)?,
            ToDeputy::EarlyPages { address, .. } => self.take_early(address, &payload)?,
            ToDeputy::Homecoming {
                image,
                undelivered,
                signals_received,
                cpu_seconds,
                stopped_us,
                cause,
                monotonic_ns,
                awaits_renewed,
            } => {
                self.progress.cpu_seconds = cpu_seconds;
                let arrived = Instant::now();
                self.confirm_signals(signals_received);
                self.come_home(image, undelivered, monotonic_ns, awaits_renewed)?;
                let report = self.report(arrived, stopped_us);
                let cause = cause.or_else(|| self.progress.recall_cause.map(str::to_owned));
                return Ok(Step::End(Fate::AtHome(report, cause)));
            }
            other @ (ToDeputy::AskClocks
            | ToDeputy::Prepared { .. }
            | ToDeputy::Drafted
            | ToDeputy::Refused(_)
            | ToDeputy::Restored
            | ToDeputy::Failed(_)
            | ToDeputy::Pages { .. }
            | ToDeputy::Kept { .. }
            | ToDeputy::ObjectPages { .. }
            | ToDeputy::PagesEnd { .. }) => {
                return Err(Trouble::Protocol(format!(
                    "the guest sent {other:?} out of turn"
                )));
            }
        }
        Ok(Step::Continue)
    }

    /// Of a way home; the image arrived at `arrived`, when the guest had been stopped for `stopped_us`.
    fn report(&self, arrived: Instant, stopped_us: u64) -> MoveReport {
        let ended = self.progress.home_since.unwrap_or_else(Instant::now);
        let milliseconds = |since| ended.duration_since(since).as_secs_f64() * 1000.0;
        let freeze_ms = stopped_us as f64 / 1000.0 + milliseconds(arrived);
        MoveReport {
            freeze_ms,
            total_ms: self.progress.recalled.map_or(freeze_ms, milliseconds),
            bytes_sent: self.channel.bytes(),
        }
    }

    pub(super) fn recall(&mut self) -> Result<(), Trouble> {
        if self.progress.recalled.is_none() {
            self.progress.recalled = Some(Instant::now());
            let pid = self.deputy.pid;
            self.tell(&ToGuest::Recall { pid }, &[])?;
        }
        Ok(())
    }

    /// Calls it home although nobody has asked for it.
    pub(super) fn recall_for(&mut self, cause: &'static str) -> Result<(), Trouble> {
        if self.progress.recalled.is_none() {
            self.progress.recall_cause = Some(cause);
        }
        self.recall()
    }

    /// What follows from trouble: the process goes on from its departure, or is killed with one line.
    pub(super) fn on_trouble(&mut self, trouble: &Trouble) -> Fate {
        if matches!(trouble, Trouble::ProcessEnded) {
            // Seen by one of its threads.
            wait::reap_process(self.deputy.pid);
            return Fate::Ended;
        }
        let lost = format!("node {} was lost ({trouble})", self.node.name);
        let why = match self.deputy.visible {
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

/// Whether a message is for a thread of the deputy, which has to be awake.
fn needs_thread(message: &ToDeputy) -> bool {
    !matches!(
        message,
        ToDeputy::GuestLost { .. }
            | ToDeputy::Usage { .. }
            | ToDeputy::Consumed { .. }
            | ToDeputy::Digests { .. }
            | ToDeputy::EarlyPages { .. }
            | ToDeputy::Homecoming { .. }
    )
}
