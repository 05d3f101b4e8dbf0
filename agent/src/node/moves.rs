//! Moving processes: what may be moved by whom, and handing the order to a supervisor.
//!
//! 1. Judge the order by who asks, what the process is and where it is: refuse in words.
//! 2. A process at home is examined for what keeps it there, before anything touches it.
//! 3. Hand the order to its supervisor; one is started if it has none.
//! 4. The supervisor's answer ends the order (`super::supervision`).

use super::agent::{Agent, Event, Reply, sentences};
use super::balancing::Setback;
use super::cgroup::{JobName, JobPolicy};
use super::cluster::MemberState;
use super::suitability::Unanswered;
use super::supervisors::{
    Asker, Charge, PendingMove, PendingSeize, SupervisorError, SupervisorKey,
};
use super::users;
use crate::migrate::cantmove;
use crate::process::status::State;
use crate::process::{Identity, ReadError, stat, status};
use crate::sys::peer::Peer;
use crate::wire::control::{
    ControlError, ControlResponse, ErrorKind, MigrationRow, Running, WhyRow,
};
use crate::wire::supervisor::{Destination, NodeName, ProcessState, Reason, ToSupervisor};

/// The word for the home node wherever a node can be named.
pub const HOME: &str = "home";

/// The word for leaving it to the balancer where a process runs.
pub const BALANCE: &str = "balance";

/// A move that was judged and may be made.
pub struct MoveOrder {
    /// The process.
    pub process: Identity,
    /// What is to happen.
    pub pending: PendingMove,
}

/// A process of ours that the caller may steer.
#[derive(Clone, Copy, Debug)]
pub(super) struct OurProcess {
    pub(super) identity: Identity,
    pub(super) job: JobName,
}

/// Why a process may not be steered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotSteerable {
    /// It is not there, or not the caller's.
    Refused(ControlError),
    /// It is there and stays where it is: why.
    Stays(Reason),
}

impl From<NotSteerable> for ControlError {
    fn from(error: NotSteerable) -> Self {
        match error {
            NotSteerable::Refused(error) => error,
            NotSteerable::Stays(reason) => refused_for(vec![reason]),
        }
    }
}

/// A refusal that says why: the reasons for scripts, and one line for a person.
fn refused_for(reasons: Vec<Reason>) -> ControlError {
    ControlError {
        kind: ErrorKind::Refused,
        text: sentences(&reasons),
        reasons,
    }
}

pub(super) fn refused_to_leave(pid: u32, reasons: Vec<Reason>) -> ControlError {
    let error = refused_for(reasons);
    ControlError {
        text: format!("process {pid} cannot leave home: {}", error.text),
        ..error
    }
}

fn reason(code: &str, text: String) -> Reason {
    Reason {
        code: code.into(),
        text,
    }
}

/// Answers a command; one that does not wait any more is not an error.
pub(super) fn answer(reply: &Reply, response: ControlResponse) {
    // The channel holds the one answer that is ever sent, so it can only be closed.
    let _ = reply.try_send(response);
}

pub(super) fn answer_error(reply: &Reply, error: ControlError) {
    answer(reply, ControlResponse::Error(error));
}

