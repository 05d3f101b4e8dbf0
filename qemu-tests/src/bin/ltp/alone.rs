//! The library by which a test of the suite is one process: `programs/ltp-alone.c`, built when wanted.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lab::error::LabError;

const SOURCE: &str = include_str!("../../../programs/ltp-alone.c");

/// Builds the library in `directory`; returns its absolute path.
///
/// # Errors
/// When there is no C compiler, or the directory cannot be written to.
pub(crate) fn build(directory: &Path) -> Result<PathBuf, LabError> {
    let directory = fs::canonicalize(directory)
        .map_err(LabError::doing(format!("find {}", directory.display())))?;
    let library = directory.join("ltp-alone.so");
    let mut compiler = Command::new("gcc")
        .args(["-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"])
        .args(["-x", "c", "-", "-o"])
        .arg(&library)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(LabError::doing("run gcc"))?;
    if let Some(mut input) = compiler.stdin.take() {
        input
            .write_all(SOURCE.as_bytes())
            .map_err(LabError::doing("write to gcc"))?;
    }
    let status = compiler.wait().map_err(LabError::doing("wait for gcc"))?;
    if status.success() {
        return Ok(library);
    }
    Err(LabError::Missing {
        what: library.display().to_string(),
        remedy: "gcc did not build it; its complaint is above".into(),
    })
}
