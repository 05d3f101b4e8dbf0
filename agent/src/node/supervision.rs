//! What the supervisors report, and what follows from it: answers to commands, the journeys of processes, guests
//! from other nodes, and sending everybody home before the agent stops.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;

use smol::Async;

use super::agent::{Agent, Stopping};
use super::balancing::Setback;
use super::cgroup::Cgroups;
use super::cluster::ConnectError;
use super::jobs;
use super::moves::{MoveOrder, answer, answer_error, refused_to_leave};
use super::supervisors::{
    Asker, Charge, End, PendingMove, Supervisor, SupervisorError, SupervisorKey, Ward,
};
use crate::deputy::supervisor::EXECUTES;
use crate::limits::NOTICE_BYTES_MAX;
use crate::process::Identity;
use crate::sys::peer::Peer;
use crate::wire::control::{ControlError, ControlResponse, MigrationRow};
use crate::wire::hello::Purpose;
use crate::wire::supervisor::{
    ConnectionUse, Destination, FromSupervisor, MoveError, MoveReport, NoConnection, NodeId,
    NodeName, ProcessState, Role, SupervisorStatus, ToSupervisor,
};

/// The end of a move, as its supervisor tells it.
struct MoveEnd {
    pid: u32,
    request: u64,
    destination: Destination,
    result: Result<MoveReport, MoveError>,
    cause: Option<String>,
}

impl Agent {
    /// Where supervisors find this agent or the next.
    pub(super) fn control_socket(&self) -> String {
        self.socket.path().to_string_lossy().into_owned()
    }

    /// Starts a supervisor where it belongs, and tells the cluster how many guests there are. Its first message is
    /// for the caller to send.
    pub(super) fn start_supervisor(
        &mut self,
        charge: Charge,
    ) -> Result<SupervisorKey, SupervisorError> {
        let cgroup = self.jobs.cgroups().map(Cgroups::open_supervisors);
        let cgroup = cgroup.transpose().unwrap_or_else(|error| {
            log::warn!("a supervisor is started outside its cgroup: {error}");
            None
        });
        let is_placed = cgroup.is_some();
        let started = self.supervisors.start(charge.clone(), cgroup.as_ref());
        let key = match started {
            Err(SupervisorError::Start(error)) if is_placed => {
                log::warn!("a supervisor is started outside its cgroup: {error}");
                self.supervisors.start(charge, None)?
            }
            started => started?,
        };
        self.count_guests();
        Ok(key)
    }

    fn count_guests(&self) {
        self.cluster
            .set_guests(u32::try_from(self.supervisors.guests()).unwrap_or(u32::MAX));
    }

    pub(super) fn supervisor_said(&mut self, key: SupervisorKey, message: FromSupervisor) {
        let Some(supervisor) = self.supervisors.get_mut(key) else {
            return;
        };
        match message {
            FromSupervisor::Seized => self.seized(key),
            FromSupervisor::OpenChannel {
                request,
                node,
                wanted,
            } => self.open_channel(key, request, node, wanted),
            FromSupervisor::Status { pid, status } => self.status_changed(key, pid, status),
            FromSupervisor::Left { pid } => {
                if let Some(ward) = supervisor.wards.remove(&pid) {
                    let pending = take_moves(&mut supervisor.moves, pid);
                    self.ward_left(ward, pending, End::Exited(0));
                    self.count_guests();
                }
            }
            FromSupervisor::MoveDone {
                pid,
                request,
                destination,
                result,
                cause,
            } => {
                let cause = cause.as_deref().map(printable);
                self.move_done(
                    key,
                    MoveEnd {
                        pid,
                        request,
                        destination,
                        result,
                        cause,
                    },
                );
            }
            FromSupervisor::Notice(text) => {
                log::warn!("{}: {}", supervisor.names(), printable(&text));
            }
            FromSupervisor::Hello { .. } => {
                log::warn!("supervisor {} says hello again", supervisor.supervisor_pid);
            }
        }
    }

