//! Cantmove: why a process cannot leave home now, or cannot go to a given node.
//!
//! [`examine`] looks at a running process without touching it; [`Observation::reasons`] is the pure
//! judgement of what was seen. What is seen can change a moment later, so a move examines first to
//! refuse politely, and again when the process is frozen. [`compare_nodes`] judges whether what runs on
//! one node can run on another.
//!
//! A reason's code is a contract with scripts; its text says what stands in the way and what would
//! remove it.

mod nodes;
mod observation;
mod sharing;

pub use nodes::{compare_nodes, compare_pids};
pub use observation::{ExamineError, Namespaces, Observation, Program, Thread, Tracer, Word};
pub use sharing::{Peer, SharedObject};

use std::os::unix::ffi::OsStrExt;

use crate::migrate::objects;
use crate::process::auxv::KEY_SECURE;
use crate::process::descriptors::Target;
use crate::process::maps::MappingKind;
use crate::process::memory_files::{self, MemoryFile};
use crate::process::smaps::{MappingDetail, VmFlags};
use crate::process::status::State;
use crate::wire::supervisor::Reason;

/// Why this process cannot leave home now; nothing if it can.
///
/// A process that is already traced cannot move, unless it is traced by the caller itself.
///
/// # Errors
/// When the process is gone or cannot be looked at. It is not affected in either case.
pub fn examine(pid: u32) -> Result<Vec<Reason>, ExamineError> {
    examine_supervised(pid, std::process::id())
}

/// As [`examine`], for a process that its supervisor may already trace.
///
/// # Errors
/// When the process is gone or cannot be looked at. It is not affected in either case.
pub fn examine_supervised(pid: u32, supervisor: u32) -> Result<Vec<Reason>, ExamineError> {
    judge(Observation::gather(pid, supervisor))
}

/// As [`examine_supervised`], of a process with these mappings.
///
/// # Errors
/// As [`examine_supervised`].
pub fn examine_mapped(
    pid: u32,
    supervisor: u32,
    mappings: Vec<MappingDetail>,
) -> Result<Vec<Reason>, ExamineError> {
    judge(Observation::gather_with(pid, supervisor, Some(mappings)))
}

fn judge(observed: Result<Observation, ExamineError>) -> Result<Vec<Reason>, ExamineError> {
    match observed {
        Ok(observation) => Ok(observation.reasons()),
        Err(ExamineError::TooLarge { what, limit }) => Ok(vec![reason(
            "too-large",
            format!("it has more {what} than Limosa moves ({limit}); it has to run with fewer"),
        )]),
        Err(error) => Err(error),
    }
}

fn reason(code: &str, text: impl Into<String>) -> Reason {
    Reason {
        code: code.to_owned(),
        text: text.into(),
    }
}

impl Observation {
    /// Why this process cannot leave home; nothing if it can. Of a process that is the kernel's own or
    /// has ended nothing else is said.
    #[must_use]
    pub fn reasons(&self) -> Vec<Reason> {
        if self.status.kernel_thread || self.stat.is_kernel_thread() {
            let text = "it is a thread of the kernel, not a program; it belongs to this machine";
            return vec![reason("kernel-thread", text)];
        }
        if matches!(self.status.state, State::Zombie | State::Dead) && self.threads.len() <= 1 {
            let text = "it has ended and only waits for its parent to ask for its exit status";
            return vec![reason("ended", text)];
        }
        let mut reasons = Vec::new();
        self.judge_tracing(&mut reasons);
        self.judge_program(&mut reasons);
        self.judge_credentials(&mut reasons);
        self.judge_namespaces(&mut reasons);
        self.judge_addresses(&mut reasons);
        self.judge_threads(&mut reasons);
        self.judge_mappings(&mut reasons);
        self.judge_descriptors(&mut reasons);
        reasons
    }

    fn judge_tracing(&self, reasons: &mut Vec<Reason>) {
        if let Some(Tracer { pid, name }) = &self.tracer {
            reasons.push(reason(
                "traced",
                format!("process {pid} ({name}) traces it, and a process has but one tracer; end that first"),
            ));
        }
        if self.threads.iter().any(|thread| thread.seccomp_mode != 0) {
            let text = "it runs under a seccomp filter of its own, which can be neither moved nor \
                        removed; start it without one (many programs have a --no-sandbox)";
            reasons.push(reason("seccomp", text));
        }
    }

