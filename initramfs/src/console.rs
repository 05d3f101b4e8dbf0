//! Shows the [`View`] on every console of the machine when it changed: a screen is redrawn, a serial line
//! gets plain lines. While the node has no key, reads what is typed there.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use crate::view::{Medium, View};

const HOME: &str = "\x1b[H";
const CLEAR_TO_END_OF_LINE: &str = "\x1b[K";
const CLEAR_TO_END_OF_SCREEN: &str = "\x1b[J";

/// Most output that waits for a slow or stopped terminal, in bytes; beyond it, what changes is not shown there.
const PENDING_BYTES_MAX: usize = 32 << 10;

/// Longest line that is taken from a person, in bytes: a key has 75.
const TYPED_BYTES_MAX: usize = 256;

struct Output {
    device: File,
    medium: Medium,
    shown: Vec<String>,
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
        Console {
            outputs: names.into_iter().filter_map(Output::open).collect(),
        }
    }

    /// Shows `view` where it differs from what is shown.
    pub(crate) fn show(&mut self, view: &View) {
        for output in &mut self.outputs {
            output.show(view.lines(output.medium));
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

    fn show(&mut self, lines: Vec<String>) {
        if lines == self.shown || self.pending.len() > PENDING_BYTES_MAX {
            return;
        }
        let text = match self.medium {
            Medium::Screen => redrawn(&lines),
            Medium::Line => added(&lines, &self.shown),
        };
        self.write(&text);
        self.shown = lines;
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

/// A screen, drawn over what is there so that it does not flicker.
fn redrawn(lines: &[String]) -> String {
    let mut text = format!("{HOME}{CLEAR_TO_END_OF_LINE}");
    for line in lines {
        text.push_str(&format!("\n  {line}{CLEAR_TO_END_OF_LINE}"));
    }
    text.push_str(&format!("\n{CLEAR_TO_END_OF_SCREEN}"));
    text
}

/// On a line that scrolls, what did not change need not be read again.
fn added(lines: &[String], shown: &[String]) -> String {
    lines
        .iter()
        .filter(|line| !line.is_empty() && !shown.contains(line))
        .map(|line| format!("limosa: {line}\r\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_line_gets_only_what_is_new() {
        let lines = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        let (old, new) = (lines(&["a", "", "1 of 1"]), lines(&["a", "", "2 of 2"]));
        assert_eq!(added(&old, &[]), "limosa: a\r\nlimosa: 1 of 1\r\n");
        assert_eq!(added(&new, &old), "limosa: 2 of 2\r\n");
    }

    #[test]
    fn a_screen_is_drawn_over_and_what_was_longer_is_cleared() {
        let text = redrawn(&["a".to_owned()]);
        assert_eq!(text, "\x1b[H\x1b[K\n  a\x1b[K\n\x1b[J");
    }
}
