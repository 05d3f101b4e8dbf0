//! A lab as its users hold it: [`Lab`] for tests and for the `lab` command.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::control::{self, LabStatus, NodeState, NodeStatus, Request};
use crate::daemon::{LabConfig, READY};
use crate::error::LabError;
use crate::lab_port::LabPort;
use crate::node::{NodeConfig, NodeKind, Programs};
use crate::process::ProcessIdentity;
use crate::qemu::{Boot, Machine};
use crate::state::StateDirectory;
use crate::wait::wait_until;

/// How long a daemon may take to remove its lab.
const DOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a stopped agent or virtual machine may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// How long QEMU may take from its start to its sockets, on a busy machine.
const LAB_PORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Memory of a virtual machine that boots a kernel, or an image: firmware wants more.
const KERNEL_MEMORY_MIB: u32 = 256;
const IMAGE_MEMORY_MIB: u32 = 512;

/// Most nodes of one lab: more than any machine bears.
const NODES_MAX: usize = 250;

/// Lines of each log that a failed test shows.
const LOG_LINES_SHOWN: usize = 30;

/// What lab to make.
#[derive(Clone, Debug, Default)]
pub struct LabOptions {
    /// Its name; by default one that no other lab has.
    pub name: Option<String>,
    /// How many nodes, called n1, n2 and so on.
    pub nodes: usize,
    /// A kernel bridge instead of the switch.
    pub fast: bool,
    /// IPv4 addresses beside the IPv6 link-local ones.
    pub ipv4: bool,
    /// Where the chances of the faults begin.
    pub seed: u64,
    /// Nodes that are virtual machines, and what they boot; the others are namespaces.
    pub machines: BTreeMap<String, Boot>,
    /// Nodes whose cable is not plugged in at first.
    pub unplugged: BTreeSet<String>,
    /// Nodes with a cluster key of their own.
    pub strangers: BTreeSet<String>,
    /// The file of the cluster key; by default a new key is made.
    pub key: Option<PathBuf>,
    /// Virtual machines use the cluster key that was baked into their image.
    pub baked_key: bool,
    /// Further arguments of every agent.
    pub agent_arguments: Vec<String>,
    /// Memory of each virtual machine.
    pub memory_mib: Option<u32>,
    /// The limosa binary; by default that beside the lab's, or `$LIMOSA_BINARY`.
    pub limosa: Option<PathBuf>,
}

impl LabOptions {
    /// A lab of namespaces.
    pub fn namespaces(nodes: usize) -> Self {
        Self {
            nodes,
            ..Self::default()
        }
    }

    /// A lab of virtual machines that all boot the same.
    pub fn machines(nodes: usize, boot: &Boot) -> Self {
        let machines = (1..=nodes)
            .map(|number| (node_name(number), boot.clone()))
            .collect();
        Self {
            nodes,
            machines,
            ..Self::default()
        }
    }
}

fn node_name(number: usize) -> String {
    format!("n{number}")
}

/// A lab that is up. One made by [`Lab::start`] ends with this value, or with this process.
#[derive(Debug)]
pub struct Lab {
    state: StateDirectory,
    ends_with_value: bool,
}

impl Lab {
    /// Brings up namespaces joined by the switch.
    pub fn namespaces(nodes: usize) -> Result<Self, LabError> {
        Self::start(&LabOptions::namespaces(nodes))
    }

    /// Brings up a lab: 1. its state directory, 2. its keys, 3. its daemon, which does the rest.
    pub fn start(options: &LabOptions) -> Result<Self, LabError> {
        if !rustix::process::geteuid().is_root() {
            return Err(LabError::NotRoot);
        }
        if options.nodes == 0 || options.nodes > NODES_MAX {
            return Err(LabError::Usage(format!("a lab has 1 to {NODES_MAX} nodes")));
        }
        let programs = find_programs(options.limosa.as_deref())?;
        let state = StateDirectory::of(&options.name.clone().unwrap_or_else(unused_name))?;
        if state.path().exists() && !state.is_up() {
            // What a killed daemon left must not be in the way of the next lab.
            state.remove_lab()?;
        }
        state.make()?;
        // From here on an early return removes what was made.
        let lab = Self {
            state,
            ends_with_value: true,
        };
        let config = lab.configure(options, programs)?;
        lab.start_daemon(&config)?;
        Ok(lab)
    }

    /// The lab of this name, made by somebody else; it goes on when this value ends.
    pub fn attach(name: &str) -> Result<Self, LabError> {
        let state = StateDirectory::of(name)?;
        if !state.path().exists() {
            return Err(LabError::NoSuchLab(name.into()));
        }
        Ok(Self {
            state,
            ends_with_value: false,
        })
    }

