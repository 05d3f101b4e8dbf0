//! Which of a departing process's memory goes with it, and which follows when its guest runs already.
//!
//! What follows is private memory that begins as zero, which is where programs have their data; the kernel can
//! let a guest wait for single pages of it (userfaultfd(2)). What is locked, or may vanish, or is the
//! program's own copy of a file's pages goes first, and so do those pages that each thread will touch at
//! once, or the kernel on its behalf.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::migrate::advice::Advice;
use crate::migrate::image::{PAGE_BYTES, ProcessImage, ThreadImage};
use crate::migrate::pages::{Origin, Region};

/// Below the stack pointer leaf functions keep data without moving it (System V ABI for x86-64).
const RED_ZONE_BYTES: u64 = 128;

/// The parts.
#[derive(Debug)]
pub struct Parting {
    /// What goes first, ascending.
    pub now: Vec<Region>,
    /// What follows, ascending. Single pages of it are in [`Self::now`], too.
    pub later: Vec<Range<u64>>,
}

impl Parting {
    /// Parts the `regions` of a process; nothing follows unless `may_follow`.
    pub fn of(regions: Vec<Region>, image: &ProcessImage, may_follow: bool) -> Parting {
        let (later, mut now): (Vec<Region>, Vec<Region>) = regions
            .into_iter()
            .partition(|region| may_follow && can_follow(region, image));
        let later: Vec<Range<u64>> = later.into_iter().map(|region| region.range).collect();
        let touched: BTreeSet<u64> = image.threads.iter().flat_map(touched_at_once).collect();
        for page in touched {
            let index = later.partition_point(|range| range.end <= page);
            if later.get(index).is_some_and(|range| range.start <= page) {
                now.push(Region {
                    range: page..page + PAGE_BYTES,
                    origin: Origin::Zero,
                });
            }
        }
        now.sort_by_key(|region| region.range.start);
        Parting { now, later }
    }

    /// What follows, as begin and end.
    pub fn later_pairs(&self) -> Vec<(u64, u64)> {
        self.later
            .iter()
            .map(|range| (range.start, range.end))
            .collect()
    }
}

fn can_follow(region: &Region, image: &ProcessImage) -> bool {
    const NOT: [Advice; 3] = [Advice::LOCKED, Advice::LOCK_ON_FAULT, Advice::DROPPABLE];
    region.origin == Origin::Zero
        && image
            .mapping_at(region.range.start)
            .is_some_and(|mapping| !NOT.iter().any(|&advice| mapping.advice.has(advice)))
}

/// The top of the stack, the beginning of thread-local storage, and the rseq area, which the kernel writes to
/// before the thread runs.
fn touched_at_once(thread: &ThreadImage) -> Vec<u64> {
    let page = |address: u64| address / PAGE_BYTES * PAGE_BYTES;
    let stack = thread.registers.rsp;
    let mut pages = vec![
        page(stack.saturating_sub(RED_ZONE_BYTES)),
        page(stack),
        page(stack.saturating_add(PAGE_BYTES)),
        page(thread.registers.fs_base),
    ];
    if let Some(rseq) = thread.rseq {
        let end = rseq.address.saturating_add(u64::from(rseq.size_bytes));
        pages.extend([page(rseq.address), page(end.saturating_sub(1))]);
    }
    pages
}
