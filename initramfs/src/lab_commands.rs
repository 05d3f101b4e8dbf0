//! The commands that a lab's host runs on this node, and the output that they write.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::WaitStatus;

use crate::lab_message::{Event, to_hex};
use crate::lab_port::{COMMANDS_MAX, LabPort};
use crate::programs;
use crate::sys::{self, Terminal};

/// A pipe holds this much unless told otherwise (pipe(7)), so one read of it empties it.
const PIPE_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Output,
    Error,
}

struct Running {
    id: u64,
    pid: i32,
    pipes: Vec<(Stream, OwnedFd)>,
}

/// All running commands.
#[derive(Default)]
pub(crate) struct LabCommands {
    running: Vec<Running>,
}

impl LabCommands {
    /// Starts a command; the error says in words why not.
    pub(crate) fn run(
        &mut self,
        id: u64,
        argv: &[String],
        env: &BTreeMap<String, String>,
        directory: &str,
    ) -> Result<i32, String> {
        if self.running.iter().any(|command| command.id == id) {
            return Err(format!("command {id} is still running"));
        }
        if self.running.len() >= COMMANDS_MAX {
            return Err(format!("{COMMANDS_MAX} commands are running already"));
        }
        let (program, arguments) = argv.split_first().ok_or("argv is empty")?;
        let mut command = programs::command(program);
        command.args(arguments).envs(env).current_dir(directory);
        let pipes = connect(&mut command).map_err(|error| format!("no pipe: {error}"))?;
        let pid = sys::spawn(&mut command, Terminal::None)
            .map_err(|error| format!("cannot run {program}: {error}"))?;
        self.running.push(Running { id, pid, pipes });
        Ok(pid)
    }

    /// Sends a signal to a command's process group.
    pub(crate) fn signal(&self, id: u64, signal: i32) -> Result<(), String> {
        let command = self.running.iter().find(|command| command.id == id);
        let command = command.ok_or_else(|| format!("command {id} is not running"))?;
        sys::kill_group(Some(command.pid), signal)
            .map_err(|error| format!("signal {signal}: {error}"))
    }

    /// The pipes that commands write to.
    pub(crate) fn pipes(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.running
            .iter()
            .flat_map(|command| &command.pipes)
            .map(|(_, pipe)| pipe.as_fd())
    }

    /// Passes on what commands wrote, while the port has room.
    pub(crate) fn pass_on(&mut self, port: &mut LabPort) {
        for command in &mut self.running {
            let id = command.id;
            command.pipes.retain(|(stream, pipe)| {
                !port.has_room() || pass_on_once(id, *stream, pipe.as_fd(), port)
            });
        }
    }

    /// Takes note that the process `pid` ended; its last output goes out before the news of its end.
    pub(crate) fn ended(&mut self, pid: i32, status: WaitStatus, port: Option<&mut LabPort>) {
        let Some(at) = self.running.iter().position(|command| command.pid == pid) else {
            return;
        };
        let command = self.running.swap_remove(at);
        if let Some(port) = port {
            for (stream, pipe) in &command.pipes {
                pass_on_once(command.id, *stream, pipe.as_fd(), port);
            }
            port.tell(&Event::Ended {
                id: command.id,
                end: status.into(),
            });
        }
    }
}

/// Writes a file for the host.
pub(crate) fn write_file(path: &str, mode: u32, append: bool, bytes: &[u8]) -> Result<(), String> {
    let write = || {
        let mut options = File::options();
        options
            .write(true)
            .create(true)
            .append(append)
            .truncate(!append)
            .mode(mode);
        options.open(path)?.write_all(bytes)
    };
    write().map_err(|error: std::io::Error| format!("cannot write {path}: {error}"))
}

fn connect(command: &mut Command) -> rustix::io::Result<Vec<(Stream, OwnedFd)>> {
    let mut pipes = Vec::new();
    for stream in [Stream::Output, Stream::Error] {
        let (read_end, write_end) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&read_end, true)?;
        match stream {
            Stream::Output => command.stdout(Stdio::from(write_end)),
            Stream::Error => command.stderr(Stdio::from(write_end)),
        };
        pipes.push((stream, read_end));
    }
    Ok(pipes)
}

/// One read; says whether more may come.
fn pass_on_once(id: u64, stream: Stream, pipe: BorrowedFd<'_>, port: &mut LabPort) -> bool {
    let mut bytes = vec![0; PIPE_BYTES];
    match rustix::io::read(pipe, bytes.as_mut_slice()) {
        Ok(0) => false,
        Ok(length) => {
            let hex = to_hex(&bytes[..length]);
            port.tell(&match stream {
                Stream::Output => Event::Stdout { id, hex },
                Stream::Error => Event::Stderr { id, hex },
            });
            true
        }
        Err(Errno::AGAIN | Errno::INTR) => true,
        Err(_) => false,
    }
}