    fn open_channel(
        &mut self,
        key: SupervisorKey,
        request: u64,
        node: NodeId,
        wanted: ConnectionUse,
    ) {
        let Some(supervisor) = self.supervisors.get_mut(key) else {
            return;
        };
        let outbox = supervisor.outbox();
        let pid = supervisor.wards.keys().next().copied().unwrap_or(0);
        if supervisor.role != Role::Deputy {
            log::warn!(
                "supervisor {} of a guest would connect",
                supervisor.supervisor_pid
            );
            return;
        }
        let purpose = match wanted {
            ConnectionUse::Migration(pages) => {
                let order = supervisor.moves.values().find(|order| {
                    matches!(order.asker, Asker::Balancer)
                        && matches!(&order.destination, Destination::Node(to) if to.id == node)
                });
                Purpose::Migration {
                    pid,
                    balanced: order.is_some(),
                    load_centi: order.and_then(|order| self.balancing.counted_on(order.pid, node)),
                    pages,
                }
            }
            ConnectionUse::Pages(token) => Purpose::Pages { token },
        };
        let cluster = std::rc::Rc::clone(&self.cluster);
        self.executor
            .spawn(async move {
                let connection = cluster.connect(node, purpose).await;
                let mut is_full = false;
                if let Err(ConnectError::Full { load, .. }) = &connection {
                    cluster.hear_load(node, *load);
                    is_full = true;
                }
                let message = match connection {
                    Ok(channel) => {
                        let result = Ok(channel.keys);
                        (ToSupervisor::Channel { request, result }, Some(channel.fd))
                    }
                    Err(error) => {
                        let text = error.to_string();
                        let result = Err(NoConnection { text, is_full });
                        (ToSupervisor::Channel { request, result }, None)
                    }
                };
                // A supervisor that has ended meanwhile needs no connection.
                let _ = outbox.send(message).await;
            })
            .detach();
    }

    fn move_done(&mut self, key: SupervisorKey, end: MoveEnd) {
        let to = self.name_of(&end.destination).to_string();
        let Some(supervisor) = self.supervisors.get_mut(key) else {
            return;
        };
        let pid = end.pid;
        let pending = supervisor.moves.remove(&end.request);
        let seize = supervisor.seize.take_if(|_| end.result.is_err());
        let process = match supervisor.wards.get(&pid).map(|ward| &ward.charge) {
            Some(Charge::Deputy(process)) => Some(*process),
            Some(Charge::Guest { .. }) | None => None,
        };
        let executes = end.cause.as_deref() == Some(EXECUTES);
        let came_itself = end.cause.is_some() && !executes;
        let cause = end
            .cause
            .map(|cause| format!(" ({cause})"))
            .unwrap_or_default();
        match end.result {
            Ok(report) => {
                log::info!(
                    "process {pid} moved to {to}, frozen for {:.1} ms{cause}",
                    report.freeze_ms
                );
                if let Some(process) = process {
                    let journey = self.jobs.journey_mut(process);
                    journey.migrations += 1;
                    journey.freeze_ms_last = Some(report.freeze_ms);
                    journey.last_failure = None;
                    journey.away_seen = None;
                    journey.heading = None;
                    journey.places_tried = 0;
                    journey.executed = executes;
                    self.arrived(pid, &end.destination);
                }
                if pending.is_none() && end.destination == Destination::Home && came_itself {
                    self.came_home_by_itself(pid);
                }
                if let Some(PendingMove {
                    asker: Asker::Command(reply),
                    from,
                    ..
                }) = pending
                {
                    let row = MigrationRow {
                        pid,
                        from,
                        to,
                        freeze_ms: Some(report.freeze_ms),
                        total_ms: Some(report.total_ms),
                        bytes_sent: Some(report.bytes_sent),
                    };
                    answer(&reply, ControlResponse::Migrated(row));
                }
            }
            Err(error) => {
                let setback = Setback::of(&error);
                let error = move_refused(pid, &to, error);
                let balanced = pending.as_ref().and_then(|pending| match pending.asker {
                    Asker::Balancer => Some(&pending.destination),
                    _ => None,
                });
                if let (Some(destination), Some(process)) = (balanced, process) {
                    log::info!("{error}{cause}");
                    self.balanced_move_failed(process, destination, setback);
                } else {
                    log::warn!("{error}{cause}");
                }
                if let Some(process) = process {
                    self.jobs.journey_mut(process).last_failure = Some(error.text.clone());
                }
                if let Some(seize) = seize {
                    answer_error(&seize.reply, error.clone());
                }
                if let Some(PendingMove {
                    asker: Asker::Command(reply),
                    ..
                }) = pending
                {
                    answer_error(&reply, error);
                }
            }
        }
        self.stop_if_empty();
    }

