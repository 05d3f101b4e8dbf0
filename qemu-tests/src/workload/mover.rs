//! Moves the processes of a running program at random moments to random nodes.

use std::collections::BTreeMap;
use std::process::Output;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::LabError;
use crate::faults::Chance;
use crate::node_handle::NodeHandle;
use crate::process::ProcessIdentity;

/// After this time a move that has not been answered is reported as a failure.
const MOVE_TIMEOUT_SECONDS: &str = "60";

/// A process whose end made a move fail has ended by then.
const END_TIMEOUT: Duration = Duration::from_millis(500);

/// What came of the moves of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// Moves after which the process ran elsewhere.
    pub done: u32,
    /// The longest freeze of these.
    pub freeze_max: Duration,
    /// Refusals by the code of their first reason: the process ran on where it was.
    pub refused: BTreeMap<String, u32>,
    /// Moves that failed, in the words of `limosa migrate`.
    pub failed: Vec<String>,
}

impl Moves {
    /// Adds those of another run.
    pub fn add(&mut self, other: Self) {
        self.done += other.done;
        self.freeze_max = self.freeze_max.max(other.freeze_max);
        for (code, count) in other.refused {
            *self.refused.entry(code).or_default() += count;
        }
        self.failed.extend(other.failed);
    }

    /// Notes how a `limosa migrate --json` ended, and whether the process had ended by then; returns
    /// for how long the process was frozen.
    fn note(&mut self, output: &Output, ended: bool) -> Duration {
        if output.status.success() {
            let moved: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let freeze_ms = moved["freeze_ms"].as_f64().unwrap_or_default().max(0.0);
            let frozen = Duration::from_secs_f64(freeze_ms / 1000.0);
            self.freeze_max = self.freeze_max.max(frozen);
            self.done += 1;
            return frozen;
        }
        if ended {
            *self.refused.entry("ended".into()).or_default() += 1;
            return Duration::ZERO;
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let error: Value = serde_json::from_str(&said).unwrap_or_default();
        let refused = output.status.code() == Some(4);
        match error["error"]["reasons"][0]["code"].as_str() {
            Some(code) if refused => *self.refused.entry(code.into()).or_default() += 1,
            None if refused => *self.refused.entry("refused".into()).or_default() += 1,
            _ => self
                .failed
                .push(format!("{}: {}", output.status, said.trim())),
        }
        Duration::ZERO
    }
}

/// Moves one program's processes.
#[derive(Debug)]
pub struct Mover<'lab> {
    /// Where the program was started.
    pub home: NodeHandle<'lab>,
    /// All nodes, home included.
    pub nodes: Vec<String>,
    /// The program's first process.
    pub leader: u32,
    /// The longest pause between two moves; it is half of that on average.
    pub pause_max: Duration,
    /// When it stops by itself, if it does.
    pub until: Option<Instant>,
    /// Decides when, who and where.
    pub chance: Chance,
}

impl Mover<'_> {
    /// Moves until the other end of `stop` is dropped, or the time is over.
    pub fn run(mut self, stop: &Receiver<()>) -> Result<Moves, LabError> {
        let mut moves = Moves::default();
        let mut frozen = Duration::ZERO;
        while self.until.is_none_or(|until| Instant::now() < until) {
            // A large program on a busy machine would else do nothing but move.
            let pause_max = self.pause_max.max(frozen * 2);
            let pause_ms = self.chance.below(pause_max.as_millis() as u64 + 1);
            match stop.recv_timeout(Duration::from_millis(pause_ms)) {
                Err(RecvTimeoutError::Timeout) => frozen = self.step(&mut moves)?,
                Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(moves)
    }

    /// Moves one process; returns for how long it was frozen.
    fn step(&mut self, moves: &mut Moves) -> Result<Duration, LabError> {
        let rows = processes_of(&self.home, self.leader)?;
        let Some(row) = rows.get(self.chance.below(rows.len() as u64) as usize) else {
            return Ok(Duration::ZERO);
        };
        let elsewhere = self.nodes.iter().filter(|node| **node != row["node"]);
        let elsewhere: Vec<_> = elsewhere.collect();
        let Some(node) = elsewhere.get(self.chance.below(elsewhere.len() as u64) as usize) else {
            return Ok(Duration::ZERO);
        };
        let pid = row["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        let Some(process) = pid.and_then(|pid| ProcessIdentity::of(pid).ok()) else {
            return Ok(Duration::ZERO);
        };
        let pid = process.pid.to_string();
        let words = [
            "timeout",
            MOVE_TIMEOUT_SECONDS,
            "limosa",
            "migrate",
            &pid,
            node,
            "--json",
        ];
        let output = self.home.exec(words)?;
        // A zombie has ended, too, and one without memory is about to.
        let failed = !output.status.success() && output.status.code() != Some(4);
        let patience = if failed { END_TIMEOUT } else { Duration::ZERO };
        let ended = process.wait_for_end(patience);
        Ok(moves.note(&output, ended))
    }
}

/// The rows of `limosa ps --json` for all processes of a program's job.
pub fn processes_of(home: &NodeHandle<'_>, leader: u32) -> Result<Vec<Value>, LabError> {
    let rows = home.limosa(&["ps"])?;
    let rows = rows.as_array().cloned().unwrap_or_default();
    let job = rows.iter().find(|row| row["pid"] == leader);
    let Some(job) = job.map(|row| row["job"].clone()) else {
        return Ok(Vec::new());
    };
    Ok(rows.into_iter().filter(|row| row["job"] == job).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    fn output(code: i32, out: &str, err: &str) -> Output {
        Output {
            status: ExitStatus::from_raw(code << 8),
            stdout: out.into(),
            stderr: err.into(),
        }
    }

    #[test]
    fn a_refusal_is_counted_by_its_reason_and_a_failure_is_told() {
        let mut moves = Moves::default();
        moves.note(&output(0, r#"{"freeze_ms": 12.5}"#, ""), false);
        moves.note(&output(1, "", "there is no such process"), true);
        let reason = r#"{"error": {"code": 4, "reasons": [{"code": "shared-memory"}]}}"#;
        moves.note(&output(4, "", reason), false);
        moves.note(&output(4, "", reason), false);
        moves.note(&output(1, "", "n2 is gone\n"), false);
        let mut all = Moves::default();
        all.add(moves);
        assert_eq!(all.done, 1);
        assert_eq!(all.freeze_max, Duration::from_micros(12_500));
        assert_eq!(
            all.refused,
            [("ended".into(), 1), ("shared-memory".into(), 2)].into()
        );
        assert_eq!(all.failed, ["exit status: 1: n2 is gone"]);
    }
}
