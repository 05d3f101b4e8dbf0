//! The address space. It is the guest's own: most of these run where the guest is.

use super::{call, comes_home, forward, local, special};
use crate::syscall::shape::Argument::{Out, Value};
use crate::syscall::shape::Filled::Whole;
use crate::syscall::shape::{
    Call, Class, Command, Condition, Length, SpecialCall, asks, changes, fixed,
};

const LOCKED: &str = "memory yet to come must be locked on the home node";
const KEYS: &str = "memory protection keys stay on the home node";
const NUMA: &str = "NUMA policies mean the home node's memory";
const SHARED: &str = "System V shared memory stays on the home node";

pub(super) const CALLS: &[Call] = &[
    call(9, "mmap", MMAP),
    local(10, "mprotect"),
    local(11, "munmap"),
    local(12, "brk"),
    special(25, "mremap", SpecialCall::Remap),
    local(26, "msync"),
    special(27, "mincore", SpecialCall::Residency),
    local(28, "madvise"),
    call(324, "membarrier", MEMBARRIER),
    comes_home(
        216,
        "remap_file_pages",
        "remap_file_pages rearranges a shared file mapping",
    ),
    special(149, "mlock", SpecialCall::Lock),
    local(150, "munlock"),
    call(151, "mlockall", MLOCKALL),
    call(
        152,
        "munlockall",
        Class::Special(SpecialCall::Mirror, Some(changes(&[]).quick())),
    ),
    special(325, "mlock2", SpecialCall::Lock),
    comes_home(329, "pkey_mprotect", KEYS),
    comes_home(330, "pkey_alloc", KEYS),
    comes_home(331, "pkey_free", KEYS),
    comes_home(237, "mbind", NUMA),
    comes_home(238, "set_mempolicy", NUMA),
    comes_home(450, "set_mempolicy_home_node", NUMA),
    comes_home(256, "migrate_pages", NUMA),
    comes_home(279, "move_pages", NUMA),
    call(239, "get_mempolicy", GET_MEMPOLICY),
    comes_home(30, "shmat", SHARED),
    comes_home(67, "shmdt", SHARED),
    comes_home(
        323,
        "userfaultfd",
        "userfaultfd handles page faults of the program's own memory",
    ),
    comes_home(
        440,
        "process_madvise",
        "process_madvise acts on another process's memory",
    ),
    comes_home(
        310,
        "process_vm_readv",
        "process_vm_readv reads another process's memory",
    ),
    comes_home(
        311,
        "process_vm_writev",
        "process_vm_writev writes another process's memory",
    ),
    forward(448, "process_mrelease", changes(&[Value, Value])),
    comes_home(
        447,
        "memfd_secret",
        "secret memory cannot be read by its supervisor",
    ),
    comes_home(
        453,
        "map_shadow_stack",
        "shadow stacks are made on the home node",
    ),
    comes_home(462, "mseal", "sealed mappings cannot be rebuilt elsewhere"),
];

/// Anonymous private memory is the guest's own affair, unless it is locked or made of huge pages, of which this
/// node may have none.
const MMAP: Class = {
    const MAP_TYPE: u64 = 0x0f;
    const MAP_PRIVATE: u64 = 0x02;
    const MAP_ANONYMOUS: u64 = 0x20;
    const MAP_LOCKED: u64 = 0x2000;
    const MAP_HUGETLB: u64 = 0x4_0000;
    Class::If {
        condition: Condition {
            argument: 3,
            mask: MAP_TYPE | MAP_ANONYMOUS | MAP_LOCKED | MAP_HUGETLB,
            equals: MAP_PRIVATE | MAP_ANONYMOUS,
        },
        then: &Class::Local,
        otherwise: &Class::Special(SpecialCall::Mmap, None),
    }
};

/// Barriers are between the guest's threads. What is registered counts on both sides: it is a state of the
/// process. What there is is home's to say.
const MEMBARRIER: Class = Class::ByCommand {
    argument: 0,
    commands: &[
        // MEMBARRIER_CMD_QUERY, _GET_REGISTRATIONS.
        Command {
            values: &[0, 0x200],
            class: Class::Forward(asks(&[Value, Value, Value]).quick()),
        },
        // MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, _PRIVATE_EXPEDITED, _PRIVATE_EXPEDITED_SYNC_CORE,
        // _PRIVATE_EXPEDITED_RSEQ.
        Command {
            values: &[4, 0x10, 0x40, 0x100],
            class: Class::Special(
                SpecialCall::Mirror,
                Some(changes(&[Value, Value, Value]).quick()),
            ),
        },
        // MEMBARRIER_CMD_GLOBAL, _GLOBAL_EXPEDITED, _PRIVATE_EXPEDITED, _PRIVATE_EXPEDITED_SYNC_CORE,
        // _PRIVATE_EXPEDITED_RSEQ.
        Command {
            values: &[1, 2, 8, 0x20, 0x80],
            class: Class::Local,
        },
    ],
    otherwise: &Class::Forward(changes(&[Value, Value, Value]).quick()),
};

/// `MCL_FUTURE` (2) is a state of the process that the kernel does not tell of.
const MLOCKALL: Class = {
    const MCL_FUTURE: u64 = 2;
    Class::If {
        condition: Condition {
            argument: 0,
            mask: MCL_FUTURE,
            equals: 0,
        },
        then: &Class::Special(SpecialCall::Lock, None),
        otherwise: &Class::ComesHome(LOCKED),
    }
};

/// Asked about an address (`MPOL_F_ADDR`, 2) the answer is about home's memory.
const GET_MEMPOLICY: Class = Class::If {
    condition: Condition {
        argument: 4,
        mask: !4,
        equals: 0,
    },
    then: &Class::Forward(
        asks(&[
            Out(fixed(4), Whole),
            Out(Length::LongBits(2), Whole),
            Value,
            Value,
            Value,
        ])
        .quick(),
    ),
    otherwise: &Class::ComesHome(NUMA),
};