    pub(super) fn supervisor_ended(&mut self, key: SupervisorKey, end: End) {
        let Some(supervisor) = self.supervisors.remove(key) else {
            return;
        };
        self.count_guests();
        match end {
            End::Exited(0) | End::Unknown => {
                log::debug!("the supervisor of {} {end}", supervisor.names());
            }
            _ => log::error!("the supervisor of {} {end}", supervisor.names()),
        }
        let Supervisor {
            wards,
            mut moves,
            seize,
            ..
        } = supervisor;
        if let Some(seize) = seize {
            let text = format!("the supervisor {end} before it could follow the program");
            answer_error(&seize.reply, ControlError::failed(text));
        }
        for (pid, ward) in wards {
            self.ward_left(ward, take_moves(&mut moves, pid), end);
        }
    }

    /// A process is its supervisor's no more: it is at home, or has ended.
    fn ward_left(&mut self, ward: Ward, pending: Vec<PendingMove>, end: End) {
        let Charge::Deputy(process) = ward.charge else {
            // Its CPU is free.
            self.tell_load();
            return;
        };
        if let Some(status) = ward.status {
            self.jobs.journey_mut(process).away_cpu_seconds_past += status.away_cpu_seconds;
        }
        let lives = process.is_current().unwrap_or(false) && jobs::runs(process.pid);
        if lives && std::mem::take(&mut self.jobs.journey_mut(process).executed) {
            self.place_executed(process);
        }
        for pending in pending {
            self.hand_on(process, pending, end, lives);
        }
        self.stop_if_empty();
    }

    /// The state of a process has changed, or it was forked by one that is away.
    fn status_changed(&mut self, key: SupervisorKey, pid: u32, status: SupervisorStatus) {
        let Some(supervisor) = self.supervisors.get_mut(key) else {
            return;
        };
        if let Some(ward) = supervisor.wards.get_mut(&pid) {
            let is_new = ward.status.replace(status).is_none();
            self.stop_if_empty();
            if is_new {
                self.tell_load();
            }
            return;
        }
        let home = supervisor
            .wards
            .values()
            .find_map(|ward| match &ward.charge {
                Charge::Guest { home, .. } => home.clone(),
                Charge::Deputy(_) => None,
            });
        let charge = match supervisor.role {
            Role::Guest => Charge::Guest { pid, home },
            Role::Deputy => match Identity::of(pid) {
                Ok(process) => Charge::Deputy(process),
                Err(error) => {
                    // It has ended already.
                    log::debug!("process {pid} is not listed: {error}");
                    return;
                }
            },
        };
        let status = Some(status);
        supervisor.wards.insert(pid, Ward { charge, status });
        self.count_guests();
        self.tell_load();
    }

    /// A supervisor ended with a move undone. One that had finished its work just when it was asked is
    /// followed by a new one, once.
    fn hand_on(&mut self, process: Identity, pending: PendingMove, end: End, lives: bool) {
        let pid = process.pid;
        let order = MoveOrder {
            process,
            pending: PendingMove {
                handed_on: true,
                ..pending
            },
        };
        if !lives {
            let text = format!("process {pid} has ended (its supervisor {end})");
            self.fail(&order, ControlError::failed(text));
        } else if end == End::Exited(0) && !pending.handed_on && self.stopping == Stopping::No {
            self.hand_over(order);
        } else {
            let text =
                format!("process {pid} runs on at home: its supervisor {end} during the move");
            self.fail(&order, ControlError::failed(text));
        }
    }

