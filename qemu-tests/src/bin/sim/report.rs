//! Runs the strategies, and prints and plots what came of them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::arguments::Cluster;
use super::bound;
use super::cluster::{Outcome, Strategy, run};
use super::plot::{self, Line};
use super::trace::{Start, Trace};

/// One strategy in figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) strategy: String,
    /// Mean slowdown: time from start to end for each second of work of the reference machine.
    pub(crate) slowdown_mean: f64,
    /// The same for half, nine tenths and 99 of 100 processes at most.
    pub(crate) slowdown_median: f64,
    pub(crate) slowdown_p90: f64,
    pub(crate) slowdown_p99: f64,
    /// Its mean slowdown by that of the bound, of the same processes.
    pub(crate) of_bound: f64,
    pub(crate) makespan_seconds: f64,
    pub(crate) moves_per_process: f64,
    pub(crate) moves_most: u32,
    pub(crate) lost: usize,
    pub(crate) datagrams_per_node_second: f64,
    pub(crate) bytes_per_node_second: f64,
    /// Mean over time of the coefficient of variation of load for capacity, while processes start.
    pub(crate) imbalance: f64,
    pub(crate) simulated_in_seconds: f64,
}

fn slowdown(start: &Start, end: f64) -> f64 {
    (end - start.at) / start.work
}

fn percentile(sorted: &[f64], part: f64) -> f64 {
    let index = (sorted.len() as f64 * part) as usize;
    sorted
        .get(index.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The figures of a strategy beside the bound.
pub(crate) fn row(
    name: &str,
    options: &Cluster,
    trace: &Trace,
    outcome: &Outcome,
    bound: &[f64],
) -> Row {
    let (mut ours, mut best, mut makespan) = (Vec::new(), Vec::new(), 0.0_f64);
    for ((start, end), bound) in trace.starts.iter().zip(&outcome.ends).zip(bound) {
        if let Some(end) = end {
            ours.push(slowdown(start, *end));
            best.push(slowdown(start, *bound));
            makespan = makespan.max(*end);
        }
    }
    let of_bound = mean(&ours) / mean(&best);
    ours.sort_by(f64::total_cmp);
    let while_starting = (options.seconds as usize).clamp(1, outcome.imbalance.len().max(1));
    Row {
        strategy: name.to_owned(),
        slowdown_mean: mean(&ours),
        slowdown_median: percentile(&ours, 0.5),
        slowdown_p90: percentile(&ours, 0.9),
        slowdown_p99: percentile(&ours, 0.99),
        of_bound,
        makespan_seconds: makespan,
        moves_per_process: outcome.moves as f64 / trace.starts.len().max(1) as f64,
        moves_most: outcome.moves_most,
        lost: trace.starts.len() - ours.len(),
        datagrams_per_node_second: outcome.datagrams,
        bytes_per_node_second: outcome.bytes,
        imbalance: mean(outcome.imbalance.get(..while_starting).unwrap_or(&[])),
        simulated_in_seconds: 0.0,
    }
}

/// Runs all strategies and prints a table.
pub(crate) fn compare(options: &Cluster) -> Result<(), String> {
    check(options)?;
    let trace = Trace::new(options);
    let bound = bound::ends(&trace);
    let all_end = bound.iter().copied().map(Some).collect();
    let ideal = Outcome {
        ends: all_end,
        moves: 0,
        moves_most: 0,
        datagrams: 0.0,
        bytes: 0.0,
        imbalance: Vec::new(),
    };
    let mut rows = vec![row(
        "bound: all known, nothing costs",
        options,
        &trace,
        &ideal,
        &bound,
    )];
    let mut lines = Vec::new();
    for strategy in Strategy::ALL {
        let started = Instant::now();
        let outcome = run(options, &trace, strategy);
        let mut row = row(strategy.name(), options, &trace, &outcome, &bound);
        row.simulated_in_seconds = started.elapsed().as_secs_f64();
        lines.push(Line {
            name: strategy.name(),
            values: outcome.imbalance,
        });
        rows.push(row);
    }
    if let Some(directory) = &options.svg {
        write_plots(directory, &rows, &lines)
            .map_err(|error| format!("cannot write plots into {}: {error}", directory.display()))?;
    }
    if options.json {
        let text = serde_json::to_string_pretty(&rows).map_err(|error| error.to_string())?;
        println!("{text}");
    } else {
        print!("{}", table(&rows));
    }
    Ok(())
}

fn check(options: &Cluster) -> Result<(), String> {
    let sound = |value: f64, most: f64| value.is_finite() && (0.0..=most).contains(&value);
    if !(2..=100_000).contains(&options.nodes) {
        return Err("a simulated cluster has 2 to 100000 nodes".into());
    }
    if !(1..=10_000_000).contains(&options.processes.unwrap_or(options.nodes * 10)) {
        return Err("a simulation has 1 to 10000000 processes".into());
    }
    if !sound(options.loss, 99.0) || !sound(options.churn, 100.0) || !sound(options.homes, 100.0) {
        return Err("--loss, --churn and --homes are percentages".into());
    }
    if !sound(options.seconds, 1e5) || !sound(options.work, 1e5) || options.work <= 0.0 {
        return Err("--seconds and --work are times of at most 100000 seconds".into());
    }
    if options.partition.is_some_and(|at| !sound(at, 1e5)) {
        return Err("--partition is a second of the simulation".into());
    }
    Ok(())
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| strategy | slowdown: mean | median | 90 % | 99 % | of the bound | makespan | moves for each process, most | lost | sent by a node | imbalance | simulated in |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for row in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} s | {:.2}, {} | {} | {:.2} /s, {:.0} B/s | {:.2} | {:.1} s |",
            row.strategy,
            row.slowdown_mean,
            row.slowdown_median,
            row.slowdown_p90,
            row.slowdown_p99,
            row.of_bound,
            row.makespan_seconds,
            row.moves_per_process,
            row.moves_most,
            row.lost,
            row.datagrams_per_node_second,
            row.bytes_per_node_second,
            row.imbalance,
            row.simulated_in_seconds,
        );
    }
    text
}

fn write_plots(directory: &Path, rows: &[Row], lines: &[Line<'_>]) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    let imbalance = plot::lines(
        "imbalance (variation of load for capacity)",
        "seconds",
        lines,
    );
    fs::write(directory.join("imbalance.svg"), imbalance)?;
    let bars: Vec<(&str, f64)> = rows
        .iter()
        .map(|row| (row.strategy.as_str(), row.slowdown_mean))
        .collect();
    fs::write(
        directory.join("slowdown.svg"),
        plot::bars("mean slowdown", &bars),
    )
}
