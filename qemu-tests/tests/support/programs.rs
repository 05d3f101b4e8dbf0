//! The programs that travel, compiled when a test first needs them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

/// How a program is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Linkage {
    /// With shared libraries.
    Dynamic,
    /// All in one file, at an address of the kernel's choice.
    StaticPie,
    /// All in one file, at a fixed address.
    Static,
}

/// The C program `programs/NAME.c`.
pub fn c_program(name: &str, linkage: Linkage) -> String {
    let linkage_arguments: &[&str] = match linkage {
        Linkage::Dynamic => &[],
        Linkage::StaticPie => &["-static-pie"],
        Linkage::Static => &["-static", "-no-pie"],
    };
    built(&format!("{name}-{linkage:?}"), |binary| {
        let mut command = Command::new("gcc");
        command
            .args(["-O2", "-Wall", "-Wextra", "-Werror", "-pthread"])
            .args(linkage_arguments);
        command
            .arg(source(&format!("{name}.c")))
            .arg("-o")
            .arg(binary)
            .arg("-lm");
        command
    })
}

/// The Rust program `programs/NAME.rs`.
pub fn rust_program(name: &str) -> String {
    built(&format!("{name}-rust"), |binary| {
        let mut command = Command::new("rustc");
        command.args(["-O", "--edition", "2024", "-o"]).arg(binary);
        command.arg(source(&format!("{name}.rs")));
        command
    })
}

/// The words that run the python program `programs/NAME.py`: the interpreter itself, not a wrapper
/// that starts it.
pub fn python_program(name: &str) -> Vec<String> {
    static INTERPRETER: OnceLock<String> = OnceLock::new();
    let interpreter = INTERPRETER.get_or_init(|| {
        let script = "import os, sys; print(os.path.realpath(sys.executable))";
        let output = Command::new("python3")
            .args(["-c", script])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    });
    vec![interpreter.clone(), text(&source(&format!("{name}.py")))]
}

/// An empty directory of this test's own.
pub fn scratch_directory(name: &str) -> String {
    let path =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    text(&path)
}

/// A file of this size with bytes that do not repeat.
pub fn big_file(bytes: usize) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("big-{bytes}"));
    if fs::metadata(&path).is_ok_and(|metadata| metadata.len() == bytes as u64) {
        return text(&path);
    }
    let mut state = 1u64;
    let mut contents = Vec::with_capacity(bytes);
    while contents.len() < bytes {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        contents.extend_from_slice(&state.to_le_bytes());
    }
    contents.truncate(bytes);
    let part = path.with_extension(std::process::id().to_string());
    fs::write(&part, contents).unwrap();
    fs::rename(&part, &path).unwrap();
    text(&path)
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("programs")
        .join(name)
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Builds a program once in this process, whichever tests want it.
fn built(name: &str, command: impl FnOnce(&Path) -> Command) -> String {
    static BUILT: OnceLock<Mutex<HashMap<String, String>>> = OnceLock::new();
    let mut built = BUILT.get_or_init(Mutex::default).lock().unwrap();
    if let Some(path) = built.get(name) {
        return path.clone();
    }
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("programs");
    fs::create_dir_all(&directory).unwrap();
    let binary = directory.join(name);
    // A file of its own first: another test process may be running the old one.
    let part = binary.with_extension(std::process::id().to_string());
    let output = command(&part).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} does not compile:\n{said}");
    fs::rename(&part, &binary).unwrap();
    built.insert(name.into(), text(&binary));
    text(&binary)
}
