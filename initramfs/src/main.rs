//! `/init`: PID 1 of a booted node.

#[expect(
    dead_code,
    reason = "the port is opened by the supervisor loop, which follows"
)]
mod lab_port;

fn main() {}
