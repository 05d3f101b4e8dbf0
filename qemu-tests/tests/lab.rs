//! The lab itself: its network, its faults, and that nothing of it stays behind. Needs no agent.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lab::cgroup::Cgroup;
use lab::control::{NodeState, Request};
use lab::process::ProcessIdentity;
use lab::state::StateDirectory;
use lab::{Lab, LabOptions, NodeHandle, wait_until};
use rustix::process::Signal;

const LAB: &str = env!("CARGO_BIN_EXE_lab");
const SOON: Duration = Duration::from_secs(10);

fn idle(nodes: usize) -> LabOptions {
    let limosa = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/idle-agent");
    LabOptions {
        limosa: Some(limosa),
        ..LabOptions::namespaces(nodes)
    }
}

fn start(options: &LabOptions) -> Lab {
    Lab::start(options).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs a python script on a node.
fn python(node: &NodeHandle<'_>, script: &str) -> Child {
    let mut command = node.command(["python3", "-u", "-c", script]).unwrap();
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Starts an echo server on a node and returns when it listens.
fn echo_server(node: &NodeHandle<'_>) -> Child {
    let mut server = python(
        node,
        "import socket\n\
         s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n\
         s.bind(('::', 7000))\n\
         print('listens')\n\
         while True:\n    data, peer = s.recvfrom(2000)\n    s.sendto(data, peer)\n",
    );
    let mut said = [0; 8];
    server
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut said)
        .unwrap();
    server
}

/// Sends `count` datagrams from `node` to n1 one after the other, and counts the answers.
fn answers(node: &NodeHandle<'_>, count: u32) -> u32 {
    let script = format!(
        "import socket\n\
         s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n\
         s.settimeout(0.2)\n\
         n1 = socket.getaddrinfo('fe80::6c:61ff:fe62:1%eth0', 7000)[0][4]\n\
         got = 0\n\
         for i in range({count}):\n    s.sendto(b'%d' % i, n1)\n    try:\n        got += int(s.recv(99)) == i\n    except TimeoutError:\n        pass\n\
         print(got)\n"
    );
    let output = python(node, &script).wait_with_output().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn traces_of(name: &str) -> Vec<PathBuf> {
    let cgroup = Cgroup::of_lab(name).unwrap().path().to_owned();
    let state = StateDirectory::of(name).unwrap().path().to_owned();
    [cgroup, state]
        .into_iter()
        .filter(|path| path.exists())
        .collect()
}

#[test]
fn nodes_reach_each_other_over_link_local_addresses_and_nobody_else() {
    let lab = start(&idle(2));
    let server = echo_server(&lab.node("n1"));
    assert_eq!(answers(&lab.node("n2"), 20), 20);
    let output = lab.node("n2").exec(["ls", "/sys/class/net"]).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "eth0\nlo\n");
    end(server);
}

#[test]
fn a_fast_lab_is_connected_too_and_refuses_faults_in_words() {
    let lab = start(&LabOptions {
        fast: true,
        ..idle(2)
    });
    let server = echo_server(&lab.node("n1"));
    assert_eq!(answers(&lab.node("n2"), 20), 20);
    let refusal = lab.cut("n1", "n2").unwrap_err().to_string();
    assert!(refusal.contains("without --fast"), "{refusal}");
    end(server);
}

#[test]
fn a_cut_stops_everything_between_two_nodes_until_it_is_healed() {
    let lab = start(&idle(3));
    let server = echo_server(&lab.node("n1"));
    lab.cut("n1", "n2").unwrap();
    assert_eq!(answers(&lab.node("n2"), 3), 0);
    assert_eq!(answers(&lab.node("n3"), 3), 3);
    assert!(lab.status().unwrap().frames.cut > 0);
    lab.heal().unwrap();
    // The kernel asks for a neighbour that it did not find only once a second.
    wait_until(SOON, "n2 reaches n1 again", || {
        match answers(&lab.node("n2"), 3) {
            3 => Ok(()),
            got => Err(format!("{got} of 3 answers")),
        }
    })
    .unwrap();
    end(server);
}

#[test]
fn loss_loses_and_duplication_doubles() {
    let lab = start(&idle(2));
    let server = echo_server(&lab.node("n1"));
    // Both have met: neighbour discovery is not what is to be lost.
    assert_eq!(answers(&lab.node("n2"), 1), 1);
    lab.lose(50.0).unwrap();
    let got = answers(&lab.node("n2"), 40);
    assert!(
        (1..30).contains(&got),
        "{got} of 40 answers at 50 % loss each way"
    );
    lab.heal().unwrap();
    lab.ask(&Request::Duplicate { percent: 100.0 }).unwrap();
    let before = lab.status().unwrap().frames.duplicated;
    answers(&lab.node("n2"), 5);
    assert!(lab.status().unwrap().frames.duplicated >= before + 10);
    assert!(lab.lose(101.0).is_err());
    end(server);
}

#[test]
fn a_delay_holds_every_frame_back() {
    let lab = start(&idle(2));
    let server = echo_server(&lab.node("n1"));
    assert_eq!(answers(&lab.node("n2"), 1), 1);
    // There and back takes longer than the client waits: all answers come too late.
    lab.delay(Duration::from_millis(1500)).unwrap();
    assert_eq!(answers(&lab.node("n2"), 1), 0);
    lab.delay(Duration::from_millis(50)).unwrap();
    assert_eq!(answers(&lab.node("n2"), 3), 3);
    end(server);
}

#[test]
fn exec_passes_on_status_signals_input_and_output() {
    let lab = start(&idle(1));
    let node = lab.node("n1");
    assert_eq!(
        node.exec(["sh", "-c", "exit 42"]).unwrap().status.code(),
        Some(42)
    );
    let output = node
        .exec(["sh", "-c", "echo out; echo err >&2; echo $LIMOSA_LAB_NODE"])
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out\nn1\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "err\n");
    let mut cat = node
        .command(["cat"])
        .unwrap()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    cat.stdin.take().unwrap().write_all(b"through").unwrap();
    assert_eq!(cat.wait_with_output().unwrap().stdout, b"through");
    let unknown = lab.node("n9").exec(["true"]).unwrap();
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("its nodes are n1"));
}

