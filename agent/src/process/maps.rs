//! /proc/PID/maps: what a process has mapped, and where.
//!
//! The kernel writes `start-end perms offset major:minor inode name`. A name is a path, or a word in
//! brackets that no path can imitate, because a path never begins with `[`. In paths the kernel writes
//! a newline as `\012` but leaves backslashes alone, and appends ` (deleted)`, so a strange name is
//! ambiguous: it is for people to read. Device and inode say which file it is, and
//! /proc/PID/map_files opens it.

use super::{ParseError, ReadError, field, read_file};
use crate::limits::{MAPPINGS_MAX, MAPS_BYTES_MAX};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const FILE: &str = "maps";

/// One mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// PROT_READ.
    pub read: bool,
    /// PROT_WRITE.
    pub write: bool,
    /// PROT_EXEC.
    pub execute: bool,
    /// MAP_SHARED, as far as the kernel still knows: a file opened only for reading and mapped shared
    /// counts as shared, too.
    pub shared: bool,
    /// Where in the file it begins, in bytes.
    pub offset: u64,
    /// Major and minor number of the file's device; 0:0 without a file.
    pub device: (u32, u32),
    /// The file's inode; 0 without a file.
    pub inode: u64,
    /// What it is.
    pub kind: MappingKind,
}

impl Mapping {
    /// Its length in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.end - self.start
    }

    /// Its protection as PROT_* bits.
    #[must_use]
    pub fn protection(&self) -> u32 {
        u32::from(self.read) | u32::from(self.write) << 1 | u32::from(self.execute) << 2
    }
}

/// What a mapping is, as told by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MappingKind {
    /// Private anonymous memory, with the name the program gave it, if any (`PR_SET_VMA_ANON_NAME`).
    Anonymous {
        /// As in `[anon:NAME]`.
        name: Option<String>,
    },
    /// The memory that brk(2) manages.
    Heap,
    /// The first thread's stack.
    Stack,
    /// The kernel's code for calls that need no kernel.
    Vdso,
    /// Its data.
    Vvar,
    /// Its data of virtual clocks (from Linux 6.13 apart from [`MappingKind::Vvar`]).
    VvarVclock,
    /// The page of the oldest such calls, at the same address in all processes.
    Vsyscall,
    /// Shared anonymous memory: /dev/zero, MAP_SHARED | MAP_ANONYMOUS, memfd_create(2), shmget(2).
    SharedMemory {
        /// Its name as the kernel shows it.
        name: String,
    },
    /// A file.
    File {
        /// Its path as the process's root sees it; for people to read.
        path: PathBuf,
        /// Whether the name ends in ` (deleted)`, which is then not part of the path.
        deleted: bool,
    },
    /// Anything else that the kernel names, such as `[uprobes]` or `anon_inode:[io_uring]`.
    Other {
        /// Its name as the kernel shows it.
        name: String,
    },
}

impl MappingKind {
    /// The kind that belongs to the last column of a line.
    fn from_name(name: &[u8]) -> MappingKind {
        match name {
            b"" => MappingKind::Anonymous { name: None },
            b"[heap]" => MappingKind::Heap,
            b"[stack]" => MappingKind::Stack,
            b"[vdso]" => MappingKind::Vdso,
            b"[vvar]" => MappingKind::Vvar,
            b"[vvar_vclock]" => MappingKind::VvarVclock,
            b"[vsyscall]" => MappingKind::Vsyscall,
            [b'[', ..] => MappingKind::from_bracketed(name),
            [b'/', ..] => MappingKind::from_path(name),
            _ => MappingKind::Other {
                name: field::printable(name),
            },
        }
    }

    fn from_bracketed(name: &[u8]) -> MappingKind {
        let inner = |prefix: &[u8]| name.strip_prefix(prefix)?.strip_suffix(b"]");
        if let Some(given) = inner(b"[anon:") {
            MappingKind::Anonymous {
                name: Some(field::printable(given)),
            }
        } else if inner(b"[anon_shmem:").is_some() {
            MappingKind::SharedMemory {
                name: field::printable(name),
            }
        } else {
            MappingKind::Other {
                name: field::printable(name),
            }
        }
    }

    fn from_path(name: &[u8]) -> MappingKind {
        let without_deleted = name.strip_suffix(b" (deleted)");
        let path = without_deleted.unwrap_or(name);
        let shared_memory = without_deleted.is_some()
            && (path == b"/dev/zero" || path.starts_with(b"/memfd:") || path.starts_with(b"/SYSV"));
        if shared_memory {
            return MappingKind::SharedMemory {
                name: field::printable(path),
            };
        }
        MappingKind::File {
            path: PathBuf::from(OsStr::from_bytes(path)),
            deleted: without_deleted.is_some(),
        }
    }

    /// The file's path, if it is a file.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            MappingKind::File { path, .. } => Some(path),
            _ => None,
        }
    }

    /// Whether the kernel made it for every process by itself: vDSO, its data, vsyscall page.
    #[must_use]
    pub fn is_kernel_provided(&self) -> bool {
        matches!(
            self,
            MappingKind::Vdso | MappingKind::Vvar | MappingKind::VvarVclock | MappingKind::Vsyscall
        )
    }
}

