//! The newcomer's side: shows a code, answers who asks, and waits until somebody admits it.
//!
//! It uses the agents' port, which is free on a node that has no agent yet, and follows the interfaces as an
//! agent does. All that it decides is in [`super::request`] and [`super::search`].

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};
use smol::channel::Sender;
use smol::future::FutureExt;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, LocalExecutor, Task, Timer};

use super::code::Code;
use super::exchange::{
    Admitter, CONFIRMATION_BYTES, ExchangeError, KEY_RECORD_BYTES, OPENING_BYTES,
};
use super::request::{self, Request};
use super::search::{self, Answer, Pace};
use crate::discovery::multicast::DatagramSockets;
use crate::limits::ASKER_CONNECTIONS_MAX;
use crate::node::config::host_name;
use crate::node::interfaces::InterfaceWatch;
use crate::node::listener;
use crate::secure::key::{ClusterKey, RandomError};
use crate::secure::pake;

/// How long an exchange may take.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after a failure of a socket, so that it does not become a busy loop.
const FAILURE_PAUSE: Duration = Duration::from_millis(100);

/// What a newcomer is told, and does with what it gets.
pub struct Newcomer {
    /// Use these interfaces only; all if none is named.
    pub interfaces: Vec<String>,
    /// UDP and TCP port.
    pub port: u16,
    /// Shows a code, and in front of it what became of the one before, if something did.
    pub show: fn(Option<&str>, Code),
    /// Where the key is to be kept.
    pub file: PathBuf,
    /// Keeps it there.
    pub keep: fn(&Path, &ClusterKey) -> io::Result<()>,
}

/// Why a newcomer cannot ask, or cannot keep what it got.
#[derive(Debug)]
pub enum AskError {
    /// Another program has the port.
    PortTaken(u16),
    /// A socket could not be set up.
    Socket(io::Error),
    /// No code could be drawn.
    Random(RandomError),
    /// The key that came could not be kept.
    Keep(io::Error),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::PortTaken(port) => write!(
                f,
                "port {port} is taken: perhaps an agent runs here already, which has its key (`limosa status`)"
            ),
            AskError::Socket(error) => write!(f, "nobody can be asked for the key: {error}"),
            AskError::Random(error) => error.fmt(f),
            AskError::Keep(error) => write!(f, "the key that came cannot be kept: {error}"),
        }
    }
}

impl std::error::Error for AskError {}

/// Asks until it is admitted, and the key is kept; returns by whom.
pub fn ask(newcomer: Newcomer) -> Result<Admitter, AskError> {
    let port = newcomer.port;
    let socket_error = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => AskError::PortTaken(port),
        _ => AskError::Socket(error),
    };
    let listening = listener::bind(port).map_err(socket_error)?;
    let sockets = DatagramSockets::open(port).map_err(socket_error)?;
    let request = Request::new(random().map_err(AskError::Random)?);
    (newcomer.show)(None, request.code());
    let executor = Rc::new(LocalExecutor::new());
    let (done, ended) = smol::channel::bounded(1);
    let asker = Rc::new(Asker {
        newcomer,
        started: Instant::now(),
        sockets,
        request: RefCell::new(request),
        pace: RefCell::default(),
        done,
    });
    let asking = async {
        let watch = InterfaceWatch::start().await.map_err(AskError::Socket)?;
        let mut tasks = vec![executor.spawn(asker.clone().follow_interfaces(watch))];
        for receiver in 0..asker.sockets.receivers().count() {
            tasks.push(executor.spawn(asker.clone().answer_questions(receiver)));
        }
        tasks.push(executor.spawn(asker.clone().accept(listening, executor.clone())));
        // The sender is in `asker`, which outlives this.
        ended
            .recv()
            .await
            .unwrap_or(Err(AskError::Random(RandomError)))
    };
    smol::block_on(executor.run(asking))
}

/// New random bytes.
pub(super) fn random<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| RandomError)?;
    Ok(bytes)
}

struct Asker {
    newcomer: Newcomer,
    started: Instant,
    sockets: DatagramSockets,
    request: RefCell<Request>,
    pace: RefCell<Pace>,
    done: Sender<Result<Admitter, AskError>>,
}

/// Why a connection came to nothing.
enum Failed {
    Stream(io::Error),
    Exchange(ExchangeError),
    Fatal(AskError),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Failed::Stream(error)
    }
}

impl From<ExchangeError> for Failed {
    fn from(error: ExchangeError) -> Self {
        Failed::Exchange(error)
    }
}

impl From<RandomError> for Failed {
    fn from(error: RandomError) -> Self {
        Failed::Fatal(AskError::Random(error))
    }
}

