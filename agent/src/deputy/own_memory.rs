//! The guest's look at its own memory by way of /proc. The deputy's memory is that of the departure, so
//! what home's kernel shows of it is not the guest's:
//!
//! 1. Every file that the guest opens is looked at: is it one that shows the deputy's own memory?
//! 2. `maps`, opened to be read, is made of the guest's mappings, for which its supervisor is asked
//!    (`AskMappings`, `Mappings`): the descriptor becomes one of a memory file with the text.
//! 3. For every other such file the guest comes home.
//! 4. What it has open of `maps` at departure becomes such a memory file, too. With any other such file open it
//!    stays at home (cantmove).
//! 5. When it comes home, these descriptors become those of the kernel's own file again, unless they are being
//!    read.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use crate::process::ReadError;
use crate::process::descriptors::{self, Target};
use crate::process::maps::{self, Mapping};
use crate::process::memory_files::{self, MemoryFile};
use crate::sys::call_numbers as number;
use crate::sys::ptrace::ThreadId;
use crate::wire::migration::{MappedLine, ToGuest};

use super::away::{Away, Trouble};
use super::threads::{DeputyState, LastReturn};

const O_ACCMODE: u32 = 3;
const O_CLOEXEC: u64 = 0o2_000_000;
const MFD_CLOEXEC: u64 = 1;
const SEEK_SET: u64 = 0;
const SEEK_CUR: u64 = 1;

/// The name of the memory files, with its zero.
const NAME: &[u8] = b"maps\0";

/// As /proc/PID/fd shows such a descriptor.
const SHOWN_NAME: &str = "/memfd:maps (deleted)";

/// The column of /proc/PID/maps in which names begin (fs/proc/task_mmu.c).
const NAME_COLUMN: usize = 73;

/// The descriptors of `maps` that are memory files.
#[derive(Clone, Debug, Default)]
pub struct MapsViews {
    /// Opened, and the guest's mappings asked for: the call, and the descriptor, by thread.
    asked: BTreeMap<ThreadId, (u64, u64)>,
    /// Whose mappings a memory file has, by its inode.
    owners: BTreeMap<u64, i32>,
}

