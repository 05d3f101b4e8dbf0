//! Where a lab keeps its state, and how the rest of a dead lab is found and removed.
//!
//! ```text
//!   /run/limosa-lab/<lab>/lab.json          who the daemon is; written before anything else is made
//!                         control           the daemon's control socket
//!                         daemon.log        what the daemon had to say
//!                         cluster.key       the lab's own cluster key
//!                         nodes/<node>/agent.log, run/           of a namespace node
//!                         nodes/<node>/serial.log, lab-port, switch-port   of a virtual machine
//! ```
//!
//! `$LIMOSA_LAB_DIR` replaces `/run/limosa-lab`.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroup;
use crate::error::LabError;
use crate::process::ProcessIdentity;

/// Longest name of a lab: its sockets must fit the 107 bytes of a unix address (unix(7)).
const NAME_BYTES_MAX: usize = 32;

/// The state directory of one lab.
#[derive(Clone, Debug)]
pub struct StateDirectory {
    name: String,
    path: PathBuf,
}

/// What `lab.json` holds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The lab's daemon.
    pub daemon: ProcessIdentity,
}

impl StateDirectory {
    /// That of the lab `name`; it need not exist.
    ///
    /// # Errors
    /// When the name could not be a directory's and a cgroup's.
    pub fn of(name: &str) -> Result<Self, LabError> {
        let fits = !name.is_empty() && name.len() <= NAME_BYTES_MAX;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !fits || !name.bytes().all(plain) {
            return Err(LabError::Usage(format!(
                "\"{name}\" cannot be a lab's name: use 1 to {NAME_BYTES_MAX} of a-z, 0-9 and -"
            )));
        }
        Ok(Self {
            name: name.into(),
            path: base().join(name),
        })
    }

    /// The names of all labs that left a trace, dead ones included.
    pub fn names() -> Result<Vec<String>, LabError> {
        let base = base();
        let entries = match fs::read_dir(&base) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(LabError::doing(format!("list {}", base.display())))?,
        };
        let mut names: Vec<_> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// The lab's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The daemon's control socket.
    pub fn control(&self) -> PathBuf {
        self.path.join("control")
    }

    /// What the daemon had to say.
    pub fn daemon_log(&self) -> PathBuf {
        self.path.join("daemon.log")
    }

    /// The lab's own cluster key.
    pub fn cluster_key(&self) -> PathBuf {
        self.path.join("cluster.key")
    }

    /// The directory of one node.
    pub fn node(&self, node: &str) -> PathBuf {
        self.path.join("nodes").join(node)
    }

    /// Makes the directory, readable by root only as it holds a key.
    ///
    /// # Errors
    /// [`LabError::AlreadyUp`] when it exists.
    pub fn make(&self) -> Result<(), LabError> {
        let doing = format!("make {}", self.path.display());
        let base = base();
        let made = fs::create_dir_all(&base)
            .and_then(|()| fs::DirBuilder::new().mode(0o700).create(&self.path));
        made.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => LabError::AlreadyUp(self.name.clone()),
            _ => LabError::System {
                doing,
                source: error,
            },
        })
    }

    /// Notes who the daemon is.
    pub fn write_record(&self, record: &Record) -> Result<(), LabError> {
        let path = self.path.join("lab.json");
        serde_json::to_vec(record)
            .map_err(io::Error::other)
            .and_then(|bytes| fs::write(&path, bytes))
            .map_err(LabError::doing(format!("write {}", path.display())))
    }

    /// Who the daemon is or was; `None` when the lab died before it could tell.
    pub fn record(&self) -> Result<Option<Record>, LabError> {
        if !self.path.exists() {
            return Err(LabError::NoSuchLab(self.name.clone()));
        }
        let path = self.path.join("lab.json");
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LabError::System {
                doing: format!("read {}", path.display()),
                source: error,
            }),
            // A record cut short is that of a daemon which died while writing it.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        }
    }

    /// Whether the lab's daemon lives.
    pub fn is_up(&self) -> bool {
        matches!(self.record(), Ok(Some(record)) if record.daemon.is_alive())
    }

    /// Removes all that a lab leaves: 1. its processes, 2. its cgroups, 3. its state directory.
    /// TAP devices and namespaces end with the processes. The daemon must be dead or the caller.
    pub fn remove_lab(&self) -> Result<(), LabError> {
        let cgroup = Cgroup::of_lab(&self.name)?;
        cgroup.kill()?;
        cgroup.remove()?;
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let doing = format!("remove {}", self.path.display());
                Err(LabError::System {
                    doing,
                    source: error,
                })
            }
            _ => {
                // Fails while other labs are there, as it should.
                let _ = fs::remove_dir(base());
                Ok(())
            }
        }
    }
}

fn base() -> PathBuf {
    std::env::var_os("LIMOSA_LAB_DIR").map_or_else(|| "/run/limosa-lab".into(), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_leave_the_directory_is_refused() {
        for name in ["", "..", "a/b", "A", "a b", "a.b", &"x".repeat(33)] {
            assert!(StateDirectory::of(name).is_err(), "{name}");
        }
        assert!(StateDirectory::of("t123-4").is_ok());
    }
}
