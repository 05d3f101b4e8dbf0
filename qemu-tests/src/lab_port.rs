//! The host's end of a virtual machine's lab port: runs commands on it and copies files to it.
//!
//! The protocol is that of the initramfs (`initramfs/src/lab_port.rs`, version 1): lines of JSON over
//! a virtio-serial port. QEMU has one connection for it, which many share through [`crate::relay`].
//! Requests that are sent before the machine has booted wait for it.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::error::LabError;

/// Longest line of the protocol.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Bytes of a file that go into one request: half as many again would still fit a line in hex.
const PIECE_BYTES: usize = 256 << 10;

/// How long a machine may say nothing to a request: it may have to boot first, under emulation beside
/// others. A command that has started may be silent for ever.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(240);

/// How a command on a virtual machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this status.
    Exit(i32),
    /// By this signal.
    Signal(i32),
}

impl Ending {
    /// As a shell would tell it.
    pub fn shell_status(self) -> i32 {
        match self {
            Self::Exit(status) => status,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// A connection to a lab port.
#[derive(Debug)]
pub struct LabPort {
    input: BufReader<UnixStream>,
    output: UnixStream,
    /// No two requests in progress may share a number, nor those of two hosts one after the other.
    next_id: u64,
}

impl LabPort {
    /// Connects to the socket of a virtual machine.
    pub fn connect(path: &Path) -> Result<Self, LabError> {
        let connecting = LabError::doing(format!("connect to the lab port {}", path.display()));
        let connect = || {
            let output = UnixStream::connect(path)?;
            Ok::<_, io::Error>((BufReader::new(output.try_clone()?), output))
        };
        let (input, output) = connect().map_err(connecting)?;
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        // 53 bits survive any reader of JSON.
        let next_id = since.as_nanos() as u64 & ((1 << 52) - 1);
        Ok(Self {
            input,
            output,
            next_id,
        })
    }

    /// Runs a command and hands on what it writes as it comes.
    pub fn exec(
        &mut self,
        command: &[String],
        environment: &BTreeMap<String, String>,
        out: &mut dyn Write,
        err: &mut dyn Write,
    ) -> Result<Ending, LabError> {
        let id = self.send(json!({ "argv": command, "env": environment }))?;
        loop {
            let answer = self.answer_to(id)?;
            match answer["event"].as_str() {
                Some("started") => self.wait_at_most(None)?,
                Some("stdout") => pass_on(&answer, out)?,
                Some("stderr") => pass_on(&answer, err)?,
                Some("ended") => return ending_of(&answer),
                _ => {}
            }
        }
    }

    /// Writes a file on the machine, with the permissions `mode`.
    pub fn write_file(&mut self, path: &str, mode: u32, contents: &[u8]) -> Result<(), LabError> {
        let mut pieces: Vec<_> = contents.chunks(PIECE_BYTES).collect();
        if pieces.is_empty() {
            pieces.push(&[]);
        }
        for (number, piece) in pieces.into_iter().enumerate() {
            let hex = hex_of(piece);
            let append = number > 0;
            let request = json!({ "write": path, "mode": mode, "append": append, "hex": hex });
            let id = self.send(request)?;
            while self.answer_to(id)?["event"] != "done" {}
        }
        Ok(())
    }

    /// Asks for a clean `poweroff` or `reboot`. Whoever wants to know when it is done awaits QEMU's end.
    pub fn stop(&mut self, how: &str) -> Result<(), LabError> {
        self.send(json!({ "stop": how })).map(drop)
    }

    fn wait_at_most(&self, timeout: Option<Duration>) -> Result<(), LabError> {
        self.output
            .set_read_timeout(timeout)
            .map_err(LabError::doing("set the lab port's timeout"))
    }

    fn send(&mut self, mut request: Value) -> Result<u64, LabError> {
        self.wait_at_most(Some(ANSWER_TIMEOUT))?;
        let id = self.next_id;
        self.next_id += 1;
        request["id"] = id.into();
        let line = format!("{request}\n");
        if line.len() as u64 > LINE_BYTES_MAX {
            return Err(LabError::Usage(
                "the command is too long for the lab port".into(),
            ));
        }
        self.output
            .write_all(line.as_bytes())
            .map_err(LabError::doing("write to the lab port"))?;
        Ok(id)
    }

    /// The next line that answers request `id`. Lines about other things, and the rest of a line whose
    /// beginning went to an earlier connection, are skipped.
    fn answer_to(&mut self, id: u64) -> Result<Value, LabError> {
        loop {
            let mut line = Vec::new();
            let limited = &mut (&mut self.input).take(LINE_BYTES_MAX);
            limited.read_until(b'\n', &mut line).map_err(unanswered)?;
            if line.last() != Some(&b'\n') {
                return Err(LabError::Protocol(
                    "the virtual machine ended the conversation".into(),
                ));
            }
            let Ok(answer) = serde_json::from_slice::<Value>(&line) else {
                continue;
            };
            let refused = answer["event"] == "refused";
            if refused && (answer["id"] == id || answer["id"].is_null()) {
                let reason = answer["reason"].as_str().unwrap_or("no reason was given");
                return Err(LabError::Refused(format!(
                    "the virtual machine refused: {reason}"
                )));
            }
            if answer["id"] == id {
                return Ok(answer);
            }
        }
    }
}

fn unanswered(error: io::Error) -> LabError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => LabError::TimedOut {
            what: "the virtual machine answers at its lab port".into(),
            after: ANSWER_TIMEOUT,
            seen: "nothing; its serial.log tells how far it came".into(),
        },
        _ => LabError::doing("read the lab port")(error),
    }
}

fn pass_on(answer: &Value, out: &mut dyn Write) -> Result<(), LabError> {
    let bytes = answer["hex"].as_str().and_then(bytes_of);
    let bytes = bytes.ok_or_else(|| LabError::Protocol(format!("{answer} from the lab port")))?;
    out.write_all(&bytes)
        .and_then(|()| out.flush())
        .map_err(LabError::doing("write output"))
}

fn ending_of(answer: &Value) -> Result<Ending, LabError> {
    let number = |key: &str| {
        answer[key]
            .as_i64()
            .and_then(|number| i32::try_from(number).ok())
    };
    number("exit")
        .map(Ending::Exit)
        .or_else(|| number("signal").map(Ending::Signal))
        .ok_or_else(|| LabError::Protocol(format!("{answer} from the lab port")))
}

fn hex_of(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        hex.push(char::from(DIGITS[usize::from(byte >> 4)]));
        hex.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    hex
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|value| value as u8);
    if !hex.len().is_multiple_of(2) {
        return None;
    }
    hex.as_bytes()
        .chunks(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// Lets a machine say `lines` to whoever connects, with the request's number for `ID`.
    fn machine_that_says(name: &str, lines: &'static [&'static str]) -> LabPort {
        let path = std::env::temp_dir().join(format!("lab-port-{}-{name}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let port = LabPort::connect(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut request = String::new();
            BufReader::new(&stream).read_line(&mut request).unwrap();
            let request: Value = serde_json::from_str(&request).unwrap();
            for line in lines {
                let line = line.replace("ID", &request["id"].to_string());
                (&stream).write_all(line.as_bytes()).unwrap();
            }
        });
        port
    }

