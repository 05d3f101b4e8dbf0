//! One node as the daemon holds it: its namespaces or virtual machine, and the process that makes it
//! a node (the agent, or QEMU).

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::bridge::ip;
use crate::cgroup::Cgroup;
use crate::control::{NodeState, NodeStatus};
use crate::entrance::Entrance;
use crate::error::LabError;
use crate::namespaces::Namespaces;
use crate::ports::INTERFACE;
use crate::process::ProcessIdentity;
use crate::programs::Programs;
use crate::qemu::{Machine, MachineFiles, QEMU};
use crate::switch::PortId;

/// What a node is made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum NodeKind {
    /// Namespaces of this machine.
    Namespaces,
    /// A virtual machine.
    Vm(Machine),
}

/// A node as it was ordered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeConfig {
    /// Its name.
    pub name: String,
    /// What it is made of.
    pub kind: NodeKind,
    /// The file of its cluster key; `None`: the key that its image has.
    pub key: Option<PathBuf>,
    /// Whether its cable is plugged in from the start.
    pub plugged: bool,
    /// An IPv4 address with its prefix length, for namespaces.
    pub ipv4: Option<String>,
    /// Further arguments of its agent, for namespaces.
    pub agent_arguments: Vec<String>,
}

/// The process that makes a node a node.
#[derive(Debug)]
enum MainProcess {
    /// Not started yet, or killed.
    Off,
    Running {
        child: Child,
        identity: ProcessIdentity,
        descriptor: OwnedFd,
    },
    Ended(String),
}

/// One node.
#[derive(Debug)]
pub struct Node {
    config: NodeConfig,
    port: PortId,
    directory: PathBuf,
    binaries: PathBuf,
    programs: Programs,
    lab_name: String,
    cgroup: Cgroup,
    namespaces: Option<Namespaces>,
    main: MainProcess,
}