impl Agent {
    /// Whether the caller may steer this process, and whether it is one of ours.
    pub(super) fn steerable(&self, pid: u32, caller: Peer) -> Result<OurProcess, NotSteerable> {
        let refuse = |text: String| NotSteerable::Refused(ControlError::refused(text));
        let unreadable = |error: ReadError| match error {
            ReadError::Gone { pid } => refuse(format!(
                "there is no process {pid} here; `limosa ps` lists those that can move"
            )),
            error => refuse(error.to_string()),
        };
        let status = status::read(pid).map_err(unreadable)?;
        let stat = stat::read(pid).map_err(unreadable)?;
        if status.process != pid {
            let process = status.process;
            return Err(refuse(format!(
                "{pid} is a thread of process {process}: only whole processes move"
            )));
        }
        if stat.is_kernel_thread() {
            let text = format!("process {pid} ({}) is a thread of the kernel", stat.name);
            return Err(NotSteerable::Stays(reason("kernel-thread", text)));
        }
        if matches!(stat.state, State::Zombie | State::Dead) && stat.threads <= 1 {
            return Err(refuse(format!("process {pid} ({}) has ended", stat.name)));
        }
        let identity = Identity {
            pid,
            start_time_ticks: stat.start_time_ticks,
        };
        // Who may signal a process may move it: kill(2).
        if caller.uid != 0 && ![status.user.real, status.user.saved].contains(&caller.uid) {
            let owner = users::Users::read().name(status.user.real);
            return Err(refuse(format!(
                "process {pid} ({}) belongs to {owner}: only they and root may steer it",
                stat.name
            )));
        }
        let job = self.jobs.job_of(pid).ok_or_else(|| {
            NotSteerable::Stays(reason(
                "not-a-job",
                format!(
                    "process {pid} ({}) was not started by `limosa run` on this node, so it stays where it is",
                    stat.name
                ),
            ))
        })?;
        Ok(OurProcess { identity, job })
    }

    /// The node that a person means; none for this one.
    pub(super) fn destination(&self, wanted: &str) -> Result<Option<NodeName>, ControlError> {
        if wanted == HOME {
            return Ok(None);
        }
        let node = self
            .cluster
            .resolve(wanted)
            .map_err(|error| ControlError::failed(error.to_string()))?;
        if node.id == self.this.id {
            return Ok(None);
        }
        let state = self
            .cluster
            .members()
            .into_iter()
            .find(|member| member.id == node.id);
        match state.map(|member| member.state) {
            Some(MemberState::Lost) => {
                let text = format!(
                    "node {} is lost: it has not answered for a while",
                    node.name
                );
                Err(ControlError::failed(text))
            }
            Some(MemberState::Left) => {
                let text = format!("node {} has left the cluster", node.name);
                Err(ControlError::failed(text))
            }
            _ => Ok(Some(node)),
        }
    }

    /// Where a process is, and whether it is settled there.
    pub(super) fn location(&self, process: Identity) -> (NodeName, ProcessState) {
        self.supervisors
            .deputy_of(process)
            .and_then(|(_, supervisor)| supervisor.status_of(process.pid).cloned())
            .map_or((self.this.clone(), ProcessState::Home), |status| {
                (status.node, status.state)
            })
    }

    pub(super) fn migrate(
        &mut self,
        pid: u32,
        wanted: &str,
        wait: bool,
        caller: Peer,
        reply: Reply,
    ) {
        if wanted == BALANCE {
            return self.leave_to_balancer(pid, caller, &reply);
        }
        match self.judge(pid, wanted, caller) {
            Ok(Judged::There(row)) => answer(&reply, ControlResponse::Migrated(row)),
            Ok(Judged::Go {
                process,
                from,
                destination,
            }) => {
                self.jobs.journey_mut(process).by_hand = true;
                let asker = if wait {
                    Asker::Command(reply)
                } else {
                    let to = self.name_of(&destination).to_string();
                    let row = MigrationRow {
                        pid,
                        from: from.clone(),
                        to,
                        freeze_ms: None,
                        total_ms: None,
                        bytes_sent: None,
                    };
                    answer(&reply, ControlResponse::Migrated(row));
                    Asker::Nobody
                };
                let pending = PendingMove {
                    pid,
                    asker,
                    from,
                    destination,
                    handed_on: false,
                };
                self.examine_and_move(MoveOrder { process, pending });
            }
            Err(error) => answer_error(&reply, error),
        }
    }

    /// A process that a person has moved is the balancer's again.
    fn leave_to_balancer(&mut self, pid: u32, caller: Peer, reply: &Reply) {
        let process = match self.steerable(pid, caller) {
            Ok(process) => process.identity,
            Err(error) => return answer_error(reply, error.into()),
        };
        self.jobs.journey_mut(process).by_hand = false;
        let (node, _) = self.location(process);
        let row = MigrationRow {
            pid,
            from: node.name.clone(),
            to: node.name,
            freeze_ms: Some(0.0),
            total_ms: Some(0.0),
            bytes_sent: Some(0),
        };
        answer(reply, ControlResponse::Migrated(row));
    }

