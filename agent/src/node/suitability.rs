//! Whether another node suits a process: this node asks what the other can do, and compares.
//!
//! A move compares the same things by the same rules ([`cantmove::compare_nodes`]) before anything is frozen;
//! here it is done to say why, without a move. What a node can do is asked for anew each time: an
//! administrator may just have changed it, as an earlier answer has advised.

use std::rc::Rc;

use super::agent::Agent;
use super::cluster::{ConnectError, Incoming};
use crate::migrate::cantmove;
use crate::process::tasks;
use crate::sys::probe::Capabilities;
use crate::wire::supervisor::{NodeId, Reason};

impl Agent {
    /// Asks `node` what it can do, and says why this process could not live there; nothing if it could.
    pub(super) fn compare_with(
        &self,
        node: NodeId,
        pid: u32,
    ) -> impl Future<Output = Result<Vec<Reason>, ConnectError>> + 'static {
        let (cluster, home) = (Rc::clone(&self.cluster), self.capabilities.clone());
        async move {
            let remote = cluster.capabilities(node).await?;
            let mut reasons = cantmove::compare_nodes(&home, &remote);
            // Of a process that has ended meanwhile nothing is said here; whoever examines it says it.
            let tids = tasks::read(pid).unwrap_or_default();
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
