//! Exit codes: what every command ends with, and what scripts may rely on.

use std::process::ExitCode;

use crate::wire::control::ErrorKind;

/// Tried and failed.
pub const FAILED: u8 = 1;
/// The words of the command make no sense.
pub const USAGE: u8 = 2;
/// No agent runs here.
pub const NO_AGENT: u8 = 3;
/// It may not or cannot be done, and nothing was changed.
pub const REFUSED: u8 = 4;

/// `limosa agent`: it does not run as root.
pub const NOT_ROOT: u8 = 10;
/// `limosa agent`: it has no cluster key.
pub const NO_KEY: u8 = 11;
/// `limosa agent`: its port is taken.
pub const PORT_TAKEN: u8 = 12;
/// `limosa agent`: the kernel is too old or lacks a feature.
pub const KERNEL: u8 = 13;
/// `limosa agent`: another agent runs on this run directory.
pub const AGENT_RUNS: u8 = 14;

/// `limosa run`: Limosa itself failed, as env(1).
pub const RUN_FAILED: u8 = 125;
/// `limosa run`: the program cannot be executed.
pub const CANNOT_EXECUTE: u8 = 126;
/// `limosa run`: the program was not found.
pub const NOT_FOUND: u8 = 127;

/// The exit code for an error that the agent answered with.
pub fn of(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Failed => FAILED,
        ErrorKind::BadRequest => USAGE,
        ErrorKind::Refused => REFUSED,
    }
}

/// Says on stderr what went wrong, and returns the code.
pub fn fail(code: u8, text: impl std::fmt::Display) -> ExitCode {
    eprintln!("limosa: {text}");
    ExitCode::from(code)
}