impl Asker {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    async fn follow_interfaces(self: Rc<Self>, mut watch: InterfaceWatch) {
        loop {
            let usable = watch.table().usable(&self.newcomer.interfaces);
            self.sockets.follow(&usable);
            if watch.changed().await.is_err() {
                Timer::after(FAILURE_PAUSE).await;
            }
        }
    }

    async fn answer_questions(self: Rc<Self>, receiver: usize) {
        let Some(socket) = self.sockets.receivers().nth(receiver) else {
            return;
        };
        // One byte more than a question has, to tell what is longer.
        let mut buffer = [0; search::DATAGRAM_BYTES + 1];
        loop {
            match socket.recv_from(&mut buffer).await {
                Ok((bytes, from)) => self.answer_question(&buffer[..bytes], from),
                Err(_) => drop(Timer::after(FAILURE_PAUSE).await),
            }
        }
    }

    fn answer_question(&self, datagram: &[u8], from: SocketAddr) {
        let (now, request) = (self.now(), self.request.borrow());
        let Some(nonce) = search::read_question(datagram) else {
            return;
        };
        if request.rests(now) || !self.pace.borrow_mut().allows(now) {
            return;
        }
        let answer = Answer {
            request: request.id(),
            mark: request.code().mark(),
            port: self.newcomer.port,
            name: host_name(),
        };
        self.sockets.send_to(from, &answer.to_bytes(nonce));
    }

    async fn accept(
        self: Rc<Self>,
        listener: Async<TcpListener>,
        executor: Rc<LocalExecutor<'static>>,
    ) {
        let mut exchanges: VecDeque<Task<()>> = VecDeque::new();
        loop {
            let Ok((stream, from)) = listener.accept().await else {
                Timer::after(FAILURE_PAUSE).await;
                continue;
            };
            exchanges.retain(|exchange| !exchange.is_finished());
            if exchanges.len() >= ASKER_CONNECTIONS_MAX {
                // Dropping the task ends it and closes its connection.
                exchanges.pop_front();
            }
            exchanges.push_back(executor.spawn(self.clone().take(stream, from)));
        }
    }

    async fn take(self: Rc<Self>, stream: Async<TcpStream>, from: SocketAddr) {
        let late = async {
            Timer::after(EXCHANGE_TIMEOUT).await;
            Err(Failed::Stream(io::ErrorKind::TimedOut.into()))
        };
        let result = match self.exchange(stream, from).or(late).await {
            Ok(admitter) => Ok(admitter),
            Err(Failed::Fatal(error)) => Err(error),
            Err(Failed::Stream(error)) => return log::debug!("{from}: {error}"),
            Err(Failed::Exchange(error)) => return log::debug!("{from}: {error}"),
        };
        // Full means that another one was quicker.
        let _ = self.done.try_send(result);
    }

    /// The steps are those of [`super::exchange`].
    async fn exchange(
        &self,
        mut stream: Async<TcpStream>,
        from: SocketAddr,
    ) -> Result<Admitter, Failed> {
        stream.get_ref().set_nodelay(true)?;
        let mut opening = [0; OPENING_BYTES];
        stream.read_exact(&mut opening).await?;
        let random: [u8; pake::RANDOM_BYTES] = random()?;
        let answered = self
            .request
            .borrow()
            .answer(self.now(), &opening, &host_name(), &random);
        let (asking, answer) = answered?;
        stream.write_all(&answer).await?;
        let mut confirmation = [0; CONFIRMATION_BYTES];
        stream.read_exact(&mut confirmation).await?;
        let next: [u8; request::RANDOM_BYTES] = self::random()?;
        let (checked, code) = {
            let mut request = self.request.borrow_mut();
            let checked = request.check(self.now(), asking, &confirmation, next);
            (checked, request.code())
        };
        let (proven, confirmation) = match checked {
            Ok(checked) => checked,
            Err(ExchangeError::WrongCode) => {
                let from = from.ip().to_canonical();
                let line = format!("A wrong code was tried from {from}");
                (self.newcomer.show)(Some(&line), code);
                return Err(ExchangeError::WrongCode.into());
            }
            Err(error) => return Err(error.into()),
        };
        stream.write_all(&confirmation).await?;
        let mut record = [0; KEY_RECORD_BYTES];
        let admitted = match stream.read_exact(&mut record).await {
            Ok(()) => proven.take_key(&record).map_err(Failed::from),
            Err(error) => Err(error.into()),
        };
        let admitted = admitted.inspect_err(|_| {
            (self.newcomer.show)(Some("The connection broke before the key came"), code);
        })?;
        (self.newcomer.keep)(&self.newcomer.file, &admitted.key)
            .map_err(|error| Failed::Fatal(AskError::Keep(error)))?;
        // Kept is kept, whether the other side still hears it or not.
        if let Err(error) = stream.write_all(&admitted.receipt).await {
            log::debug!("{from}: {error}");
        }
        Ok(admitted.admitter)
    }
}
