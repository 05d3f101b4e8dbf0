//! No forwarded call that uses the program's memory is left out of these tests.

use limosa::syscall::{Argument, Call, Class, Forward, calls};

/// The files in which calls are tried, by their names in quotes.
const SOURCES: [&str; 4] = [
    include_str!("changes.rs"),
    include_str!("descriptors.rs"),
    include_str!("identity.rs"),
    include_str!("messages.rs"),
];

/// Calls that cannot be tried in this process, and why.
const NOT_TRIED: &[(&str, &str)] = &[
    ("acct", "it would switch the machine's accounting on"),
    ("clock_settime", "it would set the machine's clock"),
    ("execve", "it would replace the test"),
    ("execveat", "it would replace the test"),
    ("rt_sigsuspend", "it ends by a signal's handler only"),
    ("settimeofday", "it would set the machine's clock"),
];

fn uses_memory(forward: &Forward) -> bool {
    let is_number =
        |argument: &Argument| matches!(argument, Argument::Value | Argument::Descriptor);
    !forward.arguments.iter().all(is_number)
}

fn is_to_be_tried(class: &Class) -> bool {
    match class {
        Class::Forward(forward) | Class::Special(_, Some(forward)) => uses_memory(forward),
        Class::If {
            then, otherwise, ..
        } => is_to_be_tried(then) || is_to_be_tried(otherwise),
        Class::ByCommand {
            commands,
            otherwise,
            ..
        } => {
            commands
                .iter()
                .any(|command| is_to_be_tried(&command.class))
                || is_to_be_tried(otherwise)
        }
        _ => false,
    }
}

#[test]
fn every_forwarded_call_that_uses_memory_is_tried() {
    let is_tried = |call: &&Call| {
        let quoted = format!("\"{}\"", call.name);
        SOURCES.iter().any(|source| source.contains(&quoted))
            || NOT_TRIED.iter().any(|(name, _)| *name == call.name)
    };
    let left_out: Vec<&str> = calls()
        .filter(|call| is_to_be_tried(&call.class))
        .filter(|call| !is_tried(call))
        .map(|call| call.name)
        .collect();
    assert_eq!(left_out, [""; 0]);
}

#[test]
fn what_is_not_tried_exists_and_is_not_tried_elsewhere() {
    for (name, reason) in NOT_TRIED {
        assert!(calls().any(|call| call.name == *name), "{name}");
        let quoted = format!("\"{name}\"");
        let is_tried = SOURCES.iter().any(|source| source.contains(&quoted));
        assert!(!is_tried, "{name} is tried after all: {reason}");
    }
}
