//! Much memory, and mappings line by line.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::journeys::{Allowance, Mode, finish, native, travel};
use crate::programs::Program;
use crate::running::Running;
use crate::two_supervisors::{Supervisors, wait_until};

#[test]
fn three_hundred_mebibytes_arrive_intact_out_and_home() {
    let program = Program::dynamic("large");
    let running = Running::start_natively(&program);
    wait_until("filling the memory", || running.is_ready());
    let mut supervisors = Supervisors::of(running.pid);
    supervisors.migrate("n2").unwrap();
    supervisors.migrate("home").unwrap();
    running.assert_untouched();
    let outcome = finish(running, supervisors);
    assert_eq!(outcome.stdout, "300 MiB intact\n");
    assert!(outcome.status.success());
}

/// Leaves and comes home twice; /proc/PID/maps is compared line by line.
#[test]
fn a_program_that_maps_nothing_has_the_same_mappings_after_its_travels() {
    for program in [Program::dynamic("spin"), Program::statically_linked("spin")] {
        let program = program.with(&["exit", "0"]);
        let running = Running::start_natively(&program);
        let maps = || fs::read_to_string(format!("/proc/{}/maps", running.pid)).unwrap();
        wait_until("the program computes", || {
            fs::read_to_string(format!("/proc/{}/stat", running.pid))
                .unwrap()
                .split(' ')
                .nth(13)
                > Some("4")
        });
        let before = maps();
        let mut supervisors = Supervisors::of(running.pid);
        for _ in 0..2 {
            supervisors.migrate("n2").unwrap();
            supervisors.migrate("home").unwrap();
            running.assert_untouched();
            assert_eq!(maps(), before);
        }
        assert!(finish(running, supervisors).status.success());
    }
}

/// As ps(1) looks, at the guests too: the kernel reads the arguments out of each process's memory.
#[test]
fn a_program_keeps_its_memory_however_often_others_look_at_it() {
    let program = Program::dynamic("time/clocks");
    let wanted = native(&program);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                for process in fs::read_dir("/proc").unwrap().flatten() {
                    // Most of what is there has no arguments, or has ended.
                    let _ = fs::read(process.path().join("cmdline"));
                    let _ = fs::read(process.path().join("environ"));
                }
            }
        });
        let _looking = Until(&is_over);
        for seed in 0..8 {
            let (outcome, _) = travel(&program, Mode::Remotes, &Allowance::default(), seed);
            assert_eq!(outcome, wanted);
        }
    });
}

/// Sets its flag when it goes, also if the test fails.
struct Until<'a>(&'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
