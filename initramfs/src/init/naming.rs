//! What a node is called and which addresses it has: its name as soon as it can have one, a DHCP client for
//! each interface, and the name that one of them may bring.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::Init;
use crate::journal;
use crate::node_name;
use crate::programs;
use crate::service::{Kind, Service};

/// How long a nameless node waits for an interface (a USB one may take seconds) to be named after.
pub(super) const NAME_WAIT: Duration = Duration::from_secs(5);

/// How long a DHCP client takes to start, on a slow machine.
const DHCP_START: Duration = Duration::from_secs(3);

impl Init {
    /// Names the node as soon as it can be named, and starts what needs its name.
    pub(super) fn choose_name(&mut self, now: Instant) {
        if self.name.is_none()
            && let Some(name) = self.own_name(now)
        {
            self.be_called(name);
            self.start_named(now);
        }
    }

    /// The name by parameter, by the first interface or, if none has come in time, by the boot's id.
    fn own_name(&self, now: Instant) -> Option<String> {
        if let Some(name) = &self.parameters.name {
            return Some(name.clone());
        }
        let prefix = self.parameters.name_prefix.as_deref();
        let prefix = prefix.unwrap_or(node_name::PREFIX_DEFAULT);
        let mac = self.links.first_mac();
        if let Some(name) = mac.and_then(|mac| node_name::from_mac(prefix, &mac)) {
            return Some(name);
        }
        if now < self.name_deadline {
            return None;
        }
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
        Some(node_name::from_boot_id(
            prefix,
            &boot_id.unwrap_or_default(),
        ))
    }

    /// Makes `name` the host name; the agent takes it from there when it starts.
    fn be_called(&mut self, name: String) {
        if let Err(error) = rustix::system::sethostname(name.as_bytes()) {
            journal::warn(&format!("the host name cannot be set: {error}"));
        }
        journal::note(&format!("this node is {name}"));
        self.name = Some(name);
    }

    /// Takes the name that a DHCP server has given to a node that nobody else has named. Its agent starts
    /// anew for that, so it is done only while there are no guests.
    pub(super) fn take_leased_name(&mut self) {
        let has_guests = self.members.last().is_some_and(|it| it.own_guests() > 0);
        if self.parameters.name.is_some() || self.name.is_none() || has_guests {
            return;
        }
        let leased = self.links.leased_name();
        let Some(name) = leased.filter(|name| self.name.as_ref() != Some(name)) else {
            return;
        };
        self.be_called(name);
        if let Some(pid) = self.agent_pid().and_then(Pid::from_raw) {
            // One that has just ended is started again under the new name, too.
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
    }

    /// Keeps a DHCP client running on `interface`.
    pub(super) fn add_dhcp_client(&mut self, interface: String, now: Instant) {
        // Who gives addresses must not ask itself for one.
        if self
            .parameters
            .netboot
            .as_ref()
            .is_some_and(|netboot| netboot.dhcp)
        {
            return;
        }
        let name = self.name.clone().unwrap_or_default();
        let kind = Kind::Dhcp(interface.clone());
        let command = Box::new(move || programs::dhcp_client(&interface, &name));
        self.services.push(Service::new(kind, now, command));
    }

    /// Has the DHCP clients ask at once where a cable was plugged in, whatever they wait for.
    pub(super) fn ask_for_addresses(&mut self, now: Instant) {
        let connected = self.links.newly_connected();
        // Who has just been started asks anyway, and may not know the signal yet, which would end it.
        let Some(moment) = now.checked_sub(DHCP_START) else {
            return;
        };
        for service in &self.services {
            if let Kind::Dhcp(interface) = &service.kind
                && connected.contains(interface)
                && let Some(pid) = service.pid_since(moment).and_then(Pid::from_raw)
            {
                // One that has just ended asks when it is started again.
                let _ = rustix::process::kill_process(pid, Signal::USR1);
            }
        }
    }
}
