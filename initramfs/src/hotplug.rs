//! The socket on which the kernel announces devices.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with, sockopt,
};

use crate::uevent::{self, UEVENT_BYTES_MAX, Uevent};

/// Room for the burst of a large machine's start.
const BUFFER_BYTES: usize = 4 << 20;

/// What the socket had to say.
pub(crate) enum Announcement {
    /// A device came, went or changed.
    Device(Uevent),
    /// The kernel dropped announcements: all devices must be looked at again.
    Missed,
}

/// The announcements since it was opened.
pub(crate) struct Hotplug {
    socket: OwnedFd,
}

impl Hotplug {
    /// Opens it; must happen before present devices are walked, so that none is missed in between.
    pub(crate) fn open() -> rustix::io::Result<Hotplug> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            Some(KOBJECT_UEVENT),
        )?;
        sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER_BYTES)?;
        // Group 1 is the kernel's; pid 0 lets it choose ours (netlink(7)).
        bind(&socket, &SocketAddrNetlink::new(0, 1))?;
        Ok(Hotplug { socket })
    }

    /// The next announcement, or `None` when there is none now.
    pub(crate) fn next(&self) -> Option<Announcement> {
        let mut message = vec![0; UEVENT_BYTES_MAX];
        loop {
            match recv(&self.socket, message.as_mut_slice(), RecvFlags::empty()) {
                Ok((length, _)) => {
                    if let Some(event) = uevent::parse(&message[..length]) {
                        return Some(Announcement::Device(event));
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => return Some(Announcement::Missed),
                Err(_) => return None,
            }
        }
    }
}

impl AsFd for Hotplug {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
