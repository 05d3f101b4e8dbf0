//! Signals: sets, their information, actions, and a descriptor that tells of dead or stopped children.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use serde::{Deserialize, Serialize};

/// Size of `siginfo_t`.
pub const SIGNAL_INFO_BYTES: usize = 128;

/// Highest signal number.
pub const SIGNAL_MAX: i32 = 64;

/// Signal numbers by name.
pub mod numbers {
    pub use libc::{
        SIGABRT, SIGBUS, SIGCHLD, SIGCONT, SIGFPE, SIGILL, SIGKILL, SIGQUIT, SIGSEGV, SIGSTOP,
        SIGSYS, SIGTRAP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH, SIGXCPU, SIGXFSZ,
    };
}

/// A set of signals: bit n-1 stands for signal n, as the kernel's `sigset_t`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalSet(pub u64);

impl SignalSet {
    /// Every signal (the kernel never blocks SIGKILL and SIGSTOP).
    pub const ALL: SignalSet = SignalSet(u64::MAX);

    /// Whether the set has `signal`.
    pub fn contains(self, signal: i32) -> bool {
        (1..=SIGNAL_MAX).contains(&signal) && self.0 & (1 << (signal - 1)) != 0
    }

    /// Whether the set has signals that `other` has not.
    pub fn has_more_than(self, other: SignalSet) -> bool {
        self.0 & !other.0 != 0
    }

    /// The signals of both sets.
    #[must_use]
    pub fn with(self, other: SignalSet) -> SignalSet {
        SignalSet(self.0 | other.0)
    }

    /// The set of `signal` alone.
    #[must_use]
    pub fn only(signal: i32) -> SignalSet {
        SignalSet(1 << (signal - 1))
    }

    /// The set without `signal`.
    #[must_use]
    pub fn without(self, signal: i32) -> SignalSet {
        SignalSet(self.0 & !(1 << (signal - 1)))
    }
}

/// `siginfo_t`, opaque but for what the engine asks of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SignalInfo(pub [u8; SIGNAL_INFO_BYTES]);

impl Default for SignalInfo {
    fn default() -> Self {
        SignalInfo([0; SIGNAL_INFO_BYTES])
    }
}

impl std::fmt::Debug for SignalInfo {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "SignalInfo {{ signal: {}, code: {} }}",
            self.signal(),
            self.code()
        )
    }
}

impl Serialize for SignalInfo {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for SignalInfo {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = SignalInfo;
            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(out, "{SIGNAL_INFO_BYTES} bytes of siginfo_t")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<SignalInfo, E> {
                bytes
                    .try_into()
                    .map(SignalInfo)
                    .map_err(|_| E::invalid_length(bytes.len(), &self))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

impl SignalInfo {
    fn field(&self, offset: usize) -> i32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.0[offset..offset + 4]);
        i32::from_le_bytes(bytes)
    }

    /// `si_signo`.
    pub fn signal(&self) -> i32 {
        self.field(0)
    }

    /// `si_code`: who sent it and why.
    pub fn code(&self) -> i32 {
        self.field(8)
    }

    /// `si_pid`, of signals that a process sent.
    pub fn sender(&self) -> i32 {
        self.field(16)
    }
}

/// `struct sigaction` as the kernel knows it (rt_sigaction(2)).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalAction {
    /// SIG_DFL (0), SIG_IGN (1) or the handler's address.
    pub handler: u64,
    /// SA_* flags.
    pub flags: u64,
    /// Where the handler returns to.
    pub restorer: u64,
    /// Signals blocked while the handler runs.
    pub mask: u64,
}

/// Size of [`SignalAction`] in memory.
pub const SIGNAL_ACTION_BYTES: usize = size_of::<SignalAction>();

impl SignalAction {
    /// SIG_DFL.
    pub const DEFAULT: u64 = 0;
    /// SIG_IGN.
    pub const IGNORE: u64 = 1;

    /// From the kernel's layout.
    pub fn from_bytes(bytes: &[u8; SIGNAL_ACTION_BYTES]) -> SignalAction {
        let word = |index: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[index * 8..index * 8 + 8]);
            u64::from_le_bytes(word)
        };
        SignalAction {
            handler: word(0),
            flags: word(1),
            restorer: word(2),
            mask: word(3),
        }
    }

    /// In the kernel's layout.
    pub fn to_bytes(self) -> [u8; SIGNAL_ACTION_BYTES] {
        let mut bytes = [0; SIGNAL_ACTION_BYTES];
        for (index, word) in [self.handler, self.flags, self.restorer, self.mask]
            .into_iter()
            .enumerate()
        {
            bytes[index * 8..index * 8 + 8].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Whether the handler runs once: then the action is the default one (SA_RESETHAND).
    pub fn runs_once(&self) -> bool {
        const SA_RESETHAND: u64 = 0x8000_0000;
        self.flags & SA_RESETHAND != 0
    }

    /// The mask while the handler of `signal` runs, which has interrupted a thread with `mask`
    /// (signal_delivered in kernel/signal.c); the same if there is no handler.
    pub fn mask_in_handler(&self, signal: i32, mask: SignalSet) -> SignalSet {
        const SA_NODEFER: u64 = 0x4000_0000;
        if !self.is_handled() {
            return mask;
        }
        let in_handler = mask.with(SignalSet(self.mask));
        if self.flags & SA_NODEFER == 0 {
            in_handler.with(SignalSet::only(signal))
        } else {
            in_handler
        }
    }

    /// Whether a program's own handler runs.
    pub fn is_handled(&self) -> bool {
        self.handler != Self::DEFAULT && self.handler != Self::IGNORE
    }
}

/// A descriptor that becomes readable when SIGCHLD arrives; the signal is blocked from now on.
pub fn child_descriptor() -> io::Result<OwnedFd> {
    // SAFETY: an all-zero sigset_t is a valid value, initialised by sigemptyset before use; the calls
    // get pointers to it and to nothing else.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        if libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(OwnedFd::from_raw_fd(fd))
        }
    }
}

/// Empties the descriptor of [`child_descriptor`]: of a standard signal no more than one is pending (signal(7)).
pub fn drain(descriptor: &OwnedFd) {
    let mut one = [0u8; 128];
    // SAFETY: reads at most the buffer's length into a live buffer; the descriptor does not block, and
    // an error (EAGAIN) only says that there is none.
    unsafe { libc::read(descriptor.as_raw_fd(), one.as_mut_ptr().cast(), one.len()) };
}

/// Sends `signal` to one thread of a process (tgkill(2)).
pub fn send_to_thread(process: i32, thread: i32, signal: i32) -> io::Result<()> {
    // SAFETY: passes plain integers.
    let result = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Sends `signal` to a process (kill(2)).
pub fn send_to_process(process: i32, signal: i32) -> io::Result<()> {
    // SAFETY: passes plain integers.
    if unsafe { libc::kill(process, signal) } < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
