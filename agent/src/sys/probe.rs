//! What this kernel can do, found out once when the agent starts.
//!
//! A kernel's version tells little: options are left out, rights are taken away in containers, later
//! features are carried back. So each feature is tried. Whatever could change this process is tried in a
//! child that ends at once. The result travels to peers, which judge by it whether a process can go.
#![allow(unsafe_code)]

mod attempts;
mod child;

use super::cpu::Cpu;
use super::vdso::{self, VdsoIdentity};
use crate::limits::KERNEL_RELEASE_LENGTH_MAX;
use crate::wire::supervisor::Reason;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The oldest kernel that can be a node: 5.15 is the oldest that was ever tried.
const KERNEL_VERSION_MIN: (u32, u32) = (5, 15);

/// A feature of the kernel, and the right to use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Feature {
    /// PTRACE_SEIZE of a child.
    PtraceSeize = 0,
    /// PTRACE_GET_RSEQ_CONFIGURATION.
    RseqConfiguration = 1,
    /// kcmp(2).
    Compare = 2,
    /// New pid, mount, net, ipc and uts namespaces.
    Namespaces = 3,
    /// New time namespaces.
    TimeNamespace = 4,
    /// clone3(2) with set_tid.
    ChosenPid = 5,
    /// seccomp(2) filters that return to a tracer.
    SeccompTrace = 6,
    /// PR_SET_MM_MAP.
    MemoryMap = 7,
    /// mremap(2) of the vDSO and its data.
    VdsoMove = 8,
    /// New user namespaces.
    UserNamespace = 9,
    /// userfaultfd(2) with faults in the kernel, too.
    Userfaultfd = 10,
    /// Asynchronous write protection by userfaultfd(2) (Linux 6.7).
    AsynchronousWriteProtect = 11,
    /// PAGEMAP_SCAN (Linux 6.7).
    PagemapScan = 12,
    /// Soft-dirty bits of /proc/PID/pagemap.
    SoftDirty = 13,
    /// A mounted cgroup2 hierarchy.
    Cgroup2 = 14,
}

/// What cannot be done without a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needed {
    /// Sending processes away.
    Home,
    /// Serving guests.
    Guests,
    /// Nothing; something is done in a simpler way.
    Nothing,
}

impl Feature {
    /// Each feature: who needs it, its code, and what it is and how to get it.
    const TABLE: [(Feature, Needed, &'static str, &'static str); 15] = [
        (
            Feature::PtraceSeize,
            Needed::Home,
            "ptrace",
            "processes cannot be traced (PTRACE_SEIZE); run the agent as root, outside containers, and \
             with kernel.yama.ptrace_scope below 3",
        ),
        (
            Feature::RseqConfiguration,
            Needed::Home,
            "rseq",
            "restartable sequences cannot be inspected (PTRACE_GET_RSEQ_CONFIGURATION); boot a kernel \
             with CONFIG_RSEQ",
        ),
        (
            Feature::Compare,
            Needed::Home,
            "kcmp",
            "processes cannot be compared (kcmp); boot a kernel with CONFIG_KCMP",
        ),
        (
            Feature::Namespaces,
            Needed::Guests,
            "namespaces",
            "pid, mount, net, ipc and uts namespaces cannot be made; run the agent as root on a kernel \
             with CONFIG_NAMESPACES",
        ),
        (
            Feature::TimeNamespace,
            Needed::Guests,
            "time-namespaces",
            "time namespaces cannot be made; run the agent as root on a kernel with CONFIG_TIME_NS",
        ),
        (
            Feature::ChosenPid,
            Needed::Guests,
            "chosen-pids",
            "processes cannot be given chosen pids (clone3 with set_tid); run the agent as root or with \
             CAP_CHECKPOINT_RESTORE",
        ),
        (
            Feature::SeccompTrace,
            Needed::Guests,
            "seccomp-filters",
            "seccomp filters cannot call a tracer (SECCOMP_RET_TRACE); boot a kernel with \
             CONFIG_SECCOMP_FILTER",
        ),
        (
            Feature::MemoryMap,
            Needed::Guests,
            "memory-map",
            "a process's memory layout cannot be set (PR_SET_MM_MAP); boot a kernel with \
             CONFIG_CHECKPOINT_RESTORE",
        ),
        (
            Feature::VdsoMove,
            Needed::Guests,
            "vdso-move",
            "the vDSO cannot be moved (mremap); boot a kernel without CONFIG_MSEAL_SYSTEM_MAPPINGS",
        ),
        (
            Feature::UserNamespace,
            Needed::Nothing,
            "user-namespaces",
            "no user namespaces",
        ),
        (
            Feature::Userfaultfd,
            Needed::Nothing,
            "userfaultfd",
            "no userfaultfd",
        ),
        (
            Feature::AsynchronousWriteProtect,
            Needed::Nothing,
            "asynchronous-write-protect",
            "no asynchronous write protection",
        ),
        (
            Feature::PagemapScan,
            Needed::Nothing,
            "pagemap-scan",
            "no PAGEMAP_SCAN",
        ),
        (
            Feature::SoftDirty,
            Needed::Nothing,
            "soft-dirty",
            "no soft-dirty bits",
        ),
        (
            Feature::Cgroup2,
            Needed::Nothing,
            "cgroup2",
            "no cgroup2 hierarchy is mounted",
        ),
    ];
}

