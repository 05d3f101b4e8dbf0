//! Answering the commands: nodes, processes, run and status. Moves are in `super::moves`.

use std::fs::File;
use std::io::Read;

use super::agent::{Agent, Reply, Stopping};
use super::cgroup::JobPolicy;
use super::choice::NodeChoice;
use super::cluster::{Member, MemberState};
use super::moves::{HOME, answer, answer_error};
use super::supervisors::{Charge, Supervisor, Ward};
use super::users::Users;
use crate::limits::COMMAND_BYTES_MAX;
use crate::migrate::cantmove;
use crate::process::{Identity, stat, status};
use crate::sys::peer::Peer;
use crate::wire::control::{
    AgentUsage, ControlError, ControlRequest, ControlResponse, Counter, ErrorKind, MemberCounts,
    NodeRow, ProcessRow, RunRequest, Running, StatusReport, SupervisorRow, state_word,
};
use crate::wire::supervisor::{NodeName, ProcessState, Role};

/// A `limosa run --wait-nodes` that waits.
pub struct WaitingRun {
    request: RunRequest,
    caller: Peer,
    reply: Reply,
}

impl Agent {
    pub(super) fn request(&mut self, request: ControlRequest, caller: Peer, reply: Reply) {
        match request {
            ControlRequest::Nodes => {
                let rows = self.cluster.members().iter().map(node_row).collect();
                answer(&reply, ControlResponse::Nodes(rows));
            }
            ControlRequest::Processes { examine } => self.list_processes(examine, reply),
            ControlRequest::Run(request) => self.run(WaitingRun {
                request,
                caller,
                reply,
            }),
            ControlRequest::Migrate {
                pid,
                destination,
                wait,
            } => {
                self.migrate(pid, &destination, wait, caller, reply);
            }
            ControlRequest::Why { pid, node } => self.why(pid, node.as_deref(), caller, reply),
            ControlRequest::Node(order) => self.node_order(order, caller, &reply),
            ControlRequest::Status => {
                let report = Box::new(self.status());
                answer(&reply, ControlResponse::Status(report));
            }
            ControlRequest::Admit { code, address } => {
                self.admit(code.as_deref(), address.as_deref(), caller, reply);
            }
            // Taken by the control socket before it comes here.
            ControlRequest::Adopt => {}
        }
    }

    fn list_processes(&self, examine: bool, reply: Reply) {
        let users = Users::read();
        let mut rows: Vec<(u32, ProcessRow)> = self
            .jobs
            .processes()
            .into_iter()
            // A process can end while it is looked at.
            .filter_map(|(job, pid)| self.process_row(job.number, pid, &users))
            .collect();
        self.executor
            .spawn(async move {
                let rows = smol::unblock(move || {
                    for (supervisor, row) in rows.iter_mut().filter(|_| examine) {
                        if row.state != ProcessState::Away {
                            row.cantmove = cantmove::examine_supervised(row.pid, *supervisor)
                                .unwrap_or_default();
                        }
                    }
                    rows.into_iter().map(|(_, row)| row).collect()
                });
                answer(&reply, ControlResponse::Processes(rows.await));
            })
            .detach();
    }

    /// A process as `limosa ps` shows it, with the pid that may trace it.
    fn process_row(&self, job: u32, pid: u32, users: &Users) -> Option<(u32, ProcessRow)> {
        let status = status::read(pid).ok()?;
        let process = Identity::of(pid).ok()?;
        let journey = self.jobs.journey(process);
        let supervisor = self
            .supervisors
            .deputy_of(process)
            .map(|(_, supervisor)| supervisor);
        let away_now = supervisor
            .and_then(|supervisor| supervisor.status_of(pid))
            .map_or(0.0, |s| s.away_cpu_seconds);
        let (node, state) = self.location(process);
        let choice = self.jobs.choice(job);
        let named = |only| {
            let choice = choice.filter(|choice| choice.only == only);
            choice.map_or(Vec::new(), |choice| choice.names.clone())
        };
        let row = ProcessRow {
            pid,
            command: command_line(pid).unwrap_or_else(|| format!("[{}]", status.name)),
            user: users.name(status.user.real),
            job,
            home: self.this.name.clone(),
            node: node.name,
            state,
            migrations: journey.migrations,
            freeze_ms_last: journey.freeze_ms_last,
            memory_bytes: status.resident_bytes.unwrap_or(0),
            away_cpu_seconds: journey.away_cpu_seconds_past + away_now,
            cantmove: Vec::new(),
            last_failure: journey.last_failure,
            only: named(true),
            not: named(false),
        };
        Some((self.supervisor_pid_of(process), row))
    }

    fn run(&mut self, run: WaitingRun) {
        if self.stopping != Stopping::No {
            let text = format!("the agent of {} is stopping", self.this.name);
            return answer_error(&run.reply, ControlError::failed(text));
        }
        if run.caller.pid == 0 {
            let text =
                "this program is in a pid namespace that the agent cannot see: run an agent in it";
            return answer_error(&run.reply, ControlError::refused(text));
        }
        if run
            .request
            .wait_nodes
            .is_some_and(|wanted| self.nodes_alive() < wanted)
        {
            self.waiting_runs.push(run);
        } else {
            self.start_run(run);
        }
    }

