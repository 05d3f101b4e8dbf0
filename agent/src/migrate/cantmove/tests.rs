//! What keeps a process home: judged from recorded files, and seen in real processes.

use super::*;
use crate::process::auxv::{self, Entry};
use crate::process::descriptors::Descriptor;
use crate::process::{smaps, stat, status};
use crate::sys::probe::{Capabilities, Feature};
use proptest::prelude::*;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

/// What was recorded of an ordinary `sleep`.
fn sleep() -> Observation {
    Observation {
        status: status::parse(include_bytes!("../../process/fixtures/status-sleep")).unwrap(),
        stat: stat::parse(include_bytes!("../../process/fixtures/stat-sleep")).unwrap(),
        threads: vec![Thread {
            tid: 20255,
            state: State::Sleeping,
            scheduling_policy: 0,
            seccomp_mode: 0,
            tracer: 0,
        }],
        mappings: smaps::parse(include_bytes!("../../process/fixtures/smaps-sleep")).unwrap(),
        shared: Vec::new(),
        descriptors: vec![Descriptor {
            number: 0,
            target: Target::parse(b"/dev/null"),
        }],
        auxiliary_vector: auxv::parse(include_bytes!("../../process/fixtures/auxv-sleep")).unwrap(),
        program: Program {
            path: "/usr/bin/sleep".into(),
            word: Some(Word::Bits64),
        },
        tracer: None,
        namespaces: Namespaces {
            same_pid: true,
            same_time: true,
        },
        shares_memory_with: None,
        personality: 0,
    }
}

/// The codes of the reasons against `sleep` with a change.
fn codes_with(change: impl FnOnce(&mut Observation)) -> Vec<String> {
    let mut observation = sleep();
    change(&mut observation);
    codes(observation.reasons())
}

fn codes(reasons: Vec<Reason>) -> Vec<String> {
    reasons.into_iter().map(|reason| reason.code).collect()
}

/// The reasons against `sleep` with one more mapping: its line of maps, and lines of smaps below.
fn reasons_with_mapping(lines: &str) -> Vec<Reason> {
    let mut observation = sleep();
    observation
        .mappings
        .extend(smaps::parse(lines.as_bytes()).unwrap());
    observation.reasons()
}

#[test]
fn an_ordinary_program_can_move() {
    assert_eq!(sleep().reasons(), []);
}

#[test]
fn a_kernel_thread_and_a_zombie_get_one_reason_only() {
    let thread = codes_with(|seen| {
        seen.stat.flags = 0x0420_8040;
        seen.program.word = None;
    });
    assert_eq!(thread, ["kernel-thread"]);
    let zombie = codes_with(|seen| {
        seen.status.state = State::Zombie;
        seen.program.word = None;
    });
    assert_eq!(zombie, ["ended"]);
}

#[test]
fn each_state_that_keeps_a_process_home_is_told_by_its_code() {
    type Change = fn(&mut Observation);
    let changes: [(&str, Change); 13] = [
        ("traced", |seen| {
            seen.tracer = Some(Tracer {
                pid: 7,
                name: "strace".into(),
            });
        }),
        ("seccomp", |seen| seen.threads[0].seccomp_mode = 2),
        ("not-64-bit", |seen| seen.program.word = Some(Word::Bits32)),
        ("not-64-bit", |seen| seen.program.word = Some(Word::X32)),
        ("not-64-bit", |seen| seen.program.word = None),
        ("setuid", |seen| {
            seen.auxiliary_vector.push(Entry {
                key: KEY_SECURE,
                value: 1,
            });
        }),
        ("tagged-addresses", |seen| {
            seen.status.untag_mask = u64::MAX >> 7;
        }),
        ("pid-namespace", |seen| seen.namespaces.same_pid = false),
        ("time-namespace", |seen| seen.namespaces.same_time = false),
        ("memory-of-two-processes", |seen| {
            seen.shares_memory_with = Some(8);
        }),
        ("personality", |seen| seen.personality = 0x0040_0000),
        ("realtime", |seen| seen.threads[0].scheduling_policy = 1),
        ("device-wait", |seen| {
            seen.threads[0].state = State::DiskSleep;
        }),
    ];
    for (code, change) in changes {
        assert_eq!(codes_with(change), [code]);
    }
}

