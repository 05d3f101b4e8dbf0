//! Shows the [`View`] on every console of the machine when it changed: a screen is redrawn, a serial line
//! gets plain lines. While the node has no key, reads what is typed there.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use crate::line::Line;
use crate::screen;
use crate::view::{Medium, View};

/// Most output that waits for a slow or stopped terminal, in bytes; beyond it, what changes is not shown there.
const PENDING_BYTES_MAX: usize = 32 << 10;

/// Longest line that is taken from a person, in bytes: a key has 75.
const TYPED_BYTES_MAX: usize = 256;

struct Output {
    device: File,
    medium: Medium,
    shown: Vec<Line>,
    /// What the terminal has not taken yet: a serial line takes a few kilobytes, and then its time.
    pending: Vec<u8>,
    typed: Vec<u8>,
}

/// The consoles, and what was shown last.
pub(crate) struct Console {
    outputs: Vec<Output>,
}

impl Console {
    /// Opens the terminals that are named, by default the consoles that the kernel uses.
    pub(crate) fn open(names: &[String]) -> Console {
        let active = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
        let active: Vec<&str> = active.split_ascii_whitespace().collect();
        let names = if names.is_empty() {
            active
        } else {
            names.iter().map(String::as_str).collect()
        };
        let mut outputs: Vec<Output> = names.into_iter().filter_map(Output::open).collect();
        // Screens take what they show at once, serial lines their time.
        outputs.sort_by_key(|output| output.medium == Medium::Line);
        Console { outputs }
    }

    /// Shows `view` where it differs from what is shown.
    pub(crate) fn show(&mut self, view: &View) {
        for output in &mut self.outputs {
            output.show(view.lines(output.medium), view.asks_for_key);
        }
    }

    /// Says one line everywhere, under what is shown.
    pub(crate) fn say(&mut self, line: &str) {
        for output in &mut self.outputs {
            output.write(&format!("\r\nlimosa: {line}\r\n"));
        }
    }

    /// Writes what could not be written before.
    pub(crate) fn flush(&mut self) {
        self.outputs.iter_mut().for_each(Output::flush);
    }

    /// The terminals that have not taken everything.
    pub(crate) fn behind(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let behind = self
            .outputs
            .iter()
            .filter(|output| !output.pending.is_empty());
        behind.map(|output| output.device.as_fd())
    }

    /// The terminals on which somebody may type.
    pub(crate) fn keyboards(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.outputs.iter().map(|output| output.device.as_fd())
    }

    /// The next line that somebody has typed.
    pub(crate) fn typed(&mut self) -> Option<String> {
        self.outputs.iter_mut().find_map(Output::typed)
    }
}

impl Output {
    fn open(console: &str) -> Option<Output> {
        let is_screen = console.starts_with("tty") && !console.starts_with("ttyS");
        // tty0 is whichever virtual terminal is in front; the view stays on the first.
        let name = if console == "tty0" { "tty1" } else { console };
        // A stopped terminal (^S) must not stop PID 1.
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
        let device = File::options()
            .read(true)
            .write(true)
            .custom_flags(i32::try_from(flags.bits()).ok()?)
            .open(format!("/dev/{name}"))
            .ok()?;
        Some(Output {
            device,
            medium: if is_screen {
                Medium::Screen
            } else {
                Medium::Line
            },
            shown: Vec::new(),
            pending: Vec::new(),
            typed: Vec::new(),
        })
    }

    fn show(&mut self, lines: Vec<Line>, asks: bool) {
        if lines == self.shown || self.pending.len() > PENDING_BYTES_MAX {
            return;
        }
        let text = match self.medium {
            Medium::Screen => screen::drawn(&lines, self.columns(), asks),
            Medium::Line => added(&lines, &self.shown),
        };
        self.write(&text);
        self.shown = lines;
    }

    /// How wide the terminal is.
    fn columns(&self) -> usize {
        match rustix::termios::tcgetwinsize(&self.device) {
            Ok(size) if size.ws_col > 0 => size.ws_col.into(),
            _ => screen::COLUMNS_DEFAULT,
        }
    }

    fn write(&mut self, text: &str) {
        self.pending.extend_from_slice(text.as_bytes());
        self.flush();
    }

    fn flush(&mut self) {
        while !self.pending.is_empty() {
            match self.device.write(&self.pending) {
                Ok(length @ 1..) => drop(self.pending.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // A terminal that is gone takes nothing any more.
                Ok(0) | Err(_) => self.pending.clear(),
            }
        }
    }

    fn typed(&mut self) -> Option<String> {
        let mut bytes = [0; TYPED_BYTES_MAX];
        // A terminal gives whole lines (termios(3), canonical mode); one that is gone gives nothing.
        let length = self.device.read(&mut bytes).unwrap_or(0);
        self.typed.extend_from_slice(&bytes[..length]);
        let end = self
            .typed
            .iter()
            .position(|&byte| byte == b'\n' || byte == b'\r');
        let Some(end) = end else {
            if self.typed.len() >= TYPED_BYTES_MAX {
                self.typed.clear();
            }
            return None;
        };
        let line = String::from_utf8_lossy(&self.typed[..end])
            .trim()
            .to_owned();
        self.typed.drain(..=end);
        if self.medium == Medium::Screen {
            // What was typed is to leave it.
            self.shown.clear();
        }
        Some(line)
    }
}

/// On a line that scrolls, what did not change need not be read again.
fn added(lines: &[Line], shown: &[Line]) -> String {
    lines
        .iter()
        .filter(|line| !shown.contains(line))
        .map(Line::text)
        .filter(|text| !text.is_empty())
        .map(|text| format!("limosa: {text}\r\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Tone;

    #[test]
    fn a_serial_line_gets_only_what_is_new() {
        let lines = |words: &[&str]| {
            words
                .iter()
                .map(|word| Line::new(Tone::Plain, *word))
                .collect::<Vec<_>>()
        };
        let (old, new) = (lines(&["a", "", "1 of 1"]), lines(&["a", "", "2 of 2"]));
        assert_eq!(added(&old, &[]), "limosa: a\r\nlimosa: 1 of 1\r\n");
        assert_eq!(added(&new, &old), "limosa: 2 of 2\r\n");
    }
}
