//! What a program has told the kernel to do with its memory, beyond protection: madvise(2), mlock(2) and
//! MAP_GROWSDOWN, as the kernel tells it by VmFlags. Re-applied wherever the program goes.

use serde::{Deserialize, Serialize};

use crate::process::smaps::VmFlags;
use crate::sys::blob::Call;
use crate::sys::call_numbers as number;

/// A set of such instructions for one mapping.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice(u16);

macro_rules! advice {
    ($($(#[$doc:meta])* $name:ident = $bit:literal $flag:ident;)*) => {
        impl Advice {
            $($(#[$doc])* pub const $name: Advice = Advice(1 << $bit);)*

            const FLAGS: &'static [(VmFlags, Advice, &'static str)] =
                &[$((VmFlags::$flag, Advice::$name, stringify!($name)),)*];
        }
    };
}

advice! {
    /// MAP_GROWSDOWN: grows on a fault below it.
    GROWS_DOWN = 0 GROWS_DOWN;
    /// MADV_DONTFORK.
    DONT_FORK = 1 DONT_FORK;
    /// MADV_WIPEONFORK.
    WIPE_ON_FORK = 2 WIPE_ON_FORK;
    /// MADV_DONTDUMP.
    DONT_DUMP = 3 DONT_DUMP;
    /// MADV_HUGEPAGE.
    HUGE_PAGE = 4 HUGE_PAGE;
    /// MADV_NOHUGEPAGE.
    NO_HUGE_PAGE = 5 NO_HUGE_PAGE;
    /// MADV_MERGEABLE.
    MERGEABLE = 6 MERGEABLE;
    /// MADV_SEQUENTIAL.
    SEQUENTIAL = 7 SEQUENTIAL_READ;
    /// MADV_RANDOM.
    RANDOM = 8 RANDOM_READ;
    /// mlock(2).
    LOCKED = 9 LOCKED;
    /// mlock2(2) with MLOCK_ONFAULT.
    LOCK_ON_FAULT = 10 LOCK_ON_FAULT;
    /// MAP_DROPPABLE (Linux 6.11): the kernel may forget it, and does at fork(2).
    DROPPABLE = 11 DROPPABLE;
}

impl std::fmt::Debug for Advice {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let set = Advice::FLAGS.iter().filter(|(_, one, _)| self.has(*one));
        out.debug_set().entries(set.map(|(.., name)| name)).finish()
    }
}

const MADV_NORMAL: u64 = 0;
const MADV_RANDOM: u64 = 1;
const MADV_SEQUENTIAL: u64 = 2;
const MLOCK_ONFAULT: u64 = 1;

/// What is switched on and off by madvise(2): the advice that sets and the one that clears, if there is one.
const SWITCHES: [(Advice, u64, Option<u64>); 6] = [
    (Advice::DONT_FORK, 10, Some(11)),
    (Advice::MERGEABLE, 12, Some(13)),
    (Advice::HUGE_PAGE, 14, None),
    (Advice::NO_HUGE_PAGE, 15, None),
    (Advice::DONT_DUMP, 16, Some(17)),
    (Advice::WIPE_ON_FORK, 18, Some(19)),
];

impl Advice {
    /// Nothing.
    pub const NONE: Advice = Advice(0);

    /// What the kernel's flags of a mapping say.
    #[must_use]
    pub fn of(flags: VmFlags) -> Advice {
        Advice::FLAGS
            .iter()
            .filter(|(flag, ..)| flags.contains(*flag))
            .fold(Advice::NONE, |sum, (_, advice, _)| sum.with(*advice))
    }

    /// Whether all of `other` is among it.
    #[must_use]
    pub const fn has(self, other: Advice) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    #[must_use]
    pub const fn with(self, other: Advice) -> Advice {
        Advice(self.0 | other.0)
    }

    /// Without `other`.
    #[must_use]
    pub const fn without(self, other: Advice) -> Advice {
        Advice(self.0 & !other.0)
    }

    /// What both have.
    #[must_use]
    pub const fn common(self, other: Advice) -> Advice {
        Advice(self.0 & other.0)
    }

    /// The calls that bring memory that has this advice to have `wanted`, where that can be done. None of
    /// them changes contents; each may be refused by a kernel without the feature.
    #[must_use]
    pub fn calls_to(self, wanted: Advice, start: u64, length: u64) -> Vec<Call> {
        let madvise = |advice| Call::new(number::SYS_madvise, [start, length, advice, 0, 0, 0]);
        let mut calls = Vec::new();
        // The kernel keeps droppable memory out of forks and dumps by itself, and refuses otherwise.
        let is_droppable = self.has(Advice::DROPPABLE) || wanted.has(Advice::DROPPABLE);
        for (advice, set, clear) in SWITCHES {
            let by_itself = [Advice::WIPE_ON_FORK, Advice::DONT_DUMP].contains(&advice);
            if is_droppable && by_itself {
                continue;
            }
            match (self.has(advice), wanted.has(advice), clear) {
                (false, true, _) => calls.push(madvise(set)),
                (true, false, Some(clear)) => calls.push(madvise(clear)),
                _ => {}
            }
        }
        const READING: Advice = Advice::RANDOM.with(Advice::SEQUENTIAL);
        if self.common(READING) != wanted.common(READING) {
            calls.push(madvise(match wanted.common(READING) {
                Advice::RANDOM => MADV_RANDOM,
                Advice::SEQUENTIAL => MADV_SEQUENTIAL,
                _ => MADV_NORMAL,
            }));
        }
        const LOCKS: Advice = Advice::LOCKED.with(Advice::LOCK_ON_FAULT);
        if self.common(LOCKS) != wanted.common(LOCKS) {
            calls.push(if wanted.has(Advice::LOCK_ON_FAULT) {
                let arguments = [start, length, MLOCK_ONFAULT, 0, 0, 0];
                Call::new(number::SYS_mlock2, arguments)
            } else if wanted.has(Advice::LOCKED) {
                Call::new(number::SYS_mlock, [start, length, 0, 0, 0, 0])
            } else {
                Call::new(number::SYS_munlock, [start, length, 0, 0, 0, 0])
            });
        }
        calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(from: Advice, to: Advice) -> Vec<(i64, u64)> {
        from.calls_to(to, 0x1000, 0x2000)
            .iter()
            .map(|call| {
                assert_eq!(call.arguments[..2], [0x1000, 0x2000]);
                (call.number.cast_signed(), call.arguments[2])
            })
            .collect()
    }

    #[test]
    fn what_the_kernel_tells_is_told_back_to_it() {
        let flags = VmFlags::parse(b"rd wr mr mw me dc wf dd hg mg");
        let advice = Advice::of(flags);
        assert_eq!(
            calls(Advice::NONE, advice),
            [10, 12, 14, 16, 18].map(|word| (number::SYS_madvise, word))
        );
        assert_eq!(calls(advice, advice), []);
    }

    #[test]
    fn what_was_switched_off_is_switched_off_but_huge_pages_which_cannot() {
        let before = Advice::DONT_FORK
            .with(Advice::MERGEABLE)
            .with(Advice::HUGE_PAGE)
            .with(Advice::RANDOM);
        assert_eq!(
            calls(before, Advice::NONE),
            [11, 13, 0].map(|word| (number::SYS_madvise, word))
        );
    }

    #[test]
    fn memory_is_locked_as_it_was_and_unlocked() {
        let on_fault = Advice::LOCKED.with(Advice::LOCK_ON_FAULT);
        assert_eq!(
            calls(Advice::NONE, Advice::LOCKED),
            [(number::SYS_mlock, 0)]
        );
        assert_eq!(calls(Advice::LOCKED, on_fault), [(number::SYS_mlock2, 1)]);
        assert_eq!(calls(on_fault, Advice::NONE), [(number::SYS_munlock, 0)]);
    }

    #[test]
    fn droppable_memory_is_left_to_the_kernel() {
        let droppable = Advice::of(VmFlags::parse(b"rd wr wf dd dp"));
        assert_eq!(calls(Advice::DROPPABLE, droppable), []);
    }
}
