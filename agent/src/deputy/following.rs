//! A program that a member of a family has executed gets a supervisor of its own, which sends it on.
//!
//! 1. This supervisor forks; its child will be the new one.
//! 2. The process, at its new program's first instruction, is led to sleep in pause(2) with all signals
//!    blocked, and let go: ptrace(2) cannot hand over a tracee.
//! 3. The child attaches to it and puts its registers and mask back.
//!
//! If the child fails, this supervisor does what it should have done, and the program runs at home.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::migrate::freeze;
use crate::migrate::process_memory::ProcessMemory;
use crate::process::maps;
use crate::sys::call_numbers as number;
use crate::sys::child;
use crate::sys::ptrace::{self, ThreadId, options};
use crate::sys::registers::{NO_CALL, Registers};
use crate::sys::signal::SignalSet;

use super::departure;

/// How long the process may take to be found asleep, and the child to say so. Home is silent meanwhile, so twice
/// this has to be shorter than the guests' lease ([`crate::guest::supervisor::LEASE`]).
const TIMEOUT: Duration = Duration::from_secs(2);

const GO: &[u8] = b"g";
const DONE: &[u8] = b"d";

/// A process standing at its exec, and how it goes on.
struct Standing {
    pid: ThreadId,
    registers: Registers,
    mask: SignalSet,
}

/// Hands a process standing at its exec to a new supervisor, which runs `body` and ends with its result.
///
/// # Errors
/// The process runs at home.
pub fn hand_over(pid: ThreadId, body: impl FnOnce() -> i32) -> io::Result<()> {
    let (mut ours, mut theirs) = UnixStream::pair()?;
    ours.set_read_timeout(Some(TIMEOUT))?;
    theirs.set_read_timeout(Some(TIMEOUT))?;
    let standing = Standing {
        pid,
        registers: ptrace::registers(pid)?,
        mask: ptrace::signal_mask(pid)?,
    };
    child::spawn(0, None, || {
        let taken = child::close_all_but_standard_and(&[theirs.as_fd()])
            .and_then(|()| expect(&mut theirs, GO))
            .and_then(|()| standing.take())
            .and_then(|()| theirs.write_all(DONE));
        match taken {
            Ok(()) => body(),
            Err(error) => {
                log::warn!("process {pid} got no supervisor of its own: {error}");
                1
            }
        }
    })?;
    drop(theirs);
    standing.lead_to_sleep()?;
    let taken = ours.write_all(GO).and_then(|()| expect(&mut ours, DONE));
    if taken.is_err() {
        standing.take()?;
        ptrace::detach(pid, 0)?;
    }
    taken
}

fn expect(stream: &mut UnixStream, wanted: &[u8]) -> io::Result<()> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    if byte == wanted {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

impl Standing {
    /// Step 2.
    fn lead_to_sleep(&self) -> io::Result<()> {
        let memory = ProcessMemory::open(self.pid)?;
        let mappings = maps::read(self.pid.cast_unsigned()).map_err(io::Error::other)?;
        let instruction = departure::syscall_instruction(&mappings, &memory)
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
        let mut asleep = self.registers;
        asleep.enter_call(instruction, number::SYS_pause.cast_unsigned(), [0; 6]);
        ptrace::set_signal_mask(self.pid, SignalSet::ALL)?;
        ptrace::set_registers(self.pid, &asleep)?;
        ptrace::detach(self.pid, 0)
    }

    /// Step 3.
    fn take(&self) -> io::Result<()> {
        ptrace::seize(self.pid, options::SYSCALL_GOOD)?;
        ptrace::interrupt(self.pid)?;
        freeze::wait_for_stop(self.pid, Instant::now() + TIMEOUT).map_err(io::Error::other)?;
        let mut registers = self.registers;
        registers.orig_rax = NO_CALL;
        ptrace::set_registers(self.pid, &registers)?;
        ptrace::set_signal_mask(self.pid, self.mask)
    }
}
