//! Programs that people run do the same natively, started away from home and moved while they run: those
//! that are quick and cheap to install. `qemu-tests/real-programs` runs all, for longer.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use lab::workload::packages;
use lab::workload::session::{SessionOptions, try_program};
use lab::workload::table::PROGRAMS;

/// Tries the quick programs of these names.
fn do_the_same_everywhere(names: &[&str]) {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("real-programs");
    for name in names {
        let program = PROGRAMS.iter().find(|program| program.name == *name);
        let program = program.unwrap_or_else(|| panic!("no program \"{name}\""));
        assert!(program.quick, "{name} takes long");
        let missing = packages::missing([program]);
        assert!(
            missing.is_empty(),
            "{name} needs {missing:?}: qemu-tests/run installs them"
        );
        let options = SessionOptions {
            seed: 1,
            moved_runs: 1,
            quick: true,
        };
        let report = try_program(program, &root, &root.join("cache"), &options)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            report.differences.is_empty() && report.moves.failed.is_empty(),
            "{report:#?}"
        );
    }
}

#[test]
fn a_compiler_does_the_same_everywhere() {
    do_the_same_everywhere(&["gcc"]);
}

#[test]
fn python_with_threads_children_and_an_event_loop_does_the_same_everywhere() {
    do_the_same_everywhere(&["python threads", "python subprocess", "python asyncio"]);
}

#[test]
fn perl_does_the_same_everywhere() {
    do_the_same_everywhere(&["perl"]);
}

#[test]
fn shell_scripts_with_pipelines_traps_and_job_control_do_the_same_everywhere() {
    do_the_same_everywhere(&["bash pipelines", "bash traps", "bash job control"]);
}

#[test]
fn compressors_and_archivers_do_the_same_everywhere() {
    do_the_same_everywhere(&["xz -T2", "tar | gzip", "dpkg-deb"]);
}

#[test]
fn tools_that_search_sort_and_join_do_the_same_everywhere() {
    do_the_same_everywhere(&["find | xargs | sort, awk"]);
}

#[test]
fn every_quick_program_is_tried_here() {
    let tried = include_str!("real_programs.rs");
    for program in PROGRAMS.iter().filter(|program| program.quick) {
        assert!(
            tried.contains(&format!("\"{}\"", program.name)),
            "{}",
            program.name
        );
    }
}
