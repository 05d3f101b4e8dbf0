//! What a process costs on a node, and how fast it runs there.
//!
//! Opportunity cost (Amir, Awerbuch, Barak, Borgstrom, Keren: "An Opportunity Cost Approach for Job Assignment in a
//! Scalable Computing Cluster", 2000): a resource that is used to the part u costs n^u, n being the number of nodes, so
//! CPU time and memory have one currency and the last free part of either is the dearest. The marginal cost of a
//! process is what its arrival adds. Loads are relative to L, the least power of two that no node's load for its
//! capacity exceeds.
//!
//! The cost says *where* a process should go; the rate says *whether* it gains by going.

use super::vector::LoadVector;

/// Steepest price: beyond that all is equally unaffordable, and numbers stay finite.
const EXPONENT_MAX: f64 = 60.0;

/// The part of a node's memory that is kept free, and the least.
const RESERVE_PART: u32 = 20;
const RESERVE_MIB_MIN: u32 = 64;

/// Today's prices.
#[derive(Clone, Copy, Debug)]
pub struct Market {
    ln_nodes: f64,
    scale: f64,
}

impl Market {
    /// The prices among these nodes.
    pub fn of<'a>(nodes: impl Iterator<Item = &'a LoadVector>) -> Market {
        let (mut count, mut highest) = (0_u32, 1.0_f64);
        for node in nodes {
            count += 1;
            highest = highest.max(node.load() / node.capacity());
        }
        let mut scale = 1.0;
        // A load is at most a hundred thousand threads on a thousandth of a CPU.
        while scale < highest {
            scale *= 2.0;
        }
        Market {
            ln_nodes: f64::from(count.max(2)).ln(),
            scale,
        }
    }

    /// What a process with this load and memory adds to the cost of a node.
    #[must_use]
    pub fn cost_of(&self, node: &LoadVector, load: f64, memory_mib: u32) -> f64 {
        let price = |part: f64| (self.ln_nodes * part).min(EXPONENT_MAX).exp();
        let capacity = node.capacity() * self.scale;
        let cpu = price((node.load() + load) / capacity) - price(node.load() / capacity);
        let whole = f64::from(node.memory_mib);
        let used = f64::from(node.memory_mib - node.free_mib.min(node.memory_mib));
        let memory = price((used + f64::from(memory_mib)) / whole) - price(used / whole);
        cpu + memory
    }
}

/// How much a thread gets done on a node whose load, with it, is `load`: in CPUs of the reference machine.
#[must_use]
pub fn rate(node: &LoadVector, load: f64) -> f64 {
    let share = (f64::from(node.cpus) / load.max(0.01)).min(1.0);
    f64::from(node.speed) / 10_000.0 * share
}

/// What is to stay free of a node's memory, in MiB.
#[must_use]
pub fn reserve_mib(node: &LoadVector) -> u32 {
    (node.memory_mib / RESERVE_PART).max(RESERVE_MIB_MIN)
}

/// Whether so much memory can come to a node without taking its reserve.
#[must_use]
pub fn has_room(node: &LoadVector, memory_mib: u32) -> bool {
    node.free_mib >= memory_mib.saturating_add(reserve_mib(node))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(load: f64, free_mib: u32) -> LoadVector {
        let mut node = LoadVector {
            cpus: 2,
            speed: 10_000,
            memory_mib: 4096,
            free_mib,
            ..LoadVector::default()
        };
        node.set_load(load);
        node
    }

    #[test]
    fn the_fuller_a_node_the_dearer_whether_of_work_or_of_memory() {
        let nodes = [node(0.0, 4000), node(3.0, 4000), node(0.0, 400)];
        let market = Market::of(nodes.iter());
        let [idle, busy, full] = nodes.map(|node| market.cost_of(&node, 1.0, 200));
        assert!(idle < busy && idle < full, "{idle} {busy} {full}");
    }

    #[test]
    fn a_cost_is_a_finite_number_however_absurd_the_load() {
        let mut overrun = node(0.0, 0);
        overrun.load_centi = u32::MAX;
        let market = Market::of([overrun, node(0.0, 1)].iter());
        assert!(market.cost_of(&overrun, 1e9, u32::MAX).is_finite());
        assert!(market.cost_of(&node(1.0, 1), 1.0, 1).is_finite());
    }

    #[test]
    fn a_thread_runs_at_full_speed_while_there_are_cpus() {
        assert_eq!(rate(&node(0.0, 0), 1.0), 1.0);
        assert_eq!(rate(&node(0.0, 0), 2.0), 1.0);
        assert_eq!(rate(&node(0.0, 0), 4.0), 0.5);
    }
}
