//! The commands: each parses its words, sends one control request and prints the answer.
//!
//! The command is the first word, or the program's own name where it is linked as `limosa-COMMAND`.
//! Words are parsed by argh; what it does not do is added here: `--option=value`, a suggestion for a
//! mistyped word, and exit code 2 for words that make no sense.

mod admit;
mod agent;
mod client;
mod doctor;
pub mod exit;
mod key;
pub mod log;
mod migrate;
mod netboot;
mod node;
mod nodes;
mod parent;
mod ps;
mod run;
mod status;
mod suggest;
mod table;
mod why;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use argh::FromArgs;
use serde::Serialize;

use self::client::ClientError;

/// A command of the program.
struct Command {
    name: &'static str,
    /// One line for the list of commands.
    summary: &'static str,
    main: fn(Vec<OsString>) -> ExitCode,
}

/// In the order in which a newcomer meets them.
const COMMANDS: [Command; 12] = [
    Command {
        name: "run",
        summary: "run a program that may leave home",
        main: run::main,
    },
    Command {
        name: "nodes",
        summary: "list the nodes of the cluster",
        main: nodes::main,
    },
    Command {
        name: "ps",
        summary: "list the processes that were started by `limosa run` here, and where they are",
        main: ps::main,
    },
    Command {
        name: "migrate",
        summary: "move a process to another node, or home",
        main: migrate::main,
    },
    Command {
        name: "why",
        summary: "say what keeps a process from moving",
        main: why::main,
    },
    Command {
        name: "node",
        summary: "tell this node what may leave it and come to it (root)",
        main: node::main,
    },
    Command {
        name: "status",
        summary: "show how this node and its agent are doing",
        main: status::main,
    },
    Command {
        name: "key",
        summary: "make or look at a cluster key",
        main: key::main,
    },
    Command {
        name: "admit",
        summary: "give the cluster key to a PC that shows a code (root)",
        main: admit::main,
    },
    Command {
        name: "agent",
        summary: "make this machine a node (root)",
        main: agent::main,
    },
    Command {
        name: "doctor",
        summary: "look for what keeps this machine from being a good node",
        main: doctor::main,
    },
    Command {
        name: "netboot",
        summary: "boot other PCs over the network (root)",
        main: netboot::main,
    },
];

/// Width of help texts.
const HELP_COLUMNS: usize = 80;

/// What the agent starts this program as; not for people.
const SUPERVISORS: [Command; 2] = [
    Command {
        name: "deputy-supervisor",
        summary: "",
        main: |_| {
            log::start();
            crate::deputy::supervisor::main()
        },
    },
    Command {
        name: "guest-supervisor",
        summary: "",
        main: |_| {
            log::start();
            crate::guest::supervisor::main()
        },
    },
];

/// Picks the command from the program's name or its first word, and runs it.
pub fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_default();
    let mut words: Vec<OsString> = words.collect();
    if let Some(command) = command_in_name(&program) {
        return (command.main)(words);
    }
    if words.is_empty() {
        eprint!("{}", overview());
        return ExitCode::from(exit::USAGE);
    }
    let first = words.remove(0);
    match first.to_str() {
        Some("help" | "--help" | "-h") => help(&words),
        Some("version" | "--version" | "-V") => {
            print(&format!("limosa {}\n", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
        name => match name.and_then(find) {
            Some(command) => (command.main)(words),
            None => unknown_command(&first.to_string_lossy()),
        },
    }
}

fn find(name: &str) -> Option<&'static Command> {
    COMMANDS
        .iter()
        .chain(&SUPERVISORS)
        .find(|command| command.name == name)
}

/// The command that a link to the program is named after.
fn command_in_name(program: &std::ffi::OsStr) -> Option<&'static Command> {
    let name = Path::new(program).file_name()?.to_str()?;
    COMMANDS
        .iter()
        .find(|command| Some(command.name) == name.strip_prefix("limosa-"))
}

