//! `limosa why`: what keeps a process from moving.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use argh::FromArgs;

use super::client;
use crate::wire::control::{ControlRequest, ControlResponse, WhyRow};

/// Say what keeps a process from leaving home. The process is only looked at, not touched. With a node
/// named, that node is asked what it can do, and what its CPU or kernel lacks for this process is said too.
#[derive(FromArgs)]
#[argh(
    example = "{command_name} 4242\n{command_name} 4242 n2\n{command_name} --json 4242 | jq -r '.reasons[].code'",
    error_code(3, "no agent runs here"),
    error_code(4, "refused: there is no such process, or it is somebody else's")
)]
pub(super) struct Why {
    /// print JSON
    #[argh(switch)]
    json: bool,
    /// where the agent keeps its socket (default: $LIMOSA_RUN_DIR, else /run/limosa)
    #[argh(option)]
    run_dir: Option<PathBuf>,
    /// the process
    #[argh(positional)]
    pid: u32,
    /// a node's name, number or address
    #[argh(positional)]
    node: Option<String>,
}

pub(super) fn main(words: Vec<OsString>) -> ExitCode {
    let options: Why = match super::parse("why", words) {
        Ok(options) => options,
        Err(code) => return code,
    };
    let request = ControlRequest::Why {
        pid: options.pid,
        node: options.node,
    };
    match client::ask(options.run_dir.as_deref(), &request) {
        Ok(ControlResponse::Why(row)) if options.json => super::print_json(&row),
        Ok(ControlResponse::Why(row)) => {
            super::print(&sentences(&row));
            ExitCode::SUCCESS
        }
        Ok(_) => super::unexpected(options.json),
        Err(error) => error.report(options.json, error.code()),
    }
}

fn sentences(row: &WhyRow) -> String {
    let way = row
        .node
        .as_ref()
        .map_or_else(|| "move".to_string(), |node| format!("go to {node}"));
    let mut text = match row.can_move {
        true => format!("process {} can {way}\n", row.pid),
        false => format!("process {} cannot {way}:\n", row.pid),
    };
    for reason in &row.reasons {
        text.push_str(&format!("  {}: {}\n", reason.code, reason.text));
    }
    if let Some(failure) = &row.last_failure {
        text.push_str(&format!("the last move did not happen: {failure}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::supervisor::Reason;

    #[test]
    fn reasons_are_listed_with_their_codes() {
        let mut row = WhyRow {
            pid: 7,
            node: Some("n2".into()),
            can_move: false,
            reasons: vec![Reason {
                code: "setuid".into(),
                text: "it is setuid".into(),
            }],
            last_failure: Some("n2 was full".into()),
        };
        assert_eq!(
            sentences(&row),
            "process 7 cannot go to n2:\n  setuid: it is setuid\n\
             the last move did not happen: n2 was full\n"
        );
        row = WhyRow {
            pid: 7,
            node: None,
            can_move: true,
            reasons: vec![],
            last_failure: None,
        };
        assert_eq!(sentences(&row), "process 7 can move\n");
    }
}
