//! What home's side says: the messages of the deputy supervisor to the guest supervisor.

use serde::{Deserialize, Serialize};

use crate::migrate::image::{ObjectImage, ProcessImage};
use crate::migrate::inject::Scratch;
use crate::migrate::resource_limits::Limits;
use crate::migrate::scheduling::Scheduling;
use crate::sys::signal::SignalInfo;

/// From the deputy supervisor to the guest supervisor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToGuest {
    /// Get ready for this process.
    Prepare(Prepare),
    /// The answer to `AskClocks`: home's clocks when this was sent, in nanoseconds.
    Clocks {
        /// CLOCK_MONOTONIC.
        monotonic_ns: u64,
        /// CLOCK_BOOTTIME.
        boottime_ns: u64,
    },
    /// What the process has mapped, while it runs on; nothing else of the image counts. The contents of its
    /// objects follow, and `PagesEnd`. Answered by `Drafted`.
    Draft {
        /// Mappings, objects and vDSO.
        image: Box<ProcessImage>,
        /// Where injected code shall lie, free in the process.
        scratch: Scratch,
    },
    /// The process, stopped. Its pages follow, and what of its objects was not in the draft.
    Depart {
        /// Everything but memory.
        image: Box<ProcessImage>,
        /// Where injected code shall lie, free in the process.
        scratch: Scratch,
        /// Memory that comes over the page connection when the guest runs, ascending: begin and end.
        /// Single pages of it may come before.
        later: Vec<(u64, u64)>,
    },
    /// Pages from this address on; the payload is their contents.
    Pages {
        /// Whose.
        pid: i32,
        /// Page-aligned.
        address: u64,
    },
    /// A part of an object's contents; the payload are whole pages, zero behind its end.
    ObjectPages {
        /// Whose.
        pid: i32,
        /// The object's number.
        object: u64,
        /// Page-aligned.
        offset: u64,
    },
    /// What the guest is mapping ([`ToDeputy::Map`]) is mapped at home: the object behind it. Its contents
    /// follow, and then the call's `Return`.
    Object {
        /// The thread that waits.
        tid: i32,
        /// Its number and size.
        object: ObjectImage,
    },
    /// All pages have been sent: this many.
    PagesEnd {
        /// Their number.
        count: u64,
    },
    /// The guest may run, and only it.
    Commit,
    /// The result of a forwarded call; the payload is its output buffers.
    Return {
        /// The thread that waits.
        tid: i32,
        /// The call.
        call: u64,
        /// Result, or minus errno, or a restart code together with a signal.
        result: i64,
        /// The call was interrupted by this signal, which the guest must hear.
        signal: Option<SignalInfo>,
        /// It was a portion of a read, all of it has come, and there may be more that comes without blocking.
        goes_on: bool,
        /// The answer lasts until one of these directories is to be forgotten ([`Self::Forget`]); none: it does not.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lasting: Vec<u32>,
        /// What will probably be read next is behind the output buffers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ahead: Option<Ahead>,
    },
    /// A call that can only be made natively, at home: it has had no effect, come home and make it there.
    ComeHomeFor {
        /// The thread that waits.
        tid: i32,
        /// The call.
        call: u64,
        /// Why: one line.
        cause: String,
    },
    /// What has the guest mapped? The thread has opened its list of mappings. Answered by `Mappings`.
    AskMappings {
        /// The thread that waits.
        tid: i32,
        /// The call.
        call: u64,
    },
    /// A call that the deputy finished for a thread that left home inside it.
    Finished {
        /// The thread that waits.
        tid: i32,
        /// Result, or minus errno, or a restart code together with a signal.
        result: i64,
        /// Memory that the call has changed: address and length; the payload has the bytes.
        changed: Vec<(u64, u64)>,
        /// The call was interrupted by this signal.
        signal: Option<SignalInfo>,
    },
    /// A signal for the guest.
    Signal {
        /// The thread that home's kernel chose.
        tid: i32,
        /// Its information.
        info: SignalInfo,
        /// Others are pending that its handler blocks: they are heard before the program goes on behind it.
        is_first: bool,
    },
    /// Its limits have changed.
    Limits {
        /// The process.
        pid: i32,
        /// What they are now.
        limits: Limits,
    },
    /// A thread is scheduled otherwise.
    Scheduling {
        /// The thread.
        tid: i32,
        /// As it is now.
        scheduling: Scheduling,
    },
    /// Job control at home has stopped or continued the process.
    Stopped {
        /// The process.
        pid: i32,
        /// It is stopped.
        is_stopped: bool,
    },
    /// Which of the pages that `Digests` was about home has otherwise, and which it cannot have; all others it has.
    Compared {
        /// Whose.
        pid: i32,
        /// As in `Digests`.
        address: u64,
        /// As many as in `Digests`, in bytes.
        length: u64,
        /// Those that are wanted: begin and end.
        differing: Vec<(u64, u64)>,
        /// Those that must come with the guest: begin and end.
        absent: Vec<(u64, u64)>,
    },
    /// Home is ready for the pages of a guest that has sent some before ([`ToDeputy::Homecoming`]). It does not have any
    /// of these, whatever it was sent: begin and end.
    Renewed {
        /// Whose.
        pid: i32,
        /// Where memory had to be made anew.
        ranges: Vec<(u64, u64)>,
    },
    /// Answers that rest on these directories ([`Self::Return`]) do not hold any more.
    Forget {
        /// Their numbers.
        directories: Vec<u32>,
    },
    /// Come home.
    Recall {
        /// Who.
        pid: i32,
    },
    /// The process runs at home, or has ended: kill the guest.
    Arrived {
        /// Which.
        pid: i32,
    },
    /// Nothing to say; the channel is alive.
    Alive,
}

