//! The multi-call binary `limosa`: agent, supervisors and commands in one file.

use std::process::ExitCode;

fn main() -> ExitCode {
    limosa::cli::main()
}
