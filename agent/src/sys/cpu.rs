//! What this CPU and its kernel offer programs: instruction set extensions and the extended state.
//!
//! A program asks CPUID once at its start and goes on to use what it found (glibc picks its string
//! functions so), so a node must have every extension that the program's home has, or that the program
//! was told to make do with ([`crate::migrate::baseline`]). Only what user
//! space can use is listed; CPUID bits that matter to kernels differ between machines and harm nobody.
#![allow(unsafe_code)]

use serde::{Deserialize, Serialize};
use std::arch::x86_64::{__cpuid_count, __get_cpuid_max, _xgetbv, CpuidResult};

/// The registers of CPUID in which extensions are announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Register {
    Leaf1Ecx,
    Leaf1Edx,
    Leaf7Ebx,
    Leaf7Ecx,
    Leaf7Edx,
    Leaf7Subleaf1Eax,
    Leaf7Subleaf1Edx,
    LeafDSubleaf1Eax,
    ExtendedEcx,
    ExtendedEdx,
}

const REGISTERS: usize = 10;

/// Each extension that user space can use: where it is announced, its bit, its name as in
/// /proc/cpuinfo.
const EXTENSIONS: &[(Register, &[(u32, &str)])] = &[
    (
        Register::Leaf1Ecx,
        &[
            (0, "sse3"),
            (1, "pclmulqdq"),
            (9, "ssse3"),
            (12, "fma"),
            (13, "cx16"),
            (19, "sse4_1"),
            (20, "sse4_2"),
            (22, "movbe"),
            (23, "popcnt"),
            (25, "aes"),
            (27, "osxsave"),
            (28, "avx"),
            (29, "f16c"),
            (30, "rdrand"),
        ],
    ),
    (
        Register::Leaf1Edx,
        &[
            (4, "tsc"),
            (8, "cx8"),
            (15, "cmov"),
            (19, "clflush"),
            (23, "mmx"),
            (24, "fxsr"),
            (25, "sse"),
            (26, "sse2"),
        ],
    ),
    (
        Register::Leaf7Ebx,
        &[
            (0, "fsgsbase"),
            (3, "bmi1"),
            (4, "hle"),
            (5, "avx2"),
            (8, "bmi2"),
            (11, "rtm"),
            (16, "avx512f"),
            (17, "avx512dq"),
            (18, "rdseed"),
            (19, "adx"),
            (21, "avx512ifma"),
            (23, "clflushopt"),
            (24, "clwb"),
            (26, "avx512pf"),
            (27, "avx512er"),
            (28, "avx512cd"),
            (29, "sha_ni"),
            (30, "avx512bw"),
            (31, "avx512vl"),
        ],
    ),
    (
        Register::Leaf7Ecx,
        &[
            (1, "avx512vbmi"),
            (4, "ospke"),
            (5, "waitpkg"),
            (6, "avx512_vbmi2"),
            (8, "gfni"),
            (9, "vaes"),
            (10, "vpclmulqdq"),
            (11, "avx512_vnni"),
            (12, "avx512_bitalg"),
            (14, "avx512_vpopcntdq"),
            (22, "rdpid"),
            (25, "cldemote"),
            (27, "movdiri"),
            (28, "movdir64b"),
        ],
    ),
    (
        Register::Leaf7Edx,
        &[
            (8, "avx512_vp2intersect"),
            (14, "serialize"),
            (16, "tsxldtrk"),
            (22, "amx_bf16"),
            (23, "avx512_fp16"),
            (24, "amx_tile"),
            (25, "amx_int8"),
        ],
    ),
    (
        Register::Leaf7Subleaf1Eax,
        &[
            (0, "sha512"),
            (1, "sm3"),
            (2, "sm4"),
            (4, "avx_vnni"),
            (5, "avx512_bf16"),
            (7, "cmpccxadd"),
            (21, "amx_fp16"),
            (23, "avx_ifma"),
        ],
    ),
    (
        Register::Leaf7Subleaf1Edx,
        &[
            (4, "avx_vnni_int8"),
            (5, "avx_ne_convert"),
            (8, "amx_complex"),
            (10, "avx_vnni_int16"),
            (19, "avx10"),
            (21, "apx_f"),
        ],
    ),
    (
        Register::LeafDSubleaf1Eax,
        &[(0, "xsaveopt"), (1, "xsavec"), (2, "xgetbv1")],
    ),
    (
        Register::ExtendedEcx,
        &[
            (0, "lahf_lm"),
            (5, "abm"),
            (6, "sse4a"),
            (7, "misalignsse"),
            (8, "3dnowprefetch"),
            (11, "xop"),
            (16, "fma4"),
            (21, "tbm"),
            (29, "mwaitx"),
        ],
    ),
    (
        Register::ExtendedEdx,
        &[
            (11, "syscall"),
            (22, "mmxext"),
            (27, "rdtscp"),
            (30, "3dnowext"),
            (31, "3dnow"),
        ],
    ),
];

