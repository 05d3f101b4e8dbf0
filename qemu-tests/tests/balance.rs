//! Programs that move by themselves: started on one node, they spread; owners and operators get their nodes back. In namespaces.
//!
//! Nothing here depends on how fast anything is: the programs run until they are told to end, and the tests wait for
//! where they are.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lab::{Lab, LabOptions, NodeHandle, wait_until};
use serde_json::Value;
use support::job::{Job, wait_for_no_guests};
use support::programs::{Linkage, c_program};
use support::scarcity::MemoryLimit;
use support::{SOON, start, wait_for_meeting};

/// Until loads have been told, decisions made and all processes moved, on a machine that does much else.
const SPREAD: Duration = Duration::from_secs(120);

/// A cluster in which processes move by themselves. Its programs take what CPUs there are, so there is one at a time.
struct Balanced {
    lab: Lab,
    _turn: MutexGuard<'static, ()>,
}

impl Deref for Balanced {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

fn balanced(nodes: usize) -> Balanced {
    balanced_with(nodes, &[])
}

/// One whose agents have these further arguments.
fn balanced_with(nodes: usize, arguments: &[&str]) -> Balanced {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that has failed has had its turn, too.
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = start(&LabOptions {
        balance: true,
        agent_arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
        ..LabOptions::namespaces(nodes)
    });
    wait_for_meeting(&lab, SOON);
    for node in lab.nodes().unwrap() {
        wait_for_loads(&node, 3 * (nodes as u64 - 1));
    }
    Balanced { lab, _turn: turn }
}

/// Waits until a node has heard so many times of others' loads.
fn wait_for_loads(node: &NodeHandle<'_>, wanted: u64) {
    let waited = wait_until(SOON, format!("{} hears of loads", node.name()), || {
        let status = node
            .limosa(&["status"])
            .map_err(|error| error.to_string())?;
        let counters = status["counters"].as_array().cloned().unwrap_or_default();
        let mut counters = counters.iter();
        let heard = counters.find(|counter| counter["name"] == "loads-received");
        let heard = heard
            .and_then(|counter| counter["value"].as_u64())
            .unwrap_or(0);
        if heard >= wanted {
            Ok(())
        } else {
            Err(format!("{heard} times"))
        }
    });
    waited.unwrap_or_else(|error| panic!("{error}"));
}

/// A program that computes until its input ends, and then says what.
fn busy() -> Vec<String> {
    vec![c_program("busy", Linkage::Static)]
}

/// How many of the home's processes are on each node, those on their way not counted.
fn places(home: &NodeHandle<'_>) -> BTreeMap<String, usize> {
    let rows = home
        .limosa(&["ps"])
        .unwrap_or_else(|error| panic!("{error}"));
    let mut places = BTreeMap::new();
    for row in rows.as_array().unwrap() {
        if row["state"] == "home" || row["state"] == "away" {
            *places
                .entry(row["node"].as_str().unwrap().to_owned())
                .or_default() += 1;
        }
    }
    places
}

fn wait_for_places(
    home: &NodeHandle<'_>,
    what: &str,
    wanted: impl Fn(&BTreeMap<String, usize>) -> bool,
) {
    let waited = wait_until(SPREAD, what, || {
        let places = places(home);
        if wanted(&places) {
            Ok(())
        } else {
            Err(format!("{places:?}"))
        }
    });
    waited.unwrap_or_else(|error| panic!("{error}"));
}

fn end_all(jobs: Vec<Job<'_>>) {
    for job in jobs {
        let outcome = job.finish();
        assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
        assert_eq!(
            (outcome.out.as_str(), outcome.err.as_str()),
            ("right\n", "")
        );
    }
}

#[test]
fn twelve_busy_processes_spread_over_three_nodes_by_themselves_and_end_right() {
    let lab = balanced(3);
    let home = lab.node("n1");
    let jobs: Vec<Job<'_>> = (0..12)
        .map(|_| Job::start(lab.node("n1"), &busy()))
        .collect();
    wait_for_places(&home, "every node has some", |places| {
        let least = |node| places.get(node).is_some_and(|count| *count >= 2);
        least("n1") && least("n2") && least("n3")
    });
    end_all(jobs);
}

#[test]
fn before_the_memory_of_a_node_is_used_up_the_smallest_process_that_is_enough_leaves_it() {
    // What is left beside both is less than what a node keeps free, so the smaller goes once it may. Nobody computes then,
    // so nobody moves for any other reason; and the limit is never reached, so nobody has to wait for memory.
    let lab = balanced(2);
    let home = lab.node("n1");
    home.limosa(&["node", "stay"]).unwrap();
    let limit = MemoryLimit::on(&home, lab.name(), 512);
    let grow = || vec![c_program("grow", Linkage::Static)];
    let mut jobs = Vec::new();
    for mib in ["200\n", "250\n"] {
        let mut job = Job::start(lab.node("n1"), &grow());
        limit.hold(job.pid());
        job.feed(mib.as_bytes());
        job.wait_for_output("grown");
        jobs.push(job);
    }
    assert_eq!(places(&home).get("n1"), Some(&2));
    home.limosa(&["node", "nostay"]).unwrap();
    wait_for_places(&home, "one has left", |places| places.get("n2") == Some(&1));
    assert_eq!(jobs[0].row()["node"], "n2");
    assert_eq!(jobs[1].row()["node"], "n1");
    assert_eq!(limit.times_reached(), 0);
    let log = home.log().unwrap();
    assert!(log.contains("home runs out of memory"), "{log}");
    for job in jobs {
        let outcome = job.finish();
        assert_eq!(outcome.out, "grown\nright\n", "{outcome:?}");
    }
}

#[test]
fn expel_empties_a_node_of_ten_guests_returns_when_all_are_gone_and_lets_none_come_back() {
    let lab = balanced(2);
    let (home, remote) = (lab.node("n1"), lab.node("n2"));
    let jobs: Vec<Job<'_>> = (0..10)
        .map(|_| Job::start_with(lab.node("n1"), &["--node", "n2"], &busy()))
        .collect();
    wait_for_places(&home, "n2 has all", |places| places.get("n2") == Some(&10));
    let modes = remote.limosa(&["node", "expel"]).unwrap();
    assert_eq!(
        (&modes["guests"], &modes["block"]),
        (&0.into(), &true.into()),
        "{modes}"
    );
    wait_for_no_guests(&remote);
    wait_for_places(&home, "all are home", |places| {
        places.get("n1") == Some(&10)
    });
    let refused = home
        .exec(["limosa", "migrate", &jobs[0].pid().to_string(), "n2"])
        .unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("block"),
        "{refused:?}"
    );
    end_all(jobs);
}

