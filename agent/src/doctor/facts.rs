//! What is looked at, and where it stands.

use std::fs;
use std::net::{Ipv6Addr, SocketAddrV6, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;

use super::firewall;
use super::rules::{Agent, Facts, Interface, Key};
use crate::node::cgroup;
use crate::node::cluster::PORT_DEFAULT;
use crate::node::config::{ConfigError, KEY_FILE_DEFAULT, Settings, read_key};
use crate::node::interfaces::InterfaceWatch;
use crate::process::mountinfo;
use crate::sys::clock;
use crate::sys::probe::{Capabilities, Feature};

/// Kinds of namespaces that a guest is confined by, as in the names of their limits.
const NAMESPACES: [&str; 7] = ["user", "pid", "mnt", "net", "ipc", "uts", "time"];

/// Looks at this machine, as a node with these settings; `agent` is what the agent answered, if it did.
/// Forks: call it before there are threads.
#[must_use]
pub fn look(settings: Result<Settings, ConfigError>, agent: Option<Agent>) -> Facts {
    let capabilities = Capabilities::probe();
    let missing = capabilities.missing();
    let mut missing_for_guests = capabilities.missing_for_guests();
    missing_for_guests.retain(|reason| !missing.contains(reason));
    let (settings, configuration) = match settings {
        Ok(settings) => (settings, None),
        Err(error) => (Settings::default(), Some(error.to_string())),
    };
    let port = settings.port.unwrap_or(PORT_DEFAULT);
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u32>().ok();
    let is_forbidden =
        |kind: &&str| number(&format!("/proc/sys/user/max_{kind}_namespaces")) == Some(0);
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Facts {
        is_root: rustix::process::geteuid().is_root(),
        configuration,
        missing,
        missing_for_guests,
        ptrace_scope: number("/proc/sys/kernel/yama/ptrace_scope"),
        has_cgroup2: capabilities.features.has(Feature::Cgroup2),
        has_cpu_controller: has_cpu_controller(),
        pid_max: number("/proc/sys/kernel/pid_max").unwrap_or(0),
        overcommit: number("/proc/sys/vm/overcommit_memory"),
        forbidden_namespaces: NAMESPACES.into_iter().filter(is_forbidden).collect(),
        key: key(&settings),
        interfaces: interfaces(),
        wanted: settings.interfaces,
        port,
        firewalls: firewall::find().unwrap_or_else(|error| {
            vec![format!("the firewall cannot be looked at ({error}); one")]
        }),
        time: time.unwrap_or_default(),
        is_synchronized: clock::is_synchronized(),
        agent: agent.unwrap_or_else(|| Agent::Absent {
            port_is_taken: is_taken(port),
        }),
    }
}

fn has_cpu_controller() -> bool {
    let mountinfo = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mount = mountinfo::find(&mountinfo, "cgroup2", None);
    mount.is_some_and(|mount| cgroup::has_controller(&mount.point, "cpu").unwrap_or(false))
}

fn key(settings: &Settings) -> Key {
    if settings.open == Some(true) {
        return Key::Open;
    }
    let path = settings
        .key
        .as_deref()
        .unwrap_or(Path::new(KEY_FILE_DEFAULT));
    match read_key(path) {
        Ok(key) => Key::Sound {
            path: path.to_owned(),
            cluster: key.cluster().to_string(),
            is_exposed: fs::metadata(path)
                .is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0),
        },
        Err(ConfigError::KeyFile { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {
            Key::Missing(path.to_owned())
        }
        Err(error) => Key::Unusable(error.to_string()),
    }
}

fn interfaces() -> Vec<Interface> {
    // No interfaces, then, is what is reported.
    let Ok(watch) = smol::block_on(InterfaceWatch::start()) else {
        return Vec::new();
    };
    let lacks_ipv6 = |name: &str| {
        let path = format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6");
        // A kernel without IPv6 has no such file.
        fs::read_to_string(path).map_or(true, |text| text.trim() == "1")
    };
    let seen = watch.table().seen().into_iter();
    seen.filter(|seen| !seen.is_loopback)
        .map(|seen| Interface {
            lacks_ipv6: lacks_ipv6(&seen.name),
            name: seen.name,
            is_up: seen.is_up,
            has_carrier: seen.has_carrier,
            has_multicast: seen.has_multicast,
            has_address: seen.has_address,
        })
        .collect()
}

/// Whether somebody else has the port, by UDP or TCP.
fn is_taken(port: u16) -> bool {
    let address = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0);
    let is_in_use = |error: std::io::Error| error.kind() == std::io::ErrorKind::AddrInUse;
    UdpSocket::bind(address).is_err_and(is_in_use)
        || TcpListener::bind(address).is_err_and(is_in_use)
}
