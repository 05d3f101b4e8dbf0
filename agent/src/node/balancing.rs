//! The agent's part in balancing: what it measures, what it tells the others, and carrying out what the brain decides.
//!
//! The decisions are made in [`crate::balance`], which knows no processes and no sockets. Once a second, in this order:
//!
//! 1. look at our processes and at the guests (`super::owner`);
//! 2. tell the others this node's load (`super::own_load`);
//! 3. send guests home that the owner's work, or an operator, wants gone (`super::owner`);
//! 4. let the brain decide for our processes, and hand its orders over as if a person had given them.
//!
//! While home is crowded the brain is asked more often, with another look at what runs at home ([`Agent::glance`]): the
//! processes of a `make` are over after a second.
//!
//! What a person has placed or moved by hand, or told to stay, the brain leaves alone.

use std::collections::BTreeMap;
use std::time::Duration;

use smol::Timer;

use super::agent::{Agent, Event, Stopping};
use super::cgroup::{JobName, JobPolicy};
use super::choice::NodeChoice;
use super::jobs;
use super::moves::MoveOrder;
use super::supervisors::{Asker, PendingMove, SupervisorKey};
use crate::balance::brain::{
    Barred, Brain, Cause, Input, Neighbour, Order, PLACES_TRIED, Place, Process,
};
use crate::balance::vector::LoadVector;
use crate::limits::PROCESSES_BALANCED_MAX;
use crate::load::activity::{Activity, Usage};
use crate::load::lives::{Known, Lives};
use crate::process::{Identity, stat};
use crate::wire::supervisor::{Destination, MoveError, NodeId, NodeName, ProcessState, Role};

/// A move that has not ended by then is taken for one that never will.
const HEADING_FOR: Duration = Duration::from_secs(30);

/// Between two glances at a crowded home, and how many fit between two full looks.
const GLANCE_INTERVAL: Duration = Duration::from_millis(200);
const GLANCES: usize = 4;

/// A look at home that is younger is good enough for placing a program.
const FRESH: Duration = Duration::from_millis(100);

/// What operators have told this node, by openMosix's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Modes {
    /// Nothing leaves by itself.
    pub(super) stay: bool,
    /// No process of ours leaves by itself.
    pub(super) local_stay: bool,
    /// No guest comes in.
    pub(super) block: bool,
    /// The others are not told this node's load, so none sends anything by itself.
    pub(super) quiet: bool,
    /// Guests are sent home as long as there are any.
    pub(super) expel: bool,
    /// Our processes are called home as long as any is away.
    pub(super) bring: bool,
}

impl Modes {
    fn may_leave(self) -> bool {
        !self.stay && !self.local_stay
    }
}

/// All that balancing remembers.
pub(super) struct Balancing {
    pub(super) modes: Modes,
    pub(super) brain: Brain,
    pub(super) activity: Activity,
    /// What was seen at the last glance.
    glanced: Activity,
    lives: Lives,
    /// Our processes at the last full look.
    pub(super) ours: Vec<Ours>,
    pub(super) looked: Duration,
    /// CPU time of each guest at the last look, and the part of a CPU that it had then.
    pub(super) guests_before: BTreeMap<(SupervisorKey, u32), (f64, f64)>,
    /// The guests at the last full look.
    pub(super) guests: Vec<Guest>,
    /// This node as it was told to the others last.
    pub(super) vector: LoadVector,
    /// Our processes at home at the last look or glance, in runnable threads, and when that was.
    pub(super) at_home: (f64, Duration),
    /// The work of this node's owner, in runnable threads.
    pub(super) own_load: f64,
    /// Guests run at a lower priority; none until there has been one.
    pub(super) guests_are_lower: Option<bool>,
}

impl Balancing {
    pub(super) fn new(stay: bool, seed: u64) -> Balancing {
        Balancing {
            modes: Modes {
                stay,
                ..Modes::default()
            },
            brain: Brain::new(seed),
            activity: Activity::default(),
            glanced: Activity::default(),
            ours: Vec::new(),
            lives: Lives::default(),
            looked: Duration::ZERO,
            guests_before: BTreeMap::new(),
            guests: Vec::new(),
            vector: LoadVector::default(),
            at_home: (0.0, Duration::ZERO),
            own_load: 0.0,
            guests_are_lower: None,
        }
    }

