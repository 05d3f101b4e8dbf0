//! What lab to make: the order from which [`crate::cluster`] makes the daemon's configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::error::LabError;
use crate::node::{NodeConfig, NodeKind};
use crate::qemu::{Boot, CARD_DEFAULT, CPU_DEFAULT, Machine};

/// Memory of a virtual machine that boots a kernel, or an image: firmware wants more.
const KERNEL_MEMORY_MIB: u32 = 256;
const IMAGE_MEMORY_MIB: u32 = 512;

/// Most nodes of one lab: more than any machine bears.
const NODES_MAX: usize = 250;

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
    /// CPUs of virtual machines that have another than [`qemu::CPU_DEFAULT`](crate::qemu::CPU_DEFAULT).
    pub cpus: BTreeMap<String, String>,
    /// Network cards of virtual machines that have another than
    /// [`qemu::CARD_DEFAULT`](crate::qemu::CARD_DEFAULT).
    pub cards: BTreeMap<String, String>,
    /// Words for the initramfs of virtual machines, as on the kernel command line.
    pub parameters: BTreeMap<String, String>,
    /// Disks of virtual machines.
    pub disks: BTreeMap<String, PathBuf>,
    /// What the hardware clocks of virtual machines show at power-on, by node: a date, as `2001-01-01`.
    pub clocks: BTreeMap<String, String>,
    /// Nodes whose cable is not plugged in at first.
    pub unplugged: BTreeSet<String>,
    /// Nodes with a cluster key of their own.
    pub strangers: BTreeSet<String>,
    /// The file of the cluster key; by default a new key is made.
    pub key: Option<PathBuf>,
    /// Virtual machines use the cluster key that was baked into their image.
    pub baked_key: bool,
    /// There is no cluster key: all nodes are open.
    pub open: bool,
    /// Processes may move by themselves in namespaces; otherwise only by hand, so that tests direct them.
    pub balance: bool,
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

    /// Fails when no such lab can be.
    pub(crate) fn check(&self) -> Result<(), LabError> {
        if self.nodes == 0 || self.nodes > NODES_MAX {
            return Err(LabError::Usage(format!("a lab has 1 to {NODES_MAX} nodes")));
        }
        if self.fast && !self.machines.is_empty() {
            return Err(LabError::Usage(
                "a fast lab has no switch for virtual machines: make one without --fast".into(),
            ));
        }
        let names: BTreeSet<_> = (1..=self.nodes).map(node_name).collect();
        let named = self
            .machines
            .keys()
            .chain(self.cpus.keys())
            .chain(self.cards.keys())
            .chain(self.parameters.keys())
            .chain(self.disks.keys())
            .chain(self.clocks.keys())
            .chain(&self.unplugged)
            .chain(&self.strangers);
        match named.into_iter().find(|name| !names.contains(*name)) {
            Some(name) => Err(LabError::NoSuchNode {
                node: name.clone(),
                known: names.into_iter().collect(),
            }),
            None => Ok(()),
        }
    }

    /// The nodes that are namespaces share this machine's kernel.
    fn agent_arguments(&self) -> Vec<String> {
        let stay = (!self.balance).then_some("--stay");
        let open = self.open.then_some("--open");
        let ours = ["--shared-kernel"].into_iter().chain(stay).chain(open);
        let given = self.agent_arguments.iter().cloned();
        ours.map(String::from).chain(given).collect()
    }

    /// The node with this number, from 1. `key` is the cluster key's file, or that of a stranger.
    pub(crate) fn node(&self, number: usize, key: PathBuf) -> NodeConfig {
        let name = node_name(number);
        let kind = match self.machines.get(&name) {
            None => NodeKind::Namespaces,
            Some(boot) => NodeKind::Vm(Machine {
                memory_mib: self.memory_mib.unwrap_or(match boot {
                    Boot::Kernel { .. } => KERNEL_MEMORY_MIB,
                    Boot::Image { .. } | Boot::Network { .. } => IMAGE_MEMORY_MIB,
                }),
                boot: boot.clone(),
                cpu: self
                    .cpus
                    .get(&name)
                    .map_or(CPU_DEFAULT, String::as_str)
                    .into(),
                card: self
                    .cards
                    .get(&name)
                    .map_or(CARD_DEFAULT, String::as_str)
                    .into(),
                parameters: {
                    let open = self.open.then_some("limosa.open");
                    let given = self.parameters.get(&name).map(String::as_str);
                    let words: Vec<&str> = open.into_iter().chain(given).collect();
                    words.join(" ")
                },
                disk: self.disks.get(&name).cloned(),
                clock: self.clocks.get(&name).cloned(),
            }),
        };
        let uses_baked_key = self.baked_key && matches!(kind, NodeKind::Vm(_));
        NodeConfig {
            kind,
            key: (!uses_baked_key && !self.open).then_some(key),
            plugged: !self.unplugged.contains(&name),
            ipv4: self.ipv4.then(|| format!("10.77.0.{number}/24")),
            agent_arguments: self.agent_arguments(),
            name,
        }
    }
}

/// The name of the node with this number, from 1.
pub(crate) fn node_name(number: usize) -> String {
    format!("n{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labs_that_cannot_be_are_refused() {
        let none = LabOptions::namespaces(0);
        let too_many = LabOptions::namespaces(NODES_MAX + 1);
        let misspelt = LabOptions {
            unplugged: ["n4".into()].into(),
            ..LabOptions::namespaces(3)
        };
        let boot = Boot::Kernel {
            kernel: "/k".into(),
            initramfs: "/i".into(),
        };
        let fast_machines = LabOptions {
            fast: true,
            ..LabOptions::machines(2, &boot)
        };
        for options in [none, too_many, misspelt, fast_machines] {
            assert!(options.check().is_err(), "{options:?}");
        }
        assert!(LabOptions::namespaces(NODES_MAX).check().is_ok());
    }

    #[test]
    fn only_machines_use_the_key_that_was_baked_in() {
        let boot = Boot::Kernel {
            kernel: "/k".into(),
            initramfs: "/i".into(),
        };
        let options = LabOptions {
            machines: [("n2".into(), boot)].into(),
            baked_key: true,
            ..LabOptions::namespaces(2)
        };
        assert!(options.node(1, "/key".into()).key.is_some());
        assert!(options.node(2, "/key".into()).key.is_none());
    }

    #[test]
    fn an_open_lab_has_no_key_at_all() {
        let boot = Boot::Kernel {
            kernel: "/k".into(),
            initramfs: "/i".into(),
        };
        let options = LabOptions {
            machines: [("n2".into(), boot)].into(),
            parameters: [("n2".into(), "limosa.block".into())].into(),
            open: true,
            ..LabOptions::namespaces(2)
        };
        let (first, second) = (options.node(1, "/k".into()), options.node(2, "/k".into()));
        assert!(first.key.is_none() && first.agent_arguments.contains(&"--open".into()));
        assert!(second.key.is_none());
        let NodeKind::Vm(machine) = second.kind else {
            unreachable!()
        };
        assert_eq!(machine.parameters, "limosa.open limosa.block");
    }
}
