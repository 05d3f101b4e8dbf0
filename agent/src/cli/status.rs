//! `limosa status`: how this node, its cluster and its agent are doing.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use argh::FromArgs;

use super::client;
use super::table::size;
use crate::wire::control::{ControlRequest, ControlResponse, StatusReport};

/// Show how this node, its cluster and its agent are doing: members, jobs, supervisors, which nodes were
/// refused and why, what was counted, and what the agent itself uses.
#[derive(FromArgs)]
#[argh(
    example = "{command_name}\n{command_name} --json | jq '.agent.memory_bytes'",
    error_code(3, "no agent runs here")
)]
pub(super) struct Status {
    /// print JSON
    #[argh(switch)]
    json: bool,
    /// where the agent keeps its socket (default: $LIMOSA_RUN_DIR, else /run/limosa)
    #[argh(option)]
    run_dir: Option<PathBuf>,
}

pub(super) fn main(words: Vec<OsString>) -> ExitCode {
    let options: Status = match super::parse("status", words) {
        Ok(options) => options,
        Err(code) => return code,
    };
    match client::ask(options.run_dir.as_deref(), &ControlRequest::Status) {
        Ok(ControlResponse::Status(report)) if options.json => super::print_json(&report),
        Ok(ControlResponse::Status(report)) => {
            super::print(&lines(&report));
            ExitCode::SUCCESS
        }
        Ok(_) => super::unexpected(options.json),
        Err(error) => error.report(options.json, error.code()),
    }
}

fn lines(report: &StatusReport) -> String {
    let StatusReport {
        node,
        members,
        agent,
        ..
    } = report;
    let open = if report.open {
        " (OPEN: anybody on the network can join)"
    } else {
        ""
    };
    let mut lines = vec![
        format!(
            "node         {} (number {}), {}",
            node.name, node.number, node.state
        ),
        format!("identity     {}", node.id),
        format!("cluster      {}{open}", report.cluster),
        format!(
            "members      {} alive, {} suspect, {} lost, {} left",
            members.alive, members.suspect, members.lost, members.left
        ),
        format!("addresses    {}", join_or_none(&node.addresses)),
        format!(
            "load         {:.2} on {} CPUs, {} of {} free",
            node.load,
            node.cpus,
            size(node.memory_free_bytes),
            size(node.memory_total_bytes)
        ),
        format!("jobs         {}", report.jobs),
        format!("guests       {}", node.guests),
        format!(
            "agent        process {}, version {}, up {}, {:.2} s of CPU time, {} of memory",
            agent.pid,
            agent.version,
            duration(agent.uptime_seconds),
            agent.cpu_seconds,
            size(agent.memory_bytes)
        ),
        format!("run dir      {}", agent.run_dir),
        match &agent.cgroup {
            Some(path) => format!("jobs are in  cgroup {path}"),
            None => "jobs are     followed by descent (no cgroup2 can be used)".to_string(),
        },
    ];
    for row in &report.supervisors {
        lines.push(format!(
            "supervisor   process {}, {} of process {}, {} ({}), {} calls forwarded",
            row.supervisor_pid, row.role, row.pid, row.state, row.node, row.calls_forwarded
        ));
    }
    lines.extend(
        report
            .refusals
            .iter()
            .map(|refusal| format!("refused      {refusal}")),
    );
    let seen = report.counters.iter().filter(|counter| counter.value != 0);
    lines.extend(seen.map(|counter| format!("counted      {} {}", counter.value, counter.name)));
    lines.join("\n") + "\n"
}

fn join_or_none(words: &[String]) -> String {
    if words.is_empty() {
        "none".into()
    } else {
        words.join(", ")
    }
}

fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_exact_as_one_wants_to_know() {
        let texts = [59, 60, 3661, 90_000].map(duration);
        assert_eq!(texts, ["59 s", "1 min", "1 h 1 min", "1 d 1 h"]);
    }
}
