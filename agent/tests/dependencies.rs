//! Every crate that is built into Limosa is one that somebody has looked at.

use std::collections::BTreeSet;

const LOCK: &str = include_str!("../../Cargo.lock");
const ALLOWED: &str = include_str!("dependencies.allow");

#[test]
fn the_lock_file_names_only_crates_that_were_allowed() {
    let locked: BTreeSet<&str> = LOCK
        .lines()
        .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
        .filter(|name| *name != "limosa" && !name.starts_with("limosa-"))
        .collect();
    let allowed: BTreeSet<&str> = ALLOWED
        .lines()
        .filter_map(|line| line.split('#').next())
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    assert!(!locked.is_empty(), "Cargo.lock is not as expected");

    let unknown: Vec<_> = locked.difference(&allowed).collect();
    assert!(
        unknown.is_empty(),
        "Cargo.lock has crates that agent/tests/dependencies.allow does not: {unknown:?}.\n\
         A new crate must be maintained, build statically, and do what would take us long to do well. \
         Write that reason in one line above it in Cargo.toml, look at what it brings along \
         (`cargo tree -i NAME`), and add all of it to the list."
    );
    let gone: Vec<_> = allowed.difference(&locked).collect();
    assert!(
        gone.is_empty(),
        "agent/tests/dependencies.allow has crates that are not needed any more: {gone:?}. Remove them."
    );
}
