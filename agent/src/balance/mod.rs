//! Who should run where: pure policy, without sockets, clocks or processes of its own.
//!
//! Everything here is a function of (now, input, seeded random numbers), with bounded memory and bounded output.
//! The agent (`node::balancing`) and the simulator (`qemu-tests/src/bin/sim`) are two drivers of this one code.
//!
//! - [`vector`]: what a node says of itself, in a fixed number of bytes, and what of it is refused;
//! - [`gossip`]: how these vectors spread (Amar, Barak, Drezner, Okun 2009): constant traffic for each node, bounded age;
//! - [`market`]: what a process would cost on a node (Amir, Awerbuch, Barak, Borgstrom, Keren 2000), and how fast
//!   it would run there;
//! - [`brain`]: what is to move where: placement at the start, moves of what lives, memory before it is full;
//! - [`memory`]: what the brain remembers, so that it neither floods, nor flaps, nor tries in vain for ever;
//! - [`arrivals`]: how many guests a node lets in at a time, and which leave when its owner works.
//!
//! Each home decides for its own processes, wherever they run; a node that hosts them decides only how many come and
//! when they have to leave. So no two balancers ever steer the same process.

pub mod arrivals;
pub mod brain;
pub mod gossip;
pub mod market;
pub mod memory;
pub mod vector;
