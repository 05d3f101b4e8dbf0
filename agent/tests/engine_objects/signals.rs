//! Signals, by another process, by the program itself, by the kernel.

use crate::conformance::{Program, conforms};

#[test]
fn queued_signals_are_heard_once_in_order_with_their_values() {
    conforms(&Program::dynamic("queued_signals"));
}

#[test]
fn a_signal_interrupts_or_restarts_a_blocked_call() {
    conforms(&Program::statically_linked("interrupted_reads"));
}

#[test]
fn faults_are_handled_on_the_alternate_stack() {
    conforms(&Program::dynamic("signal_stacks"));
}

#[test]
fn blocked_signals_stay_pending_across_moves() {
    conforms(&Program::statically_linked("pending_signals"));
}

#[test]
fn interval_timers_ring_wherever_the_program_is() {
    conforms(&Program::dynamic("alarms"));
}
