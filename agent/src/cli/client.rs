//! Asking the agent of this node: find its socket, send one request, take one answer.

use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::exit;
use crate::node::config::RUN_DIR_DEFAULT;
use crate::node::control::SOCKET_NAME;
use crate::wire::control::{ControlError, ControlRequest, ControlResponse};
use crate::wire::local::{self, LocalError};
use crate::wire::supervisor::Reason;

/// Names the run directory for commands that are not given one.
pub(super) const RUN_DIR_VARIABLE: &str = "LIMOSA_RUN_DIR";

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum ClientError {
    /// Nobody listens.
    NoAgent(PathBuf),
    /// The agent's socket cannot be used.
    Socket(PathBuf, io::Error),
    /// The connection broke.
    Connection(LocalError),
    /// The agent ended before it answered.
    Closed,
    /// It is not an answer to what was asked: the agent is of another version.
    Unexpected,
    /// The agent's own words.
    Agent(ControlError),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAgent(socket) => write!(
                f,
                "no agent runs here (nobody listens at {}): start one with `sudo limosa agent`, or say \
                 where it is with --run-dir or {RUN_DIR_VARIABLE}",
                socket.display()
            ),
            Self::Socket(socket, error) => write!(f, "cannot use {}: {error}", socket.display()),
            Self::Connection(error) => write!(f, "the agent cannot be asked: {error}"),
            Self::Closed => f.write_str("the agent ended before it answered"),
            Self::Unexpected => f.write_str(
                "the agent's answer is not one to this request: it is of another version; restart it",
            ),
            Self::Agent(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ClientError {}

impl From<LocalError> for ClientError {
    fn from(error: LocalError) -> Self {
        match error {
            LocalError::Truncated => Self::Closed,
            error => Self::Connection(error),
        }
    }
}

impl ClientError {
    /// The exit code for it.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::NoAgent(_) => exit::NO_AGENT,
            Self::Agent(error) => exit::of(error.kind),
            _ => exit::FAILED,
        }
    }

    /// Says it on stderr, in words or as JSON, and returns `code`.
    pub(super) fn report(&self, json: bool, code: u8) -> ExitCode {
        if json {
            let reasons: &[Reason] = match self {
                Self::Agent(error) => &error.reasons,
                _ => &[],
            };
            let error = serde_json::json!({
                "error": { "code": code, "text": self.to_string(), "reasons": reasons }
            });
            eprintln!("{error}");
            ExitCode::from(code)
        } else {
            exit::fail(code, self)
        }
    }
}

/// The run directory: as the option says, else as the environment says, else the usual one.
pub(super) fn run_dir(option: Option<&Path>) -> PathBuf {
    option.map_or_else(
        || {
            std::env::var_os(RUN_DIR_VARIABLE)
                .filter(|value| !value.is_empty())
                .map_or_else(|| RUN_DIR_DEFAULT.into(), PathBuf::from)
        },
        Path::to_path_buf,
    )
}

/// Sends a request to the agent of a run directory and waits for the answer; an error that it answers
/// with is an error here.
pub(super) fn ask(
    option: Option<&Path>,
    request: &ControlRequest,
) -> Result<ControlResponse, ClientError> {
    let path = run_dir(option).join(SOCKET_NAME);
    let stream = UnixStream::connect(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ClientError::NoAgent(path.clone())
        }
        _ => ClientError::Socket(path.clone(), error),
    })?;
    local::send(&stream, request, None)?;
    match local::receive::<ControlResponse>(&stream)? {
        None => Err(ClientError::Closed),
        Some(received) => match received.message {
            ControlResponse::Error(error) => Err(ClientError::Agent(error)),
            response => Ok(response),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_agent_the_error_says_how_to_start_one() {
        let nowhere = Path::new("/nonexistent/limosa");
        let error = ask(Some(nowhere), &ControlRequest::Nodes).unwrap_err();
        assert_eq!(error.code(), exit::NO_AGENT);
        let text = error.to_string();
        assert!(
            text.contains("sudo limosa agent") && text.contains("/nonexistent/limosa"),
            "{text}"
        );
    }

    #[test]
    fn what_the_agent_refuses_is_told_apart_from_what_failed() {
        let refused = ClientError::Agent(ControlError::refused("no"));
        let failed = ClientError::Agent(ControlError::failed("no"));
        assert_eq!(
            (refused.code(), failed.code()),
            (exit::REFUSED, exit::FAILED)
        );
    }
}
