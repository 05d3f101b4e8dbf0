//! What there is on the nodes of a lab: agents and supervisors with what they use, processes, cgroups, files
//! and mounts; and what was not there before.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cgroup::Cgroup;
use crate::cluster::Lab;
use crate::error::LabError;

/// How the command lines of supervisors begin.
const SUPERVISORS: [&[u8]; 2] = [b"limosa\0deputy-supervisor", b"limosa\0guest-supervisor"];

/// What one process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory.
    pub resident_kib: u64,
    /// Open descriptors.
    pub descriptors: usize,
}

impl Usage {
    fn of(pid: u32) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |line: &str| {
            line.strip_prefix("VmRSS:")?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        };
        Ok(Self {
            resident_kib: status.lines().find_map(field).unwrap_or_default(),
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
        })
    }

    /// The larger of each.
    pub fn max(self, other: Self) -> Self {
        Self {
            resident_kib: self.resident_kib.max(other.resident_kib),
            descriptors: self.descriptors.max(other.descriptors),
        }
    }
}

/// What there is on one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeCensus {
    /// The node.
    pub name: String,
    /// Its agent.
    pub agent: Usage,
    /// The supervisors of its processes and guests.
    pub supervisors: Vec<Usage>,
    /// All other processes: programs, guests, commands.
    pub others: usize,
    /// Its cgroups.
    pub cgroups: BTreeSet<PathBuf>,
    /// The files below its state directory.
    pub files: BTreeSet<PathBuf>,
    /// The mounts that its agent sees.
    pub mounts: Vec<String>,
}

impl NodeCensus {
    /// What is there now that was not there `before`, in words; memory, which is never given back
    /// to the last page, does not count.
    fn residue(&self, before: &Self) -> Vec<String> {
        let mut residue = Vec::new();
        let counts = [
            (
                "supervisors",
                before.supervisors.len(),
                self.supervisors.len(),
            ),
            ("other processes", before.others, self.others),
            (
                "descriptors of the agent",
                before.agent.descriptors,
                self.agent.descriptors,
            ),
            ("mounts", before.mounts.len(), self.mounts.len()),
        ];
        for (what, before, now) in counts {
            if now > before {
                residue.push(format!("{}: {now} {what} instead of {before}", self.name));
            }
        }
        let paths = [
            ("cgroup", &before.cgroups, &self.cgroups),
            ("file", &before.files, &self.files),
        ];
        for (what, before, now) in paths {
            let new = now.difference(before);
            residue.extend(new.map(|path| format!("{}: {what} {}", self.name, path.display())));
        }
        residue
    }
}

/// What there is on all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Node by node.
    pub nodes: Vec<NodeCensus>,
}

impl Census {
    /// Counts what there is now.
    pub fn take(lab: &Lab) -> Result<Self, LabError> {
        let nodes = lab.nodes()?;
        let nodes = nodes.iter().map(|node| {
            let agent = node.process()?.pid;
            let cgroup = Cgroup::of_lab(lab.name())?.child(node.name());
            let directory = node.status()?.directory;
            count(node.name(), agent, &cgroup, &directory)
                .map_err(LabError::doing(format!("count what is on {}", node.name())))
        });
        Ok(Self {
            nodes: nodes.collect::<Result<_, _>>()?,
        })
    }

    /// What is there now that was not there `before`, in words.
    pub fn residue(&self, before: &Self) -> Vec<String> {
        let pairs = self.nodes.iter().zip(&before.nodes);
        pairs
            .flat_map(|(now, before)| now.residue(before))
            .collect()
    }

    /// The most that any agent uses.
    pub fn agents_max(&self) -> Usage {
        let agents = self.nodes.iter().map(|node| node.agent);
        agents.fold(Usage::default(), Usage::max)
    }

    /// The most that any supervisor uses.
    pub fn supervisors_max(&self) -> Usage {
        let supervisors = self
            .nodes
            .iter()
            .flat_map(|node| node.supervisors.iter().copied());
        supervisors.fold(Usage::default(), Usage::max)
    }

    /// All supervisors.
    pub fn supervisors(&self) -> usize {
        self.nodes.iter().map(|node| node.supervisors.len()).sum()
    }

    /// All processes that are neither agents nor supervisors.
    pub fn others(&self) -> usize {
        self.nodes.iter().map(|node| node.others).sum()
    }
}

fn count(name: &str, agent: u32, cgroup: &Cgroup, directory: &Path) -> io::Result<NodeCensus> {
    let mut census = NodeCensus {
        name: name.into(),
        agent: Usage::of(agent)?,
        ..NodeCensus::default()
    };
    for pid in cgroup.processes().into_iter().filter(|pid| *pid != agent) {
        // One that ends while it is looked at is not there.
        let Ok(words) = fs::read(format!("/proc/{pid}/cmdline")) else {
            continue;
        };
        let supervisor = SUPERVISORS.iter().any(|start| words.starts_with(start));
        if supervisor {
            census.supervisors.extend(Usage::of(pid).ok());
        } else {
            census.others += 1;
        }
    }
    // What a node keeps for guests to come is not left by those that were here, and has a bound.
    let pieces = directory.join("run/pieces");
    let is_left = |path: &Path| !path.starts_with(&pieces);
    census.cgroups = below(cgroup.path(), |path| path.is_dir())?;
    census.files = below(directory, is_left)?;
    let mounts = fs::read_to_string(format!("/proc/{agent}/mounts"))?;
    census.mounts = mounts.lines().map(str::to_owned).collect();
    Ok(census)
}

/// The paths below a directory of all entries that are wanted.
fn below(directory: &Path, wanted: impl Fn(&Path) -> bool) -> io::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(folder) = waiting.pop() {
        // A cgroup can vanish while it is looked at.
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() && !path.is_symlink() {
                waiting.push(path.clone());
            }
            if wanted(&path) {
                found.insert(path);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census(descriptors: usize, others: usize, cgroup: &str) -> Census {
        let node = NodeCensus {
            name: "n1".into(),
            agent: Usage {
                resident_kib: 3000,
                descriptors,
            },
            others,
            cgroups: [PathBuf::from(cgroup)].into(),
            ..NodeCensus::default()
        };
        Census { nodes: vec![node] }
    }

    #[test]
    fn what_is_new_is_residue_and_what_is_gone_is_not() {
        let before = census(24, 1, "/a");
        assert_eq!(before.residue(&before), [""; 0]);
        assert_eq!(census(23, 0, "/a").residue(&before), [""; 0]);
        assert_eq!(
            census(25, 2, "/b").residue(&before),
            [
                "n1: 2 other processes instead of 1",
                "n1: 25 descriptors of the agent instead of 24",
                "n1: cgroup /b"
            ]
        );
    }

    #[test]
    fn the_own_process_uses_memory_and_descriptors() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.resident_kib > 100 && usage.descriptors >= 3);
    }
}