fn unknown_command(word: &str) -> ExitCode {
    let hint = suggest::nearest(word, COMMANDS.iter().map(|command| command.name)).map_or_else(
        || "`limosa help` lists the commands".to_string(),
        |name| format!("did you mean `limosa {name}`?"),
    );
    exit::fail(
        exit::USAGE,
        format!("no command is called {word:?}; {hint}"),
    )
}

fn overview() -> String {
    let mut text = String::from(
        "Limosa turns your machine and a few spare PCs into one computer.\n\
         \n\
         Usage: limosa COMMAND [WORDS...]\n\
         \n\
         Commands:\n",
    );
    for Command { name, summary, .. } in &COMMANDS {
        text.push_str(&format!("  {name:<8}  {summary}\n"));
    }
    text.push_str(
        "  help      explain a command: limosa help COMMAND\n\
         \n\
         Examples:\n\
         \x20 limosa run make -j32        run make; what it starts may leave home, too\n\
         \x20 limosa ps                   where are they?\n\
         \x20 limosa migrate 4242 n2      move process 4242 to node n2\n\
         \x20 limosa migrate 4242 home    and home again\n\
         \n\
         Exit codes: 0 done, 1 failed, 2 usage, 3 no agent runs here, 4 refused; `run`: the program's own.\n",
    );
    text
}

fn help(words: &[OsString]) -> ExitCode {
    match words.first() {
        None => {
            print(&overview());
            ExitCode::SUCCESS
        }
        Some(word) => match word.to_str().and_then(find) {
            Some(command) => (command.main)(vec!["--help".into()]),
            None => unknown_command(&word.to_string_lossy()),
        },
    }
}

/// Writes to stdout; a reader that went away, as `head` does, is no error.
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
}

/// Prints a value as `--json` promises.
fn print_json<T: Serialize>(value: &T) -> ExitCode {
    match serde_json::to_string_pretty(value) {
        Ok(text) => {
            print(&format!("{text}\n"));
            ExitCode::SUCCESS
        }
        Err(error) => exit::fail(
            exit::FAILED,
            format!("the answer cannot be written: {error}"),
        ),
    }
}

/// The answer of an agent that is of another version.
fn unexpected(json: bool) -> ExitCode {
    let error = ClientError::Unexpected;
    error.report(json, error.code())
}

/// Parses the words of a command; the error is the code to end with, and all is said.
fn parse<T: FromArgs>(command: &str, words: Vec<OsString>) -> Result<T, ExitCode> {
    parse_or(command, words, exit::USAGE)
}

/// As [`parse`], with another exit code for words that make no sense.
fn parse_or<T: FromArgs>(command: &str, words: Vec<OsString>, code: u8) -> Result<T, ExitCode> {
    let words = separate_values(words).map_err(|word| {
        exit::fail(
            code,
            format!("{:?} is not UTF-8 text", word.to_string_lossy()),
        )
    })?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let name = ["limosa", command];
    T::from_args(&name, &words).map_err(|exit| match exit.status {
        Ok(()) => {
            print(&wrap(&exit.output));
            ExitCode::SUCCESS
        }
        Err(()) => {
            let known = T::from_args(&name, &["--help"])
                .err()
                .map(|exit| exit.output);
            let hint = hint(&words, &known.unwrap_or_default());
            eprintln!("limosa {command}: {}{hint}", exit.output.trim_end());
            eprintln!("`limosa {command} --help` explains it.");
            ExitCode::from(code)
        }
    })
}

/// Breaks paragraphs into lines; what is indented is laid out already.
fn wrap(text: &str) -> String {
    let mut wrapped = String::new();
    for line in text.lines() {
        if line.starts_with(' ') {
            wrapped.push_str(line);
        } else {
            let mut column = 0;
            for word in line.split(' ') {
                let width = word.chars().count();
                if column > 0 && column + 1 + width > HELP_COLUMNS {
                    wrapped.push('\n');
                    column = 0;
                } else if column > 0 {
                    wrapped.push(' ');
                    column += 1;
                }
                wrapped.push_str(word);
                column += width;
            }
        }
        wrapped.push('\n');
    }
    wrapped
}

