//! `limosa ps`: the processes of this node's jobs, and where they are.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use argh::FromArgs;

use super::client;
use super::table::{Align, Cell, Table, milliseconds, size, state_tone};
use crate::wire::control::{ControlRequest, ControlResponse, ProcessRow, state_word};

/// List the processes whose home is this node: all that `limosa run` started here, their children
/// included, and where each one is.
#[derive(FromArgs)]
#[argh(
    example = "{command_name}\n{command_name} --json | jq '.[] | select(.node != .home) | .pid'",
    note = "MEMORY is what the process has resident at home. AWAY is CPU time used on other nodes.\n\
            With --json, each process is also examined for what keeps it from leaving home (cantmove).",
    error_code(3, "no agent runs here")
)]
pub(super) struct Ps {
    /// print JSON
    #[argh(switch)]
    json: bool,
    /// where the agent keeps its socket (default: $LIMOSA_RUN_DIR, else /run/limosa)
    #[argh(option)]
    run_dir: Option<PathBuf>,
}

pub(super) fn main(words: Vec<OsString>) -> ExitCode {
    let options: Ps = match super::parse("ps", words) {
        Ok(options) => options,
        Err(code) => return code,
    };
    let request = ControlRequest::Processes {
        examine: options.json,
    };
    match client::ask(options.run_dir.as_deref(), &request) {
        Ok(ControlResponse::Processes(rows)) if options.json => super::print_json(&rows),
        Ok(ControlResponse::Processes(rows)) => {
            table(&rows).print();
            ExitCode::SUCCESS
        }
        Ok(_) => super::unexpected(options.json),
        Err(error) => error.report(options.json, error.code()),
    }
}

fn table(rows: &[ProcessRow]) -> Table {
    let mut table = Table::new(&[
        ("PID", Align::Right),
        ("JOB", Align::Right),
        ("USER", Align::Left),
        ("NODE", Align::Left),
        ("STATE", Align::Left),
        ("MOVES", Align::Right),
        ("FREEZE", Align::Right),
        ("MEMORY", Align::Right),
        ("AWAY", Align::Right),
        ("COMMAND", Align::Left),
    ]);
    for row in rows {
        let state = state_word(row.state);
        table.row(vec![
            row.pid.into(),
            row.job.into(),
            (&row.user).into(),
            (&row.node).into(),
            Cell::toned(state, state_tone(state)),
            row.migrations.into(),
            row.freeze_ms_last
                .map_or_else(|| "-".to_string(), milliseconds)
                .into(),
            size(row.memory_bytes).into(),
            format!("{:.1} s", row.away_cpu_seconds).into(),
            (&row.command).into(),
        ]);
    }
    table
}
