//! Asks the agent from time to time for its members and whom it has refused, without ever waiting for the
//! answer.
//!
//! ```text
//! Idle --(due, the agent runs)--> Asking --(end of output, or too late)--> Idle
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::programs;
use crate::sys::{self, Terminal};
use crate::view::Cluster;

/// Pause between questions while answers change.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Pause between questions in a cluster where nothing happens.
const INTERVAL_MAX: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// An agent that is so busy that it has not answered so often in a row is one of which nothing is known.
const FAILURES_MAX: u32 = 3;
/// Longest answer that is read, in bytes: some 10,000 nodes.
const ANSWER_BYTES_MAX: usize = 8 << 20;

enum State {
    Idle {
        due: Instant,
    },
    Asking {
        pid: i32,
        pipe: OwnedFd,
        answer: Vec<u8>,
        deadline: Instant,
    },
}

/// The question and its last answer.
pub(crate) struct Members {
    state: State,
    interval: Duration,
    last: Option<Cluster>,
    failures: u32,
}

impl Members {
    /// The first question is due at once.
    pub(crate) fn new(now: Instant) -> Members {
        Members {
            state: State::Idle { due: now },
            interval: INTERVAL_MIN,
            last: None,
            failures: 0,
        }
    }

    /// The last answer, if the agent gave one.
    pub(crate) fn last(&self) -> Option<&Cluster> {
        self.last.as_ref()
    }

    /// Forgets the answer of an agent that ended.
    pub(crate) fn forget(&mut self) {
        self.last = None;
        self.failures = 0;
        self.interval = INTERVAL_MIN;
    }

    /// The pipe to wait for.
    pub(crate) fn pipe(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Asking { pipe, .. } => Some(pipe.as_fd()),
            State::Idle { .. } => None,
        }
    }

    /// When [`Self::turn`] must be called even if nothing is ready.
    pub(crate) fn deadline(&self) -> Instant {
        match &self.state {
            State::Idle { due } => *due,
            State::Asking { deadline, .. } => *deadline,
        }
    }

    /// Asks if it is time to, and reads what there is of an answer.
    pub(crate) fn turn(&mut self, now: Instant, agent_runs: bool) {
        match &mut self.state {
            State::Idle { due } if *due > now => {}
            State::Idle { due } if !agent_runs => *due = now + self.interval,
            State::Idle { due } => match ask() {
                Ok((pid, pipe)) => {
                    let (answer, deadline) = (Vec::new(), now + ANSWER_WITHIN);
                    self.state = State::Asking {
                        pid,
                        pipe,
                        answer,
                        deadline,
                    };
                }
                Err(_) => *due = now + INTERVAL_MAX,
            },
            State::Asking {
                pid,
                pipe,
                answer,
                deadline,
            } => {
                let is_complete = read(pipe.as_fd(), answer);
                if is_complete {
                    let cluster = Cluster::read(answer);
                    self.take(cluster, now);
                } else if *deadline <= now || answer.len() > ANSWER_BYTES_MAX {
                    // Gone already, or about to be: either way it is reaped like every child.
                    let _ = sys::kill_group(Some(*pid), libc::SIGKILL);
                    self.take(None, now);
                }
            }
        }
    }

    fn take(&mut self, answer: Option<Cluster>, now: Instant) {
        self.failures = match answer {
            Some(_) => 0,
            None => self.failures.saturating_add(1),
        };
        let cluster = match answer {
            None if self.failures < FAILURES_MAX => self.last.take(),
            answer => answer,
        };
        let is_same = match (&cluster, &self.last) {
            (Some(cluster), Some(last)) => cluster.has_members_of(last),
            (None, None) => true,
            _ => false,
        };
        self.interval = if is_same {
            (self.interval * 2).min(INTERVAL_MAX)
        } else {
            INTERVAL_MIN
        };
        self.last = cluster;
        self.state = State::Idle {
            due: now + self.interval,
        };
    }
}

fn ask() -> std::io::Result<(i32, OwnedFd)> {
    let (read_end, write_end) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&read_end, true)?;
    let mut command = programs::question();
    command.stdout(write_end);
    Ok((sys::spawn(&mut command, Terminal::None)?, read_end))
}

/// Reads what there is; says whether it was the end.
fn read(pipe: BorrowedFd<'_>, answer: &mut Vec<u8>) -> bool {
    let mut piece = vec![0; 64 * 1024];
    loop {
        match rustix::io::read(pipe, piece.as_mut_slice()) {
            Ok(0) => return true,
            Ok(length) => answer.extend_from_slice(&piece[..length]),
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
        if answer.len() > ANSWER_BYTES_MAX {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_question_without_an_answer_does_not_make_the_agent_unknown() {
        let now = Instant::now();
        let mut members = Members::new(now);
        let answer = br#"[{"name":"a","state":"alive"}]{"refusals":[]}"#;
        members.take(None, now);
        assert_eq!(members.last(), None);
        members.take(Cluster::read(answer), now);
        for failure in 1..FAILURES_MAX {
            members.take(None, now);
            assert!(members.last().is_some(), "after {failure}");
        }
        members.take(None, now);
        assert_eq!(members.last(), None);
    }
}
