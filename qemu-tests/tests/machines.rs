//! The real image, booted in virtual machines: it joins by itself, and programs travel between machines.
//!
//! Needs what `./mkiso.sh` builds: `target/limosa.iso`, `target/netboot` and `cluster.key`. With
//! `LIMOSA_IMAGE=trimmed` in the environment the image of `./mkiso.sh --kernel trimmed` is tested.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lab::dhcp::{DhcpServer, Lease};
use lab::qemu::{Boot, Firmware, Medium};
use lab::{Image, Lab, LabOptions, NodeHandle, wait_until};
use serde_json::Value;
use support::job::{Job, run_natively};
use support::programs::{Linkage, c_program};
use support::{member, start, state_of, wait_for_meeting, wait_for_state};

/// From power-on to membership; under emulation on a busy machine this takes a while.
const BOOT_TIMEOUT: Duration = Duration::from_secs(180);

/// For what takes moments on a real machine.
const SOON: Duration = Duration::from_secs(60);

/// The promise is 3 s of silence; the rest is for emulated machines.
const LOSS_TIMEOUT: Duration = Duration::from_secs(3 + 12);

/// Virtual machines of several tests at once would only slow each other down.
fn alone() -> MutexGuard<'static, ()> {
    static RUNNING: Mutex<()> = Mutex::new(());
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The image that is tested.
fn image() -> Image {
    std::env::var("LIMOSA_IMAGE").map_or(Image::Stock, |word| built(word.parse()))
}

fn built<T>(built: Result<T, lab::LabError>) -> T {
    built.unwrap_or_else(|error| panic!("{error}"))
}

/// A namespace node n1 and a machine n2 that boots the image, whose key they share.
fn image_joins(medium: Medium, firmware: Firmware) {
    let _alone = alone();
    let boot = built(Boot::built_image(
        &repository().join("target"),
        image(),
        medium,
        firmware,
    ));
    let lab = start(&LabOptions {
        machines: [("n2".into(), boot)].into(),
        key: Some(repository().join("cluster.key")),
        baked_key: true,
        ..LabOptions::namespaces(2)
    });
    wait_for_state(&lab.node("n1"), "n2", "alive", BOOT_TIMEOUT);
    wait_for_state(&lab.node("n2"), "n1", "alive", SOON);
}

#[test]
fn the_image_as_a_cd_under_bios_joins_the_cluster_of_its_key() {
    image_joins(Medium::Cd, Firmware::Bios);
}

#[test]
fn the_image_as_a_usb_stick_under_bios_joins_the_cluster_of_its_key() {
    image_joins(Medium::Usb, Firmware::Bios);
}

#[test]
fn the_image_as_a_cd_under_uefi_joins_the_cluster_of_its_key() {
    image_joins(Medium::Cd, Firmware::Uefi);
}

#[test]
fn the_image_as_a_usb_stick_under_uefi_joins_the_cluster_of_its_key() {
    image_joins(Medium::Usb, Firmware::Uefi);
}

fn machines(count: usize) -> Lab {
    let boot = built(Boot::built_kernel(&repository().join("target"), image()));
    let lab = start(&LabOptions::machines(count, &boot));
    wait_for_meeting(&lab, BOOT_TIMEOUT);
    lab
}

#[test]
fn three_machines_find_each_other_without_dhcp_and_notice_when_one_is_unplugged_and_comes_back() {
    let _alone = alone();
    let lab = machines(3);
    let addresses = shell(&lab.node("n1"), "ip -4 address show dev eth0");
    assert!(
        !addresses.contains("inet "),
        "there is an IPv4 address: {addresses}"
    );
    lab.node("n3").kill().unwrap();
    for node in ["n1", "n2"] {
        wait_for_state(&lab.node(node), "n3", "lost", LOSS_TIMEOUT);
    }
    assert_eq!(state_of(&lab.node("n1"), "n2"), "alive");
    assert_eq!(state_of(&lab.node("n2"), "n1"), "alive");
    lab.node("n3").start().unwrap();
    for node in ["n1", "n2"] {
        wait_for_state(&lab.node(node), "n3", "alive", BOOT_TIMEOUT);
    }
}

/// A namespace node n1 and a machine n2 that boots kernel and initramfs, which have met.
fn one_machine() -> Lab {
    let boot = built(Boot::built_kernel(&repository().join("target"), image()));
    let lab = start(&LabOptions {
        machines: [("n2".into(), boot)].into(),
        ..LabOptions::namespaces(2)
    });
    wait_for_meeting(&lab, BOOT_TIMEOUT);
    lab
}