impl ToGuest {
    /// The thread or process that the message is about; none if it is about the channel.
    pub fn concerns(&self) -> Option<i32> {
        match self {
            Self::Return { tid, .. }
            | Self::ComeHomeFor { tid, .. }
            | Self::AskMappings { tid, .. }
            | Self::Finished { tid, .. }
            | Self::Object { tid, .. }
            | Self::Scheduling { tid, .. }
            | Self::Signal { tid, .. } => Some(*tid),
            Self::Pages { pid, .. }
            | Self::ObjectPages { pid, .. }
            | Self::Compared { pid, .. }
            | Self::Renewed { pid, .. }
            | Self::Limits { pid, .. }
            | Self::Stopped { pid, .. }
            | Self::Recall { pid }
            | Self::Arrived { pid } => Some(*pid),
            Self::Prepare(_)
            | Self::Clocks { .. }
            | Self::Draft { .. }
            | Self::Depart { .. }
            | Self::PagesEnd { .. }
            | Self::Commit
            | Self::Forget { .. }
            | Self::Alive => None,
        }
    }
}

/// What is sent of a file before the guest has asked for it: at the end of the payload its attributes (`struct stat`), if
/// it has just been opened, and its contents from the descriptor's offset on. It counts until the guest is told
/// or says anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ahead {
    /// The descriptor.
    pub descriptor: i32,
    /// How many bytes of its contents.
    pub bytes: u32,
    /// The file ends behind them.
    pub ends: bool,
    /// Its attributes are there, too.
    pub has_attributes: bool,
}

/// What the remote node must know before the process stops.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Prepare {
    /// The process, as home numbers it.
    pub pid: i32,
    /// The highest id of its threads.
    pub highest_tid: u32,
    /// What home's machine and kernel can do, as far as the process may rely on it.
    pub capabilities: crate::sys::probe::Capabilities,
    /// Number of CPUs that home's kernel can have: per-CPU data of programs is sized by it.
    pub possible_cpus: u32,
}
