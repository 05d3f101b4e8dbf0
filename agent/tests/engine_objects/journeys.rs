//! The ways in which a program is run: natively, and on journeys between home and two remotes. At which
//! moments it moves is drawn from a seed; nothing depends on it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use limosa::wire::supervisor::MoveError;

use crate::programs::Program;
use crate::running::{END_TIMEOUT, Outcome, Running};
use crate::two_supervisors::{Supervisors, wait_until};

/// A way to run a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mode {
    /// Without Limosa.
    Native,
    /// It leaves home at its exec, as by `limosa run --node`, and ends away.
    Started,
    /// It leaves home while it runs, and ends away.
    Left,
    /// It leaves and comes home, twice, and ends at home.
    Home,
    /// It leaves for one remote, goes to another and back to the first, and ends there.
    Remotes,
    /// It goes anywhere.
    Random,
}

impl Mode {
    pub(crate) const ALL: [Mode; 6] = [
        Mode::Native,
        Mode::Started,
        Mode::Left,
        Mode::Home,
        Mode::Remotes,
        Mode::Random,
    ];

    /// The head of its column.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::Native => "native",
            Mode::Started => "started",
            Mode::Left => "left",
            Mode::Home => "and home",
            Mode::Remotes => "2 remotes",
            Mode::Random => "random",
        }
    }
}

/// What may happen to a program that shall be moved. Its outcome is the native one in any case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowance {
    /// It may come home by itself.
    pub(crate) comes_home: bool,
    /// A move may be refused if the error contains this text: a cantmove code, say.
    pub(crate) may_refuse: Option<String>,
    /// It says when it has reached a state in which it cannot leave home, for a reason of this code.
    pub(crate) stays: Option<String>,
}

/// What happened to a program on its way to the right outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// It went where it should.
    Travelled,
    /// It came home by itself, for this cause.
    CameHome(String),
    /// It did not leave home, for reasons of this code.
    Stayed(String),
}

/// Small random numbers from a seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: impl Hash) -> Random {
        let mut hasher = DefaultHasher::new();
        seed.hash(&mut hasher);
        Random(hasher.finish() | 1)
    }

    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) % end
    }

    /// Waits for up to `most_ms`: the moment of a move is what is tried.
    pub(crate) fn pause(&mut self, most_ms: u64) {
        std::thread::sleep(Duration::from_micros(self.below(most_ms * 1000)));
    }
}

/// Runs the program without Limosa.
pub(crate) fn native(program: &Program) -> Outcome {
    let mut running = Running::start(program);
    running.open_gate();
    running.let_exec();
    running.outcome()
}

/// Opens the gate and awaits the end of program and supervisors.
pub(crate) fn finish(running: Running, supervisors: Supervisors) -> Outcome {
    let allowance = Allowance {
        comes_home: true,
        ..Allowance::default()
    };
    let mut journey = Journey::new(running, allowance);
    journey.supervisors = Some(supervisors);
    journey.finish().0
}

/// Runs the program in this mode.
///
/// # Panics
///
/// If it does what it is not allowed to, or does not end.
pub(crate) fn travel(
    program: &Program,
    mode: Mode,
    allowance: &Allowance,
    seed: u64,
) -> (Outcome, Course) {
    let mut random = Random::new((seed, &program.name, mode));
    if mode == Mode::Started {
        return Journey::start_away(program, allowance, &mut random).finish();
    }
    let running = Running::start_natively(program);
    let mut journey = Journey::new(running, allowance.clone());
    if allowance.stays.is_some() {
        wait_until("the state that cannot leave", || journey.running.is_ready());
    }
    random.pause(30);
    match mode {
        Mode::Native | Mode::Started => {}
        Mode::Left => journey.go("n2"),
        Mode::Home => {
            for destination in ["n2", "home", "n2", "home"] {
                journey.go(destination);
                random.pause(40);
            }
        }
        Mode::Remotes => {
            for destination in ["n2", "n3", "n2"] {
                journey.go(destination);
                random.pause(40);
            }
        }
        Mode::Random => {
            for _ in 0..3 + random.below(2) {
                let places = ["n2", "n3", "home", "home"];
                journey.go(places[random.below(4) as usize]);
                random.pause(60);
            }
        }
    }
    random.pause(30);
    journey.finish()
}

