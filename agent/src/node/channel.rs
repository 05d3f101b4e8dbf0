//! Connections between nodes, from TCP to a [`Channel`] that can be handed to another process.
//!
//! The steps are those of [`crate::wire::hello`]. Every read asks for exactly what the step needs, so not
//! a byte of what follows is ever taken from the socket; every step has a deadline, so a silent peer
//! cannot hold anything.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use smol::future::FutureExt;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, Timer};

use crate::balance::vector::LoadVector;
use crate::limits::HELLO_BYTES_MAX;
use crate::secure::handshake::{self, FIRST_MESSAGE_BYTES, HandshakeError, Initiator};
use crate::secure::identity::{NodeIdentity, node_id};
use crate::secure::key::ClusterKey;
use crate::secure::record::{self, LENGTH_BYTES, Opener, RecordError, Sealer, TAG_BYTES};
use crate::sys::probe::Capabilities;
use crate::wire::bytes::ByteArray;
use crate::wire::cbor::CborError;
use crate::wire::hello::{
    self, Answer, ClockReading, Hello, Mismatch, PREAMBLE_BYTES, PROTOCOLS, Preamble, Purpose,
};
use crate::wire::supervisor::{ChannelKeys, NodeId, NodeName};

/// How long a TCP connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_500);

/// How long the handshake may take, from the first byte to the `Hello`.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the other side may take to accept or refuse.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What this node brings to every connection.
pub struct Credentials {
    /// Its identity.
    pub identity: NodeIdentity,
    /// Its name.
    pub name: String,
    preamble: Preamble,
    handshake_key: [u8; 32],
}

impl Credentials {
    /// Of a node with this identity and name in the cluster of this key.
    #[must_use]
    pub fn new(identity: NodeIdentity, name: String, key: &ClusterKey) -> Credentials {
        let preamble = Preamble {
            protocols: PROTOCOLS,
            cluster: key.cluster(),
        };
        Credentials {
            identity,
            name,
            preamble,
            handshake_key: key.handshake_key(),
        }
    }

    /// This node.
    #[must_use]
    pub fn node_name(&self) -> NodeName {
        NodeName {
            id: self.identity.id(),
            name: self.name.clone(),
        }
    }
}

/// An established connection, ready to be handed to another process.
pub struct Channel {
    /// The connected TCP socket, in blocking mode.
    pub fd: OwnedFd,
    /// Keys and record numbers.
    pub keys: ChannelKeys,
    /// Who is at the other end; its identity is proven.
    pub peer: NodeName,
}

/// Why a connection did not become a channel.
#[derive(Debug)]
pub enum ChannelError {
    /// No connection.
    Connect(io::Error),
    /// The connection broke.
    Stream(io::Error),
    /// The other side did not go on in time.
    TimedOut(&'static str),
    /// The two cannot talk.
    Mismatch(Mismatch),
    /// The other side did not prove who it is.
    Handshake(HandshakeError),
    /// A record was not sound.
    Record(RecordError),
    /// A message was not sound.
    Message(CborError),
    /// The other side claims to be another node than its key says.
    WrongNode(NodeId),
    /// The other side said no, and why.
    Refused(String),
    /// The other side has no room at the moment: in its words, and its load.
    Full(String, LoadVector),
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChannelError::Connect(error) => write!(f, "no connection: {error}"),
            ChannelError::Stream(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                write!(f, "it closed the connection without a word")
            }
            ChannelError::Stream(error) => write!(f, "the connection broke: {error}"),
            ChannelError::TimedOut(what) => write!(f, "no {what} in time"),
            ChannelError::Mismatch(mismatch) => write!(f, "{mismatch}"),
            ChannelError::Handshake(error) => write!(f, "{error}"),
            ChannelError::Record(error) => write!(f, "{error}"),
            ChannelError::Message(error) => write!(f, "{error}"),
            ChannelError::WrongNode(id) => {
                write!(
                    f,
                    "it claims to be node {:02x?}, which is not what its key says",
                    id.0
                )
            }
            ChannelError::Refused(reason) | ChannelError::Full(reason, _) => {
                write!(f, "it refused: {reason}")
            }
        }
    }
}

impl std::error::Error for ChannelError {}

impl From<io::Error> for ChannelError {
    fn from(error: io::Error) -> Self {
        ChannelError::Stream(error)
    }
}

impl From<Mismatch> for ChannelError {
    fn from(mismatch: Mismatch) -> Self {
        ChannelError::Mismatch(mismatch)
    }
}

impl From<HandshakeError> for ChannelError {
    fn from(error: HandshakeError) -> Self {
        ChannelError::Handshake(error)
    }
}

impl From<RecordError> for ChannelError {
    fn from(error: RecordError) -> Self {
        ChannelError::Record(error)
    }
}

impl From<CborError> for ChannelError {
    fn from(error: CborError) -> Self {
        ChannelError::Message(error)
    }
}

/// A connection after its handshake.
struct Secured {
    stream: Async<TcpStream>,
    sealer: Sealer,
    opener: Opener,
    keys: ChannelKeys,
}