    fn judge_program(&self, reasons: &mut Vec<Reason>) {
        let Program { path, word, .. } = &self.program;
        let text = match word {
            Some(Word::Bits64) => return,
            Some(Word::Bits32) => format!("{path} is a 32-bit program; a 64-bit build can move"),
            Some(Word::X32) => {
                format!("{path} is an x32 program; an ordinary 64-bit build can move")
            }
            None => format!("{path} is not an x86-64 program that Limosa can read"),
        };
        reasons.push(reason("not-64-bit", text));
    }

    fn judge_credentials(&self, reasons: &mut Vec<Reason>) {
        let program = &self.program.path;
        let secure = self
            .auxiliary_vector
            .iter()
            .any(|entry| entry.key == KEY_SECURE && entry.value != 0);
        if secure {
            reasons.push(reason(
                "setuid",
                format!(
                    "{program} was started with more rights than its caller has (set-user-ID, \
                     set-group-ID or file capabilities); such a program stays home"
                ),
            ));
        }
    }

    fn judge_namespaces(&self, reasons: &mut Vec<Reason>) {
        if !self.namespaces.same_pid {
            let text = "it or its children live in a pid namespace of their own (a container); run limosa \
                        inside it, or the program outside";
            reasons.push(reason("pid-namespace", text));
        }
        if !self.namespaces.same_time {
            let text = "it or its children live in a time namespace of their own; start it outside";
            reasons.push(reason("time-namespace", text));
        }
        if let Some(other) = self.shares_memory_with {
            reasons.push(reason(
                "memory-of-two-processes",
                format!(
                    "it shares its memory with process {other}, as between vfork and exec; it can move \
                     when one of the two has ended or executed another program"
                ),
            ));
        }
        // ADDR_NO_RANDOMIZE, UNAME26 and PER_LINUX32 change nothing for a program that already runs:
        // its addresses are kept, and uname(2) is answered at home.
        const HARMLESS: u32 = 0x0004_0000 | 0x0002_0000 | 0x0000_0008;
        if self.personality & !HARMLESS != 0 {
            reasons.push(reason(
                "personality",
                format!(
                    "its personality(2) 0x{:08x} changes how the kernel maps memory or keeps time; \
                     start it without setarch options other than -R",
                    self.personality
                ),
            ));
        }
    }

    fn judge_addresses(&self, reasons: &mut Vec<Reason>) {
        if self.status.untag_mask != u64::MAX {
            let text = "it keeps tags in its addresses (Linear Address Masking), which not every CPU \
                        passes over; start it without";
            reasons.push(reason("tagged-addresses", text));
        }
    }

    fn judge_threads(&self, reasons: &mut Vec<Reason>) {
        // SCHED_FIFO, SCHED_RR and SCHED_DEADLINE of sched(7).
        let realtime = |thread: &&Thread| matches!(thread.scheduling_policy, 1 | 2 | 6);
        if let Some(thread) = self.threads.iter().find(realtime) {
            reasons.push(reason(
                "realtime",
                format!(
                    "thread {} has a real-time scheduling policy, which a network cannot honour; \
                     'chrt --other --all-tasks --pid 0 {}' takes it away",
                    thread.tid, self.stat.pid
                ),
            ));
        }
        if let Some(thread) = self
            .threads
            .iter()
            .find(|thread| thread.state == State::DiskSleep)
        {
            reasons.push(reason(
                "device-wait",
                format!(
                    "thread {} waits for a device, a file system or a vfork'ed child and cannot be \
                     stopped just now; try again when that is over",
                    thread.tid
                ),
            ));
        }
    }

