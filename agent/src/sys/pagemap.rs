//! PAGEMAP_SCAN: which pages of a range are of a kind, whole runs at a time (Linux 6.7).
//!
//! A terabyte of reserved and untouched addresses takes microseconds, where reading their entries of
//! /proc/PID/pagemap one by one takes seconds.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;

/// PAGEMAP_SCAN of linux/fs.h: _IOWR('f', 16, struct pm_scan_arg).
const PAGEMAP_SCAN: libc::c_ulong = 0xc060_6610;

/// Size of `struct pm_scan_arg`.
const ARGUMENTS_BYTES: u64 = 96;

/// A set of categories that pages fall into (PAGE_IS_* of linux/fs.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Categories(u64);

impl Categories {
    /// None.
    pub const NONE: Categories = Categories(0);
    /// Writes to it are noted (userfaultfd(2), UFFD_FEATURE_WP_ASYNC).
    pub const NOTED: Categories = Categories(1 << 0);
    /// It was written to since that was last noted.
    pub const WRITTEN: Categories = Categories(1 << 1);
    /// The page is that of a file or of shared memory.
    pub const FILE: Categories = Categories(1 << 2);
    /// It is in memory.
    pub const PRESENT: Categories = Categories(1 << 3);
    /// It is in swap. Guard pages say so, too.
    pub const SWAPPED: Categories = Categories(1 << 4);
    /// It is part of a huge page.
    pub const HUGE: Categories = Categories(1 << 6);
    /// It is a guard page (MADV_GUARD_INSTALL; told since Linux 6.15).
    pub const GUARD: Categories = Categories(1 << 8);

    /// Those of both.
    #[must_use]
    pub const fn union(self, other: Categories) -> Categories {
        Categories(self.0 | other.0)
    }
}

/// Which pages are looked for: in one of `any`, in all of `all`, and in none of `none`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// In at least one of these.
    pub any: Categories,
    /// In each of these.
    pub all: Categories,
    /// In none of these.
    pub none: Categories,
    /// From now on it counts as not written.
    pub notes: bool,
    /// Neighbours that differ in these form runs of their own. If nothing but [`Categories::WRITTEN`] is wanted
    /// and told, the kernel looks at nothing else, which is quick.
    pub told: Categories,
}

/// Runs of wanted pages, ascending, and the address up to which was looked: the end of the range, or less
/// if there are more than `most` runs.
///
/// # Errors
/// ENOTTY where the kernel does not have the request, EINVAL where it does not know a category.
pub fn scan(
    pagemap: &File,
    range: &Range<u64>,
    wanted: Wanted,
    most: usize,
) -> io::Result<(Vec<Range<u64>>, u64)> {
    // struct page_region: start, end, categories.
    let mut regions = vec![[0_u64; 3]; most.max(1)];
    // struct pm_scan_arg: size, flags, start, end, walk_end, vec, vec_len, max_pages, category_inverted,
    // category_mask, category_anyof_mask, return_mask.
    let mut arguments = [
        ARGUMENTS_BYTES,
        // PM_SCAN_WP_MATCHING.
        u64::from(wanted.notes),
        range.start,
        range.end,
        0,
        regions.as_mut_ptr() as u64,
        regions.len() as u64,
        0,
        wanted.none.0,
        wanted.none.union(wanted.all).0,
        wanted.any.0,
        wanted.told.0,
    ];
    // SAFETY: the kernel reads and writes the 96 bytes of `arguments` and at most `vec_len` entries of
    // `regions`; both live until the call returns.
    let found = unsafe {
        libc::ioctl(
            pagemap.as_raw_fd(),
            PAGEMAP_SCAN,
            arguments.as_mut_ptr().cast::<libc::c_void>(),
        )
    };
    let found = usize::try_from(found).map_err(|_| io::Error::last_os_error())?;
    let runs = regions
        .iter()
        .take(found)
        .map(|[start, end, _]| *start..*end)
        .collect();
    Ok((runs, arguments[4]))
}
