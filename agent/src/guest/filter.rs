//! The guest's seccomp filter: which calls it makes on the remote node, untrapped.
//!
//! Made from the system call table: what the table calls local is allowed, all else stops the thread for
//! its supervisor (RET_TRACE). Nothing that reaches a resource of the remote node is ever allowed:
//! only memory of its own, its futexes, its clocks.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

use crate::sys::call_numbers as number;
use crate::syscall::{self, Condition, FilterRule};

/// The data of trapped calls' events.
const TRACE_DATA: u32 = 0;

/// The same for calls of the 32-bit interface (`int 0x80`), whose numbers and arguments are others.
pub const FOREIGN_DATA: u64 = 1;

/// `BPF_RET | BPF_K`.
const BPF_RETURN: u16 = 0x06;
/// Actions of a filter (linux/seccomp.h).
const SECCOMP_RET_KILL_PROCESS: u32 = 0x8000_0000;
const SECCOMP_RET_TRACE: u32 = 0x7ff0_0000;

/// The filter as the kernel takes it: `struct sock_filter[]`.
pub fn program() -> Result<Vec<u8>, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in syscall::calls() {
        let number = i64::from(call.number);
        if number == number::SYS_rt_sigreturn {
            // It changes the signal mask, which home must know.
            continue;
        }
        match call.filter_rule() {
            FilterRule::Allow => drop(rules.insert(number, Vec::new())),
            FilterRule::AllowIf(conditions) => {
                let alternatives = conditions.iter().map(rule).collect::<Result<_, _>>()?;
                rules.insert(number, alternatives);
            }
            FilterRule::Trap => {}
        }
    }
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Trace(TRACE_DATA),
        SeccompAction::Allow,
        TargetArch::x86_64,
    )?;
    let mut program: BpfProgram = filter.try_into()?;
    // What is made for filters in general kills whoever calls by another interface.
    for instruction in &mut program {
        if instruction.code == BPF_RETURN && instruction.k == SECCOMP_RET_KILL_PROCESS {
            instruction.k = SECCOMP_RET_TRACE | FOREIGN_DATA as u32;
        }
    }
    let mut bytes = Vec::with_capacity(program.len() * 8);
    for instruction in program {
        bytes.extend_from_slice(&instruction.code.to_le_bytes());
        bytes.extend_from_slice(&[instruction.jt, instruction.jf]);
        bytes.extend_from_slice(&instruction.k.to_le_bytes());
    }
    Ok(bytes)
}

fn rule(condition: &Condition) -> Result<SeccompRule, BackendError> {
    let comparison = SeccompCondition::new(
        condition.argument,
        SeccompCmpArgLen::Qword,
        SeccompCmpOp::MaskedEq(condition.mask),
        condition.equals,
    )?;
    SeccompRule::new(vec![comparison])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_fits_the_kernels_limit_of_4096_instructions() {
        let bytes = program().unwrap();
        assert!(bytes.len() / 8 < 4096);
        let (instructions, _) = bytes.as_chunks::<8>();
        let kills = [0x06, 0, 0, 0, 0, 0, 0, 0x80];
        assert!(!instructions.contains(&kills), "a call kills the guest");
        assert!(bytes.len() > 8 * 20, "no call is allowed");
    }
}
