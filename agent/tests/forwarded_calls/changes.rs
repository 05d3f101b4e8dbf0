//! Calls that change something: what they read of the program's memory arrives whole.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, symlink};

use crate::descriptors::{AT_FDCWD, Directory, fd};
use crate::harness::Expect::{Same, Success, Whatever};
use crate::harness::{Guest, number, verify};
use crate::sys;

/// "No change" of an id.
const KEEP: u64 = u32::MAX as u64;

/// Makes a call of names in a directory that is as at the beginning each time: a file `a`, a directory `d`, a link
/// `l`, and no `b`.
fn verify_names(name: &str, arguments: impl Fn(&mut Guest, &Directory) -> [u64; 6]) {
    let directory = Directory::new(name);
    verify(name, Success, |guest| {
        directory.clear();
        fs::write(directory.path("a"), b"the godwit flies south").unwrap();
        fs::create_dir(directory.path("d")).unwrap();
        symlink("a", directory.path("l")).unwrap();
        arguments(guest, &directory)
    });
}

#[test]
fn names_of_one_file_arrive_whole() {
    let plain = [
        ("open", "a", 0, 0),
        ("creat", "b", 0o644, 0),
        ("mkdir", "b", 0o755, 0),
        ("rmdir", "d", 0, 0),
        ("unlink", "a", 0, 0),
        ("mknod", "b", 0o010_600, 0),
        ("chmod", "a", 0o600, 0),
        ("chown", "a", KEEP, KEEP),
        ("lchown", "l", KEEP, KEEP),
        ("truncate", "a", 3, 0),
    ];
    for (name, file, second, third) in plain {
        verify_names(name, |guest, directory| {
            [guest.text(&directory.path(file)), second, third, 0, 0, 0]
        });
    }
    verify("chdir", Same, |guest| [guest.text("."), 0, 0, 0, 0, 0]);
    let relative = [
        ("openat", "a", 0, 0, 0),
        ("mkdirat", "b", 0o755, 0, 0),
        ("unlinkat", "a", 0, 0, 0),
        ("mknodat", "b", 0o010_600, 0, 0),
        ("fchmodat", "a", 0o600, 0, 0),
        ("fchownat", "a", KEEP, KEEP, 0),
        ("faccessat", "a", 4, 0, 0),
    ];
    for (name, file, third, fourth, fifth) in relative {
        verify_names(name, |guest, directory| {
            [
                AT_FDCWD,
                guest.text(&directory.path(file)),
                third,
                fourth,
                fifth,
                0,
            ]
        });
    }
    // Not in every kernel.
    let directory = Directory::new("fchmodat2");
    directory.file("a");
    verify("fchmodat2", Whatever, |guest| {
        [AT_FDCWD, guest.text(&directory.path("a")), 0o600, 0, 0, 0]
    });
    verify("chroot", Whatever, |guest| [guest.text("/"), 0, 0, 0, 0, 0]);
    verify("umount2", Whatever, |guest| {
        [guest.text("/nonexistent/place"), 0, 0, 0, 0, 0]
    });
}

#[test]
fn names_of_two_files_arrive_whole() {
    for name in ["rename", "link"] {
        verify_names(name, |guest, directory| {
            let [from, to] = ["a", "b"].map(|file| guest.text(&directory.path(file)));
            [from, to, 0, 0, 0, 0]
        });
    }
    for name in ["renameat", "renameat2", "linkat"] {
        verify_names(name, |guest, directory| {
            let [from, to] = ["a", "b"].map(|file| guest.text(&directory.path(file)));
            [AT_FDCWD, from, AT_FDCWD, to, 0, 0]
        });
    }
    verify_names("symlink", |guest, directory| {
        [
            guest.text("a target"),
            guest.text(&directory.path("b")),
            0,
            0,
            0,
            0,
        ]
    });
    verify_names("symlinkat", |guest, directory| {
        [
            guest.text("a target"),
            AT_FDCWD,
            guest.text(&directory.path("b")),
            0,
            0,
            0,
        ]
    });
}

