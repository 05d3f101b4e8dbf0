//! kcmp(2): whether two processes have the same kernel object, not a copy of it.
#![allow(unsafe_code)]

use std::io;

/// KCMP_VM of linux/kcmp.h: compare address spaces.
const KCMP_VM: libc::c_int = 1;

/// Whether two processes run in the same memory.
///
/// # Errors
/// ESRCH when one is gone, EPERM without the right to trace both, ENOSYS without CONFIG_KCMP.
pub fn same_memory(pid: u32, other: u32) -> io::Result<bool> {
    // SAFETY: with KCMP_VM the call reads no memory of ours; both numbers may be any value.
    let order = unsafe { libc::syscall(libc::SYS_kcmp, pid, other, KCMP_VM, 0_u64, 0_u64) };
    match order {
        0 => Ok(true),
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_shares_memory_with_itself_and_not_with_a_child() {
        let own = std::process::id();
        assert!(same_memory(own, own).unwrap());
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let shared = same_memory(own, child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!shared.unwrap());
    }
}
