//! The listener: takes connections of other nodes without ever waiting for one of them.
//!
//! Each connection's handshake is a task of its own with a deadline. At most
//! [`HANDSHAKES_PENDING_MAX`] are under way; when one more comes, the oldest makes room, so that silent
//! strangers delay nobody who speaks.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use smol::channel::Sender;
use smol::{Async, LocalExecutor, Task, Timer};
use socket2::{Domain, Protocol, Socket, Type};

use super::channel::{self, ChannelError, Credentials, Incoming};
use crate::limits::HANDSHAKES_PENDING_MAX;

/// Connections that the kernel may keep for us while we are busy.
const BACKLOG: i32 = 64;

/// Pause after a failure to accept (no descriptors left, say), so that it does not become a busy loop.
const FAILURE_PAUSE: Duration = Duration::from_millis(100);

/// Binds the TCP port, for both IP versions where the kernel has both.
pub fn bind(port: u16) -> io::Result<Async<TcpListener>> {
    let both = || {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_only_v6(false)?;
        listen(&socket, SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))?;
        Ok::<_, io::Error>(socket)
    };
    let socket = match both() {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
            listen(&socket, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?;
            socket
        }
        result => result?,
    };
    Async::new(socket.into())
}

fn listen(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    // Connections of an earlier agent in TIME_WAIT do not keep the port.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)
}

/// Handshakes under way, oldest first.
#[derive(Default)]
struct Pending {
    tasks: RefCell<VecDeque<(u64, Task<()>)>>,
    next: Cell<u64>,
}

impl Pending {
    fn add(&self, number: u64, task: Task<()>) {
        let mut tasks = self.tasks.borrow_mut();
        if tasks.len() >= HANDSHAKES_PENDING_MAX {
            // Dropping the task ends it and closes its connection.
            tasks.pop_front();
        }
        tasks.push_back((number, task));
    }

    fn finished(&self, number: u64) {
        let mut tasks = self.tasks.borrow_mut();
        if let Some(place) = tasks.iter().position(|(known, _)| *known == number)
            && let Some((_, task)) = tasks.remove(place)
        {
            task.detach();
        }
    }
}

/// Hears from which address a connection failed, and why.
pub type Failed = Rc<dyn Fn(SocketAddr, &ChannelError)>;

/// Accepts for ever. `failed` hears of every connection that did not get as far as its `Hello`.
pub async fn run(
    listener: Async<TcpListener>,
    executor: Rc<LocalExecutor<'static>>,
    credentials: Rc<Credentials>,
    incoming: Sender<Incoming>,
    failed: Failed,
) {
    let pending = Rc::new(Pending::default());
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                log::warn!("a connection could not be accepted: {error}");
                Timer::after(FAILURE_PAUSE).await;
                continue;
            }
        };
        let number = pending.next.get();
        pending.next.set(number + 1);
        let (credentials, incoming) = (credentials.clone(), incoming.clone());
        let (failed, finishing) = (failed.clone(), pending.clone());
        let task = executor.spawn(async move {
            take(credentials, stream, address, &incoming, &*failed).await;
            finishing.finished(number);
        });
        pending.add(number, task);
    }
}

async fn take(
    credentials: Rc<Credentials>,
    stream: Async<TcpStream>,
    address: SocketAddr,
    incoming: &Sender<Incoming>,
    failed: &dyn Fn(SocketAddr, &ChannelError),
) {
    match channel::accept(credentials, stream).await {
        Ok(arrived) => {
            if let Err(rejected) = incoming.try_send(arrived) {
                let busy = "it is busy with other connections; try again".to_owned();
                rejected.into_inner().refuse(busy).await;
            }
        }
        Err(error) => failed(address, &error),
    }
}
