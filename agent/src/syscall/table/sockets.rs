//! Sockets.
//!
//! Datagrams must not be cut, so nothing here is shortened. The calls that wait on a socket with a timeout
//! (`SO_RCVTIMEO`, `SO_SNDTIMEO`) end with `EINTR` after a stop (signal(7)).

use super::{call, forward};
use crate::syscall::shape::Argument::{
    self, Descriptor, In, InOut, Out, ReceiveMessage, ReceiveMessages, SendMessage, SendMessages,
    Value,
};
use crate::syscall::shape::Filled::{Always, Pointed, Result, Whole};
use crate::syscall::shape::{
    Call, Class, Command, Condition, Forward, Length, Pointer, Structure, asks, changes, fixed,
    int, size,
};

/// `socklen_t *`: the room there is, then the length that it takes.
const LENGTH_WORD: Argument = InOut(fixed(4), Always);

const fn address_out(word: u8) -> Argument {
    Out(Length::Pointed(word), Pointed)
}

/// The kernel sends from the pages themselves, after the call too: no scratch area can stand in for them.
const fn unless_zero_copy(flags: u8, class: &'static Class) -> Class {
    const MSG_ZEROCOPY: u64 = 0x400_0000;
    Class::If {
        condition: Condition {
            argument: flags,
            mask: MSG_ZEROCOPY,
            equals: 0,
        },
        then: class,
        otherwise: &Class::ComesHome(
            "MSG_ZEROCOPY lends pages of the program's memory to the network",
        ),
    }
}

pub(super) const CALLS: &[Call] = &[
    forward(41, "socket", changes(&[Value, Value, Value])),
    forward(
        53,
        "socketpair",
        changes(&[Value, Value, Value, Out(fixed(8), Whole)]).quick(),
    ),
    forward(49, "bind", changes(&[Descriptor, In(int(2)), Value])),
    forward(50, "listen", changes(&[Descriptor, Value]).quick()),
    forward(
        42,
        "connect",
        changes(&[Descriptor, In(int(2)), Value]).restart_after_stop(),
    ),
    forward(43, "accept", ACCEPT),
    forward(288, "accept4", ACCEPT),
    forward(
        51,
        "getsockname",
        asks(&[Descriptor, const { address_out(2) }, LENGTH_WORD]).quick(),
    ),
    forward(
        52,
        "getpeername",
        asks(&[Descriptor, const { address_out(2) }, LENGTH_WORD]).quick(),
    ),
    forward(48, "shutdown", changes(&[Descriptor, Value])),
    call(44, "sendto", unless_zero_copy(3, &SENDTO)),
    call(46, "sendmsg", unless_zero_copy(2, &SENDMSG)),
    call(307, "sendmmsg", unless_zero_copy(3, &SENDMMSG)),
    forward(
        45,
        "recvfrom",
        changes(&[
            Descriptor,
            Out(size(2), Result),
            Value,
            Value,
            const { address_out(5) },
            LENGTH_WORD,
        ])
        .restart_after_stop(),
    ),
    forward(
        47,
        "recvmsg",
        changes(&[Descriptor, ReceiveMessage, Value])
            .restart_after_stop()
            .receives_descriptors(),
    ),
    forward(
        299,
        "recvmmsg",
        changes(&[
            Descriptor,
            ReceiveMessages(2),
            Value,
            Value,
            InOut(fixed(16), Always),
        ])
        .restart_after_stop()
        .receives_descriptors(),
    ),
    call(54, "setsockopt", SETSOCKOPT),
    call(55, "getsockopt", GETSOCKOPT),
];

const ACCEPT: Forward =
    changes(&[Descriptor, const { address_out(2) }, LENGTH_WORD]).restart_after_stop();

const SENDTO: Class = Class::Forward(
    changes(&[Descriptor, In(size(2)), Value, Value, In(int(5)), Value]).restart_after_stop(),
);

const SENDMSG: Class =
    Class::Forward(changes(&[Descriptor, SendMessage, Value]).restart_after_stop());

const SENDMMSG: Class =
    Class::Forward(changes(&[Descriptor, SendMessages(2), Value, Value]).restart_after_stop());

