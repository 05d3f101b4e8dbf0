//! `/init`: PID 1 of a booted node.

fn main() {}
