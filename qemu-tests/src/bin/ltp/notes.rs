//! What is known about single tests: `qemu-tests/ltp-notes`, checked in (pure).
//!
//! ```text
//!   # a comment
//!   exclude settimeofday01: it sets this machine's clock
//!   differs userfaultfd*: it ...
//! ```
//!
//! A name may end in `*`. Every line has a reason in words.

use std::fmt;

/// The file, as it was when this program was built.
pub(crate) const CHECKED_IN: &str = include_str!("../../../ltp-notes");

/// What a line says of its tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Not to be run: it would harm the machine.
    Exclude,
    /// It behaves differently away from home.
    Differs,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Note {
    kind: Kind,
    name: String,
    reason: String,
}

impl Note {
    fn is_of(&self, test: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(beginning) => test.starts_with(beginning),
            None => test == self.name,
        }
    }
}

/// All notes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Vec<Note>);

/// A line that is not a note.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotANote {
    line: usize,
    text: String,
}

impl fmt::Display for NotANote {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, text } = self;
        write!(
            out,
            "line {line} of ltp-notes is neither \"exclude TEST: REASON\" nor \"differs TEST: REASON\": {text}"
        )
    }
}

impl Notes {
    /// Reads them.
    pub(crate) fn parse(text: &str) -> Result<Self, NotANote> {
        let lines = (1..).zip(text.lines());
        let notes = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let notes = notes.map(|(line, text)| {
            note(text).ok_or_else(|| NotANote {
                line,
                text: text.into(),
            })
        });
        notes.collect::<Result<_, _>>().map(Self)
    }

    /// Why a test is not to be run.
    pub(crate) fn exclusion(&self, test: &str) -> Option<&str> {
        self.reason(Kind::Exclude, test)
    }

    /// Why a test may behave differently away from home.
    pub(crate) fn difference(&self, test: &str) -> Option<&str> {
        self.reason(Kind::Differs, test)
    }

    fn reason(&self, kind: Kind, test: &str) -> Option<&str> {
        let note = self
            .0
            .iter()
            .find(|note| note.kind == kind && note.is_of(test))?;
        Some(&note.reason)
    }
}

fn note(line: &str) -> Option<Note> {
    let (kind, rest) = line.split_once(' ')?;
    let (name, reason) = rest.split_once(": ")?;
    let kind = match kind {
        "exclude" => Kind::Exclude,
        "differs" => Kind::Differs,
        _ => return None,
    };
    let (name, reason) = (name.trim(), reason.trim());
    let is_name = !name.is_empty() && !name.contains(char::is_whitespace);
    (is_name && !reason.is_empty()).then(|| Note {
        kind,
        name: name.into(),
        reason: reason.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checked_in_notes_are_well_formed() {
        let notes = Notes::parse(CHECKED_IN).unwrap();
        assert!(notes.exclusion("settimeofday01").is_some());
        assert_eq!(notes.exclusion("getpid01"), None);
    }

    #[test]
    fn a_note_is_of_one_test_or_of_all_that_begin_alike() {
        let notes = Notes::parse("# why\n\nexclude a*: bad\ndiffers b01: slow: very\n").unwrap();
        assert_eq!(notes.exclusion("a01"), Some("bad"));
        assert_eq!(notes.difference("a01"), None);
        assert_eq!(notes.difference("b01"), Some("slow: very"));
        assert_eq!(notes.difference("b012"), None);
    }

    #[test]
    fn a_note_without_a_reason_is_refused() {
        for text in [
            "differs b01",
            "differs b01: ",
            "skips b01: slow",
            "differs : slow",
        ] {
            let error = Notes::parse(text).unwrap_err();
            assert_eq!(error.line, 1, "{text}");
        }
    }
}