    /// The load of a node that the brain counts on when it sends this process there, in hundredths of a thread.
    pub(super) fn counted_on(&self, pid: u32, node: NodeId) -> Option<u32> {
        let load = self.brain.memory.counted_on(pid, node)?;
        // A cast saturates.
        Some((load * 100.0) as u32)
    }
}

/// A process of ours, with what the brain need not know.
pub(super) struct Ours {
    identity: Identity,
    pub(super) process: Process,
}

pub(super) fn load_at_home(ours: &[Ours]) -> f64 {
    let at_home = ours.iter().filter(|ours| ours.process.place == Place::Home);
    at_home.map(|ours| ours.process.runnable).sum()
}

/// Why a move did not happen, as far as it matters for the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setback {
    /// The node let it not in, as others were there before.
    Full,
    /// Something failed on the way or there.
    Failed,
    /// The process cannot leave.
    CannotMove,
}

impl Setback {
    pub(super) fn of(error: &MoveError) -> Setback {
        match error {
            MoveError::Full(_) => Setback::Full,
            MoveError::Failed(_) => Setback::Failed,
            MoveError::CannotMove(_) | MoveError::Gone => Setback::CannotMove,
        }
    }
}

/// A guest here: whose it is, and its load.
pub(super) type Guest = ((SupervisorKey, u32), f64);

impl Agent {
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Once a second.
    pub(super) fn balance(&mut self) {
        if self.stopping != Stopping::No {
            return;
        }
        let now = self.now();
        let nodes = self.cluster.vectors();
        let (guest_load, guests) = self.look_at_guests(now);
        self.balancing.guests = guests;
        let ours = self.look_at_ours(now, &nodes);
        self.balancing.activity.forget_unseen(now);
        self.balancing.lives.forget_unseen(now);
        self.balancing.at_home = (load_at_home(&ours), now);
        self.measure_own_load(guest_load);
        self.tell_load();
        self.make_room();
        if self.balancing.modes.bring {
            self.send_home(|role, _| role == Role::Deputy);
        }
        self.steer(now, &nodes, &ours);
        self.balancing.looked = now;
        self.balancing.ours = ours;
        self.plan_glances();
    }

    /// Has a crowded home, whose processes may leave, and a node with guests looked at until the next full look.
    fn plan_glances(&self) {
        let home = &self.balancing.vector;
        let is_crowded = !home.has_free_cpu();
        let can_leave = self.balancing.modes.may_leave()
            && self.balancing.ours.iter().any(|ours| ours.process.movable);
        if !(is_crowded && can_leave || self.watches_owner()) {
            return;
        }
        let events = self.events.clone();
        let glances = async move {
            for _ in 0..GLANCES {
                Timer::after(GLANCE_INTERVAL).await;
                if events.send(Event::Glance).await.is_err() {
                    return;
                }
            }
        };
        self.executor.spawn(glances).detach();
    }

    /// Between two full looks: what has been executed since at a crowded home may start elsewhere, and guests make room as
    /// soon as the owner works.
    pub(super) fn glance(&mut self) {
        if self.stopping != Stopping::No {
            return;
        }
        let now = self.now();
        let nodes = self.cluster.vectors();
        let ours = self.glance_at_ours(now);
        self.balancing.glanced.forget_unseen(now);
        self.balancing.at_home = (load_at_home(&ours), now);
        self.watch_owner(&ours);
        self.tell_load();
        self.steer(now, &nodes, &ours);
    }

    /// What runs at home may have ended since the last look.
    fn refresh_load(&mut self, now: Duration) {
        let (_, looked) = self.balancing.at_home;
        if now < looked + FRESH {
            return;
        }
        let ours = self.glance_at_ours(now);
        self.balancing.at_home = (load_at_home(&ours), now);
        self.tell_load();
    }

