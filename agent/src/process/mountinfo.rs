//! `/proc/PID/mountinfo`: where file systems are mounted (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// A mount of a hierarchy of cgroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What of the file system is visible there; of cgroups, as /proc/PID/cgroup would name it.
    pub root: PathBuf,
    /// Where.
    pub point: PathBuf,
}

/// The first mount of this type in the text of a mountinfo file, with this among its file system's options.
#[must_use]
pub fn find(mountinfo: &[u8], kind: &str, option: Option<&str>) -> Option<Mount> {
    mountinfo.split(|&byte| byte == b'\n').find_map(|line| {
        let mut words = line.split(|&byte| byte == b' ');
        let (root, point) = (words.nth(3)?, words.next()?);
        // Optional fields follow, of any number, ended by a lone hyphen.
        words.find(|word| *word == b"-")?;
        let is_of_kind = words.next()? == kind.as_bytes();
        let options = words.nth(1).unwrap_or_default();
        let mut options = options.split(|&byte| byte == b',');
        let has_option = option.is_none_or(|wanted| options.any(|o| o == wanted.as_bytes()));
        (is_of_kind && has_option).then(|| Mount {
            root: unescape(root),
            point: unescape(point),
        })
    })
}

/// Blank, tab, newline and backslash are written as three octal digits.
fn unescape(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, behind)) = rest.split_first() {
        let octal = match (first, behind) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                Some((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'))
            }
            _ => None,
        };
        bytes.push(octal.unwrap_or(first));
        rest = if octal.is_some() {
            &behind[3..]
        } else {
            behind
        };
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mount(root: &str, point: &str) -> Option<Mount> {
        Some(Mount {
            root: root.into(),
            point: point.into(),
        })
    }

    #[test]
    fn the_mount_is_found_on_unified_and_on_hybrid_hosts() {
        let unified = b"30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
        let found = find(unified, "cgroup2", None);
        assert_eq!(found, mount("/", "/sys/fs/cgroup"));
        let hybrid = b"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                       35 31 0:32 /box /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                       41 31 0:38 /a\\040b /sys/fs/cgroup/uni\\134fied rw - cgroup2 none rw\n";
        let found = find(hybrid, "cgroup2", None);
        assert_eq!(found, mount("/a b", "/sys/fs/cgroup/uni\\fied"));
        let found = find(hybrid, "cgroup", Some("memory"));
        assert_eq!(found, mount("/box", "/sys/fs/cgroup/memory"));
        assert_eq!(find(hybrid, "cgroup", Some("mem")), None);
        let none = b"31 23 0:28 / /sys/fs/cgroup rw - tmpfs cgroup2 rw\n";
        assert_eq!(find(none, "cgroup2", None), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_searched_without_a_panic(bytes: Vec<u8>) {
            let _ = find(&bytes, "cgroup", Some("memory"));
        }
    }
}
