//! The agent: takes possession of its run directory, joins the cluster, and serves until it is stopped.
//!
//! One driver owns all state. Everything that happens, a command's request, a word of a supervisor, a
//! node that is lost, reaches it as an [`Event`] through one bounded queue, and it handles one at a time
//! without waiting for anything: what takes time runs as a task beside it and comes back as an event.
//!
//! Start, in this order: configuration and key (the caller's), root, kernel, run directory, cluster, jobs.
//! Stop: no new guests; guests here are sent home and ours are called home, for a bounded time; supervisors
//! with nothing to do end; leave the cluster; remove the socket. A supervisor that is left then goes on by
//! itself and finds the next agent.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_signal::{Signal, Signals};
use smol::channel::Sender;
use smol::prelude::*;
use smol::{Async, LocalExecutor, Timer};

use super::balancing::Balancing;
use super::clock::Clock;
use super::clock::votes::Vote;
use super::cluster::{Channel, Cluster, ClusterConfig, Incoming, MemberEvent, StartError};
use super::config::AgentConfig;
use super::control::{ControlCounts, ControlSocket, ControlSocketError};
use super::jobs::Jobs;
use super::moves::MoveOrder;
use super::requests::WaitingRun;
use super::supervisors::{SupervisorEvent, SupervisorKey, Supervisors};
use crate::limits::{DISMISS_TIMEOUT_MS, EVENTS_WAITING_MAX, STOP_TIMEOUT_MS};
use crate::migrate::cantmove;
use crate::secure::page_digest::DigestKey;
use crate::sys::peer::Peer;
use crate::sys::probe::Capabilities;
use crate::wire::control::{ControlRequest, ControlResponse};
use crate::wire::hello::Purpose;
use crate::wire::supervisor::{FromSupervisor, NodeName, PagesToken, Reason};

/// How often ended jobs are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Where a command's answer goes.
pub type Reply = Sender<ControlResponse>;

/// Everything that can happen to an agent.
pub enum Event {
    /// A command asks for something.
    Request {
        /// What.
        request: ControlRequest,
        /// Who.
        caller: Peer,
        /// Where the answer goes; closed when nobody waits for it any more.
        reply: Reply,
    },
    /// A supervisor of a former agent is back.
    Adopted {
        /// Its link.
        link: Async<std::os::unix::net::UnixStream>,
        /// What it said first.
        hello: FromSupervisor,
        /// Whose connection it is.
        caller: Peer,
    },
    /// A supervisor said something or ended.
    Supervisor(SupervisorKey, SupervisorEvent),
    /// A process that is to leave home has been examined.
    Examined(MoveOrder, Result<Vec<Reason>, cantmove::ExamineError>),
    /// Another node connects.
    Incoming(Incoming),
    /// A connection of another node is established; its guest is the process with this pid there.
    GuestChannel(Channel, u32, PagesToken),
    /// Something happened to a member.
    Member(MemberEvent),
    /// Time to look for what has ended.
    Sweep,
    /// Members have told the time.
    Clock(Vec<Vote>),
    /// Home is crowded: its processes are looked at between two looks.
    Glance,
    /// Asked to stop.
    Stop(&'static str),
    /// Enough time was given to stop.
    StopDeadline,
}

/// Why an agent did not start. Nothing was left running.
#[derive(Debug)]
pub enum AgentError {
    /// Only root can.
    NotRoot,
    /// The kernel will not do: what it lacks.
    Kernel(Vec<Reason>),
    /// The run directory cannot be had.
    ControlSocket(ControlSocketError),
    /// The cluster could not be joined.
    Cluster(StartError),
    /// The kernel gives no random bytes.
    Randomness(std::io::Error),
    /// Signals cannot be listened to.
    Signals(std::io::Error),
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRoot => f.write_str(
                "the agent must run as root, because it moves programs of all users: try `sudo limosa agent`",
            ),
            Self::Kernel(missing) => {
                f.write_str("this kernel cannot be a node's: ")?;
                f.write_str(&sentences(missing))
            }
            Self::ControlSocket(error) => error.fmt(f),
            Self::Cluster(error) => error.fmt(f),
            Self::Randomness(error) => error.fmt(f),
            Self::Signals(error) => write!(f, "cannot listen for signals: {error}"),
        }
    }
}

impl std::error::Error for AgentError {}

/// The reasons in one line.
pub(super) fn sentences(reasons: &[Reason]) -> String {
    let texts: Vec<&str> = reasons.iter().map(|reason| reason.text.as_str()).collect();
    texts.join("; ")
}

