//! States in which a process cannot leave home, seen from outside: what it is told, whom that names, that
//! the reason goes when the state does, and that a process comes home when others put it into such a state.

use limosa::wire::supervisor::{MoveError, Reason};
use rustix::process::{Pid, Signal, kill_process};

use crate::programs::Program;
use crate::running::Running;
use crate::two_supervisors::{Supervisors, wait_until};

/// Starts a program of `programs/states`, and waits until it has reached its state.
fn in_state(name: &str) -> Running {
    let running = Running::start_natively(&Program::dynamic(&format!("states/{name}")));
    wait_until("the state that cannot leave", || running.is_ready());
    running
}

/// Why a process cannot leave now.
fn reasons(running: &Running) -> Vec<Reason> {
    let mut supervisors = Supervisors::of(running.pid);
    let refusal = supervisors.migrate("n2");
    supervisors.finish();
    match refusal {
        Err(MoveError::CannotMove(reasons)) => reasons,
        other => panic!("not refused: {other:?}\n{}", running.describe()),
    }
}

/// The program of such a state is refused with this code alone, in words that contain `words`, and travels
/// when the state is over.
fn stays_until_it_is_over(name: &str, code: &str, words: &str) {
    let mut running = in_state(name);
    let reasons = reasons(&running);
    let codes: Vec<&str> = reasons.iter().map(|reason| reason.code.as_str()).collect();
    assert_eq!(codes, [code], "{name}: {reasons:?}");
    assert!(reasons[0].text.contains(words), "{name}: {reasons:?}");

    running.hold();
    running.open_gate();
    wait_until("the end of the state", || running.is_free());
    let mut supervisors = Supervisors::of(running.pid);
    if let Err(error) = supervisors.migrate("n2") {
        panic!("{name}: {error:?}\n{}", running.describe());
    }
    running.release();
    let outcome = running.outcome();
    supervisors.finish();
    assert_eq!(outcome.stdout, "well\n", "{name}: {outcome:?}");
}

#[test]
fn a_reason_says_what_stands_in_the_way_and_goes_when_the_state_does() {
    for (name, code, words) in [
        ("asynchronous_io", "asynchronous-io", "io_setup"),
        ("children_elsewhere", "pid-namespace", "its children"),
        ("dispatched_calls", "call-dispatch", "turned into signals"),
        ("io_ring", "io-uring", "io_uring open"),
        ("other_clock_for_children", "time-namespace", "its children"),
        ("own_faults", "userfaultfd", "page faults"),
        ("packet_ring", "unknown-mapping", "socket"),
        ("real_time", "realtime", "chrt --other"),
        ("shared_file", "shared-file", "shared and writable"),
        ("strange_personality", "personality", "0x00400000"),
    ] {
        stays_until_it_is_over(name, code, words);
    }
}

#[test]
fn those_who_stand_in_the_way_are_named() {
    for (name, code, words) in [
        ("same_memory", "memory-of-two-processes", "process {},"),
        ("shared_with_child", "shared-memory", "process {} ("),
        ("system_v_memory", "shared-memory", "process {} ("),
        ("traced", "traced", "process {} ("),
    ] {
        let mut running = in_state(name);
        let task = format!("/proc/{0}/task/{0}/children", running.pid);
        let children = std::fs::read_to_string(task).unwrap();
        let child = children.trim();
        let reasons = reasons(&running);
        let named = words.replace("{}", child);
        assert!(reasons[0].text.contains(&named), "{name}: {reasons:?}");
        assert_eq!(reasons[0].code, code);
        running.open_gate();
        assert_eq!(running.outcome().stdout, "well\n");
        stays_until_it_is_over(name, code, "");
    }
}

/// Starts a program that runs until the gate opens, and moves it away.
fn away() -> (Running, Supervisors) {
    let running = Running::start_natively(&Program::dynamic("spin").with(&["exit"]));
    let mut supervisors = Supervisors::of(running.pid);
    supervisors.migrate("n2").unwrap();
    (running, supervisors)
}

#[test]
fn a_process_that_is_given_a_real_time_policy_while_it_is_away_comes_home() {
    let (mut running, mut supervisors) = away();
    let given = std::process::Command::new("chrt")
        .args(["--rr", "--pid", "1", &running.pid.to_string()])
        .status()
        .unwrap();
    assert!(given.success());
    let cause = supervisors.await_own_move();
    assert!(cause.contains("real-time"), "{cause}");
    running.open_gate();
    assert!(running.outcome().status.success());
}

#[test]
fn a_process_that_is_reniced_and_limited_from_outside_is_so_where_it_runs() {
    let (mut running, mut supervisors) = away();
    let pid = running.pid.to_string();
    for command in [
        ["renice", "--priority", "11", "--pid", &pid],
        ["prlimit", "--pid", &pid, "--stack=3145728:", "--raw"],
    ] {
        let done = std::process::Command::new(command[0])
            .args(&command[1..])
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    }
    let guest = guest_of(&supervisors);
    wait_until("the guest's niceness", || {
        stat_field(guest, 19).as_deref() == Some("11")
    });
    wait_until("the guest's limit", || {
        let limits = std::fs::read_to_string(format!("/proc/{guest}/limits")).unwrap_or_default();
        limits
            .lines()
            .any(|line| line.starts_with("Max stack size") && line.contains(" 3145728 "))
    });
    running.open_gate();
    assert!(running.outcome().status.success());
    supervisors.finish();
}

/// The guest, as this machine numbers it: the child of its supervisor that is not the namespaces' init.
fn guest_of(supervisors: &Supervisors) -> u32 {
    let supervisor = supervisors.guests[0].id();
    let task = format!("/proc/{supervisor}/task/{supervisor}/children");
    let children = std::fs::read_to_string(task).unwrap();
    let traced = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.contains(&format!("TracerPid:\t{supervisor}\n"))
    };
    children
        .split_whitespace()
        .map(|word| word.parse().unwrap())
        .find(traced)
        .expect("there is no guest")
}

/// A field of /proc/PID/stat behind the name, counted from 1 as proc(5) does.
fn stat_field(pid: u32, number: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(number - 3).map(str::to_owned)
}

#[test]
fn a_child_that_shares_its_parents_memory_stays_with_it_and_can_leave_alone_afterwards() {
    let running = in_state("shared_with_child");
    let task = format!("/proc/{0}/task/{0}/children", running.pid);
    let child: u32 = std::fs::read_to_string(task)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let why = |pid| limosa::migrate::cantmove::examine(pid).unwrap();
    let of_child = why(child);
    assert_eq!(of_child.len(), 1, "{of_child:?}");
    let named = format!("process {} (", running.pid);
    assert!(of_child[0].text.contains(&named), "{of_child:?}");
    let parent = Pid::from_raw(running.pid.cast_signed()).unwrap();
    kill_process(parent, Signal::KILL).unwrap();
    wait_until("the child to be alone", || why(child).is_empty());
}
