//! What is seen of a process before it is judged: the thin reader behind [`super::examine`].

use super::sharing::{self, SharedObject};
use crate::limits::MAPPINGS_MAX;
use crate::process::auxv::{self, Entry};
use crate::process::descriptors::{self, Descriptor};
use crate::process::maps;
use crate::process::smaps::{self, MappingDetail};
use crate::process::stat::{self, Stat};
use crate::process::status::{self, State, Status};
use crate::process::{Identity, ReadError, tasks};
use crate::sys::compare;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};

/// All that the judgement needs to know of a process.
#[derive(Clone, Debug)]
pub struct Observation {
    /// /proc/PID/status.
    pub status: Status,
    /// /proc/PID/stat.
    pub stat: Stat,
    /// Each of its threads.
    pub threads: Vec<Thread>,
    /// /proc/PID/smaps.
    pub mappings: Vec<MappingDetail>,
    /// What of it is shared and writable, and who else has that.
    pub shared: Vec<SharedObject>,
    /// /proc/PID/fd.
    pub descriptors: Vec<Descriptor>,
    /// /proc/PID/auxv.
    pub auxiliary_vector: Vec<Entry>,
    /// The program that it executes.
    pub program: Program,
    /// Who traces it, unless that is its own supervisor.
    pub tracer: Option<Tracer>,
    /// How its namespaces compare with ours.
    pub namespaces: Namespaces,
    /// Another process that has the same memory (not a copy), if there is one.
    pub shares_memory_with: Option<u32>,
    /// personality(2).
    pub personality: u32,
}

/// What matters of one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its id.
    pub tid: u32,
    /// What it is doing.
    pub state: State,
    /// SCHED_* of sched(7).
    pub scheduling_policy: u32,
    /// 0 none, 1 strict, 2 filter.
    pub seccomp_mode: u32,
    /// Who traces it, or 0.
    pub tracer: u32,
}

/// The program that a process executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its path, to be shown.
    pub path: String,
    /// What it was built for; nothing if that is none of ours.
    pub word: Option<Word>,
}

/// What an x86 program was built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// x86-64.
    Bits64,
    /// i386.
    Bits32,
    /// x86-64 with 32-bit pointers.
    X32,
}

impl Word {
    /// By the first bytes of an ELF file: class, byte order and machine (elf(5)).
    #[must_use]
    pub fn of_elf(header: &[u8]) -> Option<Word> {
        let (magic, rest) = header.split_first_chunk::<4>()?;
        let (class, machine) = (*rest.first()?, header.get(18..20)?);
        match (magic, class, machine) {
            (b"\x7fELF", 2, [62, 0]) => Some(Word::Bits64),
            (b"\x7fELF", 1, [62, 0]) => Some(Word::X32),
            (b"\x7fELF", 1, [3, 0]) => Some(Word::Bits32),
            _ => None,
        }
    }
}

/// A process that traces another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracer {
    /// Its pid.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

/// How a process's namespaces compare with those of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespaces {
    /// The same pid namespace, for itself and for its children.
    pub same_pid: bool,
    /// The same time namespace, for itself and for its children.
    pub same_time: bool,
}

/// Why a process could not be examined. It was not touched.
#[derive(Debug)]
pub enum ExamineError {
    /// There is no such process, or it ended meanwhile.
    Gone {
        /// The process asked about.
        pid: u32,
    },
    /// It has more of something than Limosa handles.
    TooLarge {
        /// Of what, in the plural.
        what: &'static str,
        /// How many would do.
        limit: usize,
    },
    /// Something could not be read.
    Unreadable(ReadError),
    /// The kernel cannot tell whether two processes share their memory.
    Compare {
        /// One process.
        pid: u32,
        /// The other.
        other: u32,
        /// What the kernel said.
        cause: io::Error,
    },
}

impl fmt::Display for ExamineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExamineError::Gone { pid } => write!(f, "there is no process {pid}"),
            ExamineError::TooLarge { what, limit } => {
                write!(
                    f,
                    "the process has more {what} than Limosa handles ({limit})"
                )
            }
            ExamineError::Unreadable(cause) => write!(f, "{cause}"),
            ExamineError::Compare { pid, other, cause } => {
                write!(
                    f,
                    "cannot tell whether processes {pid} and {other} share memory: {cause}"
                )
            }
        }
    }
}

