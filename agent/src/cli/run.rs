//! `limosa run`: make this process a job and execute the program in its place.
//!
//! 1. Split the words: ours end where the program's begin, and those may be any bytes.
//! 2. Ask the agent; it knows who asks by the socket's credentials and puts this process into a cgroup.
//! 3. With `--node`, the agent answers when the exec that follows can no longer be missed.
//! 4. Tell glibc with how much of the CPU to make do, if `--baseline` says so ([`crate::migrate::baseline`]).
//! 5. Execute the program: pid, terminal, signals and exit status are its own from here on.
//!
//! Where the agent has no cgroup to use, this process stays instead, as the program's parent
//! ([`super::parent`]).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;

use argh::FromArgs;

use super::client::{self, ClientError};
use super::{exit, parent};
use crate::migrate::baseline::{Baseline, TUNABLES_VARIABLE};
use crate::sys::exec::{execute, set_variable};
use crate::wire::control::{ControlRequest, ControlResponse, RunRequest, Running};

/// Run a program that may leave home. Its children belong to the same job. To everybody at home it is
/// an ordinary process: same pid, files, terminal and signals, and its exit status is that of this
/// command.
#[derive(FromArgs)]
#[argh(
    usage = "[--node <node> | --home | --by-hand] [--only <nodes> | --not <nodes>] [--follow | --no-follow] [--baseline <level>] [--wait-nodes <number>] [--run-dir <run-dir>] [--json] [--] COMMAND [ARGUMENT...]",
    example = "{command_name} make -j32\n\
               {command_name} --node n2 ./simulate --steps 1000\n\
               {command_name} --not n3,n4 make -j32\n\
               {command_name} --baseline x86-64-v2 ./simulate --steps 1000\n\
               {command_name} --wait-nodes 3 -- sh -c 'work | more-work'",
    error_code(125, "Limosa itself failed; the program was not started"),
    error_code(126, "the program cannot be executed"),
    error_code(127, "the program was not found")
)]
pub(super) struct Run {
    /// send it to this node (name, number or address) as soon as it is executed
    #[argh(option)]
    node: Option<String>,
    /// it and its children use no nodes but these besides home: names, numbers or addresses, with commas between them
    #[argh(option, arg_name = "nodes")]
    only: Option<String>,
    /// they do not use these nodes
    #[argh(option, arg_name = "nodes")]
    not: Option<String>,
    /// what it executes while it is away is sent after it (as --node does)
    #[argh(switch)]
    follow: bool,
    /// what it executes while it is away runs at home, in spite of --node
    #[argh(switch)]
    no_follow: bool,
    /// it and its children are never to leave home
    #[argh(switch)]
    home: bool,
    /// they leave home when a person moves them, and not by themselves
    #[argh(switch)]
    by_hand: bool,
    /// it and its children make do with this much of the CPU, x86-64-v2 or x86-64-v3, so that they can go
    /// to older nodes
    #[argh(option, arg_name = "level")]
    baseline: Option<Baseline>,
    /// first wait until this many nodes are alive
    #[argh(option, arg_name = "number")]
    wait_nodes: Option<u32>,
    /// tell failures of Limosa itself as JSON, on stderr
    #[argh(switch)]
    json: bool,
    /// where the agent keeps its socket (default: $LIMOSA_RUN_DIR, else /run/limosa)
    #[argh(option)]
    run_dir: Option<PathBuf>,
}

/// Our options that are followed by a value.
const WITH_VALUE: [&str; 6] = [
    "--node",
    "--only",
    "--not",
    "--baseline",
    "--wait-nodes",
    "--run-dir",
];