/// A set of features. Bits that this version has no name for are kept and mean nothing.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features(u32);

impl Features {
    /// Whether a feature is among them.
    #[must_use]
    pub fn has(self, feature: Feature) -> bool {
        self.0 & (1 << feature as u8) != 0
    }

    /// The same with a feature added.
    #[must_use]
    pub fn with(self, feature: Feature) -> Features {
        Features(self.0 | 1 << feature as u8)
    }

    /// The same with a feature taken away.
    #[must_use]
    pub fn without(self, feature: Feature) -> Features {
        Features(self.0 & !(1 << feature as u8))
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let present = Feature::TABLE
            .iter()
            .filter(|(feature, ..)| self.has(*feature));
        f.debug_set()
            .entries(present.map(|(_, _, code, _)| code))
            .finish()
    }
}

/// The release of a kernel as uname(2) tells it, bounded in length.
pub type KernelRelease = heapless::String<KERNEL_RELEASE_LENGTH_MAX>;

/// What a node can do. It travels to peers; all of it is bounded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// As uname(2) tells it, for example `6.18.44-generic`.
    pub kernel_release: KernelRelease,
    /// What was tried with success.
    pub features: Features,
    /// The CPU.
    pub cpu: Cpu,
    /// The vDSO; nothing if the kernel has none.
    pub vdso: Option<VdsoIdentity>,
    /// The first pid that is never given (kernel.pid_max).
    pub pid_end: u32,
}

impl Capabilities {
    /// Finds out what this node can do. Takes a few milliseconds and forks: call it before the agent
    /// has threads. What cannot be tried counts as missing.
    #[must_use]
    pub fn probe() -> Capabilities {
        let mut features = attempts::features();
        if std::fs::read_to_string("/proc/self/mountinfo").is_ok_and(|text| has_cgroup2(&text)) {
            features = features.with(Feature::Cgroup2);
        }
        Capabilities {
            kernel_release: bounded_release(&rustix::system::uname().release().to_string_lossy()),
            features,
            cpu: Cpu::detect(),
            vdso: vdso::own_identity().unwrap_or_else(|error| {
                log::warn!("cannot inspect this kernel's vDSO: {error}");
                None
            }),
            pid_end: pid_end(),
        }
    }

    /// The same with what an administrator can change while the node runs as it is now.
    #[must_use]
    pub fn refreshed(&self) -> Capabilities {
        Capabilities {
            pid_end: pid_end(),
            ..self.clone()
        }
    }

    /// What this node lacks to be a node at all: with any of these the agent does not start.
    #[must_use]
    pub fn missing(&self) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let (major, minor) = KERNEL_VERSION_MIN;
        if version(&self.kernel_release).is_none_or(|version| version < KERNEL_VERSION_MIN) {
            reasons.push(Reason {
                code: "kernel-version".to_owned(),
                text: format!(
                    "Linux {} is too old; boot Linux {major}.{minor} or later",
                    self.kernel_release
                ),
            });
        }
        reasons.extend(self.lacking(Needed::Home));
        reasons
    }

    /// What this node lacks to serve guests.
    #[must_use]
    pub fn missing_for_guests(&self) -> Vec<Reason> {
        let mut reasons = self.missing();
        reasons.extend(self.lacking(Needed::Guests));
        reasons
    }

    fn lacking(&self, needed: Needed) -> impl Iterator<Item = Reason> {
        let features = self.features;
        Feature::TABLE
            .iter()
            .filter(move |(feature, by, ..)| *by == needed && !features.has(*feature))
            .map(|(_, _, code, text)| Reason {
                code: (*code).to_owned(),
                text: (*text).to_owned(),
            })
    }
}

