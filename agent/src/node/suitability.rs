//! Whether another node suits a process: this node asks what the other can do, and compares.
//!
//! A move compares the same things by the same rules ([`cantmove::compare_nodes`]) before anything is frozen;
//! here it is done to say why, without a move. What a node can do is asked for anew each time: an
//! administrator may just have changed it, as an earlier answer has advised.

use std::fmt;
use std::rc::Rc;

use super::agent::Agent;
use super::cluster::{ConnectError, Incoming};
use crate::migrate::{baseline, cantmove};
use crate::process::{ReadError, tasks};
use crate::sys::probe::Capabilities;
use crate::wire::supervisor::{NodeId, Reason};

/// Why it cannot be said whether a node suits a process.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The node did not tell what it can do.
    Node(ConnectError),
    /// The process cannot be read (any more).
    Process(ReadError),
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unanswered::Node(error) => error.fmt(f),
            Unanswered::Process(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Unanswered {}

impl Agent {
    /// Asks `node` what it can do, and says why this process could not live there; nothing if it could.
    pub(super) fn compare_with(
        &self,
        node: NodeId,
        pid: u32,
    ) -> impl Future<Output = Result<Vec<Reason>, Unanswered>> + 'static {
        let (cluster, home) = (Rc::clone(&self.cluster), self.capabilities.clone());
        async move {
            let remote = cluster.capabilities(node).await;
            let remote = remote.map_err(Unanswered::Node)?;
            let relied_on = baseline::relied_on(&home, pid).map_err(Unanswered::Process)?;
            let tids = tasks::read(pid).map_err(Unanswered::Process)?;
            let mut reasons = cantmove::compare_nodes(&relied_on, &remote);
            reasons.extend(cantmove::compare_pids(&tids, &remote));
            Ok(reasons)
        }
    }

    /// Answers a node that asks what this one can do.
    pub(super) fn tell_capabilities(&self, incoming: Incoming) {
        let capabilities: Capabilities = self.capabilities.refreshed();
        self.executor
            .spawn(async move {
                let peer = incoming.peer.name.clone();
                if let Err(error) = incoming.tell(&capabilities).await {
                    log::warn!("{peer} was not told what this node can do: {error}");
                }
            })
            .detach();
    }
}
