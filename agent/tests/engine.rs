//! Real programs leave home, work elsewhere and come home, by their two supervisors alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod two_supervisors;

use std::io::Write;
use std::process::{Child, Command, Stdio};

use two_supervisors::{Supervisors, status_field, wait_until};

fn output_of(child: Child) -> (String, String, Option<i32>) {
    let output = child.wait_with_output().unwrap();
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
        output.status.code(),
    )
}

const COUNT: &str = "
import sys, time
total = 0
for step in range(120):
    for number in range(60000):
        total = (total * 31 + number) % 1000000007
    print(step, total, flush=True)
";

fn python(program: &str) -> Child {
    Command::new("/usr/bin/python3")
        .args(["-c", program])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn python_counts_at_home_away_at_home_and_elsewhere_with_the_same_output() {
    let native = output_of(python(COUNT));
    let child = python(COUNT);
    let pid = child.id();
    wait_until("python started", || {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|text| text.contains("range"))
    });
    let maps_before = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut supervisors = Supervisors::of(pid);
    let report = supervisors.migrate("n2").unwrap();
    println!("out: {report:?}");
    let report = supervisors.migrate("home").unwrap();
    println!("home: {report:?}");
    assert_eq!(status_field(pid, "TracerPid"), "0");
    assert_eq!(status_field(pid, "Seccomp"), "0");
    let _ = maps_before;
    supervisors.finish();
    let mut supervisors = Supervisors::of(pid);
    supervisors.migrate("n3").unwrap();
    supervisors.finish();
    assert_eq!(output_of(child), native);
}

/// Asks for a name 2,000 times and reads 2,000 pieces of a file, when it is told to.
const ASK: &str = "
import os, sys
sys.stdin.readline()
for _ in range(2000):
    try:
        os.readlink('/usr/')
    except OSError:
        pass
    try:
        os.readlink('/usr/include')
    except OSError:
        pass
file = os.open(sys.executable, os.O_RDONLY)
for _ in range(2000):
    os.read(file, 16)
";

#[test]
fn what_home_has_said_or_sent_before_is_not_asked_for_again() {
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", ASK])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut supervisors = Supervisors::of(child.id());
    supervisors.migrate("n2").unwrap();
    input.write_all(b"go\n").unwrap();
    supervisors.finish();
    assert!(child.wait().unwrap().success());
    let calls = supervisors.status.as_ref().unwrap().calls_forwarded;
    // The name with a slash behind it is always asked for; of the other 4,000 calls few are.
    assert!(
        (2000..2400).contains(&calls),
        "{calls} calls were made at home"
    );
}
