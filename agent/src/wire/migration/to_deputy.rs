//! What the remote side says: the messages of the guest supervisor to the deputy supervisor.

use serde::{Deserialize, Serialize};

use crate::migrate::image::{ProcessImage, UndeliveredSignal};
use crate::process::maps::{Mapping, MappingKind};
use crate::sys::signal::{SignalAction, SignalInfo, SignalSet};
use crate::syscall;

/// From the guest supervisor to the deputy supervisor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToDeputy {
    /// What are home's clocks now? Only before `Prepared`; answered at once by `Clocks`.
    AskClocks,
    /// An empty guest stands ready.
    Prepared {
        /// Its memory may come when it runs.
        takes_pages_later: bool,
    },
    /// The draft is in place.
    Drafted,
    /// The guest cannot live here: one line for each reason.
    Refused(Vec<crate::wire::supervisor::Reason>),
    /// The guest is complete and stopped.
    Restored,
    /// The guest could not be made: one line.
    Failed(String),
    /// A call to be executed at home; the payload is its input buffers.
    Call {
        /// The thread that makes it.
        tid: i32,
        /// Its number, unique for this guest and ascending.
        call: u64,
        /// Which call, and its arguments.
        request: syscall::Request,
        /// The thread's signal mask.
        mask: SignalSet,
        /// How many `Signal` messages its supervisor had received.
        signals_received: u64,
    },
    /// The thread's signal mask has changed.
    Mask {
        /// The thread.
        tid: i32,
        /// As of `Call`, if signals were unblocked: answered by `Return`, behind those that were pending.
        call: Option<u64>,
        /// Its mask now.
        mask: SignalSet,
    },
    /// Signals that this thread was sent and has blocked before it heard them: home, which knows its mask, queues
    /// them again.
    GiveBack {
        /// The thread.
        tid: i32,
        /// The signals, the oldest first; older than what home has queued since it knows the mask.
        signals: Vec<SignalInfo>,
        /// As of `Call`.
        signals_received: u64,
    },
    /// rt_sigaction(2): to be made at home too. Answered by `Return`.
    Action {
        /// The thread that makes it.
        tid: i32,
        /// As of `Call`.
        call: u64,
        /// Which signal.
        signal: i32,
        /// The new action.
        action: SignalAction,
        /// Where the program wants the old one; 0 if nowhere.
        old_at: u64,
        /// The thread's signal mask.
        mask: SignalSet,
    },
    /// mmap(2) of a file or of shared memory: the deputy maps it at the address that the guest has chosen. For
    /// a file, `Object` and its contents follow. Answered by `Return`.
    Map {
        /// The thread that makes it.
        tid: i32,
        /// As of `Call`.
        call: u64,
        /// Where the guest keeps room for it.
        start: u64,
        /// The arguments length, protection, flags, descriptor, offset as the program gave them.
        arguments: [u64; 5],
        /// The number that the object shall have.
        object: u64,
        /// The thread's signal mask.
        mask: SignalSet,
    },
    /// mremap(2) of what is not the guest's alone has been made; the deputy does the same. Answered by
    /// `Return`.
    Remap {
        /// The thread that makes it.
        tid: i32,
        /// As of `Call`.
        call: u64,
        /// Old address and length as the program gave them, new length, and where it is now.
        change: Remapped,
        /// The thread's signal mask.
        mask: SignalSet,
    },
    /// What the guest has mapped, as the answer to `AskMappings`. Answered by `Return`.
    Mappings {
        /// The thread that waits.
        tid: i32,
        /// As of `Call`.
        call: u64,
        /// Ascending; without what the kernel and the engine have made.
        lines: Vec<MappedLine>,
    },
    /// A new thread is wanted (clone(2) with CLONE_THREAD). Answered by `Return` with its id.
    StartThread {
        /// The thread that asks.
        tid: i32,
        /// As of `Call`.
        call: u64,
        /// The new thread's signal mask.
        mask: SignalSet,
    },
    /// A new process is wanted (fork(2), vfork(2), or clone(2) without CLONE_THREAD). Answered by `Return`
    /// with its id.
    Fork {
        /// The thread that asks.
        tid: i32,
        /// As of `Call`.
        call: u64,
        /// CLONE_* flags of those that concern home.
        flags: u64,
        /// The signal that its parent gets when it ends.
        exit_signal: u64,
        /// The signal mask of both.
        mask: SignalSet,
    },
    /// This thread has ended; others live on.
    ThreadExit {
        /// The thread.
        tid: i32,
        /// Its exit status.
        status: i32,
    },
    /// The process ends with this status (exit_group(2)).
    Exit {
        /// The thread that ends it.
        tid: i32,
        /// The status as the program gave it.
        status: i32,
        /// As of `Usage`.
        cpu_seconds: f64,
    },
    /// The guest is stopped for good. Its pages follow, ascending; what is not sent is zero.
    Homecoming {
        /// Everything but memory.
        image: Box<ProcessImage>,
        /// Signals that have reached its supervisor and that it has not heard yet.
        undelivered: Vec<UndeliveredSignal>,
        /// How many `Signal` messages have reached its supervisor; later ones are still on their way.
        signals_received: u64,
        /// As of `Usage`.
        cpu_seconds: f64,
        /// How long it has been stopped, in microseconds.
        stopped_us: u64,
        /// Why, if it was not recalled: one line.
        cause: Option<String>,
        /// CLOCK_MONOTONIC as it saw it last: it must not go back.
        monotonic_ns: u64,
        /// Pages were sent before: first home shall say what it has made anew (`Renewed`).
        awaits_renewed: bool,
    },
    /// The guest has read so much of what it was sent ahead ([`Ahead`]): the descriptor's offset moves on. Sent before
    /// anything else that it does.
    Consumed {
        /// Which guest.
        pid: i32,
        /// The descriptor.
        descriptor: i32,
        /// How many bytes.
        bytes: u32,
    },
    /// What consecutive pages contain, while the guest runs on; the payload is a key and their digests
    /// ([`crate::secure::page_digest`]). Answered by `Compared`.
    Digests {
        /// Whose.
        pid: i32,
        /// Page-aligned.
        address: u64,
    },
    /// Pages from this address on, of a guest that runs on; the payload is their contents.
    EarlyPages {
        /// Whose.
        pid: i32,
        /// Page-aligned.
        address: u64,
    },
    /// Before `Pages`: what home has already, page-aligned begin and end.
    Kept {
        /// Each within the program's memory.
        runs: Vec<(u64, u64)>,
    },
    /// Pages from this address on; the payload is their contents.
    Pages {
        /// Page-aligned.
        address: u64,
    },
    /// A part of a shared object's contents, behind all `Pages`: objects and offsets ascend, what is not sent
    /// is zero.
    ObjectPages {
        /// The object's number.
        object: u64,
        /// Page-aligned.
        offset: u64,
    },
    /// All pages have been sent: this many.
    PagesEnd {
        /// Their number.
        count: u64,
    },
    /// The guest was lost on its node, which lives on: as if the node were lost, for this guest alone.
    GuestLost {
        /// Which.
        pid: i32,
        /// Why: one line.
        cause: String,
    },
    /// CPU time used by the guest so far, in seconds; also says that the channel is alive.
    Usage {
        /// Which guest.
        pid: i32,
        /// User and system time together.
        cpu_seconds: f64,
        /// As of `Homecoming`.
        signals_received: u64,
    },
}

