//! Real programs at work on a cluster: what they do natively they must do away from home and on the move.
//!
//! 1. [`program`]: what there is to know about one; [`table`]: all of them.
//! 2. [`stage`]: the directories of one program: what it begins with, what it left natively, where it runs.
//! 3. [`process`]: one run, natively or under `limosa run`, through pipes or at a terminal.
//! 4. [`mover`]: moves the processes of a run at random moments, seeded.
//! 5. [`outcome`]: what a run did, seen from outside, and how two runs differ.
//! 6. [`journal`]: what the home node's agent said of it: why processes came home, what failed.
//! 7. [`session`]: all of it for one program, in a lab of its own.
//! 8. [`monkey`]: many programs at once in one lab, in changing [`weather`], with a [`census`] of what is left.

pub mod census;
pub mod dialogue;
pub mod journal;
pub mod monkey;
pub mod mover;
pub mod outcome;
pub mod packages;
pub mod process;
pub mod program;
pub mod session;
pub mod stage;
pub mod table;
pub mod weather;
