//! The binary's budget (image/size-budget): it travels in the image and to every node that boots from it.
//!
//! Not among the tests that run by default, as it needs the release build. It measures the file that the
//! environment variable LIMOSA_BINARY names, or builds one: `cargo test --release -p limosa --test size`.

use std::fs;

const BUDGETS: &str = include_str!("../../image/size-budget");

/// PT_INTERP of elf(5): the program needs a dynamic loader.
const PROGRAM_HEADER_INTERPRETER: u32 = 3;

#[test]
fn the_release_binary_is_static_and_within_its_budget() {
    let path = std::env::var("LIMOSA_BINARY").unwrap_or_else(|_| {
        assert!(
            !cfg!(debug_assertions),
            "measure the release build: cargo test --release -p limosa --test size"
        );
        env!("CARGO_BIN_EXE_limosa").to_string()
    });
    let size_bytes = fs::metadata(&path).unwrap().len();
    let budget_bytes = budget_bytes();
    println!("{path}: {size_bytes} bytes of {budget_bytes}");
    assert!(
        size_bytes <= budget_bytes,
        "{path} has {size_bytes} bytes, and its budget is {budget_bytes}: look for what grew with \
         `cargo bloat --release -p limosa --crates`"
    );
    assert!(
        !needs_loader(&fs::read(&path).unwrap()),
        "{path} is not static"
    );
}

fn budget_bytes() -> u64 {
    let line = BUDGETS
        .lines()
        .find_map(|line| line.strip_prefix("limosa "));
    line.unwrap().trim().parse().unwrap()
}

/// Whether an ELF64 file names a dynamic loader.
fn needs_loader(elf: &[u8]) -> bool {
    assert_eq!(&elf[..5], b"\x7fELF\x02", "not a 64-bit ELF file");
    let number = |offset: usize, bytes: usize| {
        let mut value = [0; 8];
        value[..bytes].copy_from_slice(&elf[offset..offset + bytes]);
        usize::try_from(u64::from_le_bytes(value)).unwrap()
    };
    // e_phoff, e_phentsize and e_phnum of the ELF64 header.
    let (table, entry_bytes, entries) = (number(32, 8), number(54, 2), number(56, 2));
    (0..entries)
        .any(|entry| number(table + entry * entry_bytes, 4) == PROGRAM_HEADER_INTERPRETER as usize)
}
