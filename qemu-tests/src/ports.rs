//! The two kinds of port that the switch has: a TAP device in a node's network namespace, and a
//! connection from QEMU.

use std::fs::{self, File};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::error::LabError;
use crate::namespaces::Namespaces;
use crate::stream::{FrameReader, length_of};
use crate::switch::PortId;
use crate::sys;

/// The name of a node's interface.
pub const INTERFACE: &str = "eth0";

/// Bytes that wait for a slow virtual machine before frames are dropped, as in any switch.
const WAITING_BYTES_MAX: usize = 4 << 20;

/// The hardware address of the node behind a port: locally administered, and the same at every start.
pub fn hardware_address(port: PortId) -> [u8; 6] {
    let [_, _, high, low] = port.0.to_be_bytes();
    [0x02, b'l', b'a', b'b', high, low]
}

/// A TAP device; it is the node's interface, and vanishes with this value.
#[derive(Debug)]
pub struct TapPort(File);

impl TapPort {
    /// Makes the device in a node's network and brings it up.
    pub fn make(namespaces: &Namespaces, port: PortId) -> Result<Self, LabError> {
        namespaces.in_network(|| {
            let make = || {
                let tap = sys::make_tap(INTERFACE)?;
                sys::set_hardware_address(INTERFACE, hardware_address(port))?;
                sys::bring_up(INTERFACE)?;
                Ok::<_, io::Error>(tap)
            };
            make()
                .map(Self)
                .map_err(LabError::doing("make a TAP device"))
        })
    }

    /// Reads one frame into `buffer`; `None` when there is none now.
    pub fn read_frame(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.0.read(buffer) {
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Hands a frame to the node. One that its kernel does not take is lost, as on a real network.
    pub fn send(&mut self, frame: &[u8]) {
        let _ = self.0.write(frame);
    }
}

impl AsFd for TapPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A socket to which one virtual machine at a time connects its network card.
#[derive(Debug)]
pub struct StreamPort {
    path: PathBuf,
    listener: UnixListener,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    reader: FrameReader,
    waiting: Vec<u8>,
}

/// Whether a stream port goes on after a read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It does.
    Open,
    /// The virtual machine is gone.
    Closed,
}

impl StreamPort {
    /// Listens at `path`.
    pub fn make(path: &Path) -> Result<Self, LabError> {
        let doing = || LabError::doing(format!("listen at {}", path.display()));
        // Left by the port that the node had before it was killed.
        let _ = fs::remove_file(path);
        let listener = UnixListener::bind(path).map_err(doing())?;
        listener.set_nonblocking(true).map_err(doing())?;
        Ok(Self {
            path: path.into(),
            listener,
            connection: None,
        })
    }

    /// The listening socket.
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// The virtual machine's connection, if there is one.
    pub fn stream(&self) -> Option<&UnixStream> {
        self.connection
            .as_ref()
            .map(|connection| &connection.stream)
    }

    /// Accepts a connection if nobody is connected.
    pub fn accept(&mut self) -> io::Result<Option<&UnixStream>> {
        let (stream, _) = match self.listener.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            other => other?,
        };
        if self.connection.is_some() {
            return Ok(None);
        }
        stream.set_nonblocking(true)?;
        let reader = FrameReader::default();
        let connection = Connection {
            stream,
            reader,
            waiting: Vec::new(),
        };
        Ok(Some(&self.connection.insert(connection).stream))
    }

