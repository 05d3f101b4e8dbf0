//! Processes and threads: making, ending, waiting, scheduling, and what locks between threads need.

use super::{call, comes_home, forward, local, special};
use crate::syscall::shape::Argument::{self, Descriptor, In, InOut, Out, Text, Texts, Value};
use crate::syscall::shape::Filled::{Always, Result, Whole, WholeIfPositive};
use crate::syscall::shape::{
    Call, Class, Command, Condition, Length, SpecialCall, asks, changes, fixed, int,
};

const NAMESPACES: &str = "namespaces are changed on the home node";
const SCHEDULING: &str = "a real-time scheduling policy is set on the home node";
const TRACING: &str = "tracing and measuring happens on the home node";
/// `struct rusage`.
const RUSAGE_BYTES: u32 = 144;
const RUSAGE: Argument = Out(fixed(RUSAGE_BYTES), Whole);
/// `struct rlimit`.
const RLIMIT_BYTES: u32 = 16;

pub(super) const CALLS: &[Call] = &[
    special(56, "clone", SpecialCall::Clone),
    special(57, "fork", SpecialCall::Clone),
    special(58, "vfork", SpecialCall::Clone),
    special(435, "clone3", SpecialCall::Clone),
    call(
        59,
        "execve",
        Class::Special(SpecialCall::Exec, Some(changes(&[Text, Texts, Texts]))),
    ),
    call(
        322,
        "execveat",
        Class::Special(
            SpecialCall::Exec,
            Some(changes(&[Descriptor, Text, Texts, Texts, Value])),
        ),
    ),
    special(60, "exit", SpecialCall::Exit),
    special(231, "exit_group", SpecialCall::ExitGroup),
    forward(
        61,
        "wait4",
        changes(&[
            Value,
            Out(fixed(4), WholeIfPositive),
            Value,
            Out(fixed(RUSAGE_BYTES), WholeIfPositive),
        ]),
    ),
    // The kernel writes single fields of siginfo_t, the last one ending at byte 28, even on failure; and the
    // usage only if there was a child.
    forward(
        247,
        "waitid",
        changes(&[
            Value,
            Value,
            InOut(fixed(28), Always),
            Value,
            InOut(fixed(RUSAGE_BYTES), Always),
        ]),
    ),
    forward(434, "pidfd_open", changes(&[Value, Value]).quick()),
    forward(
        438,
        "pidfd_getfd",
        changes(&[Descriptor, Value, Value]).quick(),
    ),
    forward(98, "getrusage", asks(&[Value, RUSAGE]).quick()),
    forward(
        97,
        "getrlimit",
        asks(&[Value, Out(fixed(RLIMIT_BYTES), Whole)]).quick(),
    ),
    forward(
        160,
        "setrlimit",
        changes(&[Value, In(fixed(RLIMIT_BYTES))])
            .quick()
            .regulates(),
    ),
    call(302, "prlimit64", PRLIMIT64),
    call(157, "prctl", super::settings::PRCTL),
    call(158, "arch_prctl", ARCH_PRCTL),
    // Locks between the guest's threads.
    local(202, "futex"),
    local(449, "futex_waitv"),
    local(454, "futex_wake"),
    local(455, "futex_wait"),
    local(456, "futex_requeue"),
    local(218, "set_tid_address"),
    local(273, "set_robust_list"),
    local(274, "get_robust_list"),
    local(334, "rseq"),
    // Scheduling.
    local(24, "sched_yield"),
    local(309, "getcpu"),
    call(204, "sched_getaffinity", SCHED_GETAFFINITY),
    call(
        203,
        "sched_setaffinity",
        Class::Special(
            SpecialCall::SetAffinity,
            Some(changes(&[Value, Value, In(int(1))]).quick()),
        ),
    ),
    forward(140, "getpriority", asks(&[Value, Value]).quick()),
    forward(
        141,
        "setpriority",
        changes(&[Value, Value, Value]).quick().regulates(),
    ),
    forward(251, "ioprio_set", changes(&[Value, Value, Value]).quick()),
    forward(252, "ioprio_get", asks(&[Value, Value]).quick()),
    forward(
        143,
        "sched_getparam",
        asks(&[Value, Out(fixed(4), Whole)]).quick(),
    ),
    forward(145, "sched_getscheduler", asks(&[Value]).quick()),
    forward(146, "sched_get_priority_max", asks(&[Value]).quick()),
    forward(147, "sched_get_priority_min", asks(&[Value]).quick()),
    forward(
        148,
        "sched_rr_get_interval",
        asks(&[Value, Out(fixed(16), Whole)]).quick(),
    ),
    forward(
        315,
        "sched_getattr",
        asks(&[Value, InOut(int(2), Always), Value, Value]).quick(),
    ),
    forward(
        142,
        "sched_setparam",
        changes(&[Value, In(fixed(4))]).quick().regulates(),
    ),
    call(144, "sched_setscheduler", SCHED_SETSCHEDULER),
    // The kernel puts the size that it knows into an attribute structure of another one.
    call(
        314,
        "sched_setattr",
        Class::Special(
            SpecialCall::Schedule,
            Some(
                changes(&[Value, InOut(SCHED_ATTRIBUTES, Always), Value])
                    .quick()
                    .regulates(),
            ),
        ),
    ),
    // What only home can do.
    comes_home(101, "ptrace", TRACING),
    comes_home(298, "perf_event_open", TRACING),
    comes_home(312, "kcmp", TRACING),
    comes_home(335, "uretprobe", TRACING),
    comes_home(336, "uprobe", TRACING),
    comes_home(272, "unshare", NAMESPACES),
    comes_home(308, "setns", NAMESPACES),
    comes_home(
        317,
        "seccomp",
        "a filter can only be installed on the home node",
    ),
    call(135, "personality", PERSONALITY),
    comes_home(
        154,
        "modify_ldt",
        "the local descriptor table is set on the home node",
    ),
    comes_home(172, "iopl", "I/O ports are those of the home node"),
    comes_home(173, "ioperm", "I/O ports are those of the home node"),
];

