//! The monkey: programs run again and again on a lab of three nodes whose network changes by chance, and all
//! of their processes are moved about by chance, all at once.
//!
//! 1. Every program runs natively once, for comparison.
//! 2. The census of the idle lab is taken.
//! 3. For the given time: each program is started, moved and compared by a keeper of its own, the
//!    weather changes, and samples of the census are taken.
//! 4. Nobody is moved any more, the weather becomes calm, and what still runs ends by itself.
//! 5. The lab is idle again: what was not there before is residue.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::census::{Census, Usage};
use super::journal::Journal;
use super::mover::{Mover, Moves, processes_of};
use super::outcome::Outcome;
use super::process::{Run, Start};
use super::program::Program;
use super::session::{kill, run_natively};
use super::stage::Stage;
use super::weather::Weather;
use crate::cluster::Lab;
use crate::error::LabError;
use crate::faults::Chance;
use crate::node_handle::NodeHandle;
use crate::options::LabOptions;
use crate::wait::wait_until;

/// The nodes of the lab; the first is home.
const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// How long nodes in namespaces may take to meet.
const MEET_TIMEOUT: Duration = Duration::from_secs(20);

/// The longest that one run may take, among eleven others and in any weather.
const RUN_TIMEOUT: Duration = Duration::from_secs(900);

/// The longest pause between two moves of a program's processes.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The longest time for which the weather stays as it is.
const WEATHER_MS_MAX: u64 = 15_000;

/// How long the lab may take to become idle when the last program has ended.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// What the largest agent may have more in the second half of the time than in the first: its tables of
/// processes grow to the size of the busiest moment and stay so.
const AGENT_GROWTH_KIB_MAX: u64 = 1024;

/// As above, of the largest supervisor, which depends on the program that it happens to have.
const SUPERVISOR_GROWTH_KIB_MAX: u64 = 4096;

/// What the monkey is to do.
#[derive(Clone, Debug)]
pub struct MonkeyOptions {
    /// Where all chances begin.
    pub seed: u64,
    /// For how long programs are started and moved.
    pub duration: Duration,
    /// How often the census is taken meanwhile.
    pub samples: u32,
    /// At scale 1, whatever the programs' own scale is.
    pub quick: bool,
    /// The programs that run at the same time.
    pub programs: Vec<&'static Program>,
}

/// What one program did.
#[derive(Clone, Debug)]
pub struct Tally {
    /// The program's name.
    pub name: &'static str,
    /// Runs that ended.
    pub runs: u32,
    /// Their moves.
    pub moves: Moves,
    /// How runs differed from the native one, in words.
    pub differences: Vec<String>,
}

/// The lab at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Since the beginning.
    pub at: Duration,
    /// How the network is.
    pub weather: Weather,
    /// Runs that have ended so far.
    pub runs: u32,
    /// How often a process has changed its node so far, homecomings by itself included.
    pub moves: u32,
    /// What there is.
    pub census: Census,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct MonkeyReport {
    /// Program by program.
    pub tallies: Vec<Tally>,
    /// The idle lab before, samples under way, the idle lab after.
    pub samples: Vec<Sample>,
    /// What is left on the idle lab that was not there before, in words.
    pub residue: Vec<String>,
    /// What home's agent said.
    pub journal: Journal,
}

