//! The agent: one driver that owns all state, its config and its control socket.
//!
//! [`agent`] is the driver: it starts, stops and hands each event to the file that knows about it.
//! [`requests`] answers the commands, [`moves`] moves processes, `balancing` lets the brain decide about moves, `own_load` tells the others this node's load and lets guests in by it, `owner` has guests make room for the owner's work, `orders` hears the operator, `admission` lets nodes in that have no key yet, `clock` takes the cluster's time, `suitability` compares nodes, [`supervision`] hears the supervisors.
//! What the driver owns: [`cluster`] is its view of the other nodes (around the pure [`peers`], with
//! [`channel`] and [`listener`] for connections and [`interfaces`] for what the kernel tells), [`jobs`] (with [`cgroup`] and [`choice`]) knows
//! which processes are ours and which nodes they may use, [`supervisors`] holds the links to the supervisors, [`control`] is the
//! socket of the commands, `kept_pieces` says what is kept of files that guests have mapped.

mod admission;
pub mod agent;
mod balancing;
pub mod cgroup;
pub mod channel;
pub mod choice;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod control;
mod guests;
pub mod interfaces;
pub mod jobs;
mod kept_pieces;
pub mod listener;
pub mod moves;
mod orders;
mod own_load;
mod owner;
pub mod peers;
pub mod requests;
mod suitability;
pub mod supervision;
pub mod supervisors;
pub mod users;
