//! What the kernel knows of its clock.
#![allow(unsafe_code)]

/// Whether something keeps the wall clock right, as far as the kernel was told (adjtimex(2)).
#[must_use]
pub fn is_synchronized() -> bool {
    // SAFETY: struct timex is plain data for which all zeroes is valid; modes 0 asks to change nothing.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one struct timex, which `timex` is.
    let state = unsafe { libc::adjtimex(&mut timex) };
    state >= 0 && state != libc::TIME_ERROR
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_answers_the_same_twice() {
        assert_eq!(super::is_synchronized(), super::is_synchronized());
    }
}
