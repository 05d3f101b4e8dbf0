//! The command lines of the programs that `/init` starts.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::journal;
use crate::links::LEASE_DIRECTORY;
use crate::parameters::Parameters;

/// Where the image keeps its cluster key.
const IMAGE_KEY: &str = "/etc/limosa/cluster.key";
/// Where a key from the kernel command line is put for the agent to read.
const GIVEN_KEY: &str = "/run/given-cluster.key";
/// The agent's run directory: its control socket and state.
const RUN_DIRECTORY: &str = "/run/limosa";

/// How the node proves that it belongs to a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Membership {
    /// By the cluster key in this file.
    Key(String),
    /// Not at all: an open cluster.
    Open,
    /// There is no key: the agent is not started.
    None,
}

impl Membership {
    /// Decides by the parameters and the image: a key on the command line, then an open cluster if asked
    /// for, then the image's key.
    pub(crate) fn decide(parameters: &Parameters) -> Membership {
        if let Some(key) = &parameters.key {
            match write_secret(GIVEN_KEY, key) {
                Ok(()) => return Membership::Key(GIVEN_KEY.to_owned()),
                Err(error) => {
                    journal::warn(&format!("cannot keep the key of limosa.key=: {error}"));
                }
            }
        }
        if parameters.open {
            Membership::Open
        } else if Path::new(IMAGE_KEY).exists() {
            Membership::Key(IMAGE_KEY.to_owned())
        } else {
            Membership::None
        }
    }

    /// The public part of the key, which names the cluster: `limosa1-<cluster>-<secret>-<check>`.
    pub(crate) fn cluster(&self) -> Option<String> {
        let Membership::Key(file) = self else {
            return None;
        };
        let token = fs::read_to_string(file).ok()?;
        token.trim().split('-').nth(1).map(str::to_owned)
    }
}

fn write_secret(path: &str, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut file = fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{text}")
}

/// A command with the node's own environment and nothing else, its output in the kernel's log.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/bin:/sbin")
        .env("HOME", "/root")
        .env("TERM", "linux");
    command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command.stderr(journal::open().map_or_else(Stdio::null, Stdio::from));
    command
}

/// The agent.
pub(crate) fn agent(name: &str, membership: &Membership, parameters: &Parameters) -> Command {
    let mut agent = command("/bin/limosa");
    agent.arg("agent");
    match membership {
        Membership::Key(file) => agent.args(["--key", file]),
        Membership::Open | Membership::None => agent.arg("--open"),
    };
    agent.args(["--name", name, "--run-dir", RUN_DIRECTORY]);
    for seed in &parameters.seeds {
        agent.args(["--seed", seed]);
    }
    for interface in &parameters.interfaces {
        agent.args(["--interface", interface]);
    }
    if let Some(filter) = &parameters.log {
        agent.env("RUST_LOG", filter);
    }
    agent
}

/// The DHCP client of one interface. It stays in the foreground, keeps asking, and is mute where nobody
/// answers.
pub(crate) fn dhcp_client(interface: &str, node_name: &str) -> Command {
    let mut client = command("/bin/busybox");
    client.args([
        "udhcpc",
        "-f",
        "-R",
        "-i",
        interface,
        "-s",
        "/etc/limosa/udhcpc",
    ]);
    client.args(["-x", &format!("hostname:{node_name}")]);
    client.env("LEASE_FILE", format!("{LEASE_DIRECTORY}/{interface}"));
    client.stderr(Stdio::null());
    client
}

/// A root shell; its terminal is given when it is started.
pub(crate) fn shell() -> Command {
    let mut shell = command("/bin/busybox");
    shell.args(["sh", "-l"]).current_dir("/root");
    shell
}

/// The question whose answer the console shows.
pub(crate) fn nodes() -> Command {
    let mut nodes = command("/bin/limosa");
    nodes.args(["nodes", "--json"]).stderr(Stdio::null());
    nodes
}
