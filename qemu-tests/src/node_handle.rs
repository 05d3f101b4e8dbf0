//! One node of a lab as its users hold it.

use std::fs;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::cluster::Lab;
use crate::control::{NodeState, NodeStatus, Request};
use crate::error::LabError;
use crate::lab_port::LabPort;
use crate::monitor::Monitor;
use crate::process::ProcessIdentity;
use crate::programs::lab_binary;
use crate::wait::wait_until;

/// How long a stopped agent or virtual machine may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// One node of a lab.
#[derive(Clone, Debug)]
pub struct NodeHandle<'lab> {
    pub(crate) lab: &'lab Lab,
    pub(crate) name: String,
}

/// A serial line on which something was typed; let go of when it is dropped.
#[derive(Debug)]
pub struct SerialLine(UnixStream);

impl Drop for SerialLine {
    fn drop(&mut self) {
        // QEMU serves one at a time. One that is gone has hung up already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
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

    /// Waits until its `limosa nodes` lists this many as alive.
    pub fn wait_for_members(&self, wanted: usize, timeout: Duration) -> Result<(), LabError> {
        let what = format!("{} sees {wanted} nodes alive", self.name);
        wait_until(timeout, what, || {
            let members = self.limosa(&["nodes"]).map_err(|error| error.to_string())?;
            let members = members.as_array().map(Vec::as_slice).unwrap_or_default();
            let alive = members.iter().filter(|member| member["state"] == "alive");
            match alive.count() {
                alive if alive == wanted => Ok(()),
                alive => Err(format!("{alive} alive")),
            }
        })
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

    /// Connects to the lab port of a virtual machine.
    pub fn lab_port(&self) -> Result<LabPort, LabError> {
        let status = self.status()?;
        match status.state {
            NodeState::Running { .. } => LabPort::connect(&status.directory.join("lab-port")),
            other => Err(LabError::Refused(format!(
                "{} does not run: {other:?}",
                self.name
            ))),
        }
    }

    /// Connects to the monitor of a virtual machine: screen, buttons, cable.
    pub fn monitor(&self) -> Result<Monitor, LabError> {
        Monitor::connect(&self.status()?.directory.join("monitor"))
    }

    /// Types on the serial line of a virtual machine, as somebody at its boot menu would. The machine takes
    /// a few characters at a time: hold the line until it has acted on them, else the rest is lost.
    pub fn type_on_serial(&self, text: &str) -> Result<SerialLine, LabError> {
        let typing = LabError::doing(format!("type on the serial line of {}", self.name));
        let path = self.status()?.directory.join("serial");
        let typed = || -> io::Result<SerialLine> {
            let mut line = UnixStream::connect(&path)?;
            let mut said = line.try_clone()?;
            // QEMU sends character by character, and stops the machine's line after some 270 that nobody takes.
            std::thread::spawn(move || io::copy(&mut said, &mut io::sink()));
            line.write_all(text.as_bytes())?;
            Ok(SerialLine(line))
        };
        typed().map_err(typing)
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
