//! One trace, one strategy: runs it to its end, and says what came of it.
//!
//! The strategy that counts is [`Strategy::Limosa`]: every node has the agents' own `Gossip` and `Brain`, and
//! knows of the others only what reaches it. What is here in their place is what `node::balancing` is in the agent:
//! measuring, carrying orders out, and telling the brain what failed.

use std::collections::BTreeSet;
use std::time::Duration;

use limosa::balance::arrivals::lets_in;
use limosa::balance::brain::{self, Brain, Input, Neighbour, PLACES_TRIED, Place};
use limosa::balance::gossip::Gossip;
use limosa::balance::vector::LoadVector;
use limosa::limits::PROCESSES_BALANCED_MAX;
use limosa::load::lives::Lives;
use limosa::process::Identity;
use limosa::secure::datagram::OVERHEAD_BYTES;
use limosa::wire::supervisor::NodeId;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::arguments::Cluster;
use super::gossip::{id, number};
use super::network::Network;
use super::trace::Trace;
use super::world::{Changes, STEP, State, World};

/// The world runs on for so long before processes come, so that nodes know each other.
const WARM_UP_SECONDS: f64 = 10.0;

/// A lost node is back after so long.
const BACK_AFTER: f64 = 60.0;

/// Steps in a second: each node looks at itself and decides once a second, a tenth of them in each step.
const PHASES: usize = 10;

/// Steps after which a crowded home decides again, as an agent glances at one.
const GLANCE_PHASES: usize = 2;

/// The name of all programs.
const PROGRAM: &str = "program";

/// After so long a run is given up: something does not end.
const SECONDS_MAX: f64 = 50_000.0;

/// Who decides where a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// All stay at home.
    Stay,
    /// At the start, any node.
    Random,
    /// At the start, the node that is least loaded for its capacity at that moment, known without delay.
    LeastLoaded,
    /// The agents' code.
    Limosa,
}

impl Strategy {
    pub(crate) const ALL: [Strategy; 4] = [
        Strategy::Stay,
        Strategy::Random,
        Strategy::LeastLoaded,
        Strategy::Limosa,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Strategy::Stay => "all stay at home",
            Strategy::Random => "random node at the start",
            Strategy::LeastLoaded => "least loaded at the start",
            Strategy::Limosa => "limosa",
        }
    }
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    /// When each process ended; none if its home was lost.
    pub(crate) ends: Vec<Option<f64>>,
    pub(crate) moves: u64,
    /// Most moves of one process.
    pub(crate) moves_most: u32,
    /// Datagrams and bytes that a node sent a second.
    pub(crate) datagrams: f64,
    pub(crate) bytes: f64,
    /// Each second: the coefficient of variation of load for capacity.
    pub(crate) imbalance: Vec<f64>,
}

/// A node's part of the agents' code.
struct Mind {
    gossip: Gossip,
    brain: Brain,
    lives: Lives,
    /// When it looked at itself last.
    looked: Duration,
}

struct Run<'a> {
    options: &'a Cluster,
    strategy: Strategy,
    world: World,
    network: Network,
    minds: Vec<Mind>,
    by_load: BTreeSet<(u64, usize)>,
    random: SmallRng,
    bytes: u64,
    datagrams: u64,
    /// Nodes that are gone, and until when.
    gone: Vec<(f64, usize)>,
}

/// Runs a trace by a strategy.
pub(crate) fn run(options: &Cluster, trace: &Trace, strategy: Strategy) -> Outcome {
    let world = World::new(trace);
    let network = Network::new(
        trace.machines.len(),
        options.loss / 100.0,
        options.partition,
    );
    let mut run = Run {
        options,
        strategy,
        world,
        network,
        minds: Vec::new(),
        by_load: BTreeSet::new(),
        random: SmallRng::seed_from_u64(options.seed),
        bytes: 0,
        datagrams: 0,
        gone: Vec::new(),
    };
    run.wake_up();
    run.finish()
}

fn clock(seconds: f64) -> Duration {
    Duration::from_secs_f64(WARM_UP_SECONDS + seconds)
}

