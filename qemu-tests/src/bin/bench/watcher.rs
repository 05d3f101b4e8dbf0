//! What a program itself sees of its moves: `memory watch` notes for how long it did not run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::error::LabError;
use lab::wait_until;

use crate::laboratory::now_ns;

/// How long a program may take to fill its memory, and to be heard of after it was moved: 8 GiB, busy CPUs.
const LINE_TIMEOUT: Duration = Duration::from_secs(120);

/// After a move two of the watcher's lines (50 ms each) must come, so that the one with the gap has.
const SETTLED_NS: i64 = 150_000_000;

/// The file into which a watching program writes.
pub(crate) struct Watcher {
    file: PathBuf,
}

impl Watcher {
    /// For a program that has not started yet.
    pub(crate) fn new(file: &Path) -> Result<Self, LabError> {
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(LabError::doing(format!("remove {}", file.display()))(error))
            }
            _ => Ok(Self { file: file.into() }),
        }
    }

    /// Waits until the program runs and watches.
    pub(crate) fn wait_for_start(&self) -> Result<(), LabError> {
        self.longest_gap(0, 0).map(drop)
    }

    /// For how many seconds the program did not run, at most, since the move that began at `begin_ns` of
    /// CLOCK_MONOTONIC and is over now.
    pub(crate) fn blackout_since(&self, begin_ns: i64) -> Result<f64, LabError> {
        self.longest_gap(begin_ns, now_ns() + SETTLED_NS)
    }

    fn longest_gap(&self, begin_ns: i64, end_ns: i64) -> Result<f64, LabError> {
        let what = format!("{} is written to", self.file.display());
        let gap_ns = wait_until(LINE_TIMEOUT, what, || {
            let text = match fs::read_to_string(&self.file) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
                read => read.map_err(|error| error.to_string())?,
            };
            longest_gap_ns(&text, begin_ns, end_ns).ok_or_else(|| "no line so late".to_owned())
        })?;
        Ok(gap_ns as f64 / 1e9)
    }
}

/// The longest gap of the lines later than `begin_ns`, once there is one later than `end_ns`.
fn longest_gap_ns(text: &str, begin_ns: i64, end_ns: i64) -> Option<i64> {
    let lines = text.lines().filter_map(|line| {
        let (time, gap) = line.split_once(' ')?;
        Some((time.parse().ok()?, gap.parse().ok()?))
    });
    let lines: Vec<(i64, i64)> = lines.filter(|(time_ns, _)| *time_ns > begin_ns).collect();
    lines.iter().find(|(time_ns, _)| *time_ns > end_ns)?;
    lines.iter().map(|(_, gap_ns)| *gap_ns).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_since_the_move_is_known_once_the_program_ran_after_it() {
        let text = "100 900\n150 3\n200 70\n250 5\n";
        assert_eq!(longest_gap_ns(text, 120, 240), Some(70));
        assert_eq!(longest_gap_ns(text, 120, 250), None);
        assert_eq!(longest_gap_ns("", 0, 0), None);
        assert_eq!(longest_gap_ns("12", 0, 0), None, "half a line");
    }
}
