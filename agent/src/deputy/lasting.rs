//! Answers about names that last, so that a guest need not ask again.
//!
//! Compilers ask thousands of times whether `/usr/include` is a symbolic link. Errors that tell that a name is
//! absent, or no link, are marked with the directories that they rest on, which are watched ([`super::watch`]). Before
//! anything else is sent to the guests, all that has changed is read and sent (`Forget`): so whatever a guest
//! may hear of, be it by a pipe, a signal or another answer, the changes that came before it are known to it.
//! What home changes meanwhile reaches a guest as late as a frame travels; a call that is forwarded is made as late.

use rustix::event::PollFd;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::migrate::channel::ChannelError;
use crate::sys::call_numbers as number;
use crate::sys::ptrace::ThreadId;
use crate::syscall::name_query::{LastingError, NameQuery};
use crate::wire::migration::ToGuest;

use super::away::{Away, Trouble};
use super::threads::Answer;
use super::watch::{self, Start, Unwatched, Watch};

/// Directories are not watched for processes that ask less often.
const QUESTIONS_BEFORE: u32 = 8;

/// Calls after which a process may find others behind its names, or none.
const LOOKS_ELSEWHERE: [i64; 16] = [
    number::SYS_capset,
    number::SYS_chdir,
    number::SYS_chroot,
    number::SYS_fchdir,
    number::SYS_landlock_restrict_self,
    number::SYS_prctl,
    number::SYS_setfsgid,
    number::SYS_setfsuid,
    number::SYS_setgid,
    number::SYS_setgroups,
    number::SYS_setregid,
    number::SYS_setresgid,
    number::SYS_setresuid,
    number::SYS_setreuid,
    number::SYS_setuid,
    number::SYS_umount2,
];

/// Which answers last, for the processes of a family.
#[derive(Default)]
pub(super) struct LastingAnswers {
    questions: u32,
    watch: Option<Watch>,
    /// Nothing can be watched.
    is_refused: bool,
}

/// A question that is being answered, and the watched directories on the way to its name.
#[derive(Debug)]
pub(super) struct Inquiry {
    query: NameQuery,
    start: Start,
    /// The way to the name, without `.` and `..`.
    path: Vec<u8>,
    directories: Vec<u32>,
}

impl Inquiry {
    /// The directories on which an answer rests; none if it need not last.
    pub(super) fn rests_on(self, process: ThreadId, result: i64) -> Vec<u32> {
        let Inquiry {
            query,
            start,
            path,
            directories,
        } = self;
        let lasts = match query.lasting_error(result) {
            Some(LastingError::NoLink) => true,
            // A symbolic link that leads to nothing is there.
            Some(LastingError::Absent) => {
                let found = watch::open_below(process, start, &path, OFlags::NOFOLLOW);
                matches!(found, Err(Errno::NOENT))
            }
            None => false,
        };
        if lasts { directories } else { Vec::new() }
    }
}

impl LastingAnswers {
    /// Has the way to a name watched, if its answer may last. Before the question is asked at home.
    pub(super) fn inquire(&mut self, process: ThreadId, query: NameQuery) -> Option<Inquiry> {
        self.questions = self.questions.saturating_add(1);
        if self.questions <= QUESTIONS_BEFORE || self.is_refused {
            return None;
        }
        let watch = match &mut self.watch {
            Some(watch) => watch,
            none => match Watch::new(process) {
                Ok(watch) => none.insert(watch),
                Err(error) => {
                    log::debug!("no names are watched for process {process}: {error}");
                    self.is_refused = true;
                    return None;
                }
            },
        };
        follow(watch, process, query)
    }

    /// Forgets everything, if this call may have a process find others behind its names; what guests have to forget.
    fn forget_by(&mut self, call: u64) -> Vec<u32> {
        match &mut self.watch {
            Some(watch) if LOOKS_ELSEWHERE.contains(&call.cast_signed()) => watch.forget_all(),
            _ => Vec::new(),
        }
    }

