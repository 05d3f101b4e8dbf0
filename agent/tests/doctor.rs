//! `limosa doctor` finds misconfigurations that are made for it, each in namespaces of its own, and names the
//! remedy.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

const LIMOSA: &str = env!("CARGO_BIN_EXE_limosa");

/// Makes an interface that works.
const ETHERNET: &str = "ip link add eth0 type veth peer name other && ip link set other up && \
                        ip link set eth0 up && ip address add 10.9.8.7/24 dev eth0";

/// Makes a firewall whose input chain drops by default (nf_tables by netlink: no tool is needed).
const FIREWALL: &str = r#"
import socket, struct
def attribute(kind, value):
    return struct.pack("=HH", len(value) + 4, kind) + value + b"\0" * (-len(value) % 4)
def message(kind, flags, number, family, resource, body):
    body = struct.pack(">BBH", family, 0, resource) + body
    return struct.pack("=IHHII", len(body) + 16, kind, flags, number, 0) + body
hook = attribute(1, struct.pack(">I", 1)) + attribute(2, struct.pack(">i", 0))
chain = attribute(1, b"mine\0") + attribute(3, b"input\0") + attribute(0x8004, hook) \
    + attribute(5, struct.pack(">I", 0)) + attribute(7, b"filter\0")
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
s.bind((0, 0))
s.send(message(0x10, 1, 0, 0, 10, b"")
    + message(0xa00, 0x401, 1, 1, 0, attribute(1, b"mine\0"))
    + message(0xa03, 0x405, 2, 1, 0, chain)
    + message(0x11, 1, 3, 0, 10, b""))
assert struct.unpack_from("=i", s.recv(4096), 16)[0] == 0
"#;

