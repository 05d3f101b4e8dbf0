//! The injected code: position-independent, needs no stack, runs a list of system calls and stops.
//!
//! The supervisor lays an array of [`Call`]s in the tracee's scratch area, points r12 at the first and
//! r13 to their number, and lets the thread run from the blob's start. Each result is stored in its
//! entry. The final `int3` reports SIGTRAP to the tracer: one stop for a whole list, where single
//! injected calls cost two stops each.
#![allow(unsafe_code)]

/// One entry of the list, in the layout that the code below reads.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// System call number.
    pub number: u64,
    /// Its arguments.
    pub arguments: [u64; 6],
    /// Its result or minus errno, once it has run.
    pub result: i64,
}

/// Size of an entry in the tracee's memory.
pub const CALL_BYTES: usize = 64;

const _: () = assert!(size_of::<Call>() == CALL_BYTES);

impl Call {
    /// A call that has not run.
    pub fn new(number: i64, arguments: [u64; 6]) -> Call {
        Call {
            number: number.cast_unsigned(),
            arguments,
            result: 0,
        }
    }

    /// In the layout that the blob reads.
    pub fn to_bytes(&self) -> [u8; CALL_BYTES] {
        let mut bytes = [0; CALL_BYTES];
        bytes[..8].copy_from_slice(&self.number.to_le_bytes());
        for (index, argument) in self.arguments.iter().enumerate() {
            bytes[8 + index * 8..16 + index * 8].copy_from_slice(&argument.to_le_bytes());
        }
        bytes[56..].copy_from_slice(&self.result.to_le_bytes());
        bytes
    }

    /// The result in an entry's bytes.
    pub fn result_in(bytes: &[u8; CALL_BYTES]) -> i64 {
        let mut result = [0; 8];
        result.copy_from_slice(&bytes[56..]);
        i64::from_le_bytes(result)
    }
}

std::arch::global_asm!(
    ".pushsection .rodata.limosa_blob, \"a\"",
    ".global limosa_blob_start",
    ".global limosa_blob_syscall",
    ".global limosa_blob_end",
    "limosa_blob_start:",
    "2: test r13, r13",
    "jz 3f",
    "mov rax, [r12]",
    "mov rdi, [r12 + 8]",
    "mov rsi, [r12 + 16]",
    "mov rdx, [r12 + 24]",
    "mov r10, [r12 + 32]",
    "mov r8, [r12 + 40]",
    "mov r9, [r12 + 48]",
    "syscall",
    "mov [r12 + 56], rax",
    "add r12, 64",
    "dec r13",
    "jmp 2b",
    "3: int3",
    // A `syscall` instruction of our own, for calls that are injected one by one.
    "limosa_blob_syscall:",
    "syscall",
    "int3",
    "limosa_blob_end:",
    ".popsection",
);

unsafe extern "C" {
    static limosa_blob_start: u8;
    static limosa_blob_syscall: u8;
    static limosa_blob_end: u8;
}

/// The code, to be copied to an executable page of the tracee.
pub fn code() -> &'static [u8] {
    // SAFETY: both symbols delimit the one read-only object assembled above; only their addresses are
    // taken, and the bytes between them are initialised and never change.
    unsafe {
        let start = &raw const limosa_blob_start;
        let length = (&raw const limosa_blob_end) as usize - start as usize;
        std::slice::from_raw_parts(start, length)
    }
}

/// Offset of a `syscall` instruction in [`code`].
pub fn syscall_offset() -> u64 {
    // Only the addresses of the symbols are taken.
    ((&raw const limosa_blob_syscall) as usize - (&raw const limosa_blob_start) as usize) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_small_and_its_syscall_instruction_is_where_it_says() {
        let code = code();
        assert!(code.len() < 128, "{} bytes", code.len());
        let at = syscall_offset() as usize;
        assert_eq!(&code[at..at + 2], &[0x0f, 0x05]);
    }

    #[test]
    fn an_entry_has_its_result_last() {
        let call = Call {
            number: 1,
            arguments: [2; 6],
            result: -14,
        };
        assert_eq!(Call::result_in(&call.to_bytes()), -14);
    }
}
