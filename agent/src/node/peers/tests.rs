//! Many nodes on simulated links: explicit time, seeded randomness, no sockets.

use std::net::Ipv6Addr;

use super::*;
use crate::membership::MemberState;

const PORT: u16 = 4460;

/// Nodes on links: node `n` has the address fe80::n on each of its links, and 10.0.0.n to be seeded by.
struct Lab {
    nodes: Vec<Peers>,
    links: Vec<Vec<usize>>,
    now: Duration,
    events: Vec<(usize, MemberEvent)>,
    /// Nodes that neither send nor hear.
    silent: Vec<usize>,
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn seeded(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, node as u8], PORT))
}

fn node(number: usize, name: &str, key: &ClusterKey, seeds: &[usize]) -> Peers {
    let setup = Setup {
        key: key.clone(),
        identity: NodeIdentity::generate(1_000 + number as u64).unwrap(),
        name: name.into(),
        port: PORT,
        seeds: seeds.iter().map(|&seed| seeded(seed)).collect(),
        random_seed: number as u64,
    };
    Peers::new(
        Duration::ZERO,
        setup,
        ShortLoad {
            cpus: number as u16,
            ..ShortLoad::default()
        },
    )
}

impl Lab {
    fn new(nodes: Vec<Peers>, links: Vec<Vec<usize>>) -> Lab {
        let mut lab = Lab {
            nodes,
            links,
            now: Duration::ZERO,
            events: Vec::new(),
            silent: Vec::new(),
        };
        for node in 0..lab.nodes.len() {
            lab.plug(node);
        }
        lab
    }

    /// All on one link, with the same key and these names.
    fn named(names: &[&str]) -> Lab {
        let key = ClusterKey::open();
        let nodes: Vec<Peers> = names
            .iter()
            .enumerate()
            .map(|(number, name)| node(number, name, &key, &[]))
            .collect();
        let link = (0..nodes.len()).collect();
        Lab::new(nodes, vec![link])
    }

    fn plug(&mut self, node: usize) {
        let usable = self
            .links
            .iter()
            .enumerate()
            .filter(|(_, link)| link.contains(&node));
        let usable = usable.map(|(link, _)| Usable {
            index: link as u32 + 1,
            name: format!("link{link}"),
            ipv4: vec![],
            ipv6: vec![Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, node as u16)],
        });
        let usable = usable.collect();
        self.nodes[node].set_interfaces(self.now, usable);
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.deliver();
            let next = self.nodes.iter().map(Peers::next_due).min().unwrap();
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            for node in &mut self.nodes {
                if node.next_due() <= self.now {
                    node.tick(self.now);
                }
            }
        }
        self.now = end;
    }

    fn deliver(&mut self) {
        loop {
            let mut arrivals = Vec::new();
            for from in 0..self.nodes.len() {
                let events = self.nodes[from].take_events();
                self.events
                    .extend(events.into_iter().map(|event| (from, event)));
                for datagram in self.nodes[from].take_outgoing() {
                    if !self.silent.contains(&from) {
                        arrivals.extend(self.route(from, datagram));
                    }
                }
            }
            if arrivals.is_empty() {
                return;
            }
            for (to, bytes, address) in arrivals {
                if !self.silent.contains(&to) {
                    self.nodes[to].receive(self.now, &bytes, address);
                }
            }
        }
    }

    fn route(&self, from: usize, datagram: Datagram) -> Vec<(usize, Vec<u8>, SocketAddr)> {
        let link_local = |link: u32| {
            let ip = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, from as u16);
            SocketAddr::from(SocketAddrV6::new(ip, PORT, 0, link))
        };
        match datagram.to {
            To::Group(interface, _) => self.links[interface.index as usize - 1]
                .iter()
                .filter(|&&to| to != from)
                .map(|&to| (to, datagram.bytes.clone(), link_local(interface.index)))
                .collect(),
            To::Address(SocketAddr::V6(to)) => {
                let number = to.ip().segments()[7] as usize;
                let link = &self.links[to.scope_id() as usize - 1];
                assert!(link.contains(&from), "sent on a link it is not on");
                vec![(number, datagram.bytes, link_local(to.scope_id()))]
            }
            To::Address(SocketAddr::V4(to)) => {
                vec![(to.ip().octets()[3] as usize, datagram.bytes, seeded(from))]
            }
        }
    }

    fn sees(&self, node: usize) -> Vec<(&str, u16, MemberState)> {
        let mut seen: Vec<_> = self.nodes[node]
            .roster()
            .nodes()
            .map(|node| (node.name.as_str(), node.number, node.state))
            .collect();
        seen.sort_by_key(|(name, ..)| *name);
        seen
    }

    fn everybody_is_alive_for_everybody(&self) -> bool {
        (0..self.nodes.len()).all(|node| {
            let seen = self.sees(node);
            seen.len() == self.nodes.len() - 1
                && seen
                    .iter()
                    .all(|(_, _, state)| *state == MemberState::Alive)
        })
    }
}