#[test]
fn a_machine_whose_power_button_is_pressed_sends_its_guests_home_and_leaves() {
    let _alone = alone();
    let lab = one_machine();
    let program = [c_program("compute", Linkage::Static)];
    let native = run_natively(&program, b"x");
    let mut job = Job::start_with(
        lab.node("n1"),
        &["--baseline", "x86-64-v2", "--by-hand"],
        &program,
    );
    job.wait_for_output("leg 0\n");
    job.migrate("n2");
    let n2 = lab.node("n2");
    built(built(n2.monitor()).press_power_button());
    wait_for_state(&lab.node("n1"), "n2", "left", SOON);
    built(wait_until(SOON, "the machine is off", || {
        match n2.process() {
            Ok(process) => Err(format!("{process:?}")),
            Err(_) => Ok(()),
        }
    }));
    assert_eq!(job.row()["node"], "n1");
    job.feed(b"x");
    assert_eq!(job.finish(), native);
}

#[test]
fn a_machine_takes_an_address_and_a_name_that_come_late_and_joins_again_after_a_loose_cable_and_a_restart()
 {
    let _alone = alone();
    let boot = built(Boot::built_kernel(&repository().join("target"), image()));
    let lab = start(&LabOptions {
        machines: [("n2".into(), boot)].into(),
        parameters: [("n2".into(), "limosa.name=".into())].into(),
        ..LabOptions::namespaces(2)
    });
    let (n1, n2) = (lab.node("n1"), lab.node("n2"));
    // The end of its hardware address, until it is told otherwise.
    wait_for_state(&n1, "limosa-0002", "alive", BOOT_TIMEOUT);
    let addresses = || shell(&n2, "ip -4 address show dev eth0");
    assert!(!addresses().contains("inet "), "{}", addresses());
    let lease = Lease {
        network: "10.77.1",
        host_name: Some("attic.example"),
    };
    let server = built(DhcpServer::start(&n1, lease));
    let has_address = || {
        let text = addresses();
        let has = text.contains("inet 10.77.1.1");
        has.then_some(()).ok_or(text)
    };
    built(wait_until(SOON, "n2 has an address", has_address));
    wait_for_state(&n1, "attic", "alive", SOON);
    assert_eq!(state_of(&n1, "limosa-0002"), "unknown");

    let mut monitor = built(n2.monitor());
    built(monitor.set_link(false));
    wait_for_state(&n1, "attic", "lost", LOSS_TIMEOUT);
    built(monitor.set_link(true));
    wait_for_state(&n1, "attic", "alive", SOON);
    drop(server);

    // It has 256 MiB; what is free is there for guests.
    built(wait_until(SOON, "n2 has 170 MiB for guests", || {
        let members = built(n1.limosa(&["nodes"]));
        let free = &member(&members, "attic")["memory_free_bytes"];
        let has = free.as_u64().is_some_and(|free| free >= 170 << 20);
        has.then_some(()).ok_or(free.to_string())
    }));

    // It says goodbye, and is a new node, which nobody has named.
    let id = || match built(n1.limosa(&["nodes"])) {
        Value::Array(rows) => rows
            .into_iter()
            .find(|row| row["name"] != "n1" && row["state"] == "alive"),
        _ => None,
    };
    let before = id().map(|row| row["id"].clone());
    assert!(before.is_some());
    built(monitor.let_it_restart());
    built(monitor.press_keys(&["ctrl", "alt", "delete"]));
    built(wait_until(BOOT_TIMEOUT, "n2 is back as a new node", || {
        let now = id().map(|row| row["id"].clone());
        let is_back = now.is_some() && now != before;
        is_back.then_some(()).ok_or(format!("{now:?}"))
    }));
    let said = built(n2.log());
    assert!(said.contains("leaving the cluster, then reboot"), "{said}");
    wait_for_state(&n2, "n1", "alive", SOON);
}

