//! The CPU time that a container leaves this node: the quota of its cgroup.
//!
//! Which cgroups count is as for memory ([`super::memory_limit`]). A quota of 2.5 CPUs is told as three CPUs, each of which
//! stands still for a sixth of the time: a second of CPU time gets as much done as without a quota, but takes longer.

use std::fs;
use std::path::{Path, PathBuf};

use super::meter::read;
use super::procfs::own_cgroup;
use crate::process::mountinfo::{self, Mount};

/// A node that stands still for longer, in hundredths of the time, is told to have this.
pub const THROTTLED_PERCENT_MAX: u8 = 99;

/// Where quotas are to be found.
#[derive(Debug, Default)]
pub struct CpuLimit {
    /// The CPUs that the kernel lets this process have.
    cpus: u16,
    version_1: Option<Mount>,
    version_2: Option<PathBuf>,
}

/// CPUs, and which part of the time each stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpus {
    /// How many.
    pub cpus: u16,
    /// In hundredths of the time.
    pub throttled_percent: u8,
}

impl CpuLimit {
    /// Looks where the cgroups are; a machine without them limits nothing.
    #[must_use]
    pub fn find() -> CpuLimit {
        let mountinfo = fs::read("/proc/self/mountinfo").unwrap_or_default();
        CpuLimit {
            cpus: rustix::thread::sched_getaffinity(None)
                .map_or(1, |set| u16::try_from(set.count()).unwrap_or(u16::MAX)),
            version_1: mountinfo::find(&mountinfo, "cgroup", Some("cpu")),
            version_2: mountinfo::find(&mountinfo, "cgroup2", None).map(|mount| mount.point),
        }
    }

    /// What this node has at this moment.
    #[must_use]
    pub fn cpus(&self) -> Cpus {
        let first = self.version_1.as_ref().and_then(version_1);
        let second = self.version_2.as_deref().and_then(version_2);
        let quota = first.into_iter().chain(second).reduce(f64::min);
        of_quota(self.cpus.max(1), quota)
    }
}

/// So many CPUs, of which so much may be used, if that is limited.
fn of_quota(cpus: u16, quota: Option<f64>) -> Cpus {
    let quota = quota.unwrap_or(f64::INFINITY).min(f64::from(cpus));
    // Casts saturate, and NaN does not come of a division by what is above zero.
    let whole = (quota.ceil() as u16).clamp(1, cpus);
    let throttled = 100.0 * (1.0 - quota / f64::from(whole));
    Cpus {
        cpus: whole,
        throttled_percent: (throttled.round() as u8).min(THROTTLED_PERCENT_MAX),
    }
}

/// The least quota of the own cgroup and those above it.
fn version_1(mount: &Mount) -> Option<f64> {
    let cgroup = own_cgroup(&read("/proc/self/cgroup").ok()?, "cpu")?;
    let below = cgroup.strip_prefix(&mount.root).unwrap_or(Path::new(""));
    let quota = |group: &Path| {
        let value = |name: &str| read(mount.point.join(group).join(name).to_str()?).ok();
        let (quota, period) = (value("cpu.cfs_quota_us")?, value("cpu.cfs_period_us")?);
        parse(quota.trim(), period.trim())
    };
    below.ancestors().filter_map(quota).reduce(f64::min)
}

fn version_2(group: &Path) -> Option<f64> {
    let text = read(group.join("cpu.max").to_str()?).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    parse(quota, period)
}

/// CPUs, of a quota and its period in microseconds; none if it is no limit, which "max" and -1 are.
fn parse(quota: &str, period: &str) -> Option<f64> {
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0).then(|| quota as f64 / period as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_quota_is_so_many_cpus_that_stand_still_for_a_part_of_the_time() {
        let of = |cpus, quota| {
            let Cpus {
                cpus,
                throttled_percent,
            } = of_quota(cpus, quota);
            (cpus, throttled_percent)
        };
        assert_eq!(of(4, None), (4, 0));
        assert_eq!(of(4, Some(9.0)), (4, 0));
        assert_eq!(of(4, Some(2.5)), (3, 17));
        assert_eq!(of(4, Some(0.2)), (1, 80));
        assert_eq!(of(1, Some(0.0)), (1, THROTTLED_PERCENT_MAX));
    }

    #[test]
    fn what_is_no_limit_is_none() {
        assert_eq!(parse("-1", "100000"), None);
        assert_eq!(parse("max", "100000"), None);
        assert_eq!(parse("4000", "0"), None);
        assert_eq!(parse("4000", "20000"), Some(0.2));
    }

    #[test]
    fn this_node_has_as_many_cpus_as_the_kernel_lets_it_have_at_most() {
        let found = CpuLimit::find();
        assert!((1..=found.cpus).contains(&found.cpus().cpus));
    }

    proptest! {
        #[test]
        fn no_quota_makes_a_node_without_cpus(cpus in 1..=u16::MAX, quota in prop::num::f64::POSITIVE) {
            let of = of_quota(cpus, Some(quota));
            prop_assert!((1..=cpus).contains(&of.cpus));
        }
    }
}
