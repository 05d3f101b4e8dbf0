//! Machines that have nothing but their network cards, and the node from the ISO that boots them.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use lab::error::LabError;
use lab::{Lab, NodeHandle, wait_until};

use crate::cases::{self, Case, Start};
use crate::{Arguments, BOOT_TIMEOUT, SOON, lab_options};

/// Brings up n2, a node that boots others; n3 and so on are off.
fn with_boot_server(arguments: &Arguments, clients: &[&Case]) -> Result<Lab, LabError> {
    let mut options = lab_options(&arguments.key, 2 + clients.len());
    cases::boot_server(&arguments.target, arguments.image)?.add_to(&mut options, "n2");
    for (case, number) in clients.iter().zip(3..) {
        case.add_to(&mut options, &format!("n{number}"));
    }
    let lab = Lab::start(&options)?;
    for number in 3..3 + clients.len() {
        lab.node(&format!("n{number}")).kill()?;
    }
    let server = lab.node("n2");
    wait_until(SOON, "the boot menu is there", || {
        let log = server.log().map_err(|error| error.to_string())?;
        if log.contains("over the network") {
            Ok(())
        } else {
            Err("not yet".to_owned())
        }
    })?;
    // The menu's key for the entry that boots others.
    let line = server.type_on_serial("n")?;
    lab.node("n1").wait_for_members(2, BOOT_TIMEOUT)?;
    drop(line);
    wait_until(SOON, "the boot server serves", || {
        let served = ["sh", "-c", "dmesg | grep 'is served from'"];
        match server.exec(served) {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(format!("{output:?}")),
            Err(error) => Err(error.to_string()),
        }
    })?;
    Ok(lab)
}

/// Boots one; how long it took to join.
pub(crate) fn one(arguments: &Arguments, case: &Case) -> Result<Duration, LabError> {
    let lab = with_boot_server(arguments, &[case])?;
    let started = Instant::now();
    lab.node("n3").start()?;
    lab.node("n1").wait_for_members(3, BOOT_TIMEOUT)?;
    let joined = started.elapsed();
    lab.down()?;
    Ok(joined)
}

/// One machine from the ISO boots five at once; then a job is spread over all six.
pub(crate) fn room(arguments: &Arguments) -> Result<(), LabError> {
    let cases = cases::all(&arguments.target, arguments.image)?;
    let by_network = |firmware: &str| {
        let mut cases = cases.iter();
        cases.find(|case| case.start == Start::ByNetwork && case.name.contains(firmware))
    };
    let (Some(bios), Some(uefi)) = (by_network("BIOS"), by_network("UEFI")) else {
        return Err(LabError::Usage("there is no case of network boot".into()));
    };
    let lab = with_boot_server(arguments, &[bios, bios, bios, uefi, uefi])?;
    let started = Instant::now();
    for client in &ROOM[1..] {
        lab.node(client).start()?;
    }
    // Six emulated machines on few processors are slow.
    lab.node("n1")
        .wait_for_members(ROOM.len() + 1, 3 * BOOT_TIMEOUT)?;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "Five machines without a disk (3 BIOS, 2 UEFI), booted by one of the ISO: all joined after {seconds:.1} s."
    );
    let seconds = spread(&lab.node(ROOM[0]))?.as_secs_f64();
    println!(
        "A job of six processes, started on {}, had been on all six after {seconds:.1} s, and ended as it should.",
        ROOM[0]
    );
    lab.down()
}

/// The machines of [`room`]; the first boots the others.
const ROOM: [&str; 6] = ["n2", "n3", "n4", "n5", "n6", "n7"];

/// Computes until a file of its home is there.
const WORK: &str = "while [ ! -e /tmp/enough ]; do
    i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done
done
echo worked";

/// Runs a job at `home` whose processes are spread over all machines, and lets it end once each of these was seen to have one. They
/// need not be everywhere at one moment: emulated machines are busy with themselves at times, and send a guest home then. How long
/// it took.
fn spread(home: &NodeHandle<'_>) -> Result<Duration, LabError> {
    home.lab_port()?
        .write_file("/tmp/work", 0o755, WORK.as_bytes())?;
    let started = Instant::now();
    let start_one = |node: &&str| format!("limosa run --node {node} sh /tmp/work & ");
    let (_, others) = ROOM.split_at(1);
    let start_others: String = others.iter().map(start_one).collect();
    let start_all = format!("{start_others} limosa run --home sh /tmp/work & wait");
    let job = home
        .command(["sh", "-c", &start_all])?
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(LabError::doing("start the job"))?;
    let mut seen = BTreeSet::new();
    let is_everywhere = wait_until(BOOT_TIMEOUT, "each machine has had a process", || {
        let rows = home.limosa(&["ps"]).map_err(|error| error.to_string())?;
        let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
        let places = rows.iter().filter_map(|row| row["node"].as_str());
        seen.extend(places.map(str::to_owned));
        let everywhere = ROOM.iter().all(|&node| seen.contains(node));
        everywhere
            .then(|| started.elapsed())
            .ok_or(format!("so far {seen:?}"))
    });
    home.exec(["touch", "/tmp/enough"])?;
    all_worked(job)?;
    is_everywhere
}

/// Waits for the job's end; each of its processes must have said once that it worked.
fn all_worked(job: Child) -> Result<(), LabError> {
    let output = job
        .wait_with_output()
        .map_err(LabError::doing("wait for the job"))?;
    if output.status.success() && output.stdout == b"worked\n".repeat(ROOM.len()) {
        return Ok(());
    }
    Err(LabError::Refused(format!("the job: {output:?}")))
}
