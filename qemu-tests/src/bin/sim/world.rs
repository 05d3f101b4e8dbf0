//! Nodes and processes on a virtual clock: who runs where, how fast, and what a move takes.
//!
//! A node's CPUs are shared equally among the processes that run on it, none of which uses more than one. Away, each
//! forwarded call costs its time. A process that moves runs nowhere for the time of its journey.

use super::network::Network;
use super::trace::{Machine, Start, Trace};

/// Resolution of the virtual clock, in seconds.
pub(crate) const STEP: f64 = 0.1;

/// What a move takes at least, and memory carried a second.
const MOVE_SECONDS: f64 = 0.15;
const LINK_MIB_PER_SECOND: f64 = 100.0;

/// What a forwarded call takes.
const CALL_SECONDS: f64 = 0.000_2;

/// How long home waits for a silent remote before it goes on by itself.
const SILENCE_SECONDS: f64 = 10.0;

/// What a node needs for itself.
const SYSTEM_MIB: u32 = 256;

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum State {
    /// It has not been started.
    ToCome,
    /// It runs, or waits for a CPU, on the node where it is.
    Runs,
    /// It arrives there at this time.
    Moves { to: usize, arrives: f64 },
    /// It ended at this time.
    Ended(f64),
    /// Its home was lost.
    Lost,
}

/// A process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pub(crate) start: Start,
    pub(crate) state: State,
    /// Where it is, or leaves from.
    pub(crate) at: usize,
    pub(crate) done: f64,
    /// What it had done when it left home: what is left if the remote is lost.
    left_with: f64,
    pub(crate) moves: u32,
}

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) machine: Machine,
    /// Processes that run here.
    pub(crate) running: Vec<usize>,
    /// Processes whose home this is, and that live.
    pub(crate) own: Vec<usize>,
    pub(crate) free_mib: u32,
    /// Processes that have been let in and are on their way here.
    pub(crate) coming: usize,
}

/// What a step has changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    /// Processes that have arrived.
    pub(crate) arrived: Vec<usize>,
    /// Nodes that have a guest more or less.
    pub(crate) nodes: Vec<usize>,
}

/// All of it.
pub(crate) struct World {
    pub(crate) now: f64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) processes: Vec<Process>,
    moving: Vec<usize>,
    pub(crate) living: usize,
    pub(crate) moves: u64,
}

impl World {
    pub(crate) fn new(trace: &Trace) -> World {
        let node = |machine: &Machine| Node {
            machine: *machine,
            running: Vec::new(),
            own: Vec::new(),
            free_mib: machine.memory_mib - SYSTEM_MIB,
            coming: 0,
        };
        let process = |start: &Start| Process {
            start: *start,
            state: State::ToCome,
            at: start.home,
            done: 0.0,
            left_with: 0.0,
            moves: 0,
        };
        World {
            now: 0.0,
            nodes: trace.machines.iter().map(node).collect(),
            processes: trace.starts.iter().map(process).collect(),
            moving: Vec::new(),
            living: 0,
            moves: 0,
        }
    }

    /// A process starts at home, or dies with it.
    pub(crate) fn start(&mut self, index: usize, network: &Network) {
        let home = self.processes[index].start.home;
        if !network.is_there(home) {
            self.processes[index].state = State::Lost;
            return;
        }
        self.living += 1;
        self.nodes[home].own.push(index);
        self.settle(index, home);
    }

    fn settle(&mut self, index: usize, node: usize) {
        let process = &mut self.processes[index];
        (process.state, process.at) = (State::Runs, node);
        let there = &mut self.nodes[node];
        there.running.push(index);
        there.free_mib = there.free_mib.saturating_sub(process.start.memory_mib);
    }

    fn unsettle(&mut self, index: usize) {
        let Process { at, start, .. } = self.processes[index];
        let node = &mut self.nodes[at];
        if let Some(place) = node.running.iter().position(|&running| running == index) {
            node.running.swap_remove(place);
            node.free_mib += start.memory_mib;
        }
    }

