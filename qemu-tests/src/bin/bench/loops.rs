//! Loops at home under `limosa run`, and away, each beside the same loop natively: `programs/bench/loops.c`.

use lab::error::LabError;

use crate::figure::{Figure, Target, Unit};
use crate::laboratory::Laboratory;
use crate::program::{Program, Start};
use crate::statistics::Samples;

/// A loop: its name, what it is for people, and how often it is gone through: some 0.2 s.
type Loop = (&'static str, &'static str, u64);

/// What must not be slower at home under `limosa run`.
const AT_HOME: [Loop; 4] = [
    ("integer", "CPU loop", 60_000_000),
    ("getppid", "getppid() loop", 1_000_000),
    ("fork", "fork, exec and wait", 150),
    ("faults", "page faults", 100_000),
];

/// What must not be slower away.
const AWAY: [Loop; 3] = [
    ("integer", "integers", 60_000_000),
    ("float", "floating point", 15_000_000),
    ("memory", "256 MiB in huge pages", 4_000_000),
];

/// The speed of 0.99 of native, as a ratio of times.
const NEARLY_NATIVE: f64 = 1.0 / 0.99;

/// At home.
pub(crate) fn at_home(laboratory: &Laboratory, runs: usize) -> Result<Vec<Figure>, LabError> {
    let binary = laboratory.program("loops")?;
    let mut native = Program::start(&laboratory.home(), Start::Natively, &[&binary])?;
    let mut limosa = Program::start(&laboratory.home(), Start::ByLimosa, &[&binary])?;
    let figures = AT_HOME.map(|(name, what, count)| {
        let line = format!("{name} {count}");
        let (native, limosa) = in_turns(runs, &mut native, &mut limosa, &line)?;
        let what = format!("at home under limosa run: {what}");
        let (name, target) = (format!("home_{name}"), Target::Alike);
        Ok(compared(name, what, limosa.took, native.took).target(target))
    });
    figures.into_iter().collect()
}

/// Away, when all pages are in: each loop is gone through once before it is measured.
pub(crate) fn away(laboratory: &Laboratory, runs: usize) -> Result<Vec<Figure>, LabError> {
    let binary = laboratory.program("loops")?;
    let mut native = Program::start(&laboratory.home(), Start::Natively, &[&binary])?;
    let mut limosa = Program::start(&laboratory.home(), Start::ByLimosa, &[&binary])?;
    for program in [&mut native, &mut limosa] {
        program.ask("memory 1")?;
    }
    laboratory.migrate(limosa.pid(), "n2")?;
    let figures = AWAY.map(|(name, what, count)| {
        let line = format!("{name} {count}");
        for program in [&mut native, &mut limosa] {
            // All of the memory is visited once in words that follow each other.
            program.ask(if name == "memory" {
                "memory 33554432"
            } else {
                &line
            })?;
        }
        let (native, limosa) = in_turns(runs, &mut native, &mut limosa, &line)?;
        let what = format!("away, all pages in: {what}");
        let (name, target) = (format!("away_{name}"), Target::TimesAtMost(NEARLY_NATIVE));
        // On a busy machine the two do not get the same share of the CPUs.
        let cpu = compared(
            format!("{name}_cpu"),
            format!("{what}, CPU time"),
            limosa.cpu,
            native.cpu,
        );
        let took = compared(name, what, limosa.took, native.took);
        Ok([took.target(target), cpu])
    });
    let pairs: Vec<_> = figures.into_iter().collect::<Result<_, LabError>>()?;
    Ok(pairs.into_iter().flatten().collect())
}

fn compared(name: String, what: String, limosa: Samples, native: Samples) -> Figure {
    Figure::new(name, what, Unit::Seconds, limosa).beside("native", native)
}

/// What one program took, run by run.
#[derive(Default)]
pub(crate) struct Times {
    /// From beginning to end.
    pub(crate) took: Samples,
    /// Of it on a CPU.
    pub(crate) cpu: Samples,
}

impl Times {
    fn take(&mut self, program: &mut Program, line: &str) -> Result<(), LabError> {
        let (took, cpu) = program.ask_for_both(line)?;
        self.took.push(took);
        self.cpu.push(cpu);
        Ok(())
    }
}

/// Lets two programs do the same by turns; who begins changes from run to run.
pub(crate) fn in_turns(
    runs: usize,
    one: &mut Program,
    other: &mut Program,
    line: &str,
) -> Result<(Times, Times), LabError> {
    let (mut of_one, mut of_other) = (Times::default(), Times::default());
    for run in 0..runs {
        if run % 2 == 0 {
            of_one.take(one, line)?;
            of_other.take(other, line)?;
        } else {
            of_other.take(other, line)?;
            of_one.take(one, line)?;
        }
    }
    Ok((of_one, of_other))
}