    fn configure(&self, options: &LabOptions, programs: Programs) -> Result<LabConfig, LabError> {
        let key = match &options.key {
            Some(path) => fs::canonicalize(path).map_err(LabError::doing(format!(
                "find the key file {}",
                path.display()
            )))?,
            None => self.make_key(&programs.limosa, &self.state.cluster_key())?,
        };
        let mut nodes = Vec::new();
        for number in 1..=options.nodes {
            let name = node_name(number);
            let kind = match options.machines.get(&name) {
                None => NodeKind::Namespaces,
                Some(boot) => NodeKind::Vm(Machine {
                    memory_mib: options.memory_mib.unwrap_or(match boot {
                        Boot::Kernel { .. } => KERNEL_MEMORY_MIB,
                        Boot::Image { .. } => IMAGE_MEMORY_MIB,
                    }),
                    boot: boot.clone(),
                }),
            };
            let key = if options.strangers.contains(&name) {
                self.make_key(
                    &programs.limosa,
                    &self.state.path().join(format!("{name}.key")),
                )?
            } else {
                key.clone()
            };
            let uses_baked_key = options.baked_key && matches!(kind, NodeKind::Vm(_));
            nodes.push(NodeConfig {
                kind,
                key: (!uses_baked_key).then_some(key),
                plugged: !options.unplugged.contains(&name),
                ipv4: options.ipv4.then(|| format!("10.77.0.{number}/24")),
                agent_arguments: options.agent_arguments.clone(),
                name,
            });
        }
        let owner = ProcessIdentity::own().map_err(LabError::doing("read the own start time"))?;
        let (name, fast, seed) = (self.state.name().to_owned(), options.fast, options.seed);
        Ok(LabConfig {
            name,
            owner: Some(owner),
            fast,
            seed,
            programs,
            nodes,
        })
    }

