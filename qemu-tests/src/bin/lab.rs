//! `lab`: starts, steers and ends a virtual cluster on this machine.

fn main() {}
