//! What membership and gossip cost a node: traffic, CPU time and memory, for clusters of several sizes.
//!
//! Up to [`SWIM_NODES_MAX`] nodes run the agents' failure detector as well; each of its members knows all others, so
//! the memory of the simulating machine is the limit. Beyond, only the loads are gossiped.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use limosa::balance::gossip::Gossip;
use limosa::balance::vector::LoadVector;
use limosa::limits::MEMBERS_MAX;
use limosa::membership::codec::MemberIdentity;
use limosa::membership::swim::Swim;
use limosa::secure::datagram::OVERHEAD_BYTES;
use limosa::wire::supervisor::NodeId;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::arguments;

/// What an agent keeps track of at most.
const SWIM_NODES_MAX: usize = MEMBERS_MAX;

/// Bytes of IPv6 and UDP headers.
const NETWORK_BYTES: usize = 48;

/// Resolution of the virtual clock.
const STEP: Duration = Duration::from_millis(20);

/// The time in which a cluster finds together, which is not counted.
const WARM_UP: Duration = Duration::from_secs(20);

pub(crate) fn id(node: usize) -> NodeId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(node as u64 + 1).to_le_bytes());
    NodeId(id)
}

pub(crate) fn number(id: NodeId) -> usize {
    let [a, b, c, d, e, f, g, h, ..] = id.0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h]) as usize - 1
}

/// What a node has sent and heard each second, and what that took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) gossip_bytes: f64,
    pub(crate) gossip_datagrams: f64,
    /// None beyond [`SWIM_NODES_MAX`].
    pub(crate) swim_bytes: Option<f64>,
    pub(crate) swim_datagrams: Option<f64>,
    pub(crate) known: f64,
    pub(crate) age_seconds: f64,
    /// CPU time of this machine for each node's second: sending, hearing, deciding; without codes and sockets.
    pub(crate) cpu_part: f64,
    pub(crate) memory_kib: f64,
}

/// Prints the table of the sizes that were asked for.
pub(crate) fn table(options: &arguments::Traffic) -> Result<(), String> {
    let sizes = match options.nodes.as_slice() {
        [] => vec![10, 100, 1_000, 10_000],
        sizes => sizes.to_vec(),
    };
    if let Some(wrong) = sizes.iter().find(|nodes| !(2..=100_000).contains(*nodes)) {
        return Err(format!(
            "a simulated cluster has 2 to 100000 nodes, not {wrong}"
        ));
    }
    println!(
        "| nodes | loads sent by a node | membership sent by a node | loads known | mean age | CPU of a node | memory of a node |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|");
    for nodes in sizes {
        let cost = cost(nodes, options.seconds, options.loss / 100.0, options.seed);
        let swim = match (cost.swim_datagrams, cost.swim_bytes) {
            (Some(datagrams), Some(bytes)) => format!("{datagrams:.1} /s, {bytes:.0} B/s"),
            _ => "-".to_owned(),
        };
        println!(
            "| {nodes} | {:.2} /s, {:.0} B/s | {swim} | {:.0} | {:.1} s | {:.4} % | {:.0} KiB |",
            cost.gossip_datagrams,
            cost.gossip_bytes,
            cost.known,
            cost.age_seconds,
            cost.cpu_part * 100.0,
            cost.memory_kib,
        );
    }
    Ok(())
}

struct Detectors {
    swims: Vec<Swim>,
    mail: VecDeque<(usize, Vec<u8>)>,
    bytes: usize,
    datagrams: usize,
}

impl Detectors {
    fn new(nodes: usize, seed: u64) -> Detectors {
        let identity = |node: usize| MemberIdentity {
            id: id(node),
            generation: 1,
            address: Some(SocketAddr::from((
                [10, 0, (node >> 8) as u8, node as u8],
                4460,
            ))),
        };
        let mut swims: Vec<Swim> = (0..nodes)
            .map(|node| Swim::new(identity(node), seed + node as u64))
            .collect();
        // Each hears the beacon of one other.
        for (node, swim) in swims.iter_mut().enumerate().skip(1) {
            swim.announce(Duration::ZERO, identity(node / 2));
        }
        Detectors {
            swims,
            mail: VecDeque::new(),
            bytes: 0,
            datagrams: 0,
        }
    }

