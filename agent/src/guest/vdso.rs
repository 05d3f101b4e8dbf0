//! The vDSO of a guest: home's code at home's address, working on the remote node.
//!
//! If both nodes' kernels have the same vDSO, the guest's own is moved to where the program knows it, with
//! its data pages: the clocks stay as fast as at home. If they differ, the program's vDSO becomes plain
//! memory in which each function is replaced by the system call that it stands for: slower, and right
//! between any two kernels.

use crate::migrate::image::{PAGE_BYTES, VdsoImage};
use crate::migrate::process_memory::ProcessMemory;
use crate::process::maps::{Mapping, MappingKind};
use crate::sys::blob::Call;
use crate::sys::call_numbers as number;
use crate::sys::vdso::VdsoIdentity;

/// How to give the guest its vDSO.
pub enum VdsoPlan {
    /// Make these calls.
    Move(Vec<Call>),
    /// Make these calls, then write `code` to `start`.
    Replace {
        /// The calls.
        calls: Vec<Call>,
        /// Where the program has its vDSO.
        start: u64,
        /// Its code, changed.
        code: Vec<u8>,
    },
}

/// Plans for a guest whose own vDSO and data pages are `own`. `parking` is free for at least a mebibyte.
pub fn plan(own: &[Mapping], wanted: &VdsoImage, memory: &ProcessMemory, parking: u64) -> VdsoPlan {
    if wanted.start == 0 {
        return VdsoPlan::Move(own.iter().map(unmap).collect());
    }
    if is_same(own, wanted, memory) {
        return VdsoPlan::Move(moves(own, wanted.start, parking));
    }
    let mut calls: Vec<Call> = own.iter().map(unmap).collect();
    let length = (wanted.code.len() as u64).next_multiple_of(PAGE_BYTES);
    const PROT_READ_EXECUTE: u64 = 5;
    const PRIVATE_ANONYMOUS_FIXED_NOREPLACE: u64 = 0x02 | 0x20 | 0x10_0000;
    let flags = PRIVATE_ANONYMOUS_FIXED_NOREPLACE;
    let arguments = [wanted.start, length, PROT_READ_EXECUTE, flags, u64::MAX, 0];
    calls.push(Call::new(number::SYS_mmap, arguments));
    VdsoPlan::Replace {
        calls,
        start: wanted.start,
        code: with_plain_calls(&wanted.code),
    }
}

fn unmap(mapping: &Mapping) -> Call {
    let length = mapping.end - mapping.start;
    Call::new(number::SYS_munmap, [mapping.start, length, 0, 0, 0, 0])
}

fn is_same(own: &[Mapping], wanted: &VdsoImage, memory: &ProcessMemory) -> bool {
    let Some(vdso) = own.iter().find(|mapping| mapping.kind == MappingKind::Vdso) else {
        return false;
    };
    let relative = |start: u64, end: u64, base: u64| (start.wrapping_sub(base), end - start);
    let mut own_data: Vec<_> = own
        .iter()
        .filter(|mapping| mapping.kind != MappingKind::Vdso)
        .map(|mapping| relative(mapping.start, mapping.end, vdso.start))
        .collect();
    let mut wanted_data: Vec<_> = wanted
        .data
        .iter()
        .map(|&(start, end)| relative(start, end.max(start), wanted.start))
        .collect();
    own_data.sort_unstable();
    wanted_data.sort_unstable();
    // The kernel patches its vDSO for the CPU when it boots: what counts is where its functions are.
    let mut code = vec![0; (vdso.end - vdso.start) as usize];
    let read = memory.read_available(vdso.start, &mut code);
    let data_bytes = own_data.iter().map(|(_, length)| length).sum();
    let here = VdsoIdentity::of(&code[..read], data_bytes);
    own_data == wanted_data
        && here.is_interchangeable_with(&VdsoIdentity::of(&wanted.code, data_bytes))
}

/// Moves all mappings, keeping their distances, so that the vDSO is at `target`; by way of a parking
/// range, because where they are and where they go may overlap.
fn moves(own: &[Mapping], target: u64, parking: u64) -> Vec<Call> {
    const MAY_MOVE_FIXED: u64 = 3;
    let base = own.iter().map(|mapping| mapping.start).min().unwrap_or(0);
    let vdso = own.iter().find(|mapping| mapping.kind == MappingKind::Vdso);
    let Some(vdso) = vdso.filter(|vdso| vdso.start != target) else {
        return Vec::new();
    };
    let step = |from: u64, length: u64, to: u64| {
        Call::new(
            number::SYS_mremap,
            [from, length, length, MAY_MOVE_FIXED, to, 0],
        )
    };
    let parked = |mapping: &Mapping| parking + (mapping.start - base);
    let away = own
        .iter()
        .map(|mapping| step(mapping.start, mapping.end - mapping.start, parked(mapping)));
    let there = own.iter().map(|mapping| {
        let to = target.wrapping_add(mapping.start.wrapping_sub(vdso.start));
        step(parked(mapping), mapping.end - mapping.start, to)
    });
    away.chain(there).collect()
}

/// `mov eax, number; syscall; ret`.
fn plain_call(number: u32) -> Vec<u8> {
    let mut code = vec![0xb8];
    code.extend_from_slice(&number.to_le_bytes());
    code.extend_from_slice(&[0x0f, 0x05, 0xc3]);
    code
}

