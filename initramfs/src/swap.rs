//! Swap in compressed memory (zram), so that a small PC holds more of its guests.
//!
//! No disk is involved: the device keeps what is written to it in memory, at about a third of its size.
//! A page that comes back from there is still far faster than one that comes over the network.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::drivers::Drivers;
use crate::journal;
use crate::sys;

const DEVICE: &str = "/dev/zram0";
/// The kernel's own choice is faster and leaves less room; who has no memory left has time.
const ALGORITHM: &str = "zstd";
const ALGORITHM_FILE: &str = "/sys/block/zram0/comp_algorithm";
const SIZE_FILE: &str = "/sys/block/zram0/disksize";

const PAGE_BYTES: usize = 4096;
/// union swap_header of include/linux/swap.h: `version` and `last_page` behind a boot sector of 1,024 bytes,
/// the magic word at the end of the page.
const VERSION_OFFSET: usize = 1024;
const LAST_PAGE_OFFSET: usize = 1028;
const MAGIC: &[u8; 10] = b"SWAPSPACE2";

/// Sets it up. A node without it serves as well, with less room.
pub(crate) fn start(drivers: &mut Drivers) {
    if !drivers.load("zram") && !Path::new(SIZE_FILE).exists() {
        journal::note("no swap: this kernel has no zram");
        return;
    }
    if let Err(error) = set_up() {
        journal::warn(&format!("no swap: {error}"));
    }
}

fn set_up() -> std::io::Result<()> {
    let memory = fs::read_to_string("/proc/meminfo")?;
    let pages = total_kib(&memory).unwrap_or(0) / 4 / 2;
    let Some(header) = header(pages) else {
        return Ok(());
    };
    set_size(pages * PAGE_BYTES as u64)?;
    fs::File::options()
        .write(true)
        .open(DEVICE)?
        .write_all(&header)?;
    sys::swap_on(DEVICE)
}

/// Chooses how pages are compressed, and gives the device its size, which makes it begin.
fn set_size(bytes: u64) -> std::io::Result<()> {
    let algorithms = fs::read_to_string(ALGORITHM_FILE).unwrap_or_default();
    let size = format!("{bytes}\n");
    // A kernel that knows an algorithm by name may still lack its module, and says so only with the size.
    let chosen = fs::write(ALGORITHM_FILE, ALGORITHM).and_then(|()| fs::write(SIZE_FILE, &size));
    let (Err(error), Some(default)) = (&chosen, default_algorithm(&algorithms)) else {
        return chosen;
    };
    journal::note(&format!("memory is compressed by {default}: {error}"));
    fs::write(ALGORITHM_FILE, default)?;
    fs::write(SIZE_FILE, size)
}

/// The one in brackets: `lzo [lzo-rle] zstd`.
fn default_algorithm(algorithms: &str) -> Option<&str> {
    let (_, rest) = algorithms.split_once('[')?;
    rest.split_once(']').map(|(name, _)| name)
}

/// MemTotal of /proc/meminfo.
fn total_kib(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The first page of a swap device of this many pages; none if there is no room behind it.
fn header(pages: u64) -> Option<Vec<u8>> {
    let last = u32::try_from(pages)
        .ok()?
        .checked_sub(1)
        .filter(|&last| last > 0)?;
    let mut page = vec![0; PAGE_BYTES];
    page[VERSION_OFFSET..VERSION_OFFSET + 4].copy_from_slice(&1_u32.to_ne_bytes());
    page[LAST_PAGE_OFFSET..LAST_PAGE_OFFSET + 4].copy_from_slice(&last.to_ne_bytes());
    page[PAGE_BYTES - MAGIC.len()..].copy_from_slice(MAGIC);
    Some(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_algorithm_is_the_one_in_brackets() {
        assert_eq!(default_algorithm("lzo [lzo-rle] zstd\n"), Some("lzo-rle"));
        assert_eq!(default_algorithm(""), None);
        assert_eq!(default_algorithm("lz4 [zs"), None);
    }

    #[test]
    fn half_of_memory_is_found_and_named_in_the_header() {
        assert_eq!(
            total_kib("MemTotal:         250000 kB\nMemFree: 1 kB\n"),
            Some(250_000)
        );
        assert_eq!(total_kib("MemFree: 1 kB\n"), None);
        let page = header(1000).unwrap();
        assert_eq!(
            page[1024..1032],
            [1_u32.to_ne_bytes(), 999_u32.to_ne_bytes()].concat()
        );
        assert_eq!(&page[4086..], b"SWAPSPACE2");
        assert_eq!(header(1), None);
        assert_eq!(header(0), None);
    }
}
