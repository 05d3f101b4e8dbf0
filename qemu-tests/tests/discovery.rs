//! Nodes find each other, tell the stopped from the lost, and keep strangers out: in namespaces.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use lab::{LabOptions, wait_until};
use support::{SOON, start, state_of, wait_for_meeting, wait_for_state};

/// The promise: joined within 2 s of link-up.
const JOIN_TIMEOUT: Duration = Duration::from_secs(2);

/// The promise is 3 s of silence; the rest is for a busy test machine.
const LOSS_TIMEOUT: Duration = Duration::from_secs(3 + 3);

#[test]
fn three_nodes_find_each_other_within_two_seconds() {
    let lab = start(&LabOptions::namespaces(3));
    wait_for_meeting(&lab, JOIN_TIMEOUT);
    for node in lab.nodes().unwrap() {
        let members = node.limosa(&["nodes"]).unwrap();
        let rows = members.as_array().unwrap();
        assert_eq!(rows.len(), 3, "{members}");
        let this: Vec<_> = rows.iter().filter(|row| row["this"] == true).collect();
        assert_eq!(this.len(), 1, "{members}");
        assert_eq!(this[0]["name"], node.name(), "{members}");
    }
}

#[test]
fn nodes_find_each_other_over_a_kernel_bridge_too() {
    let lab = start(&LabOptions {
        fast: true,
        ..LabOptions::namespaces(3)
    });
    wait_for_meeting(&lab, SOON);
}

#[test]
fn nodes_find_each_other_with_ipv4_addresses_too() {
    let lab = start(&LabOptions {
        ipv4: true,
        ..LabOptions::namespaces(3)
    });
    wait_for_meeting(&lab, SOON);
    let members = lab.node("n1").limosa(&["nodes"]).unwrap();
    assert_eq!(members.as_array().unwrap().len(), 3, "{members}");
}

#[test]
fn a_node_that_is_stopped_says_that_it_leaves() {
    let lab = start(&LabOptions::namespaces(3));
    wait_for_meeting(&lab, SOON);
    lab.node("n3").stop().unwrap();
    wait_for_state(&lab.node("n1"), "n3", "left", SOON);
    wait_for_state(&lab.node("n2"), "n3", "left", SOON);
    assert_eq!(state_of(&lab.node("n1"), "n2"), "alive");
}

#[test]
fn a_node_that_is_unplugged_is_noticed_and_the_others_go_on() {
    let lab = start(&LabOptions::namespaces(3));
    wait_for_meeting(&lab, SOON);
    lab.node("n3").kill().unwrap();
    let killed = Instant::now();
    for node in ["n1", "n2"] {
        let left = LOSS_TIMEOUT.saturating_sub(killed.elapsed());
        wait_for_state(&lab.node(node), "n3", "lost", left);
    }
    assert_eq!(state_of(&lab.node("n1"), "n2"), "alive");
    assert_eq!(state_of(&lab.node("n2"), "n1"), "alive");
}

#[test]
fn a_node_that_was_lost_comes_back() {
    let lab = start(&LabOptions::namespaces(2));
    wait_for_meeting(&lab, SOON);
    lab.node("n2").kill().unwrap();
    wait_for_state(&lab.node("n1"), "n2", "lost", SOON);
    lab.node("n2").start().unwrap();
    wait_for_meeting(&lab, SOON);
}

#[test]
fn an_agent_that_is_killed_and_started_again_is_a_member_again() {
    let lab = start(&LabOptions::namespaces(2));
    wait_for_meeting(&lab, SOON);
    let agent = lab.node("n2").process().unwrap();
    assert!(agent.signal(rustix::process::Signal::KILL));
    assert!(agent.wait_for_end(SOON));
    wait_until(SOON, "the lab sees that the agent ended", || {
        lab.node("n2").start().map_err(|error| error.to_string())
    })
    .unwrap();
    wait_for_meeting(&lab, SOON);
}

