//! What an agent's log says of programs that were away: why they came home by themselves, and what
//! went wrong (pure).

use std::collections::BTreeMap;

/// What an agent wrote during a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    /// How often a process changed its node, for whatever reason.
    pub moves: u32,
    /// Why processes came home by themselves, and how often.
    pub homecomings: BTreeMap<String, u32>,
    /// Its warnings and errors, word for word.
    pub troubles: Vec<String>,
}

impl Journal {
    /// Reads a log, or a part of it.
    pub fn read(log: &str) -> Self {
        let mut journal = Self::default();
        for line in log.lines() {
            if line.starts_with("WARN") || line.starts_with("ERROR") {
                journal.troubles.push(line.to_owned());
                continue;
            }
            journal.moves += u32::from(line.contains(" moved to "));
            if let Some(reason) = homecoming(line) {
                *journal.homecomings.entry(reason.to_owned()).or_default() += 1;
            }
        }
        journal
    }
}

/// The reason in "process 7 moved to n1, frozen for 1.5 ms (it calls clone: new processes ...)", up to
/// its explanation.
fn homecoming(line: &str) -> Option<&str> {
    let (_, moved) = line.split_once(" moved to ")?;
    let (_, reason) = moved.split_once(" (")?;
    let reason = reason.strip_suffix(')')?;
    Some(reason.split_once(": ").map_or(reason, |(what, _)| what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_and_troubles_are_kept() {
        let log = "INFO: process 7 moved to n2, frozen for 62.3 ms\n\
                   INFO: process 7 moved to n1, frozen for 37.0 ms (it calls clone: new ones are made at home)\n\
                   WARN: n2 is lost\n\
                   INFO: process 8 moved to n1, frozen for 1.0 ms (it calls clone: new ones are made at home)\n\
                   INFO: process 9 moved to n1, frozen for 2.0 ms\n";
        let journal = Journal::read(log);
        assert_eq!(journal.moves, 4);
        assert_eq!(journal.homecomings, [("it calls clone".into(), 2)].into());
        assert_eq!(journal.troubles, ["WARN: n2 is lost"]);
    }
}
