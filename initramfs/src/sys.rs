//! The raw kernel interfaces that rustix does not offer, and all of `/init`'s `unsafe`.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Signals that PID 1 acts on; they are blocked and read from a signalfd.
const SIGNALS: [libc::c_int; 6] = [
    libc::SIGCHLD,
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGPIPE,
];

/// Blocks the signals that `/init` acts on and returns the descriptor they are read from.
pub(crate) fn signal_descriptor() -> io::Result<OwnedFd> {
    // SAFETY: a zeroed sigset_t is a valid object for sigemptyset to initialise.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is a live, exclusively borrowed sigset_t, and the numbers are valid signals.
    unsafe {
        libc::sigemptyset(&mut set);
        for signal in SIGNALS {
            libc::sigaddset(&mut set, signal);
        }
    }
    // SAFETY: `set` is initialised; a null old set is allowed (sigprocmask(2)).
    if unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `set` is initialised and -1 asks for a new descriptor (signalfd(2)).
    let fd = unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: signalfd just returned `fd` and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The next signal that is pending on `descriptor`, or `None`.
pub(crate) fn next_signal(descriptor: BorrowedFd<'_>) -> Option<libc::c_int> {
    let mut bytes = [0_u8; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(descriptor, &mut bytes) {
        // The first field, ssi_signo, is a u32 (signalfd(2)).
        Ok(length) if length == bytes.len() => {
            let number = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            libc::c_int::try_from(number).ok()
        }
        _ => None,
    }
}

/// What terminal a new process gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Terminal {
    /// None: a session of its own without a controlling terminal.
    None,
    /// Its standard input becomes the controlling terminal of its new session.
    StandardInput,
}

/// Starts `command` in a session of its own with no signal blocked, and returns its pid.
///
/// Nobody waits through `std`: PID 1 reaps all children in one place.
pub(crate) fn spawn(command: &mut Command, terminal: Terminal) -> io::Result<i32> {
    // SAFETY: between fork and exec only async-signal-safe functions are called (sigemptyset,
    // sigprocmask, setsid, ioctl; signal-safety(7)) and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            if libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut()) != 0
                || libc::setsid() < 0
            {
                return Err(io::Error::last_os_error());
            }
            if terminal == Terminal::StandardInput && libc::ioctl(0, libc::TIOCSCTTY, 0) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let child = command.spawn()?;
    i32::try_from(child.id()).map_err(io::Error::other)
}

/// The same with all three standard streams on the terminal `device`.
pub(crate) fn spawn_on_terminal(command: &mut Command, device: std::fs::File) -> io::Result<i32> {
    command
        .stdin(device.try_clone()?)
        .stdout(device.try_clone()?)
        .stderr(Stdio::from(device));
    spawn(command, Terminal::StandardInput)
}

/// Sends `signal` to the process group `group`, or to every process but PID 1 when `group` is `None`.
pub(crate) fn kill_group(group: Option<i32>, signal: libc::c_int) -> io::Result<()> {
    let target = match group {
        Some(group) if group > 1 => -group,
        Some(_) => return Err(io::ErrorKind::InvalidInput.into()),
        None => -1,
    };
    // SAFETY: kill(2) takes numbers only and has no memory effects.
    if unsafe { libc::kill(target, signal) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Asks the kernel to take the first `length` bytes of a file in memory to swap (MADV_PAGEOUT of madvise(2)),
/// but for pages that other processes have mapped.
pub(crate) fn page_out(file: &std::fs::File, length: u64) -> io::Result<()> {
    let length = usize::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?;
    if length == 0 {
        return Ok(());
    }
    // Only pages in the page table are looked at, so they are put there first.
    let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
    // SAFETY: the kernel chooses the address of a new mapping, which nobody reads through.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            length,
            libc::PROT_READ,
            flags,
            file.as_raw_fd(),
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the range is the mapping made above; the advice changes no contents.
    let advised = match unsafe { libc::madvise(address, length, libc::MADV_PAGEOUT) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    };
    // SAFETY: the range is the mapping made above, of which no reference exists.
    if unsafe { libc::munmap(address, length) } != 0 {
        return Err(io::Error::last_os_error());
    }
    advised
}

/// Brings the network interface `name` up (the flags are read, IFF_UP added, written back).
pub(crate) fn bring_interface_up(name: &str) -> io::Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET6,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: ifreq is plain data for which all zeroes is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte stays zero: the name ends there.
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (slot, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *slot = libc::c_char::from_ne_bytes([byte]);
    }
    // SAFETY: the descriptor is an open socket and `request` a live ifreq (netdevice(7)).
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let up = libc::c_short::try_from(libc::IFF_UP).map_err(io::Error::other)?;
    // SAFETY: SIOCGIFFLAGS filled this member of the union.
    unsafe { request.ifr_ifru.ifru_flags |= up };
    // SAFETY: as for SIOCGIFFLAGS.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Uses the swap device `path`, which has its header.
pub(crate) fn swap_on(path: &str) -> io::Result<()> {
    let path = std::ffi::CString::new(path)?;
    // SAFETY: the path is a live, zero-terminated string (swapon(2)).
    if unsafe { libc::swapon(path.as_ptr(), 0) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