#[test]
fn times_are_set_to_what_was_asked_for() {
    let directory = Directory::new("times");
    directory.file("a");
    let path = directory.path("a");
    let modified = || {
        let file = fs::metadata(&path).unwrap();
        (file.mtime(), file.mtime_nsec())
    };
    verify("utime", Same, |guest| {
        [guest.text(&path), guest.numbers(&[1000, 2001]), 0, 0, 0, 0]
    });
    assert_eq!(modified(), (2001, 0));
    verify("utimes", Same, |guest| {
        [
            guest.text(&path),
            guest.numbers(&[1000, 5, 2002, 7]),
            0,
            0,
            0,
            0,
        ]
    });
    assert_eq!(modified(), (2002, 7000));
    verify("futimesat", Same, |guest| {
        [
            AT_FDCWD,
            guest.text(&path),
            guest.numbers(&[1000, 5, 2003, 9]),
            0,
            0,
            0,
        ]
    });
    assert_eq!(modified(), (2003, 9000));
    verify("utimensat", Same, |guest| {
        [
            AT_FDCWD,
            guest.text(&path),
            guest.numbers(&[1000, 5, 2004, 11]),
            0,
            0,
            0,
        ]
    });
    assert_eq!(modified(), (2004, 11));
}

#[test]
fn extended_attributes_of_all_forms_arrive_and_come_back() {
    let directory = Directory::new("attributes");
    let file = directory.file("a");
    let (path, descriptor) = (directory.path("a"), fd(&file));
    let value = b"limosa lapponica";
    let name = "user.bird";
    verify("lsetxattr", Whatever, |guest| {
        [
            guest.text(&path),
            guest.text(name),
            guest.put(value),
            16,
            0,
            0,
        ]
    });
    verify("fsetxattr", Whatever, |guest| {
        [descriptor, guest.text(name), guest.put(value), 16, 0, 0]
    });
    let args_of = |guest: &mut Guest, value: u64| guest.numbers(&[value, 16]);
    verify("setxattrat", Whatever, |guest| {
        let value = guest.put(value);
        [
            AT_FDCWD,
            guest.text(&path),
            0,
            guest.text(name),
            args_of(guest, value),
            16,
        ]
    });
    for (call, first) in [("lgetxattr", None), ("fgetxattr", Some(descriptor))] {
        for room in [0, 4, 16, 64] {
            verify(call, Whatever, |guest| {
                let first = first.unwrap_or_else(|| guest.text(&path));
                [first, guest.text(name), guest.room(64), room, 0, 0]
            });
        }
    }
    for (call, first) in [("llistxattr", None), ("flistxattr", Some(descriptor))] {
        verify(call, Whatever, |guest| {
            let first = first.unwrap_or_else(|| guest.text(&path));
            [first, guest.room(64), 64, 0, 0, 0]
        });
    }
    verify("listxattrat", Whatever, |guest| {
        [AT_FDCWD, guest.text(&path), 0, guest.room(64), 64, 0]
    });
    for call in ["removexattr", "lremovexattr"] {
        verify(call, Whatever, |guest| {
            [guest.text(&path), guest.text(name), 0, 0, 0, 0]
        });
    }
    verify("fremovexattr", Whatever, |guest| {
        [descriptor, guest.text(name), 0, 0, 0, 0]
    });
    verify("removexattrat", Whatever, |guest| {
        [AT_FDCWD, guest.text(&path), 0, guest.text(name), 0, 0]
    });
    verify("file_setattr", Whatever, |guest| {
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
fn handles_open_what_they_name() {
    let directory = Directory::new("handles");
    directory.file("a");
    let place = File::open(&directory.0).unwrap();
    let mut handle = [0_u8; 136];
    handle[0] = 128;
    let mut mount = [0_u8; 8];
    let path = format!("{}\0", directory.path("a"));
    let args = [
        AT_FDCWD,
        path.as_ptr() as u64,
        handle.as_mut_ptr() as u64,
        mount.as_mut_ptr() as u64,
        0,
        0,
    ];
    let named = sys::call(number("name_to_handle_at"), &args);
    verify("open_by_handle_at", Whatever, |guest| {
        assert!(named <= 0);
        [fd(&place), guest.put(&handle), 0, 0, 0, 0]
    });
}

#[test]
fn watches_and_signal_sets_arrive_whole() {
    let directory = Directory::new("watches");
    let inotify = sys::call(number("inotify_init1"), &[0; 6]).unsigned_abs();
    verify("inotify_add_watch", Same, |guest| {
        [inotify, guest.text(&directory.path("")), 0xfff, 0, 0, 0]
    });
    let fanotify = sys::call(number("fanotify_init"), &[0; 6]);
    verify("fanotify_mark", Whatever, |guest| {
        let path = guest.text(&directory.path(""));
        [fanotify.cast_unsigned(), 1, 2, AT_FDCWD, path, 0]
    });
    for name in ["signalfd", "signalfd4"] {
        verify(name, Success, |guest| {
            [u64::MAX, guest.numbers(&[1 << 9]), 8, 0, 0, 0]
        });
    }
    verify("memfd_create", Success, |guest| {
        [guest.text("a name"), 1, 0, 0, 0, 0]
    });
    verify("pipe", Success, |guest| [guest.room(8), 0, 0, 0, 0, 0]);
    verify("ustat", Whatever, |guest| {
        [0x800, guest.room(32), 0, 0, 0, 0]
    });
    verify("syslog", Whatever, |guest| {
        [3, guest.room(1000), 1000, 0, 0, 0]
    });
}

#[test]
fn queues_and_keys_are_made_by_their_names() {
    let name = format!("limosa-calls-{}", std::process::id());
    let unlink = || {
        let name = format!("{name}\0");
        sys::call(number("mq_unlink"), &[name.as_ptr() as u64, 0, 0, 0, 0, 0])
    };
    verify("mq_open", Whatever, |guest| {
        unlink();
        let attributes = guest.numbers(&[0, 3, 128, 0, 0, 0, 0, 0]);
        [guest.text(&name), 0o102, 0o600, attributes, 0, 0]
    });
    verify("mq_unlink", Whatever, |guest| {
        [guest.text(&name), 0, 0, 0, 0, 0]
    });
    // KEY_SPEC_PROCESS_KEYRING.
    const KEYRING: u64 = -2_i64 as u64;
    verify("add_key", Whatever, |guest| {
        let (kind, description) = (guest.text("user"), guest.text("limosa-calls"));
        [kind, description, guest.put(b"godwit"), 6, KEYRING, 0]
    });
    verify("request_key", Whatever, |guest| {
        [guest.text("user"), guest.text("limosa-calls"), 0, 0, 0, 0]
    });
    // KEYCTL_SEARCH, KEYCTL_DESCRIBE, KEYCTL_READ.
    verify("keyctl", Whatever, |guest| {
        let (kind, description) = (guest.text("user"), guest.text("limosa-calls"));
        [10, KEYRING, kind, description, 0, 0]
    });
    for command in [6, 11] {
        verify("keyctl", Whatever, |guest| {
            [command, KEYRING, guest.room(64), 64, 0, 0]
        });
    }
}

#[test]
fn who_the_thread_is_can_be_said_again() {
    let mut groups = [0_u32; 64];
    let args = [64, groups.as_mut_ptr() as u64, 0, 0, 0, 0];
    let count = sys::call(number("getgroups"), &args).unsigned_abs();
    let bytes: Vec<u8> = groups
        .iter()
        .flat_map(|group| group.to_le_bytes())
        .collect();
    verify("setgroups", Whatever, |guest| {
        [count, guest.put(&bytes), 0, 0, 0, 0]
    });
    let header = 0x2008_0522_u64;
    let mut data = [0_u8; 24];
    let args = [
        (&raw const header) as u64,
        data.as_mut_ptr() as u64,
        0,
        0,
        0,
        0,
    ];
    assert_eq!(sys::call(number("capget"), &args), 0);
    verify("capset", Same, |guest| {
        [guest.numbers(&[header]), guest.put(&data), 0, 0, 0, 0]
    });
    let mut limit = [0_u64; 2];
    // RLIMIT_CORE.
    sys::call(
        number("getrlimit"),
        &[4, limit.as_mut_ptr() as u64, 0, 0, 0, 0],
    );
    verify("setrlimit", Same, |guest| {
        [4, guest.numbers(&limit), 0, 0, 0, 0]
    });
    for (name, file) in [("sethostname", "hostname"), ("setdomainname", "domainname")] {
        let text = fs::read_to_string(format!("/proc/sys/kernel/{file}")).unwrap();
        let text = text.trim_end().as_bytes().to_vec();
        verify(name, Whatever, |guest| {
            [guest.put(&text), text.len() as u64, 0, 0, 0, 0]
        });
    }
    // Signal 0 is only checked, not sent. SI_QUEUE is -1.
    let pid = u64::from(std::process::id());
    let mut info = [0_u8; 128];
    info[8..12].fill(0xff);
    verify("rt_sigqueueinfo", Same, |guest| {
        [pid, 0, guest.put(&info), 0, 0, 0]
    });
    verify("rt_tgsigqueueinfo", Same, |guest| {
        [pid, pid, 0, guest.put(&info), 0, 0]
    });
}

#[test]
fn clocks_of_a_process_come_back() {
    // MAKE_PROCESS_CPUCLOCK(0, CPUCLOCK_SCHED) of linux/posix-timers.h.
    let clock = u64::from(!0_u32 << 3 | 2);
    for name in ["clock_gettime", "clock_getres"] {
        verify(name, Success, |guest| [clock, guest.room(16), 0, 0, 0, 0]);
    }
}

#[test]
fn what_the_cpu_does_for_the_process_comes_back() {
    // ARCH_GET_XCOMP_SUPP, ARCH_GET_XCOMP_PERM, ARCH_SHSTK_STATUS.
    for option in [0x1021, 0x1022, 0x5005] {
        verify("arch_prctl", Whatever, |guest| {
            [option, guest.room(8), 0, 0, 0, 0]
        });
    }
}

#[test]
fn rules_of_landlock_arrive_whole() {
    let attributes = [1_u64, 0];
    let args = [attributes.as_ptr() as u64, 8, 0, 0, 0, 0];
    let rules = sys::call(number("landlock_create_ruleset"), &args);
    verify("landlock_create_ruleset", Whatever, |guest| {
        [guest.numbers(&attributes), 8, 0, 0, 0, 0]
    });
    let root = File::open("/").unwrap();
    let mut rule = [0_u8; 12];
    rule[0] = 1;
    rule[8..].copy_from_slice(&root.as_raw_fd().to_le_bytes());
    verify("landlock_add_rule", Whatever, |guest| {
        [rules.cast_unsigned(), 1, guest.put(&rule), 0, 0, 0]
    });
    verify("lsm_set_self_attr", Whatever, |guest| {
        [100, guest.numbers(&[0, 0, 32, 0]), 32, 0, 0, 0]
    });
}

#[test]
fn addresses_of_sockets_arrive_and_come_back() {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    // sockaddr_un with an abstract name.
    let address = || {
        let unique = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut bytes = vec![1, 0, 0];
        bytes.extend_from_slice(format!("limosa-{}-{unique}", std::process::id()).as_bytes());
        bytes
    };
    verify("bind", Success, |guest| {
        let socket = sys::call(number("socket"), &[1, 1, 0, 0, 0, 0]).unsigned_abs();
        let address = address();
        [socket, guest.put(&address), address.len() as u64, 0, 0, 0]
    });
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let mut clients = Vec::new();
    for name in ["accept", "accept4"] {
        verify(name, Success, |guest| {
            clients.push(std::net::TcpStream::connect(target).unwrap());
            [
                fd(&listener),
                guest.room(32),
                guest.put(&32_u32.to_le_bytes()),
                0,
                0,
                0,
            ]
        });
    }
}
