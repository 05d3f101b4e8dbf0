//! The commands: each parses its words, sends one control request and prints the answer.

use std::process::ExitCode;

/// Picks the command from the program's name or its first word, and runs it.
pub fn main() -> ExitCode {
    ExitCode::from(2)
}
