//! /proc/PID/task: the threads of a process.

use super::{ReadError, read_numbered};
use crate::limits::THREADS_MAX;

/// The threads' ids, sorted; the first thread's is the pid. Threads may start and end meanwhile: who
/// stops them reads again until nothing changes.
///
/// # Errors
/// When the process is gone, or has more than [`THREADS_MAX`] threads.
pub fn read(pid: u32) -> Result<Vec<u32>, ReadError> {
    read_numbered(pid, "task", THREADS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_threads_are_listed_and_we_are_among_them() {
        let process = std::process::id();
        let threads = read(process).unwrap();
        let own = u32::try_from(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
        assert!(threads.contains(&process) && threads.contains(&own));
        assert!(threads.is_sorted());
    }
}
