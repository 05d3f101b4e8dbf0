//! The cgroups that say which processes are ours.
//!
//! ```text
//! <cgroup2 mount>/limosa-<run directory>/job-1          a job: what `limosa run` started, with children
//!                                       /job-2-home     a job that is not to leave home
//!                                       /job-3-follow   a job whose programs follow each other
//!                                       /supervisors    supervisors, so that they end with no service
//!                   /limosa-<run directory>-guests      guests: beside all that the owner runs, at a low weight
//! ```
//!
//! Membership is what is wanted, so this works beside any cgroup manager and on hosts whose controllers are all in
//! cgroup v1; only guests are given a weight, where the cpu controller is to be had.
//! Everything known of a job is in its cgroup's name, and which nodes it
//! may use in an extended attribute of it, so an agent that starts again finds its jobs there.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{XattrFlags, getxattr, setxattr};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::choice::NodeChoice;
use crate::limits::CONTROL_REQUEST_BYTES_MAX;
use crate::process::mountinfo::{self, Mount};

/// The extended attribute in which a job's choice of nodes is kept: xattr(7).
const CHOICE: &str = "user.limosa.nodes";

/// The weight of all guests together (cpu.weight); what the owner runs has 100, group by group.
const GUESTS_WEIGHT: &str = "10";

/// Why this node's jobs cannot be kept in cgroups.
#[derive(Debug)]
pub enum CgroupError {
    /// No cgroup2 file system is mounted.
    NotMounted,
    /// The directory cannot be made or used.
    Unusable {
        /// The directory.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
}

impl fmt::Display for CgroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMounted => f.write_str("no cgroup2 file system is mounted"),
            Self::Unusable { path, error } => {
                write!(f, "cannot use the cgroup {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for CgroupError {}

/// A job's cgroup, as its name tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobName {
    /// The job's number.
    pub number: u32,
    /// Where its processes may go.
    pub policy: JobPolicy,
}

/// Where a job's processes may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobPolicy {
    /// Wherever they are sent.
    Free,
    /// They are not to leave home.
    StayHome,
    /// Wherever they are sent; and what one of them executes while it is away is sent after it.
    Follow,
    /// Wherever a person sends them; nobody else does.
    ByHand,
}

impl JobPolicy {
    const ALL: [Self; 4] = [Self::Free, Self::StayHome, Self::Follow, Self::ByHand];

    /// Behind the number in a cgroup's name.
    fn suffix(self) -> &'static str {
        match self {
            Self::Free => "",
            Self::StayHome => "-home",
            Self::Follow => "-follow",
            Self::ByHand => "-by-hand",
        }
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job-{}{}", self.number, self.policy.suffix())
    }
}

impl JobName {
    /// Reads the name of a cgroup; none if it is not a job's.
    pub fn parse(name: &OsStr) -> Option<Self> {
        let rest = name.to_str()?.strip_prefix("job-")?;
        let digits = rest.find('-').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(digits);
        let policy = JobPolicy::ALL
            .into_iter()
            .find(|policy| policy.suffix() == suffix)?;
        Some(Self {
            number: number.parse().ok()?,
            policy,
        })
    }

    /// Whether its processes are not to leave home.
    pub fn stays_home(&self) -> bool {
        self.policy == JobPolicy::StayHome
    }
}

/// This agent's cgroups.
#[derive(Debug)]
pub struct Cgroups {
    /// Their directory.
    directory: PathBuf,
    /// The same as /proc/PID/cgroup names it.
    name: PathBuf,
    /// Of all guests; made when there is one.
    guests: PathBuf,
    /// Keeps a mount that nobody else sees.
    _private_mount: Option<OwnedFd>,
}

impl Cgroups {
    /// Finds this agent's cgroups, or makes them. They are named after the run directory, which is
    /// what distinguishes agents that share a kernel.
    ///
    /// Where no cgroup2 is mounted, or it cannot be written, as in many containers, it is mounted for
    /// this process alone. The error is that of the mount that everybody sees.
    pub fn open(run_dir: &Path) -> Result<Self, CgroupError> {
        let run_dir_status = fs::metadata(run_dir).map_err(unusable(run_dir))?;
        let name = format!(
            "limosa-{:x}-{:x}",
            run_dir_status.dev(),
            run_dir_status.ino()
        );
        let path = Path::new("/proc/self/mountinfo");
        let mountinfo = fs::read(path).map_err(unusable(path))?;
        let visible = mountinfo::find(&mountinfo, "cgroup2", None).ok_or(CgroupError::NotMounted);
        visible
            .and_then(|mount| Self::open_in(&mount, &name, None))
            .or_else(|error| Self::open_privately(&name).map_err(|_| error))
    }

