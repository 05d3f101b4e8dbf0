//! Programs that leave home while they run, work elsewhere and come home: in namespaces.
//!
//! Whatever happens to a program on its way, the shell at home must see what it would see natively.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::process::Command;

use lab::wait_until;
use support::job::{Job, Outcome, run_natively, wait_for_no_guests};
use support::programs::{
    Linkage, big_file, c_program, python_program, rust_program, scratch_directory,
};
use support::{SOON, cluster, words};

/// Where a travelling program is during each of its legs; it starts at home.
const JOURNEY: [&str; 4] = ["n2", "home", "n3", "home"];

/// Runs a paced program natively and on the journey, a leg at each place, and compares.
fn travels(words: &[String]) -> Outcome {
    let native = run_natively(words, &[b'x'; JOURNEY.len()]);
    assert!(
        !native.out.contains("WRONG"),
        "it finds fault with itself: {}",
        native.out
    );
    let lab = cluster(3);
    let mut job = Job::start(lab.node("n1"), words);
    job.wait_for_output("leg 0\n");
    for (destination, leg) in JOURNEY.iter().zip(1..) {
        job.migrate(destination);
        job.feed(b"x");
        job.wait_for_output(&format!("leg {leg}\n"));
    }
    assert!(!job.has_ended(), "it ended before its last leg was over");
    assert_eq!(job.row()["migrations"], JOURNEY.len(), "{}", job.row());
    job.assert_untouched();
    let travelled = job.finish();
    assert_eq!(travelled, native);
    travelled
}

#[test]
fn a_dynamic_c_program_travels() {
    travels(&[c_program("compute", Linkage::Dynamic)]);
}

#[test]
fn a_static_c_program_travels() {
    travels(&[c_program("compute", Linkage::Static)]);
}

#[test]
fn a_static_position_independent_c_program_travels() {
    travels(&[c_program("compute", Linkage::StaticPie)]);
}

#[test]
fn a_rust_program_travels() {
    travels(&[rust_program("compute")]);
}

#[test]
fn python_travels_and_keeps_its_exit_status() {
    let outcome = travels(&python_program("compute"));
    assert_eq!(outcome.status.code(), Some(3));
}

#[test]
fn a_program_of_four_threads_travels() {
    travels(&[c_program("threads", Linkage::Dynamic)]);
}

#[test]
fn a_program_that_sleeps_and_reads_clocks_travels() {
    travels(&[c_program("clocks", Linkage::Dynamic)]);
}

#[test]
fn a_program_that_works_on_files_travels() {
    let directory = scratch_directory("files");
    // Both runs must find the directory as empty.
    let program = c_program("files", Linkage::Dynamic);
    let script = format!("rm -rf {directory}/* && exec {program} {directory}");
    travels(&words("/bin/sh".into(), &["-c", &script]));
}

#[test]
fn a_program_that_copies_lines_through_pipes_travels() {
    let program = [c_program("lines", Linkage::Dynamic)];
    let lines: Vec<String> = (0..400).map(|number| format!("line {number}\n")).collect();
    let native = run_natively(&program, lines.concat().as_bytes());
    let lab = cluster(3);
    let mut job = Job::start(lab.node("n1"), &program);
    for (part, number) in lines.chunks(80).zip(0..) {
        job.feed(part.concat().as_bytes());
        // The last line of the part has come back, numbered.
        job.wait_for_output(&format!("\n{} ", number * 80 + 79));
        if let Some(destination) = JOURNEY.get(number) {
            job.migrate(destination);
        }
    }
    job.assert_untouched();
    assert_eq!(job.finish(), native);
}

#[test]
fn busybox_hashes_a_file_of_200_mb_through_the_deputy() {
    let file = big_file(200 << 20);
    let words = words("busybox".into(), &["sha256sum", &file]);
    let native = run_natively(&words, b"");
    let lab = cluster(2);
    let job = Job::start(lab.node("n1"), &words);
    // It says nothing until its end: it is on its way when it has the file open.
    let descriptors = format!("/proc/{}/fd", job.pid());
    wait_until(SOON, "busybox opens the file", || {
        let open = std::fs::read_dir(&descriptors).map_err(|error| error.to_string())?;
        let mut open = open
            .flatten()
            .filter_map(|entry| std::fs::read_link(entry.path()).ok());
        open.any(|path| path.as_os_str() == file.as_str())
            .then_some(())
            .ok_or("not open".to_owned())
    })
    .unwrap();
    job.migrate("n2");
    assert_eq!(job.finish(), native);
}

#[test]
fn after_coming_home_the_memory_map_is_what_it_was() {
    let lab = cluster(2);
    let mut job = Job::start(lab.node("n1"), &[c_program("compute", Linkage::Dynamic)]);
    job.wait_for_output("leg 0\n");
    let before = job.maps();
    job.migrate("n2");
    job.feed(b"x");
    job.wait_for_output("leg 1\n");
    job.migrate("home");
    assert_eq!(job.maps(), before);
    job.assert_untouched();
    wait_for_no_guests(&lab.node("n2"));
    job.finish();
}

