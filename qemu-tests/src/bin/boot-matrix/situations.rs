//! Rows of the matrix that are about more than one machine on one network. All boot kernel and initramfs.

use std::time::{Duration, Instant};

use lab::dhcp::{DhcpServer, Lease};
use lab::error::LabError;
use lab::qemu::Boot;
use lab::{Lab, LabOptions, NodeHandle};

use crate::{Arguments, BOOT_TIMEOUT, lab_options};

/// How long a situation takes until all nodes have joined.
pub(crate) type Situation = fn(&Arguments) -> Result<Duration, LabError>;

/// All, by name.
pub(crate) const ALL: [(&str, Situation); 5] = [
    ("eight at once, 128 MiB each", eight_at_once),
    ("no key, limosa.open", open),
    ("another segment, by limosa.seed", another_segment),
    ("192 MiB, and a guest of 96 MiB", crate::memory::boot),
    ("--ssh-key, --include, --name-prefix", crate::chosen::boot),
];

/// A namespace n1 and a machine n2.
pub(crate) fn machine(arguments: &Arguments) -> Result<LabOptions, LabError> {
    let boot = Boot::built_kernel(&arguments.target, arguments.image)?;
    Ok(LabOptions {
        machines: [("n2".into(), boot)].into(),
        baked_key: false,
        ..lab_options(&arguments.key, 2)
    })
}

fn eight_at_once(arguments: &Arguments) -> Result<Duration, LabError> {
    let boot = Boot::built_kernel(&arguments.target, arguments.image)?;
    let started = Instant::now();
    let lab = Lab::start(&LabOptions {
        memory_mib: Some(128),
        ..LabOptions::machines(8, &boot)
    })?;
    for node in lab.nodes()? {
        node.wait_for_members(8, BOOT_TIMEOUT)?;
    }
    let joined = started.elapsed();
    lab.down()?;
    Ok(joined)
}

fn open(arguments: &Arguments) -> Result<Duration, LabError> {
    let started = Instant::now();
    let lab = Lab::start(&LabOptions {
        open: true,
        ..machine(arguments)?
    })?;
    lab.node("n1").wait_for_members(2, BOOT_TIMEOUT)?;
    let joined = started.elapsed();
    lab.node("n2").wait_for_members(2, BOOT_TIMEOUT)?;
    let screen = lab.node("n2").log()?;
    if !screen.contains("OPEN CLUSTER") {
        return Err(LabError::Refused(format!(
            "nobody is told that the cluster is open: {screen}"
        )));
    }
    lab.down()?;
    Ok(joined)
}

/// n1 is a router between two segments and no node: n2, which boots, is on one, n3 and n4 are on the other.
/// n2 gets an address and its router by DHCP, and knows one seed. It must meet both.
fn another_segment(arguments: &Arguments) -> Result<Duration, LabError> {
    let started = Instant::now();
    let lab = Lab::start(&LabOptions {
        nodes: 4,
        parameters: [("n2".into(), "limosa.seed=10.77.2.3".into())].into(),
        ..machine(arguments)?
    })?;
    lab.cut("n2", "n3")?;
    lab.cut("n2", "n4")?;
    let router = lab.node("n1");
    router.stop()?;
    // It forwards to the wire that a packet came from, and need not tell the sender so.
    for setting in [
        "ip_forward=1",
        "conf.all.send_redirects=0",
        "conf.eth0.send_redirects=0",
    ] {
        run(&router, &["sysctl", "-qw", &format!("net.ipv4.{setting}")])?;
    }
    run(
        &router,
        &["ip", "address", "add", "10.77.2.1/24", "dev", "eth0"],
    )?;
    for (name, address) in [("n3", "10.77.2.3/24"), ("n4", "10.77.2.4/24")] {
        let node = lab.node(name);
        run(&node, &["ip", "address", "add", address, "dev", "eth0"])?;
        run(
            &node,
            &["ip", "route", "add", "default", "via", "10.77.2.1"],
        )?;
    }
    let lease = Lease {
        network: "10.77.1",
        host_name: None,
    };
    let _server = DhcpServer::start(&router, lease)?;
    // n1 has left, and is not alive for anybody.
    for name in ["n3", "n4", "n2"] {
        lab.node(name).wait_for_members(3, BOOT_TIMEOUT)?;
    }
    let joined = started.elapsed();
    lab.down()?;
    Ok(joined)
}

fn run(node: &NodeHandle<'_>, command: &[&str]) -> Result<(), LabError> {
    let output = node.exec(command)?;
    if output.status.success() {
        return Ok(());
    }
    Err(LabError::Refused(format!("{command:?}: {output:?}")))
}
