//! What is to move where: the decisions of one home for its own processes, wherever they run.
//!
//! Once a second, and more often while home is crowded, in this order:
//!
//! 1. Add to the loads heard what was ordered and does not show in them yet.
//! 2. Memory first (Barak, Braverman 1998): if home is about to swap, the smallest process that is large enough leaves for
//!    the node with most room, whatever the loads say.
//! 3. Then, as long as there is a move worth it and the bound for this second is not reached: the process that gains
//!    most goes where it gains most, among the nodes where it costs least ([`super::market`]).
//!
//! A move gains if the rest of the process's life is shorter with it, the move itself and all calls home included. How
//! long it lives nobody knows, unless others of its name have lived before ([`crate::load::lives`]); but lives are
//! heavy-tailed, and one that has used t seconds of CPU time will use about as
//! many again (Harchol-Balter, Downey 1997). So the young stay, the old move, and a program that does little but
//! calls is drawn home. A move has to gain clearly ([`GAIN`], [`GAIN_SECONDS_MIN`]), so that loads that differ a little
//! or are measured a little wrong move nothing.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::market::{Market, has_room, rate, reserve_mib};
use super::memory::Memory;
use super::vector::LoadVector;
use crate::load::lives::Known;
use crate::wire::supervisor::NodeId;

/// CPU time that a process must be expected to use yet to be moved, in seconds: twice what a move takes.
pub const REST_SECONDS_MIN: f64 = 0.3;

/// CPU time that a program is expected to use of which nothing is known yet, in seconds.
pub const LIFE_SECONDS_AT_START: f64 = 2.0;

/// The rest of its life must be so many times as long without the move.
pub const GAIN: f64 = 1.15;

/// And so many seconds longer.
pub const GAIN_SECONDS_MIN: f64 = 0.4;

/// Moves that one home orders in a second.
pub const MOVES_PER_SECOND: usize = 8;

const SECOND: Duration = Duration::from_secs(1);

/// Seconds that the shortest move takes.
const MOVE_SECONDS: f64 = 0.15;

/// Memory that a link carries in a second, in MiB: a gigabit link.
const LINK_MIB_PER_SECOND: f64 = 100.0;

/// Seconds that a forwarded call takes: a network round trip, and the work at both ends.
const CALL_SECONDS: f64 = 0.000_2;

/// Load below which a process is not worth moving: it mostly waits.
const RUNNABLE_MIN: f64 = 0.3;

/// Nodes that a program is sent to at its start, one after the other, until one lets it in.
pub const PLACES_TRIED: usize = 8;

/// Cheapest nodes that are looked at for each process.
const CHEAPEST: usize = 12;

/// What was heard of a node so many seconds ago counts as if it were twice as dear: others have heard it, too.
const STALE_SECONDS: f64 = 10.0;

/// Where a process is, or is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At home.
    Home,
    /// On another node.
    Away(NodeId),
}

impl Place {
    /// The node, if it is not home.
    #[must_use]
    pub fn node(self) -> Option<NodeId> {
        match self {
            Place::Home => None,
            Place::Away(node) => Some(node),
        }
    }
}

/// A process of this home.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// Its pid.
    pub pid: u32,
    /// The job that it belongs to.
    pub job: u32,
    /// Where it runs.
    pub place: Place,
    /// Whether the brain may move it now: nobody has pinned it, and it is not on its way.
    pub movable: bool,
    /// CPU time that it can be expected to use yet, in seconds of the reference machine: as much as it has used, if
    /// nothing else is known.
    pub rest_seconds: f64,
    /// Its threads that run or wait for a CPU.
    pub runnable: f64,
    /// Its memory, in MiB.
    pub memory_mib: u32,
    /// Calls that are, or would be, forwarded home for each second of CPU time.
    pub calls_per_cpu_second: f64,
}

/// Another node that is there, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Which.
    pub node: NodeId,
    /// What it has said of itself.
    pub vector: LoadVector,
    /// How long ago.
    pub age: Duration,
}

/// Nodes that a job may not use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Barred {
    /// The job.
    pub job: u32,
    /// The nodes.
    pub nodes: Vec<NodeId>,
}

/// What a home knows when it decides.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// This node; its load is that of all that runs here, and its free memory counts that of processes that have left,
    /// or are about to, as free.
    pub home: LoadVector,
    /// How long ago it was looked at.
    pub home_age: Duration,
    /// Whether processes may leave home: not while it is told to keep them.
    pub may_leave: bool,
    /// The other nodes that are there.
    pub nodes: &'a [Neighbour],
    /// Processes whose home this is.
    pub processes: &'a [Process],
    /// Nodes that not every job may use.
    pub barred: &'a [Barred],
}

impl Input<'_> {
    fn lets(&self, process: &Process, node: NodeId) -> bool {
        let mut barred = self.barred.iter();
        !barred.any(|barred| barred.job == process.job && barred.nodes.contains(&node))
    }
}

