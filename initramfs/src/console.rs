//! Shows the [`View`] on every console of the machine when it changed: a screen is redrawn, a serial line
//! gets plain lines.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use crate::view::View;

const CLEAR_SCREEN: &str = "\x1b[2J\x1b[H";

struct Output {
    device: File,
    is_screen: bool,
}

/// The consoles, and what was shown last.
pub(crate) struct Console {
    outputs: Vec<Output>,
    shown: Vec<String>,
}

impl Console {
    /// Opens the consoles that the kernel uses.
    pub(crate) fn open() -> Console {
        let active = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
        let outputs = active
            .split_ascii_whitespace()
            .filter_map(|console| {
                let is_screen = console.starts_with("tty") && !console.starts_with("ttyS");
                // tty0 is whichever virtual terminal is in front; the view stays on the first.
                let name = if is_screen { "tty1" } else { console };
                // A stopped terminal (^S) must not stop PID 1.
                let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
                let device = File::options()
                    .write(true)
                    .custom_flags(i32::try_from(flags.bits()).ok()?)
                    .open(format!("/dev/{name}"))
                    .ok()?;
                Some(Output { device, is_screen })
            })
            .collect();
        Console {
            outputs,
            shown: Vec::new(),
        }
    }

    /// Shows `view` if it differs from what is shown.
    pub(crate) fn show(&mut self, view: &View) {
        let lines = view.lines();
        if lines == self.shown {
            return;
        }
        for output in &mut self.outputs {
            let text = if output.is_screen {
                format!("{CLEAR_SCREEN}\n  {}\n", lines.join("\n  "))
            } else {
                // On a line that scrolls, what did not change need not be read again.
                let new = lines
                    .iter()
                    .filter(|line| !line.is_empty() && !self.shown.contains(line));
                new.map(|line| format!("limosa: {line}\r\n")).collect()
            };
            // A console that cannot take it now shows the next change.
            let _ = output.device.write_all(text.as_bytes());
        }
        self.shown = lines;
    }

    /// Says one line everywhere, under what is shown.
    pub(crate) fn say(&mut self, line: &str) {
        for output in &mut self.outputs {
            let _ = output
                .device
                .write_all(format!("\r\nlimosa: {line}\r\n").as_bytes());
        }
    }
}
