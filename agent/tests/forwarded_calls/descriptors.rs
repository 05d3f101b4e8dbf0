//! Files, directories, events, terminals.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use crate::harness::Expect::{Error, Padded, Same, Success, Whatever};
use crate::harness::{Guest, verify};
use crate::sys;

pub(crate) const AT_FDCWD: u64 = -100_i64 as u64;

/// A directory of its own for a test, gone with it.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("limosa-calls-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Directory(path)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// Empties it.
    pub(crate) fn clear(&self) {
        fs::remove_dir_all(&self.0).unwrap();
        fs::create_dir(&self.0).unwrap();
    }

    /// A file with known contents, open for reading and writing.
    pub(crate) fn file(&self, name: &str) -> File {
        let path = self.path(name);
        fs::write(&path, b"the godwit flies south").unwrap();
        File::options().read(true).write(true).open(path).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn fd(file: &impl AsRawFd) -> u64 {
    u64::try_from(file.as_raw_fd()).unwrap()
}

fn vector(guest: &mut Guest, lengths: &[usize]) -> u64 {
    let entries: Vec<u64> = lengths
        .iter()
        .flat_map(|&length| [guest.put(&vec![b'.'; length]), length as u64])
        .collect();
    guest.numbers(&entries)
}

#[test]
fn reading_brings_exactly_what_was_read() {
    let directory = Directory::new("reading");
    let mut file = directory.file("a");
    let descriptor = fd(&file);
    let mut rewind = || file.seek(SeekFrom::Start(4)).unwrap();
    verify("read", Same, |guest| {
        rewind();
        [descriptor, guest.room(100), 100, 0, 0, 0]
    });
    verify("readv", Same, |guest| {
        rewind();
        [descriptor, vector(guest, &[5, 0, 7, 100]), 4, 0, 0, 0]
    });
    verify("pread64", Same, |guest| {
        [descriptor, guest.room(10), 10, 4, 0, 0]
    });
    verify("preadv", Same, |guest| {
        [descriptor, vector(guest, &[3, 9]), 2, 1, 0, 0]
    });
    verify("preadv2", Same, |guest| {
        [descriptor, vector(guest, &[3, 90]), 2, 1, 0, 0]
    });
    verify("read", Error(libc::EBADF), |guest| {
        [9999, guest.room(8), 8, 0, 0, 0]
    });
}

#[test]
fn writing_carries_exactly_what_is_written() {
    let directory = Directory::new("writing");
    let mut file = directory.file("a");
    let descriptor = fd(&file);
    file.set_len(0).unwrap();
    verify("write", Same, |guest| {
        [descriptor, guest.put(b"limosa"), 6, 0, 0, 0]
    });
    verify("writev", Same, |guest| {
        [descriptor, vector(guest, &[2, 0, 1]), 3, 0, 0, 0]
    });
    verify("pwrite64", Same, |guest| {
        [descriptor, guest.put(b"LIM"), 3, 0, 0, 0]
    });
    verify("pwritev", Same, |guest| {
        [descriptor, vector(guest, &[1]), 1, 1, 0, 0]
    });
    verify("pwritev2", Same, |guest| {
        [descriptor, vector(guest, &[1]), 1, 2, 0, 0]
    });
    let mut contents = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut contents).unwrap();
    assert_eq!(contents, "L..osalimosalimosalimosa............");
}

#[test]
fn offsets_move_on_when_data_passes_between_descriptors() {
    let directory = Directory::new("passing");
    let (from, to) = (directory.file("from"), directory.file("to"));
    let (from, to) = (fd(&from), fd(&to));
    verify("sendfile", Same, |guest| {
        [to, from, guest.numbers(&[3]), 5, 0, 0]
    });
    verify("copy_file_range", Same, |guest| {
        [from, guest.numbers(&[2]), to, guest.numbers(&[1]), 4, 0]
    });
    let (reader, writer) = std::io::pipe().unwrap();
    verify("splice", Same, |guest| {
        [from, guest.numbers(&[1]), fd(&writer), 0, 5, 0]
    });
    drop(reader);
}