    /// Starts the runs for which enough nodes are alive now, and forgets those that gave up.
    pub(super) fn admit_waiting_runs(&mut self) {
        if self.waiting_runs.is_empty() {
            return;
        }
        let alive = self.nodes_alive();
        let (ready, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting_runs)
            .into_iter()
            .filter(|run| !run.reply.is_closed())
            .partition(|run| run.request.wait_nodes.is_none_or(|wanted| alive >= wanted));
        self.waiting_runs = waiting;
        for run in ready {
            self.start_run(run);
        }
    }

    fn nodes_alive(&self) -> u32 {
        member_counts(&self.cluster.members()).alive
    }

    fn start_run(&mut self, run: WaitingRun) {
        let WaitingRun {
            request,
            caller,
            reply,
        } = run;
        match self.become_job(&request, caller.pid) {
            Ok((Running::InJob { job }, destination)) => {
                let chosen = match (&destination, policy_of(&request)) {
                    (None, JobPolicy::Free) => self.place(caller.pid, job, None),
                    _ => None,
                };
                let balanced = chosen.is_some();
                let Some(node) = destination.or(chosen) else {
                    let running = Running::InJob { job };
                    return answer(&reply, ControlResponse::Running(running));
                };
                match Identity::of(caller.pid) {
                    Ok(process) => self.seize_until_exec(process, job, node, balanced, reply),
                    Err(error) => answer_error(&reply, ControlError::failed(error.to_string())),
                }
            }
            Ok((running, _)) => answer(&reply, ControlResponse::Running(running)),
            Err(error) => answer_error(&reply, error),
        }
    }

    fn become_job(
        &mut self,
        request: &RunRequest,
        pid: u32,
    ) -> Result<(Running, Option<NodeName>), ControlError> {
        let destination = match &request.node {
            Some(wanted) => self.destination(wanted)?,
            None => None,
        };
        let choice = self.choice(request, pid)?;
        if let (Some(node), Some(choice)) = (&destination, &choice)
            && !choice.allows(&node.name)
        {
            let reason = choice.reason_against(&node.name);
            return Err(ControlError::refused(reason.text));
        }
        if self.jobs.needs_parents() && !request.stays_as_parent {
            // The child of a job's parent asks on its own behalf, and so does a run inside a job.
            return Ok(match self.jobs.job_of(pid) {
                Some(job) => (Running::InJob { job: job.number }, destination),
                None => (Running::NeedsParent, None),
            });
        }
        let job = self
            .jobs
            .start(pid, policy_of(request), choice)
            .map_err(|error| ControlError::failed(error.to_string()))?
            .number;
        log::debug!("process {pid} is job {job}");
        Ok(if request.stays_as_parent {
            (Running::AsParent { job }, None)
        } else {
            (Running::InJob { job }, destination)
        })
    }

    /// Which nodes the job of a run may use: what its words say, else what holds for the job that runs it.
    fn choice(&self, request: &RunRequest, pid: u32) -> Result<Option<NodeChoice>, ControlError> {
        let (words, only) = match (&request.only, &request.not) {
            (None, None) => {
                let job = self.jobs.job_of(pid);
                return Ok(job.and_then(|job| self.jobs.choice(job.number).cloned()));
            }
            (Some(words), None) => (words, true),
            (None, Some(words)) => (words, false),
            (Some(_), Some(_)) => {
                let text = "--only and --not contradict each other: who uses only some nodes uses no others";
                return Err(ControlError::new(ErrorKind::BadRequest, text));
            }
        };
        let name = |word: &str| {
            if word == HOME {
                return Ok(self.this.name.clone());
            }
            let node = self.cluster.resolve(word);
            node.map(|node| node.name)
                .map_err(|error| ControlError::failed(error.to_string()))
        };
        let names: Result<Vec<String>, ControlError> = words.split(',').map(name).collect();
        Ok(Some(NodeChoice {
            only,
            names: names?,
        }))
    }

    fn status(&self) -> StatusReport {
        let members = self.cluster.members();
        let this = members.iter().find(|member| member.this).map(node_row);
        let jobs = u32::try_from(self.jobs.names().len()).unwrap_or(u32::MAX);
        StatusReport {
            node: this.unwrap_or_else(|| unknown_row(&self.this)),
            cluster: self.config.key.cluster().to_string(),
            open: self.config.key.is_open(),
            members: member_counts(&members),
            jobs,
            supervisors: self
                .supervisors
                .iter()
                .flat_map(|(_, supervisor)| supervisor_rows(supervisor))
                .collect(),
            refusals: self.cluster.refusals(),
            counters: self.counters(),
            agent: self.usage(),
        }
    }

