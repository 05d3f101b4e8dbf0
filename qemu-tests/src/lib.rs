//! The virtual lab: a cluster on one machine, and the faults that real networks have.
//!
//! A *lab* is a few nodes joined by a switch that runs in user space. A node is either a set of
//! namespaces of this machine (it shares the machine's kernel, files and pids, and stands within
//! milliseconds) or a virtual machine booted from the real image. Both kinds are joined to the same
//! [`switch`], which is therefore the one place where frames are lost, delayed, doubled or cut off.
//!
//! Every lab has one background process, its [`daemon`]: it owns the switch, the agents and the
//! virtual machines, and the lab ends with its owner (a test, or nobody for `lab up`). The commands
//! of the `lab` binary and the [`Lab`] of a test are its clients:
//!
//! ```text
//!   test: Lab ----+                      +-- n1: network, mount and cgroup namespace, agent
//!   lab exec -----+-- control socket -- daemon: switch ---- TAP ---- n2: ...
//!   lab cut ------+                      +-- n3: QEMU (stream socket, serial log, lab port, monitor)
//! ```
//!
//! What a lab makes lies in three places, all named after it, so that a dead daemon's lab can be
//! removed by anybody: its state directory, its cgroup (which holds every process of the lab) and
//! namespaces, which live no longer than those processes.

pub mod bridge;
pub mod cgroup;
pub mod cluster;
pub mod control;
pub mod daemon;
pub mod dhcp;
pub mod entrance;
pub mod error;
pub mod fabric;
pub mod faults;
pub mod image;
pub mod lab_port;
pub mod lines;
pub mod machine;
pub mod monitor;
pub mod namespaces;
pub mod node;
pub mod node_handle;
pub mod options;
pub mod ports;
pub mod process;
pub mod programs;
pub mod qemu;
pub mod relay;
pub mod state;
pub mod stream;
pub mod switch;
mod sys;
pub mod terminal;
pub mod wait;
pub mod workload;

pub use cluster::Lab;
pub use error::LabError;
pub use image::Image;
pub use node_handle::NodeHandle;
pub use options::LabOptions;
pub use wait::wait_until;
