//! Clocks, sleeps and timers. Clocks are read locally; sleeps and timers run at home, where their remaining
//! time is exact when the process comes home.

use super::{call, forward, local};
use crate::syscall::shape::Argument::{self, In, InOut, Out, Value};
use crate::syscall::shape::Filled::{Always, Interrupted, Whole};
use crate::syscall::shape::{Call, Class, Command, Condition, asks, changes, fixed};

/// `struct timespec` or `struct timeval`.
const TIME: Argument = In(fixed(16));
/// What a signal left of a sleep.
const REMAINING: Argument = Out(fixed(16), Interrupted);
/// `struct itimerspec` or `struct itimerval`.
const INTERVAL: Argument = In(fixed(32));
const INTERVAL_OUT: Argument = Out(fixed(32), Whole);
/// `struct timex`.
const TIMEX: Argument = InOut(fixed(208), Always);
const CPU_TIME: &str = "timers on CPU time run where the CPU time is spent";

pub(super) const CALLS: &[Call] = &[
    local(96, "gettimeofday"),
    local(201, "time"),
    call(228, "clock_gettime", own_clock(&CLOCK_GET)),
    call(229, "clock_getres", own_clock(&CLOCK_GET)),
    forward(227, "clock_settime", changes(&[Value, TIME]).quick()),
    forward(164, "settimeofday", changes(&[TIME, In(fixed(8))]).quick()),
    forward(159, "adjtimex", changes(&[TIMEX]).quick()),
    forward(305, "clock_adjtime", changes(&[Value, TIMEX]).quick()),
    forward(35, "nanosleep", asks(&[TIME, REMAINING])),
    call(230, "clock_nanosleep", CLOCK_NANOSLEEP),
    forward(37, "alarm", changes(&[Value]).quick()),
    forward(36, "getitimer", asks(&[Value, INTERVAL_OUT]).quick()),
    call(38, "setitimer", SETITIMER),
    call(222, "timer_create", TIMER_CREATE),
    forward(
        223,
        "timer_settime",
        changes(&[Value, Value, INTERVAL, INTERVAL_OUT]).quick(),
    ),
    forward(224, "timer_gettime", asks(&[Value, INTERVAL_OUT]).quick()),
    forward(225, "timer_getoverrun", asks(&[Value]).quick()),
    forward(226, "timer_delete", changes(&[Value]).quick()),
    forward(100, "times", asks(&[Out(fixed(32), Whole)]).quick()),
    forward(153, "vhangup", changes(&[])),
];

/// Clock ids below 16 name a clock; the others (negative) a descriptor or another process.
const fn own_clock(otherwise: &'static Class) -> Class {
    Class::If {
        condition: Condition {
            argument: 0,
            mask: 0xffff_fff0,
            equals: 0,
        },
        then: &Class::Local,
        otherwise,
    }
}

const CLOCK_GET: Class = Class::Forward(asks(&[Value, Out(fixed(16), Whole)]).quick());

/// CLOCK_REALTIME, _MONOTONIC, _BOOTTIME, _REALTIME_ALARM, _BOOTTIME_ALARM, _TAI: not those of CPU time.
const TIME_OF_DAY: &[u32] = &[0, 1, 7, 8, 9, 11];

const CLOCK_NANOSLEEP: Class = Class::ByCommand {
    argument: 0,
    commands: &[Command {
        values: TIME_OF_DAY,
        class: Class::Forward(asks(&[Value, Value, TIME, REMAINING])),
    }],
    otherwise: &Class::ComesHome(CPU_TIME),
};

/// ITIMER_REAL is 0, the others count CPU time.
const SETITIMER: Class = Class::ByCommand {
    argument: 0,
    commands: &[Command {
        values: &[0],
        class: Class::Forward(changes(&[Value, INTERVAL, INTERVAL_OUT]).quick()),
    }],
    otherwise: &Class::ComesHome(CPU_TIME),
};

/// The second argument is a `struct sigevent`.
const TIMER_CREATE: Class = Class::ByCommand {
    argument: 0,
    commands: &[Command {
        values: TIME_OF_DAY,
        class: Class::Forward(changes(&[Value, In(fixed(64)), InOut(fixed(4), Whole)]).quick()),
    }],
    otherwise: &Class::ComesHome(CPU_TIME),
};
