//! The supervisors of this node: starting them, the links to them, and noticing their end.
//!
//! A supervisor is a process of its own and outlives the agent. This file knows how to talk to one and
//! what it last said; what follows from that is decided by the driver (`super::moves`), to which each
//! link reports as [`SupervisorEvent`]s.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use smol::channel::{Receiver, Sender};
use smol::{Async, LocalExecutor, Task, future};

use super::agent::{Event, Reply};
use crate::limits::SUPERVISOR_MESSAGES_WAITING_MAX;
use crate::process::Identity;
use crate::sys::spawn::spawn_detached;
use crate::wire::local::{self, FrameReader, LocalError};
use crate::wire::supervisor::{
    FromSupervisor, LINK_FD, NodeName, PagesToken, Role, SupervisorStatus, ToSupervisor,
};

/// Names a supervisor for as long as this agent runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SupervisorKey(u64);

/// What a link reports to the driver.
pub enum SupervisorEvent {
    /// The supervisor said something.
    Message(FromSupervisor),
    /// The process of the supervisor has ended; nothing of it comes any more.
    Ended(End),
}

/// How a supervisor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this exit code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
    /// It was not our child, so nobody told us.
    Unknown,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "ended with exit code {code}"),
            Self::Killed(signal) => write!(f, "was killed by signal {signal}"),
            Self::Unknown => f.write_str("ended"),
        }
    }
}

/// Why there is no link to a supervisor.
#[derive(Debug)]
pub enum SupervisorError {
    /// Its process could not be started or watched.
    Start(io::Error),
    /// It does not read its messages.
    Unresponsive,
    /// Its link is closed: it has just ended.
    Closed,
}

impl fmt::Display for SupervisorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => write!(f, "cannot start a supervisor: {error}"),
            Self::Unresponsive => f.write_str("its supervisor does not respond"),
            Self::Closed => f.write_str("its supervisor has just ended"),
        }
    }
}

impl std::error::Error for SupervisorError {}

/// What an unfinished move was asked for by.
pub enum Asker {
    /// A command that waits for the answer.
    Command(Reply),
    /// Nobody waits: the outcome goes to the log and to the process's journey.
    Nobody,
    /// The balancer, which learns from what fails.
    Balancer,
}

/// A move that a supervisor was asked for.
pub struct PendingMove {
    /// The process as home numbers it.
    pub pid: u32,
    /// Who asked.
    pub asker: Asker,
    /// Where the process was.
    pub from: String,
    /// Where it is to go, in the supervisor's terms.
    pub destination: crate::wire::supervisor::Destination,
    /// It has already been handed on once, from a supervisor that had just ended.
    pub handed_on: bool,
}

/// A `limosa run` that waits until its exec can no longer be missed.
pub struct PendingSeize {
    /// It waits for this answer.
    pub reply: Reply,
    /// The job it has become.
    pub job: u32,
    /// Where the program is to go.
    pub destination: NodeName,
    /// The balancer has chosen that, not a person.
    pub balanced: bool,
}

/// A process that a supervisor serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charge {
    /// The deputy of this process of ours.
    Deputy(Identity),
    /// A guest: the pid it has at home, and where that is.
    Guest {
        /// As its home numbers it.
        pid: u32,
        /// Its home; not known of a guest whose supervisor was taken back.
        home: Option<NodeName>,
    },
}

impl Charge {
    /// Which side of a migration that is.
    pub fn role(&self) -> Role {
        match self {
            Self::Deputy(_) => Role::Deputy,
            Self::Guest { .. } => Role::Guest,
        }
    }

    /// The process as home numbers it.
    pub fn pid(&self) -> u32 {
        match self {
            Self::Deputy(process) => process.pid,
            Self::Guest { pid, .. } => *pid,
        }
    }
}

/// A process that a supervisor serves, and what it last said of it.
#[derive(Clone, Debug)]
pub struct Ward {
    /// The process.
    pub charge: Charge,
    /// Its state; none before the supervisor has said anything.
    pub status: Option<SupervisorStatus>,
}

/// A message to a supervisor, with the descriptor that belongs to it.
pub type Outgoing = (ToSupervisor, Option<OwnedFd>);

/// What the agent knows of a supervisor.
pub struct Supervisor {
    /// Its own pid.
    pub supervisor_pid: u32,
    /// Which side of migrations it serves.
    pub role: Role,
    /// Whom it serves, by their pids at home.
    pub wards: BTreeMap<u32, Ward>,
    /// Moves that it was asked for, by request.
    pub moves: HashMap<u64, PendingMove>,
    /// The page connection that it waits for.
    pub awaited_pages: Option<PagesToken>,
    /// A `limosa run` that waits for it.
    pub seize: Option<PendingSeize>,
    outbox: Sender<Outgoing>,
    link: Rc<Async<UnixStream>>,
    _tasks: [Task<()>; 2],
}

