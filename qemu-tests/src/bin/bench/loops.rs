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
        Ok(compared(format!("home_{name}"), what, &limosa, &native).target(Target::Alike))
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
        let target = Target::TimesAtMost(NEARLY_NATIVE);
        Ok(compared(format!("away_{name}"), what, &limosa, &native).target(target))
    });
    figures.into_iter().collect()
}

fn compared(name: String, what: String, limosa: &Samples, native: &Samples) -> Figure {
    Figure::new(name, what, Unit::Seconds, limosa.clone()).beside("native", native.clone())
}

/// Lets two programs do the same by turns; who begins changes from run to run.
pub(crate) fn in_turns(
    runs: usize,
    one: &mut Program,
    other: &mut Program,
    line: &str,
) -> Result<(Samples, Samples), LabError> {
    let (mut of_one, mut of_other) = (Samples::default(), Samples::default());
    for run in 0..runs {
        if run % 2 == 0 {
            of_one.push(one.ask(line)?);
            of_other.push(other.ask(line)?);
        } else {
            of_other.push(other.ask(line)?);
            of_one.push(one.ask(line)?);
        }
    }
    Ok((of_one, of_other))
}
