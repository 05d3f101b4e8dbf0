//! The migration channel: encrypted messages over the connection that the two agents have made.
//!
//! A message is `u32 header length | u32 payload length | CBOR header | payload`, cut into encrypted
//! records ([`crate::secure::record`]). The two highest bits of the payload length tell what the payload is: itself;
//! or a piece of a file and its name before it, to be kept; or just the name of a piece ([`super::pieces`]). Sending blocks, at most for [`SEND_TIMEOUT`]; receiving never
//! does: it takes what the socket has and hands out whole messages.

use std::io::{self, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::piece_store::PieceStore;
use super::pieces::{KnownPieces, PIECE_BYTES_MIN};
use crate::limits;
use crate::limits::RECORD_PLAINTEXT_BYTES_MAX;
use crate::secure::record::{self, Opener, RecordError, Sealer};
use crate::sys::heap;
use crate::wire::supervisor::ChannelKeys;

/// How long a peer may leave us with a full socket buffer before it counts as lost.
const SEND_TIMEOUT: Duration = Duration::from_secs(8);

const PREFIX_BYTES: usize = 8;

/// What a message carries, in the highest bits of its payload length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carried {
    /// The payload.
    Payload = 0,
    /// The name of a piece, and the piece, which is the payload.
    NamedPiece = 1,
    /// The name of a piece, which is the payload.
    PieceName = 2,
}

const CARRIED_SHIFT: u32 = 30;
const LENGTH_MASK: u32 = (1 << CARRIED_SHIFT) - 1;
const READ_BYTES: usize = 256 << 10;

/// Larger queues are given back when they are empty.
const QUEUE_BYTES_KEPT: usize = 4 * READ_BYTES;

/// Messages that need not be sent at once are gathered until they have as many bytes.
const GATHERED_BYTES: usize = 64 << 10;

/// Smaller buffers are kept by a channel at rest.
const RESTING_BYTES: usize = 16 << 10;

/// Why the channel is of no more use.
#[derive(Debug)]
pub enum ChannelError {
    /// The peer closed it.
    Closed,
    /// The connection failed.
    Io(io::Error),
    /// A record was forged, damaged or malformed.
    Record(RecordError),
    /// A message is longer than its limit.
    TooLong(usize),
    /// A header is not what was expected.
    Malformed(String),
    /// Nothing was heard in time.
    Silent,
}

impl std::fmt::Display for ChannelError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => write!(out, "the other node closed the migration channel"),
            Self::Io(error) => write!(out, "the migration channel failed: {error}"),
            Self::Record(error) => write!(out, "the migration channel carries garbage: {error}"),
            Self::TooLong(bytes) => {
                write!(
                    out,
                    "a message of {bytes} bytes on the migration channel is too long"
                )
            }
            Self::Malformed(cause) => {
                write!(
                    out,
                    "a message on the migration channel cannot be understood: {cause}"
                )
            }
            Self::Silent => write!(
                out,
                "the other node does not answer on the migration channel"
            ),
        }
    }
}

impl std::error::Error for ChannelError {}

/// A received message.
#[derive(Debug)]
pub struct Message<T> {
    /// What it says.
    pub header: T,
    /// The raw bytes that came with it.
    pub payload: Vec<u8>,
}

/// One end of a migration channel.
pub struct Channel {
    stream: TcpStream,
    sealer: Sealer,
    opener: Opener,
    /// Records as received, the last perhaps incomplete.
    sealed: ByteQueue,
    /// Decrypted bytes not yet handed out.
    opened: ByteQueue,
    closed: bool,
    plaintext: Vec<u8>,
    /// Records not yet written.
    outgoing: Vec<u8>,
    bytes_sent: u64,
    bytes_received: u64,
    last_heard: Instant,
    /// What the other side has.
    known_pieces: Option<KnownPieces>,
    /// What this side has.
    piece_store: Option<PieceStore>,
}

