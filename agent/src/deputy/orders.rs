//! Moves that a deputy's supervisor is asked for, by the agent or by itself: waiting to be made, and answered.

use std::time::{Duration, Instant};

use crate::sys::ptrace::ThreadId;
use crate::wire::supervisor::{Destination, FromSupervisor, MoveError, MoveReport, ProcessState};

use super::departure::Start;
use super::family::Family;
use super::supervisor::Supervisor;

/// How long a supervisor with nothing to do waits to be asked for something.
const IDLE_TIMEOUT: Duration = Duration::from_millis(200);

/// A move that was asked for.
pub(super) struct Order {
    pub(super) pid: ThreadId,
    /// Names it in the answer; 0 if the supervisor has asked for it by itself.
    pub(super) request: u64,
    pub(super) destination: Destination,
    pub(super) start: Start,
}

impl Order {
    /// One that nobody has given.
    pub(super) fn of_its_own(pid: ThreadId, destination: Destination) -> Order {
        Order {
            pid,
            request: 0,
            destination,
            start: Start::Running,
        }
    }
}

impl Supervisor {
    pub(super) fn answer(
        &mut self,
        order: &Order,
        result: Result<MoveReport, MoveError>,
        cause: Option<String>,
    ) {
        self.link.send(&FromSupervisor::MoveDone {
            pid: order.pid.cast_unsigned(),
            request: order.request,
            destination: order.destination.clone(),
            result,
            cause,
        });
    }

    /// The next move asked for; none if the supervisor is not needed.
    pub(super) fn next_order(&mut self) -> Option<Order> {
        let deadline = Instant::now() + IDLE_TIMEOUT;
        loop {
            let position = self.orders.iter().position(|order| order.pid == self.pid);
            if let Some(order) = position.and_then(|index| self.orders.remove(index)) {
                return Some(order);
            }
            if Instant::now() >= deadline {
                return None;
            }
            self.link.descriptor()?;
            self.wait(Vec::new(), IDLE_TIMEOUT);
        }
    }

    /// Calls those home that are wanted elsewhere.
    pub(super) fn follow_orders(&mut self, family: &mut Family) {
        let mut index = 0;
        while let Some(order) = self.orders.get(index) {
            let Some(position) = family.position(order.pid) else {
                // Of one that has left meanwhile; the agent knows, or will in a moment.
                index += 1;
                continue;
            };
            let is_there =
                matches!(&order.destination, Destination::Node(node) if node.id == family.node.id);
            if is_there {
                if let Some(order) = self.orders.remove(index) {
                    self.answer(&order, Ok(MoveReport::default()), None);
                }
                continue;
            }
            let pid = order.pid.cast_unsigned();
            self.link
                .report(pid, |status| status.state = ProcessState::Returning);
            family.recall(position);
            index += 1;
        }
    }

    /// The order to come home, if there is one; else one that nobody has given.
    pub(super) fn take_order_home(&mut self, pid: ThreadId) -> Order {
        let wanted = |order: &Order| order.pid == pid && order.destination == Destination::Home;
        let position = self.orders.iter().position(wanted);
        position
            .and_then(|index| self.orders.remove(index))
            .unwrap_or_else(|| Order::of_its_own(pid, Destination::Home))
    }

    pub(super) fn fail_orders(&mut self, pid: ThreadId, error: &MoveError) {
        let (concerned, others) = self
            .orders
            .drain(..)
            .partition::<Vec<_>, _>(|order| order.pid == pid);
        self.orders.extend(others);
        for order in concerned {
            self.answer(&order, Err(error.clone()), None);
        }
    }
}
