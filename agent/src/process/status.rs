//! /proc/PID/status: who a process is, whose it is, and how signals, tracing and seccomp treat it.

use super::{ParseError, ReadError, field, read_file};
use crate::limits::PROC_FILE_BYTES_MAX;

const FILE: &str = "status";

/// What a thread is doing (proc_pid_status(5), `State`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Running or ready to run.
    Running,
    /// Waits, and a signal wakes it.
    Sleeping,
    /// Waits in the kernel, and no signal wakes it.
    DiskSleep,
    /// Stopped by a signal.
    Stopped,
    /// Stopped by its tracer.
    TracingStop,
    /// Has ended and waits for its parent.
    Zombie,
    /// Is ending.
    Dead,
    /// Idle (kernel threads) or parked.
    Idle,
}

impl State {
    /// The state behind its letter, in status and in stat.
    pub(super) fn from_letter(letter: u8) -> Option<State> {
        Some(match letter {
            b'R' => State::Running,
            b'S' => State::Sleeping,
            b'D' => State::DiskSleep,
            b'T' => State::Stopped,
            b't' => State::TracingStop,
            b'Z' => State::Zombie,
            b'X' | b'x' => State::Dead,
            b'I' | b'P' => State::Idle,
            _ => return None,
        })
    }
}

/// The four ids that a process has of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// Whom the process belongs to.
    pub real: u32,
    /// Whose rights it has.
    pub effective: u32,
    /// Whose rights it can take back.
    pub saved: u32,
    /// Whose rights count for files.
    pub file_system: u32,
}

impl Ids {
    /// Whether all four are the same, so that nothing can be regained.
    #[must_use]
    pub fn is_uniform(self) -> bool {
        [self.effective, self.saved, self.file_system]
            .iter()
            .all(|id| *id == self.real)
    }
}

/// Sets of signals: signal N is bit N-1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// Waiting for this thread.
    pub pending: u64,
    /// Waiting for the process.
    pub pending_shared: u64,
    /// Blocked by this thread.
    pub blocked: u64,
    /// Ignored by the process.
    pub ignored: u64,
    /// Caught by the process.
    pub caught: u64,
}

/// Capability sets, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySets {
    /// Passed on by exec to programs that want them.
    pub inheritable: u64,
    /// What it may take.
    pub permitted: u64,
    /// What it has.
    pub effective: u64,
    /// What no program it executes can exceed.
    pub bounding: u64,
    /// Passed on by exec to ordinary programs.
    pub ambient: u64,
}

/// What of status matters to a migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its name (comm), at most 15 bytes for a user's process, safe to show.
    pub name: String,
    /// What the thread is doing.
    pub state: State,
    /// The process, in the reader's pid namespace.
    pub process: u32,
    /// The thread.
    pub thread: u32,
    /// Its parent; 0 if that is outside the reader's pid namespace.
    pub parent: u32,
    /// Who traces it; 0 for nobody, or for somebody outside the reader's pid namespace.
    pub tracer: u32,
    /// User ids.
    pub user: Ids,
    /// Group ids.
    pub group: Ids,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Its tid in each pid namespace from the reader's down to its own; empty on kernels without them.
    pub namespace_threads: Vec<u32>,
    /// Threads of the process.
    pub threads: u32,
    /// Resident memory in bytes; nothing without memory of its own (zombie, kernel thread).
    pub resident_bytes: Option<u64>,
    /// Locked memory in bytes.
    pub locked_bytes: Option<u64>,
    /// Signals.
    pub signals: Signals,
    /// Capabilities.
    pub capabilities: CapabilitySets,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privileges: bool,
    /// 0 none, 1 strict, 2 filter.
    pub seccomp_mode: u32,
    /// Bits of an address that count: others may be tags (Linear Address Masking); all on kernels without it.
    pub untag_mask: u64,
    /// The kernel says that it is a thread of its own (from Linux 6.8; before, stat's flags tell).
    pub kernel_thread: bool,
}

/// Every field that is always there, found or not yet.
#[derive(Default)]
struct Found {
    name: Option<String>,
    state: Option<State>,
    process: Option<u32>,
    thread: Option<u32>,
    parent: Option<u32>,
    tracer: Option<u32>,
    user: Option<Ids>,
    group: Option<Ids>,
    threads: Option<u32>,
}

