//! A pseudo-terminal with a program in its foreground, for what only a terminal shows: ^C, ^Z, prompts.

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

use crate::error::LabError;

/// A terminal and the session leader in it.
#[derive(Debug)]
pub struct Terminal {
    keyboard_and_screen: File,
    child: Child,
    shown: Vec<u8>,
}

impl Terminal {
    /// Runs a command in a new session with a new terminal.
    pub fn run(command: &Command) -> Result<Self, LabError> {
        let opening = LabError::doing("open a pseudo-terminal");
        let open = || {
            let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
            let master = openpt(flags)?;
            grantpt(&master)?;
            unlockpt(&master)?;
            let inner = ioctl_tiocgptpeer(&master, flags)?;
            rustix::fs::fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK)?;
            Ok::<_, io::Error>((master, File::from(inner)))
        };
        let (master, inner) = open().map_err(opening)?;
        let copy = || {
            inner
                .try_clone()
                .map_err(LabError::doing("share a terminal"))
        };
        let mut in_session = Command::new("setsid");
        in_session
            .arg("--ctty")
            .arg(command.get_program())
            .args(command.get_args());
        in_session.envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        in_session.stdin(copy()?).stdout(copy()?).stderr(copy()?);
        let child = in_session
            .spawn()
            .map_err(LabError::doing("run setsid (util-linux)"))?;
        Ok(Self {
            keyboard_and_screen: File::from(master),
            child,
            shown: Vec::new(),
        })
    }

    /// The program; setsid(1) becomes it, so the pid is its own.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Types.
    pub fn type_keys(&mut self, keys: &[u8]) -> Result<(), LabError> {
        self.keyboard_and_screen
            .write_all(keys)
            .map_err(LabError::doing("type on a terminal"))
    }

    /// How much was shown so far.
    pub fn shown_bytes(&self) -> usize {
        self.shown.len()
    }

    /// Waits until `text` was shown; returns all that was shown so far.
    pub fn wait_for(&mut self, text: &str, timeout: Duration) -> Result<String, LabError> {
        self.wait_for_since(0, text, timeout)?;
        Ok(String::from_utf8_lossy(&self.shown).into_owned())
    }

    /// Waits until `text` was shown behind the first `start` bytes.
    pub fn wait_for_since(
        &mut self,
        start: usize,
        text: &str,
        timeout: Duration,
    ) -> Result<(), LabError> {
        let deadline = Instant::now() + timeout;
        loop {
            let since = self.shown.get(start..).unwrap_or_default();
            let shown = String::from_utf8_lossy(since).into_owned();
            if shown.contains(text) {
                return Ok(());
            }
            if Instant::now() > deadline || !self.read_more(Duration::from_millis(100))? {
                let what = format!("\"{text}\" on the terminal");
                return Err(LabError::TimedOut {
                    what,
                    after: timeout,
                    seen: shown,
                });
            }
        }
    }

    /// Reads what is shown until the last program has closed the terminal.
    pub fn wait_for_end(&mut self, timeout: Duration) -> Result<String, LabError> {
        let deadline = Instant::now() + timeout;
        while self.read_more(Duration::from_millis(100))? {
            if Instant::now() > deadline {
                let seen = String::from_utf8_lossy(&self.shown).into_owned();
                let what = "the terminal's programs end".into();
                return Err(LabError::TimedOut {
                    what,
                    after: timeout,
                    seen,
                });
            }
        }
        Ok(String::from_utf8_lossy(&self.shown).into_owned())
    }

    /// False when all programs have closed the terminal.
    fn read_more(&mut self, timeout: Duration) -> Result<bool, LabError> {
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        let mut polled = [PollFd::new(&self.keyboard_and_screen, PollFlags::IN)];
        poll(&mut polled, Some(&timeout)).map_err(LabError::doing("wait for a terminal"))?;
        let mut buffer = [0; 4096];
        match self.keyboard_and_screen.read(&mut buffer) {
            Ok(0) => Ok(false),
            Ok(length) => {
                self.shown.extend_from_slice(&buffer[..length]);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            // How Linux reports that the other side of a pseudo-terminal is closed.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                Ok(false)
            }
            Err(error) => Err(LabError::System {
                doing: "read a terminal".into(),
                source: error,
            }),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn control_c_interrupts_the_program_in_the_foreground() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo ready; exec sleep 100"]);
        let mut terminal = Terminal::run(&command).unwrap();
        terminal.wait_for("ready", Duration::from_secs(10)).unwrap();
        terminal.type_keys(b"\x03").unwrap();
        terminal.wait_for_end(Duration::from_secs(10)).unwrap();
        assert_eq!(terminal.child().wait().unwrap().signal(), Some(2));
    }
}
