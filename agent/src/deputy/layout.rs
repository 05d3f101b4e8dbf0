//! Making the deputy's address space what the guest's has become.
//!
//! What the guest has unmapped goes, what it has mapped anew is mapped, protections and advice follow, the
//! break and the stack grow. Where both have the same, private memory or the same part of the same object, it
//! stays, so that a file mapping stays one. Pure: a plan of calls from two lists of mappings.

use std::ops::Range;

use crate::migrate::advice::Advice;
use crate::migrate::image::MappingImage;
use crate::migrate::objects;
use crate::process::maps::MappingKind;
use crate::process::smaps::{MappingDetail, VmFlags};
use crate::sys::blob::Call;
use crate::sys::call_numbers as number;

use super::objects::DeputyObjects;

const MAP_GROWSDOWN: u64 = 0x100;

/// MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
const FRESH: u64 = 0x02 | 0x20 | 0x4000;

/// MAP_FIXED_NOREPLACE
const WHERE_NOTHING_IS: u64 = 0x10_0000;

/// MAP_FIXED
const IN_PLACE: u64 = 0x10;

/// What to do, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LayoutChange {
    /// Calls to be made in the deputy; each must return 0, or its first argument for mmap(2).
    pub calls: Vec<Call>,
    /// Calls that the kernel may refuse.
    pub advice: Vec<Call>,
    /// Where the guest shows a part of an object that the deputy does not have there.
    pub missing: Option<u64>,
}

/// What happens to a stretch of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Unmap,
    /// Fresh memory, with this protection, in place of something or not.
    Map(u32, Advice, bool),
    Protect(u32),
}

/// Plans how a deputy with the mappings `present` gets the program's memory `wanted`. Mappings that the
/// kernel provides, the scratch area and `own` are left alone; `unknown` is advice of which the guest cannot
/// tell.
pub fn change(
    present: &[MappingDetail],
    wanted: &[MappingImage],
    known: &DeputyObjects,
    unknown: Advice,
    own: &[Range<u64>],
) -> LayoutChange {
    let is_own = |address| own.iter().any(|range| range.contains(&address));
    let ours: Vec<&MappingDetail> = present
        .iter()
        .filter(|detail| !detail.mapping.kind.is_kernel_provided())
        .collect();
    let mut change = LayoutChange::default();
    let mut steps: Vec<(Range<u64>, Step)> = Vec::new();
    let mut add = |part: Range<u64>, step| match steps.last_mut() {
        Some((last, same)) if last.end == part.start && *same == step => last.end = part.end,
        _ => steps.push((part, step)),
    };
    for part in stretches(&ours, wanted, own) {
        if is_own(part.start) {
            continue;
        }
        let there = ours
            .get(ours.partition_point(|detail| detail.mapping.end <= part.start))
            .filter(|detail| detail.mapping.start <= part.start);
        let image = wanted
            .get(wanted.partition_point(|image| image.end <= part.start))
            .filter(|image| image.start <= part.start);
        match (there, image) {
            (None, None) => {}
            (Some(_), None) => add(part, Step::Unmap),
            (Some(detail), Some(image)) if is_same(detail, image, part.start, known) => {
                let protection = image.protection;
                if detail.mapping.protection() != protection && may_have(detail, protection) {
                    add(part.clone(), Step::Protect(protection));
                }
                let before = Advice::of(detail.flags).without(unknown);
                let after = image.advice.without(unknown);
                let length = part.end - part.start;
                change
                    .advice
                    .extend(before.calls_to(after, part.start, length));
            }
            (_, Some(image)) if image.backing.is_some() => {
                change.missing.get_or_insert(part.start);
            }
            (there, Some(image)) => {
                let step = Step::Map(image.protection, image.advice, there.is_some());
                add(part, step);
            }
        }
    }
    let order = |step: &Step| match step {
        Step::Unmap => 0,
        Step::Map(..) => 1,
        Step::Protect(_) => 2,
    };
    steps.sort_by_key(|(_, step)| order(step));
    for (part, step) in steps {
        let (start, length) = (part.start, part.end - part.start);
        if let Step::Map(_, advice, _) = step {
            change
                .advice
                .extend(Advice::NONE.calls_to(advice, start, length));
        }
        change.calls.push(call_of(step, start, length));
    }
    change
}