    fn open_in(mount: &Mount, name: &str, private: Option<OwnedFd>) -> Result<Self, CgroupError> {
        let cgroups = Self {
            name: mount.root.join(name),
            directory: mount.point.join(name),
            guests: mount.point.join(format!("{name}-guests")),
            _private_mount: private,
        };
        for path in [cgroups.directory.clone(), cgroups.supervisors()] {
            make_directory(&path).map_err(unusable(&path))?;
        }
        Ok(cgroups)
    }

    /// A mount in no namespace, held and reached by its descriptor: fsmount(2).
    fn open_privately(name: &str) -> Result<Self, CgroupError> {
        let context = fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)
            .and_then(|context| fsconfig_create(&context).map(|()| context));
        let mount = context.and_then(|context| {
            fsmount(
                &context,
                FsMountFlags::FSMOUNT_CLOEXEC,
                MountAttrFlags::empty(),
            )
        });
        let mount = mount.map_err(|_| CgroupError::NotMounted)?;
        let point = format!("/proc/self/fd/{}", mount.as_raw_fd()).into();
        Self::open_in(
            &Mount {
                root: "/".into(),
                point,
            },
            name,
            Some(mount),
        )
    }

    /// Their directory, as /proc/PID/cgroup names it.
    pub fn name(&self) -> &Path {
        &self.name
    }

    fn supervisors(&self) -> PathBuf {
        self.directory.join("supervisors")
    }

    fn job(&self, job: JobName) -> PathBuf {
        self.directory.join(job.to_string())
    }

    /// The jobs that have a cgroup.
    pub fn jobs(&self) -> io::Result<Vec<JobName>> {
        let mut jobs = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            jobs.extend(JobName::parse(&entry?.file_name()));
        }
        jobs.sort_unstable();
        Ok(jobs)
    }

    /// Makes a job's cgroup and puts a process into it; nothing is left behind if that fails.
    pub fn start(&self, job: JobName, choice: Option<&NodeChoice>, pid: u32) -> io::Result<()> {
        let path = self.job(job);
        fs::create_dir(&path)?;
        let kept = choice.map_or(Ok(()), |choice| {
            let text = choice.to_text();
            setxattr(&path, CHOICE, text.as_bytes(), XattrFlags::CREATE)
        });
        kept.map_err(io::Error::from)
            .and_then(|()| put(&path, pid))
            .inspect_err(|_| {
                // Still empty, so this can only fail if somebody else removed it.
                let _ = fs::remove_dir(&path);
            })
    }

    /// Which nodes a job may use, if it may not use all.
    pub fn choice(&self, job: JobName) -> Option<NodeChoice> {
        let mut text = vec![0; CONTROL_REQUEST_BYTES_MAX];
        // Most jobs have no such attribute.
        let length = getxattr(self.job(job), CHOICE, text.as_mut_slice()).ok()?;
        NodeChoice::parse(std::str::from_utf8(text.get(..length)?).ok()?)
    }

    /// The supervisors, and the guests that descend from them.
    pub fn supervised(&self) -> io::Result<Vec<u32>> {
        let mut text = fs::read_to_string(self.supervisors().join("cgroup.procs"))?;
        // Not there before the first guest.
        text += &fs::read_to_string(self.guests.join("cgroup.procs")).unwrap_or_default();
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// Gives guests their low weight. Asked for again and again: another manager of cgroups may take the controller away.
    pub fn lower(&self, guests: &[u32]) -> io::Result<()> {
        let root = self.guests.parent().unwrap_or(&self.guests);
        if !has_controller(root, "cpu")? {
            let text = "the cpu controller is not in the cgroup2 hierarchy";
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        make_directory(&self.guests)?;
        let weight = self.guests.join("cpu.weight");
        if !fs::read_to_string(&weight).is_ok_and(|set| set.trim() == GUESTS_WEIGHT) {
            fs::write(root.join("cgroup.subtree_control"), "+cpu")?;
            fs::write(&weight, GUESTS_WEIGHT)?;
        }
        let lowered = fs::read_to_string(self.guests.join("cgroup.procs"))?;
        let lowered: Vec<u32> = lowered.lines().filter_map(|pid| pid.parse().ok()).collect();
        for &guest in guests.iter().filter(|guest| !lowered.contains(guest)) {
            // Who has just ended needs no weight.
            let _ = put(&self.guests, guest);
        }
        Ok(())
    }

    /// The directory of the supervisors' cgroup, to start one in it.
    pub fn open_supervisors(&self) -> io::Result<OwnedFd> {
        Ok(fs::File::open(self.supervisors())?.into())
    }

    /// The job that a process belongs to.
    pub fn job_of(&self, pid: u32) -> Option<JobName> {
        let text = fs::read(format!("/proc/{pid}/cgroup")).ok()?;
        job_in(&text, &self.name)
    }

    /// The processes of a job and of the cgroups that it may have made below its own.
    pub fn processes(&self, job: JobName) -> io::Result<Vec<u32>> {
        let mut pids = Vec::new();
        let mut waiting = vec![self.job(job)];
        while let Some(path) = waiting.pop() {
            let text = fs::read_to_string(path.join("cgroup.procs"))?;
            // 0 stands for a process outside our pid namespace.
            pids.extend(
                text.lines()
                    .filter_map(|line| line.parse::<u32>().ok())
                    .filter(|&pid| pid != 0),
            );
            waiting.extend(children(&path)?);
        }
        pids.sort_unstable();
        Ok(pids)
    }

    /// Removes a job's cgroup if no process is left in it, and says whether it did.
    pub fn remove_if_empty(&self, job: JobName) -> io::Result<bool> {
        let path = self.job(job);
        let events = fs::read_to_string(path.join("cgroup.events"))?;
        if !events.lines().any(|line| line == "populated 0") {
            return Ok(false);
        }
        match remove_tree(&path) {
            Ok(()) => Ok(true),
            // A process came in meanwhile.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes what is empty; called when the agent stops.
    pub fn remove_empty(&self) {
        // What still holds processes stays and is found again by the next agent.
        for job in self.jobs().unwrap_or_default() {
            let _ = self.remove_if_empty(job);
        }
        let _ = fs::remove_dir(self.supervisors());
        let _ = fs::remove_dir(&self.guests);
        let _ = fs::remove_dir(&self.directory);
    }
}

/// The job's name in the text of a /proc/PID/cgroup file, if the process is below `ours`.
fn job_in(text: &[u8], ours: &Path) -> Option<JobName> {
    let path = text
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"0::".as_slice()))?;
    let below = Path::new(OsStr::from_bytes(path)).strip_prefix(ours).ok()?;
    JobName::parse(below.iter().next()?)
}

/// Whether the groups of this one can be given a controller.
pub fn has_controller(cgroup: &Path, wanted: &str) -> io::Result<bool> {
    let controllers = fs::read_to_string(cgroup.join("cgroup.controllers"))?;
    Ok(controllers.split_whitespace().any(|name| name == wanted))
}

fn unusable(path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    let path = path.to_path_buf();
    |error| CgroupError::Unusable { path, error }
}

fn make_directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn put(cgroup: &Path, pid: u32) -> io::Result<()> {
    fs::write(cgroup.join("cgroup.procs"), pid.to_string())
}

fn children(cgroup: &Path) -> io::Result<Vec<PathBuf>> {
    let mut children = Vec::new();
    for entry in fs::read_dir(cgroup)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            children.push(entry.path());
        }
    }
    Ok(children)
}