/// All that the agent knows.
pub struct Agent {
    pub(super) executor: Rc<LocalExecutor<'static>>,
    pub(super) events: Sender<Event>,
    pub(super) cluster: Rc<Cluster>,
    pub(super) this: NodeName,
    pub(super) config: AgentConfig,
    pub(super) socket: Rc<ControlSocket>,
    pub(super) counts: Rc<ControlCounts>,
    pub(super) jobs: Jobs,
    pub(super) supervisors: Supervisors,
    pub(super) waiting_runs: Vec<WaitingRun>,
    pub(super) balancing: Balancing,
    pub(super) clock: Clock,
    pub(super) started: Instant,
    pub(super) stopping: Stopping,
    /// What this node can do, as probed at the start.
    pub(super) capabilities: Capabilities,
    /// By it pieces of files are named to remote nodes.
    pub(super) piece_key: DigestKey,
    /// Why this node takes no guests, if it does not.
    pub(super) no_guests: Option<String>,
    /// Guests that have been let in and are not here yet.
    pub(super) guests_coming: Rc<Cell<usize>>,
}

/// Whether the agent is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopping {
    /// It is not.
    No,
    /// It waits for guests to go home.
    Waiting,
    /// It waits for supervisors that have nothing to do any more to end.
    Dismissing,
    /// It goes now.
    Now,
}

/// Runs an agent until it is told to stop.
pub fn run(config: AgentConfig) -> Result<(), AgentError> {
    if !rustix::process::geteuid().is_root() {
        return Err(AgentError::NotRoot);
    }
    // Before anything here has threads, as probing forks.
    let capabilities = Capabilities::probe();
    let missing = capabilities.missing();
    if !missing.is_empty() {
        return Err(AgentError::Kernel(missing));
    }
    let socket = Rc::new(ControlSocket::bind(&config.run_dir).map_err(AgentError::ControlSocket)?);
    let executor = Rc::new(LocalExecutor::new());
    let serving = serve(
        config,
        capabilities,
        Rc::clone(&socket),
        Rc::clone(&executor),
    );
    let result = smol::block_on(executor.run(serving));
    // Not left to a drop: tasks hold the socket as long as the process lives.
    socket.remove();
    result
}

async fn serve(
    config: AgentConfig,
    capabilities: Capabilities,
    socket: Rc<ControlSocket>,
    executor: Rc<LocalExecutor<'static>>,
) -> Result<(), AgentError> {
    let signals = Signals::new([Signal::Term, Signal::Int]).map_err(AgentError::Signals)?;
    let cluster_config = ClusterConfig {
        key: config.key.clone(),
        name: config.name.clone(),
        interfaces: config.interfaces.clone(),
        seeds: config.seeds.clone(),
        port: config.port,
        run_dir: config.run_dir.clone(),
    };
    let cluster = Cluster::start(cluster_config, &executor)
        .await
        .map_err(AgentError::Cluster)?;
    let (jobs, follows) = Jobs::open(&config.run_dir);
    if let Some(error) = follows {
        log::warn!("{error}: jobs are followed by descent, and `limosa run` stays as their parent");
    }
    let (events, queue) = smol::channel::bounded(EVENTS_WAITING_MAX);
    let counts = Rc::new(ControlCounts::default());
    let lacking = capabilities.missing_for_guests();
    let balancing = Balancing::new(config.stay, cluster.random_seed());
    let clock = Clock::new(config.set_clock);
    let mut agent = Agent {
        this: cluster.this(),
        supervisors: Supervisors::new(Rc::clone(&executor), events.clone()),
        executor: Rc::clone(&executor),
        events: events.clone(),
        cluster,
        config,
        socket,
        counts,
        jobs,
        waiting_runs: Vec::new(),
        balancing,
        clock,
        guests_coming: Rc::default(),
        started: Instant::now(),
        stopping: Stopping::No,
        capabilities,
        piece_key: DigestKey::random().map_err(AgentError::Randomness)?,
        no_guests: (!lacking.is_empty()).then(|| sentences(&lacking)),
    };
    agent.balancing.modes.block = agent.config.block;
    agent.announce();
    let _sources = agent.listen(signals);
    while agent.stopping != Stopping::Now {
        let Ok(event) = queue.recv().await else { break };
        agent.handle(event);
    }
    agent.cluster.leave().await;
    if let Some(cgroups) = agent.jobs.cgroups() {
        cgroups.remove_empty();
    }
    agent.forget_pieces();
    log::info!("stopped");
    Ok(())
}

impl Agent {
    fn announce(&self) {
        log::info!(
            "node {} of cluster {}, port {}, socket {}",
            self.this.name,
            self.config.key.cluster(),
            self.config.port,
            self.socket.path().display()
        );
        if let Some(lacking) = &self.no_guests {
            log::warn!("this node takes no guests: {lacking}");
        }
        let jobs = self.jobs.names();
        if !jobs.is_empty() {
            log::info!("found {} jobs of a former agent", jobs.len());
        }
    }