fn call_of(step: Step, start: u64, length: u64) -> Call {
    match step {
        Step::Unmap => Call::new(number::SYS_munmap, [start, length, 0, 0, 0, 0]),
        Step::Map(protection, advice, in_place) => {
            let place = if in_place { IN_PLACE } else { WHERE_NOTHING_IS };
            let growing = if advice.has(Advice::GROWS_DOWN) {
                MAP_GROWSDOWN
            } else {
                0
            };
            let flags = FRESH | place | growing;
            let arguments = [start, length, protection.into(), flags, u64::MAX, 0];
            Call::new(number::SYS_mmap, arguments)
        }
        Step::Protect(protection) => {
            let arguments = [start, length, protection.into(), 0, 0, 0];
            Call::new(number::SYS_mprotect, arguments)
        }
    }
}

/// The addresses cut wherever one of the lists begins or ends something.
fn stretches(
    ours: &[&MappingDetail],
    wanted: &[MappingImage],
    own: &[Range<u64>],
) -> Vec<Range<u64>> {
    let mut cuts: Vec<u64> = ours
        .iter()
        .flat_map(|detail| [detail.mapping.start, detail.mapping.end])
        .chain(wanted.iter().flat_map(|image| [image.start, image.end]))
        .chain(own.iter().flat_map(|range| [range.start, range.end]))
        .collect();
    cuts.sort_unstable();
    cuts.dedup();
    cuts.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

/// Whether the deputy has at `address` what the guest has there, but for contents.
fn is_same(detail: &MappingDetail, image: &MappingImage, at: u64, known: &DeputyObjects) -> bool {
    let mapping = &detail.mapping;
    match image.backing {
        None => {
            // No call makes memory grow downwards that was mapped without that, or keeps it from it.
            let grows_down = |advice: Advice| advice.has(Advice::GROWS_DOWN);
            objects::identity(mapping).is_none()
                && !mapping.shared
                && grows_down(Advice::of(detail.flags)) == grows_down(image.advice)
        }
        Some(backing) => {
            known.is_behind(backing.object, mapping)
                && objects::is_shared(detail) == backing.shared
                && mapping.offset + (at - mapping.start) == backing.offset + (at - image.start)
        }
    }
}

/// Whether mprotect(2) allows it: a shared mapping of a file opened only for reading can never be written to.
fn may_have(detail: &MappingDetail, protection: u32) -> bool {
    const PROT_WRITE: u32 = 2;
    protection & PROT_WRITE == 0
        || !detail.mapping.shared
        || detail.flags.contains(VmFlags::MAY_WRITE)
}

/// The parts of `ranges` that no range of `others` covers; both are ascending and without overlap.
pub fn uncovered(ranges: &[(u64, u64)], others: &[(u64, u64)]) -> Vec<Range<u64>> {
    let mut parts = Vec::new();
    for &(start, end) in ranges {
        let mut at = start;
        let first = others.partition_point(|&(_, other_end)| other_end <= start);
        for &(other_start, other_end) in &others[first..] {
            if other_start >= end {
                break;
            }
            if other_start > at {
                parts.push(at..other_start);
            }
            at = other_end;
        }
        if at < end {
            parts.push(at..end);
        }
    }
    parts
}

/// The lowest address that the main stack of `wanted` has below the deputy's, if it has grown.
pub fn grown_stack(present: &[MappingDetail], wanted: &[MappingImage]) -> Option<u64> {
    let stack = present
        .iter()
        .map(|detail| &detail.mapping)
        .find(|mapping| mapping.kind == MappingKind::Stack)?;
    let image = wanted
        .iter()
        .find(|image| (image.start..image.end).contains(&(stack.end - 1)))?;
    (image.start < stack.start).then_some(image.start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::image::Backing;
    use crate::migrate::objects::Objects;
    use crate::process::smaps;

    /// Mappings as smaps tells them: address range and permissions, offset, inode, name, flags.
    fn present(lines: &[(&str, u64, u64, &str, &str)]) -> Vec<MappingDetail> {
        let text: String = lines
            .iter()
            .map(|(place, offset, inode, name, flags)| {
                format!("{place} {offset:08x} 08:01 {inode} {name}\nVmFlags: {flags}\n")
            })
            .collect();
        smaps::parse(text.as_bytes()).unwrap()
    }

    fn anonymous(place: &str) -> (&str, u64, u64, &'static str, &'static str) {
        (place, 0, 0, "", "mr mw me")
    }

    fn image(start: u64, end: u64, protection: u32) -> MappingImage {
        MappingImage {
            start,
            end,
            protection,
            advice: Advice::NONE,
            backing: None,
        }
    }

    fn of_object(start: u64, end: u64, object: u64, offset: u64, shared: bool) -> MappingImage {
        MappingImage {
            backing: Some(Backing {
                object,
                offset,
                shared,
            }),
            ..image(start, end, 3)
        }
    }

    fn plan(present: &[MappingDetail], wanted: &[MappingImage]) -> LayoutChange {
        let mut known = DeputyObjects::default();
        for detail in present {
            known.numbering().backing(detail);
        }
        change(present, wanted, &known, Advice::NONE, &[])
    }

    fn summary(calls: &[Call]) -> Vec<(i64, u64, u64)> {
        calls
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

    #[test]
    fn an_unchanged_address_space_needs_no_call() {
        let present = present(&[
            anonymous("1000-3000 rw-p"),
            anonymous("3000-5000 r--p"),
            ("6000-8000 rw-p", 0x2000, 7, "/lib/x", "mr mw"),
            ("8000-9000 rw-s", 0, 8, "/dev/zero (deleted)", "sh mr mw"),
        ]);
        let wanted = [
            image(0x1000, 0x3000, 3),
            image(0x3000, 0x5000, 1),
            of_object(0x6000, 0x8000, 1, 0x2000, false),
            of_object(0x8000, 0x9000, 2, 0, true),
        ];
        assert_eq!(plan(&present, &wanted), LayoutChange::default());
    }

    #[test]
    fn merged_mappings_of_the_guest_count_as_what_they_cover() {
        let present = present(&[anonymous("1000-3000 rw-p"), anonymous("3000-5000 rw-p")]);
        let wanted = [image(0x1000, 0x5000, 3)];
        assert_eq!(plan(&present, &wanted), LayoutChange::default());
    }

    #[test]
    fn what_is_gone_is_unmapped_what_is_new_is_mapped_what_is_protected_is_protected() {
        let present = present(&[anonymous("1000-5000 rw-p")]);
        let wanted = [image(0x2000, 0x3000, 1), image(0x4000, 0x6000, 3)];
        assert_eq!(
            summary(&plan(&present, &wanted).calls),
            [
                (number::SYS_munmap, 0x1000, 0x1000),
                (number::SYS_munmap, 0x3000, 0x1000),
                (number::SYS_mmap, 0x5000, 0x1000),
                (number::SYS_mprotect, 0x2000, 0x1000),
            ]
        );
    }

    /// The guest has unmapped a file and a piece of shared memory, and has ordinary memory there now: were
    /// the old mappings kept, its contents would go to the file.
    #[test]
    fn ordinary_memory_replaces_what_was_a_file_or_shared() {
        let present = present(&[
            ("1000-3000 rw-p", 0, 7, "/lib/x", "mr mw"),
            ("5000-6000 rw-s", 0, 8, "/dev/zero (deleted)", "sh mr mw"),
        ]);
        let wanted = [image(0x1000, 0x2000, 3), image(0x5000, 0x6000, 3)];
        let change = plan(&present, &wanted);
        assert_eq!(
            summary(&change.calls),
            [
                (number::SYS_munmap, 0x2000, 0x1000),
                (number::SYS_mmap, 0x1000, 0x1000),
                (number::SYS_mmap, 0x5000, 0x1000),
            ]
        );
        assert!(
            change.calls[1..]
                .iter()
                .all(|call| call.arguments[3] & IN_PLACE != 0)
        );
    }

    #[test]
    fn another_part_of_an_object_is_missed() {
        let present = present(&[("1000-3000 rw-s", 0, 8, "/dev/zero (deleted)", "sh mr mw")]);
        for wrong in [
            of_object(0x1000, 0x3000, 1, 0x1000, true),
            of_object(0x1000, 0x3000, 1, 0, false),
            of_object(0x1000, 0x3000, 2, 0, true),
            of_object(0x7000, 0x8000, 1, 0, true),
        ] {
            let missing = plan(&present, &[wrong]).missing;
            assert_eq!(missing, Some(wrong.start));
        }
        let part = of_object(0x2000, 0x3000, 1, 0x1000, true);
        assert_eq!(plan(&present, &[part]).missing, None);
    }

    #[test]
    fn advice_follows_but_for_what_the_guest_cannot_tell() {
        let present = present(&[("1000-3000 rw-p", 0, 0, "", "mr mw dc mg")]);
        let mut wanted = image(0x1000, 0x3000, 3);
        wanted.advice = Advice::DONT_DUMP;
        let known = DeputyObjects::default();
        let change = change(&present, &[wanted], &known, Advice::MERGEABLE, &[]);
        let advice = change.advice.iter().map(|call| call.arguments[2]);
        // MADV_DOFORK, MADV_DONTDUMP.
        assert_eq!(advice.collect::<Vec<_>>(), [11, 16]);
        assert_eq!(change.calls, []);
    }

    #[test]
    fn memory_that_grew_downwards_grows_on() {
        let present = present(&[("3000-5000 rw-p", 0, 0, "", "mr mw gd")]);
        let mut wanted = image(0x1000, 0x5000, 3);
        wanted.advice = Advice::GROWS_DOWN;
        let calls = plan(&present, &[wanted]).calls;
        assert_eq!(summary(&calls), [(number::SYS_mmap, 0x1000, 0x2000)]);
        assert!(calls[0].arguments[3] & MAP_GROWSDOWN != 0);
    }

    /// The deputy still has there what the program had reserved below its stack when it left.
    #[test]
    fn a_stack_that_grew_over_other_memory_grows_on() {
        let present = present(&[
            anonymous("1000-3000 ---p"),
            ("3000-5000 rw-p", 0, 0, "", "mr mw gd"),
        ]);
        let mut wanted = image(0x2000, 0x5000, 3);
        wanted.advice = Advice::GROWS_DOWN;
        let calls = plan(&present, &[wanted]).calls;
        assert_eq!(
            summary(&calls),
            [
                (number::SYS_munmap, 0x1000, 0x1000),
                (number::SYS_mmap, 0x2000, 0x1000),
            ]
        );
        assert!(calls[1].arguments[3] & (MAP_GROWSDOWN | IN_PLACE) == MAP_GROWSDOWN | IN_PLACE);
    }

    #[test]
    fn what_is_the_deputys_own_is_left_alone() {
        let present = present(&[("1000-3000 rw-p", 0, 7, "/lib/x", "mr mw")]);
        let known = DeputyObjects::default();
        let own = 0x1000..0x3000;
        let change = change(
            &present,
            &[image(0x1000, 0x4000, 0)],
            &known,
            Advice::NONE,
            std::slice::from_ref(&own),
        );
        assert_eq!(summary(&change.calls), [(number::SYS_mmap, 0x3000, 0x1000)]);
    }

    #[test]
    fn a_file_that_was_only_read_is_never_made_writable() {
        let present = present(&[("1000-3000 r--s", 0, 7, "/etc/x", "mr sh")]);
        let change = plan(&present, &[of_object(0x1000, 0x3000, 1, 0, false)]);
        assert_eq!(change, LayoutChange::default());
    }

    #[test]
    fn parts_that_nothing_covers_are_told() {
        let others = [(10, 20), (30, 40), (50, 60)];
        assert_eq!(
            uncovered(&[(0, 100)], &others),
            [0..10, 20..30, 40..50, 60..100]
        );
        assert_eq!(uncovered(&[(12, 18), (35, 55)], &others), vec![40..50]);
        assert_eq!(uncovered(&[(20, 30)], &others), vec![20..30]);
        assert_eq!(uncovered(&[], &others), []);
    }

    #[test]
    fn a_grown_stack_is_found_by_its_upper_end() {
        let stack = present(&[("8000-a000 rw-p", 0, 0, "[stack]", "gd")]);
        assert_eq!(
            grown_stack(&stack, &[image(0x5000, 0xa000, 3)]),
            Some(0x5000)
        );
        assert_eq!(grown_stack(&stack, &[image(0x8000, 0xa000, 3)]), None);
    }
}
