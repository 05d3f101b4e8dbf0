//! Making the deputy's address space what the guest's has become.
//!
//! What the guest has unmapped goes, what it has mapped anew is mapped, protections follow, the break and
//! the stack grow. Mappings that both have stay as they are, so that a file mapping stays one. Pure: a
//! plan of calls from two lists of mappings.

use std::ops::Range;

use crate::migrate::image::MappingImage;
use crate::process::maps::{Mapping, MappingKind};
use crate::sys::blob::Call;
use crate::sys::call_numbers as number;

/// MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE
const FRESH: u64 = 0x02 | 0x20 | 0x10_0000;

/// What to do, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LayoutChange {
    /// Calls to be made in the deputy; each must return 0, or its first argument for mmap(2).
    pub calls: Vec<Call>,
}

/// The parts of `range` that no range of `others` (ascending) covers.
fn uncovered(range: Range<u64>, others: impl Iterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut parts = Vec::new();
    let mut at = range.start;
    for other in others {
        if other.end <= at {
            continue;
        }
        if other.start >= range.end {
            break;
        }
        if other.start > at {
            parts.push(at..other.start);
        }
        at = other.end;
    }
    if at < range.end {
        parts.push(at..range.end);
    }
    parts
}

/// Plans how a deputy with the mappings `present` gets the program's memory `wanted`. Mappings that the
/// kernel provides, and the scratch area, are left alone.
pub fn change(present: &[Mapping], wanted: &[MappingImage], scratch: &Range<u64>) -> LayoutChange {
    let ours: Vec<&Mapping> = present
        .iter()
        .filter(|mapping| !mapping.kind.is_kernel_provided() && !scratch.contains(&mapping.start))
        .collect();
    let mut calls = Vec::new();
    for mapping in &ours {
        let gone = uncovered(
            mapping.start..mapping.end,
            wanted.iter().map(|image| image.start..image.end),
        );
        calls.extend(gone.into_iter().map(|part| {
            Call::new(
                number::SYS_munmap,
                [part.start, part.end - part.start, 0, 0, 0, 0],
            )
        }));
    }
    for image in wanted {
        let new = uncovered(
            image.start..image.end,
            ours.iter().map(|mapping| mapping.start..mapping.end),
        );
        calls.extend(new.into_iter().map(|part| {
            let protection = u64::from(image.protection);
            let arguments = [
                part.start,
                part.end - part.start,
                protection,
                FRESH,
                u64::MAX,
                0,
            ];
            Call::new(number::SYS_mmap, arguments)
        }));
        for mapping in &ours {
            let start = mapping.start.max(image.start);
            let end = mapping.end.min(image.end);
            if start < end && protection(mapping) != image.protection {
                let arguments = [start, end - start, u64::from(image.protection), 0, 0, 0];
                calls.push(Call::new(number::SYS_mprotect, arguments));
            }
        }
    }
    LayoutChange { calls }
}

fn protection(mapping: &Mapping) -> u32 {
    u32::from(mapping.read) | u32::from(mapping.write) << 1 | u32::from(mapping.execute) << 2
}

/// The lowest address that the main stack of `wanted` has below the deputy's, if it has grown.
pub fn grown_stack(present: &[Mapping], wanted: &[MappingImage]) -> Option<u64> {
    let stack = present
        .iter()
        .find(|mapping| mapping.kind == MappingKind::Stack)?;
    let image = wanted
        .iter()
        .find(|image| (image.start..image.end).contains(&(stack.end - 1)))?;
    (image.start < stack.start).then_some(image.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(start: u64, end: u64, write: bool) -> Mapping {
        Mapping {
            start,
            end,
            read: true,
            write,
            execute: false,
            shared: false,
            offset: 0,
            device: (0, 0),
            inode: 0,
            kind: MappingKind::Anonymous { name: None },
        }
    }

    fn image(start: u64, end: u64, protection: u32) -> MappingImage {
        MappingImage {
            start,
            end,
            protection,
            grows_down: false,
        }
    }

    fn summary(change: &LayoutChange) -> Vec<(i64, u64, u64)> {
        change
            .calls
            .iter()
            .map(|call| {
                (
                    call.number.cast_signed(),
                    call.arguments[0],
                    call.arguments[1],
                )
            })
            .collect()
    }

    const SCRATCH: Range<u64> = 0x9000_0000..0x9100_0000;

    #[test]
    fn an_unchanged_address_space_needs_no_call() {
        let present = [
            mapping(0x1000, 0x3000, true),
            mapping(0x3000, 0x5000, false),
        ];
        let wanted = [image(0x1000, 0x3000, 3), image(0x3000, 0x5000, 1)];
        assert_eq!(change(&present, &wanted, &SCRATCH).calls, []);
    }

    #[test]
    fn merged_mappings_of_the_guest_count_as_what_they_cover() {
        let present = [mapping(0x1000, 0x3000, true), mapping(0x3000, 0x5000, true)];
        assert_eq!(
            change(&present, &[image(0x1000, 0x5000, 3)], &SCRATCH).calls,
            []
        );
    }

    #[test]
    fn what_is_gone_is_unmapped_what_is_new_is_mapped_what_is_protected_is_protected() {
        let present = [
            mapping(0x1000, 0x5000, true),
            mapping(0x9000_0000, 0x9000_2000, true),
        ];
        let wanted = [image(0x2000, 0x3000, 1), image(0x4000, 0x6000, 3)];
        assert_eq!(
            summary(&change(&present, &wanted, &SCRATCH)),
            [
                (number::SYS_munmap, 0x1000, 0x1000),
                (number::SYS_munmap, 0x3000, 0x1000),
                (number::SYS_mprotect, 0x2000, 0x1000),
                (number::SYS_mmap, 0x5000, 0x1000),
            ]
        );
    }

    #[test]
    fn a_grown_stack_is_found_by_its_upper_end() {
        let mut stack = mapping(0x8000, 0xa000, true);
        stack.kind = MappingKind::Stack;
        assert_eq!(
            grown_stack(&[stack.clone()], &[image(0x5000, 0xa000, 3)]),
            Some(0x5000)
        );
        assert_eq!(grown_stack(&[stack], &[image(0x8000, 0xa000, 3)]), None);
    }
}
