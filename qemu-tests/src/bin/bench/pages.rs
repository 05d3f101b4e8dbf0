//! The memory that follows its program: until when all of it is there, beside what this machine's CPUs allow,
//! and what a program loses that walks over its memory meanwhile.

use std::fs;
use std::time::{Duration, Instant};

use lab::error::LabError;

use crate::figure::{Figure, Target, Unit};
use crate::laboratory::Laboratory;
use crate::limit;
use crate::program::{Program, Start};
use crate::statistics::Samples;

const SIZE_MIB: u64 = 1024;

/// How much longer than the CPUs need it may take.
const TIMES_LIMIT: f64 = 1.3;

/// What a walk may take longer while memory follows.
const WALK_LOSS: f64 = 1.05;

/// How long a walk natively takes at least: the move must be a small part of a program's life.
const WALK_SECONDS: f64 = 5.0;

/// Pages visited to learn how fast a walk is.
const PROBE_PAGES: u64 = 200_000;

/// How long the memory may take to follow.
const PAGES_TIMEOUT: Duration = Duration::from_secs(120);

/// Between two looks at how much has come.
const PAUSE: Duration = Duration::from_millis(2);

/// All of them.
pub(crate) fn measure(laboratory: &Laboratory, runs: usize) -> Result<Vec<Figure>, LabError> {
    let binary = laboratory.program("memory")?;
    let mut figures = until_all_are_in(laboratory, &binary, runs)?;
    for pattern in ["sequential", "random", "stencil"] {
        figures.push(walk(laboratory, &binary, pattern, runs)?);
    }
    Ok(figures)
}

fn start(laboratory: &Laboratory, binary: &str, start: Start) -> Result<Program, LabError> {
    let size = SIZE_MIB.to_string();
    Program::start(&laboratory.home(), start, &[binary, &size, "1", "serve"])
}

fn until_all_are_in(
    laboratory: &Laboratory,
    binary: &str,
    runs: usize,
) -> Result<Vec<Figure>, LabError> {
    let (mut all_in, mut allowed) = (Samples::default(), Samples::default());
    let mut steps = limit::Steps::default();
    for _ in 0..runs {
        let program = start(laboratory, binary, Start::ByLimosa)?;
        let began = Instant::now();
        laboratory.migrate(program.pid(), "n2")?;
        wait_for_pages(laboratory, program.pid(), SIZE_MIB << 20, PAGES_TIMEOUT)?;
        all_in.push(began.elapsed().as_secs_f64());
        drop(program);
        let source = start(laboratory, binary, Start::Natively)?;
        let sum = steps.measure(&source, SIZE_MIB << 20)?;
        allowed.push(sum / 2.0);
    }
    let mut figures = vec![
        Figure::new(
            "pages_all_in",
            "1 GiB away, from the request until all pages are in",
            Unit::Seconds,
            all_in,
        )
        .beside("the steps' CPU time on two CPUs", allowed)
        .target(Target::TimesAtMost(TIMES_LIMIT))
        .how("CRIU's post-copy over TCP would need a patched CRIU"),
    ];
    figures.extend(steps.figures());
    Ok(figures)
}

/// A fixed walk natively, and the same one while the program is moved at its beginning.
fn walk(
    laboratory: &Laboratory,
    binary: &str,
    pattern: &str,
    runs: usize,
) -> Result<Figure, LabError> {
    let mut native = start(laboratory, binary, Start::Natively)?;
    let probe = native.ask(&format!("{pattern} {PROBE_PAGES}"))?;
    let pages = (PROBE_PAGES as f64 * WALK_SECONDS / probe).ceil() as u64;
    let line = format!("{pattern} {pages}");
    let (mut at_home, mut moved) = (Samples::default(), Samples::default());
    for _ in 0..runs {
        at_home.push(native.ask(&line)?);
        let mut program = start(laboratory, binary, Start::ByLimosa)?;
        program.begin(&line)?;
        laboratory.migrate(program.pid(), "n2")?;
        moved.push(program.end()?);
    }
    Ok(Figure::new(
        format!("walk_{pattern}"),
        format!("{pattern} walk over 1 GiB, moved at its beginning"),
        Unit::Seconds,
        moved,
    )
    .beside("native", at_home)
    .target(Target::TimesAtMost(WALK_LOSS)))
}

/// Waits until the guest of `pid` has so many bytes in memory.
pub(crate) fn wait_for_pages(
    laboratory: &Laboratory,
    pid: u32,
    bytes: u64,
    timeout: Duration,
) -> Result<(), LabError> {
    let guest = laboratory.guest(pid)?;
    let path = format!("/proc/{guest}/statm");
    let deadline = Instant::now() + timeout;
    loop {
        let text = fs::read_to_string(&path).map_err(LabError::doing(format!("read {path}")))?;
        // proc_pid_statm(5): the second number is what is resident, in pages.
        let pages = text.split(' ').nth(1).and_then(|pages| pages.parse().ok());
        let resident_bytes = pages.unwrap_or(0) * 4096;
        if resident_bytes >= bytes {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(LabError::TimedOut {
                what: format!("{bytes} bytes of process {pid} are in"),
                after: timeout,
                seen: format!("{resident_bytes} bytes"),
            });
        }
        std::thread::sleep(PAUSE);
    }
}
