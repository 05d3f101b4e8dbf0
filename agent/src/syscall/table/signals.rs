//! Signals. They reach the program through its deputy, so whoever sends one does so at home.

use super::{call, forward, local, special};
use crate::syscall::shape::Argument::{Descriptor, In, Out, Value};
use crate::syscall::shape::Filled::{Whole, WholeIfPositive};
use crate::syscall::shape::{
    Call, Class, Condition, SignalMask, SpecialCall, Timeout, asks, changes, fixed, size,
};

/// `siginfo_t`.
const SIGINFO_BYTES: u32 = 128;
/// The kernel's `struct sigaction`: handler, flags, restorer, mask.
const SIGACTION_BYTES: u32 = 32;

/// A question is answered by this node's kernel, which has the same actions; all else is done on both sides.
const SIGACTION: Class = Class::If {
    condition: Condition {
        argument: 1,
        mask: u64::MAX,
        equals: 0,
    },
    then: &Class::Local,
    otherwise: &Class::Special(
        SpecialCall::SignalAction,
        Some(
            changes(&[
                Value,
                In(fixed(SIGACTION_BYTES)),
                Out(fixed(SIGACTION_BYTES), Whole),
                Value,
            ])
            .quick(),
        ),
    ),
};

pub(super) const CALLS: &[Call] = &[
    call(13, "rt_sigaction", SIGACTION),
    special(14, "rt_sigprocmask", SpecialCall::SignalMask),
    local(15, "rt_sigreturn"),
    local(131, "sigaltstack"),
    local(219, "restart_syscall"),
    forward(34, "pause", asks(&[])),
    forward(
        130,
        "rt_sigsuspend",
        asks(&[In(size(1)), Value]).signal_mask(SignalMask::Argument(0)),
    ),
    forward(
        127,
        "rt_sigpending",
        asks(&[Out(size(1), Whole), Value]).quick(),
    ),
    forward(
        128,
        "rt_sigtimedwait",
        changes(&[
            In(size(3)),
            Out(fixed(SIGINFO_BYTES), WholeIfPositive),
            In(fixed(16)),
            Value,
        ])
        .restart_after_stop()
        .timeout(Timeout::Timespec(2)),
    ),
    forward(62, "kill", changes(&[Value, Value]).quick().sends_signal()),
    forward(
        200,
        "tkill",
        changes(&[Value, Value]).quick().sends_signal(),
    ),
    forward(
        234,
        "tgkill",
        changes(&[Value, Value, Value]).quick().sends_signal(),
    ),
    forward(
        129,
        "rt_sigqueueinfo",
        changes(&[Value, Value, In(fixed(SIGINFO_BYTES))])
            .quick()
            .sends_signal(),
    ),
    forward(
        297,
        "rt_tgsigqueueinfo",
        changes(&[Value, Value, Value, In(fixed(SIGINFO_BYTES))])
            .quick()
            .sends_signal(),
    ),
    forward(
        424,
        "pidfd_send_signal",
        changes(&[Descriptor, Value, In(fixed(SIGINFO_BYTES)), Value])
            .quick()
            .sends_signal(),
    ),
];
