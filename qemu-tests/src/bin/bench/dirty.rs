//! Home again when one page in a hundred has changed: what is sent, and for how long the program is frozen.

use std::time::Duration;

use lab::error::LabError;

use crate::figure::{Figure, Target, Unit};
use crate::laboratory::Laboratory;
use crate::pages::wait_for_pages;
use crate::program::{Program, Start};
use crate::statistics::Samples;

const SIZE_MIB: u64 = 1024;
const FREEZE_SECONDS: f64 = 0.005;

/// How much may be sent, as a share of the size.
const SENT_SHARE_MAX: f64 = 0.013;

/// How long the memory may take to follow.
const PAGES_TIMEOUT: Duration = Duration::from_secs(120);

/// Both figures.
pub(crate) fn measure(laboratory: &Laboratory, runs: usize) -> Result<Vec<Figure>, LabError> {
    let binary = laboratory.program("memory")?;
    let (mut freezes, mut sent) = (Samples::default(), Samples::default());
    let size = SIZE_MIB.to_string();
    for _ in 0..runs {
        let words = [binary.as_str(), &size, "1", "serve"];
        let mut program = Program::start(&laboratory.home(), Start::ByLimosa, &words)?;
        laboratory.migrate(program.pid(), "n2")?;
        wait_for_pages(laboratory, program.pid(), SIZE_MIB << 20, PAGES_TIMEOUT)?;
        program.ask("dirty 100")?;
        let before = laboratory.bytes_of_home()?;
        let moved = laboratory.migrate(program.pid(), "home")?;
        sent.push((laboratory.bytes_of_home()? - before) as f64);
        freezes.push(moved.freeze_seconds);
    }
    let size_bytes = (SIZE_MIB << 20) as f64;
    let whole = Samples(vec![size_bytes; runs]);
    Ok(vec![
        Figure::new(
            "dirty_sent_bytes",
            "home again, 1 % of 1 GiB dirty: sent",
            Unit::Bytes,
            sent,
        )
        .beside("all", whole)
        .target(Target::TimesAtMost(SENT_SHARE_MAX))
        .how("all frames of home's interface, both ways"),
        Figure::new(
            "dirty_freeze",
            "home again, 1 % of 1 GiB dirty: frozen",
            Unit::Seconds,
            freezes,
        )
        .target(Target::AtMost(FREEZE_SECONDS)),
    ])
}
