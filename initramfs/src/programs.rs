//! The command lines of the programs that `/init` starts.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::journal;
use crate::links::LEASE_DIRECTORY;
use crate::parameters::{Netboot, Parameters};
use crate::put_away;

/// Where the image keeps its cluster key.
const IMAGE_KEY: &str = "/etc/limosa/cluster.key";
/// Where a key from the kernel command line is put for the agent to read.
const GIVEN_KEY: &str = "/run/given-cluster.key";
/// Where a key that a node of the cluster has sent is kept.
pub(crate) const ADMITTED_KEY: &str = "/run/admitted-cluster.key";
/// Where an image that was built with `--ssh-key` has its SSH server.
pub(crate) const SSH_SERVER: &str = "/bin/dropbear";
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
        if let Some(key) = &parameters.key
            && let Some(membership) = Membership::by_key(key)
        {
            return membership;
        }
        if parameters.open {
            Membership::Open
        } else if Path::new(IMAGE_KEY).exists() {
            Membership::Key(IMAGE_KEY.to_owned())
        } else {
            Membership::None
        }
    }

    /// By a key that somebody gave to this node as text.
    pub(crate) fn by_key(key: &str) -> Option<Membership> {
        match write_secret(GIVEN_KEY, key) {
            Ok(()) => Some(Membership::Key(GIVEN_KEY.to_owned())),
            Err(error) => {
                journal::warn(&format!("cannot keep the cluster key: {error}"));
                None
            }
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
    agent.args(["--name", name, "--run-dir", RUN_DIRECTORY, "--set-clock"]);
    for seed in &parameters.seeds {
        agent.args(["--seed", seed]);
    }
    for interface in &parameters.interfaces {
        agent.args(["--interface", interface]);
    }
    if parameters.block {
        agent.arg("--block");
    }
    if let Some(filter) = &parameters.log {
        agent.env("RUST_LOG", filter);
    }
    agent
}

/// What shows a code, and waits until an operator types that on a node of the cluster.
pub(crate) fn asker(parameters: &Parameters) -> Command {
    let mut asker = command("/bin/limosa");
    asker.args(["key", "ask"]);
    for interface in &parameters.interfaces {
        asker.args(["--interface", interface]);
    }
    asker.arg(ADMITTED_KEY);
    asker
}

/// How long a DHCP client rests after three questions that nobody answered, in seconds.
const DHCP_REST_SECONDS: &str = "10";

/// The DHCP client of one interface. It stays in the foreground, keeps asking, at once when told to by
/// SIGUSR1, and is mute where nobody answers.
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
        "-A",
        DHCP_REST_SECONDS,
    ]);
    client.args(["-x", &format!("hostname:{node_name}")]);
    client.env("LEASE_FILE", format!("{LEASE_DIRECTORY}/{interface}"));
    client.stderr(Stdio::null());
    client
}

/// Puts away what the boot has left in memory.
pub(crate) fn put_away() -> Command {
    let mut put_away = command("/init");
    put_away.arg(put_away::COMMAND);
    put_away
}

/// A root shell; its terminal is given when it is started.
pub(crate) fn shell() -> Command {
    let mut shell = command("/bin/busybox");
    shell.args(["sh", "-l"]).current_dir("/root");
    shell
}

/// The boot server.
pub(crate) fn netboot(
    netboot: &Netboot,
    membership: &Membership,
    parameters: &Parameters,
) -> Command {
    let mut server = command("/bin/limosa");
    server.arg("netboot");
    if netboot.dhcp {
        server.arg("--dhcp");
    }
    if let (true, Membership::Key(file)) = (netboot.hand_out_key, membership) {
        server.args(["--hand-out-key", "--key", file]);
    }
    for interface in &parameters.interfaces {
        server.args(["--interface", interface]);
    }
    let mut words = Vec::new();
    if *membership == Membership::Open {
        words.push("limosa.open".to_owned());
    }
    if let Some(prefix) = &parameters.name_prefix {
        words.push(format!("limosa.name-prefix={prefix}"));
    }
    server.args(["--parameters", &words.join(" ")]);
    server
}

/// The SSH server of an image that has one (`mkiso.sh --ssh-key`): keys only, and its own made for this boot.
pub(crate) fn ssh_server() -> Command {
    let mut server = command(SSH_SERVER);
    server.args(["-F", "-E", "-R", "-s"]);
    server
}

/// The questions whose answers the console shows.
pub(crate) fn question() -> Command {
    let mut question = command("/bin/busybox");
    question.args([
        "sh",
        "-c",
        "limosa nodes --json && exec limosa status --json",
    ]);
    question.stderr(Stdio::null());
    question
}