impl Away<'_> {
    /// Step 1, at the exit of a call that has opened `descriptor`. Whether that has been answered, or will be.
    pub(super) fn answers_for_memory_file(
        &mut self,
        tid: ThreadId,
        descriptor: i64,
    ) -> Result<bool, Trouble> {
        let Some(file) = self.own_memory_file(descriptor) else {
            return Ok(false);
        };
        let descriptor = descriptor.cast_unsigned();
        let thread = self.known(tid)?;
        let DeputyState::Making(making) =
            std::mem::replace(&mut thread.state, DeputyState::Stopped)
        else {
            return Ok(false);
        };
        let call = making.call;
        if file == MemoryFile::Other || self.open_flags(descriptor) & O_ACCMODE != 0 {
            self.refuse_view(tid, call, descriptor)?;
            return Ok(true);
        }
        self.known(tid)?.last_return = Some(LastReturn {
            call,
            result: descriptor.cast_signed(),
            writes: Vec::new(),
            is_whole_portion: false,
            mapped: None,
            signal: None,
        });
        self.deputy.views.asked.insert(tid, (call, descriptor));
        self.channel
            .send(&ToGuest::AskMappings { tid, call }, &[])?;
        self.deputy.park(tid)?;
        Ok(true)
    }

    fn own_memory_file(&self, descriptor: i64) -> Option<MemoryFile> {
        /// `PROC_SUPER_MAGIC` (linux/magic.h).
        const PROC: i64 = 0x9fa0;
        let path = format!("/proc/{}/fd/{descriptor}", self.deputy.pid);
        if rustix::fs::statfs(path.as_str()).ok()?.f_type != PROC {
            return None;
        }
        let target = std::fs::read_link(path).ok()?;
        memory_files::of_path(
            target.as_os_str().as_bytes(),
            self.deputy.pid.cast_unsigned(),
        )
    }

    fn open_flags(&self, descriptor: u64) -> u32 {
        let pid = self.deputy.pid.cast_unsigned();
        descriptors::read_info(pid, descriptor as u32).map_or(u32::MAX, |info| info.flags)
    }

    /// Step 3.
    fn refuse_view(&mut self, tid: ThreadId, call: u64, descriptor: u64) -> Result<(), Trouble> {
        self.inject(tid, number::SYS_close, [descriptor, 0, 0, 0, 0, 0])?;
        self.call_home_for(tid, call, "it looks at its own memory in /proc")
    }

    /// Step 2: the guest's mappings have come.
    pub(super) fn on_mappings(
        &mut self,
        tid: ThreadId,
        call: u64,
        lines: &[MappedLine],
    ) -> Result<(), Trouble> {
        let asked = self.deputy.views.asked.remove(&tid);
        let Some((_, descriptor)) = asked.filter(|(asked, _)| *asked == call) else {
            return Err(Trouble::Protocol(
                "the guest sent mappings that nobody asked for".to_owned(),
            ));
        };
        let present = maps::read(self.deputy.pid.cast_unsigned())
            .map_err(|error| Trouble::Protocol(error.to_string()))?;
        let text = self.maps_text(lines, &present);
        if self.put_view(tid, descriptor, text.as_bytes(), 0)? {
            self.return_injected(tid, call, descriptor.cast_signed(), None)
        } else {
            self.refuse_view(tid, call, descriptor)
        }
    }

    /// Step 4, when the threads are still stopped.
    pub(super) fn keep_views(&mut self) -> Result<(), Trouble> {
        let pid = self.deputy.pid;
        let unreadable = |error: ReadError| Trouble::Protocol(error.to_string());
        let open = descriptors::read(pid.cast_unsigned()).map_err(unreadable)?;
        let shows = |target: &Target| match target {
            Target::Path(path) => {
                let path = path.as_os_str().as_bytes();
                memory_files::of_path(path, pid.cast_unsigned()) == Some(MemoryFile::Maps)
            }
            _ => false,
        };
        for descriptor in open.iter().filter(|open| shows(&open.target)) {
            let mut present = maps::read(pid.cast_unsigned()).map_err(unreadable)?;
            let area = self.deputy.scratch.range();
            present.retain(|mapping| !area.contains(&mapping.start));
            let mut text = String::new();
            for mapping in &present {
                let line = MappedLine::of(mapping, None);
                write_line(
                    &mut text,
                    &line,
                    mapping.shared,
                    identity(mapping),
                    &shown_name(mapping),
                );
            }
            let descriptor = u64::from(descriptor.number);
            let position = self.position(pid, descriptor)?;
            if !self.put_view(pid, descriptor, text.as_bytes(), position)? {
                log::debug!("descriptor {descriptor} shows the mappings of the departure");
            }
        }
        Ok(())
    }

    fn position(&mut self, tid: ThreadId, descriptor: u64) -> Result<u64, Trouble> {
        let arguments = [descriptor, 0, SEEK_CUR, 0, 0, 0];
        let position = self.inject(tid, number::SYS_lseek, arguments)?;
        Ok(u64::try_from(position).unwrap_or(0))
    }

    /// /proc/PID/maps as home's kernel would write it for a process with these mappings.
    fn maps_text(&self, lines: &[MappedLine], present: &[Mapping]) -> String {
        let objects = &self.deputy.objects;
        let mut written: Vec<(u64, String)> = Vec::with_capacity(lines.len() + 4);
        for line in lines {
            let behind = line.object.and_then(|object| {
                let shows = |mapping: &&Mapping| objects.is_behind(object, mapping);
                let same_place = |mapping: &&Mapping| {
                    shows(mapping) && mapping.start < line.end && line.start < mapping.end
                };
                let mut mappings = present.iter();
                let found = mappings.find(same_place);
                found.or_else(|| present.iter().find(shows))
            });
            let mut text = String::new();
            match behind {
                Some(mapping) => write_line(
                    &mut text,
                    line,
                    mapping.shared,
                    identity(mapping),
                    &shown_name(mapping),
                ),
                None => write_line(&mut text, line, line.shared, ((0, 0), 0), &line.name),
            }
            written.push((line.start, text));
        }
        for mapping in present
            .iter()
            .filter(|mapping| mapping.kind.is_kernel_provided())
        {
            let mut text = String::new();
            let line = MappedLine::of(mapping, None);
            write_line(
                &mut text,
                &line,
                mapping.shared,
                identity(mapping),
                &line.name,
            );
            written.push((mapping.start, text));
        }
        written.sort_by_key(|(start, _)| *start);
        written.into_iter().map(|(_, text)| text).collect()
    }

    /// Makes the descriptor one of a memory file with this text. `false` if the kernel does not let us; the
    /// descriptor is as it was then.
    fn put_view(
        &mut self,
        tid: ThreadId,
        descriptor: u64,
        text: &[u8],
        position: u64,
    ) -> Result<bool, Trouble> {
        let slot = self.known(tid)?.slot;
        let Some(slot) = self.deputy.scratch.slot(slot) else {
            return Ok(false);
        };
        if text.len() as u64 > slot.end - slot.start {
            return Ok(false);
        }
        self.deputy.memory.write(slot.start, NAME)?;
        let arguments = [slot.start, MFD_CLOEXEC, 0, 0, 0, 0];
        let writable = self.inject(tid, number::SYS_memfd_create, arguments)?;
        let Ok(writable) = u64::try_from(writable) else {
            return Ok(false);
        };
        let path = format!("/proc/{}/fd/{writable}", self.deputy.pid);
        let inode = std::fs::metadata(&path)?.ino();
        self.deputy.memory.write(slot.start, text)?;
        let arguments = [writable, slot.start, text.len() as u64, 0, 0, 0];
        let filled = self.inject(tid, number::SYS_write, arguments)? == text.len() as i64;
        let link = format!("/proc/self/fd/{writable}\0");
        self.deputy.memory.write(slot.start, link.as_bytes())?;
        let is_put = filled && self.replace(tid, descriptor, slot.start, position)?;
        self.inject(tid, number::SYS_close, [writable, 0, 0, 0, 0, 0])?;
        if is_put {
            let owner = self.deputy.pid;
            self.deputy.views.owners.insert(inode, owner);
        }
        Ok(is_put)
    }

    /// Makes a descriptor one of the file whose name lies at `name`, read from `position` on. `false` if the
    /// kernel does not let us.
    fn replace(
        &mut self,
        tid: ThreadId,
        descriptor: u64,
        name: u64,
        position: u64,
    ) -> Result<bool, Trouble> {
        let close_on_exec = u64::from(self.open_flags(descriptor)) & O_CLOEXEC;
        let opened = self.inject(tid, number::SYS_open, [name, O_CLOEXEC, 0, 0, 0, 0])?;
        let Ok(opened) = u64::try_from(opened) else {
            return Ok(false);
        };
        let arguments = [opened, position, SEEK_SET, 0, 0, 0];
        self.inject(tid, number::SYS_lseek, arguments)?;
        let arguments = [opened, descriptor, close_on_exec, 0, 0, 0];
        let replaced = self.inject(tid, number::SYS_dup3, arguments)?;
        self.inject(tid, number::SYS_close, [opened, 0, 0, 0, 0, 0])?;
        Ok(replaced >= 0)
    }

    /// Step 5. A descriptor in the middle of its text stays what it is, so that what is read of it fits together;
    /// and so does one that cannot be changed.
    pub(super) fn put_kernel_views_back(&mut self) -> Result<(), Trouble> {
        if self.deputy.views.owners.is_empty() {
            return Ok(());
        }
        let pid = self.deputy.pid;
        let open = descriptors::read(pid.cast_unsigned())
            .map_err(|error| Trouble::Protocol(error.to_string()))?;
        for descriptor in open {
            let is_view =
                matches!(&descriptor.target, Target::Path(path) if path.as_os_str() == SHOWN_NAME);
            let inode = std::fs::metadata(format!("/proc/{pid}/fd/{}", descriptor.number));
            let owner = inode
                .ok()
                .and_then(|file| self.deputy.views.owners.get(&file.ino()).copied());
            let (true, Some(owner)) = (is_view, owner) else {
                continue;
            };
            let descriptor = u64::from(descriptor.number);
            if self.position(pid, descriptor)? != 0 {
                continue;
            }
            let name = self.deputy.scratch.shared.data;
            let path = format!("/proc/{owner}/maps\0");
            self.deputy.memory.write(name, path.as_bytes())?;
            if !self.replace(pid, descriptor, name, 0)? {
                log::debug!("descriptor {descriptor} stays a copy of the mappings");
            }
        }
        Ok(())
    }
}

