//! Executing a program in place of this one, with the signal state that this one was started with.
#![allow(unsafe_code)]

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether SIGPIPE was ignored when this program was started.
static PIPE_IGNORED: AtomicBool = AtomicBool::new(false);

/// The Rust runtime ignores SIGPIPE before `main`, so what was there before is looked up earlier still.
extern "C" fn record_pipe_disposition() {
    // SAFETY: an all-zero sigaction is valid, and sigaction(2) with a null new action only reads the
    // present one into it.
    let ignored = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGPIPE, ptr::null(), &mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    };
    PIPE_IGNORED.store(ignored, Ordering::Relaxed);
}

// SAFETY: the C library calls each function pointer in .init_array once before `main`; this one has
// the C calling convention and needs nothing of the Rust runtime.
#[used]
#[unsafe(link_section = ".init_array")]
static RECORD_PIPE_DISPOSITION: extern "C" fn() = record_pipe_disposition;

/// Gives SIGPIPE back the disposition that this program was started with. Async-signal-safe.
pub(super) fn restore_pipe_disposition() {
    let ignored = PIPE_IGNORED.load(Ordering::Relaxed);
    let disposition = if ignored {
        libc::SIG_IGN
    } else {
        libc::SIG_DFL
    };
    // SAFETY: no handler is installed, only a disposition.
    unsafe {
        libc::signal(libc::SIGPIPE, disposition);
    }
}

/// Sets a variable of the environment in which [`execute`] executes.
pub fn set_variable(name: &str, value: &OsStr) {
    // SAFETY: `limosa run` has one thread, so nobody reads the environment meanwhile.
    unsafe { std::env::set_var(name, value) }
}

/// Executes `command` (found in PATH as execvp(3) says), with its arguments, the present environment,
/// signal mask and ignored signals. Returns only when that failed.
pub fn execute(command: &[OsString]) -> io::Error {
    let arguments: Result<Vec<CString>, _> = command
        .iter()
        .map(|word| CString::new(word.as_bytes()))
        .collect();
    let Ok(arguments) = arguments else {
        return io::Error::new(
            io::ErrorKind::InvalidInput,
            "an argument contains a zero byte",
        );
    };
    let mut pointers: Vec<*const libc::c_char> =
        arguments.iter().map(|argument| argument.as_ptr()).collect();
    pointers.push(ptr::null());
    let Some(&program) = pointers.first().filter(|program| !program.is_null()) else {
        return io::Error::new(io::ErrorKind::InvalidInput, "no command was given");
    };
    restore_pipe_disposition();
    // SAFETY: `pointers` is an array of C strings that `arguments` keeps alive, ended by a null pointer.
    unsafe {
        libc::execvp(program, pointers.as_ptr());
    }
    io::Error::last_os_error()
}
