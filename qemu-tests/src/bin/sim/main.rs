//! `sim`: thousands of nodes on a virtual clock, steered by the very code that the agents run.
//!
//! The gossip, the policy, the door of a node and, where members are found, SWIM are those of the `limosa` crate; here
//! are only what they steer and what they hear: CPUs, processes, a lossy network, nodes that come and go. It is a binary
//! of its own, because the one that travels to every node has a budget of four megabytes, and no node needs a simulator.
//!
//! - `sim cluster` runs one trace of processes by several strategies and compares them with a bound;
//! - `sim gossip` shows what membership and gossip cost a node, for clusters of several sizes.
//!
//! All chance comes from `--seed`: the same words give the same figures. Build it by `cargo build --profile sim`.

mod arguments;
mod bound;
mod cluster;
mod gossip;
mod network;
mod plot;
mod report;
mod trace;
mod world;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use self::arguments::{Arguments, Commands};

fn main() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    let result = match arguments.command {
        Commands::Cluster(options) => report::compare(&options),
        Commands::Gossip(options) => gossip::table(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sim: {error}");
            ExitCode::FAILURE
        }
    }
}
