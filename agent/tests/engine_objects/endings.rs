//! How programs end.

use std::os::unix::process::ExitStatusExt;

use crate::conformance::{Outcome, Program, finish, native, start_natively};
use crate::two_supervisors::Supervisors;

fn ended_away(program: &Program) -> Outcome {
    let running = start_natively(program);
    let mut supervisors = Supervisors::of(running.pid);
    supervisors.migrate("n2").unwrap();
    finish(running, supervisors)
}

#[test]
fn exit_statuses_come_out_at_home_exactly() {
    let spin = Program::statically_linked("spin");
    for status in ["0", "1", "2", "77", "126", "127", "128", "137", "255"] {
        let program = spin.with(&["exit", status]);
        let outcome = ended_away(&program);
        assert_eq!(outcome, native(&program));
        assert_eq!(outcome.status.code(), status.parse().ok());
    }
    let program = spin.with(&["return", "300"]);
    assert_eq!(ended_away(&program), native(&program));
}

#[test]
fn deaths_by_own_fault_come_out_at_home_exactly() {
    let spin = Program::dynamic("spin");
    for (how, signal) in [
        ("abort", 6),
        ("fault", 11),
        ("divide", 8),
        ("trap", 5),
        ("illegal", 4),
    ] {
        let program = spin.with(&[how]);
        let outcome = ended_away(&program);
        assert_eq!(outcome, native(&program), "{how}");
        assert_eq!(outcome.status.signal(), Some(signal));
    }
}

#[test]
fn deaths_by_own_signals_come_out_at_home_exactly() {
    let spin = Program::dynamic("spin");
    for signal in ["1", "9", "13", "14", "15", "34"] {
        let program = spin.with(&["kill", signal]);
        let outcome = ended_away(&program);
        assert_eq!(outcome, native(&program), "signal {signal}");
        assert_eq!(outcome.status.signal(), signal.parse().ok());
    }
}
