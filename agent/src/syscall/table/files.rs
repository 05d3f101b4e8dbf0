//! Files by name and by descriptor.

use super::{call, comes_home, forward};
use crate::syscall::shape::Argument::{self, Descriptor, In, InOut, Out, Text, Value};
use crate::syscall::shape::Filled::{self, Always, Result, ResultTimes, Whole};
use crate::syscall::shape::{
    Call, Class, Command, Condition, Length, Pointer, Structure, asks, changes, fixed, int, size,
    wide_array,
};

/// `struct stat`.
const STAT: Argument = Out(fixed(144), Whole);
/// `struct statfs`.
const STATFS: Argument = Out(fixed(120), Whole);
/// `struct statx`.
const STATX: Argument = Out(fixed(256), Whole);
/// `struct file_handle`: a `u32` count, a type, and that many bytes.
const HANDLE: Length = Length::Own { prefix: 8, plus: 8 };
/// Why the mount interfaces are not forwarded.
const MOUNTS: &str = "mounting changes what the program sees of the file system";

pub(super) const CALLS: &[Call] = &[
    forward(2, "open", changes(&[Text, Value, Value]).opens()),
    forward(
        257,
        "openat",
        changes(&[Descriptor, Text, Value, Value]).opens(),
    ),
    forward(
        437,
        "openat2",
        changes(&[Descriptor, Text, In(size(3)), Value]).opens(),
    ),
    forward(85, "creat", changes(&[Text, Value]).opens()),
    forward(3, "close", changes(&[Descriptor])),
    forward(436, "close_range", changes(&[Value, Value, Value])),
    forward(32, "dup", changes(&[Descriptor]).quick()),
    forward(33, "dup2", changes(&[Descriptor, Descriptor])),
    forward(292, "dup3", changes(&[Descriptor, Descriptor, Value])),
    forward(22, "pipe", changes(&[Out(fixed(8), Whole)]).quick()),
    forward(
        293,
        "pipe2",
        changes(&[Out(fixed(8), Whole), Value]).quick(),
    ),
    forward(319, "memfd_create", changes(&[Text, Value]).quick()),
    call(16, "ioctl", Class::Ioctl),
    call(72, "fcntl", FCNTL),
    // Names and attributes.
    forward(4, "stat", asks(&[Text, STAT])),
    forward(5, "fstat", asks(&[Descriptor, STAT])),
    forward(6, "lstat", asks(&[Text, STAT])),
    forward(262, "newfstatat", asks(&[Descriptor, Text, STAT, Value])),
    forward(332, "statx", asks(&[Descriptor, Text, Value, Value, STATX])),
    forward(137, "statfs", asks(&[Text, STATFS])),
    forward(138, "fstatfs", asks(&[Descriptor, STATFS])),
    forward(136, "ustat", asks(&[Value, InOut(fixed(32), Always)])),
    forward(21, "access", asks(&[Text, Value])),
    forward(269, "faccessat", asks(&[Descriptor, Text, Value])),
    forward(439, "faccessat2", asks(&[Descriptor, Text, Value, Value])),
    forward(89, "readlink", asks(&[Text, Out(int(2), Result), Value])),
    forward(
        267,
        "readlinkat",
        asks(&[Descriptor, Text, Out(int(3), Result), Value]),
    ),
    forward(82, "rename", changes(&[Text, Text])),
    forward(
        264,
        "renameat",
        changes(&[Descriptor, Text, Descriptor, Text]),
    ),
    forward(
        316,
        "renameat2",
        changes(&[Descriptor, Text, Descriptor, Text, Value]),
    ),
    forward(83, "mkdir", changes(&[Text, Value])),
    forward(258, "mkdirat", changes(&[Descriptor, Text, Value])),
    forward(84, "rmdir", changes(&[Text])),
    forward(86, "link", changes(&[Text, Text])),
    forward(
        265,
        "linkat",
        changes(&[Descriptor, Text, Descriptor, Text, Value]),
    ),
    forward(87, "unlink", changes(&[Text])),
    forward(263, "unlinkat", changes(&[Descriptor, Text, Value])),
    forward(88, "symlink", changes(&[Text, Text])),
    forward(266, "symlinkat", changes(&[Text, Descriptor, Text])),
    forward(133, "mknod", changes(&[Text, Value, Value])),
    forward(259, "mknodat", changes(&[Descriptor, Text, Value, Value])),
    forward(90, "chmod", changes(&[Text, Value])),
    forward(91, "fchmod", changes(&[Descriptor, Value])),
    forward(268, "fchmodat", changes(&[Descriptor, Text, Value])),
    forward(452, "fchmodat2", changes(&[Descriptor, Text, Value, Value])),
    forward(92, "chown", changes(&[Text, Value, Value])),
    forward(93, "fchown", changes(&[Descriptor, Value, Value])),
    forward(94, "lchown", changes(&[Text, Value, Value])),
    forward(
        260,
        "fchownat",
        changes(&[Descriptor, Text, Value, Value, Value]),
    ),
    forward(132, "utime", changes(&[Text, In(fixed(16))])),
    forward(235, "utimes", changes(&[Text, In(fixed(32))])),
    forward(
        261,
        "futimesat",
        changes(&[Descriptor, Text, In(fixed(32))]),
    ),
    forward(
        280,
        "utimensat",
        changes(&[Descriptor, Text, In(fixed(32)), Value]),
    ),
    forward(
        468,
        "file_getattr",
        asks(&[Descriptor, Text, Out(size(3), Whole), Value, Value]),
    ),
    forward(
        469,
        "file_setattr",
        changes(&[Descriptor, Text, In(size(3)), Value, Value]),
    ),
    call(303, "name_to_handle_at", NAME_TO_HANDLE_AT),
    forward(
        304,
        "open_by_handle_at",
        changes(&[Descriptor, In(HANDLE), Value]),
    ),
    // Contents.
    forward(76, "truncate", changes(&[Text, Value])),
    forward(77, "ftruncate", changes(&[Descriptor, Value])),
    forward(
        285,
        "fallocate",
        changes(&[Descriptor, Value, Value, Value]),
    ),
    forward(73, "flock", changes(&[Descriptor, Value])),
    forward(74, "fsync", changes(&[Descriptor])),
    forward(75, "fdatasync", changes(&[Descriptor])),
    forward(162, "sync", changes(&[])),
    forward(306, "syncfs", changes(&[Descriptor])),
    forward(
        277,
        "sync_file_range",
        changes(&[Descriptor, Value, Value, Value]),
    ),
    forward(187, "readahead", asks(&[Descriptor, Value, Value])),
    forward(
        221,
        "fadvise64",
        changes(&[Descriptor, Value, Value, Value]),
    ),
    forward(
        451,
        "cachestat",
        asks(&[Descriptor, In(fixed(16)), Out(fixed(40), Whole), Value]),
    ),
    forward(
        78,
        "getdents",
        changes(&[Descriptor, Out(int(2), Result), Value]).shortens_units(2, 1, u32::MAX as u64),
    ),
    forward(
        217,
        "getdents64",
        changes(&[Descriptor, Out(int(2), Result), Value]).shortens_units(2, 1, u32::MAX as u64),
    ),
    // Where the process is.
    forward(79, "getcwd", asks(&[Out(size(1), Result), Value])),
    forward(80, "chdir", changes(&[Text])),
    forward(81, "fchdir", changes(&[Descriptor])),
    forward(161, "chroot", changes(&[Text])),
    forward(95, "umask", changes(&[Value]).quick()),
    // Extended attributes.
    forward(
        188,
        "setxattr",
        changes(&[Text, Text, In(size(3)), Value, Value]),
    ),
    forward(
        189,
        "lsetxattr",
        changes(&[Text, Text, In(size(3)), Value, Value]),
    ),
    forward(
        190,
        "fsetxattr",
        changes(&[Descriptor, Text, In(size(3)), Value, Value]),
    ),
    forward(
        191,
        "getxattr",
        asks(&[Text, Text, Out(size(3), Result), Value]),
    ),
    forward(
        192,
        "lgetxattr",
        asks(&[Text, Text, Out(size(3), Result), Value]),
    ),
    forward(
        193,
        "fgetxattr",
        asks(&[Descriptor, Text, Out(size(3), Result), Value]),
    ),
    forward(194, "listxattr", asks(&[Text, Out(size(2), Result), Value])),
    forward(
        195,
        "llistxattr",
        asks(&[Text, Out(size(2), Result), Value]),
    ),
    forward(
        196,
        "flistxattr",
        asks(&[Descriptor, Out(size(2), Result), Value]),
    ),
    forward(197, "removexattr", changes(&[Text, Text])),
    forward(198, "lremovexattr", changes(&[Text, Text])),
    forward(199, "fremovexattr", changes(&[Descriptor, Text])),
    call(463, "setxattrat", SETXATTRAT),
    call(464, "getxattrat", GETXATTRAT),
    forward(
        465,
        "listxattrat",
        asks(&[Descriptor, Text, Value, Out(size(4), Result), Value]),
    ),
    forward(
        466,
        "removexattrat",
        changes(&[Descriptor, Text, Value, Text]),
    ),
    // Watching.
    forward(253, "inotify_init", changes(&[]).quick()),
    forward(294, "inotify_init1", changes(&[Value]).quick()),
    forward(
        254,
        "inotify_add_watch",
        changes(&[Descriptor, Text, Value]),
    ),
    forward(255, "inotify_rm_watch", changes(&[Descriptor, Value])),
    forward(300, "fanotify_init", changes(&[Value, Value]).quick()),
    forward(
        301,
        "fanotify_mark",
        changes(&[Descriptor, Value, Value, Descriptor, Text]),
    ),
    // Mounts.
    comes_home(155, "pivot_root", MOUNTS),
    comes_home(165, "mount", MOUNTS),
    forward(166, "umount2", changes(&[Text, Value])),
    comes_home(428, "open_tree", MOUNTS),
    comes_home(429, "move_mount", MOUNTS),
    comes_home(430, "fsopen", MOUNTS),
    comes_home(431, "fsconfig", MOUNTS),
    comes_home(432, "fsmount", MOUNTS),
    comes_home(433, "fspick", MOUNTS),
    comes_home(442, "mount_setattr", MOUNTS),
    comes_home(467, "open_tree_attr", MOUNTS),
    forward(
        457,
        "statmount",
        asks(&[In(MOUNT_REQUEST), InOut(size(2), Always), Value, Value]),
    ),
    forward(
        458,
        "listmount",
        asks(&[
            In(MOUNT_REQUEST),
            Out(wide_array(2, 8), LISTED),
            Value,
            Value,
        ]),
    ),
];