/// Device and inode.
fn identity(mapping: &Mapping) -> ((u32, u32), u64) {
    (mapping.device, mapping.inode)
}

/// The name of a mapping as the kernel writes it.
fn shown_name(mapping: &Mapping) -> String {
    if mapping.inode == 0 {
        return MappedLine::of(mapping, None).name;
    }
    let deleted = match &mapping.kind {
        maps::MappingKind::File { deleted, .. } => *deleted,
        maps::MappingKind::SharedMemory { name } => name.starts_with('/'),
        _ => false,
    };
    let suffix = if deleted { " (deleted)" } else { "" };
    format!("{}{suffix}", mapping.kind)
}

fn write_line(
    text: &mut String,
    line: &MappedLine,
    shared: bool,
    (device, inode): ((u32, u32), u64),
    name: &str,
) {
    let right = |bit: u32, letter| {
        if line.protection & bit != 0 {
            letter
        } else {
            '-'
        }
    };
    let start = text.len();
    // Writing to a String does not fail.
    let _ = write!(
        text,
        "{:08x}-{:08x} {}{}{}{} {:08x} {:02x}:{:02x} {inode} ",
        line.start,
        line.end,
        right(1, 'r'),
        right(2, 'w'),
        right(4, 'x'),
        if shared { 's' } else { 'p' },
        line.offset,
        device.0,
        device.1,
    );
    if !name.is_empty() {
        while text.len() < start + NAME_COLUMN {
            text.push(' ');
        }
        text.push_str(name);
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel says of this very process is taken apart and put together again.
    #[test]
    fn lines_are_as_the_kernel_writes_them() {
        let kernel = std::fs::read("/proc/self/maps").unwrap();
        let mut text = String::new();
        for mapping in maps::parse(&kernel).unwrap() {
            let line = MappedLine::of(&mapping, None);
            let (file, name) = (identity(&mapping), shown_name(&mapping));
            write_line(&mut text, &line, mapping.shared, file, &name);
        }
        assert_eq!(text, String::from_utf8(kernel).unwrap());
    }
}
