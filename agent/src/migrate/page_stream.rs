//! One end of a page connection: sends and receives the messages of [`crate::wire::pages`].
//!
//! Contents are sealed in the buffer that they were read into and opened in the buffer that they were
//! received in: nothing is copied between the kernel's copies. The sender keeps little unsent in its
//! socket, so that a page that is waited for soon follows what was sent before.

use std::io::{self, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{RecvFlags, recv};
use socket2::SockRef;

use crate::limits::PAGE_RUNS_MAX;
use crate::secure::record::{
    self, LENGTH_BYTES, Opener, RECORD_BODY_BYTES_MAX, RecordError, Sealer, TAG_BYTES,
};
use crate::wire::pages::{self, CONTENTS_PREFIX_BYTES, Malformed, PageMessage};
use crate::wire::supervisor::ChannelKeys;

use super::pages::RUN_BYTES_MAX;

/// How long the peer may leave us with a full socket buffer before it counts as lost.
const SEND_TIMEOUT: Duration = Duration::from_secs(8);

/// The socket is taken for full while it holds more than this unsent (TCP_NOTSENT_LOWAT, tcp(7)).
const UNSENT_BYTES: u32 = 128 << 10;

/// Where contents begin in the buffer of a record.
const CONTENTS_AT: usize = LENGTH_BYTES + CONTENTS_PREFIX_BYTES;

/// Why the connection is of no more use.
#[derive(Debug)]
pub enum PageStreamError {
    /// The peer closed it.
    Closed,
    /// It failed.
    Io(io::Error),
    /// A record was forged, damaged or malformed.
    Record(RecordError),
    /// A record is no message.
    Malformed(Malformed),
}

impl std::fmt::Display for PageStreamError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => write!(out, "the other node closed the page connection"),
            Self::Io(error) => write!(out, "the page connection failed: {error}"),
            Self::Record(error) => write!(out, "the page connection carries garbage: {error}"),
            Self::Malformed(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for PageStreamError {}

impl From<io::Error> for PageStreamError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<RecordError> for PageStreamError {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

impl From<Malformed> for PageStreamError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

/// One end.
pub struct PageStream {
    stream: TcpStream,
    sealer: Sealer,
    opener: Opener,
    /// The record being received, from its length on.
    incoming: Vec<u8>,
    filled: usize,
    outgoing: Vec<u8>,
    bytes_sent: u64,
}

impl PageStream {
    /// Goes on with a connection after its handshake.
    pub fn new(descriptor: OwnedFd, keys: &ChannelKeys) -> io::Result<PageStream> {
        let stream = TcpStream::from(descriptor);
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(SEND_TIMEOUT))?;
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES)?;
        let (sealer, opener) = record::from_keys(keys);
        Ok(PageStream {
            stream,
            sealer,
            opener,
            incoming: vec![0; LENGTH_BYTES],
            filled: 0,
            outgoing: Vec::new(),
            bytes_sent: 0,
        })
    }

    /// Bytes sent so far, encryption and framing included.
    pub fn bytes_sent(&self) -> u64 {
        self.bytes_sent
    }

    /// Whether there is room for more to send.
    pub fn has_room(&self) -> bool {
        let mut descriptors = [PollFd::new(&self.stream, PollFlags::OUT)];
        let now = rustix::event::Timespec::default();
        poll(&mut descriptors, Some(&now)).is_ok_and(|count| count > 0)
    }

    /// Room for contents of this length, at most [`RUN_BYTES_MAX`]; they are sent by
    /// [`Self::send_contents`].
    pub fn contents(&mut self, length: usize) -> &mut [u8] {
        let end = CONTENTS_AT + length.min(RUN_BYTES_MAX);
        if self.outgoing.len() < end {
            self.outgoing.resize(end, 0);
        }
        &mut self.outgoing[CONTENTS_AT..end]
    }

    /// Sends `length` bytes from `offset` on of what is in [`Self::contents`], the pages at `address`.
    /// What was in front of `offset`, and these bytes, are there no more.
    pub fn send_contents(
        &mut self,
        address: u64,
        offset: usize,
        length: usize,
    ) -> Result<(), PageStreamError> {
        let from = CONTENTS_AT + offset;
        let prefix_at = from - CONTENTS_PREFIX_BYTES;
        self.outgoing[prefix_at..from].copy_from_slice(&pages::contents_prefix(address));
        let record = &mut self.outgoing[prefix_at - LENGTH_BYTES..from + length];
        seal_and_send(&mut self.sealer, &mut self.stream, record)?;
        self.bytes_sent += (record.len() + TAG_BYTES) as u64;
        Ok(())
    }

    /// Tells that home has nothing in `ranges`.
    pub fn send_nothing(&mut self, ranges: &[std::ops::Range<u64>]) -> Result<(), PageStreamError> {
        ranges
            .chunks(PAGE_RUNS_MAX)
            .try_for_each(|ranges| self.send(&pages::nothing(ranges)))
    }

    /// Sends a message without contents.
    pub fn send(&mut self, message: &[u8]) -> Result<(), PageStreamError> {
        let mut record = vec![0; LENGTH_BYTES];
        record.extend_from_slice(message);
        seal_and_send(&mut self.sealer, &mut self.stream, &mut record)?;
        self.bytes_sent += (record.len() + TAG_BYTES) as u64;
        Ok(())
    }

    /// The next message if all of it has come; never waits.
    pub fn try_receive(&mut self) -> Result<Option<PageMessage<'_>>, PageStreamError> {
        loop {
            let wanted = if self.filled < LENGTH_BYTES {
                LENGTH_BYTES
            } else {
                let [a, b, c, d, ..] = self.incoming[..] else {
                    return Err(PageStreamError::Closed);
                };
                LENGTH_BYTES + record::body_length([a, b, c, d])?
            };
            if self.filled == wanted && self.filled > LENGTH_BYTES {
                break;
            }
            debug_assert!(wanted <= LENGTH_BYTES + RECORD_BODY_BYTES_MAX);
            if self.incoming.len() < wanted {
                self.incoming.resize(wanted, 0);
            }
            let room = &mut self.incoming[self.filled..wanted];
            match recv(&self.stream, room, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Err(PageStreamError::Closed),
                Ok((count, _)) => self.filled += count,
                Err(rustix::io::Errno::AGAIN) => return Ok(None),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(PageStreamError::Io(error.into())),
            }
        }
        let end = std::mem::take(&mut self.filled);
        let plaintext = self.opener.open(&mut self.incoming[LENGTH_BYTES..end])?;
        Ok(Some(pages::parse(plaintext)?))
    }
}