    fn step(&mut self, now: Duration, loss: f64, random: &mut SmallRng) {
        for node in 0..self.swims.len() {
            if self.swims[node].next_due().is_some_and(|due| due <= now) {
                self.swims[node].tick(now);
            }
            self.collect(node, loss, random);
        }
        while let Some((to, message)) = self.mail.pop_front() {
            // What is lost, or from before its sender was lost, is none of the simulation's business.
            let _ = self.swims[to].receive(now, &message);
            self.collect(to, loss, random);
        }
    }

    fn collect(&mut self, node: usize, loss: f64, random: &mut SmallRng) {
        for outgoing in self.swims[node].take_outgoing() {
            self.datagrams += 1;
            self.bytes += outgoing.message.len() + OVERHEAD_BYTES + NETWORK_BYTES;
            if random.random::<f64>() >= loss {
                self.mail
                    .push_back((number(outgoing.to.id), outgoing.message));
            }
        }
    }
}

/// Lets a cluster gossip, and counts.
pub(crate) fn cost(nodes: usize, seconds: f64, loss: f64, seed: u64) -> Cost {
    let mut random = SmallRng::seed_from_u64(seed);
    let before_kib = resident_kib();
    let vector = |load_centi| LoadVector {
        cpus: 2,
        speed: 10_000,
        load_centi,
        memory_mib: 4096,
        free_mib: 3000,
        ..LoadVector::default()
    };
    let mut gossips: Vec<Gossip> = (0..nodes)
        .map(|node| Gossip::new(Duration::ZERO, id(node), vector(0), seed + node as u64))
        .collect();
    let with_swim = nodes <= SWIM_NODES_MAX;
    let mut detectors = with_swim.then(|| Detectors::new(nodes, seed));
    let (mut bytes, mut datagrams) = (0_usize, 0_usize);
    let (mut now, end) = (Duration::ZERO, WARM_UP + Duration::from_secs_f64(seconds));
    let mut started = Instant::now();
    let mut counting = false;
    while now < end {
        if now >= WARM_UP && !counting {
            counting = true;
            (bytes, datagrams) = (0, 0);
            if let Some(detectors) = &mut detectors {
                (detectors.bytes, detectors.datagrams) = (0, 0);
            }
            started = Instant::now();
        }
        for from in 0..nodes {
            if now.subsec_millis() == 0 {
                gossips[from].set_own(now, vector(random.random_range(0..300)));
            }
            if gossips[from].next_due().is_some_and(|due| due <= now) {
                let message = gossips[from].compose(now);
                bytes += message.len() + OVERHEAD_BYTES + NETWORK_BYTES;
                datagrams += 1;
                let to = (from + 1 + gossips[from].choose(nodes - 1)) % nodes;
                if random.random::<f64>() >= loss {
                    // Its own code wrote it.
                    let _ = gossips[to].receive(now, id(from), &message);
                }
            }
        }
        if let Some(detectors) = &mut detectors {
            detectors.step(now, loss, &mut random);
        }
        now += STEP;
    }
    let cpu_seconds = started.elapsed().as_secs_f64();
    let node_seconds = nodes as f64 * seconds;
    let ages: Vec<f64> = gossips
        .iter()
        .flat_map(|gossip| gossip.view(now).map(|known| known.age(now).as_secs_f64()))
        .collect();
    Cost {
        gossip_bytes: bytes as f64 / node_seconds,
        gossip_datagrams: datagrams as f64 / node_seconds,
        swim_bytes: detectors.as_ref().map(|d| d.bytes as f64 / node_seconds),
        swim_datagrams: detectors
            .as_ref()
            .map(|d| d.datagrams as f64 / node_seconds),
        known: ages.len() as f64 / nodes as f64,
        age_seconds: ages.iter().sum::<f64>() / ages.len().max(1) as f64,
        cpu_part: cpu_seconds / node_seconds,
        memory_kib: resident_kib().saturating_sub(before_kib) as f64 / nodes as f64,
    }
}

/// Resident memory of this process; 0 where it cannot be read.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}