    fn make_key(&self, limosa: &Path, path: &Path) -> Result<PathBuf, LabError> {
        let output = Command::new(limosa)
            .args(["key", "new"])
            .output()
            .map_err(LabError::doing(format!("run {}", limosa.display())))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(LabError::NotUp(format!(
                "\"limosa key new\" failed: {said}"
            )));
        }
        fs::File::options()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| file.write_all(&output.stdout))
            .map_err(LabError::doing(format!("write {}", path.display())))?;
        Ok(path.into())
    }

    fn start_daemon(&self, config: &LabConfig) -> Result<(), LabError> {
        let log = self.state.daemon_log();
        let log_file =
            fs::File::create(&log).map_err(LabError::doing(format!("make {}", log.display())))?;
        let mut daemon = Command::new(&config.programs.lab)
            .arg("daemon")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log_file)
            // ^C is for the command that makes the lab, whose end the daemon notices by itself.
            .process_group(0)
            .spawn()
            .map_err(LabError::doing(format!(
                "run {}",
                config.programs.lab.display()
            )))?;
        let order = serde_json::to_vec(config)
            .map_err(|error| LabError::Protocol(format!("the lab's order: {error}")))?;
        let mut line = String::new();
        if let (Some(mut input), Some(output)) = (daemon.stdin.take(), daemon.stdout.take()) {
            input
                .write_all(&order)
                .map_err(LabError::doing("give the daemon its order"))?;
            drop(input);
            BufReader::new(output)
                .read_line(&mut line)
                .map_err(LabError::doing("hear from the daemon"))?;
        }
        // It is reaped when it ends: a test that makes many labs must not collect zombies.
        let mut reap = move || {
            let _ = daemon.wait();
        };
        if line.trim_end() == READY {
            std::thread::spawn(reap);
            return Ok(());
        }
        reap();
        // The daemon removed the state directory and its log with it, but said the reason first.
        Err(LabError::NotUp(line.trim_end().to_owned()))
    }

    /// Lets the lab go on when this value and this process end; `owner` takes their place.
    pub fn release(mut self, owner: Option<ProcessIdentity>) -> Result<(), LabError> {
        self.ask(&Request::Own { owner })?;
        self.ends_with_value = false;
        Ok(())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.state.name()
    }

    /// Where it keeps its state.
    pub fn directory(&self) -> &Path {
        self.state.path()
    }

    /// Asks the daemon for something that has no answer of its own.
    pub fn ask(&self, request: &Request) -> Result<(), LabError> {
        control::ask(&self.state, request).map(drop)
    }

    /// How it is.
    pub fn status(&self) -> Result<LabStatus, LabError> {
        control::status(&self.state)
    }

    /// A node, whether or not it exists; requests to one that does not are refused.
    pub fn node(&self, name: &str) -> NodeHandle<'_> {
        NodeHandle {
            lab: self,
            name: name.into(),
        }
    }

    /// All its nodes.
    pub fn nodes(&self) -> Result<Vec<NodeHandle<'_>>, LabError> {
        let status = self.status()?;
        Ok(status
            .nodes
            .into_iter()
            .map(|node| NodeHandle {
                lab: self,
                name: node.name,
            })
            .collect())
    }

    /// Lets nothing pass between two nodes.
    pub fn cut(&self, a: &str, b: &str) -> Result<(), LabError> {
        self.ask(&Request::Cut {
            a: a.into(),
            b: b.into(),
        })
    }

    /// Ends all faults.
    pub fn heal(&self) -> Result<(), LabError> {
        self.ask(&Request::Heal)
    }

    /// Loses this share of all frames, in percent.
    pub fn lose(&self, percent: f64) -> Result<(), LabError> {
        self.ask(&Request::Loss { percent })
    }

    /// Delays all frames.
    pub fn delay(&self, delay: Duration) -> Result<(), LabError> {
        self.ask(&Request::Delay {
            delay_ms: delay.as_millis() as u64,
        })
    }

    /// Ends the lab and returns when nothing of it is left. A lab whose daemon is dead is removed here.
    pub fn down(mut self) -> Result<(), LabError> {
        self.ends_with_value = false;
        self.remove()
    }

    fn remove(&self) -> Result<(), LabError> {
        let record = self.state.record()?;
        if let Some(record) = record.filter(|record| record.daemon.is_alive()) {
            self.ask(&Request::Down)?;
            if !record.daemon.wait_for_end(DOWN_TIMEOUT) {
                return Err(LabError::TimedOut {
                    what: format!("the daemon of lab \"{}\" ends", self.name()),
                    after: DOWN_TIMEOUT,
                    seen: format!("process {} still lives", record.daemon.pid),
                });
            }
        }
        // Mostly the daemon has done all; what it could not remove is tried once more, and told.
        self.state.remove_lab()
    }

    fn show_logs(&self) {
        let Ok(status) = self.status() else { return };
        for node in status.nodes {
            for log in ["agent.log", "serial.log"] {
                let path = node.directory.join(log);
                let Ok(text) = fs::read(&path) else { continue };
                let text = String::from_utf8_lossy(&text);
                let lines: Vec<_> = text.lines().collect();
                let from = lines.len().saturating_sub(LOG_LINES_SHOWN);
                eprintln!(
                    "--- {}, end of {log}:\n{}",
                    node.name,
                    lines[from..].join("\n")
                );
            }
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.ends_with_value {
            return;
        }
        if std::thread::panicking() {
            self.show_logs();
        }
        match self.remove() {
            Ok(()) | Err(LabError::NoSuchLab(_)) => {}
            Err(error) => eprintln!("lab \"{}\" was not removed: {error}", self.name()),
        }
    }
}

/// One node of a lab.
#[derive(Clone, Debug)]
pub struct NodeHandle<'lab> {
    lab: &'lab Lab,
    name: String,
}