/// A byte queue: appended behind, consumed in front, moved down only when it pays.
#[derive(Default)]
struct ByteQueue {
    /// The queue is a part of this; the rest is room, which need not be cleared again.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl ByteQueue {
    fn data(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Room for `count` bytes behind the queue.
    fn room(&mut self, count: usize) -> &mut [u8] {
        let end = self.end + count;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        &mut self.bytes[self.end..end]
    }

    /// Takes what was put into the beginning of its room.
    fn append(&mut self, count: usize) {
        self.end += count;
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.bytes.len() > QUEUE_BYTES_KEPT {
                self.bytes = Vec::new();
            }
        } else if self.start > READ_BYTES && self.start * 2 > self.end {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }

    /// Gives its room back if it is empty; whether that was worth it.
    fn give_back(&mut self) -> bool {
        let is_worthwhile = self.start == self.end && self.bytes.len() > RESTING_BYTES;
        if is_worthwhile {
            self.bytes = Vec::new();
        }
        is_worthwhile
    }
}

impl Channel {
    /// Goes on with a connection after its handshake.
    pub fn new(descriptor: OwnedFd, keys: &ChannelKeys) -> io::Result<Channel> {
        let stream = TcpStream::from(descriptor);
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(SEND_TIMEOUT))?;
        stream.set_nodelay(true)?;
        let (sealer, opener) = record::from_keys(keys);
        Ok(Channel {
            stream,
            sealer,
            opener,
            sealed: ByteQueue::default(),
            opened: ByteQueue::default(),
            closed: false,
            plaintext: Vec::new(),
            outgoing: Vec::new(),
            bytes_sent: 0,
            bytes_received: 0,
            last_heard: Instant::now(),
            known_pieces: None,
            piece_store: None,
        })
    }

    /// Bytes sent and received so far, encryption and framing included.
    pub fn bytes(&self) -> u64 {
        self.bytes_sent + self.bytes_received
    }

    /// Gives back the room that large messages have taken: a supervisor has little else, and there can be thousands.
    pub fn give_back_room(&mut self) {
        let mut has_given = self.sealed.give_back() | self.opened.give_back();
        for buffer in [&mut self.plaintext, &mut self.outgoing] {
            if buffer.is_empty() && buffer.capacity() > RESTING_BYTES {
                *buffer = Vec::new();
                has_given = true;
            }
        }
        if has_given {
            heap::give_back();
        }
    }

    /// From here on pieces that the peer has are only named to it.
    pub fn name_pieces(&mut self, known: KnownPieces) {
        self.known_pieces = Some(known);
    }

    /// From here on pieces that the peer names are taken from this store, and others put into it.
    pub fn store_pieces(&mut self, store: PieceStore) {
        self.piece_store = Some(store);
    }

    /// What has arrived for the store is for others, too.
    pub fn settle_pieces(&mut self) {
        if let Some(store) = &mut self.piece_store {
            store.settle();
        }
    }

    /// When the peer was last heard.
    pub fn last_heard(&self) -> Instant {
        self.last_heard
    }

    /// Sends one message.
    pub fn send<T: Serialize>(&mut self, header: &T, payload: &[u8]) -> Result<(), ChannelError> {
        self.seal_parts(header, Carried::Payload, &[], payload)?;
        self.write()
    }

    /// As [`Self::send`], together with what is sent next: for many small messages before one that is waited for.
    pub fn send_with_next<T: Serialize>(
        &mut self,
        header: &T,
        payload: &[u8],
    ) -> Result<(), ChannelError> {
        self.seal_parts(header, Carried::Payload, &[], payload)?;
        if self.outgoing.len() < GATHERED_BYTES {
            return Ok(());
        }
        self.write()
    }

    /// As [`Self::send`], of a part of a file, which the peer may keep for others to come if it `may_be_kept`.
    pub fn send_piece<T: Serialize>(
        &mut self,
        header: &T,
        payload: &[u8],
        may_be_kept: bool,
    ) -> Result<(), ChannelError> {
        let known = self
            .known_pieces
            .as_ref()
            .filter(|_| may_be_kept && payload.len() >= PIECE_BYTES_MIN);
        let Some(known) = known else {
            return self.send(header, payload);
        };
        match known.look_up(payload).map_err(ChannelError::Io)? {
            (name, true) => self.seal_parts(header, Carried::PieceName, &name, &[]),
            (name, false) => self.seal_parts(header, Carried::NamedPiece, &name, payload),
        }?;
        self.write()
    }

