//! The decisions, one situation at a time, and what must hold in any.

use super::*;
use crate::balance::memory::RESIDENCY;
use proptest::prelude::*;

fn id(number: u8) -> NodeId {
    NodeId([number; 16])
}

fn node(load: f64) -> LoadVector {
    let mut node = LoadVector {
        cpus: 2,
        speed: 10_000,
        memory_mib: 8192,
        free_mib: 6000,
        ..LoadVector::default()
    };
    node.set_load(load);
    node
}

/// A neighbour of which was heard just now.
fn at(number: u8, vector: LoadVector) -> Neighbour {
    Neighbour {
        node: id(number),
        vector,
        age: Duration::ZERO,
    }
}

fn busy(pid: u32, place: Place) -> Process {
    Process {
        pid,
        job: 1,
        place,
        movable: true,
        rest_seconds: 5.0,
        runnable: 1.0,
        memory_mib: 20,
        calls_per_cpu_second: 0.0,
    }
}

const NOW: Duration = Duration::from_secs(100);

fn decide(
    brain: &mut Brain,
    now: Duration,
    home: LoadVector,
    nodes: &[Neighbour],
    processes: &[Process],
) -> Vec<Order> {
    let may_leave = true;
    brain.tick(
        now,
        &Input {
            home,
            home_age: Duration::ZERO,
            may_leave,
            nodes,
            processes,
            barred: &[],
        },
    )
}

/// Orders of a new brain.
fn decide_once(home: LoadVector, nodes: &[Neighbour], all: &[Process]) -> Vec<Order> {
    decide(&mut Brain::new(1), NOW, home, nodes, all)
}

#[test]
fn work_spreads_until_no_move_gains_any_more() {
    let processes: Vec<Process> = (1..=6).map(|pid| busy(pid, Place::Home)).collect();
    let nodes = [at(1, node(0.0)), at(2, node(0.0))];
    let orders = decide_once(node(6.0), &nodes, &processes);
    let to = |place| orders.iter().filter(|order| order.to == place).count();
    assert_eq!((orders.len(), to(Place::Away(id(1)))), (4, 2));
    assert_eq!(to(Place::Away(id(2))), 2);
}

#[test]
fn the_faster_node_is_given_more() {
    let processes: Vec<Process> = (1..=12).map(|pid| busy(pid, Place::Home)).collect();
    let fast = LoadVector {
        speed: 20_000,
        ..node(0.0)
    };
    let nodes = [at(1, fast), at(2, node(0.0))];
    let mut brain = Brain::new(1);
    let mut orders = decide(&mut brain, NOW, node(12.0), &nodes, &processes);
    assert_eq!(orders.len(), MOVES_PER_SECOND);
    orders.retain(|order| order.to == Place::Away(id(1)));
    assert!((5..=6).contains(&orders.len()), "{orders:?}");
}

#[test]
fn nothing_moves_where_every_thread_has_a_cpu_or_everybody_is_as_busy() {
    let processes = [busy(1, Place::Home), busy(2, Place::Home)];
    assert_eq!(decide_once(node(2.0), &[at(1, node(0.0))], &processes), []);
    assert_eq!(decide_once(node(4.0), &[at(1, node(4.0))], &processes), []);
    assert_eq!(decide_once(node(4.0), &[at(1, node(3.0))], &processes), []);
}

#[test]
fn the_young_the_idle_and_the_pinned_stay() {
    let young = Process {
        rest_seconds: 0.2,
        ..busy(1, Place::Home)
    };
    let idle = Process {
        runnable: 0.1,
        ..busy(2, Place::Home)
    };
    let pinned = Process {
        movable: false,
        ..busy(3, Place::Home)
    };
    let orders = decide_once(node(8.0), &[at(1, node(0.0))], &[young, idle, pinned]);
    assert_eq!(orders, []);
}

