//! One program in a lab of its own: natively, started away, and moved while it runs, by several routes.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::journal::Journal;
use super::mover::{Mover, Moves, processes_of};
use super::outcome::Outcome;
use super::process::{Run, Start};
use super::program::Program;
use super::stage::Stage;
use crate::cluster::Lab;
use crate::error::LabError;
use crate::faults::Chance;
use crate::node_handle::NodeHandle;
use crate::process::ProcessIdentity;

/// Nodes of the lab; the first is home.
const NODES: usize = 3;

/// How long nodes in namespaces may take to meet.
const MEET_TIMEOUT: Duration = Duration::from_secs(20);

/// A run may take this many times as long as the native one, and [`END_SLACK`] more: every call
/// that goes home takes a round trip, and a move of a large program takes seconds.
const SLOWER_MAX: u32 = 20;
const END_SLACK: Duration = Duration::from_secs(120);

/// Moves that a run is to have, as far as they are quick enough.
const MOVES_WANTED: u32 = 15;
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A way through the lab.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// What the table of results calls it.
    pub name: &'static str,
    start: Start<'static>,
    /// The nodes between which it is moved; none if it stays where it was started.
    nodes: &'static [&'static str],
}

/// The routes of every program.
pub const ROUTES: [Route; 4] = [
    Route {
        name: "away",
        start: Start::On("n2"),
        nodes: &[],
    },
    Route {
        name: "anywhere",
        start: Start::Following,
        nodes: &["n1", "n2", "n3"],
    },
    Route {
        name: "out and home",
        start: Start::AtHome,
        nodes: &["n1", "n2"],
    },
    Route {
        name: "two remotes",
        start: Start::On("n2"),
        nodes: &["n2", "n3"],
    },
];

/// How a program is tried.
#[derive(Clone, Copy, Debug)]
pub struct SessionOptions {
    /// Where the chances of the moves begin.
    pub seed: u64,
    /// How many runs each route has that leads somewhere.
    pub moved_runs: u32,
    /// At scale 1, whatever the program's own scale is.
    pub quick: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// The program's name.
    pub name: &'static str,
    /// How long it took natively.
    pub native: Duration,
    /// How long the last run of each of [`ROUTES`] took, if it ended.
    pub took: [Option<Duration>; ROUTES.len()],
    /// The moves of the runs that were moved.
    pub moves: Moves,
    /// What home's agent said of all runs.
    pub journal: Journal,
    /// How runs differed from the native one, in words; none when all were identical.
    pub differences: Vec<String>,
}

/// Tries one program: 1. prepare, 2. natively, 3. by each of [`ROUTES`]. Its directories are made below `root`, and removed if all runs were identical.
pub fn try_program(
    program: &'static Program,
    root: &Path,
    cache: &Path,
    options: &SessionOptions,
) -> Result<Report, LabError> {
    let scale = if options.quick { 1 } else { program.scale };
    let stage = Stage::new(program, root, cache, scale);
    stage.prepare()?;
    let lab = Lab::namespaces(NODES)?;
    let home = lab.node("n1");
    home.wait_for_members(NODES, MEET_TIMEOUT)?;
    let native = run_natively(&stage, &home)?;
    let mut report = Report {
        name: program.name,
        native: native.took,
        took: [None; ROUTES.len()],
        moves: Moves::default(),
        journal: Journal::default(),
        differences: Vec::new(),
    };
    let session = Session {
        stage: &stage,
        lab: &lab,
        home: &home,
        native: &native,
    };
    for (index, route) in ROUTES.iter().enumerate() {
        let runs = if route.nodes.is_empty() {
            1
        } else {
            options.moved_runs
        };
        for turn in 0..runs {
            let chance = Chance::new(options.seed.wrapping_add(u64::from(turn)));
            report.took[index] = session.run(route, chance, &mut report)?;
        }
    }
    report.journal = Journal::read(&home.log()?);
    lab.down()?;
    if report.differences.is_empty() {
        stage.remove()?;
    }
    Ok(report)
}

/// The native run, whose files are kept for comparison.
///
/// # Errors
/// When the program itself fails: then there is nothing to compare with.
pub fn run_natively(stage: &Stage, home: &NodeHandle<'_>) -> Result<Outcome, LabError> {
    stage.reset()?;
    let run = Run::start(stage, home, Start::Natively, Chance::new(0))?;
    let native = run.finish(END_SLACK)?;
    stage.keep_output("native", &native)?;
    if native.status.code() != Some(stage.program.exit_code) {
        let said = native.err.trim();
        let message = format!("it fails natively, too: {}: {said}", native.status);
        return Err(LabError::Refused(message));
    }
    stage.keep_as_native()?;
    Ok(native)
}

/// How long a run may take whose native one took this long.
pub fn end_timeout(native: Duration) -> Duration {
    native * SLOWER_MAX + END_SLACK
}

struct Session<'lab> {
    stage: &'lab Stage,
    lab: &'lab Lab,
    home: &'lab NodeHandle<'lab>,
    native: &'lab Outcome,
}

impl Session<'_> {
    /// Runs the program by a route and compares; returns how long it took.
    fn run(
        &self,
        route: &Route,
        chance: Chance,
        report: &mut Report,
    ) -> Result<Option<Duration>, LabError> {
        let name = route.name;
        self.stage.reset()?;
        let run = Run::start(self.stage, self.home, route.start, chance.clone())?;
        let leader = run.leader().pid;
        let (stop, stopped) = mpsc::channel();
        let (finished, moves) = std::thread::scope(|scope| {
            let mover = (!route.nodes.is_empty()).then(|| {
                let mover = self.mover(route, leader, chance);
                scope.spawn(move || mover.run(&stopped))
            });
            let finished = run.finish(end_timeout(self.native.took));
            drop(stop);
            (finished, mover.map(std::thread::ScopedJoinHandle::join))
        });
        if let Some(moves) = moves {
            let panicked = |_| LabError::Protocol("the mover panicked".into());
            report.moves.add(moves.map_err(panicked)??);
        }
        let outcome = match finished {
            Ok(outcome) => outcome,
            Err(error) => {
                let processes = processes_of(self.home, leader)?;
                kill(&processes);
                let seen = Value::from(processes);
                report.differences.push(format!("{name}: {error}; {seen}"));
                return Ok(None);
            }
        };
        let differences = self.stage.differences(&outcome, self.native, name)?;
        let differences = differences.iter().map(|text| format!("{name}: {text}"));
        report.differences.extend(differences);
        Ok(Some(outcome.took))
    }

    fn mover(&self, route: &Route, leader: u32, chance: Chance) -> Mover<'_> {
        Mover {
            home: self.lab.node(self.home.name()),
            nodes: route.nodes.iter().map(|node| (*node).to_owned()).collect(),
            leader,
            // On average a pause is half as long.
            pause_max: (self.native.took * 2 / MOVES_WANTED).min(PAUSE_MAX),
            until: None,
            chance,
        }
    }
}

/// Kills the processes of a run that did not end in time, given by their rows of `limosa ps`.
pub fn kill(processes: &[Value]) {
    for row in processes {
        let pid = row["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        if let Some(process) = pid.and_then(|pid| ProcessIdentity::of(pid).ok()) {
            process.signal(Signal::KILL);
        }
    }
}