impl ToDeputy {
    /// The thread or process that the message is about; none if it is part of a move.
    pub fn concerns(&self) -> Option<i32> {
        match self {
            Self::Call { tid, .. }
            | Self::Mask { tid, .. }
            | Self::GiveBack { tid, .. }
            | Self::Action { tid, .. }
            | Self::Map { tid, .. }
            | Self::Remap { tid, .. }
            | Self::Mappings { tid, .. }
            | Self::StartThread { tid, .. }
            | Self::Fork { tid, .. }
            | Self::ThreadExit { tid, .. }
            | Self::Exit { tid, .. } => Some(*tid),
            Self::GuestLost { pid, .. }
            | Self::Usage { pid, .. }
            | Self::Consumed { pid, .. }
            | Self::Digests { pid, .. }
            | Self::EarlyPages { pid, .. } => Some(*pid),
            Self::Homecoming { image, .. } => Some(image.pid),
            Self::AskClocks
            | Self::Prepared { .. }
            | Self::Drafted
            | Self::Refused(_)
            | Self::Restored
            | Self::Failed(_)
            | Self::Pages { .. }
            | Self::Kept { .. }
            | Self::ObjectPages { .. }
            | Self::PagesEnd { .. } => None,
        }
    }
}

/// What mremap(2) has done with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remapped {
    /// Where it was.
    pub old_start: u64,
    /// Its length before; 0 if a shared mapping was mapped once more.
    pub old_length: u64,
    /// Its length now.
    pub new_length: u64,
    /// Where it is now.
    pub new_start: u64,
    /// The old place stays mapped (MREMAP_DONTUNMAP).
    pub stays: bool,
}

/// A line of a guest's /proc/PID/maps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappedLine {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// PROT_* bits.
    pub protection: u32,
    /// MAP_SHARED.
    pub shared: bool,
    /// Where in the object it begins, in bytes.
    pub offset: u64,
    /// The number of the object that it shows, if it does.
    pub object: Option<u64>,
    /// What the kernel calls it, if it shows none: empty, or in brackets.
    pub name: String,
}

impl MappedLine {
    /// Of a mapping that shows this object, if any.
    pub fn of(mapping: &Mapping, object: Option<u64>) -> MappedLine {
        let name = match &mapping.kind {
            MappingKind::Anonymous { name: None } => String::new(),
            MappingKind::Anonymous { name: Some(name) } => format!("[anon:{name}]"),
            MappingKind::Vsyscall => "[vsyscall]".to_owned(),
            kind if mapping.inode == 0 => kind.to_string(),
            _ => String::new(),
        };
        MappedLine {
            start: mapping.start,
            end: mapping.end,
            protection: mapping.protection(),
            shared: mapping.shared,
            offset: mapping.offset,
            object,
            name,
        }
    }
}
