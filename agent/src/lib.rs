//! Limosa: one computer out of your machine and a few spare PCs.
//!
//! The library behind the multi-call binary. `syscall`, `membership` and `balance` are pure cores, without I/O and
//! clocks. In `wire`, `discovery`, `load`, `process` and `secure` whatever parses and decides is pure as
//! well, with a thin reader or socket beside it. `node`, `deputy`, `guest` and `migrate` are the glue
//! around them; everything that talks to the kernel in raw terms lives in `sys`.

pub mod admission;
pub mod balance;
pub mod cli;
pub mod deputy;
pub mod discovery;
pub mod doctor;
pub mod guest;
pub mod limits;
pub mod load;
pub mod membership;
pub mod migrate;
pub mod netboot;
pub mod node;
pub mod process;
pub mod secure;
pub mod sys;
pub mod syscall;
pub mod wire;