#[test]
fn who_calls_home_all_the_time_is_drawn_home_and_does_not_leave() {
    let talker = |place| Process {
        calls_per_cpu_second: 10_000.0,
        ..busy(1, place)
    };
    let nodes = [at(1, node(1.0))];
    assert_eq!(decide_once(node(4.0), &nodes, &[talker(Place::Home)]), []);
    let orders = decide_once(node(0.0), &nodes, &[talker(Place::Away(id(1)))]);
    assert_eq!(orders[0].to, Place::Home);
    // At a free CPU abroad, who does not call stays.
    assert_eq!(
        decide_once(node(0.0), &nodes, &[busy(1, Place::Away(id(1)))]),
        []
    );
}

#[test]
fn a_process_leaves_a_remote_that_has_become_busy_for_another_one() {
    let nodes = [at(1, node(8.0)), at(2, node(0.0))];
    let orders = decide_once(node(8.0), &nodes, &[busy(1, Place::Away(id(1)))]);
    assert_eq!(orders[0].to, Place::Away(id(2)));
}

#[test]
fn before_home_swaps_the_smallest_process_that_is_enough_leaves_for_where_most_is_free() {
    let mut home = node(0.5);
    home.free_mib = 100;
    let sized = |pid, memory_mib| Process {
        memory_mib,
        runnable: 0.0,
        rest_seconds: 0.0,
        ..busy(pid, Place::Home)
    };
    let roomy = LoadVector {
        free_mib: 7000,
        ..node(5.0)
    };
    let processes = [sized(1, 100), sized(2, 2000), sized(3, 400)];
    let orders = decide_once(home, &[at(1, node(0.0)), at(2, roomy)], &processes);
    let order = Order {
        pid: 3,
        to: Place::Away(id(2)),
        cause: Cause::Memory,
    };
    assert_eq!(orders, [order]);
}

#[test]
fn nobody_is_sent_where_there_is_no_room_or_the_door_is_closed() {
    let full = LoadVector {
        free_mib: 100,
        ..node(0.0)
    };
    let closed = LoadVector {
        closed: true,
        ..node(0.0)
    };
    let processes = [
        busy(1, Place::Home),
        busy(2, Place::Home),
        busy(3, Place::Home),
    ];
    assert_eq!(
        decide_once(node(6.0), &[at(1, full), at(2, closed)], &processes),
        []
    );
}

#[test]
fn a_home_that_keeps_its_own_sends_nothing_but_still_calls_home() {
    let mut brain = Brain::new(1);
    let nodes = [at(1, node(9.0))];
    let processes = [busy(1, Place::Home), busy(2, Place::Away(id(1)))];
    let input = Input {
        home: node(1.0),
        home_age: Duration::ZERO,
        may_leave: false,
        nodes: &nodes,
        processes: &processes,
        barred: &[],
    };
    let orders = brain.tick(NOW, &input);
    assert_eq!(orders.len(), 1);
    assert_eq!((orders[0].pid, orders[0].to), (2, Place::Home));
    assert_eq!(
        brain.place(
            NOW,
            7,
            None,
            &Input {
                home: node(9.0),
                ..input
            }
        ),
        Place::Home
    );
}

#[test]
fn programs_that_start_while_home_is_busy_are_spread_before_any_load_shows() {
    let mut brain = Brain::new(1);
    let nodes = [at(1, node(0.0)), at(2, node(0.0))];
    let input = Input {
        home: node(0.0),
        home_age: Duration::from_secs(1),
        may_leave: true,
        nodes: &nodes,
        processes: &[],
        barred: &[],
    };
    let places: Vec<Place> = (0..6)
        .map(|pid| brain.place(NOW, pid, None, &input))
        .collect();
    let at = |place| places.iter().filter(|at| **at == place).count();
    assert_eq!(at(Place::Home), 2, "{places:?}");
    assert_eq!(at(Place::Away(id(1))), 2, "{places:?}");
}

/// Where a program starts of whose name this is known, at a home that is as fast as the reference machine and idle.
fn start(known: Option<Known>, nodes: &[Neighbour]) -> Place {
    let input = Input {
        home: node(0.0),
        home_age: Duration::ZERO,
        may_leave: true,
        nodes,
        processes: &[],
        barred: &[],
    };
    Brain::new(1).place(NOW, 7, known, &input)
}