impl Supervisor {
    /// What it last said of a process.
    pub fn status_of(&self, pid: u32) -> Option<&SupervisorStatus> {
        self.wards.get(&pid)?.status.as_ref()
    }

    /// Its processes, in words for the log.
    pub fn names(&self) -> String {
        let pids: Vec<String> = self.wards.keys().map(u32::to_string).collect();
        match pids.len() {
            1 => format!("process {}", pids[0]),
            _ => format!("processes {}", pids.join(", ")),
        }
    }

    /// The queue of its link, for a task that has a message for it later.
    pub fn outbox(&self) -> Sender<Outgoing> {
        self.outbox.clone()
    }

    /// Closes the link. A supervisor that has nothing to do then ends, and another looks for the next
    /// agent.
    pub fn dismiss(&self) {
        if let Err(error) = self.link.get_ref().shutdown(Shutdown::Both) {
            log::debug!(
                "supervisor {} has closed its link: {error}",
                self.supervisor_pid
            );
        }
    }

    /// Hands a message to the link, with a descriptor if one belongs to it. Never waits.
    pub fn send(
        &self,
        message: ToSupervisor,
        descriptor: Option<OwnedFd>,
    ) -> Result<(), SupervisorError> {
        self.outbox
            .try_send((message, descriptor))
            .map_err(|error| {
                if error.is_full() {
                    SupervisorError::Unresponsive
                } else {
                    SupervisorError::Closed
                }
            })
    }
}

/// All supervisors of this node.
pub struct Supervisors {
    executor: Rc<LocalExecutor<'static>>,
    events: Sender<Event>,
    table: BTreeMap<SupervisorKey, Supervisor>,
    key_last: u64,
    request_last: u64,
}

impl Supervisors {
    /// None yet; the links will report to `events`.
    pub fn new(executor: Rc<LocalExecutor<'static>>, events: Sender<Event>) -> Self {
        // An answer to a former agent's request must not be taken for one to ours.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let request_last = u64::try_from(now.as_nanos()).unwrap_or(0);
        Self {
            executor,
            events,
            table: BTreeMap::new(),
            key_last: 0,
            request_last,
        }
    }

    /// Starts the process of a supervisor, in a cgroup if one is given, and links to it. Its first message is for the
    /// caller to send.
    pub fn start(
        &mut self,
        charge: Charge,
        cgroup: Option<&OwnedFd>,
    ) -> Result<SupervisorKey, SupervisorError> {
        let command = match charge.role() {
            Role::Deputy => c"deputy-supervisor",
            Role::Guest => c"guest-supervisor",
        };
        let (ours, theirs) = UnixStream::pair().map_err(SupervisorError::Start)?;
        let link = Async::new(ours).map_err(SupervisorError::Start)?;
        let (pid, pidfd) = spawn_detached(command, &OwnedFd::from(theirs), LINK_FD, cgroup)
            .map_err(SupervisorError::Start)?;
        let role = charge.role();
        let ward = Ward {
            charge,
            status: None,
        };
        self.insert(pid, pidfd, true, role, vec![ward], link)
    }