#[test]
fn what_is_known_of_files_comes_back_whole() {
    let directory = Directory::new("asking");
    let file = directory.file("a");
    let descriptor = fd(&file);
    let (path, link) = (directory.path("a"), directory.path("link"));
    std::os::unix::fs::symlink("a target", &link).unwrap();
    for name in ["stat", "lstat"] {
        verify(name, Same, |guest| {
            [guest.text(&path), guest.room(200), 0, 0, 0, 0]
        });
    }
    verify("fstat", Same, |guest| {
        [descriptor, guest.room(200), 0, 0, 0, 0]
    });
    verify("newfstatat", Same, |guest| {
        [AT_FDCWD, guest.text(&path), guest.room(200), 0, 0, 0]
    });
    verify("statx", Same, |guest| {
        [AT_FDCWD, guest.text(&path), 0, 0xfff, guest.room(300), 0]
    });
    verify("statfs", Success, |guest| {
        [guest.text(&path), guest.room(200), 0, 0, 0, 0]
    });
    verify("fstatfs", Success, |guest| {
        [descriptor, guest.room(200), 0, 0, 0, 0]
    });
    verify("access", Same, |guest| [guest.text(&path), 4, 0, 0, 0, 0]);
    verify("faccessat2", Same, |guest| {
        [AT_FDCWD, guest.text(&path), 4, 0, 0, 0]
    });
    verify("readlink", Same, |guest| {
        [guest.text(&link), guest.room(100), 100, 0, 0, 0]
    });
    verify("readlinkat", Same, |guest| {
        [AT_FDCWD, guest.text(&link), guest.room(4), 4, 0, 0]
    });
    verify("getcwd", Same, |guest| [guest.room(4096), 4096, 0, 0, 0, 0]);
    verify("stat", Error(libc::ENOENT), |guest| {
        [guest.text("/no such file"), guest.room(200), 0, 0, 0, 0]
    });
    verify("cachestat", Whatever, |guest| {
        [descriptor, guest.numbers(&[0, 0]), guest.room(100), 0, 0, 0]
    });
    verify("file_getattr", Whatever, |guest| {
        [AT_FDCWD, guest.text(&path), guest.room(100), 24, 0, 0]
    });
    verify("name_to_handle_at", Whatever, |guest| {
        let mut handle = [0x11; 136];
        handle[..4].copy_from_slice(&128_u32.to_le_bytes());
        [
            AT_FDCWD,
            guest.text(&path),
            guest.put(&handle),
            guest.room(4),
            0,
            0,
        ]
    });
    verify("openat2", Success, |guest| {
        [
            AT_FDCWD,
            guest.text(&path),
            guest.numbers(&[0, 0, 0]),
            24,
            0,
            0,
        ]
    });
}

#[test]
fn directories_and_attributes_bring_what_the_result_counts() {
    let directory = Directory::new("listing");
    directory.file("a");
    directory.file("another");
    let listed = File::open(&directory.0).unwrap();
    for name in ["getdents64", "getdents"] {
        verify(name, Padded, |guest| {
            (&listed).rewind().unwrap();
            [fd(&listed), guest.room(1000), 1000, 0, 0, 0]
        });
    }
    let path = directory.path("a");
    verify("setxattr", Whatever, |guest| {
        [
            guest.text(&path),
            guest.text("user.bird"),
            guest.put(b"godwit"),
            6,
            0,
            0,
        ]
    });
    verify("getxattr", Whatever, |guest| {
        [
            guest.text(&path),
            guest.text("user.bird"),
            guest.room(64),
            64,
            0,
            0,
        ]
    });
    verify("getxattrat", Whatever, |guest| {
        let value = guest.room(64);
        let args = guest.numbers(&[value, 64]);
        [
            AT_FDCWD,
            guest.text(&path),
            0,
            guest.text("user.bird"),
            args,
            16,
        ]
    });
    verify("listxattr", Whatever, |guest| {
        [guest.text(&path), guest.room(64), 64, 0, 0, 0]
    });
    verify("statmount", Whatever, |guest| {
        [
            guest.numbers(&[24, u64::MAX, 0]),
            guest.room(512),
            512,
            0,
            0,
            0,
        ]
    });
    // LSMT_ROOT is all ones.
    verify("listmount", Whatever, |guest| {
        [
            guest.numbers(&[24, u64::MAX, 0]),
            guest.room(512),
            64,
            0,
            0,
            0,
        ]
    });
}

#[test]
fn locks_owners_and_flags_go_by_their_command() {
    let directory = Directory::new("commands");
    let file = directory.file("a");
    let descriptor = fd(&file);
    for (command, lock_type) in [(5, 1), (36, 1), (6, 1), (6, 2), (37, 0), (37, 2)] {
        verify("fcntl", Same, |guest| {
            let lock = guest.numbers(&[lock_type, 0, 10, 0]);
            [descriptor, command, lock, 0, 0, 0]
        });
    }
    verify("fcntl", Same, |_| [descriptor, 3, 0, 0, 0, 0]);
    verify("fcntl", Same, |guest| {
        [descriptor, 16, guest.room(8), 0, 0, 0]
    });
    verify("fcntl", Whatever, |guest| {
        [descriptor, 1035, guest.room(8), 0, 0, 0]
    });
    // FIGETBSZ, FS_IOC_GETFLAGS, FS_IOC_FSGETXATTR, FIOQSIZE, BLKGETSIZE64 (which no plain file has).
    for request in [2, 0x8008_6601, 0x801c_581f, 0x5460, 0x8008_1272] {
        verify("ioctl", Whatever, |guest| {
            [descriptor, request, guest.room(64), 0, 0, 0]
        });
    }
}

