//! Lines on non-blocking sockets: bytes in, whole lines out; bytes that wait until the socket takes them.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

/// One end of a conversation in lines.
#[derive(Debug)]
pub struct LineLink {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    line_bytes_max: usize,
    output_bytes_max: usize,
}

impl LineLink {
    /// Takes over a connection; a longer line or more waiting output ends the conversation.
    pub fn new(
        stream: UnixStream,
        line_bytes_max: usize,
        output_bytes_max: usize,
    ) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            input: Vec::new(),
            output: Vec::new(),
            line_bytes_max,
            output_bytes_max,
        })
    }

    /// The connection.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Whether output waits for the socket.
    pub fn is_waiting(&self) -> bool {
        !self.output.is_empty()
    }

    /// Reads once; returns the lines that are complete now, without their ends.
    ///
    /// # Errors
    /// When the other side is gone or its line is too long; the conversation is over then.
    pub fn read_lines(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let mut buffer = [0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => self.input.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
        let Some(end) = self.input.iter().rposition(|byte| *byte == b'\n') else {
            if self.input.len() >= self.line_bytes_max {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "line too long"));
            }
            return Ok(Vec::new());
        };
        let rest = self.input.split_off(end + 1);
        let complete = std::mem::replace(&mut self.input, rest);
        let lines = complete
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        Ok(lines.map(<[u8]>::to_vec).collect())
    }

    /// Sends a line, or keeps what the socket does not take.
    ///
    /// # Errors
    /// When the other side is gone or takes nothing for too long; the conversation is over then.
    pub fn send_line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.output.len() + line.len() >= self.output_bytes_max {
            return Err(io::Error::other("too much output waits"));
        }
        self.output.extend_from_slice(line);
        self.output.push(b'\n');
        self.send_waiting()
    }

    /// Sends what waits, as far as the socket takes it.
    ///
    /// # Errors
    /// When the other side is gone.
    pub fn send_waiting(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(line_bytes_max: usize) -> (LineLink, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (
            LineLink::new(ours, line_bytes_max, 1 << 20).unwrap(),
            theirs,
        )
    }

    #[test]
    fn a_line_is_given_out_when_it_is_whole() {
        let (mut link, mut other) = pair(100);
        other.write_all(b"one\n\ntw").unwrap();
        assert_eq!(link.read_lines().unwrap(), [b"one"]);
        assert!(link.read_lines().unwrap().is_empty());
        other.write_all(b"o\n").unwrap();
        assert_eq!(link.read_lines().unwrap(), [b"two"]);
        drop(other);
        assert!(link.read_lines().is_err());
    }

    #[test]
    fn a_line_without_end_is_an_error() {
        let (mut link, mut other) = pair(100);
        other.write_all(&[b'x'; 100]).unwrap();
        assert!(link.read_lines().is_err());
    }

    #[test]
    fn output_waits_for_a_slow_reader_but_not_without_bound() {
        let (mut link, mut other) = pair(100);
        let line = [b'y'; 50_000];
        while !link.is_waiting() {
            link.send_line(&line).unwrap();
        }
        let mut received = vec![0; 1 << 20];
        assert!(other.read(&mut received).unwrap() > 0);
        assert!((0..100).any(|_| link.send_line(&line).is_err()));
    }
}