/// `arch_prctl`, by its option (asm/prctl.h).
const ARCH_PRCTL: Class = Class::ByCommand {
    argument: 0,
    commands: &[
        // ARCH_SET_GS, _SET_FS, _GET_FS, _GET_GS, and an option for shadow stacks that was never in Linux but that
        // programs try at their start.
        Command {
            values: &[0x1001, 0x1002, 0x1003, 0x1004, 0x3001],
            class: Class::Local,
        },
        // ARCH_GET_XCOMP_SUPP, _GET_XCOMP_PERM, ARCH_SHSTK_STATUS: of the process as home knows it.
        Command {
            values: &[0x1021, 0x1022, 0x5005],
            class: Class::Forward(asks(&[Value, InOut(fixed(8), Always)]).quick()),
        },
        // ARCH_SET_CPUID, _REQ_XCOMP_PERM, _REQ_XCOMP_GUEST_PERM, _MAP_VDSO_*, _ENABLE_TAGGED_ADDR,
        // _FORCE_TAGGED_SVA, _SHSTK_ENABLE, _DISABLE, _LOCK, _UNLOCK.
        Command {
            values: &[
                0x1012, 0x1023, 0x1025, 0x2001, 0x2002, 0x2003, 0x4002, 0x4004, 0x5001, 0x5002,
                0x5003, 0x5004,
            ],
            class: Class::ComesHome("what a CPU does for the process is set on the home node"),
        },
    ],
    // Reading CPU state; the rest no kernel knows.
    otherwise: &Class::Local,
};

/// Only asking (no new limit) or setting; what is set counts on both sides.
const PRLIMIT64: Class = Class::If {
    condition: Condition {
        argument: 2,
        mask: u64::MAX,
        equals: 0,
    },
    then: &Class::Forward(asks(&[Value, Value, Value, Out(fixed(RLIMIT_BYTES), Whole)]).quick()),
    otherwise: &Class::Forward(
        changes(&[
            Value,
            Value,
            In(fixed(RLIMIT_BYTES)),
            Out(fixed(RLIMIT_BYTES), Whole),
        ])
        .quick()
        .regulates(),
    ),
};

/// The caller's own.
const SCHED_GETAFFINITY: Class = Class::If {
    condition: Condition {
        argument: 0,
        mask: u32::MAX as u64,
        equals: 0,
    },
    then: &Class::Local,
    otherwise: &Class::Special(
        SpecialCall::GetAffinity,
        Some(asks(&[Value, Value, Out(int(1), Result)]).quick()),
    ),
};

/// SCHED_OTHER, SCHED_BATCH and SCHED_IDLE, with and without SCHED_RESET_ON_FORK.
const SCHED_SETSCHEDULER: Class = Class::ByCommand {
    argument: 1,
    commands: &[Command {
        values: &[0, 3, 5, 0x4000_0000, 0x4000_0003, 0x4000_0005],
        class: Class::Forward(changes(&[Value, Value, In(fixed(4))]).quick().regulates()),
    }],
    otherwise: &Class::ComesHome(SCHEDULING),
};

/// `struct sched_attr`: its size first; one of 0 bytes has the oldest size.
const SCHED_ATTRIBUTES: Length = Length::Own {
    prefix: 48,
    plus: 0,
};

/// 0xffffffff only asks.
const PERSONALITY: Class = Class::ByCommand {
    argument: 0,
    commands: &[Command {
        values: &[0xffff_ffff],
        class: Class::Forward(asks(&[Value]).quick()),
    }],
    otherwise: &Class::ComesHome("the personality is changed on the home node"),
};
