//! The node's network interfaces: found, brought up, followed.
//!
//! An interface that is up has an IPv6 link-local address at once, which is all that the agent needs.
//! IPv4 addresses, where there is a DHCP server, come in the background.

use std::collections::BTreeMap;
use std::fs;

use crate::journal;
use crate::node_name;
use crate::parameters::Parameters;
use crate::sys;
use crate::view::Link;

/// ARPHRD_ETHER (include/uapi/linux/if_arp.h).
const ETHERNET_TYPE: &str = "1";

/// Where the DHCP client's script leaves the address of an interface, and below it the host name, if it got one.
pub(crate) const LEASE_DIRECTORY: &str = "/run/dhcp";

/// An interface in use.
#[derive(Debug)]
struct Interface {
    index: u32,
    /// Whether something was at the other end of the cable when it was last looked at.
    had_carrier: bool,
}

/// The Ethernet interfaces in use, by name.
#[derive(Debug, Default)]
pub(crate) struct Links {
    links: BTreeMap<String, Interface>,
}

impl Links {
    /// Looks at all interfaces, brings new ones up and returns the names of new Ethernet ones.
    pub(crate) fn follow(&mut self, parameters: &Parameters) -> Vec<String> {
        let present: Vec<String> = fs::read_dir("/sys/class/net")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        self.links.retain(|name, _| present.contains(name));
        let mut new = Vec::new();
        for name in present {
            if name == "lo" {
                bring_up(&name);
            } else if !self.links.contains_key(&name)
                && attribute(&name, "type").as_deref() == Some(ETHERNET_TYPE)
                && parameters.uses_interface(&name)
                && bring_up(&name)
            {
                let index = attribute(&name, "ifindex").and_then(|index| index.parse().ok());
                let interface = Interface {
                    index: index.unwrap_or(u32::MAX),
                    had_carrier: false,
                };
                self.links.insert(name.clone(), interface);
                new.push(name);
            }
        }
        new
    }

    /// The names of the interfaces in use.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.links.keys().map(String::as_str)
    }

    /// The hardware address of the interface that the kernel found first.
    pub(crate) fn first_mac(&self) -> Option<String> {
        let (name, _) = self.links.iter().min_by_key(|(_, link)| link.index)?;
        attribute(name, "address")
    }

    /// The interfaces whose cable was plugged in since the last look: another network, perhaps.
    pub(crate) fn newly_connected(&mut self) -> Vec<String> {
        let mut new = Vec::new();
        for (name, link) in &mut self.links {
            let has_carrier = has_carrier(name);
            if has_carrier && !link.had_carrier {
                new.push(name.clone());
            }
            link.had_carrier = has_carrier;
        }
        new
    }

    /// What a DHCP server calls this node, by the first interface on which one does.
    pub(crate) fn leased_name(&self) -> Option<String> {
        self.names().find_map(|interface| {
            let lease = fs::read_to_string(format!("{LEASE_DIRECTORY}/{interface}")).ok()?;
            leased_name(&lease).map(str::to_owned)
        })
    }

    /// Each interface as a person wants to know it.
    pub(crate) fn described(&self) -> Vec<Link> {
        let inet6 = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
        let describe = |name: &str| {
            let lease = fs::read_to_string(format!("{LEASE_DIRECTORY}/{name}")).ok();
            let lease = lease.and_then(|text| text.lines().next().map(str::to_owned));
            let addresses = lease.into_iter().chain(inet6_addresses(&inet6, name));
            Link {
                name: name.to_owned(),
                has_carrier: has_carrier(name),
                addresses: addresses.collect(),
            }
        };
        self.names().map(describe).collect()
    }
}

/// The host name in a lease: what comes before the domain, if a node can be called that.
fn leased_name(lease: &str) -> Option<&str> {
    let name = lease.lines().nth(1)?.trim().split('.').next()?;
    node_name::is_valid(name).then_some(name)
}

fn bring_up(name: &str) -> bool {
    match sys::bring_interface_up(name) {
        Ok(()) => true,
        Err(error) => {
            journal::warn(&format!("interface {name} cannot be brought up: {error}"));
            false
        }
    }
}

/// An interface that is still coming up has no answer (EINVAL), nor a link.
fn has_carrier(interface: &str) -> bool {
    attribute(interface, "carrier").as_deref() == Some("1")
}

fn attribute(interface: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/sys/class/net/{interface}/{name}")).ok()?;
    Some(text.trim().to_owned())
}

/// The addresses of `interface` in the text of `/proc/net/if_inet6`
/// (address, index, prefix length, scope, flags, name).
fn inet6_addresses(text: &str, interface: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let address = u128::from_str_radix(fields.next()?, 16).ok()?;
            (fields.last()? == interface).then(|| std::net::Ipv6Addr::from(address).to_string())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_names_the_node_by_what_comes_before_the_domain() {
        assert_eq!(leased_name("10.0.0.9/24\npc9.attic.example\n"), Some("pc9"));
        for lease in [
            "",
            "10.0.0.9/24",
            "10.0.0.9/24\n\n",
            "x\n-rf\n",
            "x\na b\n",
            "x\n.y\n",
        ] {
            assert_eq!(leased_name(lease), None, "{lease:?}");
        }
    }

    #[test]
    fn addresses_are_read_from_the_kernels_table() {
        let table = "fe80000000000000505400fffe123456 02 40 20 80     eth0\n\
                     00000000000000000000000000000001 01 80 10 80       lo\nbroken\n";
        assert_eq!(inet6_addresses(table, "eth0"), ["fe80::5054:ff:fe12:3456"]);
        assert!(inet6_addresses(table, "eth1").is_empty());
    }
}