#[test]
fn guests_leave_when_the_owner_of_their_node_works_on_it() {
    let lab = balanced(2);
    let (home, remote) = (lab.node("n1"), lab.node("n2"));
    let jobs: Vec<Job<'_>> = (0..6)
        .map(|_| Job::start(lab.node("n1"), &busy()))
        .collect();
    wait_for_places(&home, "n2 has some", |places| {
        places.get("n2").is_some_and(|count| *count >= 2)
    });
    // As much of the owner's own work as there are CPUs.
    let cpus = remote.limosa(&["status"]).unwrap()["node"]["cpus"]
        .as_u64()
        .unwrap();
    let own: Vec<Job<'_>> = (0..cpus)
        .map(|_| Job::start_with(lab.node("n2"), &["--home"], &busy()))
        .collect();
    wait_for_no_guests(&remote);
    end_all(own);
    end_all(jobs);
}

#[test]
fn what_a_person_has_moved_stays_there_until_it_is_left_to_the_balancer() {
    let lab = balanced(2);
    let home = lab.node("n1");
    let job = Job::start_with(lab.node("n1"), &["--by-hand"], &busy());
    let others: Vec<Job<'_>> = (0..5)
        .map(|_| Job::start(lab.node("n1"), &busy()))
        .collect();
    wait_for_places(&home, "n2 has some", |places| {
        places.get("n2").is_some_and(|count| *count >= 2)
    });
    assert_eq!(job.row()["node"], "n1");
    job.migrate("n2");
    let answer: Value = home
        .limosa(&["migrate", &job.pid().to_string(), "balance"])
        .unwrap();
    assert_eq!(
        (&answer["from"], &answer["to"]),
        (&"n2".into(), &"n2".into()),
        "{answer}"
    );
    end_all(others);
    end_all(vec![job]);
}

