//! What is done with one test, and the verdict.
//!
//! 1. One that is excluded, or not installed, is not run.
//! 2. Once at home: only one that passes there says anything about being away.
//! 3. Once away: the same outcome is the end of it.
//! 4. Else twice more at home: one that does not pass each time is left out as unsteady.
//! 5. Twice more away: one that differs in any of three runs differs.

use lab::error::LabError;
use serde::{Deserialize, Serialize};

use crate::execution::{Executor, Place, Run};
use crate::journey::Journey;
use crate::notes::Notes;
use crate::outcome::{Outcome, is_same};
use crate::suite::Test;

/// Further runs of a test whose first run away was not like that at home.
const FURTHER_RUNS: usize = 2;

/// What is said of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Not run: it would harm the machine.
    Excluded,
    /// Not run: the suite was built without it.
    NotInstalled,
    /// At home it says that it does not apply to this machine.
    NotApplicable,
    /// It does not pass at home, or not within its time.
    FailsAtHome,
    /// It passes at home now and then.
    Unsteady,
    /// It passes at home and away alike.
    Same,
    /// It passes at home and does something else away.
    Differs,
}

/// One test and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Trial {
    /// Its name.
    pub(crate) test: String,
    /// What is said of it.
    pub(crate) verdict: Verdict,
    /// The runs at home.
    pub(crate) at_home: Vec<Outcome>,
    /// The runs away.
    pub(crate) away: Vec<Outcome>,
    /// Where its first process was during the first run away.
    pub(crate) journey: Journey,
    /// The reason of an exclusion or a known difference.
    pub(crate) reason: Option<String>,
}

impl Trial {
    /// Whether this is a difference for which nobody has a reason.
    pub(crate) fn is_unexplained(&self) -> bool {
        self.verdict == Verdict::Differs && self.reason.is_none()
    }
}

/// Tries one test.
pub(crate) fn try_test(
    executor: &Executor<'_>,
    notes: &Notes,
    test: &Test,
) -> Result<Trial, LabError> {
    let mut trial = Trial {
        test: test.name.clone(),
        verdict: Verdict::Excluded,
        at_home: Vec::new(),
        away: Vec::new(),
        journey: Journey::default(),
        reason: notes.exclusion(&test.name).map(String::from),
    };
    if trial.reason.is_none() {
        trial.verdict = match executor.suite.words(test) {
            Some(words) => compare(&mut trial, |place| executor.run(test, &words, place))?,
            None => Verdict::NotInstalled,
        };
    }
    if trial.verdict == Verdict::Differs {
        trial.reason = notes.difference(&test.name).map(String::from);
    }
    Ok(trial)
}

/// Steps 2 to 5.
fn compare(
    trial: &mut Trial,
    mut run: impl FnMut(Place) -> Result<Run, LabError>,
) -> Result<Verdict, LabError> {
    let at_home = run(Place::Home)?.outcome;
    trial.at_home.push(at_home);
    if at_home.is_not_applicable() {
        return Ok(Verdict::NotApplicable);
    }
    if !at_home.passed() {
        return Ok(Verdict::FailsAtHome);
    }
    let away = run(Place::Away)?;
    trial.away.push(away.outcome);
    trial.journey = away.journey;
    if is_same(&trial.at_home, &away.outcome) {
        return Ok(Verdict::Same);
    }
    for _ in 0..FURTHER_RUNS {
        trial.at_home.push(run(Place::Home)?.outcome);
    }
    if !trial.at_home.iter().all(Outcome::passed) {
        return Ok(Verdict::Unsteady);
    }
    for _ in 0..FURTHER_RUNS {
        trial.away.push(run(Place::Away)?.outcome);
    }
    let differs = |away: &Outcome| !is_same(&trial.at_home, away);
    if trial.away.iter().any(differs) {
        return Ok(Verdict::Differs);
    }
    Ok(Verdict::Same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Checks, Ending};

    /// The verdict on a test whose runs at home and away end with these exit statuses.
    fn verdict(at_home: &[i32], away: &[i32]) -> Verdict {
        let (mut at_home, mut away) = (at_home.iter(), away.iter());
        let mut trial = Trial {
            test: "x01".into(),
            verdict: Verdict::Excluded,
            at_home: Vec::new(),
            away: Vec::new(),
            journey: Journey::default(),
            reason: None,
        };
        let run = |place| {
            let next = match place {
                Place::Home => at_home.next(),
                Place::Away => away.next(),
            };
            let ending = Ending::Exited(*next.unwrap());
            let checks = Checks::default();
            let (outcome, journey) = (Outcome { ending, checks }, Journey::default());
            Ok(Run { outcome, journey })
        };
        let verdict = compare(&mut trial, run).unwrap();
        assert_eq!(
            (at_home.next(), away.next()),
            (None, None),
            "runs left over"
        );
        verdict
    }

    #[test]
    fn what_does_not_pass_at_home_is_not_run_away() {
        assert_eq!(verdict(&[1], &[]), Verdict::FailsAtHome);
        assert_eq!(verdict(&[32], &[]), Verdict::NotApplicable);
    }

    #[test]
    fn the_same_outcome_needs_one_run_each() {
        assert_eq!(verdict(&[0], &[0]), Verdict::Same);
    }

    #[test]
    fn one_that_differs_in_one_run_of_three_differs() {
        assert_eq!(verdict(&[0, 0, 0], &[1, 1, 1]), Verdict::Differs);
        assert_eq!(verdict(&[0, 0, 0], &[1, 0, 0]), Verdict::Differs);
    }

    #[test]
    fn one_that_fails_at_home_now_and_then_is_unsteady() {
        assert_eq!(verdict(&[0, 1, 0], &[1]), Verdict::Unsteady);
    }
}
