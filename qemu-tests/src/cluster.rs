//! A lab as its users hold it: [`Lab`] for tests and for the `lab` command.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::control::{self, LabStatus, Request};
use crate::daemon::{LabConfig, READY};
use crate::error::LabError;
use crate::node_handle::NodeHandle;
use crate::options::{LabOptions, node_name};
use crate::process::ProcessIdentity;
use crate::programs::Programs;
use crate::state::StateDirectory;

/// How long a daemon may take to remove its lab.
const DOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// Lines of each log that a failed test shows.
const LOG_LINES_SHOWN: usize = 30;

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
        options.check()?;
        let programs = Programs::find(options.limosa.as_deref())?;
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
            let key = if options.strangers.contains(&name) {
                let path = self.state.path().join(format!("{name}.key"));
                self.make_key(&programs.limosa, &path)?
            } else {
                key.clone()
            };
            nodes.push(options.node(number, key));
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
            delay_ms: delay.as_secs_f64() * 1000.0,
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

/// A name that no other lab of this machine has.
fn unused_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    format!(
        "t{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}