/// What a command that is refused says, on one line.
fn refusal(node: &NodeHandle<'_>, words: &[&str]) -> String {
    let output = node.exec(words).unwrap();
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_job_uses_only_the_nodes_that_were_named_by_itself_and_by_hand_and_so_do_its_children() {
    let lab = balanced(3);
    let home = lab.node("n1");
    // The shell is in the way of nothing: what it executes in its place, and what it starts, is of its job.
    let nested = |words: &str| vec!["/bin/sh".into(), "-c".into(), words.to_owned()];
    let busy = c_program("busy", Linkage::Static);
    let mut jobs = Vec::new();
    for _ in 0..3 {
        let start = |options: &[&str], words: &str| {
            let words = nested(&words.replace("busy", &busy));
            Job::start_with(lab.node("n1"), options, &words)
        };
        jobs.push(start(&["--only", "n3"], "busy; exit 0"));
        jobs.push(start(&["--not", "2"], "exec limosa run busy"));
    }
    wait_for_places(&home, "n3 has some", |places| {
        places.get("n3").is_some_and(|count| *count >= 2)
    });
    let rows = home.limosa(&["ps"]).unwrap();
    for row in rows.as_array().unwrap() {
        assert_ne!(row["node"], "n2", "{row}");
        let only = row["only"] == serde_json::json!(["n3"]);
        let not = row["not"] == serde_json::json!(["n2"]);
        assert!(only != not, "{row}");
        let pid = row["pid"].as_u64().unwrap().to_string();
        let said = refusal(&home, &["limosa", "migrate", &pid, "n2"]);
        assert!(said.contains("so it does not go to n2"), "{said}");
    }
    let why = home
        .limosa(&["why", &jobs[0].pid().to_string(), "n2"])
        .unwrap();
    assert_eq!(why["reasons"][0]["code"], "node-not-chosen", "{why}");
    assert!(!home.log().unwrap().contains("to n2"));
    end_all(jobs);
}

#[test]
fn a_choice_of_nodes_that_makes_no_sense_is_refused_in_words_and_the_program_is_not_started() {
    let lab = balanced(2);
    let home = lab.node("n1");
    let run = |options: &[&str]| {
        let words = [&["limosa", "run"], options, &["--", "echo", "started"]].concat();
        let output = home.exec(words).unwrap();
        assert_eq!(output.status.code(), Some(125), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = run(&["--only", "n2,n7"]);
    assert!(said.contains("no node is called \"n7\""), "{said}");
    let said = run(&["--only", "n2", "--not", "n1"]);
    assert!(said.contains("--only and --not"), "{said}");
    let said = run(&["--node", "n2", "--not", "n2"]);
    assert!(said.contains("`limosa run --not n2`"), "{said}");
    let said = run(&["--not", ""]);
    assert!(said.contains("no node is called \"\""), "{said}");
    assert_eq!(home.limosa(&["ps"]).unwrap(), Value::Array(Vec::new()));
}

#[test]
fn an_agent_that_starts_again_knows_which_nodes_its_jobs_may_use() {
    let lab = balanced(2);
    let home = lab.node("n1");
    let job = Job::start_with(lab.node("n1"), &["--not", "n2"], &busy());
    wait_for_places(&home, "it runs", |places| places.get("n1") == Some(&1));
    home.stop().unwrap();
    home.start().unwrap();
    wait_for_meeting(&lab, SOON);
    let said = refusal(&home, &["limosa", "migrate", &job.pid().to_string(), "n2"]);
    assert!(said.contains("`limosa run --not n2`"), "{said}");
    end_all(vec![job]);
}

#[test]
fn a_node_takes_no_more_guests_than_it_was_told_to_by_itself_and_by_hand() {
    let lab = balanced_with(2, &["--max-guests", "2"]);
    let (home, remote) = (lab.node("n1"), lab.node("n2"));
    let jobs: Vec<Job<'_>> = (0..6)
        .map(|_| Job::start(lab.node("n1"), &busy()))
        .collect();
    wait_for_places(&home, "n2 has two", |places| {
        places.get("n2") == Some(&2) && places.get("n1") == Some(&4)
    });
    let at_home = jobs.iter().find(|job| job.row()["node"] == "n1").unwrap();
    let pid = at_home.pid().to_string();
    let said = refusal(&home, &["limosa", "migrate", &pid, "n2"]);
    assert!(said.contains("at most 2 guests"), "{said}");
    // Its load says so, so that none of the others, all of which would like to go, asks again.
    let asked = |log: String| log.matches("is refused").count();
    let before = asked(remote.log().unwrap());
    let loads = |node: &NodeHandle<'_>| {
        let status = node.limosa(&["status"]).unwrap();
        let counters = status["counters"].as_array().unwrap().clone();
        let heard = counters.iter().find(|c| c["name"] == "loads-received");
        heard.unwrap()["value"].as_u64().unwrap()
    };
    wait_for_loads(&home, loads(&home) + 4);
    assert_eq!(asked(remote.log().unwrap()), before);
    assert_eq!(remote.limosa(&["node"]).unwrap()["guests"], 2);
    end_all(jobs);
}
