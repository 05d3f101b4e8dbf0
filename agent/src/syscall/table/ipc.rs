//! System V and POSIX message queues, semaphores, the handles of shared memory, and kernel keys.

use super::{call, comes_home, forward};
use crate::syscall::shape::Argument::{self, Descriptor, In, InOut, Out, Text, Value};
use crate::syscall::shape::Filled::{Always, Result, ResultTimes, Whole};
use crate::syscall::shape::{
    Call, Class, Command, Length, Timeout, array, asks, changes, fixed, size,
};

/// `struct msgbuf`: a `long`, then as many bytes as the third argument says.
const MESSAGE: Length = Length::Counted {
    argument: 2,
    wide: true,
    times: 1,
    plus: 8,
};
/// `struct mq_attr`.
const QUEUE_ATTRIBUTES_BYTES: u32 = 64;
/// `struct timespec`.
const TIMEOUT: Argument = In(fixed(16));

pub(super) const CALLS: &[Call] = &[
    forward(29, "shmget", changes(&[Value, Value, Value]).quick()),
    call(31, "shmctl", SHMCTL),
    forward(64, "semget", changes(&[Value, Value, Value]).quick()),
    // `struct sembuf` has 6 bytes; the count is an `unsigned int`, of which the kernel takes 500 at most.
    forward(
        65,
        "semop",
        changes(&[Value, In(array(2, 6)), Value]).restart_after_stop(),
    ),
    forward(
        220,
        "semtimedop",
        changes(&[Value, In(array(2, 6)), Value, TIMEOUT])
            .restart_after_stop()
            .timeout(Timeout::Timespec(3)),
    ),
    call(66, "semctl", SEMCTL),
    forward(68, "msgget", changes(&[Value, Value, Value]).quick()),
    forward(69, "msgsnd", changes(&[Value, In(MESSAGE), Value, Value])),
    forward(
        70,
        "msgrcv",
        changes(&[
            Value,
            Out(MESSAGE, ResultTimes { times: 1, plus: 8 }),
            Value,
            Value,
            Value,
        ]),
    ),
    call(71, "msgctl", MSGCTL),
    forward(
        240,
        "mq_open",
        changes(&[Text, Value, Value, In(fixed(QUEUE_ATTRIBUTES_BYTES))]),
    ),
    forward(241, "mq_unlink", changes(&[Text])),
    forward(
        242,
        "mq_timedsend",
        changes(&[Descriptor, In(size(2)), Value, Value, TIMEOUT]),
    ),
    forward(
        243,
        "mq_timedreceive",
        changes(&[
            Descriptor,
            Out(size(2), Result),
            Value,
            Out(fixed(4), Whole),
            TIMEOUT,
        ]),
    ),
    comes_home(
        244,
        "mq_notify",
        "mq_notify may point to more than its own structure",
    ),
    forward(
        245,
        "mq_getsetattr",
        changes(&[
            Descriptor,
            In(fixed(QUEUE_ATTRIBUTES_BYTES)),
            Out(fixed(QUEUE_ATTRIBUTES_BYTES), Whole),
        ])
        .quick(),
    ),
    forward(
        248,
        "add_key",
        changes(&[Text, Text, In(size(3)), Value, Value]),
    ),
    forward(249, "request_key", changes(&[Text, Text, Text, Value])),
    call(250, "keyctl", KEYCTL),
];

/// Commands of `shmctl`, `semctl` and `msgctl` without memory: IPC_RMID.
const IPC_RMID: u32 = 0;
const IPC_SET: u32 = 1;
const IPC_STAT: u32 = 2;
const IPC_INFO: u32 = 3;

const SHMCTL: Class = Class::ByCommand {
    argument: 1,
    commands: &[
        // With SHM_LOCK and SHM_UNLOCK.
        Command {
            values: &[IPC_RMID, 11, 12],
            class: Class::Forward(changes(&[Value, Value, Value]).quick()),
        },
        Command {
            values: &[IPC_SET],
            class: Class::Forward(changes(&[Value, Value, In(fixed(112))]).quick()),
        },
        // With SHM_STAT and SHM_STAT_ANY: struct shmid64_ds.
        Command {
            values: &[IPC_STAT, 13, 15],
            class: Class::Forward(asks(&[Value, Value, Out(fixed(112), Whole)]).quick()),
        },
        // struct shminfo64.
        Command {
            values: &[IPC_INFO],
            class: Class::Forward(asks(&[Value, Value, Out(fixed(72), Whole)]).quick()),
        },
        // SHM_INFO: struct shm_info.
        Command {
            values: &[14],
            class: Class::Forward(asks(&[Value, Value, Out(fixed(48), Whole)]).quick()),
        },
    ],
    otherwise: &Class::ComesHome("this shmctl command is not known"),
};

