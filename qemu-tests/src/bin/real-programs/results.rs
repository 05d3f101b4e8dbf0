//! What came of all programs, as an aligned table and as JSON (pure).

use std::collections::BTreeMap;
use std::time::Duration;

use lab::error::LabError;
use lab::workload::session::{ROUTES, Report};
use serde_json::json;

/// Columns of the table: two names, a time for the native run and each route, the moves, and what came of it.
const COLUMNS: usize = 11;

/// Longest list of reasons in a cell: the rest is in the JSON.
const REASONS_SHOWN: usize = 3;

/// What came of all programs.
#[derive(Debug, Default)]
pub(crate) struct Results(Vec<(&'static str, Result<Report, LabError>)>);

impl Results {
    pub(crate) fn add(&mut self, name: &'static str, report: Result<Report, LabError>) {
        self.0.push((name, report));
    }

    /// Whether all were tried and none differed.
    pub(crate) fn are_identical(&self) -> bool {
        self.0.iter().all(|(_, report)| {
            report
                .as_ref()
                .is_ok_and(|report| report.differences.is_empty())
        })
    }

    /// Lines of aligned columns; below them what differed, moves that failed, and the agent's warnings.
    pub(crate) fn table(&self) -> String {
        let head: [_; COLUMNS] = [
            "PROGRAM",
            "NATIVE",
            "AWAY",
            "ANYWHERE",
            "OUT, HOME",
            "REMOTES",
            "MOVES",
            "FREEZE",
            "IDENTICAL",
            "CAME HOME BECAUSE",
            "STAYED BECAUSE",
        ];
        let mut rows = vec![head.map(String::from)];
        rows.extend(self.0.iter().map(|(name, report)| cells(name, report)));
        let mut widths = [0; COLUMNS];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut text = String::new();
        for row in &rows {
            let mut line = String::new();
            for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
                // Numbers to the right, words to the left.
                line += &match index {
                    1..=7 => format!("{cell:>width$}  "),
                    _ => format!("{cell:<width$}  "),
                };
            }
            text += line.trim_end();
            text.push('\n');
        }
        for (name, report) in &self.0 {
            text += &notes(name, report);
        }
        text
    }

    /// One object a program.
    pub(crate) fn json(&self) -> String {
        let seconds = |took: Option<Duration>| took.map(|took| took.as_secs_f64());
        let rows = self.0.iter().map(|(name, report)| match report {
            Ok(report) => json!({
                "program": name,
                "native_seconds": report.native.as_secs_f64(),
                "route_seconds": ROUTES.iter().zip(report.took)
                    .map(|(route, took)| (route.name, seconds(took))).collect::<BTreeMap<_, _>>(),
                "moves": report.moves.done,
                "freeze_ms_max": report.moves.freeze_max.as_secs_f64() * 1000.0,
                "refused": report.moves.refused,
                "failed": report.moves.failed,
                "homecomings": report.journal.homecomings,
                "troubles": report.journal.troubles,
                "identical": report.differences.is_empty(),
                "differences": report.differences,
            }),
            Err(error) => json!({ "program": name, "error": error.to_string() }),
        });
        let rows: Vec<_> = rows.collect();
        format!("{:#}\n", json!(rows))
    }
}

fn cells(name: &str, report: &Result<Report, LabError>) -> [String; COLUMNS] {
    let Ok(report) = report else {
        let mut row: [String; COLUMNS] = Default::default();
        (row[0], row[8]) = (name.into(), "not tried".into());
        return row;
    };
    let seconds = |took: Duration| format!("{:.1} s", took.as_secs_f64());
    let ended = |took: Option<Duration>| took.map_or("-".into(), seconds);
    let [away, anywhere, out_and_home, two_remotes] = report.took.map(ended);
    [
        name.into(),
        seconds(report.native),
        away,
        anywhere,
        out_and_home,
        two_remotes,
        report.moves.done.to_string(),
        format!("{} ms", report.moves.freeze_max.as_millis()),
        if report.differences.is_empty() {
            "yes"
        } else {
            "NO"
        }
        .into(),
        most(&report.journal.homecomings),
        most(&report.moves.refused),
    ]
}

/// The most frequent reasons, with their counts.
fn most(reasons: &BTreeMap<String, u32>) -> String {
    let mut sorted: Vec<_> = reasons.iter().collect();
    sorted.sort_by_key(|(reason, count)| (std::cmp::Reverse(**count), *reason));
    let more = sorted.len().saturating_sub(REASONS_SHOWN);
    let shown = sorted.into_iter().take(REASONS_SHOWN);
    let mut cells: Vec<_> = shown
        .map(|(reason, count)| format!("{reason} ({count})"))
        .collect();
    if more > 0 {
        cells.push(format!("{more} more"));
    }
    cells.join(", ")
}

fn notes(name: &str, report: &Result<Report, LabError>) -> String {
    let report = match report {
        Ok(report) => report,
        Err(error) => return format!("\n{name} was not tried: {error}\n"),
    };
    let differing = report.differences.iter().map(|text| ("differs", text));
    let failed = report.moves.failed.iter().map(|text| ("move failed", text));
    let troubles = report.journal.troubles.iter().map(|text| ("agent", text));
    let lines = differing.chain(failed).chain(troubles);
    let text: String = lines
        .map(|(kind, text)| format!("  {kind}: {text}\n"))
        .collect();
    if text.is_empty() {
        text
    } else {
        format!("\n{name}\n{text}")
    }
}

#[cfg(test)]
mod tests {
    use lab::workload::journal::Journal;
    use lab::workload::mover::Moves;

    use super::*;

    fn results() -> Results {
        let reasons = |pairs: &[(&str, u32)]| {
            let pairs = pairs.iter();
            pairs
                .map(|(reason, count)| ((*reason).to_owned(), *count))
                .collect()
        };
        let report = Report {
            name: "perl",
            native: Duration::from_millis(1250),
            took: [Some(Duration::from_secs(2)), None, None, None],
            moves: Moves {
                done: 12,
                freeze_max: Duration::from_millis(31),
                refused: reasons(&[("ended", 1)]),
                failed: Vec::new(),
            },
            journal: Journal {
                moves: 20,
                homecomings: reasons(&[("a", 1), ("b", 2), ("c", 1), ("d", 1)]),
                troubles: Vec::new(),
            },
            differences: vec!["moved: it hangs".into()],
        };
        Results(vec![("perl", Ok(report)), ("vim", Err(LabError::NotRoot))])
    }

    #[test]
    fn columns_are_aligned_and_what_differs_stands_below() {
        let table = results().table();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(
            lines[1],
            "perl      1.2 s  2.0 s         -          -        -     12   31 ms  NO         b (2), a (1), c (1), 1 more  ended (1)"
        );
        assert!(
            lines[2].starts_with("vim") && lines[2].ends_with("not tried"),
            "{table}"
        );
        assert!(
            table.contains("\nperl\n  differs: moved: it hangs\n"),
            "{table}"
        );
        assert!(table.contains("\nvim was not tried: "), "{table}");
    }

    #[test]
    fn one_difference_or_one_failure_is_enough() {
        let mut results = results();
        assert!(!results.are_identical());
        results.0.truncate(1);
        assert!(!results.are_identical());
        if let Ok(report) = &mut results.0[0].1 {
            report.differences.clear();
        }
        assert!(results.are_identical());
        assert!(Results::default().are_identical());
    }

    #[test]
    fn json_names_all_reasons() {
        let read: serde_json::Value = serde_json::from_str(&results().json()).unwrap();
        assert_eq!(read[0]["homecomings"]["d"], 1);
        assert_eq!(read[0]["identical"], false);
        assert!(read[1]["error"].is_string());
    }
}
