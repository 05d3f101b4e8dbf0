//! States that need root to come about, in real processes: each is told by its code, and the process
//! goes on unharmed. Run as root, as the agent is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use limosa::migrate::cantmove::examine;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};

/// What every program here begins with.
const PRELUDE: &str = "\
import ctypes, mmap, os, sys, tempfile
libc = ctypes.CDLL(None, use_errno=True)
def check(result):
    if result < 0: sys.exit(os.strerror(ctypes.get_errno()))
    return result
pid = os.getpid()
";

/// What every program here ends with.
const FINALE: &str = "
print(pid, flush=True)
input()
print('well', flush=True)
";

/// A Python program that has reached its state, printed a pid, and waits for a line to answer.
struct Program {
    child: Child,
    answers: BufReader<ChildStdout>,
    pid: u32,
}

impl Program {
    /// Runs `state`, which may set `pid` if another process than its own shall be examined.
    fn start(state: &str) -> Program {
        assert!(
            rustix::process::geteuid().is_root(),
            "run these tests as root, as the agent is"
        );
        let mut child = Command::new("python3")
            .args(["-c", &format!("{PRELUDE}{state}{FINALE}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        let pid = line
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("cannot reach the state: {state}"));
        Program {
            child,
            answers,
            pid,
        }
    }

    /// The codes of the reasons; afterwards the program must still answer and end well.
    fn examine_and_end(mut self) -> Vec<String> {
        let codes = examine(self.pid)
            .unwrap()
            .into_iter()
            .map(|reason| reason.code)
            .collect();
        self.child.stdin.take().unwrap().write_all(b"\n").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert_eq!(line, "well\n", "the process was harmed");
        assert!(self.child.wait().unwrap().success());
        codes
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn assert_reasons(state: &str, codes: &[&str]) {
    assert_eq!(Program::start(state).examine_and_end(), codes, "{state}");
}

#[test]
fn an_idle_python_can_move() {
    assert_reasons("", &[]);
}

#[test]
fn a_user_without_privileges_can_move() {
    let state = "
os.setgroups([])
os.setresgid(1000, 1000, 1000)
os.setresuid(1000, 1000, 1000)";
    assert_reasons(state, &[]);
}

#[test]
fn a_process_between_two_users_can_move() {
    assert_reasons("os.setresuid(0, 1000, 0)", &[]);
}

#[test]
fn a_process_whose_children_will_be_in_another_namespace_stays() {
    assert_reasons("check(libc.unshare(0x20000000))", &["pid-namespace"]);
    assert_reasons("check(libc.unshare(0x80))", &["time-namespace"]);
}

#[test]
fn a_process_under_its_own_seccomp_filter_stays() {
    // The filter is one instruction, BPF_RET with SECCOMP_RET_ALLOW.
    let state = "
instruction = ctypes.create_string_buffer(bytes.fromhex('060000000000ff7f'), 8)
class Filter(ctypes.Structure):
    _fields_ = [('length', ctypes.c_ushort), ('instructions', ctypes.c_void_p)]
allow = Filter(1, ctypes.addressof(instruction))
check(libc.prctl(38, 1, 0, 0, 0))
check(libc.prctl(22, 2, ctypes.byref(allow), 0, 0))";
    assert_reasons(state, &["seccomp"]);
}

#[test]
fn a_realtime_process_stays() {
    assert_reasons(
        "os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))",
        &["realtime"],
    );
}

/// A child in new namespaces, which ends with its parent.
fn child_after_unshare(namespaces: u32) -> String {
    format!(
        "
ending, kept = os.pipe()
check(libc.unshare({namespaces:#x}))
pid = os.fork()
if pid == 0:
    os.close(kept)
    os.read(ending, 1)
    os._exit(0)"
    )
}

#[test]
fn a_process_of_another_pid_namespace_stays() {
    assert_reasons(&child_after_unshare(0x2000_0000), &["pid-namespace"]);
}

#[test]
fn a_process_of_another_time_namespace_stays() {
    assert_reasons(&child_after_unshare(0x80), &["time-namespace"]);
}

#[test]
fn a_process_with_an_io_uring_stays() {
    let state = "ring = check(libc.syscall(425, 1, ctypes.create_string_buffer(120)))";
    assert_reasons(state, &["io-uring"]);
}

#[test]
fn a_process_with_a_userfaultfd_stays() {
    assert_reasons("faults = check(libc.syscall(323, 0))", &["userfaultfd"]);
}

#[test]
fn a_process_that_maps_a_file_shared_and_writable_stays() {
    let state = "
file = tempfile.TemporaryFile()
file.truncate(4096)
view = mmap.mmap(file.fileno(), 4096)";
    assert_reasons(state, &["shared-file"]);
}

#[test]
fn shared_memory_without_a_name_or_a_descriptor_can_move() {
    for file in [
        "os.dup(temporary.fileno())",
        "os.memfd_create('limosa-test')",
    ] {
        let state = format!(
            "
libc.mmap.restype = ctypes.c_void_p
with tempfile.TemporaryFile() as temporary: file = {file}
os.ftruncate(file, 4096)
check(-(libc.mmap(None, 4096, 3, 1, file, 0) == 2**64 - 1))
"
        );
        assert_reasons(&format!("{state}os.close(file)"), &[]);
        let code = if file.contains("memfd") {
            "shared-memory"
        } else {
            "shared-file"
        };
        assert_reasons(&state, &[code]);
    }
}

#[test]
fn a_process_that_maps_a_file_shared_and_only_to_read_can_move() {
    let state = "
file = open(sys.executable, 'rb')
view = mmap.mmap(file.fileno(), 4096, mmap.MAP_SHARED, mmap.PROT_READ)";
    assert_reasons(state, &[]);
}

#[test]
fn a_shared_memfd_stays_and_a_private_copy_of_one_can_move() {
    let memfd = "
file = os.memfd_create('buffer')
os.ftruncate(file, 4096)
";
    assert_reasons(
        &format!("{memfd}view = mmap.mmap(file, 4096)"),
        &["shared-memory"],
    );
    assert_reasons(
        &format!("{memfd}view = mmap.mmap(file, 4096, mmap.MAP_PRIVATE)"),
        &[],
    );
}

#[test]
fn a_setuid_program_stays() {
    assert!(
        rustix::process::geteuid().is_root(),
        "run these tests as root, as the agent is"
    );
    let directory = std::env::temp_dir().join(format!("limosa-setuid-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o755)).unwrap();
    let program = directory.join("sleep");
    std::fs::copy("/bin/sleep", &program).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o4755)).unwrap();

    let started = Command::new(&program)
        .arg("600")
        .uid(1000)
        .gid(1000)
        .spawn();
    let examined = started.and_then(|mut child| {
        let examined = examine(child.id());
        child.kill()?;
        child.wait()?;
        Ok(examined)
    });
    std::fs::remove_dir_all(&directory).unwrap();
    let codes: Vec<_> = examined
        .unwrap()
        .unwrap()
        .into_iter()
        .map(|reason| reason.code)
        .collect();
    assert!(codes.contains(&"setuid".to_owned()), "{codes:?}");
}