pub(super) fn main(words: Vec<OsString>) -> ExitCode {
    let (ours, command) = split(words);
    let options: Run = match super::parse_or("run", ours.clone(), exit::RUN_FAILED) {
        Ok(options) => options,
        Err(code) => return code,
    };
    if command.is_empty() {
        return exit::fail(
            exit::RUN_FAILED,
            "no program was named; `limosa run --help` explains it",
        );
    }
    if options.home && options.node.is_some() {
        let text = "--home and --node contradict each other: what stays home goes to no node";
        return exit::fail(exit::RUN_FAILED, text);
    }
    if options.follow && (options.no_follow || options.home) {
        let text = "--follow contradicts --no-follow and --home";
        return exit::fail(exit::RUN_FAILED, text);
    }
    if let Some(baseline) = options.baseline {
        let present = std::env::var_os(TUNABLES_VARIABLE).unwrap_or_default();
        let value = baseline.tunables(present.as_encoded_bytes());
        set_variable(TUNABLES_VARIABLE, OsStr::from_bytes(&value));
    }
    let mut request = RunRequest {
        follow: options.follow || options.node.is_some() && !options.no_follow,
        node: options.node,
        only: options.only,
        not: options.not,
        stay_home: options.home,
        by_hand: options.by_hand,
        wait_nodes: options.wait_nodes,
        stays_as_parent: false,
    };
    let mut ask = |stays_as_parent| {
        request.stays_as_parent = stays_as_parent;
        match client::ask(
            options.run_dir.as_deref(),
            &ControlRequest::Run(request.clone()),
        ) {
            Ok(ControlResponse::Running(running)) => Ok(running),
            Ok(_) => Err(ClientError::Unexpected),
            Err(error) => Err(error),
        }
    };
    let running = match ask(false) {
        Ok(Running::NeedsParent) => ask(true),
        answer => answer,
    };
    match running {
        Ok(Running::InJob { .. }) => not_executed(&command, &execute(&command)),
        Ok(Running::AsParent { .. }) => {
            let words = ours.into_iter().chain(["--".into()]).chain(command);
            match parent::run(words) {
                Ok(code) => code,
                Err(error) => {
                    exit::fail(exit::RUN_FAILED, format!("cannot start a child: {error}"))
                }
            }
        }
        Ok(Running::NeedsParent) => ClientError::Unexpected.report(options.json, exit::RUN_FAILED),
        Err(error) => error.report(options.json, exit::RUN_FAILED),
    }
}

/// Our words and the program's: it begins at the first word that is neither an option of ours nor the
/// value of one, or behind `--`.
fn split(mut words: Vec<OsString>) -> (Vec<OsString>, Vec<OsString>) {
    let mut index = 0;
    while let Some(word) = words.get(index) {
        if word == "--" {
            let command = words.split_off(index + 1);
            words.pop();
            return (words, command);
        }
        if !word.as_encoded_bytes().starts_with(b"-") {
            break;
        }
        let takes_value = word.to_str().is_some_and(|word| WITH_VALUE.contains(&word));
        index += if takes_value { 2 } else { 1 };
    }
    let command = words.split_off(index.min(words.len()));
    (words, command)
}

/// Says why the program was not executed, as env(1).
fn not_executed(command: &[OsString], error: &io::Error) -> ExitCode {
    let name = command
        .first()
        .map(|word| word.to_string_lossy())
        .unwrap_or_default();
    match error.kind() {
        io::ErrorKind::NotFound => exit::fail(
            exit::NOT_FOUND,
            format!("{name}: no such program was found"),
        ),
        _ => exit::fail(
            exit::CANNOT_EXECUTE,
            format!("{name}: cannot be executed: {error}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split_text(words: &[&str]) -> (Vec<String>, Vec<String>) {
        let (ours, command) = split(words.iter().map(OsString::from).collect());
        let text = |words: Vec<OsString>| {
            words
                .into_iter()
                .map(|word| word.into_string().unwrap())
                .collect()
        };
        (text(ours), text(command))
    }

    #[test]
    fn the_program_begins_at_the_first_word_that_is_not_ours() {
        let check = |words: &[&str], ours: &[&str], command: &[&str]| {
            let (found_ours, found_command) = split_text(words);
            assert_eq!(found_ours, ours);
            assert_eq!(found_command, command);
        };
        check(&["ls", "--home"], &[], &["ls", "--home"]);
        check(
            &["--node", "n2", "ls", "-l"],
            &["--node", "n2"],
            &["ls", "-l"],
        );
        check(
            &["--node=n2", "--home", "ls"],
            &["--node=n2", "--home"],
            &["ls"],
        );
        check(
            &["--home", "--", "--odd", "--"],
            &["--home"],
            &["--odd", "--"],
        );
        check(&["--node"], &["--node"], &[]);
        check(&[], &[], &[]);
    }

    proptest! {
        #[test]
        fn no_word_is_lost_or_moved(words: Vec<String>) {
            let given: Vec<OsString> = words.iter().map(OsString::from).collect();
            let (ours, command) = split(given.clone());
            let rejoined: Vec<OsString> = ours.iter().chain(&command).cloned().collect();
            if rejoined != given {
                let mut with_mark = ours;
                with_mark.push("--".into());
                with_mark.extend(command);
                prop_assert_eq!(with_mark, given);
            }
        }
    }
}