/// The contents of a status file.
///
/// # Errors
/// When a line is not `Key: value`, a value is not of its kind, or one that is always there is missing.
pub fn parse(contents: &[u8]) -> Result<Status, ParseError> {
    let mut found = Found::default();
    let mut rest = Rest::default();
    for (line, text) in field::lines(contents) {
        let error = |expected| ParseError {
            file: FILE,
            line,
            expected,
        };
        let (key, value) = field::key_and_value(text).ok_or(error("Key: value"))?;
        let number = || field::decimal::<u32>(value).ok_or(error("a number"));
        match key {
            b"Name" => found.name = Some(field::process_name(value)),
            b"State" => {
                let letter = value.first().copied().and_then(State::from_letter);
                found.state = Some(letter.ok_or(error("a state"))?);
            }
            b"Tgid" => found.process = Some(number()?),
            b"Pid" => found.thread = Some(number()?),
            b"PPid" => found.parent = Some(number()?),
            b"TracerPid" => found.tracer = Some(number()?),
            b"Uid" => found.user = Some(ids(value).ok_or(error("four ids"))?),
            b"Gid" => found.group = Some(ids(value).ok_or(error("four ids"))?),
            b"Threads" => found.threads = Some(number()?),
            _ => rest.take(key, value).map_err(error)?,
        }
    }
    let missing = |expected| ParseError {
        file: FILE,
        line: 0,
        expected,
    };
    Ok(Status {
        name: found.name.ok_or(missing("Name"))?,
        state: found.state.ok_or(missing("State"))?,
        process: found.process.ok_or(missing("Tgid"))?,
        thread: found.thread.ok_or(missing("Pid"))?,
        parent: found.parent.ok_or(missing("PPid"))?,
        tracer: found.tracer.ok_or(missing("TracerPid"))?,
        user: found.user.ok_or(missing("Uid"))?,
        group: found.group.ok_or(missing("Gid"))?,
        threads: found.threads.ok_or(missing("Threads"))?,
        groups: rest.groups,
        namespace_threads: rest.namespace_threads,
        resident_bytes: rest.resident_bytes,
        locked_bytes: rest.locked_bytes,
        signals: rest.signals,
        capabilities: rest.capabilities,
        no_new_privileges: rest.no_new_privileges,
        seccomp_mode: rest.seccomp_mode,
        untag_mask: rest.untag_mask.unwrap_or(u64::MAX),
        kernel_thread: rest.kernel_thread,
    })
}

/// The fields that not every kernel or not every process has.
#[derive(Default)]
struct Rest {
    groups: Vec<u32>,
    namespace_threads: Vec<u32>,
    resident_bytes: Option<u64>,
    locked_bytes: Option<u64>,
    signals: Signals,
    capabilities: CapabilitySets,
    no_new_privileges: bool,
    seccomp_mode: u32,
    untag_mask: Option<u64>,
    kernel_thread: bool,
}

impl Rest {
    /// Keeps the value if the key is one of ours; else says what was expected of the value.
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let size = || field::kilobytes(value).map(Some).ok_or("a size in kB");
        let mask = || field::hexadecimal(value).ok_or("a hexadecimal mask");
        let number = || field::decimal::<u32>(value).ok_or("a number");
        match key {
            b"Groups" => self.groups = numbers(value).ok_or("group ids")?,
            b"NSpid" => self.namespace_threads = numbers(value).ok_or("pids")?,
            b"VmRSS" => self.resident_bytes = size()?,
            b"VmLck" => self.locked_bytes = size()?,
            b"SigPnd" => self.signals.pending = mask()?,
            b"ShdPnd" => self.signals.pending_shared = mask()?,
            b"SigBlk" => self.signals.blocked = mask()?,
            b"SigIgn" => self.signals.ignored = mask()?,
            b"SigCgt" => self.signals.caught = mask()?,
            b"CapInh" => self.capabilities.inheritable = mask()?,
            b"CapPrm" => self.capabilities.permitted = mask()?,
            b"CapEff" => self.capabilities.effective = mask()?,
            b"CapBnd" => self.capabilities.bounding = mask()?,
            b"CapAmb" => self.capabilities.ambient = mask()?,
            b"NoNewPrivs" => self.no_new_privileges = number()? != 0,
            b"Seccomp" => self.seccomp_mode = number()?,
            b"untag_mask" => {
                let digits = value.strip_prefix(b"0x").unwrap_or(value);
                self.untag_mask = Some(field::hexadecimal(digits).ok_or("a hexadecimal mask")?);
            }
            b"Kthread" => self.kernel_thread = number()? != 0,
            _ => {}
        }
        Ok(())
    }
}

fn numbers(value: &[u8]) -> Option<Vec<u32>> {
    field::words(value).map(field::decimal).collect()
}

fn ids(value: &[u8]) -> Option<Ids> {
    match numbers(value)?[..] {
        [real, effective, saved, file_system] => Some(Ids {
            real,
            effective,
            saved,
            file_system,
        }),
        _ => None,
    }
}

