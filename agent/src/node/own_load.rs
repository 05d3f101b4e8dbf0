//! This node's load: what the others are told of it, and whom it lets in by it.

use super::agent::Agent;
use super::supervisors::Charge;
use crate::balance::arrivals::lets_in;
use crate::balance::vector::LoadVector;
use crate::wire::supervisor::NodeId;

/// Weight of a new look at the owner's work where there are no guests.
const LOOK_WEIGHT: f64 = 0.3;

impl Agent {
    /// What this node is, without what runs on it.
    pub(super) fn this_vector(&self) -> LoadVector {
        LoadVector {
            throttled_percent: self.cluster.throttled_percent(),
            ..crate::node::peers::vector(&self.cluster.load())
        }
    }

    /// At a full look: the work of this node's owner.
    pub(super) fn measure_own_load(&mut self, guest_load: f64) {
        let (our_load, _) = self.balancing.at_home;
        if self.config.shared_kernel {
            self.cluster.tell_load(our_load + guest_load);
        }
        if self.watches_owner() {
            return;
        }
        let before = self.balancing.own_load;
        self.balancing.own_load = if self.config.shared_kernel {
            our_load
        } else if self.jobs.cgroups().is_none() {
            // Guests cannot be told from the owner's work but by what their supervisors tell.
            (self.cluster.machine_load() - guest_load).max(our_load)
        } else {
            let wanted = self.wanted_by_owner().unwrap_or(our_load);
            before + LOOK_WEIGHT * (wanted - before)
        };
    }

    /// What runs here at this moment: our own work and that of guests, and what has been let in and is on its way.
    fn load_now(&self) -> (f64, f64) {
        let (our_load, _) = self.balancing.at_home;
        let own_load = if self.config.shared_kernel {
            our_load
        } else {
            self.balancing.own_load.max(our_load)
        };
        let (mut load, mut coming) = (own_load, self.guests_coming.get() as f64);
        for (key, supervisor) in self.supervisors.iter() {
            for (&pid, ward) in &supervisor.wards {
                match (&ward.charge, &ward.status) {
                    (Charge::Deputy(_), _) => {}
                    (Charge::Guest { .. }, None) => coming += 1.0,
                    (Charge::Guest { .. }, Some(_)) => {
                        let mut seen = self.balancing.guests.iter();
                        let seen = seen.find(|(guest, _)| *guest == (key, pid));
                        // One that has just come is taken for busy.
                        load += seen.map_or(1.0, |(_, load)| *load);
                    }
                }
            }
        }
        (load, coming)
    }

    /// Tells the others this node's load; whenever it has changed.
    pub(super) fn tell_load(&mut self) {
        let modes = self.balancing.modes;
        let (load, _) = self.load_now();
        let mut vector = self.this_vector();
        vector.set_load(load);
        vector.guests = u16::try_from(self.supervisors.guests()).unwrap_or(u16::MAX);
        let is_closed = modes.block || self.no_guests.is_some() || self.owner_works();
        vector.closed = is_closed || self.is_full();
        self.balancing.vector = vector;
        let ours = self.balancing.ours.iter();
        let hosts = ours.filter_map(|ours| ours.process.place.node());
        let mut homes: Vec<NodeId> = Vec::new();
        for (_, supervisor) in self.supervisors.iter() {
            for ward in supervisor.wards.values() {
                if let Charge::Guest {
                    home: Some(home), ..
                } = &ward.charge
                    && !homes.contains(&home.id)
                {
                    homes.push(home.id);
                }
            }
        }
        self.cluster.set_vector(vector, modes.quiet, hosts, homes);
    }

    /// Why this node takes no guests for the time being; `balanced`: a balancer sends this one.
    pub(super) fn door_closed(&self, balanced: bool) -> Option<String> {
        let name = &self.this.name;
        if self.balancing.modes.block {
            return Some(format!("node {name} is told to take no guests (block)"));
        }
        (balanced && self.owner_works()).then(|| format!("the owner of node {name} works on it"))
    }

    /// Whether there is room for a guest whose balancer counts on this load here, in hundredths of a thread.
    pub(super) fn lets_in(&self, load_centi: Option<u32>) -> bool {
        let (load, coming) = self.load_now();
        let counted_on = load_centi.map_or(0.0, |centi| f64::from(centi) / 100.0);
        lets_in(self.cluster.load().cpus, load + coming, counted_on)
    }

    /// This node for somebody at its door: what is on its way here counts already.
    pub(super) fn load_at_the_door(&self) -> LoadVector {
        let (load, coming) = self.load_now();
        let mut vector = self.balancing.vector;
        vector.set_load(load + coming);
        vector
    }
}
