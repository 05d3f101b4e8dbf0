//! `--pictures`: what a person sees on a machine from the ISO, and on the serial line of one that has no key.

use std::fs;
use std::path::Path;

use lab::error::LabError;
use lab::qemu::{Boot, Firmware, Medium};
use lab::{Lab, LabOptions, NodeHandle, wait_until};

use crate::{Arguments, BOOT_TIMEOUT, SOON, lab_options};

/// With what a node's own lines begin; firmware and boot menu come before.
const FIRST_LINE: &str = "limosa: Limosa ";

/// Takes all pictures; prints what the serial line said.
pub(crate) fn take(arguments: &Arguments, directory: &Path) -> Result<(), LabError> {
    let made = LabError::doing(format!("make {}", directory.display()));
    fs::create_dir_all(directory).map_err(made)?;
    among_others(arguments, &directory.join("cluster.png"))?;
    with_another_key(arguments, &directory.join("wrong-key.png"))?;
    print!("{}", without_key(arguments)?);
    Ok(())
}

/// n2 boots from the ISO beside namespaces.
fn beside_namespaces(arguments: &Arguments) -> Result<LabOptions, LabError> {
    let boot = Boot::built_image(
        &arguments.target,
        arguments.image,
        Medium::Cd,
        Firmware::Bios,
    )?;
    Ok(LabOptions {
        machines: [("n2".into(), boot)].into(),
        ..lab_options(&arguments.key, 3)
    })
}

/// One of three, with a guest.
fn among_others(arguments: &Arguments, picture: &Path) -> Result<(), LabError> {
    let lab = Lab::start(&beside_namespaces(arguments)?)?;
    let home = lab.node("n1");
    home.wait_for_members(3, BOOT_TIMEOUT)?;
    let endless = "i=0; while true; do i=$((i+1)); done";
    // An emulated CPU has less than this machine's.
    let baseline = ["--baseline", "x86-64-v2"];
    let job = [
        &["limosa", "run", "--node", "n2"],
        &baseline[..],
        &["sh", "-c", endless],
    ]
    .concat();
    let mut job = home
        .command(job)?
        .spawn()
        .map_err(LabError::doing("start a job"))?;
    let shown = picture_of(&lab.node("n2"), picture, |log| {
        log.contains("3 of 3 nodes alive") && log.contains("1 guest")
    });
    job.kill()
        .and_then(|()| job.wait())
        .map_err(LabError::doing("end the job"))?;
    shown?;
    lab.down()
}

/// One whose key is not that of the others.
fn with_another_key(arguments: &Arguments, picture: &Path) -> Result<(), LabError> {
    let options = beside_namespaces(arguments)?;
    let lab = Lab::start(&LabOptions {
        baked_key: false,
        strangers: ["n2".into()].into(),
        ..options
    })?;
    let both = |log: &str| log.contains("REFUSED: node n1") && log.contains("REFUSED: node n3");
    picture_of(&lab.node("n2"), picture, both)?;
    lab.down()
}

/// Takes a picture of the screen once the node's serial line, which shows the same and later, has said so much.
fn picture_of(
    node: &NodeHandle<'_>,
    picture: &Path,
    is_enough: impl Fn(&str) -> bool,
) -> Result<(), LabError> {
    wait_until(BOOT_TIMEOUT, "the node shows what it is to show", || {
        let log = node.log().map_err(|error| error.to_string())?;
        is_enough(&log).then_some(()).ok_or(log)
    })?;
    // QEMU may run in another directory.
    let picture = std::path::absolute(picture).map_err(LabError::doing("find the directory"))?;
    node.monitor()?.take_picture(&picture)?;
    let taken = || fs::metadata(&picture).is_ok_and(|picture| picture.len() > 0);
    wait_until(SOON, "the picture is written", || {
        taken().then_some(()).ok_or_else(|| "not yet".to_owned())
    })?;
    println!("{}", picture.display());
    Ok(())
}

/// What the serial line of a node says that has no key, until it asks for one.
fn without_key(arguments: &Arguments) -> Result<String, LabError> {
    let boot = Boot::built_kernel(&arguments.target, arguments.image)?;
    let lab = Lab::start(&LabOptions {
        machines: [("n2".into(), boot)].into(),
        ..lab_options(&arguments.key, 2)
    })?;
    let node = lab.node("n2");
    let mut said = String::new();
    wait_until(BOOT_TIMEOUT, "the node asks for the key", || {
        said = node.log().map_err(|error| error.to_string())?;
        let words = ["Type the cluster key", "fe80::", "limosa admit"];
        let asks = words.iter().all(|word| said.contains(word));
        asks.then_some(()).ok_or_else(|| said.clone())
    })?;
    lab.down()?;
    let begin = said.find(FIRST_LINE).unwrap_or(0);
    Ok(said[begin..].replace('\r', ""))
}
