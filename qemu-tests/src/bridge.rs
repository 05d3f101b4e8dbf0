//! The fast network of a lab: a kernel bridge and a veth pair to each node. No faults, full speed.

use std::path::Path;
use std::process::Command;

use crate::error::LabError;
use crate::namespaces::Namespaces;
use crate::ports::{INTERFACE, hardware_address};
use crate::switch::PortId;

const BRIDGE: &str = "bridge";

/// A bridge in a network namespace of its own.
#[derive(Debug)]
pub struct Bridge {
    namespaces: Namespaces,
}

impl Bridge {
    /// Makes the bridge in these namespaces.
    pub fn make(namespaces: Namespaces) -> Result<Self, LabError> {
        namespaces.in_network(|| {
            // With snooping, groups are lost until a querier was heard, and there is none here.
            ip(&[
                "link",
                "add",
                BRIDGE,
                "type",
                "bridge",
                "mcast_snooping",
                "0",
            ])?;
            ip(&["link", "set", BRIDGE, "up"])
        })?;
        Ok(Self { namespaces })
    }

    /// Joins a node to the bridge.
    pub fn plug(&self, node: &Namespaces, port: PortId) -> Result<(), LabError> {
        let peer = peer_name(port);
        let address = hardware_address(port)
            .map(|byte| format!("{byte:02x}"))
            .join(":");
        let bridge_network = text_of(&self.namespaces.network_path());
        node.in_network(|| {
            ip(&[
                "link",
                "add",
                INTERFACE,
                "address",
                &address,
                "type",
                "veth",
                "peer",
                "name",
                &peer,
                "netns",
                &bridge_network,
            ])?;
            ip(&["link", "set", INTERFACE, "up"])
        })?;
        self.namespaces
            .in_network(|| ip(&["link", "set", &peer, "master", BRIDGE, "up"]))
    }

    /// Removes a node's interface.
    pub fn unplug(&self, port: PortId) -> Result<(), LabError> {
        self.namespaces
            .in_network(|| ip(&["link", "delete", &peer_name(port)]))
    }
}

fn peer_name(port: PortId) -> String {
    format!("port{}", port.0)
}

fn text_of(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Runs ip(8) in the network namespace that the caller is in.
pub(crate) fn ip(arguments: &[&str]) -> Result<(), LabError> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .map_err(|error| LabError::Missing {
            what: format!("ip ({error})"),
            remedy: "apt install iproute2".into(),
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(LabError::Refused(format!(
        "ip {}: {}",
        arguments.join(" "),
        said.trim()
    )))
}