impl std::error::Error for ExamineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ExamineError::Unreadable(cause) => Some(cause),
            ExamineError::Compare { cause, .. } => Some(cause),
            ExamineError::Gone { .. } | ExamineError::TooLarge { .. } => None,
        }
    }
}

impl From<ReadError> for ExamineError {
    fn from(error: ReadError) -> ExamineError {
        match error {
            ReadError::Gone { pid } => ExamineError::Gone { pid },
            ReadError::TooLarge { file, limit, .. } if file == "task" => ExamineError::TooLarge {
                what: "threads",
                limit,
            },
            ReadError::TooLarge { file, limit, .. } if file == "fd" => ExamineError::TooLarge {
                what: "open descriptors",
                limit,
            },
            ReadError::TooLarge { file, .. } if file == "smaps" => ExamineError::TooLarge {
                what: "mappings",
                limit: MAPPINGS_MAX,
            },
            error => ExamineError::Unreadable(error),
        }
    }
}

impl Observation {
    /// Looks at a process; `supervisor` is the tracer that it may have.
    ///
    /// # Errors
    /// When the process is gone, another took its pid meanwhile, or it cannot be looked at.
    pub fn gather(pid: u32, supervisor: u32) -> Result<Observation, ExamineError> {
        Observation::gather_with(pid, supervisor, None)
    }

    /// As [`Self::gather`], of a process whose mappings may be known already.
    ///
    /// # Errors
    /// As [`Self::gather`].
    pub fn gather_with(
        pid: u32,
        supervisor: u32,
        mappings: Option<Vec<MappingDetail>>,
    ) -> Result<Observation, ExamineError> {
        let stat = stat::read(pid)?;
        let identity = Identity {
            pid,
            start_time_ticks: stat.start_time_ticks,
        };
        let observation = Observation::read(pid, supervisor, stat, mappings)?;
        if identity.is_current()? {
            Ok(observation)
        } else {
            Err(ExamineError::Gone { pid })
        }
    }

    fn read(
        pid: u32,
        supervisor: u32,
        stat: Stat,
        mappings: Option<Vec<MappingDetail>>,
    ) -> Result<Observation, ExamineError> {
        let status = status::read(pid)?;
        let threads = threads(pid)?;
        // Neither a thread of the kernel nor a process that has ended has any of the rest.
        let bare = stat.is_kernel_thread()
            || (threads.len() <= 1 && matches!(stat.state, State::Zombie | State::Dead));
        let nothing = Observation {
            threads,
            mappings: Vec::new(),
            shared: Vec::new(),
            descriptors: Vec::new(),
            auxiliary_vector: Vec::new(),
            program: Program {
                path: stat.name.clone(),
                word: None,
            },
            tracer: None,
            namespaces: Namespaces {
                same_pid: true,
                same_time: true,
            },
            shares_memory_with: None,
            personality: 0,
            status,
            stat,
        };
        if bare {
            return Ok(nothing);
        }
        let mappings = match mappings {
            Some(mappings) => mappings,
            None => smaps::read(pid)?,
        };
        Ok(Observation {
            shared: sharing::shared_objects(pid, &mappings),
            mappings,
            descriptors: descriptors::read(pid)?,
            auxiliary_vector: auxv::read(pid)?,
            program: program(pid)?,
            tracer: tracer(&nothing.threads, supervisor),
            namespaces: Namespaces {
                same_pid: same_namespace(pid, "pid", "pid")?
                    && same_namespace(pid, "pid_for_children", "pid")?,
                same_time: same_namespace(pid, "time", "time")?
                    && same_namespace(pid, "time_for_children", "time")?,
            },
            shares_memory_with: other_with_same_memory(pid, nothing.status.parent)?,
            personality: personality(pid)?,
            ..nothing
        })
    }
}