#[test]
fn a_machine_without_a_key_asks_for_it_on_its_console() {
    let _alone = alone();
    let key = repository().join("cluster.key");
    // Kernel and initramfs alone have no key in them.
    let boot = built(Boot::built_kernel(&repository().join("target"), image()));
    let lab = start(&LabOptions {
        machines: [("n2".into(), boot)].into(),
        key: Some(key.clone()),
        baked_key: true,
        ..LabOptions::namespaces(2)
    });
    let n2 = lab.node("n2");
    let says = |text: &str| {
        wait_until(BOOT_TIMEOUT, format!("n2 says {text:?}"), || {
            let log = n2.log().map_err(|error| error.to_string())?;
            if log.contains(text) { Ok(()) } else { Err(log) }
        })
        .unwrap_or_else(|error| panic!("{error}"));
    };
    says("Type the cluster key");
    let line = built(n2.type_on_serial("limosa1-wrong\n"));
    says("not started: limosa: /run/given-cluster.key");
    drop(line);
    let _line = built(n2.type_on_serial(&std::fs::read_to_string(key).unwrap()));
    wait_for_state(&lab.node("n1"), "n2", "alive", SOON);
}

#[test]
fn a_machine_without_a_key_joins_when_its_code_is_typed_and_takes_the_time_for_its_dead_battery() {
    let _alone = alone();
    let boot = built(Boot::built_kernel(&repository().join("target"), image()));
    let lab = start(&LabOptions {
        machines: [("n2".into(), boot)].into(),
        key: Some(repository().join("cluster.key")),
        baked_key: true,
        clocks: [("n2".into(), "2001-01-01".into())].into(),
        ..LabOptions::namespaces(2)
    });
    let (n1, n2) = (lab.node("n1"), lab.node("n2"));
    let shown = || {
        let log = n2.log().map_err(|error| error.to_string())?;
        let (_, after) = log.split_once("limosa admit ").ok_or(&*log)?;
        after.get(..9).map(str::to_owned).ok_or(log)
    };
    let code = built(wait_until(BOOT_TIMEOUT, "n2 shows a code", shown));
    assert!(shell(&n2, "date").trim().ends_with("2001"));
    let listed = built(n1.limosa(&["admit"]));
    assert_eq!(listed[0]["name"], "n2", "{listed}");
    let admitted = built(n1.limosa(&["admit", &code]));
    assert_eq!(admitted["name"], "n2", "{admitted}");
    wait_for_state(&n1, "n2", "alive", SOON);
    wait_for_state(&n2, "n1", "alive", SOON);
    let is_right = || {
        let time = shell(&n2, "date +%s");
        let time: u64 = time.trim().parse().map_err(|_| time.clone())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let off = now.as_secs().abs_diff(time);
        (off <= 5).then_some(()).ok_or(format!("{off} s off"))
    };
    built(wait_until(SOON, "n2 has the cluster's time", is_right));
}

