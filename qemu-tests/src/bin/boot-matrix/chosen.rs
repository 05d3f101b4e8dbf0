//! A row of the matrix: a node with all that `mkiso.sh` lets one choose besides the key. It must be called as was said, have
//! the files that were added, and let in by SSH who has the key's other half, and nobody else.
//!
//! 1. The second archive is made by the image's own scripts, and joined to the node's root, as boot loaders do.
//! 2. n2 boots both; n1 waits for it by its name.
//! 3. n1 runs a command on n2 by SSH, with the right key and with another.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use lab::error::LabError;
use lab::qemu::Boot;
use lab::{Image, Lab, LabOptions, NodeHandle, wait_until};

use crate::{Arguments, BOOT_TIMEOUT, SOON, lab_options};

const PREFIX: &str = "attic";
/// The prefix and the end of the hardware address that n2 has in a lab.
const NAME: &str = "attic-0002";
const INCLUDED: &str = "a file of the owner's\n";

/// Where what is made for a row lies; it vanishes with this value.
pub(crate) struct Workshop(PathBuf);

impl Workshop {
    /// One of that row.
    pub(crate) fn make(row: &str) -> Result<Self, LabError> {
        let path = std::env::temp_dir().join(format!("limosa-{row}-{}", std::process::id()));
        let made = LabError::doing(format!("make {}", path.display()));
        fs::create_dir_all(path.join("include/etc")).map_err(made)?;
        Ok(Self(path))
    }

    /// Where a file of this name lies.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A pair of SSH keys: this file and the same with `.pub`.
    fn key_pair(&self, name: &str) -> Result<PathBuf, LabError> {
        let file = self.file(name);
        run(Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&file))?;
        Ok(file)
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // What is left lies in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Boots such a node; how long it took to join.
pub(crate) fn boot(arguments: &Arguments) -> Result<Duration, LabError> {
    let workshop = Workshop::make("chosen")?;
    let (ours, foreign) = (workshop.key_pair("ours")?, workshop.key_pair("foreign")?);
    let built = Boot::built_kernel(&arguments.target, arguments.image)?;
    let Boot::Kernel { kernel, initramfs } = built else {
        return Err(LabError::Usage("a kernel is no kernel".into()));
    };
    let initramfs = archives(arguments, &workshop, &initramfs)?;
    let started = Instant::now();
    let lab = Lab::start(&LabOptions {
        machines: [("n2".into(), Boot::Kernel { kernel, initramfs })].into(),
        // Otherwise a lab names its nodes.
        parameters: [("n2".into(), "limosa.name=".into())].into(),
        ..lab_options(&arguments.key, 2)
    })?;
    let home = lab.node("n1");
    home.wait_for_members(2, BOOT_TIMEOUT)?;
    let joined = started.elapsed();
    let question = "cat /etc/included; hostname";
    wait_until(SOON, "the node answers by SSH", || {
        let output = by_ssh(&home, &ours, question).map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stdout);
        let is_right = output.status.success() && said == format!("{INCLUDED}{NAME}\n");
        is_right.then_some(()).ok_or_else(|| format!("{output:?}"))
    })?;
    let output = by_ssh(&home, &foreign, "true")?;
    if output.status.success() || !String::from_utf8_lossy(&output.stderr).contains("denied") {
        return Err(LabError::Refused(format!("another SSH key: {output:?}")));
    }
    lab.down()?;
    Ok(joined)
}

/// The node's root and behind it what was chosen.
fn archives(arguments: &Arguments, workshop: &Workshop, root: &Path) -> Result<PathBuf, LabError> {
    let write = |path: &Path, bytes: &[u8]| {
        fs::write(path, bytes).map_err(LabError::doing(format!("write {}", path.display())))
    };
    let read =
        |path: &Path| fs::read(path).map_err(LabError::doing(format!("read {}", path.display())));
    write(&workshop.file("include/etc/included"), INCLUDED.as_bytes())?;
    let cache = arguments.target.join(match arguments.image {
        Image::Stock => "image-cache",
        Image::Trimmed => "image-cache-trimmed",
    });
    let date = String::from_utf8_lossy(&read(&cache.join("date"))?).into_owned();
    run(Command::new("image/fetch-ssh.sh").arg(&cache))?;
    let chosen = workshop.file("cluster.img");
    run(Command::new("image/cluster.sh")
        .env("SOURCE_DATE_EPOCH", date.trim())
        .arg(&cache)
        .arg(&arguments.key)
        .arg(format!("limosa.name-prefix={PREFIX}"))
        .arg(workshop.file("include"))
        .arg(workshop.file("ours.pub"))
        .arg(&chosen))?;
    let joined = workshop.file("initramfs.img");
    write(&joined, &[read(root)?, read(&chosen)?].concat())?;
    Ok(joined)
}

/// Runs a command on n2, as root.
fn by_ssh(home: &NodeHandle<'_>, key: &Path, command: &str) -> Result<Output, LabError> {
    let key = key.to_string_lossy();
    let mut words = vec!["ssh", "-i", &key];
    let options = [
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        // Each boot has a key of its own.
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "ConnectTimeout=10",
    ];
    for option in options {
        words.extend(["-o", option]);
    }
    words.extend(["root@fe80::6c:61ff:fe62:2%eth0", command]);
    home.exec(words)
}

/// Runs a command to its end, which must be good.
pub(crate) fn run(command: &mut Command) -> Result<(), LabError> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(LabError::doing(format!("run {name}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(LabError::Refused(format!("{name}: {said}")))
}
