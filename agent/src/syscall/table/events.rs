//! Waiting for descriptors, and descriptors that stand for events.

use super::{call, comes_home, forward};
use crate::syscall::shape::Argument::{self, Descriptor, In, InOut, Out, PollDescriptors, Value};
use crate::syscall::shape::Filled::{Always, ResultTimes, Whole};
use crate::syscall::shape::{
    Call, Class, Command, Length, Pointer, SignalMask, Structure, Timeout, array, asks, changes,
    fixed, size,
};

/// `struct epoll_event` is packed on x86-64.
const EPOLL_EVENT_BYTES: u32 = 12;
/// `EP_MAX_EVENTS` (fs/eventpoll.c).
const EPOLL_EVENTS_MAX: u64 = i32::MAX as u64 / EPOLL_EVENT_BYTES as u64;
const EPOLL_EVENTS: Argument = Out(
    array(2, EPOLL_EVENT_BYTES),
    ResultTimes {
        times: EPOLL_EVENT_BYTES,
        plus: 0,
    },
);
/// A set that `select` reads, and writes on success.
const DESCRIPTOR_SET: Argument = InOut(Length::Bits(0), Whole);
/// Linux writes the time left, after a signal too.
const TIME_LEFT: Argument = InOut(fixed(16), Always);
/// A `struct timespec` or `timeval` that the kernel only reads.
const TIMEOUT: Argument = In(fixed(16));
const AIO: &str = "asynchronous I/O writes into the program's memory at any time";
const IO_URING: &str = "io_uring shares memory with the kernel";

/// The sixth argument of `pselect6`: pointer to the mask, and its size.
const MASK_PACK: Structure = Structure {
    length_bytes: 16,
    pointers: &[Pointer {
        offset: 0,
        length_offset: 8,
        length_width: 8,
        unit: 1,
        out: false,
    }],
    returns: None,
};

pub(super) const CALLS: &[Call] = &[
    forward(7, "poll", asks(&[PollDescriptors(1), Value, Value])),
    forward(
        271,
        "ppoll",
        asks(&[PollDescriptors(1), Value, TIME_LEFT, In(size(4)), Value])
            .signal_mask(SignalMask::Argument(3)),
    ),
    forward(
        23,
        "select",
        asks(&[
            Value,
            DESCRIPTOR_SET,
            DESCRIPTOR_SET,
            DESCRIPTOR_SET,
            TIME_LEFT,
        ]),
    ),
    forward(
        270,
        "pselect6",
        asks(&[
            Value,
            DESCRIPTOR_SET,
            DESCRIPTOR_SET,
            DESCRIPTOR_SET,
            TIME_LEFT,
            Argument::Structure(&MASK_PACK),
        ])
        .signal_mask(SignalMask::Pack(5)),
    ),
    forward(213, "epoll_create", changes(&[Value]).quick()),
    forward(291, "epoll_create1", changes(&[Value]).quick()),
    call(233, "epoll_ctl", EPOLL_CTL),
    // Edge-triggered and one-shot events are consumed: these change something.
    forward(
        232,
        "epoll_wait",
        changes(&[Descriptor, EPOLL_EVENTS, Value, Value])
            .restart_after_stop()
            .timeout(Timeout::Milliseconds(3))
            .shortens_units(2, EPOLL_EVENT_BYTES, EPOLL_EVENTS_MAX),
    ),
    forward(
        281,
        "epoll_pwait",
        changes(&[Descriptor, EPOLL_EVENTS, Value, Value, In(size(5)), Value])
            .restart_after_stop()
            .timeout(Timeout::Milliseconds(3))
            .signal_mask(SignalMask::Argument(4))
            .shortens_units(2, EPOLL_EVENT_BYTES, EPOLL_EVENTS_MAX),
    ),
    forward(
        441,
        "epoll_pwait2",
        changes(&[Descriptor, EPOLL_EVENTS, Value, TIMEOUT, In(size(5)), Value])
            .restart_after_stop()
            .timeout(Timeout::Timespec(3))
            .signal_mask(SignalMask::Argument(4))
            .shortens_units(2, EPOLL_EVENT_BYTES, EPOLL_EVENTS_MAX),
    ),
    forward(284, "eventfd", changes(&[Value]).quick()),
    forward(290, "eventfd2", changes(&[Value, Value]).quick()),
    forward(
        282,
        "signalfd",
        changes(&[Descriptor, In(size(2)), Value]).quick(),
    ),
    forward(
        289,
        "signalfd4",
        changes(&[Descriptor, In(size(2)), Value, Value]).quick(),
    ),
    forward(283, "timerfd_create", changes(&[Value, Value]).quick()),
    forward(
        286,
        "timerfd_settime",
        changes(&[Descriptor, Value, In(fixed(32)), Out(fixed(32), Whole)]).quick(),
    ),
    forward(
        287,
        "timerfd_gettime",
        asks(&[Descriptor, Out(fixed(32), Whole)]).quick(),
    ),
    comes_home(206, "io_setup", AIO),
    comes_home(207, "io_destroy", AIO),
    comes_home(208, "io_getevents", AIO),
    comes_home(209, "io_submit", AIO),
    comes_home(210, "io_cancel", AIO),
    comes_home(333, "io_pgetevents", AIO),
    comes_home(425, "io_uring_setup", IO_URING),
    comes_home(426, "io_uring_enter", IO_URING),
    comes_home(427, "io_uring_register", IO_URING),
];

const EPOLL_CTL: Class = Class::ByCommand {
    argument: 1,
    commands: &[
        // EPOLL_CTL_DEL ignores its event, whatever it points to.
        Command {
            values: &[2],
            class: Class::Forward(changes(&[Descriptor, Value, Descriptor, Value]).quick()),
        },
    ],
    otherwise: &Class::Forward(
        changes(&[Descriptor, Value, Descriptor, In(fixed(EPOLL_EVENT_BYTES))]).quick(),
    ),
};
