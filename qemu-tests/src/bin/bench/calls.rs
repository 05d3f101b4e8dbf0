//! Forwarded calls, beside the TCP round trip over the same link: with all that takes part on one CPU, and on
//! any.

use std::path::Path;

use lab::error::LabError;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::figure::{Figure, Target, Unit};
use crate::laboratory::{Laboratory, Link};
use crate::program::{Program, Start};
use crate::statistics::Samples;

/// Calls of one run.
const CALLS: u64 = 2000;

/// What a call may take longer than a round trip.
const MORE_SECONDS: f64 = 10e-6;

/// Both figures.
pub(crate) fn measure(
    laboratory: &Laboratory,
    directory: &Path,
    runs: usize,
) -> Result<Vec<Figure>, LabError> {
    let target = Target::MoreByAtMost(MORE_SECONDS);
    let pinned = on_one_cpu(|| {
        let pinned = Laboratory::start(Link::Fast, directory)?;
        let figure = forwarded_call(&pinned, runs, "call_one_cpu", "all on one CPU")?;
        pinned.down()?;
        Ok(figure.target(target))
    })?;
    let any = forwarded_call(laboratory, runs, "call_any_cpu", "on any CPU")?;
    Ok(vec![pinned, any])
}

/// What `action` starts inherits the CPU: agents, supervisors, programs.
fn on_one_cpu<T>(action: impl FnOnce() -> Result<T, LabError>) -> Result<T, LabError> {
    let all = sched_getaffinity(None).map_err(LabError::doing("read the own CPUs"))?;
    let first = (0..CpuSet::MAX_CPU)
        .find(|&cpu| all.is_set(cpu))
        .unwrap_or(0);
    let mut one = CpuSet::new();
    one.set(first);
    let choosing = || LabError::doing("choose CPUs");
    sched_setaffinity(None, &one).map_err(choosing())?;
    let result = action();
    sched_setaffinity(None, &all).map_err(choosing())?;
    result
}

fn forwarded_call(
    laboratory: &Laboratory,
    runs: usize,
    name: &str,
    which: &str,
) -> Result<Figure, LabError> {
    let round_trip = laboratory.program("round_trip")?;
    let (_server, mut client) = self::round_trip(laboratory, &round_trip)?;
    let loops = laboratory.program("loops")?;
    let mut program = Program::start(&laboratory.home(), Start::ByLimosa, &[&loops])?;
    laboratory.migrate(program.pid(), "n2")?;
    // A device's byte can be neither known beforehand nor fetched ahead.
    program.ask(&format!("zero {CALLS}"))?;
    let (mut calls, mut trips) = (Samples::default(), Samples::default());
    for _ in 0..runs {
        calls.push(program.ask(&format!("zero {CALLS}"))?);
        trips.push(client.ask(&CALLS.to_string())?);
    }
    let each = 1.0 / CALLS as f64;
    Ok(Figure::new(
        name,
        format!("forwarded call, {which}"),
        Unit::Seconds,
        calls.scaled(each),
    )
    .beside("TCP round trip", trips.scaled(each)))
}

/// Both ends of a connection between the nodes: the server, and the client, which makes round trips.
pub(crate) fn round_trip(
    laboratory: &Laboratory,
    binary: &str,
) -> Result<(Program, Program), LabError> {
    let server = Program::start(&laboratory.remote(), Start::Natively, &[binary, "serve"])?;
    let port = server.greeting().first().copied().unwrap_or_default();
    let words = [binary, laboratory.remote_address(), &port.to_string()];
    let client = Program::start(&laboratory.home(), Start::Natively, &words)?;
    Ok((server, client))
}