/// The option that was probably meant, if one of the words is none of those in the help text.
fn hint(words: &[&str], help: &str) -> String {
    let known: Vec<&str> = help
        .split(|character: char| !(character.is_ascii_alphanumeric() || character == '-'))
        .filter(|word| word.len() > 2 && word.starts_with("--"))
        .collect();
    words
        .iter()
        .take_while(|word| **word != "--")
        .find(|word| word.starts_with("--") && !known.contains(word))
        .and_then(|word| suggest::nearest(word, known.iter().copied()))
        .map(|option| format!("\nDid you mean {option}?"))
        .unwrap_or_default()
}

/// Makes two words of each `--option=value` before a `--`; the error is a word that is not text.
fn separate_values(words: Vec<OsString>) -> Result<Vec<String>, OsString> {
    let mut separated = Vec::new();
    let mut options = true;
    for word in words {
        let word = word.into_string()?;
        options &= word != "--";
        match word.split_once('=') {
            Some((option, value)) if options && option.starts_with("--") => {
                separated.extend([option.to_string(), value.to_string()]);
            }
            _ => separated.push(word),
        }
    }
    Ok(separated)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn a_value_can_follow_an_equals_sign() {
        assert_eq!(
            separate_values(os(&["--node=n2", "a=b", "--", "--x=y"])).unwrap(),
            ["--node", "n2", "a=b", "--", "--x=y"]
        );
    }

    #[test]
    fn a_link_named_after_a_command_is_that_command() {
        let name = |program: &str| command_in_name(program.as_ref()).map(|command| command.name);
        assert_eq!(name("/usr/bin/limosa-ps"), Some("ps"));
        assert_eq!(name("limosa"), None);
        assert_eq!(name("/x/limosa-deputy-supervisor"), None);
    }

    #[test]
    fn a_mistyped_option_is_answered_with_the_nearest() {
        let help = "Usage: limosa nodes [--json] [--run-dir <run-dir>]";
        assert_eq!(hint(&["--jsn"], help), "\nDid you mean --json?");
        assert_eq!(hint(&["--json", "7"], help), "");
        assert_eq!(hint(&["--", "--jsn"], help), "");
    }

    #[test]
    fn paragraphs_are_wrapped_and_indented_lines_are_left_alone() {
        let long = "word ".repeat(40);
        let text = wrap(&format!("{long}\n\n  {long}\n"));
        let (paragraph, rest) = text.split_once("\n\n").unwrap();
        assert!(paragraph.lines().count() > 1);
        assert!(
            paragraph
                .lines()
                .all(|line| line.len() <= HELP_COLUMNS && !line.starts_with(' '))
        );
        assert_eq!(paragraph.split_whitespace().count(), 40);
        assert_eq!(rest, format!("  {long}\n"));
    }

    #[test]
    fn every_command_explains_itself_with_examples() {
        for Command { name, .. } in &COMMANDS {
            let text = match *name {
                "run" => help_of::<run::Run>(name),
                "node" => help_of::<node::Node>(name),
                "nodes" => help_of::<nodes::Nodes>(name),
                "ps" => help_of::<ps::Ps>(name),
                "migrate" => help_of::<migrate::Migrate>(name),
                "why" => help_of::<why::Why>(name),
                "status" => help_of::<status::Status>(name),
                "key" => help_of::<key::Key>(name),
                "admit" => help_of::<admit::Admit>(name),
                "agent" => help_of::<agent::Agent>(name),
                "doctor" => help_of::<doctor::Doctor>(name),
                "netboot" => help_of::<netboot::Netboot>(name),
                other => panic!("{other} has no help"),
            };
            assert!(text.contains("Examples:"), "{name}: {text}");
            assert!(text.contains(&format!("limosa {name}")), "{name}: {text}");
        }
    }

    fn help_of<T: FromArgs>(name: &str) -> String {
        match T::from_args(&["limosa", name], &["--help"]) {
            Err(exit) if exit.status.is_ok() => exit.output,
            _ => panic!("{name} --help is no help"),
        }
    }
}
