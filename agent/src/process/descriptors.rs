//! /proc/PID/fd and fdinfo: what a process has open.

use super::{ParseError, ReadError, field, read_error, read_file, read_numbered};
use crate::limits::{DESCRIPTORS_MAX, PROC_FILE_BYTES_MAX};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// An open descriptor and what it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Its number in the process.
    pub number: u32,
    /// What it refers to.
    pub target: Target,
}

/// What a descriptor refers to, as told by its link in /proc/PID/fd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Something with a path: file, directory, device, named pipe. The path is for people to read; a
    /// deleted file's ends in ` (deleted)`, as may that of one that exists.
    Path(PathBuf),
    /// A pipe, by its inode.
    Pipe(u64),
    /// A socket, by its inode.
    Socket(u64),
    /// A kernel object without inode of its own: `[eventfd]`, `[io_uring]`, `inotify`, ...
    Anonymous(String),
    /// Anything else that the kernel names.
    Other(String),
}

impl Target {
    /// What the text of a link means.
    #[must_use]
    pub fn parse(link: &[u8]) -> Target {
        let inode = |kind: &[u8]| -> Option<u64> {
            field::decimal(
                link.strip_prefix(kind)?
                    .strip_prefix(b":[")?
                    .strip_suffix(b"]")?,
            )
        };
        if link.first() == Some(&b'/') {
            Target::Path(PathBuf::from(OsStr::from_bytes(link)))
        } else if let Some(inode) = inode(b"pipe") {
            Target::Pipe(inode)
        } else if let Some(inode) = inode(b"socket") {
            Target::Socket(inode)
        } else if let Some(name) = link.strip_prefix(b"anon_inode:") {
            Target::Anonymous(field::printable(name))
        } else {
            Target::Other(field::printable(link))
        }
    }
}

/// What fdinfo says of every descriptor (proc_pid_fdinfo(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// File offset in bytes.
    pub position: i64,
    /// Open flags, as fcntl(2) F_GETFL gives them, and O_CLOEXEC.
    pub flags: u32,
    /// The mount that it was opened on (mountinfo's number).
    pub mount: u32,
    /// Its inode (from Linux 5.14).
    pub inode: Option<u64>,
}

/// The contents of a fdinfo file. What else stands there for some kinds of files is skipped.
///
/// # Errors
/// When position, flags or mount is missing or not a number.
pub fn parse_info(contents: &[u8]) -> Result<Info, ParseError> {
    let (mut position, mut flags, mut mount, mut inode) = (None, None, None, None);
    for (line, text) in field::lines(contents) {
        let error = |expected| ParseError {
            file: "fdinfo",
            line,
            expected,
        };
        match field::key_and_value(text) {
            Some((b"pos", value)) => {
                position = Some(field::decimal(value).ok_or(error("a position"))?);
            }
            Some((b"flags", value)) => {
                flags = Some(field::octal(value).ok_or(error("octal flags"))?);
            }
            Some((b"mnt_id", value)) => {
                mount = Some(field::decimal(value).ok_or(error("a mount number"))?);
            }
            // Other kinds of files have lines of their own with this key, which come later.
            Some((b"ino", value)) if inode.is_none() => inode = field::decimal(value),
            _ => {}
        }
    }
    let missing = |expected| ParseError {
        file: "fdinfo",
        line: 0,
        expected,
    };
    Ok(Info {
        position: position.ok_or(missing("pos"))?,
        flags: flags.ok_or(missing("flags"))?,
        mount: mount.ok_or(missing("mnt_id"))?,
        inode,
    })
}

/// The open descriptors of a process, sorted by number. One that is closed meanwhile is left out.
///
/// # Errors
/// When the process is gone, may not be inspected, or has more than [`DESCRIPTORS_MAX`].
pub fn read(pid: u32) -> Result<Vec<Descriptor>, ReadError> {
    let mut descriptors = Vec::new();
    for number in read_numbered(pid, "fd", DESCRIPTORS_MAX)? {
        let file = format!("fd/{number}");
        match std::fs::read_link(format!("/proc/{pid}/{file}")) {
            Ok(link) => descriptors.push(Descriptor {
                number,
                target: Target::parse(link.as_os_str().as_bytes()),
            }),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
            Err(cause) => return Err(read_error(pid, &file, cause)),
        }
    }
    Ok(descriptors)
}

/// The fdinfo of one descriptor.
///
/// # Errors
/// [`ReadError::Gone`] when process or descriptor is gone; else when it cannot be read or understood.
pub fn read_info(pid: u32, number: u32) -> Result<Info, ReadError> {
    let contents = read_file(pid, &format!("fdinfo/{number}"), PROC_FILE_BYTES_MAX)?;
    parse_info(&contents).map_err(|cause| ReadError::Malformed { pid, cause })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::{Seek, SeekFrom};
    use std::os::fd::AsRawFd;

    #[test]
    fn links_are_told_apart() {
        assert_eq!(
            Target::parse(b"/dev/pts/0"),
            Target::Path("/dev/pts/0".into())
        );
        assert_eq!(
            Target::parse(b"/pipe:[7]"),
            Target::Path("/pipe:[7]".into())
        );
        assert_eq!(Target::parse(b"pipe:[7]"), Target::Pipe(7));
        assert_eq!(Target::parse(b"socket:[8]"), Target::Socket(8));
        assert_eq!(
            Target::parse(b"anon_inode:[io_uring]"),
            Target::Anonymous("[io_uring]".into())
        );
        assert_eq!(
            Target::parse(b"anon_inode:inotify"),
            Target::Anonymous("inotify".into())
        );
        assert_eq!(
            Target::parse(b"pidfd:[9]"),
            Target::Other("pidfd:[9]".into())
        );
        assert_eq!(Target::parse(b""), Target::Other(String::new()));
    }

    #[test]
    fn what_differs_by_kind_of_file_is_skipped() {
        let inotify = b"pos:\t0\nflags:\t02004000\nmnt_id:\t15\nino:\t4\n\
                        inotify wd:1 ino:7 sdev:fe00000 mask:fff ignored_mask:0\n";
        let expected = Info {
            position: 0,
            flags: 0o2_004_000,
            mount: 15,
            inode: Some(4),
        };
        assert_eq!(parse_info(inotify).unwrap(), expected);
        assert_eq!(
            parse_info(b"pos:\t0\nflags:\t02\n").unwrap_err().expected,
            "mnt_id"
        );
        assert_eq!(parse_info(b"pos:\tx\n").unwrap_err().line, 1);
    }

    #[test]
    fn our_own_descriptors_are_read() {
        let mut file = std::fs::File::open("/proc/version").unwrap();
        file.seek(SeekFrom::Start(5)).unwrap();
        let number = u32::try_from(file.as_raw_fd()).unwrap();
        let pid = std::process::id();
        let expected = Descriptor {
            number,
            target: Target::Path("/proc/version".into()),
        };
        assert!(read(pid).unwrap().contains(&expected));
        assert_eq!(read_info(pid, number).unwrap().position, 5);
        assert!(matches!(
            read_info(pid, 999_999),
            Err(ReadError::Gone { .. })
        ));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(contents in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_info(&contents);
            let _ = Target::parse(&contents);
        }
    }
}
