//! Baselines: with which instruction set a program makes do, so that it can go to older CPUs than home's.
//!
//! `limosa run --baseline` says it to glibc, in the tunable `glibc.cpu.hwcaps` of the variable
//! GLIBC_TUNABLES: the dynamic linker then takes neither functions nor libraries (`glibc-hwcaps`) for
//! more than that. Without OSXSAVE it also saves registers by FXSAVE, which every CPU has. The
//! variable is the job's memory as well: every program of the job inherits it, and a process that was
//! started without it (its caller cleared the environment, say) is judged by all that home's CPU has.
//!
//! The levels are those of the x86-64 psABI. The tunable's names for features are glibc's since 2.33;
//! older versions pass over names that they do not know.

use std::fmt;
use std::str::FromStr;

use crate::process::{ReadError, environment};
use crate::sys::probe::Capabilities;

/// The variable that glibc reads.
pub const TUNABLES_VARIABLE: &str = "GLIBC_TUNABLES";

/// The tunable in it that takes CPU features away.
const HARDWARE_TUNABLE: &str = "glibc.cpu.hwcaps";

/// An instruction set level below that of this CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// x86-64-v2: SSE4.2; Intel since 2008, AMD since 2011.
    V2,
    /// x86-64-v3: AVX2; Intel since 2013, AMD since 2015.
    V3,
}

/// A text that names no baseline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownBaseline(String);

impl fmt::Display for UnknownBaseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no baseline: choose x86-64-v2 or x86-64-v3",
            self.0
        )
    }
}

impl std::error::Error for UnknownBaseline {}

impl FromStr for Baseline {
    type Err = UnknownBaseline;

    fn from_str(text: &str) -> Result<Self, UnknownBaseline> {
        match text {
            "x86-64-v2" => Ok(Baseline::V2),
            "x86-64-v3" => Ok(Baseline::V3),
            other => Err(UnknownBaseline(other.to_owned())),
        }
    }
}

/// What every x86-64 CPU has.
const EXTENSIONS_V1: &[&str] = &[
    "cx8", "cmov", "mmx", "fxsr", "sse", "sse2", "syscall", "tsc", "clflush",
];

/// What x86-64-v2 adds.
const EXTENSIONS_V2: &[&str] = &[
    "sse3", "ssse3", "cx16", "sse4_1", "sse4_2", "popcnt", "lahf_lm",
];

/// What x86-64-v3 adds, and XSAVEC, with which the dynamic linker saves the AVX registers if home has it.
const EXTENSIONS_V3: &[&str] = &[
    "fma", "movbe", "osxsave", "avx", "f16c", "bmi1", "avx2", "bmi2", "abm", "xsavec",
];

/// glibc's names of what it may use of x86-64-v3.
const TUNABLES_V3: &[&str] = &[
    "AVX", "AVX2", "BMI1", "BMI2", "F16C", "FMA", "LZCNT", "MOVBE", "OSXSAVE", "XSAVE", "XSAVEC",
];

/// glibc's names of what it may use beyond x86-64-v3.
const TUNABLES_BEYOND: &[&str] = &[
    "AVX512F", "AVX512VL", "AVX512BW", "AVX512CD", "AVX512DQ", "AVX512ER", "AVX512PF", "FMA4",
    "RTM", "XOP",
];

