//! `/init`: PID 1 of a booted node.
//!
//! 1. File systems are mounted (`filesystems`), kernel settings made (`sysctl`).
//! 2. Drivers for the hardware present are loaded (`drivers`), compressed memory takes what does not fit
//!    (`swap`), the wishes of whoever booted the node are read (`parameters`), interfaces are brought up
//!    (`links`).
//! 3. The node gets its name (`node_name`); the agent and, for each interface, a DHCP client are started
//!    and kept running (`service`, `programs`).
//! 4. From then on one loop (`init`) reaps, follows devices that come and go (`hotplug`), shows whom the
//!    node sees (`members`, `view`, `line`, `screen`, `console`), serves a lab's host (`lab_port`) and waits to be stopped
//!    (`power`).
//!
//! Once that has gone on for a while, what the boot needed and nobody else does is put away (`put_away`).
//!
//! There is one thread and no blocking wait: a stuck terminal, host or agent stops nothing else. Started
//! under the name `modprobe` the same program loads one module and ends; the kernel asks for that.

mod backoff;
mod console;
mod drivers;
mod filesystems;
mod hotplug;
mod init;
mod journal;
mod lab_commands;
mod lab_message;
mod lab_port;
mod line;
mod links;
mod members;
mod modalias;
mod module_dependencies;
mod node_name;
mod parameters;
mod power;
mod programs;
mod put_away;
mod screen;
mod service;
mod service_log;
mod swap;
mod sys;
mod sysctl;
mod uevent;
mod view;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    if program.ends_with("modprobe") {
        return drivers::modprobe(&arguments.collect::<Vec<_>>());
    }
    if arguments.next().as_deref() == Some(put_away::COMMAND) {
        return put_away::main();
    }
    if rustix::process::getpid() != rustix::process::Pid::INIT {
        eprintln!("init: this is PID 1 of a booted Limosa node; it does nothing anywhere else");
        return ExitCode::from(2);
    }
    filesystems::mount_all();
    sysctl::apply();
    match init::Init::start() {
        Ok(init) => init.run(),
        Err(error) => {
            // PID 1's end is a kernel panic, which `panic=` on the command line turns into a reboot.
            journal::warn(&format!("the node cannot start: {error}"));
            ExitCode::FAILURE
        }
    }
}
