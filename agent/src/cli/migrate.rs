//! `limosa migrate`: move a process.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use argh::FromArgs;

use super::client;
use super::table::{milliseconds, size};
use crate::wire::control::{ControlRequest, ControlResponse, MigrationRow};

/// Move a process to another node, or home, while it runs. It must have been started by `limosa run`
/// on this node, and it must be yours, unless you are root. What cannot be moved runs on unharmed.
#[derive(FromArgs)]
#[argh(
    example = "{command_name} 4242 n2\n{command_name} 4242 home\n{command_name} 4242 balance\n{command_name} --no-wait 4242 10.0.0.7",
    note = "A process that was moved like this stays there; the balancer moves it no more, but for `balance`.\n            `limosa why PID` says what keeps a process from moving.",
    error_code(1, "the move failed; the process runs on where it was"),
    error_code(3, "no agent runs here"),
    error_code(4, "refused: the process may not or cannot move")
)]
pub(super) struct Migrate {
    /// do not wait until the move is over
    #[argh(switch)]
    no_wait: bool,
    /// print JSON
    #[argh(switch)]
    json: bool,
    /// where the agent keeps its socket (default: $LIMOSA_RUN_DIR, else /run/limosa)
    #[argh(option)]
    run_dir: Option<PathBuf>,
    /// the process
    #[argh(positional)]
    pid: u32,
    /// a node's name, number or address, or `home`; or `balance`: it may move by itself again
    #[argh(positional)]
    node: String,
}

pub(super) fn main(words: Vec<OsString>) -> ExitCode {
    let options: Migrate = match super::parse("migrate", words) {
        Ok(options) => options,
        Err(code) => return code,
    };
    let request = ControlRequest::Migrate {
        pid: options.pid,
        destination: options.node,
        wait: !options.no_wait,
    };
    match client::ask(options.run_dir.as_deref(), &request) {
        Ok(ControlResponse::Migrated(row)) if options.json => super::print_json(&row),
        Ok(ControlResponse::Migrated(row)) => {
            super::print(&format!("{}\n", sentence(&row)));
            ExitCode::SUCCESS
        }
        Ok(_) => super::unexpected(options.json),
        Err(error) => error.report(options.json, error.code()),
    }
}

fn sentence(row: &MigrationRow) -> String {
    let MigrationRow { pid, from, to, .. } = row;
    match (row.freeze_ms, row.total_ms, row.bytes_sent) {
        _ if from == to => format!("process {pid} is on {to} already"),
        (Some(freeze_ms), Some(total_ms), Some(bytes_sent)) => format!(
            "process {pid} moved from {from} to {to}: frozen for {}, {} in all, {} sent",
            milliseconds(freeze_ms),
            milliseconds(total_ms),
            size(bytes_sent)
        ),
        _ => format!("process {pid} is asked to move from {from} to {to}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_is_told_in_one_sentence() {
        let mut row = MigrationRow {
            pid: 7,
            from: "n1".into(),
            to: "n2".into(),
            freeze_ms: Some(4.25),
            total_ms: Some(1500.0),
            bytes_sent: Some(3 << 20),
        };
        assert_eq!(
            sentence(&row),
            "process 7 moved from n1 to n2: frozen for 4.2 ms, 1.50 s in all, 3.0 MiB sent"
        );
        row.freeze_ms = None;
        assert_eq!(sentence(&row), "process 7 is asked to move from n1 to n2");
        row.to = "n1".into();
        assert_eq!(sentence(&row), "process 7 is on n1 already");
    }
}
