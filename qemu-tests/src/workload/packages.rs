//! Debian packages that programs need: which are missing, and their installation.

use std::path::Path;
use std::process::{Command, Stdio};

use super::program::Program;
use crate::error::LabError;

/// Installs the packages that these programs need and that are missing.
pub fn provide<'a>(programs: impl IntoIterator<Item = &'a Program>) -> Result<(), LabError> {
    let missing = missing(programs);
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)
}

/// The packages that must be installed before these programs can run.
pub fn missing<'a>(programs: impl IntoIterator<Item = &'a Program>) -> Vec<&'static str> {
    let needs = programs.into_iter().flat_map(|program| program.needs);
    let mut packages: Vec<_> = needs
        .filter(|(file, _)| !is_there(file))
        .map(|(_, package)| *package)
        .collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// Installs packages; what apt says goes to stderr.
pub fn install(packages: &[&str]) -> Result<(), LabError> {
    apt_get(&["update", "--quiet=2"])?;
    let install = ["install", "--quiet=2", "--yes", "--no-install-recommends"];
    apt_get(&[install.as_slice(), packages].concat())
}

fn apt_get(words: &[&str]) -> Result<(), LabError> {
    let line = format!("apt-get {}", words.join(" "));
    eprintln!("+ {line}");
    let status = Command::new("apt-get")
        .args(words)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        // Our standard output is for results.
        .stdout(std::io::stderr())
        .status()
        .map_err(LabError::doing(format!("run \"{line}\"")))?;
    if status.success() {
        return Ok(());
    }
    Err(LabError::Missing {
        what: words.join(" "),
        remedy: format!("\"{line}\" ended with {status}"),
    })
}

/// Whether a file exists, or a command in the path.
fn is_there(file: &str) -> bool {
    if file.starts_with('/') {
        return Path::new(file).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(file).is_file())
}

#[cfg(test)]
mod tests {
    use super::super::table::PROGRAMS;
    use super::*;

    #[test]
    fn what_is_there_is_not_missing() {
        assert!(is_there("sh") && is_there("/bin/sh"));
        assert!(!is_there("no-such-command") && !is_there("/no/such/file"));
        let needs_nothing = PROGRAMS.iter().filter(|program| program.needs.is_empty());
        assert!(missing(needs_nothing).is_empty());
    }
}
