//! Nodes, agents and supervisors that die while a program is away: in namespaces.
//!
//! Never two copies, never a hang, and nobody else is affected.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use lab::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use support::job::{Job, wait_for_no_guests};
use support::programs::{Linkage, c_program};
use support::{SOON, cluster, words};

/// The longest that a program may hang when a node or a supervisor is lost.
const LOSS_TIMEOUT: Duration = Duration::from_secs(30);

/// A program that is away when something dies: it goes on, at home or where it is, or it ends with a
/// line that says why; in no case is there a second copy, or a hang.
fn survives_or_says_why(mut job: Job<'_>) {
    let ended = wait_until(LOSS_TIMEOUT, "the program is told of the loss", || {
        if job.has_ended() {
            return Ok(true);
        }
        let node = job.row()["node"].clone();
        if node == "n1" {
            Ok(false)
        } else {
            Err(format!("it is on {node}"))
        }
    })
    .unwrap_or_else(|error| panic!("{error}"));
    let outcome = job.finish();
    if ended {
        assert!(
            !outcome.status.success(),
            "it was lost and yet succeeded: {outcome:?}"
        );
        assert!(
            outcome.err.contains("n2"),
            "no word of the lost node: {outcome:?}"
        );
    } else {
        assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
    }
}

#[test]
fn a_guest_whose_node_is_unplugged_is_resumed_at_home_or_dies_with_a_clear_line() {
    let lab = cluster(3);
    let mut lost = Job::start(lab.node("n1"), &[c_program("compute", Linkage::Dynamic)]);
    let mut bystander = Job::start(lab.node("n1"), &[c_program("compute", Linkage::Dynamic)]);
    for job in [&mut lost, &mut bystander] {
        job.wait_for_output("leg 0\n");
    }
    lost.migrate("n2");
    bystander.migrate("n3");
    lost.feed(b"x");
    lost.wait_for_output("leg 1\n");
    lab.node("n2").kill().unwrap();
    survives_or_says_why(lost);
    bystander.feed(b"x");
    bystander.wait_for_output("leg 1\n");
    assert_eq!(bystander.finish().status.code(), Some(0));
}

#[test]
fn a_guest_that_made_no_call_is_resumed_at_home_when_its_node_is_unplugged() {
    let lab = cluster(2);
    // Blocked in a read since before its departure, or computing: nothing of it was seen outside.
    let mut job = Job::start(
        lab.node("n1"),
        &words(c_program("ending", Linkage::Dynamic), &["spin"]),
    );
    job.wait_for_output("ready\n");
    job.migrate("n2");
    lab.node("n2").kill().unwrap();
    wait_until(LOSS_TIMEOUT, "the program runs at home again", || {
        assert!(!job.has_ended(), "it died");
        let row = job.row();
        if row["node"] == "n1" {
            Ok(())
        } else {
            Err(row.to_string())
        }
    })
    .unwrap();
    job.assert_untouched();
    job.kill();
    assert_eq!(job.await_end().status.signal(), Some(Signal::KILL.as_raw()));
}

#[test]
fn a_guest_whose_supervisor_is_killed_is_resumed_at_home_or_dies_with_a_clear_line() {
    let lab = cluster(2);
    let mut lost = Job::start(lab.node("n1"), &[c_program("compute", Linkage::Dynamic)]);
    lost.wait_for_output("leg 0\n");
    lost.migrate("n2");
    lost.feed(b"x");
    lost.wait_for_output("leg 1\n");
    for supervisor in children_of(lab.node("n2").process().unwrap().pid) {
        kill_process(supervisor, Signal::KILL).unwrap();
    }
    survives_or_says_why(lost);
    wait_for_no_guests(&lab.node("n2"));
}

#[test]
fn a_remote_agent_that_is_killed_takes_no_guest_with_it() {
    let lab = cluster(2);
    let mut job = Job::start(lab.node("n1"), &[c_program("compute", Linkage::Dynamic)]);
    job.wait_for_output("leg 0\n");
    job.migrate("n2");
    let agent = lab.node("n2").process().unwrap();
    assert!(agent.signal(Signal::KILL) && agent.wait_for_end(SOON));
    job.feed(b"x");
    job.wait_for_output("leg 1\n");
    wait_until(SOON, "the lab sees that the agent ended", || {
        lab.node("n2").start().map_err(|error| error.to_string())
    })
    .unwrap();
    job.feed(b"x");
    job.wait_for_output("leg 2\n");
    assert_eq!(job.finish().status.code(), Some(0));
}

#[test]
fn a_home_agent_that_is_killed_harms_no_program() {
    let lab = cluster(2);
    let mut at_home = Job::start(lab.node("n1"), &[c_program("compute", Linkage::Dynamic)]);
    let mut away = Job::start(lab.node("n1"), &[c_program("compute", Linkage::Dynamic)]);
    for job in [&mut at_home, &mut away] {
        job.wait_for_output("leg 0\n");
    }
    away.migrate("n2");
    let agent = lab.node("n1").process().unwrap();
    assert!(agent.signal(Signal::KILL) && agent.wait_for_end(SOON));
    for job in [&mut at_home, &mut away] {
        job.feed(b"x");
        job.wait_for_output("leg 1\n");
    }
    wait_until(SOON, "the lab sees that the agent ended", || {
        lab.node("n1").start().map_err(|error| error.to_string())
    })
    .unwrap();
    for job in [at_home, away] {
        assert_eq!(job.finish().status.code(), Some(0));
    }
}

#[test]
fn a_home_that_is_unplugged_leaves_no_guest_behind() {
    let lab = cluster(2);
    let mut job = Job::start(
        lab.node("n1"),
        &words(c_program("ending", Linkage::Dynamic), &["spin"]),
    );
    job.wait_for_output("ready\n");
    job.migrate("n2");
    lab.node("n1").kill().unwrap();
    job.await_end();
    wait_for_no_guests(&lab.node("n2"));
}

fn children_of(pid: u32) -> Vec<Pid> {
    let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let pids: Vec<_> = listed
        .split_whitespace()
        .filter_map(|word| word.parse().ok().and_then(Pid::from_raw))
        .collect();
    assert!(!pids.is_empty(), "process {pid} has no children");
    pids
}
