//! The remote side of a migrated process: sandbox, trap, forward.
//!
//! [`supervisor`] is the process that serves a guest, and the guests that it forks, on this node. [`clocks`]
//! compares this node's clocks with home's, [`sandbox`] makes an empty guest in namespaces of its own,
//! [`build`] turns it into the process that left home. Then begins its [`stay`]: [`filter`] decides which
//! calls it makes here, [`trap`] handles all others, of which [`lasting`] and [`ahead`] spare home some, [`portions`] long transfers, [`mapping`] mmap(2) and its
//! kin, [`memory_files`] what stands behind the guest's mappings, [`forks`] those that make threads and
//! processes, [`later`] makes it wait for memory that [`pager`] fills in while it runs, [`signals`] what
//! home's kernel wants it to hear, [`pending`] what it does not hear at once, [`regulations`] what this
//! node's kernel has to go by, [`homecoming`] its way back, on which [`returning`] sends memory ahead.

pub mod ahead;
pub mod arrival;
pub mod build;
mod build_threads;
pub mod clocks;
pub mod filter;
pub mod forks;
pub mod homecoming;
pub mod lasting;
pub mod later;
pub mod mapping;
pub mod memory_files;
pub mod missing;
pub mod pager;
pub mod pending;
pub mod portions;
mod program_memory;
pub mod regulations;
pub mod returning;
pub mod sandbox;
pub mod signals;
pub mod stay;
pub mod supervisor;
pub mod threads;
pub mod trap;
pub mod trouble;
pub mod vdso;
