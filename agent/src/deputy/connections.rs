//! Connections of a deputy's supervisor to other nodes: its agent makes them and hands them over.

use std::time::{Duration, Instant};

use crate::migrate::page_stream::PageStream;
use crate::wire::supervisor::{ConnectionUse, FromSupervisor, NodeName};

use super::departure::DepartureError;
use super::supervisor::{Connection, Supervisor, TICK};

/// How long the agents may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

impl Supervisor {
    /// Has the agents connect; names the connection that will be made.
    pub(super) fn ask_to_connect(&mut self, node: &NodeName, wanted: ConnectionUse) -> u64 {
        self.channels_asked += 1;
        let request = self.channels_asked;
        self.link.send(&FromSupervisor::OpenChannel {
            request,
            node: node.id,
            wanted,
        });
        request
    }

    /// Waits for a connection that was asked for.
    pub(super) fn connection(
        &mut self,
        node: &NodeName,
        request: u64,
    ) -> Result<Connection, DepartureError> {
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        while Instant::now() < deadline {
            let position = self
                .channels
                .iter()
                .position(|(answered, _)| *answered == request);
            if let Some((_, connection)) = position.and_then(|index| self.channels.remove(index)) {
                return connection.map_err(DepartureError::from);
            }
            if self.link.descriptor().is_none() {
                let text = format!("the agent ended while it was connecting to {}", node.name);
                return Err(DepartureError::Failed(text));
            }
            self.wait(Vec::new(), TICK);
        }
        Err(DepartureError::Failed(format!(
            "node {} could not be reached in time",
            node.name
        )))
    }

    /// The connection for memory that follows; without one all memory goes first.
    pub(super) fn page_connection(&mut self, node: &NodeName, request: u64) -> Option<PageStream> {
        let connected = self.connection(node, request);
        let stream = connected.and_then(|(descriptor, keys)| {
            PageStream::new(descriptor, &keys).map_err(DepartureError::from)
        });
        match stream {
            Ok(stream) => Some(stream),
            Err(error) => {
                log::warn!("all memory of process {} goes first: {error:?}", self.pid);
                None
            }
        }
    }
}