impl Run<'_> {
    fn wake_up(&mut self) {
        let nodes = self.world.nodes.len();
        if self.strategy == Strategy::LeastLoaded {
            self.by_load = (0..nodes).map(|node| (self.load_key(node), node)).collect();
        }
        if self.strategy != Strategy::Limosa {
            return;
        }
        for node in 0..nodes {
            let seed = self.options.seed.wrapping_mul(1_000_003) + node as u64;
            let gossip = Gossip::new(Duration::ZERO, id(node), self.vector(node), seed);
            self.minds.push(Mind {
                gossip,
                brain: Brain::new(seed),
                lives: Lives::default(),
                looked: Duration::ZERO,
            });
        }
        for step in 0..(WARM_UP_SECONDS / STEP) as u32 {
            let now = Duration::from_secs_f64(f64::from(step) * STEP);
            self.exchange(now);
        }
        (self.bytes, self.datagrams) = (0, 0);
    }

    fn finish(mut self) -> Outcome {
        let mut next = 0;
        let mut imbalance = Vec::new();
        let mut step: usize = 0;
        while next < self.world.processes.len() || self.world.living > 0 {
            while next < self.world.processes.len()
                && self.world.processes[next].start.at <= self.world.now
            {
                self.start(next);
                next += 1;
            }
            if step.is_multiple_of(PHASES) {
                imbalance.push(self.imbalance());
                self.churn();
            }
            if self.strategy == Strategy::Limosa {
                self.exchange(clock(self.world.now));
                self.decide(step % PHASES);
            }
            let changes = self.world.step(&self.network);
            self.note(&changes);
            step += 1;
            if self.world.now > SECONDS_MAX {
                break;
            }
        }
        let node_seconds = self.world.nodes.len() as f64 * self.world.now.max(STEP);
        let end = |state| match state {
            State::Ended(at) => Some(at),
            _ => None,
        };
        let processes = &self.world.processes;
        Outcome {
            ends: processes.iter().map(|process| end(process.state)).collect(),
            moves: self.world.moves,
            moves_most: processes
                .iter()
                .map(|process| process.moves)
                .max()
                .unwrap_or(0),
            datagrams: self.datagrams as f64 / node_seconds,
            bytes: self.bytes as f64 / node_seconds,
            imbalance,
        }
    }

    fn start(&mut self, index: usize) {
        let home = self.world.processes[index].start.home;
        self.world.start(index, &self.network);
        if self.world.processes[index].state == State::Lost {
            return;
        }
        let nodes = self.world.nodes.len();
        match self.strategy {
            Strategy::Stay => {}
            Strategy::Random => {
                let to = self.random.random_range(0..nodes);
                if self.network.connects(self.world.now, home, to) {
                    self.set_out(index, to);
                }
            }
            Strategy::LeastLoaded => self.send_to_least_loaded(index),
            Strategy::Limosa => self.place(index),
        }
    }

    /// A program is about to be executed; who is turned away tries another node at once.
    fn place(&mut self, index: usize) {
        let home = self.world.processes[index].start.home;
        let (now, pid) = (clock(self.world.now), index as u32);
        for _ in 0..PLACES_TRIED {
            let neighbours = self.neighbours(home);
            let input = Input {
                home: *self.minds[home].gossip.own(),
                home_age: now.saturating_sub(self.minds[home].looked),
                may_leave: true,
                nodes: &neighbours,
                processes: &[],
                barred: &[],
            };
            let Mind { brain, lives, .. } = &mut self.minds[home];
            let place = brain.place(now, pid, lives.of(PROGRAM), &input);
            if self.carry_out(index, place) {
                return;
            }
        }
    }

    /// The load of a node for its capacity, in an order; what is on its way to it counts already.
    fn load_key(&self, node: usize) -> u64 {
        let there = &self.world.nodes[node];
        let capacity = f64::from(there.machine.cpus) * there.machine.speed;
        ((there.running.len() as f64 + 1.0) / capacity * 1e6) as u64
    }

    fn send_to_least_loaded(&mut self, index: usize) {
        // The order is made anew from the true loads each second, and follows placements in between.
        let best = self
            .by_load
            .iter()
            .find(|(_, node)| self.network.is_there(*node))
            .copied();
        if let Some((key, node)) = best {
            let machine = self.world.nodes[node].machine;
            let one_more = 1e6 / (f64::from(machine.cpus) * machine.speed);
            self.by_load.remove(&(key, node));
            self.by_load.insert((key + one_more as u64, node));
            self.set_out(index, node);
        }
    }

    fn imbalance(&mut self) -> f64 {
        if self.strategy == Strategy::LeastLoaded {
            let nodes = 0..self.world.nodes.len();
            self.by_load = nodes.map(|node| (self.load_key(node), node)).collect();
        }
        let loads: Vec<f64> = self
            .world
            .nodes
            .iter()
            .enumerate()
            .filter(|(number, _)| self.network.is_there(*number))
            .map(|(_, node)| {
                node.running.len() as f64 / (f64::from(node.machine.cpus) * node.machine.speed)
            })
            .collect();
        let mean = loads.iter().sum::<f64>() / loads.len().max(1) as f64;
        if mean == 0.0 {
            return 0.0;
        }
        let squares: f64 = loads.iter().map(|load| (load - mean) * (load - mean)).sum();
        (squares / loads.len() as f64).sqrt() / mean
    }

    /// Once a second: some nodes are lost, others are back.
    fn churn(&mut self) {
        let now = self.world.now;
        let (back, gone) = self.gone.iter().partition(|(until, _)| *until <= now);
        let back: Vec<(f64, usize)> = back;
        self.gone = gone;
        for (_, node) in back {
            self.network.set_there(now, node, true);
        }
        let expected = self.world.nodes.len() as f64 * self.options.churn / 100.0 / 60.0;
        let count = expected as usize + usize::from(self.random.random::<f64>() < expected.fract());
        for _ in 0..count {
            let node = self.random.random_range(0..self.world.nodes.len());
            if self.network.is_there(node) {
                self.network.set_there(now, node, false);
                self.world.lose(node);
                self.gone.push((now + BACK_AFTER, node));
            }
        }
    }

    fn vector(&self, node: usize) -> LoadVector {
        let there = &self.world.nodes[node];
        let mut vector = LoadVector {
            cpus: there.machine.cpus,
            speed: (there.machine.speed * 10_000.0) as u32,
            memory_mib: there.machine.memory_mib,
            free_mib: there.free_mib,
            ..LoadVector::default()
        };
        vector.set_load(there.running.len() as f64);
        vector
    }

    /// Sends what is due.
    fn exchange(&mut self, now: Duration) {
        let nodes = self.world.nodes.len();
        for from in 0..nodes {
            let mind = &mut self.minds[from];
            if !self.network.is_there(from) || mind.gossip.next_due().is_none_or(|due| due > now) {
                continue;
            }
            let message = mind.gossip.compose(now);
            let guests = &self.world.nodes[from].running;
            let guest = guests.get(mind.gossip.choose(guests.len()));
            let home = guest.map(|&guest| self.world.processes[guest].start.home);
            let mut homes: Vec<NodeId> = home
                .filter(|home| *home != from)
                .map(id)
                .into_iter()
                .collect();
            let wanted = mind.gossip.receiver(now, &mut homes).map(number);
            let to = wanted.unwrap_or_else(|| (from + 1 + mind.gossip.choose(nodes - 1)) % nodes);
            self.datagrams += 1;
            self.bytes += (message.len() + OVERHEAD_BYTES) as u64;
            if self
                .network
                .carries(self.world.now, from, to, &mut self.random)
            {
                // Its own code wrote it.
                let _ = self.minds[to].gossip.receive(now, id(from), &message);
            }
        }
    }

    fn neighbours(&self, viewer: usize) -> Vec<Neighbour> {
        let now = clock(self.world.now);
        let known = self.minds[viewer].gossip.view(now);
        known
            .filter(|known| {
                self.network
                    .believes(self.world.now, viewer, number(known.node))
            })
            .map(|known| Neighbour {
                node: known.node,
                vector: known.vector,
                age: known.age(now),
            })
            .collect()
    }

    /// A tenth of the nodes look at themselves and decide, and of the others those homes that are crowded.
    fn decide(&mut self, phase: usize) {
        let now = clock(self.world.now);
        for node in 0..self.world.nodes.len() {
            let is_full_look = node % PHASES == phase;
            let is_glance = node % GLANCE_PHASES == phase % GLANCE_PHASES;
            if !(is_full_look || is_glance) || !self.network.is_there(node) {
                continue;
            }
            let vector = self.vector(node);
            if is_full_look {
                let mind = &mut self.minds[node];
                mind.gossip.set_own(now, vector);
                mind.looked = now;
            }
            let is_crowded = vector.load() >= f64::from(vector.cpus);
            if !self.world.nodes[node].own.is_empty() && (is_full_look || is_crowded) {
                self.steer(now, node, vector);
            }
            if is_full_look {
                self.minds[node].lives.forget_unseen(now);
            }
        }
    }

    fn steer(&mut self, now: Duration, node: usize, vector: LoadVector) {
        let neighbours = self.neighbours(node);
        let mut own = self.world.nodes[node].own.clone();
        own.sort_unstable();
        own.truncate(PROCESSES_BALANCED_MAX);
        let mut processes: Vec<brain::Process> =
            own.iter().map(|&index| self.look(node, index)).collect();
        let hosts = processes.iter().filter_map(|process| process.place.node());
        let mind = &mut self.minds[node];
        mind.gossip.set_hosts(hosts);
        for process in &mut processes {
            let identity = Identity {
                pid: process.pid,
                start_time_ticks: 0,
            };
            let seen = (process.rest_seconds, process.calls_per_cpu_second);
            process.rest_seconds = mind.lives.see(now, identity, PROGRAM, seen);
        }
        let input = Input {
            home: vector,
            home_age: Duration::ZERO,
            may_leave: true,
            nodes: &neighbours,
            processes: &processes,
            barred: &[],
        };
        for order in mind.brain.tick(now, &input) {
            self.carry_out(order.pid as usize, order.to);
        }
    }

    fn look(&self, home: usize, index: usize) -> brain::Process {
        let process = &self.world.processes[index];
        let (at, movable) = match process.state {
            State::Moves { to, .. } => (to, false),
            _ => (process.at, true),
        };
        brain::Process {
            pid: index as u32,
            job: 0,
            place: if at == home {
                Place::Home
            } else {
                Place::Away(id(at))
            },
            movable,
            rest_seconds: process.done,
            runnable: 1.0,
            memory_mib: process.start.memory_mib,
            calls_per_cpu_second: process.start.calls_per_cpu_second,
        }
    }

    /// Sends a process where it is to go, and tells its home if it cannot; false if it was turned away at the door.
    fn carry_out(&mut self, index: usize, place: Place) -> bool {
        let home = self.world.processes[index].start.home;
        let Some(node) = place.node() else {
            self.set_out(index, home);
            return true;
        };
        let (to, now, pid) = (number(node), clock(self.world.now), index as u32);
        if !self.network.connects(self.world.now, home, to) {
            let memory = &mut self.minds[home].brain.memory;
            memory.failed(now, pid, node);
            memory.doubt(now, node);
            return true;
        }
        let there = &self.world.nodes[to];
        let load = (there.running.len() + there.coming) as f64;
        let counted_on = self.minds[home].brain.memory.counted_on(pid, node);
        let is_let_in = lets_in(there.machine.cpus, load, counted_on.unwrap_or(0.0));
        if is_let_in {
            self.set_out(index, to);
        } else {
            let mut vector = self.vector(to);
            vector.set_load(load);
            self.minds[to].gossip.turn_away(now, id(home));
            let mind = &mut self.minds[home];
            mind.gossip.hear(now, node, vector);
            mind.brain.memory.turned_away(now, pid, node);
        }
        is_let_in
    }

    fn set_out(&mut self, index: usize, to: usize) {
        let left = self.world.set_out(index, to);
        self.tell_loads(left);
    }

    /// Tells homes who has arrived where, and gossips what has changed.
    fn note(&mut self, changes: &Changes) {
        if self.strategy != Strategy::Limosa {
            return;
        }
        let now = clock(self.world.now);
        for &index in &changes.arrived {
            let process = &self.world.processes[index];
            let (home, at) = (process.start.home, process.at);
            let node = (at != home).then(|| id(at));
            let memory = &mut self.minds[home].brain.memory;
            memory.arrived(now, index as u32, node);
        }
        self.tell_loads(changes.nodes.iter().copied());
    }

    /// Guests have come to these nodes, or left them.
    fn tell_loads(&mut self, nodes: impl IntoIterator<Item = usize>) {
        let now = clock(self.world.now);
        for node in nodes {
            let vector = self.vector(node);
            if let Some(mind) = self.minds.get_mut(node) {
                mind.gossip.set_own(now, vector);
            }
        }
    }
}