    /// Takes a supervisor back that lost its former agent and has connected again.
    pub fn adopt(
        &mut self,
        supervisor_pid: u32,
        role: Role,
        wards: Vec<Ward>,
        link: Async<UnixStream>,
    ) -> Result<SupervisorKey, SupervisorError> {
        let pidfd = i32::try_from(supervisor_pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
            .and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?))
            .map_err(SupervisorError::Start)?;
        self.insert(supervisor_pid, pidfd, false, role, wards, link)
    }

    fn insert(
        &mut self,
        supervisor_pid: u32,
        pidfd: OwnedFd,
        is_child: bool,
        role: Role,
        wards: Vec<Ward>,
        link: Async<UnixStream>,
    ) -> Result<SupervisorKey, SupervisorError> {
        let pidfd = Async::new(pidfd).map_err(SupervisorError::Start)?;
        self.key_last += 1;
        let key = SupervisorKey(self.key_last);
        let link = Rc::new(link);
        let (outbox, messages) = smol::channel::bounded(SUPERVISOR_MESSAGES_WAITING_MAX);
        let tasks = [
            self.executor.spawn(write(key, Rc::clone(&link), messages)),
            self.executor.spawn(read(
                key,
                Rc::clone(&link),
                pidfd,
                is_child,
                self.events.clone(),
            )),
        ];
        let supervisor = Supervisor {
            supervisor_pid,
            role,
            wards: wards
                .into_iter()
                .map(|ward| (ward.charge.pid(), ward))
                .collect(),
            moves: HashMap::new(),
            awaited_pages: None,
            seize: None,
            outbox,
            link,
            _tasks: tasks,
        };
        self.table.insert(key, supervisor);
        Ok(key)
    }

    /// A number that names a new request.
    pub fn new_request(&mut self) -> u64 {
        self.request_last += 1;
        self.request_last
    }

    /// One supervisor, if it has not ended.
    pub fn get_mut(&mut self, key: SupervisorKey) -> Option<&mut Supervisor> {
        self.table.get_mut(&key)
    }

    /// Forgets a supervisor that has ended.
    pub fn remove(&mut self, key: SupervisorKey) -> Option<Supervisor> {
        self.table.remove(&key)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (SupervisorKey, &Supervisor)> {
        self.table
            .iter()
            .map(|(key, supervisor)| (*key, supervisor))
    }

    /// The supervisor of a process of ours.
    pub fn deputy_of(&self, process: Identity) -> Option<(SupervisorKey, &Supervisor)> {
        self.iter().find(|(_, supervisor)| {
            let ward = supervisor.wards.get(&process.pid);
            ward.is_some_and(|ward| ward.charge == Charge::Deputy(process))
        })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// How many guests run here.
    pub fn guests(&self) -> usize {
        self.table
            .values()
            .filter(|supervisor| supervisor.role == Role::Guest)
            .map(|supervisor| supervisor.wards.len())
            .sum()
    }
}

/// The sending side of a link.
async fn write(key: SupervisorKey, link: Rc<Async<UnixStream>>, messages: Receiver<Outgoing>) {
    while let Ok((message, descriptor)) = messages.recv().await {
        let descriptor = descriptor.as_ref().map(AsFd::as_fd);
        if let Err(error) = local::send_async(&link, &message, descriptor).await {
            // Its end is noticed on the receiving side.
            log::debug!("supervisor {} takes no message: {error}", key.0);
            return;
        }
    }
}

/// What the receiving side of a link waits for.
enum Heard {
    Message(FromSupervisor),
    Closed,
    Ended,
}

/// The receiving side of a link: all that the supervisor says, and then its end.
async fn read(
    key: SupervisorKey,
    link: Rc<Async<UnixStream>>,
    pidfd: Async<OwnedFd>,
    is_child: bool,
    events: Sender<Event>,
) {
    let mut reader = FrameReader::default();
    let mut open = true;
    loop {
        let ended = async {
            // A pidfd is readable when its process has ended; what fails here would fail for ever.
            if let Err(error) = pidfd.readable().await {
                log::error!("cannot watch a supervisor: {error}");
            }
            Heard::Ended
        };
        let heard = if open {
            // Messages first: what it said before it ended counts.
            future::or(hear(key, &mut reader, &link), ended).await
        } else {
            ended.await
        };
        let event = match heard {
            Heard::Message(message) => SupervisorEvent::Message(message),
            Heard::Closed => {
                open = false;
                continue;
            }
            Heard::Ended => {
                let end = if is_child {
                    reap(pidfd.as_fd())
                } else {
                    End::Unknown
                };
                SupervisorEvent::Ended(end)
            }
        };
        let last = matches!(event, SupervisorEvent::Ended(_));
        if events.send(Event::Supervisor(key, event)).await.is_err() || last {
            return;
        }
    }
}

async fn hear(key: SupervisorKey, reader: &mut FrameReader, link: &Async<UnixStream>) -> Heard {
    match reader.next::<FromSupervisor>(link).await {
        Ok(Some(received)) => Heard::Message(received.message),
        Ok(None) => Heard::Closed,
        Err(error) => {
            // Being killed in the middle of a message, or with unread messages, is no fault of its own.
            if !matches!(error, LocalError::Truncated | LocalError::Io(_)) {
                log::error!("supervisor {} is not understood: {error}", key.0);
            }
            Heard::Closed
        }
    }
}

/// Reaps a child that has ended.
fn reap(child: BorrowedFd<'_>) -> End {
    let Ok(Some(status)) = waitid(WaitId::PidFd(child), WaitIdOptions::EXITED) else {
        return End::Unknown;
    };
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => End::Exited(code),
        (None, Some(signal)) => End::Killed(signal),
        (None, None) => End::Unknown,
    }
}
