//! Which processes are ours, and what each has been through.
//!
//! A job is what one `limosa run` started, with all descendants. Where a cgroup2 can be used the kernel
//! keeps that account ([`super::cgroup`]); elsewhere `limosa run` stays as the job's parent and
//! subreaper, and whoever descends from it belongs to the job.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::cgroup::{CgroupError, Cgroups, JobName, JobPolicy};
use super::choice::NodeChoice;
use crate::balance::brain::Place;
use crate::process::status::State;
use crate::process::{Identity, stat};

/// What a process has been through; outlives the supervisors that report it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Journey {
    /// How often it has moved, returns included.
    pub migrations: u32,
    /// How long it was frozen the last time it moved.
    pub freeze_ms_last: Option<f64>,
    /// CPU time used away from home, of supervisors that have ended.
    pub away_cpu_seconds_past: f64,
    /// Why its last move did not happen, if it did not.
    pub last_failure: Option<String>,
    /// A person has moved it, so the balancer does not.
    pub by_hand: bool,
    /// Where the balancer has sent it, since when; none once it is there or has failed to go.
    pub heading: Option<(Place, Duration)>,
    /// Nodes to which its program has been sent because it starts, as long as none has let it in.
    pub places_tried: usize,
    /// It has come home to execute another program.
    pub executed: bool,
    /// When the balancer last looked at it while it was away, and its CPU seconds and calls then.
    pub away_seen: Option<(Duration, f64, u64)>,
}

/// Why a job could not be started. The process is where it was.
#[derive(Debug)]
pub enum JobError {
    /// Its cgroup cannot be made or joined.
    Cgroup(io::Error),
    /// It is gone, or cannot be read.
    Process(crate::process::ReadError),
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cgroup(error) => write!(f, "cannot put the process into a new cgroup: {error}"),
            Self::Process(error) => write!(f, "cannot make the process a job: {error}"),
        }
    }
}

impl std::error::Error for JobError {}

/// How membership is known.
#[derive(Debug)]
enum Account {
    /// By cgroup.
    Cgroups(Cgroups),
    /// By descent from these processes.
    Parents(BTreeMap<JobName, Identity>),
}

/// The jobs that were started on this node.
#[derive(Debug)]
pub struct Jobs {
    account: Account,
    journeys: HashMap<Identity, Journey>,
    /// The jobs that may not use all nodes.
    choices: Vec<(u32, NodeChoice)>,
    number_last: u32,
}

impl Jobs {
    /// Finds the jobs that an earlier agent of this run directory left. The error says why processes
    /// are followed by descent, if they are.
    pub fn open(run_dir: &Path) -> (Self, Option<CgroupError>) {
        let (account, error) = match Cgroups::open(run_dir) {
            Ok(cgroups) => (Account::Cgroups(cgroups), None),
            Err(error) => (Account::Parents(BTreeMap::new()), Some(error)),
        };
        let mut jobs = Self {
            account,
            journeys: HashMap::new(),
            choices: Vec::new(),
            number_last: 0,
        };
        let names = jobs.names();
        jobs.number_last = names.last().map_or(0, |job| job.number);
        if let Account::Cgroups(cgroups) = &jobs.account {
            let choices = names.iter();
            let choices = choices.filter_map(|&job| Some((job.number, cgroups.choice(job)?)));
            jobs.choices = choices.collect();
        }
        (jobs, error)
    }

    /// Where the cgroups are, if they are used.
    pub fn cgroups(&self) -> Option<&Cgroups> {
        match &self.account {
            Account::Cgroups(cgroups) => Some(cgroups),
            Account::Parents(_) => None,
        }
    }

    /// The jobs that have not ended, by number.
    pub fn names(&self) -> Vec<JobName> {
        match &self.account {
            Account::Cgroups(cgroups) => cgroups.jobs().unwrap_or_else(|error| {
                log::warn!(
                    "cannot list the jobs in {}: {error}",
                    cgroups.name().display()
                );
                Vec::new()
            }),
            Account::Parents(parents) => parents.keys().copied().collect(),
        }
    }

    /// Whether `limosa run` has to stay as the parent of a job.
    pub fn needs_parents(&self) -> bool {
        matches!(self.account, Account::Parents(_))
    }

    /// Makes a process a job of its own: by putting it into a cgroup, or by noting that its descendants
    /// belong to it. With a choice it does not use all nodes.
    pub fn start(
        &mut self,
        pid: u32,
        policy: JobPolicy,
        choice: Option<NodeChoice>,
    ) -> Result<JobName, JobError> {
        let job = JobName {
            number: self.number_last + 1,
            policy,
        };
        match &mut self.account {
            Account::Cgroups(cgroups) => {
                let started = cgroups.start(job, choice.as_ref(), pid);
                started.map_err(JobError::Cgroup)?;
            }
            Account::Parents(parents) => {
                parents.insert(job, Identity::of(pid).map_err(JobError::Process)?);
            }
        }
        self.number_last = job.number;
        self.choices
            .extend(choice.map(|choice| (job.number, choice)));
        Ok(job)
    }

