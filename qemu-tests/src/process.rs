//! Processes by pid and start time, so that nobody else's process is ever taken for ours.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// One certain process: the kernel may give its pid to another, but never with the same start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Its pid.
    pub pid: u32,
    /// Start in clock ticks since boot (`/proc/PID/stat`, field 22).
    pub start_ticks: u64,
}

impl ProcessIdentity {
    /// The process that has this pid now.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn of(pid: u32) -> io::Result<Self> {
        Ok(Self {
            pid,
            start_ticks: start_ticks(pid)?,
        })
    }

    /// The calling process.
    pub fn own() -> io::Result<Self> {
        Self::of(std::process::id())
    }

    /// A descriptor of the process if it still lives (a zombie does not).
    pub fn open(&self) -> Option<OwnedFd> {
        let pid = Pid::from_raw(i32::try_from(self.pid).ok()?)?;
        let descriptor = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // Only after the open: from here on the pid of a live process cannot have changed hands.
        let same = start_ticks(self.pid).is_ok_and(|ticks| ticks == self.start_ticks);
        (same && !has_ended(&descriptor, Duration::ZERO)).then_some(descriptor)
    }

    /// Whether it still lives.
    pub fn is_alive(&self) -> bool {
        self.open().is_some()
    }

    /// Sends a signal if it still lives; tells whether it did.
    pub fn signal(&self, signal: Signal) -> bool {
        self.open()
            .is_some_and(|descriptor| pidfd_send_signal(descriptor, signal).is_ok())
    }

    /// Waits for its end; false when it still lives after `timeout`.
    pub fn wait_for_end(&self, timeout: Duration) -> bool {
        self.open()
            .is_none_or(|descriptor| has_ended(&descriptor, timeout))
    }
}

/// A pidfd polls as readable from the end of its process on (pidfd_open(2)).
fn has_ended(descriptor: &OwnedFd, timeout: Duration) -> bool {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let mut polled = [PollFd::new(descriptor, PollFlags::IN)];
        match poll(&mut polled, Some(&left)) {
            Ok(count) => return count > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

fn start_ticks(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    start_ticks_of(&stat).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat: {stat}")))
}

fn start_ticks_of(stat: &str) -> Option<u64> {
    // The command's name, field 2, may itself contain blanks and parentheses.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name
        .split_ascii_whitespace()
        .nth(22 - 3)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_found_behind_any_name() {
        let stat = "12 (a) b (c)) S 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 9876 23 24";
        assert_eq!(start_ticks_of(stat), Some(9876));
        assert_eq!(start_ticks_of("12 (a) S 1"), None);
    }

    #[test]
    fn a_process_is_itself_and_not_one_that_started_at_another_time() {
        let own = ProcessIdentity::own().unwrap();
        assert!(own.is_alive());
        let other = ProcessIdentity {
            start_ticks: own.start_ticks + 1,
            ..own
        };
        assert!(!other.is_alive());
        assert!(!other.signal(Signal::KILL));
    }

    #[test]
    fn the_end_of_a_child_is_noticed() {
        let mut child = std::process::Command::new("sleep")
            .arg("100")
            .spawn()
            .unwrap();
        let identity = ProcessIdentity::of(child.id()).unwrap();
        assert!(!identity.wait_for_end(Duration::from_millis(1)));
        assert!(identity.signal(Signal::KILL));
        assert!(identity.wait_for_end(Duration::from_secs(10)));
        child.wait().unwrap();
        assert!(!identity.is_alive());
    }
}
