//! Time from the cluster: a booted PC whose clock is far off, because its battery is dead or another system keeps
//! local time in it, takes the time of the nodes that it meets. Once, after it has joined, and before the first guest
//! comes; an installed node's clock is never touched.
//!
//! ```text
//!          a member is met        told                                     `limosa agent` without
//! Unasked ----------------> Asking ----> Settled: others may rely on it    --set-clock: Own
//!                              |         if what it goes by may be relied on
//!          guests wait ........+
//! ```
//!
//! Members are asked over connections of their own, so an answer is fresh and a member's: beacons could have
//! been recorded when they were true. What becomes of the answers is in [`votes`]. Only the wall clock is set; whatever
//! the agent waits for goes by the other one (CLOCK_MONOTONIC), and the PC's own hardware clock stays as it is.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_settime};
use smol::Timer;
use smol::future::FutureExt;

use self::votes::{Verdict, Vote};
use super::agent::{Agent, Event};
use super::channel::Incoming;
use super::cluster::{Cluster, Member};
use crate::limits::CLOCKS_ASKED_MAX;
use crate::wire::hello::ClockReading;

pub mod votes;

/// How long a node that has met a member waits for others to be met.
const COMPANY: Duration = Duration::from_millis(200);

/// How long all answers may take.
const ANSWERS_TIMEOUT: Duration = Duration::from_secs(4);

/// Pause before members are asked again, when none has answered.
const PAUSE: Duration = Duration::from_millis(500);

/// How often a guest that waits for the clock is looked at again.
const GUEST_PAUSE: Duration = Duration::from_millis(50);

/// What is known of this node's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// It is the affair of who installed the node, and others may rely on it.
    Own,
    /// It may be set, and nobody has been asked.
    Unasked,
    /// Members are being asked.
    Asking,
    /// It stays as it is.
    Settled {
        /// Others may rely on it.
        is_set: bool,
    },
}

impl Clock {
    /// Of an agent that may, or may not, set it.
    pub(super) fn new(may_be_set: bool) -> Clock {
        if may_be_set {
            Clock::Unasked
        } else {
            Clock::Own
        }
    }

    fn is_settled(self) -> bool {
        matches!(self, Clock::Own | Clock::Settled { .. })
    }
}

impl Agent {
    /// Asks members for the time, if that is to be done and was not.
    pub(super) fn ask_for_time(&mut self) {
        if self.clock != Clock::Unasked || !self.cluster.members().iter().any(can_be_asked) {
            return;
        }
        self.clock = Clock::Asking;
        let (cluster, events) = (Rc::clone(&self.cluster), self.events.clone());
        self.executor
            .spawn(async move {
                let told = RefCell::default();
                let late = async {
                    Timer::after(ANSWERS_TIMEOUT).await;
                };
                ask(&cluster, &told).or(late).await;
                // A closed queue means that the agent has stopped.
                let _ = events.send(Event::Clock(told.into_inner())).await;
            })
            .detach();
    }

    /// Members have told the time; those who could.
    pub(super) fn hear_time(&mut self, votes: &[Vote]) {
        let verdict = votes::decide(votes, unix_ms(), program_unix_ms());
        let is_set = match verdict {
            Verdict::Keep { is_set } => is_set,
            Verdict::Set { ahead_ms, is_set } if self.nothing_goes_by_the_clock() => {
                let seconds = ahead_ms as f64 / 1000.0;
                match set(ahead_ms) {
                    Ok(()) => {
                        log::info!("the clock was set by {seconds} s to the cluster's time");
                        is_set
                    }
                    Err(error) => {
                        log::warn!(
                            "the clock is {seconds} s behind the cluster's and cannot be set: {error}"
                        );
                        false
                    }
                }
            }
            Verdict::Set { ahead_ms, .. } => {
                let seconds = ahead_ms as f64 / 1000.0;
                log::warn!(
                    "the clock is {seconds} s behind the cluster's and stays so: programs run here"
                );
                false
            }
        };
        self.clock = Clock::Settled { is_set };
    }

    /// Whether nobody would see the clock jump: no guest, and nothing started here.
    fn nothing_goes_by_the_clock(&self) -> bool {
        self.supervisors.is_empty() && self.guests_coming.get() == 0 && self.jobs.names().is_empty()
    }

    /// Has a guest wait as long as the clock may jump; returns one that need not.
    pub(super) fn once_the_clock_is_settled(&mut self, incoming: Incoming) -> Option<Incoming> {
        if self.clock.is_settled() {
            return Some(incoming);
        }
        self.ask_for_time();
        let events = self.events.clone();
        self.executor
            .spawn(async move {
                Timer::after(GUEST_PAUSE).await;
                // A closed queue means that the agent has stopped.
                let _ = events.send(Event::Incoming(incoming)).await;
            })
            .detach();
        None
    }

    /// Answers a node that asks for the time.
    pub(super) fn tell_time(&self, incoming: Incoming) {
        let is_set = matches!(self.clock, Clock::Own | Clock::Settled { is_set: true });
        self.executor
            .spawn(async move {
                let peer = incoming.peer.name.clone();
                let reading = || ClockReading {
                    unix_ms: unix_ms(),
                    is_set,
                };
                if let Err(error) = incoming.tell_time(reading).await {
                    log::warn!("{peer} was not told the time: {error}");
                }
            })
            .detach();
    }
}

fn can_be_asked(member: &Member) -> bool {
    !member.this && member.state.is_present()
}

/// Asks some members one after the other, all of them again as long as none can tell.
async fn ask(cluster: &Cluster, told: &RefCell<Vec<Vote>>) {
    Timer::after(COMPANY).await;
    loop {
        let members = cluster.members().into_iter();
        for member in members.filter(can_be_asked).take(CLOCKS_ASKED_MAX) {
            match cluster.time(member.id).await {
                Ok(reading) => told.borrow_mut().push(Vote {
                    unix_ms: reading.unix_ms,
                    ahead_ms: reading.unix_ms.saturating_sub(unix_ms()),
                    is_set: reading.is_set,
                }),
                Err(error) => log::info!("{} does not tell the time: {error}", member.name),
            }
        }
        if !told.borrow().is_empty() {
            return;
        }
        Timer::after(PAUSE).await;
    }
}

/// Milliseconds since 1970 by the wall clock.
fn unix_ms() -> i64 {
    since_1970_ms(SystemTime::now())
}

fn since_1970_ms(time: SystemTime) -> i64 {
    let milliseconds = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => milliseconds(after),
        Err(before) => -milliseconds(before.duration()),
    }
}

/// When this program was made: in the image all files have its date. It cannot be earlier than that.
fn program_unix_ms() -> i64 {
    std::fs::metadata("/proc/self/exe")
        .and_then(|program| program.modified())
        .map_or(0, since_1970_ms)
}

/// Sets the wall clock ahead, or back.
fn set(ahead_ms: i64) -> rustix::io::Result<()> {
    let time_ms = unix_ms().saturating_add(ahead_ms);
    clock_settime(
        ClockId::Realtime,
        Timespec {
            tv_sec: time_ms.div_euclid(1000),
            tv_nsec: time_ms.rem_euclid(1000) * 1_000_000,
        },
    )
}
