//! The lab's host: what it asks for through the lab port, and what it is told.

use std::time::Instant;

use super::{Init, uptime_ms};
use crate::lab_commands;
use crate::lab_message::{Event, Request};
use crate::lab_port::Incoming;

impl Init {
    /// Reads what the host wants, carries it out, and passes on what its commands have printed.
    pub(super) fn lab_turn(&mut self, now: Instant) {
        let Some(port) = &mut self.lab_port else {
            return;
        };
        for incoming in port.turn(now) {
            match incoming {
                Incoming::Connected => self.introduce(),
                Incoming::Request(id, request) => self.carry_out(id, request),
            }
        }
        if let Some(port) = &mut self.lab_port {
            self.lab_commands.pass_on(port);
        }
    }

    /// Tells a host that has just connected what it has missed.
    fn introduce(&mut self) {
        let agent = self.agent_pid();
        let Some(port) = &mut self.lab_port else {
            return;
        };
        let name = self.name.as_deref().unwrap_or_default();
        port.tell(&Event::booted(
            name,
            &self.kernel,
            self.parameters.lab,
            uptime_ms(),
        ));
        for interface in self.links.names() {
            port.tell(&Event::Link {
                interface,
                uptime_ms: uptime_ms(),
            });
        }
        if let Some(pid) = agent {
            port.tell(&Event::AgentStarted {
                pid,
                uptime_ms: uptime_ms(),
            });
        }
    }

    /// Does what the host wants, if `limosa.lab` allows it, and answers.
    fn carry_out(&mut self, id: u64, request: Request) {
        let outcome = match request {
            _ if !self.parameters.lab => {
                Err("limosa.lab is not on the kernel command line".to_owned())
            }
            Request::Run {
                argv,
                env,
                directory,
            } => self
                .lab_commands
                .run(id, &argv, &env, &directory)
                .map(|pid| Some(Event::Started { id, pid })),
            Request::Signal(signal) => self.lab_commands.signal(id, signal).map(|()| None),
            Request::Write {
                path,
                mode,
                append,
                bytes,
            } => lab_commands::write_file(&path, mode, append, &bytes)
                .map(|()| Some(Event::Done { id })),
            Request::Stop(how) => {
                self.stop(how);
                Ok(None)
            }
        };
        let answer = outcome.unwrap_or_else(|reason| {
            Some(Event::Refused {
                id: Some(id),
                reason,
            })
        });
        if let (Some(port), Some(answer)) = (&mut self.lab_port, answer) {
            port.tell(&answer);
        }
    }
}
