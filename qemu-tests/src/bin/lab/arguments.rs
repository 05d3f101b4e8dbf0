//! The words of the command line.

use std::path::PathBuf;

use argh::FromArgs;
use lab::Image;

/// A cluster on this machine: nodes that are namespaces or virtual machines, joined by a switch
/// that loses, delays and cuts off what you tell it to.
#[derive(FromArgs)]
#[argh(
    example = "Three nodes, a look, a fault, the end:\n  lab up --nodes 3\n  lab exec n1 -- limosa nodes\n  lab cut n1 n2\n  lab down"
)]
pub(crate) struct Arguments {
    #[argh(subcommand)]
    pub(crate) command: Commands,
}

#[derive(FromArgs)]
#[argh(subcommand)]
pub(crate) enum Commands {
    Up(Up),
    Down(Down),
    List(List),
    Exec(Exec),
    Log(Log),
    Cut(Cut),
    Heal(Heal),
    Loss(Loss),
    Duplicate(Duplicate),
    Delay(Delay),
    Kill(Kill),
    Stop(Stop),
    Restart(Restart),
    Plug(Plug),
    Unplug(Unplug),
    Daemon(Daemon),
    Enter(Enter),
    KeepNamespaces(KeepNamespaces),
}

/// bring a lab up
#[derive(FromArgs)]
#[argh(subcommand, name = "up")]
pub(crate) struct Up {
    /// the lab's name (default: lab)
    #[argh(option, default = "default_name()")]
    pub(crate) name: String,
    /// how many nodes, called n1, n2 and so on (default: 3)
    #[argh(option, default = "3")]
    pub(crate) nodes: usize,
    /// join them by a kernel bridge: full speed, no faults
    #[argh(switch)]
    pub(crate) fast: bool,
    /// let the nodes be virtual machines that boot the built image
    #[argh(switch)]
    pub(crate) vm: bool,
    /// what virtual machines boot: kernel, cd, usb, uefi-cd or uefi-usb (default: kernel)
    #[argh(option, default = "String::from(\"kernel\")")]
    pub(crate) boot: String,
    /// which image, by its kernel: stock or trimmed (default: stock)
    #[argh(option, default = "Image::Stock")]
    pub(crate) image: Image,
    /// memory of each virtual machine in MiB
    #[argh(option)]
    pub(crate) memory: Option<u32>,
    /// where the image is (default: target of the working directory)
    #[argh(option, default = "PathBuf::from(\"target\")")]
    pub(crate) target: PathBuf,
    /// give the nodes IPv4 addresses too
    #[argh(switch)]
    pub(crate) ipv4: bool,
    /// let processes move by themselves, not only by hand
    #[argh(switch)]
    pub(crate) balance: bool,
    /// the file of the cluster key (default: a new key)
    #[argh(option)]
    pub(crate) key: Option<PathBuf>,
    /// where the chances of the faults begin (default: 1)
    #[argh(option, default = "1")]
    pub(crate) seed: u64,
    /// a process with whose end the lab ends too
    #[argh(option)]
    pub(crate) owner: Option<u32>,
    /// do not wait until the nodes have found each other
    #[argh(switch)]
    pub(crate) no_wait: bool,
}

/// end a lab and remove all that it made
#[derive(FromArgs)]
#[argh(subcommand, name = "down")]
pub(crate) struct Down {
    /// the lab's name (default: lab)
    #[argh(option, default = "default_name()")]
    pub(crate) name: String,
}

/// show the labs of this machine and their nodes
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
pub(crate) struct List {}

/// run a command on a node, with its network and its control socket
#[derive(FromArgs)]
#[argh(subcommand, name = "exec")]
pub(crate) struct Exec {
    /// the lab's name (default: lab)
    #[argh(option, default = "default_name()")]
    pub(crate) name: String,
    /// the node
    #[argh(positional)]
    pub(crate) node: String,
    /// the command; its exit status becomes that of "lab exec"
    #[argh(positional, greedy)]
    pub(crate) command: Vec<String>,
}

