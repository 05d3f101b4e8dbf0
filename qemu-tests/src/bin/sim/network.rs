//! Who hears whom: datagrams that are lost, a network in two halves, nodes that are gone, and when others notice.

use rand::RngExt;
use rand::rngs::SmallRng;

/// By then SWIM takes a silent node for lost; its tests promise that.
const LOST_AFTER: f64 = 3.0;

/// How long the halves stay apart.
pub(crate) const PARTITION_SECONDS: f64 = 30.0;

/// The weather.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network {
    /// Part of the datagrams that are lost.
    pub(crate) loss: f64,
    /// When the network falls into two halves.
    pub(crate) partition: Option<f64>,
    /// Since when each node is gone.
    gone: Vec<Option<f64>>,
    /// Since when each node is back.
    back: Vec<f64>,
}

impl Network {
    pub(crate) fn new(nodes: usize, loss: f64, partition: Option<f64>) -> Network {
        Network {
            loss,
            partition,
            gone: vec![None; nodes],
            back: vec![f64::NEG_INFINITY; nodes],
        }
    }

    pub(crate) fn is_there(&self, node: usize) -> bool {
        self.gone[node].is_none()
    }

    /// Takes a node away or puts it back.
    pub(crate) fn set_there(&mut self, now: f64, node: usize, there: bool) {
        self.gone[node] = (!there).then_some(now);
        if there {
            self.back[node] = now;
        }
    }

    fn apart_since(&self, now: f64, one: usize, other: usize) -> Option<f64> {
        let since = self.partition?;
        let lasts = (since..since + PARTITION_SECONDS).contains(&now);
        (lasts && one % 2 != other % 2).then_some(since)
    }

    /// Whether a connection between two nodes can be made.
    pub(crate) fn connects(&self, now: f64, one: usize, other: usize) -> bool {
        self.is_there(one) && self.is_there(other) && self.apart_since(now, one, other).is_none()
    }

    /// Whether a datagram arrives.
    pub(crate) fn carries(&self, now: f64, from: usize, to: usize, random: &mut SmallRng) -> bool {
        self.connects(now, from, to) && random.random::<f64>() >= self.loss
    }

    /// Whether a node takes another one for alive: gone ones are noticed late, and back ones as well.
    pub(crate) fn believes(&self, now: f64, viewer: usize, node: usize) -> bool {
        let gone = self.gone[node].is_some_and(|since| since + LOST_AFTER <= now);
        let apart = self.apart_since(now, viewer, node);
        let back = self.back[node] + 1.0 <= now;
        !gone && back && apart.is_none_or(|since| since + LOST_AFTER > now)
    }
}