/// rmdir(2) only: the files in a cgroup go with it.
fn remove_tree(cgroup: &Path) -> io::Result<()> {
    for child in children(cgroup)? {
        remove_tree(&child)?;
    }
    fs::remove_dir(cgroup)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_job_is_recognised_by_where_its_process_is() {
        let ours = Path::new("/limosa-1-2");
        let job = |text: &str| job_in(text.as_bytes(), ours).map(|job| job.to_string());
        assert_eq!(
            job("3:cpu:/x\n0::/limosa-1-2/job-7\n").as_deref(),
            Some("job-7")
        );
        assert_eq!(
            job("0::/limosa-1-2/job-7-home/below\n").as_deref(),
            Some("job-7-home")
        );
        assert_eq!(job("0::/limosa-1-2/supervisors\n"), None);
        assert_eq!(job("0::/limosa-1-22/job-7\n"), None);
        assert_eq!(job("1:name=x:/limosa-1-2/job-7\n"), None);
        assert_eq!(job("0::/\n"), None);
    }

    proptest! {
        #[test]
        fn a_job_name_reads_back_as_written(
            number: u32,
            policy in prop_oneof![
                Just(JobPolicy::Free),
                Just(JobPolicy::StayHome),
                Just(JobPolicy::Follow),
                Just(JobPolicy::ByHand)
            ],
        ) {
            let name = JobName { number, policy };
            prop_assert_eq!(JobName::parse(OsStr::new(&name.to_string())), Some(name));
        }

        #[test]
        fn any_bytes_are_searched_without_a_panic(bytes: Vec<u8>) {
            job_in(&bytes, Path::new("/limosa"));
        }
    }
}
