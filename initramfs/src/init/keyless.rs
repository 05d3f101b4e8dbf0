//! A node without a cluster key: asks a person at its console for it, and at the same time shows a code that an
//! operator types on a node of the cluster (`limosa key ask`). Whichever comes first makes it a member.
//!
//! ```text
//!             key typed                          the agent does not take it
//! asking -----------------> agent with that key --------------------------> asking
//!    |  admitted
//!    +---------> agent with the key that came
//! ```

use std::path::Path;
use std::time::Instant;

use super::Init;
use crate::programs::{self, ADMITTED_KEY, Membership};
use crate::service::{Kind, Service};
use crate::sys;

impl Init {
    pub(super) fn asks_for_key(&self) -> bool {
        self.membership == Membership::None && self.name.is_some()
    }

    /// Starts to ask nodes of the cluster; a person is asked all the time.
    pub(super) fn start_asking(&mut self, now: Instant) {
        // It may have come in the moment in which somebody typed another.
        if Path::new(ADMITTED_KEY).exists() {
            self.be_admitted(now);
            return;
        }
        let parameters = self.parameters.clone();
        let writer = self.asker_log.writer();
        let command = Box::new(move || {
            let mut asker = programs::asker(&parameters);
            if let (Ok(output), Ok(log)) = (writer.stdio(), writer.stdio()) {
                asker.stdout(output).stderr(log);
            }
            asker
        });
        self.services.push(Service::new(Kind::Asker, now, command));
    }

    fn stop_asking(&mut self) {
        self.services.retain(|service| {
            if service.kind == Kind::Asker && service.pid().is_some() {
                // Ended already, or about to be: it is reaped either way. The agent wants its port.
                let _ = sys::kill_group(service.pid(), libc::SIGKILL);
            }
            service.kind != Kind::Asker
        });
    }

    /// Takes a key that somebody has typed. Whether it is one is for the agent to say.
    pub(super) fn take_typed_key(&mut self, now: Instant) {
        if !self.asks_for_key() {
            return;
        }
        while let Some(key) = self.console.typed() {
            if key.is_empty() {
                continue;
            }
            if let Some(membership) = Membership::by_key(&key) {
                self.stop_asking();
                self.membership = membership;
                self.key_is_typed = true;
                self.add_agent(now);
                return;
            }
        }
    }

    /// An agent that ended at once with a typed key did not like it: the person is asked again.
    pub(super) fn forget_typed_key(&mut self, now: Instant) {
        self.key_is_typed = false;
        self.membership = Membership::None;
        self.services
            .retain(|service| !matches!(service.kind, Kind::Agent | Kind::Netboot));
        self.start_asking(now);
    }

    /// A node of the cluster has sent the key.
    pub(super) fn be_admitted(&mut self, now: Instant) {
        self.stop_asking();
        self.membership = Membership::Key(ADMITTED_KEY.to_owned());
        self.add_agent(now);
    }

    /// What a person is to do so that a node of the cluster sends the key, or why that cannot be.
    pub(super) fn admission(&self) -> Option<String> {
        let line = self.asks_for_key().then(|| self.asker_log.last_line());
        line.flatten().map(str::to_owned)
    }
}