    /// One reason for each kind of obstacle: it names the first such mapping and counts the others.
    fn judge_mappings(&self, reasons: &mut Vec<Reason>) {
        for obstacle in Obstacle::ALL {
            let mut found = self
                .mappings
                .iter()
                .filter(|detail| Obstacle::of(detail) == Some(obstacle))
                .filter(|detail| !self.has_alone(detail));
            let Some(first) = found.next() else { continue };
            let others = match found.count() {
                0 => String::new(),
                1 => ", and one more".to_owned(),
                count => format!(", and {count} more"),
            };
            let (code, what, remedy) = obstacle.words();
            let mapping = &first.mapping;
            let sharers = self.shared_object(first);
            let sharers = sharers.and_then(|object| object.others(self.stat.pid));
            let sharers = sharers.map_or(String::new(), |text| format!("{text}; "));
            reasons.push(reason(
                code,
                format!(
                    "it has {what} ({} at {:x}{others}); {sharers}{remedy}",
                    mapping.kind, mapping.start
                ),
            ));
        }
    }

    /// What stands behind a shared and writable mapping.
    fn shared_object(&self, detail: &MappingDetail) -> Option<&SharedObject> {
        let identity = objects::identity(&detail.mapping)?;
        let known = self.shared.iter();
        known
            .filter(|_| objects::is_shared(detail))
            .find(|object| object.identity == identity)
    }

    /// Whether a mapping is of shared memory that nobody else has: that travels.
    fn has_alone(&self, detail: &MappingDetail) -> bool {
        let obstacle = Obstacle::of(detail);
        matches!(
            obstacle,
            Some(Obstacle::SharedMemory | Obstacle::SharedFile)
        ) && self
            .shared_object(detail)
            .is_some_and(SharedObject::is_exclusive)
    }

    fn judge_descriptors(&self, reasons: &mut Vec<Reason>) {
        let open = |name: &str| {
            let opened = |target: &Target| match target {
                Target::Anonymous(anonymous) => anonymous == name,
                _ => false,
            };
            self.descriptors
                .iter()
                .find(|descriptor| opened(&descriptor.target))
        };
        for (name, code, what, remedy) in [
            (
                "[io_uring]",
                "io-uring",
                "an io_uring",
                "start it with io_uring switched off",
            ),
            (
                "[userfaultfd]",
                "userfaultfd",
                "a userfaultfd",
                "it has to run without",
            ),
            (
                "kvm-vm",
                "virtual-machine",
                "a virtual machine",
                "that stays on this machine",
            ),
        ] {
            if let Some(descriptor) = open(name)
                && !reasons.iter().any(|reason| reason.code == code)
            {
                let number = descriptor.number;
                reasons.push(reason(
                    code,
                    format!(
                        "it has {what} open (descriptor {number}), through which the kernel uses its \
                         memory unasked; {remedy}"
                    ),
                ));
            }
        }
        for descriptor in &self.descriptors {
            let Target::Path(path) = &descriptor.target else {
                continue;
            };
            let bytes = path.as_os_str().as_bytes();
            if memory_files::of_path(bytes, self.stat.pid) == Some(MemoryFile::Other) {
                reasons.push(reason(
                    "memory-file",
                    format!(
                        "it has a file open that shows its own memory (descriptor {}: {}); it can move \
                         once it has closed that",
                        descriptor.number,
                        path.display()
                    ),
                ));
                return;
            }
        }
    }
}

/// What about a mapping keeps its process at home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    SharedMemory,
    SharedFile,
    AsynchronousIo,
    Device,
    HugePages,
    Sealed,
    Userfaultfd,
    ShadowStack,
    ProtectionKey,
    HighAddress,
    Unknown,
}

/// Where user space ends with four levels of page tables, which every x86-64 node has.
const LOW_ADDRESS_END: u64 = 1 << 47;

impl Obstacle {
    const ALL: [Obstacle; 11] = [
        Obstacle::SharedMemory,
        Obstacle::SharedFile,
        Obstacle::AsynchronousIo,
        Obstacle::Device,
        Obstacle::HugePages,
        Obstacle::Sealed,
        Obstacle::Userfaultfd,
        Obstacle::ShadowStack,
        Obstacle::ProtectionKey,
        Obstacle::HighAddress,
        Obstacle::Unknown,
    ];