    /// The jobs that may not use all nodes, and which they may.
    pub fn choices(&self) -> &[(u32, NodeChoice)] {
        &self.choices
    }

    /// Which nodes a job may use, if it may not use all.
    pub fn choice(&self, job: u32) -> Option<&NodeChoice> {
        let found = self.choices.iter().find(|(number, _)| *number == job);
        found.map(|(_, choice)| choice)
    }

    /// The job that a process belongs to.
    pub fn job_of(&self, pid: u32) -> Option<JobName> {
        match &self.account {
            Account::Cgroups(cgroups) => cgroups.job_of(pid),
            Account::Parents(parents) => {
                let mut ancestor = stat::read(pid).ok()?.parent;
                while ancestor > 1 {
                    let stat = stat::read(ancestor).ok()?;
                    let found = parents.iter().find(|(_, parent)| {
                        parent.pid == ancestor && parent.start_time_ticks == stat.start_time_ticks
                    });
                    if let Some((job, _)) = found {
                        return Some(*job);
                    }
                    ancestor = stat.parent;
                }
                None
            }
        }
    }

    /// All processes of all jobs, by job and pid, without those that have ended.
    pub fn processes(&self) -> Vec<(JobName, u32)> {
        match &self.account {
            Account::Cgroups(cgroups) => self
                .names()
                .into_iter()
                // A job that ended meanwhile has no cgroup any more.
                .flat_map(|job| {
                    let pids = cgroups.processes(job).unwrap_or_default();
                    pids.into_iter().map(move |pid| (job, pid))
                })
                .filter(|(_, pid)| runs(*pid))
                .collect(),
            Account::Parents(parents) if parents.is_empty() => Vec::new(),
            Account::Parents(_) => {
                let mut processes: Vec<_> = every_pid()
                    .filter(|pid| runs(*pid))
                    .filter_map(|pid| Some((self.job_of(pid)?, pid)))
                    .collect();
                processes.sort_unstable();
                processes
            }
        }
    }

    /// What a process has been through so far.
    pub fn journey(&self, process: Identity) -> Journey {
        self.journeys.get(&process).cloned().unwrap_or_default()
    }

    /// What a process has been through, to be added to.
    pub fn journey_mut(&mut self, process: Identity) -> &mut Journey {
        self.journeys.entry(process).or_default()
    }

    /// Forgets jobs and processes that have ended.
    pub fn sweep(&mut self) {
        match &mut self.account {
            Account::Cgroups(cgroups) => {
                for job in cgroups.jobs().unwrap_or_default() {
                    match cgroups.remove_if_empty(job) {
                        Ok(true) => log::debug!("{job} has ended"),
                        Ok(false) => {}
                        Err(error) => log::warn!("cannot remove the cgroup of {job}: {error}"),
                    }
                }
            }
            Account::Parents(parents) => {
                parents.retain(|_, parent| parent.is_current().unwrap_or(true));
            }
        }
        if !self.choices.is_empty() {
            let names = self.names();
            let lives = |number| names.iter().any(|job| job.number == number);
            self.choices.retain(|(number, _)| lives(*number));
        }
        // A process that cannot be looked at just now is kept.
        self.journeys
            .retain(|process, _| process.is_current().unwrap_or(true));
    }
}

/// Whether a process is there and has not ended; one whose first thread has ended may have others.
pub fn runs(pid: u32) -> bool {
    stat::read(pid)
        .is_ok_and(|stat| !matches!(stat.state, State::Zombie | State::Dead) || stat.threads > 1)
}

/// All processes of this pid namespace.
pub(super) fn every_pid() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn by_descent() -> Jobs {
        Jobs {
            account: Account::Parents(BTreeMap::new()),
            journeys: HashMap::new(),
            choices: Vec::new(),
            number_last: 0,
        }
    }

    #[test]
    fn without_a_cgroup_the_descendants_of_a_jobs_parent_belong_to_it() {
        let mut jobs = by_descent();
        assert!(jobs.needs_parents() && jobs.processes().is_empty());
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let ours = std::process::id();
        assert_eq!(jobs.job_of(child.id()), None);
        let job = jobs.start(ours, JobPolicy::StayHome, None).unwrap();
        assert_eq!(
            job,
            JobName {
                number: 1,
                policy: JobPolicy::StayHome
            }
        );
        assert_eq!(jobs.job_of(child.id()), Some(job));
        assert_eq!(jobs.job_of(ours), None);
        assert!(jobs.processes().contains(&(job, child.id())));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!jobs.processes().contains(&(job, child.id())));
    }

    #[test]
    fn a_sweep_forgets_what_has_ended_and_keeps_what_runs() {
        let mut jobs = by_descent();
        let ours = Identity::of(std::process::id()).unwrap();
        let gone = Identity {
            start_time_ticks: ours.start_time_ticks + 1,
            ..ours
        };
        jobs.journey_mut(ours).migrations = 2;
        jobs.journey_mut(gone).migrations = 3;
        jobs.sweep();
        assert_eq!(jobs.journey(ours).migrations, 2);
        assert_eq!(jobs.journey(gone), Journey::default());
    }
}
