//! Processes of other nodes that come here: who is taken, and what is handed to whom.
//!
//! 1. A home connects for a migration: it is refused in words, or a guest's supervisor is started with the
//!    connection.
//! 2. Home connects a second time, for memory that is to follow; that connection goes to the supervisor whose
//!    migration named it.

use std::rc::Rc;

use super::agent::{Agent, Event, Stopping};
use super::cluster::{Channel, Incoming};
use super::supervisors::{Charge, Ward};
use crate::wire::supervisor::{PagesToken, ToSupervisor};

impl Agent {
    /// A home connects for a migration; if its balancer did, with the load that it counts on here.
    pub(super) fn guest_asks(
        &mut self,
        incoming: Incoming,
        pid: u32,
        pages: PagesToken,
        balanced: Option<Option<u32>>,
    ) {
        let mut load = self.load_at_the_door();
        load.closed = true;
        let refusal = if self.stopping != Stopping::No {
            Some(format!("node {} is stopping", self.this.name))
        } else if self.is_full() {
            Some(format!(
                "node {} takes at most {} guests at a time (limosa agent --max-guests)",
                self.this.name, self.config.max_guests
            ))
        } else if let Some(lacking) = &self.no_guests {
            Some(format!(
                "node {} takes no guests: {lacking}",
                self.this.name
            ))
        } else if let Some(closed) = self.door_closed(balanced.is_some()) {
            Some(closed)
        } else {
            load.closed = false;
            let is_full = balanced.is_some_and(|load_centi| !self.lets_in(load_centi));
            is_full.then(|| format!("node {} takes no more guests at a time", self.this.name))
        };
        // A balancer looks elsewhere, and may ask here again; a person wants to know.
        let is_turned_away = balanced.is_some() && refusal.is_some();
        if is_turned_away {
            self.cluster.turn_away(incoming.peer.id);
        }
        if refusal.is_none() {
            self.guests_coming.set(self.guests_coming.get() + 1);
        }
        let (events, home) = (self.events.clone(), incoming.peer.name.clone());
        let coming = Rc::clone(&self.guests_coming);
        self.executor
            .spawn(async move {
                if let Some(reason) = refusal {
                    log::info!("process {pid} of {home} is refused: {reason}");
                    if is_turned_away {
                        incoming.turn_away(reason, load).await;
                    } else {
                        incoming.refuse(reason).await;
                    }
                    return;
                }
                match incoming.accept().await {
                    Ok(channel) => {
                        // A closed queue means that the agent has stopped.
                        let _ = events.send(Event::GuestChannel(channel, pid, pages)).await;
                    }
                    Err(error) => {
                        coming.set(coming.get().saturating_sub(1));
                        log::warn!("process {pid} of {home} did not arrive: {error}");
                    }
                }
            })
            .detach();
    }

    /// Whether there are, or will be soon, as many guests as this node takes. What guests fork is never refused.
    pub(super) fn is_full(&self) -> bool {
        self.supervisors.guests() + self.guests_coming.get() >= self.config.max_guests
    }

    /// A home sends the memory of a process after it: the connection is for the supervisor that awaits it.
    pub(super) fn pages_come(&mut self, incoming: Incoming, token: PagesToken) {
        let peer = incoming.peer.clone();
        let outbox = self
            .supervisors
            .iter()
            .find(|(_, supervisor)| {
                let is_from = |ward: &Ward| matches!(&ward.charge, Charge::Guest { home: Some(home), .. } if home.id == peer.id);
                supervisor.awaited_pages == Some(token) && supervisor.wards.values().any(is_from)
            })
            .map(|(_, supervisor)| supervisor.outbox());
        self.executor
            .spawn(async move {
                let Some(outbox) = outbox else {
                    let reason = "no guest here waits for these pages".to_owned();
                    incoming.refuse(reason).await;
                    return;
                };
                match incoming.accept().await {
                    Ok(channel) => {
                        let (request, result) = (0, Ok(channel.keys));
                        let message = ToSupervisor::Channel { request, result };
                        // A supervisor that has ended meanwhile needs no connection.
                        let _ = outbox.send((message, Some(channel.fd))).await;
                    }
                    Err(error) => log::warn!("the pages of {} do not come: {error}", peer.name),
                }
            })
            .detach();
    }

    pub(super) fn guest_arrives(&mut self, channel: Channel, pid: u32, pages: PagesToken) {
        let home = channel.peer;
        let coming = &self.guests_coming;
        coming.set(coming.get().saturating_sub(1));
        let started = self.start_supervisor(Charge::Guest {
            pid,
            home: Some(home.clone()),
        });
        let result = started.and_then(|key| {
            let start = ToSupervisor::StartGuest {
                keys: channel.keys,
                home: home.clone(),
                remote: self.this.clone(),
                control_socket: self.control_socket(),
                capabilities: self.capabilities.clone(),
                pieces: self.piece_place(),
            };
            match self.supervisors.get_mut(key) {
                Some(supervisor) => {
                    supervisor.awaited_pages = Some(pages);
                    supervisor.send(start, Some(channel.fd))
                }
                None => Ok(()),
            }
        });
        match result {
            Ok(()) => log::info!("process {pid} of {} comes as a guest", home.name),
            // Its home sees the connection close.
            Err(error) => log::error!("process {pid} of {} is not taken: {error}", home.name),
        }
    }
}
