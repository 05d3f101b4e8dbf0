//! What supervisors take: with a small guest that sleeps, and with one of 1 GiB, while its memory follows and
//! afterwards.

use std::time::Duration;

use lab::error::LabError;
use lab::workload::census::Census;

use crate::figure::{Figure, Target, Unit};
use crate::laboratory::Laboratory;
use crate::pages::wait_for_pages;
use crate::program::{Program, Start};
use crate::statistics::Samples;

/// What each may take.
const RESIDENT_BYTES: f64 = (4 << 20) as f64;

const LARGE_MIB: u64 = 1024;
const PAGES_TIMEOUT: Duration = Duration::from_secs(120);

/// The largest supervisor, by what its guest has.
pub(crate) fn measure(laboratory: &Laboratory, runs: usize) -> Result<Vec<Figure>, LabError> {
    let binary = laboratory.program("memory")?;
    let mut figures = Vec::new();
    for (size_mib, name) in [(1, "small"), (LARGE_MIB, "large")] {
        let sides = [("deputy", 0), ("guest", 1)];
        let mut samples = sides.map(|_| Samples::default());
        for _ in 0..runs {
            let size = size_mib.to_string();
            let words = [binary.as_str(), &size, "1", "serve"];
            let program = Program::start(&laboratory.home(), Start::ByLimosa, &words)?;
            laboratory.migrate(program.pid(), "n2")?;
            wait_for_pages(laboratory, program.pid(), size_mib << 20, PAGES_TIMEOUT)?;
            let census = Census::take(laboratory.lab())?;
            for ((_, node), samples) in sides.iter().zip(&mut samples) {
                let supervisors = census.nodes[*node].supervisors.iter();
                let largest_kib = supervisors.map(|usage| usage.resident_kib).max();
                let largest_kib = largest_kib.ok_or_else(|| {
                    LabError::Protocol("a program is away and has no supervisor".into())
                })?;
                samples.push(largest_kib as f64 * 1024.0);
            }
        }
        for ((side, _), samples) in sides.iter().zip(samples) {
            figures.push(
                Figure::new(
                    format!("supervisor_{side}_{name}"),
                    format!("{side}'s supervisor, resident, guest of {size_mib} MiB"),
                    Unit::Bytes,
                    samples,
                )
                .target(Target::AtMost(RESIDENT_BYTES)),
            );
        }
    }
    Ok(figures)
}
