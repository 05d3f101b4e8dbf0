//! Kernel settings and limits that a node needs, each with its reason.

use std::fs;

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::journal;

/// (file under /proc/sys, value)
const SETTINGS: [(&str, &str); 10] = [
    // A guest has the pid it has at home, and homes count up to the kernel's own limit.
    ("kernel/pid_max", "4194304"),
    // A guest's mappings were granted at home; here only the pages that it touches count.
    ("vm/overcommit_memory", "1"),
    // A guest brings its mappings and the supervisor adds its own.
    ("vm/max_map_count", "1048576"),
    // Swap is compressed memory: a page next to the wanted one is no cheaper to read.
    ("vm/page-cluster", "0"),
    // Link-local addresses come from hardware addresses: waiting a second or two to find out whether
    // somebody else has the same would be the longest part of joining.
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/router_solicitation_delay", "0"),
    // The agent's log goes to /dev/kmsg and is bounded there.
    ("kernel/printk_devkmsg", "on"),
    // ctrl-alt-del reaches /init as a signal, so that the node says goodbye first.
    ("kernel/ctrl-alt-del", "0"),
    // The supervisors trace their guests; no other rule than "root may" is wanted here.
    ("kernel/yama/ptrace_scope", "0"),
];

/// What all programs of the node inherit: the defaults count on many users on one machine, and on a small
/// one they are smaller than what a guest brings.
const LIMITS: [(Resource, Option<u64>); 3] = [
    (Resource::Nofile, Some(524_288)),
    (Resource::Nproc, None),
    (Resource::Memlock, None),
];

/// Controllers that the agent uses to bound guests.
const CONTROLLERS: [&str; 4] = ["+cpu", "+memory", "+pids", "+io"];

/// Applies all settings. What this kernel does not have is told and passed over.
pub(crate) fn apply() {
    for (name, value) in SETTINGS {
        // Some handlers insist on the newline (kernel/printk/sysctl.c).
        if let Err(error) = fs::write(format!("/proc/sys/{name}"), format!("{value}\n")) {
            journal::note(&format!("setting {name} = {value} has no effect: {error}"));
        }
    }
    for controller in CONTROLLERS {
        if let Err(error) = fs::write("/sys/fs/cgroup/cgroup.subtree_control", controller) {
            journal::note(&format!("no cgroup controller {controller}: {error}"));
        }
    }
    for (resource, value) in LIMITS {
        if let Err(error) = setrlimit(
            resource,
            Rlimit {
                current: value,
                maximum: value,
            },
        ) {
            journal::note(&format!("limit {resource:?} keeps its default: {error}"));
        }
    }
}
