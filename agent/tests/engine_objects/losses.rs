//! Whatever is killed at whatever moment: there is never a second copy, and the program either goes on
//! as if nothing had happened or ends with one line that says why.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::journeys::{finish, native};
use crate::programs::Program;
use crate::running::Running;
use crate::two_supervisors::{Supervisors, status_field, wait_until};

const MOMENTS_MS: [u64; 8] = [0, 5, 10, 20, 40, 60, 80, 120];

fn kill(pid: u32) {
    let pid = Pid::from_raw(pid.cast_signed()).unwrap();
    // It may have ended by itself.
    let _ = kill_process(pid, Signal::KILL);
}

/// The processes whose parent is `parent`: of a guest supervisor, the namespaces' init and the guest.
fn children_of(parent: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let list = list.unwrap_or_default();
    list.split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

/// The namespaces' init and the guest, once the guest's memory is complete: until then there is its pager, too.
fn init_and_guest(supervisor: u32) -> Vec<u32> {
    wait_until("the end of the pager", || {
        children_of(supervisor).len() == 2
    });
    children_of(supervisor)
}

fn last_guest(supervisors: &Supervisors) -> &Child {
    supervisors.guests.last().unwrap()
}

fn away(program: &Program) -> (Running, Supervisors) {
    let running = Running::start_natively(program);
    let mut supervisors = Supervisors::of(running.pid);
    supervisors.migrate("n2").unwrap();
    (running, supervisors)
}

/// The guest has done nothing that can be seen: the process goes on at home from its departure.
#[test]
fn a_program_that_has_shown_nothing_goes_on_at_home_when_its_remote_is_lost() {
    let program = Program::dynamic("threads/threads");
    let native = native(&program);
    for victim in ["the guest supervisor", "the namespaces' init", "the guest"] {
        let (running, mut supervisors) = away(&program);
        let guest = last_guest(&supervisors).id();
        let children = init_and_guest(guest);
        match victim {
            "the guest supervisor" => kill(guest),
            "the namespaces' init" => kill(children[0]),
            _ => kill(children[1]),
        }
        let cause = supervisors.await_own_move();
        assert!(cause.contains("lost"), "{cause}");
        assert_gone(&children);
        assert_eq!(finish(running, supervisors), native, "{victim}");
    }
}

/// So does one that job control has stopped, when it is continued.
#[test]
fn a_stopped_program_that_has_shown_nothing_is_stopped_at_home_when_its_remote_is_lost() {
    let program = Program::dynamic("threads/threads");
    let native = native(&program);
    let (running, mut supervisors) = away(&program);
    let pid = Pid::from_child(&running.child);
    kill_process(pid, Signal::STOP).unwrap();
    wait_until("the stop", || {
        status_field(running.pid, "State").starts_with('t')
    });
    kill(last_guest(&supervisors).id());
    let cause = supervisors.await_own_move();
    assert!(cause.contains("lost"), "{cause}");
    wait_until("the stop at home", || {
        status_field(running.pid, "State").starts_with('T')
    });
    kill_process(pid, Signal::CONT).unwrap();
    assert_eq!(finish(running, supervisors), native);
}

fn assert_gone(guests: &[u32]) {
    for guest in guests {
        wait_until("the end of the guest", || {
            !fs::exists(format!("/proc/{guest}")).unwrap()
        });
    }
}

/// What has been written cannot be written again: the process is killed, with one line.
#[test]
fn a_program_that_has_written_is_killed_with_one_line_when_its_remote_is_lost() {
    let program = Program::dynamic("lines");
    let (mut running, supervisors) = away(&program);
    let before = running.output("stdout").len();
    wait_until("output from away", || {
        running.output("stdout").len() > before
    });
    let guest = last_guest(&supervisors).id();
    let children = init_and_guest(guest);
    kill(guest);
    let outcome = running.outcome();
    assert_eq!(outcome.status.signal(), Some(9));
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("lost") && outcome.stderr.contains("write"));
    assert_numbered(&outcome.stdout);
    assert_gone(&children);
}

/// Every line once, in order.
fn assert_numbered(stdout: &str) {
    for (number, line) in stdout.lines().enumerate() {
        assert_eq!(line, number.to_string());
    }
}

#[test]
fn the_guest_ends_with_its_deputys_supervisor() {
    let program = Program::dynamic("lines");
    let (mut running, mut supervisors) = away(&program);
    let guest = last_guest(&supervisors).id();
    let children = init_and_guest(guest);
    supervisors.deputy.kill().unwrap();
    let outcome = running.outcome();
    assert_eq!(outcome.status.signal(), Some(9));
    assert_numbered(&outcome.stdout);
    assert_gone(&children);
}

/// The guest supervisor is killed at moments from its start to long after the move.
#[test]
fn a_move_that_loses_its_guest_supervisor_at_any_moment_leaves_the_program_whole() {
    let program = Program::statically_linked("memory/kept_mappings");
    let native = native(&program);
    for moment_ms in MOMENTS_MS {
        let running = Running::start_natively(&program);
        let mut supervisors = Supervisors::of(running.pid);
        supervisors.guest_lifetime = Some(Duration::from_millis(moment_ms));
        // Whether the move succeeds depends on the moment.
        let moved = supervisors.migrate("n2");
        if moved.is_ok() {
            supervisors.await_own_move();
        }
        assert_eq!(
            finish(running, supervisors),
            native,
            "after {moment_ms} ms: {moved:?}"
        );
    }
}

/// The deputy supervisor is killed at moments from before the move to after it: the process is unharmed
/// or killed, never damaged.
#[test]
fn a_program_whose_supervisor_is_killed_at_any_moment_is_whole_or_killed() {
    let program = Program::statically_linked("memory/kept_mappings");
    let native = native(&program);
    for moment_ms in MOMENTS_MS {
        let mut running = Running::start_natively(&program);
        let mut supervisors = Supervisors::of(running.pid);
        let deputy = supervisors.deputy.id();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(moment_ms));
            kill(deputy);
        });
        let moved = supervisors.migrate("n2");
        killer.join().unwrap();
        running.open_gate();
        let outcome = running.outcome();
        let is_killed = outcome.status.signal() == Some(9) && outcome.stdout.is_empty();
        assert!(
            is_killed || outcome == native,
            "after {moment_ms} ms: {moved:?} {outcome:?}"
        );
    }
}

/// 300 MiB, of which most is on its way when the pager, or the supervisor, is killed.
#[test]
fn a_program_whose_memory_is_lost_on_its_way_goes_on_at_home() {
    let program = Program::dynamic("large");
    for victim in ["the pager", "the guest supervisor"] {
        let running = Running::start_natively(&program);
        wait_until("filling the memory", || running.is_ready());
        let mut supervisors = Supervisors::of(running.pid);
        let (guest, children) = loop {
            supervisors.migrate("n2").unwrap();
            let guest = last_guest(&supervisors).id();
            let children = children_of(guest);
            if children.len() == 3 {
                break (guest, children);
            }
            // All memory was there before we could look.
            supervisors.migrate("home").unwrap();
        };
        // It was made first.
        let pager = children[0];
        kill(if victim == "the pager" { pager } else { guest });
        let cause = supervisors.await_own_move();
        assert!(cause.contains("lost"), "{victim}: {cause}");
        assert_gone(&children);
        let outcome = finish(running, supervisors);
        assert_eq!(outcome.stdout, "300 MiB intact\n", "{victim}");
    }
}