/// A directory with a sound key, removed with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("limosa-doctor-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let made = Command::new(LIMOSA)
            .args(["key", "new"])
            .arg(path.join("key"))
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Prepares new network and mount namespaces by a script whose `$1` is the directory, and returns what the
/// doctor finds there.
fn findings(directory: &Path, prepare: &str, words: &[&str]) -> Vec<Value> {
    assert!(
        rustix::process::geteuid().is_root(),
        "these tests need root"
    );
    let script = format!("set -e; {prepare}\nshift; exec \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "sh", "-c", &script, "sh"]);
    command.arg(directory).arg(LIMOSA);
    command.args(["doctor", "--json", "--key"]);
    command.arg(directory.join("key"));
    command.arg("--run-dir").arg(directory.join("run"));
    let output = command.args(words).output().unwrap();
    let rows = serde_json::from_slice::<Vec<Value>>(&output.stdout);
    let rows = rows.unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let has_problem = rows.iter().any(|row| row["state"] == "problem");
    assert_eq!(
        output.status.code(),
        Some(i32::from(has_problem)),
        "{output:?}"
    );
    rows
}

/// What is found that is not there without the preparation: the code, and that its remedy has these words.
fn finds(name: &str, prepare: &str, words: &[&str], code: &str, remedy: &str) {
    let directory = Directory::new(name);
    let found = findings(&directory.0, prepare, words);
    let row = found
        .iter()
        .find(|row| row["code"] == code && row["state"] != "ok");
    let row = row.unwrap_or_else(|| panic!("{code} is not among {found:#?}"));
    let told = row["remedy"].as_str().unwrap_or_default();
    assert!(told.contains(remedy), "{row}");
}

/// A file of the kernel's with other contents.
fn pretend(file: &str, contents: &str) -> String {
    format!("{ETHERNET}; echo {contents} > $1/file; mount --bind $1/file {file}")
}

#[test]
fn a_sound_machine_lacks_nothing_but_its_agent() {
    let directory = Directory::new("sound");
    let found = findings(&directory.0, ETHERNET, &[]);
    // What this machine's administrator decides is none of this test's business.
    let of_the_machine = ["clock", "pid-max", "overcommit", "cgroup", "cgroup-cpu"];
    let bad: Vec<&str> = found
        .iter()
        .filter(|row| row["state"] != "ok")
        .filter_map(|row| row["code"].as_str())
        .filter(|code| !of_the_machine.contains(code))
        .collect();
    assert_eq!(bad, ["agent"], "{found:#?}");
}

#[test]
fn a_missing_key() {
    finds(
        "missing",
        &format!("{ETHERNET}; rm $1/key"),
        &[],
        "key-missing",
        "limosa key new",
    );
}

#[test]
fn a_key_with_a_typing_error() {
    let wrong = format!("{ETHERNET}; sed -i 's/.$/!/' $1/key");
    finds(
        "typing",
        &wrong,
        &[],
        "key-unusable",
        "copy the key file anew",
    );
}

#[test]
fn a_key_that_others_can_read() {
    finds(
        "exposed",
        &format!("{ETHERNET}; chmod 644 $1/key"),
        &[],
        "key-exposed",
        "chmod 600",
    );
}

#[test]
fn no_network_interface() {
    finds("none", "true", &[], "interface-none", "plug in");
}

#[test]
fn an_interface_that_is_down() {
    let down = format!("{ETHERNET}; ip link set eth0 down");
    let words = ["--interface", "eth0"];
    finds(
        "down",
        &down,
        &words,
        "interface-down",
        "ip link set eth0 up",
    );
}

#[test]
fn an_interface_without_a_link() {
    finds(
        "link",
        &format!("{ETHERNET}; ip link set other down"),
        &["--interface", "eth0"],
        "interface-link",
        "cable",
    );
}

#[test]
fn an_interface_without_multicast() {
    let off = format!("{ETHERNET}; ip link set eth0 multicast off");
    let words = ["--interface", "eth0"];
    finds(
        "multicast",
        &off,
        &words,
        "multicast",
        "ip link set eth0 multicast on",
    );
}

#[test]
fn an_interface_with_a_misspelt_name() {
    finds(
        "misspelt",
        ETHERNET,
        &["--interface", "eht0"],
        "interface-missing",
        "eth0",
    );
}

#[test]
fn ipv6_switched_off() {
    let off = format!("{ETHERNET}; echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6");
    finds(
        "ipv6",
        &off,
        &["--interface", "eth0"],
        "ipv6",
        "disable_ipv6=0",
    );
}

#[test]
fn a_port_that_somebody_else_has() {
    // The other program ends with the doctor, which takes the shell's place.
    let taken = format!(
        "{ETHERNET}\nsetpriv --pdeathsig KILL python3 -c 'import signal, socket, sys\n\
         s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n\
         s.bind((\"::\", 4460))\n\
         open(sys.argv[1] + \"/bound\", \"w\")\n\
         signal.pause()' $1 >/dev/null 2>&1 & until [ -e $1/bound ]; do sleep 0.05; done"
    );
    finds("port", &taken, &[], "port-taken", "ss -lunpt");
}

#[test]
fn a_firewall_that_drops_by_default() {
    let firewall = format!("{ETHERNET}; python3 - <<'END'\n{FIREWALL}\nEND");
    finds("firewall", &firewall, &[], "firewall", "4460");
}

#[test]
fn a_kernel_that_forbids_tracing() {
    // A kernel without that security module has no such file to lay another over.
    let directory = "/proc/sys/kernel/yama";
    let scope = format!(
        "{ETHERNET}; [ -d {directory} ] || mount -t tmpfs none /proc/sys/kernel; mkdir -p {directory}; \
         [ -e {directory}/ptrace_scope ] || touch {directory}/ptrace_scope; \
         echo 3 > $1/file; mount --bind $1/file {directory}/ptrace_scope"
    );
    finds("ptrace", &scope, &[], "ptrace-scope", "/etc/sysctl.d");
}

#[test]
fn namespaces_that_are_forbidden() {
    let none = pretend("/proc/sys/user/max_pid_namespaces", "0");
    finds(
        "namespaces",
        &none,
        &[],
        "namespaces",
        "user.max_pid_namespaces=10000",
    );
}

#[test]
fn too_few_pids_and_too_strict_an_account_of_memory() {
    let few = pretend("/proc/sys/kernel/pid_max", "32768");
    finds("pids", &few, &[], "pid-max", "kernel.pid_max=4194304");
    let strict = pretend("/proc/sys/vm/overcommit_memory", "2");
    finds(
        "overcommit",
        &strict,
        &[],
        "overcommit",
        "vm.overcommit_memory=0",
    );
}

#[test]
fn no_cgroup2() {
    let unmounted = format!(
        "{ETHERNET}; while mount=$(awk '/ - cgroup2 /{{print $5; exit}}' /proc/self/mountinfo) && \
         [ -n \"$mount\" ]; do umount -l \"$mount\"; done"
    );
    finds("cgroup", &unmounted, &[], "cgroup", "mount -t cgroup2");
}

#[test]
fn a_configuration_with_a_line_that_makes_no_sense() {
    let directory = Directory::new("configuration");
    let config = directory.0.join("agent.conf");
    std::fs::write(&config, "prot = 4460\n").unwrap();
    let found = findings(
        &directory.0,
        ETHERNET,
        &["--config", config.to_str().unwrap()],
    );
    let row = found.iter().find(|row| row["code"] == "configuration");
    let text = row.and_then(|row| row["text"].as_str()).unwrap_or_default();
    assert!(
        text.contains("line 1") && text.contains("prot"),
        "{found:#?}"
    );
}