/// A program that is moved about.
struct Journey {
    running: Running,
    /// None while it is at home and nobody has asked it to move.
    supervisors: Option<Supervisors>,
    /// Those that serve what it has forked, and not itself any more.
    former: Vec<Supervisors>,
    allowance: Allowance,
    course: Course,
}

impl Journey {
    fn new(running: Running, allowance: Allowance) -> Journey {
        Journey {
            running,
            supervisors: None,
            former: Vec::new(),
            allowance,
            course: Course::Travelled,
        }
    }

    fn start_away(program: &Program, allowance: &Allowance, random: &mut Random) -> Journey {
        let mut journey = Journey::new(Running::start(program), allowance.clone());
        let mut supervisors = Supervisors::before_exec(journey.running.pid);
        let request = supervisors.ask("n2");
        journey.running.let_exec();
        let result = supervisors.finish_move(request);
        journey.supervisors = Some(supervisors);
        if let Err(error) = result {
            journey.on_refusal("n2", &error);
        }
        if allowance.stays.is_some() {
            wait_until("the state that cannot leave", || journey.running.is_ready());
        }
        random.pause(60);
        journey
    }

    /// Moves the program.
    fn go(&mut self, destination: &str) {
        for _ in 0..5 {
            let supervisors = match (&mut self.supervisors, destination) {
                (None, "home") => return,
                (None, _) => self.supervisors.insert(Supervisors::of(self.running.pid)),
                (Some(supervisors), _) => supervisors,
            };
            match supervisors.migrate(destination) {
                Ok(_) => {
                    self.take_own_moves();
                    if destination == "home" {
                        // One that cannot leave may be under a filter or a tracer of its own.
                        if self.allowance.stays.is_none() {
                            self.running.assert_untouched();
                        }
                        self.forget_supervisors(Duration::ZERO);
                    } else if let Some(code) = &self.allowance.stays {
                        panic!("it left home in spite of {code}");
                    }
                    return;
                }
                // It had come home, and its supervisor serves others, or has ended because it was not needed.
                Err(MoveError::Gone) if self.running.lives() => {
                    if supervisors.has_left {
                        self.former.extend(self.supervisors.take());
                    } else {
                        self.forget_supervisors(END_TIMEOUT);
                    }
                }
                Err(error) => return self.on_refusal(destination, &error),
            }
        }
        panic!(
            "cannot go to {destination}: its supervisors end\n{}",
            self.running.describe()
        );
    }

    /// Does without the supervisors of a program at home if they end in time.
    fn forget_supervisors(&mut self, limit: Duration) {
        if let Some(supervisors) = &mut self.supervisors
            && supervisors.ends_within(limit)
        {
            supervisors.finish();
            self.take_own_moves();
            self.supervisors = None;
        }
    }

    fn on_refusal(&mut self, destination: &str, error: &MoveError) {
        let text = format!("{error:?}");
        let Allowance {
            may_refuse, stays, ..
        } = &self.allowance;
        let excuse = may_refuse
            .iter()
            .chain(stays)
            .find(|excuse| text.contains(*excuse));
        match excuse {
            Some(code) => self.course = Course::Stayed(code.clone()),
            None => panic!(
                "cannot go to {destination}: {text}\n{}",
                self.running.describe()
            ),
        }
    }

    fn take_own_moves(&mut self) {
        let all = self.former.iter_mut().chain(&mut self.supervisors);
        for cause in all.flat_map(|supervisors| supervisors.own_moves.drain(..)) {
            assert!(
                self.allowance.comes_home,
                "it came home by itself: {cause}\n{}",
                self.running.describe()
            );
            self.course = Course::CameHome(cause);
        }
    }

    /// Opens the gate and awaits the end of program and supervisors.
    fn finish(mut self) -> (Outcome, Course) {
        self.running.open_gate();
        let outcome = self.running.outcome();
        for supervisors in self.former.iter_mut().chain(&mut self.supervisors) {
            assert!(
                supervisors.ends_within(END_TIMEOUT),
                "the supervisors do not end: {}",
                self.running.describe()
            );
            supervisors.finish();
        }
        self.take_own_moves();
        if outcome.status.code() != Some(0) {
            println!("{}", self.running.describe());
        }
        (outcome, self.course)
    }
}