#[test]
fn nodes_on_a_link_are_a_cluster_within_half_a_second_and_agree_on_numbers() {
    let mut lab = Lab::named(&["n1", "n2", "n3"]);
    lab.run(ms(500));
    assert!(lab.everybody_is_alive_for_everybody());
    let alive = MemberState::Alive;
    assert_eq!(lab.sees(0), [("n2", 2, alive), ("n3", 3, alive)]);
    assert_eq!(lab.sees(2), [("n1", 1, alive), ("n2", 2, alive)]);
}

#[test]
fn nodes_without_a_number_in_their_name_get_different_ones_that_all_agree_on() {
    let mut lab = Lab::named(&["kitchen", "attic", "cellar", "hall", "n2"]);
    lab.run(seconds(3));
    let mut numbers: Vec<u16> = lab.nodes.iter().map(Peers::number).collect();
    for node in 0..lab.nodes.len() {
        for other in lab.nodes[node].roster().nodes() {
            let told = lab
                .nodes
                .iter()
                .find(|peers| peers.setup.name == other.name)
                .unwrap();
            assert_eq!(other.number, told.number());
        }
    }
    assert_eq!(numbers[4], 2);
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
}

#[test]
fn a_node_with_another_key_stays_out_and_both_sides_say_why_once() {
    let other = ClusterKey::generate().unwrap();
    let open = ClusterKey::open();
    let nodes = vec![
        node(0, "n0", &open, &[]),
        node(1, "n1", &open, &[]),
        node(2, "n2", &other, &[]),
    ];
    let mut lab = Lab::new(nodes, vec![vec![0, 1, 2]]);
    lab.run(seconds(60));
    assert_eq!(lab.sees(0), [("n1", 1, MemberState::Alive)]);
    assert_eq!(lab.sees(2), []);
    let lines = lab.nodes[0].refusals();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("node n2 at [fe80::2%1]:4460 belongs to another cluster, "));
    assert!(lines[0].contains("wrong key?"));
    assert_eq!(lab.nodes[2].refusals().len(), 2);
}

#[test]
fn a_wrong_key_is_explained_on_both_sides_of_a_seed_too() {
    let (one, other) = (ClusterKey::open(), ClusterKey::generate().unwrap());
    let nodes = vec![node(0, "n0", &one, &[]), node(1, "n1", &other, &[0])];
    let mut lab = Lab::new(nodes, vec![]);
    lab.run(seconds(20));
    assert_eq!(
        (lab.nodes[0].refusals().len(), lab.nodes[1].refusals().len()),
        (1, 1)
    );
}

#[test]
fn a_seed_joins_two_links_and_all_nodes_meet() {
    let key = ClusterKey::open();
    // 0 and 1 share a link, 2 and 3 another one; 2 is told of 0.
    let nodes = vec![
        node(0, "n0", &key, &[]),
        node(1, "n1", &key, &[]),
        node(2, "n2", &key, &[0]),
        node(3, "n3", &key, &[0]),
    ];
    let mut lab = Lab::new(nodes, vec![vec![0], vec![1], vec![2, 3]]);
    lab.run(seconds(2));
    assert_eq!(lab.sees(3).len(), 2, "{:?}", lab.sees(3));
    assert!(
        lab.sees(0)
            .iter()
            .all(|(_, _, state)| *state == MemberState::Alive)
    );
    assert_eq!(lab.sees(0).len(), 2);
}

#[test]
fn an_interface_that_comes_later_is_used_at_once() {
    let mut lab = Lab::named(&["n1", "n2"]);
    lab.links[0] = vec![0];
    lab.plug(1);
    lab.run(seconds(30));
    assert_eq!(lab.sees(0), []);
    lab.links[0] = vec![0, 1];
    lab.plug(1);
    lab.run(ms(300));
    assert!(lab.everybody_is_alive_for_everybody());
}

#[test]
fn a_silent_node_is_suspected_then_lost_and_welcome_again() {
    let mut lab = Lab::named(&["n1", "n2", "n3"]);
    lab.run(seconds(5));
    lab.events.clear();
    lab.silent = vec![2];
    lab.run(seconds(3));
    let n3 = lab.nodes[0]
        .roster()
        .nodes()
        .find(|node| node.name == "n3")
        .unwrap()
        .node_name();
    let seen: Vec<&MemberEvent> = lab
        .events
        .iter()
        .filter(|(observer, _)| *observer == 0)
        .map(|(_, event)| event)
        .collect();
    assert_eq!(
        seen,
        [
            &MemberEvent::Suspect(n3.clone()),
            &MemberEvent::Lost(n3.clone())
        ]
    );
    lab.events.clear();
    lab.silent.clear();
    lab.run(seconds(12));
    assert!(lab.everybody_is_alive_for_everybody());
    assert!(lab.events.contains(&(0, MemberEvent::Joined(n3))));
}

