//! The way into a node: how a process of this machine becomes one of the node's.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::{Deserialize, Serialize};

use crate::error::LabError;

/// Files of `/proc` that stand for a node's namespaces.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NamespaceFiles {
    /// Its network.
    pub network: PathBuf,
    /// Its mounts: those of this machine with its own `/sys` and cgroup hierarchy.
    pub mount: PathBuf,
    /// Its view of the cgroups.
    pub cgroup: PathBuf,
}

/// What a process must do to become one of a node's. Made by the daemon, handed to whoever enters.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entrance {
    /// `cgroup.procs` of the cgroup to be in.
    pub cgroup_procs: PathBuf,
    /// The namespaces to be in; none for a virtual machine's process.
    pub namespaces: Option<NamespaceFiles>,
    /// Environment variables to set.
    pub environment: Vec<(String, String)>,
    /// Die with the parent, as agents and virtual machines do with the daemon.
    pub die_with_parent: bool,
}

impl Entrance {
    /// Makes the calling process one of the node's: 1. open the namespaces, 2. die with the parent,
    /// 3. join the cgroup, 4. enter the namespaces, 5. return to the working directory.
    ///
    /// The calling process must have one thread: the kernel demands it for mount namespaces.
    pub fn enter(&self) -> Result<(), LabError> {
        let namespaces = self.namespaces.as_ref().map(open_namespaces).transpose()?;
        if self.die_with_parent {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
                .map_err(LabError::doing("ask for a signal at the parent's death"))?;
        }
        std::fs::write(&self.cgroup_procs, "0").map_err(LabError::doing(format!(
            "enter cgroup {}",
            self.cgroup_procs.display()
        )))?;
        let Some(namespaces) = namespaces else {
            return Ok(());
        };
        let directory = std::env::current_dir().ok();
        for (file, kind) in &namespaces {
            move_into_link_name_space(file.as_fd(), Some(*kind))
                .map_err(LabError::doing("enter the node's namespaces"))?;
        }
        // Entering a mount namespace leads to its root directory (setns(2)).
        if let Some(directory) = directory {
            std::env::set_current_dir(&directory).map_err(LabError::doing(format!(
                "return to {}",
                directory.display()
            )))?;
        }
        Ok(())
    }

    /// Enters and becomes `command`, with the caller's terminal, input and output. Returns only
    /// when that fails.
    pub fn become_command(&self, command: &[String]) -> LabError {
        let Some((program, arguments)) = command.split_first() else {
            return LabError::Usage("no command was given".into());
        };
        if let Err(error) = self.enter() {
            return error;
        }
        let mut command = Command::new(program);
        command.args(arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        // The program is looked up in the PATH of its own environment, as env(1) does.
        LabError::System {
            doing: format!("run {program}"),
            source: command.exec(),
        }
    }
}

fn open_namespaces(files: &NamespaceFiles) -> Result<[(File, LinkNameSpaceType); 3], LabError> {
    let open = |path: &PathBuf| {
        File::open(path).map_err(LabError::doing(format!("open {}", path.display())))
    };
    Ok([
        (open(&files.cgroup)?, LinkNameSpaceType::ControlGroup),
        (open(&files.network)?, LinkNameSpaceType::Network),
        (open(&files.mount)?, LinkNameSpaceType::Mount),
    ])
}
