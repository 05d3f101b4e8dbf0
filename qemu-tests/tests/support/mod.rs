//! What the tests share: labs, members, programs that travel and the jobs they run in.

// Every test file compiles this module for itself and uses its own part of it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

pub mod job;
pub mod programs;
pub mod scarcity;

use std::time::{Duration, Instant};

use lab::{Lab, LabOptions, NodeHandle, wait_until};
use serde_json::Value;

/// For what takes moments: generous, because a test machine may be busy.
pub const SOON: Duration = Duration::from_secs(20);

/// Brings a lab up, or ends the test with the reason.
pub fn start(options: &LabOptions) -> Lab {
    Lab::start(options).unwrap_or_else(|error| panic!("{error}"))
}

/// What `limosa nodes` on `node` says of `name`: its state, or "unknown".
pub fn state_of(node: &NodeHandle<'_>, name: &str) -> String {
    match node.limosa(&["nodes"]) {
        Ok(members) => member(&members, name)["state"]
            .as_str()
            .unwrap_or("unknown")
            .into(),
        Err(error) => error.to_string(),
    }
}

/// The row of `name` in the output of `limosa nodes --json`; null when there is none.
pub fn member<'a>(members: &'a Value, name: &str) -> &'a Value {
    let rows = members.as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter()
        .find(|row| row["name"] == name)
        .unwrap_or(&Value::Null)
}

/// Waits until `node` says that `name` is in `state`; returns how long that took.
pub fn wait_for_state(
    node: &NodeHandle<'_>,
    name: &str,
    state: &str,
    timeout: Duration,
) -> Duration {
    let started = Instant::now();
    wait_until(
        timeout,
        format!("{} sees {name} {state}", node.name()),
        || {
            let seen = state_of(node, name);
            if seen == state { Ok(()) } else { Err(seen) }
        },
    )
    .unwrap_or_else(|error| panic!("{error}"));
    started.elapsed()
}

/// Waits until every node of the lab sees all of them alive.
pub fn wait_for_meeting(lab: &Lab, timeout: Duration) {
    let nodes = lab.nodes().unwrap_or_else(|error| panic!("{error}"));
    let deadline = Instant::now() + timeout;
    for node in &nodes {
        for other in &nodes {
            let left = deadline.saturating_duration_since(Instant::now());
            wait_for_state(node, other.name(), "alive", left);
        }
    }
}

/// A lab of namespaces whose nodes have met.
pub fn cluster(nodes: usize) -> Lab {
    let lab = start(&LabOptions::namespaces(nodes));
    wait_for_meeting(&lab, SOON);
    lab
}

/// A command line.
pub fn words(program: String, arguments: &[&str]) -> Vec<String> {
    std::iter::once(program)
        .chain(arguments.iter().map(|word| (*word).to_owned()))
        .collect()
}
