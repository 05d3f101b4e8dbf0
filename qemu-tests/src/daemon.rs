//! The process behind a lab: owns the switch, the nodes and the control socket, and ends with its owner.
//!
//! One thread, one epoll descriptor. Its life: 1. it writes down who it is, 2. makes cgroups, namespaces
//! and ports, 3. starts the agents or virtual machines, 4. says `ready`, 5. serves until it is told to end
//! or its owner dies, 6. removes all that it made. When it is killed, `lab down` does step 6.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, Event, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use crate::bridge::Bridge;
use crate::cgroup::Cgroup;
use crate::control::{Answer, LabStatus, REQUEST_BYTES_MAX, Request};
use crate::error::LabError;
use crate::fabric::{Fabric, Port, Source, watch};
use crate::namespaces::Namespaces;
use crate::node::{Node, NodeConfig};
use crate::ports::{StreamPort, TapPort};
use crate::process::ProcessIdentity;
use crate::programs::Programs;
use crate::relay::Relay;
use crate::state::{Record, StateDirectory};
use crate::switch::PortId;

/// What the daemon says when all nodes are started.
pub const READY: &str = "ready";

/// Events taken from the kernel at a time.
const EVENTS_MAX: usize = 64;

/// A lab as it was ordered; the daemon reads it from its standard input.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LabConfig {
    /// Its name.
    pub name: String,
    /// With whom it ends.
    pub owner: Option<ProcessIdentity>,
    /// A kernel bridge instead of the switch: no faults, full speed.
    pub fast: bool,
    /// Where the chances of the faults begin.
    pub seed: u64,
    /// The programs that nodes are made with.
    pub programs: Programs,
    /// Its nodes, in order.
    pub nodes: Vec<NodeConfig>,
}

/// Whether the daemon goes on after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Serve,
    End,
}

struct Client {
    stream: UnixStream,
    request: Vec<u8>,
}

struct Daemon {
    state: StateDirectory,
    epoll: OwnedFd,
    fabric: Fabric,
    bridge: Option<Bridge>,
    nodes: Vec<Node>,
    /// By the index of the virtual machine.
    relays: BTreeMap<u32, Relay>,
    control: UnixListener,
    clients: HashMap<u32, Client>,
    next_client: u32,
    owner: Option<OwnedFd>,
}

/// Runs a lab until its end; the caller is its daemon from here on.
pub fn run(config: LabConfig) -> Result<(), LabError> {
    let state = StateDirectory::of(&config.name)?;
    let daemon = ProcessIdentity::own().map_err(LabError::doing("read the own start time"))?;
    state.write_record(&Record { daemon })?;
    let served = Daemon::start(config, state.clone()).and_then(|mut daemon| {
        let mut output = io::stdout();
        // Nobody may be waiting for it any more: the owner's end is noticed in the loop.
        let _ = writeln!(output, "{READY}").and_then(|()| output.flush());
        daemon.serve()
    });
    let removed = state.remove_lab();
    served.and(removed)
}

