//! Messages between processes of one node: frames over unix stream sockets.
//!
//! The control socket and the supervisor link both use it. A frame is a u32 length (little endian,
//! capped before anything is allocated) and that many bytes of CBOR, of which the message uses every one.
//! A descriptor that belongs to a message is attached (SCM_RIGHTS) to the first byte of its length, as
//! unix(7) keeps ancillary data with the byte it was sent with. Reads never ask for more than the
//! frame in hand, so a descriptor is never taken for an earlier message's.
//!
//! [`FrameReader`] is the state of one receiving side and does one non-waiting step at a time; around it
//! are the waiting forms: [`send`] and [`receive`] for the supervisors, [`send_async`] and
//! [`FrameReader::next`] for the agent.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use smol::Async;

use crate::limits::LOCAL_MESSAGE_BYTES_MAX;

/// Bytes of the length in front of each message.
const HEADER_BYTES: usize = 4;

/// Why a message could not be sent or received. The stream is useless afterwards: close it.
#[derive(Debug)]
pub enum LocalError {
    /// The socket failed.
    Io(io::Error),
    /// The other side closed the connection in the middle of a message.
    Truncated,
    /// The message is longer than this side accepts.
    TooLong {
        /// Length announced or made.
        length_bytes: usize,
        /// The most that is accepted.
        limit_bytes: usize,
    },
    /// The bytes are not a message of the expected type.
    Malformed(String),
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the local connection failed: {error}"),
            Self::Truncated => f.write_str("the connection was closed in the middle of a message"),
            Self::TooLong {
                length_bytes,
                limit_bytes,
            } => write!(
                f,
                "a message of {length_bytes} bytes is longer than the {limit_bytes} bytes accepted"
            ),
            Self::Malformed(cause) => write!(f, "the message cannot be understood: {cause}"),
        }
    }
}

impl std::error::Error for LocalError {}

