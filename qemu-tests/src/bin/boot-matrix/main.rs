//! `boot-matrix`: boots the image in machines of many kinds, and prints how long each took to join. Started
//! by `qemu-tests/boot-matrix`, which builds it.
//!
//! 1. The ISO as a CD and as a USB stick, under BIOS and UEFI.
//! 2. Kernel and initramfs with other network cards, processors and sizes of memory.
//! 3. Network boot: a node from the ISO boots others by their network cards, one after the other.
//! 4. With `--room`: it boots five at once, and all six run a job.
//! 5. Situations other than those of one machine on one network (`situations`).
//! 6. A node that has waited for its cable.
//!
//! With `--pictures` it takes pictures of screens instead, those of the README.
//!
//! A namespace node with the image's key watches, and says when it sees the machine alive.

mod cases;
mod chosen;
mod pictures;
mod situations;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use argh::FromArgs;
use lab::error::LabError;
use lab::{Image, Lab, LabOptions, NodeHandle, wait_until};

use cases::{Case, Start};

/// From power-on to membership; emulated machines beside others take their time.
const BOOT_TIMEOUT: Duration = Duration::from_secs(300);

/// For what takes moments on a real machine.
const SOON: Duration = Duration::from_secs(60);

/// Boots the image in machines of many kinds and prints how long each took to join.
#[derive(FromArgs)]
#[argh(
    example = "qemu-tests/boot-matrix\nqemu-tests/boot-matrix --only UEFI --image trimmed\nqemu-tests/boot-matrix --room\nqemu-tests/boot-matrix --pictures image/pictures"
)]
struct Arguments {
    /// only cases with this in their names
    #[argh(option, default = "String::new()")]
    only: String,
    /// five machines at once from one node of the ISO, instead of the cases
    #[argh(switch)]
    room: bool,
    /// takes pictures of screens instead, into this directory (of the README: image/pictures)
    #[argh(option)]
    pictures: Option<PathBuf>,
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
    let outcome = if let Some(directory) = &arguments.pictures {
        pictures::take(&arguments, directory).map(|()| true)
    } else if arguments.room {
        room(&arguments)
    } else {
        matrix(&arguments)
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("boot-matrix: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Boots one case after the other; returns whether all have joined.
fn matrix(arguments: &Arguments) -> Result<bool, LabError> {
    let mut all_joined = true;
    println!("| {:44} | {:>8} |", "machine", "joined");
    println!("|{:-<46}|{:-<9}:|", "", "");
    let mut row = |name: &str, joins: &dyn Fn() -> Result<Duration, LabError>| {
        if !name.contains(&arguments.only) {
            return;
        }
        let result = joins();
        let cell = match &result {
            Ok(after) => format!("{:.1} s", after.as_secs_f64()),
            Err(_) => "FAILED".to_owned(),
        };
        println!("| {name:44} | {cell:>8} |");
        if let Err(error) = result {
            eprintln!("{name}: {error}");
            all_joined = false;
        }
    };
    for case in &cases::all(&arguments.target, arguments.image)? {
        row(&case.name, &|| match case.start {
            Start::ByItself => by_itself(arguments, case),
            Start::ByNetwork => by_network(arguments, case),
        });
    }
    for (name, joins) in situations::ALL {
        row(name, &|| joins(arguments));
    }
    if arguments.only.is_empty() {
        let after = plugged_in()?;
        println!(
            "| {:44} | {:>5.0} ms |",
            "link-up to joined (namespaces)",
            after.as_secs_f64() * 1000.0
        );
    }
    Ok(all_joined)
}

/// What all labs here have: n1 is a namespace node with the key of the image.
fn lab_options(key: &Path, nodes: usize) -> LabOptions {
    LabOptions {
        key: Some(key.to_owned()),
        baked_key: true,
        ..LabOptions::namespaces(nodes)
    }
}

fn by_itself(arguments: &Arguments, case: &Case) -> Result<Duration, LabError> {
    let mut options = lab_options(&arguments.key, 2);
    // Kernel and initramfs alone have no key in them.
    options.baked_key = case.has_key;
    case.add_to(&mut options, "n2");
    let started = Instant::now();
    let lab = Lab::start(&options)?;
    lab.node("n1").wait_for_members(2, BOOT_TIMEOUT)?;
    let joined = started.elapsed();
    lab.down()?;
    Ok(joined)
}

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

fn by_network(arguments: &Arguments, case: &Case) -> Result<Duration, LabError> {
    let lab = with_boot_server(arguments, &[case])?;
    let started = Instant::now();
    lab.node("n3").start()?;
    lab.node("n1").wait_for_members(3, BOOT_TIMEOUT)?;
    let joined = started.elapsed();
    lab.down()?;
    Ok(joined)
}

/// One machine from the ISO boots five at once; then a job is spread over all six.
fn room(arguments: &Arguments) -> Result<bool, LabError> {
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
    let clients = ["n3", "n4", "n5", "n6", "n7"];
    for client in clients {
        lab.node(client).start()?;
    }
    // Firmware that fails to boot (six emulated machines on few processors are slow) is switched on again.
    lab.node("n1").wait_for_members(7, 3 * BOOT_TIMEOUT)?;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "Five machines without a disk (3 BIOS, 2 UEFI), booted by one of the ISO: all joined after {seconds:.1} s."
    );
    spread(&lab.node("n2"), &clients)?;
    println!("A job of five programs was spread over them from n2; all ended as they should.");
    lab.down()?;
    Ok(true)
}

/// Starts one program for each node at `home`, and sends it there.
fn spread(home: &NodeHandle<'_>, nodes: &[&str]) -> Result<(), LabError> {
    for node in nodes {
        let script = "s=0; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); s=$((s+i)); done; echo $s";
        let output = home.exec(["limosa", "run", "--node", node, "sh", "-c", script])?;
        if output.stdout != b"200010000\n" || !output.status.success() {
            return Err(LabError::Refused(format!(
                "the program on {node}: {output:?}"
            )));
        }
    }
    Ok(())
}

/// How long a node takes to join whose cable is plugged in at last.
fn plugged_in() -> Result<Duration, LabError> {
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
