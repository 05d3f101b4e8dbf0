//! Many nodes that gossip over a network of function calls.

use super::*;
use proptest::prelude::*;

const PC: LoadVector = LoadVector {
    cpus: 2,
    speed: 10_000,
    throttled_percent: 0,
    load_centi: 0,
    memory_mib: 4096,
    free_mib: 2048,
    guests: 0,
    closed: false,
    urgent: false,
};

fn id(number: usize) -> NodeId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
    NodeId(id)
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Bytes that each node sends a second, on average, and the mean age and number of what each knows at the end.
struct Spread {
    bytes_per_second: f64,
    age: f64,
    known: f64,
}

fn spread(nodes: usize, run_for: f64, loss: f64) -> Spread {
    let mut random = SmallRng::seed_from_u64(7);
    let gossip = |number| Gossip::new(Duration::ZERO, id(number), PC, number as u64);
    let mut all: Vec<Gossip> = (0..nodes).map(gossip).collect();
    let mut bytes = 0;
    for step in 0..(run_for * 10.0) as u32 {
        let now = seconds(f64::from(step) / 10.0);
        for sender in 0..nodes {
            if all[sender].next_due().is_some_and(|due| due <= now) {
                let message = all[sender].compose(now);
                bytes += message.len();
                let receiver = (sender + 1 + all[sender].choose(nodes - 1)) % nodes;
                if random.random::<f64>() >= loss {
                    all[receiver].receive(now, id(sender), &message).unwrap();
                }
            }
        }
    }
    let now = seconds(run_for);
    let ages: Vec<f64> = all
        .iter()
        .flat_map(|gossip| gossip.view(now).map(|known| known.age(now).as_secs_f64()))
        .collect();
    Spread {
        bytes_per_second: bytes as f64 / run_for / nodes as f64,
        age: ages.iter().sum::<f64>() / ages.len() as f64,
        known: ages.len() as f64 / nodes as f64,
    }
}

#[test]
fn traffic_and_memory_of_a_node_do_not_grow_with_the_cluster() {
    let most = MESSAGE_BYTES_MAX as f64 * 1.1;
    for nodes in [40, 400, 2_000] {
        let spread = spread(nodes, 20.0, 0.0);
        assert!(
            spread.bytes_per_second < most,
            "{}",
            spread.bytes_per_second
        );
        assert!(spread.known <= VIEW_MAX as f64);
        assert!(
            spread.known >= 0.7 * VIEW_MAX.min(nodes - 1) as f64,
            "{}",
            spread.known
        );
        assert!(spread.age < 6.0, "{} nodes: {} s old", nodes, spread.age);
    }
}

#[test]
fn one_datagram_in_five_lost_makes_what_is_known_little_older() {
    let (all, some) = (spread(200, 30.0, 0.0), spread(200, 30.0, 0.2));
    assert!(some.age < 1.5 * all.age, "{} {}", all.age, some.age);
    assert!(some.known > 0.75 * all.known);
}

#[test]
fn what_a_node_says_of_itself_replaces_what_others_say_of_it() {
    let (mut liar, mut honest) = (
        Gossip::new(Duration::ZERO, id(1), PC, 1),
        Gossip::new(Duration::ZERO, id(2), PC, 2),
    );
    let mut hearer = Gossip::new(Duration::ZERO, id(3), PC, 3);
    let idle = LoadVector {
        load_centi: 0,
        ..PC
    };
    let busy = LoadVector {
        load_centi: 900,
        ..PC
    };
    honest.set_own(Duration::ZERO, busy);
    let now = seconds(1.0);
    // It claims to know that the other one is idle, as of just now.
    let made_up = Known {
        node: id(2),
        vector: idle,
        heard: now,
        age_then: Duration::ZERO,
    };
    liar.take_in(now, &[made_up]);
    hearer.receive(now, id(1), &liar.compose(now)).unwrap();
    hearer.receive(now, id(2), &honest.compose(now)).unwrap();
    let known = hearer.view(now).find(|known| known.node == id(2)).unwrap();
    assert_eq!(known.vector.load_centi, 900);
}

#[test]
fn what_is_old_is_not_believed_and_a_clock_that_goes_back_makes_nothing_younger_than_it_was() {
    let mut sender = Gossip::new(Duration::ZERO, id(1), PC, 1);
    let mut hearer = Gossip::new(Duration::ZERO, id(2), PC, 2);
    let message = sender.compose(seconds(100.0));
    hearer.receive(seconds(100.0), id(1), &message).unwrap();
    assert_eq!(hearer.view(seconds(50.0)).count(), 1);
    assert_eq!(hearer.view(seconds(110.1)).count(), 0);
    assert_eq!(
        hearer.compose(seconds(110.1)).len(),
        HEADER_BYTES + ENTRY_BYTES
    );
}