/// getrandom(2), but ENOSYS when asked about the size of its state (r8 is -1), which the plain call knows
/// nothing of (Documentation: vgetrandom, Linux 6.11).
fn plain_getrandom() -> Vec<u8> {
    const GETRANDOM: u32 = 318;
    const SKIP_PLAIN_CALL: u8 = 8;
    let mut code = vec![0x49, 0x83, 0xf8, 0xff, 0x74, SKIP_PLAIN_CALL];
    code.extend_from_slice(&plain_call(GETRANDOM));
    code.push(0xb8);
    code.extend_from_slice(&(-38i32).to_le_bytes());
    code.push(0xc3);
    code
}

fn replacement(function: &[u8]) -> Option<Vec<u8>> {
    let name = function.strip_prefix(b"__vdso_").unwrap_or(function);
    match name {
        b"clock_gettime" => Some(plain_call(228)),
        b"gettimeofday" => Some(plain_call(96)),
        b"time" => Some(plain_call(201)),
        b"clock_getres" => Some(plain_call(229)),
        b"getcpu" => Some(plain_call(309)),
        b"getrandom" => Some(plain_getrandom()),
        _ => None,
    }
}

/// The code with every function that needs the kernel's data pages replaced by a plain call. Bytes that
/// are not a well-formed ELF image stay as they are.
fn with_plain_calls(code: &[u8]) -> Vec<u8> {
    let mut changed = code.to_vec();
    for (name, value) in functions(code) {
        let Some(replacement) = replacement(name) else {
            continue;
        };
        let place = value..value.saturating_add(replacement.len());
        if let Some(target) = changed.get_mut(place) {
            target.copy_from_slice(&replacement);
        }
    }
    changed
}

fn number_at<const BYTES: usize>(code: &[u8], at: usize) -> Option<u64> {
    let bytes = code.get(at..at.checked_add(BYTES)?)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |value, &byte| value << 8 | u64::from(byte)),
    )
}

/// Names and offsets of an ELF image's dynamic function symbols (elf(5)).
fn functions(code: &[u8]) -> Vec<(&[u8], usize)> {
    const SECTION_BYTES: usize = 64;
    const SYMBOL_BYTES: usize = 24;
    const SHT_DYNSYM: u64 = 11;
    const STT_FUNC: u64 = 2;
    let mut found = Vec::new();
    let section = |index: usize| -> Option<(u64, usize, usize, usize)> {
        let table = number_at::<8>(code, 0x28)? as usize;
        let header = table.checked_add(index.checked_mul(SECTION_BYTES)?)?;
        let kind = number_at::<4>(code, header.checked_add(4)?)?;
        let offset = number_at::<8>(code, header + 0x18)? as usize;
        let size = number_at::<8>(code, header + 0x20)? as usize;
        let link = number_at::<4>(code, header + 0x28)? as usize;
        Some((kind, offset, size, link))
    };
    let count = number_at::<2>(code, 0x3c).unwrap_or(0) as usize;
    for index in 0..count {
        let Some((SHT_DYNSYM, offset, size, link)) = section(index) else {
            continue;
        };
        let Some((_, names, ..)) = section(link) else {
            continue;
        };
        for symbol in (offset..)
            .step_by(SYMBOL_BYTES)
            .take(size.min(code.len()) / SYMBOL_BYTES)
        {
            let (Some(name), Some(kind), Some(value)) = (
                number_at::<4>(code, symbol),
                number_at::<1>(code, symbol + 4),
                number_at::<8>(code, symbol + 8),
            ) else {
                break;
            };
            let Some(text) = code.get(names.saturating_add(name as usize)..) else {
                continue;
            };
            if kind & 0xf == STT_FUNC
                && let Some(end) = text.iter().position(|&byte| byte == 0)
            {
                found.push((&text[..end], value as usize));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::maps;

    fn own_vdso() -> Vec<u8> {
        let me = std::process::id();
        let mappings = maps::read(me).unwrap();
        let vdso = mappings
            .iter()
            .find(|mapping| mapping.kind == MappingKind::Vdso)
            .unwrap();
        let mut code = vec![0; (vdso.end - vdso.start) as usize];
        ProcessMemory::open(me.cast_signed())
            .unwrap()
            .read(vdso.start, &mut code)
            .unwrap();
        code
    }

    #[test]
    fn this_kernels_vdso_functions_are_found_and_replaced() {
        let code = own_vdso();
        let functions = functions(&code);
        let (_, clock) = *functions
            .iter()
            .find(|(name, _)| *name == b"__vdso_clock_gettime")
            .unwrap();
        let changed = with_plain_calls(&code);
        assert_eq!(changed.len(), code.len());
        assert_eq!(
            changed[clock..clock + 8],
            [0xb8, 228, 0, 0, 0, 0x0f, 0x05, 0xc3]
        );
    }

    #[test]
    fn bytes_that_are_no_elf_image_are_left_alone() {
        for code in [
            vec![],
            vec![0xff; 100],
            vec![0xff; 5000],
            own_vdso()[..300].to_vec(),
        ] {
            assert_eq!(with_plain_calls(&code), code);
        }
    }
}