const SETTING: Class =
    Class::Forward(changes(&[Descriptor, Value, Value, In(int(4)), Value]).quick());

/// Options whose value holds pointers come home, but for the classic packet filters.
const SETSOCKOPT: Class = Class::ByCommand {
    argument: 1,
    commands: &[
        // SOL_SOCKET: SO_ATTACH_FILTER, SO_ATTACH_REUSEPORT_CBPF.
        Command {
            values: &[1],
            class: Class::ByCommand {
                argument: 2,
                commands: &[Command {
                    values: &[26, 51],
                    class: Class::Forward(
                        changes(&[
                            Descriptor,
                            Value,
                            Value,
                            Argument::Structure(&FILTER_PROGRAM),
                            Value,
                        ])
                        .quick(),
                    ),
                }],
                otherwise: &SETTING,
            },
        },
        // SOL_IP and SOL_IPV6: the tables of iptables, arptables and ebtables.
        Command {
            values: &[0, 41],
            class: Class::ByCommand {
                argument: 2,
                commands: &[Command {
                    values: &[64, 96, 128],
                    class: Class::ComesHome(
                        "packet filter tables are passed with pointers in them",
                    ),
                }],
                otherwise: &SETTING,
            },
        },
        Command {
            values: &[132, 276, 283],
            class: Class::ComesHome(
                "options of SCTP, RDS and XDP sockets are passed with pointers in them",
            ),
        },
        // SOL_PACKET: PACKET_FANOUT_DATA.
        Command {
            values: &[263],
            class: Class::ByCommand {
                argument: 2,
                commands: &[Command {
                    values: &[22],
                    class: Class::ComesHome("PACKET_FANOUT_DATA passes a filter by its address"),
                }],
                otherwise: &SETTING,
            },
        },
    ],
    otherwise: &SETTING,
};

/// `struct sock_fprog`: a count of 8-byte instructions, and where they are.
const FILTER_PROGRAM: Structure = Structure {
    length_bytes: 16,
    pointers: &[Pointer {
        offset: 8,
        length_offset: 0,
        length_width: 2,
        unit: 8,
        out: false,
    }],
    returns: None,
};

/// Some options read what the buffer holds, and some fill it in part.
const QUERY: Class = Class::Forward(
    asks(&[
        Descriptor,
        Value,
        Value,
        InOut(Length::Pointed(4), Always),
        LENGTH_WORD,
    ])
    .quick(),
);

const GETSOCKOPT: Class = Class::ByCommand {
    argument: 1,
    commands: &[
        // SO_GET_FILTER counts in instructions.
        Command {
            values: &[1],
            class: Class::ByCommand {
                argument: 2,
                commands: &[Command {
                    values: &[26],
                    class: Class::ComesHome("SO_GET_FILTER counts its buffer in instructions"),
                }],
                otherwise: &QUERY,
            },
        },
        // SOL_TCP: TCP_ZEROCOPY_RECEIVE.
        Command {
            values: &[6],
            class: Class::ByCommand {
                argument: 2,
                commands: &[Command {
                    values: &[35],
                    class: Class::ComesHome("TCP_ZEROCOPY_RECEIVE maps pages of the network"),
                }],
                otherwise: &QUERY,
            },
        },
        // SOL_IP: the tables of ebtables.
        Command {
            values: &[0],
            class: Class::ByCommand {
                argument: 2,
                commands: &[Command {
                    values: &[128, 129, 130, 131],
                    class: Class::ComesHome(
                        "packet filter tables are passed with pointers in them",
                    ),
                }],
                otherwise: &QUERY,
            },
        },
        // SOL_MPTCP: MPTCP_FULL_INFO.
        Command {
            values: &[284],
            class: Class::ByCommand {
                argument: 2,
                commands: &[Command {
                    values: &[4],
                    class: Class::ComesHome("MPTCP_FULL_INFO fills what it has pointers to"),
                }],
                otherwise: &QUERY,
            },
        },
        Command {
            values: &[132, 276],
            class: Class::ComesHome(
                "options of SCTP and RDS sockets are passed with pointers in them",
            ),
        },
    ],
    otherwise: &QUERY,
};
