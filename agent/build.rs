//! Link arguments of the release binary, for which Cargo has no setting by profile.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=no-unwind-tables.ld");
    // The release profile aborts on a panic, so nobody unwinds, and the tables for it are a tenth of the binary.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        let directory = env!("CARGO_MANIFEST_DIR");
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{directory}/no-unwind-tables.ld");
    }
}
