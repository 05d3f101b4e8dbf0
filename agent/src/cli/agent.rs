//! `limosa agent`: make this machine a node.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use argh::FromArgs;

use super::{client, exit, log};
use crate::node::agent::{self, AgentError};
use crate::node::cluster::StartError;
use crate::node::config::{
    AgentConfig, ConfigError, Settings, parse_max_guests, parse_port, parse_seed,
};
use crate::node::control::ControlSocketError;

/// Make this machine a node of a cluster, until it is told to stop (SIGTERM or SIGINT): then guests go
/// home, and the other nodes are told.
#[derive(FromArgs)]
#[argh(
    example = "limosa key new /etc/limosa/cluster.key; {command_name}\n\
               {command_name} --key ./cluster.key --name n1 --interface eth0\n\
               {command_name} --seed 10.1.0.1 --seed [2001:db8::1]:4460\n\
               {command_name} --config /etc/limosa/agent.conf",
    note = "A configuration file has `name = value` lines with the same names, # begins a comment;\n\
            the command line wins. LIMOSA_LOG or RUST_LOG set the log level (default: info).",
    error_code(1, "it could not start or go on, for another reason"),
    error_code(2, "the options, the configuration file or the key make no sense"),
    error_code(10, "it does not run as root"),
    error_code(11, "there is no cluster key"),
    error_code(12, "the port is taken"),
    error_code(13, "the kernel is too old or lacks a feature"),
    error_code(14, "another agent runs on this run directory")
)]
pub(super) struct Agent {
    /// file with the cluster key (default: /etc/limosa/cluster.key)
    #[argh(option, arg_name = "file")]
    key: Option<PathBuf>,
    /// use the key that everybody has: whoever is on the network can join and run programs here
    #[argh(switch)]
    open: bool,
    /// this node's name (default: the host's)
    #[argh(option)]
    name: Option<String>,
    /// use this network interface only; may be given several times
    #[argh(option)]
    interface: Vec<String>,
    /// ask this address for the cluster, where multicast does not reach; may be given several times
    #[argh(option, arg_name = "address", from_str_fn(parse_seed))]
    seed: Vec<SocketAddr>,
    /// take no guests: what is started here may leave, and nobody comes
    #[argh(switch)]
    block: bool,
    /// take no more guests than this at a time
    #[argh(option, arg_name = "number", from_str_fn(parse_max_guests))]
    max_guests: Option<usize>,
    /// UDP and TCP port (default: 4460)
    #[argh(option, from_str_fn(parse_port))]
    port: Option<u16>,
    /// where to keep the socket (default: $LIMOSA_RUN_DIR, else /run/limosa)
    #[argh(option)]
    run_dir: Option<PathBuf>,
    /// let no process leave this node by itself, as `limosa node stay` does
    #[argh(switch)]
    stay: bool,
    /// other agents run on the same kernel: take only our own processes and guests for this node's load
    #[argh(switch)]
    shared_kernel: bool,
    /// set the clock to the cluster's time after joining, as booted PCs do
    #[argh(switch)]
    set_clock: bool,
    /// configuration file
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
}

pub(super) fn main(words: Vec<OsString>) -> ExitCode {
    let options: Agent = match super::parse("agent", words) {
        Ok(options) => options,
        Err(code) => return code,
    };
    log::start();
    let config = match configure(options) {
        Ok(config) => config,
        Err(error) => {
            let code = if matches!(error, ConfigError::NoKey) {
                exit::NO_KEY
            } else {
                exit::USAGE
            };
            return exit::fail(code, error);
        }
    };
    match agent::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::fail(code(&error), error),
    }
}

fn configure(options: Agent) -> Result<AgentConfig, ConfigError> {
    let file = match &options.config {
        Some(path) => Settings::read(path)?,
        None => Settings::default(),
    };
    let line = Settings {
        key: options.key,
        open: options.open.then_some(true),
        name: options.name,
        interfaces: options.interface,
        seeds: options.seed,
        block: options.block.then_some(true),
        max_guests: options.max_guests,
        port: options.port,
        run_dir: options.run_dir,
        stay: options.stay.then_some(true),
        shared_kernel: options.shared_kernel.then_some(true),
    };
    let mut settings = line.over(file);
    settings.run_dir = Some(client::run_dir(settings.run_dir.as_deref()));
    Ok(AgentConfig {
        set_clock: options.set_clock,
        ..AgentConfig::resolve(settings)?
    })
}

fn code(error: &AgentError) -> u8 {
    match error {
        AgentError::NotRoot => exit::NOT_ROOT,
        AgentError::Kernel(_) => exit::KERNEL,
        AgentError::ControlSocket(ControlSocketError::AgentRuns(_)) => exit::AGENT_RUNS,
        AgentError::Cluster(StartError::PortTaken { .. }) => exit::PORT_TAKEN,
        AgentError::Cluster(StartError::Name(_)) => exit::USAGE,
        _ => exit::FAILED,
    }
}