impl Baseline {
    /// Names of all extensions in it, as [`crate::sys::cpu`] writes them.
    fn extensions(self) -> impl Iterator<Item = &'static str> {
        let newest = match self {
            Baseline::V2 => [].as_slice(),
            Baseline::V3 => EXTENSIONS_V3,
        };
        [EXTENSIONS_V1, EXTENSIONS_V2, newest]
            .into_iter()
            .flatten()
            .copied()
    }

    /// glibc's names of what it must not use.
    fn masked(self) -> impl Iterator<Item = &'static str> {
        let newest = match self {
            Baseline::V2 => TUNABLES_V3,
            Baseline::V3 => &[],
        };
        [TUNABLES_BEYOND, newest].into_iter().flatten().copied()
    }

    /// Parts of the extended state on whose presence and layout a program depends. With AVX these are all that
    /// home's kernel has switched on: it saves them all in the frames of signal handlers.
    fn extended_state_parts(self) -> u64 {
        match self {
            Baseline::V2 => 0,
            Baseline::V3 => u64::MAX,
        }
    }

    /// The value of [`TUNABLES_VARIABLE`] that says so to glibc and keeps what it says already.
    #[must_use]
    pub fn tunables(self, present: &[u8]) -> Vec<u8> {
        let mut settings: Vec<Vec<u8>> = present
            .split(|&byte| byte == b':')
            .filter(|setting| !setting.is_empty())
            .map(<[u8]>::to_vec)
            .collect();
        // Of several settings of one tunable glibc takes the last.
        let place = settings
            .iter()
            .rposition(|setting| hardware_words(setting).is_some())
            .unwrap_or_else(|| {
                settings.push(format!("{HARDWARE_TUNABLE}=").into_bytes());
                settings.len() - 1
            });
        for name in self.masked() {
            let word = format!("-{name}").into_bytes();
            let words = hardware_words(&settings[place]).unwrap_or_default();
            if !words.split(|&byte| byte == b',').any(|known| known == word) {
                if !words.is_empty() {
                    settings[place].push(b',');
                }
                settings[place].extend(word);
            }
        }
        settings.join(&b':')
    }

    /// The baseline that a program was told whose environment holds this value: the lowest, if any.
    #[must_use]
    pub fn of_tunables(value: &[u8]) -> Option<Baseline> {
        let words = value
            .split(|&byte| byte == b':')
            .rev()
            .find_map(hardware_words)?;
        let has = |name: &str| {
            let mut known = words.split(|&byte| byte == b',');
            known.any(|word| word.strip_prefix(b"-") == Some(name.as_bytes()))
        };
        [Baseline::V2, Baseline::V3]
            .into_iter()
            .find(|baseline| baseline.masked().all(has))
    }

    /// The baseline that a process was started with, if it was.
    ///
    /// # Errors
    /// When the process is gone or must not be read.
    pub fn of_process(pid: u32) -> Result<Option<Baseline>, ReadError> {
        match environment::read(pid) {
            Ok(contents) => {
                Ok(environment::find(&contents, TUNABLES_VARIABLE).and_then(Baseline::of_tunables))
            }
            // Too long to be searched: judged as if nothing were in it.
            Err(ReadError::TooLarge { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The words of a setting if it is that of the tunable that takes CPU features away.
fn hardware_words(setting: &[u8]) -> Option<&[u8]> {
    setting
        .strip_prefix(HARDWARE_TUNABLE.as_bytes())?
        .strip_prefix(b"=")
}

/// What of home's abilities a process may have come to rely on: all, or those of its baseline.
///
/// # Errors
/// When the process is gone or must not be read.
pub fn relied_on(home: &Capabilities, pid: u32) -> Result<Capabilities, ReadError> {
    let mut relied_on = home.clone();
    if let Some(baseline) = Baseline::of_process(pid)? {
        relied_on.cpu = home
            .cpu
            .narrowed_to(baseline.extensions(), baseline.extended_state_parts());
    }
    Ok(relied_on)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;
    use crate::sys::cpu::Cpu;

    #[test]
    fn a_baseline_is_read_back_from_what_glibc_is_told() {
        for baseline in [Baseline::V2, Baseline::V3] {
            let value = baseline.tunables(b"");
            assert_eq!(Baseline::of_tunables(&value), Some(baseline));
            assert_eq!(
                baseline.tunables(&value),
                value,
                "said twice it is the same"
            );
        }
        let partly = b"glibc.cpu.hwcaps=-AVX2,-AVX512F".as_slice();
        for value in [b"".as_slice(), b"x", b"glibc.cpu.hwcaps=", partly] {
            assert_eq!(Baseline::of_tunables(value), None);
        }
    }

    #[test]
    fn what_glibc_was_told_before_is_kept() {
        let present = b"glibc.malloc.perturb=7:glibc.cpu.hwcaps=-ERMS,-AVX2:glibc.rtld.nns=3";
        let value = String::from_utf8(Baseline::V3.tunables(present)).unwrap();
        let parts: Vec<&str> = value.split(':').collect();
        assert_eq!(
            (parts[0], parts[2]),
            ("glibc.malloc.perturb=7", "glibc.rtld.nns=3")
        );
        assert!(
            parts[1].starts_with("glibc.cpu.hwcaps=-ERMS,-AVX2,-AVX512F"),
            "{value}"
        );
        assert_eq!(Baseline::of_tunables(value.as_bytes()), Some(Baseline::V3));
        // The last of several is the one that counts.
        let twice = b"glibc.cpu.hwcaps=-AVX:glibc.cpu.hwcaps=-FMA";
        let value = Baseline::V2.tunables(twice);
        assert!(value.starts_with(b"glibc.cpu.hwcaps=-AVX:glibc.cpu.hwcaps=-FMA,-"));
        assert_eq!(Baseline::of_tunables(&value), Some(Baseline::V2));
    }

    /// What the dynamic linker of this machine makes of its environment, by its own account.
    fn diagnostics(tunables: &[u8]) -> Vec<String> {
        let output = Command::new("/lib64/ld-linux-x86-64.so.2")
            .arg("--list-diagnostics")
            .env(TUNABLES_VARIABLE, std::str::from_utf8(tunables).unwrap())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// The number of a line of the diagnostics.
    fn number(lines: &[String], name: &str) -> u32 {
        let line = lines.iter().find_map(|line| line.strip_prefix(name));
        let text = line.and_then(|rest| rest.strip_prefix("=0x"));
        u32::from_str_radix(text.unwrap_or_else(|| panic!("no {name}")), 16).unwrap()
    }

    #[test]
    fn glibc_uses_no_more_than_the_baseline_that_it_is_told() {
        let active = |leaf: u32, register: u32| {
            format!("x86.cpu_features.features[0x{leaf:x}].active[0x{register:x}]")
        };
        // CPUID leaf 1, ecx: FMA, MOVBE, XSAVE, OSXSAVE, AVX, F16C. Leaf 7, ebx: BMI1, AVX2, BMI2.
        let (basic_v3, structured_v3) = (
            1 << 12 | 1 << 22 | 1 << 26 | 1 << 27 | 1 << 28 | 1 << 29,
            0x128,
        );
        let all_avx512 = 1 << 16 | 1 << 17 | 1 << 28 | 1 << 30 | 1 << 31;
        let native = diagnostics(b"");
        let v3 = diagnostics(&Baseline::V3.tunables(b""));
        let v2 = diagnostics(&Baseline::V2.tunables(b""));
        for lines in [&v3, &v2] {
            assert_eq!(number(lines, &active(1, 1)) & all_avx512, 0);
        }
        let basic = number(&native, &active(0, 2));
        assert_eq!(number(&v3, &active(0, 2)) & basic_v3, basic & basic_v3);
        // F16C has no name in glibc 2.36, which does not use it; without OSXSAVE it would be of no use.
        assert_eq!(number(&v2, &active(0, 2)) & basic_v3 & !(1 << 29), 0);
        assert_eq!(number(&v2, &active(1, 1)) & structured_v3, 0);
        // FXSAVE instead of XSAVE; bit 2 of the subdirectories stands for x86-64-v2.
        assert_eq!(number(&v2, "x86.cpu_features.xsave_state_size"), 0);
        assert_eq!(number(&v2, "dl_hwcaps_subdirs_active") & 0b011, 0);
        assert_eq!(number(&v3, "dl_hwcaps_subdirs_active") & 0b001, 0);
    }

    #[test]
    fn a_process_relies_on_what_it_was_told_at_its_start() {
        let home = Capabilities::probe();
        let relied_on_with = |value: &str| {
            let mut command = Command::new("cat");
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.env(TUNABLES_VARIABLE, value).spawn().unwrap();
            // What it gives back shows that it runs: in the middle of its exec it has no environment.
            let mut input = child.stdin.take().unwrap();
            input.write_all(b"x").unwrap();
            child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
            let relied_on = relied_on(&home, child.id()).unwrap();
            drop(input);
            child.wait().unwrap();
            relied_on
        };
        assert_eq!(relied_on_with("glibc.malloc.perturb=1"), home);
        let value = String::from_utf8(Baseline::V2.tunables(b"")).unwrap();
        let cpu = relied_on_with(&value).cpu;
        let named = cpu.extensions_lacking_on(&Cpu::default());
        assert!(
            named.contains(&"sse2") && !named.contains(&"avx"),
            "{named:?}"
        );
        assert_eq!(cpu.extended_state_parts, 0);
    }

    #[test]
    fn each_extension_of_a_baseline_has_a_name_that_is_compared() {
        let all = Cpu::with_every_extension();
        for baseline in [Baseline::V2, Baseline::V3] {
            let narrowed = all.narrowed_to(baseline.extensions(), 0);
            let named = narrowed.extensions_lacking_on(&Cpu::default());
            assert_eq!(named.len(), baseline.extensions().count());
        }
    }

    proptest! {
        #[test]
        fn any_value_can_be_told_a_baseline_and_keeps_its_settings(present: Vec<u8>) {
            let value = Baseline::V2.tunables(&present);
            prop_assert_eq!(Baseline::of_tunables(&value), Some(Baseline::V2));
        }
    }
}
