//! The two nodes on which it is measured, and the programs that are measured there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lab::error::LabError;
use lab::{Lab, LabOptions, NodeHandle, wait_until};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

/// How long namespaces may take to meet.
const MEET_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a guest may take to be seen on its node.
const SEEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Seconds that one move may take: gigabytes must be copied on a busy machine.
const MOVE_SECONDS: &str = "120";

/// How the nodes are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// By the kernel, at full speed.
    Fast,
    /// By the lab's switch, each frame delayed by this.
    Delayed(Duration),
}

/// Home and one other node.
pub(crate) struct Laboratory {
    lab: Lab,
    directory: PathBuf,
}

/// What `limosa migrate` tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    /// From the moment the program stopped to the moment it ran again.
    pub(crate) freeze_seconds: f64,
}

impl Laboratory {
    /// Brings them up. `directory` is for programs and their files.
    pub(crate) fn start(link: Link, directory: &Path) -> Result<Self, LabError> {
        let making = LabError::doing(format!("make {}", directory.display()));
        let directory = std::path::absolute(directory)
            .and_then(|path| fs::create_dir_all(&path).map(|()| path))
            .map_err(making)?;
        let lab = Lab::start(&LabOptions {
            fast: link == Link::Fast,
            ipv4: true,
            ..LabOptions::namespaces(2)
        })?;
        for node in lab.nodes()? {
            node.wait_for_members(2, MEET_TIMEOUT)?;
        }
        if let Link::Delayed(delay) = link {
            lab.delay(delay)?;
        }
        Ok(Self { lab, directory })
    }

    /// Where programs start.
    pub(crate) fn home(&self) -> NodeHandle<'_> {
        self.lab.node("n1")
    }

    /// Where they go.
    pub(crate) fn remote(&self) -> NodeHandle<'_> {
        self.lab.node("n2")
    }

    /// The lab.
    pub(crate) fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The remote's address.
    pub(crate) fn remote_address(&self) -> &'static str {
        "10.77.0.2"
    }

    /// Where files of this name are.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Compiles a program of `programs/bench`.
    pub(crate) fn program(&self, name: &str) -> Result<String, LabError> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/bench");
        let (source, binary) = (folder.join(format!("{name}.c")), self.file(name));
        let mut gcc = Command::new("gcc");
        gcc.args(["-O2", "-Wall", "-Wextra", "-pthread", "-o"]);
        gcc.args([&binary, &source]);
        let output = gcc.output().map_err(|error| LabError::Missing {
            what: format!("gcc ({error})"),
            remedy: "apt install gcc libc6-dev".into(),
        })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(LabError::Refused(format!(
                "{name} does not compile: {said}"
            )));
        }
        Ok(binary.display().to_string())
    }

    /// Moves a process to `n2` or `home`.
    pub(crate) fn migrate(&self, pid: u32, destination: &str) -> Result<Move, LabError> {
        let process = pid.to_string();
        let words = ["migrate", &process, destination, "--json"];
        let words = ["timeout", MOVE_SECONDS, "limosa"].iter().chain(&words);
        let output = self.home().exec(words)?;
        let failed = |what: &str| {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            LabError::Refused(format!("the move of {pid} to {destination} {what}: {said}"))
        };
        if !output.status.success() {
            return Err(failed(&format!("ended with {}", output.status)));
        }
        let row: Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| failed(&format!("tells no JSON: {error}")))?;
        let freeze_ms = row["freeze_ms"].as_f64();
        let freeze_ms = freeze_ms.ok_or_else(|| failed("tells no freeze time"))?;
        Ok(Move {
            freeze_seconds: freeze_ms / 1000.0,
        })
    }

    /// The guest whose pid at home is `pid`, as a process of this machine.
    pub(crate) fn guest(&self, pid: u32) -> Result<u32, LabError> {
        let cgroup = lab::cgroup::Cgroup::of_lab(self.lab.name())?.child("n2");
        let is_guest = |candidate: &u32| {
            let status = fs::read_to_string(format!("/proc/{candidate}/status"));
            status.is_ok_and(|status| innermost_pid(&status) == Some(pid))
        };
        wait_until(SEEN_TIMEOUT, format!("n2 has process {pid}"), || {
            let found = cgroup.processes().into_iter().find(is_guest);
            found.ok_or("it has not")
        })
    }

    /// Bytes that home has sent and received so far, all connections and the frames' headers included.
    pub(crate) fn bytes_of_home(&self) -> Result<u64, LabError> {
        let agent = self.home().process()?.pid;
        let path = format!("/proc/{agent}/net/dev");
        let text = fs::read_to_string(&path).map_err(LabError::doing(format!("read {path}")))?;
        bytes_of_interfaces(&text)
            .ok_or_else(|| LabError::Protocol(format!("{path} has another form")))
    }

    /// Ends it.
    pub(crate) fn down(self) -> Result<(), LabError> {
        self.lab.down()
    }
}

/// CLOCK_MONOTONIC, as the programs tell it.
pub(crate) fn now_ns() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// The pid that a process has in the innermost of several pid namespaces: the last of `NSpid` of
/// proc_pid_status(5).
fn innermost_pid(status: &str) -> Option<u32> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    let pids: Vec<&str> = line.split_whitespace().collect();
    pids.get(1..)?.last()?.parse().ok()
}

/// Received and sent bytes of all interfaces but `lo`: the first and the ninth column of /proc/net/dev.
fn bytes_of_interfaces(text: &str) -> Option<u64> {
    let mut sum = 0;
    for line in text.lines().skip(2) {
        let (name, columns) = line.split_once(':')?;
        let columns: Vec<&str> = columns.split_whitespace().collect();
        if name.trim() != "lo" {
            sum += columns.first()?.parse::<u64>().ok()? + columns.get(8)?.parse::<u64>().ok()?;
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_known_by_its_pid_within() {
        assert_eq!(innermost_pid("Name:\tx\nNSpid:\t71\t5\t42\n"), Some(42));
        assert_eq!(innermost_pid("NSpid:\t42\n"), None);
    }

    #[test]
    fn bytes_of_all_interfaces_but_the_loopback_count_in_both_directions() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes\n\
                    \x20   lo: 9 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n\
                    \x20 eth0: 100 2 0 0 0 0 0 0 20 2 0 0 0 0 0 0\n";
        assert_eq!(bytes_of_interfaces(text), Some(120));
        assert_eq!(bytes_of_interfaces("a\nb\neth0: 1"), None);
    }
}
