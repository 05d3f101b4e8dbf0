//! Guests and the owner of their node, whose own work comes first.
//!
//! 1. Guests run in a cgroup of a low weight, where there is a cpu controller to give it one.
//! 2. As long as there are guests, what else wants a CPU is looked at five times a second.
//! 3. When that is half of what the CPUs can do, guests for whom there is no room are sent home
//!    ([`crate::balance::arrivals`]), and none comes in.

use std::collections::BTreeMap;
use std::time::Duration;

use super::agent::Agent;
use super::balancing::{Guest, Ours, load_at_home};
use super::jobs::every_pid;
use super::supervisors::Charge;
use crate::balance::arrivals::{guests_to_leave, owner_works};
use crate::limits::PROCESSES_BALANCED_MAX;
use crate::load::meter::Meter;
use crate::process::stat;
use crate::process::status::State;
use crate::process::tasks;
use crate::wire::supervisor::Role;

/// Weight of a new glance at the owner's work: what lasts for less than half a second hardly shows.
const GLANCE_WEIGHT: f64 = 0.25;

impl Agent {
    /// Whether the owner's own work leaves no room for guests.
    pub(super) fn owner_works(&self) -> bool {
        owner_works(self.cluster.load().cpus, self.balancing.own_load)
    }

    /// Whether the owner's work is looked at between two full looks. Where the kernel keeps no account of guests, their
    /// work cannot be told from the owner's at a glance.
    pub(super) fn watches_owner(&self) -> bool {
        !self.balancing.guests.is_empty() && self.jobs.cgroups().is_some()
    }

    /// A glance at the owner's work; `ours` is what was seen of our processes.
    pub(super) fn watch_owner(&mut self, ours: &[Ours]) {
        if !self.watches_owner() {
            return;
        }
        let wanted = if self.config.shared_kernel {
            Some(load_at_home(ours))
        } else {
            self.wanted_by_owner()
        };
        let Some(wanted) = wanted else { return };
        let load = &mut self.balancing.own_load;
        *load += GLANCE_WEIGHT * (wanted - *load);
        self.make_room();
    }

    /// Threads that want a CPU at this moment, without those of guests and of the supervisors that serve them.
    pub(super) fn wanted_by_owner(&self) -> Option<f64> {
        let all = Meter::runnable()?;
        let guests = self.supervised().into_iter();
        let threads = guests.flat_map(|pid| tasks::read(pid).unwrap_or_default());
        // A thread can end while it is looked at.
        let runs = |tid: &u32| stat::read(*tid).is_ok_and(|stat| stat.state == State::Running);
        let guests = u32::try_from(threads.filter(runs).count()).ok()?;
        let others = f64::from(all.saturating_sub(guests));
        let in_doubt = owner_works(self.cluster.load().cpus, others);
        Some(if in_doubt {
            others.min(self.running_but_for_guests())
        } else {
            others
        })
    }

    /// The same, seen thread by thread, which takes longer. Since Linux 6.12 the kernel's count has threads in it that
    /// sleep already: each stays in its queue until its turn would have come (`sched_delayed` of kernel/sched/fair.c), and
    /// for guests, whose weight is low, that takes long. The kernel's own threads are left out: what they do is done for
    /// others, such as making room in memory for a guest that grows.
    fn running_but_for_guests(&self) -> f64 {
        let supervised = self.supervised();
        let own = std::process::id();
        let others = every_pid().filter(|pid| *pid != own && !supervised.contains(pid));
        let running = others.map(|pid| match stat::read(pid) {
            Ok(stat) if stat.is_kernel_thread() => 0,
            Ok(stat) if stat.threads > 1 => {
                let threads = tasks::read(pid).unwrap_or_default().into_iter();
                let stats = threads.filter_map(|tid| stat::read_thread(pid, tid).ok());
                stats.filter(|stat| stat.state == State::Running).count()
            }
            // One can end while it is looked at.
            stat => usize::from(stat.is_ok_and(|stat| stat.state == State::Running)),
        });
        running.sum::<usize>() as f64
    }