/// Lets the monkey loose; works in directories below `root`, and leaves there what differed.
pub fn let_loose(
    options: &MonkeyOptions,
    root: &Path,
    cache: &Path,
) -> Result<MonkeyReport, LabError> {
    let lab = Lab::start(&LabOptions {
        seed: options.seed,
        ..LabOptions::namespaces(NODES.len())
    })?;
    let home = lab.node(NODES[0]);
    home.wait_for_members(NODES.len(), MEET_TIMEOUT)?;
    let mut keepers = Vec::new();
    for (number, program) in options.programs.iter().enumerate() {
        let scale = if options.quick { 1 } else { program.scale };
        let stage = Stage::new(program, root, cache, scale);
        stage.prepare()?;
        let native = run_natively(&stage, &home)?;
        let chance = Chance::new(options.seed.wrapping_add(number as u64));
        keepers.push(Keeper {
            stage,
            home: home.clone(),
            native,
            chance,
        });
    }
    let jungle = Jungle {
        lab: &lab,
        started: Instant::now(),
        weather: Mutex::new(Weather::default()),
        runs: AtomicU32::new(0),
    };
    let before = jungle.sample()?;
    let mut samples = vec![before.clone()];
    let tallies = jungle.run(options, &keepers, &mut samples)?;
    // What does not become idle in time is told by the residue.
    let _ = wait_until(IDLE_TIMEOUT, "the lab is idle", || {
        let census = Census::take(&lab).map_err(|error| error.to_string())?;
        let residue = census.residue(&before.census);
        if residue.is_empty() {
            Ok(())
        } else {
            Err(residue.join("; "))
        }
    });
    let after = jungle.sample()?;
    let residue = after.census.residue(&before.census);
    samples.push(after);
    let report = MonkeyReport {
        tallies,
        samples,
        residue,
        journal: Journal::read(&home.log()?),
    };
    if report.is_right() {
        keepers
            .iter()
            .try_for_each(|keeper| keeper.stage.remove())?;
    } else {
        keep_logs(&lab, root)?;
    }
    lab.down()?;
    Ok(report)
}

impl MonkeyReport {
    /// Whether all runs were as the native ones, nothing is left and nothing grows. Moves may fail: a node that
    /// is busy in bad weather can be taken for lost, and the program goes on where it is.
    pub fn is_right(&self) -> bool {
        let right = |tally: &Tally| tally.differences.is_empty();
        self.tallies.iter().all(right) && self.residue.is_empty() && self.growth().is_empty()
    }

    /// Which memory is not flat, in words: what the second half of the samples shows of agents and
    /// supervisors beyond what the first half does.
    pub fn growth(&self) -> Vec<String> {
        let agents = self.grown("agent", Census::agents_max, AGENT_GROWTH_KIB_MAX);
        let supervisors = self.grown(
            "supervisor",
            Census::supervisors_max,
            SUPERVISOR_GROWTH_KIB_MAX,
        );
        agents.into_iter().chain(supervisors).collect()
    }

    fn grown(
        &self,
        kind: &str,
        usage: impl Fn(&Census) -> Usage,
        allowed_kib: u64,
    ) -> Option<String> {
        let largest = |samples: &[Sample]| {
            let sizes = samples
                .iter()
                .map(|sample| usage(&sample.census).resident_kib);
            sizes.max().unwrap_or_default()
        };
        let (first, second) = self.samples.split_at(self.samples.len().div_ceil(2));
        let (before, now) = (largest(first), largest(second));
        (now > before + allowed_kib)
            .then(|| format!("the largest {kind} has {now} KiB instead of {before}"))
    }
}

/// Keeps what the agents said, for a person to read.
fn keep_logs(lab: &Lab, root: &Path) -> Result<(), LabError> {
    for node in lab.nodes()? {
        let path = root.join(format!("{}.log", node.name()));
        std::fs::write(&path, node.log()?)
            .map_err(LabError::doing(format!("write {}", path.display())))?;
    }
    Ok(())
}

/// What all keepers share.
struct Jungle<'lab> {
    lab: &'lab Lab,
    started: Instant,
    weather: Mutex<Weather>,
    runs: AtomicU32,
}

