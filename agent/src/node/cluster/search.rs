//! Asking who wants to be admitted: the question over the agent's own sockets, which firewalls let through.
//!
//! Answers are taken only while somebody waits for them.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use smol::Timer;

use super::Cluster;
use crate::admission::search::{self, Askers};
use crate::secure::key::RandomError;

/// How often the question is sent, as a datagram may be lost.
const QUESTIONS: u32 = 4;

/// Pause behind each of them.
const PAUSE: Duration = Duration::from_millis(250);

/// Why nobody was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchError {
    /// Another search goes on.
    Busy,
    /// No randomness for the question.
    Random(RandomError),
}

impl fmt::Display for SearchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SearchError::Busy => {
                write!(
                    f,
                    "another `limosa admit` is at work here: try again in a moment"
                )
            }
            SearchError::Random(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SearchError {}

impl Cluster {
    /// Asks who wants to be admitted, on all links or at one address, and waits for answers for a second.
    pub async fn search(&self, address: Option<SocketAddr>) -> Result<Askers, SearchError> {
        let mut nonce = search::Nonce::default();
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| SearchError::Random(RandomError))?;
        if self.askers.borrow().is_some() {
            return Err(SearchError::Busy);
        }
        *self.askers.borrow_mut() = Some(Askers::new(nonce));
        let question = search::question(nonce);
        for _ in 0..QUESTIONS {
            match address {
                Some(address) => drop(self.sockets.send_to(address, &question)),
                None => self.send_to_groups(&question),
            }
            Timer::after(PAUSE).await;
        }
        let heard = self.askers.borrow_mut().take();
        Ok(heard.unwrap_or_else(|| Askers::new(nonce)))
    }

    fn send_to_groups(&self, datagram: &[u8]) {
        for interface in self.peers.borrow().interfaces() {
            for version in interface.versions() {
                self.sockets.send_to_group(interface, version, datagram);
            }
        }
    }

    /// Takes a datagram that answers the question, if one is open, or that is such a question of another node.
    pub(super) fn is_about_admission(&self, datagram: &[u8], from: SocketAddr) -> bool {
        let mut askers = self.askers.borrow_mut();
        let open = askers.as_mut();
        open.is_some_and(|askers| askers.hear(datagram, from))
            || search::read_question(datagram).is_some()
    }
}