/// Why a process is to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It ends sooner there.
    Speed,
    /// Home is running out of memory.
    Memory,
    /// It starts, and home is busy.
    Start,
}

impl Cause {
    /// In words, for the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Speed => "it gets more done there",
            Cause::Memory => "home runs out of memory",
            Cause::Start => "it starts, and home is busy",
        }
    }
}

/// A process is to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The process.
    pub pid: u32,
    /// Where it goes.
    pub to: Place,
    /// Why.
    pub cause: Cause,
}

/// The balancer of one home.
#[derive(Debug)]
pub struct Brain {
    /// What it remembers; the driver tells it how moves end and which nodes are gone.
    pub memory: Memory,
    /// Our processes that were away when it was asked last, where, and their load; and when that was.
    away: Vec<(u32, NodeId, f64)>,
    asked: Duration,
    /// When it ordered moves in the last second.
    ordered: Vec<Duration>,
    random: SmallRng,
}

/// The loads as they will be once all that was ordered has arrived.
struct Board {
    home: LoadVector,
    nodes: Vec<Neighbour>,
    market: Market,
    /// Indices of the nodes that can be chosen, cheapest first.
    cheapest: Vec<usize>,
}

impl Board {
    fn set_up(now: Duration, memory: &Memory, random: &mut SmallRng, input: &Input<'_>) -> Board {
        let (mut home, mut nodes) = (input.home, input.nodes.to_vec());
        nodes.sort_unstable_by_key(|there| there.node);
        for expected in memory.expected(now) {
            let (vector, age) = match expected.node {
                None => (&mut home, input.home_age),
                Some(node) => match nodes.binary_search_by_key(&node, |there| there.node) {
                    Ok(place) => {
                        let there = &mut nodes[place];
                        (&mut there.vector, there.age)
                    }
                    Err(_) => continue,
                },
            };
            if expected.is_hidden(now.saturating_sub(age)) {
                arrive(vector, expected.load, expected.memory_mib);
            }
        }
        let market = Market::of(nodes.iter().map(|there| &there.vector).chain([&home]));
        let mut costs: Vec<f64> = Vec::new();
        let mut cheapest: Vec<usize> = Vec::new();
        for (index, there) in nodes.iter().enumerate() {
            let cost = market.cost_of(&there.vector, 1.0, 0) * doubtful(there, random);
            if !there.vector.closed && memory.trusts(now, there.node, there.age) {
                let place = costs.partition_point(|other| *other <= cost);
                costs.insert(place, cost);
                cheapest.insert(place, index);
            }
        }
        Board {
            home,
            nodes,
            market,
            cheapest,
        }
    }

    fn at(&self, place: Place) -> Option<&LoadVector> {
        match place {
            Place::Home => Some(&self.home),
            Place::Away(node) => {
                let found = self.nodes.binary_search_by_key(&node, |there| there.node);
                found.ok().map(|place| &self.nodes[place].vector)
            }
        }
    }

    /// Moves load and memory, and keeps the order of costs.
    fn carry_out(&mut self, process: &Process, to: Place) {
        for (place, sign) in [(process.place, -1.0), (to, 1.0)] {
            let vector = match place {
                Place::Home => Some(&mut self.home),
                Place::Away(node) => {
                    let found = self.nodes.binary_search_by_key(&node, |there| there.node);
                    found.ok().map(|place| &mut self.nodes[place].vector)
                }
            };
            if let Some(vector) = vector {
                if sign > 0.0 {
                    arrive(vector, process.runnable, process.memory_mib);
                } else {
                    vector.add_load(-process.runnable);
                }
            }
        }
        let Some(node) = to.node() else { return };
        if let Some(place) = self
            .cheapest
            .iter()
            .position(|&i| self.nodes[i].node == node)
        {
            let index = self.cheapest.remove(place);
            let cost = |i: usize| self.market.cost_of(&self.nodes[i].vector, 1.0, 0);
            let own = cost(index);
            let behind = self.cheapest.partition_point(|&i| cost(i) <= own);
            self.cheapest.insert(behind, index);
        }
    }
}

fn arrive(vector: &mut LoadVector, load: f64, memory_mib: u32) {
    vector.add_load(load);
    vector.free_mib = vector.free_mib.saturating_sub(memory_mib);
}

/// Nodes that cost nearly the same are in no order: else all homes that hear of the same idle node would choose it.
/// And of a node that was said to be idle some seconds ago it is less likely that it still is.
fn doubtful(there: &Neighbour, random: &mut SmallRng) -> f64 {
    let chance = 0.9 + 0.2 * random.random::<f64>();
    chance * (1.0 + there.age.as_secs_f64() / STALE_SECONDS)
}

