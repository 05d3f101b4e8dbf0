//! The directories of one program: what it begins with, what it left natively, where it runs.
//!
//! ```text
//!   <root>/<program>/template    made once by the program's `prepare`
//!                    run         a fresh copy of it for each run, always at this path
//!                    native      what the native run left of its copy
//!                    *.out, *.err, *.client  what the runs and their clients wrote
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::outcome::Outcome;
use super::program::Program;
use crate::error::LabError;

/// The folder of the programs' sources.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/real")
}

/// The directories of one program.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The program.
    pub program: &'static Program,
    directory: PathBuf,
    cache: PathBuf,
    scale: u32,
}

impl Stage {
    /// That of a program below `root`, which is made when needed; what programs fetch is kept in `cache`.
    pub fn new(program: &'static Program, root: &Path, cache: &Path, scale: u32) -> Self {
        let plain = |letter: char| {
            if letter.is_alphanumeric() {
                letter
            } else {
                '-'
            }
        };
        let directory = root.join(program.name.chars().map(plain).collect::<String>());
        Self {
            program,
            directory,
            cache: cache.to_owned(),
            scale,
        }
    }

    /// Where all of it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the program runs.
    pub fn run_directory(&self) -> PathBuf {
        self.directory.join("run")
    }

    fn native_directory(&self) -> PathBuf {
        self.directory.join("native")
    }

    /// The program and its words.
    pub fn words(&self) -> Vec<String> {
        let sources = sources().display().to_string();
        let words = self.program.words.iter();
        words
            .map(|word| match word.strip_prefix("$PROGRAMS") {
                Some(rest) => format!("{sources}{rest}"),
                None => (*word).to_owned(),
            })
            .collect()
    }

    /// The variables that every run has, whoever starts it.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let path = std::env::var("PATH").unwrap_or_default();
        let run = self.run_directory().display().to_string();
        vec![
            ("CACHE", self.cache.display().to_string()),
            ("HOME", run.clone()),
            ("LC_ALL", "C".into()),
            ("PATH", format!("/usr/bin:/bin:{path}")),
            ("PROGRAMS", sources().display().to_string()),
            ("SCALE", self.scale.to_string()),
            ("TERM", "vt100".into()),
            ("TMPDIR", run),
            ("TZ", "UTC".into()),
        ]
    }

    /// Makes the template anew; what an earlier call left is removed.
    pub fn prepare(&self) -> Result<(), LabError> {
        remove(&self.directory)?;
        let run = self.run_directory();
        for directory in [&run, &self.cache] {
            fs::create_dir_all(directory)
                .map_err(LabError::doing(format!("make {}", directory.display())))?;
        }
        let mut shell = Command::new("bash");
        shell
            .args(["-e", "-o", "pipefail", "-c", self.program.prepare])
            .current_dir(&run)
            .envs(self.environment());
        succeed(&mut shell, &format!("prepare {}", self.program.name))?;
        rename(&run, &self.directory.join("template"))
    }

    /// Makes the place of the next run as it was prepared.
    pub fn reset(&self) -> Result<(), LabError> {
        let (template, run) = (self.directory.join("template"), self.run_directory());
        remove(&run)?;
        let mut copy = Command::new("cp");
        copy.arg("--archive").args([&template, &run]);
        succeed(&mut copy, &format!("copy {}", template.display()))
    }

    /// Keeps what the run left as that of the native run.
    pub fn keep_as_native(&self) -> Result<(), LabError> {
        remove(&self.native_directory())?;
        rename(&self.run_directory(), &self.native_directory())
    }

    /// Keeps what the run left under a name of its own, for a person to look at.
    fn keep_as(&self, name: &str) -> Result<(), LabError> {
        let kept = self.directory.join(name);
        remove(&kept)?;
        rename(&self.run_directory(), &kept)
    }

    /// Keeps what the run `name` wrote.
    pub fn keep_output(&self, name: &str, outcome: &Outcome) -> Result<(), LabError> {
        let streams = [
            ("out", &outcome.out),
            ("err", &outcome.err),
            ("client", &outcome.client),
        ];
        for (stream, text) in streams.iter().filter(|(_, text)| !text.is_empty()) {
            let path = self.directory.join(format!("{name}.{stream}"));
            fs::write(&path, text).map_err(LabError::doing(format!("write {}", path.display())))?;
        }
        Ok(())
    }

    /// How a run and the files that it left differ from the native one, in words. If they do, what it
    /// wrote and its files are kept under its name.
    pub fn differences(
        &self,
        outcome: &Outcome,
        native: &Outcome,
        name: &str,
    ) -> Result<Vec<String>, LabError> {
        let mut differences = outcome.differences(native, self.program);
        differences.extend(self.file_differences()?);
        if !differences.is_empty() {
            self.keep_output(name, outcome)?;
            self.keep_as(name)?;
        }
        Ok(differences)
    }

    /// How the files that the run left differ from those of the native run, in words.
    fn file_differences(&self) -> Result<Vec<String>, LabError> {
        let (native, run) = (self.native_directory(), self.run_directory());
        let reading = |directory: &Path| format!("read {}", directory.display());
        let expected = tree(&native).map_err(LabError::doing(reading(&native)))?;
        let found = tree(&run).map_err(LabError::doing(reading(&run)))?;
        let paths: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
        let ignored = |path: &Path| {
            let files = self.program.files_ignored.iter();
            files.copied().any(|file| path.starts_with(file))
        };
        let mut differences = Vec::new();
        for path in paths.into_iter().filter(|path| !ignored(path)) {
            match (expected.get(path), found.get(path)) {
                (Some(_), None) => differences.push(format!("{} is missing", path.display())),
                (None, Some(_)) => differences.push(format!("{} is new", path.display())),
                (expected, found) if expected != found => {
                    differences.push(format!("{} differs", path.display()));
                }
                _ => {}
            }
        }
        Ok(differences)
    }

    /// Removes all of it.
    pub fn remove(&self) -> Result<(), LabError> {
        remove(&self.directory)
    }
}

