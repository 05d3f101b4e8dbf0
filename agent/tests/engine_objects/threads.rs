//! Threads.

use crate::conformance::{Program, conforms};

#[test]
fn threads_share_mutexes_conditions_and_barriers() {
    conforms(&Program::dynamic("threads"));
}

#[test]
fn threads_come_and_go_everywhere() {
    conforms(&Program::statically_linked("short_threads"));
}

#[test]
fn a_blocked_thread_holds_up_no_other() {
    conforms(&Program::dynamic("blocked_thread"));
}

#[test]
fn futex_timeouts_run_out_in_time() {
    conforms(&Program::dynamic("timed_waits"));
}