#[test]
fn ten_percent_loss_for_twenty_seconds_loses_nobody() {
    let lab = start(&LabOptions {
        seed: 7,
        ..LabOptions::namespaces(3)
    });
    wait_for_meeting(&lab, SOON);
    let lost_before = lab.status().unwrap().frames.lost;
    lab.lose(10.0).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        for node in lab.nodes().unwrap() {
            let members = node.limosa(&["nodes"]).unwrap();
            let rows = members.as_array().unwrap();
            let gone = rows
                .iter()
                .any(|row| row["state"] == "lost" || row["state"] == "left");
            assert!(!gone, "{} at 10 % loss: {members}", node.name());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    // Otherwise the test has shown nothing.
    assert!(lab.status().unwrap().frames.lost > lost_before);
}

#[test]
fn a_node_with_another_key_stays_out_and_both_sides_say_why() {
    let lab = start(&LabOptions {
        strangers: ["n3".into()].into(),
        ..LabOptions::namespaces(3)
    });
    for (node, other) in [("n1", "n2"), ("n2", "n1")] {
        wait_for_state(&lab.node(node), other, "alive", SOON);
    }
    // Both have heard the other when they say so.
    for (node, stranger) in [("n1", "n3"), ("n3", "n1")] {
        wait_until(
            SOON,
            format!("{node} says why {stranger} is not let in"),
            || {
                let log = lab.node(node).log().map_err(|error| error.to_string())?;
                let told = |line: &str| line.contains("key") && line.contains("fe80::");
                if log
                    .lines()
                    .any(|line| told(line) || (line.contains(stranger) && line.contains("key")))
                {
                    Ok(())
                } else {
                    Err(log)
                }
            },
        )
        .unwrap_or_else(|error| panic!("{error}"));
    }
    assert_eq!(state_of(&lab.node("n1"), "n3"), "unknown");
    assert_eq!(state_of(&lab.node("n3"), "n1"), "unknown");
}

#[test]
fn an_interface_that_appears_later_is_used() {
    let lab = start(&LabOptions {
        unplugged: ["n2".into()].into(),
        ..LabOptions::namespaces(2)
    });
    wait_for_state(&lab.node("n1"), "n1", "alive", SOON);
    wait_for_state(&lab.node("n2"), "n2", "alive", SOON);
    assert_eq!(state_of(&lab.node("n1"), "n2"), "unknown");
    lab.node("n2").plug().unwrap();
    wait_for_meeting(&lab, SOON);
}

#[test]
fn a_cable_that_is_pulled_and_plugged_in_again_reunites_the_nodes() {
    let lab = start(&LabOptions::namespaces(2));
    wait_for_meeting(&lab, SOON);
    lab.node("n2").unplug().unwrap();
    wait_for_state(&lab.node("n1"), "n2", "lost", SOON);
    wait_for_state(&lab.node("n2"), "n1", "lost", SOON);
    lab.node("n2").plug().unwrap();
    wait_for_meeting(&lab, SOON);
}

#[test]
fn a_pair_that_is_cut_off_from_each_other_is_alive_through_the_third() {
    let lab = start(&LabOptions::namespaces(3));
    wait_for_meeting(&lab, SOON);
    lab.cut("n1", "n2").unwrap();
    // SWIM asks a third node before it suspects: n3 reaches both.
    let end = Instant::now() + 2 * LOSS_TIMEOUT;
    while Instant::now() < end {
        let seen = [
            state_of(&lab.node("n1"), "n2"),
            state_of(&lab.node("n2"), "n1"),
        ];
        assert!(!seen.contains(&"lost".to_owned()), "{seen:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(lab.status().unwrap().frames.cut > 0);
}

#[test]
fn a_partition_is_noticed_on_both_sides_and_healed() {
    let lab = start(&LabOptions::namespaces(3));
    wait_for_meeting(&lab, SOON);
    lab.cut("n1", "n3").unwrap();
    lab.cut("n2", "n3").unwrap();
    for (node, other) in [("n1", "n3"), ("n2", "n3"), ("n3", "n1"), ("n3", "n2")] {
        wait_for_state(&lab.node(node), other, "lost", SOON);
    }
    assert_eq!(state_of(&lab.node("n1"), "n2"), "alive");
    lab.heal().unwrap();
    wait_for_meeting(&lab, SOON);
}
