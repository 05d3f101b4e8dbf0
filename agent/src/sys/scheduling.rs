//! sched_getattr(2), sched_setattr(2) and CPU affinity of other threads.
#![allow(unsafe_code)]

use std::io;

/// SCHED_FIFO, SCHED_RR and SCHED_DEADLINE of sched(7).
pub const REAL_TIME: [u32; 3] = [1, 2, 6];

/// SCHED_OTHER, SCHED_BATCH and SCHED_IDLE of sched(7).
pub const ORDINARY: [u32; 3] = [0, 3, 5];

/// SCHED_FLAG_RESET_ON_FORK.
const RESET_ON_FORK: u64 = 1;

/// How the kernel schedules a thread that has no real-time policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// SCHED_* of sched(7).
    pub policy: u32,
    /// Children begin with the ordinary policy.
    pub resets_on_fork: bool,
    /// From -20 to 19.
    pub nice: i32,
}

/// `struct sched_attr` as every kernel knows it (linux/sched/types.h).
#[repr(C)]
#[derive(Default)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// The policy of a thread.
///
/// # Errors
/// ESRCH when it is gone.
pub fn policy(thread: i32) -> io::Result<Policy> {
    let mut attributes = Attributes::default();
    let size = size_of::<Attributes>();
    // SAFETY: the kernel writes at most `size` bytes to the pointer, which has as many.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_getattr,
            thread,
            &raw mut attributes,
            size,
            0,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Policy {
        policy: attributes.policy,
        resets_on_fork: attributes.flags & RESET_ON_FORK != 0,
        nice: attributes.nice,
    })
}

/// Sets the policy of a thread.
///
/// # Errors
/// ESRCH when it is gone, EPERM when this process may not, EINVAL for a policy that needs more to be said.
pub fn set_policy(thread: i32, policy: Policy) -> io::Result<()> {
    let attributes = Attributes {
        size: size_of::<Attributes>() as u32,
        policy: policy.policy,
        flags: if policy.resets_on_fork {
            RESET_ON_FORK
        } else {
            0
        },
        nice: policy.nice,
        ..Attributes::default()
    };
    // SAFETY: the kernel reads as many bytes as the structure's first field says: its size.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setattr, thread, &raw const attributes, 0) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The CPUs on which a thread may run, one bit each, in bytes of ascending numbers, in whole words.
///
/// # Errors
/// ESRCH when it is gone.
pub fn cpus(thread: i32) -> io::Result<Vec<u8>> {
    let mut set = vec![0u8; crate::limits::CPU_SET_BYTES_MAX];
    // SAFETY: the kernel writes at most as many bytes to the pointer as the buffer has.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_getaffinity,
            thread,
            set.len(),
            set.as_mut_ptr(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    set.truncate(result as usize);
    Ok(set)
}

/// Sets the CPUs on which a thread may run: those of the set that exist.
///
/// # Errors
/// ESRCH when it is gone, EINVAL when none of them exists or is free for it.
pub fn set_cpus(thread: i32, set: &[u8]) -> io::Result<()> {
    // SAFETY: the kernel reads at most as many bytes through the pointer as the slice has.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setaffinity, thread, set.len(), set.as_ptr()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_scheduled_as_was_said() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = child.id().cast_signed();
        let wanted = Policy {
            policy: ORDINARY[1],
            resets_on_fork: true,
            nice: 7,
        };
        let seen = set_policy(pid, wanted).and_then(|()| policy(pid));
        let all = cpus(pid).unwrap();
        let first = all.iter().position(|&byte| byte != 0).unwrap();
        let mut one = vec![0; all.len()];
        one[first] = 1 << all[first].trailing_zeros();
        let restricted = set_cpus(pid, &one).and_then(|()| cpus(pid));
        let none = set_cpus(pid, &vec![0; all.len()]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(seen.unwrap(), wanted);
        assert_eq!(restricted.unwrap(), one);
        assert_eq!(none.unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
