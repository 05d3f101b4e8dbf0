//! The address space. It is the guest's own: most of these run where the guest is.

use super::{call, comes_home, forward, local};
use crate::syscall::shape::Argument::{Out, Value};
use crate::syscall::shape::Filled::Whole;
use crate::syscall::shape::{Call, Class, Condition, Length, SpecialCall, asks, changes, fixed};

const LOCKED: &str = "locked memory must be locked on the home node";
const KEYS: &str = "memory protection keys stay on the home node";
const NUMA: &str = "NUMA policies mean the home node's memory";
const SHARED: &str = "System V shared memory stays on the home node";

pub(super) const CALLS: &[Call] = &[
    call(9, "mmap", MMAP),
    local(10, "mprotect"),
    local(11, "munmap"),
    local(12, "brk"),
    local(25, "mremap"),
    local(26, "msync"),
    local(27, "mincore"),
    local(28, "madvise"),
    local(324, "membarrier"),
    comes_home(
        216,
        "remap_file_pages",
        "remap_file_pages rearranges a shared file mapping",
    ),
    comes_home(149, "mlock", LOCKED),
    comes_home(150, "munlock", LOCKED),
    comes_home(151, "mlockall", LOCKED),
    comes_home(152, "munlockall", LOCKED),
    comes_home(325, "mlock2", LOCKED),
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
/// node may have none; or put (`MAP_FIXED`) over what may be a file at home.
const MMAP: Class = {
    const MAP_TYPE: u64 = 0x0f;
    const MAP_PRIVATE: u64 = 0x02;
    const MAP_FIXED: u64 = 0x10;
    const MAP_ANONYMOUS: u64 = 0x20;
    const MAP_LOCKED: u64 = 0x2000;
    const MAP_HUGETLB: u64 = 0x4_0000;
    Class::If {
        condition: Condition {
            argument: 3,
            mask: MAP_TYPE | MAP_FIXED | MAP_ANONYMOUS | MAP_LOCKED | MAP_HUGETLB,
            equals: MAP_PRIVATE | MAP_ANONYMOUS,
        },
        then: &Class::Local,
        otherwise: &Class::Special(SpecialCall::Mmap, None),
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