#[test]
fn an_idle_home_is_left_at_the_start_by_who_is_known_to_gain_by_it() {
    let at_speed = |speed| {
        let vector = LoadVector { speed, ..node(0.0) };
        [at(1, vector)]
    };
    let lives = |life_seconds, calls_per_cpu_second| {
        Some(Known {
            life_seconds,
            calls_per_cpu_second,
        })
    };
    let away = Place::Away(id(1));
    assert_eq!(start(lives(10.0, 0.0), &at_speed(15_000)), away);
    assert_eq!(start(lives(10.0, 0.0), &at_speed(10_000)), Place::Home);
    assert_eq!(start(lives(0.5, 0.0), &at_speed(15_000)), Place::Home);
    assert_eq!(start(lives(10.0, 5_000.0), &at_speed(15_000)), Place::Home);
    assert_eq!(start(None, &at_speed(15_000)), Place::Home);
}

#[test]
fn of_two_idle_nodes_the_one_heard_of_later_is_tried_first() {
    let mut fast = [at(1, node(0.0)), at(2, node(0.0))];
    for there in &mut fast {
        there.vector.speed = 20_000;
    }
    fast[0].age = Duration::from_secs(9);
    let known = Known {
        life_seconds: 10.0,
        calls_per_cpu_second: 0.0,
    };
    assert_eq!(start(Some(known), &fast), Place::Away(id(2)));
}

#[test]
fn where_a_move_failed_nobody_goes_for_a_while() {
    let mut brain = Brain::new(1);
    let nodes = [at(1, node(0.0))];
    let processes = [
        busy(1, Place::Home),
        busy(2, Place::Home),
        busy(3, Place::Home),
    ];
    assert!(!decide(&mut brain, NOW, node(6.0), &nodes, &processes).is_empty());
    brain.memory.doubt(NOW, id(1));
    let soon = NOW + RESIDENCY;
    assert_eq!(decide(&mut brain, soon, node(6.0), &nodes, &processes), []);
    let later = NOW + Duration::from_secs(20);
    assert!(!decide(&mut brain, later, node(6.0), &nodes, &processes).is_empty());
}