    /// Sends guests home that an operator wants gone, or that the owner's work leaves no room for.
    pub(super) fn make_room(&mut self) {
        let guests = &self.balancing.guests;
        if guests.is_empty() {
            return;
        }
        let all = self.balancing.modes.expel;
        let leave = guests_to_leave(self.cluster.load().cpus, self.balancing.own_load, guests);
        self.send_home(|role, ward| role == Role::Guest && (all || leave.contains(&ward)));
    }

    /// Supervisors, guests, and what these have forked.
    fn supervised(&self) -> Vec<u32> {
        let cgroups = self.jobs.cgroups();
        let supervised = cgroups.and_then(|cgroups| cgroups.supervised().ok());
        supervised.unwrap_or_default()
    }

    /// The guests, as processes of this kernel, and what they have forked; none where the kernel keeps no account of them.
    fn guest_processes(&self) -> Vec<u32> {
        let supervisors = self.supervisors.iter();
        let supervisors: Vec<u32> = supervisors.map(|(_, s)| s.supervisor_pid).collect();
        let mut guests = self.supervised();
        guests.retain(|pid| !supervisors.contains(pid));
        guests.truncate(PROCESSES_BALANCED_MAX);
        guests
    }

    /// Gives guests a lower priority than the owner's work. Their supervisors keep theirs: home hears of them.
    fn lower(&mut self, guests: &[u32]) {
        let Some(cgroups) = self.jobs.cgroups() else {
            return;
        };
        let lowered = cgroups.lower(guests);
        let is_lower = lowered.is_ok();
        if self.balancing.guests_are_lower.replace(is_lower) == Some(is_lower) {
            return;
        }
        match lowered {
            Ok(()) => log::info!("guests run at a lower priority than this node's own work"),
            Err(error) => {
                log::warn!("guests run at the same priority as this node's own work: {error}");
            }
        }
    }

    /// The load of all guests together, and of each. Where the kernel keeps account of the supervisors' family, the time
    /// that guests wait for a CPU counts; else only the time that they run.
    pub(super) fn look_at_guests(&mut self, now: Duration) -> (f64, Vec<Guest>) {
        let seconds = now
            .saturating_sub(self.balancing.looked)
            .as_secs_f64()
            .max(0.1)
            * self.this_vector().running_part();
        let mut shares = Vec::new();
        let mut cpu = BTreeMap::new();
        for (key, supervisor) in self.supervisors.iter() {
            for (&pid, ward) in &supervisor.wards {
                let (Charge::Guest { .. }, Some(status)) = (&ward.charge, &ward.status) else {
                    continue;
                };
                let used = status.away_cpu_seconds;
                let before = self.balancing.guests_before.get(&(key, pid));
                // One that has just come is taken for busy.
                let share = before.map_or(1.0, |&(before, share)| match used - before {
                    // Its next report may only be late.
                    0.0 => share / 2.0,
                    more => more.max(0.0) / seconds,
                });
                shares.push(((key, pid), share));
                cpu.insert((key, pid), (used, share));
            }
        }
        self.balancing.guests_before = cpu;
        if shares.is_empty() {
            return (0.0, shares);
        }
        let running: f64 = shares.iter().map(|(_, share)| share).sum();
        let is_accounted = self.jobs.cgroups().is_some();
        let guests = self.guest_processes();
        self.lower(&guests);
        let activity = &mut self.balancing.activity;
        let wanted: f64 = guests
            .into_iter()
            .filter_map(|pid| activity.look(now, pid).ok())
            .map(|(_, usage)| usage.runnable)
            .sum();
        let load = if is_accounted { wanted } else { running };
        // Reports come about once a second, not exactly: what all want together is known better.
        if running > 0.0 {
            let factor = load / running;
            shares.iter_mut().for_each(|(_, share)| *share *= factor);
        }
        (load, shares)
    }
}
