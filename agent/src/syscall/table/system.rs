//! The machine: names, statistics, security modules, administration; and numbers without a call.

use super::{call, comes_home, forward, local, not_implemented};
use crate::syscall::shape::Argument::{self, Descriptor, In, InOut, Out, Text, Value};
use crate::syscall::shape::Filled::{Always, Pointed, Result, Whole};
use crate::syscall::shape::{Call, Class, Command, Length, asks, changes, fixed, int, size};

const ADMINISTRATION: &str = "administration of the machine happens on the home node";

pub(super) const CALLS: &[Call] = &[
    local(318, "getrandom"),
    forward(63, "uname", asks(&[Out(fixed(390), Whole)]).quick()),
    forward(99, "sysinfo", asks(&[InOut(fixed(112), Always)]).quick()),
    forward(170, "sethostname", changes(&[In(int(1)), Value]).quick()),
    forward(171, "setdomainname", changes(&[In(int(1)), Value]).quick()),
    call(103, "syslog", SYSLOG),
    forward(163, "acct", changes(&[Text])),
    comes_home(139, "sysfs", ADMINISTRATION),
    comes_home(167, "swapon", ADMINISTRATION),
    comes_home(168, "swapoff", ADMINISTRATION),
    comes_home(169, "reboot", ADMINISTRATION),
    comes_home(175, "init_module", ADMINISTRATION),
    comes_home(176, "delete_module", ADMINISTRATION),
    comes_home(313, "finit_module", ADMINISTRATION),
    comes_home(179, "quotactl", ADMINISTRATION),
    comes_home(443, "quotactl_fd", ADMINISTRATION),
    comes_home(246, "kexec_load", ADMINISTRATION),
    comes_home(320, "kexec_file_load", ADMINISTRATION),
    comes_home(321, "bpf", "BPF programs and maps stay on the home node"),
    // Security modules.
    forward(
        444,
        "landlock_create_ruleset",
        changes(&[In(size(1)), Value, Value]).quick(),
    ),
    call(445, "landlock_add_rule", LANDLOCK_ADD_RULE),
    forward(
        446,
        "landlock_restrict_self",
        changes(&[Descriptor, Value]).quick(),
    ),
    forward(
        459,
        "lsm_get_self_attr",
        asks(&[Value, InOut(Length::Pointed(2), Always), LENGTH_WORD, Value]).quick(),
    ),
    forward(
        460,
        "lsm_set_self_attr",
        changes(&[Value, In(int(2)), Value, Value]).quick(),
    ),
    forward(
        461,
        "lsm_list_modules",
        asks(&[Out(Length::Pointed(1), Pointed), LENGTH_WORD, Value]).quick(),
    ),
    // Numbers without a call (arch/x86/entry/syscalls/syscall_64.tbl gives them no entry point), or
    // whose call was removed.
    not_implemented(134, "uselib"),
    not_implemented(156, "_sysctl"),
    not_implemented(174, "create_module"),
    not_implemented(177, "get_kernel_syms"),
    not_implemented(178, "query_module"),
    not_implemented(180, "nfsservctl"),
    not_implemented(181, "getpmsg"),
    not_implemented(182, "putpmsg"),
    not_implemented(183, "afs_syscall"),
    not_implemented(184, "tuxcall"),
    not_implemented(185, "security"),
    not_implemented(205, "set_thread_area"),
    not_implemented(211, "get_thread_area"),
    comes_home(212, "lookup_dcookie", TRACING),
    not_implemented(214, "epoll_ctl_old"),
    not_implemented(215, "epoll_wait_old"),
    not_implemented(236, "vserver"),
];

const TRACING: &str = "profiling happens on the home node";

/// The room there is, then what it takes.
const LENGTH_WORD: Argument = InOut(fixed(4), Always);

/// SYSLOG_ACTION_READ, READ_ALL and READ_CLEAR fill the buffer.
const SYSLOG: Class = Class::ByCommand {
    argument: 0,
    commands: &[Command {
        values: &[2, 3, 4],
        class: Class::Forward(changes(&[Value, Out(int(2), Result), Value])),
    }],
    otherwise: &Class::Forward(changes(&[Value, Value, Value]).quick()),
};

/// `struct landlock_path_beneath_attr` is packed, `struct landlock_net_port_attr` is two `u64`.
const LANDLOCK_ADD_RULE: Class = Class::ByCommand {
    argument: 1,
    commands: &[
        Command {
            values: &[1],
            class: Class::Forward(changes(&[Descriptor, Value, In(fixed(12)), Value]).quick()),
        },
        Command {
            values: &[2],
            class: Class::Forward(changes(&[Descriptor, Value, In(fixed(16)), Value]).quick()),
        },
    ],
    otherwise: &Class::ComesHome("this kind of Landlock rule is not known"),
};
