//! What a person types at a program's terminal, and what must be seen before the next key.

use std::time::Duration;

use crate::error::LabError;
use crate::faults::Chance;
use crate::terminal::Terminal;

/// How long the screen may take to show what is expected.
const LOOK_TIMEOUT: Duration = Duration::from_secs(60);

/// A person types at most this slowly.
const PAUSE_MS_MAX: u64 = 400;

/// One step of a dialogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Type these keys.
    Type(&'static str),
    /// Go on when the screen has shown this since the keys before.
    Look(&'static str),
}

/// A step that types.
pub const fn type_keys(keys: &'static str) -> Step {
    Step::Type(keys)
}

/// A step that looks.
pub const fn look(text: &'static str) -> Step {
    Step::Look(text)
}

/// Goes through the steps at a person's pace and reads until the program has closed its terminal;
/// returns all that was shown.
pub fn hold(
    terminal: &mut Terminal,
    steps: &[Step],
    chance: &mut Chance,
    end_timeout: Duration,
) -> Result<String, LabError> {
    let mut seen_bytes = 0;
    for step in steps {
        match step {
            Step::Type(keys) => {
                std::thread::sleep(Duration::from_millis(chance.below(PAUSE_MS_MAX)));
                seen_bytes = terminal.shown_bytes();
                terminal.type_keys(keys.as_bytes())?;
            }
            Step::Look(text) => terminal.wait_for_since(seen_bytes, text, LOOK_TIMEOUT)?,
        }
    }
    terminal.wait_for_end(end_timeout)
}
