//! Memory and registers.

use std::fs;

use crate::conformance::{Program, assert_untouched, conforms, finish, start_natively};
use crate::two_supervisors::{Supervisors, wait_until};

#[test]
fn vector_and_floating_point_registers_are_kept() {
    conforms(&Program::statically_linked("registers"));
}

#[test]
fn the_address_space_changes_as_natively() {
    conforms(&Program::statically_linked("memory"));
}

#[test]
fn mappings_made_in_one_place_are_there_in_the_next() {
    conforms(&Program::dynamic("kept_mappings"));
}

#[test]
fn the_stack_grows_everywhere() {
    conforms(&Program::dynamic("stack"));
}

#[test]
fn the_heap_of_two_threads_stays_in_order() {
    conforms(&Program::statically_linked("heap"));
}

#[test]
fn private_mappings_of_files_have_the_files_contents() {
    conforms(&Program::dynamic("mapped_files"));
}

#[test]
fn three_hundred_mebibytes_arrive_intact_out_and_home() {
    let program = Program::dynamic("large");
    let running = start_natively(&program);
    wait_until("filling the memory", || running.is_ready());
    let mut supervisors = Supervisors::of(running.pid);
    supervisors.migrate("n2").unwrap();
    supervisors.migrate("home").unwrap();
    assert_untouched(&running);
    let outcome = finish(running, supervisors);
    assert_eq!(outcome.stdout, "300 MiB intact\n");
    assert!(outcome.status.success());
}

/// Leaves and comes home twice; /proc/PID/maps is compared line by line.
#[test]
fn a_program_that_maps_nothing_has_the_same_mappings_after_its_travels() {
    for program in [Program::dynamic("spin"), Program::statically_linked("spin")] {
        let program = program.with(&["exit", "0"]);
        let running = start_natively(&program);
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
            assert_untouched(&running);
            assert_eq!(maps(), before);
        }
        assert!(finish(running, supervisors).status.success());
    }
}
