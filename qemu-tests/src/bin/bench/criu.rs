//! CRIU, if it is installed and works here: a dump to memory and a restore of the same program.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lab::error::LabError;
use lab::process::ProcessIdentity;
use rustix::process::Signal;

use crate::laboratory::{Laboratory, now_ns};
use crate::watcher::Watcher;

/// Where images are put: a tmpfs, so that no disk is measured.
const IMAGES: &str = "/dev/shm";

/// A CRIU that works.
pub(crate) struct Criu {
    binary: PathBuf,
    version: String,
}

impl Criu {
    /// Looks for it.
    ///
    /// # Errors
    /// Why there is none, for people.
    pub(crate) fn find(binary: &Path) -> Result<Self, String> {
        let run = |word: &str| {
            let output = Command::new(binary).arg(word).output();
            output.map_err(|_| "CRIU is not installed".to_owned())
        };
        let version = String::from_utf8_lossy(&run("--version")?.stdout).into_owned();
        let version = version.lines().next().unwrap_or_default();
        let version = version.trim_start_matches("Version: ").to_owned();
        let check = run("check")?;
        if check.status.success() {
            let binary = binary.to_owned();
            return Ok(Self { binary, version });
        }
        let said = String::from_utf8_lossy(&check.stderr).into_owned();
        let reason = said.lines().next().unwrap_or("no reason").to_owned();
        Err(format!("CRIU {version} does not work here: {reason}"))
    }

    /// For how many seconds a program of this size does not run when it is dumped and restored.
    pub(crate) fn blackout(
        &self,
        laboratory: &Laboratory,
        program: &str,
        size_mib: u64,
    ) -> Result<f64, LabError> {
        let file = laboratory.file("watch-criu");
        let watcher = Watcher::new(&file)?;
        let output = laboratory.file("criu-output");
        let output = File::create(&output).map_err(LabError::doing("make a file"))?;
        let error = output
            .try_clone()
            .map_err(LabError::doing("share a file"))?;
        // A session of its own and no terminal: CRIU takes whole sessions.
        let mut child = Command::new("setsid")
            .args([program, &size_mib.to_string(), "1", "watch"])
            .arg(&file)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(error)
            .spawn()
            .map_err(LabError::doing("run setsid (util-linux)"))?;
        let pid = child.id();
        let images = Path::new(IMAGES).join(format!("limosa-bench-{pid}"));
        let measured = watcher.wait_for_start().and_then(|()| {
            fs::create_dir(&images).map_err(LabError::doing("make a directory"))?;
            let begin_ns = now_ns();
            self.run(&images, &["dump", "--tree", &pid.to_string()])?;
            // The restored process needs the pid.
            child
                .wait()
                .map_err(LabError::doing("await a dumped program"))?;
            self.run(&images, &["restore", "--restore-detached"])?;
            watcher.blackout_since(begin_ns)
        });
        // It was restored as nobody's child, or was never dumped.
        match child.try_wait() {
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            _ => {
                if let Ok(restored) = ProcessIdentity::of(pid) {
                    restored.signal(Signal::KILL);
                }
            }
        }
        let _ = fs::remove_dir_all(&images);
        measured
    }

    fn run(&self, images: &Path, words: &[&str]) -> Result<(), LabError> {
        let output = Command::new(&self.binary)
            .args(words)
            .arg("--images-dir")
            .arg(images)
            .output()
            .map_err(LabError::doing("run CRIU"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let what = words.first().copied().unwrap_or_default();
        Err(LabError::Refused(format!("CRIU's {what} failed: {said}")))
    }
}

impl fmt::Display for Criu {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "CRIU {}, dump and restore", self.version)
    }
}