    pub(super) fn adopt(&mut self, link: Async<UnixStream>, hello: FromSupervisor, caller: Peer) {
        let FromSupervisor::Hello {
            role, processes, ..
        } = hello
        else {
            log::warn!(
                "process {} is no supervisor: it did not say hello",
                caller.pid
            );
            return;
        };
        if self.stopping != Stopping::No {
            log::debug!("supervisor {} waits for the next agent", caller.pid);
            return;
        }
        let mut wards = Vec::new();
        for (pid, status) in processes {
            let charge = match role {
                Role::Deputy => match Identity::of(pid) {
                    Ok(process) => Charge::Deputy(process),
                    Err(error) => {
                        log::warn!("supervisor {} serves nobody: {error}", caller.pid);
                        continue;
                    }
                },
                Role::Guest => Charge::Guest { pid, home: None },
            };
            let status = Some(status);
            wards.push(Ward { charge, status });
        }
        if wards.is_empty() {
            log::warn!("supervisor {} is not taken back", caller.pid);
            return;
        }
        let former = self
            .supervisors
            .iter()
            .find(|(_, s)| s.supervisor_pid == caller.pid);
        if let Some((key, _)) = former {
            // It lost its link and came back: what it was asked for before is lost too.
            self.supervisor_ended(key, End::Unknown);
        }
        match self.supervisors.adopt(caller.pid, role, wards, link) {
            Ok(key) => {
                if let Some(supervisor) = self.supervisors.get_mut(key) {
                    let names = supervisor.names();
                    log::info!("supervisor {} of {names} is here", caller.pid);
                }
                self.count_guests();
            }
            Err(error) => log::warn!("supervisor {} is not taken back: {error}", caller.pid),
        }
    }

    /// Tells every supervisor that has to do with a node that it is gone.
    pub(super) fn node_gone(&mut self, node: &NodeName) {
        for (_, supervisor) in self.supervisors.iter() {
            let goes = |pending: &PendingMove| matches!(&pending.destination, Destination::Node(to) if to.id == node.id);
            let is_there = |ward: &Ward| match &ward.charge {
                Charge::Deputy(_) => {
                    let status = ward.status.as_ref();
                    status.is_some_and(|status| status.node.id == node.id)
                }
                // One that was taken back knows its home itself.
                Charge::Guest { home, .. } => home.as_ref().is_none_or(|home| home.id == node.id),
            };
            let concerned = supervisor.wards.values().any(is_there)
                || supervisor.role == Role::Deputy && supervisor.moves.values().any(goes);
            if concerned && let Err(error) = supervisor.send(ToSupervisor::NodeLost(node.id), None)
            {
                log::warn!("{} is not told: {error}", supervisor.names());
            }
        }
    }

    /// Whether a guest is here, or a process of ours is not settled at home.
    pub(super) fn anybody_abroad(&self) -> bool {
        self.supervisors.iter().any(|(_, supervisor)| {
            let mut pids = supervisor.wards.keys();
            pids.any(|&pid| is_abroad(supervisor, pid))
        })
    }

    /// Asks all supervisors to bring their processes home.
    pub(super) fn send_everybody_home(&mut self) {
        self.send_home(|_, _| true);
    }

    /// How many processes are abroad: guests that are here, or processes of ours that are not settled at home.
    pub(super) fn count_abroad(&self, role: Role) -> usize {
        let of_role = self.supervisors.iter().filter(|(_, s)| s.role == role);
        of_role
            .map(|(_, supervisor)| {
                let pids = supervisor.wards.keys();
                pids.filter(|&&pid| is_abroad(supervisor, pid)).count()
            })
            .sum()
    }

