//! The control socket: how the commands reach the agent.
//!
//! Anybody may connect (mode 0666); what a caller may do is judged by his credentials. One request a
//! connection. A connection that sends nothing, garbage, or too much costs one task for a bounded time, is
//! answered with an error where that is possible, and counted.
//!
//! A lock file says whether an agent lives in the run directory, because the kernel releases its
//! lock however the agent ends; a socket that nobody holds open is replaced.

use std::cell::Cell;
use std::fmt;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use smol::channel::Sender;
use smol::{Async, LocalExecutor, Timer, future};

use super::agent::Event;
use crate::limits::{
    CONTROL_CONNECTIONS_MAX, CONTROL_REQUEST_BYTES_MAX, CONTROL_REQUEST_TIMEOUT_MS,
};
use crate::sys::peer::{Peer, peer};
use crate::wire::control::{ControlError, ControlRequest, ControlResponse, ErrorKind};
use crate::wire::local::{self, FrameReader, LocalError};
use crate::wire::supervisor::FromSupervisor;

/// The control socket's name in the run directory.
pub const SOCKET_NAME: &str = "control.sock";

const LOCK_NAME: &str = "agent.lock";

/// Why there is no control socket.
#[derive(Debug)]
pub enum ControlSocketError {
    /// Another agent lives in this run directory.
    AgentRuns(PathBuf),
    /// The run directory or something in it cannot be made.
    Path {
        /// What.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
}

impl fmt::Display for ControlSocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AgentRuns(run_dir) => write!(
                f,
                "another agent runs here ({}): `limosa status` shows it; a second one needs another \
                 --run-dir and --port",
                run_dir.display()
            ),
            Self::Path { path, error } => write!(f, "cannot use {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for ControlSocketError {}

/// The control socket, bound, and the lock on its run directory.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    listener: Async<UnixListener>,
    _lock: File,
}

impl ControlSocket {
    /// Takes possession of a run directory, which is made if it is not there.
    pub fn bind(run_dir: &Path) -> Result<Self, ControlSocketError> {
        let at = |path: &Path| {
            let path = path.to_path_buf();
            |error| ControlSocketError::Path { path, error }
        };
        fs::create_dir_all(run_dir).map_err(at(run_dir))?;
        let lock_path = run_dir.join(LOCK_NAME);
        let lock = File::create(&lock_path).map_err(at(&lock_path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(ControlSocketError::AgentRuns(run_dir.to_path_buf()));
            }
            Err(errno) => return Err(at(&lock_path)(errno.into())),
        }
        let path = run_dir.join(SOCKET_NAME);
        if UnixStream::connect(&path).is_ok() {
            return Err(ControlSocketError::AgentRuns(run_dir.to_path_buf()));
        }
        // Bound beside and moved into place: whoever finds the socket can use it.
        let new_path = run_dir.join(format!("{SOCKET_NAME}.new"));
        match fs::remove_file(&new_path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(at(&new_path)(error));
            }
            _ => {}
        }
        let listener = UnixListener::bind(&new_path)
            .and_then(|listener| {
                fs::set_permissions(&new_path, Permissions::from_mode(0o666))?;
                fs::rename(&new_path, &path)?;
                Async::new(listener)
            })
            .map_err(at(&path))?;
        Ok(Self {
            path,
            listener,
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the socket, while the lock keeps other agents out.
    pub fn remove(&self) {
        if let Err(error) = fs::remove_file(&self.path) {
            log::warn!("cannot remove {}: {error}", self.path.display());
        }
    }

    /// Serves connections for ever.
    pub async fn serve(
        self: Rc<Self>,
        executor: Rc<LocalExecutor<'static>>,
        events: Sender<Event>,
        counts: Rc<ControlCounts>,
    ) {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, most likely: some will be closed in a moment.
                    log::warn!("cannot accept a control connection: {error}");
                    Timer::after(Duration::from_millis(100)).await;
                    continue;
                }
            };
            if counts.open.get() >= CONTROL_CONNECTIONS_MAX {
                counts.turned_away.set(counts.turned_away.get() + 1);
                continue;
            }
            counts.open.set(counts.open.get() + 1);
            let (events, counts) = (events.clone(), Rc::clone(&counts));
            executor
                .spawn(async move {
                    serve_one(stream, &events, &counts).await;
                    counts.open.set(counts.open.get() - 1);
                })
                .detach();
        }
    }
}

/// What the control socket has seen.
#[derive(Debug, Default)]
pub struct ControlCounts {
    open: Cell<usize>,
    /// Requests understood.
    pub requests: Cell<u64>,
    /// Connections that sent no sound request.
    pub garbage: Cell<u64>,
    /// Connections above the limit.
    pub turned_away: Cell<u64>,
}

async fn serve_one(stream: Async<UnixStream>, events: &Sender<Event>, counts: &ControlCounts) {
    let mut reader = FrameReader::new(CONTROL_REQUEST_BYTES_MAX);
    let (request, caller) = match first_request(&stream, &mut reader).await {
        Ok(Some(taken)) => taken,
        // A connection test of another agent.
        Ok(None) => return,
        Err(error) => {
            counts.garbage.set(counts.garbage.get() + 1);
            log::warn!("a control request was not understood: {error}");
            let text = format!("the agent did not understand the request: {error}");
            let error = ControlError::new(ErrorKind::BadRequest, text);
            answer(&stream, &ControlResponse::Error(error)).await;
            return;
        }
    };
    counts.requests.set(counts.requests.get() + 1);
    if request == ControlRequest::Adopt {
        adopt(stream, caller, events).await;
        return;
    }
    let (reply, replies) = smol::channel::bounded(1);
    if events
        .send(Event::Request {
            request,
            caller,
            reply,
        })
        .await
        .is_err()
    {
        return;
    }
    let answered = async { replies.recv().await.ok() };
    let abandoned = async {
        // Anything after the request, the end above all, means that nobody waits for an answer.
        let _ = reader.next::<ControlRequest>(&stream).await;
        None
    };
    if let Some(response) = future::or(answered, abandoned).await {
        answer(&stream, &response).await;
    }
}

