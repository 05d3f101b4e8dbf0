//! An empty guest: a process with home's pid in namespaces of its own, with nothing to reach.
//!
//! 1. A time namespace in which the monotonic clocks go on as at home.
//! 2. The namespaces' init, in new user, pid, mount, network, IPC, UTS and cgroup namespaces. Its user
//!    0 is nobody outside. It dies with the supervisor, and the kernel kills the guest with it.
//! 3. Its root is an empty read-only directory.
//! 4. The guest: a child of the supervisor with the wanted pid in that pid namespace, which enters the
//!    other namespaces by itself and sleeps until it is filled.

use std::ffi::CStr;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::migrate::freeze;
use crate::sys::child::{self, namespaces};
use crate::sys::ptrace::{self, ThreadId, options};
use crate::sys::signal::SignalSet;
use crate::sys::userfaultfd::Userfaultfd;
use crate::wire::local;

use super::clocks::ClockOffsets;

/// What was being done when making the sandbox failed.
#[derive(Debug)]
pub struct SandboxError {
    step: &'static str,
    cause: io::Error,
}

impl std::fmt::Display for SandboxError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "no sandbox for the guest: {} failed: {}",
            self.step, self.cause
        )
    }
}

impl std::error::Error for SandboxError {}

fn at(step: &'static str) -> impl Fn(io::Error) -> SandboxError {
    move |cause| SandboxError { step, cause }
}

/// The namespaces of a guest, held by their init.
pub struct Sandbox {
    /// Home's clocks, which are its guests' too.
    pub(super) offsets: ClockOffsets,
    init: i32,
    init_descriptor: OwnedFd,
    init_channel: UnixStream,
}

/// User and group "nobody" of the remote node, whom a guest is for it.
const NOBODY: u32 = 65_534;

/// Exists on every node; the guest's namespace sees an empty directory there, as its root.
const ROOT: &CStr = c"/proc";

const ALL_BUT_PID: u64 = namespaces::USER
    | namespaces::MOUNT
    | namespaces::NET
    | namespaces::IPC
    | namespaces::UTS
    | namespaces::CGROUP;

const READY: &[u8] = b"r";
const FAILED: &[u8] = b"f";

/// A guest that is nothing yet.
pub struct EmptyGuest {
    /// Its id as this node numbers it.
    pub leader: ThreadId,
    /// Lets it wait for memory that comes later, if this node can do that.
    pub missing: Option<Userfaultfd>,
    /// Notes what it writes to, if this node can do that.
    pub written: Option<Userfaultfd>,
}

impl Sandbox {
    /// Makes the namespaces.
    pub fn new(offsets: ClockOffsets) -> Result<Sandbox, SandboxError> {
        cover_home_pids();
        child::unshare_time().map_err(at("making a time namespace"))?;
        fs::write("/proc/self/timens_offsets", time_offsets(offsets))
            .map_err(at("setting the time namespace's clocks"))?;
        let (ours, theirs) = UnixStream::pair().map_err(at("socketpair"))?;
        let (init, init_descriptor) =
            child::spawn(ALL_BUT_PID | namespaces::PID, None, move || {
                run_init(theirs)
            })
            .map_err(at("making namespaces"))?;
        let mut sandbox = Sandbox {
            offsets,
            init,
            init_descriptor,
            init_channel: ours,
        };
        sandbox.map_users().map_err(at("mapping users"))?;
        sandbox
            .init_channel
            .write_all(READY)
            .map_err(at("starting the namespaces' init"))?;
        sandbox
            .expect_ready()
            .map_err(at("emptying the guest's root"))?;
        Ok(sandbox)
    }

    /// The pid of the namespaces' init, as this node numbers it.
    pub fn init(&self) -> i32 {
        self.init
    }

    fn map_users(&self) -> io::Result<()> {
        for map in ["uid_map", "gid_map"] {
            fs::write(
                format!("/proc/{}/{map}", self.init),
                format!("0 {NOBODY} 1"),
            )?;
        }
        Ok(())
    }

    fn expect_ready(&mut self) -> io::Result<()> {
        let mut answer = [0];
        self.init_channel.read_exact(&mut answer)?;
        if answer == READY {
            Ok(())
        } else {
            Err(io::Error::other("the namespaces' init refused"))
        }
    }

    /// Has the next process or thread made in the pid namespace get the id `tid`
    /// (/proc/sys/kernel/ns_last_pid).
    pub fn choose_next_id(&mut self, tid: i32) -> io::Result<()> {
        self.init_channel.write_all(&tid.to_le_bytes())?;
        self.expect_ready()
    }

