//! `measure`: what Limosa weighs and what it costs while nobody uses it. Started by `qemu-tests/measure`,
//! which builds it.
//!
//! 1. The sizes of what is built.
//! 2. Three nodes in namespaces: how fast they meet, and what an agent uses when nothing happens.
//! 3. The image in a virtual machine: from power-on to membership.
//!
//! What has not been built is left out, and said. Nothing here judges: budgets are those of
//! `image/size-budget` and `agent/tests/size.rs`.

mod report;
mod usage;

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use argh::FromArgs;
use lab::error::LabError;
use lab::machine;
use lab::programs::Programs;
use lab::qemu::{Boot, Firmware, Medium};
use lab::{Image, Lab, LabOptions};

use report::{Measurement, Report, Value};
use usage::{Usage, usage};

/// Nodes of the idle cluster.
const NODES: usize = 3;

/// How long namespaces may take to meet.
const MEET_TIMEOUT: Duration = Duration::from_secs(20);

/// How long an emulated machine may take from power-on to membership.
const BOOT_TIMEOUT: Duration = Duration::from_secs(180);

/// After this time without news the agents' beacons have become as rare as they get.
const SETTLE_TIME: Duration = Duration::from_secs(15);

/// Sizes of what is built, idle cost of the agent, and time from power-on to membership.
#[derive(FromArgs)]
#[argh(
    example = "qemu-tests/measure\nqemu-tests/measure --json | jq '.measurements[] | {{name, value}}'"
)]
struct Arguments {
    /// print JSON
    #[argh(switch)]
    json: bool,
    /// how long to watch idle agents, in seconds (default: 30)
    #[argh(option, default = "30")]
    idle_seconds: u64,
    /// do not boot the image
    #[argh(switch)]
    no_boot: bool,
    /// which image, by its kernel: stock or trimmed (default: stock)
    #[argh(option, default = "Image::Stock")]
    image: Image,
    /// where mkiso.sh has put the image (default: target of the working directory)
    #[argh(option, default = "PathBuf::from(\"target\")")]
    target: PathBuf,
    /// the cluster key that is in the image (default: cluster.key of the working directory)
    #[argh(option, default = "PathBuf::from(\"cluster.key\")")]
    key: PathBuf,
}

fn main() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    match measure(&arguments) {
        Ok(report) if arguments.json => print(&(report.json() + "\n")),
        Ok(report) => print(&report.table()),
        Err(error) => {
            eprintln!("measure: {error}");
            ExitCode::from(if matches!(error, LabError::Usage(_)) {
                2
            } else {
                1
            })
        }
    }
}

/// Writes to stdout; a reader that went away, as `head` does, is no error.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("measure: cannot write what was measured: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn measure(arguments: &Arguments) -> Result<Report, LabError> {
    if arguments.idle_seconds == 0 {
        return Err(LabError::Usage(
            "nothing can be seen in 0 seconds: --idle-seconds 1 or more".into(),
        ));
    }
    let machine = machine::describe();
    let mut measurements = sizes(arguments)?;
    measurements.extend(idle_cost(Duration::from_secs(arguments.idle_seconds))?);
    measurements.push(boot_to_joined(arguments)?);
    Ok(Report {
        machine,
        measurements,
    })
}

fn sizes(arguments: &Arguments) -> Result<Vec<Measurement>, LabError> {
    let limosa = Programs::find(None)?.limosa;
    let init = limosa.with_file_name("init");
    let (target, image) = (&arguments.target, arguments.image);
    let netboot = image.netboot(target);
    let files = [
        ("limosa_bytes", "limosa", limosa),
        ("init_bytes", "/init", init),
        ("iso_bytes", "ISO", image.iso(target)),
        (
            "initramfs_bytes",
            "initramfs, both binaries and drivers in it",
            netboot.join("initramfs.img"),
        ),
        ("kernel_bytes", "kernel", netboot.join("vmlinuz")),
    ];
    let measurements = files.into_iter().map(|(name, what, path)| Measurement {
        name,
        what,
        value: match fs::metadata(&path) {
            Ok(metadata) => Value::Bytes(metadata.len()),
            Err(error) => Value::Missing(error.to_string()),
        },
        how: format!("size of {}", from_here(&path).display()),
    });
    Ok(measurements.collect())
}

