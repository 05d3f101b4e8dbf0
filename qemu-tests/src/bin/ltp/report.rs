//! What came of all tests: the table for people, and the file for scripts and for `--resume`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;

use lab::error::LabError;

use crate::outcome::Outcome;
use crate::trial::{Trial, Verdict};

/// The file of results: one JSON object a line, one line a test, in the order in which they ended.
pub(crate) struct ResultFile(File);

impl ResultFile {
    /// Opens it; what is there is kept and returned when `resume` is set.
    pub(crate) fn open(path: &Path, resume: bool) -> Result<(Self, Vec<Trial>), LabError> {
        let doing = |what: &str| LabError::doing(format!("{what} {}", path.display()));
        if !resume {
            return Ok((Self(File::create(path).map_err(doing("make"))?), Vec::new()));
        }
        let mut options = File::options();
        options.read(true).append(true).create(true);
        let file = options.open(path).map_err(doing("open"))?;
        let mut known = Vec::new();
        for line in BufReader::new(&file).lines() {
            let line = line.map_err(doing("read"))?;
            let trial = serde_json::from_str(&line)
                .map_err(|error| LabError::Protocol(format!("{}: {error}", path.display())))?;
            known.push(trial);
        }
        Ok((Self(file), known))
    }

    /// Adds one line.
    pub(crate) fn add(&mut self, trial: &Trial) -> Result<(), LabError> {
        let mut line = serde_json::to_vec(trial)
            .map_err(|error| LabError::Protocol(format!("a result: {error}")))?;
        line.push(b'\n');
        self.0
            .write_all(&line)
            .map_err(LabError::doing("write a result"))
    }
}

/// One line about one test, as it ends.
pub(crate) fn progress(trial: &Trial) -> String {
    let verdict = match trial.verdict {
        Verdict::Excluded => "excluded",
        Verdict::NotInstalled => "not installed",
        Verdict::NotApplicable => "not applicable",
        Verdict::FailsAtHome => "fails at home",
        Verdict::Unsteady => "unsteady at home",
        Verdict::Same => "same",
        Verdict::Differs if trial.reason.is_some() => "differs, reason known",
        Verdict::Differs => "DIFFERS",
    };
    format!("{:<28} {verdict}", trial.test)
}

/// The table: how many of each verdict, where those that passed were, and each difference.
pub(crate) fn table(trials: &[Trial]) -> String {
    let count = |wanted: Verdict| {
        trials
            .iter()
            .filter(|trial| trial.verdict == wanted)
            .count()
    };
    let (same, differ) = (count(Verdict::Same), count(Verdict::Differs));
    let unexplained = trials.iter().filter(|trial| trial.is_unexplained()).count();
    let rows = [
        ("tests", trials.len()),
        (
            "  excluded, for this machine's sake",
            count(Verdict::Excluded),
        ),
        ("  not installed", count(Verdict::NotInstalled)),
        (
            "  not applicable to this machine",
            count(Verdict::NotApplicable),
        ),
        ("  fail at home", count(Verdict::FailsAtHome)),
        ("  pass at home now and then", count(Verdict::Unsteady)),
        ("  pass at home", same + differ),
        ("    the same away", same),
        (
            "    different away, for a known reason",
            differ - unexplained,
        ),
        ("    different away, unexplained", unexplained),
    ];
    let mut text = String::new();
    for (what, count) in rows {
        let _ = writeln!(text, "{what:<42}{count:>6}");
    }
    text.push_str(&journeys(trials));
    for trial in trials
        .iter()
        .filter(|trial| trial.verdict == Verdict::Differs)
    {
        text.push_str(&difference(trial));
    }
    text
}

/// Where the first processes of those tests were that were the same away.
fn journeys(trials: &[Trial]) -> String {
    let same: Vec<_> = trials
        .iter()
        .filter(|trial| trial.verdict == Verdict::Same)
        .map(|trial| &trial.journey)
        .collect();
    let left = same.iter().filter(|journey| journey.departures > 0);
    let ended_away = left.clone().filter(|journey| journey.came_home.is_empty());
    let mut text = format!(
        "\nOf those the same away, {} left home and {} of them ended away.\n",
        left.count(),
        ended_away.count()
    );
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in same.iter().filter_map(|journey| journey.came_home.first()) {
        *reasons.entry(reason).or_default() += 1;
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
    for (reason, count) in reasons {
        let _ = writeln!(text, "{count:>6} came home: {reason}");
    }
    text
}

fn difference(trial: &Trial) -> String {
    let words = |outcomes: &[Outcome]| {
        let words: Vec<_> = outcomes.iter().map(Outcome::words).collect();
        words.join(" | ")
    };
    format!(
        "\n{}\n  home: {}\n  away: {}\n  reason: {}\n",
        trial.test,
        words(&trial.at_home),
        words(&trial.away),
        trial.reason.as_deref().unwrap_or("UNKNOWN")
    )
}