    fn glance_at_ours(&mut self, now: Duration) -> Vec<Ours> {
        let mut ours = Vec::new();
        let processes = self.jobs.processes().into_iter();
        for (job, pid) in processes.take(PROCESSES_BALANCED_MAX) {
            let Ok((identity, usage)) = self.balancing.glanced.look(now, pid) else {
                continue;
            };
            let (node, _) = self.location(identity);
            let mut process = self.at_home(now, identity, job, &usage);
            if node.id == self.this.id {
                let seen = (process.rest_seconds, process.calls_per_cpu_second);
                let lives = &mut self.balancing.lives;
                process.rest_seconds = lives.see(now, identity, &usage.name, seen);
            } else {
                // What is away is looked at once a second, when its supervisor has told of it.
                let mut known = self.balancing.ours.iter();
                let known = known.find(|ours| ours.identity == identity);
                process = known.map_or(process, |ours| ours.process);
                process.place = Place::Away(node.id);
                process.movable = false;
            }
            process.place = self.heading(now, identity).unwrap_or(process.place);
            ours.push(Ours { identity, process });
        }
        ours
    }

    /// Where a process is on its way to.
    fn heading(&self, now: Duration, process: Identity) -> Option<Place> {
        let (place, since) = self.jobs.journey(process).heading?;
        (now < since + HEADING_FOR).then_some(place)
    }

    /// A process as it is if it runs at home; what it has used is taken for what it will use yet.
    fn at_home(&self, now: Duration, identity: Identity, job: JobName, usage: &Usage) -> Process {
        let (_, state) = self.location(identity);
        let settled = matches!(state, ProcessState::Home | ProcessState::Away);
        let free = !self.jobs.journey(identity).by_hand && job.policy == JobPolicy::Free;
        let is_still = self.heading(now, identity).is_none() && !self.is_on_its_way(identity);
        Process {
            pid: identity.pid,
            job: job.number,
            place: Place::Home,
            movable: settled && free && is_still,
            rest_seconds: usage.cpu_seconds * self.this_vector().work_per_cpu_second(),
            runnable: usage.runnable,
            memory_mib: usage.memory_mib,
            calls_per_cpu_second: usage.calls_per_cpu_second,
        }
    }

    /// Our processes, at home and away.
    fn look_at_ours(&mut self, now: Duration, nodes: &[Neighbour]) -> Vec<Ours> {
        let mut ours = Vec::new();
        for (job, pid) in self
            .jobs
            .processes()
            .into_iter()
            .take(PROCESSES_BALANCED_MAX)
        {
            // A process can end while it is looked at.
            let Ok((identity, usage)) = self.balancing.activity.look(now, pid) else {
                continue;
            };
            let (node, _) = self.location(identity);
            let at_home = self.at_home(now, identity, job, &usage);
            let mut process = if node.id == self.this.id {
                at_home
            } else {
                self.look_away(now, identity, at_home, &usage, (node.id, nodes))
            };
            let seen = (process.rest_seconds, process.calls_per_cpu_second);
            let lives = &mut self.balancing.lives;
            process.rest_seconds = lives.see(now, identity, &usage.name, seen);
            // Its load will soon be where it goes.
            process.place = self.heading(now, identity).unwrap_or(process.place);
            ours.push(Ours { identity, process });
        }
        ours
    }

    fn is_on_its_way(&self, process: Identity) -> bool {
        self.supervisors
            .deputy_of(process)
            .is_some_and(|(_, supervisor)| {
                let mut moves = supervisor.moves.values();
                moves.any(|order| order.pid == process.pid)
            })
    }