#[test]
fn a_great_change_goes_out_at_once_but_not_more_often_than_four_times_a_second() {
    let mut gossip = Gossip::new(Duration::ZERO, id(1), PC, 1);
    let mut sent = 0;
    for step in 0..1000_u32 {
        let now = seconds(f64::from(step) / 100.0);
        let load_centi = if step % 2 == 0 { 0 } else { 5_000 };
        gossip.set_own(now, LoadVector { load_centi, ..PC });
        if gossip.next_due().unwrap() <= now {
            gossip.compose(now);
            sent += 1;
        }
    }
    assert!((30..=41).contains(&sent), "{sent}");
}

#[test]
fn who_was_turned_away_hears_first_of_a_free_cpu_and_then_every_second_message_is_for_a_guests_home()
 {
    let mut gossip = Gossip::new(Duration::ZERO, id(1), PC, 1);
    let busy = LoadVector {
        load_centi: 200,
        ..PC
    };
    let now = seconds(5.0);
    gossip.set_own(now, busy);
    gossip.compose(now);
    gossip.turn_away(now, id(7));
    gossip.turn_away(now, id(8));
    gossip.turn_away(now, id(7));
    let mut homes = [id(3), id(4)];
    assert_eq!(gossip.receiver(now, &mut homes), None);
    assert_eq!(gossip.receiver(now, &mut homes), Some(id(3)));
    let later = seconds(6.0);
    gossip.set_own(later, PC);
    assert_eq!(gossip.next_due(), Some(later));
    for expected in [id(8), id(7)] {
        gossip.compose(later);
        assert_eq!(gossip.receiver(later, &mut homes), Some(expected));
    }
    gossip.compose(later);
    assert_eq!(gossip.receiver(later, &mut homes), None);
    assert_eq!(gossip.receiver(later, &mut homes), Some(id(4)));
    // Who has waited for long waits no more.
    gossip.turn_away(later, id(8));
    assert_eq!(gossip.receiver(seconds(9.1), &mut []), None);
}

#[test]
fn what_a_node_says_over_a_connection_is_known_at_once() {
    let mut gossip = Gossip::new(Duration::ZERO, id(1), PC, 1);
    gossip.hear(seconds(1.0), id(2), PC);
    gossip.hear(seconds(1.0), id(1), PC);
    let known: Vec<NodeId> = gossip.view(seconds(2.0)).map(|known| known.node).collect();
    assert_eq!(known, [id(2)]);
}

#[test]
fn a_quiet_node_sends_nothing_and_one_that_is_gone_is_forgotten() {
    let mut gossip = Gossip::new(Duration::ZERO, id(1), PC, 1);
    let mut other = Gossip::new(Duration::ZERO, id(2), PC, 2);
    gossip
        .receive(Duration::ZERO, id(2), &other.compose(Duration::ZERO))
        .unwrap();
    gossip.set_quiet(true);
    assert_eq!(gossip.next_due(), None);
    gossip.forget(id(2));
    assert_eq!(gossip.view(Duration::ZERO).count(), 0);
}

#[test]
fn a_message_in_another_name_or_layout_is_refused() {
    let mut sender = Gossip::new(Duration::ZERO, id(1), PC, 1);
    let mut hearer = Gossip::new(Duration::ZERO, id(2), PC, 2);
    let message = sender.compose(Duration::ZERO);
    let mut receive = |from, message: &[u8]| hearer.receive(Duration::ZERO, id(from), message);
    assert_eq!(receive(5, &message), Err(Unsound::NotItsOwn));
    assert_eq!(receive(1, &message[..20]), Err(Unsound::Layout));
    let mut absurd = message.clone();
    absurd[HEADER_BYTES + 18..][..2].fill(0);
    assert_eq!(receive(1, &absurd), Err(Unsound::Absurd(Absurd::Cpus(0))));
}

proptest! {
    #[test]
    fn random_bytes_are_refused_or_taken_and_leave_a_sound_view(
        bytes in prop::collection::vec(any::<u8>(), 0..=MESSAGE_BYTES_MAX),
        count in 1..=GOSSIP_ENTRIES_MAX,
    ) {
        let mut message = bytes;
        message.resize(HEADER_BYTES + count * ENTRY_BYTES, 3);
        message[..2].copy_from_slice(&[VERSION, count as u8]);
        message[2..18].copy_from_slice(&id(9).0);
        let mut hearer = Gossip::new(Duration::ZERO, id(2), PC, 2);
        let _ = hearer.receive(Duration::ZERO, id(9), &message);
        for known in hearer.view(Duration::ZERO) {
            prop_assert_eq!(known.vector.check(), Ok(()));
            prop_assert!(known.node != id(2));
        }
    }
}
