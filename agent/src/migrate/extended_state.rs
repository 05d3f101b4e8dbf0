//! The extended state of a thread (x87, SSE, AVX registers and so on), carried from one CPU to another.
//!
//! The kernel gives it in XSAVE's standard layout, whose parts and size are the CPU's; without XSAVE it is
//! only the first 512 bytes of that (FXSAVE). A process goes only where each part that it relies on lies
//! at the same offset (`cantmove::compare_nodes`). A part that only one of the two CPUs has keeps what it
//! holds in the thread that takes the state over: nobody relies on it, but access rights by protection
//! key, say, are not meant to be all zero.

use std::io;
use std::ops::Range;

use crate::sys::cpu::{Cpu, ExtendedStateLayout};
use crate::sys::ptrace::{self, ThreadId};

/// The kernel's note of XCR0, at the beginning of those of the 512 bytes that the CPU leaves alone (where
/// gdb finds it, too).
const ENABLED_PARTS: Range<usize> = 464..472;

/// XSTATE_BV: the parts that are not in their initial state.
const USED_PARTS: Range<usize> = 512..520;

/// Where the header ends.
const HEADER_END: usize = 576;

/// The first part behind the header: AVX.
const FIRST_EXTENDED_PART: usize = 2;

/// Gives a stopped thread the extended state of another, which may have run on another CPU.
///
/// # Errors
/// When the thread is gone or the state is none that its CPU can be in.
pub fn take_over(thread: ThreadId, incoming: &[u8]) -> io::Result<()> {
    let own = ptrace::extended_state(thread)?;
    if own.len() == incoming.len() && enabled_parts(&own) == enabled_parts(incoming) {
        return ptrace::set_extended_state(thread, incoming);
    }
    let layout = Cpu::detect().extended_state_layout;
    ptrace::set_extended_state(thread, &carry_over(&own, incoming, &layout))
}

/// The state that a thread has after taking over `incoming`. `own` is what it has now, in `layout`.
fn carry_over(own: &[u8], incoming: &[u8], layout: &ExtendedStateLayout) -> Vec<u8> {
    let mut state = own.to_vec();
    let mut copy = |range: Range<usize>| {
        if let (Some(to), Some(from)) = (state.get_mut(range.clone()), incoming.get(range)) {
            to.copy_from_slice(from);
        }
    };
    copy(0..ENABLED_PARTS.start);
    let common = enabled_parts(own) & enabled_parts(incoming);
    for (number, part) in layout.iter().enumerate().skip(FIRST_EXTENDED_PART) {
        if common & (1 << number) != 0 {
            let start = usize::from(part.offset_bytes);
            copy(start..start + usize::from(part.size_bytes));
        }
    }
    if own.len() >= HEADER_END {
        let used = used_parts(own) & !common | used_parts(incoming) & common;
        state[USED_PARTS].copy_from_slice(&used.to_le_bytes());
    }
    state
}

/// XCR0 of the CPU on which a state was saved.
fn enabled_parts(state: &[u8]) -> u64 {
    if state.len() < HEADER_END {
        LEGACY_PARTS
    } else {
        number_at(state, ENABLED_PARTS)
    }
}

/// The parts of a state that say something; FXSAVE always says all that it knows.
fn used_parts(state: &[u8]) -> u64 {
    if state.len() < HEADER_END {
        LEGACY_PARTS
    } else {
        number_at(state, USED_PARTS)
    }
}

/// x87 and SSE state.
const LEGACY_PARTS: u64 = 0b11;

fn number_at(state: &[u8], range: Range<usize>) -> u64 {
    let bytes = state.get(range).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::cpu::StatePart;
    use proptest::prelude::*;

    /// Bytes of what FXSAVE knows.
    const LEGACY_BYTES: usize = 512;
    const AVX: usize = 2;
    const KEYS: usize = 9;

    fn layout(keys_offset: u16) -> ExtendedStateLayout {
        let mut layout = ExtendedStateLayout::default();
        let part = |offset_bytes, size_bytes| StatePart {
            offset_bytes,
            size_bytes,
        };
        layout[AVX] = part(576, 256);
        layout[KEYS] = part(keys_offset, 8);
        layout
    }

    /// A state of these parts, each byte of which is `fill`.
    fn state(enabled: u64, used: u64, fill: u8, size_bytes: usize) -> Vec<u8> {
        let mut state = vec![fill; size_bytes];
        if size_bytes >= HEADER_END {
            state[LEGACY_BYTES..HEADER_END].fill(0);
            state[ENABLED_PARTS].copy_from_slice(&enabled.to_le_bytes());
            state[USED_PARTS].copy_from_slice(&used.to_le_bytes());
        }
        state
    }

    #[test]
    fn what_both_cpus_have_is_taken_over_and_the_rest_kept() {
        let own = state(0b10_0000_0111, 0b10_0000_0001, 1, 840);
        let incoming = state(0b111, 0b111, 2, 832);
        let taken = carry_over(&own, &incoming, &layout(832));
        assert_eq!(used_parts(&taken), 0b10_0000_0111);
        assert_eq!(enabled_parts(&taken), enabled_parts(&own));
        assert_eq!((taken[0], taken[700], taken[836]), (2, 2, 1));
        // And back: what the other has no room for stays behind.
        let taken = carry_over(&incoming, &own, &layout(0));
        assert_eq!(taken.len(), incoming.len());
        assert_eq!(used_parts(&taken), 0b001);
    }

    #[test]
    fn a_cpu_without_xsave_gives_and_takes_the_first_512_bytes() {
        let (with, without) = (state(0b111, 0b100, 1, 832), state(0, 0, 2, LEGACY_BYTES));
        let taken = carry_over(&with, &without, &layout(0));
        assert_eq!((taken[0], taken[463], taken[600]), (2, 2, 1));
        assert_eq!(used_parts(&taken), 0b111);
        let taken = carry_over(&without, &with, &ExtendedStateLayout::default());
        assert_eq!((taken.len(), taken[463]), (LEGACY_BYTES, 1));
        assert_eq!(taken[464], 2);
    }

    proptest! {
        #[test]
        fn any_incoming_bytes_keep_the_size_and_name_no_part_that_is_not_there(
            incoming in prop::collection::vec(any::<u8>(), 0..1_000),
        ) {
            let own = state(0b111, 0b111, 0, 832);
            let taken = carry_over(&own, &incoming, &layout(0));
            prop_assert_eq!(taken.len(), own.len());
            prop_assert_eq!(used_parts(&taken) & !0b111, 0);
        }
    }
}
