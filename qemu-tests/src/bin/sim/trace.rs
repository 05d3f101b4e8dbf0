//! What is run: nodes of unequal speed, and processes that come and live as real ones do.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::arguments::{Cluster, TraceKind};

/// A node's hardware.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    pub(crate) cpus: u16,
    /// Speed of a CPU; 1 is the reference machine.
    pub(crate) speed: f64,
    pub(crate) memory_mib: u32,
}

/// A process before it has run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) at: f64,
    pub(crate) home: usize,
    /// CPU time, in seconds of the reference machine.
    pub(crate) work: f64,
    pub(crate) memory_mib: u32,
    pub(crate) calls_per_cpu_second: f64,
}

/// Machines and processes, by arrival.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub(crate) machines: Vec<Machine>,
    pub(crate) starts: Vec<Start>,
}

/// Lives of a heavy tail are between these parts of the mean.
const PARETO_EXPONENT: f64 = 1.1;
const PARETO_RATIO: f64 = 200.0;

impl Trace {
    pub(crate) fn new(options: &Cluster) -> Trace {
        let mut random = SmallRng::seed_from_u64(options.seed);
        let machines: Vec<Machine> = (0..options.nodes)
            .map(|_| Machine {
                cpus: [1, 2, 2, 4][random.random_range(0..4)],
                speed: if options.equal {
                    1.0
                } else {
                    [0.5, 0.75, 1.0, 1.0, 1.25, 1.5][random.random_range(0..6)]
                },
                memory_mib: 4096,
            })
            .collect();
        let processes = options.processes.unwrap_or(options.nodes * 10);
        let burst = options.trace == TraceKind::Burst;
        let homes = if burst {
            1
        } else {
            ((options.nodes as f64 * options.homes / 100.0) as usize).clamp(1, options.nodes)
        };
        let mut starts: Vec<Start> = (0..processes)
            .map(|_| Start {
                at: if burst {
                    0.0
                } else {
                    random.random::<f64>() * options.seconds
                },
                // Spread over the ids, as the machines are random anyway.
                home: random.random_range(0..homes) * (options.nodes / homes),
                work: life(options, &mut random),
                memory_mib: [8, 16, 32, 128][random.random_range(0..4)],
                calls_per_cpu_second: if random.random::<f64>() < 0.02 {
                    5_000.0
                } else {
                    50.0
                },
            })
            .collect();
        starts.sort_by(|one, other| one.at.total_cmp(&other.at));
        Trace { machines, starts }
    }
}

/// The CPU time of a process, in seconds.
fn life(options: &Cluster, random: &mut SmallRng) -> f64 {
    let chance: f64 = random.random::<f64>().max(1e-12);
    match options.trace {
        TraceKind::Poisson | TraceKind::Burst => -chance.ln() * options.work,
        TraceKind::Compile => options.work / 10.0 * (0.1 + 3.9 * chance * chance),
        TraceKind::Heavy => {
            let (a, ratio) = (PARETO_EXPONENT, PARETO_RATIO);
            // The mean of a Pareto distribution that is cut off at `ratio` times its least value.
            let cut = 1.0 - ratio.powf(-a);
            let mean = a / (a - 1.0) * (1.0 - ratio.powf(1.0 - a)) / cut;
            (1.0 - chance * cut).powf(-1.0 / a) * options.work / mean
        }
    }
}
