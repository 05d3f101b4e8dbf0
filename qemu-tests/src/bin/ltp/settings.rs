//! The kernel's settings, which some tests change, and leave so when they are killed: `fs.pipe-max-size` of
//! one page, say, makes every later program with a pipe fail, at home too.

use std::fs;
use std::path::Path;

/// Where the kernel has them.
const ROOT: &str = "/proc/sys";

/// Those that tests of the suite write.
const NAMES: &[&str] = &[
    "fs/file-max",
    "fs/inotify/max_user_instances",
    "fs/inotify/max_user_watches",
    "fs/inotify/max_queued_events",
    "fs/lease-break-time",
    "fs/mqueue/queues_max",
    "fs/nr_open",
    "fs/pipe-max-size",
    "fs/pipe-user-pages-hard",
    "fs/pipe-user-pages-soft",
    "fs/protected_hardlinks",
    "fs/protected_symlinks",
    "kernel/core_pattern",
    "kernel/keys/gc_delay",
    "kernel/keys/maxbytes",
    "kernel/keys/maxkeys",
    "kernel/msgmni",
    "kernel/pid_max",
    "kernel/printk",
    "kernel/sched_rt_runtime_us",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/threads-max",
    "user/max_user_namespaces",
    "vm/dirty_expire_centisecs",
    "vm/max_map_count",
    "vm/nr_hugepages",
    "vm/overcommit_memory",
    "vm/overcommit_ratio",
];

/// The settings as they were.
pub(crate) struct Settings(Vec<(&'static str, Vec<u8>)>);

impl Settings {
    /// Reads those that this kernel has.
    pub(crate) fn read() -> Settings {
        let value = |&name: &&'static str| Some((name, fs::read(Path::new(ROOT).join(name)).ok()?));
        Settings(NAMES.iter().filter_map(value).collect())
    }

    /// Sets those back that have changed, and says so.
    pub(crate) fn restore(&self, after: &str) {
        for (name, value) in &self.0 {
            let path = Path::new(ROOT).join(name);
            if fs::read(&path).is_ok_and(|seen| seen == *value) {
                continue;
            }
            match fs::write(&path, value) {
                Ok(()) => eprintln!("ltp: {name} is set back after {after}"),
                Err(error) => eprintln!("ltp: {name} cannot be set back after {after}: {error}"),
            }
        }
    }
}