/// `struct mnt_id_req` begins with its own size.
const MOUNT_REQUEST: Length = Length::Own { prefix: 4, plus: 0 };
/// As many 8-byte ids as the result says.
const LISTED: Filled = ResultTimes { times: 8, plus: 0 };

/// `struct flock`.
const LOCK: u32 = 32;

/// `fcntl`, by its command (linux/fcntl.h, asm-generic/fcntl.h).
const FCNTL: Class = Class::ByCommand {
    argument: 1,
    commands: &[
        // F_GETFD, F_GETFL, F_GETOWN, F_GETSIG, F_GETLEASE, F_GETPIPE_SZ, F_GET_SEALS, F_DUPFD_QUERY, F_CREATED_QUERY.
        Command {
            values: &[1, 3, 9, 11, 1025, 1027, 1028, 1032, 1034],
            class: Class::Forward(asks(&[Descriptor, Value, Value]).quick()),
        },
        // F_DUPFD, F_SETFD, F_SETFL, F_SETOWN, F_SETSIG, F_DUPFD_CLOEXEC.
        Command {
            values: &[0, 2, 4, 8, 10, 1030],
            class: Class::Forward(changes(&[Descriptor, Value, Value]).quick()),
        },
        // F_SETLEASE, F_NOTIFY, F_CANCELLK, F_SETPIPE_SZ, F_ADD_SEALS.
        Command {
            values: &[1024, 1026, 1029, 1031, 1033],
            class: Class::Forward(changes(&[Descriptor, Value, Value])),
        },
        // F_GETLK, F_OFD_GETLK.
        Command {
            values: &[5, 36],
            class: Class::Forward(asks(&[Descriptor, Value, InOut(fixed(LOCK), Whole)])),
        },
        // F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW.
        Command {
            values: &[6, 7, 37, 38],
            class: Class::Forward(changes(&[Descriptor, Value, In(fixed(LOCK))])),
        },
        // F_SETOWN_EX, F_SET_RW_HINT, F_SET_FILE_RW_HINT.
        Command {
            values: &[15, 1036, 1038],
            class: Class::Forward(changes(&[Descriptor, Value, In(fixed(8))]).quick()),
        },
        // F_GETOWN_EX, F_GETOWNER_UIDS, F_GET_RW_HINT, F_GET_FILE_RW_HINT.
        Command {
            values: &[16, 17, 1035, 1037],
            class: Class::Forward(asks(&[Descriptor, Value, Out(fixed(8), Whole)]).quick()),
        },
    ],
    otherwise: &Class::ComesHome("this fcntl command is not known"),
};