/// A path as one would type it in the working directory.
fn from_here(path: &Path) -> &Path {
    std::env::current_dir()
        .ok()
        .and_then(|here| path.strip_prefix(here).ok())
        .unwrap_or(path)
}

/// Brings up a cluster that has nothing to do, and looks at its agents from outside.
fn idle_cost(watch: Duration) -> Result<Vec<Measurement>, LabError> {
    let started = Instant::now();
    let lab = Lab::namespaces(NODES)?;
    let nodes = lab.nodes()?;
    for node in &nodes {
        node.wait_for_members(NODES, MEET_TIMEOUT)?;
    }
    let met = started.elapsed();
    sleep(SETTLE_TIME);
    let pids: Vec<u32> = nodes
        .iter()
        .map(|node| node.process().map(|process| process.pid))
        .collect::<Result<_, _>>()?;
    let (before, frames_before) = (usages(&pids)?, lab.status()?.frames.delivered);
    let watched = Instant::now();
    sleep(watch);
    let (after, frames_after) = (usages(&pids)?, lab.status()?.frames.delivered);
    let seconds = watched.elapsed().as_secs_f64();
    lab.down()?;
    let cpu_seconds: f64 = after
        .iter()
        .zip(&before)
        .map(|(after, before)| after.cpu_seconds - before.cpu_seconds)
        .sum();
    let largest = |bytes: fn(&Usage) -> u64| after.iter().map(bytes).max().unwrap_or(0);
    let agents = format!("{NODES} agents in namespaces");
    Ok(vec![
        Measurement {
            name: "meeting_seconds",
            what: "from nothing to a cluster of three",
            value: Value::Seconds(met.as_secs_f64()),
            how: format!("{agents}: lab begun to all see all alive"),
        },
        Measurement {
            name: "agent_resident_bytes",
            what: "idle agent, resident memory",
            value: Value::Bytes(largest(|usage| usage.resident_bytes)),
            how: format!("{agents}: largest VmRSS"),
        },
        Measurement {
            name: "agent_private_bytes",
            what: "of it not the binary's own pages",
            value: Value::Bytes(largest(|usage| usage.anonymous_bytes)),
            how: format!("{agents}: largest RssAnon"),
        },
        Measurement {
            name: "agent_cpu_percent",
            what: "idle agent, CPU time",
            value: Value::Percent(100.0 * cpu_seconds / seconds / NODES as f64),
            how: format!("{agents}: mean over {seconds:.0} s, of one CPU"),
        },
        Measurement {
            name: "frames_per_second",
            what: "idle cluster of three, frames on the network",
            value: Value::PerSecond((frames_after - frames_before) as f64 / seconds),
            how: format!("{agents}: frames that the switch delivered in {seconds:.0} s"),
        },
    ])
}

fn usages(pids: &[u32]) -> Result<Vec<Usage>, LabError> {
    pids.iter()
        .map(|&pid| usage(pid).map_err(LabError::doing(format!("look at agent {pid}"))))
        .collect()
}

/// Boots the image as a CD beside a namespace node that has the same key.
fn boot_to_joined(arguments: &Arguments) -> Result<Measurement, LabError> {
    let value = if arguments.no_boot {
        Value::Missing("left out by --no-boot".into())
    } else {
        match Boot::built_image(
            &arguments.target,
            arguments.image,
            Medium::Cd,
            Firmware::Bios,
        ) {
            Ok(boot) => Value::Seconds(boot_image(boot, &arguments.key)?.as_secs_f64()),
            Err(error) => Value::Missing(error.to_string()),
        }
    };
    Ok(Measurement {
        name: "boot_to_joined_seconds",
        what: "ISO, power-on to membership",
        value,
        how: "CD under BIOS, QEMU without KVM, one CPU, 512 MiB".into(),
    })
}

fn boot_image(boot: Boot, key: &Path) -> Result<Duration, LabError> {
    let started = Instant::now();
    let lab = Lab::start(&LabOptions {
        machines: [("n2".into(), boot)].into(),
        key: Some(key.to_owned()),
        baked_key: true,
        ..LabOptions::namespaces(2)
    })?;
    lab.node("n1").wait_for_members(2, BOOT_TIMEOUT)?;
    let joined = started.elapsed();
    lab.down()?;
    Ok(joined)
}