/// What a CPU and its kernel offer programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// The registers of CPUID in the order of [`Register`]. Bits that are not in [`EXTENSIONS`] are
    /// kept and not compared.
    registers: [u32; REGISTERS],
    /// XCR0: which parts of the extended state the kernel has switched on.
    pub extended_state_parts: u64,
    /// Where the parts of the extended state are in its standard layout, by their number in XCR0.
    pub extended_state_layout: ExtendedStateLayout,
}

/// Parts of the extended state that can have a number; the highest yet known is 19 (APX).
const STATE_PARTS: usize = 20;

/// Where the parts of the extended state are, by their number in XCR0; CPUs of one maker differ from another's.
pub type ExtendedStateLayout = [StatePart; STATE_PARTS];

/// Where a part of the extended state is in the standard layout; all zero if there is no such part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatePart {
    /// From the beginning of the state.
    pub offset_bytes: u16,
    /// How long it is.
    pub size_bytes: u16,
}

impl Cpu {
    /// This node's.
    #[must_use]
    pub fn detect() -> Cpu {
        let highest = __get_cpuid_max(0).0;
        let highest_extended = __get_cpuid_max(0x8000_0000).0;
        let leaf = |leaf: u32, subleaf: u32| -> CpuidResult {
            let known = if leaf < 0x8000_0000 {
                highest
            } else {
                highest_extended
            };
            if leaf <= known {
                __cpuid_count(leaf, subleaf)
            } else {
                CpuidResult {
                    eax: 0,
                    ebx: 0,
                    ecx: 0,
                    edx: 0,
                }
            }
        };
        let basic = leaf(1, 0);
        let structured = leaf(7, 0);
        let structured_more = if structured.eax >= 1 {
            leaf(7, 1)
        } else {
            leaf(u32::MAX, 0)
        };
        let extended = leaf(0x8000_0001, 0);
        const OSXSAVE: u32 = 1 << 27;
        let state_enabled = basic.ecx & OSXSAVE != 0;
        let state_features = if state_enabled { leaf(0xd, 1).eax } else { 0 };
        let extended_state_parts = if state_enabled {
            // SAFETY: OSXSAVE says that the kernel has enabled XGETBV; register 0 always exists.
            unsafe { _xgetbv(0) }
        } else {
            0
        };
        let mut extended_state_layout = ExtendedStateLayout::default();
        for (number, part) in (0u32..).zip(&mut extended_state_layout).skip(2) {
            if extended_state_parts & (1 << number) != 0 {
                let CpuidResult { eax, ebx, .. } = leaf(0xd, number);
                *part = StatePart {
                    offset_bytes: u16::try_from(ebx).unwrap_or_default(),
                    size_bytes: u16::try_from(eax).unwrap_or_default(),
                };
            }
        }
        Cpu {
            registers: [
                basic.ecx,
                basic.edx,
                structured.ebx,
                structured.ecx,
                structured.edx,
                structured_more.eax,
                structured_more.edx,
                state_features,
                extended.ecx,
                extended.edx,
            ],
            extended_state_parts,
            extended_state_layout,
        }
    }

