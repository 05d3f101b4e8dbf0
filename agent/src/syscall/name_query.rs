//! Calls that only ask about a name, and errors of theirs that last: as long as the name is not made and no
//! directory on the way to it is changed, the answer stays the same.

use crate::sys::call_numbers as number;

use super::plan::Request;

/// Longest name whose answer is kept, in bytes.
const NAME_BYTES_MAX: usize = 512;

const ENOENT: i64 = -2;
const EINVAL: i64 = -22;

/// `AT_FDCWD` of fcntl.h, as an argument of 32 bits.
const CURRENT_DIRECTORY: u32 = -100_i32 as u32;

/// A question about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameQuery {
    /// The name, absolute or relative to the current directory.
    pub path: Vec<u8>,
    /// It asks where a symbolic link leads.
    pub reads_link: bool,
    /// It asks for the real user and group, where others ask for the effective ones: not all may look into the same
    /// directories (access(2)).
    pub by_real_ids: bool,
}

/// An error that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastingError {
    /// There is nothing of this name.
    Absent,
    /// There is, and it is no symbolic link.
    NoLink,
}

impl NameQuery {
    /// The question that this call asks, if it is none but that: with flags of another kind, or sizes that the kernel
    /// refuses, its error could have another cause.
    #[must_use]
    pub fn of(request: &Request, payload: &[u8]) -> Option<NameQuery> {
        const ACCESS_MODES: u64 = 7;
        const SYMLINK_NOFOLLOW: u64 = 0x100;
        const EACCESS: u64 = 0x200;
        const NO_AUTOMOUNT: u64 = 0x800;
        let [first, _, third, fourth, ..] = request.args;
        let (is_plain, directory) = match request.number.cast_signed() {
            number::SYS_stat | number::SYS_lstat => (true, None),
            number::SYS_access => (is_within(request.args[1], ACCESS_MODES), None),
            number::SYS_readlink => (third as i32 > 0, None),
            number::SYS_newfstatat => (
                is_within(fourth, SYMLINK_NOFOLLOW | NO_AUTOMOUNT),
                Some(first),
            ),
            number::SYS_faccessat => (is_within(third, ACCESS_MODES), Some(first)),
            number::SYS_faccessat2 => (
                is_within(third, ACCESS_MODES) && is_within(fourth, SYMLINK_NOFOLLOW | EACCESS),
                Some(first),
            ),
            number::SYS_readlinkat => (fourth as i32 > 0, Some(first)),
            _ => return None,
        };
        let by_real_ids = match request.number.cast_signed() {
            number::SYS_access | number::SYS_faccessat => true,
            number::SYS_faccessat2 => fourth & EACCESS == 0,
            _ => false,
        };
        let path = payload.split(|&byte| byte == 0).next()?;
        let is_found_without = path.first() == Some(&b'/')
            || directory.is_none_or(|directory| directory as u32 == CURRENT_DIRECTORY);
        let is_kept = (1..=NAME_BYTES_MAX).contains(&path.len()) && path.len() < payload.len();
        (is_plain && is_found_without && is_kept).then(|| NameQuery {
            path: path.to_vec(),
            reads_link: matches!(
                request.number.cast_signed(),
                number::SYS_readlink | number::SYS_readlinkat
            ),
            by_real_ids,
        })
    }

    /// The lasting error that this result is, if it is one.
    #[must_use]
    pub fn lasting_error(&self, result: i64) -> Option<LastingError> {
        match result {
            ENOENT => Some(LastingError::Absent),
            EINVAL if self.reads_link => Some(LastingError::NoLink),
            _ => None,
        }
    }

    /// The result of this call where that error lasts; none if it would be another.
    #[must_use]
    pub fn result(&self, error: LastingError) -> Option<i64> {
        match error {
            LastingError::Absent => Some(ENOENT),
            LastingError::NoLink if self.reads_link => Some(EINVAL),
            LastingError::NoLink => None,
        }
    }
}

/// Whether an `int` argument has no other bits than these.
fn is_within(argument: u64, bits: u64) -> bool {
    u64::from(argument as u32) & !bits == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(number: i64, args: [u64; 6], path: &str) -> Option<NameQuery> {
        let request = Request {
            number: number.cast_unsigned(),
            args,
        };
        let mut payload = path.as_bytes().to_vec();
        payload.push(0);
        NameQuery::of(&request, &payload)
    }

    const HERE: u64 = CURRENT_DIRECTORY as u64;

    #[test]
    fn a_link_that_is_none_and_a_name_that_is_absent_last() {
        let asked = query(number::SYS_readlink, [1, 2, 4096, 0, 0, 0], "/usr/lib").unwrap();
        assert_eq!(asked.lasting_error(-22), Some(LastingError::NoLink));
        assert_eq!(asked.lasting_error(-2), Some(LastingError::Absent));
        for other in [0, 7, -13, -20, -36, -40] {
            assert_eq!(asked.lasting_error(other), None, "{other}");
        }
        let asked = query(number::SYS_newfstatat, [HERE, 1, 2, 0x100, 0, 0], "x").unwrap();
        assert_eq!(asked.lasting_error(-22), None);
        assert_eq!(asked.result(LastingError::NoLink), None);
        assert_eq!(asked.result(LastingError::Absent), Some(-2));
    }

    #[test]
    fn what_has_another_cause_for_its_error_is_no_question() {
        assert_eq!(query(number::SYS_readlink, [1, 2, 0, 0, 0, 0], "/x"), None);
        assert_eq!(query(number::SYS_access, [1, 8, 0, 0, 0, 0], "/x"), None);
        // AT_EMPTY_PATH, and a directory that is not the current one.
        let flags = [HERE, 1, 2, 0x1000, 0, 0];
        assert_eq!(query(number::SYS_newfstatat, flags, "/x"), None);
        let elsewhere = [5, 1, 2, 0, 0, 0];
        assert_eq!(query(number::SYS_newfstatat, elsewhere, "x"), None);
        assert!(query(number::SYS_newfstatat, elsewhere, "/x").is_some());
        assert_eq!(query(number::SYS_stat, [1, 2, 0, 0, 0, 0], ""), None);
        assert_eq!(query(number::SYS_open, [1, 0, 0, 0, 0, 0], "/x"), None);
        let real = query(number::SYS_access, [1, 4, 0, 0, 0, 0], "/x").unwrap();
        let effective = query(number::SYS_stat, [1, 2, 0, 0, 0, 0], "/x").unwrap();
        assert!(real.by_real_ids && !effective.by_real_ids);
        let long = "y".repeat(NAME_BYTES_MAX + 1);
        assert_eq!(query(number::SYS_stat, [1, 2, 0, 0, 0, 0], &long), None);
    }
}
