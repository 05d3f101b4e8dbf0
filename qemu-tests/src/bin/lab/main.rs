//! `lab`: a virtual cluster on this machine, from the command line.

mod arguments;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use arguments::{
    Arguments, Commands, Cut, Daemon, Delay, Down, Duplicate, Enter, Exec, Heal, KeepNamespaces,
    Kill, List, Log, Loss, Plug, Restart, Stop, Unplug, Up, default_name,
};
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
        Commands::Log(Log { name, node }) => print(&Lab::attach(&name)?.node(&node).log()?)?,
        Commands::Cut(Cut { name, a, b }) => Lab::attach(&name)?.cut(&a, &b)?,
        Commands::Heal(heal) => end_faults(&heal)?,
        Commands::Loss(Loss { name, percent }) => Lab::attach(&name)?.lose(percent)?,
        Commands::Duplicate(Duplicate { name, percent }) => {
            Lab::attach(&name)?.ask(&Request::Duplicate { percent })?;
        }
        Commands::Delay(Delay { name, delay_ms }) => {
            Lab::attach(&name)?.ask(&Request::Delay { delay_ms })?;
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
        let boot = boot_of(up)?;
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
        balance: up.balance,
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
    let name = if up.name == default_name() {
        String::new()
    } else {
        format!(" --name {}", up.name)
    };
    print(&format!(
        "Lab \"{}\" is up: {} nodes in {seconds:.1} s.\n\
         Try \"lab exec{name} n1 -- limosa nodes\"; end it by \"lab down{name}\".\n",
        up.name, up.nodes
    ))
}

fn boot_of(up: &Up) -> Result<Boot, LabError> {
    if up.boot == "kernel" {
        return Boot::built_kernel(&up.target, up.image);
    }
    let (firmware, medium) = match &*up.boot {
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
    Boot::built_image(&up.target, up.image, medium, firmware)
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
                print(&format!("{name}\n"))?;
                status.nodes.iter().try_for_each(show_node)?;
            }
            Err(error) => print(&format!("{name}  ({error})\n"))?,
        }
    }
    Ok(())
}

fn show_node(node: &NodeStatus) -> Result<(), LabError> {
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
    print(&format!("  {:<5} {kind:<15} {state}{cable}\n", node.name))
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
        print(&format!("{error}\n"))?;
    }
    served
}

/// Writes to standard output. A reader that wants no more, as head(1) does, is no error.
fn print(text: &str) -> Result<(), LabError> {
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(LabError::doing("write to standard output")(error))
        }
        _ => Ok(()),
    }
}