impl Secured {
    fn new(stream: Async<TcpStream>, keys: ChannelKeys) -> Secured {
        let (sealer, opener) = record::from_keys(&keys);
        Secured {
            stream,
            sealer,
            opener,
            keys,
        }
    }

    async fn send(&mut self, plaintext: &[u8]) -> Result<(), ChannelError> {
        let mut record = Vec::new();
        self.sealer.seal(plaintext, &mut record)?;
        self.stream.write_all(&record).await?;
        Ok(())
    }

    async fn receive(&mut self) -> Result<Vec<u8>, ChannelError> {
        let mut length = [0; LENGTH_BYTES];
        self.stream.read_exact(&mut length).await?;
        let bytes = record::body_length(length)?;
        if bytes > HELLO_BYTES_MAX + TAG_BYTES {
            return Err(RecordError::BodyTooLong(bytes).into());
        }
        let mut body = vec![0; bytes];
        self.stream.read_exact(&mut body).await?;
        Ok(self.opener.open(&mut body)?.to_vec())
    }

    fn into_channel(self, peer: NodeName) -> io::Result<Channel> {
        let keys = ChannelKeys {
            send_nonce: self.sealer.nonce(),
            receive_nonce: self.opener.nonce(),
            ..self.keys
        };
        let stream = self.stream.into_inner()?;
        stream.set_nonblocking(false)?;
        Ok(Channel {
            fd: stream.into(),
            keys,
            peer,
        })
    }
}

/// Connects to the node `peer` with this static public key at one address.
pub async fn connect(
    credentials: &Credentials,
    address: SocketAddr,
    peer: NodeId,
    peer_public_key: &[u8; 32],
    purpose: Purpose,
) -> Result<Channel, ChannelError> {
    let (secured, node) = meet(credentials, address, peer, peer_public_key, purpose).await?;
    Ok(secured.into_channel(node)?)
}

/// Asks the node `peer` at one address what it can do.
pub async fn ask_capabilities(
    credentials: &Credentials,
    address: SocketAddr,
    peer: NodeId,
    peer_public_key: &[u8; 32],
) -> Result<Capabilities, ChannelError> {
    let purpose = Purpose::Capabilities;
    let told = ask(credentials, address, peer, peer_public_key, purpose).await?;
    Ok(hello::capabilities_from_bytes(&told)?)
}

/// Asks the node `peer` at one address what time it is.
pub async fn ask_time(
    credentials: &Credentials,
    address: SocketAddr,
    peer: NodeId,
    peer_public_key: &[u8; 32],
) -> Result<ClockReading, ChannelError> {
    let told = ask(credentials, address, peer, peer_public_key, Purpose::Time).await?;
    Ok(ClockReading::from_bytes(&told)?)
}

/// The record that follows the welcome.
async fn ask(
    credentials: &Credentials,
    address: SocketAddr,
    peer: NodeId,
    peer_public_key: &[u8; 32],
    purpose: Purpose,
) -> Result<Vec<u8>, ChannelError> {
    let (mut secured, _) = meet(credentials, address, peer, peer_public_key, purpose).await?;
    within(ANSWER_TIMEOUT, "answer", secured.receive()).await
}

/// From the connection to the other side's welcome.
async fn meet(
    credentials: &Credentials,
    address: SocketAddr,
    peer: NodeId,
    peer_public_key: &[u8; 32],
    purpose: Purpose,
) -> Result<(Secured, NodeName), ChannelError> {
    let connecting = async {
        Async::<TcpStream>::connect(address)
            .await
            .map_err(ChannelError::Connect)
    };
    let stream = within(CONNECT_TIMEOUT, "connection", connecting).await?;
    stream.get_ref().set_nodelay(true)?;
    let securing = initiate(credentials, stream, peer_public_key);
    let mut secured = within(HANDSHAKE_TIMEOUT, "handshake", securing).await?;
    let answering = async {
        let hello = Hello {
            node: credentials.node_name(),
            purpose,
        };
        secured.send(&hello.to_bytes()?).await?;
        Ok(Answer::from_bytes(&secured.receive().await?)?)
    };
    match within(ANSWER_TIMEOUT, "answer", answering).await? {
        Answer::Refused(reason) => Err(ChannelError::Refused(reason)),
        Answer::Full { reason, load } => match LoadVector::from_bytes(&load.0) {
            Ok(load) => Err(ChannelError::Full(reason, load)),
            Err(absurd) => Err(ChannelError::Refused(format!("{reason} ({absurd})"))),
        },
        Answer::Welcome { node, .. } if node.id != peer => Err(ChannelError::WrongNode(node.id)),
        Answer::Welcome { node, .. } => Ok((secured, node)),
    }
}

