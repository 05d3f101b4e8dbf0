//! The home side of a migrated process: executes forwarded calls, hears signals.
//!
//! [`supervisor`] is the process's own supervisor at home, [`family`] the processes that it serves while they
//! are away, [`away`] what it knows of one of them. [`departure`] is the source's part of a move out, of
//! which `draft` comes before the freeze and `sending` within, [`parting`] and [`push`] send most of the
//! memory after it, [`calls`] executes what the guest forwards, `lasting` tells which answers hold
//! until something that `watch` sees, `ahead` sends what
//! will be read next, [`interrupted`] goes on with it, [`mapping`]
//! maps what it maps, [`objects`] knows the files and the shared memory behind that, [`own_memory`] what it
//! sees of its own memory in /proc, `concealment` hides us from it, [`forks`] makes its threads and
//! processes, [`signals`] hears for it, [`actions`] knows what signals do, [`regulations`] tells the guest's
//! node of limits and scheduling, [`homecoming`] puts it back into the original process, [`portions`]
//! finishes its long transfers, [`loss`] decides what becomes of it when its node is lost, [`following`]
//! sends on what it executes. `orders` are the moves that the supervisor is asked for, `connections` asks the
//! agent for connections to other nodes; `early_pages` takes memory that comes home before its guest, and
//! `memory_at_home` is the memory's part of the homecoming.

pub mod actions;
mod ahead;
pub mod away;
pub mod calls;
mod concealment;
mod connections;
pub mod departure;
mod draft;
mod early_pages;
pub mod family;
pub mod following;
pub mod forks;
pub mod homecoming;
pub mod in_flight;
pub mod interrupted;
mod lasting;
pub mod layout;
pub mod loss;
pub mod mapping;
mod memory_at_home;
pub mod objects;
mod orders;
pub mod own_memory;
pub mod parting;
pub mod portions;
pub mod push;
pub mod regulations;
pub mod scratch;
mod sending;
pub mod signals;
pub mod supervisor;
pub mod threads;
mod watch;