impl From<Errno> for LocalError {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// A message as received, with the descriptor that came with it.
#[derive(Debug)]
pub struct Received<T> {
    /// The message.
    pub message: T,
    /// The attached descriptor (close-on-exec), if there was one.
    pub descriptor: Option<OwnedFd>,
}

/// One whole frame: the CBOR of a message, not yet decoded.
#[derive(Debug)]
pub struct Frame {
    bytes: Vec<u8>,
    descriptor: Option<OwnedFd>,
}

impl Frame {
    /// Decodes the message; bytes left over are an error.
    pub fn decode<T: DeserializeOwned>(self) -> Result<Received<T>, LocalError> {
        let message = decode(&self.bytes)?;
        Ok(Received {
            message,
            descriptor: self.descriptor,
        })
    }
}

/// What one step of a [`FrameReader`] led to.
#[derive(Debug)]
pub enum Step {
    /// Some bytes came; the frame is not complete.
    More,
    /// A frame is complete; the reader is ready for the next.
    Complete(Frame),
    /// The other side closed the connection between two frames.
    Closed,
}

/// The receiving side of a connection: what has come of the frame in hand.
#[derive(Debug)]
pub struct FrameReader {
    limit_bytes: usize,
    header: [u8; HEADER_BYTES],
    header_filled: usize,
    body: Vec<u8>,
    body_filled: usize,
    descriptor: Option<OwnedFd>,
}

impl Default for FrameReader {
    fn default() -> Self {
        Self::new(LOCAL_MESSAGE_BYTES_MAX)
    }
}

impl FrameReader {
    /// A reader that accepts messages of at most `limit_bytes`.
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            header: [0; HEADER_BYTES],
            header_filled: 0,
            body: Vec::new(),
            body_filled: 0,
            descriptor: None,
        }
    }

    /// Makes one receive call. On a non-blocking socket with nothing to read the error is
    /// [`io::ErrorKind::WouldBlock`] inside [`LocalError::Io`], and the reader's state is kept.
    pub fn step(&mut self, socket: BorrowedFd<'_>) -> Result<Step, LocalError> {
        if self.header_filled < HEADER_BYTES {
            let (count, descriptor) = receive_some(socket, &mut self.header[self.header_filled..])?;
            if count == 0 {
                return match self.header_filled {
                    0 => Ok(Step::Closed),
                    _ => Err(LocalError::Truncated),
                };
            }
            self.descriptor = descriptor.or(self.descriptor.take());
            self.header_filled += count;
            if self.header_filled == HEADER_BYTES {
                self.body = vec![0; self.announced_length()?];
                self.body_filled = 0;
            }
        } else {
            let (count, _unexpected) = receive_some(socket, &mut self.body[self.body_filled..])?;
            if count == 0 {
                return Err(LocalError::Truncated);
            }
            self.body_filled += count;
        }
        if self.header_filled == HEADER_BYTES && self.body_filled == self.body.len() {
            self.header_filled = 0;
            return Ok(Step::Complete(Frame {
                bytes: std::mem::take(&mut self.body),
                descriptor: self.descriptor.take(),
            }));
        }
        Ok(Step::More)
    }

    fn announced_length(&self) -> Result<usize, LocalError> {
        let length_bytes = u32::from_le_bytes(self.header) as usize;
        if length_bytes > self.limit_bytes {
            return Err(LocalError::TooLong {
                length_bytes,
                limit_bytes: self.limit_bytes,
            });
        }
        Ok(length_bytes)
    }

    /// Waits for the next message; `None` when the other side closed the connection.
    /// A call that is dropped half-way loses nothing.
    pub async fn next<T: DeserializeOwned>(
        &mut self,
        socket: &Async<UnixStream>,
    ) -> Result<Option<Received<T>>, LocalError> {
        loop {
            match self.step(socket.as_fd()) {
                Ok(Step::More) => {}
                Ok(Step::Complete(frame)) => return frame.decode().map(Some),
                Ok(Step::Closed) => return Ok(None),
                Err(error) if would_block(&error) => {
                    socket.readable().await.map_err(LocalError::Io)?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether the error only says that a non-blocking socket is not ready.
fn would_block(error: &LocalError) -> bool {
    matches!(error, LocalError::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Waits on a blocking socket for the next message; `None` when the other side closed the connection.
pub fn receive<T: DeserializeOwned>(socket: impl AsFd) -> Result<Option<Received<T>>, LocalError> {
    receive_limited(socket, LOCAL_MESSAGE_BYTES_MAX)
}

/// As [`receive`], for messages of at most `limit_bytes`.
pub fn receive_limited<T: DeserializeOwned>(
    socket: impl AsFd,
    limit_bytes: usize,
) -> Result<Option<Received<T>>, LocalError> {
    let mut reader = FrameReader::new(limit_bytes);
    loop {
        match reader.step(socket.as_fd())? {
            Step::More => {}
            Step::Complete(frame) => return frame.decode().map(Some),
            Step::Closed => return Ok(None),
        }
    }
}

/// Sends a message on a blocking socket, with a descriptor if one belongs to it.
pub fn send<T: Serialize>(
    socket: impl AsFd,
    message: &T,
    descriptor: Option<BorrowedFd<'_>>,
) -> Result<(), LocalError> {
    let frame = encode(message)?;
    let mut sent = 0;
    while sent < frame.len() {
        let attached = descriptor.filter(|_| sent == 0);
        sent += send_some(socket.as_fd(), &frame[sent..], attached)?;
    }
    Ok(())
}

/// Sends a message, with a descriptor if one belongs to it. Not to be dropped half-way: the other side
/// would take the next message for the rest of this one.
pub async fn send_async<T: Serialize>(
    socket: &Async<UnixStream>,
    message: &T,
    descriptor: Option<BorrowedFd<'_>>,
) -> Result<(), LocalError> {
    let frame = encode(message)?;
    let mut sent = 0;
    while sent < frame.len() {
        let attached = descriptor.filter(|_| sent == 0);
        match send_some(socket.as_fd(), &frame[sent..], attached) {
            Ok(count) => sent += count,
            Err(Errno::AGAIN) => socket.writable().await.map_err(LocalError::Io)?,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// The frame of a message: its length and its CBOR.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, LocalError> {
    let mut frame = vec![0; HEADER_BYTES];
    ciborium::into_writer(message, &mut frame)
        .map_err(|error| LocalError::Malformed(error.to_string()))?;
    let length_bytes = frame.len() - HEADER_BYTES;
    let header = u32::try_from(length_bytes)
        .ok()
        .filter(|_| length_bytes <= LOCAL_MESSAGE_BYTES_MAX)
        .ok_or(LocalError::TooLong {
            length_bytes,
            limit_bytes: LOCAL_MESSAGE_BYTES_MAX,
        })?;
    frame[..HEADER_BYTES].copy_from_slice(&header.to_le_bytes());
    Ok(frame)
}

/// Decodes the CBOR of a message; bytes left over are an error.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, LocalError> {
    let mut rest = bytes;
    let message = ciborium::from_reader(&mut rest)
        .map_err(|error| LocalError::Malformed(error.to_string()))?;
    if !rest.is_empty() {
        return Err(LocalError::Malformed(format!(
            "{} bytes follow the message",
            rest.len()
        )));
    }
    Ok(message)
}

/// One sendmsg(2), repeated when a signal interrupts it; a closed peer gives EPIPE and no SIGPIPE.
fn send_some(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let descriptors = descriptor.as_slice();
    loop {
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors))
        {
            return Err(Errno::NOBUFS);
        }
        match sendmsg(
            socket,
            &[IoSlice::new(bytes)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        ) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// One recvmsg(2), repeated when a signal interrupts it, with the first descriptor that came along;
/// the kernel or the ancillary buffer's drop closes any others.
fn receive_some(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
) -> Result<(usize, Option<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    loop {
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        match recvmsg(
            socket,
            &mut [IoSliceMut::new(bytes)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
            Ok(received) => {
                let mut descriptor = None;
                for message in ancillary.drain() {
                    if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
                        descriptor = descriptors.next().or(descriptor);
                    }
                }
                return Ok((received.bytes, descriptor));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use proptest::prelude::*;

    use super::*;

    fn pair() -> (UnixStream, UnixStream) {
        UnixStream::pair().unwrap()
    }

    #[test]
    fn a_message_arrives_as_it_was_sent() {
        let (left, right) = pair();
        send(&left, &("hello".to_string(), 7u32), None).unwrap();
        let received = receive::<(String, u32)>(&right).unwrap().unwrap();
        assert_eq!(received.message, ("hello".to_string(), 7));
        assert!(received.descriptor.is_none());
    }

    #[test]
    fn a_descriptor_arrives_with_its_own_message_and_no_other() {
        let (left, right) = pair();
        let (mut far, near) = pair();
        send(&left, &1u8, None).unwrap();
        send(&left, &2u8, Some(near.as_fd())).unwrap();
        send(&left, &3u8, None).unwrap();
        assert!(receive::<u8>(&right).unwrap().unwrap().descriptor.is_none());
        let second = receive::<u8>(&right).unwrap().unwrap();
        assert!(receive::<u8>(&right).unwrap().unwrap().descriptor.is_none());
        let mut passed = UnixStream::from(second.descriptor.unwrap());
        passed.write_all(b"x").unwrap();
        let mut byte = [0];
        far.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    #[test]
    fn a_long_message_and_its_descriptor_cross_a_full_socket() {
        let (left, right) = pair();
        let (_far, near) = pair();
        let text = "x".repeat(LOCAL_MESSAGE_BYTES_MAX - 16);
        let expected = text.clone();
        let sender = std::thread::spawn(move || send(&left, &text, Some(near.as_fd())));
        let received = receive::<String>(&right).unwrap().unwrap();
        sender.join().unwrap().unwrap();
        assert_eq!(received.message, expected);
        assert!(received.descriptor.is_some());
    }

    #[test]
    fn closing_between_messages_is_an_end_and_inside_one_an_error() {
        let (left, right) = pair();
        send(&left, &1u8, None).unwrap();
        drop(left);
        assert!(receive::<u8>(&right).unwrap().is_some());
        assert!(receive::<u8>(&right).unwrap().is_none());

        for cut in 1..6 {
            let (mut left, right) = pair();
            left.write_all(&encode(&"ab").unwrap()[..cut]).unwrap();
            drop(left);
            assert!(matches!(
                receive::<String>(&right),
                Err(LocalError::Truncated)
            ));
        }
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_its_bytes_are_read() {
        let (mut left, right) = pair();
        left.write_all(&u32::MAX.to_le_bytes()).unwrap();
        assert!(matches!(
            receive::<String>(&right),
            Err(LocalError::TooLong { .. })
        ));
        assert!(matches!(
            send(&right, &"x".repeat(LOCAL_MESSAGE_BYTES_MAX + 1), None),
            Err(LocalError::TooLong { .. })
        ));
    }

    #[test]
    fn bytes_behind_a_message_are_refused() {
        let (mut left, right) = pair();
        left.write_all(&[2, 0, 0, 0, 1, 1]).unwrap();
        assert!(matches!(
            receive::<u8>(&right),
            Err(LocalError::Malformed(_))
        ));
    }

    #[test]
    fn the_agent_and_a_supervisor_understand_each_other() {
        let (left, right) = pair();
        smol::block_on(async {
            let left = Async::new(left).unwrap();
            let supervisor = smol::unblock(move || {
                let received = receive::<u32>(&right).unwrap().unwrap();
                send(&right, &(received.message + 1), None).unwrap();
            });
            send_async(&left, &41u32, None).await.unwrap();
            let mut reader = FrameReader::default();
            let answer = reader.next::<u32>(&left).await.unwrap().unwrap();
            assert_eq!(answer.message, 42);
            supervisor.await;
            assert!(reader.next::<u32>(&left).await.unwrap().is_none());
        });
    }

    proptest! {
        #[test]
        fn any_bytes_give_messages_or_an_error_and_never_a_panic(bytes: Vec<u8>) {
            let (mut left, right) = pair();
            left.write_all(&bytes).unwrap();
            drop(left);
            while let Ok(Some(_)) = receive_limited::<(String, u32)>(&right, 64) {}
        }
    }
}
