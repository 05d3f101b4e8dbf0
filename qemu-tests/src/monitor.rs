//! What a person does at a machine itself, done at a virtual one: looking at its screen, pressing its power button and keys,
//! pulling its cable without taking the card out.
//!
//! Speaks QMP, QEMU's machine protocol: lines of JSON over a unix socket; a greeting, then one answer to each command, with
//! events in between (<https://www.qemu.org/docs/master/interop/qmp-spec.html>).

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::LabError;
use crate::qemu::NETWORK_ID;

/// Longest line of the protocol.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// QEMU answers between two slices of emulation.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection to the monitor of a virtual machine. QEMU serves one at a time.
#[derive(Debug)]
pub struct Monitor {
    input: BufReader<UnixStream>,
    output: UnixStream,
}

impl Monitor {
    /// Connects to the socket, and takes QEMU out of its greeting.
    ///
    /// # Errors
    /// When there is no QEMU or it does not speak QMP.
    pub fn connect(path: &Path) -> Result<Self, LabError> {
        let connect = || {
            let output = UnixStream::connect(path)?;
            output.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            Ok::<_, std::io::Error>((BufReader::new(output.try_clone()?), output))
        };
        let connecting = LabError::doing(format!("connect to the monitor {}", path.display()));
        let (input, output) = connect().map_err(connecting)?;
        let mut monitor = Self { input, output };
        let greeting = monitor.line()?;
        if greeting.get("QMP").is_none() {
            return Err(LabError::Protocol(format!("{greeting} from the monitor")));
        }
        monitor.execute("qmp_capabilities", &json!({}))?;
        Ok(monitor)
    }

    /// Writes what the screen shows to the file at `path`, as PNG.
    pub fn take_picture(&mut self, path: &Path) -> Result<(), LabError> {
        self.execute("screendump", &json!({ "filename": path, "format": "png" }))
    }

    /// Presses the power button.
    pub fn press_power_button(&mut self) -> Result<(), LabError> {
        self.execute("system_powerdown", &json!({}))
    }

    /// Presses keys of the keyboard, as QEMU names them, at the same time.
    pub fn press_keys(&mut self, keys: &[&str]) -> Result<(), LabError> {
        let key = |name: &&str| json!({ "type": "qcode", "data": name });
        let keys: Vec<Value> = keys.iter().map(key).collect();
        self.execute("send-key", &json!({ "keys": keys }))
    }

    /// Says whether the network card has a link. The card stays where it is.
    pub fn set_link(&mut self, up: bool) -> Result<(), LabError> {
        self.execute("set_link", &json!({ "name": NETWORK_ID, "up": up }))
    }

    /// A machine that restarts does so from now on; otherwise it ends instead.
    pub fn let_it_restart(&mut self) -> Result<(), LabError> {
        self.execute("set-action", &json!({ "reboot": "reset" }))
    }

    fn execute(&mut self, command: &str, arguments: &Value) -> Result<(), LabError> {
        let request = json!({ "execute": command, "arguments": arguments });
        self.output
            .write_all(format!("{request}\n").as_bytes())
            .map_err(LabError::doing("write to the monitor"))?;
        loop {
            let answer = self.line()?;
            if let Some(error) = answer.get("error") {
                let reason = error["desc"].as_str().unwrap_or("no reason was given");
                return Err(LabError::Refused(format!(
                    "QEMU refused {command}: {reason}"
                )));
            }
            if answer.get("return").is_some() {
                return Ok(());
            }
        }
    }

    fn line(&mut self) -> Result<Value, LabError> {
        let mut line = Vec::new();
        let limited = &mut (&mut self.input).take(LINE_BYTES_MAX);
        limited
            .read_until(b'\n', &mut line)
            .map_err(LabError::doing("read from the monitor"))?;
        serde_json::from_slice(&line).map_err(|error| {
            let line = String::from_utf8_lossy(&line).into_owned();
            LabError::Protocol(format!("{line:?} from the monitor: {error}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// A monitor that says `lines`, one batch for each line that it hears, the first for none.
    fn monitor_that_says(
        name: &str,
        batches: &'static [&'static str],
    ) -> Result<Monitor, LabError> {
        let path = std::env::temp_dir().join(format!("monitor-{}-{name}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut input = BufReader::new(stream.try_clone().unwrap());
            for batch in batches {
                (&stream).write_all(batch.as_bytes()).unwrap();
                input.read_line(&mut String::new()).unwrap();
            }
        });
        let monitor = Monitor::connect(&path);
        std::fs::remove_file(&path).unwrap();
        monitor
    }

    const GREETING: &str = "{\"QMP\":{\"version\":{},\"capabilities\":[]}}\n";

    #[test]
    fn a_command_is_answered_amid_events() {
        let says = &[
            GREETING,
            "{\"return\":{}}\n",
            "{\"event\":\"POWERDOWN\",\"data\":{}}\n{\"return\":{}}\n",
        ];
        let mut monitor = monitor_that_says("events", says).unwrap();
        monitor.press_power_button().unwrap();
    }

    #[test]
    fn a_refusal_and_an_end_are_errors_in_words() {
        let says = &[
            GREETING,
            "{\"return\":{}}\n",
            "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no such device\"}}\n",
        ];
        let mut monitor = monitor_that_says("refusal", says).unwrap();
        let refusal = monitor.set_link(false).unwrap_err().to_string();
        assert!(refusal.contains("set_link: no such device"), "{refusal}");
        assert!(monitor.set_link(true).is_err());
    }

    #[test]
    fn who_does_not_greet_is_no_monitor() {
        assert!(monitor_that_says("stranger", &["{}\n"]).is_err());
        assert!(monitor_that_says("noise", &["SSH-2.0\n"]).is_err());
    }
}