    /// What to wait for, to tell changes at once.
    pub(super) fn descriptors(&self) -> Vec<PollFd<'_>> {
        self.watch
            .as_ref()
            .map_or_else(Vec::new, Watch::descriptors)
    }

    /// A process is away no more.
    pub(super) fn leave(&mut self, process: ThreadId) {
        if let Some(watch) = &mut self.watch {
            watch.forget_process(process);
        }
    }
}

/// Follows a name from directory to directory, each of which is watched before the next is looked for.
fn follow(watch: &mut Watch, process: ThreadId, query: NameQuery) -> Option<Inquiry> {
    let start = match query.path.first() {
        Some(b'/') => Start::Root,
        _ => Start::Current,
    };
    let mut steps = query.path.split(|&byte| byte == b'/');
    let name = (steps.next_back()).filter(|name| !matches!(name, [] | [b'.'] | [b'.', b'.']))?;
    let mut path = Vec::new();
    let mut here = watch.directory(process, start, &path).ok()?;
    let mut directories = vec![here];
    let mut is_absent = false;
    for step in steps.filter(|step| !matches!(step, [] | [b'.'])) {
        if step == b".." {
            // Above the root there is the root, above the current directory something unknown.
            if path.is_empty() && start == Start::Current {
                return None;
            }
            path.truncate(path.iter().rposition(|&byte| byte == b'/').unwrap_or(0));
        } else {
            step_into(watch, here, &mut path, step)?;
        }
        match watch.directory(process, start, &path) {
            Ok(number) => here = number,
            Err(Unwatched::Absent) => {
                is_absent = true;
                break;
            }
            Err(Unwatched::Refused) => return None,
        }
        directories.push(here);
    }
    if !is_absent {
        step_into(watch, here, &mut path, name)?;
    }
    directories.sort_unstable();
    directories.dedup();
    Some(Inquiry {
        query,
        start,
        path,
        directories,
    })
}

/// Lengthens a path by a name in the directory that it leads to.
fn step_into(watch: &mut Watch, directory: u32, path: &mut Vec<u8>, name: &[u8]) -> Option<()> {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    watch.note_name(directory, name).then_some(())
}

impl Away<'_> {
    /// Sends what the guest, or its supervisor, is to know, behind all that it must have forgotten by then.
    pub(super) fn tell(&mut self, header: &ToGuest, payload: &[u8]) -> Result<(), ChannelError> {
        self.tell_changes()?;
        self.channel.send(header, payload)
    }

    /// Says which answers hold no more.
    pub(super) fn tell_changes(&mut self) -> Result<(), ChannelError> {
        match &mut self.lasting.watch {
            Some(watch) => {
                let changed = watch.changed();
                self.tell_forgotten(changed)
            }
            None => Ok(()),
        }
    }

    /// As [`Self::tell`]; an answer that does not last any more is not said to.
    pub(super) fn tell_answer(&mut self, mut answer: Answer) -> Result<(), ChannelError> {
        self.tell_changes()?;
        if let (ToGuest::Return { lasting, .. }, Some(watch)) =
            (&mut answer.header, &self.lasting.watch)
            && !lasting.iter().all(|&number| watch.has(number))
        {
            lasting.clear();
        }
        self.channel.send(&answer.header, &answer.payload)
    }

    fn tell_forgotten(&mut self, directories: Vec<u32>) -> Result<(), ChannelError> {
        if directories.is_empty() {
            return Ok(());
        }
        let header = ToGuest::Forget { directories };
        self.channel.send(&header, &[])
    }

    /// The guest makes this call at home, or has: it may find others behind its names by it.
    pub(super) fn forget_by(&mut self, call: u64) -> Result<(), Trouble> {
        let forgotten = self.lasting.forget_by(call);
        Ok(self.tell_forgotten(forgotten)?)
    }
}
