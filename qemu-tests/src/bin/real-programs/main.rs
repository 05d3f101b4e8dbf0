//! `real-programs`: do programs that people run behave the same natively, started away from home, and
//! moved at random moments? Started by `qemu-tests/real-programs`, which builds it.
//!
//! 1. The Debian packages that the chosen programs need are installed.
//! 2. Each program runs in a lab of its own ([`lab::workload::session`]).
//! 3. One table tells how long it took, where it went and why it came home, and whether all was identical.

mod results;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use argh::FromArgs;
use lab::error::LabError;
use lab::workload::packages;
use lab::workload::program::Program;
use lab::workload::session::{SessionOptions, try_program};
use lab::workload::table::PROGRAMS;

use results::Results;

/// Real programs, natively, started away from home and moved at random moments: output, exit status
/// and files are compared. Ends with 1 if any differ.
#[derive(FromArgs)]
#[argh(
    example = "qemu-tests/real-programs\nqemu-tests/real-programs --seed 7 --moved-runs 3 java node 'python threads'"
)]
struct Arguments {
    /// print JSON
    #[argh(switch)]
    json: bool,
    /// list the programs and end
    #[argh(switch)]
    list: bool,
    /// only those that the tests run too, at their size
    #[argh(switch)]
    quick: bool,
    /// where the chances of the moves begin (default: 1)
    #[argh(option, default = "1")]
    seed: u64,
    /// how often each program is moved (default: 1)
    #[argh(option, default = "1")]
    moved_runs: u32,
    /// where the programs work; what differed stays there (default: target/real-programs)
    #[argh(option, default = "PathBuf::from(\"target/real-programs\")")]
    directory: PathBuf,
    /// names of programs; by default all
    #[argh(positional)]
    programs: Vec<String>,
}

fn main() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    if arguments.list {
        for program in PROGRAMS {
            println!("{}", program.name);
        }
        return ExitCode::SUCCESS;
    }
    match try_all(&arguments) {
        Ok(results) => {
            let text = if arguments.json {
                results.json()
            } else {
                results.table()
            };
            if let Err(error) = std::io::stdout().write_all(text.as_bytes()) {
                eprintln!("real-programs: cannot write the results: {error}");
                return ExitCode::FAILURE;
            }
            if results.are_identical() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("real-programs: {error}");
            ExitCode::from(if matches!(error, LabError::Usage(_)) {
                2
            } else {
                1
            })
        }
    }
}

fn try_all(arguments: &Arguments) -> Result<Results, LabError> {
    let programs = chosen(arguments)?;
    packages::provide(programs.iter().copied())?;
    let root = std::path::absolute(&arguments.directory).map_err(LabError::doing(format!(
        "find {}",
        arguments.directory.display()
    )))?;
    let options = SessionOptions {
        seed: arguments.seed,
        moved_runs: arguments.moved_runs,
        quick: arguments.quick,
    };
    let mut results = Results::default();
    for program in programs {
        eprintln!("{} ...", program.name);
        let report = try_program(
            program,
            &root.join("programs"),
            &root.join("cache"),
            &options,
        );
        results.add(program.name, report);
    }
    Ok(results)
}

fn chosen(arguments: &Arguments) -> Result<Vec<&'static Program>, LabError> {
    let known = |name: &String| PROGRAMS.iter().any(|program| program.name == name);
    if let Some(name) = arguments.programs.iter().find(|name| !known(name)) {
        return Err(LabError::Usage(format!(
            "there is no program \"{name}\": --list shows all"
        )));
    }
    let named = |program: &&Program| {
        let mut names = arguments.programs.iter();
        arguments.programs.is_empty() || names.any(|name| name == program.name)
    };
    let quick = |program: &&Program| !arguments.quick || program.quick;
    Ok(PROGRAMS.iter().filter(named).filter(quick).collect())
}