    /// The obstacle that a mapping is, if it is one; the gravest if it is several.
    fn of(detail: &MappingDetail) -> Option<Obstacle> {
        let MappingDetail { mapping, flags, .. } = detail;
        if mapping.kind.is_kernel_provided() {
            return None;
        }
        let userfault = VmFlags::USERFAULT_MISSING
            .union(VmFlags::USERFAULT_WRITE_PROTECT)
            .union(VmFlags::USERFAULT_MINOR);
        if flags.contains(VmFlags::HUGETLB) {
            Some(Obstacle::HugePages)
        } else if is_device(detail) {
            Some(Obstacle::Device)
        } else if flags.intersects(userfault) {
            Some(Obstacle::Userfaultfd)
        } else if flags.contains(VmFlags::SHADOW_STACK) {
            Some(Obstacle::ShadowStack)
        } else if flags.contains(VmFlags::SEALED) {
            Some(Obstacle::Sealed)
        } else if detail.protection_key != 0 {
            Some(Obstacle::ProtectionKey)
        } else if mapping.end > LOW_ADDRESS_END {
            Some(Obstacle::HighAddress)
        } else {
            Obstacle::of_sharing(detail)
        }
    }

    /// A shared mapping of a file that was opened only for reading is no obstacle: it travels as a
    /// private copy (locale archives and gconv caches are mapped so).
    fn of_sharing(detail: &MappingDetail) -> Option<Obstacle> {
        let MappingDetail { mapping, flags, .. } = detail;
        let writable = mapping.write || flags.contains(VmFlags::MAY_WRITE);
        match &mapping.kind {
            MappingKind::Other { name } if name.starts_with('[') => Some(Obstacle::Unknown),
            _ if !mapping.shared => None,
            MappingKind::SharedMemory { .. } => Some(Obstacle::SharedMemory),
            MappingKind::File { path, .. } if path.as_os_str() == "/[aio]" => {
                Some(Obstacle::AsynchronousIo)
            }
            MappingKind::File { .. } => writable.then_some(Obstacle::SharedFile),
            _ => Some(Obstacle::Unknown),
        }
    }

    /// Its code, what it is, and what removes it.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Obstacle::SharedMemory => (
                "shared-memory",
                "memory that other processes can share",
                "it can move once nobody else can, or once it has unmapped that",
            ),
            Obstacle::SharedFile => (
                "shared-file",
                "a file mapped shared and writable",
                "it can move once it has unmapped that, or if it maps the file private or reads it",
            ),
            Obstacle::AsynchronousIo => (
                "asynchronous-io",
                "a ring of asynchronous I/O (io_setup)",
                "it has to be told to do without",
            ),
            Obstacle::Device => (
                "device-memory",
                "memory of a device",
                "that is only here; it has to run without the device",
            ),
            Obstacle::HugePages => (
                "huge-pages",
                "pages of hugetlbfs",
                "transparent huge pages serve as well and can move",
            ),
            Obstacle::Sealed => (
                "sealed-memory",
                "memory sealed by mseal(2), which nobody may map anew",
                "it has to be started without sealing (GLIBC_TUNABLES=glibc.rtld.seal=0)",
            ),
            Obstacle::Userfaultfd => (
                "userfaultfd",
                "memory whose page faults it handles itself (userfaultfd)",
                "it can move once it has unregistered that",
            ),
            Obstacle::ShadowStack => (
                "shadow-stack",
                "a shadow stack",
                "start it with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off",
            ),
            Obstacle::ProtectionKey => (
                "protection-keys",
                "memory under a protection key (pkey_mprotect)",
                "it can move once it has given that the default key again",
            ),
            Obstacle::HighAddress => (
                "high-addresses",
                "memory above 128 TiB, which not every node can address",
                "it has to ask for lower addresses",
            ),
            Obstacle::Unknown => (
                "unknown-mapping",
                "a mapping of a kind that Limosa does not know",
                "it has to run without",
            ),
        }
    }
}

/// Whether a mapping reaches a device: by the kernel's flags, or because it is a device file.
fn is_device(detail: &MappingDetail) -> bool {
    let MappingDetail { mapping, flags, .. } = detail;
    // A private mapping of /dev/zero is anonymous memory under another name; files of /dev/shm are
    // files. MIXED_MAP alone says nothing: files of a DAX file system have it, too.
    let device_file = mapping.kind.path().is_some_and(|path| {
        path.starts_with("/dev") && !path.starts_with("/dev/shm") && path.as_os_str() != "/dev/zero"
    });
    device_file || flags.intersects(VmFlags::IO.union(VmFlags::PAGE_FRAMES))
}

#[cfg(test)]
mod tests;