    fn judge(&self, pid: u32, wanted: &str, caller: Peer) -> Result<Judged, ControlError> {
        let process = self.steerable(pid, caller)?;
        let destination = self.destination(wanted)?;
        if destination.is_some() && process.job.stays_home() {
            return Err(refused_to_leave(pid, vec![stay_home()]));
        }
        if let Some(reason) = self.barred_by_choice(process, destination.as_ref()) {
            let error = refused_for(vec![reason]);
            return Err(ControlError {
                text: format!("process {pid} stays where it is: {}", error.text),
                ..error
            });
        }
        let (node, state) = self.location(process.identity);
        let target = destination.as_ref().unwrap_or(&self.this);
        let settled = matches!(state, ProcessState::Home | ProcessState::Away)
            && self
                .supervisors
                .deputy_of(process.identity)
                .is_none_or(|(_, supervisor)| {
                    !supervisor.moves.values().any(|order| order.pid == pid)
                });
        if settled && node.id == target.id {
            return Ok(Judged::There(MigrationRow {
                pid,
                from: node.name,
                to: target.name.clone(),
                freeze_ms: Some(0.0),
                total_ms: Some(0.0),
                bytes_sent: Some(0),
            }));
        }
        Ok(Judged::Go {
            process: process.identity,
            from: node.name,
            destination: destination.map_or(Destination::Home, Destination::Node),
        })
    }

    /// Why a process may not use a node, if its job's choice says so.
    fn barred_by_choice(&self, process: OurProcess, node: Option<&NodeName>) -> Option<Reason> {
        let (choice, node) = (self.jobs.choice(process.job.number)?, node?);
        let is_home = node.id == self.this.id;
        (!is_home && !choice.allows(&node.name)).then(|| choice.reason_against(&node.name))
    }

    /// The name of the node that a destination means.
    pub(super) fn name_of<'a>(&'a self, destination: &'a Destination) -> &'a str {
        match destination {
            Destination::Home => &self.this.name,
            Destination::Node(node) => &node.name,
        }
    }

    pub(super) fn examine_and_move(&mut self, order: MoveOrder) {
        let (_, state) = self.location(order.process);
        let leaves = matches!(order.pending.destination, Destination::Node(_));
        if !leaves || state != ProcessState::Home {
            self.hand_over(order);
            return;
        }
        let (pid, events) = (order.process.pid, self.events.clone());
        let supervisor = self.supervisor_pid_of(order.process);
        self.executor
            .spawn(async move {
                let result =
                    smol::unblock(move || cantmove::examine_supervised(pid, supervisor)).await;
                // A closed queue means that the agent has stopped.
                let _ = events.send(Event::Examined(order, result)).await;
            })
            .detach();
    }

    /// The only process that may trace this one without keeping it from moving.
    pub(super) fn supervisor_pid_of(&self, process: Identity) -> u32 {
        let supervisor = self.supervisors.deputy_of(process);
        supervisor.map_or_else(std::process::id, |(_, supervisor)| {
            supervisor.supervisor_pid
        })
    }

    pub(super) fn examined(
        &mut self,
        order: MoveOrder,
        result: Result<Vec<Reason>, cantmove::ExamineError>,
    ) {
        let pid = order.process.pid;
        match result {
            Ok(reasons) if reasons.is_empty() => self.hand_over(order),
            Ok(reasons) => self.fail(&order, refused_to_leave(pid, reasons)),
            Err(error) => self.fail(&order, ControlError::refused(error.to_string())),
        }
    }

    /// Ends an order that no supervisor carries out.
    pub(super) fn fail(&mut self, order: &MoveOrder, error: ControlError) {
        self.jobs.journey_mut(order.process).last_failure = Some(error.text.clone());
        if let Asker::Balancer = order.pending.asker {
            log::info!("{error}");
            let destination = &order.pending.destination;
            let setback = match error.kind {
                ErrorKind::Failed => Setback::Failed,
                ErrorKind::Refused | ErrorKind::BadRequest => Setback::CannotMove,
            };
            self.balanced_move_failed(order.process, destination, setback);
        } else {
            log::warn!("{error}");
        }
        if let Asker::Command(reply) = &order.pending.asker {
            answer_error(reply, error);
        }
    }

