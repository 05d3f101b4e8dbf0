//! Resource limits that act where a program computes: home's kernel knows them, the remote's keeps to them.
//!
//! The others (descriptors, file sizes, processes, queues) act at home, where the calls are made that they
//! limit. What the program asks for and sets is home's, always.

use std::io;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde::{Deserialize, Serialize};

use crate::process::limits::{self, Limit};
use crate::process::{stat, status};

/// The soft limits of a process that concern its guest; nothing where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// All of its address space, in bytes.
    pub address_space_bytes: Option<u64>,
    /// Its private writable memory, in bytes.
    pub data_bytes: Option<u64>,
    /// Each of its growing stacks, in bytes.
    pub stack_bytes: Option<u64>,
    /// Memory that it may lock, in bytes; no limit if it has the capability for that.
    pub locked_bytes: Option<u64>,
    /// CPU time that it may use, in seconds.
    pub cpu_seconds: Option<u64>,
}

/// CPU time that a process has used on this node, in whole seconds.
///
/// # Errors
/// When it is gone.
pub fn used_cpu_seconds(pid: i32) -> io::Result<u64> {
    let stat = stat::read(pid.cast_unsigned()).map_err(io::Error::other)?;
    Ok((stat.user_time_ticks + stat.system_time_ticks) / rustix::param::clock_ticks_per_second())
}

/// CAP_IPC_LOCK, as a bit.
const MAY_LOCK_ALL: u64 = 1 << 14;

impl Limits {
    /// Those of a process at home.
    ///
    /// # Errors
    /// When it is gone.
    pub fn of(pid: i32) -> io::Result<Limits> {
        let pid = pid.cast_unsigned();
        let limits = limits::read(pid).map_err(io::Error::other)?;
        let status = status::read(pid).map_err(io::Error::other)?;
        let may_lock_all = status.capabilities.effective & MAY_LOCK_ALL != 0;
        Ok(Limits {
            address_space_bytes: limits.address_space_bytes.soft,
            data_bytes: limits.data_bytes.soft,
            stack_bytes: limits.stack_bytes.soft,
            locked_bytes: limits.locked_bytes.soft.filter(|_| !may_lock_all),
            cpu_seconds: limits.cpu_seconds.soft,
        })
    }

    /// Makes the remote's kernel keep a guest to them; `own_bytes` of its memory are the engine's, and it has
    /// used so much CPU time at home. A limit that this process may not give is as high as it may. When the
    /// CPU time is used up the guest's supervisor hears of it first: the hard limit, which kills, is home's.
    ///
    /// # Errors
    /// When the guest is gone or the kernel refuses.
    pub fn impose(&self, guest: i32, own_bytes: u64, used_seconds: u64) -> io::Result<()> {
        let more = |limit: Option<u64>| limit.map(|bytes| bytes.saturating_add(own_bytes));
        // The kernel takes 0 for a second, too (setrlimit(2)).
        let remaining = |seconds: u64| seconds.saturating_sub(used_seconds).max(1);
        for (resource, wanted) in [
            (Resource::As, more(self.address_space_bytes)),
            (Resource::Data, more(self.data_bytes)),
            (Resource::Stack, self.stack_bytes),
            (Resource::Memlock, self.locked_bytes),
            (Resource::Cpu, self.cpu_seconds.map(remaining)),
        ] {
            let maximum = getrlimit(resource).maximum;
            // Nothing stands for no limit, which is more than any.
            let current = match (wanted, maximum) {
                (Some(wanted), Some(maximum)) => Some(wanted.min(maximum)),
                (wanted, maximum) => wanted.or(maximum),
            };
            prlimit(Pid::from_raw(guest), resource, Rlimit { current, maximum })?;
        }
        Ok(())
    }
}

/// Limits of a process that must not hold up the engine's own mappings in it: lifted while this lives.
pub struct Lifted {
    pid: Option<Pid>,
    before: Vec<(Resource, Rlimit)>,
}

impl Lifted {
    /// Lifts those that are set, as far as this process may.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn of(pid: i32) -> io::Result<Lifted> {
        let limits = limits::read(pid.cast_unsigned()).map_err(io::Error::other)?;
        let mut lifted = Lifted {
            pid: Pid::from_raw(pid),
            before: Vec::new(),
        };
        for (resource, limit) in [
            (Resource::As, limits.address_space_bytes),
            (Resource::Data, limits.data_bytes),
        ] {
            if limit.soft.is_some() {
                lifted.lift(resource, limit);
            }
        }
        Ok(lifted)
    }

    fn lift(&mut self, resource: Resource, limit: Limit) {
        let set = |current, maximum| prlimit(self.pid, resource, Rlimit { current, maximum });
        // Without the right to raise the hard limit, that is the most.
        match set(None, None).or_else(|_| set(limit.hard, limit.hard)) {
            Ok(before) => self.before.push((resource, before)),
            Err(error) => log::debug!("{resource:?} is not lifted: {error}"),
        }
    }
}

impl Drop for Lifted {
    fn drop(&mut self) {
        for (resource, limit) in self.before.drain(..) {
            if let Err(error) = prlimit(self.pid, resource, limit) {
                log::debug!("{:?} has ended: {error}", self.pid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifted_limits_are_as_before_afterwards() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = child.id();
        let data = || limits::read(pid).unwrap().data_bytes;
        let maximum = data().hard;
        let wanted = Rlimit {
            current: Some(64 << 20),
            maximum,
        };
        prlimit(Pid::from_raw(pid.cast_signed()), Resource::Data, wanted).unwrap();
        let before = data();
        let lifted = Lifted::of(pid.cast_signed()).unwrap();
        let meanwhile = data();
        drop(lifted);
        let afterwards = data();
        let seen = Limits::of(pid.cast_signed()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(before.soft, Some(64 << 20));
        assert_eq!(meanwhile.soft, maximum);
        assert_eq!(afterwards, before);
        assert_eq!(seen.data_bytes, before.soft);
        assert!(Limits::of(pid.cast_signed()).is_err());
    }
}
