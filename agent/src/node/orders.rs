//! What an operator tells this node: what may leave it, what may come, and that all are to go now.
//!
//! The words are openMosix's. `expel` and `bring` are orders that last: whoever turns up abroad later goes home too,
//! until `noblock` or `nolstay` ends it. The command asks again and again until nobody is left, so it needs no
//! connection of its own here and may be interrupted.

use super::agent::{Agent, Reply};
use super::moves::{answer, answer_error};
use crate::balance::vector::SPEED_MAX;
use crate::sys::peer::Peer;
use crate::wire::control::{ControlError, ControlResponse, NodeModes, NodeOrder};
use crate::wire::supervisor::Role;

impl Agent {
    pub(super) fn node_order(&mut self, order: NodeOrder, caller: Peer, reply: &Reply) {
        if order != NodeOrder::Show && caller.uid != 0 {
            let text = "only root may tell a node what leaves it and what comes: try sudo";
            return answer_error(reply, ControlError::refused(text));
        }
        let modes = &mut self.balancing.modes;
        match order {
            NodeOrder::Show => {}
            NodeOrder::Stay(on) => modes.stay = on,
            NodeOrder::LocalStay(on) => {
                modes.local_stay = on;
                modes.bring &= on;
            }
            NodeOrder::Block(on) => {
                modes.block = on;
                modes.expel &= on;
            }
            NodeOrder::Quiet(on) => modes.quiet = on,
            NodeOrder::Expel => (modes.block, modes.expel) = (true, true),
            NodeOrder::Bring => (modes.local_stay, modes.bring) = (true, true),
            NodeOrder::Speed(speed) => {
                if speed.is_some_and(|speed| speed == 0 || speed > SPEED_MAX) {
                    let text = format!(
                        "a speed is from 1 to {SPEED_MAX}; 10000 is the reference machine's"
                    );
                    return answer_error(reply, ControlError::refused(text));
                }
                self.cluster.set_speed(speed);
            }
        }
        match order {
            NodeOrder::Expel => self.send_home(|role, _| role == Role::Guest),
            NodeOrder::Bring => self.send_home(|role, _| role == Role::Deputy),
            _ => {}
        }
        answer(reply, ControlResponse::Node(self.modes()));
    }

    fn modes(&self) -> NodeModes {
        let modes = self.balancing.modes;
        let count = |role| u32::try_from(self.count_abroad(role)).unwrap_or(u32::MAX);
        NodeModes {
            stay: modes.stay,
            lstay: modes.local_stay,
            block: modes.block,
            quiet: modes.quiet,
            speed: self.cluster.load().speed,
            guests: count(Role::Guest),
            away: count(Role::Deputy),
        }
    }
}
