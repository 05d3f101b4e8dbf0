//! What a run did, seen from outside, and how two runs differ (pure).

use std::process::ExitStatus;
use std::time::Duration;

use super::program::{Comparison, Program};

/// What a run did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to its standard output, or to its terminal.
    pub out: String,
    /// What it wrote to its standard error.
    pub err: String,
    /// What its client wrote, and how that ended.
    pub client: String,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    /// How this differs from the native run, in words; times do not count.
    pub fn differences(&self, native: &Self, program: &Program) -> Vec<String> {
        let mut differences = Vec::new();
        if self.status != native.status {
            differences.push(format!("{} instead of {}", self.status, native.status));
        }
        let streams = [
            ("stdout", program.out, &native.out, &self.out),
            ("stderr", program.err, &native.err, &self.err),
            ("client", Comparison::Exact, &native.client, &self.client),
        ];
        for (stream, comparison, native, found) in streams {
            let (native, found) = match comparison {
                Comparison::Ignored => continue,
                Comparison::Exact => (native.clone(), found.clone()),
                Comparison::NumbersMasked => (mask_numbers(native), mask_numbers(found)),
            };
            if let Some(difference) = first_difference(&native, &found) {
                differences.push(format!("{stream}, {difference}"));
            }
        }
        differences
    }
}

/// The first line in which two texts differ.
fn first_difference(native: &str, found: &str) -> Option<String> {
    if native == found {
        return None;
    }
    let (mut native, mut found) = (native.split('\n'), found.split('\n'));
    let mut line = 0;
    loop {
        line += 1;
        match (native.next(), found.next()) {
            (expected, found) if expected == found && expected.is_some() => {}
            (expected, found) => {
                let shown =
                    |line: Option<&str>| line.map_or("nothing".into(), |line| format!("{line:?}"));
                let (expected, found) = (shown(expected), shown(found));
                return Some(format!("line {line}: {found} instead of {expected}"));
            }
        }
    }
}

/// Replaces every number by `#`, and blanks by one: columns are as wide as their numbers.
fn mask_numbers(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    for letter in text.chars() {
        let last = masked.chars().next_back();
        match letter {
            '0'..='9' if last == Some('#') => {}
            // Separators inside a number.
            '.' | ',' if last == Some('#') => {}
            '0'..='9' => masked.push('#'),
            ' ' | '\t' if last == Some(' ') => {}
            ' ' | '\t' => masked.push(' '),
            other => masked.push(other),
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::super::table::PROGRAMS;
    use super::*;

    fn outcome(status: i32, out: &str, err: &str) -> Outcome {
        Outcome {
            status: ExitStatus::from_raw(status),
            out: out.into(),
            err: err.into(),
            client: String::new(),
            took: Duration::from_millis(u64::from(out.len() as u32)),
        }
    }

    #[test]
    fn every_difference_is_told_with_its_place() {
        let mut program = PROGRAMS[0];
        (program.out, program.err) = (Comparison::Exact, Comparison::NumbersMasked);
        let native = outcome(0, "one\ntwo\n", "pid 17 took   1,000.25 s\n");
        assert_eq!(native.differences(&native, &program), [""; 0]);
        let other = outcome(256, "one\nTWO\n", "pid 170000 took 0.5 s\n");
        assert_eq!(
            other.differences(&native, &program),
            [
                "exit status: 1 instead of exit status: 0",
                "stdout, line 2: \"TWO\" instead of \"two\""
            ]
        );
        let shorter = outcome(0, "one", "pid 17 took 1 h\n");
        assert_eq!(
            shorter.differences(&native, &program),
            [
                "stdout, line 2: nothing instead of \"two\"",
                "stderr, line 1: \"pid # took # h\" instead of \"pid # took # s\""
            ]
        );
    }
}