    /// The names of the extensions that this CPU has and the other lacks.
    #[must_use]
    pub fn extensions_lacking_on(&self, other: &Cpu) -> Vec<&'static str> {
        let mut lacking = Vec::new();
        for (register, extensions) in EXTENSIONS {
            let index = *register as usize;
            let missing = self.registers[index] & !other.registers[index];
            lacking.extend(
                extensions
                    .iter()
                    .filter(|(bit, _)| missing & (1 << bit) != 0)
                    .map(|(_, name)| *name),
            );
        }
        lacking
    }

    /// The same with no other extensions than those named, and no other parts of the extended state than
    /// these.
    #[must_use]
    pub fn narrowed_to(
        &self,
        names: impl Iterator<Item = &'static str>,
        extended_state_parts: u64,
    ) -> Cpu {
        let mut kept = [0; REGISTERS];
        for name in names {
            for (register, extensions) in EXTENSIONS {
                let bits = extensions.iter().filter(|(_, known)| *known == name);
                kept[*register as usize] |= bits.fold(0, |bits, (bit, _)| bits | 1 << bit);
            }
        }
        for (kept, present) in kept.iter_mut().zip(self.registers) {
            *kept &= present;
        }
        Cpu {
            registers: kept,
            extended_state_parts: self.extended_state_parts & extended_state_parts,
            extended_state_layout: self.extended_state_layout,
        }
    }
}

#[cfg(test)]
impl Cpu {
    /// One that has whatever has a name.
    pub(crate) fn with_every_extension() -> Cpu {
        Cpu {
            registers: [u32::MAX; REGISTERS],
            ..Cpu::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_lacks_nothing_of_itself() {
        let cpu = Cpu::detect();
        assert!(cpu.extensions_lacking_on(&cpu).is_empty());
    }

    #[test]
    fn what_is_detected_is_what_the_kernel_lists() {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let flags = cpuinfo
            .lines()
            .find(|line| line.starts_with("flags"))
            .unwrap();
        let listed: Vec<_> = flags.split_whitespace().collect();
        let found = Cpu::detect().extensions_lacking_on(&Cpu::default());
        assert!(
            found.contains(&"sse2") && found.contains(&"syscall"),
            "{found:?}"
        );
        // Both sides know these under the same names; a mistaken bit number would show.
        for name in [
            "sse4_2", "avx", "avx2", "fma", "bmi2", "aes", "sha_ni", "xsavec", "rdtscp", "abm",
        ] {
            assert_eq!(found.contains(&name), listed.contains(&name), "{name}");
        }
    }

    #[test]
    fn a_missing_extension_is_named_and_a_kernels_own_feature_is_not() {
        let mut home = Cpu::default();
        home.registers[Register::Leaf7Ebx as usize] = 1 << 5 | 1 << 16;
        // The hypervisor bit and VMX concern no program.
        home.registers[Register::Leaf1Ecx as usize] = 1 << 31 | 1 << 5;
        let mut remote = Cpu::default();
        assert_eq!(home.extensions_lacking_on(&remote), ["avx2", "avx512f"]);
        remote.registers = [u32::MAX; REGISTERS];
        assert!(home.extensions_lacking_on(&remote).is_empty());
    }

    #[test]
    fn the_table_names_each_bit_once_and_each_register() {
        let mut names = std::collections::HashSet::new();
        for (index, (register, extensions)) in EXTENSIONS.iter().enumerate() {
            assert_eq!(*register as usize, index);
            assert!(extensions.is_sorted_by(|a, b| a.0 < b.0), "{register:?}");
            assert!(
                extensions
                    .iter()
                    .all(|(bit, name)| *bit < 32 && names.insert(*name))
            );
        }
        assert_eq!(EXTENSIONS.len(), REGISTERS);
    }
}
