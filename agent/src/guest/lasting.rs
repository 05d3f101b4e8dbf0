//! Answers about names that home has said to last: the guest is given them without asking again, until home says that
//! a directory on which they rest is to be forgotten. What makes that exact is home's (`deputy/lasting.rs`).

use crate::limits::LASTING_ANSWERS_MAX;
use crate::syscall::name_query::{LastingError, NameQuery};

/// What one guest has been told, and what it asks.
#[derive(Default)]
pub struct LastingAnswers {
    known: Vec<Known>,
    /// By the number of the call.
    asked: Vec<(u64, NameQuery)>,
}

struct Known {
    path: Vec<u8>,
    by_real_ids: bool,
    error: LastingError,
    directories: Vec<u32>,
}

impl Known {
    fn is_of(&self, query: &NameQuery) -> bool {
        self.path == query.path && self.by_real_ids == query.by_real_ids
    }
}

impl LastingAnswers {
    /// The result of a call that asks this, if it is known.
    pub(super) fn find(&self, query: &NameQuery) -> Option<i64> {
        let known = self.known.iter().find(|known| known.is_of(query))?;
        query.result(known.error)
    }

    /// This is asked at home by the call with this number.
    pub(super) fn ask(&mut self, call: u64, query: NameQuery) {
        self.asked.push((call, query));
    }

    /// A call has returned with this result; it lasts as long as these directories count, if there are any.
    pub(super) fn hear(&mut self, call: u64, result: i64, directories: Vec<u32>) {
        let Some(index) = self.asked.iter().position(|(asked, _)| *asked == call) else {
            return;
        };
        let (_, query) = self.asked.swap_remove(index);
        let Some(error) = query
            .lasting_error(result)
            .filter(|_| !directories.is_empty())
        else {
            return;
        };
        if self.known.len() >= LASTING_ANSWERS_MAX {
            self.known.clear();
        }
        self.known.retain(|known| !known.is_of(&query));
        self.known.push(Known {
            path: query.path,
            by_real_ids: query.by_real_ids,
            error,
            directories,
        });
    }

    /// What rests on these directories does not hold any more.
    pub(super) fn forget(&mut self, directories: &[u32]) {
        self.known
            .retain(|known| !known.directories.iter().any(|it| directories.contains(it)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(path: &str, reads_link: bool) -> NameQuery {
        NameQuery {
            path: path.into(),
            reads_link,
            by_real_ids: false,
        }
    }

    #[test]
    fn an_answer_lasts_until_a_directory_that_it_rests_on_is_forgotten() {
        let mut answers = LastingAnswers::default();
        answers.ask(7, query("/usr/lib", true));
        assert_eq!(answers.find(&query("/usr/lib", true)), None);
        answers.hear(7, -22, vec![1, 2]);
        assert_eq!(answers.find(&query("/usr/lib", true)), Some(-22));
        assert_eq!(answers.find(&query("/usr/lib", false)), None);
        answers.forget(&[3]);
        assert_eq!(answers.find(&query("/usr/lib", true)), Some(-22));
        answers.forget(&[2]);
        assert_eq!(answers.find(&query("/usr/lib", true)), None);
    }

    #[test]
    fn only_what_home_says_to_last_is_kept() {
        let mut answers = LastingAnswers::default();
        for (call, result, directories) in [(1, -2, vec![]), (2, 0, vec![1]), (3, -13, vec![1])] {
            answers.ask(call, query("/x", false));
            answers.hear(call, result, directories);
            assert_eq!(answers.find(&query("/x", false)), None);
        }
        // A call that has asked nothing.
        answers.hear(4, -2, vec![1]);
        assert_eq!(answers.find(&query("/x", false)), None);
        assert!(answers.asked.is_empty());
    }

    #[test]
    fn there_is_room_for_so_many_and_not_more() {
        let mut answers = LastingAnswers::default();
        for call in 0..2 * LASTING_ANSWERS_MAX as u64 {
            answers.ask(call, query(&format!("/{call}"), false));
            answers.hear(call, -2, vec![1]);
        }
        assert_eq!(answers.known.len(), LASTING_ANSWERS_MAX);
    }
}
