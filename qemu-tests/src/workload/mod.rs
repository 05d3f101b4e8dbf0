//! Real programs at work on a cluster: what they do natively they must do away from home and on the move.
//!
//! 1. [`table`]: which programs, what they need, what of them is compared.
//! 2. [`stage`]: the directories of one program: what it begins with, what it left natively, where it runs.
//! 3. [`process`]: one run, natively or under `limosa run`, through pipes or at a terminal.
//! 4. [`mover`]: moves the processes of a run at random moments, seeded.
//! 5. [`outcome`]: what a run did, seen from outside, and how two runs differ.
//! 6. [`journal`]: what the home node's agent said of it: why processes came home, what failed.
//! 7. [`session`]: all of it for one program, in a lab of its own.

pub mod dialogue;
pub mod journal;
pub mod mover;
pub mod outcome;
pub mod packages;
pub mod process;
pub mod session;
pub mod stage;
pub mod table;
