//! Why guests have to end.

use std::io;

use crate::migrate::capture::CaptureError;
use crate::migrate::channel::ChannelError;
use crate::migrate::inject::InjectError;

use super::build::BuildError;
use super::sandbox::SandboxError;
use super::supervisor::LEASE;

/// Why a guest has to end; with [`Self::is_of_all`] all guests of its supervisor.
#[derive(Debug)]
pub enum Trouble {
    /// The guest was killed on this node.
    GuestGone,
    /// The namespaces' init has ended.
    SandboxGone,
    /// The channel to home is of no more use.
    Channel(ChannelError),
    /// Home has been silent for [`LEASE`].
    HomeSilent,
    /// ptrace or /proc refused.
    Io(io::Error),
    /// A call could not be injected.
    Inject(InjectError),
    /// Memory that was to come does not: one line.
    MemoryLost(String),
    /// The guest's image could not be made.
    Capture(CaptureError),
    /// Home and this side disagree: one line.
    Protocol(String),
    /// The guest could not be made.
    Build(BuildError),
    /// The sandbox could not be made.
    Sandbox(SandboxError),
}

impl Trouble {
    /// Whether it concerns not one guest but everything between this node and home.
    pub fn is_of_all(&self) -> bool {
        matches!(
            self,
            Self::SandboxGone | Self::Channel(_) | Self::HomeSilent | Self::Sandbox(_)
        )
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::GuestGone => write!(out, "the guest was killed on this node"),
            Self::SandboxGone => write!(out, "the init of the guest's namespaces has ended"),
            Self::Channel(error) => error.fmt(out),
            Self::HomeSilent => write!(out, "home has been silent for {} s", LEASE.as_secs()),
            Self::Io(error) => write!(out, "the kernel refused: {error}"),
            Self::Inject(error) => error.fmt(out),
            Self::Capture(error) => error.fmt(out),
            Self::MemoryLost(text) => write!(out, "its memory did not come: {text}"),
            Self::Protocol(text) => out.write_str(text),
            Self::Build(error) => error.fmt(out),
            Self::Sandbox(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for Trouble {}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        const ESRCH: i32 = 3;
        const ECHILD: i32 = 10;
        match error.raw_os_error() {
            Some(ESRCH | ECHILD) => Self::GuestGone,
            _ => Self::Io(error),
        }
    }
}

impl From<ChannelError> for Trouble {
    fn from(error: ChannelError) -> Self {
        Self::Channel(error)
    }
}

impl From<InjectError> for Trouble {
    fn from(error: InjectError) -> Self {
        match error {
            InjectError::Gone(_) => Self::GuestGone,
            error => Self::Inject(error),
        }
    }
}

impl From<CaptureError> for Trouble {
    fn from(error: CaptureError) -> Self {
        Self::Capture(error)
    }
}

impl From<BuildError> for Trouble {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

impl From<SandboxError> for Trouble {
    fn from(error: SandboxError) -> Self {
        Self::Sandbox(error)
    }
}
