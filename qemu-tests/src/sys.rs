//! The two kernel interfaces that have no safe wrapper: making a TAP device and leaving namespaces.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::ioctl::{self, Ioctl, IoctlOutput, Opcode};
use rustix::net::{AddressFamily, SocketType};
use rustix::thread::UnshareFlags;

/// `struct ifreq` of `linux/if.h` with the members of its union that are used here.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; 16],
    value: [u8; 24],
}

impl InterfaceRequest {
    fn new(name: &str) -> io::Result<Self> {
        let mut request = Self {
            name: [0; 16],
            value: [0; 24],
        };
        // One byte must remain for the terminating zero.
        if name.len() >= request.name.len() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "interface name too long",
            ));
        }
        request.name[..name.len()].copy_from_slice(name.as_bytes());
        Ok(request)
    }

    fn with_flags(name: &str, flags: u16) -> io::Result<Self> {
        let mut request = Self::new(name)?;
        request.value[..2].copy_from_slice(&flags.to_ne_bytes());
        Ok(request)
    }
}

/// An ioctl that reads and perhaps writes one `struct ifreq`.
struct InterfaceIoctl<'a> {
    opcode: Opcode,
    request: &'a mut InterfaceRequest,
}

// SAFETY: every opcode used in this file takes a pointer to `struct ifreq` (40 bytes on x86-64), which
// `InterfaceRequest` mirrors, and it stays borrowed, hence valid and unaliased, for the call.
unsafe impl Ioctl for InterfaceIoctl<'_> {
    type Output = ();
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::from_mut(self.request).cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}

// linux/if_tun.h and linux/sockios.h.
const TUNSETIFF: Opcode = ioctl::opcode::write::<i32>(b'T', 202);
const SIOCGIFFLAGS: Opcode = 0x8913;
const SIOCSIFFLAGS: Opcode = 0x8914;
const SIOCSIFHWADDR: Opcode = 0x8924;
const IFF_TAP: u16 = 0x0002;
const IFF_NO_PI: u16 = 0x1000;
const IFF_UP: u16 = 0x1;
const ARPHRD_ETHER: u16 = 1;

fn interface_ioctl(
    descriptor: impl AsFd,
    opcode: Opcode,
    request: &mut InterfaceRequest,
) -> io::Result<()> {
    // SAFETY: see `InterfaceIoctl`.
    unsafe { ioctl::ioctl(descriptor, InterfaceIoctl { opcode, request }) }?;
    Ok(())
}

/// Makes a TAP device in the caller's network namespace. It vanishes when the file is closed.
pub(crate) fn make_tap(name: &str) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let tap = rustix::fs::open("/dev/net/tun", flags, Mode::empty())?;
    let mut request = InterfaceRequest::with_flags(name, IFF_TAP | IFF_NO_PI)?;
    interface_ioctl(&tap, TUNSETIFF, &mut request)?;
    Ok(tap.into())
}

/// Sets the hardware address of an interface of the caller's network namespace.
pub(crate) fn set_hardware_address(name: &str, address: [u8; 6]) -> io::Result<()> {
    let mut request = InterfaceRequest::with_flags(name, ARPHRD_ETHER)?;
    request.value[2..8].copy_from_slice(&address);
    interface_ioctl(any_socket()?, SIOCSIFHWADDR, &mut request)
}

/// Brings an interface of the caller's network namespace up, and leaves its other flags as they are.
pub(crate) fn bring_up(name: &str) -> io::Result<()> {
    let mut request = InterfaceRequest::new(name)?;
    interface_ioctl(any_socket()?, SIOCGIFFLAGS, &mut request)?;
    let flags = u16::from_ne_bytes([request.value[0], request.value[1]]);
    let mut request = InterfaceRequest::with_flags(name, flags | IFF_UP)?;
    interface_ioctl(any_socket()?, SIOCSIFFLAGS, &mut request)
}

/// The interface calls want a socket of any kind.
fn any_socket() -> io::Result<OwnedFd> {
    Ok(rustix::net::socket(
        AddressFamily::INET6,
        SocketType::DGRAM,
        None,
    )?)
}

/// Moves the calling process into new network, mount and cgroup namespaces.
pub(crate) fn leave_namespaces() -> io::Result<()> {
    let flags = UnshareFlags::NEWNET | UnshareFlags::NEWNS | UnshareFlags::NEWCGROUP;
    // SAFETY: none of these flags un-shares the table of file descriptors, which is what safe owners
    // of descriptors rely on.
    unsafe { rustix::thread::unshare_unsafe(flags) }?;
    Ok(())
}
