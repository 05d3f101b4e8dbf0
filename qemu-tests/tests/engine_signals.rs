//! Signals on their way to a guest, and endings on their way home: in namespaces.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use lab::terminal::Terminal;
use rustix::process::{Pid, Signal, kill_process};
use support::job::{Job, wait_for_no_guests};
use support::programs::{Linkage, c_program};
use support::{SOON, cluster, words};

#[test]
fn signals_sent_to_the_home_pid_reach_the_guest() {
    let lab = cluster(2);
    let mut job = Job::start(lab.node("n1"), &[c_program("signals", Linkage::Dynamic)]);
    job.wait_for_output("leg 0\n");
    job.migrate("n2");
    let pid = Pid::from_raw(job.pid() as i32).unwrap();
    kill_process(pid, Signal::USR2).unwrap();
    kill_process(pid, Signal::USR1).unwrap();
    // A queued signal with a value, as sigqueue(3) sends it.
    let queued = Command::new("kill")
        .args(["--queue", "17", "--signal", "RTMIN", &job.pid().to_string()])
        .status();
    assert!(queued.unwrap().success());
    job.feed(b"x");
    // USR2 is blocked in the first leg.
    job.wait_for_output("usr1 1 usr2 0 values 1 sum 17\n");
    job.migrate("home");
    job.feed(b"x");
    job.wait_for_output("usr1 1 usr2 1 values 1 sum 17\n");
    job.assert_untouched();
    assert_eq!(job.finish().status.code(), Some(0));
}

#[test]
fn every_exit_status_arrives_at_home() {
    let lab = cluster(2);
    let program = c_program("ending", Linkage::Dynamic);
    for status in [0, 1, 2, 42, 127, 128, 254, 255] {
        let mut job = Job::start(
            lab.node("n1"),
            &words(program.clone(), &["exit", &status.to_string()]),
        );
        job.wait_for_output("ready\n");
        job.migrate("n2");
        job.feed(b"x");
        assert_eq!(job.await_end().status.code(), Some(status));
    }
    wait_for_no_guests(&lab.node("n2"));
}

#[test]
fn death_by_signal_arrives_at_home() {
    let lab = cluster(2);
    let program = c_program("ending", Linkage::Dynamic);
    for (ending, signal) in [("segv", Signal::SEGV), ("abort", Signal::ABORT)] {
        let mut job = Job::start(lab.node("n1"), &words(program.clone(), &[ending]));
        job.wait_for_output("ready\n");
        job.migrate("n2");
        job.feed(b"x");
        assert_eq!(
            job.await_end().status.signal(),
            Some(signal.as_raw()),
            "{ending}"
        );
    }
    wait_for_no_guests(&lab.node("n2"));
}

#[test]
fn a_signal_that_kills_the_home_pid_kills_the_guest() {
    let lab = cluster(2);
    let program = c_program("ending", Linkage::Dynamic);
    for signal in [Signal::KILL, Signal::INT, Signal::TERM] {
        let mut job = Job::start(lab.node("n1"), &words(program.clone(), &["spin"]));
        job.wait_for_output("ready\n");
        job.migrate("n2");
        kill_process(Pid::from_raw(job.pid() as i32).unwrap(), signal).unwrap();
        assert_eq!(job.await_end().status.signal(), Some(signal.as_raw()));
        wait_for_no_guests(&lab.node("n2"));
    }
}

#[test]
fn control_c_in_the_terminal_at_home_interrupts_the_guest() {
    let lab = cluster(2);
    let node = lab.node("n1");
    let program = c_program("ending", Linkage::Dynamic);
    let command = node
        .command(["limosa", "run", "--", &program, "spin"])
        .unwrap();
    let mut terminal = Terminal::run(&command).unwrap();
    terminal.wait_for("ready", SOON).unwrap();
    let pid = terminal.child().id();
    let moved = node.limosa(&["migrate", &pid.to_string(), "n2"]).unwrap();
    assert_eq!(moved["to"], "n2");
    terminal.type_keys(b"\x03").unwrap();
    terminal.wait_for_end(SOON).unwrap();
    assert_eq!(
        terminal.child().wait().unwrap().signal(),
        Some(Signal::INT.as_raw())
    );
    wait_for_no_guests(&lab.node("n2"));
}
