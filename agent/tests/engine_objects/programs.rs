//! The C programs of `programs/`, compiled once and kept for the next run of the tests, and the commands of
//! this machine.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// What every program of `programs/` is compiled with.
const COMPILER_OPTIONS: [&str; 5] = ["-O1", "-Wall", "-Wextra", "-Werror", "-pthread"];

/// A program and its arguments.
#[derive(Clone)]
pub(crate) struct Program {
    /// Its path, or its name in PATH.
    pub(crate) name: String,
    pub(crate) arguments: Vec<String>,
}

impl Program {
    /// A command of this machine.
    pub(crate) fn command(name: &str, arguments: &[&str]) -> Program {
        let owned = arguments.iter().map(|&argument| argument.to_owned());
        Program {
            name: name.to_owned(),
            arguments: owned.collect(),
        }
    }

    /// A dynamically linked program of `programs/`.
    pub(crate) fn dynamic(name: &str) -> Program {
        Program::compiled(name, "dynamic", &[])
    }

    /// A statically linked program of `programs/`.
    pub(crate) fn statically_linked(name: &str) -> Program {
        Program::compiled(name, "static", &["-static"])
    }

    /// Compiles `programs/NAME.c`, unless that has been done: the file's name tells what went into it.
    fn compiled(name: &str, linkage: &str, options: &[&str]) -> Program {
        let sources = sources();
        let source = sources.join(format!("{name}.c"));
        let mut hasher = DefaultHasher::new();
        for file in [&source, &sources.join("program.h")] {
            let text = fs::read(file);
            text.unwrap_or_else(|error| panic!("{}: {error}", file.display()))
                .hash(&mut hasher);
        }
        (COMPILER_OPTIONS, options).hash(&mut hasher);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("programs");
        fs::create_dir_all(&folder).unwrap();
        let flat_name = name.replace('/', "-");
        let target = folder.join(format!("{flat_name}-{linkage}-{:016x}", hasher.finish()));
        if !target.exists() {
            compile(&source, options, &target);
        }
        Program {
            name: target.to_string_lossy().into_owned(),
            arguments: Vec::new(),
        }
    }

    /// The same program with these arguments.
    pub(crate) fn with(&self, arguments: &[&str]) -> Program {
        Program::command(&self.name, arguments)
    }

    /// The file that is executed.
    pub(crate) fn file(&self) -> PathBuf {
        if self.name.contains('/') {
            return PathBuf::from(&self.name);
        }
        let path = std::env::var("PATH").unwrap();
        let mut places = path
            .split(':')
            .map(|place| Path::new(place).join(&self.name));
        places.find(|place| place.exists()).unwrap()
    }
}

/// The folder of the C programs.
pub(crate) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engine_objects/programs")
}

/// Nobody sees the target before it is complete.
fn compile(source: &Path, options: &[&str], target: &Path) {
    let unfinished = temporary(&format!("compiling-{}", unique_number()));
    let compiled = Command::new("gcc")
        .args(COMPILER_OPTIONS)
        .args(options)
        .arg("-I")
        .arg(sources())
        .arg("-o")
        .arg(&unfinished)
        .arg(source)
        .output()
        .expect("gcc is needed");
    assert!(
        compiled.status.success(),
        "{} does not compile: {}",
        source.display(),
        String::from_utf8_lossy(&compiled.stderr)
    );
    fs::rename(&unfinished, target).unwrap();
}

pub(crate) fn unique_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A path for something that ends with this run of the tests.
pub(crate) fn temporary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()))
}
