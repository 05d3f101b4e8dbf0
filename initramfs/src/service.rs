//! A program that `/init` keeps running: started, and started again when it ends, ever more slowly while
//! it keeps failing.
//!
//! ```text
//!            start             ended
//! Waiting ----------> Running -------> Waiting (back-off)
//!    ^ cannot start |
//!    +--------------+
//! ```

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::WaitStatus;

use crate::backoff::Backoff;
use crate::journal;
use crate::sys;

/// What a service runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The Limosa agent.
    Agent,
    /// What asks nodes of the cluster for its key.
    Asker,
    /// The DHCP client of the interface.
    Dhcp(String),
    /// The boot server.
    Netboot,
    /// The SSH server.
    Ssh,
    /// A root shell on the terminal device.
    Shell(String),
}

impl std::fmt::Display for Kind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Kind::Agent => formatter.write_str("agent"),
            Kind::Asker => formatter.write_str("question for the cluster key"),
            Kind::Dhcp(interface) => write!(formatter, "DHCP client of {interface}"),
            Kind::Netboot => formatter.write_str("boot server"),
            Kind::Ssh => formatter.write_str("SSH server"),
            Kind::Shell(terminal) => write!(formatter, "shell on {terminal}"),
        }
    }
}

enum State {
    Running { pid: i32, since: Instant },
    Waiting { until: Instant },
}

/// One kept program.
pub(crate) struct Service {
    /// What it is.
    pub(crate) kind: Kind,
    command: Box<dyn Fn() -> Command>,
    state: State,
    backoff: Backoff,
}

impl Service {
    /// A service that is due at once; `command` is asked anew for each start.
    pub(crate) fn new(kind: Kind, now: Instant, command: Box<dyn Fn() -> Command>) -> Service {
        Service {
            kind,
            command,
            state: State::Waiting { until: now },
            backoff: Backoff::new(),
        }
    }

    /// The pid while it runs.
    pub(crate) fn pid(&self) -> Option<i32> {
        match self.state {
            State::Running { pid, .. } => Some(pid),
            State::Waiting { .. } => None,
        }
    }

    /// The pid if it has been running since `moment` at least.
    pub(crate) fn pid_since(&self, moment: Instant) -> Option<i32> {
        match self.state {
            State::Running { pid, since } if since <= moment => Some(pid),
            _ => None,
        }
    }

    /// When it is due to start, unless it runs.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self.state {
            State::Running { .. } => None,
            State::Waiting { until } => Some(until),
        }
    }

    /// Starts it if it is due; returns the pid if it was started.
    pub(crate) fn start_if_due(&mut self, now: Instant) -> Option<i32> {
        if self.due().is_none_or(|until| until > now) {
            return None;
        }
        let mut command = (self.command)();
        let started = match &self.kind {
            Kind::Shell(terminal) => {
                let device = std::fs::File::options()
                    .read(true)
                    .write(true)
                    .open(terminal);
                device.and_then(|device| sys::spawn_on_terminal(&mut command, device))
            }
            Kind::Agent | Kind::Asker | Kind::Dhcp(_) | Kind::Netboot | Kind::Ssh => {
                sys::spawn(&mut command, sys::Terminal::None)
            }
        };
        match started {
            Ok(pid) => {
                self.state = State::Running { pid, since: now };
                Some(pid)
            }
            Err(error) => {
                let delay = self.backoff.after_run(Duration::ZERO);
                journal::warn(&format!("cannot start the {}: {error}", self.kind));
                self.state = State::Waiting { until: now + delay };
                None
            }
        }
    }

    /// Takes note that its process ended, and returns the delay until it is started again.
    pub(crate) fn ended(&mut self, now: Instant, status: WaitStatus) -> Duration {
        let ran = match self.state {
            State::Running { since, .. } => now.saturating_duration_since(since),
            State::Waiting { .. } => Duration::ZERO,
        };
        let delay = self.backoff.after_run(ran);
        self.state = State::Waiting { until: now + delay };
        let how = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => format!("with exit status {code}"),
            (_, Some(signal)) => format!("by signal {signal}"),
            _ => "in an unknown way".to_owned(),
        };
        let text = format!(
            "the {} ended {how} and is started again in {delay:?}",
            self.kind
        );
        // A person who leaves a shell, or a DHCP client whose interface went, is nothing to worry about.
        if matches!(self.kind, Kind::Agent | Kind::Netboot | Kind::Ssh) {
            journal::warn(&text);
        } else {
            journal::note(&text);
        }
        delay
    }
}
