//! `prctl`, by its option (linux/prctl.h). What acts where the guest runs
//! and can be set only at home is taken along at the next departure (`migrate::attributes`).

use crate::syscall::shape::Argument::{Out, Text, Value};
use crate::syscall::shape::Filled::{Result, Whole};
use crate::syscall::shape::{Argument, Class, Command, SpecialCall, asks, changes, fixed, size};

/// An `int` that the kernel stores where the second argument points.
const INT_OUT: &[Argument] = &[Value, Out(fixed(4), Whole)];

pub(super) const PRCTL: Class = Class::ByCommand {
    argument: 0,
    commands: &[
        // PR_GET_DUMPABLE, _KEEPCAPS, _TIMING, _SECCOMP, PR_CAPBSET_READ, PR_GET_SECUREBITS, _TIMERSLACK,
        // PR_MCE_KILL_GET, PR_GET_NO_NEW_PRIVS, _THP_DISABLE, _SPECULATION_CTRL, _IO_FLUSHER, _MDWE,
        // _MEMORY_MERGE: the result is the answer, and home's is the true one.
        Command {
            values: &[3, 7, 13, 21, 23, 27, 30, 34, 39, 42, 52, 58, 66, 68],
            class: Class::Forward(asks(&[Value, Value, Value, Value, Value]).quick()),
        },
        // PR_GET_PDEATHSIG, _FPEMU, _FPEXC, _ENDIAN, _TSC, _CHILD_SUBREAPER, _UNALIGN.
        Command {
            values: &[2, 5, 9, 11, 19, 25, 37],
            class: Class::Forward(asks(INT_OUT).quick()),
        },
        // PR_SET_TIMERSLACK.
        Command {
            values: &[29],
            class: Class::Forward(
                changes(&[Value, Value, Value, Value, Value])
                    .quick()
                    .regulates(),
            ),
        },
        // PR_SET_PDEATHSIG, _DUMPABLE, _KEEPCAPS, _TIMING, PR_CAPBSET_DROP, PR_SET_SECUREBITS,
        // PR_TASK_PERF_EVENTS_DISABLE, _ENABLE, PR_MCE_KILL, PR_SET_CHILD_SUBREAPER, _NO_NEW_PRIVS,
        // PR_CAP_AMBIENT, PR_SET_IO_FLUSHER, PR_TIMER_CREATE_RESTORE_IDS, PR_SET_PTRACER.
        Command {
            values: &[
                1,
                4,
                8,
                14,
                24,
                28,
                31,
                32,
                33,
                36,
                38,
                47,
                57,
                77,
                0x5961_6d61,
            ],
            class: Class::Forward(changes(&[Value, Value, Value, Value, Value]).quick()),
        },
        // PR_SET_NAME: at most 16 bytes are read.
        Command {
            values: &[15],
            class: Class::Forward(changes(&[Value, Text]).quick()),
        },
        // PR_GET_NAME.
        Command {
            values: &[16],
            class: Class::Forward(asks(&[Value, Out(fixed(16), Whole)]).quick()),
        },
        // PR_GET_AUXV.
        Command {
            values: &[0x4155_5856],
            class: Class::Forward(
                asks(&[Value, Out(size(2), Result), Value, Value, Value]).quick(),
            ),
        },
        // PR_GET_TID_ADDRESS, PR_SET_VMA, PR_FUTEX_HASH: about the guest's own memory.
        Command {
            values: &[40, 0x5356_4d41, 78],
            class: Class::Local,
        },
        // PR_SET_THP_DISABLE.
        Command {
            values: &[41],
            class: Class::Special(
                SpecialCall::Mirror,
                Some(changes(&[Value, Value, Value, Value, Value]).quick()),
            ),
        },
    ],
    otherwise: &Class::ComesHome("this prctl option acts on the process where it runs"),
};
