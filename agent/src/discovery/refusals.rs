//! Whom this node has refused, and why: said once, in words, and kept in a bounded table.
//!
//! What a stranger sends is not authentic, so it must not be able to fill the log either: when the
//! table turns over faster than [`TURNOVER_MIN`], refusals are only counted.

use std::time::Duration;

use heapless::Deque;

use crate::limits::REFUSALS_MAX;
use crate::wire::hello::one_line;

/// A full table takes a new refusal at most this often.
const TURNOVER_MIN: Duration = Duration::from_secs(10);

struct Refusal {
    subject: String,
    line: String,
}

/// The refusals, oldest first.
#[derive(Default)]
pub struct Refusals {
    noted: Deque<Refusal, REFUSALS_MAX>,
    last: Option<Duration>,
}

impl Refusals {
    /// Notes a refusal of `subject`, whoever and whatever that is; returns whether it is a new one, which
    /// has then been logged.
    pub fn note(&mut self, now: Duration, subject: &str, line: &str) -> bool {
        let (subject, line) = (one_line(subject), one_line(line));
        if self.noted.iter().any(|known| known.subject == subject) {
            return false;
        }
        if self.noted.is_full() {
            if self.last.is_some_and(|last| now < last + TURNOVER_MIN) {
                return false;
            }
            self.noted.pop_front();
        }
        self.last = Some(now);
        log::warn!("{line}");
        self.noted.push_back(Refusal { subject, line }).is_ok()
    }

    /// The lines, oldest first.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.noted
            .iter()
            .map(|refusal| refusal.line.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_said_once() {
        let mut refusals = Refusals::default();
        assert!(refusals.note(Duration::ZERO, "n3", "n3 has another key"));
        assert!(!refusals.note(Duration::from_secs(100), "n3", "n3 has another key"));
        assert_eq!(refusals.lines(), ["n3 has another key"]);
    }

    #[test]
    fn a_flood_of_strangers_neither_grows_the_table_nor_fills_the_log() {
        let mut refusals = Refusals::default();
        let noted = (0..1_000)
            .map(|n| (Duration::from_millis(n), format!("stranger {n}")))
            .filter(|(now, who)| refusals.note(*now, who, "no"))
            .count();
        assert_eq!(
            (noted, refusals.lines().len()),
            (REFUSALS_MAX, REFUSALS_MAX)
        );
        assert!(refusals.note(Duration::from_secs(60), "late", "no"));
        assert_eq!(refusals.lines().len(), REFUSALS_MAX);
    }
}
