//! The table of every x86-64 system call up to Linux 6.18: its class and its argument shapes; and the planner
//! that both supervisors run on it. Pure: no I/O, no kernel interface.
//!
//! What a forwarded call goes through, with the function of each step:
//!
//! 1. Guest side: [`lookup`] and [`resolve`] say that it is forwarded, [`plan`] reads what it points to;
//!    request and payload are sent.
//! 2. Home side: [`layout`] checks them against the table and says what to write where in the deputy's scratch
//!    area, and with which arguments to make the call.
//! 3. Home side: [`Layout::collect`] reads what the call has left behind; result and reply are sent.
//! 4. Guest side: [`Plan::scatter`] says where the reply's bytes belong.
//!
//! A pointer whose memory the guest cannot read gives `-EFAULT` without asking home; NULL stays NULL.

mod derive;
mod ioctl;
mod layout;
mod messages;
pub mod name_query;
mod plan;
pub mod portions;
mod settle;
mod shape;
mod table;
#[cfg(test)]
mod tests;
mod texts;

pub use layout::{Layout, Rejection, Write, layout};
pub use plan::{Fault, Limits, Memory, Plan, PlanError, Request, plan, plan_rest};
pub use settle::ReplyMismatch;
pub use shape::{
    Answer, Argument, Call, Class, Command, Condition, Facts, Filled, Forward, Length, Pointer,
    Portions, Shorten, SignalMask, SpecialCall, Structure, Timeout,
};

/// The call with this number, if the table knows it.
#[must_use]
pub fn lookup(number: u64) -> Option<&'static Call> {
    table::TABLE.get(usize::try_from(number).ok()?)?.as_ref()
}

/// Every call of the table, by number.
pub fn calls() -> impl Iterator<Item = &'static Call> {
    table::TABLE.iter().flatten()
}

/// The class of a call made with these arguments: never [`Class::If`], [`Class::ByCommand`] or [`Class::Ioctl`].
#[must_use]
pub fn resolve(call: &'static Call, args: &[u64; 6]) -> &'static Class {
    let mut class = &call.class;
    loop {
        class = match class {
            Class::If {
                condition,
                then,
                otherwise,
            } => {
                if condition.holds(args) {
                    *then
                } else {
                    *otherwise
                }
            }
            Class::ByCommand {
                argument,
                commands,
                otherwise,
            } => {
                let value = args[usize::from(*argument)] as u32;
                match commands
                    .iter()
                    .find(|command| command.values.contains(&value))
                {
                    Some(command) => &command.class,
                    None => *otherwise,
                }
            }
            Class::Ioctl => ioctl::class(args[1] as u32),
            _ => return class,
        };
    }
}

/// What a guest's seccomp filter does with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterRule {
    /// Lets it pass.
    Allow,
    /// Lets it pass if one of the conditions holds, else traps it.
    AllowIf(Vec<Condition>),
    /// Traps it.
    Trap,
}

impl Call {
    /// What a guest's seccomp filter does with this call. A call that is not in the table is trapped.
    #[must_use]
    pub fn filter_rule(&self) -> FilterRule {
        match &self.class {
            Class::Local => FilterRule::Allow,
            Class::If {
                condition,
                then: Class::Local,
                ..
            } => FilterRule::AllowIf(vec![*condition]),
            Class::ByCommand {
                argument, commands, ..
            } => {
                let local = commands
                    .iter()
                    .filter(|command| matches!(command.class, Class::Local));
                let conditions: Vec<_> = local
                    .flat_map(|command| command.values)
                    .map(|&value| Condition {
                        argument: *argument,
                        mask: u64::from(u32::MAX),
                        equals: u64::from(value),
                    })
                    .collect();
                if conditions.is_empty() {
                    FilterRule::Trap
                } else {
                    FilterRule::AllowIf(conditions)
                }
            }
            _ => FilterRule::Trap,
        }
    }
}