impl Jungle<'_> {
    fn sample(&self) -> Result<Sample, LabError> {
        let log = self.lab.node(NODES[0]).log()?;
        Ok(Sample {
            at: self.started.elapsed(),
            weather: *self.weather.lock().unwrap_or_else(PoisonError::into_inner),
            runs: self.runs.load(Ordering::Relaxed),
            moves: Journal::read(&log).moves,
            census: Census::take(self.lab)?,
        })
    }

    /// Until the time is over and the last run has ended.
    fn run(
        &self,
        options: &MonkeyOptions,
        keepers: &[Keeper<'_>],
        samples: &mut Vec<Sample>,
    ) -> Result<Vec<Tally>, LabError> {
        let until = self.started + options.duration;
        std::thread::scope(|scope| {
            let keeping: Vec<_> = keepers
                .iter()
                .map(|keeper| scope.spawn(move || keeper.keep(until, &self.runs)))
                .collect();
            let (stop, stopped) = mpsc::channel();
            let chance = Chance::new(options.seed);
            let weather = scope.spawn(move || self.change_weather(chance, until, &stopped));
            for number in 1..=options.samples {
                let due = self.started + options.duration * number / (options.samples + 1);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                samples.push(self.sample()?);
            }
            let panicked = |_| LabError::Protocol("a keeper of the monkey panicked".into());
            let tallies = keeping
                .into_iter()
                .map(|keeper| keeper.join().map_err(panicked)?)
                .collect();
            drop(stop);
            weather.join().map_err(panicked)??;
            tallies
        })
    }

    /// Changes the weather until the time is over or the other end of `stop` is dropped; then it is calm.
    fn change_weather(
        &self,
        mut chance: Chance,
        until: Instant,
        stop: &Receiver<()>,
    ) -> Result<(), LabError> {
        loop {
            let over = Instant::now() >= until;
            let weather = if over {
                Weather::default()
            } else {
                Weather::draw(&mut chance)
            };
            weather.rule(self.lab)?;
            *self.weather.lock().unwrap_or_else(PoisonError::into_inner) = weather;
            let stays = Duration::from_millis(chance.below(WEATHER_MS_MAX));
            let stays = stays.min(until.saturating_duration_since(Instant::now()));
            let ends = if over {
                stop.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                stop.recv_timeout(stays)
            };
            if ends == Err(RecvTimeoutError::Disconnected) {
                return Ok(());
            }
        }
    }
}

/// Starts one program again and again.
struct Keeper<'lab> {
    stage: Stage,
    home: NodeHandle<'lab>,
    native: Outcome,
    chance: Chance,
}

impl Keeper<'_> {
    fn keep(&self, until: Instant, runs: &AtomicU32) -> Result<Tally, LabError> {
        let mut tally = Tally {
            name: self.stage.program.name,
            runs: 0,
            moves: Moves::default(),
            differences: Vec::new(),
        };
        let mut chance = self.chance.clone();
        while Instant::now() < until {
            if !self.run_once(&mut chance, until, &mut tally)? {
                break;
            }
            tally.runs += 1;
            runs.fetch_add(1, Ordering::Relaxed);
        }
        Ok(tally)
    }

    /// False when it did not end.
    fn run_once(
        &self,
        chance: &mut Chance,
        until: Instant,
        tally: &mut Tally,
    ) -> Result<bool, LabError> {
        let starts = [
            Start::AtHome,
            Start::Following,
            Start::On(NODES[1]),
            Start::On(NODES[2]),
        ];
        let start = starts[chance.below(starts.len() as u64) as usize];
        let own = Chance::new(chance.below(u64::MAX));
        self.stage.reset()?;
        let run = Run::start(&self.stage, &self.home, start, own.clone())?;
        let leader = run.leader().pid;
        let mover = Mover {
            home: self.home.clone(),
            nodes: NODES.map(String::from).to_vec(),
            leader,
            pause_max: PAUSE_MAX,
            until: Some(until),
            chance: own,
        };
        let (stop, stopped) = mpsc::channel();
        let (finished, moves) = std::thread::scope(|scope| {
            let moving = scope.spawn(move || mover.run(&stopped));
            let finished = run.finish(RUN_TIMEOUT);
            drop(stop);
            (finished, moving.join())
        });
        let panicked = |_| LabError::Protocol("the mover panicked".into());
        tally.moves.add(moves.map_err(panicked)??);
        let name = format!("run {}", tally.runs + 1);
        let outcome = match finished {
            Ok(outcome) => outcome,
            Err(error) => {
                let processes = processes_of(&self.home, leader)?;
                kill(&processes);
                let seen = Value::from(processes);
                tally
                    .differences
                    .push(format!("{name}, {start:?}: {error}; {seen}"));
                return Ok(false);
            }
        };
        let differences = self.stage.differences(&outcome, &self.native, &name)?;
        let told = differences
            .iter()
            .map(|text| format!("{name}, {start:?}: {text}"));
        tally.differences.extend(told);
        Ok(true)
    }
}