    /// A process that is away: its deputy is frozen, but its supervisor tells its CPU time and its calls.
    fn look_away(
        &mut self,
        now: Duration,
        identity: Identity,
        at_home: Process,
        usage: &Usage,
        (node, nodes): (NodeId, &[Neighbour]),
    ) -> Process {
        let pid = identity.pid;
        let there = nodes
            .iter()
            .find(|there| there.node == node)
            .map(|there| &there.vector);
        let past = self.jobs.journey(identity).away_cpu_seconds_past;
        let status = self
            .supervisors
            .deputy_of(identity)
            .and_then(|(_, supervisor)| supervisor.status_of(pid));
        let (away, calls) = status.map_or((0.0, 0), |s| (s.away_cpu_seconds, s.calls_forwarded));
        let journey = self.jobs.journey_mut(identity);
        let before = journey.away_seen.replace((now, away, calls));
        let (seconds, ran, called) = before.map_or((0.0, 0.0, 0.0), |(at, cpu, calls_then)| {
            let called = calls.saturating_sub(calls_then) as f64;
            (
                now.saturating_sub(at).as_secs_f64(),
                (away - cpu).max(0.0),
                called,
            )
        });
        let share = if seconds > 0.0 { ran / seconds } else { 0.0 };
        // Where more threads want to run than can, each runs less than it wants to.
        let crowd = there.map_or(1.0, |there| (there.load() / f64::from(there.cpus)).max(1.0));
        let work = there.map_or(1.0, LoadVector::work_per_cpu_second);
        let runs = there.map_or(1.0, LoadVector::running_part);
        Process {
            place: Place::Away(node),
            rest_seconds: at_home.rest_seconds + (past + away) * work,
            runnable: (share / runs * crowd).min(f64::from(usage.threads)),
            calls_per_cpu_second: called / ran.max(0.01),
            ..at_home
        }
    }

    fn steer(&mut self, now: Duration, nodes: &[Neighbour], ours: &[Ours]) {
        let mut home = self.balancing.vector;
        let processes: Vec<Process> = ours.iter().map(|ours| ours.process).collect();
        // What who is away had when it left is still here, but nobody touches it: it may be swapped out and is not missed.
        let left = processes.iter().filter(|ours| ours.place != Place::Home);
        let left_mib = left.fold(0, |sum: u32, ours| sum.saturating_add(ours.memory_mib));
        home.free_mib = home.free_mib.saturating_add(left_mib).min(home.memory_mib);
        let input = Input {
            home,
            home_age: Duration::ZERO,
            may_leave: self.balancing.modes.may_leave(),
            nodes,
            processes: &processes,
            barred: &self.barred(nodes),
        };
        for order in self.balancing.brain.tick(now, &input) {
            let found = ours.iter().find(|ours| ours.process.pid == order.pid);
            if let Some(ours) = found {
                self.carry_out(ours.identity, order);
            }
        }
    }

    /// The nodes that jobs may not use.
    fn barred(&self, nodes: &[Neighbour]) -> Vec<Barred> {
        let choices = self.jobs.choices().iter();
        let barred = choices.map(|&(job, _)| {
            let nodes = nodes.iter().map(|there| there.node);
            let nodes = nodes.filter(|&node| !self.may_use(job, node)).collect();
            Barred { job, nodes }
        });
        barred.collect()
    }

    /// Whether processes of a job may go to a node.
    fn may_use(&self, job: u32, node: NodeId) -> bool {
        let allows = |choice: &NodeChoice| {
            let name = self.cluster.name(node);
            name.is_some_and(|node| choice.allows(&node.name))
        };
        self.jobs.choice(job).is_none_or(allows)
    }

    fn carry_out(&mut self, process: Identity, order: Order) {
        let destination = match order.to {
            Place::Home => Some(Destination::Home),
            Place::Away(node) => self.cluster.name(node).map(Destination::Node),
        };
        // A node that has just been forgotten is chosen no more in the next second.
        let Some(destination) = destination else {
            return;
        };
        let (from, _) = self.location(process);
        let to = self.name_of(&destination);
        let (pid, why) = (process.pid, order.cause.as_str());
        log::info!("process {pid} is to move from {} to {to}: {why}", from.name);
        let heading = Some((order.to, self.now()));
        let journey = self.jobs.journey_mut(process);
        journey.heading = heading;
        if order.cause != Cause::Start {
            journey.places_tried = 0;
        }
        let pending = PendingMove {
            pid,
            asker: Asker::Balancer,
            from: from.name,
            destination,
            handed_on: false,
        };
        self.examine_and_move(MoveOrder { process, pending });
    }

