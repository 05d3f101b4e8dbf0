//! Real programs leave home, work elsewhere and come home, by their two supervisors alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod two_supervisors;

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
