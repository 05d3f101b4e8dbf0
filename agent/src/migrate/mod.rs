//! One move of a process: freeze, inspect, image, memory transfer, restore.
//!
//! What both ends of a move share. The order of a move and its contract are in
//! [`crate::wire::migration`]; the source's part is in `deputy`, the target's in `guest`.

pub mod advice;
pub mod asleep;
pub mod attributes;
pub mod baseline;
pub mod cantmove;
pub mod capture;
pub mod channel;
pub mod extended_state;
pub mod freeze;
pub mod image;
pub mod inject;
pub mod link;
pub mod objects;
pub mod page_stream;
pub mod pages;
pub mod piece_store;
pub mod pieces;
pub mod process_memory;
pub mod resource_limits;
pub mod runs;
pub mod scheduling;
