//! A DHCP server for the network of a lab: busybox's, on a node that is namespaces.

use std::fs;
use std::process::{Child, Stdio};

use crate::error::LabError;
use crate::node_handle::NodeHandle;
use crate::ports::INTERFACE;

/// What such a server gives away: the addresses .100 to .199 of a network of 256, itself as the router.
#[derive(Clone, Copy, Debug)]
pub struct Lease<'a> {
    /// The network's first three bytes, as in `10.77.1`.
    pub network: &'a str,
    /// What every client is called, if it is told.
    pub host_name: Option<&'a str>,
}

/// A server that runs.
#[derive(Debug)]
pub struct DhcpServer(Child);

impl DhcpServer {
    /// Starts a server on `node`, which gets the address .1 of the network.
    pub fn start(node: &NodeHandle<'_>, lease: Lease<'_>) -> Result<Self, LabError> {
        let network = lease.network;
        let address = format!("{network}.1/24");
        let added = node.exec(["ip", "address", "add", &address, "dev", INTERFACE])?;
        if !added.status.success() {
            let said = String::from_utf8_lossy(&added.stderr).into_owned();
            return Err(LabError::Refused(format!("{address}: {said}")));
        }
        let directory = node.status()?.directory;
        let file = |name: &str| directory.join(name).to_string_lossy().into_owned();
        let mut configuration = format!(
            "start {network}.100\nend {network}.199\ninterface {INTERFACE}\n\
             lease_file {}\npidfile {}\n\
             option subnet 255.255.255.0\noption router {network}.1\noption lease 600\n",
            file("dhcp.leases"),
            file("dhcp.pid"),
        );
        if let Some(name) = lease.host_name {
            configuration.push_str(&format!("option hostname {name}\n"));
        }
        let path = file("dhcp.conf");
        fs::write(&path, configuration).map_err(LabError::doing(format!("write {path}")))?;
        let mut server = node.command(["busybox", "udhcpd", "-f", &path])?;
        server.stdin(Stdio::null()).stdout(Stdio::null());
        let child = server.stderr(Stdio::null()).spawn();
        child
            .map(Self)
            .map_err(LabError::doing("start a DHCP server"))
    }
}

impl Drop for DhcpServer {
    fn drop(&mut self) {
        // It ends with its lab in any case.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
