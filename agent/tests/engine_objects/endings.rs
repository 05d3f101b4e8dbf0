//! How programs end.

use std::os::unix::process::ExitStatusExt;

use rustix::process::{Pid, Signal, kill_process};

use crate::journeys::{finish, native};
use crate::programs::Program;
use crate::running::{Outcome, Running};
use crate::two_supervisors::{DEADLINE, Supervisors, status_field, wait_until};

fn ended_away(program: &Program) -> Outcome {
    let running = Running::start_natively(program);
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

/// A signal from outside, with no handler, while the program is away.
#[test]
fn deaths_by_others_signals_come_out_at_home_exactly() {
    let spin = Program::dynamic("spin").with(&["exit", "0"]);
    for signal in [Signal::TERM, Signal::INT, Signal::KILL, Signal::USR1] {
        let mut running = Running::start_natively(&spin);
        let mut supervisors = Supervisors::of(running.pid);
        supervisors.migrate("n2").unwrap();
        kill_process(Pid::from_child(&running.child), signal).unwrap();
        let outcome = running.outcome();
        assert_eq!(outcome.status.signal(), Some(signal.as_raw()));
        assert_eq!(outcome.stdout, "");
        assert!(supervisors.ends_within(DEADLINE));
    }
}

/// Stopped by job control it uses no more CPU time on the remote; continued it goes on.
#[test]
fn a_program_away_is_stopped_and_continued_from_home() {
    let spin = Program::dynamic("spin").with(&["exit", "5"]);
    let native = native(&spin);
    let running = Running::start_natively(&spin);
    let mut supervisors = Supervisors::of(running.pid);
    supervisors.migrate("n2").unwrap();
    let pid = Pid::from_child(&running.child);
    for _ in 0..3 {
        kill_process(pid, Signal::STOP).unwrap();
        wait_until("the stop", || is_stopped(running.pid));
        kill_process(pid, Signal::CONT).unwrap();
    }
    assert_eq!(finish(running, supervisors), native);
}

fn is_stopped(pid: u32) -> bool {
    status_field(pid, "State")
        .to_ascii_lowercase()
        .starts_with('t')
}

/// Stopped by job control it comes home, is stopped there, too, and goes on when it is continued.
#[test]
fn a_stopped_program_comes_home_and_is_continued_there() {
    for program in [
        Program::dynamic("spin").with(&["exit", "5"]),
        Program::dynamic("threads/threads"),
    ] {
        let native = native(&program);
        let running = Running::start_natively(&program);
        let mut supervisors = Supervisors::of(running.pid);
        let pid = Pid::from_child(&running.child);
        supervisors.migrate("n2").unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        wait_until("the stop", || is_stopped(running.pid));
        supervisors.migrate("home").unwrap();
        assert_eq!(status_field(running.pid, "TracerPid"), "0");
        wait_until("the stop at home", || {
            status_field(running.pid, "State").starts_with('T')
        });
        kill_process(pid, Signal::CONT).unwrap();
        assert_eq!(finish(running, supervisors), native);
    }
}

/// cat on a terminal leaves home blocked in its read, echoes a line from away, and hears ^C.
#[test]
fn a_terminal_reaches_the_program_away_and_so_does_its_interrupt_key() {
    let terminal = Program::dynamic("terminal").with(&["/bin/cat"]);
    let running = Running::start_natively(&terminal);
    wait_until("cat on its terminal", || running.is_ready());
    let cat: u32 = running.output("ready").parse().unwrap();
    wait_until("the exec of cat", || {
        std::fs::read_link(format!("/proc/{cat}/exe")).is_ok_and(|exe| exe.ends_with("cat"))
    });
    let mut supervisors = Supervisors::of(cat);
    supervisors.migrate("n2").unwrap();
    let outcome = finish(running, supervisors);
    assert_eq!(outcome.stdout, "signal 2\n", "{outcome:?}");
}
