//! The monkey for a minute, with a fixed seed: twelve programs at once, moved about at random among three nodes
//! while the network delays and loses frames. `qemu-tests/monkey` does it for longer and with larger programs.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use lab::workload::monkey::{MonkeyOptions, let_loose};
use lab::workload::packages;
use lab::workload::program::Program;
use lab::workload::table::PROGRAMS;

/// As many as run at the same time.
const PROGRAMS_WANTED: usize = 12;

#[test]
fn a_minute_of_random_moves_in_bad_weather_changes_no_output_and_leaves_nothing() {
    let programs: Vec<&Program> = PROGRAMS.iter().filter(|program| program.quick).collect();
    assert_eq!(programs.len(), PROGRAMS_WANTED);
    let missing = packages::missing(programs.iter().copied());
    assert!(
        missing.is_empty(),
        "{missing:?} missing: qemu-tests/run installs them"
    );
    let options = MonkeyOptions {
        seed: 1,
        duration: Duration::from_secs(60),
        samples: 4,
        quick: true,
        programs,
    };
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("monkey");
    let report = let_loose(&options, &root, &root.join("cache")).unwrap();
    let moves: u32 = report.tallies.iter().map(|tally| tally.moves.done).sum();
    assert!(moves > 0, "nothing was moved: {report:#?}");
    assert!(report.is_right(), "{report:#?}");
}