/// A move that could be made, and the seconds that it gains.
struct Proposal {
    process: usize,
    to: Place,
    gain_seconds: f64,
}

impl Brain {
    /// One that remembers nothing; its chances come from the seed.
    #[must_use]
    pub fn new(seed: u64) -> Brain {
        Brain {
            memory: Memory::default(),
            away: Vec::new(),
            asked: Duration::ZERO,
            ordered: Vec::new(),
            random: SmallRng::seed_from_u64(seed),
        }
    }

    /// Decides what moves now; at most [`MOVES_PER_SECOND`] orders, which count as made.
    pub fn tick(&mut self, now: Duration, input: &Input<'_>) -> Vec<Order> {
        let processes = input.processes;
        let mut pids: Vec<u32> = processes.iter().map(|process| process.pid).collect();
        pids.sort_unstable();
        let lives = |pid| pids.binary_search(&pid).is_ok();
        self.note_ends(now, processes, lives);
        self.memory.tidy(now, lives);
        self.ordered.retain(|&ordered| ordered + SECOND > now);
        let mut board = Board::set_up(now, &self.memory, &mut self.random, input);
        let mut orders = Vec::new();
        let mut moved = vec![false; processes.len()];
        let carry_out = |brain: &mut Brain, board: &mut Board, index: usize, to: Place| {
            let process = &processes[index];
            let way = (process.place.node(), to.node());
            let weight = (process.runnable, process.memory_mib);
            let load_there = board.at(to).map_or(0.0, LoadVector::load) + process.runnable;
            brain
                .memory
                .ordered(now, process.pid, way, weight, load_there);
            brain.ordered.push(now);
            board.carry_out(process, to);
        };
        if input.may_leave
            && self.ordered.len() < MOVES_PER_SECOND
            && let Some((index, to)) = self.usher(now, input, &board)
        {
            carry_out(self, &mut board, index, to);
            moved[index] = true;
            let (pid, cause) = (processes[index].pid, Cause::Memory);
            orders.push(Order { pid, to, cause });
        }
        while self.ordered.len() < MOVES_PER_SECOND {
            let candidates = (0..processes.len()).filter(|&index| !moved[index]);
            let best = candidates
                .filter_map(|index| self.propose(now, input, &board, index))
                .max_by(|one, other| one.gain_seconds.total_cmp(&other.gain_seconds));
            let Some(Proposal { process, to, .. }) = best else {
                break;
            };
            carry_out(self, &mut board, process, to);
            moved[process] = true;
            let (pid, cause) = (processes[process].pid, Cause::Speed);
            orders.push(Order { pid, to, cause });
        }
        orders
    }

    /// What has ended on another node is missed there before its load shows it.
    fn note_ends(&mut self, now: Duration, processes: &[Process], lives: impl Fn(u32) -> bool) {
        for &(pid, node, load) in self.away.iter().filter(|(pid, ..)| !lives(*pid)) {
            self.memory.ended(now, pid, node, (load, self.asked));
        }
        self.asked = now;
        let away = processes.iter().filter_map(|process| {
            let node = process.place.node()?;
            Some((process.pid, node, process.runnable))
        });
        self.away = away.collect();
    }

    /// Step 2.
    fn usher(&self, now: Duration, input: &Input<'_>, board: &Board) -> Option<(usize, Place)> {
        let reserve = reserve_mib(&board.home);
        let lacking = reserve.checked_sub(board.home.free_mib)?;
        let fits = |index: usize| {
            let process = &input.processes[index];
            let at_home = process.place == Place::Home && process.movable;
            if !at_home || process.memory_mib == 0 || !self.memory.may_move(now, process.pid) {
                return None;
            }
            let open = board.cheapest.iter().map(|&i| &board.nodes[i]);
            let roomiest = open
                .filter(|there| {
                    has_room(&there.vector, process.memory_mib)
                        && input.lets(process, there.node)
                        && self.memory.may_go(now, process.pid, there.node)
                })
                .max_by_key(|there| there.vector.free_mib)?;
            Some((index, Place::Away(roomiest.node)))
        };
        (0..input.processes.len())
            .filter_map(fits)
            .min_by_key(|(index, _)| {
                let memory = input.processes[*index].memory_mib;
                // The smallest that is enough; if none is, the largest.
                (memory < lacking, memory.abs_diff(lacking))
            })
    }