impl NodeHandle<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is.
    pub fn status(&self) -> Result<NodeStatus, LabError> {
        let nodes = self.lab.status()?.nodes;
        let known = nodes.iter().map(|node| node.name.clone()).collect();
        nodes
            .into_iter()
            .find(|node| node.name == self.name)
            .ok_or_else(|| LabError::NoSuchNode {
                node: self.name.clone(),
                known,
            })
    }

    /// A command that runs on the node when it is spawned. On namespaces its pid is the program's own.
    pub fn command<I: AsRef<str>>(
        &self,
        arguments: impl IntoIterator<Item = I>,
    ) -> Result<Command, LabError> {
        let mut command = Command::new(lab_binary()?);
        command.args(["exec", "--name", self.lab.name(), &self.name, "--"]);
        command.args(
            arguments
                .into_iter()
                .map(|argument| argument.as_ref().to_owned()),
        );
        Ok(command)
    }

    /// Runs a command on the node with no input, and waits for its end.
    pub fn exec<I: AsRef<str>>(
        &self,
        arguments: impl IntoIterator<Item = I>,
    ) -> Result<Output, LabError> {
        self.command(arguments)?
            .stdin(Stdio::null())
            .output()
            .map_err(LabError::doing(format!("run a command on {}", self.name)))
    }

    /// Runs `limosa` with these words and `--json`, and reads what it prints.
    pub fn limosa(&self, words: &[&str]) -> Result<Value, LabError> {
        let output = self.exec(["limosa"].iter().chain(words).chain(&["--json"]))?;
        let command = || format!("\"limosa {} --json\" on {}", words.join(" "), self.name);
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(LabError::Refused(format!(
                "{}: {}: {said}",
                command(),
                output.status
            )));
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|error| LabError::Protocol(format!("{}: {error}", command())))
    }

    /// Its agent or virtual machine, as a process of this machine.
    pub fn process(&self) -> Result<ProcessIdentity, LabError> {
        match self.status()?.state {
            NodeState::Running { process } => Ok(process),
            other => Err(LabError::Refused(format!(
                "{} does not run: {other:?}",
                self.name
            ))),
        }
    }

    /// What its agent logged; of a virtual machine, what its serial line said.
    pub fn log(&self) -> Result<String, LabError> {
        let status = self.status()?;
        let log = status.directory.join(if status.is_vm {
            "serial.log"
        } else {
            "agent.log"
        });
        let text = fs::read(&log).map_err(LabError::doing(format!("read {}", log.display())))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Connects to the lab port of a virtual machine, which QEMU opens a moment after its start.
    pub fn lab_port(&self) -> Result<LabPort, LabError> {
        let path = self.status()?.directory.join("lab-port");
        wait_until(
            LAB_PORT_TIMEOUT,
            format!("QEMU opens the lab port of {}", self.name),
            || LabPort::connect(&path),
        )
    }

    /// Unplugs the node from the network and from the mains.
    pub fn kill(&self) -> Result<(), LabError> {
        self.lab.ask(&Request::Kill {
            node: self.name.clone(),
        })
    }

    /// Stops the agent, or powers the virtual machine off, and waits for the end.
    pub fn stop(&self) -> Result<(), LabError> {
        if self.status()?.is_vm {
            self.lab_port()?.stop("poweroff")?;
        } else {
            self.lab.ask(&Request::Stop {
                node: self.name.clone(),
            })?;
        }
        wait_until(STOP_TIMEOUT, format!("{} ends", self.name), || {
            match self.status() {
                Ok(NodeStatus {
                    state: NodeState::Running { .. },
                    ..
                }) => Err("it runs".to_owned()),
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    /// Starts the agent, or the virtual machine, after it ended or was killed.
    pub fn start(&self) -> Result<(), LabError> {
        self.lab.ask(&Request::Start {
            node: self.name.clone(),
        })
    }

    /// Plugs the cable in.
    pub fn plug(&self) -> Result<(), LabError> {
        self.lab.ask(&Request::Plug {
            node: self.name.clone(),
        })
    }

    /// Pulls the cable: the interface vanishes.
    pub fn unplug(&self) -> Result<(), LabError> {
        self.lab.ask(&Request::Unplug {
            node: self.name.clone(),
        })
    }
}

/// A name that no other lab of this machine has.
fn unused_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    format!(
        "t{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

/// The `lab` binary: this program, or the one beside this test.
fn lab_binary() -> Result<PathBuf, LabError> {
    beside("lab")
}

fn find_programs(limosa: Option<&Path>) -> Result<Programs, LabError> {
    let named = limosa.map(PathBuf::from);
    let limosa = match named.or_else(|| std::env::var_os("LIMOSA_BINARY").map(PathBuf::from)) {
        Some(path) => fs::canonicalize(&path).map_err(|error| LabError::Missing {
            what: format!("the limosa binary {} ({error})", path.display()),
            remedy: "name the limosa binary by its path".into(),
        })?,
        None => beside("limosa")?,
    };
    Ok(Programs {
        lab: lab_binary()?,
        limosa,
    })
}

/// A binary in the directory of this one. Tests lie one directory deeper, in `deps`.
fn beside(name: &str) -> Result<PathBuf, LabError> {
    let own = std::env::current_exe().map_err(LabError::doing("find the own binary"))?;
    let directory = own.parent().unwrap_or(Path::new("/"));
    let directory = match directory.file_name() {
        Some(last) if last == "deps" => directory.parent().unwrap_or(directory),
        _ => directory,
    };
    let path = directory.join(name);
    if path.exists() {
        return Ok(path);
    }
    let remedy = "build everything by \"cargo build\" first".into();
    Err(LabError::Missing {
        what: path.display().to_string(),
        remedy,
    })
}
