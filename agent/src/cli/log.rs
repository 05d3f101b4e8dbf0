//! The log: plain lines on stderr, as much as LIMOSA_LOG or RUST_LOG ask for.

use std::io::Write;

use env_logger::{Builder, Env};
use log::LevelFilter;

/// Starts logging at level `info` unless the environment says otherwise. The first call counts.
pub fn start() {
    let variable = match std::env::var_os("LIMOSA_LOG") {
        Some(_) => "LIMOSA_LOG",
        None => "RUST_LOG",
    };
    // A second logger in one process is refused, and the first one goes on.
    let _ = Builder::new()
        .filter_level(LevelFilter::Info)
        .parse_env(Env::new().filter(variable))
        .format(|line, record| writeln!(line, "{}: {}", record.level(), record.args()))
        .try_init();
}