    /// The best move of one process, if there is one worth it.
    fn propose(
        &self,
        now: Duration,
        input: &Input<'_>,
        board: &Board,
        index: usize,
    ) -> Option<Proposal> {
        let process = &input.processes[index];
        let ripe = process.movable
            && process.runnable >= RUNNABLE_MIN
            && process.rest_seconds >= REST_SECONDS_MIN
            && self.memory.may_move(now, process.pid);
        if !ripe || process.place == Place::Home && !input.may_leave {
            return None;
        }
        let here = board.at(process.place)?;
        let stays = life_seconds(process, process.place, here, here.load());
        let mut best: Option<Proposal> = None;
        let mut consider = |to: Place, there: &LoadVector| {
            let journey = MOVE_SECONDS + f64::from(process.memory_mib) / LINK_MIB_PER_SECOND;
            // From one remote to another the way leads over home.
            let journeys =
                f64::from(1 + u8::from(process.place != Place::Home && to != Place::Home));
            let goes = life_seconds(process, to, there, there.load() + process.runnable)
                + journeys * journey;
            let gain_seconds = stays - goes;
            let better = best
                .as_ref()
                .is_none_or(|best| gain_seconds > best.gain_seconds);
            if is_clear_gain(stays, goes) && better {
                best = Some(Proposal {
                    process: index,
                    to,
                    gain_seconds,
                });
            }
        };
        if process.place != Place::Home && has_room(&board.home, 0) {
            consider(Place::Home, &board.home);
        }
        if input.may_leave {
            let suits = |there: &&Neighbour| {
                Place::Away(there.node) != process.place
                    && input.lets(process, there.node)
                    && has_room(&there.vector, process.memory_mib)
                    && self.memory.may_go(now, process.pid, there.node)
            };
            let cheapest = board.cheapest.iter().map(|&i| &board.nodes[i]);
            for there in cheapest.filter(suits).take(CHEAPEST) {
                consider(Place::Away(there.node), &there.vector);
            }
        }
        best
    }

    /// Where a program should run that is about to be executed; counts as sent there. `known` is what programs of its
    /// name are like, if any. `pid` may have a past, if it was another program before. The nodes are those that its job
    /// may use.
    ///
    /// While home has a free CPU only a program leaves that is known to gain by it clearly.
    pub fn place(
        &mut self,
        now: Duration,
        pid: u32,
        known: Option<Known>,
        input: &Input<'_>,
    ) -> Place {
        let board = Board::set_up(now, &self.memory, &mut self.random, input);
        let home = &board.home;
        let busy = !home.has_free_cpu();
        let program = Process {
            pid,
            job: 0,
            place: Place::Home,
            movable: true,
            rest_seconds: known.map_or(LIFE_SECONDS_AT_START, |known| known.life_seconds),
            runnable: 1.0,
            memory_mib: 0,
            calls_per_cpu_second: known.map_or(0.0, |known| known.calls_per_cpu_second),
        };
        let may_leave = input.may_leave
            && (busy || known.is_some())
            && program.rest_seconds >= REST_SECONDS_MIN;
        let chosen = may_leave
            .then(|| self.best_start(now, &program, &board, busy))
            .flatten();
        match chosen {
            None => self.memory.starts_at_home(now, pid),
            Some(there) => {
                let load_there = there.vector.load() + 1.0;
                let way = (None, Some(there.node));
                self.memory.ordered(now, pid, way, (1.0, 0), load_there);
            }
        }
        chosen.map_or(Place::Home, |there| Place::Away(there.node))
    }

    fn best_start<'a>(
        &mut self,
        now: Duration,
        program: &Process,
        board: &'a Board,
        busy: bool,
    ) -> Option<&'a Neighbour> {
        let lives = |place: Place, there: &LoadVector| {
            life_seconds(program, place, there, there.load() + 1.0)
        };
        let goes = |there: &Neighbour| MOVE_SECONDS + lives(Place::Away(there.node), &there.vector);
        let open = board.cheapest.iter().map(|&i| &board.nodes[i]);
        let suits = |there: &&Neighbour| {
            has_room(&there.vector, 0) && self.memory.may_go(now, program.pid, there.node)
        };
        let random = &mut self.random;
        let (_, best) = open
            .filter(suits)
            .map(|there| (goes(there) * doubtful(there, random), there))
            .min_by(|(one, _), (other, _)| one.total_cmp(other))?;
        let (stays, goes) = (lives(Place::Home, &board.home), goes(best));
        let gains = stays > goes && (busy || is_clear_gain(stays, goes));
        gains.then_some(best)
    }
}

/// Whether so many seconds elsewhere are worth a move, in place of so many here.
fn is_clear_gain(stays: f64, goes: f64) -> bool {
    stays >= GAIN * goes && stays - goes >= GAIN_SECONDS_MIN
}

/// How long the rest of a process's life takes on a node whose load, with it, is `load`.
fn life_seconds(process: &Process, place: Place, node: &LoadVector, load: f64) -> f64 {
    let calls = match place {
        Place::Home => 0.0,
        Place::Away(_) => process.calls_per_cpu_second.max(0.0) * CALL_SECONDS,
    };
    process.rest_seconds * (1.0 / rate(node, load.max(process.runnable)) + calls)
}

#[cfg(test)]
mod tests;