    fn exec(port: &mut LabPort) -> (Result<Ending, LabError>, Vec<u8>, Vec<u8>) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let ending = port.exec(&["x".into()], &BTreeMap::new(), &mut out, &mut err);
        (ending, out, err)
    }

    #[test]
    fn output_and_exit_status_arrive_amid_other_lines() {
        let mut port = machine_that_says(
            "output",
            &[
                "est of an earlier line\"}\n",
                "{\"event\":\"booted\",\"protocol\":1}\n",
                "{\"id\":ID,\"event\":\"started\",\"pid\":9}\n{\"id\":1,\"event\":\"stdout\",\"hex\":\"ff\"}\n",
                "{\"id\":ID,\"event\":\"stdout\",\"hex\":\"6869\"}\n",
                "{\"id\":ID,\"event\":\"stderr\",\"hex\":\"0a\"}\n{\"id\":ID,\"event\":\"ended\",\"exit\":3}\n",
            ],
        );
        let (ending, out, err) = exec(&mut port);
        assert_eq!(ending.unwrap(), Ending::Exit(3));
        assert_eq!((&out[..], &err[..]), (&b"hi"[..], &b"\n"[..]));
    }

    #[test]
    fn death_by_signal_is_told_as_a_shell_tells_it() {
        let mut port = machine_that_says(
            "signal",
            &["{\"id\":ID,\"event\":\"ended\",\"signal\":9}\n"],
        );
        assert_eq!(exec(&mut port).0.unwrap().shell_status(), 137);
    }

    #[test]
    fn a_refusal_and_an_end_in_the_middle_are_errors() {
        let mut port = machine_that_says(
            "refusal",
            &["{\"id\":ID,\"event\":\"refused\",\"reason\":\"not a lab\"}\n"],
        );
        assert!(
            exec(&mut port)
                .0
                .unwrap_err()
                .to_string()
                .contains("not a lab")
        );
        let mut port = machine_that_says("end", &["{\"id\":ID,\"event\":\"started\""]);
        assert!(matches!(exec(&mut port).0, Err(LabError::Protocol(_))));
    }

    #[test]
    fn hex_goes_there_and_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(bytes_of(&hex_of(&bytes)), Some(bytes));
        assert_eq!(bytes_of("0"), None);
        assert_eq!(bytes_of("0g"), None);
    }
}