    /// Starts the tasks that turn what happens into events; they end when they are dropped.
    fn listen(&self, mut signals: Signals) -> Vec<smol::Task<()>> {
        let mut sources = Vec::new();
        sources.push(self.executor.spawn(Rc::clone(&self.socket).serve(
            Rc::clone(&self.executor),
            self.events.clone(),
            Rc::clone(&self.counts),
        )));
        let events = self.events.clone();
        sources.push(self.executor.spawn(async move {
            while let Some(Ok(signal)) = signals.next().await {
                let name = if signal == Signal::Int {
                    "SIGINT"
                } else {
                    "SIGTERM"
                };
                if events.send(Event::Stop(name)).await.is_err() {
                    return;
                }
            }
        }));
        let (events, members) = (self.events.clone(), self.cluster.events());
        sources.push(self.executor.spawn(async move {
            while let Ok(event) = members.recv().await {
                if events.send(Event::Member(event)).await.is_err() {
                    return;
                }
            }
        }));
        let (events, incoming) = (self.events.clone(), self.cluster.incoming());
        sources.push(self.executor.spawn(async move {
            while let Ok(connection) = incoming.recv().await {
                if events.send(Event::Incoming(connection)).await.is_err() {
                    return;
                }
            }
        }));
        let events = self.events.clone();
        sources.push(self.executor.spawn(async move {
            while events.send(Event::Sweep).await.is_ok() {
                Timer::after(SWEEP_INTERVAL).await;
            }
        }));
        sources
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Request {
                request,
                caller,
                reply,
            } => self.request(request, caller, reply),
            Event::Adopted {
                link,
                hello,
                caller,
            } => self.adopt(link, hello, caller),
            Event::Supervisor(key, SupervisorEvent::Message(message)) => {
                self.supervisor_said(key, message);
            }
            Event::Supervisor(key, SupervisorEvent::Ended(end)) => {
                self.supervisor_ended(key, end);
                self.stop_if_empty();
            }
            Event::Examined(order, result) => self.examined(order, result),
            Event::Incoming(incoming) => match incoming.purpose {
                Purpose::Migration {
                    pid,
                    balanced,
                    load_centi,
                    pages,
                } => {
                    if let Some(incoming) = self.once_the_clock_is_settled(incoming) {
                        self.guest_asks(incoming, pid, pages, balanced.then_some(load_centi));
                    }
                }
                Purpose::Pages { token } => self.pages_come(incoming, token),
                Purpose::Capabilities => self.tell_capabilities(incoming),
                Purpose::Time => self.tell_time(incoming),
            },
            Event::GuestChannel(channel, pid, pages) => self.guest_arrives(channel, pid, pages),
            Event::Member(event) => self.member_changed(&event),
            Event::Clock(votes) => self.hear_time(&votes),
            Event::Glance => self.glance(),
            Event::Sweep => {
                self.jobs.sweep();
                self.admit_waiting_runs();
                self.balance();
                self.look_at_pieces();
            }
            Event::Stop(signal) => self.stop(signal),
            Event::StopDeadline => {
                if self.anybody_abroad() {
                    log::warn!("not all processes went home in time; they go on without an agent");
                }
                self.stopping = Stopping::Now;
            }
        }
    }

    fn member_changed(&mut self, event: &MemberEvent) {
        if let MemberEvent::Left(node) | MemberEvent::Lost(node) = event {
            self.node_gone(node);
            self.doubt_node(node.id);
        }
        self.admit_waiting_runs();
        self.ask_for_time();
    }

    fn stop(&mut self, signal: &str) {
        if self.stopping != Stopping::No {
            log::warn!("{signal} again: stopping at once");
            self.stopping = Stopping::Now;
            return;
        }
        log::info!("{signal}: stopping");
        self.stopping = Stopping::Waiting;
        self.send_everybody_home();
        self.set_stop_deadline(Duration::from_millis(STOP_TIMEOUT_MS));
        self.stop_if_empty();
    }

    fn set_stop_deadline(&self, after: Duration) {
        let events = self.events.clone();
        self.executor
            .spawn(async move {
                Timer::after(after).await;
                // A closed queue means that the agent has stopped already.
                let _ = events.send(Event::StopDeadline).await;
            })
            .detach();
    }

    /// When stopping: go as soon as no process is away, no guest is here, and no supervisor is left.
    pub(super) fn stop_if_empty(&mut self) {
        if self.stopping == Stopping::Waiting && !self.anybody_abroad() {
            self.stopping = Stopping::Dismissing;
            self.supervisors
                .iter()
                .for_each(|(_, supervisor)| supervisor.dismiss());
            self.set_stop_deadline(Duration::from_millis(DISMISS_TIMEOUT_MS));
        }
        if self.stopping == Stopping::Dismissing && self.supervisors.is_empty() {
            self.stopping = Stopping::Now;
        }
    }
}