impl std::fmt::Display for MappingKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MappingKind::Anonymous { name: None } => f.write_str("anonymous memory"),
            MappingKind::Anonymous { name: Some(name) } => write!(f, "anonymous memory \"{name}\""),
            MappingKind::Heap => f.write_str("[heap]"),
            MappingKind::Stack => f.write_str("[stack]"),
            MappingKind::Vdso => f.write_str("[vdso]"),
            MappingKind::Vvar => f.write_str("[vvar]"),
            MappingKind::VvarVclock => f.write_str("[vvar_vclock]"),
            MappingKind::Vsyscall => f.write_str("[vsyscall]"),
            MappingKind::SharedMemory { name } | MappingKind::Other { name } => f.write_str(name),
            MappingKind::File { path, .. } => {
                f.write_str(&field::printable(path.as_os_str().as_bytes()))
            }
        }
    }
}

/// The mappings in the order of the file, which is that of their addresses.
///
/// # Errors
/// When a line is not as described above, mappings overlap, or there are more than [`MAPPINGS_MAX`].
pub fn parse(contents: &[u8]) -> Result<Vec<Mapping>, ParseError> {
    let mut mappings: Vec<Mapping> = Vec::new();
    for (line, text) in field::lines(contents) {
        let error = |expected| ParseError {
            file: FILE,
            line,
            expected,
        };
        if mappings.len() == MAPPINGS_MAX {
            return Err(error("an end: there are more mappings than Limosa handles"));
        }
        let mapping = parse_line(text).map_err(error)?;
        if mappings
            .last()
            .is_some_and(|previous| previous.end > mapping.start)
        {
            return Err(error("an address behind the mapping before"));
        }
        mappings.push(mapping);
    }
    Ok(mappings)
}

/// One line without its newline, or what was expected instead.
pub(super) fn parse_line(line: &[u8]) -> Result<Mapping, &'static str> {
    let mut columns = line.splitn(6, |byte| *byte == b' ');
    let mut column = |expected| columns.next().ok_or(expected);

    let (start, end) =
        parse_pair(column("start-end")?, b'-', field::hexadecimal).ok_or("start-end")?;
    if start >= end {
        return Err("an end behind the start");
    }
    let permissions = column("permissions")?;
    let [
        read @ (b'r' | b'-'),
        write @ (b'w' | b'-'),
        execute @ (b'x' | b'-'),
        share,
    ] = permissions
    else {
        return Err("permissions such as r-xp");
    };
    let shared = match share {
        b's' => true,
        b'p' => false,
        _ => return Err("permissions that end in p or s"),
    };
    let offset = field::hexadecimal(column("an offset")?).ok_or("an offset")?;
    let number = |text: &[u8]| field::hexadecimal(text).and_then(|n| u32::try_from(n).ok());
    let device = parse_pair(column("major:minor")?, b':', number).ok_or("major:minor")?;
    let inode = field::decimal(column("an inode")?).ok_or("an inode")?;
    // Blanks fill up to column 73; no name begins with one.
    let name = column("").unwrap_or_default().trim_ascii_start();

    Ok(Mapping {
        start,
        end,
        read: *read == b'r',
        write: *write == b'w',
        execute: *execute == b'x',
        shared,
        offset,
        device,
        inode,
        kind: MappingKind::from_name(name),
    })
}

/// Two numbers with a separator between.
fn parse_pair<T>(
    text: &[u8],
    separator: u8,
    number: impl Fn(&[u8]) -> Option<T>,
) -> Option<(T, T)> {
    let at = text.iter().position(|byte| *byte == separator)?;
    Some((number(&text[..at])?, number(&text[at + 1..])?))
}