impl Node {
    /// Makes the node's directory and cgroup; nothing runs yet. `binaries` is a directory for its PATH.
    pub fn make(
        config: NodeConfig,
        port: PortId,
        (directory, binaries): (PathBuf, PathBuf),
        programs: Programs,
        (lab_name, lab_cgroup): (&str, &Cgroup),
    ) -> Result<Self, LabError> {
        let run = directory.join("run");
        fs::create_dir_all(&run).map_err(LabError::doing(format!("make {}", run.display())))?;
        let cgroup = lab_cgroup.child(&config.name);
        let main = MainProcess::Off;
        let lab_name = lab_name.to_owned();
        let namespaces = None;
        Ok(Self {
            config,
            port,
            directory,
            binaries,
            programs,
            lab_name,
            cgroup,
            namespaces,
            main,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Its port of the switch.
    pub fn port(&self) -> PortId {
        self.port
    }

    /// As it was ordered.
    pub fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// Whether it is a virtual machine.
    pub fn is_machine(&self) -> bool {
        matches!(self.config.kind, NodeKind::Vm(_))
    }

    /// Whether it was not started yet, or killed.
    pub fn is_off(&self) -> bool {
        matches!(self.main, MainProcess::Off)
    }

    /// The files through which a virtual machine is reached.
    pub fn machine_files(&self) -> MachineFiles {
        MachineFiles::in_directory(&self.directory)
    }

    /// Its namespaces; made anew after it was killed. None for a virtual machine.
    pub fn namespaces(&mut self) -> Result<Option<&Namespaces>, LabError> {
        if self.is_machine() {
            return Ok(None);
        }
        if self.namespaces.is_none() {
            self.cgroup.make()?;
            let scratch = self.directory.join("scratch");
            fs::create_dir_all(&scratch)
                .map_err(LabError::doing(format!("make {}", scratch.display())))?;
            let made = Namespaces::make(&self.programs.lab, &self.cgroup, &scratch)?;
            self.namespaces = Some(made);
        }
        Ok(self.namespaces.as_ref())
    }

    /// Gives the interface its IPv4 address, if it is to have one.
    pub fn configure_interface(&self) -> Result<(), LabError> {
        let (Some(address), Some(namespaces)) = (&self.config.ipv4, &self.namespaces) else {
            return Ok(());
        };
        namespaces.in_network(|| ip(&["address", "add", address, "dev", INTERFACE]))
    }

    /// Starts the agent or the virtual machine. Returns the descriptor that becomes readable at its end.
    pub fn start(&mut self) -> Result<&OwnedFd, LabError> {
        if matches!(self.main, MainProcess::Running { .. }) {
            return Err(LabError::Refused(format!(
                "{} is running already",
                self.name()
            )));
        }
        self.cgroup.child("agent").make()?;
        self.cgroup.child("session").make()?;
        let command = match self.config.kind.clone() {
            NodeKind::Namespaces => self.agent_command(),
            NodeKind::Vm(machine) => self.machine_command(&machine)?,
        };
        let mut child = self.spawn(&command)?;
        let opened = ProcessIdentity::of(child.id()).and_then(|identity| {
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            let pid = pid.ok_or(io::ErrorKind::InvalidData)?;
            Ok((identity, pidfd_open(pid, PidfdFlags::empty())?))
        });
        let (identity, descriptor) = match opened {
            Ok(opened) => opened,
            Err(source) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(LabError::System {
                    doing: "watch the new process".into(),
                    source,
                });
            }
        };
        self.main = MainProcess::Running {
            child,
            identity,
            descriptor,
        };
        match &self.main {
            MainProcess::Running { descriptor, .. } => Ok(descriptor),
            _ => Err(LabError::Protocol("a process that does not run".into())),
        }
    }

    fn agent_command(&self) -> Vec<String> {
        let mut command = vec![text(&self.programs.limosa), "agent".into()];
        command.extend(["--name".into(), self.config.name.clone()]);
        command.extend(["--run-dir".into(), text(&self.directory.join("run"))]);
        if let Some(key) = &self.config.key {
            command.extend(["--key".into(), text(key)]);
        }
        command.extend(self.config.agent_arguments.iter().cloned());
        command
    }

    fn machine_command(&self, machine: &Machine) -> Result<Vec<String>, LabError> {
        let files = MachineFiles::in_directory(&self.directory);
        let mut parameters = format!("limosa.lab limosa.name={}", self.config.name);
        if !machine.parameters.is_empty() {
            parameters.push_str(&format!(" {}", machine.parameters));
        }
        if let Some(path) = &self.config.key {
            let key = fs::read_to_string(path)
                .map_err(LabError::doing(format!("read {}", path.display())))?;
            parameters.push_str(&format!(" limosa.key={}", key.trim()));
        }
        fs::write(&files.parameters, parameters).map_err(LabError::doing(format!(
            "write {}",
            files.parameters.display()
        )))?;
        let arguments = machine.arguments(self.port, &files);
        Ok(std::iter::once(QEMU.to_owned()).chain(arguments).collect())
    }

    fn spawn(&self, command: &[String]) -> Result<Child, LabError> {
        let entrance = self.entrance_to("agent", true);
        let entrance = serde_json::to_string(&entrance)
            .map_err(|error| LabError::Protocol(error.to_string()))?;
        let log = self.log()?;
        let also_log = log
            .try_clone()
            .map_err(LabError::doing("share the node's log"))?;
        Command::new(&self.programs.lab)
            .arg("enter")
            .arg(entrance)
            .args(command)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(also_log)
            .spawn()
            .map_err(LabError::doing(format!("start {}", self.name())))
    }

    fn log(&self) -> Result<File, LabError> {
        let path = self.directory.join("agent.log");
        File::options()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .map_err(LabError::doing(format!("open {}", path.display())))
    }

    fn entrance_to(&self, group: &str, die_with_parent: bool) -> Entrance {
        let search =
            std::env::var("PATH").unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".into());
        let environment = [
            ("PATH", format!("{}:{search}", self.binaries.display())),
            ("LIMOSA_RUN_DIR", text(&self.directory.join("run"))),
            ("LIMOSA_LAB", self.lab_name.clone()),
            ("LIMOSA_LAB_NODE", self.config.name.clone()),
        ];
        Entrance {
            cgroup_procs: self.cgroup.child(group).path().join("cgroup.procs"),
            namespaces: self.namespaces.as_ref().map(Namespaces::files),
            environment: environment
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
            die_with_parent,
        }
    }

    /// Asks the agent to end.
    pub fn stop(&self) -> Result<(), LabError> {
        match (&self.config.kind, &self.main) {
            (NodeKind::Vm(_), _) => Err(LabError::Refused(
                "a virtual machine is stopped over its lab port, not by the lab's daemon".into(),
            )),
            (_, MainProcess::Running { descriptor, .. }) => {
                pidfd_send_signal(descriptor, Signal::TERM)
                    .map_err(LabError::doing(format!("stop {}", self.name())))
            }
            _ => Err(LabError::Refused(format!("{} is not running", self.name()))),
        }
    }

    /// The process ended: takes note how.
    pub fn reap(&mut self) {
        if let MainProcess::Running { child, .. } = &mut self.main {
            let how = match child.wait() {
                Ok(status) => status.to_string(),
                Err(error) => format!("unknown: {error}"),
            };
            self.main = MainProcess::Ended(how);
        }
    }

    /// Kills all that runs on the node, at once, and leaves its namespaces.
    pub fn kill(&mut self) -> Result<(), LabError> {
        self.cgroup.kill()?;
        self.reap();
        self.main = MainProcess::Off;
        self.namespaces = None;
        self.cgroup.remove()
    }

    /// How it is.
    pub fn status(&self, plugged: bool) -> NodeStatus {
        let (is_vm, state) = (
            self.is_machine(),
            match &self.main {
                MainProcess::Running { identity, .. } => NodeState::Running { process: *identity },
                MainProcess::Ended(how) => NodeState::Ended { how: how.clone() },
                MainProcess::Off => NodeState::Off,
            },
        );
        let enterable = self.namespaces.is_some() && state != NodeState::Off;
        let entrance = enterable.then(|| self.entrance_to("session", false));
        let directory = self.directory.clone();
        NodeStatus {
            name: self.config.name.clone(),
            is_vm,
            state,
            plugged,
            directory,
            entrance,
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