    /// Asks supervisors to bring those home that are abroad and wanted there: by their supervisor's role, its key and
    /// their pid. Who has been asked already is not asked again.
    pub(super) fn send_home(&mut self, wanted: impl Fn(Role, (SupervisorKey, u32)) -> bool) {
        let mut abroad = Vec::new();
        for (key, supervisor) in self.supervisors.iter() {
            let goes_home = |pid: u32| {
                let mut moves = supervisor.moves.values();
                moves.any(|order| order.pid == pid && order.destination == Destination::Home)
            };
            let pids = supervisor.wards.keys().copied();
            abroad.extend(
                pids.filter(|&pid| is_abroad(supervisor, pid))
                    .filter(|&pid| wanted(supervisor.role, (key, pid)) && !goes_home(pid))
                    .map(|pid| (key, pid)),
            );
        }
        if !abroad.is_empty() {
            log::info!("sending {} processes home", abroad.len());
        }
        for (key, pid) in abroad {
            let request = self.supervisors.new_request();
            let from = self.this.name.clone();
            let Some(supervisor) = self.supervisors.get_mut(key) else {
                continue;
            };
            let order = ToSupervisor::Move {
                pid,
                request,
                destination: Destination::Home,
            };
            match supervisor.send(order, None) {
                Ok(()) => {
                    let pending = PendingMove {
                        pid,
                        asker: Asker::Nobody,
                        from,
                        destination: Destination::Home,
                        handed_on: true,
                    };
                    supervisor.moves.insert(request, pending);
                }
                Err(error) => log::warn!("process {pid} is not called: {error}"),
            }
        }
    }
}

/// Whether a process is not settled at its home.
fn is_abroad(supervisor: &Supervisor, pid: u32) -> bool {
    match supervisor.role {
        Role::Guest => true,
        Role::Deputy => {
            let state = supervisor.status_of(pid).map(|status| status.state);
            supervisor.moves.values().any(|order| order.pid == pid)
                || state != Some(ProcessState::Home)
        }
    }
}

/// Takes the orders out that concern one process.
fn take_moves(moves: &mut HashMap<u64, PendingMove>, pid: u32) -> Vec<PendingMove> {
    let requests: Vec<u64> = moves
        .iter()
        .filter(|(_, order)| order.pid == pid)
        .map(|(&request, _)| request)
        .collect();
    requests
        .iter()
        .filter_map(|request| moves.remove(request))
        .collect()
}

/// A supervisor's reason as the answer to a command.
fn move_refused(pid: u32, to: &str, error: MoveError) -> ControlError {
    match error {
        MoveError::CannotMove(reasons) => refused_to_leave(pid, reasons),
        MoveError::Gone => {
            ControlError::refused(format!("process {pid} ended before it could move to {to}"))
        }
        MoveError::Full(text) | MoveError::Failed(text) => ControlError::failed(format!(
            "process {pid} did not move to {to}: {}",
            printable(&text)
        )),
    }
}

/// One bounded line without control characters: what a supervisor says can hold a guest's words.
fn printable(text: &str) -> String {
    let mut line = String::new();
    for character in text.chars() {
        if line.len() + character.len_utf8() > NOTICE_BYTES_MAX {
            break;
        }
        line.push(if character.is_control() {
            ' '
        } else {
            character
        });
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::control::ErrorKind;
    use crate::wire::supervisor::Reason;

    #[test]
    fn what_cannot_move_is_refused_and_what_failed_has_failed() {
        let reason = Reason {
            code: "setuid".into(),
            text: "it is setuid".into(),
        };
        let error = move_refused(7, "n2", MoveError::CannotMove(vec![reason.clone()]));
        assert_eq!(error.kind, ErrorKind::Refused);
        assert_eq!(error.reasons, [reason]);
        assert_eq!(error.text, "process 7 cannot leave home: it is setuid");
        assert_eq!(
            move_refused(7, "n2", MoveError::Gone).kind,
            ErrorKind::Refused
        );
        let error = move_refused(7, "n2", MoveError::Failed("n2 is\nfull".into()));
        assert_eq!(error.kind, ErrorKind::Failed);
        assert_eq!(error.text, "process 7 did not move to n2: n2 is full");
    }

    #[test]
    fn a_notice_is_one_bounded_line() {
        assert_eq!(printable("a\x1b[31m\nb"), "a [31m b");
        assert!(printable(&"é".repeat(NOTICE_BYTES_MAX)).len() <= NOTICE_BYTES_MAX);
    }
}