/// One entry of a tree, with all that a program determines.
#[derive(Debug, PartialEq, Eq)]
enum Entry {
    File {
        mode: u32,
        contents: Vec<u8>,
    },
    Link(PathBuf),
    /// A directory, socket or FIFO, by its mode.
    Other(u32),
}

/// All entries below a directory, by their paths in it.
fn tree(directory: &Path) -> io::Result<BTreeMap<PathBuf, Entry>> {
    let mut entries = BTreeMap::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(below) = waiting.pop() {
        for entry in fs::read_dir(directory.join(&below))? {
            let entry = entry?;
            let (path, relative) = (entry.path(), below.join(entry.file_name()));
            let metadata = entry.metadata()?;
            let found = if metadata.is_file() {
                let (mode, contents) = (metadata.mode(), fs::read(&path)?);
                Entry::File { mode, contents }
            } else if metadata.is_symlink() {
                Entry::Link(fs::read_link(&path)?)
            } else {
                if metadata.is_dir() {
                    waiting.push(relative.clone());
                }
                Entry::Other(metadata.mode())
            };
            entries.insert(relative, found);
        }
    }
    Ok(entries)
}

fn remove(directory: &Path) -> Result<(), LabError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let doing = format!("remove {}", directory.display());
            Err(LabError::doing(doing)(error))
        }
        _ => Ok(()),
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), LabError> {
    fs::rename(from, to).map_err(LabError::doing(format!("rename {}", from.display())))
}

fn succeed(command: &mut Command, doing: &str) -> Result<(), LabError> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(LabError::doing(doing))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let message = format!("cannot {doing}: {}: {}", output.status, said.trim());
    Err(LabError::Refused(message))
}

#[cfg(test)]
mod tests {
    use super::super::table::PROGRAMS;
    use super::*;

    /// A program that begins with one file.
    fn stage(test: &str) -> Stage {
        let mut program = PROGRAMS[0];
        (program.name, program.prepare) = ("some program", "echo $SCALE >file; mkdir folder");
        let root = std::env::temp_dir().join(format!("limosa-{test}-{}", std::process::id()));
        // A table's programs live as long as the process.
        let stage = Stage::new(Box::leak(Box::new(program)), &root, &root.join("cache"), 5);
        stage.prepare().unwrap();
        stage
    }

    #[test]
    fn every_run_begins_with_what_was_prepared() {
        let stage = stage("begins");
        stage.reset().unwrap();
        fs::write(stage.run_directory().join("more"), "").unwrap();
        stage.keep_as_native().unwrap();
        stage.reset().unwrap();
        let file = fs::read_to_string(stage.run_directory().join("file"));
        assert_eq!(file.unwrap(), "5\n");
        assert!(!stage.run_directory().join("more").exists());
        fs::remove_dir_all(stage.directory().parent().unwrap()).unwrap();
    }

    #[test]
    fn files_are_compared_by_path_contents_mode_and_target() {
        let stage = stage("compared");
        for change in [
            "echo 6 >file",
            "rm file",
            "chmod 600 file",
            "touch new",
            "ln -s file folder/link",
        ] {
            stage.reset().unwrap();
            stage.keep_as_native().unwrap();
            stage.reset().unwrap();
            assert_eq!(stage.file_differences().unwrap(), [""; 0]);
            let mut shell = Command::new("sh");
            shell
                .args(["-c", change])
                .current_dir(stage.run_directory());
            succeed(&mut shell, change).unwrap();
            assert_eq!(stage.file_differences().unwrap().len(), 1, "{change}");
        }
        fs::remove_dir_all(stage.directory().parent().unwrap()).unwrap();
    }
}