/// The mappings of a process. A zombie and a kernel thread have none.
///
/// # Errors
/// When the process is gone, or its file cannot be read or understood.
pub fn read(pid: u32) -> Result<Vec<Mapping>, ReadError> {
    let contents = read_file(pid, FILE, MAPS_BYTES_MAX)?;
    if field::lines(&contents).count() > MAPPINGS_MAX {
        return Err(ReadError::TooLarge {
            pid,
            file: FILE.to_owned(),
            limit: MAPPINGS_MAX,
        });
    }
    parse(&contents).map_err(|cause| ReadError::Malformed { pid, cause })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CAT: &[u8] = include_bytes!("fixtures/maps-cat");
    const STRANGE: &[u8] = include_bytes!("fixtures/maps-strange-names");

    fn file(path: &str, deleted: bool) -> MappingKind {
        MappingKind::File {
            path: path.into(),
            deleted,
        }
    }

    fn shared_memory(name: &str) -> MappingKind {
        MappingKind::SharedMemory { name: name.into() }
    }

    #[test]
    fn an_ordinary_program_is_read_in_full() {
        let mappings = parse(CAT).unwrap();
        assert_eq!(mappings.len(), CAT.split(|b| *b == b'\n').count() - 1);
        assert_eq!(
            mappings[1],
            Mapping {
                start: 0x5574_d421_9000,
                end: 0x5574_d421_e000,
                read: true,
                write: false,
                execute: true,
                shared: false,
                offset: 0x2000,
                device: (0xfe, 0),
                inode: 247_030,
                kind: file("/usr/bin/cat", false),
            }
        );
        let has = |kind: MappingKind| mappings.iter().any(|mapping| mapping.kind == kind);
        for kind in [
            MappingKind::Heap,
            MappingKind::Stack,
            MappingKind::Vdso,
            MappingKind::Vvar,
            MappingKind::VvarVclock,
            MappingKind::Vsyscall,
            MappingKind::Anonymous { name: None },
        ] {
            assert!(has(kind.clone()), "{kind:?}");
        }
        let cache = mappings.iter().find(|mapping| mapping.shared).unwrap();
        assert_eq!(
            cache.kind.path().unwrap().file_name().unwrap(),
            "gconv-modules.cache"
        );
    }

    #[test]
    fn strange_names_are_kept_and_do_not_shift_columns() {
        let kinds: Vec<_> = parse(STRANGE)
            .unwrap()
            .into_iter()
            .map(|m| m.kind)
            .collect();
        assert_eq!(
            kinds,
            [
                file("/tmp/with  two spaces ", false),
                file("/tmp/new\\012line", false),
                file("/tmp/(paren) (deleted)", true),
                file("/tmp/gone", true),
                file("/tmp/[heap]", false),
                MappingKind::Anonymous {
                    name: Some("arena 1".into())
                },
                shared_memory("[anon_shmem:queue]"),
                shared_memory("/dev/zero"),
                shared_memory("/memfd:buffer"),
                shared_memory("/SYSV00000000"),
                MappingKind::Other {
                    name: "anon_inode:[io_uring]".into()
                },
                MappingKind::Other {
                    name: "[uprobes]".into()
                },
                MappingKind::Other {
                    name: "(unreachable)/lib/x.so".into()
                },
            ]
        );
    }

    #[test]
    fn a_path_that_is_not_utf8_keeps_its_bytes() {
        let mapping = parse_line(b"1000-2000 r--p 00000000 08:01 7 /tmp/\xff\xfe").unwrap();
        assert_eq!(
            mapping.kind.path().unwrap().as_os_str().as_bytes(),
            b"/tmp/\xff\xfe"
        );
        assert_eq!(mapping.kind.to_string(), "/tmp/\u{fffd}\u{fffd}");
    }

    #[test]
    fn a_line_that_is_not_the_kernels_is_refused_with_its_number() {
        for bad in [
            "",
            "1000",
            "1000-2000",
            "1000-2000 r--p",
            "1000-2000 r--p 0 08:01",
            "2000-1000 r--p 0 08:01 7",
            "1000-1000 r--p 0 08:01 7",
            "1000-2000 r--q 0 08:01 7",
            "1000-2000 rr-p 0 08:01 7",
            "1000-2000 r--pp 0 08:01 7",
            "1000-2000 r--p 0 08 7",
            "1000-2000 r--p 0 100000000:01 7",
            "1000-2000 r--p 0 08:01 -7",
            "10000000000000000-20000000000000000 r--p 0 08:01 7",
            "0-900 r--p 0 0:0 0",
        ] {
            let contents =
                format!("500-1000 r--p 00000000 00:00 0 \n{bad}\n3000-4000 r--p 0 0:0 0");
            assert_eq!(parse(contents.as_bytes()).unwrap_err().line, 2, "{bad}");
        }
    }

    #[test]
    fn more_mappings_than_the_limit_are_refused() {
        let mut contents = Vec::new();
        for index in 0..=MAPPINGS_MAX {
            contents.extend(format!("{:x}-{:x} r--p 0 0:0 0\n", index, index + 1).bytes());
        }
        assert_eq!(parse(&contents).unwrap_err().line, MAPPINGS_MAX + 1);
    }

    #[test]
    fn our_own_mappings_are_read() {
        let mappings = read(std::process::id()).unwrap();
        assert!(
            mappings
                .iter()
                .any(|mapping| mapping.kind == MappingKind::Stack)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(contents in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&contents);
        }

        #[test]
        fn a_file_cut_anywhere_is_survived(length in 0..CAT.len()) {
            if let Ok(mappings) = parse(&CAT[..length]) {
                prop_assert!(mappings.iter().all(|mapping| mapping.start < mapping.end));
            }
        }

        #[test]
        fn any_name_leaves_the_other_columns_alone(name in "[^\n]{0,80}") {
            let line = format!("1000-3000 rw-s 00004000 fe:0a 99                   {name}");
            let mapping = parse_line(line.as_bytes()).unwrap();
            prop_assert_eq!((mapping.start, mapping.end), (0x1000, 0x3000));
            prop_assert!(mapping.read && mapping.write && !mapping.execute && mapping.shared);
            prop_assert_eq!((mapping.offset, mapping.device, mapping.inode), (0x4000, (0xfe, 10), 99));
            prop_assert!(!mapping.kind.to_string().chars().any(char::is_control));
        }
    }
}
