//! What the monkey did, as two aligned tables and as JSON (pure).

use std::time::Duration;

use lab::workload::census::Usage;
use lab::workload::monkey::{MonkeyReport, Sample};
use serde_json::{Value, json};

/// What the programs did; agents, supervisors and processes over time; what is wrong.
pub(crate) fn tables(report: &MonkeyReport, seed: u64) -> String {
    let mut text = format!("seed {seed}\n\n{}\n", aligned(&programs(report)));
    text += &aligned(&samples(report));
    text += &wrong(report);
    text
}

fn programs(report: &MonkeyReport) -> Vec<Vec<String>> {
    let head = [
        "PROGRAM",
        "RUNS",
        "MOVES",
        "REFUSED",
        "FAILED",
        "FREEZE",
        "IDENTICAL",
    ];
    let mut rows = vec![head.map(String::from).to_vec()];
    rows.extend(report.tallies.iter().map(|tally| {
        let identical = tally.differences.is_empty();
        vec![
            tally.name.to_owned(),
            tally.runs.to_string(),
            tally.moves.done.to_string(),
            tally.moves.refused.values().sum::<u32>().to_string(),
            tally.moves.failed.len().to_string(),
            format!("{} ms", tally.moves.freeze_max.as_millis()),
            if identical { "yes" } else { "NO" }.to_owned(),
        ]
    }));
    rows
}

fn samples(report: &MonkeyReport) -> Vec<Vec<String>> {
    let head = [
        "MINUTE",
        "DELAY, LOSS",
        "RUNS",
        "MOVES",
        "PROCESSES",
        "SUPERVISORS",
        "LARGEST",
        "FDS",
        "LARGEST AGENT",
        "FDS",
    ];
    let mut rows = vec![head.map(String::from).to_vec()];
    rows.extend(report.samples.iter().map(|sample| {
        let supervisor = sample.census.supervisors_max();
        let agent = sample.census.agents_max();
        vec![
            format!("{:.1}", minutes(sample.at)),
            sample.weather.to_string(),
            sample.runs.to_string(),
            sample.moves.to_string(),
            sample.census.others().to_string(),
            sample.census.supervisors().to_string(),
            memory(supervisor),
            supervisor.descriptors.to_string(),
            memory(agent),
            agent.descriptors.to_string(),
        ]
    }));
    rows
}

fn minutes(time: Duration) -> f64 {
    time.as_secs_f64() / 60.0
}

fn memory(usage: Usage) -> String {
    format!("{:.2} MiB", usage.resident_kib as f64 / 1024.0)
}

/// The first column to the left, the others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widths = cells.map(|cell| cell.chars().count());
        widths.max().unwrap_or_default()
    };
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let width = width(column);
            text += &match column {
                0 => format!("{cell:<width$}"),
                _ => format!("  {cell:>width$}"),
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

fn wrong(report: &MonkeyReport) -> String {
    let mut text = String::new();
    for tally in &report.tallies {
        let differing = tally.differences.iter().map(|text| ("differs", text));
        let failed = tally.moves.failed.iter().map(|text| ("move failed", text));
        for (kind, words) in differing.chain(failed) {
            text += &format!("\n{}: {kind}: {words}", tally.name);
        }
    }
    for left in &report.residue {
        text += &format!("\nleft: {left}");
    }
    for grown in report.growth() {
        text += &format!("\ngrown: {grown}");
    }
    if report.is_right() {
        text += "\nAll outputs and files are right, nothing is left and nothing grows.";
    }
    text + "\n"
}

/// All of it as one object.
pub(crate) fn json(report: &MonkeyReport) -> String {
    let programs = report.tallies.iter().map(|tally| {
        json!({
            "program": tally.name,
            "runs": tally.runs,
            "moves": tally.moves.done,
            "freeze_ms_max": tally.moves.freeze_max.as_secs_f64() * 1000.0,
            "refused": tally.moves.refused,
            "failed": tally.moves.failed,
            "differences": tally.differences,
        })
    });
    let programs: Vec<_> = programs.collect();
    let samples: Vec<_> = report.samples.iter().map(sample).collect();
    let whole = json!({
        "right": report.is_right(),
        "programs": programs,
        "samples": samples,
        "residue": report.residue,
        "growth": report.growth(),
        "homecomings": report.journal.homecomings,
        "troubles": report.journal.troubles,
    });
    format!("{whole:#}\n")
}

fn sample(sample: &Sample) -> Value {
    let usage = |usage: Usage| json!({ "resident_kib": usage.resident_kib, "descriptors": usage.descriptors });
    json!({
        "seconds": sample.at.as_secs_f64(),
        "delay_ms": sample.weather.delay.as_millis() as u64,
        "loss_percent": sample.weather.loss_percent,
        "runs": sample.runs,
        "moves": sample.moves,
        "processes": sample.census.others(),
        "supervisors": sample.census.supervisors(),
        "supervisor_max": usage(sample.census.supervisors_max()),
        "agent_max": usage(sample.census.agents_max()),
    })
}

#[cfg(test)]
mod tests {
    use lab::workload::census::{Census, NodeCensus};
    use lab::workload::journal::Journal;
    use lab::workload::monkey::Tally;
    use lab::workload::mover::Moves;
    use lab::workload::weather::Weather;

    use super::*;

    fn report() -> MonkeyReport {
        let agent = Usage {
            resident_kib: 3584,
            descriptors: 24,
        };
        let node = NodeCensus {
            name: "n1".into(),
            agent,
            others: 7,
            ..NodeCensus::default()
        };
        MonkeyReport {
            tallies: vec![Tally {
                name: "perl",
                runs: 3,
                moves: Moves::default(),
                differences: Vec::new(),
            }],
            samples: vec![Sample {
                at: Duration::from_secs(90),
                weather: Weather::default(),
                runs: 3,
                moves: 12,
                census: Census { nodes: vec![node] },
            }],
            residue: Vec::new(),
            journal: Journal::default(),
        }
    }

    #[test]
    fn tables_are_aligned_and_end_with_the_verdict() {
        let text = tables(&report(), 5);
        assert!(
            text.contains("\nperl        3      0        0       0    0 ms        yes\n"),
            "{text}"
        );
        assert!(text.contains("3.50 MiB   24\n"), "{text}");
        assert!(
            text.ends_with(
                "\nAll outputs and files are right, nothing is left and nothing grows.\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut report = report();
        report.tallies[0].differences.push("run 2: stdout".into());
        report.residue.push("n1: file /x".into());
        let text = tables(&report, 5);
        assert!(
            text.ends_with("\nperl: differs: run 2: stdout\nleft: n1: file /x\n"),
            "{text}"
        );
        let json: Value = serde_json::from_str(&json(&report)).unwrap();
        assert_eq!(json["right"], false);
        assert_eq!(json["samples"][0]["agent_max"]["descriptors"], 24);
    }
}
