//! Raw kernel interfaces, and all `unsafe` of the agent.
//!
//! One file per kernel facility. Everything exported from here is safe to call: a function checks what
//! the kernel does not, and returns `std::io::Error` with the kernel's own errno.

pub mod blob;
pub mod call_numbers;
pub mod child;
pub mod clock;
pub mod collapse;
pub mod compare;
pub mod cpu;
pub mod exec;
pub mod heap;
pub mod inherited;
pub mod mapping_query;
pub mod pagemap;
pub mod peer;
pub mod probe;
pub mod process_vm;
pub mod ptrace;
pub mod registers;
pub mod relay;
pub mod robust_list;
pub mod scheduling;
pub mod signal;
pub mod spawn;
pub mod userfaultfd;
pub mod vdso;
pub mod wait;
