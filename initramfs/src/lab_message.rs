//! The lines of the lab port, read and written (pure). What they mean is told in `lab_port.rs`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Version of the protocol, told in `booted`.
const PROTOCOL: u32 = 1;
/// Mode of a written file when none is given.
const FILE_MODE: u32 = 0o644;

/// How a node stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stop {
    /// Power off.
    Poweroff,
    /// Start again.
    Reboot,
    /// Stop the processor, leave the power on.
    Halt,
}

/// What the host asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Run a program.
    Run {
        argv: Vec<String>,
        env: BTreeMap<String, String>,
        directory: String,
    },
    /// Send a signal to a running command's process group.
    Signal(i32),
    /// Write a file.
    Write {
        path: String,
        mode: u32,
        append: bool,
        bytes: Vec<u8>,
    },
    /// Stop the node.
    Stop(Stop),
}

#[derive(Deserialize)]
struct RequestLine {
    id: u64,
    argv: Option<Vec<String>>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    directory: Option<String>,
    signal: Option<i32>,
    write: Option<String>,
    mode: Option<u32>,
    #[serde(default)]
    append: bool,
    hex: Option<String>,
    stop: Option<Stop>,
}

/// Reads a request; the error says in words what is wrong, with the id if that much could be read.
pub(crate) fn parse(line: &[u8]) -> Result<(u64, Request), (Option<u64>, String)> {
    let line: RequestLine =
        serde_json::from_slice(line).map_err(|error| (None, format!("not a request: {error}")))?;
    let id = line.id;
    let request = match line {
        RequestLine {
            argv: Some(argv),
            env,
            directory,
            ..
        } => {
            if argv.is_empty() {
                return Err((Some(id), "argv is empty".to_owned()));
            }
            Request::Run {
                argv,
                env,
                directory: directory.unwrap_or_else(|| "/".to_owned()),
            }
        }
        RequestLine {
            signal: Some(signal),
            ..
        } => Request::Signal(signal),
        RequestLine {
            write: Some(path),
            mode,
            append,
            hex,
            ..
        } => {
            let bytes = from_hex(hex.as_deref().unwrap_or_default())
                .ok_or_else(|| (Some(id), "hex is not hexadecimal".to_owned()))?;
            Request::Write {
                path,
                mode: mode.unwrap_or(FILE_MODE),
                append,
                bytes,
            }
        }
        RequestLine {
            stop: Some(stop), ..
        } => Request::Stop(stop),
        _ => {
            return Err((
                Some(id),
                "neither argv, signal, write nor stop is given".to_owned(),
            ));
        }
    };
    Ok((id, request))
}

/// What the node tells the host.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Event<'a> {
    /// The node is up.
    Booted {
        protocol: u32,
        name: &'a str,
        kernel: &'a str,
        lab: bool,
        uptime_ms: u64,
    },
    /// The agent was started.
    AgentStarted { pid: i32, uptime_ms: u64 },
    /// The agent ended.
    AgentEnded {
        pid: i32,
        #[serde(flatten)]
        end: End,
        restart_in_ms: u64,
        uptime_ms: u64,
    },
    /// An interface came.
    Link { interface: &'a str, uptime_ms: u64 },
    /// The node stops.
    Stopping { how: Stop, uptime_ms: u64 },
    /// A command runs.
    Started { id: u64, pid: i32 },
    /// A command wrote to its standard output.
    Stdout { id: u64, hex: String },
    /// A command wrote to its standard error.
    Stderr { id: u64, hex: String },
    /// A command ended.
    Ended {
        id: u64,
        #[serde(flatten)]
        end: End,
    },
    /// A request without an end of its own is complete.
    Done { id: u64 },
    /// A request is not carried out.
    Refused {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        reason: String,
    },
}

impl<'a> Event<'a> {
    /// The first line of a connection.
    pub(crate) fn booted(name: &'a str, kernel: &'a str, lab: bool, uptime_ms: u64) -> Event<'a> {
        Event::Booted {
            protocol: PROTOCOL,
            name,
            kernel,
            lab,
            uptime_ms,
        }
    }

    /// The line, with its newline.
    pub(crate) fn line(&self) -> Vec<u8> {
        // Only strings and numbers: serialisation has nothing to fail on.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum End {
    /// It exited with this status.
    Exit(i32),
    /// This signal killed it.
    Signal(i32),
}

