//! `monkey`: twelve programs at once on a lab of three nodes, moved about by chance in bad weather. Started by
//! `qemu-tests/monkey`, which builds it.
//!
//! 1. The Debian packages that the programs need are installed.
//! 2. The monkey is let loose ([`lab::workload::monkey`]).
//! 3. Two tables: what the programs did, and what agents and supervisors used over time.

mod results;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use argh::FromArgs;
use lab::error::LabError;
use lab::workload::monkey::{MonkeyOptions, MonkeyReport, let_loose};
use lab::workload::packages;
use lab::workload::table::{MONKEY, PROGRAMS};

/// Twelve programs at once, moved about at random among three nodes while the network delays and loses
/// frames. Ends with 1 if any output or file differs, or if anything is left.
#[derive(FromArgs)]
#[argh(example = "qemu-tests/monkey --minutes 30\nqemu-tests/monkey --minutes 2 --seed 7 java vim")]
struct Arguments {
    /// print JSON
    #[argh(switch)]
    json: bool,
    /// for how long programs are started and moved (default: 30)
    #[argh(option, default = "30")]
    minutes: u32,
    /// where all chances begin (default: 1)
    #[argh(option, default = "1")]
    seed: u64,
    /// at the size of the tests
    #[argh(switch)]
    quick: bool,
    /// where the programs work; what differed stays there (default: target/monkey)
    #[argh(option, default = "PathBuf::from(\"target/monkey\")")]
    directory: PathBuf,
    /// names of programs, as "real-programs --list" has them; by default twelve
    #[argh(positional)]
    programs: Vec<String>,
}

/// Rows of the table over time.
const SAMPLES: u32 = 14;

fn main() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    let report = match play(&arguments) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("monkey: {error}");
            let usage = matches!(error, LabError::Usage(_));
            return ExitCode::from(if usage { 2 } else { 1 });
        }
    };
    let text = if arguments.json {
        results::json(&report)
    } else {
        results::tables(&report, arguments.seed)
    };
    if let Err(error) = std::io::stdout().write_all(text.as_bytes()) {
        eprintln!("monkey: cannot write the results: {error}");
        return ExitCode::FAILURE;
    }
    if report.is_right() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn play(arguments: &Arguments) -> Result<MonkeyReport, LabError> {
    let names: Vec<&str> = match arguments.programs.as_slice() {
        [] => MONKEY.to_vec(),
        named => named.iter().map(String::as_str).collect(),
    };
    let find = |name: &str| {
        let found = PROGRAMS.iter().find(|program| program.name == name);
        found.ok_or_else(|| LabError::Usage(format!("there is no program \"{name}\"")))
    };
    let programs: Vec<_> = names.into_iter().map(find).collect::<Result<_, _>>()?;
    packages::provide(programs.iter().copied())?;
    let root = std::path::absolute(&arguments.directory).map_err(LabError::doing(format!(
        "find {}",
        arguments.directory.display()
    )))?;
    let options = MonkeyOptions {
        seed: arguments.seed,
        duration: Duration::from_secs(60) * arguments.minutes,
        samples: SAMPLES,
        quick: arguments.quick,
        programs,
    };
    let_loose(&options, &root.join("programs"), &root.join("cache"))
}
