//! Small clusters, to their end: what the policy promises, and that it is the agents' code that keeps it.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use super::arguments::{Cluster, TraceKind};
use super::bound;
use super::cluster::{Outcome, Strategy, run};
use super::gossip::cost;
use super::report::{Row, row};
use super::trace::Trace;

fn options(nodes: usize, processes: usize, trace: TraceKind) -> Cluster {
    Cluster {
        nodes,
        processes: Some(processes),
        trace,
        homes: 10.0,
        seconds: 60.0,
        work: 10.0,
        loss: 0.0,
        churn: 0.0,
        partition: None,
        equal: false,
        seed: 1,
        svg: None,
        json: false,
    }
}

fn tried(options: &Cluster, strategy: Strategy) -> (Row, Outcome) {
    let trace = Trace::new(options);
    let outcome = run(options, &trace, strategy);
    let row = row(
        strategy.name(),
        options,
        &trace,
        &outcome,
        &bound::ends(&trace),
    );
    (row, outcome)
}

#[test]
fn the_same_seed_gives_the_same_figures() {
    let options = options(30, 120, TraceKind::Heavy);
    assert_eq!(
        tried(&options, Strategy::Limosa),
        tried(&options, Strategy::Limosa)
    );
}

#[test]
fn on_every_trace_limosa_is_near_the_bound_and_moves_little() {
    for trace in [
        TraceKind::Poisson,
        TraceKind::Heavy,
        TraceKind::Compile,
        TraceKind::Burst,
    ] {
        let options = options(30, 150, trace);
        let (stay, _) = tried(&options, Strategy::Stay);
        let (limosa, _) = tried(&options, Strategy::Limosa);
        assert!(
            limosa.slowdown_mean <= stay.slowdown_mean,
            "{trace:?}: {limosa:?} {stay:?}"
        );
        assert!(limosa.of_bound < 3.0, "{trace:?}: {limosa:?}");
        assert!(limosa.moves_per_process < 4.0, "{trace:?}: {limosa:?}");
        assert_eq!(limosa.lost, 0);
    }
}

#[test]
fn in_bad_weather_all_processes_of_homes_that_live_end() {
    let bad = Cluster {
        loss: 20.0,
        churn: 5.0,
        partition: Some(20.0),
        ..options(30, 150, TraceKind::Heavy)
    };
    let (row, outcome) = tried(&bad, Strategy::Limosa);
    let (stay, _) = tried(&bad, Strategy::Stay);
    assert!(outcome.ends.iter().flatten().all(|end| *end < 10_000.0));
    assert!(row.lost < 100, "{row:?}");
    assert!(row.slowdown_mean < stay.slowdown_mean, "{row:?} {stay:?}");
}

#[test]
fn the_bound_is_one() {
    let mut alone = options(2, 1, TraceKind::Poisson);
    alone.equal = true;
    let trace = Trace::new(&alone);
    let lived = bound::ends(&trace)[0] - trace.starts[0].at;
    assert!((lived - trace.starts[0].work).abs() < 1e-9);
    for strategy in Strategy::ALL {
        let (row, _) = tried(&options(20, 100, TraceKind::Heavy), strategy);
        assert!(row.of_bound >= 1.0, "{row:?}");
    }
}

#[test]
fn what_a_node_sends_does_not_grow_with_the_cluster() {
    let [small, large] = [50, 200].map(|nodes| cost(nodes, 5.0, 0.0, 1));
    assert!(
        large.gossip_bytes < 1.2 * small.gossip_bytes,
        "{small:?} {large:?}"
    );
    assert!(large.known <= 96.0);
}

/// Shown by what the sources say: no type or function that the agents' policy and gossip offer is defined here again, and the
/// figures come from theirs, which the agent uses as well.
#[test]
fn the_simulator_has_no_fork_of_what_the_agents_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |folder: &Path| -> String {
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
            .filter(|path| !path.ends_with("tests.rs"))
            .collect();
        files.sort();
        assert!(!files.is_empty(), "{}", folder.display());
        files
            .iter()
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect()
    };
    let simulator = read(&root.join("src/bin/sim"));
    let balance = read(&root.join("../agent/src/balance"));
    let agent = read(&root.join("../agent/src/node"));
    for (module, name) in [
        ("gossip", "Gossip"),
        ("brain", "Brain"),
        ("arrivals", "Door"),
        ("vector", "LoadVector"),
    ] {
        assert!(
            simulator.contains(&format!("limosa::balance::{module}::")),
            "{name}"
        );
        assert!(
            agent.contains(&format!("crate::balance::{module}::")),
            "{name}"
        );
        assert!(
            !simulator.contains(&format!("struct {name} ")),
            "{name} is defined again"
        );
    }
    assert!(simulator.contains("limosa::membership::swim::Swim"));
    let functions = balance.lines().filter_map(|line| {
        let (name, _) = line.trim().strip_prefix("pub fn ")?.split_once('(')?;
        Some(name.split('<').next().unwrap().to_owned())
    });
    // Names that say nothing of what is behind them.
    let common = [
        "new", "place", "node", "load", "of", "age", "check", "as_str",
    ];
    for function in functions.filter(|name| !common.contains(&name.as_str())) {
        let again = format!("fn {function}(");
        assert!(
            !simulator.contains(&again),
            "`{function}` of the agents is written again here"
        );
    }
}
