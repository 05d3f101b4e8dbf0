//! What prctl(2) and arch_prctl(2) have set of a thread, and what takes effect where it runs.
//!
//! Most of what these calls set concerns home alone and stays with the deputy. The rest is asked of the
//! stopped thread at departure and set in the guest. A guest that wants to change any of it comes home to do
//! so, so that none has to be carried back.

use serde::{Deserialize, Serialize};

use crate::sys::blob::Call;
use crate::sys::call_numbers as number;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attribute {
    /// RDTSC faults (PR_SET_TSC).
    TimestampFaults,
    /// CPUID faults (ARCH_SET_CPUID).
    CpuidFaults,
    /// No transparent huge pages (PR_SET_THP_DISABLE).
    NoHugePages,
    /// No memory becomes executable that is or was writable (PR_SET_MDWE): the flags.
    DenyWriteExecute(u32),
    /// What the CPU may not guess (PR_SET_SPECULATION_CTRL): which kind, and how it is forbidden.
    Speculation(u32, u32),
    /// A dynamic part of the extended state may be used (ARCH_REQ_XCOMP_PERM): its number.
    ExtendedFeature(u32),
}

const PR_GET_TSC: u64 = 25;
const PR_SET_TSC: u64 = 26;
const PR_TSC_SIGSEGV: u64 = 2;
const PR_SET_THP_DISABLE: u64 = 41;
const PR_GET_THP_DISABLE: u64 = 42;
const PR_GET_SPECULATION_CTRL: u64 = 52;
const PR_SET_SPECULATION_CTRL: u64 = 53;
const PR_SET_MDWE: u64 = 65;
const PR_GET_MDWE: u64 = 66;
const ARCH_GET_CPUID: u64 = 0x1011;
const ARCH_SET_CPUID: u64 = 0x1012;
const ARCH_GET_XCOMP_PERM: u64 = 0x1022;
const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;

/// PR_SPEC_STORE_BYPASS and PR_SPEC_INDIRECT_BRANCH.
const SPECULATION_KINDS: [u32; 2] = [0, 1];

/// PR_SPEC_DISABLE, PR_SPEC_FORCE_DISABLE and PR_SPEC_DISABLE_NOEXEC.
const SPECULATION_FORBIDDEN: i64 = 4 | 8 | 16;

/// AMX's tile data: the one part that the kernel gives only on demand.
const DYNAMIC_FEATURES: [u32; 1] = [18];

fn prctl(arguments: [u64; 3]) -> Call {
    let [option, second, third] = arguments;
    Call::new(number::SYS_prctl, [option, second, third, 0, 0, 0])
}

fn arch_prctl(option: u64, argument: u64) -> Call {
    Call::new(number::SYS_arch_prctl, [option, argument, 0, 0, 0, 0])
}

/// What two of [`questions`] write, in bytes.
pub const ANSWER_BYTES: usize = 16;

/// The calls by which a thread tells its own; two of them write a word each to `place` and behind it.
pub fn questions(place: u64) -> Vec<Call> {
    let mut calls = vec![
        prctl([PR_GET_TSC, place, 0]),
        arch_prctl(ARCH_GET_XCOMP_PERM, place + 8),
        arch_prctl(ARCH_GET_CPUID, 0),
        prctl([PR_GET_THP_DISABLE, 0, 0]),
        prctl([PR_GET_MDWE, 0, 0]),
    ];
    let kinds = SPECULATION_KINDS.map(u64::from);
    calls.extend(kinds.map(|kind| prctl([PR_GET_SPECULATION_CTRL, kind, 0])));
    calls
}

/// What the answers say; `words` are those at the place. A kernel or CPU that lacks one of them refuses the
/// question.
pub fn answers(calls: &[Call], words: [u64; 2]) -> Vec<Attribute> {
    let result = |index: usize| calls.get(index).map_or(-1, |call| call.result);
    let mut attributes = Vec::new();
    // An int: the word's upper half is not the kernel's.
    if result(0) == 0 && words[0] & 0xffff_ffff == PR_TSC_SIGSEGV {
        attributes.push(Attribute::TimestampFaults);
    }
    if result(1) == 0 {
        let granted = DYNAMIC_FEATURES.iter();
        let granted = granted.filter(|&&feature| words[1] >> feature & 1 != 0);
        attributes.extend(granted.map(|&feature| Attribute::ExtendedFeature(feature)));
    }
    if result(2) == 0 {
        attributes.push(Attribute::CpuidFaults);
    }
    if result(3) > 0 {
        attributes.push(Attribute::NoHugePages);
    }
    if result(4) > 0 {
        attributes.push(Attribute::DenyWriteExecute(result(4) as u32));
    }
    for (index, kind) in (5..).zip(SPECULATION_KINDS) {
        let how = result(index);
        if how > 0 && how & SPECULATION_FORBIDDEN != 0 {
            attributes.push(Attribute::Speculation(
                kind,
                (how & SPECULATION_FORBIDDEN) as u32,
            ));
        }
    }
    attributes
}

impl Attribute {
    /// The call that sets it.
    pub fn call(self) -> Call {
        match self {
            Self::TimestampFaults => prctl([PR_SET_TSC, PR_TSC_SIGSEGV, 0]),
            Self::CpuidFaults => arch_prctl(ARCH_SET_CPUID, 0),
            Self::NoHugePages => prctl([PR_SET_THP_DISABLE, 1, 0]),
            Self::DenyWriteExecute(flags) => prctl([PR_SET_MDWE, flags.into(), 0]),
            Self::Speculation(kind, how) => {
                prctl([PR_SET_SPECULATION_CTRL, kind.into(), how.into()])
            }
            Self::ExtendedFeature(feature) => arch_prctl(ARCH_REQ_XCOMP_PERM, feature.into()),
        }
    }

    /// Whether a program can tell that it is not set. The others serve speed, or keep secrets from others on
    /// the same CPU, which a CPU that need not be told does by itself.
    pub fn is_required(self) -> bool {
        !matches!(self, Self::NoHugePages | Self::Speculation(..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(results: [i64; 7], words: [u64; 2]) -> Vec<Attribute> {
        let mut calls = questions(0x1000);
        assert_eq!(calls.len(), results.len());
        for (call, result) in calls.iter_mut().zip(results) {
            call.result = result;
        }
        answers(&calls, words)
    }

    #[test]
    fn an_ordinary_thread_has_none() {
        // No AMX; store bypass under prctl's control, and allowed.
        let results = [0, -22, 1, 0, 0, 3, -6];
        assert_eq!(answered(results, [0xdead_0000_0001, 0]), []);
    }

    #[test]
    fn all_that_are_set_are_told_apart() {
        let results = [0, 0, 0, 1, 3, 1 | 8, 1 | 4];
        assert_eq!(
            answered(results, [0xdead_0000_0002, 1 << 18 | 0xe7]),
            [
                Attribute::TimestampFaults,
                Attribute::ExtendedFeature(18),
                Attribute::CpuidFaults,
                Attribute::NoHugePages,
                Attribute::DenyWriteExecute(3),
                Attribute::Speculation(0, 8),
                Attribute::Speculation(1, 4),
            ]
        );
    }
}