/// A minute in which all loads are made up anew each second, by a liar or by chance.
fn a_wild_minute(loads: &[(u32, u32)], back: bool) -> Vec<(Duration, Order)> {
    let mut brain = Brain::new(1);
    let mut places = [Place::Home; 20];
    let mut all = Vec::new();
    for (second, (home_load, other_load)) in loads.iter().cycle().take(60).enumerate() {
        let jump = if back && second % 7 == 3 { 5 } else { 0 };
        let now = NOW + Duration::from_secs((second as u64).saturating_sub(jump));
        let mut home = node(0.0);
        home.load_centi = home_load % 10_000_000;
        let mut other = node(0.0);
        other.load_centi = other_load % 10_000_000;
        let nodes = [at(1, other), at(2, node(0.0)), at(3, other)];
        let processes: Vec<Process> = places
            .iter()
            .zip(0..)
            .map(|(place, pid)| busy(pid, *place))
            .collect();
        for order in decide(&mut brain, now, home, &nodes, &processes) {
            places[order.pid as usize] = order.to;
            all.push((now, order));
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_the_loads_do_moves_of_a_process_and_of_a_home_are_bounded(
        loads in prop::collection::vec((any::<u32>(), any::<u32>()), 1..60),
        back: bool,
    ) {
        let moves = a_wild_minute(&loads, back);
        for pid in 0..20 {
            let of = moves.iter().filter(|(_, order)| order.pid == pid).count();
            // Residency doubles: 3 + 6 + 12 + 24 s, and clocks that went back.
            prop_assert!(of <= 7, "process {} moved {} times", pid, of);
        }
        for second in 0..60 {
            let at = NOW + Duration::from_secs(second);
            let in_it = moves.iter().filter(|(now, _)| *now == at).count();
            prop_assert!(in_it <= 2 * MOVES_PER_SECOND);
        }
    }

    #[test]
    fn an_order_always_leads_elsewhere_and_names_a_process_that_may_move(
        home_load: u32,
        loads in prop::collection::vec((any::<u32>(), 1..40_000_u32, any::<bool>()), 0..6),
        rest_seconds in prop::num::f64::ANY,
        runnable in prop::num::f64::ANY,
        calls in prop::num::f64::ANY,
        memory_mib: u32,
    ) {
        let nodes: Vec<Neighbour> = loads
            .iter()
            .zip(1..)
            .map(|((load, speed, closed), number)| {
                let load_centi = load % 10_000_000;
                let vector = LoadVector { load_centi, speed: *speed, closed: *closed, ..node(0.0) };
                at(number, vector)
            })
            .collect();
        let mut home = node(0.0);
        home.load_centi = home_load % 10_000_000;
        let odd = |pid, place| Process {
            rest_seconds,
            runnable,
            calls_per_cpu_second: calls,
            memory_mib,
            ..busy(pid, place)
        };
        let processes = [odd(1, Place::Home), odd(2, Place::Away(id(1))), busy(3, Place::Home)];
        for order in decide_once(home, &nodes, &processes) {
            let process = processes.iter().find(|process| process.pid == order.pid).unwrap();
            prop_assert!(process.place != order.to);
            if let Place::Away(node) = order.to {
                let there = nodes.iter().find(|there| there.node == node).unwrap();
                prop_assert!(!there.vector.closed && has_room(&there.vector, process.memory_mib));
            }
        }
    }

    #[test]
    fn two_homes_that_see_the_same_idle_node_do_not_send_back_and_forth(seconds in 20..60_u64) {
        // Each has four processes and two CPUs; the node between them has two. They hear its load a second after it
        // was measured, and a move shows in it two seconds after it was ordered.
        let mut brains = [Brain::new(1), Brain::new(1)];
        let mut places = [[Place::Home; 4]; 2];
        let mut arrived = vec![0_usize; 3];
        let mut on_their_way = Vec::new();
        let mut moves = 0;
        let away = |places: &[Place; 4]| places.iter().filter(|p| **p != Place::Home).count();
        for second in 0..seconds {
            let now = NOW + Duration::from_secs(second);
            let vector = node(arrived[second as usize] as f64);
            let between = Neighbour { age: Duration::from_secs(1), ..at(1, vector) };
            for &(ordered, number, pid, to) in &on_their_way {
                if ordered + 2 == second {
                    let memory: &mut Memory = &mut brains[number as usize].memory;
                    memory.arrived(now, pid, Place::node(to));
                }
            }
            for (number, (brain, places)) in (0..).zip(brains.iter_mut().zip(&mut places)) {
                let processes: Vec<Process> =
                    places.iter().zip(1..).map(|(place, pid)| busy(pid, *place)).collect();
                let home = node((4 - away(places)) as f64);
                for order in decide(brain, now, home, &[between], &processes) {
                    places[order.pid as usize - 1] = order.to;
                    on_their_way.push((second, number, order.pid, order.to));
                    moves += 1;
                }
            }
            arrived.push(away(&places[0]) + away(&places[1]));
        }
        prop_assert!(moves <= 8, "{} moves", moves);
    }
}

#[test]
fn a_job_uses_no_node_that_is_barred_to_it_whether_home_is_busy_or_out_of_memory() {
    let nodes = [at(1, node(0.0)), at(2, node(0.0))];
    let barred = [1, 2].map(|job| Barred {
        job,
        nodes: vec![id(job as u8)],
    });
    let of_job = |pid, job| Process {
        job,
        ..busy(pid, Place::Home)
    };
    let processes = [1, 2, 3, 4].map(|pid| of_job(pid, 1 + pid % 2));
    for free_mib in [6000, 10] {
        let home = LoadVector {
            free_mib,
            ..node(4.0)
        };
        let input = Input {
            home,
            home_age: Duration::ZERO,
            may_leave: true,
            nodes: &nodes,
            processes: &processes,
            barred: &barred,
        };
        let orders = Brain::new(1).tick(NOW, &input);
        assert!(!orders.is_empty());
        for order in orders {
            let own = 1 + order.pid as u8 % 2;
            assert_eq!(order.to, Place::Away(id(3 - own)), "{order:?}");
        }
    }
}