    fn counters(&self) -> Vec<Counter> {
        let cluster = self.cluster.counters();
        [
            ("control-requests", self.counts.requests.get()),
            ("control-garbage", self.counts.garbage.get()),
            ("control-turned-away", self.counts.turned_away.get()),
            ("beacons-sent", cluster.beacons_sent),
            ("beacons-heard", cluster.beacons_heard),
            ("datagrams-bad", cluster.datagrams_bad),
            ("datagrams-foreign", cluster.datagrams_foreign),
            ("datagrams-repeated", cluster.datagrams_repeated),
            ("membership-sent", cluster.membership_sent),
            ("membership-received", cluster.membership_received),
            ("loads-sent", cluster.loads_sent),
            ("loads-received", cluster.loads_received),
            ("handshakes-failed", cluster.handshakes_failed),
            ("connections-refused", cluster.connections_refused),
            ("events-lost", cluster.events_lost),
        ]
        .map(|(name, value)| Counter {
            name: name.into(),
            value,
        })
        .into()
    }

    fn usage(&self) -> AgentUsage {
        let pid = std::process::id();
        let ticks = stat::read(pid).map_or(0, |stat| stat.user_time_ticks + stat.system_time_ticks);
        AgentUsage {
            pid,
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_seconds: self.started.elapsed().as_secs(),
            cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
            memory_bytes: status::read(pid)
                .ok()
                .and_then(|s| s.resident_bytes)
                .unwrap_or(0),
            run_dir: self.config.run_dir.display().to_string(),
            cgroup: self.jobs.cgroups().map(|c| c.name().display().to_string()),
        }
    }
}

fn node_row(member: &Member) -> NodeRow {
    NodeRow {
        number: u32::from(member.number),
        name: member.name.clone(),
        id: hexadecimal(&member.id.0),
        state: member.state.as_str().into(),
        addresses: member.addresses.iter().map(ToString::to_string).collect(),
        cpus: member.cpus,
        speed: member.speed,
        // As many digits as it means.
        load: (f64::from(member.load) * 1000.0).round() / 1000.0,
        memory_total_bytes: member.memory_total_bytes,
        memory_free_bytes: member.memory_free_bytes,
        guests: member.guests,
        version: member.version.clone(),
        this: member.this,
    }
}

/// This node when it is not among its own members, as while it leaves.
fn unknown_row(this: &NodeName) -> NodeRow {
    NodeRow {
        number: 0,
        name: this.name.clone(),
        id: hexadecimal(&this.id.0),
        state: MemberState::Left.as_str().into(),
        addresses: Vec::new(),
        cpus: 0,
        speed: 0,
        load: 0.0,
        memory_total_bytes: 0,
        memory_free_bytes: 0,
        guests: 0,
        version: env!("CARGO_PKG_VERSION").into(),
        this: true,
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn member_counts(members: &[Member]) -> MemberCounts {
    let mut counts = MemberCounts::default();
    for member in members {
        match member.state {
            MemberState::Alive => counts.alive += 1,
            MemberState::Joined | MemberState::Suspect => counts.suspect += 1,
            MemberState::Lost => counts.lost += 1,
            MemberState::Left => counts.left += 1,
        }
    }
    counts
}

/// The arguments of a process, separated by blanks, without control characters; none if it has none.
fn command_line(pid: u32) -> Option<String> {
    let mut bytes = Vec::new();
    let file = File::open(format!("/proc/{pid}/cmdline")).ok()?;
    file.take(COMMAND_BYTES_MAX as u64)
        .read_to_end(&mut bytes)
        .ok()?;
    let line = String::from_utf8_lossy(bytes.strip_suffix(b"\0").unwrap_or(&bytes))
        .replace(|character: char| character.is_control(), " ");
    (!line.is_empty()).then_some(line)
}

/// Where the processes of a job may go that is run like this.
fn policy_of(request: &RunRequest) -> JobPolicy {
    if request.stay_home {
        JobPolicy::StayHome
    } else if request.follow {
        JobPolicy::Follow
    } else if request.by_hand || request.node.is_some() {
        JobPolicy::ByHand
    } else {
        JobPolicy::Free
    }
}

/// One row for each process that a supervisor serves.
fn supervisor_rows(supervisor: &Supervisor) -> Vec<SupervisorRow> {
    let row = |ward: &Ward| {
        let status = ward.status.as_ref();
        let unknown = || "?".to_string();
        SupervisorRow {
            supervisor_pid: supervisor.supervisor_pid,
            role: match ward.charge.role() {
                Role::Deputy => "deputy".into(),
                Role::Guest => "guest".into(),
            },
            pid: ward.charge.pid(),
            node: match &ward.charge {
                Charge::Deputy(_) => status.map_or_else(unknown, |status| status.node.name.clone()),
                Charge::Guest { home, .. } => {
                    home.as_ref().map_or_else(unknown, |home| home.name.clone())
                }
            },
            state: status
                .map_or("starting", |status| state_word(status.state))
                .into(),
            calls_forwarded: status.map_or(0, |status| status.calls_forwarded),
        }
    };
    supervisor.wards.values().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_one_line_and_ends_are_cut() {
        let ours = command_line(std::process::id()).unwrap();
        assert!(ours.contains("limosa") && !ours.contains('\0'), "{ours}");
        assert_eq!(command_line(u32::MAX), None);
    }

    #[test]
    fn identities_are_hexadecimal() {
        assert_eq!(hexadecimal(&[0, 0x1f, 0xff]), "001fff");
    }
}