    fn seal_parts<T: Serialize>(
        &mut self,
        header: &T,
        carried: Carried,
        name: &[u8],
        payload: &[u8],
    ) -> Result<(), ChannelError> {
        let mut plaintext = std::mem::take(&mut self.plaintext);
        plaintext.clear();
        plaintext.extend_from_slice(&[0; PREFIX_BYTES]);
        ciborium::into_writer(header, &mut plaintext)
            .map_err(|error| ChannelError::Malformed(error.to_string()))?;
        let header_bytes = plaintext.len() - PREFIX_BYTES;
        if header_bytes > limits::MIGRATION_HEADER_BYTES_MAX {
            return Err(ChannelError::TooLong(header_bytes));
        }
        let payload_bytes = name.len() + payload.len();
        if payload_bytes > limits::MIGRATION_PAYLOAD_BYTES_MAX {
            return Err(ChannelError::TooLong(payload_bytes));
        }
        let length = payload_bytes as u32 | (carried as u32) << CARRIED_SHIFT;
        plaintext[..4].copy_from_slice(&(header_bytes as u32).to_le_bytes());
        plaintext[4..8].copy_from_slice(&length.to_le_bytes());
        plaintext.extend_from_slice(name);
        plaintext.extend_from_slice(payload);
        for chunk in plaintext.chunks(RECORD_PLAINTEXT_BYTES_MAX) {
            self.sealer
                .seal(chunk, &mut self.outgoing)
                .map_err(ChannelError::Record)?;
        }
        plaintext.clear();
        self.plaintext = plaintext;
        Ok(())
    }

