//! Failure detection: the SWIM protocol of the foca crate, driven by explicit time.
//!
//! Every [`PROBE_PERIOD`] one member is asked whether it is there; if it does not answer, others are
//! asked to ask it; if none gets an answer it is suspect, everybody is told, and unless it refutes
//! within [`SUSPICION`] it is lost.
//!
//! The times are chosen for a LAN and these two promises, which the tests show on a simulated network:
//! a silent node is lost within 3 s, and one node in ten datagrams lost makes no node lost. The second
//! rests on gossip: as long as there is news (a suspicion is), it goes out every 100 ms, so a suspected
//! node has a dozen chances to hear of it and to refute. Without news, nothing but probes is sent.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU8, NonZeroUsize};
use std::rc::Rc;
use std::time::Duration;

use foca::{Config, Foca, Member, NoCustomBroadcast, Notification, PeriodicParams, State, Timer};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::codec::{Codec, MemberIdentity, is_turn_undead};
use crate::limits::{LOAD_BYTES_MAX, MEMBERSHIP_BYTES_MAX};
use crate::wire::supervisor::NodeId;

/// How often a member is probed.
pub const PROBE_PERIOD: Duration = Duration::from_millis(300);

/// How long a suspect has to refute.
pub const SUSPICION: Duration = Duration::from_millis(1_300);

const PROBE_ROUND_TRIP: Duration = Duration::from_millis(120);
const GOSSIP_PERIOD: Duration = Duration::from_millis(100);
const ANNOUNCE_PERIOD: Duration = Duration::from_secs(30);
const ANNOUNCE_TO_LOST_PERIOD: Duration = Duration::from_secs(5);
const REJOIN_PERIOD: Duration = Duration::from_millis(300);
const FORGET_LOST_AFTER: Duration = Duration::from_secs(3_600);

const THREE: NonZeroUsize = NonZeroUsize::new(3).unwrap();
const ONE: NonZeroUsize = NonZeroUsize::new(1).unwrap();
const TRANSMISSIONS: NonZeroU8 = NonZeroU8::new(12).unwrap();
const MESSAGE_BYTES_MAX: NonZeroUsize =
    NonZeroUsize::new(MEMBERSHIP_BYTES_MAX - LOAD_BYTES_MAX).unwrap();

/// What SWIM thinks of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It answers.
    Alive,
    /// It may be gone.
    Suspect,
    /// It is gone.
    Down,
}

/// The standing of a member changed, or it has a new generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which member.
    pub identity: MemberIdentity,
    /// Its standing now.
    pub standing: Standing,
}

/// A message to send.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// To whom.
    pub to: MemberIdentity,
    /// What.
    pub message: Vec<u8>,
}

/// A message from a member was not sound; the state is unchanged.
#[derive(Debug)]
pub struct Unsound(String);

impl fmt::Display for Unsound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unsound {}

/// One node's failure detector. All times are since an arbitrary start and never go back.
pub struct Swim {
    foca: Foca<MemberIdentity, Codec, SmallRng, NoCustomBroadcast>,
    own_address: Rc<Cell<Option<SocketAddr>>>,
    effects: Effects,
    known: BTreeMap<NodeId, (MemberIdentity, Standing)>,
}

/// What foca asks for, kept until the driver takes it.
#[derive(Default)]
struct Effects {
    now: Duration,
    timers: BinaryHeap<Reverse<Due>>,
    outgoing: Vec<Outgoing>,
    /// This node has a new generation that nobody has confirmed yet: when to announce it again.
    rejoin_at: Option<Duration>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Duration,
    timer: Timer<MemberIdentity>,
}

impl foca::Runtime<MemberIdentity> for &mut Effects {
    fn notify(&mut self, notification: Notification<'_, MemberIdentity>) {
        match notification {
            Notification::Rejoin(_) => self.rejoin_at = Some(self.now + REJOIN_PERIOD),
            Notification::Active | Notification::Defunct => self.rejoin_at = None,
            // Changes of members are found by comparing states, which sees suspicion too.
            _ => {}
        }
    }

    fn send_to(&mut self, to: MemberIdentity, message: &[u8]) {
        self.outgoing.push(Outgoing {
            to,
            message: message.to_vec(),
        });
    }

    fn submit_after(&mut self, timer: Timer<MemberIdentity>, after: Duration) {
        self.timers.push(Reverse(Due {
            at: self.now + after,
            timer,
        }));
    }
}

impl Swim {
    /// The detector of the node `identity`, with no other member yet.
    #[must_use]
    pub fn new(identity: MemberIdentity, seed: u64) -> Swim {
        let own_address = Rc::new(Cell::new(identity.address));
        let codec = Codec::new(identity.id, own_address.clone());
        let foca = Foca::new(identity, config(), SmallRng::seed_from_u64(seed), codec);
        Swim {
            foca,
            own_address,
            effects: Effects::default(),
            known: BTreeMap::new(),
        }
    }

    /// Tells where this node can be reached by nodes that have not heard its beacon.
    pub fn set_own_address(&mut self, address: Option<SocketAddr>) {
        self.own_address.set(address);
    }

