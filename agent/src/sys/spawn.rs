//! Starting a supervisor: this program once more, detached, with one descriptor at a fixed number.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Starts `limosa COMMAND` from this very executable (also when its file was replaced meanwhile) in a
/// session of its own, with `link` as descriptor `number`, standard input and output on /dev/null and
/// standard error as ours. It is not ended with us.
pub fn spawn_detached(command: &str, link: &OwnedFd, number: RawFd) -> io::Result<Child> {
    // As long as the number is in use here, none of the pipes that `Command` makes can have it.
    let _placeholder = File::open("/dev/null")?;
    let source = link.as_raw_fd();
    let mut child = Command::new("/proc/self/exe");
    child
        .arg0("limosa")
        .arg(command)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    // SAFETY: the closure runs in the forked child, makes system calls only and allocates nothing.
    unsafe {
        child.pre_exec(move || {
            if libc::setsid() < 0 {
                return Err(io::Error::last_os_error());
            }
            // dup2 onto itself would leave close-on-exec as it is.
            let result = if source == number {
                libc::fcntl(source, libc::F_SETFD, 0)
            } else {
                libc::dup2(source, number)
            };
            if result < 0 {
                Err(io::Error::last_os_error())
            } else {
                Ok(())
            }
        });
    }
    child.spawn()
}
