//! The files of /proc/PID that show a process's memory, known by their paths. Those of a process that is
//! away show what it was when it left, so its own look at them has to be answered otherwise.

/// A file that shows a process's memory, or the way it is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryFile {
    /// `maps`: the list of mappings.
    Maps,
    /// `mem`, `smaps`, `pagemap` and the like.
    Other,
}

/// Which of process `pid`'s files this is, if it is one; `path` is as the kernel shows it in
/// /proc/PID/fd, with /proc mounted wherever that is.
#[must_use]
pub fn of_path(path: &[u8], pid: u32) -> Option<MemoryFile> {
    let mut parts = path.rsplit(|byte| *byte == b'/');
    let mut name = parts.next()?;
    let mut folder = parts.next()?;
    if folder == b"map_files" {
        name = folder;
        folder = parts.next()?;
    }
    let is_number = !folder.is_empty() && folder.iter().all(u8::is_ascii_digit);
    let mut rest = parts.clone();
    if is_number && rest.next() == Some(b"task") {
        // A thread has the same files.
        folder = rest.next()?;
    }
    if folder != pid.to_string().as_bytes() {
        return None;
    }
    match name {
        b"maps" => Some(MemoryFile::Maps),
        b"mem" | b"smaps" | b"smaps_rollup" | b"pagemap" | b"numa_maps" | b"clear_refs"
        | b"map_files" => Some(MemoryFile::Other),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_s_memory_files_are_known_and_nobody_else_s() {
        for (path, file) in [
            ("/proc/42/maps", Some(MemoryFile::Maps)),
            ("/srv/root/proc/42/maps", Some(MemoryFile::Maps)),
            ("/proc/42/task/43/maps", Some(MemoryFile::Maps)),
            ("/proc/42/mem", Some(MemoryFile::Other)),
            ("/proc/42/task/43/smaps", Some(MemoryFile::Other)),
            ("/proc/42/map_files", Some(MemoryFile::Other)),
            ("/proc/42/map_files/1000-2000", Some(MemoryFile::Other)),
            ("/proc/42/status", None),
            ("/proc/42/task/43/status", None),
            ("/proc/142/maps", None),
            ("/proc/43/task/42/maps", None),
            ("/proc/maps", None),
            ("maps", None),
            ("", None),
        ] {
            assert_eq!(of_path(path.as_bytes(), 42), file, "{path}");
        }
    }
}
