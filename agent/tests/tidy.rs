//! The repository as a newcomer meets it: the README's code map is complete and true, every Rust file says
//! what it is for, and `unsafe` is where the README says it is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules of this folder stand in the code map one by one, whether they are folders or files.
const MODULES: &str = "agent/src";

/// What Cargo makes a crate of: the crate's own folder stands in the map for these.
const CRATE_ROOTS: [&str; 2] = ["lib.rs", "main.rs"];

/// Where `unsafe` may be allowed.
const UNSAFE: [&str; 4] = [
    "agent/src/sys/",
    "agent/tests/forwarded_calls/sys.rs",
    "initramfs/src/sys.rs",
    "qemu-tests/src/sys.rs",
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Names in a folder, without hidden ones and what a build makes.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect()
}

fn folders(folder: &Path) -> Vec<String> {
    let mut folders = names(folder);
    folders.retain(|name| folder.join(name).is_dir());
    folders
}

/// Top-level folders, the folders in them, and the agent's modules.
fn places() -> BTreeSet<String> {
    let root = repository();
    let mut places = BTreeSet::new();
    for top in folders(&root) {
        for below in folders(&root.join(&top)) {
            places.insert(format!("{top}/{below}"));
        }
        places.insert(top);
    }
    for module in names(&root.join(MODULES)) {
        if !CRATE_ROOTS.contains(&module.as_str()) {
            places.insert(format!("{MODULES}/{module}"));
        }
    }
    places
}

/// What the first column of the README's code map names.
fn mapped() -> Vec<String> {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let (_, map) = readme.split_once("\n## Code map\n").unwrap();
    let (map, _) = map.split_once("\n## ").unwrap();
    map.lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()))
        .collect()
}

/// All Rust files, as paths from the top of the repository.
fn rust_files() -> Vec<String> {
    let root = repository();
    let mut waiting = folders(&root);
    let mut files = Vec::new();
    while let Some(folder) = waiting.pop() {
        for name in names(&root.join(&folder)) {
            let path = format!("{folder}/{name}");
            if root.join(&path).is_dir() {
                waiting.push(path);
            } else if name.ends_with(".rs") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 100, "only {} Rust files", files.len());
    files
}

#[test]
fn the_code_map_names_exactly_the_folders_and_modules_that_there_are() {
    let mapped = mapped();
    let unique: BTreeSet<String> = mapped.iter().cloned().collect();
    assert_eq!(
        mapped.len(),
        unique.len(),
        "README.md maps something twice: {mapped:?}"
    );
    let places = places();
    let missing: Vec<_> = places.difference(&unique).collect();
    assert!(
        missing.is_empty(),
        "the code map of README.md does not name {missing:?}: add a row for each, where a newcomer should \
         read it"
    );
    let gone: Vec<_> = unique.difference(&places).collect();
    assert!(
        gone.is_empty(),
        "the code map of README.md names {gone:?}, which are not there: remove their rows"
    );
}

#[test]
fn what_the_readme_links_to_is_there() {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let targets = readme.split("](").skip(1);
    for target in targets.map(|rest| rest.split(')').next().unwrap()) {
        assert!(
            target.starts_with("https://") || repository().join(target).exists(),
            "README.md links to {target}, which is not there"
        );
    }
}

#[test]
fn every_rust_file_begins_by_saying_what_it_is_for() {
    let silent: Vec<String> = rust_files()
        .into_iter()
        .filter(|path| {
            let text = fs::read_to_string(repository().join(path)).unwrap();
            let first = text.lines().next().unwrap_or_default();
            first.strip_prefix("//! ").is_none_or(str::is_empty)
        })
        .collect();
    assert!(
        silent.is_empty(),
        "{silent:?} do not begin with a `//!` line: say in one sentence what the file is for"
    );
}

#[test]
fn unsafe_code_is_allowed_only_where_the_kernel_is_spoken_to() {
    // Put together, so that this file does not allow it by saying so.
    let allowing = ["allow(unsafe", "_code)"].concat();
    let elsewhere: Vec<String> = rust_files()
        .into_iter()
        .filter(|path| !UNSAFE.iter().any(|allowed| path.starts_with(allowed)))
        .filter(|path| {
            let text = fs::read_to_string(repository().join(path)).unwrap();
            text.contains(&allowing)
        })
        .collect();
    assert!(
        elsewhere.is_empty(),
        "{elsewhere:?} allow `unsafe`: move it into `sys`, behind a safe function"
    );
}
