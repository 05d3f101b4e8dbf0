//! What the roster makes of beacons and of what SWIM says.

use super::*;
use crate::wire::bytes::ByteArray;

fn beacon(name: &str) -> Beacon {
    Beacon {
        name: name.try_into().unwrap(),
        public_key: ByteArray([1; 32]),
        generation: 1,
        port: 4460,
        addresses: [AddressBytes("10.0.0.1".parse().unwrap())]
            .into_iter()
            .collect(),
        number: 3,
        version: "0.1.0".try_into().unwrap(),
        answer_wanted: false,
        leaving: false,
        load: ShortLoad::default(),
    }
}

fn origin(sender: u16, sequence: u64, address: &str) -> Origin {
    let mut id = [0; 16];
    id[..2].copy_from_slice(&sender.to_le_bytes());
    let address = address.parse().unwrap();
    Origin {
        sender: NodeId(id),
        epoch: 1,
        sequence,
        address,
    }
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn state(roster: &Roster) -> MemberState {
    roster.nodes().next().unwrap().state
}

const HERE: &str = "[fe80::1%2]:4460";

#[test]
fn a_node_goes_through_its_states_and_each_change_is_told_once() {
    let mut roster = Roster::default();
    let from = origin(1, 1, HERE);
    assert_eq!(roster.hear_beacon(at(0), from, &beacon("a")), Heard::New);
    assert_eq!(state(&roster), MemberState::Joined);
    let identity = roster.get(from.sender).unwrap().identity();
    let name = roster.get(from.sender).unwrap().node_name();
    let mut set = |standing| roster.set_standing(at(1), identity, standing);
    assert_eq!(
        set(Standing::Alive),
        Some(MemberEvent::Joined(name.clone()))
    );
    assert_eq!(set(Standing::Alive), None);
    assert_eq!(
        set(Standing::Suspect),
        Some(MemberEvent::Suspect(name.clone()))
    );
    assert_eq!(set(Standing::Alive), Some(MemberEvent::Alive(name.clone())));
    assert_eq!(
        set(Standing::Suspect),
        Some(MemberEvent::Suspect(name.clone()))
    );
    assert_eq!(set(Standing::Down), Some(MemberEvent::Lost(name.clone())));
    assert_eq!(set(Standing::Alive), Some(MemberEvent::Joined(name)));
}

#[test]
fn a_node_that_left_is_not_lost_and_comes_back_only_in_a_new_generation() {
    let mut roster = Roster::default();
    let from = origin(1, 1, HERE);
    roster.hear_beacon(at(0), from, &beacon("a"));
    let identity = roster.get(from.sender).unwrap().identity();
    roster.set_standing(at(0), identity, Standing::Alive);
    let goes = Beacon {
        leaving: true,
        ..beacon("a")
    };
    assert_eq!(
        roster.hear_beacon(at(1), origin(1, 5, HERE), &goes),
        Heard::Leaving
    );
    assert!(matches!(
        roster.set_left(at(1), from.sender),
        Some(MemberEvent::Left(_))
    ));
    assert_eq!(roster.set_standing(at(1), identity, Standing::Down), None);
    assert_eq!(
        roster.hear_beacon(at(1), origin(1, 4, HERE), &beacon("a")),
        Heard::Old
    );
    assert_eq!(state(&roster), MemberState::Left);
    let again = MemberIdentity {
        generation: 2,
        ..identity
    };
    let event = roster.set_standing(at(2), again, Standing::Alive);
    assert!(matches!(event, Some(MemberEvent::Joined(_))));
}

#[test]
fn addresses_heard_go_before_those_announced_and_stale_ones_are_dropped() {
    let mut roster = Roster::default();
    let from = origin(1, 1, HERE);
    roster.hear_beacon(at(0), from, &beacon("a"));
    roster.hear_beacon(at(0), origin(1, 2, "10.0.0.1:4460"), &beacon("a"));
    let addresses = |roster: &Roster| -> Vec<String> {
        let node = roster.get(from.sender).unwrap();
        node.addresses().iter().map(SocketAddr::to_string).collect()
    };
    assert_eq!(addresses(&roster), ["10.0.0.1:4460", HERE]);
    roster.hear(
        at(20),
        from.sender,
        "10.0.0.1:4460".parse().unwrap(),
        ShortLoad::default(),
    );
    assert_eq!(addresses(&roster), ["10.0.0.1:4460"]);
}

#[test]
fn a_suspect_is_asked_on_every_way_there_is() {
    let mut roster = Roster::default();
    let from = origin(1, 1, HERE);
    roster.hear_beacon(at(0), from, &beacon("a"));
    let identity = roster.get(from.sender).unwrap().identity();
    let ways = |roster: &Roster| roster.get(from.sender).unwrap().datagram_addresses().len();
    roster.set_standing(at(0), identity, Standing::Alive);
    assert_eq!(ways(&roster), 1);
    roster.set_standing(at(0), identity, Standing::Suspect);
    assert_eq!(ways(&roster), 2);
}

#[test]
fn a_pc_that_was_booted_again_replaces_its_lost_self() {
    let mut roster = Roster::default();
    roster.hear_beacon(at(0), origin(1, 1, HERE), &beacon("a"));
    let identity = roster.get(origin(1, 1, HERE).sender).unwrap().identity();
    roster.set_standing(at(0), identity, Standing::Alive);
    roster.set_standing(at(1), identity, Standing::Down);
    roster.hear_beacon(at(2), origin(2, 1, HERE), &beacon("a"));
    assert_eq!(roster.nodes().count(), 1);
    assert_eq!(state(&roster), MemberState::Joined);
}

#[test]
fn the_table_is_bounded_and_the_longest_absent_node_makes_room() {
    let mut roster = Roster::default();
    for node in 0..MEMBERS_MAX as u16 {
        roster.hear_beacon(at(0), origin(node, 1, HERE), &beacon(&format!("n{node}")));
    }
    let one_more = origin(MEMBERS_MAX as u16, 1, HERE);
    assert_eq!(
        roster.hear_beacon(at(0), one_more, &beacon("more")),
        Heard::Full
    );
    roster.set_left(at(1), origin(7, 1, HERE).sender);
    assert_eq!(
        roster.hear_beacon(at(2), one_more, &beacon("more")),
        Heard::New
    );
    assert!(roster.get(origin(7, 1, HERE).sender).is_none());
    assert_eq!(roster.nodes().count(), MEMBERS_MAX);
}

#[test]
fn a_node_that_was_never_confirmed_is_forgotten() {
    let mut roster = Roster::default();
    roster.hear_beacon(at(0), origin(1, 1, HERE), &beacon("a"));
    roster.forget(at(59));
    assert_eq!(roster.nodes().count(), 1);
    roster.forget(at(61));
    assert_eq!(roster.nodes().count(), 0);
}

#[test]
fn an_address_that_works_both_ways_goes_before_one_that_only_beacons_come_from() {
    let mut roster = Roster::default();
    let from = origin(1, 1, "10.0.0.1:4460");
    roster.hear_beacon(at(0), from, &beacon("a"));
    let here = HERE.parse().unwrap();
    roster.hear(at(0), from.sender, here, ShortLoad::default());
    assert_eq!(roster.get(from.sender).unwrap().addresses()[0], here);
    roster.hear_beacon(at(1), origin(1, 2, "10.0.0.1:4460"), &beacon("a"));
    roster.hear_beacon(at(1), origin(1, 3, HERE), &beacon("a"));
    assert_eq!(roster.get(from.sender).unwrap().addresses()[0], here);
}

#[test]
fn a_node_that_left_and_started_again_is_joined_until_it_is_confirmed() {
    let mut roster = Roster::default();
    let from = origin(1, 1, HERE);
    roster.hear_beacon(at(0), from, &beacon("a"));
    roster.set_left(at(1), from.sender);
    let again = Origin { epoch: 2, ..from };
    let heard = roster.hear_beacon(
        at(2),
        again,
        &Beacon {
            generation: 2,
            ..beacon("a")
        },
    );
    assert_eq!((heard, state(&roster)), (Heard::New, MemberState::Joined));
    let identity = roster.get(from.sender).unwrap().identity();
    let event = roster.set_standing(at(2), identity, Standing::Alive);
    assert!(matches!(event, Some(MemberEvent::Joined(_))));
}

#[test]
fn an_address_that_has_ceased_to_work_gives_way_to_one_that_works() {
    let mut roster = Roster::default();
    let from = origin(1, 1, "10.0.0.1:4460");
    roster.hear_beacon(at(0), from, &beacon("a"));
    let (old, new) = ("10.0.0.1:4460".parse().unwrap(), HERE.parse().unwrap());
    let load = ShortLoad::default();
    let first = |roster: &Roster| roster.get(from.sender).unwrap().addresses()[0];
    roster.hear(at(1), from.sender, old, load);
    roster.hear(at(2), from.sender, new, load);
    assert_eq!(first(&roster), old, "both work");
    roster.hear(at(4), from.sender, new, load);
    assert_eq!(first(&roster), new);
}
