//! Rows of the matrix that tell how long a node takes to join from the moment on in which it has a link.

use std::process::Stdio;
use std::time::{Duration, Instant};

use lab::error::LabError;
use lab::qemu::Boot;
use lab::{Lab, LabOptions, wait_until};

use crate::situations::Situation;
use crate::{Arguments, BOOT_TIMEOUT, SOON, lab_options};

/// All, by name.
pub(crate) const ALL: [(&str, Situation); 4] = [
    ("link-up to joined, namespaces", in_namespaces),
    ("link-up to joined, virtio-net-pci", by_virtio),
    ("link-up to joined, e1000e", by_e1000e),
    ("link-up to joined, rtl8139", by_rtl8139),
];

/// A namespace's interface comes with its cable.
fn in_namespaces(_: &Arguments) -> Result<Duration, LabError> {
    let lab = Lab::start(&LabOptions {
        unplugged: ["n2".into()].into(),
        ..LabOptions::namespaces(2)
    })?;
    lab.node("n1").wait_for_members(1, SOON)?;
    let started = Instant::now();
    lab.node("n2").plug()?;
    lab.node("n1").wait_for_members(2, SOON)?;
    let joined = started.elapsed();
    lab.down()?;
    Ok(joined)
}

fn by_virtio(arguments: &Arguments) -> Result<Duration, LabError> {
    by_card(arguments, "virtio-net-pci")
}

fn by_e1000e(arguments: &Arguments) -> Result<Duration, LabError> {
    by_card(arguments, "e1000e")
}

fn by_rtl8139(arguments: &Arguments) -> Result<Duration, LabError> {
    by_card(arguments, "rtl8139")
}

/// Ends when the node's kernel says that there is a link.
const UNTIL_LINK: &str = "until [ $(cat /sys/class/net/eth0/carrier) = 1 ]; do usleep 10000; done";

/// A machine boots with its cable pulled, says so, and gets it.
fn by_card(arguments: &Arguments, card: &str) -> Result<Duration, LabError> {
    let boot = Boot::built_kernel(&arguments.target, arguments.image)?;
    let lab = Lab::start(&LabOptions {
        machines: [("n2".into(), boot)].into(),
        cards: [("n2".into(), card.into())].into(),
        baked_key: false,
        ..lab_options(&arguments.key, 2)
    })?;
    let (watcher, machine) = (lab.node("n1"), lab.node("n2"));
    let mut monitor = wait_until(SOON, "QEMU listens", || machine.monitor())?;
    monitor.set_link(false)?;
    wait_until(BOOT_TIMEOUT, "n2 says that it has no link", || {
        let log = machine.log().map_err(|error| error.to_string())?;
        log.contains("NO LINK").then_some(()).ok_or(log)
    })?;
    watcher.wait_for_members(1, SOON)?;
    let mut look = machine
        .command(["sh", "-c", UNTIL_LINK])?
        .stdin(Stdio::null())
        .spawn()
        .map_err(LabError::doing("look for the link"))?;
    monitor.set_link(true)?;
    // Some drivers see seconds later what has happened to their card.
    let seen = look.wait().map_err(LabError::doing("wait for the link"))?;
    let link_up = Instant::now();
    if !seen.success() {
        return Err(LabError::Refused(format!("looking for the link: {seen}")));
    }
    watcher.wait_for_members(2, SOON)?;
    let joined = link_up.elapsed();
    lab.down()?;
    Ok(joined)
}
