//! `lab`: a virtual cluster on this machine, from the command line.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use argh::FromArgs;
use lab::control::{NodeState, NodeStatus, Request};
use lab::entrance::Entrance;
use lab::error::LabError;
use lab::process::ProcessIdentity;
use lab::qemu::{Boot, Firmware, Medium};
use lab::state::StateDirectory;
use lab::{Lab, LabOptions, daemon, namespaces, wait_until};

/// How long the nodes may take to meet; virtual machines boot first.
const MEET_TIMEOUT: Duration = Duration::from_secs(20);
const MACHINES_MEET_TIMEOUT: Duration = Duration::from_secs(180);

/// A cluster on this machine: nodes that are namespaces or virtual machines, joined by a switch
/// that loses, delays and cuts off what you tell it to.
#[derive(FromArgs)]
#[argh(
    example = "Three nodes, a look, a fault, the end:\n  lab up --nodes 3\n  lab exec n1 -- limosa nodes\n  lab cut n1 n2\n  lab down"
)]
struct Arguments {
    #[argh(subcommand)]
    command: Commands,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Commands {
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
struct Up {
    /// the lab's name (default: lab)
    #[argh(option, default = "default_name()")]
    name: String,
    /// how many nodes, called n1, n2 and so on (default: 3)
    #[argh(option, default = "3")]
    nodes: usize,
    /// join them by a kernel bridge: full speed, no faults
    #[argh(switch)]
    fast: bool,
    /// let the nodes be virtual machines that boot the built image
    #[argh(switch)]
    vm: bool,
    /// what virtual machines boot: kernel, cd, usb, uefi-cd or uefi-usb (default: kernel)
    #[argh(option, default = "String::from(\"kernel\")")]
    boot: String,
    /// memory of each virtual machine in MiB
    #[argh(option)]
    memory: Option<u32>,
    /// where the image is (default: target of the working directory)
    #[argh(option, default = "PathBuf::from(\"target\")")]
    target: PathBuf,
    /// give the nodes IPv4 addresses too
    #[argh(switch)]
    ipv4: bool,
    /// the file of the cluster key (default: a new key)
    #[argh(option)]
    key: Option<PathBuf>,
    /// where the chances of the faults begin (default: 1)
    #[argh(option, default = "1")]
    seed: u64,
    /// a process with whose end the lab ends too
    #[argh(option)]
    owner: Option<u32>,
    /// do not wait until the nodes have found each other
    #[argh(switch)]
    no_wait: bool,
}

/// end a lab and remove all that it made
#[derive(FromArgs)]
#[argh(subcommand, name = "down")]
struct Down {
    /// the lab's name (default: lab)
    #[argh(option, default = "default_name()")]
    name: String,
}

/// show the labs of this machine and their nodes
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct List {}

/// run a command on a node, with its network and its control socket
#[derive(FromArgs)]
#[argh(subcommand, name = "exec")]
struct Exec {
    /// the lab's name (default: lab)
    #[argh(option, default = "default_name()")]
    name: String,
    /// the node
    #[argh(positional)]
    node: String,
    /// the command; its exit status becomes that of "lab exec"
    #[argh(positional, greedy)]
    command: Vec<String>,
}

macro_rules! node_command {
    ($type:ident, $name:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(FromArgs)]
        #[argh(subcommand, name = $name)]
        struct $type {
            /// the lab's name (default: lab)
            #[argh(option, default = "default_name()")]
            name: String,
            /// the node
            #[argh(positional)]
            node: String,
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
struct Cut {
    /// the lab's name (default: lab)
    #[argh(option, default = "default_name()")]
    name: String,
    /// one node
    #[argh(positional)]
    a: String,
    /// the other node
    #[argh(positional)]
    b: String,
}

/// end all faults, or the cut between two nodes
#[derive(FromArgs)]
#[argh(subcommand, name = "heal")]
struct Heal {
    /// the lab's name (default: lab)
    #[argh(option, default = "default_name()")]
    name: String,
    /// the two nodes between which all shall pass again (default: end all faults)
    #[argh(positional)]
    pair: Vec<String>,
}

macro_rules! share_command {
    ($type:ident, $name:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(FromArgs)]
        #[argh(subcommand, name = $name)]
        struct $type {
            /// the lab's name (default: lab)
            #[argh(option, default = "default_name()")]
            name: String,
            /// from 0 to 100
            #[argh(positional)]
            percent: f64,
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
struct Delay {
    /// the lab's name (default: lab)
    #[argh(option, default = "default_name()")]
    name: String,
    /// milliseconds
    #[argh(positional)]
    delay_ms: u64,
}

/// (the lab itself) be the process behind a lab, which is described on the standard input
#[derive(FromArgs)]
#[argh(subcommand, name = "daemon")]
struct Daemon {}

/// (the lab itself) become a process of a node
#[derive(FromArgs)]
#[argh(subcommand, name = "enter")]
struct Enter {
    /// the way in, as JSON
    #[argh(positional)]
    entrance: String,
    /// the command
    #[argh(positional, greedy)]
    command: Vec<String>,
}

/// (the lab itself) make a node's namespaces
#[derive(FromArgs)]
#[argh(subcommand, name = "keep-namespaces")]
struct KeepNamespaces {
    /// the node's cgroup
    #[argh(positional)]
    cgroup: PathBuf,
    /// an empty directory
    #[argh(positional)]
    scratch: PathBuf,
}

fn default_name() -> String {
    "lab".into()
}

fn main() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    match run(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lab: {error}");
            ExitCode::from(if matches!(error, LabError::Usage(_)) {
                2
            } else {
                1
            })
        }
    }
}

fn run(command: Commands) -> Result<ExitCode, LabError> {
    match command {
        Commands::Up(up) => bring_up(&up)?,
        Commands::Down(Down { name }) => Lab::attach(&name)?.down()?,
        Commands::List(List {}) => list()?,
        Commands::Exec(exec) => return execute(&exec),
        Commands::Log(Log { name, node }) => print!("{}", Lab::attach(&name)?.node(&node).log()?),
        Commands::Cut(Cut { name, a, b }) => Lab::attach(&name)?.cut(&a, &b)?,
        Commands::Heal(heal) => end_faults(&heal)?,
        Commands::Loss(Loss { name, percent }) => Lab::attach(&name)?.lose(percent)?,
        Commands::Duplicate(Duplicate { name, percent }) => {
            Lab::attach(&name)?.ask(&Request::Duplicate { percent })?;
        }
        Commands::Delay(Delay { name, delay_ms }) => {
            Lab::attach(&name)?.delay(Duration::from_millis(delay_ms))?;
        }
        Commands::Kill(Kill { name, node }) => Lab::attach(&name)?.node(&node).kill()?,
        Commands::Stop(Stop { name, node }) => Lab::attach(&name)?.node(&node).stop()?,
        Commands::Restart(Restart { name, node }) => restart(&Lab::attach(&name)?, &node)?,
        Commands::Plug(Plug { name, node }) => Lab::attach(&name)?.node(&node).plug()?,
        Commands::Unplug(Unplug { name, node }) => Lab::attach(&name)?.node(&node).unplug()?,
        Commands::Daemon(Daemon {}) => serve()?,
        Commands::Enter(Enter { entrance, command }) => {
            let entrance: Entrance = serde_json::from_str(&entrance)
                .map_err(|error| LabError::Usage(format!("not an entrance: {error}")))?;
            return Err(entrance.become_command(&command));
        }
        Commands::KeepNamespaces(KeepNamespaces { cgroup, scratch }) => {
            namespaces::keep(&cgroup, &scratch)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn bring_up(up: &Up) -> Result<(), LabError> {
    if up.vm && up.fast {
        return Err(LabError::Usage(
            "--fast is for namespaces: leave out --vm or --fast".into(),
        ));
    }
    let owner = up.owner.map(|pid| {
        ProcessIdentity::of(pid).map_err(LabError::doing(format!("find the owner, process {pid}")))
    });
    let owner = owner.transpose()?;
    let machines = if up.vm {
        let boot = boot_of(&up.boot, &up.target)?;
        (1..=up.nodes)
            .map(|number| (format!("n{number}"), boot.clone()))
            .collect()
    } else {
        BTreeMap::new()
    };
    let started = Instant::now();
    let lab = Lab::start(&LabOptions {
        name: Some(up.name.clone()),
        nodes: up.nodes,
        fast: up.fast,
        ipv4: up.ipv4,
        seed: up.seed,
        key: up.key.clone(),
        memory_mib: up.memory,
        machines,
        ..LabOptions::default()
    })?;
    if !up.no_wait {
        wait_for_meeting(&lab, up)?;
    }
    lab.release(owner)?;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "Lab \"{}\" is up: {} nodes in {seconds:.1} s.",
        up.name, up.nodes
    );
    let name = if up.name == default_name() {
        String::new()
    } else {
        format!(" --name {}", up.name)
    };
    println!("Try \"lab exec{name} n1 -- limosa nodes\"; end it by \"lab down{name}\".");
    Ok(())
}

fn boot_of(word: &str, target: &std::path::Path) -> Result<Boot, LabError> {
    if word == "kernel" {
        return Boot::built_kernel(target);
    }
    let (firmware, medium) = match word {
        "cd" => (Firmware::Bios, Medium::Cd),
        "usb" => (Firmware::Bios, Medium::Usb),
        "uefi-cd" => (Firmware::Uefi, Medium::Cd),
        "uefi-usb" => (Firmware::Uefi, Medium::Usb),
        other => {
            return Err(LabError::Usage(format!(
                "nothing is booted as \"{other}\": use kernel, cd, usb, uefi-cd or uefi-usb"
            )));
        }
    };
    Boot::built_image(target, medium, firmware)
}

/// Waits until every node sees all of them alive. Should that fail, the lab is taken down again.
fn wait_for_meeting(lab: &Lab, up: &Up) -> Result<(), LabError> {
    let timeout = if up.vm {
        MACHINES_MEET_TIMEOUT
    } else {
        MEET_TIMEOUT
    };
    for node in lab.nodes()? {
        let what = format!("{} sees {} nodes alive", node.name(), up.nodes);
        wait_until(timeout, what, || {
            if let NodeState::Ended { how } =
                node.status().map_err(|error| error.to_string())?.state
            {
                let log = node.log().unwrap_or_default();
                let last = log.lines().last().unwrap_or("it logged nothing").to_owned();
                return Err(format!("it ended ({how}): {last}"));
            }
            let members = node.limosa(&["nodes"]).map_err(|error| error.to_string())?;
            let members = members.as_array().map(Vec::as_slice).unwrap_or_default();
            let alive = members
                .iter()
                .filter(|member| member["state"] == "alive")
                .count();
            if alive == up.nodes {
                Ok(())
            } else {
                Err(format!("{alive} alive"))
            }
        })?;
    }
    Ok(())
}

fn list() -> Result<(), LabError> {
    for name in StateDirectory::names()? {
        match Lab::attach(&name).and_then(|lab| lab.status()) {
            Ok(status) => {
                println!("{name}");
                status.nodes.iter().for_each(show_node);
            }
            Err(error) => println!("{name}  ({error})"),
        }
    }
    Ok(())
}

fn show_node(node: &NodeStatus) {
    let kind = if node.is_vm {
        "virtual machine"
    } else {
        "namespaces"
    };
    let state = match &node.state {
        NodeState::Running { process } => format!("runs as process {}", process.pid),
        NodeState::Ended { how } => format!("ended ({how})"),
        NodeState::Off => "off".into(),
    };
    let cable = if node.plugged { "" } else { ", unplugged" };
    println!("  {:<5} {kind:<15} {state}{cable}", node.name);
}

fn execute(exec: &Exec) -> Result<ExitCode, LabError> {
    if exec.command.is_empty() {
        return Err(LabError::Usage(
            "no command: lab exec NODE -- COMMAND...".into(),
        ));
    }
    let lab = Lab::attach(&exec.name)?;
    let node = lab.node(&exec.node);
    let status = node.status()?;
    match status.entrance {
        Some(entrance) => Err(entrance.become_command(&exec.command)),
        None if status.is_vm => {
            let mut port = node.lab_port()?;
            let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
            let ending = port.exec(&exec.command, &BTreeMap::new(), &mut out, &mut err)?;
            Ok(ExitCode::from(
                u8::try_from(ending.shell_status()).unwrap_or(1),
            ))
        }
        None => Err(LabError::Refused(format!(
            "{} is off: start it by \"lab restart {}\"",
            exec.node, exec.node
        ))),
    }
}

fn end_faults(heal: &Heal) -> Result<(), LabError> {
    let lab = Lab::attach(&heal.name)?;
    match &heal.pair[..] {
        [] => lab.heal(),
        [a, b] => lab.ask(&Request::Join {
            a: a.clone(),
            b: b.clone(),
        }),
        _ => Err(LabError::Usage(
            "name two nodes, or none to end all faults".into(),
        )),
    }
}

fn restart(lab: &Lab, node: &str) -> Result<(), LabError> {
    let node = lab.node(node);
    if let NodeState::Running { .. } = node.status()?.state {
        node.stop()?;
    }
    node.start()
}

fn serve() -> Result<(), LabError> {
    let mut order = Vec::new();
    std::io::stdin()
        .read_to_end(&mut order)
        .map_err(LabError::doing("read the lab's order"))?;
    let config = serde_json::from_slice(&order)
        .map_err(|error| LabError::Usage(format!("not a lab's order: {error}")))?;
    let served = daemon::run(config);
    if let Err(error) = &served {
        // To whoever waits for "ready"; the log, which has it too, may be gone with the lab.
        println!("{error}");
    }
    served
}