async fn first_request(
    stream: &Async<UnixStream>,
    reader: &mut FrameReader,
) -> Result<Option<(ControlRequest, Peer)>, LocalError> {
    let request = within_time(reader.next::<ControlRequest>(stream)).await?;
    let Some(received) = request else {
        return Ok(None);
    };
    let caller = peer(stream.as_fd()).map_err(LocalError::Io)?;
    Ok(Some((received.message, caller)))
}

async fn within_time<T>(
    reading: impl Future<Output = Result<T, LocalError>>,
) -> Result<T, LocalError> {
    future::or(reading, async {
        Timer::after(Duration::from_millis(CONTROL_REQUEST_TIMEOUT_MS)).await;
        Err(LocalError::Io(io::ErrorKind::TimedOut.into()))
    })
    .await
}

async fn answer(stream: &Async<UnixStream>, response: &ControlResponse) {
    if let Err(error) = within_time(local::send_async(stream, response, None)).await {
        log::debug!("a command did not take its answer: {error}");
    }
}

/// Takes a supervisor's connection that is to become its link.
async fn adopt(stream: Async<UnixStream>, caller: Peer, events: &Sender<Event>) {
    if caller.uid != 0 {
        log::warn!(
            "process {} of user {} would be a supervisor",
            caller.pid,
            caller.uid
        );
        return;
    }
    let mut reader = FrameReader::default();
    match within_time(reader.next::<FromSupervisor>(&stream)).await {
        Ok(Some(received)) => {
            let event = Event::Adopted {
                link: stream,
                hello: received.message,
                caller,
            };
            // When the driver is gone, so is the agent.
            let _ = events.send(event).await;
        }
        Ok(None) => log::debug!("process {} connected as a supervisor and left", caller.pid),
        Err(error) => log::warn!("process {} is no sound supervisor: {error}", caller.pid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_dir(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("limosa-control-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_agents_is_not() {
        let run_dir = run_dir("stale");
        let first = ControlSocket::bind(&run_dir).unwrap();
        assert!(matches!(
            ControlSocket::bind(&run_dir),
            Err(ControlSocketError::AgentRuns(path)) if path == run_dir
        ));
        let mode = fs::metadata(first.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o666);
        first.remove();
        drop(first);
        assert!(!run_dir.join(SOCKET_NAME).exists());

        // As a killed agent leaves it: the socket is there, nobody listens.
        drop(UnixListener::bind(run_dir.join(SOCKET_NAME)).unwrap());
        let second = ControlSocket::bind(&run_dir).unwrap();
        assert!(UnixStream::connect(second.path()).is_ok());
        drop(second);
        fs::remove_dir_all(&run_dir).unwrap();
    }

    #[test]
    fn a_live_socket_without_a_lock_is_not_taken_over() {
        let run_dir = run_dir("live");
        fs::create_dir_all(&run_dir).unwrap();
        let listener = UnixListener::bind(run_dir.join(SOCKET_NAME)).unwrap();
        assert!(matches!(
            ControlSocket::bind(&run_dir),
            Err(ControlSocketError::AgentRuns(_))
        ));
        drop(listener);
        fs::remove_dir_all(&run_dir).unwrap();
    }

    /// Sends bytes to a served socket and returns the answer and the counts.
    fn answer_to(name: &str, bytes: &[u8]) -> (Option<ControlResponse>, u64, u64) {
        use std::io::Write;
        let run_dir = run_dir(name);
        let executor = Rc::new(LocalExecutor::new());
        let socket = Rc::new(ControlSocket::bind(&run_dir).unwrap());
        let counts = Rc::new(ControlCounts::default());
        let (events, requests) = smol::channel::bounded(1);
        let mut client = UnixStream::connect(socket.path()).unwrap();
        client.write_all(bytes).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let server = Rc::clone(&socket).serve(Rc::clone(&executor), events, Rc::clone(&counts));
        let _server = executor.spawn(server);
        let _driver = executor.spawn(async move {
            while let Ok(event) = requests.recv().await {
                if let Event::Request { reply, .. } = event {
                    let _ = reply.send(ControlResponse::Nodes(Vec::new())).await;
                }
            }
        });
        let answer =
            smol::block_on(executor.run(smol::unblock(move || local::receive(&client).unwrap())));
        socket.remove();
        fs::remove_dir_all(&run_dir).unwrap();
        let response = answer.map(|received: local::Received<ControlResponse>| received.message);
        (response, counts.requests.get(), counts.garbage.get())
    }

    #[test]
    fn garbage_and_oversized_and_truncated_requests_are_answered_with_an_error_and_counted() {
        let whole = local::encode(&ControlRequest::Nodes).unwrap();
        let oversized = (CONTROL_REQUEST_BYTES_MAX as u32 + 1).to_le_bytes();
        for (name, bytes) in [
            ("garbage", [3, 0, 0, 0, 0xff, 0xff, 0xff].as_slice()),
            ("oversized", oversized.as_slice()),
            ("truncated", &whole[..whole.len() - 1]),
        ] {
            let (answer, requests, garbage) = answer_to(name, bytes);
            let Some(ControlResponse::Error(error)) = answer else {
                panic!("{name}: {answer:?}");
            };
            assert_eq!(error.kind, ErrorKind::BadRequest, "{name}");
            assert_eq!((requests, garbage), (0, 1), "{name}");
        }
    }
}