/// The status of a process (of its first thread).
///
/// # Errors
/// When the process is gone, or its file cannot be read or understood.
pub fn read(pid: u32) -> Result<Status, ReadError> {
    let contents = read_file(pid, FILE, PROC_FILE_BYTES_MAX)?;
    parse(&contents).map_err(|cause| ReadError::Malformed { pid, cause })
}

/// The status of one thread of a process.
///
/// # Errors
/// When the thread is gone, or its file cannot be read or understood.
pub fn read_thread(pid: u32, tid: u32) -> Result<Status, ReadError> {
    let contents = read_file(pid, &format!("task/{tid}/{FILE}"), PROC_FILE_BYTES_MAX)?;
    parse(&contents).map_err(|cause| ReadError::Malformed { pid, cause })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SLEEP: &[u8] = include_bytes!("fixtures/status-sleep");

    /// The file of `sleep` with one line put in place of that with the same key.
    fn with(line: &str) -> Result<Status, ParseError> {
        let key = line.split(':').next().unwrap().to_owned() + ":";
        let text = std::str::from_utf8(SLEEP).unwrap();
        let lines = text
            .lines()
            .map(|old| if old.starts_with(&key) { line } else { old });
        parse(lines.collect::<Vec<_>>().join("\n").as_bytes())
    }

    #[test]
    fn an_ordinary_process_is_read_in_full() {
        let status = parse(SLEEP).unwrap();
        assert_eq!(
            (status.name.as_str(), status.state),
            ("sleep", State::Sleeping)
        );
        assert_eq!(
            (status.process, status.thread, status.parent),
            (20255, 20255, 20206)
        );
        assert_eq!(
            (status.tracer, status.threads, status.seccomp_mode),
            (0, 1, 0)
        );
        assert_eq!(status.namespace_threads, [20255]);
        assert!(status.user.is_uniform() && status.group.is_uniform());
        assert_eq!(status.capabilities.effective, 0x1ff_feff_ffff);
        assert!(status.resident_bytes.unwrap() > 0);
        assert!(!status.no_new_privileges && !status.kernel_thread);
        assert!(status.groups.is_empty());
    }

    #[test]
    fn a_name_can_be_anything_and_forges_nothing() {
        let status = with("Name:\tx\\nTracerPid:\\t7 (y)").unwrap();
        assert_eq!(status.name, "x\\nTracerPid:\\t7 (y)");
        assert_eq!(status.tracer, 0);
        assert_eq!(with("Name:\t").unwrap().name, "");
    }

    #[test]
    fn several_namespaces_groups_and_ids_are_told_apart() {
        assert_eq!(
            with("NSpid:\t20255\t12\t1").unwrap().namespace_threads,
            [20255, 12, 1]
        );
        assert_eq!(
            with("Groups:\t4 24 27 1000 ").unwrap().groups,
            [4, 24, 27, 1000]
        );
        let ids = with("Uid:\t1000\t0\t0\t0").unwrap().user;
        assert_eq!(
            (ids.real, ids.effective, ids.is_uniform()),
            (1000, 0, false)
        );
    }

    #[test]
    fn a_kernel_thread_has_no_memory_and_that_is_fine() {
        let text = String::from_utf8(SLEEP.to_vec()).unwrap();
        let without: Vec<_> = text
            .lines()
            .filter(|line| !line.starts_with("Vm"))
            .collect();
        assert_eq!(
            parse(without.join("\n").as_bytes()).unwrap().resident_bytes,
            None
        );
    }

    #[test]
    fn wrong_values_are_refused() {
        for bad in [
            "State:\tQ (quick)",
            "State:",
            "Uid:\t0\t0\t0",
            "Uid:\t0\t0\t0\t0\t0",
            "Threads:\tmany",
            "TracerPid:\t-1",
            "SigBlk:\txyz",
            "VmRSS:\t12 MB",
            "NSpid:\t1\t-2",
        ] {
            assert!(with(bad).unwrap_err().line > 0, "{bad}");
        }
        assert_eq!(parse(b"").unwrap_err().expected, "Name");
        assert_eq!(parse(b"no colon").unwrap_err().line, 1);
    }

    #[test]
    fn our_own_status_is_read() {
        let status = read(std::process::id()).unwrap();
        assert_eq!(status.process, std::process::id());
        let thread = read_thread(std::process::id(), std::process::id()).unwrap();
        assert_eq!(thread.thread, std::process::id());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(contents in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&contents);
        }

        #[test]
        fn a_file_with_one_byte_changed_is_survived(at in 0..SLEEP.len(), byte in any::<u8>()) {
            let mut contents = SLEEP.to_vec();
            contents[at] = byte;
            let _ = parse(&contents);
            let _ = parse(&contents[..at]);
        }
    }
}