async fn initiate(
    credentials: &Credentials,
    mut stream: Async<TcpStream>,
    peer_public_key: &[u8; 32],
) -> Result<Secured, ChannelError> {
    let ours = credentials.preamble.to_bytes();
    let (initiator, first) = Initiator::start(
        &credentials.identity,
        peer_public_key,
        &credentials.handshake_key,
        &ours,
    )?;
    stream
        .write_all(&[ours.as_slice(), &first].concat())
        .await?;
    let mut theirs = [0; PREAMBLE_BYTES];
    stream.read_exact(&mut theirs).await?;
    credentials.preamble.check(Preamble::from_bytes(&theirs)?)?;
    let mut second = [0; handshake::SECOND_MESSAGE_BYTES];
    stream.read_exact(&mut second).await?;
    Ok(Secured::new(stream, initiator.finish(&second)?))
}

/// A node that has proven its identity waits for an answer. Dropping this refuses without a reason.
pub struct Incoming {
    /// Who connects.
    pub peer: NodeName,
    /// What for.
    pub purpose: Purpose,
    credentials: Rc<Credentials>,
    secured: Box<Secured>,
    protocol: u8,
}

impl Incoming {
    /// Welcomes it; the connection is ours from here on.
    pub async fn accept(mut self) -> Result<Channel, ChannelError> {
        self.welcome().await?;
        Ok(self.secured.into_channel(self.peer)?)
    }

    /// Welcomes it and tells what this node can do: the answer to [`Purpose::Capabilities`].
    pub async fn tell(mut self, capabilities: &Capabilities) -> Result<(), ChannelError> {
        self.welcome().await?;
        self.answer(&hello::capabilities_to_bytes(capabilities)?)
            .await
    }

    /// Welcomes it and tells what time it is then: the answer to [`Purpose::Time`].
    pub async fn tell_time(mut self, read: impl Fn() -> ClockReading) -> Result<(), ChannelError> {
        self.welcome().await?;
        self.answer(&read().to_bytes()?).await
    }

    async fn answer(&mut self, bytes: &[u8]) -> Result<(), ChannelError> {
        within(
            ANSWER_TIMEOUT,
            "room for the answer",
            self.secured.send(bytes),
        )
        .await
    }

    async fn welcome(&mut self) -> Result<(), ChannelError> {
        let node = self.credentials.node_name();
        let welcome = Answer::Welcome {
            protocol: self.protocol,
            node,
        }
        .to_bytes()?;
        let sending = self.secured.send(&welcome);
        within(ANSWER_TIMEOUT, "room for the answer", sending).await
    }

    /// Tells it why not, in one line, and closes.
    pub async fn refuse(self, reason: String) {
        log::info!("refused {} of {}: {reason}", self.purpose, self.peer.name);
        self.say(&Answer::Refused(reason)).await;
    }

    /// Tells it that there is no room at the moment, and closes.
    pub async fn turn_away(self, reason: String, load: LoadVector) {
        let load = ByteArray(load.to_bytes());
        self.say(&Answer::Full { reason, load }).await;
    }

    async fn say(mut self, no: &Answer) {
        if let Ok(refusal) = no.to_bytes() {
            let sending = self.secured.send(&refusal);
            // Whether it still hears the reason is its affair.
            let _ = within(ANSWER_TIMEOUT, "room for the answer", sending).await;
        }
    }
}

/// Takes a connection up to and including its `Hello`.
pub async fn accept(
    credentials: Rc<Credentials>,
    stream: Async<TcpStream>,
) -> Result<Incoming, ChannelError> {
    within(HANDSHAKE_TIMEOUT, "handshake", respond(credentials, stream)).await
}

async fn respond(
    credentials: Rc<Credentials>,
    mut stream: Async<TcpStream>,
) -> Result<Incoming, ChannelError> {
    stream.get_ref().set_nodelay(true)?;
    let mut theirs = [0; PREAMBLE_BYTES];
    stream.read_exact(&mut theirs).await?;
    let their_preamble = Preamble::from_bytes(&theirs)?;
    stream.write_all(&credentials.preamble.to_bytes()).await?;
    let protocol = credentials.preamble.check(their_preamble)?;
    let mut first = [0; FIRST_MESSAGE_BYTES];
    stream.read_exact(&mut first).await?;
    let responded = handshake::respond(
        &credentials.identity,
        &credentials.handshake_key,
        &theirs,
        &first,
    )?;
    stream.write_all(&responded.second_message).await?;
    let mut secured = Secured::new(stream, responded.keys);
    let hello = Hello::from_bytes(&secured.receive().await?)?;
    if hello.node.id != node_id(&responded.peer_public_key) {
        return Err(ChannelError::WrongNode(hello.node.id));
    }
    let Hello {
        node: peer,
        purpose,
    } = hello;
    Ok(Incoming {
        peer,
        purpose,
        credentials,
        secured: Box::new(secured),
        protocol,
    })
}

async fn within<T>(
    time: Duration,
    what: &'static str,
    work: impl Future<Output = Result<T, ChannelError>>,
) -> Result<T, ChannelError> {
    let deadline = async {
        Timer::after(time).await;
        Err(ChannelError::TimedOut(what))
    };
    work.or(deadline).await
}
