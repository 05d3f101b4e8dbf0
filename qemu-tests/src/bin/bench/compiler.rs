//! Over a link with a delay: a compiler away, and a file read in small pieces.

use std::fmt::Write;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lab::error::LabError;

use crate::figure::{Figure, Target, Unit};
use crate::laboratory::Laboratory;
use crate::program::{Program, Start};
use crate::statistics::Samples;

/// How late each frame of the link comes; there and back it is 0.2 ms.
pub(crate) const DELAY: Duration = Duration::from_micros(100);

const LINES: usize = 5000;
const COMPILER_TIMES: f64 = 1.35;

const READS: u64 = 10_000;
const READ_BYTES: usize = 64;
const READ_SECONDS: f64 = 10e-6;

/// Both figures, and the round trip that explains them.
pub(crate) fn measure(laboratory: &Laboratory, runs: usize) -> Result<Vec<Figure>, LabError> {
    Ok(vec![
        compiler(laboratory, runs)?,
        small_reads(laboratory, runs)?,
        round_trip(laboratory, runs)?,
    ])
}

fn compiler(laboratory: &Laboratory, runs: usize) -> Result<Figure, LabError> {
    let (source, object) = (laboratory.file("large.c"), laboratory.file("large.o"));
    fs::write(&source, source_text(LINES)).map_err(LabError::doing("write a source"))?;
    let (source, object) = (source.display().to_string(), object.display().to_string());
    let gcc = ["gcc", "-O2", "-c", &source, "-o", &object];
    let away = ["limosa", "run", "--node", "n2", "--"];
    let compile = |before: &[&str]| {
        let began = Instant::now();
        let home = laboratory.home();
        let status = home
            .command(before.iter().chain(&gcc))?
            .stdin(Stdio::null())
            .status()
            .map_err(LabError::doing("run gcc"))?;
        if !status.success() {
            let how = before.join(" ");
            return Err(LabError::Refused(format!("{how} gcc: {status}")));
        }
        Ok(began.elapsed().as_secs_f64())
    };
    let (mut at_home, mut there) = (Samples::default(), Samples::default());
    for _ in 0..runs {
        at_home.push(compile(&[])?);
        there.push(compile(&away)?);
    }
    Ok(Figure::new(
        "compiler",
        "gcc -O2 of 5,000 lines, away over 0.2 ms",
        Unit::Seconds,
        there,
    )
    .beside("native", at_home)
    .target(Target::TimesAtMost(COMPILER_TIMES)))
}

fn small_reads(laboratory: &Laboratory, runs: usize) -> Result<Figure, LabError> {
    let file = laboratory.file("small-reads");
    let contents = vec![b'x'; READ_BYTES * READS as usize];
    fs::write(&file, contents).map_err(LabError::doing("write a file"))?;
    let loops = laboratory.program("loops")?;
    let mut native = Program::start(&laboratory.home(), Start::Natively, &[&loops])?;
    let mut away = Program::start(&laboratory.home(), Start::ByLimosa, &[&loops])?;
    laboratory.migrate(away.pid(), "n2")?;
    let line = format!("file {READS} {}", file.display());
    let (natively, there) = crate::loops::in_turns(runs, &mut native, &mut away, &line)?;
    let each = 1.0 / READS as f64;
    Ok(Figure::new(
        "small_read",
        "one of 10,000 reads of 64 bytes, away over 0.2 ms",
        Unit::Seconds,
        there.took.scaled(each),
    )
    .beside("native", natively.took.scaled(each))
    .target(Target::AtMost(READ_SECONDS)))
}

fn round_trip(laboratory: &Laboratory, runs: usize) -> Result<Figure, LabError> {
    const TRIPS: u64 = 200;
    let round_trip = laboratory.program("round_trip")?;
    let (_server, mut client) = crate::calls::round_trip(laboratory, &round_trip)?;
    let mut trips = Samples::default();
    for _ in 0..runs {
        trips.push(client.ask(&TRIPS.to_string())?);
    }
    Ok(Figure::new(
        "delayed_round_trip",
        "TCP round trip over the 0.2 ms link",
        Unit::Seconds,
        trips.scaled(1.0 / TRIPS as f64),
    ))
}

/// A C file of about so many lines: functions with loops, branches and calls, for an optimiser to work on.
fn source_text(lines: usize) -> String {
    const LINES_EACH: usize = 10;
    let mut text = String::from("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n");
    for number in 0..lines / LINES_EACH {
        let callee = match number {
            0 => "(unsigned)labs".to_owned(),
            number => format!("f{}", number - 1),
        };
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "unsigned f{number}(long x)\n{{\n\tunsigned sum = {number};\n\
             \tfor (long i = 0; i < x % 17; i++) {{\n\t\tif ((sum ^ i) & {})\n\
             \t\t\tsum = sum * 31 + {callee}(i);\n\t\telse\n\t\t\tsum ^= sum >> {};\n\
             \t}}\n\treturn sum; }}\n",
            number % 7 + 1,
            number % 13 + 1,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_about_as_long_as_it_was_asked_for() {
        let lines = source_text(5000).lines().count();
        assert!((4900..5700).contains(&lines), "{lines} lines");
    }
}