/// `record` is room for the length, and the plaintext.
fn seal_and_send(
    sealer: &mut Sealer,
    stream: &mut TcpStream,
    record: &mut [u8],
) -> Result<(), PageStreamError> {
    let tag = sealer.seal_in_place(record)?;
    let sent = stream.write_vectored(&[io::IoSlice::new(record), io::IoSlice::new(&tag)])?;
    let of_tag = sent.saturating_sub(record.len());
    stream.write_all(&record[sent.min(record.len())..])?;
    stream.write_all(&tag[of_tag..])?;
    Ok(())
}

impl AsFd for PageStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn pair() -> (PageStream, PageStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (there, _) = listener.accept().unwrap();
        let keys = |send: u8, receive: u8| ChannelKeys {
            send_key: [send; 32],
            receive_key: [receive; 32],
            send_nonce: 0,
            receive_nonce: 0,
        };
        (
            PageStream::new(here.into(), &keys(1, 2)).unwrap(),
            PageStream::new(there.into(), &keys(2, 1)).unwrap(),
        )
    }

    fn wait_for(stream: &PageStream) {
        poll(&mut [PollFd::new(stream, PollFlags::IN)], None).unwrap();
    }

    #[test]
    fn contents_go_in_runs_out_of_one_buffer() {
        let (mut here, mut there) = pair();
        assert!(there.try_receive().unwrap().is_none());
        let room = here.contents(4 * 4096);
        for (page, bytes) in room.chunks_mut(4096).enumerate() {
            bytes.fill(page as u8);
        }
        here.send_contents(0x1000, 0, 4096).unwrap();
        here.send_contents(0x3000, 2 * 4096, 2 * 4096).unwrap();
        here.send(&pages::end()).unwrap();
        let mut seen = Vec::new();
        loop {
            match there.try_receive().unwrap() {
                None => wait_for(&there),
                Some(PageMessage::Contents { address, bytes }) => {
                    seen.push((address, bytes.len(), bytes[0], bytes[bytes.len() - 1]));
                }
                Some(PageMessage::End) => break,
                Some(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(seen, [(0x1000, 4096, 0, 0), (0x3000, 8192, 2, 3)]);
        drop(here);
        wait_for(&there);
        assert!(matches!(there.try_receive(), Err(PageStreamError::Closed)));
    }
}
