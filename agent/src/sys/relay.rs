//! Signals as something to be read, with who sent them; for a parent that mirrors its child.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use super::exec::restore_pipe_disposition;

/// A signal that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Its number.
    pub signal: i32,
    /// It comes from the kernel, as those of a terminal's keys do, and not from a process.
    pub from_kernel: bool,
}

/// Signals that this process does not act on but reads.
#[derive(Debug)]
pub struct SignalReader {
    file: File,
    mask: libc::sigset_t,
    mask_before: libc::sigset_t,
}

impl SignalReader {
    /// Blocks every signal that can be passed on and begins to collect them. Not those that only the
    /// kernel can mean (SIGSEGV and its like): what they say is not for anybody else.
    pub fn start() -> io::Result<Self> {
        // SAFETY: sigfillset initialises the set it is given; sigdelset changes a set so initialised;
        // the mask is that of the calling thread; signalfd(2) makes a new descriptor, which is ours.
        unsafe {
            let mut mask = MaybeUninit::<libc::sigset_t>::uninit();
            libc::sigfillset(mask.as_mut_ptr());
            let mut mask = mask.assume_init();
            for signal in [
                libc::SIGSEGV,
                libc::SIGBUS,
                libc::SIGFPE,
                libc::SIGILL,
                libc::SIGTRAP,
                libc::SIGSYS,
            ] {
                libc::sigdelset(&mut mask, signal);
            }
            let mut mask_before = mask;
            if libc::sigprocmask(libc::SIG_BLOCK, &mask, &mut mask_before) != 0 {
                return Err(io::Error::last_os_error());
            }
            let fd = libc::signalfd(-1, &mask, libc::SFD_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self {
                file: File::from(OwnedFd::from_raw_fd(fd)),
                mask,
                mask_before,
            })
        }
    }

    /// Starts a child with the signal mask and the disposition of SIGPIPE that we were started with.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let mask = self.mask_before;
        // SAFETY: the closure runs in the forked child and makes async-signal-safe calls only, on an
        // initialised set.
        unsafe {
            command.pre_exec(move || {
                restore_pipe_disposition();
                match libc::sigprocmask(libc::SIG_SETMASK, &mask, std::ptr::null_mut()) {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                }
            });
        }
        command.spawn()
    }

    /// Waits for the next signal.
    pub fn read(&mut self) -> io::Result<Heard> {
        let mut bytes = [0; size_of::<libc::signalfd_siginfo>()];
        self.file.read_exact(&mut bytes)?;
        // SAFETY: the kernel filled the buffer, which has the size of the structure; every bit pattern
        // of its integers is valid, and the read does not need alignment.
        let info: libc::signalfd_siginfo =
            unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) };
        Ok(Heard {
            signal: i32::try_from(info.ssi_signo).unwrap_or(0),
            // Codes above 0 are the kernel's own: sigaction(2).
            from_kernel: info.ssi_code > 0,
        })
    }

    /// Does what the signal does by default: ends or stops this process. Returns when it goes on.
    pub fn act_on(&self, signal: i32) {
        // SAFETY: only the disposition and mask of this process are changed; `mask` and `one` are
        // initialised sets.
        unsafe {
            let mut one = MaybeUninit::<libc::sigset_t>::uninit();
            libc::sigemptyset(one.as_mut_ptr());
            let mut one = one.assume_init();
            libc::sigaddset(&mut one, signal);
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
            libc::sigprocmask(libc::SIG_UNBLOCK, &one, std::ptr::null_mut());
            libc::sigprocmask(libc::SIG_BLOCK, &self.mask, std::ptr::null_mut());
        }
    }
}
