//! Link arguments of the release binary, for which Cargo has no setting by profile.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // An unwinder finds frames by the table in PT_GNU_EH_FRAME. The release profile aborts on a panic, so
    // nobody looks anything up in these 55 KB.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
    }
}