    /// Hands an order to the supervisor of its process, which is started if there is none.
    pub(super) fn hand_over(&mut self, order: MoveOrder) {
        let key = match self.supervisors.deputy_of(order.process) {
            Some((key, _)) => Ok(key),
            None => self.start_deputy(order.process, false),
        };
        match key {
            Ok(key) => self.ask(key, order),
            Err(error) => {
                let text = format!("process {} stays where it is: {error}", order.process.pid);
                self.fail(&order, ControlError::failed(text));
            }
        }
    }

    /// Asks a supervisor for a move.
    pub(super) fn ask(&mut self, key: SupervisorKey, order: MoveOrder) {
        let request = self.supervisors.new_request();
        let Some(supervisor) = self.supervisors.get_mut(key) else {
            return;
        };
        let destination = order.pending.destination.clone();
        match supervisor.send(
            ToSupervisor::Move {
                pid: order.process.pid,
                request,
                destination,
            },
            None,
        ) {
            // One that has just ended is about to be reported, and then hands on what it did not do.
            Ok(()) | Err(SupervisorError::Closed) => {
                supervisor.moves.insert(request, order.pending);
            }
            Err(error) => {
                let text = format!("process {} stays where it is: {error}", order.process.pid);
                self.fail(&order, ControlError::failed(text));
            }
        }
    }

    fn start_deputy(
        &mut self,
        process: Identity,
        wait_exec: bool,
    ) -> Result<SupervisorKey, SupervisorError> {
        let key = self.start_supervisor(Charge::Deputy(process))?;
        let start = ToSupervisor::StartDeputy {
            pid: process.pid,
            wait_exec,
            control_socket: self.control_socket(),
            home: self.this.clone(),
            follow: self
                .jobs
                .job_of(process.pid)
                .is_some_and(|job| job.policy == JobPolicy::Follow),
            capabilities: self.capabilities.clone(),
            piece_key: self.piece_key.0,
        };
        if let Some(supervisor) = self.supervisors.get_mut(key) {
            supervisor.send(start, None)?;
        }
        Ok(key)
    }

    /// Starts a supervisor that sends the caller's program to a node as soon as it is executed.
    pub(super) fn seize_until_exec(
        &mut self,
        process: Identity,
        job: u32,
        destination: NodeName,
        balanced: bool,
        reply: Reply,
    ) {
        match self.start_deputy(process, true) {
            Ok(key) => {
                if let Some(supervisor) = self.supervisors.get_mut(key) {
                    supervisor.seize = Some(PendingSeize {
                        reply,
                        job,
                        destination,
                        balanced,
                    });
                }
            }
            Err(error) => answer_error(&reply, ControlError::failed(error.to_string())),
        }
    }

    /// The program of a `limosa run` can no longer run unseen: it may be executed.
    pub(super) fn seized(&mut self, key: SupervisorKey) {
        let from = self.this.name.clone();
        let Some(supervisor) = self.supervisors.get_mut(key) else {
            return;
        };
        let process = supervisor
            .wards
            .values()
            .find_map(|ward| match ward.charge {
                Charge::Deputy(process) => Some(process),
                Charge::Guest { .. } => None,
            });
        let (Some(seize), Some(process)) = (supervisor.seize.take(), process) else {
            log::warn!(
                "supervisor {} has seized without being asked",
                supervisor.supervisor_pid
            );
            return;
        };
        let pending = PendingMove {
            pid: process.pid,
            asker: if seize.balanced {
                self.jobs.journey_mut(process).places_tried = 1;
                Asker::Balancer
            } else {
                Asker::Nobody
            },
            from,
            destination: Destination::Node(seize.destination),
            handed_on: false,
        };
        self.ask(key, MoveOrder { process, pending });
        answer(
            &seize.reply,
            ControlResponse::Running(Running::InJob { job: seize.job }),
        );
    }

