//! One move of a process: freeze, inspect, image, memory transfer, restore.

pub mod cantmove;