/// The first pid that is never given.
fn pid_end() -> u32 {
    let pid_max = std::fs::read_to_string("/proc/sys/kernel/pid_max").unwrap_or_default();
    // The kernel's default on small machines, should /proc not tell.
    pid_max.trim_end().parse().unwrap_or(32_768)
}

/// As much of a release as fits.
fn bounded_release(text: &str) -> KernelRelease {
    let mut release = KernelRelease::new();
    for character in text.chars() {
        if release.push(character).is_err() {
            break;
        }
    }
    release
}

/// Major and minor number of a kernel release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Whether /proc/self/mountinfo lists a cgroup2 file system: the word behind the lone hyphen.
fn has_cgroup2(mountinfo: &str) -> bool {
    let kind = |line: &str| {
        line.split_once(" - ")
            .map(|(_, rest)| rest.starts_with("cgroup2 "))
    };
    mountinfo.lines().any(|line| kind(line) == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_feature_has_one_bit_and_one_row() {
        for (index, (feature, ..)) in Feature::TABLE.iter().enumerate() {
            assert_eq!(*feature as usize, index);
            assert!(Features::default().with(*feature).has(*feature));
            assert!(!Features(u32::MAX).without(*feature).has(*feature));
        }
    }

    #[test]
    fn releases_are_read_as_distributions_write_them() {
        assert_eq!(version("6.18.44-fc-v595"), Some((6, 18)));
        assert_eq!(version("5.15.0-91-generic"), Some((5, 15)));
        assert_eq!(version("6.1"), Some((6, 1)));
        assert_eq!(version("7.0-rc1"), Some((7, 0)));
        for bad in ["", "six", "6", "6.", "99999999999.1"] {
            assert_eq!(version(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_old_kernel_and_missing_features_are_said_in_words() {
        let mut capabilities = Capabilities {
            kernel_release: bounded_release("5.10.0-28-amd64"),
            features: Features(u32::MAX)
                .without(Feature::Compare)
                .without(Feature::ChosenPid),
            cpu: Cpu::default(),
            vdso: None,
            pid_end: 32_768,
        };
        let codes = |reasons: Vec<Reason>| {
            reasons
                .into_iter()
                .map(|reason| reason.code)
                .collect::<Vec<_>>()
        };
        assert_eq!(codes(capabilities.missing()), ["kernel-version", "kcmp"]);
        let for_guests = codes(capabilities.missing_for_guests());
        assert_eq!(for_guests, ["kernel-version", "kcmp", "chosen-pids"]);
        assert!(
            capabilities.missing()[0]
                .text
                .contains("5.10.0-28-amd64 is too old")
        );
        capabilities.kernel_release = bounded_release("5.15.0");
        assert_eq!(codes(capabilities.missing()), ["kcmp"]);
    }

    #[test]
    fn a_cgroup2_mount_is_found_among_others() {
        let hybrid = "30 25 0:26 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw\n";
        let first = "31 25 0:27 / /sys/fs/cgroup/cpu rw,nosuid shared:9 - cgroup cgroup rw,cpu\n";
        assert!(has_cgroup2(&format!("{first}{hybrid}")));
        assert!(!has_cgroup2(first));
        assert!(!has_cgroup2("cgroup2 - \n\n - "));
    }

    #[test]
    fn capabilities_survive_the_journey_and_a_release_too_long_is_refused() {
        let capabilities = Capabilities::probe();
        let mut bytes = Vec::new();
        ciborium::into_writer(&capabilities, &mut bytes).unwrap();
        let read: Capabilities = ciborium::from_reader(&bytes[..]).unwrap();
        assert_eq!(read, capabilities);
        assert!(bytes.len() < 1024, "{} bytes", bytes.len());

        let long = "9".repeat(KERNEL_RELEASE_LENGTH_MAX + 1);
        let mut bytes = Vec::new();
        ciborium::into_writer(&long, &mut bytes).unwrap();
        assert!(ciborium::from_reader::<KernelRelease, _>(&bytes[..]).is_err());
        assert_eq!(bounded_release(&long).len(), KERNEL_RELEASE_LENGTH_MAX);
    }

    #[test]
    fn this_node_can_be_a_home() {
        let capabilities = Capabilities::probe();
        assert!(
            capabilities.missing().is_empty(),
            "{:?}",
            capabilities.missing()
        );
        assert!(capabilities.vdso.is_some());
    }
}