impl From<rustix::process::WaitStatus> for End {
    fn from(status: rustix::process::WaitStatus) -> End {
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => End::Exit(code),
            (None, signal) => End::Signal(signal.unwrap_or_default()),
        }
    }
}

/// `bytes` in lower-case hexadecimal.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let value = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|value| u8::try_from(value).ok())
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|&[high, low]| Some(value(high)? << 4 | value(low)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(event: &Event<'_>) -> String {
        String::from_utf8(event.line()).expect("JSON is UTF-8")
    }

    #[test]
    fn a_command_is_read_with_its_defaults() {
        let (id, request) =
            parse(br#"{"id":1,"argv":["limosa","nodes"],"later":true}"#).expect("valid");
        assert_eq!(id, 1);
        let argv = vec!["limosa".to_owned(), "nodes".to_owned()];
        assert_eq!(
            request,
            Request::Run {
                argv,
                env: BTreeMap::new(),
                directory: "/".to_owned()
            }
        );
    }

    #[test]
    fn a_file_is_read_from_hexadecimal() {
        let (_, request) =
            parse(br#"{"id":2,"write":"/tmp/p","mode":493,"hex":"7f45FF"}"#).expect("valid");
        let bytes = vec![0x7f, 0x45, 0xff];
        assert_eq!(
            request,
            Request::Write {
                path: "/tmp/p".to_owned(),
                mode: 0o755,
                append: false,
                bytes
            }
        );
    }

    #[test]
    fn signals_and_stops_are_read() {
        assert_eq!(
            parse(br#"{"id":1,"signal":2}"#),
            Ok((1, Request::Signal(2)))
        );
        assert_eq!(
            parse(br#"{"id":3,"stop":"reboot"}"#),
            Ok((3, Request::Stop(Stop::Reboot)))
        );
    }

    #[test]
    fn what_is_no_request_is_refused_in_words() {
        for (line, id, part) in [
            (&b"garbage"[..], None, "not a request"),
            (b"{\"id\":1", None, "not a request"),
            (b"{\"argv\":[\"x\"]}", None, "missing field `id`"),
            (b"{\"id\":4,\"argv\":[]}", Some(4), "empty"),
            (b"{\"id\":5}", Some(5), "neither"),
            (
                b"{\"id\":6,\"write\":\"/x\",\"hex\":\"7\"}",
                Some(6),
                "hexadecimal",
            ),
            (
                b"{\"id\":6,\"write\":\"/x\",\"hex\":\"7g\"}",
                Some(6),
                "hexadecimal",
            ),
            (b"{\"id\":7,\"stop\":\"explode\"}", None, "explode"),
        ] {
            let (told_id, reason) = parse(line).expect_err("no request");
            assert_eq!(told_id, id);
            assert!(reason.contains(part), "{reason}");
        }
    }

    #[test]
    fn events_read_as_documented() {
        let event = Event::booted("n1", "6.12", true, 900);
        let line = r#"{"event":"booted","protocol":1,"name":"n1","kernel":"6.12","lab":true,"uptime_ms":900}"#;
        assert_eq!(text(&event), format!("{line}\n"));
        let event = Event::AgentEnded {
            pid: 2,
            end: End::Exit(1),
            restart_in_ms: 500,
            uptime_ms: 9,
        };
        let line = r#"{"event":"agent-ended","pid":2,"exit":1,"restart_in_ms":500,"uptime_ms":9}"#;
        assert_eq!(text(&event), format!("{line}\n"));
        let event = Event::Ended {
            id: 1,
            end: End::Signal(9),
        };
        assert_eq!(
            text(&event),
            "{\"event\":\"ended\",\"id\":1,\"signal\":9}\n"
        );
        let event = Event::Stdout {
            id: 1,
            hex: to_hex(b"hi\xff"),
        };
        assert_eq!(
            text(&event),
            "{\"event\":\"stdout\",\"id\":1,\"hex\":\"6869ff\"}\n"
        );
        let event = Event::Stopping {
            how: Stop::Poweroff,
            uptime_ms: 1,
        };
        assert_eq!(
            text(&event),
            "{\"event\":\"stopping\",\"how\":\"poweroff\",\"uptime_ms\":1}\n"
        );
        let event = Event::Refused {
            id: None,
            reason: "x".to_owned(),
        };
        assert_eq!(text(&event), "{\"event\":\"refused\",\"reason\":\"x\"}\n");
    }
}
