//! Where the programs are that a lab is made with.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::LabError;

/// The programs that nodes are made with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Programs {
    /// The `lab` binary itself.
    pub lab: PathBuf,
    /// The `limosa` binary.
    pub limosa: PathBuf,
}

impl Programs {
    /// Finds them: `limosa` is the named one, or `$LIMOSA_BINARY`, or the one beside this program.
    ///
    /// # Errors
    /// [`LabError::Missing`] when one is not there.
    pub fn find(limosa: Option<&Path>) -> Result<Self, LabError> {
        let named = limosa.map(PathBuf::from);
        let named = named.or_else(|| std::env::var_os("LIMOSA_BINARY").map(PathBuf::from));
        let limosa = match named {
            Some(path) => fs::canonicalize(&path).map_err(|error| LabError::Missing {
                what: format!("the limosa binary {} ({error})", path.display()),
                remedy: "name the limosa binary by its path".into(),
            })?,
            None => beside("limosa")?,
        };
        Ok(Self {
            lab: lab_binary()?,
            limosa,
        })
    }
}

/// The `lab` binary: this program, or the one beside this test.
pub(crate) fn lab_binary() -> Result<PathBuf, LabError> {
    beside("lab")
}

/// A binary in the directory of this one. Tests lie one directory deeper, in `deps`.
fn beside(name: &str) -> Result<PathBuf, LabError> {
    let own = std::env::current_exe().map_err(LabError::doing("find the own binary"))?;
    let directory = own.parent().unwrap_or(Path::new("/"));
    let directory = match directory.file_name() {
        Some(last) if last == "deps" => directory.parent().unwrap_or(directory),
        _ => directory,
    };
    let path = directory.join(name);
    if path.exists() {
        return Ok(path);
    }
    let remedy = "build everything by \"cargo build\" first".into();
    Err(LabError::Missing {
        what: path.display().to_string(),
        remedy,
    })
}
