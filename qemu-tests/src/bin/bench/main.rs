//! `bench`: what Limosa costs, beside the same done natively and by CRIU in the same run. Started by
//! `qemu-tests/bench`, which builds it.
//!
//! 1. [`laboratory`] brings up two nodes in namespaces; [`program`] is something that runs there, natively or
//!    by `limosa run`, and waits for its turn; [`watcher`] is what a program sees of its moves.
//! 2. Groups of figures: [`loops`] at home and away, [`freeze`] times, [`pages`] that follow beside the [`limit`]
//!    of the CPUs, [`dirty`] pages home, forwarded [`calls`], a [`compiler`] over a slow link, [`memory`] of
//!    supervisors; [`criu`] for comparison.
//! 3. A [`figure`] has its target beside it and says whether it is met; the [`report`] is all of them.
//!
//! Nothing here is a test: a machine that is busy makes figures worse, not wrong.

mod arguments;
mod calls;
mod compiler;
mod criu;
mod dirty;
mod figure;
mod freeze;
mod laboratory;
mod limit;
mod loops;
mod memory;
mod pages;
mod program;
mod report;
mod statistics;
mod watcher;

use std::fs;
use std::io::Write;
use std::process::ExitCode;

use lab::error::LabError;
use lab::machine;

use arguments::{Arguments, Group};
use criu::Criu;
use figure::Figure;
use laboratory::{Laboratory, Link};
use report::Report;

fn main() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    if arguments.runs == 0 {
        eprintln!("bench: nothing can be said of no run: --runs 1 or more");
        return ExitCode::from(2);
    }
    let (report, all_measured) = measure(&arguments);
    match tell(&report, &arguments) {
        Ok(()) if all_measured => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn tell(report: &Report, arguments: &Arguments) -> Result<(), LabError> {
    if let Some(path) = &arguments.json {
        let writing = LabError::doing(format!("write {}", path.display()));
        fs::write(path, report.json()).map_err(writing)?;
    }
    std::io::stdout()
        .write_all(report.table().as_bytes())
        .map_err(LabError::doing("write the table"))
}

/// All groups that were asked for, and whether all of them could be measured: one that fails does not take the
/// figures of the others with it.
fn measure(arguments: &Arguments) -> (Report, bool) {
    let machine = machine::describe();
    let mut figures = Vec::new();
    let mut all_measured = true;
    for &group in &arguments.only.0 {
        eprintln!("bench: {} ...", group.name());
        match measure_group(group, arguments) {
            Ok(measured) => figures.extend(measured),
            Err(error) => {
                eprintln!("bench: {}: {error}", group.name());
                let what = format!("all of group {}", group.name());
                figures.push(Figure::missing(group.name(), what, "failed"));
                all_measured = false;
            }
        }
    }
    let runs = arguments.runs;
    let report = Report {
        machine,
        runs,
        figures,
    };
    (report, all_measured)
}

/// Each group has a lab of its own: what one leaves behind must not slow the next.
fn measure_group(group: Group, arguments: &Arguments) -> Result<Vec<Figure>, LabError> {
    let Arguments {
        runs, directory, ..
    } = arguments;
    let link = match group {
        Group::Compiler => Link::Delayed(compiler::DELAY),
        _ => Link::Fast,
    };
    let laboratory = Laboratory::start(link, directory)?;
    let figures = match group {
        Group::Home => loops::at_home(&laboratory, *runs),
        Group::Away => loops::away(&laboratory, *runs),
        Group::Freeze => {
            let criu = Criu::find(&arguments.criu);
            freeze::measure(&laboratory, *runs, &arguments.sizes.0, &criu)
        }
        Group::Pages => pages::measure(&laboratory, *runs),
        Group::Dirty => dirty::measure(&laboratory, *runs),
        Group::Calls => calls::measure(&laboratory, directory, *runs),
        Group::Compiler => compiler::measure(&laboratory, *runs),
        Group::Memory => memory::measure(&laboratory, *runs),
    };
    let figures = figures?;
    laboratory.down()?;
    Ok(figures)
}