fn unreadable(pid: u32, file: &str, cause: io::Error) -> ExamineError {
    match cause.raw_os_error() {
        Some(libc::ESRCH | libc::ENOENT) => ExamineError::Gone { pid },
        _ => ReadError::Unreadable {
            pid,
            file: file.to_owned(),
            cause,
        }
        .into(),
    }
}

/// All threads; one that ends meanwhile is left out.
fn threads(pid: u32) -> Result<Vec<Thread>, ExamineError> {
    let mut threads = Vec::new();
    for tid in tasks::read(pid)? {
        let read = status::read_thread(pid, tid)
            .and_then(|status| stat::read_thread(pid, tid).map(|stat| (status, stat)));
        match read {
            Ok((status, stat)) => threads.push(Thread {
                tid,
                state: stat.state,
                scheduling_policy: stat.scheduling_policy,
                seccomp_mode: status.seccomp_mode,
                tracer: status.tracer,
            }),
            Err(ReadError::Gone { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(threads)
}

/// Whoever traces one of the threads and is not the supervisor. A tracer that ended is none.
fn tracer(threads: &[Thread], supervisor: u32) -> Option<Tracer> {
    let pid = threads
        .iter()
        .map(|thread| thread.tracer)
        .find(|pid| ![0, supervisor].contains(pid))?;
    stat::read(pid).ok().map(|stat| Tracer {
        pid,
        name: stat.name,
    })
}

fn program(pid: u32) -> Result<Program, ExamineError> {
    let link = format!("/proc/{pid}/exe");
    let mut header = Vec::new();
    File::open(&link)
        .and_then(|file| file.take(20).read_to_end(&mut header))
        .map_err(|cause| unreadable(pid, "exe", cause))?;
    let path = std::fs::read_link(&link).map_err(|cause| unreadable(pid, "exe", cause))?;
    let path = path.to_string_lossy().escape_debug().to_string();
    Ok(Program {
        path,
        word: Word::of_elf(&header),
    })
}

/// Whether a process has the namespace of a kind that this one is in. Where the kernel has none of that
/// kind, all processes do; one for children that has no init yet has none.
fn same_namespace(pid: u32, link: &str, kind: &str) -> Result<bool, ExamineError> {
    let own = match std::fs::read_link(format!("/proc/self/ns/{kind}")) {
        Ok(own) => own,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(cause) => return Err(unreadable(pid, "ns", cause)),
    };
    let file = format!("ns/{link}");
    match std::fs::read_link(format!("/proc/{pid}/{file}")) {
        Ok(other) => Ok(own == other),
        Err(cause) if link != kind && cause.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(unreadable(pid, &file, cause)),
    }
}

fn personality(pid: u32) -> Result<u32, ExamineError> {
    let file = "personality";
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}"))
        .map_err(|cause| unreadable(pid, file, cause))?;
    u32::from_str_radix(text.trim_end(), 16).map_err(|_| {
        let cause = crate::process::ParseError {
            file,
            line: 1,
            expected: "a hexadecimal number",
        };
        ReadError::Malformed { pid, cause }.into()
    })
}

/// Another process that runs in the very memory of this one: vfork(2) makes such pairs until the child
/// executes a program, clone(2) with CLONE_VM for good. Most are parent and child; else all are asked.
fn other_with_same_memory(pid: u32, parent: u32) -> Result<Option<u32>, ExamineError> {
    let mut others = vec![parent];
    others.extend(sharing::processes());
    for other in others {
        if [0, pid].contains(&other) {
            continue;
        }
        match compare::same_memory(pid, other) {
            // One that is about to end has none, as the kernel's own threads have none.
            Ok(true) if maps::read(pid).is_ok_and(|mappings| mappings.is_empty()) => {
                return Err(ExamineError::Gone { pid });
            }
            Ok(true) => return Ok(Some(other)),
            Ok(false) => {}
            // Gone, or nothing of ours to look at (and nothing that could share a job's memory).
            Err(cause) if matches!(cause.raw_os_error(), Some(libc::ESRCH | libc::EPERM)) => {}
            Err(cause) => return Err(ExamineError::Compare { pid, other, cause }),
        }
    }
    Ok(None)
}
