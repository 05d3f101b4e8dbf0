//! Where a test's processes were, from what the home agent logged (pure).

use serde::{Deserialize, Serialize};

/// What the processes of one run did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Journey {
    /// How often one of them left home.
    pub(crate) departures: u32,
    /// Why they came home by themselves, each reason once.
    pub(crate) came_home: Vec<String>,
    /// Why they could not leave, each reason once.
    pub(crate) stayed: Vec<String>,
}

impl Journey {
    /// Reads the lines that the agent of node `home` logged about process `pid`.
    pub(crate) fn of(pid: u32, home: &str, log: &str) -> Self {
        let subject = format!("process {pid} ");
        let mut journey = Self::default();
        for line in log.lines() {
            let Some((_, event)) = line.split_once(&subject) else {
                continue;
            };
            if let Some(moved) = event.strip_prefix("moved to ") {
                if !moved.starts_with(&format!("{home},")) {
                    journey.departures += 1;
                } else if let Some((_, cause)) = moved.split_once(" (") {
                    add(&mut journey.came_home, cause.trim_end_matches(')'));
                }
            } else if let Some((_, reason)) = event.split_once("stays where it is: ") {
                add(&mut journey.stayed, reason);
            }
        }
        journey
    }
}

fn add(reasons: &mut Vec<String>, reason: &str) {
    if !reasons.iter().any(|known| known == reason) {
        reasons.push(reason.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journey_is_read_from_the_log() {
        let log = "INFO process 71 moved to n2, frozen for 9.0 ms\n\
                   INFO process 7 moved to n2, frozen for 9.0 ms\n\
                   INFO process 7 moved to n1, frozen for 9.0 ms (fork needs home)\n\
                   INFO process 7 moved to n2, frozen for 9.0 ms\n\
                   INFO process 7 moved to n1, frozen for 9.0 ms (fork needs home)\n\
                   WARN process 7 stays where it is: it is traced\n";
        let journey = Journey {
            departures: 2,
            came_home: vec!["fork needs home".into()],
            stayed: vec!["it is traced".into()],
        };
        assert_eq!(Journey::of(7, "n1", log), journey);
        assert_eq!(Journey::of(8, "n1", log), Journey::default());
    }
}
