//! Follows the network interfaces: the rtnetlink socket around [`crate::discovery::interfaces`].
//!
//! 1. Subscribe to notices first, so that nothing between the dump and them is missed.
//! 2. Dump the links, then their addresses.
//! 3. Apply notices as they come; when the kernel had to drop some (ENOBUFS), dump again.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use smol::Async;

use crate::discovery::interfaces::{Dump, InterfaceTable, NOTICE_GROUPS, request};

/// The kernel fills at most this much per read of a dump (its own NLMSG_GOODSIZE upper bound).
const READ_BYTES: usize = 32 << 10;

/// The table of interfaces, kept up to date.
pub struct InterfaceWatch {
    socket: Async<OwnedFd>,
    buffer: Vec<u8>,
    table: InterfaceTable,
}

impl InterfaceWatch {
    /// Opens the socket and reads the present state.
    pub async fn start() -> io::Result<InterfaceWatch> {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            // NETLINK_ROUTE is protocol 0.
            None,
        )?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, NOTICE_GROUPS))?;
        let mut watch = InterfaceWatch {
            socket: Async::new(socket)?,
            buffer: vec![0; READ_BYTES],
            table: InterfaceTable::default(),
        };
        watch.dump().await?;
        Ok(watch)
    }

    /// The present state.
    #[must_use]
    pub fn table(&self) -> &InterfaceTable {
        &self.table
    }

    /// Waits until the kernel tells something; the table may or may not have changed.
    pub async fn changed(&mut self) -> io::Result<()> {
        match self.read().await {
            Ok(bytes) => {
                self.table.apply(&self.buffer[..bytes]);
                Ok(())
            }
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) =>
            {
                self.dump().await
            }
            Err(error) => Err(error),
        }
    }

    async fn dump(&mut self) -> io::Result<()> {
        self.table = InterfaceTable::default();
        for dump in [Dump::Links, Dump::Addresses] {
            rustix::net::send(&self.socket, &request(dump), SendFlags::empty())?;
            loop {
                let bytes = self.read().await?;
                let applied = self.table.apply(&self.buffer[..bytes]);
                if applied.failed {
                    return Err(io::Error::other(
                        "the kernel refused to list the interfaces",
                    ));
                }
                if applied.done {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn read(&mut self) -> io::Result<usize> {
        let buffer = &mut self.buffer;
        self.socket
            .read_with(|socket| {
                let (_, bytes) = rustix::net::recv(socket, &mut buffer[..], RecvFlags::empty())?;
                Ok(bytes.min(READ_BYTES))
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_tells_its_interfaces() {
        let watch = smol::block_on(InterfaceWatch::start()).unwrap();
        assert!(watch.table().exists("lo"));
        assert!(watch.table().usable(&["lo".into()]).is_empty());
    }
}