    /// Makes the guest, with `pid` as its pid, and stops it.
    pub fn spawn_guest(&self, pid: i32) -> Result<EmptyGuest, SandboxError> {
        let (mut ours, mut theirs) = UnixStream::pair().map_err(at("socketpair"))?;
        let init = self.init_descriptor.as_fd();
        child::enter(init, namespaces::PID).map_err(at("entering the pid namespace"))?;
        let (guest, _descriptor) = child::spawn(0, Some(pid), || {
            // While it has this node's rights; afterwards it would be told of its own faults only.
            for made in [Userfaultfd::open(), Userfaultfd::noting_writes()] {
                let offered = made.as_ref().ok().map(AsFd::as_fd);
                if local::send(&theirs, &offered.is_some(), offered).is_err() {
                    return 1;
                }
            }
            let entered = child::enter(init, ALL_BUT_PID)
                .and_then(|()| child::close_all_but(theirs.as_fd()))
                .and_then(|()| child::become_namespace_root())
                .and_then(|()| child::die_with_parent())
                .and_then(|()| child::change_root(ROOT));
            let answer = if entered.is_ok() { READY } else { FAILED };
            if theirs.write_all(answer).is_err() || entered.is_err() {
                return 1;
            }
            child::sleep_for_ever()
        })
        .map_err(at("making a process with the home pid"))?;
        let offer = || {
            let offer = local::receive::<bool>(&ours)
                .map_err(io::Error::other)
                .map_err(at("hearing of the guest"))?;
            let descriptor = offer.and_then(|received| received.descriptor);
            Ok(descriptor.map(Userfaultfd::from_descriptor))
        };
        let (missing, written) = (offer()?, offer()?);
        let mut answer = [0];
        ours.read_exact(&mut answer)
            .map_err(at("entering the namespaces"))?;
        if answer != READY {
            return Err(at("entering the namespaces")(io::Error::other(
                "the guest refused",
            )));
        }
        attach(guest).map_err(at("attaching to the guest"))?;
        Ok(EmptyGuest {
            leader: guest,
            missing,
            written,
        })
    }
}

/// Options with which a guest's threads are traced.
pub const GUEST_OPTIONS: u32 = options::SYSCALL_GOOD
    | options::CLONE
    | options::FORK
    | options::VFORK
    | options::SECCOMP
    | options::EXIT_KILL;

fn attach(guest: ThreadId) -> io::Result<()> {
    const TIMEOUT: Duration = Duration::from_secs(5);
    ptrace::seize(guest, GUEST_OPTIONS)?;
    ptrace::interrupt(guest)?;
    freeze::wait_for_stop(guest, Instant::now() + TIMEOUT).map_err(io::Error::other)?;
    ptrace::set_signal_mask(guest, SignalSet::ALL)
}

/// Home's pids may be larger than this kernel hands out by default; best effort here, because making
/// the guest tells if it was needed and failed.
fn cover_home_pids() {
    const LIMIT: &str = "/proc/sys/kernel/pid_max";
    const PID_MAX_LIMIT: u64 = 4 << 20;
    let current = fs::read_to_string(LIMIT)
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok());
    if current.is_some_and(|current| current < PID_MAX_LIMIT)
        && let Err(error) = fs::write(LIMIT, PID_MAX_LIMIT.to_string())
    {
        log::debug!("{LIMIT} stays as it is: {error}");
    }
}

/// The lines for /proc/PID/timens_offsets (time_namespaces(7)).
fn time_offsets(offsets: ClockOffsets) -> String {
    let line = |name, offset_ns: i64| {
        let seconds = offset_ns.div_euclid(1_000_000_000);
        format!("{name} {seconds} {}\n", offset_ns.rem_euclid(1_000_000_000))
    };
    line("monotonic", offsets.monotonic_ns) + &line("boottime", offsets.boottime_ns)
}

/// The namespaces' init: pid 1 in there. Sets the next pid when asked to; ends with the supervisor.
fn run_init(mut channel: UnixStream) -> i32 {
    const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";
    let mut go = [0];
    // If the supervisor has ended already, the channel is closed, and reading it fails.
    let started = child::close_all_but(channel.as_fd()).and_then(|()| channel.read_exact(&mut go));
    if started.is_err() {
        return 1;
    }
    // Opened before the root is emptied; the kernel looks at the writer's pid namespace.
    let prepared = child::become_namespace_root()
        .and_then(|()| child::die_with_parent())
        .and_then(|()| fs::File::options().write(true).open(LAST_PID))
        .and_then(|file| child::empty_root(ROOT).map(|()| file))
        .and_then(|file| child::change_root(ROOT).map(|()| file));
    let Ok(last_pid) = prepared else {
        let _ = channel.write_all(FAILED);
        return 1;
    };
    if channel.write_all(READY).is_err() {
        return 1;
    }
    let mut wanted = [0; 4];
    while channel.read_exact(&mut wanted).is_ok() {
        let before = i32::from_le_bytes(wanted) - 1;
        // Writes behind the beginning of a sysctl file are ignored (sysctl_writes_strict).
        let answer = match last_pid.write_all_at(format!("{before}\n").as_bytes(), 0) {
            Ok(()) => READY,
            Err(_) => FAILED,
        };
        if channel.write_all(answer).is_err() {
            return 1;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_whole_seconds_and_non_negative_nanoseconds_even_when_home_is_behind() {
        let text = time_offsets(ClockOffsets {
            monotonic_ns: -1,
            boottime_ns: i64::MAX / 2,
        });
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
        assert_eq!(lines[0][0], "monotonic");
        assert_eq!(lines[0], ["monotonic", "-1", "999999999"]);
        assert_eq!(lines[1][0], "boottime");
    }
}
