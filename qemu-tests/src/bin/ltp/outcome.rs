//! How one run of a test ended, and whether two runs ended alike (pure).

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use serde::{Deserialize, Serialize};

/// Bit of the exit status of a test that was not applicable (`TCONF` of the suite's tst_res_flags.h).
const NOT_APPLICABLE: i32 = 32;

/// Words that say what kind of line this is.
const KINDS: [&str; 7] = [
    "TPASS", "TFAIL", "TBROK", "TWARN", "TCONF", "TINFO", "TDEBUG",
];

/// Words among which the kind of a line is: the test, its number and the kind, or the place and the kind.
const WORDS_BEFORE_TEXT: usize = 3;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ending {
    /// With this exit status.
    Exited(i32),
    /// Killed by this signal.
    Signalled(i32),
    /// Killed by us when its time was over.
    TimedOut,
}

impl From<ExitStatus> for Ending {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exited(code),
            (None, Some(signal)) => Self::Signalled(signal),
            // Not of a process that has been waited for (wait(2)).
            (None, None) => Self::Signalled(0),
        }
    }
}

/// How many checks of a test said what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checks {
    /// `TPASS`.
    pub(crate) passed: u32,
    /// `TFAIL`.
    pub(crate) failed: u32,
    /// `TBROK`: the test could not be done.
    pub(crate) broken: u32,
    /// `TWARN`.
    pub(crate) warned: u32,
    /// `TCONF`: not applicable here.
    pub(crate) not_applicable: u32,
}

impl Checks {
    /// Counts the lines that report a check. Both generations of the suite's library write the kind of
    /// result as a word of its own, followed by a colon: `x.c:42: TPASS: ...`, `x 1 TPASS : ...`.
    pub(crate) fn in_output(output: &str) -> Self {
        let mut checks = Self::default();
        for line in output.lines() {
            let words = line.split_whitespace().take(WORDS_BEFORE_TEXT);
            let kind = words.map(|word| word.trim_end_matches(':'));
            // The first kind is the line's: what follows it is text and may name others.
            let kind = kind.into_iter().find(|word| KINDS.contains(word));
            if let Some(count) = kind.and_then(|kind| checks.count_of(kind)) {
                *count += 1;
            }
        }
        checks
    }

    fn count_of(&mut self, word: &str) -> Option<&mut u32> {
        match word {
            "TPASS" => Some(&mut self.passed),
            "TFAIL" => Some(&mut self.failed),
            "TBROK" => Some(&mut self.broken),
            "TWARN" => Some(&mut self.warned),
            "TCONF" => Some(&mut self.not_applicable),
            _ => None,
        }
    }
}

/// One run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// How it ended.
    pub(crate) ending: Ending,
    /// What its checks said.
    pub(crate) checks: Checks,
}

impl Outcome {
    /// Whether the test passed.
    pub(crate) fn passed(&self) -> bool {
        self.ending == Ending::Exited(0) && self.checks.failed == 0 && self.checks.broken == 0
    }

    /// Whether the test found that it has nothing to test here.
    pub(crate) fn is_not_applicable(&self) -> bool {
        let says_nothing_else = self.checks.passed == 0 && self.checks.not_applicable > 0;
        self.ending == Ending::Exited(NOT_APPLICABLE) || (self.passed() && says_nothing_else)
    }

    /// In a few words, for the table.
    pub(crate) fn words(&self) -> String {
        let ending = match self.ending {
            Ending::Exited(0) => String::new(),
            Ending::Exited(status) => format!("exit status {status}, "),
            Ending::Signalled(signal) => format!("signal {signal}, "),
            Ending::TimedOut => "time over, ".to_owned(),
        };
        let Checks {
            passed,
            failed,
            broken,
            warned,
            not_applicable,
        } = self.checks;
        let others = [
            (failed, "failed"),
            (broken, "broken"),
            (warned, "warned"),
            (not_applicable, "not applicable"),
        ];
        let others = others.into_iter().filter(|(count, _)| *count > 0);
        let others: String = others
            .map(|(count, what)| format!(", {count} {what}"))
            .collect();
        format!("{ending}{passed} passed{others}")
    }
}

/// Whether a run away says what the runs at home said, all of which passed.
///
/// The number of passed checks of some tests depends on time or chance: where the runs at home differ
/// in it, it says nothing.
pub(crate) fn is_same(at_home: &[Outcome], away: &Outcome) -> bool {
    let Some(first) = at_home.first() else {
        return false;
    };
    let is_steady = at_home.iter().all(|outcome| outcome.checks == first.checks);
    away.passed() && (!is_steady || away.checks == first.checks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: i32, passed: u32, not_applicable: u32) -> Outcome {
        Outcome {
            ending: Ending::Exited(status),
            checks: Checks {
                passed,
                not_applicable,
                ..Checks::default()
            },
        }
    }

    #[test]
    fn checks_of_both_generations_are_counted_and_the_summary_is_not() {
        let output = "tst_test.c:1985: TINFO: Overall timeout per run is 0h 00m 30s\n\
                      accept01.c:92: TPASS: bad file descriptor : EBADF (9)\n\
                      accept01.c:93: TFAIL: TPASS was expected\n\
                      fork05      1  TPASS  :  %fs was preserved\n\
                      fork05      0  TINFO  :  TPASS is not said\n\
                      x 2 TBROK  :  x.c:7: open failed: errno=2\n\
                      a.c:1: TCONF: not here\n\
                      passed   1\n";
        let checks = Checks {
            passed: 2,
            failed: 1,
            broken: 1,
            warned: 0,
            not_applicable: 1,
        };
        assert_eq!(Checks::in_output(output), checks);
    }

    #[test]
    fn a_run_away_must_pass_as_many_checks_as_at_home() {
        assert!(is_same(&[outcome(0, 3, 0)], &outcome(0, 3, 0)));
        assert!(!is_same(&[outcome(0, 3, 0)], &outcome(0, 2, 1)));
        assert!(!is_same(&[outcome(0, 3, 0)], &outcome(1, 3, 0)));
        let signalled = Outcome {
            ending: Ending::Signalled(9),
            ..outcome(0, 3, 0)
        };
        assert!(!is_same(&[outcome(0, 3, 0)], &signalled));
        assert!(!is_same(&[], &outcome(0, 3, 0)));
    }

    #[test]
    fn a_number_of_checks_that_varies_at_home_is_not_compared() {
        let at_home = [outcome(0, 3, 0), outcome(0, 5, 0)];
        assert!(is_same(&at_home, &outcome(0, 4, 0)));
        assert!(!is_same(&at_home, &outcome(2, 4, 0)));
    }

    #[test]
    fn what_is_not_applicable_has_not_passed() {
        assert!(outcome(32, 0, 1).is_not_applicable());
        assert!(!outcome(32, 0, 1).passed());
        assert!(outcome(0, 1, 1).passed());
    }
}