#[test]
fn a_node_that_leaves_says_so_and_is_not_taken_for_lost() {
    let mut lab = Lab::named(&["n1", "n2", "n3"]);
    lab.run(seconds(5));
    lab.events.clear();
    let now = lab.now;
    lab.nodes[2].leave(now);
    lab.deliver();
    lab.silent = vec![2];
    lab.run(seconds(20));
    assert_eq!(
        lab.sees(0),
        [("n2", 2, MemberState::Alive), ("n3", 3, MemberState::Left)]
    );
    let of_n3 = lab
        .events
        .iter()
        .filter(|(observer, _)| *observer < 2)
        .count();
    assert_eq!(of_n3, 2, "{:?}", lab.events);
}

#[test]
fn an_agent_that_is_restarted_is_the_same_member_again() {
    let mut lab = Lab::named(&["n1", "n2", "n3"]);
    lab.run(seconds(5));
    let now = lab.now;
    lab.nodes[2].leave(now);
    lab.deliver();
    lab.run(seconds(1));
    for epoch in [5_000, 6_000] {
        // The second time it was killed, and had no time to say that it goes.
        let before = &lab.nodes[2].setup;
        let setup = Setup {
            key: before.key.clone(),
            identity: before.identity.clone().at_epoch(epoch),
            name: before.name.clone(),
            port: before.port,
            seeds: vec![],
            random_seed: epoch,
        };
        lab.nodes[2] = Peers::new(lab.now, setup, ShortLoad::default());
        lab.plug(2);
        lab.run(seconds(1));
        assert!(
            lab.everybody_is_alive_for_everybody(),
            "{:?} {:?}",
            lab.sees(0),
            lab.sees(2)
        );
    }
}

#[test]
fn loads_travel_with_every_message() {
    let mut lab = Lab::named(&["n1", "n2"]);
    lab.run(seconds(1));
    lab.nodes[1].set_load(ShortLoad {
        guests: 7,
        ..ShortLoad::default()
    });
    lab.run(seconds(1));
    assert_eq!(lab.nodes[0].roster().nodes().next().unwrap().load.guests, 7);
}

#[test]
fn garbage_forgeries_and_repetitions_are_counted_and_change_nothing() {
    let mut lab = Lab::named(&["n1", "n2"]);
    lab.run(seconds(1));
    let now = lab.now;
    let from = SocketAddr::from(([10, 0, 0, 9], 9));
    lab.nodes[1].ask(Some(seeded(0)));
    let beacon = lab.nodes[1].take_outgoing().remove(0).bytes;
    let before = lab.nodes[0].counters;
    lab.nodes[0].receive(now, &beacon, from);
    lab.nodes[0].receive(now, &beacon, from);
    lab.nodes[0].receive(now, &beacon[..beacon.len() - 1], from);
    lab.nodes[0].receive(now, b"GET / HTTP/1.0", from);
    let after = lab.nodes[0].counters;
    assert_eq!(after.beacons_heard - before.beacons_heard, 1);
    assert_eq!(after.datagrams_repeated - before.datagrams_repeated, 1);
    assert_eq!(after.datagrams_bad - before.datagrams_bad, 2);
    assert_eq!(lab.sees(0).len(), 1);
}

/// A stable cluster of 24 on one link; counts what all send in a minute.
#[test]
fn a_stable_cluster_sends_few_beacons() {
    let names: Vec<String> = (0..24).map(|number| format!("n{number}")).collect();
    let mut lab = Lab::named(&names.iter().map(String::as_str).collect::<Vec<_>>());
    lab.run(seconds(20));
    assert!(lab.everybody_is_alive_for_everybody());
    let sent = |lab: &Lab| {
        lab.nodes
            .iter()
            .map(|node| node.counters.beacons_sent)
            .sum::<u64>()
    };
    let before = sent(&lab);
    lab.run(seconds(60));
    let in_a_minute = sent(&lab) - before;
    assert!(in_a_minute <= 24 * 60 / 5 * 3 / 2, "{in_a_minute} beacons");
}

#[test]
fn a_node_with_a_copied_identity_is_named() {
    let key = ClusterKey::open();
    let mut one = node(1, "n1", &key, &[]);
    let mut twin = node(1, "n1", &key, &[]);
    twin.setup.identity = one.setup.identity.clone().at_epoch(9);
    twin.ask(Some(seeded(1)));
    let beacon = twin.take_outgoing().remove(0).bytes;
    one.receive(seconds(1), &beacon, seeded(2));
    assert!(one.refusals()[0].contains("this node's own identity"));
}
