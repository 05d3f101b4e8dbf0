//! The general-purpose registers of a stopped thread (x86-64), as `PTRACE_GETREGSET` NT_PRSTATUS gives
//! them, with the words in which the engine thinks of them: call number, arguments, result.

use serde::{Deserialize, Serialize};

/// `struct user_regs_struct` of <sys/user.h>, in the kernel's order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Registers {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub orig_rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub eflags: u64,
    pub rsp: u64,
    pub ss: u64,
    pub fs_base: u64,
    pub gs_base: u64,
    pub ds: u64,
    pub es: u64,
    pub fs: u64,
    pub gs: u64,
}

/// `orig_rax` of a thread that is not inside a system call.
pub const NO_CALL: u64 = u64::MAX;

/// Length of the `syscall` instruction (0f 05).
pub const SYSCALL_INSTRUCTION_BYTES: u64 = 2;

/// The code segment of 64-bit programs (`__USER_CS`).
pub const USER_CODE_SEGMENT: u64 = 0x33;

impl Registers {
    /// The six arguments of the call that the thread is making.
    pub fn arguments(&self) -> [u64; 6] {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9]
    }

    /// Puts a call's six arguments into place.
    pub fn set_arguments(&mut self, arguments: [u64; 6]) {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9] = arguments;
    }

    /// The result of a call, or minus errno.
    pub fn result(&self) -> i64 {
        self.rax.cast_signed()
    }

    /// Whether the thread stopped inside a system call rather than in its own code.
    pub fn in_call(&self) -> bool {
        self.orig_rax.cast_signed() >= 0
    }

    /// Rewinds over the `syscall` instruction so that the thread makes call `number` when it goes on.
    /// The kernel restarts calls in the same way (arch/x86/kernel/signal.c, arch_do_signal_or_restart).
    pub fn rewind_to_call(&mut self, number: u64) {
        self.rip = self.rip.wrapping_sub(SYSCALL_INSTRUCTION_BYTES);
        self.rax = number;
        self.orig_rax = NO_CALL;
    }

    /// Sets the thread up to make one call by a `syscall` instruction at `address`.
    pub fn enter_call(&mut self, address: u64, number: u64, arguments: [u64; 6]) {
        self.rip = address;
        self.rax = number;
        self.orig_rax = NO_CALL;
        self.set_arguments(arguments);
    }
}
