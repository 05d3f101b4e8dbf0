//! The archive that is handed out behind the image's own: parameters and, if so chosen, the key (pure).
//!
//! The kernel unpacks all archives that a boot loader gives it, one over the other, in the `newc` format of
//! cpio (Documentation/driver-api/early-userspace/buffer-format.rst).

/// S_IFDIR and S_IFREG with permissions.
const DIRECTORY_MODE: u32 = 0o040_755;
const FILE_MODE: u32 = 0o100_600;

/// Where /init looks for them.
const DIRECTORIES: [&str; 2] = ["etc", "etc/limosa"];
const KEY_PATH: &str = "etc/limosa/cluster.key";
const PARAMETERS_PATH: &str = "etc/limosa/parameters";

/// The archive, a multiple of 4 bytes long; empty if there is nothing to say.
#[must_use]
pub fn archive(key: Option<&str>, parameters: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    if key.is_none() && parameters.is_empty() {
        return bytes;
    }
    for directory in DIRECTORIES {
        add(&mut bytes, directory, DIRECTORY_MODE, b"");
    }
    if let Some(key) = key {
        add(
            &mut bytes,
            KEY_PATH,
            FILE_MODE,
            format!("{key}\n").as_bytes(),
        );
    }
    if !parameters.is_empty() {
        let line = format!("{parameters}\n");
        add(&mut bytes, PARAMETERS_PATH, FILE_MODE, line.as_bytes());
    }
    add(&mut bytes, "TRAILER!!!", 0, b"");
    bytes
}

fn add(bytes: &mut Vec<u8>, name: &str, mode: u32, contents: &[u8]) {
    // c_ino (the kernel wants it only for hard links), c_mode, c_uid, c_gid, c_nlink, c_mtime, c_filesize,
    // c_maj, c_min, c_rmaj, c_rmin, c_namesize, c_chksum.
    let name_bytes = name.len() as u32 + 1;
    let size_bytes = contents.len() as u32;
    let fields = [0, mode, 0, 0, 1, 0, size_bytes, 0, 0, 0, 0, name_bytes, 0];
    bytes.extend_from_slice(b"070701");
    for field in fields {
        bytes.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(0);
    pad(bytes);
    bytes.extend_from_slice(contents);
    pad(bytes);
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn cpio_reads_what_was_written() {
        let bytes = archive(Some("limosa1-a-b-c"), "limosa.open");
        assert_eq!(bytes.len() % 4, 0);
        let mut cpio = Command::new("busybox")
            .args(["cpio", "-t"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        cpio.stdin.take().unwrap().write_all(&bytes).unwrap();
        let listed = cpio.wait_with_output().unwrap();
        assert_eq!(
            String::from_utf8(listed.stdout).unwrap(),
            "etc\netc/limosa\netc/limosa/cluster.key\netc/limosa/parameters\n"
        );
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains("limosa1-a-b-c\n") && text.contains("limosa.open\n"));
    }

    #[test]
    fn without_the_choice_there_is_no_key() {
        assert!(archive(None, "").is_empty());
        let bytes = archive(None, "limosa.seed=10.0.0.1");
        assert!(!String::from_utf8(bytes).unwrap().contains("cluster.key"));
    }
}
