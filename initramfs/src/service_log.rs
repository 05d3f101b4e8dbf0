//! What a service and what it starts write to their standard error: passed on to the kernel's log, and the
//! last line kept for the console, where it may be all that a person without a shell can see.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Stdio;
use std::rc::Rc;

use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::journal;

/// Longest line that is passed on whole, in bytes.
const LINE_BYTES_MAX: usize = 4096;

/// One pipe for all of a service's runs, so that a supervisor that outlives its agent still has it.
pub(crate) struct ServiceLog {
    read_end: OwnedFd,
    write_end: Rc<OwnedFd>,
    lines: Lines,
}

impl ServiceLog {
    /// Makes the pipe.
    pub(crate) fn open() -> rustix::io::Result<ServiceLog> {
        let (read_end, write_end) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&read_end, true)?;
        Ok(ServiceLog {
            read_end,
            write_end: Rc::new(write_end),
            lines: Lines::default(),
        })
    }

    /// The end to write to, for the service.
    pub(crate) fn writer(&self) -> Writer {
        Writer(Rc::clone(&self.write_end))
    }

    /// Passes on what was written.
    pub(crate) fn turn(&mut self) {
        let mut bytes = vec![0; 16 * 1024];
        loop {
            match rustix::io::read(&self.read_end, bytes.as_mut_slice()) {
                Ok(length @ 1..) => {
                    for line in self.lines.take(&bytes[..length]) {
                        journal::pass_on(&line);
                    }
                }
                Err(Errno::INTR) => {}
                Ok(0) | Err(_) => return,
            }
        }
    }

    /// The last line that says something.
    pub(crate) fn last_line(&self) -> Option<&str> {
        self.lines.last.as_deref()
    }
}

impl AsFd for ServiceLog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read_end.as_fd()
    }
}

/// The end that the service writes to.
pub(crate) struct Writer(Rc<OwnedFd>);

impl Writer {
    /// It as the standard error of one run.
    pub(crate) fn stdio(&self) -> rustix::io::Result<Stdio> {
        Ok(Stdio::from(rustix::io::fcntl_dupfd_cloexec(&self.0, 0)?))
    }
}

/// Cuts what is written into lines (pure).
#[derive(Default)]
struct Lines {
    partial: Vec<u8>,
    last: Option<String>,
}

impl Lines {
    /// The lines that `bytes` complete, without empty ones.
    fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut complete = Vec::new();
        for &byte in bytes {
            if byte != b'\n' {
                self.partial.push(byte);
            }
            if byte == b'\n' || self.partial.len() >= LINE_BYTES_MAX {
                let line = String::from_utf8_lossy(&self.partial).trim_end().to_owned();
                self.partial.clear();
                if !line.is_empty() {
                    complete.push(line);
                }
            }
        }
        if let Some(line) = complete.last() {
            self.last = Some(line.clone());
        }
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_and_the_last_is_kept() {
        let mut lines = Lines::default();
        assert!(lines.take(b"limosa: the key").is_empty());
        assert_eq!(lines.last, None);
        assert_eq!(
            lines.take(b" is wrong\r\n\nnext\nhal"),
            ["limosa: the key is wrong", "next"]
        );
        assert_eq!(lines.last.as_deref(), Some("next"));
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(&[b'x'; LINE_BYTES_MAX + 1]).len(), 1);
        assert_eq!(lines.partial.len(), 1);
    }
}