#[test]
fn a_killed_node_loses_all_its_processes_at_once_and_can_be_restarted() {
    let lab = start(&idle(2));
    let node = lab.node("n2");
    // One that is an orphan and in a session of its own, as daemons are.
    let output = node
        .exec(["sh", "-c", "setsid sleep 1000 >&- 2>&- & echo $!"])
        .unwrap();
    let sleeper: u32 = String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let sleeper = ProcessIdentity::of(sleeper).unwrap();
    let agent = node.process().unwrap();
    let survivor = lab.node("n1").process().unwrap();
    assert!(sleeper.is_alive() && agent.is_alive());
    node.kill().unwrap();
    assert!(!sleeper.is_alive() && !agent.is_alive() && survivor.is_alive());
    assert_eq!(node.status().unwrap().state, NodeState::Off);
    node.start().unwrap();
    assert!(node.process().unwrap().is_alive());
    let server = echo_server(&lab.node("n1"));
    assert_eq!(answers(&node, 3), 3);
    end(server);
}

#[test]
fn a_stopped_agent_leaves_its_node_standing() {
    let lab = start(&idle(1));
    let node = lab.node("n1");
    node.stop().unwrap();
    assert!(matches!(
        node.status().unwrap().state,
        NodeState::Ended { .. }
    ));
    assert!(node.exec(["true"]).unwrap().status.success());
    node.start().unwrap();
    assert!(node.process().unwrap().is_alive());
}

#[test]
fn a_cable_that_is_pulled_takes_the_interface_with_it() {
    let lab = start(&LabOptions {
        unplugged: ["n2".into()].into(),
        ..idle(2)
    });
    let interfaces = || {
        let output = lab.node("n2").exec(["ls", "/sys/class/net"]).unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(interfaces(), "lo\n");
    lab.node("n2").plug().unwrap();
    assert_eq!(interfaces(), "eth0\nlo\n");
    lab.node("n2").unplug().unwrap();
    assert_eq!(interfaces(), "lo\n");
}

#[test]
fn nothing_is_left_when_a_lab_is_taken_down() {
    let lab = start(&idle(2));
    let name = lab.name().to_owned();
    let agent = lab.node("n1").process().unwrap();
    assert_eq!(traces_of(&name).len(), 2);
    lab.down().unwrap();
    assert!(traces_of(&name).is_empty());
    assert!(!agent.is_alive());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("limosa-lab"), "{mounts}");
}