    fn write(&mut self) -> Result<(), ChannelError> {
        let written = self.stream.write_all(&self.outgoing);
        let bytes = self.outgoing.len() as u64;
        self.outgoing.clear();
        written.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ChannelError::Silent,
            _ => ChannelError::Io(error),
        })?;
        self.bytes_sent += bytes;
        Ok(())
    }

    /// The next whole message, if it has arrived.
    pub fn try_receive<T: DeserializeOwned>(&mut self) -> Result<Option<Message<T>>, ChannelError> {
        loop {
            if let Some(message) = self.take_message()? {
                return Ok(Some(message));
            }
            if self.open_record()? {
                continue;
            }
            if self.closed {
                return Err(ChannelError::Closed);
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Waits for the next message.
    pub fn receive<T: DeserializeOwned>(
        &mut self,
        timeout: Duration,
    ) -> Result<Message<T>, ChannelError> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(message) = self.try_receive()? {
                return Ok(message);
            }
            let remaining = deadline.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                return Err(ChannelError::Silent);
            }
            self.readable(remaining)?;
        }
    }

    fn readable(&self, timeout: Duration) -> Result<bool, ChannelError> {
        let mut descriptors = [PollFd::new(&self.stream, PollFlags::IN)];
        let timeout = rustix::event::Timespec {
            tv_sec: timeout.as_secs().cast_signed(),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        match poll(&mut descriptors, Some(&timeout)) {
            Ok(count) => Ok(count > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(ChannelError::Io(error.into())),
        }
    }

    /// Takes what has arrived; `false` if nothing has.
    fn fill(&mut self) -> Result<bool, ChannelError> {
        let room = self.sealed.room(READ_BYTES);
        match recv(&self.stream, room, RecvFlags::DONTWAIT) {
            Ok((0, _)) => self.closed = true,
            Ok((count, _)) => {
                self.sealed.append(count);
                self.bytes_received += count as u64;
                self.last_heard = Instant::now();
            }
            Err(Errno::AGAIN) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(error) => return Err(ChannelError::Io(error.into())),
        }
        Ok(true)
    }

    /// Decrypts one whole record, if there is one.
    fn open_record(&mut self) -> Result<bool, ChannelError> {
        let Some((length, rest)) = self.sealed.data().split_first_chunk_mut() else {
            return Ok(false);
        };
        let body_bytes = record::body_length(*length).map_err(ChannelError::Record)?;
        let record_bytes = length.len() + body_bytes;
        let Some(body) = rest.get_mut(..body_bytes) else {
            return Ok(false);
        };
        let plaintext = self.opener.open(body).map_err(ChannelError::Record)?;
        self.opened.room(plaintext.len()).copy_from_slice(plaintext);
        self.opened.append(plaintext.len());
        self.sealed.consume(record_bytes);
        Ok(true)
    }

    fn take_message<T: DeserializeOwned>(&mut self) -> Result<Option<Message<T>>, ChannelError> {
        let data = self.opened.data();
        let Some((prefix, rest)) = data.split_first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let [a, b, c, d, e, f, g, h] = *prefix;
        let header_bytes = u32::from_le_bytes([a, b, c, d]) as usize;
        let length = u32::from_le_bytes([e, f, g, h]);
        let payload_bytes = (length & LENGTH_MASK) as usize;
        if header_bytes > limits::MIGRATION_HEADER_BYTES_MAX {
            return Err(ChannelError::TooLong(header_bytes));
        }
        if payload_bytes > limits::MIGRATION_PAYLOAD_BYTES_MAX {
            return Err(ChannelError::TooLong(payload_bytes));
        }
        let Some(header) = rest.get(..header_bytes) else {
            return Ok(None);
        };
        let Some(payload) = rest.get(header_bytes..header_bytes + payload_bytes) else {
            return Ok(None);
        };
        let message = Message {
            header: ciborium::from_reader(header)
                .map_err(|error| ChannelError::Malformed(error.to_string()))?,
            payload: resolve(length >> CARRIED_SHIFT, payload, self.piece_store.as_mut())?,
        };
        self.opened
            .consume(PREFIX_BYTES + header_bytes + payload_bytes);
        Ok(Some(message))
    }
}

/// The payload of a message from what it carries.
fn resolve(
    carried: u32,
    bytes: &[u8],
    store: Option<&mut PieceStore>,
) -> Result<Vec<u8>, ChannelError> {
    if carried == Carried::Payload as u32 {
        return Ok(bytes.to_vec());
    }
    let malformed = |text: &str| ChannelError::Malformed(text.to_owned());
    let (name, rest) = bytes
        .split_first_chunk()
        .ok_or_else(|| malformed("a piece has no name"))?;
    if carried == Carried::NamedPiece as u32 {
        if let Some(store) = store {
            store.keep(name, rest);
        }
        return Ok(rest.to_vec());
    }
    let piece = match store {
        Some(store) if carried == Carried::PieceName as u32 && rest.is_empty() => store.read(name),
        _ => Ok(None),
    };
    let piece = piece.map_err(ChannelError::Io)?;
    piece.ok_or_else(|| malformed("it names a piece that is not here"))
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    use crate::secure::page_digest::DigestKey;
    use crate::wire::supervisor::{NodeId, PiecePlace};

    const TIMEOUT: Duration = Duration::from_secs(10);
    const KEY: DigestKey = DigestKey([3; 32]);

    fn pair() -> (Channel, Channel) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (other, _) = listener.accept().unwrap();
        let keys = |send, receive| ChannelKeys {
            send_key: [send; 32],
            receive_key: [receive; 32],
            send_nonce: 0,
            receive_nonce: 0,
        };
        (
            Channel::new(one.into(), &keys(1, 2)).unwrap(),
            Channel::new(other.into(), &keys(2, 1)).unwrap(),
        )
    }

    #[test]
    fn a_piece_travels_once_and_is_named_from_then_on() {
        let name = format!("limosa-channel-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let place = PiecePlace {
            directory: directory.to_str().unwrap().to_owned(),
            bytes_max: 1 << 20,
        };
        let piece = vec![7; 64 << 10];
        let mut sent = Vec::new();
        for _ in 0..2 {
            let (mut home, mut remote) = pair();
            let store = PieceStore::open(place.clone(), NodeId([1; 16]));
            home.name_pieces(KnownPieces::new(KEY, &store.digests()));
            remote.store_pieces(store);
            for payload in [&piece[..], &piece[..PIECE_BYTES_MIN - 1], b"", &[8; 20_000]] {
                home.send_piece(&"piece", payload, true).unwrap();
                let message: Message<String> = remote.receive(TIMEOUT).unwrap();
                assert_eq!(
                    (message.header.as_str(), &message.payload[..]),
                    ("piece", payload)
                );
            }
            sent.push(home.bytes());
        }
        std::fs::remove_dir_all(directory).unwrap();
        assert!(sent[0] > 96 << 10 && sent[1] < 20 << 10, "{sent:?}");
    }

    #[test]
    fn messages_that_can_wait_come_in_order_before_the_one_that_cannot() {
        let (mut home, mut remote) = pair();
        for number in 0..100u32 {
            home.send_with_next(&number, &[1; 3000]).unwrap();
        }
        home.send(&100u32, b"").unwrap();
        for number in 0..=100 {
            assert_eq!(remote.receive::<u32>(TIMEOUT).unwrap().header, number);
        }
        assert_eq!(home.bytes(), remote.bytes());
    }

    #[test]
    fn whoever_names_a_piece_that_is_not_here_is_not_understood() {
        let piece = vec![7; 64 << 10];
        let (mut home, mut remote) = pair();
        let known = KEY.digest(&piece).unwrap();
        home.name_pieces(KnownPieces::new(KEY, &known));
        home.send_piece(&"piece", &piece, true).unwrap();
        let refused = remote.receive::<String>(TIMEOUT);
        assert!(matches!(refused, Err(ChannelError::Malformed(_))));
        for (carried, bytes) in [(1, &b"short"[..]), (2, &[0; 17]), (3, &[0; 16])] {
            assert!(resolve(carried, bytes, None).is_err(), "{carried}");
        }
    }
}