#[test]
fn while_it_is_away_ps_shows_where_and_its_pid_is_the_same() {
    let lab = cluster(2);
    let mut job = Job::start(lab.node("n1"), &[c_program("compute", Linkage::Dynamic)]);
    job.wait_for_output("leg 0\n");
    let pid = job.pid();
    let moved = job.migrate("n2");
    assert_eq!(
        (&moved["pid"], &moved["from"], &moved["to"]),
        (&pid.into(), &"n1".into(), &"n2".into())
    );
    assert!(moved["freeze_ms"].as_f64().unwrap() > 0.0, "{moved}");
    assert!(moved["bytes_sent"].as_u64().unwrap() > 0, "{moved}");
    let row = job.row();
    assert_eq!(
        (&row["home"], &row["node"]),
        (&"n1".into(), &"n2".into()),
        "{row}"
    );
    assert!(std::fs::exists(format!("/proc/{pid}")).unwrap());
    assert_eq!(job.finish().status.code(), Some(0));
    wait_for_no_guests(&lab.node("n2"));
}

#[test]
fn cpu_time_that_is_used_away_is_accounted_for() {
    let lab = cluster(2);
    let mut job = Job::start(lab.node("n1"), &[c_program("compute", Linkage::Dynamic)]);
    job.wait_for_output("leg 0\n");
    assert_eq!(job.row()["away_cpu_seconds"], 0.0);
    job.migrate("n2");
    job.feed(b"x");
    job.wait_for_output("leg 1\n");
    job.migrate("home");
    let row = job.row();
    assert!(
        row["away_cpu_seconds"]
            .as_f64()
            .is_some_and(|seconds| seconds > 0.01),
        "{row}"
    );
    job.finish();
}

#[test]
fn a_shell_that_forks_comes_home_to_do_so_and_its_output_is_the_same() {
    let script = "i=0; while read -r line; do i=$((i + 1)); echo \"$i $(echo $line | tr a-z A-Z)\"; \
                  done; echo end";
    let words = words("/bin/bash".into(), &["-c", script]);
    let lines: Vec<String> = (0..5)
        .map(|number| format!("some line {number}\n"))
        .collect();
    let native = run_natively(&words, lines.concat().as_bytes());
    let lab = cluster(2);
    let mut job = Job::start(lab.node("n1"), &words);
    for (line, number) in lines.iter().zip(1..) {
        job.feed(line.as_bytes());
        job.wait_for_output(&format!("{number} SOME LINE"));
        job.migrate("n2");
    }
    assert_eq!(job.finish(), native);
}

#[test]
fn a_program_executed_by_the_guest_is_executed_at_home() {
    let words = words(
        "/bin/sh".into(),
        &["-c", "echo first; read -r line; exec cat"],
    );
    let native = run_natively(&words, b"x\nsecond\n");
    let lab = cluster(2);
    let mut job = Job::start(lab.node("n1"), &words);
    job.wait_for_output("first\n");
    job.migrate("n2");
    job.feed(b"x\nsecond\n");
    job.wait_for_output("second\n");
    assert_eq!(job.finish(), native);
}

#[test]
fn a_stranger_s_process_is_refused_in_words_and_unharmed() {
    let lab = cluster(2);
    let mut sleeper = Command::new("sleep").arg("1000").spawn().unwrap();
    for pid in [sleeper.id().to_string(), "2".into(), "4194303".into()] {
        let output = lab
            .node("n1")
            .exec(["limosa", "migrate", &pid, "n2"])
            .unwrap();
        assert_eq!(output.status.code(), Some(4), "pid {pid}: {output:?}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains(&pid),
            "{output:?}"
        );
    }
    assert!(sleeper.try_wait().unwrap().is_none());
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
}

#[test]
fn a_node_is_asked_whether_a_process_could_live_there_wherever_that_is_now() {
    let lab = cluster(3);
    let home = lab.node("n1");
    let mut job = Job::start(lab.node("n1"), &[c_program("compute", Linkage::Dynamic)]);
    job.wait_for_output("leg 0\n");
    let pid = job.pid().to_string();
    let can_go = |node: &str| {
        let answer = home.limosa(&["why", &pid, node]).unwrap();
        assert_eq!(answer["reasons"], serde_json::json!([]), "{answer}");
        assert_eq!(
            (&answer["node"], &answer["can_move"]),
            (&node.into(), &true.into())
        );
    };
    can_go("n2");
    job.migrate("n2");
    for node in ["n1", "n2", "n3"] {
        can_go(node);
    }
    // The answer is the node's own: none is made up for one that has just stopped answering.
    lab.node("n3").kill().unwrap();
    let unanswered = home.exec(["limosa", "why", &pid, "n3"]).unwrap();
    assert_eq!(unanswered.status.code(), Some(1), "{unanswered:?}");
    assert!(
        String::from_utf8_lossy(&unanswered.stderr).contains("n3"),
        "{unanswered:?}"
    );
    assert_eq!(job.finish().status.code(), Some(0));
}

#[test]
fn an_unknown_node_is_refused_and_near_names_are_suggested() {
    let lab = cluster(2);
    let mut job = Job::start(lab.node("n1"), &[c_program("compute", Linkage::Dynamic)]);
    job.wait_for_output("leg 0\n");
    let output = lab
        .node("n1")
        .exec(["limosa", "migrate", &job.pid().to_string(), "n22"])
        .unwrap();
    assert!(!output.status.success());
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("n2"),
        "{output:?}"
    );
    job.assert_untouched();
    assert_eq!(job.finish().status.code(), Some(0));
}