macro_rules! node_command {
    ($type:ident, $name:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(FromArgs)]
        #[argh(subcommand, name = $name)]
        pub(crate) struct $type {
            /// the lab's name (default: lab)
            #[argh(option, default = "default_name()")]
            pub(crate) name: String,
            /// the node
            #[argh(positional)]
            pub(crate) node: String,
        }
    };
}

node_command!(
    Log,
    "log",
    "show what a node's agent logged, or a virtual machine's serial line said"
);
node_command!(
    Kill,
    "kill",
    "kill all that runs on a node at once, as if it were unplugged"
);
node_command!(
    Stop,
    "stop",
    "stop a node's agent cleanly, or power a virtual machine off"
);
node_command!(
    Restart,
    "restart",
    "start a node's agent again, after stopping it if it runs"
);
node_command!(Plug, "plug", "plug a node's network cable in");
node_command!(
    Unplug,
    "unplug",
    "pull a node's network cable: its interface vanishes"
);

/// let nothing pass between two nodes
#[derive(FromArgs)]
#[argh(subcommand, name = "cut")]
pub(crate) struct Cut {
    /// the lab's name (default: lab)
    #[argh(option, default = "default_name()")]
    pub(crate) name: String,
    /// one node
    #[argh(positional)]
    pub(crate) a: String,
    /// the other node
    #[argh(positional)]
    pub(crate) b: String,
}

/// end all faults, or the cut between two nodes
#[derive(FromArgs)]
#[argh(subcommand, name = "heal")]
pub(crate) struct Heal {
    /// the lab's name (default: lab)
    #[argh(option, default = "default_name()")]
    pub(crate) name: String,
    /// the two nodes between which all shall pass again (default: end all faults)
    #[argh(positional)]
    pub(crate) pair: Vec<String>,
}

macro_rules! share_command {
    ($type:ident, $name:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(FromArgs)]
        #[argh(subcommand, name = $name)]
        pub(crate) struct $type {
            /// the lab's name (default: lab)
            #[argh(option, default = "default_name()")]
            pub(crate) name: String,
            /// from 0 to 100
            #[argh(positional)]
            pub(crate) percent: f64,
        }
    };
}

share_command!(Loss, "loss", "lose this percentage of all frames");
share_command!(
    Duplicate,
    "duplicate",
    "deliver this percentage of all frames twice"
);

/// deliver all frames this much later
#[derive(FromArgs)]
#[argh(subcommand, name = "delay")]
pub(crate) struct Delay {
    /// the lab's name (default: lab)
    #[argh(option, default = "default_name()")]
    pub(crate) name: String,
    /// milliseconds, as 50 or 0.2
    #[argh(positional)]
    pub(crate) delay_ms: f64,
}

/// (the lab itself) be the process behind a lab, which is described on the standard input
#[derive(FromArgs)]
#[argh(subcommand, name = "daemon")]
pub(crate) struct Daemon {}

/// (the lab itself) become a process of a node
#[derive(FromArgs)]
#[argh(subcommand, name = "enter")]
pub(crate) struct Enter {
    /// the way in, as JSON
    #[argh(positional)]
    pub(crate) entrance: String,
    /// the command
    #[argh(positional, greedy)]
    pub(crate) command: Vec<String>,
}

/// (the lab itself) make a node's namespaces
#[derive(FromArgs)]
#[argh(subcommand, name = "keep-namespaces")]
pub(crate) struct KeepNamespaces {
    /// the node's cgroup
    #[argh(positional)]
    pub(crate) cgroup: PathBuf,
    /// an empty directory
    #[argh(positional)]
    pub(crate) scratch: PathBuf,
}

/// The lab that is meant when no name is given.
pub(crate) fn default_name() -> String {
    "lab".into()
}
