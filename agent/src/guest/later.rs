//! Memory that comes when the guest runs already: whoever touches it is made to wait for it.
//!
//! While a guest is built its memory is like any other, and somebody may look at it: ps(1) reads every
//! process's arguments (/proc/PID/cmdline), at the top of its stack. For that the kernel puts pages of zeros
//! there, and nothing would be placed over them. They go first.

use std::ops::Range;
use std::os::fd::AsFd;
use std::time::Duration;

use crate::migrate::link::AgentLink;
use crate::migrate::pages::{Origin, PageMap};
use crate::migrate::runs::Runs;
use crate::sys::call_numbers as number;
use crate::sys::userfaultfd::Userfaultfd;

use super::pager::Pager;
use super::threads::Guest;
use super::trouble::Trouble;

/// How long this node's agent may take to hand over the page connection, which home has opened before.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// How often others may look at memory in the moment before it is waited for.
const ATTEMPTS_MAX: usize = 32;

/// What it takes.
pub struct Later {
    /// Fills the memory.
    pub pager: Pager,
    /// Of the guest's address space.
    pub userfaultfd: Userfaultfd,
}

impl Later {
    /// Takes the page connection for the memory `to_come` of a stopped guest. Single pages of it may be among
    /// those that were `sent`.
    pub fn begin(
        mut self,
        link: &mut AgentLink,
        guest: &Guest,
        sent: &Runs,
        to_come: &[Range<u64>],
    ) -> Result<Pager, Trouble> {
        self.watch(guest, sent, to_come)?;
        let process = rustix::process::Pid::from_raw(guest.leader)
            .ok_or(rustix::io::Errno::SRCH)
            .and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()))
            .map_err(std::io::Error::from)?;
        let (keys, connection) = link
            .await_connection(CONNECTION_TIMEOUT)
            .map_err(Trouble::Protocol)?;
        self.pager
            .begin(
                self.userfaultfd,
                process.as_fd(),
                &connection,
                keys,
                to_come,
            )
            .map_err(|error| Trouble::Protocol(error.to_string()))?;
        Ok(self.pager)
    }

    /// From here on, who touches memory that is to come waits for it; and nothing else is there.
    fn watch(&self, guest: &Guest, sent: &Runs, to_come: &[Range<u64>]) -> Result<(), Trouble> {
        const MADV_DONTNEED: u64 = 4;
        let page_map = PageMap::open(guest.leader)?;
        for _ in 0..ATTEMPTS_MAX {
            for range in to_come {
                self.userfaultfd.register(range)?;
            }
            let strange = strange_pages(&page_map, sent, to_come)?;
            if strange.is_empty() {
                return Ok(());
            }
            // Else the guest's own call would wait until its event is read.
            for range in to_come {
                self.userfaultfd.unregister(range)?;
            }
            for Range { start, end } in strange {
                let arguments = [start, end - start, MADV_DONTNEED, 0, 0, 0];
                let leader = guest.leader;
                let result = guest.scratch.call(leader, number::SYS_madvise, arguments)?;
                if result < 0 {
                    let error = std::io::Error::from_raw_os_error(-result as i32);
                    return Err(Trouble::Io(error));
                }
            }
        }
        let told = "other programs of this node look at the guest's memory without a pause";
        Err(Trouble::Protocol(told.to_owned()))
    }
}

/// Pages that are there without having been sent.
fn strange_pages(
    page_map: &PageMap,
    sent: &Runs,
    to_come: &[Range<u64>],
) -> Result<Vec<Range<u64>>, Trouble> {
    let mut strange = Vec::new();
    for range in to_come {
        let mut start = range.start;
        while start < range.end {
            let (runs, end) = page_map.runs(&(start..range.end), Origin::Zero)?;
            if end <= start {
                let told = std::io::Error::other("the kernel does not tell of all pages");
                return Err(Trouble::Io(told));
            }
            for run in runs {
                strange.extend(sent.outside(run));
            }
            start = end;
        }
    }
    Ok(strange)
}
