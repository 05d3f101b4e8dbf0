//! Who the process is: ids, groups, sessions, capabilities. Home's answers are the true ones.

use super::{forward, local};
use crate::syscall::shape::Argument::{In, InOut, Out, Value};
use crate::syscall::shape::Filled::{Always, ResultTimes, Whole};
use crate::syscall::shape::{Argument, Call, array, asks, changes, fixed};

/// An id.
const ID: Argument = Out(fixed(4), Whole);
/// `struct __user_cap_header_struct`; the kernel may put its version there.
const CAPABILITY_HEADER: Argument = InOut(fixed(8), Always);
/// Two `struct __user_cap_data_struct`; the oldest version uses one.
const CAPABILITIES_BYTES: u32 = 24;

pub(super) const CALLS: &[Call] = &[
    local(39, "getpid"),
    local(186, "gettid"),
    forward(110, "getppid", asks(&[]).quick()),
    forward(102, "getuid", asks(&[]).quick()),
    forward(104, "getgid", asks(&[]).quick()),
    forward(107, "geteuid", asks(&[]).quick()),
    forward(108, "getegid", asks(&[]).quick()),
    forward(118, "getresuid", asks(&[ID, ID, ID]).quick()),
    forward(120, "getresgid", asks(&[ID, ID, ID]).quick()),
    forward(105, "setuid", changes(&[Value]).quick().regulates()),
    forward(106, "setgid", changes(&[Value]).quick()),
    forward(
        113,
        "setreuid",
        changes(&[Value, Value]).quick().regulates(),
    ),
    forward(114, "setregid", changes(&[Value, Value]).quick()),
    forward(
        117,
        "setresuid",
        changes(&[Value, Value, Value]).quick().regulates(),
    ),
    forward(119, "setresgid", changes(&[Value, Value, Value]).quick()),
    forward(122, "setfsuid", changes(&[Value]).quick()),
    forward(123, "setfsgid", changes(&[Value]).quick()),
    forward(
        115,
        "getgroups",
        asks(&[Value, Out(array(0, 4), ResultTimes { times: 4, plus: 0 })]).quick(),
    ),
    forward(116, "setgroups", changes(&[Value, In(array(0, 4))]).quick()),
    forward(109, "setpgid", changes(&[Value, Value]).quick()),
    forward(111, "getpgrp", asks(&[]).quick()),
    forward(121, "getpgid", asks(&[Value]).quick()),
    forward(112, "setsid", changes(&[]).quick()),
    forward(124, "getsid", asks(&[Value]).quick()),
    forward(
        125,
        "capget",
        asks(&[CAPABILITY_HEADER, InOut(fixed(CAPABILITIES_BYTES), Always)]).quick(),
    ),
    forward(
        126,
        "capset",
        changes(&[CAPABILITY_HEADER, In(fixed(CAPABILITIES_BYTES))])
            .quick()
            .regulates(),
    ),
];