    /// The node to which a program of a job is sent that is about to be executed, of which so much is known; none for
    /// home.
    pub(super) fn place(&mut self, pid: u32, job: u32, known: Option<Known>) -> Option<NodeName> {
        let mut nodes = self.cluster.vectors();
        nodes.retain(|there| self.may_use(job, there.node));
        let now = self.now();
        self.refresh_load(now);
        let input = Input {
            home: self.balancing.vector,
            home_age: now.saturating_sub(self.balancing.at_home.1),
            may_leave: self.balancing.modes.may_leave(),
            nodes: &nodes,
            processes: &[],
            barred: &[],
        };
        let brain = &mut self.balancing.brain;
        let node = brain.place(now, pid, known, &input).node()?;
        let name = self.cluster.name(node)?;
        Some(name)
    }

    /// A process of ours came home to execute another program, and runs it: a new program may start elsewhere.
    pub(super) fn place_executed(&mut self, process: Identity) {
        let pid = process.pid;
        let Some(job) = self.jobs.job_of(pid) else {
            return;
        };
        if job.policy != JobPolicy::Free
            || self.jobs.journey(process).by_hand
            || self.stopping != Stopping::No
        {
            return;
        }
        self.jobs.journey_mut(process).places_tried = 0;
        self.start_elsewhere(process, job.number);
    }

    /// A program of a job that has just begun is sent where it is best, if that is not home.
    fn start_elsewhere(&mut self, process: Identity, job: u32) {
        let pid = process.pid;
        let program = stat::read(pid).ok();
        let known = program.and_then(|stat| self.balancing.lives.of(&stat.name));
        if let Some(node) = self.place(pid, job, known) {
            let (to, cause) = (Place::Away(node.id), Cause::Start);
            self.jobs.journey_mut(process).places_tried += 1;
            self.carry_out(process, Order { pid, to, cause });
        }
    }

    /// A process of ours has arrived where it was sent.
    pub(super) fn arrived(&mut self, pid: u32, destination: &Destination) {
        let node = match destination {
            Destination::Home => None,
            Destination::Node(node) => Some(node.id),
        };
        let now = self.now();
        self.balancing.brain.memory.arrived(now, pid, node);
    }

    /// A move that the brain ordered has failed.
    pub(super) fn balanced_move_failed(
        &mut self,
        process: Identity,
        to: &Destination,
        setback: Setback,
    ) {
        let (now, pid) = (self.now(), process.pid);
        let journey = self.jobs.journey_mut(process);
        journey.heading = None;
        let places_tried = std::mem::take(&mut journey.places_tried);
        let memory = &mut self.balancing.brain.memory;
        // Short programs often end on the way, for which no node is to blame.
        let has_ended = !process.is_current().unwrap_or(false) || !jobs::runs(pid);
        match (setback, to) {
            _ if has_ended => memory.has_ended(pid),
            (Setback::Full, Destination::Node(node)) => {
                memory.turned_away(now, pid, node.id);
                if (1..PLACES_TRIED).contains(&places_tried)
                    && let Some(job) = self.jobs.job_of(pid)
                {
                    self.jobs.journey_mut(process).places_tried = places_tried;
                    self.start_elsewhere(process, job.number);
                }
            }
            (Setback::Failed, Destination::Node(node)) => {
                memory.failed(now, pid, node.id);
                memory.doubt(now, node.id);
            }
            _ => memory.cannot_move(now, pid),
        }
    }

    /// A process has come home by itself: it does there what it has to, and is left alone for a while.
    pub(super) fn came_home_by_itself(&mut self, pid: u32) {
        let now = self.now();
        self.balancing.brain.memory.came_home(now, pid);
    }

    /// A node is gone; if it comes back, it is not trusted at once.
    pub(super) fn doubt_node(&mut self, node: NodeId) {
        let now = self.now();
        self.balancing.brain.memory.doubt(now, node);
    }
}
