//! The words of the command line.

use std::path::PathBuf;
use std::str::FromStr;

use argh::FromArgs;

/// Simulate clusters with the agents' own code.
#[derive(FromArgs)]
#[argh(
    example = "sim cluster --nodes 10000 --processes 100000 --svg /tmp/plots\nsim cluster --trace burst --loss 20 --churn 1\nsim gossip --nodes 10 --nodes 1000"
)]
pub(crate) struct Arguments {
    #[argh(subcommand)]
    pub(crate) command: Commands,
}

#[derive(FromArgs)]
#[argh(subcommand)]
pub(crate) enum Commands {
    Cluster(Cluster),
    Gossip(Traffic),
}

/// run a trace of processes and compare strategies
#[derive(FromArgs, Clone)]
#[argh(subcommand, name = "cluster")]
pub(crate) struct Cluster {
    /// how many nodes (default: 1000)
    #[argh(option, default = "1000")]
    pub(crate) nodes: usize,
    /// how many processes (default: ten for each node)
    #[argh(option)]
    pub(crate) processes: Option<usize>,
    /// poisson, heavy, compile or burst (default: heavy)
    #[argh(option, default = "TraceKind::Heavy")]
    pub(crate) trace: TraceKind,
    /// percent of the nodes that are home to processes (default: 10; a burst has one home)
    #[argh(option, default = "10.0")]
    pub(crate) homes: f64,
    /// seconds in which the processes start (default: 180)
    #[argh(option, default = "180.0")]
    pub(crate) seconds: f64,
    /// mean CPU time of a process, in seconds of the reference machine (default: 20)
    #[argh(option, default = "20.0")]
    pub(crate) work: f64,
    /// percent of datagrams lost (default: 0)
    #[argh(option, default = "0.0")]
    pub(crate) loss: f64,
    /// percent of the nodes that are lost each minute, and back a minute later (default: 0)
    #[argh(option, default = "0.0")]
    pub(crate) churn: f64,
    /// second at which the network falls into two halves, for 30 s
    #[argh(option)]
    pub(crate) partition: Option<f64>,
    /// all CPUs are equally fast
    #[argh(switch)]
    pub(crate) equal: bool,
    /// where all chance comes from (default: 1)
    #[argh(option, default = "1")]
    pub(crate) seed: u64,
    /// write plots into this directory
    #[argh(option)]
    pub(crate) svg: Option<PathBuf>,
    /// print JSON
    #[argh(switch)]
    pub(crate) json: bool,
}

/// show what membership and gossip cost a node
#[derive(FromArgs, Clone)]
#[argh(subcommand, name = "gossip")]
pub(crate) struct Traffic {
    /// size of a cluster; may be given several times (default: 10, 100, 1000 and 10000)
    #[argh(option)]
    pub(crate) nodes: Vec<usize>,
    /// seconds simulated (default: 60)
    #[argh(option, default = "60.0")]
    pub(crate) seconds: f64,
    /// percent of datagrams lost (default: 0)
    #[argh(option, default = "0.0")]
    pub(crate) loss: f64,
    /// where all chance comes from (default: 1)
    #[argh(option, default = "1")]
    pub(crate) seed: u64,
}

/// How processes come and how long they live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TraceKind {
    /// At random, with lives of exponential length.
    Poisson,
    /// At random, with lives of a bounded Pareto distribution, as those of real processes are.
    Heavy,
    /// Compilers: very many short ones.
    Compile,
    /// All at once, on one node.
    Burst,
}

impl FromStr for TraceKind {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "poisson" => Ok(Self::Poisson),
            "heavy" => Ok(Self::Heavy),
            "compile" => Ok(Self::Compile),
            "burst" => Ok(Self::Burst),
            _ => Err(format!(
                "no trace is called {word:?}: poisson, heavy, compile or burst"
            )),
        }
    }
}