    /// Reads once, at most `buffer`, and hands each complete frame to `take`.
    pub fn read_frames(&mut self, buffer: &mut [u8], mut take: impl FnMut(&[u8])) -> Progress {
        let Some(connection) = &mut self.connection else {
            return Progress::Closed;
        };
        match connection.stream.read(buffer) {
            Ok(length @ 1..) => connection.reader.push(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Progress::Open,
            Ok(0) | Err(_) => return self.close(),
        }
        loop {
            match connection.reader.next_frame() {
                Ok(Some(frame)) => take(frame),
                Ok(None) => return Progress::Open,
                Err(error) => {
                    eprintln!("{}: {error}; disconnected", self.path.display());
                    return self.close();
                }
            }
        }
    }

    /// Sends a frame, or keeps what the socket does not take; drops it when too much waits.
    pub fn send(&mut self, frame: &[u8]) -> Progress {
        let Some(connection) = &mut self.connection else {
            return Progress::Closed;
        };
        let length = length_of(frame);
        let mut sent = 0;
        if connection.waiting.is_empty() {
            let parts = [IoSlice::new(&length), IoSlice::new(frame)];
            match connection.stream.write_vectored(&parts) {
                Ok(count) => sent = count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return self.close(),
            }
        } else if connection.waiting.len() + frame.len() > WAITING_BYTES_MAX {
            return Progress::Open;
        }
        // A frame must go out whole once it has begun.
        let rest_of_length = &length[sent.min(length.len())..];
        let rest_of_frame = &frame[sent.saturating_sub(length.len())..];
        connection.waiting.extend_from_slice(rest_of_length);
        connection.waiting.extend_from_slice(rest_of_frame);
        Progress::Open
    }

    /// Sends what waits, as far as the socket takes it.
    pub fn send_waiting(&mut self) -> Progress {
        let Some(connection) = &mut self.connection else {
            return Progress::Closed;
        };
        match connection.stream.write(&connection.waiting) {
            Ok(count) => {
                connection.waiting.drain(..count);
                Progress::Open
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Progress::Open,
            Err(_) => self.close(),
        }
    }

    /// Whether bytes wait for the socket to take them.
    pub fn is_waiting(&self) -> bool {
        self.connection
            .as_ref()
            .is_some_and(|connection| !connection.waiting.is_empty())
    }

    fn close(&mut self) -> Progress {
        self.connection = None;
        Progress::Closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A port and the virtual machine's end of its connection.
    fn connected(name: &str) -> (StreamPort, UnixStream) {
        let path = std::env::temp_dir().join(format!("lab-{}-{name}", std::process::id()));
        let mut port = StreamPort::make(&path).unwrap();
        let stream = UnixStream::connect(&path).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        assert!(port.accept().unwrap().is_some());
        fs::remove_file(&path).unwrap();
        (port, stream)
    }

    #[test]
    fn frames_stay_whole_when_the_virtual_machine_is_slow() {
        let (mut port, mut stream) = connected("slow");
        let sent: Vec<Vec<u8>> = (0..400).map(|n| vec![n as u8; 1000 + n]).collect();
        for frame in &sent {
            assert_eq!(port.send(frame), Progress::Open);
        }
        assert!(
            port.is_waiting(),
            "400 frames fit into the socket: the test shows nothing"
        );
        let mut reader = FrameReader::default();
        let mut received = Vec::new();
        let mut buffer = vec![0; 10_000];
        while received.len() < sent.len() {
            let length = stream.read(&mut buffer).unwrap();
            reader.push(&buffer[..length]);
            while let Some(frame) = reader.next_frame().unwrap() {
                received.push(frame.to_vec());
            }
            port.send_waiting();
        }
        assert!(received == sent);
        assert!(!port.is_waiting());
    }

    #[test]
    fn what_waits_is_bounded() {
        let (mut port, _stream) = connected("bounded");
        for _ in 0..(2 * WAITING_BYTES_MAX / 60_000) {
            port.send(&[0; 60_000]);
        }
        let waiting = port.connection.as_ref().unwrap().waiting.len();
        assert!(
            waiting <= WAITING_BYTES_MAX + 60_004,
            "{waiting} bytes wait"
        );
    }

    #[test]
    fn a_virtual_machine_that_ends_is_noticed_and_may_come_again() {
        let (mut port, stream) = connected("gone");
        drop(stream);
        assert_eq!(port.read_frames(&mut [0; 100], |_| ()), Progress::Closed);
        assert!(port.stream().is_none());
    }
}