impl Daemon {
    fn start(config: LabConfig, state: StateDirectory) -> Result<Self, LabError> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(LabError::doing("make an epoll descriptor"))?;
        let listening = LabError::doing("listen at the control socket");
        let control = UnixListener::bind(state.control())
            .and_then(|control| {
                control.set_nonblocking(true)?;
                watch(&epoll, &control, Source::Control)?;
                Ok(control)
            })
            .map_err(listening)?;
        let binaries = make_binaries(&state, &config.programs)?;
        let lab_cgroup = Cgroup::of_lab(&config.name)?;
        lab_cgroup.make()?;
        let bridge = if config.fast {
            let (cgroup, scratch) = (lab_cgroup.child("bridge"), state.path().join("scratch"));
            cgroup.make()?;
            fs::create_dir(&scratch).map_err(LabError::doing("make a directory"))?;
            Some(Bridge::make(Namespaces::make(
                &config.programs.lab,
                &cgroup,
                &scratch,
            )?)?)
        } else {
            None
        };
        let fabric = Fabric::new(config.seed);
        let mut daemon = Self {
            state,
            epoll,
            fabric,
            bridge,
            control,
            nodes: Vec::new(),
            relays: BTreeMap::new(),
            clients: HashMap::new(),
            next_client: 0,
            owner: None,
        };
        daemon.set_owner(config.owner)?;
        for (node, number) in config.nodes.into_iter().zip(1..) {
            let directories = (daemon.state.node(&node.name), binaries.clone());
            let lab = (daemon.state.name(), &lab_cgroup);
            let programs = config.programs.clone();
            daemon.nodes.push(Node::make(
                node,
                PortId(number),
                directories,
                programs,
                lab,
            )?);
            daemon.start_node(daemon.nodes.len() - 1)?;
        }
        Ok(daemon)
    }

    fn set_owner(&mut self, owner: Option<ProcessIdentity>) -> Result<(), LabError> {
        self.owner = None;
        if let Some(owner) = owner {
            let descriptor = owner.open().ok_or_else(|| {
                LabError::Refused(format!("process {}, the lab's owner, is gone", owner.pid))
            })?;
            watch(&self.epoll, &descriptor, Source::Owner)
                .map_err(LabError::doing("watch the lab's owner"))?;
            self.owner = Some(descriptor);
        }
        Ok(())
    }

    fn start_node(&mut self, index: usize) -> Result<(), LabError> {
        // A node whose agent ended is still plugged in as it was.
        let was_off = self.nodes[index].is_off();
        self.nodes[index].namespaces()?;
        if was_off && self.nodes[index].config().plugged {
            self.plug(index)?;
        }
        if was_off && self.nodes[index].is_machine() {
            let sockets = self.nodes[index].machine_files().lab_port;
            let relay = Relay::make(&self.epoll, index as u32, &sockets)?;
            self.relays.insert(index as u32, relay);
        }
        let descriptor = self.nodes[index].start()?;
        watch(&self.epoll, descriptor, Source::NodeProcess(index as u32))
            .map_err(LabError::doing("watch a node's process"))
    }

    fn is_plugged(&self, index: usize) -> bool {
        self.fabric.is_plugged(self.nodes[index].port())
    }

    fn plug(&mut self, index: usize) -> Result<(), LabError> {
        if self.is_plugged(index) {
            return Err(LabError::Refused(format!(
                "{} is plugged in",
                self.nodes[index].name()
            )));
        }
        let node = &mut self.nodes[index];
        let (id, socket) = (node.port(), node.machine_files().switch_port);
        let port = match (node.namespaces()?, &self.bridge) {
            (Some(namespaces), Some(bridge)) => {
                bridge.plug(namespaces, id)?;
                Port::Veth
            }
            (Some(namespaces), None) => Port::Tap(TapPort::make(namespaces, id)?),
            (None, None) => Port::Stream(StreamPort::make(&socket)?),
            (None, Some(_)) => {
                return Err(LabError::Usage("a fast lab has no virtual machines".into()));
            }
        };
        self.fabric.plug(&self.epoll, id, port)?;
        self.nodes[index].configure_interface()
    }

    fn unplug(&mut self, index: usize) -> Result<(), LabError> {
        if !self.is_plugged(index) {
            return Err(LabError::Refused(format!(
                "{} is unplugged",
                self.nodes[index].name()
            )));
        }
        let port = self.nodes[index].port();
        self.fabric.unplug(port);
        self.bridge
            .as_ref()
            .map_or(Ok(()), |bridge| bridge.unplug(port))
    }

    fn kill(&mut self, index: usize) -> Result<(), LabError> {
        // First the cable: nothing that a dying process says may get out.
        if self.is_plugged(index) {
            self.unplug(index)?;
        }
        self.relays.remove(&(index as u32));
        self.nodes[index].kill()
    }

    fn serve(&mut self) -> Result<(), LabError> {
        // By default the kernel may be 50 us late, which is much beside the delay of a fast network.
        rustix::thread::set_current_timer_slack(NonZeroU64::new(1))
            .map_err(LabError::doing("ask for exact timeouts"))?;
        let handling = || LabError::doing::<io::Error>("serve the lab");
        loop {
            let timeout = match self.fabric.next_due(Instant::now()).map(timespec_of) {
                None => None,
                // epoll_wait(2) counts in milliseconds, ppoll(2) in nanoseconds.
                Some(due) => {
                    let mut readable = [PollFd::new(&self.epoll, PollFlags::IN)];
                    match poll(&mut readable, Some(&due)) {
                        Err(rustix::io::Errno::INTR) => continue,
                        other => other.map_err(LabError::doing("wait for the time of a frame"))?,
                    };
                    Some(Timespec::default())
                }
            };
            let mut events = [const { MaybeUninit::<Event>::uninit() }; EVENTS_MAX];
            let (events, _) = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other.map_err(LabError::doing("wait for events"))?,
            };
            for event in events {
                let Some(source) = Source::from_token(event.data) else {
                    continue;
                };
                let next = self.handle(source, event.flags).map_err(handling())?;
                if next == Next::End {
                    return Ok(());
                }
            }
            self.fabric
                .send_due(&self.epoll, Instant::now())
                .map_err(handling())?;
        }
    }

    fn handle(&mut self, source: Source, flags: EventFlags) -> io::Result<Next> {
        match source {
            Source::Port(port) => self.fabric.serve(&self.epoll, port, flags),
            Source::Listener(port) => self.fabric.accept(&self.epoll, port)?,
            Source::NodeProcess(index) => {
                if let Some(node) = self.nodes.get_mut(index as usize) {
                    node.reap();
                }
            }
            Source::MachineListener(_)
            | Source::Machine(_)
            | Source::RelayListener(_)
            | Source::RelayClient(_) => self.handle_relay(source, flags)?,
            Source::Owner => return Ok(Next::End),
            Source::Control => self.accept_client()?,
            Source::Client(number) => return Ok(self.serve_client(number)),
        }
        Ok(Next::Serve)
    }

    fn handle_relay(&mut self, source: Source, flags: EventFlags) -> io::Result<()> {
        let relay = match source {
            Source::RelayClient(client) => self
                .relays
                .values_mut()
                .find(|relay| relay.has_client(client)),
            Source::MachineListener(node) | Source::Machine(node) | Source::RelayListener(node) => {
                self.relays.get_mut(&node)
            }
            _ => None,
        };
        let Some(relay) = relay else { return Ok(()) };
        match source {
            Source::MachineListener(_) => relay.accept_machine(&self.epoll)?,
            Source::Machine(_) => relay.serve_machine(&self.epoll, flags),
            Source::RelayListener(_) => {
                self.next_client = self.next_client.wrapping_add(1);
                relay.accept_client(&self.epoll, self.next_client)?;
            }
            Source::RelayClient(client) => relay.serve_client(&self.epoll, client, flags),
            _ => {}
        }
        Ok(())
    }

    fn accept_client(&mut self) -> io::Result<()> {
        let (stream, _) = match self.control.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            other => other?,
        };
        stream.set_nonblocking(true)?;
        self.next_client = self.next_client.wrapping_add(1);
        watch(&self.epoll, &stream, Source::Client(self.next_client))?;
        self.clients.insert(
            self.next_client,
            Client {
                stream,
                request: Vec::new(),
            },
        );
        Ok(())
    }

    fn serve_client(&mut self, number: u32) -> Next {
        let Some(client) = self.clients.get_mut(&number) else {
            return Next::Serve;
        };
        let mut bytes = [0; 4096];
        match client.stream.read(&mut bytes) {
            Ok(length @ 1..) if client.request.len() + length <= REQUEST_BYTES_MAX => {
                client.request.extend_from_slice(&bytes[..length]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Next::Serve,
            _ => {
                self.clients.remove(&number);
                return Next::Serve;
            }
        }
        if client.request.last() != Some(&b'\n') {
            return Next::Serve;
        }
        let Some(Client { stream, request }) = self.clients.remove(&number) else {
            return Next::Serve;
        };
        let (answer, next) = match serde_json::from_slice(&request) {
            Ok(Request::Down) => (Answer::Done, Next::End),
            Ok(request) => (self.answer(request), Next::Serve),
            Err(error) => (
                Answer::Refused(format!("not a request: {error}")),
                Next::Serve,
            ),
        };
        // A client that is gone does not want its answer.
        if let Ok(mut line) = serde_json::to_vec(&answer) {
            line.push(b'\n');
            let _ = (&stream).write_all(&line);
        }
        next
    }

    fn answer(&mut self, request: Request) -> Answer {
        match self.carry_out(request) {
            Ok(answer) => answer,
            Err(error) => Answer::Refused(error.to_string()),
        }
    }

    fn carry_out(&mut self, request: Request) -> Result<Answer, LabError> {
        match request {
            Request::Status => return Ok(Answer::Status(self.status())),
            Request::Own { owner } => self.set_owner(owner)?,
            Request::Kill { node } => self.kill(self.index_of(&node)?)?,
            Request::Stop { node } => self.nodes[self.index_of(&node)?].stop()?,
            Request::Start { node } => self.start_node(self.index_of(&node)?)?,
            Request::Plug { node } => self.plug(self.index_with_cable(&node)?)?,
            Request::Unplug { node } => self.unplug(self.index_with_cable(&node)?)?,
            // The loop ends before this is asked.
            Request::Down => {}
            fault => self.set_fault(&fault)?,
        }
        Ok(Answer::Done)
    }

    fn set_fault(&mut self, request: &Request) -> Result<(), LabError> {
        if self.bridge.is_some() {
            return Err(LabError::Refused(
                "a fast lab has a kernel bridge and no faults: bring it up without --fast".into(),
            ));
        }
        let port = |node: &String| Ok::<_, LabError>(self.nodes[self.index_of(node)?].port());
        let pair = match request {
            Request::Cut { a, b } | Request::Join { a, b } => Some((port(a)?, port(b)?)),
            _ => None,
        };
        let faults = &mut self.fabric.switch.faults;
        let set = match (request, pair) {
            (Request::Cut { .. }, Some((a, b))) => {
                faults.cut(a, b);
                Ok(())
            }
            (Request::Join { .. }, Some((a, b))) => {
                faults.join(a, b);
                Ok(())
            }
            (Request::Heal, _) => {
                faults.heal();
                Ok(())
            }
            (Request::Delay { delay_ms }, _) => {
                let delay = Duration::try_from_secs_f64(delay_ms / 1000.0);
                let refused = |error| LabError::Refused(format!("{delay_ms} ms: {error}"));
                faults.set_delay(delay.map_err(refused)?);
                Ok(())
            }
            (Request::Loss { percent }, _) => faults.set_loss_percent(*percent),
            (Request::Duplicate { percent }, _) => faults.set_duplicate_percent(*percent),
            (other, _) => return Err(LabError::Protocol(format!("{other:?} is no fault"))),
        };
        set.map_err(|error| LabError::Refused(error.to_string()))
    }

    fn index_of(&self, name: &str) -> Result<usize, LabError> {
        let found = self.nodes.iter().position(|node| node.name() == name);
        found.ok_or_else(|| LabError::NoSuchNode {
            node: name.into(),
            known: self.nodes.iter().map(|node| node.name().into()).collect(),
        })
    }

    /// As [`Self::index_of`], for nodes whose interface can come and go.
    fn index_with_cable(&self, name: &str) -> Result<usize, LabError> {
        let index = self.index_of(name)?;
        if self.nodes[index].is_machine() {
            return Err(LabError::Refused(format!(
                "{name} is a virtual machine, whose card stays plugged in: cut it off instead"
            )));
        }
        Ok(index)
    }

    fn status(&self) -> LabStatus {
        let indices = 0..self.nodes.len();
        let nodes = indices
            .map(|index| self.nodes[index].status(self.is_plugged(index)))
            .collect();
        LabStatus {
            nodes,
            frames: self.fabric.switch.counters(),
        }
    }
}

/// A directory with `limosa` and `lab` in it, for the PATH of what runs on a node.
fn make_binaries(state: &StateDirectory, programs: &Programs) -> Result<PathBuf, LabError> {
    let directory = state.path().join("bin");
    fs::create_dir(&directory)
        .and_then(|()| std::os::unix::fs::symlink(&programs.limosa, directory.join("limosa")))
        .and_then(|()| std::os::unix::fs::symlink(&programs.lab, directory.join("lab")))
        .map_err(LabError::doing(format!("fill {}", directory.display())))?;
    Ok(directory)
}

fn timespec_of(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: duration.as_secs() as i64,
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
