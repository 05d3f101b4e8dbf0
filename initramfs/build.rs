//! Link arguments of the release binary, for which Cargo has no setting by profile.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../agent/no-unwind-tables.ld");
    // As for the agent (agent/build.rs): the release profile aborts on a panic.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        let directory = env!("CARGO_MANIFEST_DIR");
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{directory}/../agent/no-unwind-tables.ld");
    }
}
