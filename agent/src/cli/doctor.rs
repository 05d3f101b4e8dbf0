//! `limosa doctor`: what keeps this machine from being a good node, and what to do about it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use argh::FromArgs;

use super::{client, exit};
use crate::doctor::rules::{Agent, judge};
use crate::doctor::{Finding, State, facts};
use crate::node::config::{Settings, parse_port};
use crate::wire::control::{ControlRequest, ControlResponse};

/// Where a package puts the agent's configuration.
const CONFIG_DEFAULT: &str = "/etc/limosa/agent.conf";

/// Look at this machine for what keeps it from being a good node, and say what to do about it. Nothing is
/// changed.
#[derive(FromArgs)]
#[argh(
    example = "sudo {command_name}\n\
               sudo {command_name} --json | jq -r '.[] | select(.state != \"ok\") | .remedy'",
    error_code(1, "a problem was found")
)]
pub(super) struct Doctor {
    /// print JSON
    #[argh(switch)]
    json: bool,
    /// file with the cluster key (default: as configured)
    #[argh(option, arg_name = "file")]
    key: Option<PathBuf>,
    /// the port that the agent is to have (default: as configured)
    #[argh(option, from_str_fn(parse_port))]
    port: Option<u16>,
    /// an interface that the agent is to use; may be given several times
    #[argh(option)]
    interface: Vec<String>,
    /// the agent's configuration file (default: /etc/limosa/agent.conf, if there is one)
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// where the agent keeps its socket (default: $LIMOSA_RUN_DIR, else /run/limosa)
    #[argh(option)]
    run_dir: Option<PathBuf>,
}

pub(super) fn main(words: Vec<OsString>) -> ExitCode {
    let options: Doctor = match super::parse("doctor", words) {
        Ok(options) => options,
        Err(code) => return code,
    };
    let config = options.config.or_else(|| {
        let usual = PathBuf::from(CONFIG_DEFAULT);
        usual.exists().then_some(usual)
    });
    let file = config.map_or_else(|| Ok(Settings::default()), |path| Settings::read(&path));
    let line = Settings {
        key: options.key,
        interfaces: options.interface,
        port: options.port,
        ..Settings::default()
    };
    let run_dir = options.run_dir.clone();
    let run_dir = run_dir.or_else(|| file.as_ref().ok()?.run_dir.clone());
    let agent = match client::ask(run_dir.as_deref(), &ControlRequest::Status) {
        Ok(ControlResponse::Status(report)) => Some(Agent::Runs {
            alive: report.members.alive as usize,
            refusals: report.refusals,
        }),
        _ => None,
    };
    let findings = judge(&facts::look(file.map(|file| line.over(file)), agent));
    let has_problem = findings
        .iter()
        .any(|finding| finding.state == State::Problem);
    let printed = if options.json {
        super::print_json(&findings)
    } else {
        super::print(&findings.iter().map(lines).collect::<String>());
        ExitCode::SUCCESS
    };
    if has_problem {
        ExitCode::from(exit::FAILED)
    } else {
        printed
    }
}

fn lines(finding: &Finding) -> String {
    let state = match finding.state {
        State::Ok => "ok",
        State::Warning => "WARNING",
        State::Problem => "PROBLEM",
    };
    let mut lines = format!("{state:<8} {}\n", finding.text);
    if let Some(remedy) = &finding.remedy {
        lines.push_str(&format!("         -> {remedy}\n"));
    }
    lines
}