/// The mount id is 4 bytes wide unless `AT_HANDLE_MNT_ID_UNIQUE` (1) asks for 8.
const NAME_TO_HANDLE_AT: Class = Class::If {
    condition: Condition {
        argument: 4,
        mask: 1,
        equals: 0,
    },
    then: &Class::Forward(asks(&[
        Descriptor,
        Text,
        InOut(HANDLE, Always),
        InOut(fixed(4), Always),
        Value,
    ])),
    otherwise: &Class::Forward(asks(&[
        Descriptor,
        Text,
        InOut(HANDLE, Always),
        InOut(fixed(8), Always),
        Value,
    ])),
};

/// `struct xattr_args`: pointer to the value, its size (4 bytes), flags (4).
const XATTR_ARGS_BYTES: u32 = 16;

const SETXATTRAT: Class = Class::If {
    condition: Condition {
        argument: 5,
        mask: u64::MAX,
        equals: XATTR_ARGS_BYTES as u64,
    },
    then: &Class::Forward(changes(&[
        Descriptor,
        Text,
        Value,
        Text,
        Argument::Structure(&xattr_args(false)),
        Value,
    ])),
    otherwise: &UNKNOWN_XATTR_ARGS,
};

const GETXATTRAT: Class = Class::If {
    condition: Condition {
        argument: 5,
        mask: u64::MAX,
        equals: XATTR_ARGS_BYTES as u64,
    },
    then: &Class::Forward(asks(&[
        Descriptor,
        Text,
        Value,
        Text,
        Argument::Structure(&xattr_args(true)),
        Value,
    ])),
    otherwise: &UNKNOWN_XATTR_ARGS,
};

const UNKNOWN_XATTR_ARGS: Class = Class::ComesHome("this size of struct xattr_args is not known");

const fn xattr_args(out: bool) -> Structure {
    const IN: &[Pointer] = &[Pointer {
        offset: 0,
        length_offset: 8,
        length_width: 4,
        unit: 1,
        out: false,
    }];
    const OUT: &[Pointer] = &[Pointer {
        offset: 0,
        length_offset: 8,
        length_width: 4,
        unit: 1,
        out: true,
    }];
    Structure {
        length_bytes: XATTR_ARGS_BYTES,
        pointers: if out { OUT } else { IN },
        returns: None,
    }
}