#[test]
fn nothing_is_left_when_the_test_that_made_a_lab_panics() {
    let panicked = std::thread::spawn(|| {
        let lab = start(&idle(1));
        std::panic::panic_any(lab.name().to_owned());
    });
    let name = *panicked.join().unwrap_err().downcast::<String>().unwrap();
    assert!(traces_of(&name).is_empty());
}

#[test]
fn a_lab_ends_with_its_owner_even_if_that_is_killed() {
    let mut owner = Command::new("sleep").arg("1000").spawn().unwrap();
    let identity = ProcessIdentity::of(owner.id()).unwrap();
    let lab = start(&idle(1));
    let name = lab.name().to_owned();
    lab.release(Some(identity)).unwrap();
    assert_eq!(traces_of(&name).len(), 2);
    owner.kill().unwrap();
    owner.wait().unwrap();
    wait_until(SOON, "the lab ends", || match &traces_of(&name)[..] {
        [] => Ok(()),
        left => Err(format!("{left:?}")),
    })
    .unwrap();
}

#[test]
fn what_a_killed_daemon_left_is_removed_by_lab_down() {
    let lab = start(&idle(2));
    let name = lab.name().to_owned();
    let output = lab
        .node("n1")
        .exec(["sh", "-c", "setsid sleep 1000 >&- 2>&- & echo $!"])
        .unwrap();
    let sleeper: u32 = String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let sleeper = ProcessIdentity::of(sleeper).unwrap();
    let record = fs::read(lab.directory().join("lab.json")).unwrap();
    let record: lab::state::Record = serde_json::from_slice(&record).unwrap();
    assert!(record.daemon.signal(Signal::KILL));
    assert!(record.daemon.wait_for_end(SOON));
    assert!(sleeper.is_alive());
    let status = Command::new(LAB)
        .args(["down", "--name", &name])
        .status()
        .unwrap();
    assert!(status.success());
    assert!(!sleeper.is_alive());
    assert!(traces_of(&name).is_empty());
}

#[test]
fn control_c_during_lab_up_leaves_nothing() {
    let name = format!("c{}", std::process::id());
    let mut command = Command::new(LAB);
    // The idle agent never answers, so "lab up" waits for it until it is interrupted.
    command.args(["up", "--nodes", "2", "--name", &name]);
    command.env(
        "LIMOSA_BINARY",
        Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/idle-agent"),
    );
    let mut terminal = lab::terminal::Terminal::run(&command).unwrap();
    wait_until(SOON, "the lab stands", || {
        let nodes = Lab::attach(&name).and_then(|lab| lab.status());
        nodes.map(drop).map_err(|error| error.to_string())
    })
    .unwrap();
    terminal.type_keys(b"\x03").unwrap();
    terminal.child().wait().unwrap();
    wait_until(SOON, "the lab ends", || match &traces_of(&name)[..] {
        [] => Ok(()),
        left => Err(format!("{left:?}")),
    })
    .unwrap();
}

#[test]
fn a_command_whose_reader_is_gone_ends_in_peace() {
    let _lab = start(&idle(1));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(LAB)
        .arg("list")
        .stdout(writer)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    assert_eq!(said, "");
}

#[test]
fn two_labs_do_not_hear_each_other() {
    let (one, other) = (start(&idle(1)), start(&idle(2)));
    let server = echo_server(&one.node("n1"));
    // n1 has the same address in both.
    assert_eq!(answers(&other.node("n2"), 3), 0);
    end(server);
}

#[test]
fn a_lab_does_not_touch_the_network_of_this_machine() {
    let before = fs::read_to_string("/proc/net/dev").unwrap().lines().count();
    let lab = start(&idle(3));
    let during = fs::read_to_string("/proc/net/dev").unwrap().lines().count();
    assert_eq!(before, during);
    drop(lab);
}