    /// The generation of this node, which grows when it had been taken for lost.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.foca.identity().generation
    }

    /// Asks to be taken in by a node that was heard of.
    pub fn announce(&mut self, now: Duration, to: MemberIdentity) {
        self.effects.now = now;
        let result = self.foca.announce(to, &mut self.effects);
        report("announcing this node", result);
    }

    /// A member has said that it goes.
    pub fn note_left(&mut self, now: Duration, member: MemberIdentity) {
        self.effects.now = now;
        let left = std::iter::once(Member::down(member));
        let result = self.foca.apply_many(left, true, &mut self.effects);
        report("noting that a member left", result);
    }

    /// Takes a message of another node.
    pub fn receive(&mut self, now: Duration, message: &[u8]) -> Result<(), Unsound> {
        self.effects.now = now;
        match self.foca.handle_data(message, &mut self.effects) {
            Ok(()) => Ok(()),
            Err(error) => Err(Unsound(error.to_string())),
        }
    }

    /// When [`Swim::tick`] has something to do next.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        let timer = self.effects.timers.peek().map(|Reverse(due)| due.at);
        timer.into_iter().chain(self.effects.rejoin_at).min()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Duration) {
        self.effects.now = now;
        while self
            .effects
            .timers
            .peek()
            .is_some_and(|Reverse(due)| due.at <= now)
        {
            if let Some(Reverse(due)) = self.effects.timers.pop() {
                let result = self.foca.handle_timer(due.timer, &mut self.effects);
                report("a timer of the failure detector", result);
            }
        }
        if self.effects.rejoin_at.is_some_and(|at| at <= now) {
            self.rejoin(now);
        }
    }

    /// After a new generation foca tells a few members once and then waits to hear from somebody who
    /// knows it. If those datagrams are lost it would wait for ever, so this asks again until then.
    fn rejoin(&mut self, now: Duration) {
        let members: Vec<MemberIdentity> = self.present().take(THREE.get()).copied().collect();
        self.effects.rejoin_at = (!members.is_empty()).then_some(now + REJOIN_PERIOD);
        for member in members {
            self.announce(now, member);
        }
    }

    /// Tells a few members that this node goes, and stops.
    pub fn leave(&mut self, now: Duration) {
        self.effects.now = now;
        let result = self.foca.leave_cluster(&mut self.effects);
        report("leaving", result);
    }

    /// The messages to send since the last call.
    ///
    /// foca tells a member that it is taken for lost whenever a suspicion runs out, also when the member
    /// has refuted it meanwhile; it would take that seriously and leave for a moment. Such messages to
    /// members that are there are dropped.
    pub fn take_outgoing(&mut self) -> Vec<Outgoing> {
        let mut outgoing = std::mem::take(&mut self.effects.outgoing);
        outgoing.retain(|outgoing| {
            !is_turn_undead(&outgoing.message)
                || !self.present().any(|member| *member == outgoing.to)
        });
        outgoing
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for member in self.foca.iter_membership_state() {
            let identity = *member.id();
            let standing = match member.state() {
                State::Alive => Standing::Alive,
                State::Suspect => Standing::Suspect,
                State::Down => Standing::Down,
            };
            let before = self.known.insert(identity.id, (identity, standing));
            if before != Some((identity, standing)) {
                changes.push(Change { identity, standing });
            }
        }
        if self.known.len() > self.foca.iter_membership_state().len() {
            let present: Vec<NodeId> = self
                .foca
                .iter_membership_state()
                .map(|member| member.id().id)
                .collect();
            self.known.retain(|id, _| present.contains(id));
        }
        changes
    }

    /// Members that are there, this node not included.
    pub fn present(&self) -> impl Iterator<Item = &MemberIdentity> {
        self.foca.iter_members().map(Member::id)
    }

    /// The standing of a node, if it is or was a member.
    #[must_use]
    pub fn standing(&self, node: NodeId) -> Option<(MemberIdentity, Standing)> {
        self.known.get(&node).copied()
    }
}

/// These errors do not depend on what others send, and foca goes on after them; so one line is all.
fn report(what: &str, result: Result<(), foca::Error>) {
    if let Err(error) = result {
        log::warn!("membership: {what}: {error}");
    }
}

fn config() -> Config {
    let every = |frequency, num_members| {
        Some(PeriodicParams {
            frequency,
            num_members,
        })
    };
    Config {
        probe_period: PROBE_PERIOD,
        probe_rtt: PROBE_ROUND_TRIP,
        num_indirect_probes: THREE,
        max_transmissions: TRANSMISSIONS,
        suspect_to_down_after: SUSPICION,
        remove_down_after: Some(FORGET_LOST_AFTER),
        max_packet_size: MESSAGE_BYTES_MAX,
        notify_down_members: true,
        periodic_announce: every(ANNOUNCE_PERIOD, ONE),
        periodic_announce_to_down_members: every(ANNOUNCE_TO_LOST_PERIOD, ONE),
        periodic_gossip: every(GOSSIP_PERIOD, THREE),
    }
}

#[cfg(test)]
mod tests;