#[test]
fn terminals_answer_with_their_own_sizes() {
    let control = File::options()
        .read(true)
        .write(true)
        .open("/dev/ptmx")
        .unwrap();
    let descriptor = fd(&control);
    // TCGETS, TCGETS2, TCGETA, TIOCGWINSZ, TIOCGPTN, TIOCGPTLCK, TIOCGPKT, TIOCOUTQ, FIONREAD, TIOCGEXCL.
    for request in [
        0x5401,
        0x802c_542a,
        0x5405,
        0x5413,
        0x8004_5430,
        0x8004_5439,
        0x8004_5438,
        0x5411,
        0x541b,
        0x8004_5440,
    ] {
        verify("ioctl", Same, |guest| {
            [descriptor, request, guest.room(100), 0, 0, 0]
        });
    }
    // TIOCSPTLCK, TIOCPKT, FIONBIO with 0; TIOCSWINSZ.
    for request in [0x4004_5431, 0x5420, 0x5421] {
        verify("ioctl", Same, |guest| {
            [descriptor, request, guest.numbers(&[0]), 0, 0, 0]
        });
    }
    verify("ioctl", Same, |guest| {
        [
            descriptor,
            0x5414,
            guest.put(&[24, 0, 80, 0, 0, 0, 0, 0]),
            0,
            0,
            0,
        ]
    });
    let mut size = [0_u8; 8];
    assert_eq!(
        sys::call(16, &[descriptor, 0x5413, size.as_mut_ptr() as u64, 0, 0, 0]),
        0
    );
    assert_eq!(size, [24, 0, 80, 0, 0, 0, 0, 0]);
}

#[test]
fn waiting_for_descriptors_tells_which_and_how_long() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    let (ready, free) = (fd(&reader), fd(&writer));
    let entries = [ready | 1 << 32, free | 4 << 32, 1 << 32 | 0xffff_ffff];
    verify("poll", Same, |guest| {
        [guest.numbers(&entries), 3, 0, 0, 0, 0]
    });
    verify("ppoll", Success, |guest| {
        [
            guest.numbers(&entries),
            3,
            guest.numbers(&[1, 0]),
            guest.numbers(&[0]),
            8,
            0,
        ]
    });
    let set = [1 << ready, 0];
    verify("select", Success, |guest| {
        let [first, second] = [guest.numbers(&set), guest.numbers(&set)];
        [ready + 1, first, second, 0, guest.numbers(&[1, 0]), 0]
    });
    verify("pselect6", Success, |guest| {
        let mask = guest.numbers(&[0]);
        let pack = guest.numbers(&[mask, 8]);
        [
            ready + 1,
            guest.numbers(&set),
            0,
            0,
            guest.numbers(&[1, 0]),
            pack,
        ]
    });
    let interest = u64::try_from(sys::call(291, &[0; 6])).unwrap();
    let mut event = [0_u8; 12];
    event[0] = 1;
    event[4..].fill(7);
    let mut first = true;
    verify("epoll_ctl", Same, |guest| {
        // EPOLL_CTL_ADD, then EPOLL_CTL_MOD.
        let operation = if std::mem::take(&mut first) { 1 } else { 3 };
        [interest, operation, ready, guest.put(&event), 0, 0]
    });
    verify("epoll_wait", Same, |guest| {
        [interest, guest.room(120), 10, 0, 0, 0]
    });
    verify("epoll_pwait", Same, |guest| {
        [interest, guest.room(120), 10, 0, guest.numbers(&[0]), 8]
    });
    verify("epoll_pwait2", Same, |guest| {
        [
            interest,
            guest.room(120),
            10,
            guest.numbers(&[0, 0]),
            guest.numbers(&[0]),
            8,
        ]
    });
    let timer = u64::try_from(sys::call(283, &[1, 0, 0, 0, 0, 0])).unwrap();
    verify("timerfd_settime", Success, |guest| {
        [
            timer,
            0,
            guest.numbers(&[0, 0, 1000, 0]),
            guest.room(32),
            0,
            0,
        ]
    });
    verify("timerfd_gettime", Success, |guest| {
        [timer, guest.room(32), 0, 0, 0, 0]
    });
    for descriptor in [interest, timer] {
        assert_eq!(sys::call(3, &[descriptor, 0, 0, 0, 0, 0]), 0);
    }
}

#[test]
fn pairs_of_descriptors_come_back() {
    verify("pipe2", Success, |guest| {
        [guest.room(8), 0o2_000_000, 0, 0, 0, 0]
    });
    verify("socketpair", Success, |guest| {
        [1, 1, 0, guest.room(8), 0, 0]
    });
}
