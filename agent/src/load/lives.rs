//! How long programs live, by their names: learnt from those that have ended.
//!
//! Of a program that nobody knows, its age is the best guess (Harchol-Balter, Downey 1997). But the compilers of one
//! `make` are all alike, and end before their age says that they are worth a move. So what programs of a name have used
//! on average is remembered, of the latest most; and how often they called.

use std::time::Duration;

use crate::limits::PROGRAMS_KNOWN_MAX;
use crate::process::Identity;

/// Part of the average that the latest life is.
const NEWEST: f64 = 0.3;

/// What programs of a name were like, on average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    /// CPU time that one has used, in seconds.
    pub life_seconds: f64,
    /// Its calls for each second of CPU time.
    pub calls_per_cpu_second: f64,
}

/// A program that runs.
#[derive(Debug)]
struct Running {
    process: Identity,
    name: String,
    /// CPU time that its process had used before it executed this program, in seconds.
    before_seconds: f64,
    /// And that it has used when it was last seen.
    used_seconds: f64,
    calls_per_cpu_second: f64,
    seen: Duration,
}

impl Running {
    /// What the program itself was like.
    fn life(&self) -> Known {
        Known {
            life_seconds: self.used_seconds - self.before_seconds,
            calls_per_cpu_second: self.calls_per_cpu_second,
        }
    }
}

/// What is known of the programs of one name.
#[derive(Debug)]
struct Life {
    name: String,
    average: Known,
    ended: Duration,
}

/// The lives of programs.
#[derive(Debug, Default)]
pub struct Lives {
    /// In the order of their processes.
    running: Vec<Running>,
    known: Vec<Life>,
}

impl Lives {
    /// A process runs the program `name`, has used so much CPU time in its whole life, in seconds, and makes so many calls
    /// for each. How much more it can be expected to use.
    pub fn see(
        &mut self,
        now: Duration,
        process: Identity,
        name: &str,
        (cpu_seconds, calls_per_cpu_second): (f64, f64),
    ) -> f64 {
        let place = self
            .running
            .partition_point(|running| running.process < process);
        let before = match self.running.get_mut(place) {
            Some(program) if program.process == process => {
                program.seen = now;
                program.used_seconds = program.used_seconds.max(cpu_seconds);
                let ended = (program.name != name).then(|| {
                    let life = program.life();
                    program.before_seconds = program.used_seconds;
                    (std::mem::replace(&mut program.name, name.to_owned()), life)
                });
                program.calls_per_cpu_second = calls_per_cpu_second;
                let before_seconds = program.before_seconds;
                if let Some((name, life)) = ended {
                    self.learn(now, name, life);
                }
                before_seconds
            }
            _ => {
                let program = Running {
                    process,
                    name: name.to_owned(),
                    before_seconds: 0.0,
                    used_seconds: cpu_seconds,
                    calls_per_cpu_second,
                    seen: now,
                };
                self.running.insert(place, program);
                0.0
            }
        };
        let life_seconds = self.of(name).map_or(0.0, |known| known.life_seconds);
        cpu_seconds.max(life_seconds - (cpu_seconds - before))
    }

    /// What programs of this name were like, if any is known.
    pub fn of(&self, name: &str) -> Option<Known> {
        let known = self.known.iter().find(|life| life.name == name);
        known.map(|life| life.average)
    }

    /// Learns of those that were not seen in this round: they have ended.
    pub fn forget_unseen(&mut self, now: Duration) {
        let mut index = 0;
        while let Some(program) = self.running.get(index) {
            if program.seen >= now {
                index += 1;
                continue;
            }
            let ended = self.running.remove(index);
            let life = ended.life();
            self.learn(now, ended.name, life);
        }
    }

    fn learn(&mut self, now: Duration, name: String, latest: Known) {
        if let Some(life) = self.known.iter_mut().find(|life| life.name == name) {
            let average = &mut life.average;
            average.life_seconds += NEWEST * (latest.life_seconds - average.life_seconds);
            average.calls_per_cpu_second +=
                NEWEST * (latest.calls_per_cpu_second - average.calls_per_cpu_second);
            life.ended = now;
            return;
        }
        if self.known.len() >= PROGRAMS_KNOWN_MAX {
            let lives = self.known.iter().enumerate();
            if let Some((oldest, _)) = lives.min_by_key(|(_, life)| life.ended) {
                self.known.swap_remove(oldest);
            }
        }
        self.known.push(Life {
            name,
            average: latest,
            ended: now,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32) -> Identity {
        Identity {
            pid,
            start_time_ticks: 1,
        }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_program_that_nobody_knows_lives_as_long_again_as_it_has() {
        let mut lives = Lives::default();
        assert_eq!(lives.see(at(1), process(1), "simulate", (0.0, 9.0)), 0.0);
        assert_eq!(lives.see(at(9), process(1), "simulate", (8.0, 9.0)), 8.0);
    }

    #[test]
    fn the_next_compiler_is_expected_to_live_as_the_last_ones_did() {
        let mut lives = Lives::default();
        lives.see(at(1), process(1), "cc1", (0.1, 9.0));
        lives.see(at(2), process(1), "cc1", (2.0, 9.0));
        lives.forget_unseen(at(3));
        let known = Known {
            life_seconds: 2.0,
            calls_per_cpu_second: 9.0,
        };
        assert_eq!(lives.of("cc1"), Some(known));
        assert_eq!(lives.see(at(4), process(2), "cc1", (0.0, 9.0)), 2.0);
        assert_eq!(lives.see(at(4), process(2), "cc1", (0.5, 9.0)), 1.5);
        // Longer than any: what is left is guessed by its age again.
        assert_eq!(lives.see(at(5), process(2), "cc1", (7.0, 9.0)), 7.0);
    }

    #[test]
    fn an_exec_ends_one_program_and_begins_another() {
        let mut lives = Lives::default();
        lives.see(at(1), process(1), "sh", (0.5, 9.0));
        lives.see(at(2), process(1), "cc1", (0.5, 9.0));
        lives.see(at(3), process(1), "cc1", (3.5, 9.0));
        lives.forget_unseen(at(4));
        assert_eq!(lives.see(at(5), process(2), "sh", (0.0, 9.0)), 0.5);
        assert_eq!(lives.see(at(5), process(3), "cc1", (0.0, 9.0)), 3.0);
    }

    #[test]
    fn no_more_names_are_known_than_the_limit_says() {
        let mut lives = Lives::default();
        for number in 0..2 * PROGRAMS_KNOWN_MAX as u32 {
            let now = at(number.into());
            lives.see(
                now,
                process(number),
                &format!("program{number}"),
                (1.0, 9.0),
            );
            lives.forget_unseen(now + at(1));
        }
        assert_eq!(lives.known.len(), PROGRAMS_KNOWN_MAX);
        assert!(lives.running.is_empty());
    }
}
