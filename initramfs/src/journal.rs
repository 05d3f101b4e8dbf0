//! What `/init` has to say goes to the kernel's log, where `dmesg` shows it beside the drivers' own lines
//! and whose size is bounded.

use std::fs::File;
use std::io::Write;

/// Longest record that /dev/kmsg takes in one write is 1,024 bytes with its prefix (kernel/printk).
const RECORD_BYTES_MAX: usize = 900;

/// Something that went well.
pub(crate) fn note(text: &str) {
    write(6, text);
}

/// Something that a person must know; it also appears on the console when the kernel is `quiet`.
pub(crate) fn warn(text: &str) {
    write(3, text);
}

/// A line of the agent's log.
pub(crate) fn pass_on(line: &str) {
    write_record(6, "", line);
}

fn write(level: u8, text: &str) {
    write_record(level, "init: ", text);
}

fn write_record(level: u8, origin: &str, text: &str) {
    let mut end = text.len().min(RECORD_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    // A kernel log that cannot be written leaves nowhere to say so.
    if let Some(mut log) = open() {
        let _ = log.write_all(format!("<{level}>{origin}{}\n", &text[..end]).as_bytes());
    }
}

/// The kernel's log as standard error of a service: each write becomes one record.
pub(crate) fn open() -> Option<File> {
    File::options().write(true).open("/dev/kmsg").ok()
}
