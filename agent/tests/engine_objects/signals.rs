//! Signals, by another process, by the program itself, by the kernel.

use crate::conformance::{Program, conforms};

#[test]
fn faults_are_handled_on_the_alternate_stack() {
    conforms(&Program::dynamic("signal_stacks"));
}

#[test]
fn interval_timers_ring_wherever_the_program_is() {
    conforms(&Program::dynamic("alarms"));
}
