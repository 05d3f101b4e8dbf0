//! Many detectors on a simulated network: explicit time, seeded loss, reproducible.

use std::cmp::Ordering;

use proptest::prelude::*;
use rand::RngExt;

use super::*;

const DELAY: Duration = Duration::from_millis(1);

struct Network {
    nodes: Vec<Node>,
    in_flight: BinaryHeap<Reverse<Flight>>,
    now: Duration,
    loss: f64,
    random: SmallRng,
    /// Every (time, observer, observed) of a node taken for lost.
    losses: Vec<(Duration, usize, usize)>,
}

struct Node {
    swim: Swim,
    /// Unplugged: neither sends nor hears.
    silent: bool,
}

#[derive(PartialEq, Eq)]
struct Flight {
    at: Duration,
    order: u64,
    to: usize,
    message: Vec<u8>,
}

impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Flight {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

fn identity(node: usize) -> MemberIdentity {
    MemberIdentity {
        id: NodeId([node as u8; 16]),
        generation: 1,
        address: None,
    }
}

impl Network {
    /// `count` nodes, each of which has heard of the first.
    fn new(count: usize, seed: u64) -> Network {
        let node = |node| Node {
            swim: Swim::new(identity(node), seed * 1_000 + node as u64),
            silent: false,
        };
        let mut network = Network {
            nodes: (0..count).map(node).collect(),
            in_flight: BinaryHeap::new(),
            now: Duration::ZERO,
            loss: 0.0,
            random: SmallRng::seed_from_u64(seed),
            losses: Vec::new(),
        };
        for node in 1..count {
            network.nodes[node]
                .swim
                .announce(Duration::ZERO, identity(0));
            network.collect(node);
        }
        network
    }

    fn collect(&mut self, from: usize) {
        let node = &mut self.nodes[from];
        for change in node.swim.take_changes() {
            if change.standing == Standing::Down && !node.silent {
                self.losses
                    .push((self.now, from, change.identity.id.0[0] as usize));
            }
        }
        for Outgoing { to, message } in node.swim.take_outgoing() {
            let lost = node.silent || self.random.random_bool(self.loss);
            if !lost {
                let order = self.random.random();
                let (at, to) = (self.now + DELAY, to.id.0[0] as usize);
                self.in_flight.push(Reverse(Flight {
                    at,
                    order,
                    to,
                    message,
                }));
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timers = self
                .nodes
                .iter()
                .filter_map(|node| node.swim.next_due())
                .min();
            let arrival = self.in_flight.peek().map(|Reverse(flight)| flight.at);
            let Some(next) = timers
                .into_iter()
                .chain(arrival)
                .min()
                .filter(|at| *at <= end)
            else {
                break;
            };
            self.now = self.now.max(next);
            if arrival == Some(next) {
                if let Some(Reverse(flight)) = self.in_flight.pop() {
                    let node = &mut self.nodes[flight.to];
                    if !node.silent {
                        node.swim.receive(self.now, &flight.message).unwrap();
                        self.collect(flight.to);
                    }
                }
                continue;
            }
            for node in 0..self.nodes.len() {
                if self.nodes[node]
                    .swim
                    .next_due()
                    .is_some_and(|at| at <= self.now)
                {
                    self.nodes[node].swim.tick(self.now);
                    self.collect(node);
                }
            }
        }
        self.now = end;
    }

    fn everybody_sees_everybody(&self) -> bool {
        let count = self.nodes.len();
        self.nodes
            .iter()
            .all(|node| node.swim.present().count() == count - 1)
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn nodes_that_know_only_the_first_soon_know_each_other() {
    let mut network = Network::new(8, 1);
    network.run(seconds(2));
    assert!(network.everybody_sees_everybody());
    assert_eq!(network.losses, []);
}

/// Unplugs one node at an arbitrary moment, for many seeds and sizes, and looks when each of the others
/// takes it for lost.
#[test]
fn a_silent_node_is_lost_within_three_seconds_and_nobody_else_is() {
    for count in [2, 3, 5, 8] {
        for seed in 0..20 {
            let mut network = Network::new(count, seed);
            network.run(seconds(5) + Duration::from_millis(seed * 37));
            let unplugged = network.now;
            network.nodes[1].silent = true;
            network.run(seconds(10));
            let observers = network
                .losses
                .iter()
                .filter(|(_, _, lost)| *lost == 1)
                .count();
            assert_eq!((observers, network.losses.len()), (count - 1, count - 1));
            for (at, observer, _) in &network.losses {
                let taken = *at - unplugged;
                assert!(
                    taken <= seconds(3),
                    "{count} nodes, seed {seed}, {observer}: {taken:?}"
                );
            }
        }
    }
}

/// Ten simulated minutes at 10 % loss for each size and seed.
#[test]
fn one_datagram_in_ten_lost_makes_no_node_lost() {
    for count in [2, 3, 6] {
        for seed in 0..8 {
            let mut network = Network::new(count, seed);
            network.run(seconds(2));
            assert!(network.everybody_sees_everybody());
            network.loss = 0.1;
            network.run(seconds(600));
            assert_eq!(network.losses, [], "{count} nodes, seed {seed}");
        }
    }
}

#[test]
fn a_node_that_was_cut_off_is_a_member_again_when_it_is_heard() {
    let mut network = Network::new(3, 4);
    network.run(seconds(3));
    network.nodes[2].silent = true;
    network.run(seconds(6));
    assert_eq!(network.nodes[0].swim.present().count(), 1);
    network.nodes[2].silent = false;
    // What a beacon does in the running agent.
    let now = network.now;
    network.nodes[2].swim.announce(now, identity(0));
    network.collect(2);
    network.run(seconds(8));
    assert!(network.everybody_sees_everybody());
}

#[test]
fn a_node_that_leaves_is_gone_at_once() {
    let mut network = Network::new(4, 5);
    network.run(seconds(3));
    let now = network.now;
    network.nodes[3].swim.leave(now);
    network.collect(3);
    network.run(Duration::from_millis(500));
    for observer in 0..3 {
        assert_eq!(network.nodes[observer].swim.present().count(), 2);
    }
}

#[test]
fn without_news_a_node_sends_little_more_than_its_probes() {
    let mut network = Network::new(3, 6);
    network.run(seconds(60));
    let before = network.now;
    let mut sent = 0;
    while network.now < before + seconds(30) {
        network.run(Duration::from_millis(1));
        sent += network.in_flight.len();
    }
    // Each of 3 nodes: a ping every 300 ms and an answer to each; in flight for one of our steps.
    let probes = 3 * 2 * 30_000 / 300;
    assert!(
        (probes / 2..probes * 3).contains(&sent),
        "{sent} datagrams in 30 s"
    );
}

proptest! {
    #[test]
    fn random_messages_never_fail_otherwise_than_by_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut swim = Swim::new(identity(1), 1);
        prop_assert!(swim.receive(Duration::ZERO, &bytes).is_err());
        prop_assert!(swim.take_changes().is_empty());
    }
}