    pub(super) fn why(&mut self, pid: u32, wanted: Option<&str>, caller: Peer, reply: Reply) {
        let (process, destination) = match self.judge_why(pid, wanted, caller) {
            Ok(WhyJudged::Examine(process, destination)) => (process, destination),
            Ok(WhyJudged::Known(row)) => return answer(&reply, ControlResponse::Why(row)),
            Err(error) => return answer_error(&reply, error),
        };
        let row = WhyRow {
            pid,
            node: destination.as_ref().map(|node| node.name.clone()),
            can_move: true,
            reasons: Vec::new(),
            last_failure: self.jobs.journey(process.identity).last_failure,
        };
        let (here, state) = self.location(process.identity);
        let elsewhere = destination.filter(|node| ![self.this.id, here.id].contains(&node.id));
        let comparison = elsewhere.map(|node| self.compare_with(node.id, pid));
        // Whoever has left home has nothing more to be examined for.
        let supervisor =
            (state != ProcessState::Away).then(|| self.supervisor_pid_of(process.identity));
        self.executor
            .spawn(async move {
                let explaining = explain(pid, supervisor, comparison);
                answer(
                    &reply,
                    match explaining.await {
                        Ok(reasons) => ControlResponse::Why(WhyRow {
                            can_move: reasons.is_empty(),
                            reasons,
                            ..row
                        }),
                        Err(error) => ControlResponse::Error(error),
                    },
                );
            })
            .detach();
    }

    fn judge_why(
        &self,
        pid: u32,
        wanted: Option<&str>,
        caller: Peer,
    ) -> Result<WhyJudged, ControlError> {
        let destination = wanted.map(|wanted| self.destination(wanted)).transpose()?;
        let node = destination
            .clone()
            .map(|node| node.unwrap_or_else(|| self.this.clone()));
        let stays = |reason| {
            Ok(WhyJudged::Known(WhyRow {
                pid,
                node: node.clone().map(|node| node.name),
                can_move: false,
                reasons: vec![reason],
                last_failure: None,
            }))
        };
        match self.steerable(pid, caller) {
            Ok(process) if process.job.stays_home() && node.as_ref() != Some(&self.this) => {
                stays(stay_home())
            }
            Ok(process) => match self.barred_by_choice(process, node.as_ref()) {
                Some(reason) => stays(reason),
                None => Ok(WhyJudged::Examine(process, node)),
            },
            Err(NotSteerable::Stays(reason)) => stays(reason),
            Err(NotSteerable::Refused(error)) => Err(error),
        }
    }
}

/// What keeps a process from moving: what is found in it, if a supervisor's pid is given with which to look
/// at it, and what the node lacks that it is compared with.
async fn explain(
    pid: u32,
    supervisor: Option<u32>,
    comparison: Option<impl Future<Output = Result<Vec<Reason>, Unanswered>>>,
) -> Result<Vec<Reason>, ControlError> {
    let mut reasons = Vec::new();
    if let Some(supervisor) = supervisor {
        let examining = smol::unblock(move || cantmove::examine_supervised(pid, supervisor));
        let found = examining.await;
        reasons = found.map_err(|error| ControlError::refused(error.to_string()))?;
    }
    if let Some(comparison) = comparison {
        let lacking = comparison.await;
        reasons.extend(lacking.map_err(|error| ControlError::failed(error.to_string()))?);
    }
    Ok(reasons)
}

/// What became of a request to move.
enum Judged {
    /// It is there already.
    There(MigrationRow),
    /// It may go.
    Go {
        process: Identity,
        from: String,
        destination: Destination,
    },
}

/// What became of a request to say why.
enum WhyJudged {
    /// The answer is known.
    Known(WhyRow),
    /// The process has to be looked at.
    Examine(OurProcess, Option<NodeName>),
}

fn stay_home() -> Reason {
    reason(
        "stay-home",
        "it was started with `limosa run --home`, so it stays home".into(),
    )
}
