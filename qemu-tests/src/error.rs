//! What can go wrong in a lab, in sentences for the person at the keyboard.

use std::fmt;
use std::io;
use std::time::Duration;

/// Why a lab could not do what it was asked.
#[derive(Debug)]
pub enum LabError {
    /// The kernel refused something.
    System {
        /// What was being done, as the end of "cannot ...".
        doing: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// Labs need root: they make namespaces, TAP devices and cgroups.
    NotRoot,
    /// A program that the lab runs is not there.
    Missing {
        /// What is missing.
        what: String,
        /// What to do about it.
        remedy: String,
    },
    /// No lab of that name.
    NoSuchLab(String),
    /// A lab of that name is already up.
    AlreadyUp(String),
    /// The lab exists but its daemon is dead.
    DaemonGone(String),
    /// No node of that name in the lab.
    NoSuchNode {
        /// The name that was given.
        node: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// The lab could not be brought up; what was made has been removed.
    NotUp(String),
    /// The daemon or a node refused a request.
    Refused(String),
    /// The other side said something that is not in the protocol.
    Protocol(String),
    /// A request that makes no sense; the text says which and why.
    Usage(String),
    /// Something did not happen in time.
    TimedOut {
        /// What was waited for.
        what: String,
        /// For how long.
        after: Duration,
        /// What was seen instead.
        seen: String,
    },
}

impl LabError {
    /// Makes the closure for `map_err` that says what was being done.
    pub fn doing<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> Self {
        let doing = doing.into();
        move |error| Self::System {
            doing,
            source: error.into(),
        }
    }
}

impl fmt::Display for LabError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { doing, source } => write!(out, "cannot {doing}: {source}"),
            Self::NotRoot => out.write_str(
                "a lab makes namespaces, TAP devices and cgroups and therefore needs root: run it with sudo",
            ),
            Self::Missing { what, remedy } => write!(out, "{what} is missing: {remedy}"),
            Self::NoSuchLab(name) => {
                write!(out, "there is no lab \"{name}\": \"lab list\" shows those that are up")
            }
            Self::AlreadyUp(name) => write!(
                out,
                "lab \"{name}\" is already up: choose another --name, or end it by \"lab down --name {name}\""
            ),
            Self::DaemonGone(name) => write!(
                out,
                "the daemon of lab \"{name}\" is dead: remove the rest by \"lab down --name {name}\""
            ),
            Self::NoSuchNode { node, known } => {
                write!(out, "there is no node \"{node}\" in this lab; its nodes are {}", known.join(", "))
            }
            Self::NotUp(why) => write!(out, "the lab did not come up and was removed: {why}"),
            Self::Refused(why) => out.write_str(why),
            Self::Protocol(what) => write!(out, "unexpected answer: {what}"),
            Self::Usage(what) => out.write_str(what),
            Self::TimedOut { what, after, seen } => {
                write!(out, "waited {:.1} s in vain for this: {what}; last seen: {seen}", after.as_secs_f64())
            }
        }
    }
}

impl std::error::Error for LabError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { source, .. } => Some(source),
            _ => None,
        }
    }
}
