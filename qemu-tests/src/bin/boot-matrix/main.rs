//! `boot-matrix`: boots the image in machines of many kinds, and prints how long each took to join. Started
//! by `qemu-tests/boot-matrix`, which builds it.
//!
//! 1. The ISO as a CD and as a USB stick, under BIOS and UEFI.
//! 2. Kernel and initramfs with other network cards, processors and sizes of memory.
//! 3. Network boot: a node from the ISO boots others by their network cards, one after the other.
//! 4. With `--room`: it boots five at once, and all six run a job.
//! 5. Situations other than those of one machine on one network (`situations`).
//! 6. From link-up to joined: nodes that have waited for their cables (`cables`).
//!
//! With `--pictures` it takes pictures of screens instead, those of the README.
//!
//! A namespace node with the image's key watches, and says when it sees the machine alive.

mod cables;
mod cases;
mod chosen;
mod memory;
mod network_boot;
mod pictures;
mod situations;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use argh::FromArgs;
use lab::error::LabError;
use lab::{Image, Lab, LabOptions};

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
        network_boot::room(&arguments).map(|()| true)
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
            Ok(after) if *after < Duration::from_secs(1) => format!("{} ms", after.as_millis()),
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
            Start::ByNetwork => network_boot::one(arguments, case),
        });
    }
    for (name, joins) in situations::ALL.iter().chain(&cables::ALL) {
        row(name, &|| joins(arguments));
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
