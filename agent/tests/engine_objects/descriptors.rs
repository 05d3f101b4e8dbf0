//! Files, pipes, sleeps and waits.

use crate::conformance::{Program, conforms};

#[test]
fn files_keep_their_contents_offsets_and_names() {
    conforms(&Program::dynamic("files"));
}

#[test]
fn pipes_carry_every_byte() {
    conforms(&Program::statically_linked("pipes"));
}

#[test]
fn a_blocked_read_gets_what_is_written_wherever_the_reader_is() {
    conforms(&Program::dynamic("blocked_read"));
}

#[test]
fn sleeps_and_timeouts_are_as_long_as_asked_for() {
    conforms(&Program::statically_linked("sleeps"));
}

#[test]
fn clocks_never_go_backwards() {
    conforms(&Program::dynamic("clocks"));
}