#[test]
fn a_machine_leaves_the_disk_of_its_pc_alone() {
    let _alone = alone();
    let directory = std::env::temp_dir().join(format!("limosa-disk-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let disk = directory.join("disk");
    let contents: Vec<u8> = (0..=255_u8).cycle().take(1 << 20).collect();
    std::fs::write(&disk, &contents).unwrap();
    let boot = built(Boot::built_kernel(&repository().join("target"), image()));
    let lab = start(&LabOptions {
        machines: [("n2".into(), boot)].into(),
        disks: [("n2".into(), disk.clone())].into(),
        ..LabOptions::namespaces(2)
    });
    wait_for_meeting(&lab, BOOT_TIMEOUT);
    let devices = shell(&lab.node("n2"), "ls /sys/block; cat /proc/swaps");
    let is_memory = |line: &str| {
        ["zram", "loop", "ram"]
            .iter()
            .any(|kind| line.contains(kind))
    };
    let others: Vec<&str> = devices
        .lines()
        .filter(|line| !is_memory(line) && !line.starts_with("Filename"))
        .collect();
    assert!(others.is_empty(), "block devices: {others:?}");
    assert!(devices.contains("/dev/zram0"), "no swap: {devices}");
    lab.node("n2").stop().unwrap();
    let is_same = std::fs::read(&disk).unwrap() == contents;
    std::fs::remove_dir_all(directory).unwrap();
    assert!(is_same, "the disk was written to");
}

#[test]
fn a_machine_with_another_key_stays_out_and_both_sides_say_why() {
    let _alone = alone();
    let boot = built(Boot::built_kernel(&repository().join("target"), image()));
    let lab = start(&LabOptions {
        strangers: ["n3".into()].into(),
        ..LabOptions::machines(3, &boot)
    });
    for (node, other) in [("n1", "n2"), ("n2", "n1"), ("n3", "n3")] {
        wait_for_state(&lab.node(node), other, "alive", BOOT_TIMEOUT);
    }
    for (node, stranger) in [("n1", "n3"), ("n2", "n3"), ("n3", "n1"), ("n3", "n2")] {
        let begin = format!("node {stranger} at [fe80::");
        wait_until(
            SOON,
            format!("{node} says why {stranger} stays out"),
            || {
                let status = lab.node(node).limosa(&["status"]);
                let status = status.map_err(|error| error.to_string())?;
                let told = status["refusals"].as_array().is_some_and(|lines| {
                    let told =
                        |line: &str| line.starts_with(&begin) && line.ends_with("(wrong key?)");
                    lines.iter().any(|line| line.as_str().is_some_and(told))
                });
                told.then_some(()).ok_or_else(|| status.to_string())
            },
        )
        .unwrap_or_else(|error| panic!("{error}"));
    }
    // Both have heard the other by now, and nothing came of it.
    for (node, stranger) in [("n1", "n3"), ("n2", "n3"), ("n3", "n1"), ("n3", "n2")] {
        assert_eq!(state_of(&lab.node(node), stranger), "unknown", "on {node}");
    }
    assert_eq!(state_of(&lab.node("n1"), "n2"), "alive");
}

#[test]
fn a_program_travels_between_machines_and_home() {
    let _alone = alone();
    let lab = machines(3);
    travels_from_a_machine(&lab, "n1", "compute", &["n2", "home", "n3", "home"]);
}

#[test]
fn programs_travel_between_an_older_and_a_newer_kernel_both_ways() {
    let _alone = alone();
    let target = repository().join("target");
    let older = built(Boot::built_stable_kernel(&target));
    let newer = built(Boot::built_kernel(&target, image()));
    let lab = start(&LabOptions {
        machines: [("n1".into(), older), ("n2".into(), newer)].into(),
        ..LabOptions::namespaces(3)
    });
    wait_for_meeting(&lab, BOOT_TIMEOUT);
    let release = |node: &str| shell(&lab.node(node), "uname -r");
    assert!(release("n1").starts_with("6.1."), "{}", release("n1"));
    assert!(!release("n2").starts_with("6.1."), "{}", release("n2"));
    travels_from_a_machine(&lab, "n1", "clocks", &["n2", "home"]);
    travels_from_a_machine(&lab, "n2", "threads", &["n1", "home"]);

    // From this machine's kernel to both, from one to the other, and home.
    let program = [c_program("clocks", Linkage::Dynamic)];
    let native = run_natively(&program, b"xxx");
    let baseline = ["--baseline", "x86-64-v2"];
    let mut job = Job::start_with(lab.node("n3"), &baseline, &program);
    job.wait_for_output("leg 0\n");
    for (destination, leg) in ["n1", "n2", "home"].into_iter().zip(1..) {
        job.migrate(destination);
        job.feed(b"x");
        job.wait_for_output(&format!("leg {leg}\n"));
    }
    job.assert_untouched();
    assert_eq!(job.finish(), native);
}

/// Runs a paced program on a machine, a leg at home and one at each destination; in the end its output must
/// be that of this machine's, and nothing of the engine may be left on it.
fn travels_from_a_machine(lab: &Lab, home: &str, name: &str, journey: &[&str]) {
    let home = &lab.node(home);
    let program = c_program(name, Linkage::Static);
    let native = run_natively(std::slice::from_ref(&program), &vec![b'x'; journey.len()]);
    let mut port = built(home.lab_port());
    built(port.write_file("/tmp/program", 0o755, &std::fs::read(&program).unwrap()));
    drop(port);
    // The program reads its pace from a pipe with a name; a sleeper keeps that open for writing.
    let sleeper = shell(
        home,
        "rm -f /tmp/pace /tmp/status; mkfifo /tmp/pace
         (limosa run --by-hand -- /tmp/program; echo $? > /tmp/status) \
             < /tmp/pace > /tmp/out 2> /tmp/err &
         sleep 100000 > /tmp/pace 2> /dev/null &
         echo $!",
    );
    wait_for_output(home, "leg 0\n");
    let pid = only_process(home)["pid"].to_string();
    for (destination, leg) in journey.iter().zip(1..) {
        let moved = built(home.limosa(&["migrate", &pid, destination]));
        let place = if *destination == "home" {
            home.name()
        } else {
            destination
        };
        assert_eq!(only_process(home)["node"], place, "after {moved}");
        if place == *destination {
            wait_for_low_weight(&lab.node(destination));
        }
        shell(home, "printf x > /tmp/pace");
        wait_for_output(home, &format!("leg {leg}\n"));
    }
    let status = shell(home, &format!("cat /proc/{pid}/status"));
    assert!(
        status.contains("TracerPid:\t0\n") && status.contains("Seccomp:\t0\n"),
        "{status}"
    );
    shell(home, &format!("kill {}", sleeper.trim()));
    wait_until(SOON, "the program ends", || {
        match shell(home, "cat /tmp/status").trim() {
            "0" => Ok(()),
            other => Err(format!(
                "status {other:?}, error {:?}",
                shell(home, "cat /tmp/err")
            )),
        }
    })
    .unwrap();
    assert_eq!(shell(home, "cat /tmp/out"), native.out);
    assert_eq!(shell(home, "cat /tmp/err"), "");
}

#[test]
fn an_older_cpu_is_refused_by_name_of_what_it_lacks_and_a_program_with_a_baseline_goes_there() {
    let _alone = alone();
    let program = [c_program("compute", Linkage::Dynamic)];
    let native = run_natively(&program, b"xx");
    let boot = built(Boot::built_kernel(&repository().join("target"), image()));
    let lab = start(&LabOptions {
        machines: [("n2".into(), boot)].into(),
        cpus: [("n2".into(), "Nehalem".into())].into(),
        ..LabOptions::namespaces(2)
    });
    wait_for_meeting(&lab, BOOT_TIMEOUT);
    let home = lab.node("n1");

    let mut job = Job::start(lab.node("n1"), &program);
    job.wait_for_output("leg 0\n");
    let why = built(home.limosa(&["why", &job.pid().to_string(), "n2"]));
    assert_eq!(why["can_move"], false, "{why}");
    assert_eq!(why["reasons"][0]["code"], "cpu", "{why}");
    let lacking = why["reasons"][0]["text"].as_str().unwrap();
    assert!(
        lacking.contains("avx2") && lacking.contains("--baseline"),
        "{lacking}"
    );
    let refused = built(home.exec(["limosa", "migrate", &job.pid().to_string(), "n2"]));
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("avx2"),
        "{refused:?}"
    );
    job.assert_untouched();
    job.feed(b"xx");
    assert_eq!(job.finish(), native);

    let baseline = ["--baseline", "x86-64-v2"];
    let mut job = Job::start_with(lab.node("n1"), &baseline, &program);
    job.wait_for_output("leg 0\n");
    let why = built(home.limosa(&["why", &job.pid().to_string(), "n2"]));
    assert_eq!(
        (&why["can_move"], &why["reasons"]),
        (&true.into(), &Value::Array(vec![]))
    );
    for (destination, leg) in ["n2", "home"].into_iter().zip(1..) {
        job.migrate(destination);
        job.feed(b"x");
        job.wait_for_output(&format!("leg {leg}\n"));
    }
    job.assert_untouched();
    assert_eq!(job.finish(), native);
}

/// Runs a script on a machine; what it says on its standard output.
fn shell(node: &NodeHandle<'_>, script: &str) -> String {
    let output = built(node.exec(["sh", "-c", script]));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits until a machine with a guest runs it at the weight of guests.
fn wait_for_low_weight(node: &NodeHandle<'_>) {
    let script = "cd /sys/fs/cgroup/limosa-*-guests && cat cpu.weight && grep -c . cgroup.procs";
    wait_until(SOON, "the guest is given its weight", || {
        let output = node
            .exec(["sh", "-c", script])
            .map_err(|error| error.to_string())?;
        match String::from_utf8_lossy(&output.stdout).split_once('\n') {
            Some(("10", guests)) if !guests.starts_with('0') => Ok(()),
            _ => Err(format!("{output:?}")),
        }
    })
    .unwrap();
}

fn wait_for_output(node: &NodeHandle<'_>, text: &str) {
    wait_until(SOON, format!("the program writes {text:?}"), || {
        let out = shell(node, "cat /tmp/out /tmp/err");
        if out.contains(text) { Ok(()) } else { Err(out) }
    })
    .unwrap_or_else(|error| panic!("{error}"));
}

fn only_process(node: &NodeHandle<'_>) -> Value {
    let rows = built(node.limosa(&["ps"]));
    let found = rows
        .as_array()
        .and_then(|rows| rows.iter().find(|row| row["node"].is_string()));
    found
        .cloned()
        .unwrap_or_else(|| panic!("no process in {rows}"))
}