#[test]
fn users_and_capabilities_are_homes_affair() {
    let found = codes_with(|seen| {
        seen.status.user.saved = 1000;
        seen.status.group.effective = 50;
    });
    assert!(found.is_empty(), "{found:?}");
    let found = codes_with(|seen| {
        seen.status.user = status::Ids {
            real: 1000,
            effective: 1000,
            saved: 1000,
            file_system: 1000,
        };
    });
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_process_started_by_setarch_with_fixed_addresses_can_move() {
    assert!(codes_with(|seen| seen.personality = 0x0004_0000).is_empty());
}

#[test]
fn each_mapping_that_keeps_a_process_home_is_told_by_its_code() {
    for (code, lines) in [
        (
            "shared-memory",
            "1000-2000 rw-s 0 00:01 5 /dev/zero (deleted)\nVmFlags: rd wr sh mr mw me ms",
        ),
        (
            "shared-memory",
            "1000-2000 r--s 0 00:01 5 /memfd:x (deleted)\nVmFlags: rd sh mr mw me ms",
        ),
        (
            "shared-memory",
            "1000-2000 rw-s 0 00:01 5 /SYSV0000002a (deleted)\nVmFlags: rd wr sh",
        ),
        (
            "shared-memory",
            "1000-2000 rw-s 0 00:01 5 [anon_shmem:queue]\nVmFlags: rd wr sh",
        ),
        (
            "shared-file",
            "1000-2000 rw-s 0 fe:00 5 /tmp/data\nVmFlags: rd wr sh mr mw me ms",
        ),
        (
            "shared-file",
            "1000-2000 r--s 0 fe:00 5 /tmp/data\nVmFlags: rd sh mr mw me ms",
        ),
        (
            "shared-file",
            "1000-2000 rw-s 0 fe:00 5 /dev/shm/data\nVmFlags: rd wr sh mr mw me ms",
        ),
        (
            "asynchronous-io",
            "1000-2000 rw-s 0 00:0e 5 /[aio] (deleted)\nVmFlags: rd wr sh",
        ),
        (
            "device-memory",
            "1000-2000 rw-s 0 00:06 5 /dev/mem\nVmFlags: rd wr sh pf io",
        ),
        (
            "device-memory",
            "1000-2000 rw-p 0 00:06 5 /dev/fb0\nVmFlags: rd wr",
        ),
        (
            "device-memory",
            "1000-2000 rw-s 0 00:00 5 /sys/bus/pci/x\nVmFlags: rd wr sh pf",
        ),
        (
            "huge-pages",
            "1000-2000 rw-p 0 00:0f 5 /anon_hugepage (deleted)\nVmFlags: rd wr ht",
        ),
        (
            "sealed-memory",
            "1000-2000 r--p 0 00:00 0 \nVmFlags: rd mr sl",
        ),
        (
            "userfaultfd",
            "1000-2000 rw-p 0 00:00 0 \nVmFlags: rd wr um",
        ),
        (
            "userfaultfd",
            "1000-2000 rw-p 0 00:00 0 \nVmFlags: rd wr uw",
        ),
        (
            "shadow-stack",
            "1000-2000 rw-p 0 00:00 0 \nVmFlags: rd wr ss",
        ),
        (
            "protection-keys",
            "1000-2000 rw-p 0 00:00 0 \nProtectionKey: 3\nVmFlags: rd wr",
        ),
        (
            "high-addresses",
            "1000000000000-1000000001000 rw-p 0 00:00 0 \nVmFlags: rd wr",
        ),
        (
            "unknown-mapping",
            "1000-2000 --xp 0 00:00 0 [uprobes]\nVmFlags: ex",
        ),
        (
            "unknown-mapping",
            "1000-2000 rw-s 0 00:0e 5 anon_inode:[perf_event]\nVmFlags: rd wr sh",
        ),
    ] {
        assert_eq!(codes(reasons_with_mapping(lines)), [code], "{lines}");
    }
}

#[test]
fn mappings_that_travel_as_copies_are_no_obstacle() {
    for lines in [
        "1000-2000 r--s 0 fe:00 5 /usr/lib/gconv/gconv-modules.cache\nVmFlags: rd mr me ms",
        "1000-2000 rw-p 0 fe:00 5 /tmp/data\nVmFlags: rd wr mr mw me",
        "1000-2000 rw-p 0 00:06 5 /dev/zero\nVmFlags: rd wr mr mw me",
        "1000-2000 rw-p 0 00:01 5 /memfd:program (deleted)\nVmFlags: rd wr mr mw me",
        "1000-2000 r-xp 0 fe:00 5 /usr/lib/x.so (deleted)\nVmFlags: rd ex mr mw me",
        "1000-2000 r-xp 0 fe:00 5 /mnt/dax/x.so\nVmFlags: rd ex mr mw me mm",
        "1000-2000 rw-p 0 00:00 0 [anon:arena]\nVmFlags: rd wr mr mw me lo",
        "1000-2000 r--p 0 00:00 0 [vvar]\nVmFlags: rd mr pf io de dd sl",
    ] {
        assert_eq!(reasons_with_mapping(lines), [], "{lines}");
    }
}

#[test]
fn a_reason_names_the_first_mapping_and_counts_the_others() {
    let line = |start: u32| format!("{start}000-{start}fff rw-s 0 fe:00 5 /tmp/a\\012b\n");
    let reasons = reasons_with_mapping(&[line(1), line(2), line(3)].concat());
    assert_eq!(reasons.len(), 1);
    assert!(
        reasons[0]
            .text
            .contains("(/tmp/a\\012b at 1000, and 2 more)"),
        "{}",
        reasons[0].text
    );
}

const SHARED: &str = "1000-2000 rw-s 0 00:01 5 /dev/zero (deleted)\nVmFlags: rd wr sh mr mw me ms";

/// The reasons against `sleep` with shared memory, of which this is known besides.
fn reasons_when_shared(change: impl FnOnce(&mut SharedObject)) -> Vec<Reason> {
    let mut observation = sleep();
    observation
        .mappings
        .extend(smaps::parse(SHARED.as_bytes()).unwrap());
    let mut object = SharedObject {
        identity: ((0, 1), 5),
        has_name: false,
        peers: Vec::new(),
        open: None,
    };
    change(&mut object);
    observation.shared.push(object);
    observation.reasons()
}

fn peer(pid: u32) -> Peer {
    let name = "worker".to_owned();
    Peer { pid, name }
}

#[test]
fn shared_memory_that_nobody_else_has_travels() {
    assert_eq!(reasons_when_shared(|_| {}), []);
    assert_eq!(
        codes(reasons_when_shared(|object| object.has_name = true)),
        ["shared-memory"]
    );
    let another = reasons_when_shared(|object| object.identity.1 = 6);
    assert_eq!(codes(another), ["shared-memory"]);
}

#[test]
fn those_who_share_memory_are_named() {
    let own_pid = sleep().stat.pid;
    type Change = fn(&mut SharedObject);
    let changes: [(Change, String); 5] = [
        (
            |object| object.peers = vec![peer(7)],
            "process 7 (worker) has it, too".into(),
        ),
        (
            |object| object.peers = (1..4).map(peer).collect(),
            "processes 1 (worker), 2 (worker), 3 (worker) have it, too".into(),
        ),
        (
            |object| object.peers = (1..8).map(peer).collect(),
            "4 (worker) and 3 more have it, too".into(),
        ),
        (
            |object| object.open = Some((peer(9), 3)),
            "process 9 (worker) has it open".into(),
        ),
        (
            |object| object.open = Some((peer(sleep().stat.pid), 3)),
            "descriptor 3 refers to it".into(),
        ),
    ];
    for (change, text) in changes {
        let reasons = reasons_when_shared(change);
        assert_eq!(reasons.len(), 1);
        assert!(
            reasons[0].text.contains(&text),
            "{own_pid}: {}",
            reasons[0].text
        );
    }
}

#[test]
fn descriptors_through_which_the_kernel_uses_memory_keep_a_process_home() {
    for (link, code) in [
        ("anon_inode:[io_uring]", "io-uring"),
        ("anon_inode:[userfaultfd]", "userfaultfd"),
        ("anon_inode:kvm-vm", "virtual-machine"),
    ] {
        let target = Target::parse(link.as_bytes());
        assert_eq!(
            codes_with(|seen| seen.descriptors.push(Descriptor { number: 9, target })),
            [code]
        );
    }
    let harmless = Target::parse(b"anon_inode:[eventpoll]");
    let found = codes_with(|seen| {
        seen.descriptors.push(Descriptor {
            number: 9,
            target: harmless,
        });
    });
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn programs_are_told_apart_by_their_header() {
    let header = |class: u8, machine: u8| {
        let mut header = [0; 20];
        header[..5].copy_from_slice(&[0x7f, b'E', b'L', b'F', class]);
        header[18] = machine;
        header
    };
    assert_eq!(Word::of_elf(&header(2, 62)), Some(Word::Bits64));
    assert_eq!(Word::of_elf(&header(1, 62)), Some(Word::X32));
    assert_eq!(Word::of_elf(&header(1, 3)), Some(Word::Bits32));
    assert_eq!(Word::of_elf(&header(2, 183)), None);
    assert_eq!(Word::of_elf(&header(2, 62)[..19]), None);
    assert_eq!(Word::of_elf(b"#!/bin/sh"), None);
}

proptest! {
    #[test]
    fn every_reason_is_one_line_whatever_a_mapping_is_called(name in "[^\n]{0,60}", share in "[sp]") {
        let lines = format!("1000-2000 rw-{share} 0 fe:00 5 {name}\n");
        for reason in reasons_with_mapping(&lines) {
            prop_assert!(!reason.text.chars().any(char::is_control), "{}", reason.text);
            prop_assert!(reason.code.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c.is_ascii_digit()));
        }
    }
}

/// A child process that is killed and reaped when the test ends, however it ends.
struct Spawned(Child);

impl Spawned {
    fn new(command: &mut Command) -> Spawned {
        Spawned(command.spawn().unwrap())
    }

    /// A Python program, started and run up to the line that it prints; it then waits in `input()`.
    fn python(program: &str) -> (Spawned, String) {
        let mut spawned = Spawned::new(
            Command::new("python3")
                .args(["-c", program])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped()),
        );
        let mut line = String::new();
        BufReader::new(spawned.0.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        (spawned, line.trim().to_owned())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_sleep_can_move() {
    let process = Spawned::new(Command::new("sleep").arg("600"));
    assert_eq!(examine(process.pid()).unwrap(), []);
}

#[test]
fn a_real_process_whose_shared_memory_is_its_own_can_move() {
    let program = "import mmap; m = mmap.mmap(-1, 4096); print('ready', flush=True); input()";
    let (process, line) = Spawned::python(program);
    assert_eq!(line, "ready");
    assert_eq!(examine(process.pid()).unwrap(), []);
}

#[test]
fn a_real_process_that_shares_memory_with_its_child_stays_and_the_child_is_named() {
    let program = "
import mmap, os, signal
m = mmap.mmap(-1, 4096)
child = os.fork()
if child == 0:
    signal.pause()
print(child, flush=True)
input()
";
    let (process, child) = Spawned::python(program);
    let reasons = examine(process.pid()).unwrap();
    let named = format!("process {child} (python3) has it, too");
    let child = rustix::process::Pid::from_raw(child.parse().unwrap()).unwrap();
    rustix::process::kill_process(child, rustix::process::Signal::KILL).unwrap();
    assert_eq!(codes(reasons.clone()), ["shared-memory"]);
    assert!(reasons[0].text.contains(&named), "{}", reasons[0].text);
}

#[test]
fn a_real_traced_process_stays_and_its_tracer_is_named() {
    let traced = Spawned::new(Command::new("sleep").arg("600"));
    let program = format!(
        "import ctypes; libc = ctypes.CDLL(None); libc.ptrace.argtypes = [ctypes.c_long] * 4; \
         print('seized', libc.ptrace(0x4206, {}, 0, 0), flush=True); input()",
        traced.pid()
    );
    let (tracer, line) = Spawned::python(&program);
    assert_eq!(line, "seized 0");

    let reasons = examine(traced.pid()).unwrap();
    assert_eq!(codes(reasons.clone()), ["traced"]);
    let named = format!("process {} (python3) traces it", tracer.pid());
    assert!(reasons[0].text.starts_with(&named), "{}", reasons[0].text);
    assert_eq!(examine_supervised(traced.pid(), tracer.pid()).unwrap(), []);
}

/// A parent in vfork and its child before exec: posix_spawn opens a FIFO that nobody writes, in the
/// child, and waits there in its parent's memory.
#[test]
fn a_real_vfork_and_its_child_stay() {
    let directory = std::env::temp_dir().join(format!("limosa-vfork-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let fifo = directory.join("fifo");
    let program = format!(
        "import os; os.mkfifo('{0}'); print('ready', flush=True); input(); \
         os.posix_spawn('/bin/true', ['true'], {{}}, \
         file_actions=[(os.POSIX_SPAWN_OPEN, 0, '{0}', os.O_RDONLY, 0)])",
        fifo.display()
    );
    let (mut parent, line) = Spawned::python(&program);
    assert_eq!(line, "ready");
    parent.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();

    let children = format!("/proc/{0}/task/{0}/children", parent.pid());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let child: u32 = loop {
        if let Ok(child) = std::fs::read_to_string(&children).unwrap().trim().parse() {
            break child;
        }
        assert!(std::time::Instant::now() < deadline, "no child appeared");
        std::thread::yield_now();
    };
    let of_parent = examine(parent.pid()).map(codes);
    let of_child = examine(child).map(codes);
    // Both sides of the FIFO: the child goes on, executes and ends; the parent likewise.
    drop(
        std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&fifo)
            .unwrap(),
    );
    drop(parent);
    std::fs::remove_dir_all(&directory).unwrap();

    let code = "memory-of-two-processes".to_owned();
    assert!(of_parent.unwrap().contains(&code));
    assert!(of_child.unwrap().contains(&code));
}

#[test]
fn a_real_zombie_has_ended_and_a_reaped_process_is_gone() {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let mut child = Command::new("true").spawn().unwrap();
    let pid = Pid::from_child(&child);
    waitid(
        WaitId::Pid(pid),
        WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
    )
    .unwrap();
    assert_eq!(codes(examine(child.id()).unwrap()), ["ended"]);
    child.wait().unwrap();
    assert!(matches!(
        examine(child.id()),
        Err(ExamineError::Gone { .. })
    ));
}

#[test]
fn a_node_is_as_good_as_itself() {
    let node = Capabilities::probe();
    assert_eq!(compare_nodes(&node, &node), node.missing_for_guests());
}

#[test]
fn what_a_remote_lacks_is_told() {
    let home = Capabilities::probe();
    let codes_of = |change: &dyn Fn(&mut Capabilities, &mut Capabilities)| {
        let (mut home, mut remote) = (home.clone(), home.clone());
        // Whatever this machine's rights: the remote begins with every feature.
        for feature in [
            Feature::Namespaces,
            Feature::TimeNamespace,
            Feature::ChosenPid,
        ] {
            remote.features = remote.features.with(feature);
        }
        change(&mut home, &mut remote);
        codes(compare_nodes(&home, &remote))
    };
    assert!(codes_of(&|_, _| {}).is_empty());
    assert_eq!(
        codes_of(&|_, remote| remote.cpu = Default::default()),
        ["cpu", "extended-state"]
    );
    assert_eq!(
        codes_of(&|home, remote| {
            home.cpu = Default::default();
            home.cpu.extended_state_parts = 0x7;
            remote.cpu.extended_state_parts = 0xe7;
        }),
        ["extended-state"],
        "XSAVE would write more than home left room for"
    );
    assert_eq!(
        codes_of(&|home, remote| {
            home.cpu.extended_state_parts = 0x7;
            remote.cpu.extended_state_parts = 0xe7;
        }),
        ["extended-state"],
        "a handler's frame that is made there is too long for home's kernel"
    );
    assert_eq!(
        codes_of(&|home, remote| {
            for node in [home, remote] {
                node.cpu.extended_state_parts = 0x207;
                node.cpu.extended_state_layout[9].offset_bytes += 8;
            }
        }),
        Vec::<String>::new(),
    );
    assert_eq!(
        codes_of(&|home, remote| {
            home.cpu.extended_state_parts = 0x207;
            remote.cpu.extended_state_parts = 0x207;
            remote.cpu.extended_state_layout[9].offset_bytes += 8;
        }),
        ["extended-state"],
        "one maker's CPUs have the protection keys elsewhere"
    );
    assert!(
        codes_of(&|home, remote| {
            home.cpu = Default::default();
            remote.cpu.extended_state_parts = 0xe7;
        })
        .is_empty(),
        "a program that saves by FXSAVE does so everywhere"
    );
    assert_eq!(
        codes_of(&|_, remote| {
            remote.features = remote.features.without(Feature::ChosenPid);
        }),
        ["chosen-pids"]
    );
}

#[test]
fn a_pid_beyond_the_remotes_range_is_told() {
    let mut remote = Capabilities::probe();
    remote.pid_end = 32_768;
    assert!(compare_pids(&[100, 32_767], &remote).is_empty());
    assert_eq!(codes(compare_pids(&[100, 32_768], &remote)), ["pid-range"]);
}