    /// A running process sets out for another node; tells which node has a guest less.
    pub(crate) fn set_out(&mut self, index: usize, to: usize) -> Option<usize> {
        let process = self.processes[index];
        if process.state != State::Runs || process.at == to {
            return None;
        }
        self.unsettle(index);
        self.moves += 1;
        let home = process.start.home;
        let journeys = if process.at != home && to != home {
            2.0
        } else {
            1.0
        };
        // A program that is yet to begin has no memory that would have to travel.
        let memory_mib = if process.done > 0.0 {
            process.start.memory_mib
        } else {
            0
        };
        let memory = f64::from(memory_mib) / LINK_MIB_PER_SECOND;
        let arrives = self.now + journeys * (MOVE_SECONDS + memory);
        let process = &mut self.processes[index];
        if process.at == home {
            process.left_with = process.done;
        }
        process.moves += 1;
        process.state = State::Moves { to, arrives };
        self.moving.push(index);
        self.nodes[to].coming += 1;
        (process.at != home).then_some(process.at)
    }

    /// Lets everybody run for a step, and arrive who is due; tells what has changed.
    pub(crate) fn step(&mut self, network: &Network) -> Changes {
        let mut ended = Vec::new();
        for (number, node) in self.nodes.iter().enumerate() {
            let count = node.running.len();
            if count == 0 || !network.is_there(number) {
                continue;
            }
            let share = (f64::from(node.machine.cpus) / count as f64).min(1.0);
            let rate = node.machine.speed * share;
            for &index in &node.running {
                let process = &mut self.processes[index];
                let calls = if process.start.home == number {
                    0.0
                } else {
                    process.start.calls_per_cpu_second * CALL_SECONDS
                };
                let rate = 1.0 / (1.0 / rate + calls);
                let left = process.start.work - process.done;
                process.done += rate * STEP;
                if process.done >= process.start.work {
                    ended.push((index, self.now + (left / rate).max(0.0)));
                }
            }
        }
        let mut changes = Changes::default();
        for (index, at) in ended {
            let process = &self.processes[index];
            if process.at != process.start.home {
                changes.nodes.push(process.at);
            }
            self.unsettle(index);
            self.end(index, State::Ended(at));
        }
        self.now += STEP;
        self.arrive(network, &mut changes);
        changes
    }

    fn end(&mut self, index: usize, state: State) {
        self.processes[index].state = state;
        self.living -= 1;
        let home = &mut self.nodes[self.processes[index].start.home];
        if let Some(place) = home.own.iter().position(|&own| own == index) {
            home.own.swap_remove(place);
        }
    }

    fn arrive(&mut self, network: &Network, changes: &mut Changes) {
        let mut still = Vec::new();
        for index in std::mem::take(&mut self.moving) {
            let process = self.processes[index];
            let State::Moves { to, arrives } = process.state else {
                continue;
            };
            let home = process.start.home;
            if arrives > self.now {
                still.push(index);
                continue;
            }
            self.nodes[to].coming -= 1;
            let reached = network.connects(self.now, home, to) || to == home;
            let at = if reached { to } else { home };
            self.settle(index, at);
            changes.arrived.push(index);
            changes.nodes.push(at);
        }
        self.moving.extend(still);
    }

    /// A node is lost: its guests go on at home with what they had when they left, its own processes are no more.
    pub(crate) fn lose(&mut self, node: usize) {
        for index in self.nodes[node].own.clone() {
            self.unsettle(index);
            if let State::Moves { to, .. } = self.processes[index].state {
                self.nodes[to].coming -= 1;
            }
            self.end(index, State::Lost);
        }
        for index in std::mem::take(&mut self.nodes[node].running) {
            let process = &mut self.processes[index];
            self.nodes[node].free_mib += process.start.memory_mib;
            process.done = process.left_with;
            let (to, arrives) = (process.start.home, self.now + SILENCE_SECONDS);
            process.state = State::Moves { to, arrives };
            self.moving.push(index);
            self.nodes[to].coming += 1;
        }
    }
}