const SEMCTL: Class = Class::ByCommand {
    argument: 2,
    commands: &[
        // With SETVAL.
        Command {
            values: &[IPC_RMID, 16],
            class: Class::Forward(changes(&[Value, Value, Value, Value]).quick()),
        },
        // GETPID, GETVAL, GETNCNT, GETZCNT.
        Command {
            values: &[11, 12, 14, 15],
            class: Class::Forward(asks(&[Value, Value, Value, Value]).quick()),
        },
        Command {
            values: &[IPC_SET],
            class: Class::Forward(changes(&[Value, Value, Value, In(fixed(104))]).quick()),
        },
        // With SEM_STAT and SEM_STAT_ANY: struct semid64_ds.
        Command {
            values: &[IPC_STAT, 18, 20],
            class: Class::Forward(asks(&[Value, Value, Value, Out(fixed(104), Whole)]).quick()),
        },
        // With SEM_INFO: struct seminfo.
        Command {
            values: &[IPC_INFO, 19],
            class: Class::Forward(asks(&[Value, Value, Value, Out(fixed(40), Whole)]).quick()),
        },
    ],
    // GETALL and SETALL take as many numbers as the set has semaphores.
    otherwise: &Class::ComesHome("this semctl command moves memory of unknown size"),
};

const MSGCTL: Class = Class::ByCommand {
    argument: 1,
    commands: &[
        Command {
            values: &[IPC_RMID],
            class: Class::Forward(changes(&[Value, Value, Value]).quick()),
        },
        Command {
            values: &[IPC_SET],
            class: Class::Forward(changes(&[Value, Value, In(fixed(120))]).quick()),
        },
        // With MSG_STAT and MSG_STAT_ANY: struct msqid64_ds.
        Command {
            values: &[IPC_STAT, 11, 13],
            class: Class::Forward(asks(&[Value, Value, Out(fixed(120), Whole)]).quick()),
        },
        // With MSG_INFO: struct msginfo.
        Command {
            values: &[IPC_INFO, 12],
            class: Class::Forward(asks(&[Value, Value, InOut(fixed(32), Always)]).quick()),
        },
    ],
    otherwise: &Class::ComesHome("this msgctl command is not known"),
};

const KEYCTL: Class = Class::ByCommand {
    argument: 0,
    commands: &[
        // KEYCTL_GET_KEYRING_ID, REVOKE, CHOWN, SETPERM, CLEAR, LINK, UNLINK, NEGATE, SET_REQKEY_KEYRING,
        // SET_TIMEOUT, ASSUME_AUTHORITY, INVALIDATE.
        Command {
            values: &[0, 3, 4, 5, 7, 8, 9, 13, 14, 15, 16, 21],
            class: Class::Forward(changes(&[Value, Value, Value, Value, Value])),
        },
        // KEYCTL_JOIN_SESSION_KEYRING.
        Command {
            values: &[1],
            class: Class::Forward(changes(&[Value, Text])),
        },
        // KEYCTL_UPDATE.
        Command {
            values: &[2],
            class: Class::Forward(changes(&[Value, Value, In(size(3)), Value])),
        },
        // KEYCTL_DESCRIBE, READ, GET_SECURITY: the result is the full length, the buffer may be filled in part.
        Command {
            values: &[6, 11, 17],
            class: Class::Forward(asks(&[Value, Value, InOut(size(3), Always), Value])),
        },
        // KEYCTL_SEARCH.
        Command {
            values: &[10],
            class: Class::Forward(changes(&[Value, Value, Text, Text, Value])),
        },
    ],
    otherwise: &Class::ComesHome("this keyctl command is made on the home node"),
};
